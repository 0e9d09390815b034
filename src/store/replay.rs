//! The ledger as the journal makes it: what verify holds the table against.
//!
//! In: the events that make entries, in their order. Out: faults: an entry that says something else, that no event makes, or that is
//! missing, the last one included. Must never hold more than a few entries at once.

use std::collections::VecDeque;

use rusqlite::Rows;

use super::ledger::Fault;
use crate::base::Timestamp;
use crate::record::{Entry, Event};

/// How far an entry is looked for: so many entries in a row may be missing before those that follow count as made up.
const AHEAD: usize = 256;

/// Entries of the journal, as they are needed.
pub struct Replay<'s> {
    rows: Rows<'s>,
    ahead: VecDeque<Entry>,
}

impl<'s> Replay<'s> {
    /// The events that make entries.
    pub const EVENTS: &'static str = "SELECT at, body FROM events WHERE body LIKE '{\"event\":\"admitted\"%' \
        OR body LIKE '{\"event\":\"ended\"%' OR body LIKE '{\"event\":\"corrected\"%' ORDER BY seq";

    /// Over rows of [`Replay::EVENTS`].
    pub fn new(rows: Rows<'s>) -> Self {
        Self { rows, ahead: VecDeque::new() }
    }

    fn fill(&mut self, count: usize) -> rusqlite::Result<()> {
        while self.ahead.len() < count {
            let Some(row) = self.rows.next()? else { break };
            let (at, body): (i64, String) = (row.get(0)?, row.get(1)?);
            // An event that cannot be read makes no entry: the one that it made shows as made up.
            self.ahead.extend(serde_json::from_str::<Event>(&body).ok().and_then(|e| Entry::of(&e, Timestamp(at))));
        }
        Ok(())
    }

    /// Holds the next entry of the table against the journal.
    pub fn compare(&mut self, seq: i64, entry: &Entry, faults: &mut Vec<Fault>) -> rusqlite::Result<()> {
        self.fill(1)?;
        if self.ahead.front() == Some(entry) {
            self.ahead.pop_front();
            return Ok(());
        }
        self.fill(AHEAD)?;
        let exact = self.ahead.iter().position(|e| e == entry);
        let near = || self.ahead.iter().position(|e| e.kind == entry.kind && e.attempt == entry.attempt);
        let Some(place) = exact.or_else(near) else {
            faults.push(Fault { seq, words: format!("no event of the journal makes this {} of {}", entry.kind.word(), entry.attempt) });
            return Ok(());
        };
        faults.extend(self.ahead.drain(..place).map(|lost| Fault { seq, words: format!("before it, {}", missing(&lost)) }));
        if let Some(event) = self.ahead.pop_front().filter(|e| e != entry) {
            faults.push(Fault { seq, words: differs(entry, &event) });
        }
        Ok(())
    }

    /// After the last entry of the table: nothing may be left.
    pub fn rest(&mut self, last: i64, faults: &mut Vec<Fault>) -> rusqlite::Result<()> {
        loop {
            self.fill(1)?;
            let Some(lost) = self.ahead.pop_front() else { return Ok(()) };
            faults.push(Fault { seq: last, words: format!("after it, {}", missing(&lost)) });
        }
    }
}

fn missing(lost: &Entry) -> String {
    format!("the {} of {} for {} is missing", lost.kind.word(), lost.amount, lost.attempt)
}

fn differs(entry: &Entry, event: &Entry) -> String {
    if entry.amount != event.amount {
        return format!("says {}, the journal {} for {}", entry.amount, event.amount, entry.attempt);
    }
    format!("says something else than the journal of {}", entry.attempt)
}
