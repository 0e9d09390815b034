//! One attempt's files: `.oppen/attempts/NAME.jsonl` (its journal), `NAME.log`, `NAME.metrics`.
//!
//! In: an attempt's name. Out: what is known of it. Who keeps the attempt holds a lock on its journal; the lock goes when that process
//! does, so no pid is ever trusted. Must never write an environment or a secret.
//!
//! There is no folder and no further file for an attempt, because to make those costs more than to start a process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::procfs;
use super::protocol::Exit;
use crate::base::{AttemptId, Millis, Timestamp};

/// Ends a journal's name.
const JOURNAL: &str = "jsonl";

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Intent(Intent),
    Meta(Meta),
    Exit(Box<Exit>),
}

/// What the journal says.
#[derive(Debug, Default)]
struct Journal {
    intent: Option<Intent>,
    meta: Option<Meta>,
    exit: Option<Box<Exit>>,
}

impl Journal {
    /// Reads the whole lines; what was torn by a crash was never said.
    fn read(mut file: &File) -> io::Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut journal = Self::default();
        for line in bytes.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n")) {
            match serde_json::from_slice(line) {
                Ok(Line::Intent(intent)) => journal.intent = Some(intent),
                Ok(Line::Meta(meta)) => journal.meta = Some(meta),
                Ok(Line::Exit(exit)) => journal.exit = journal.exit.or(Some(exit)),
                Err(_) => {}
            }
        }
        Ok(journal)
    }
}

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

/// What an attempt's files tell.
#[derive(Debug)]
pub enum Found {
    /// There are none.
    Nothing,
    /// It is over.
    Ended(Box<Exit>),
    /// Somebody keeps it.
    Kept(Option<Intent>, Option<Meta>),
    /// Nobody keeps it, and its end was not recorded.
    Left(Option<Intent>, Option<Meta>),
}

/// One attempt's files.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
    name: String,
}

impl Files {
    /// The files of an attempt; nothing is made.
    #[must_use]
    pub fn new(state_dir: &Path, name: &str) -> Self {
        Self { dir: dir(state_dir), name: name.to_owned() }
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", self.name))
    }

    /// Output of the command.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// `$OPPEN_METRICS`.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.path("metrics")
    }

    /// A run's checkpoint (`$OPPEN_CHECKPOINT`), which the command makes when it needs it.
    #[must_use]
    pub fn checkpoint(&self, key: &str) -> PathBuf {
        self.dir.with_file_name("checkpoints").join(key)
    }

    /// Where the reader of metrics stands.
    #[must_use]
    pub fn position(&self) -> PathBuf {
        self.path("position")
    }

    fn journal(&self) -> PathBuf {
        self.path(JOURNAL)
    }

    fn stop(&self) -> PathBuf {
        self.path("stop")
    }

    /// Writes the intent, under the lock that the answer holds.
    ///
    /// # Errors
    /// When there is a journal already or the disk does not take it; nothing is left then.
    pub fn claim(&self, intent: Intent) -> io::Result<File> {
        let journal = private().append(true).create_new(true).open(self.journal())?;
        let claimed = journal.lock().and_then(|()| append(&journal, &Line::Intent(intent)));
        if claimed.is_err() {
            let _ = fs::remove_file(self.journal());
        }
        claimed.map(|()| journal)
    }

    /// Looks at the journal.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn look(&self) -> io::Result<Found> {
        let file = match File::open(self.journal()) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(e) => return Err(e),
        };
        let kept = match file.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(e)) => return Err(e),
        };
        // The end is written before the lock goes, so it is looked for after the lock was tried.
        let journal = Journal::read(&file)?;
        Ok(match (kept, journal.exit) {
            (true, _) => Found::Kept(journal.intent, journal.meta),
            (false, Some(exit)) => Found::Ended(exit),
            (false, None) => Found::Left(journal.intent, journal.meta),
        })
    }

    /// The attempt that the journal is of.
    #[must_use]
    pub fn whose(&self) -> Option<AttemptId> {
        self.told().map(|(attempt, ..)| attempt)
    }

    /// What the journal says of beginning and end. Only looks.
    #[must_use]
    pub fn told(&self) -> Option<(AttemptId, Option<Meta>, Option<Exit>)> {
        let journal = Journal::read(&File::open(self.journal()).ok()?).ok()?;
        Some((journal.intent?.attempt, journal.meta, journal.exit.map(|exit| *exit)))
    }

    /// Whether something may still be written to the log. Only looks: the lock is the supervisor's to try.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let Ok(file) = File::open(self.journal()) else { return false };
        match Journal::read(&file) {
            Ok(Journal { exit: None, meta, .. }) => meta.is_none_or(|m| procfs::start_ticks(m.pid) == Some(m.start_ticks)),
            _ => false,
        }
    }

    /// What was written before it was started. Only looks.
    #[must_use]
    pub fn intent(&self) -> Option<Intent> {
        Journal::read(&File::open(self.journal()).ok()?).ok()?.intent
    }

    /// Records the end of an attempt that nobody keeps.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        record_exit(&private().append(true).create(true).open(self.journal())?, exit)
    }

    /// Asks the keeper to end it; it looks here when it gets the signal.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_stop(&self, order: StopOrder) -> io::Result<()> {
        write_whole(&self.stop(), &serde_json::to_vec(&order)?)
    }

    /// What the keeper is asked.
    #[must_use]
    pub fn stop_order(&self) -> Option<StopOrder> {
        serde_json::from_slice(&fs::read(self.stop()).ok()?).ok()
    }

    /// Opens the log for the command's output.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn open_log(&self) -> io::Result<File> {
        private().append(true).create(true).open(self.log())
    }

    /// Removes all of them, the journal last. To have none is no error.
    ///
    /// # Errors
    /// When something is left.
    pub fn remove(&self) -> io::Result<()> {
        for path in [self.log(), self.metrics(), self.position(), self.stop(), self.journal()] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where all attempts' files are.
#[must_use]
pub fn dir(state_dir: &Path) -> PathBuf {
    state_dir.join("attempts")
}

/// Names of all attempts that have a journal.
#[must_use]
pub fn names(state_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir(state_dir)).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(JOURNAL)?.strip_suffix('.')?.to_owned());
    entries.filter_map(name).collect()
}

/// Records who keeps the attempt, in its claimed journal.
///
/// # Errors
/// When the disk does not take it.
pub fn record_meta(journal: &File, meta: Meta) -> io::Result<()> {
    append(journal, &Line::Meta(meta))
}

/// Records the end. To do it twice is no harm: the first whole record counts.
///
/// # Errors
/// When the disk does not take it.
pub fn record_exit(journal: &File, exit: &Exit) -> io::Result<()> {
    append(journal, &Line::Exit(Box::new(exit.clone())))
}

/// The line feed before the line ends what a crash or a full disk may have torn.
fn append(mut journal: &File, line: &Line) -> io::Result<()> {
    let mut bytes = vec![b'\n'];
    serde_json::to_writer(&mut bytes, line)?;
    bytes.push(b'\n');
    journal.write_all(&bytes)
}

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// When the disk does not take it; the old file stays then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".tmp");
    let mut file = private().write(true).create(true).truncate(true).open(&fresh)?;
    file.write_all(bytes)?;
    fs::rename(&fresh, path)
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.mode(0o600);
    options
}
