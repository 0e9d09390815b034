//! How many runs there are of each status: kept in the transaction that changes them, so that nobody counts them all.
//!
//! In: runs before and after a transaction. Out: sums by status, of all runs and of each job. Must never differ from the runs' own table.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{Store, StoreError};
use crate::base::Address;
use crate::record::State;

/// Name under which the runs of all jobs are counted.
const ALL: &str = "";

/// Counts everything anew: for states that were written before there were counts.
pub const RECOUNT: &str = "
DELETE FROM counts;
INSERT INTO counts SELECT CASE instr(address, '[') WHEN 0 THEN address ELSE substr(address, 1, instr(address, '[') - 1) END AS job,
    body ->> '$.status' AS status, count(*) FROM runs GROUP BY 1, 2;
INSERT INTO counts SELECT '', status, sum(runs) FROM counts GROUP BY status;
";

/// Changes of one transaction.
#[derive(Default)]
pub struct Tally {
    changes: BTreeMap<(Arc<str>, String), i64>,
}

impl Tally {
    /// Notes the status of a run as the store has it, and as it will have it.
    pub fn note(&mut self, tx: &Transaction<'_>, state: &State, address: &Address) -> rusqlite::Result<()> {
        let mut known = tx.prepare_cached("SELECT body ->> '$.status' FROM runs WHERE address = ?1")?;
        let before: Option<String> = known.query_row([address.as_str()], |r| r.get(0)).optional()?;
        let after = state.runs.get(address).map(|r| r.status.word());
        if before.as_deref() == after {
            return Ok(());
        }
        let job: Arc<str> = address.job().into();
        for (status, change) in before.into_iter().map(|b| (b, -1)).chain(after.map(|a| (a.to_owned(), 1))) {
            for job in [ALL.into(), Arc::clone(&job)] {
                *self.changes.entry((job, status.clone())).or_default() += change;
            }
        }
        Ok(())
    }

    /// Writes them.
    pub fn write(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for ((job, status), change) in self.changes.iter().filter(|(_, change)| **change != 0) {
            let sql = "INSERT INTO counts VALUES (?1, ?2, ?3) ON CONFLICT (job, status) DO UPDATE SET runs = runs + excluded.runs";
            tx.prepare_cached(sql)?.execute(params![job, status, change])?;
            if *change < 0 {
                tx.prepare_cached("DELETE FROM counts WHERE job = ?1 AND status = ?2 AND runs <= 0")?.execute(params![job, status])?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// Runs by status.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.counts_of(ALL)
    }

    /// Runs of a job by status.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counts_of(&self, job: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare_cached("SELECT status, runs FROM counts WHERE job = ?1").map_err(io)?;
        let rows = query.query_map([job], |r| Ok((r.get(0)?, r.get::<_, i64>(1)?))).map_err(io)?;
        rows.map(|row| row.map(|(status, n)| (status, u64::try_from(n).unwrap_or(0)))).collect::<Result<_, _>>().map_err(io)
    }
}
