//! Looks at the state for people that cost what is shown, not what is known.

use std::sync::Arc;

use rusqlite::params;

use super::ledger::SLOT;
use super::{Store, StoreError};
use crate::base::{Money, Timestamp};
use crate::record::{JobSpec, RunRecord, State};

/// Open runs that are looked at to see which jobs they are of.
const LOOKED_AT: i64 = 10_000;
/// With a live attempt.
const LIVE: [&str; 3] = ["launching", "running", "stopping"];
/// How a run can have ended.
const OVER: [&str; 6] = ["succeeded", "failed", "cancelled", "skipped", "pruned", "unneeded"];
const COLUMNS: &str = "SELECT address, fingerprint, job, spec, body FROM runs INDEXED BY runs_by_end";

impl Store {
    /// Jobs of the first runs that are not over, as they are set, with how many of these each has; most first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_jobs(&self, most: usize) -> Result<Vec<(Arc<JobSpec>, u64)>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let sql = "SELECT body, n FROM (SELECT job, count(*) AS n FROM (SELECT job FROM runs INDEXED BY runs_open \
            WHERE body ->> '$.status' IN ('pending', 'launching', 'running', 'stopping') LIMIT ?1) GROUP BY job) \
            JOIN jobs ON id = job ORDER BY n DESC LIMIT ?2";
        let mut query = self.db.prepare_cached(sql).map_err(io)?;
        let mut rows = query.query(params![LOOKED_AT, i64::try_from(most).unwrap_or(i64::MAX)]).map_err(io)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(io)? {
            let text = row.get_ref(0).and_then(|v| v.as_str().map_err(Into::into)).map_err(io)?;
            let job: JobSpec = serde_json::from_str(text).map_err(|e| self.wrong(&e))?;
            all.push((Arc::new(job), u64::try_from(row.get::<_, i64>(1).map_err(io)?).unwrap_or(0)));
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

    /// The runs with a live attempt, however many wait.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load_live(&self) -> Result<State, StoreError> {
        let (mut state, mut jobs) = (State::default(), Default::default());
        for status in LIVE {
            self.read_runs(&mut state, &mut jobs, &format!("{COLUMNS} WHERE body ->> '$.status' = ?1"), [status])?;
        }
        Ok(state)
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
