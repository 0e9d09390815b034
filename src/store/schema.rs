//! The tables, and their version.

use rusqlite::Connection;

/// Format of the database; a newer one is refused.
pub const VERSION: i64 = 6;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
-- Append-only: what happened, by whom it was written.
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, epoch INTEGER NOT NULL, address TEXT, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS events_by_address ON events (address, seq) WHERE address IS NOT NULL;
-- Results that were taken over are found for reports without reading the journal.
CREATE INDEX IF NOT EXISTS events_reused ON events (at) WHERE substr(body, 1, 17) = '{\"event\":\"reused\"';
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events BEGIN SELECT raise(ABORT, 'events never change'); END;
CREATE TRIGGER IF NOT EXISTS events_are_kept BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'events are never lost'); END;
-- Settings that runs of a job share, by content.
CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body TEXT NOT NULL) STRICT;
-- The fold of all events, kept in the same transaction.
CREATE TABLE IF NOT EXISTS runs (
    address TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, job INTEGER NOT NULL REFERENCES jobs (id), spec TEXT NOT NULL, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- What is not over is found without reading what is.
CREATE INDEX IF NOT EXISTS runs_open ON runs (address) WHERE body ->> '$.status' IN ('pending', 'launching', 'running', 'stopping');
-- The last that ended are found without reading them all.
CREATE INDEX IF NOT EXISTS runs_by_end ON runs (body ->> '$.status', body ->> '$.ended_at');
-- Runs by status, of each job and (under no name) of all, kept in the same transaction.
CREATE TABLE IF NOT EXISTS counts (
    job TEXT NOT NULL, status TEXT NOT NULL, runs INTEGER NOT NULL, PRIMARY KEY (job, status)) STRICT, WITHOUT ROWID;
-- Runs that were planned more than once: what they cost before is superseded.
CREATE INDEX IF NOT EXISTS runs_again ON runs (address) WHERE body ->> '$.generation' > 1;
-- Last generation of runs that left the state.
CREATE TABLE IF NOT EXISTS forgotten (address TEXT PRIMARY KEY, generation INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- Sweeps under way or paused: part of the fold.
CREATE TABLE IF NOT EXISTS sweeps (job TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Results that can serve again.
CREATE TABLE IF NOT EXISTS finished (
    fingerprint BLOB PRIMARY KEY, result TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lock (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, holder TEXT, renewed INTEGER NOT NULL) STRICT;
-- Append-only, each entry linked to the one before it by its hash.
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, address TEXT NOT NULL, generation INTEGER NOT NULL,
    attempt INTEGER NOT NULL, amount INTEGER NOT NULL, reserved INTEGER NOT NULL, started INTEGER, ended INTEGER, millis INTEGER NOT NULL,
    cause TEXT, workflow TEXT NOT NULL, job TEXT NOT NULL, team TEXT, user TEXT NOT NULL, priority TEXT NOT NULL, gpu TEXT,
    gpus INTEGER NOT NULL, capacity TEXT NOT NULL, gpu_cost INTEGER NOT NULL, cpu_cost INTEGER NOT NULL,
    off_peak_saved INTEGER NOT NULL, spot_saved INTEGER NOT NULL, rates BLOB, labels TEXT, note TEXT, hash BLOB NOT NULL) STRICT;
-- GPU time of a window is summed without reading the table.
CREATE INDEX IF NOT EXISTS ledger_gpu ON ledger (at, team, gpus, millis, kind) WHERE kind = 'post' AND gpus > 0;
CREATE TRIGGER IF NOT EXISTS ledger_stays BEFORE UPDATE ON ledger BEGIN SELECT raise(ABORT, 'ledger entries never change'); END;
CREATE TRIGGER IF NOT EXISTS ledger_is_kept BEFORE DELETE ON ledger BEGIN SELECT raise(ABORT, 'ledger entries are never lost'); END;
-- Sums of the ledger by quarter of an hour, kept in the same transaction: what budgets count is found without reading it all.
CREATE TABLE IF NOT EXISTS spend (
    slot INTEGER NOT NULL, job TEXT NOT NULL, team TEXT NOT NULL, user TEXT NOT NULL, labels TEXT NOT NULL, amount INTEGER NOT NULL,
    PRIMARY KEY (slot, job, team, user, labels)) STRICT, WITHOUT ROWID;
-- One ended attempt a row: what estimates are learned from, kept in the same transaction as the event.
CREATE TABLE IF NOT EXISTS samples (
    seq INTEGER PRIMARY KEY, job TEXT NOT NULL, model TEXT, whole INTEGER NOT NULL, fingerprint BLOB NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS samples_by_job ON samples (job, seq);
CREATE INDEX IF NOT EXISTS samples_by_model ON samples (model, seq) WHERE model IS NOT NULL AND whole = 1;
-- How long attempts ran and how often they were taken away, by the way their machines were bought.
CREATE TABLE IF NOT EXISTS exposure (
    capacity TEXT PRIMARY KEY, attempts INTEGER NOT NULL, millis INTEGER NOT NULL, interruptions INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- What other processes ask the holder of the lock to do.
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
";

/// Makes the tables; safe to repeat and to do from two processes at once.
pub fn create(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let made = db
        .execute_batch(TABLES)
        .and_then(|()| db.execute_batch(super::counts::RECOUNT))
        .and_then(|()| db.execute("INSERT OR IGNORE INTO meta VALUES ('lineage', ?1)", [uuid::Uuid::new_v4().simple().to_string()]))
        .and_then(|_| db.execute("INSERT OR IGNORE INTO lock VALUES (1, 0, NULL, 0)", []))
        .and_then(|_| db.pragma_update(None, "user_version", VERSION));
    match made {
        Ok(()) => db.execute_batch("COMMIT"),
        Err(error) => {
            db.execute_batch("ROLLBACK")?;
            Err(error)
        }
    }
}
