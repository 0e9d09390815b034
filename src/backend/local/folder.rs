//! One attempt's folder on disk: `.oppen/attempts/NAME/`.
//!
//! In: an attempt's name. Out: what is known of it. Who keeps the attempt holds a lock on its `intent.json`; the lock goes when that
//! process does, so no pid is ever trusted. Must never write an environment or a secret.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::procfs;
use super::protocol::Exit;
use crate::base::{AttemptId, Millis, Timestamp};

/// Written before anything is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Intent {
    /// Whose it is.
    pub attempt: AttemptId,
    /// Known to this attempt's processes only (`$OPPEN_TOKEN`).
    pub token: String,
    /// Which start of the machine.
    pub boot_id: String,
    /// GPU slots it holds.
    pub gpus: Vec<u32>,
}

/// Written by the keeper right before it starts the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    /// The keeper.
    pub pid: u32,
    /// When the keeper started, in ticks of this boot.
    pub start_ticks: u64,
    /// Which start of the machine.
    pub boot_id: String,
    /// As in the intent.
    pub token: String,
    /// When the attempt started.
    pub started: Timestamp,
    /// When it is over at the latest, for people; the keeper counts by a clock that nobody can set.
    pub deadline: Option<Timestamp>,
}

/// Why the keeper is asked to end the attempt.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct StopOrder {
    /// Between polite and hard.
    pub grace: Millis,
}

/// What a folder tells.
#[derive(Debug)]
pub enum Found {
    /// There is no folder.
    Nothing,
    /// It is over.
    Ended(Box<Exit>),
    /// Somebody keeps it.
    Kept(Option<Intent>, Option<Meta>),
    /// Nobody keeps it, and its end was not recorded.
    Left(Option<Intent>, Option<Meta>),
}

/// One attempt's folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder of an attempt; nothing is made.
    #[must_use]
    pub fn new(state_dir: &Path, name: &str) -> Self {
        Self { path: state_dir.join("attempts").join(name) }
    }

    /// Output of the command.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// `$OPPEN_METRICS`.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics")
    }

    /// Where the reader of metrics stands.
    #[must_use]
    pub fn position(&self) -> PathBuf {
        self.path.join("position.json")
    }

    /// Makes the folder and writes the intent, under the lock that the answer holds.
    ///
    /// # Errors
    /// When it exists or the disk does not take it; nothing is left then.
    pub fn claim(&self, intent: &Intent) -> io::Result<File> {
        fs::DirBuilder::new().mode(0o700).create(&self.path)?;
        let claimed = self.write_intent(intent);
        if claimed.is_err() {
            let _ = fs::remove_dir_all(&self.path);
        }
        claimed
    }

    fn write_intent(&self, intent: &Intent) -> io::Result<File> {
        let mut file = private().write(true).create_new(true).open(self.path.join("intent.json"))?;
        file.lock()?;
        io::Write::write_all(&mut file, &serde_json::to_vec(intent)?)?;
        Ok(file)
    }

    /// Looks at the folder.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn look(&self) -> io::Result<Found> {
        let lock = match File::open(self.path.join("intent.json")) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.path.exists() => return Ok(Found::Nothing),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(self.ended().unwrap_or(Found::Left(None, None))),
            Err(e) => return Err(e),
        };
        match lock.try_lock() {
            // The end is written before the lock goes, so it is looked for afterwards.
            Ok(()) => Ok(self.ended().unwrap_or_else(|| Found::Left(self.read("intent.json"), self.read("meta.json")))),
            Err(TryLockError::WouldBlock) => Ok(Found::Kept(self.read("intent.json"), self.read("meta.json"))),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    fn ended(&self) -> Option<Found> {
        self.read("exit.json").map(|exit| Found::Ended(Box::new(exit)))
    }

    /// Whether the end was recorded.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.path.join("exit.json").exists()
    }

    /// Whether something may still be written to the log. Only looks: the lock is the supervisor's to try.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        if self.has_ended() || !self.path.exists() {
            return false;
        }
        let meta: Option<Meta> = self.read("meta.json");
        meta.is_none_or(|m| procfs::start_ticks(m.pid) == Some(m.start_ticks))
    }

    /// Records who keeps it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_meta(&self, meta: &Meta) -> io::Result<()> {
        self.write("meta.json", meta)
    }

    /// Records the end, whole or not at all.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        self.write("exit.json", exit)
    }

    /// Asks the keeper to end it; it looks here when it gets the signal.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_stop(&self, order: StopOrder) -> io::Result<()> {
        self.write("stop.json", &order)
    }

    /// What the keeper is asked.
    #[must_use]
    pub fn stop_order(&self) -> Option<StopOrder> {
        self.read("stop.json")
    }

    /// Opens the log for the command's output.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn open_log(&self) -> io::Result<File> {
        private().append(true).create(true).open(self.log())
    }

    /// Removes the folder. To have none is no error.
    ///
    /// # Errors
    /// When something is left.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path.join(name)).ok()?).ok()
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        write_whole(&self.path.join(name), &serde_json::to_vec(value)?)
    }
}

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// When the disk does not take it; the old file stays then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("tmp");
    let mut file = private().write(true).create(true).truncate(true).open(&fresh)?;
    io::Write::write_all(&mut file, bytes)?;
    fs::rename(&fresh, path)
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.mode(0o600);
    options
}
