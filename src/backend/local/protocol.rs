//! What the engine's process and the supervisor say to each other: JSON, a line a message.
//!
//! In and out: plain data. Must never be written to disk: the environment in `Hello` holds secrets.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{AttemptId, Millis, Timestamp};
use crate::record::event::Outcome;
use crate::record::state::OutputRecord;

/// Changes whenever the messages do. Only equal numbers talk to each other.
pub const PROTOCOL: u32 = 1;

/// Longest message in bytes; a longer one ends the connection.
pub const MAX_MESSAGE: usize = 16 << 20;

/// From the engine's process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// First of all.
    Hello(Box<Hello>),
    /// Create the attempt, or adopt it.
    Submit(Box<Job>),
    /// End it.
    Stop {
        /// The attempt.
        name: String,
        /// Between polite and hard.
        grace: Millis,
    },
    /// Look for it.
    Lookup {
        /// The attempt.
        name: String,
    },
    /// Remove its files.
    Remove {
        /// The attempt.
        name: String,
    },
}

/// Who asks, and what attempts start with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The project's root.
    pub root: PathBuf,
    /// GPU slots of this machine.
    pub gpus: u32,
    /// The caller's environment.
    pub env: Vec<(OsString, OsString)>,
}

/// One attempt, ready to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Deterministic name.
    pub name: String,
    /// Whose it is.
    pub attempt: AttemptId,
    /// Program and arguments.
    pub argv: Vec<Arc<str>>,
    /// Added to the caller's environment.
    pub env: Vec<(String, Arc<str>)>,
    /// Variable -> name of the caller's variable that holds its value.
    pub secret_env: BTreeMap<String, String>,
    /// Below the root.
    pub workdir: Option<String>,
    /// Where its checkpoint is, below the folder of all checkpoints.
    #[serde(default)]
    pub checkpoint: String,
    /// The checkpoint of the run that it begins with, likewise; empty for none.
    #[serde(default)]
    pub parent: String,
    /// Its checkpoint stays when it has succeeded: others begin with it.
    #[serde(default)]
    pub kept: bool,
    /// Slots wanted.
    pub gpus: u32,
    /// Wall time.
    pub timeout: Option<Millis>,
    /// Between polite and hard, at the timeout.
    pub grace: Millis,
    /// Files it must leave.
    pub outputs: Vec<String>,
}

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// First of all.
    Welcome {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Of the program.
        version: String,
        /// Of the supervisor.
        pid: u32,
    },
    /// It is there, and does not run yet.
    Exists {
        /// The attempt.
        name: String,
    },
    /// It waits for GPU slots.
    Waiting {
        /// The attempt.
        name: String,
        /// For what.
        detail: String,
    },
    /// It runs.
    Started {
        /// The attempt.
        name: String,
        /// When.
        at: Timestamp,
        /// Pid and slots.
        place: String,
    },
    /// It is over.
    Ended {
        /// The attempt.
        name: String,
        /// How.
        exit: Box<Exit>,
    },
    /// There is none, and none will start.
    Absent {
        /// The attempt.
        name: String,
    },
    /// It was not and will not be started.
    Refused {
        /// The attempt.
        name: String,
        /// Why.
        detail: String,
    },
    /// Its journal cannot be read now: nothing is concluded.
    Unknown {
        /// The attempt.
        name: String,
        /// The error.
        detail: String,
    },
    /// Answer to `Remove`.
    Removed {
        /// The attempt.
        name: String,
        /// What is left, and why.
        error: Option<String>,
    },
}

/// How an attempt ended: the last line of its journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// When it started, if it did.
    pub started: Option<Timestamp>,
    /// When it ended: never before it started.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// Files it left, by content.
    pub outputs: Vec<OutputRecord>,
    /// Bytes of output.
    pub log_bytes: u64,
}
