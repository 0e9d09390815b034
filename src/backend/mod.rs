//! Where attempts run. The one big trait; `local/`, `kubernetes/` and `simulated/` implement it, `tracked/` wraps another.
//!
//! In: commands of the engine. Out: observations on a channel. Must never decide: what an observation means is the engine's.

pub mod cause;
pub mod kubernetes;
pub mod local;
pub mod simulated;
pub mod tracked;

use std::io;

use crossbeam_channel::Sender;

use crate::base::{Address, AttemptId, Digest, Fingerprint, Millis};
use crate::engine::{Launch, Observation};
use crate::record::{Event, State};

/// File with the output of an attempt; the same on every backend.
#[must_use]
pub fn log_path(state_dir: &std::path::Path, name: &str) -> std::path::PathBuf {
    state_dir.join("attempts").join(format!("{name}.log"))
}

/// Where a run keeps its checkpoint, below the backend's folder for them: one folder a run, and in it one for each fingerprint, so that an
/// edit never goes on from what was made before it. The same over attempts and generations.
#[must_use]
pub fn checkpoint_key(lineage: &str, address: &Address, fingerprint: &Fingerprint) -> String {
    format!("{}/{}", checkpoint_run(lineage, address), fingerprint.to_string().chars().take(16).collect::<String>())
}

/// The first part of it: all checkpoints of one run.
#[must_use]
pub fn checkpoint_run(lineage: &str, address: &Address) -> String {
    let digest = Digest::of(format!("{lineage}\0{address}").as_bytes());
    digest.to_string().chars().take(16).collect()
}

/// A place where attempts run. Calls return at once; what came of them is an [`Observation`] on the channel given to
/// [`Backend::start`]. Every call may be repeated for the same attempt without harm.
pub trait Backend: Send {
    /// Begins to watch. `live` are the attempts that the record believes may exist: for each of them the backend delivers
    /// what it finds (`Exists`, `Started`, `Ended` or `Absent`) before it returns or soon after.
    ///
    /// # Errors
    /// When the backend cannot be used at all; nothing was changed then.
    fn start(&mut self, live: &[AttemptId], out: Sender<Observation>) -> Result<(), BackendError>;

    /// Creates the attempt, or adopts it when it exists under its name with our lineage.
    fn submit(&mut self, launch: Launch);

    /// Ends the attempt: politely, then after `grace` by force.
    fn stop(&mut self, attempt: &AttemptId, grace: Millis);

    /// Looks whether the attempt exists.
    fn lookup(&mut self, attempt: &AttemptId);

    /// The attempt's output from the start; with `follow` it ends when the attempt does.
    ///
    /// # Errors
    /// When there is none (any more), or it cannot be read.
    fn logs(&self, attempt: &AttemptId, follow: bool) -> io::Result<Box<dyn io::Read + Send>>;

    /// Removes all that the backend keeps for the attempt (Job, log, scratch). Foreign objects are never touched.
    ///
    /// # Errors
    /// When something of ours is left.
    fn remove(&mut self, attempt: &AttemptId) -> Result<(), BackendError>;

    /// Every attempt that the backend keeps something of, whether the state still knows it or not.
    ///
    /// # Errors
    /// When that cannot be told now.
    fn kept(&self) -> Result<Vec<AttemptId>, BackendError>;

    /// Told of events once they are durable. Backends that run attempts have no use for them; trackers do.
    fn recorded(&mut self, _events: &[Event], _state: &State) {}
}

/// Why a backend cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendError {
    /// One sentence.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
}

impl BackendError {
    /// An error with a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

impl std::fmt::Display for BackendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BackendError {}
