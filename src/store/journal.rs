//! Appending events and reading the state back.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};
use rustc_hash::{FxHashMap, FxHashSet};

use super::counts::Tally;
use super::lock::Lock;
use super::wire::{StoredSpec, event_text};
use super::{Store, StoreError, ledger, samples};
use crate::base::{Address, Digest, Fingerprint, Timestamp};
use crate::diff::History;
use crate::record::{Entry, Event, Exposure, Finished, JobSpec, Pause, RunRecord, RunStatus, Sample, State};

/// Settings that runs share, by their number in the store.
type Jobs = FxHashMap<i64, Arc<JobSpec>>;

/// One line of history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its number.
    pub seq: u64,
    /// When it was noted.
    pub at: Timestamp,
    /// The event, as stored.
    pub body: serde_json::Value,
    /// The run.
    pub address: Option<String>,
}

impl Store {
    /// Appends events, brings the projection of the runs up to date and answers requests, all or nothing. `state` is the
    /// engine's, with the events folded in.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the lock was taken over; input and output errors. Nothing was written then.
    pub fn append(&mut self, lock: &Lock, events: &[Event], state: &State, answered: &[i64], now: Timestamp) -> Result<(), StoreError> {
        let path = self.path.clone();
        let io = |e: rusqlite::Error| super::explain(&path, &e);
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        let epoch: i64 =
            tx.prepare_cached("SELECT epoch FROM lock WHERE id = 1").and_then(|mut q| q.query_row([], |r| r.get(0))).map_err(io)?;
        if epoch != lock.epoch {
            return Err(StoreError::Fenced);
        }
        let mut jobs = JobIds::default();
        let mut touched: FxHashSet<&Address> = FxHashSet::default();
        {
            let mut insert = tx.prepare_cached("INSERT INTO events (at, epoch, address, body) VALUES (?1, ?2, ?3, ?4)").map_err(io)?;
            for event in events {
                let job = event.spec().map(|s| jobs.id(&tx, &s.job)).transpose().map_err(io)?;
                let body = event_text(event, job).map_err(|e| StoreError::Io(e.to_string()))?;
                insert.execute(params![now.0, epoch, event.address().map(Address::as_str), body]).map_err(io)?;
                touched.extend(event.address());
                if matches!(event, Event::QueuePaused { .. } | Event::QueueResumed { .. }) {
                    let body = serde_json::to_string(&state.paused).map_err(|e| StoreError::Io(e.to_string()))?;
                    tx.execute("INSERT OR REPLACE INTO meta VALUES ('paused', ?1)", [body]).map_err(io)?;
                }
                if let Some(entry) = Entry::of(event, now) {
                    ledger::write(&tx, &entry).map_err(io)?;
                }
                if let Some(sample) = Sample::of(event, state) {
                    samples::write(&tx, &sample).map_err(io)?;
                }
            }
            for sweep in events.iter().filter_map(Event::sweep) {
                project_sweep(&tx, state, sweep).map_err(io)?;
            }
            let mut tally = Tally::default();
            for address in touched {
                tally.note(&tx, state, address).map_err(io)?;
                project(&tx, &mut jobs, state, address).map_err(io)?;
            }
            tally.write(&tx).map_err(io)?;
            for id in answered {
                tx.execute("DELETE FROM requests WHERE id = ?1", [id]).map_err(io)?;
            }
        }
        tx.commit().map_err(io)
    }

    /// The state: the fold of all events, as kept beside them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(&self) -> Result<State, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut state = State { paused: self.paused()?, ..State::default() };
        let mut jobs = Jobs::default();
        self.read_jobs(&mut jobs)?;
        self.read_runs(&mut state, &mut jobs, "SELECT address, fingerprint, job, spec, body FROM runs", [])?;
        let mut query =
            self.db.prepare("SELECT address, generation FROM forgotten WHERE address NOT IN (SELECT address FROM runs)").map_err(io)?;
        let rows = query.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get(1)?))).map_err(io)?;
        for row in rows {
            let (address, generation) = row.map_err(io)?;
            state.forgotten.insert(Address::parse(&address).map_err(StoreError::Io)?, generation);
        }
        self.read_sweeps(&mut state)?;
        Ok(state)
    }

    /// The part of the state that decides what happens next: runs that are not over, and all runs of the jobs that these need.
    /// Its size does not grow with what is over. Good for looking, not for writing: what is over is missing from it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load_open(&self) -> Result<State, StoreError> {
        let mut state = State { paused: self.paused()?, ..State::default() };
        let mut jobs = Jobs::default();
        let open = "SELECT address, fingerprint, job, spec, body FROM runs INDEXED BY runs_open \
            WHERE body ->> '$.status' IN ('pending', 'launching', 'running', 'stopping')";
        self.read_runs(&mut state, &mut jobs, open, [])?;
        let needed: FxHashSet<Arc<str>> = state.runs.values().flat_map(|r| r.spec.job.needs.iter().cloned()).collect();
        for job in needed {
            self.read_job(&mut state, &mut jobs, &job)?;
        }
        self.read_sweeps(&mut state)?;
        Ok(state)
    }

    /// The runs of a job, or the one at an address.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load_job(&self, job: &str) -> Result<State, StoreError> {
        let mut state = State::default();
        self.read_job(&mut state, &mut Jobs::default(), job)?;
        Ok(state)
    }

    /// All runs of a workflow.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load_workflow(&self, workflow: &str) -> Result<State, StoreError> {
        let mut state = State::default();
        // `/` is followed by `0`: all that begins with the name and a slash lies between them.
        let sql = "SELECT address, fingerprint, job, spec, body FROM runs WHERE address >= ?1 || '/' AND address < ?1 || '0'";
        self.read_runs(&mut state, &mut Jobs::default(), sql, [workflow])?;
        Ok(state)
    }

    fn read_sweeps(&self, state: &mut State) -> Result<(), StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare_cached("SELECT job, body FROM sweeps").map_err(io)?;
        let rows = query.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))).map_err(io)?;
        for row in rows {
            let (job, body) = row.map_err(io)?;
            state.sweeps.insert(job.into(), serde_json::from_str(&body).map_err(|e| self.wrong(&e))?);
        }
        Ok(())
    }

    fn read_job(&self, state: &mut State, jobs: &mut Jobs, job: &str) -> Result<(), StoreError> {
        // `[` is followed by `\`.
        let sql = "SELECT address, fingerprint, job, spec, body FROM runs \
            WHERE address = ?1 OR (address >= ?1 || '[' AND address < ?1 || '\\')";
        self.read_runs(state, jobs, sql, [job])
    }

    /// Who paused the queue.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn paused(&self) -> Result<Option<Pause>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT value FROM meta WHERE key = 'paused'").map_err(|e| self.io(&e))?;
        let text: Option<String> = query.query_row([], |r| r.get(0)).optional().map_err(|e| self.io(&e))?;
        Ok(text.and_then(|t| serde_json::from_str(&t).ok()).flatten())
    }

    /// The settings of all jobs at once, for whoever reads all runs.
    fn read_jobs(&self, jobs: &mut Jobs) -> Result<(), StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare("SELECT id, body FROM jobs WHERE id IN (SELECT job FROM runs)").map_err(io)?;
        let mut rows = query.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let body = row.get_ref(1).and_then(|v| v.as_str().map_err(Into::into)).map_err(io)?;
            jobs.insert(row.get(0).map_err(io)?, Arc::new(serde_json::from_str(body).map_err(|e| self.wrong(&e))?));
        }
        Ok(())
    }

    pub(super) fn read_runs(&self, state: &mut State, jobs: &mut Jobs, sql: &str, params: impl rusqlite::Params) -> Result<(), StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare_cached(sql).map_err(io)?;
        let mut settings = self.db.prepare_cached("SELECT body FROM jobs WHERE id = ?1").map_err(io)?;
        let mut rows = query.query(params).map_err(io)?;
        let (mut runs, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next().map_err(io)? {
            let address: String = row.get(0).map_err(io)?;
            let fingerprint = Digest(row.get(1).map_err(io)?);
            let id: i64 = row.get(2).map_err(io)?;
            if let std::collections::hash_map::Entry::Vacant(entry) = jobs.entry(id) {
                let body: Option<String> = settings.query_row([id], |r| r.get(0)).optional().map_err(io)?;
                let job = body.map(|b| serde_json::from_str(&b)).transpose().map_err(|e| self.wrong(&e))?;
                entry.insert(Arc::new(job.unwrap_or_default()));
            }
            let job = jobs.get(&id).cloned().unwrap_or_default();
            let text = |i| row.get_ref(i).and_then(|v| v.as_str().map_err(Into::into)).map_err(io);
            let spec: StoredSpec<'_> = serde_json::from_str(text(3)?).map_err(|e| self.wrong(&e))?;
            let mut record: RunRecord = serde_json::from_str(text(4)?).map_err(|e| self.wrong(&e))?;
            let address = Address::parse(&address).map_err(StoreError::Io)?;
            record.spec = Arc::new(spec.full(address.clone(), fingerprint, job));
            state.next_seq = state.next_seq.max(record.seq.saturating_add(1));
            // Whoever applied last is who the newest run came with.
            if last.is_none_or(|seq| record.seq > seq) {
                (last, state.applied_by) = (Some(record.seq), Arc::clone(&record.by));
            }
            runs.push((address, record));
        }
        // Sorted already where all are read at once: building the map is quicker than inserting one by one.
        if state.runs.is_empty() {
            state.runs = runs.into_iter().collect()
        } else {
            state.runs.extend(runs)
        }
        Ok(())
    }

    pub(super) fn wrong(&self, error: &serde_json::Error) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), detail: error.to_string(), backup: super::backup::newest(self.folder()) }
    }

    /// The last events, newest last; of one run when an address is given.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn history(&self, address: Option<&str>, limit: usize) -> Result<Vec<HistoryEntry>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let sql = match address {
            Some(_) => "SELECT seq, at, address, body FROM events WHERE address = ?1 ORDER BY seq DESC LIMIT ?2",
            None => "SELECT seq, at, address, body FROM events WHERE ?1 IS NULL ORDER BY seq DESC LIMIT ?2",
        };
        let mut query = self.db.prepare(sql).map_err(io)?;
        let mut rows = query.query(params![address, i64::try_from(limit).unwrap_or(i64::MAX)]).map_err(io)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(io)? {
            let body: String = row.get(3).map_err(io)?;
            let seq: i64 = row.get(0).map_err(io)?;
            out.push(HistoryEntry {
                seq: u64::try_from(seq).unwrap_or(0),
                at: Timestamp(row.get(1).map_err(io)?),
                address: row.get(2).map_err(io)?,
                body: serde_json::from_str(&body).unwrap_or_default(),
            });
        }
        out.reverse();
        Ok(out)
    }

    /// Results of the past.
    #[must_use]
    pub fn past(&self) -> Past<'_> {
        let any = self.db.query_row("SELECT 1 FROM finished LIMIT 1", [], |_| Ok(())).optional();
        let learned = self.db.query_row("SELECT 1 FROM samples LIMIT 1", [], |_| Ok(())).optional();
        Past { store: self, any: matches!(any, Ok(Some(()))), learned: matches!(learned, Ok(Some(()))) }
    }
}

/// Results of the past, looked up by fingerprint.
pub struct Past<'a> {
    store: &'a Store,
    any: bool,
    learned: bool,
}

impl History for Past<'_> {
    fn finished(&self, fingerprint: &Fingerprint) -> Option<Finished> {
        if !self.any {
            return None;
        }
        let mut query = self.store.db.prepare_cached("SELECT result FROM finished WHERE fingerprint = ?1").ok()?;
        let result: String = query.query_row([&fingerprint.0[..]], |r| r.get(0)).ok()?;
        serde_json::from_str(&result).ok()
    }

    fn samples(&self, job: &str) -> Vec<Sample> {
        if self.learned { self.store.samples(job).unwrap_or_default() } else { Vec::new() }
    }

    fn of_model(&self, model: &str) -> Vec<Sample> {
        if self.learned { self.store.samples_of_model(model).unwrap_or_default() } else { Vec::new() }
    }

    fn exposures(&self) -> Vec<Exposure> {
        if self.learned { self.store.exposures().unwrap_or_default() } else { Vec::new() }
    }
}

/// Writes what is known of a sweep now.
fn project_sweep(tx: &rusqlite::Transaction<'_>, state: &State, job: &str) -> rusqlite::Result<()> {
    match state.sweeps.get(job) {
        None => tx.prepare_cached("DELETE FROM sweeps WHERE job = ?1")?.execute([job])?,
        Some(sweep) => {
            let body = serde_json::to_string(sweep).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            tx.prepare_cached("INSERT OR REPLACE INTO sweeps VALUES (?1, ?2)")?.execute([job, body.as_str()])?
        }
    };
    Ok(())
}

/// Writes the run as it is now.
fn project(tx: &rusqlite::Transaction<'_>, jobs: &mut JobIds, state: &State, address: &Address) -> rusqlite::Result<()> {
    let Some(record) = state.runs.get(address) else {
        tx.prepare_cached("DELETE FROM runs WHERE address = ?1")?.execute([address.as_str()])?;
        if let Some(generation) = state.forgotten.get(address) {
            tx.prepare_cached("INSERT OR REPLACE INTO forgotten VALUES (?1, ?2)")?.execute(params![address.as_str(), generation])?;
        }
        return Ok(());
    };
    let json = |e: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(e));
    let job = jobs.id(tx, &record.spec.job)?;
    let spec = serde_json::to_string(&StoredSpec::of(&record.spec)).map_err(json)?;
    let body = serde_json::to_string(record).map_err(json)?;
    let fingerprint = &record.spec.fingerprint.0[..];
    tx.prepare_cached("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        address.as_str(),
        fingerprint,
        job,
        spec,
        body
    ])?;
    let result = Finished::of(record);
    if record.status == RunStatus::Succeeded && record.reused_from.is_none() && !result.is_empty() {
        let result = serde_json::to_string(&result).map_err(json)?;
        tx.prepare_cached("INSERT OR REPLACE INTO finished VALUES (?1, ?2)")?.execute(params![fingerprint, result])?;
    }
    Ok(())
}

/// Numbers of settings, found once in a transaction.
#[derive(Default)]
struct JobIds {
    last: Option<(Arc<JobSpec>, i64)>,
}

impl JobIds {
    fn id(&mut self, tx: &rusqlite::Transaction<'_>, job: &Arc<JobSpec>) -> rusqlite::Result<i64> {
        if let Some((_, id)) = self.last.as_ref().filter(|(known, _)| Arc::ptr_eq(known, job)) {
            return Ok(*id);
        }
        let body = serde_json::to_string(&**job).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
        let digest = Digest::of(body.as_bytes());
        let known = tx.prepare_cached("SELECT id FROM jobs WHERE digest = ?1")?.query_row([&digest.0[..]], |r| r.get(0)).optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                tx.prepare_cached("INSERT INTO jobs (digest, body) VALUES (?1, ?2)")?.execute(params![&digest.0[..], body])?;
                tx.last_insert_rowid()
            }
        };
        self.last = Some((Arc::clone(job), id));
        Ok(id)
    }
}
