//! Attempts as processes of this machine.
//!
//! In: launches. Out: observations. One supervisor a state folder (`oppen supervise`) outlives the engine, and each attempt has a small
//! keeper that outlives the supervisor and records how the attempt ended. Must never write the caller's environment to disk.
//!
//! ```text
//! engine --socket--> supervisor --fork--> keeper --spawn--> the command, in a group of its own
//!                                           `-- .oppen/attempts/NAME.{jsonl,log,metrics}
//! ```

mod ending;
mod files;
#[expect(unsafe_code, reason = "fork has no safe form; the room is small and says why each use is sound")]
mod fork;
mod handover;
mod keeper;
mod kept;
mod link;
mod logs;
mod procfs;
mod program;
mod protocol;
mod reach;
mod socket;
mod supervisor;
mod tail;
mod told;
#[expect(unsafe_code, reason = "wait4 has no safe form here; one call that only fills two buffers")]
mod usage;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

pub use kept::{Kept, kept};
pub use supervisor::supervise;
pub use tail::open_plain;
pub use told::{Told, told};

use super::{Backend, BackendError};
use crate::base::{AttemptId, Millis};
use crate::engine::{Launch, Observation};
use files::Files;
use link::{Known, Link};
use protocol::{Job, Request};

/// How long the removal of an attempt's files may take.
const REMOVE_PATIENCE: Duration = Duration::from_secs(30);

/// Where and how attempts run.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The project's root: where commands start.
    pub root: PathBuf,
    /// `.oppen`.
    pub state_dir: PathBuf,
    /// Of the state: attempts of other states are not ours.
    pub lineage: String,
    /// The program that knows `supervise STATE_DIR`.
    pub exe: PathBuf,
    /// GPU slots.
    pub gpus: u32,
}

/// Runs attempts as processes of this machine.
pub struct LocalBackend {
    config: LocalConfig,
    link: Option<Link>,
}

impl LocalBackend {
    /// A backend that has not begun yet; nothing is started or written.
    #[must_use]
    pub fn new(config: LocalConfig) -> Self {
        Self { config, link: None }
    }

    fn name(&self, attempt: &AttemptId) -> String {
        attempt.name(&self.config.lineage)
    }

    /// Notes that an attempt may exist, and sends a request about it.
    fn ask(&self, attempt: &AttemptId, note: impl FnOnce(&mut Known), request: Request) {
        let Some(link) = &self.link else { return };
        let new = || Known { attempt: attempt.clone(), job: None, stop: None };
        note(link.desk().known.entry(self.name(attempt)).or_insert_with(new));
        link.send(&request);
    }
}

impl Backend for LocalBackend {
    fn kept(&self) -> Result<Vec<AttemptId>, BackendError> {
        Ok(files::names(&self.config.state_dir).iter().filter_map(|name| Files::new(&self.config.state_dir, name).whose()).collect())
    }

    fn start(&mut self, live: &[AttemptId], out: Sender<Observation>) -> Result<(), BackendError> {
        let no_root = |e: io::Error| BackendError { message: format!("the project's root cannot be used: {e}"), hint: None };
        self.config.root = self.config.root.canonicalize().map_err(no_root)?;
        self.config.state_dir = std::path::absolute(&self.config.state_dir).map_err(no_root)?;
        self.link = Some(Link::open(self.config.clone(), out)?);
        for attempt in live {
            self.lookup(attempt);
        }
        Ok(())
    }

    fn submit(&mut self, launch: Launch) {
        let name = self.name(&launch.attempt);
        let settings = &launch.spec.job;
        let parent = launch.spec.parent.as_ref().map(|p| super::checkpoint_key(&self.config.lineage, &p.address, &p.fingerprint));
        let job = Box::new(Job {
            name,
            attempt: launch.attempt.clone(),
            argv: launch.argv,
            env: launch.env,
            secret_env: settings.secret_env.clone(),
            workdir: settings.workdir.clone(),
            checkpoint: super::checkpoint_key(&self.config.lineage, &launch.spec.address, &launch.spec.fingerprint),
            parent: parent.unwrap_or_default(),
            kept: settings.sweep.as_ref().and_then(|s| s.search.as_ref()).is_some_and(|s| s.method.has_generations()),
            gpus: settings.resources.gpu.count,
            timeout: launch.timeout,
            grace: settings.grace,
            outputs: settings.outputs.clone(),
        });
        self.ask(&launch.attempt, |known| known.job = Some(job.clone()), Request::Submit(job.clone()));
    }

    fn stop(&mut self, attempt: &AttemptId, grace: Millis) {
        self.ask(attempt, |known| known.stop = Some(grace), Request::Stop { name: self.name(attempt), grace });
    }

    fn lookup(&mut self, attempt: &AttemptId) {
        self.ask(attempt, |_| {}, Request::Lookup { name: self.name(attempt) });
    }

    fn logs(&self, attempt: &AttemptId, follow: bool) -> io::Result<Box<dyn io::Read + Send>> {
        let files = Files::new(&self.config.state_dir, &self.name(attempt));
        Ok(Box::new(logs::Logs::open(files, follow)?))
    }

    fn remove(&mut self, attempt: &AttemptId) -> Result<(), BackendError> {
        let cannot = |detail: &str| BackendError { message: format!("the files of {attempt} cannot be removed: {detail}"), hint: None };
        let name = self.name(attempt);
        let link = self.link.as_ref().ok_or_else(|| cannot("the backend was not started"))?;
        let (answer, answered) = bounded(1);
        link.desk().removals.insert(name.clone(), answer);
        link.send(&Request::Remove { name });
        match answered.recv_timeout(REMOVE_PATIENCE) {
            Ok(None) => {
                let key = super::checkpoint_run(&self.config.lineage, &attempt.address);
                match std::fs::remove_dir_all(Files::new(&self.config.state_dir, "").checkpoint(&key)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cannot(&format!("its checkpoint: {e}"))),
                    _ => Ok(()),
                }
            }
            Ok(Some(detail)) => Err(cannot(&detail)),
            Err(_) => Err(cannot("the supervisor does not answer")),
        }
    }
}
