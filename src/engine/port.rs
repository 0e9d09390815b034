//! What goes into the engine and what comes out of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{Address, AttemptId, Millis, Timestamp};
use crate::expand::Rule;
use crate::record::event::{Anomaly, Event, MetricPoint, Outcome, SubmittedJob};
use crate::record::run::{Priority, RunSpec};
use crate::record::state::{Finished, OutputRecord};

/// One thing that happened outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The orders of a plan, all or none, under its id.
    Apply {
        /// The plan.
        plan_id: String,
        /// Who applies it.
        by: String,
        /// What to do.
        orders: Vec<Order>,
    },
    /// A backend saw something.
    Observed(Observation),
    /// A person asks to end runs. Live ones are stopped, waiting ones end at once; terminal ones stay.
    Cancel {
        /// The runs.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
    /// A person asks to run again what failed, was cancelled or was skipped.
    Retry {
        /// The runs.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
    /// Budgets of workflows that hold from here on, new or with another limit.
    Budgets(Vec<Rule>),
    /// Templates with values that somebody submitted: their runs are wanted, beside all others.
    Submit(Box<Submission>),
    /// A person asks to end runs that have not started. Live ones go on.
    CancelWaiting {
        /// The runs.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
    /// A person gives waiting runs another priority. Live ones keep theirs.
    Prioritize {
        /// The runs.
        addresses: Vec<Address>,
        /// The new class.
        priority: Priority,
        /// Who asks.
        by: String,
    },
    /// A person pauses the queue, or lets it go on. Durable, unlike [`Input::Launching`].
    PauseQueue {
        /// Whether to pause.
        paused: bool,
        /// Who asks.
        by: String,
    },
    /// Takes runs out of the state; live ones are cancelled first and leave when they ended.
    Forget {
        /// The runs.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
    /// A person pauses sweeps: no further trial starts, live ones go on to their end.
    Pause {
        /// `workflow/job` of each.
        jobs: Vec<Arc<str>>,
        /// Who asks.
        by: String,
    },
    /// A person lets paused sweeps go on.
    Resume {
        /// `workflow/job` of each.
        jobs: Vec<Arc<str>>,
        /// Who asks.
        by: String,
    },
    /// What an agent brings: taken when the project's rule lets it, else held back as a whole.
    OfAgent {
        /// Which agent, who agreed, and the cost.
        agency: super::Agency,
        /// What it wants.
        inputs: Vec<Input>,
    },
    /// Whether new attempts may be launched (Ctrl-C once, pause, API server away).
    Launching(bool),
    /// Time went by; also sent right after the start.
    Tick,
}

/// What somebody submitted, all values filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Its name.
    pub id: String,
    /// Who submits, and pays.
    pub by: String,
    /// Templates and values.
    pub jobs: Vec<SubmittedJob>,
    /// The runs, needs first.
    pub runs: Vec<Arc<RunSpec>>,
    /// Budgets that come with the templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// One action of a plan, as the engine obeys it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Create or rerun. A live older generation is stopped first; the new one waits for its end.
    Run(Arc<RunSpec>),
    /// Settings outside the fingerprint.
    Update(Arc<RunSpec>),
    /// Take over the result of an equal run.
    Reuse {
        /// The wanted run.
        spec: Arc<RunSpec>,
        /// The finished run and what it left.
        result: Finished,
    },
    /// End it.
    Cancel(Address),
    /// Drop it from the state.
    Forget(Address),
}

/// What a backend reports. Reports may come late, doubled and out of order; the engine copes.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// The submission was accepted (or the attempt was found to exist already). It may not run yet.
    Exists {
        /// The attempt.
        attempt: AttemptId,
    },
    /// It runs.
    Started {
        /// The attempt.
        attempt: AttemptId,
        /// By the backend's clock.
        at: Timestamp,
        /// Node, pid, GPU slots.
        place: String,
    },
    /// It is over and cannot run any more. All its output was delivered before.
    Ended {
        /// The attempt.
        attempt: AttemptId,
        /// When it started, if ever.
        started: Option<Timestamp>,
        /// When it ended.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// Files it left.
        outputs: Vec<OutputRecord>,
    },
    /// The backend surely does not have it and surely will not start it: said after a look-up, never guessed.
    Absent {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The submission's answer was lost; it may or may not exist. The same name is tried again.
    SubmitUnknown {
        /// The attempt.
        attempt: AttemptId,
        /// The error.
        detail: String,
    },
    /// The backend refused it for good (invalid, forbidden); it does not exist.
    Refused {
        /// The attempt.
        attempt: AttemptId,
        /// Why, in the backend's words.
        detail: String,
    },
    /// Reported values.
    Metrics {
        /// The attempt.
        attempt: AttemptId,
        /// In order.
        points: Vec<MetricPoint>,
    },
    /// Something odd that changes no status.
    Noticed {
        /// The attempt.
        attempt: AttemptId,
        /// What.
        anomaly: Anomaly,
    },
    /// The backend cannot be reached: nothing new is launched, nothing is concluded.
    Unreachable {
        /// The error.
        detail: String,
    },
    /// It can be reached again.
    Reachable,
}

impl Observation {
    /// The attempt it is about, if about one.
    #[must_use]
    pub fn attempt(&self) -> Option<&AttemptId> {
        match self {
            Self::Exists { attempt }
            | Self::Started { attempt, .. }
            | Self::Ended { attempt, .. }
            | Self::Absent { attempt }
            | Self::SubmitUnknown { attempt, .. }
            | Self::Refused { attempt, .. }
            | Self::Metrics { attempt, .. }
            | Self::Noticed { attempt, .. } => Some(attempt),
            Self::Unreachable { .. } | Self::Reachable => None,
        }
    }
}

/// What to perform, after the events of the same step are durable. Every command may be repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Create the attempt under its deterministic name, or adopt it when it exists.
    Submit(Box<Launch>),
    /// End the attempt: politely, and after `grace` by force. Reported as `Ended` when it is gone.
    Stop {
        /// The attempt.
        attempt: AttemptId,
        /// Time between polite and hard.
        grace: Millis,
    },
    /// Say whether it exists: answered with `Exists`, `Started`, `Ended` or `Absent`.
    Lookup {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Send `Tick` at this time at the latest. The earliest asked for counts.
    WakeAt(Timestamp),
}

/// All that a backend needs to create one attempt. Late words are bound by now.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The attempt.
    pub attempt: AttemptId,
    /// The run, as planned.
    pub spec: Arc<RunSpec>,
    /// Program and arguments, byte for byte.
    pub argv: Vec<Arc<str>>,
    /// Variables: declared ones, `OPPEN_*`, and those of a shell script's values.
    pub env: Vec<(String, Arc<str>)>,
    /// Hard end of the attempt: the job's timeout, or the end of its money if that comes first.
    pub timeout: Option<Millis>,
}

/// The outcome of one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// To append in one transaction, already folded into the engine's state.
    pub events: Vec<Event>,
    /// To perform once the events are durable.
    pub commands: Vec<Command>,
}
