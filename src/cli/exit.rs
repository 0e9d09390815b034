//! Exit codes, and failures on the way out.

/// What the process ends with; the same on every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Runtime error.
    Error = 1,
    /// Changes (only with `--detailed-exitcode`).
    Changes = 2,
    /// Blocked by a budget, quota or policy.
    Blocked = 3,
    /// Invalid files.
    Invalid = 4,
    /// Stale or mismatched plan.
    Stale = 5,
    /// Drift only (with `--detailed-exitcode`).
    Drift = 6,
    /// Lock held.
    Locked = 7,
    /// Some runs failed.
    RunsFailed = 8,
    /// Declined, or timed out.
    Declined = 9,
    /// Wrong usage.
    Usage = 64,
    /// Interrupted.
    Interrupted = 130,
}

/// A failure with words and a hint; printed to standard error.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// One sentence; empty when everything was said already.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with words.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// A failure about which everything was said.
    #[must_use]
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Says what would help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // A reader that went away (`oppen plan | head`) wants no more.
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::silent(Exit::Done) } else { Self::new(Exit::Error, error.to_string()) }
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        let exit = if matches!(error, crate::store::StoreError::Held(_)) { Exit::Locked } else { Exit::Error };
        let elsewhere = in_the_cluster(&error).unwrap_or_default();
        Self::new(exit, error.to_string()).hint(format!("{}{elsewhere}", error.hint()))
    }
}

/// A state that cannot be read is not all that is known where runs are Jobs.
fn in_the_cluster(error: &crate::store::StoreError) -> Option<&'static str> {
    use crate::store::StoreError::{Corrupt, Newer};
    let (Corrupt { path, .. } | Newer { path, .. }) = error else { return None };
    let place = super::session::Place::find(path.parent()?.parent()?, None).ok()?;
    let jobs = place.backend == super::args::BackendKind::Kubernetes || place.loaded.project.as_ref()?.kubernetes.is_some();
    jobs.then_some("\n  what the cluster has of it, without the state: `oppen status --from-cluster`")
}

impl From<crate::backend::BackendError> for Failure {
    fn from(error: crate::backend::BackendError) -> Self {
        Self { exit: Exit::Error, message: error.message, hint: error.hint }
    }
}

/// The result of a command.
pub type Outcome = Result<Exit, Failure>;
