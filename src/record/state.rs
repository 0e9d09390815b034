//! The state: the fold of all events. Terminal statuses never change except by a new generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Anomaly, Event, Outcome};
use super::ledger::Payer;
use super::run::RunSpec;
use super::sweep::{Curve, Rung, SweepRecord};
use super::work::Progress;
use crate::base::{Address, Digest, Millis, Money, Timestamp};

/// Everything that is known, by address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// All runs in the state, in the order of addresses.
    pub runs: BTreeMap<Address, RunRecord>,
    /// Last generation of runs that left the state: a run that comes back never gets an old attempt's name.
    pub forgotten: BTreeMap<Address, u32>,
    /// Counts `Planned` events: gives each run its place in the queue.
    pub next_seq: u64,
    /// Sweeps under way or paused, by `workflow/job`.
    pub sweeps: BTreeMap<Arc<str>, SweepRecord>,
    /// Who applied the last plan: pays for the runs planned by it.
    pub applied_by: Arc<str>,
    /// Nothing is launched, since somebody said so.
    pub paused: Option<Pause>,
}

/// Who paused the queue, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who asked.
    pub by: String,
    /// When.
    pub since: Timestamp,
}

/// One run's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// What to run. Stores keep it apart from the rest.
    #[serde(skip)]
    pub spec: Arc<RunSpec>,
    /// Which planning of the run; starts at 1.
    pub generation: u32,
    /// First in, first out.
    pub seq: u64,
    /// Where it stands.
    pub status: RunStatus,
    /// Tries of this generation, in order.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Somebody asked to end it.
    #[serde(default)]
    pub cancel_requested: bool,
    /// What is wanted once the live attempt has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Arc<RunSpec>>,
    /// It leaves the state when it has ended.
    #[serde(default)]
    pub withdrawn: bool,
    /// Last and best reported values, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<Arc<str>, MetricSummary>,
    /// A trial's values of its sweep's metric, by step.
    #[serde(default, skip_serializing_if = "Curve::is_empty")]
    pub curve: Curve,
    /// The rung at which a trial was stopped last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<Rung>,
    /// How a trial's params were found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
    /// Files it left, by content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputRecord>,
    /// The run whose result serves for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_from: Option<Address>,
    /// The need that did not succeed, or the failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Arc<str>>,
    /// Earliest start of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Anomaly>,
    /// When it was planned.
    pub planned_at: Timestamp,
    /// Who applied the plan that it came with.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub by: Arc<str>,
    /// When it reached its terminal status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Planned; waits for needs, the pool or a backoff.
    Pending,
    /// An attempt was admitted and may exist, but is not known to run.
    Launching,
    /// An attempt runs.
    Running,
    /// An attempt was asked to end.
    Stopping,
    /// Done. Terminal.
    Succeeded,
    /// Its last attempt failed. Terminal.
    Failed,
    /// Ended by somebody. Terminal.
    Cancelled,
    /// A need did not succeed. Terminal.
    Skipped,
    /// A trial that was ended early; it counts as done. Terminal.
    Pruned,
    /// A trial that was not started since its sweep was over; it counts as done. Terminal.
    Unneeded,
}

impl RunStatus {
    /// Never changes again in this generation.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped | Self::Pruned | Self::Unneeded)
    }

    /// Holds resources, or may.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Launching | Self::Running | Self::Stopping)
    }

    /// The word shown and stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Launching => "launching",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Pruned => "pruned",
            Self::Unneeded => "unneeded",
        }
    }
}

/// One submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Starts at 1 in each generation.
    pub number: u32,
    /// Where it stands.
    pub phase: AttemptPhase,
    /// When the intent was recorded.
    pub admitted_at: Timestamp,
    /// By the backend's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// By the backend's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Where it ran.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Money set aside for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Money>,
    /// When that money is used up, from the admission on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Millis>,
    /// The job's timeout when it was admitted, where money was set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Who pays, while it is live: settings that change meanwhile do not move what is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Arc<Payer>>,
    /// What it cost, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// The backend started it twice: both are charged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubled: bool,
    /// Values of the sweep's metric that this attempt reported without a step.
    #[serde(default, skip_serializing_if = "is_none")]
    pub reports: i64,
    /// Why it was asked to end, where the cause alone does not say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stop_detail: String,
    /// What it will count as when it ends, once it was asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_cause: Option<super::event::Cause>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
}

fn is_none(count: &i64) -> bool {
    *count == 0
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptPhase {
    /// Intent is durable; it may or may not exist.
    Admitted,
    /// Seen to run.
    Running,
    /// Asked to end.
    Stopping,
    /// Over.
    Ended,
}

/// Last and best of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Last finite value; none when only unknown values came.
    pub last: Option<f64>,
    /// Smallest finite value.
    pub min: Option<f64>,
    /// Largest finite value.
    pub max: Option<f64>,
    /// Step of the last report.
    pub step: Option<i64>,
    /// How many values came.
    pub count: u64,
}

/// A file that a run left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Relative to the project's root.
    pub path: String,
    /// Content, or none where the backend cannot read it (a volume of the cluster).
    pub digest: Option<Digest>,
    /// Size.
    pub bytes: u64,
}

/// What a finished run left, for another to take over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The run.
    pub from: Address,
    /// Its outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputRecord>,
    /// What it reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<Arc<str>, MetricSummary>,
}

impl Finished {
    /// Of a record.
    #[must_use]
    pub fn of(record: &RunRecord) -> Self {
        Self { from: record.spec.address.clone(), outputs: record.outputs.clone(), metrics: record.metrics.clone() }
    }

    /// True when there is nothing to take over: what such a run did cannot be known, so it is done again.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.metrics.is_empty()
    }
}

impl State {
    /// Notes one event. Events about unknown runs or attempts change nothing.
    pub fn apply(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::PlanApplied { by, .. } => self.applied_by = by.as_str().into(),
            Event::Submitted { by, .. } => self.applied_by = by.as_str().into(),
            Event::QueuePaused { by } => self.paused = Some(Pause { by: by.clone(), since: now }),
            Event::QueueResumed { .. } => self.paused = None,
            Event::Prioritized { address, priority, .. } => {
                self.with(address, |run| run.spec = Arc::new(run.spec.with_priority(priority)));
            }
            Event::Threshold { .. } | Event::OfAgent { .. } | Event::HeldBack { .. } => {}
            Event::Corrected { attempt, amount, .. } => self.with(&attempt.address, |run| run.correct(attempt, *amount)),
            Event::Planned { spec } => self.plan(spec, now),
            Event::Updated { spec } => self.with(&spec.address, |run| run.updated(spec)),
            Event::Suggested { address, params, why, parent } => self.with(address, |run| run.suggested(params, why, parent.as_ref())),
            Event::Reused { spec, result } => {
                self.plan(spec, now);
                self.with(&spec.address, |run| {
                    run.reused_from = Some(result.from.clone());
                    run.outputs.clone_from(&result.outputs);
                    run.metrics.clone_from(&result.metrics);
                    run.end(RunStatus::Succeeded, now);
                });
            }
            Event::Superseded { spec } => self.with(&spec.address, |run| run.next = Some(Arc::clone(spec))),
            Event::Withdrawn { address } => self.with(address, |run| run.withdrawn = true),
            Event::Forgotten { address } => {
                if let Some(run) = self.runs.remove(address) {
                    self.forgotten.insert(address.clone(), run.generation);
                }
            }
            Event::CancelRequested { address, .. } => self.with(address, |run| run.cancel_requested = true),
            Event::RetryScheduled { address, not_before } => self.with(address, |run| {
                run.status = RunStatus::Pending;
                run.not_before = Some(*not_before);
            }),
            Event::Succeeded { address } => self.with(address, |run| run.end(RunStatus::Succeeded, now)),
            Event::Failed { address, detail, .. } => self.with(address, |run| run.fail(detail, now)),
            Event::Cancelled { address } => self.with(address, |run| run.end(RunStatus::Cancelled, now)),
            Event::Skipped { address, because } => self.with(address, |run| run.end_because(RunStatus::Skipped, because, now)),
            Event::Pruned { address, because } => self.with(address, |run| run.end_because(RunStatus::Pruned, because, now)),
            Event::Paused { address, because } => self.with(address, |run| run.paused_at_rung(because)),
            Event::Promoted { address, .. } => self.with(address, RunRecord::promoted),
            Event::Unneeded { address, because } => self.with(address, |run| run.end_because(RunStatus::Unneeded, because, now)),
            Event::Admitted { attempt, reservation } => {
                self.with(&attempt.address, |run| run.admit(attempt.number, reservation.as_deref(), now));
            }
            Event::Started { attempt, at, place } => self.with(&attempt.address, |run| run.started(attempt.number, *at, place)),
            Event::Stopping { attempt, cause, detail } => self.with(&attempt.address, |run| run.stopping(attempt.number, *cause, detail)),
            Event::Ended { attempt, started, at, outcome, outputs, bill } => self.with(&attempt.address, |run| {
                if let Some(a) = run.open_attempt(attempt.number) {
                    a.phase = AttemptPhase::Ended;
                    a.started_at = started.or(a.started_at);
                    a.ended_at = Some(*at);
                    a.outcome = Some(outcome.clone());
                    a.cost = bill.as_ref().map(|b| b.amount);
                    a.payer = None;
                    run.outputs.clone_from(outputs);
                }
            }),
            Event::Metrics { attempt, points } => self.with(&attempt.address, |run| run.reported(attempt.number, points, now)),
            Event::SweepBegan { job } => self.sweep(job, |sweep| sweep.began = Some(now)),
            Event::SweepEnded { job } => self.sweep(job, |sweep| sweep.began = None),
            Event::SweepPaused { job, by } => self.sweep(job, |sweep| sweep.paused = Some(Arc::clone(by))),
            Event::SweepResumed { job, .. } => self.sweep(job, |sweep| sweep.paused = None),
            Event::Noticed { attempt, anomaly } => self.with(&attempt.address, |run| run.noticed(attempt.number, anomaly)),
        }
    }

    fn with(&mut self, address: &Address, change: impl FnOnce(&mut RunRecord)) {
        if let Some(run) = self.runs.get_mut(address) {
            change(run);
        }
    }

    fn sweep(&mut self, job: &Arc<str>, change: impl FnOnce(&mut SweepRecord)) {
        let sweep = self.sweeps.entry(Arc::clone(job)).or_default();
        change(sweep);
        if sweep.is_empty() {
            self.sweeps.remove(job);
        }
    }

    fn plan(&mut self, spec: &Arc<RunSpec>, now: Timestamp) {
        let last = self.runs.get(&spec.address).map(|old| old.generation).or_else(|| self.forgotten.remove(&spec.address));
        let generation = last.map_or(1, |g| g.saturating_add(1));
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        let by = Arc::clone(&self.applied_by);
        // A trial that is run again with its params keeps the reason for them.
        let why = self.runs.get(&spec.address).filter(|old| !spec.params.is_empty() && old.spec.params == spec.params);
        let why = why.and_then(|old| old.why.clone());
        self.runs.insert(spec.address.clone(), RunRecord { by, why, ..RunRecord::new(Arc::clone(spec), generation, seq, now) });
    }
}
