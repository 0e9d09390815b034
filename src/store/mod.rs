//! Journal, state, lock and requests of one project: SQLite in `.oppen/state.db`.
//!
//! In: events of the engine. Out: the state, durable. WAL, synchronous FULL, one writer that holds the lock; every append checks
//! the writer's fencing epoch in its own transaction. Must never lose or change an event once it is acknowledged.

mod audit;
mod backup;
mod counts;
mod journal;
mod ledger;
mod lock;
mod look;
mod reconcile;
mod replay;
mod requests;
mod samples;
mod schema;
mod wire;
mod witness;

mod newest;

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

pub use newest::Wanted;

pub use backup::Rescue;
pub use journal::{HistoryEntry, Past};
pub use ledger::{Fault, Verified};
pub use lock::{Holder, Lock, me};
pub use reconcile::Reconciled;
pub use requests::Request;
pub use witness::{Confronted, WITHIN, Witness};

/// File of the state, in the state folder.
pub const FILE: &str = "state.db";

// SQLite before 3.51.3 can corrupt a database when a WAL is reset (see its release notes).
const _: () = assert!(rusqlite::ffi::SQLITE_VERSION_NUMBER >= 3_051_003);

/// Why the store cannot be used.
#[derive(Debug)]
pub enum StoreError {
    /// The database is damaged, with SQLite's words.
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
        /// The newest backup, if there is one.
        backup: Option<PathBuf>,
    },
    /// Written by a newer Oppen.
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Somebody else holds the lock.
    Held(Box<Holder>),
    /// The lock was taken over while we were away; nothing was written.
    Fenced,
    /// Disk full, no rights, input or output error.
    Io(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { path, detail, .. } => write!(f, "the state {} is damaged: {detail}", path.display()),
            Self::Newer { path, found } => {
                write!(f, "the state {} has format {found}, this Oppen knows {}", path.display(), schema::VERSION)
            }
            Self::Held(holder) => write!(f, "the state is locked by {holder}"),
            Self::Fenced => write!(f, "the lock was taken over by another process; nothing more was written"),
            Self::Io(words) => write!(f, "the state cannot be written: {words}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Corrupt { path, backup: Some(backup), .. } => {
                let folder = path.parent().unwrap_or(path).display().to_string();
                format!(
                    "restore the last backup: mv {} {folder}/damaged.db; rm -f {folder}/{FILE}-wal {folder}/{FILE}-shm; cp {} {}",
                    path.display(),
                    backup.display(),
                    path.display()
                )
            }
            Self::Corrupt { path, .. } => {
                format!("there is no backup; move {} away, and the next plan starts from an empty state", path.display())
            }
            Self::Newer { .. } => "install the Oppen that wrote it, or a newer one".to_owned(),
            Self::Held(_) => "wait for it (--lock-timeout 5m), or see `oppen lock list`".to_owned(),
            Self::Fenced => "see who holds it now with `oppen lock list`, then apply again".to_owned(),
            Self::Io(_) => "free some space or fix the rights, then apply again".to_owned(),
        }
    }
}

/// One open state.
pub struct Store {
    db: Connection,
    path: PathBuf,
    lineage: String,
}

impl Store {
    /// Opens the state of a folder if there is one; changes nothing.
    ///
    /// # Errors
    /// When it is damaged, newer, or cannot be read.
    pub fn open_existing(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(FILE);
        if !path.exists() { Ok(None) } else { Self::connect(&path, false).map(Some) }
    }

    /// Opens the state of a folder, making it when there is none.
    ///
    /// # Errors
    /// When it is damaged, newer, or cannot be written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        make_private(folder).map_err(|e| StoreError::Io(format!("{}: {e}", folder.display())))?;
        Self::connect(&folder.join(FILE), true)
    }

    fn connect(path: &Path, create: bool) -> Result<Self, StoreError> {
        let io = |e: rusqlite::Error| explain(path, &e);
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if create {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        // An empty file is a new database to SQLite. Where there are backups it once held a state.
        if std::fs::metadata(path).is_ok_and(|m| m.len() == 0)
            && let Some(backup) = path.parent().and_then(backup::newest)
        {
            return Err(StoreError::Corrupt { path: path.to_owned(), detail: "the file is empty".to_owned(), backup: Some(backup) });
        }
        let db = Connection::open_with_flags(path, flags).map_err(io)?;
        db.busy_timeout(std::time::Duration::from_secs(10)).map_err(io)?;
        let version: i64 = db.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(io)?;
        if version > schema::VERSION {
            return Err(StoreError::Newer { path: path.to_owned(), found: version });
        }
        db.pragma_update(None, "journal_mode", "wal").map_err(io)?;
        db.pragma_update(None, "synchronous", "full").map_err(io)?;
        db.pragma_update(None, "foreign_keys", "on").map_err(io)?;
        db.pragma_update(None, "wal_autocheckpoint", 4000).map_err(io)?;
        db.set_prepared_statement_cache_capacity(32);
        if version < schema::VERSION {
            schema::create(&db).map_err(io)?;
        }
        let lineage = db.query_row("SELECT value FROM meta WHERE key = 'lineage'", [], |r| r.get(0)).map_err(io)?;
        Ok(Self { db, path: path.to_owned(), lineage })
    }

    /// Which state this is: a random name made with it, and never changed.
    #[must_use]
    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// Counts everything that was ever noted: a plan made at another number is stale.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn serial(&self) -> Result<u64, StoreError> {
        let max: i64 = self.db.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |r| r.get(0)).map_err(|e| self.io(&e))?;
        Ok(u64::try_from(max).unwrap_or(0))
    }

    fn io(&self, error: &rusqlite::Error) -> StoreError {
        explain(&self.path, error)
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// A folder only for its owner.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if !folder.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    Ok(())
}

fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let damaged = matches!(error, rusqlite::Error::SqliteFailure(e, _) if matches!(e.code, DatabaseCorrupt | NotADatabase))
        || matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::QueryReturnedNoRows
        )
        || matches!(error, rusqlite::Error::SqliteFailure(_, Some(words)) if words.starts_with("no such table") || words.starts_with("no such column"));
    if damaged {
        let backup = path.parent().and_then(backup::newest);
        return StoreError::Corrupt { path: path.to_owned(), detail: error.to_string(), backup };
    }
    StoreError::Io(error.to_string())
}

#[cfg(test)]
mod tests;
