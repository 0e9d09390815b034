//! The plan: what would happen, as data. What is shown, saved and obeyed is this and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sweep_price::SweepPrice;
use crate::base::{Address, Digest, Millis, Money, Timestamp};
use crate::check::{BudgetLine, Verdict};
use crate::expand::Rule;
use crate::queue::Limits;
use crate::record::{Estimate, Finished, JobSpec, Money95, RunSpec};

/// Version of the plan's JSON.
pub const FORMAT_VERSION: u32 = 1;

/// What is done with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It has never run.
    Create,
    /// It has run, and must again.
    Rerun,
    /// Settings outside its fingerprint change; it does not run again.
    Update,
    /// The result of an equal run serves, or its own outputs are put back.
    Reuse,
    /// It is live and no longer wanted.
    Cancel,
    /// It is over and no longer wanted: it leaves the state, not the history.
    Forget,
}

impl Action {
    /// All actions, in the order of showing.
    pub const ALL: [Self; 6] = [Self::Create, Self::Rerun, Self::Update, Self::Reuse, Self::Cancel, Self::Forget];

    /// The word shown and stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Rerun => "rerun",
            Self::Update => "update",
            Self::Reuse => "reuse",
            Self::Cancel => "cancel",
            Self::Forget => "forget",
        }
    }

    /// True when it starts an attempt.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Create | Self::Rerun)
    }
}

/// Where an action comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The files changed.
    Edit,
    /// The world changed: an output is missing or was changed, an attempt failed.
    Drift,
    /// Something upstream changed.
    Downstream,
}

/// Why: what changed, from what, to what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reason {
    /// `params.lr`, `run`, `env.X`, `resources.gpu`, `inputs.PATH`, `needs.JOB`, `last`, `new`.
    pub key: String,
    /// As recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// As wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The run.
    pub address: Address,
    /// What is done.
    pub action: Action,
    /// Where it comes from.
    pub origin: Origin,
    /// Why; shared by runs that have the same.
    pub reasons: Arc<[Reason]>,
    /// The wanted run; none for cancel and forget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Arc<RunSpec>>,
    /// The finished run whose result serves, and what it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<Finished>>,
    /// Time and money, for runs that start; for reuse what the reused run took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Box<Estimate>>,
    /// When it is thought to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Hours that it waits for, and what that is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Box<Held>>,
}

impl Planned {
    /// What it is thought to cost; none without a price.
    #[must_use]
    pub fn cost(&self) -> Option<Money95> {
        self.estimate.as_ref().and_then(|e| e.cost)
    }
}

/// A hold for cheap hours, as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Name of the window.
    pub window: Arc<str>,
    /// How it stands: `waits`, `early`, `open`, `due`, `past`, `pointless`, `unknown`.
    pub state: Arc<str>,
    /// When the hold ends; none is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it must be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Timestamp>,
    /// The latest start for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
    /// How long it is thought to take at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Millis>,
    /// What it would cost if it started now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Money>,
    /// What starting later saves against that; less than nothing when it costs more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saves: Option<Money>,
    /// Time zone of the window.
    pub zone: Arc<str>,
}

/// An output that is not as the run left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The run.
    pub address: Address,
    /// The file or folder.
    pub path: String,
    /// `missing` or `changed`.
    pub what: String,
}

/// What a plan rests on, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The wanted runs.
    pub base: Digest,
    /// The recorded state.
    pub state: Digest,
    /// The rates.
    pub rates: Digest,
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Digest of actions and fingerprints; no times, no money.
    pub plan_id: String,
    /// Which state it was made for.
    pub lineage: String,
    /// The state's serial number when it was made: another one makes the plan stale.
    pub serial: u64,
    /// Where runs run.
    pub backend: String,
    /// What it rests on.
    pub digests: Basis,
    /// All actions, needs first.
    pub runs: Vec<Planned>,
    /// Needs between jobs that have actions: from, to.
    pub edges: Vec<(Arc<str>, Arc<str>)>,
    /// Jobs that are sweeps or matrices: their method and how many runs they have.
    pub groups: BTreeMap<Arc<str>, (String, usize)>,
    /// Outputs that are not as they were left.
    pub drift: Vec<Drift>,
    /// Budgets with what counts against them.
    pub budgets: Vec<BudgetLine>,
    /// The budgets themselves, which apply keeps.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The pool.
    pub quotas: Limits,
    /// Verdicts.
    pub checks: Vec<Verdict>,
    /// Runs that are as wanted.
    pub unchanged: usize,
    /// Of these, those that are pending or live: an apply goes on with them.
    pub in_progress: usize,
    /// Cost of completed work that is kept.
    pub saved: Money,
    /// Expected cost of what the plan starts.
    pub cost: Money,
    /// Cost at the worst, when every run has a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<Money>,
    /// Runs without a price.
    pub unpriced: usize,
    /// Most by which real spending passes hard budgets, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrun: Option<Money>,
    /// Sweeps that it starts trials of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweeps: Vec<SweepPrice>,
    /// When the last run is thought to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Templates that were left out because their inputs are not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<Arc<str>>,
    /// True when the files hold errors; there are no actions then.
    pub errored: bool,
}

impl Plan {
    /// Jobs of what it starts, each with how many of its runs.
    pub fn starting(&self) -> impl Iterator<Item = (&Arc<JobSpec>, usize)> {
        let specs: Vec<&Arc<RunSpec>> = self.runs.iter().filter(|r| r.action.runs()).filter_map(|r| r.spec.as_ref()).collect();
        let mut groups: Vec<(&Arc<JobSpec>, usize)> = Vec::new();
        for spec in specs {
            match groups.last_mut().filter(|(job, _)| Arc::ptr_eq(job, &spec.job)) {
                Some((_, n)) => *n += 1,
                None => groups.push((&spec.job, 1)),
            }
        }
        groups.into_iter()
    }

    /// True when a check refuses it.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.checks.iter().any(|c| c.blocks)
    }

    /// How many of an action.
    #[must_use]
    pub fn count(&self, action: Action) -> usize {
        self.runs.iter().filter(|r| r.action == action).count()
    }

    /// True when drift is all that there is.
    #[must_use]
    pub fn is_drift_only(&self) -> bool {
        let drifted = |r: &Planned| r.origin == Origin::Drift && r.reasons.iter().all(|reason| reason.key.starts_with("outputs."));
        !self.drift.is_empty() && self.runs.iter().all(drifted)
    }
}

/// Digest of actions and fingerprints, shortened to 16 hex digits.
#[must_use]
pub fn plan_id(runs: &[Planned]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"oppen/v1 plan");
    for run in runs {
        hasher.update(run.action.word().as_bytes()).update(&[0]).update(run.address.as_str().as_bytes()).update(&[0]);
        if let Some(spec) = &run.spec {
            hasher.update(&spec.fingerprint.0);
        }
    }
    hasher.finalize().to_hex().as_str().chars().take(16).collect()
}
