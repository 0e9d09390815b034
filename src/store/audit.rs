//! The ledger before the first write: a bounded look that refuses to build upon what was changed.
//!
//! In: the last entries, the last events, the sums of their slots. Out: nothing, or the fault and the command that restores the state. Must never
//! cost more with a longer ledger, nor refuse a sound one: what looks wrong here is looked at as a whole first.

use std::collections::BTreeMap;

use super::ledger::{COLUMNS, SLOT, read};
use super::{Store, StoreError};
use crate::base::{Digest, Money, Timestamp};
use crate::record::{Entry, Event};

/// Entries that are looked at, and events among which the last of them must have its own.
const TAIL: usize = 2000;
const EVENTS: i64 = 512;

impl Store {
    /// Looks at the end of the ledger: links, sums, and that the last entries are those of the last events.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the command that restores it.
    pub(super) fn audit(&self) -> Result<(), StoreError> {
        let tail = self.tail()?;
        let Some(words) = broken_link(&tail).or(self.wrong_sums(&tail)?).or(self.other_than_journal(&tail)?) else { return Ok(()) };
        // All of it decides; a look at a part may be wrong about a clock that went back.
        let found = self.verify()?;
        let Some(first) = found.faults.first() else { return Ok(()) };
        let place = if first.seq > 0 { format!("ledger entry {}", first.seq) } else { "the ledger's sums".to_owned() };
        let words = if first.words.is_empty() { words } else { first.words.clone() };
        let detail = format!("{place}: {words} (`oppen verify` names every fault)");
        Err(StoreError::Corrupt { path: self.path.clone(), detail, backup: super::backup::newest(self.folder()) })
    }

    /// The last entries, oldest first, with number and link; one more at the front where there are more.
    fn tail(&self) -> Result<Vec<(i64, Entry, Digest)>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let sql = format!("SELECT {COLUMNS}, seq FROM ledger ORDER BY seq DESC LIMIT {}", TAIL + 1);
        let mut query = self.db.prepare(&sql).map_err(io)?;
        let mut rows = query.query([]).map_err(io)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(io)? {
            let (entry, link) = read(row).map_err(io)?;
            found.push((row.get(27).map_err(io)?, entry, link));
        }
        found.reverse();
        Ok(found)
    }

    /// Sums of slots that lie in the tail as a whole.
    fn wrong_sums(&self, tail: &[(i64, Entry, Digest)]) -> Result<Option<String>, StoreError> {
        let slot = |entry: &Entry| entry.at.0.div_euclid(SLOT);
        let whole = tail.len() <= TAIL;
        let first = tail.first().map_or(i64::MIN, |t| slot(&t.1));
        let from = if whole { i64::MIN } else { first.saturating_add(1) };
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        for (_, entry, _) in tail.iter().filter(|t| slot(&t.1) >= from) {
            *sums.entry(slot(entry)).or_default() += entry.spent().micros();
        }
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare("SELECT slot, sum(amount) FROM spend WHERE slot >= ?1 GROUP BY slot").map_err(io)?;
        let mut rows = query.query([from]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let (slot, kept): (i64, i64) = (row.get(0).map_err(io)?, row.get(1).map_err(io)?);
            let counted = sums.remove(&slot).unwrap_or(0);
            if counted != kept {
                let money = Money::from_micros;
                return Ok(Some(format!("sums say {}, entries {}", money(kept), money(counted))));
            }
        }
        Ok(sums.values().any(|s| *s != 0).then(|| "a sum is missing".to_owned()))
    }

    /// The last events that make entries, newest first, beside the last entries.
    fn other_than_journal(&self, tail: &[(i64, Entry, Digest)]) -> Result<Option<String>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare("SELECT at, body FROM events ORDER BY seq DESC LIMIT ?1").map_err(io)?;
        let mut rows = query.query([EVENTS]).map_err(io)?;
        let mut entries = tail.iter().rev();
        while let Some(row) = rows.next().map_err(io)? {
            let body = row.get_ref(1).and_then(|v| v.as_str().map_err(Into::into)).map_err(io)?;
            if !["{\"event\":\"admitted\"", "{\"event\":\"ended\"", "{\"event\":\"corrected\""].iter().any(|word| body.starts_with(word)) {
                continue;
            }
            let at = Timestamp(row.get(0).map_err(io)?);
            let Some(made) = serde_json::from_str::<Event>(body).ok().and_then(|e| Entry::of(&e, at)) else { continue };
            match entries.next() {
                Some((_, entry, _)) if *entry == made => {}
                Some(_) => return Ok(Some("an entry is not that of its event".to_owned())),
                None if tail.len() > TAIL => break,
                None => return Ok(Some("an entry is missing".to_owned())),
            }
        }
        Ok(None)
    }
}

/// The first entry whose link does not fit.
fn broken_link(tail: &[(i64, Entry, Digest)]) -> Option<String> {
    let mut before = Digest([0; 32]);
    for (i, (_, entry, link)) in tail.iter().enumerate() {
        // The one in front of the tail is there for its link alone.
        let known = i > 0 || tail.len() <= TAIL;
        if known && entry.link(&before) != *link {
            return Some("its link does not fit".to_owned());
        }
        before = *link;
    }
    None
}
