//! Looking for runs without reading them all: the newest page by page, and those of a submission.

use rusqlite::params;

use super::{Store, StoreError};
use crate::record::RunStatus;

/// Which runs of the newest are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those noted before this number.
    pub before: Option<i64>,
    /// Only those that stand so.
    pub status: Option<RunStatus>,
    /// Only those of this workflow, or of this `workflow/job`.
    pub within: Option<String>,
}

/// Where the address is that of a workflow, a job or a run.
const WITHIN: &str = "(?3 IS NULL OR r.address = ?3 OR (r.address >= ?3 || '/' AND r.address < ?3 || '0') \
    OR (r.address >= ?3 || '[' AND r.address < ?3 || '\\'))";

impl Store {
    /// Addresses of runs by the time of their planning, the newest first, each with its number: at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn newest(&self, wanted: &Wanted, limit: usize) -> Result<Vec<(i64, String)>, StoreError> {
        // A run that was planned again stands where it was planned last.
        let planned = "substr(X.body, 1, 16) IN ('{\"event\":\"planne', '{\"event\":\"reused')";
        let sql = format!(
            "SELECT e.seq, e.address FROM events e JOIN runs r ON r.address = e.address \
             WHERE (?1 IS NULL OR e.seq < ?1) AND {} AND (?2 IS NULL OR r.body ->> '$.status' = ?2) AND {WITHIN} \
             AND NOT EXISTS (SELECT 1 FROM events l WHERE l.address = e.address AND l.seq > e.seq AND {}) \
             ORDER BY e.seq DESC LIMIT ?4",
            planned.replace('X', "e"),
            planned.replace('X', "l"),
        );
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare_cached(&sql).map_err(io)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let status = wanted.status.map(RunStatus::word);
        let rows = query.query_map(params![wanted.before, status, wanted.within, limit], |r| Ok((r.get(0)?, r.get(1)?))).map_err(io)?;
        rows.collect::<Result<_, _>>().map_err(io)
    }

    /// Workflows that a submission became: `MODEL-ID` or `MODEL-ID-001` and so on.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn submitted(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let sql = "SELECT DISTINCT substr(address, 1, instr(address, '/') - 1) FROM runs \
            WHERE address GLOB '*-' || ?1 || '/*' OR address GLOB '*-' || ?1 || '-[0-9]*/*' ORDER BY 1";
        let mut query = self.db.prepare_cached(sql).map_err(io)?;
        let rows = query.query_map([id], |r| r.get(0)).map_err(io)?;
        rows.collect::<Result<_, _>>().map_err(io)
    }

    /// Newest generation of runs that were planned more than once.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn generations(&self) -> Result<Vec<(String, u32)>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let sql = "SELECT address, body ->> '$.generation' FROM runs WHERE body ->> '$.generation' > 1";
        let mut query = self.db.prepare_cached(sql).map_err(io)?;
        let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).map_err(io)?;
        rows.collect::<Result<_, _>>().map_err(io)
    }
}
