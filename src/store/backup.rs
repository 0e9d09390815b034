//! Backups, checks before the first write, and the recovery file of what could not be written.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::base::Timestamp;
use crate::record::Event;

const FOLDER: &str = "backup";

/// The newest backup in a state folder.
pub fn newest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder.join(FOLDER)).ok()?;
    entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.extension().is_some_and(|e| e == "db")).max()
}

impl Store {
    /// Checks the whole database and the end of the ledger; to be called before the first write of a command.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the command that restores it.
    pub fn check(&self) -> Result<(), StoreError> {
        let verdict: String = self.db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(|e| self.io(&e))?;
        if verdict == "ok" {
            return self.audit();
        }
        Err(StoreError::Corrupt { path: self.path.clone(), detail: verdict, backup: newest(self.folder()) })
    }

    /// Writes a backup beside the state; the last two are kept.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn backup(&self, now: Timestamp) -> Result<(), StoreError> {
        let folder = self.folder().join(FOLDER);
        let io = |e: std::io::Error| StoreError::Io(format!("{}: {e}", folder.display()));
        super::make_private(&folder).map_err(io)?;
        let path = folder.join(format!("state-{:015}.db", now.0));
        if !path.exists() {
            self.db.execute("VACUUM INTO ?1", [path.to_string_lossy()]).map_err(|e| self.io(&e))?;
        }
        let mut old: Vec<PathBuf> = std::fs::read_dir(&folder).map_err(io)?.filter_map(|e| e.ok().map(|e| e.path())).collect();
        old.sort();
        for path in old.iter().rev().skip(2) {
            std::fs::remove_file(path).map_err(io)?;
        }
        Ok(())
    }

    /// Saves events that the database did not take: to a file beside it (written whole or not at all), else as text to print.
    /// The answer says where they are.
    #[must_use]
    pub fn rescue(&self, events: &[Event], now: Timestamp) -> Rescue {
        let lines: String = events.iter().filter_map(|e| serde_json::to_string(e).ok()).map(|l| l + "\n").collect();
        let path = self.folder().join(format!("recovery-{:015}.jsonl", now.0));
        let temporary = path.with_extension("tmp");
        let written = std::fs::File::create(&temporary)
            .and_then(|mut file| file.write_all(lines.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&temporary, &path))
            .and_then(|()| std::fs::File::open(self.folder()).and_then(|d| d.sync_all()));
        match written {
            Ok(()) => Rescue::File(path),
            Err(_) => {
                let _ = std::fs::remove_file(&temporary);
                Rescue::Text(lines)
            }
        }
    }
}

/// Where rescued events are.
#[derive(Debug, PartialEq, Eq)]
pub enum Rescue {
    /// In this file.
    File(PathBuf),
    /// Nowhere but here: to be printed.
    Text(String),
}
