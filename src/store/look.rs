//! Looks at the state for people that cost what is shown, not what is known.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{Store, StoreError};
use crate::base::{Money, Timestamp};
use crate::record::{RunRecord, State};

/// Length of a slot of sums, in milliseconds.
const SLOT: i64 = 900_000;
/// How a run can have ended.
const OVER: [&str; 6] = ["succeeded", "failed", "cancelled", "skipped", "pruned", "unneeded"];
const COLUMNS: &str = "SELECT address, fingerprint, job, spec, body FROM runs INDEXED BY runs_by_end";

impl Store {
    /// Runs by status.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.tally("SELECT body ->> '$.status', count(*) FROM runs INDEXED BY runs_by_end GROUP BY body ->> '$.status'", [])
    }

    /// Runs of a job by status.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counts_of(&self, job: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let sql = "SELECT body ->> '$.status', count(*) FROM runs \
            WHERE address = ?1 OR (address >= ?1 || '[' AND address < ?1 || '\\') GROUP BY 1";
        self.tally(sql, [job])
    }

    fn tally(&self, sql: &str, params: impl rusqlite::Params) -> Result<BTreeMap<String, u64>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare_cached(sql).map_err(io)?;
        let mut rows = query.query(params).map_err(io)?;
        let mut all = BTreeMap::new();
        while let Some(row) = rows.next().map_err(io)? {
            let word: Option<String> = row.get(0).map_err(io)?;
            let count: i64 = row.get(1).map_err(io)?;
            all.insert(word.unwrap_or_default(), u64::try_from(count).unwrap_or(0));
        }
        Ok(all)
    }

    /// The runs that ended last, newest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ended(&self, most: usize) -> Result<Vec<RunRecord>, StoreError> {
        let mut state = State::default();
        let sql = format!("{COLUMNS} WHERE body ->> '$.status' = ?1 ORDER BY body ->> '$.ended_at' DESC LIMIT ?2");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut jobs = Default::default();
        for status in OVER {
            self.read_runs(&mut state, &mut jobs, &sql, params![status, most])?;
        }
        let mut runs: Vec<RunRecord> = state.runs.into_values().collect();
        runs.sort_by_key(|r| std::cmp::Reverse((r.ended_at, r.seq)));
        runs.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(runs)
    }

    /// What was posted since a time (to a quarter of an hour), or ever.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn spent_since(&self, since: Option<Timestamp>) -> Result<Money, StoreError> {
        let from = since.map_or(i64::MIN, |s| s.0.div_euclid(SLOT));
        let sql = "SELECT coalesce(sum(amount), 0) FROM spend WHERE slot >= ?1";
        let sum = self.db.prepare_cached(sql).and_then(|mut q| q.query_row([from], |r| r.get(0)));
        sum.map(Money::from_micros).map_err(|e| self.io(&e))
    }

    /// Changes whenever another connection has written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        self.db.pragma_query_value(None, "data_version", |r| r.get(0)).map_err(|e| self.io(&e))
    }

    /// When the oldest request that nobody has answered was left.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn oldest_request(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = self.db.query_row("SELECT min(at) FROM requests", [], |r| r.get(0)).map_err(|e| self.io(&e))?;
        Ok(at.map(Timestamp))
    }

    /// Begins to write and stops; the answer is the format. Nothing is changed.
    ///
    /// # Errors
    /// When it cannot be written, or another program keeps it from being written for longer than 300 ms.
    pub fn try_write(&self) -> Result<i64, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        self.db.busy_timeout(std::time::Duration::from_millis(300)).map_err(io)?;
        self.db.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(io)?;
        self.db.busy_timeout(std::time::Duration::from_secs(10)).map_err(io)?;
        Ok(super::schema::VERSION)
    }
}
