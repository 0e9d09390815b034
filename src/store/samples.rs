//! Ended attempts, for estimates: written with the event, read by job or by model type.
//!
//! In: samples. Out: the last ones of a job, newest first. A read looks at a bounded number of rows through an index, however many
//! runs there ever were.

use rusqlite::{Params, Transaction, params};

use super::{Store, StoreError};
use crate::base::Millis;
use crate::base::Timestamp;
use crate::record::{Cause, Exposure, MetricPoint, Sample};

/// Attempts of a job that are looked at: beyond these, older ones tell little.
pub const RECENT: i64 = 160;

/// Appends one sample and counts its time on machines.
pub fn write(tx: &Transaction<'_>, sample: &Sample) -> rusqlite::Result<()> {
    let json = |e: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(e));
    let body = serde_json::to_string(sample).map_err(json)?;
    tx.prepare_cached("INSERT INTO samples (job, model, whole, fingerprint, body) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        &*sample.job,
        sample.model.as_deref(),
        sample.is_whole(),
        &sample.fingerprint.0[..],
        body
    ])?;
    let capacity = serde_json::to_value(sample.capacity).map_err(json)?;
    let millis = i64::try_from(sample.time.0).unwrap_or(i64::MAX);
    tx.prepare_cached(
        "INSERT INTO exposure VALUES (?1, 1, ?2, ?3) ON CONFLICT (capacity) DO UPDATE SET
         attempts = attempts + 1, millis = millis + excluded.millis, interruptions = interruptions + excluded.interruptions",
    )?
    .execute(params![capacity.as_str(), millis, matches!(sample.cause, Cause::Interrupted | Cause::Lost)])?;
    Ok(())
}

impl Store {
    /// The last ended attempts of a job, newest first: of all generations, also of runs that left the state.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn samples(&self, job: &str) -> Result<Vec<Sample>, StoreError> {
        self.read_samples("SELECT body FROM samples WHERE job = ?1 ORDER BY seq DESC LIMIT ?2", params![job, RECENT])
    }

    /// The last whole runs of a model type, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn samples_of_model(&self, model: &str) -> Result<Vec<Sample>, StoreError> {
        let sql = "SELECT body FROM samples WHERE model = ?1 AND whole = 1 ORDER BY seq DESC LIMIT ?2";
        self.read_samples(sql, params![model, RECENT])
    }

    /// Names of all jobs that have ended attempts.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn jobs_with_samples(&self) -> Result<Vec<String>, StoreError> {
        // A walk from name to name through the index, however many rows each has.
        let sql = "WITH RECURSIVE names (job) AS (SELECT min(job) FROM samples
            UNION ALL SELECT (SELECT min(job) FROM samples WHERE job > names.job) FROM names WHERE names.job IS NOT NULL)
            SELECT job FROM names WHERE job IS NOT NULL";
        let mut query = self.db.prepare(sql).map_err(|e| self.io(&e))?;
        let names = query.query_map([], |r| r.get(0)).and_then(Iterator::collect);
        names.map_err(|e| self.io(&e))
    }

    fn read_samples(&self, sql: &str, with: impl Params) -> Result<Vec<Sample>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare_cached(sql).map_err(io)?;
        let mut rows = query.query(with).map_err(io)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(io)? {
            let body = row.get_ref(0).and_then(|v| v.as_str().map_err(Into::into)).map_err(io)?;
            // A sample of another version is no sample of this one.
            found.extend(serde_json::from_str::<Sample>(body));
        }
        Ok(found)
    }

    /// How long attempts ran and how often they were taken away.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn exposures(&self) -> Result<Vec<Exposure>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare("SELECT capacity, attempts, millis, interruptions FROM exposure").map_err(io)?;
        let mut rows = query.query([]).map_err(io)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(io)? {
            let word: String = row.get(0).map_err(io)?;
            let Ok(capacity) = serde_json::from_value(word.into()) else { continue };
            let count = |i| row.get::<_, i64>(i).map(|n| u64::try_from(n).unwrap_or(0)).map_err(io);
            found.push(Exposure { capacity, attempts: count(1)?, time: Millis(count(2)?), interruptions: count(3)? });
        }
        Ok(found)
    }

    /// Every value that the last generation of a run reported, with the time at which it was noted, oldest first. They are in the
    /// journal, which is read through its index by address.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn points(&self, address: &str, generation: u32) -> Result<Vec<(Timestamp, MetricPoint)>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let sql = "SELECT at, body FROM events WHERE address = ?1 AND body LIKE '{\"event\":\"metrics\"%' ORDER BY seq";
        let mut query = self.db.prepare_cached(sql).map_err(io)?;
        let mut rows = query.query([address]).map_err(io)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(io)? {
            let body = row.get_ref(1).and_then(|v| v.as_str().map_err(Into::into)).map_err(io)?;
            let Ok(crate::record::Event::Metrics { attempt, points }) = serde_json::from_str(body) else { continue };
            if attempt.generation == generation {
                let at = Timestamp(row.get(0).map_err(io)?);
                found.extend(points.into_iter().map(|p| (at, p)));
            }
        }
        Ok(found)
    }
}
