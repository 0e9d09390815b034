//! Event words: everything that can happen to the record. Append-only; variants and fields are only ever added.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ledger::{Bill, Payer, Reservation};
use super::run::{Parent, Priority, RunSpec};
use super::state::{Finished, OutputRecord};
use crate::base::{Address, AttemptId, Money, Timestamp, Value};

/// One fact. The journal stores it with a sequence number, the time and the writer's fencing epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A plan's actions follow.
    PlanApplied {
        /// The plan.
        plan_id: String,
        /// Who applied it (`user@host`).
        by: String,
    },
    /// Somebody submitted templates with values, without a file: their runs follow.
    Submitted {
        /// Of the submission.
        id: String,
        /// Who submitted (`user@host`).
        by: String,
        /// A workflow for each, with its template and its values.
        jobs: Vec<SubmittedJob>,
    },
    /// What follows was brought by an agent.
    OfAgent {
        /// Name and version that it gave itself.
        agent: String,
        /// The person who agreed (`user@host`), where one had to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved_by: Option<String>,
        /// What it was expected to cost.
        cost: Money,
    },
    /// What an agent brought was not taken: a person has to agree first.
    HeldBack {
        /// Name and version that it gave itself.
        agent: String,
        /// Why.
        because: String,
    },
    /// Nothing is launched from here on.
    QueuePaused {
        /// Who asked.
        by: String,
    },
    /// Runs are launched again.
    QueueResumed {
        /// Who asked.
        by: String,
    },
    /// A waiting run gets another place in the line.
    Prioritized {
        /// The run.
        address: Address,
        /// Its new class.
        priority: Priority,
        /// Who asked.
        by: String,
    },
    /// The run is wanted, as a new generation (create, rerun).
    Planned {
        /// What to run.
        spec: Arc<RunSpec>,
    },
    /// Only settings outside the fingerprint changed.
    Updated {
        /// The whole new spec.
        spec: Arc<RunSpec>,
    },
    /// The result of an equal, finished run serves for this one: it has succeeded without running.
    Reused {
        /// The wanted run.
        spec: Arc<RunSpec>,
        /// The finished run and what it left.
        result: Finished,
    },
    /// The run is wanted in another shape, once its live older generation has ended.
    Superseded {
        /// What to run then.
        spec: Arc<RunSpec>,
    },
    /// Leaves the state once it has ended.
    Withdrawn {
        /// The run.
        address: Address,
    },
    /// No longer in the files and not live: leaves the state, stays in history.
    Forgotten {
        /// The run.
        address: Address,
    },
    /// Asked to stop by a person or a plan.
    CancelRequested {
        /// The run.
        address: Address,
        /// Who or what asked.
        by: String,
    },
    /// Intent: the attempt will be submitted. Durable before the submission.
    Admitted {
        /// The attempt.
        attempt: AttemptId,
        /// Money set aside for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reservation: Option<Box<Reservation>>,
    },
    /// The backend says that it exists and runs.
    Started {
        /// The attempt.
        attempt: AttemptId,
        /// By the backend's clock.
        at: Timestamp,
        /// Where: node, pid, GPU slots; for people.
        place: String,
    },
    /// The backend was asked to end it.
    Stopping {
        /// The attempt.
        attempt: AttemptId,
        /// What it will count as.
        cause: Cause,
        /// Why, where the cause alone does not say it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// The attempt is over, for good.
    Ended {
        /// The attempt.
        attempt: AttemptId,
        /// When it started by the backend's clock, if it ever did.
        started: Option<Timestamp>,
        /// When it ended by the backend's clock.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// Files it left, by content.
        outputs: Vec<OutputRecord>,
        /// What it cost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bill: Option<Box<Bill>>,
    },
    /// Another attempt follows, not before a time.
    RetryScheduled {
        /// The run.
        address: Address,
        /// Earliest start.
        not_before: Timestamp,
    },
    /// The run is over: every need of it may be decided.
    Succeeded {
        /// The run.
        address: Address,
    },
    /// The run is over after its last attempt failed.
    Failed {
        /// The run.
        address: Address,
        /// Why.
        cause: Cause,
        /// In words, where no attempt has them.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// The run is over because somebody ended it.
    Cancelled {
        /// The run.
        address: Address,
    },
    /// The run will not start because a need did not succeed.
    Skipped {
        /// The run.
        address: Address,
        /// `workflow/job` of the need that did not succeed.
        because: Arc<str>,
    },
    /// The run was ended early: its values were not good enough, or its sweep was over. It counts as done.
    Pruned {
        /// The run.
        address: Address,
        /// Why.
        because: Arc<str>,
    },
    /// The trial waits at a rung until it is known whether it goes on. It is not over.
    Paused {
        /// The run.
        address: Address,
        /// Why.
        because: Arc<str>,
    },
    /// A trial that waited at a rung goes on, from its checkpoint where it has one.
    Promoted {
        /// The run.
        address: Address,
        /// Why.
        because: Arc<str>,
    },
    /// The run will not start, and nothing is missing: its sweep was over before.
    Unneeded {
        /// The run.
        address: Address,
        /// Why.
        because: Arc<str>,
    },
    /// What an open trial is to try. Durable before its first attempt.
    Suggested {
        /// The run.
        address: Address,
        /// Its params.
        params: Vec<(Arc<str>, Value)>,
        /// How they were found.
        why: Arc<str>,
        /// The trial whose checkpoint it begins with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Arc<Parent>>,
    },
    /// The first trial of a sweep is admitted.
    SweepBegan {
        /// `workflow/job`.
        job: Arc<str>,
    },
    /// All trials of a sweep are over.
    SweepEnded {
        /// `workflow/job`.
        job: Arc<str>,
    },
    /// No further trial of the sweep starts.
    SweepPaused {
        /// `workflow/job`.
        job: Arc<str>,
        /// Who asked.
        by: Arc<str>,
    },
    /// Trials start again.
    SweepResumed {
        /// `workflow/job`.
        job: Arc<str>,
        /// Who asked.
        by: Arc<str>,
    },
    /// Values a run reported.
    Metrics {
        /// The attempt that reported them.
        attempt: AttemptId,
        /// In the order of reporting.
        points: Vec<MetricPoint>,
    },
    /// A person corrects what an attempt cost, with a new entry of the ledger.
    Corrected {
        /// The attempt.
        attempt: AttemptId,
        /// What is added; negative for what was charged too much.
        amount: Money,
        /// Why.
        note: String,
        /// Who pays.
        payer: Payer,
    },
    /// Spending has reached a threshold of a budget.
    Threshold {
        /// The budget, as shown.
        budget: Arc<str>,
        /// Percent of the limit.
        percent: u32,
        /// Spent in the window.
        spent: Money,
        /// The limit.
        limit: Money,
    },
    /// Something a person should know.
    Noticed {
        /// The attempt it concerns.
        attempt: AttemptId,
        /// What was seen.
        anomaly: Anomaly,
    },
}

impl Event {
    /// The run it is about, if about one.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::PlanApplied { .. }
            | Self::Threshold { .. }
            | Self::SweepBegan { .. }
            | Self::SweepEnded { .. }
            | Self::SweepPaused { .. }
            | Self::SweepResumed { .. }
            | Self::Submitted { .. }
            | Self::OfAgent { .. }
            | Self::HeldBack { .. }
            | Self::QueuePaused { .. }
            | Self::QueueResumed { .. } => None,
            Self::Planned { spec } | Self::Updated { spec } | Self::Reused { spec, .. } | Self::Superseded { spec } => Some(&spec.address),
            Self::Withdrawn { address }
            | Self::Forgotten { address }
            | Self::CancelRequested { address, .. }
            | Self::Prioritized { address, .. }
            | Self::RetryScheduled { address, .. }
            | Self::Succeeded { address }
            | Self::Failed { address, .. }
            | Self::Cancelled { address }
            | Self::Skipped { address, .. }
            | Self::Pruned { address, .. }
            | Self::Paused { address, .. }
            | Self::Promoted { address, .. }
            | Self::Unneeded { address, .. }
            | Self::Suggested { address, .. } => Some(address),
            Self::Admitted { attempt, .. }
            | Self::Started { attempt, .. }
            | Self::Stopping { attempt, .. }
            | Self::Ended { attempt, .. }
            | Self::Metrics { attempt, .. }
            | Self::Corrected { attempt, .. }
            | Self::Noticed { attempt, .. } => Some(&attempt.address),
        }
    }

    /// The sweep it is about, if about one as a whole.
    #[must_use]
    pub fn sweep(&self) -> Option<&Arc<str>> {
        match self {
            Self::SweepBegan { job } | Self::SweepEnded { job } | Self::SweepPaused { job, .. } | Self::SweepResumed { job, .. } => {
                Some(job)
            }
            _ => None,
        }
    }

    /// The spec it carries, if it carries one.
    #[must_use]
    pub fn spec(&self) -> Option<&Arc<RunSpec>> {
        match self {
            Self::Planned { spec } | Self::Updated { spec } | Self::Reused { spec, .. } | Self::Superseded { spec } => Some(spec),
            _ => None,
        }
    }
}

/// One template with its values, as submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmittedJob {
    /// The workflow that it became: the first part of its runs' addresses.
    pub workflow: Arc<str>,
    /// File of the template, relative to the project's root.
    pub template: Arc<str>,
    /// Model type, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// Values of its inputs.
    #[serde(default)]
    pub with: serde_json::Map<String, Value>,
}

/// One reported value. Unknown values (NaN, infinite) are `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// As reported.
    pub name: Arc<str>,
    /// The step it belongs to, if one was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// None when it was no finite number.
    pub value: Option<f64>,
    /// When it was reported, where the source says so; else the time of its event counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl MetricPoint {
    /// Longest name that is read from lines, in bytes.
    pub const MAX_NAME: usize = 128;

    /// True for a name that a line of output can carry.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        name.len() <= Self::MAX_NAME
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'-'))
    }
}

/// Why an attempt or run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Exit status 0 and all outputs there.
    Success,
    /// The user's program failed.
    Error,
    /// It used more memory than it may.
    OutOfMemory,
    /// A sign of a broken GPU.
    BadGpu,
    /// It took longer than its timeout.
    Timeout,
    /// Evicted, preempted, node lost, machine restarted: not its fault.
    Interrupted,
    /// It is gone and nobody knows how it ended.
    Lost,
    /// No node can ever take it, in the scheduler's words.
    Unschedulable,
    /// The backend refused to create it.
    Refused,
    /// A person or a plan ended it.
    Cancelled,
    /// The money that was set aside for it is used up, or a budget refused it.
    Budget,
    /// Its sweep ended it early.
    Pruned,
    /// Its sweep stopped it at a rung; it may go on later.
    Paused,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why.
    pub cause: Cause,
    /// Exit status of the process; 128 + signal when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// For people: the scheduler's words, the missing output, the signal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What it used of its machine, where the backend tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<super::work::Usage>,
}

impl Outcome {
    /// An outcome with words.
    #[must_use]
    pub fn new(cause: Cause, exit_code: Option<i32>, detail: impl Into<String>) -> Self {
        Self { cause, exit_code, detail: detail.into(), usage: None }
    }
}

/// What should not happen and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "anomaly", rename_all = "kebab-case")]
pub enum Anomaly {
    /// The backend started the same attempt twice; both are charged.
    DoubleStart {
        /// Both places.
        detail: String,
    },
    /// An object with our name and another owner.
    Foreign {
        /// Whose.
        detail: String,
    },
    /// The node is out of reach; the attempt may still run, its cost goes on.
    Unreachable {
        /// What is known.
        detail: String,
    },
    /// A report about an attempt that is over already; it changed nothing.
    LateReport {
        /// The report.
        detail: String,
    },
    /// The submission's answer was lost; only the same name is tried again.
    SubmitUnknown {
        /// The error.
        detail: String,
    },
    /// The tracking server could not be read; the run goes on.
    Untracked {
        /// The error.
        detail: String,
    },
    /// It waits outside our queue.
    Waiting {
        /// The scheduler's words.
        detail: String,
    },
}
