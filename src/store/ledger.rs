//! The ledger's table: appended with the events that it comes from, chained by hash, summed for budgets.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use rustc_hash::FxHashMap;

use super::replay::Replay;
use super::{Store, StoreError};
use crate::advise::report::{By, Line, Question};
use crate::base::{Address, AttemptId, Capacity, Digest, Millis, Money, Timestamp};
use crate::expand::{Rule, Scope};
use crate::price::Rates;
use crate::queue::{Limits, Meters, Treasury};
use crate::record::{Bill, Cause, Entry, EntryKind, Payer};

/// Length of a slot of sums: the finest step of time zones.
pub(super) const SLOT: i64 = 900_000;

pub(super) const COLUMNS: &str = "at, kind, address, generation, attempt, amount, reserved, started, ended, millis, cause, workflow, job, team, user, \
    priority, gpu, gpus, capacity, gpu_cost, cpu_cost, off_peak_saved, spot_saved, rates, labels, note, hash";

/// Milliseconds of posts since a moment, by number of GPUs; from the index `ledger_gpu` alone.
const GPU_TIME: &str =
    "SELECT gpus, sum(millis) FROM ledger WHERE kind = 'post' AND gpus > 0 AND at >= ?1 AND (?2 IS NULL OR team = ?2) GROUP BY gpus";

/// What is wrong with a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Number of the entry.
    pub seq: i64,
    /// What does not hold.
    pub words: String,
}

/// What a look at the whole ledger found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Entries read.
    pub entries: u64,
    /// All that was posted, corrections included.
    pub spent: Money,
    /// Set aside for attempts that have not ended.
    pub reserved: Money,
    /// Link of the last entry: whoever keeps it can prove that nothing before it was changed.
    pub head: Option<Digest>,
    /// What does not hold.
    pub faults: Vec<Fault>,
}

/// Appends one entry and its sum.
pub fn write(tx: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let last = tx.prepare_cached("SELECT hash FROM ledger ORDER BY seq DESC LIMIT 1")?.query_row([], |r| r.get(0)).optional()?;
    let link = entry.link(&Digest(last.unwrap_or_default()));
    let (payer, bill) = (&entry.bill.payer, &entry.bill);
    let labels = labels_text(payer)?;
    let insert = format!(
        "INSERT INTO ledger ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)"
    );
    tx.prepare_cached(&insert)?.execute(params![
        entry.at.0,
        entry.kind.word(),
        entry.attempt.address.as_str(),
        entry.attempt.generation,
        entry.attempt.number,
        entry.amount.micros(),
        entry.reserved.micros(),
        entry.ran.map(|r| r.0.0),
        entry.ran.map(|r| r.1.0),
        i64::try_from(bill.time.0).unwrap_or(i64::MAX),
        word(&entry.cause)?,
        payer.workflow(),
        &*payer.job,
        payer.team,
        &*payer.user,
        &*payer.priority,
        payer.gpu,
        payer.gpus,
        word(&payer.capacity)?,
        bill.gpu.micros(),
        bill.cpu.micros(),
        bill.off_peak_saved.micros(),
        bill.spot_saved.micros(),
        bill.rates.map(|d| d.0.to_vec()),
        labels,
        Some(&entry.note).filter(|n| !n.is_empty()),
        &link.0[..],
    ])?;
    if entry.spent() != Money::ZERO {
        tx.prepare_cached(
            "INSERT INTO spend VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (slot, job, team, user, labels) DO UPDATE SET amount = amount + excluded.amount",
        )?
        .execute(params![
            entry.at.0.div_euclid(SLOT),
            &*payer.job,
            payer.team.as_deref().unwrap_or_default(),
            &*payer.user,
            labels.as_deref().unwrap_or_default(),
            entry.spent().micros(),
        ])?;
    }
    Ok(())
}

fn json(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn labels_text(payer: &Payer) -> rusqlite::Result<Option<String>> {
    if payer.labels.is_empty() { Ok(None) } else { serde_json::to_string(&payer.labels).map(Some).map_err(json) }
}

/// The word of an enum, as serde writes it.
fn word<T: serde::Serialize>(value: &T) -> rusqlite::Result<Option<String>> {
    Ok(serde_json::to_value(value).map_err(json)?.as_str().map(str::to_owned))
}

/// The enum of a word.
fn by_word<T: serde::de::DeserializeOwned>(word: Option<String>) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word?)).ok()
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Entry, Digest)> {
    let money = |i| row.get(i).map(Money::from_micros);
    let wrong = |i: usize| rusqlite::Error::InvalidColumnType(i, "ledger".to_owned(), rusqlite::types::Type::Text);
    let kind = by_word::<EntryKind>(row.get(1)?).ok_or_else(|| wrong(1))?;
    let address = Address::parse(&row.get::<_, String>(2)?).map_err(|_| wrong(2))?;
    let ran = row.get::<_, Option<i64>>(7)?.zip(row.get::<_, Option<i64>>(8)?).map(|(s, e)| (Timestamp(s), Timestamp(e)));
    let payer = Payer {
        job: row.get::<_, String>(12)?.into(),
        team: row.get(13)?,
        user: row.get::<_, String>(14)?.into(),
        priority: row.get::<_, String>(15)?.into(),
        gpu: row.get(16)?,
        gpus: row.get(17)?,
        capacity: by_word::<Capacity>(row.get(18)?).ok_or_else(|| wrong(18))?,
        labels: row.get::<_, Option<String>>(24)?.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default(),
    };
    let rates = row.get::<_, Option<Vec<u8>>>(23)?.and_then(|b| b.try_into().ok()).map(Digest);
    let (amount, reserved) = (money(5)?, money(6)?);
    let bill = Bill {
        amount: match kind {
            EntryKind::Post => amount,
            EntryKind::Reserve | EntryKind::Void | EntryKind::Correct => Money::ZERO,
        },
        reserved,
        time: Millis(u64::try_from(row.get::<_, i64>(9)?).unwrap_or(0)),
        gpu: money(19)?,
        cpu: money(20)?,
        off_peak_saved: money(21)?,
        spot_saved: money(22)?,
        rates,
        payer,
    };
    let entry = Entry {
        at: Timestamp(row.get(0)?),
        kind,
        attempt: AttemptId { address, generation: row.get(3)?, number: row.get(4)? },
        amount,
        reserved,
        ran,
        cause: by_word::<Cause>(row.get(10)?),
        bill,
        note: row.get::<_, Option<String>>(25)?.unwrap_or_default(),
    };
    Ok((entry, Digest(row.get(26)?)))
}

impl Store {
    /// The accounts of budgets with what was spent in their windows, and quotas of GPU-hours with what was used. What is reserved is in the state.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn treasury(&self, rates: &Rates, rules: &[Rule], limits: &Limits, now: Timestamp) -> Result<Treasury, StoreError> {
        let mut treasury = Treasury::new(rates.clone(), rules, limits.max_concurrent, now).metered(self.meters(limits, now)?);
        let Some(since) = treasury.since() else { return Ok(treasury) };
        self.sums(since, |payer, at, amount| treasury.spent_before(payer, at, amount))?;
        Ok(treasury)
    }

    /// Quotas of GPU-hours with what attempts that ended in their windows have used.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn meters(&self, limits: &Limits, now: Timestamp) -> Result<Meters, StoreError> {
        let mut meters = Meters::new(limits, now);
        let io = |e: rusqlite::Error| self.io(&e);
        for meter in meters.iter_mut() {
            let mut query = self.db.prepare_cached(GPU_TIME).map_err(io)?;
            let since = meter.start.map_or(i64::MIN, |t| t.0);
            let mut rows = query.query(params![since, meter.team.as_deref()]).map_err(io)?;
            while let Some(row) = rows.next().map_err(io)? {
                let (gpus, millis): (u32, i64) = (row.get(0).map_err(io)?, row.get(1).map_err(io)?);
                meter.used = meter.used.saturating_add(u64::try_from(millis).unwrap_or(0).saturating_mul(u64::from(gpus)));
            }
        }
        Ok(meters)
    }

    /// Hands out the sums of the ledger since a moment, by quarters of an hour and payer.
    pub(super) fn sums(&self, since: Timestamp, mut each: impl FnMut(&Payer, Timestamp, Money)) -> Result<(), StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare("SELECT slot, job, team, user, labels, amount FROM spend WHERE slot >= ?1").map_err(io)?;
        let mut rows = query.query([since.0.div_euclid(SLOT)]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let text = |i| row.get::<_, String>(i).map_err(io);
            let labels = text(4)?;
            let payer = Payer {
                job: text(1)?.into(),
                team: Some(text(2)?).filter(|t| !t.is_empty()),
                user: text(3)?.into(),
                labels: if labels.is_empty() { Default::default() } else { serde_json::from_str(&labels).unwrap_or_default() },
                ..Payer::default()
            };
            let slot: i64 = row.get(0).map_err(io)?;
            each(&payer, Timestamp(slot.saturating_mul(SLOT)), Money::from_micros(row.get(5).map_err(io)?));
        }
        Ok(())
    }

    /// The budgets of a project file as it is now, and those of workflows and sweeps as last applied.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn rules_with(&self, of_project: &[Rule]) -> Result<Vec<Rule>, StoreError> {
        let known = |r: &Rule| of_project.iter().any(|k| k.scope == r.scope && k.name == r.name);
        let others = self.rules()?.into_iter().filter(|r| !known(r) && matches!(r.scope, Scope::Workflow(_) | Scope::Job(_)));
        Ok(of_project.iter().cloned().chain(others).collect())
    }

    /// The budgets that the last apply kept.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn rules(&self) -> Result<Vec<Rule>, StoreError> {
        let text: Option<String> =
            self.db.query_row("SELECT value FROM meta WHERE key = 'rules'", [], |r| r.get(0)).optional().map_err(|e| self.io(&e))?;
        Ok(text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default())
    }

    /// Notes the budgets that an apply keeps, for commands that read no workflow files.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_rules(&mut self, rules: &[Rule]) -> Result<(), StoreError> {
        let mut all = rules.to_vec();
        for rule in self.rules()? {
            // Budgets of what was submitted beside the files live as long as its runs do.
            let workflow = match &rule.scope {
                Scope::Workflow(name) => Arc::clone(name),
                Scope::Job(job) => job.split('/').next().unwrap_or_default().into(),
                _ => continue,
            };
            if !all.iter().any(|r| r.scope == rule.scope) && self.has_open(&workflow)? {
                all.push(rule);
            }
        }
        self.write_rules(&all)
    }

    /// Notes further budgets, those of a submission.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add_rules(&mut self, rules: &[Rule]) -> Result<(), StoreError> {
        if rules.is_empty() {
            return Ok(());
        }
        let mut all = self.rules()?;
        all.extend(rules.iter().cloned());
        self.write_rules(&all)
    }

    fn write_rules(&self, rules: &[Rule]) -> Result<(), StoreError> {
        let text = serde_json::to_string(rules).map_err(|e| StoreError::Io(e.to_string()))?;
        self.db.execute("INSERT OR REPLACE INTO meta VALUES ('rules', ?1)", [text]).map(|_| ()).map_err(|e| self.io(&e))
    }

    fn has_open(&self, workflow: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM runs INDEXED BY runs_open WHERE address >= ?1 || '/' AND address < ?1 || '0' \
            AND body ->> '$.status' IN ('pending', 'launching', 'running', 'stopping')";
        self.db.prepare_cached(sql).and_then(|mut q| q.exists([workflow])).map_err(|e| self.io(&e))
    }

    /// Hands out what a report counts, oldest first, without copying a word. Reservations, other times and columns that the question does not
    /// ask for stay in the database: half of the entries, and most of the words.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lines(&self, question: &Question, mut each: impl FnMut(&Line<'_>)) -> Result<(), StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let wanted = |by: By, column: &'static str| if question.by.contains(&by) { column } else { "''" };
        let address = if question.knows_runs() { "address, generation" } else { "'', 0" };
        let (team, user, priority) = (wanted(By::Team, "team"), wanted(By::User, "user"), wanted(By::Priority, "priority"));
        let gpu = if question.by.contains(&By::Gpu) { "gpu, gpus" } else { "'', 0" };
        let sql = format!(
            "SELECT at, kind, {address}, attempt, amount, millis, cause, job, {team}, {user}, {priority}, {gpu}, off_peak_saved, spot_saved \
                FROM ledger WHERE kind <> 'reserve' AND at >= ?1 AND at < ?2"
        );
        let mut query = self.db.prepare(&sql).map_err(io)?;
        let mut rows = query.query([question.before.0, question.to.0]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let text = |i| row.get_ref(i).and_then(|v| v.as_str().map_err(Into::into));
            let maybe = |i| row.get_ref(i).and_then(|v| v.as_str_or_null().map_err(Into::into));
            let line = || -> rusqlite::Result<Line<'_>> {
                Ok(Line {
                    at: row.get(0)?,
                    kind: text(1)?,
                    address: text(2)?,
                    generation: row.get(3)?,
                    attempt: row.get(4)?,
                    amount: row.get(5)?,
                    millis: row.get(6)?,
                    cause: maybe(7)?,
                    job: text(8)?,
                    team: maybe(9)?,
                    user: text(10)?,
                    priority: text(11)?,
                    gpu: maybe(12)?,
                    gpus: row.get(13)?,
                    off_peak: row.get(14)?,
                    spot: row.get(15)?,
                })
            };
            each(&line().map_err(io)?);
        }
        Ok(())
    }

    /// How often the result of each run was taken over instead of made, in a stretch of time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reused(&self, from: Timestamp, to: Timestamp) -> Result<FxHashMap<String, u64>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let sql = "SELECT json_extract(body, '$.result.from'), count(*) FROM events \
            WHERE substr(body, 1, 17) = '{\"event\":\"reused\"' AND at >= ?1 AND at < ?2 GROUP BY 1";
        let mut query = self.db.prepare(sql).map_err(io)?;
        let rows = query.query_map([from.0, to.0], |r| Ok((r.get::<_, Option<String>>(0)?, r.get::<_, i64>(1)?))).map_err(io)?;
        let mut found = FxHashMap::default();
        for row in rows {
            if let (Some(from), times) = row.map_err(io)? {
                found.insert(from, u64::try_from(times).unwrap_or(0));
            }
        }
        Ok(found)
    }

    /// Hands out every entry, oldest first, with its number and its link.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn entries(&self, mut each: impl FnMut(i64, Entry, Digest)) -> Result<(), StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare(&format!("SELECT {COLUMNS}, seq FROM ledger ORDER BY seq")).map_err(io)?;
        let mut rows = query.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let (entry, link) = read(row).map_err(io)?;
            each(row.get(27).map_err(io)?, entry, link);
        }
        Ok(())
    }

    /// Reads the whole ledger: every entry as its event in the journal says, every link, every reservation closed once, every post as long as the journal's timestamps, and
    /// the sums that budgets are counted from.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let mut found = Verified::default();
        let mut open: std::collections::BTreeMap<AttemptId, Money> = Default::default();
        let mut sums: std::collections::BTreeMap<(i64, Arc<str>), i64> = Default::default();
        let mut before = Digest([0; 32]);
        let mut query = self.db.prepare(Replay::EVENTS).map_err(|e| self.io(&e))?;
        let mut replay = Replay::new(query.query([]).map_err(|e| self.io(&e))?);
        let (mut last, mut broken) = (0, Ok(()));
        self.entries(|seq, entry, link| {
            if broken.is_ok() {
                broken = replay.compare(seq, &entry, &mut found.faults);
            }
            last = seq;
            let mut fault = |words: String| found.faults.push(Fault { seq, words });
            if entry.link(&before) != link {
                fault("was changed, or an entry before it is missing: its link does not fit".to_owned());
            }
            before = link;
            match entry.kind {
                EntryKind::Reserve => {
                    if open.insert(entry.attempt.clone(), entry.amount).is_some() {
                        fault(format!("{} is reserved for twice", entry.attempt));
                    }
                }
                EntryKind::Post | EntryKind::Void => match open.remove(&entry.attempt) {
                    None => fault(format!("{} ends a reservation that is not open", entry.attempt)),
                    Some(reserved) if reserved != entry.reserved => {
                        fault(format!("{} frees {}, {reserved} were reserved", entry.attempt, entry.reserved));
                    }
                    Some(_) => {}
                },
                EntryKind::Correct => {}
            }
            if let Some((start, end)) = entry.ran.filter(|_| entry.cause.is_some()) {
                let ran = end.since(start);
                if entry.bill.time != ran && entry.bill.time != ran.times(2) {
                    fault(format!("charges {}, it ran for {ran}", entry.bill.time));
                }
            }
            found.spent += entry.spent();
            *sums.entry((entry.at.0.div_euclid(SLOT), Arc::clone(&entry.bill.payer.job))).or_default() += entry.spent().micros();
            (found.entries, found.head) = (found.entries + 1, Some(link));
        })?;
        broken.and_then(|()| replay.rest(last, &mut found.faults)).map_err(|e| self.io(&e))?;
        found.reserved = open.values().copied().sum();
        self.verify_sums(&sums, &mut found)?;
        Ok(found)
    }

    fn verify_sums(&self, sums: &std::collections::BTreeMap<(i64, Arc<str>), i64>, found: &mut Verified) -> Result<(), StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare("SELECT slot, job, sum(amount) FROM spend GROUP BY slot, job").map_err(io)?;
        let mut kept: std::collections::BTreeMap<(i64, Arc<str>), i64> = Default::default();
        let mut rows = query.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let job: String = row.get(1).map_err(io)?;
            kept.insert((row.get(0).map_err(io)?, job.into()), row.get(2).map_err(io)?);
        }
        for (key, sum) in sums.iter().filter(|(key, sum)| kept.get(*key).copied().unwrap_or(0) != **sum) {
            let words = format!(
                "the sums of {} say {}, its entries {}",
                key.1,
                Money::from_micros(kept.get(key).copied().unwrap_or(0)),
                Money::from_micros(*sum)
            );
            found.faults.push(Fault { seq: 0, words });
        }
        Ok(())
    }
}
