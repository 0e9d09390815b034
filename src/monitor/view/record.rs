//! The record as it is seen: runs, the queue, money, sweeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{time, time_opt};
use crate::base::{Money, Timestamp};

/// What the state has.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Which state.
    pub lineage: String,
    /// Number of the last event.
    pub serial: u64,
    /// Runs by status.
    pub counts: BTreeMap<String, u64>,
    /// Runs with a live attempt, oldest first; at most 200.
    pub running: Vec<Run>,
    /// Runs that ended last, newest first; at most 50.
    pub ended: Vec<Run>,
    /// Runs that wait.
    pub queue: Queue,
    /// Budgets, in the order of the files.
    pub budgets: Vec<Budget>,
    /// Money spent.
    pub spend: Spend,
    /// Sweeps with an open trial; at most 50.
    pub sweeps: Vec<Sweep>,
    /// What live attempts hold together.
    pub held: Held,
    /// Who holds the lock, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub address: String,
    /// Where it stands.
    pub status: String,
    /// Priority class.
    pub priority: String,
    /// Model type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Team that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Number of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Its name on the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// When it was planned.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub planned: Option<Timestamp>,
    /// When its last attempt started.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Epochs or steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// When it is thought to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Eta>,
    /// Cost so far, the live attempt up to now included; none is unpriced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// What it is thought to cost in all; none is unpriced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_cost: Option<Money>,
    /// Last values, the compared metric first; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// How it ended, or what a person should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Something to do that saves money: the advice of `oppen cost recommend` that saves most.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Next {
    /// What to type: it shows the edits.
    pub command: String,
    /// What it would have saved: a difference of two prices.
    pub saves: Money,
    /// Of this: what the job's runs cost.
    pub of: Money,
    /// The job.
    pub job: String,
    /// What to do, in words.
    pub because: String,
}

/// What live attempts hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// Thousandths of cores.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// GPUs.
    pub gpus: u64,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// `epochs` or `steps`.
    pub unit: String,
    /// Done.
    pub done: u64,
    /// In all; none is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// When a run is thought to end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Eta {
    /// Expected.
    #[serde(with = "time")]
    pub at: Timestamp,
    /// 95% interval.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub low: Option<Timestamp>,
    /// 95% interval.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub high: Option<Timestamp>,
    /// What it rests on.
    pub basis: String,
}

/// Last value of a metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its value; none is unknown (NaN, infinite).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Its step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
}

/// Runs that wait.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Queue {
    /// All that wait.
    pub waiting: u64,
    /// The first of them, in the order of the line; at most 200.
    pub first: Vec<Waiting>,
    /// Expected cost of all that wait.
    pub pending_cost: Money,
    /// Of these, those without a price.
    pub unpriced: u64,
    /// Runs with a live attempt.
    pub running: u64,
    /// Most runs at a time.
    pub slots: u32,
    /// When a run that is submitted now is thought to start.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub next_free: Option<Timestamp>,
    /// When the last run is thought to end.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Who paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// Its name.
    pub address: String,
    /// Its place, from 1 on.
    pub position: u64,
    /// Priority class.
    pub priority: String,
    /// When it is thought to start; none while nobody can know.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Expected cost; none is unpriced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// Why it waits.
    pub why: String,
}

/// Where a budget stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// As shown.
    pub name: String,
    /// Posted in the window.
    pub spent: Money,
    /// Set aside for live attempts.
    pub reserved: Money,
    /// Neither.
    pub left: Money,
    /// The limit.
    pub limit: Money,
    /// Spent, in tenths of a percent.
    pub spent_tenths: i64,
    /// Reserved, in tenths of a percent.
    pub reserved_tenths: i64,
    /// The highest threshold reached, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<u32>,
    /// When it begins anew.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// Money of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spend {
    /// Ever.
    pub total: Money,
    /// Since midnight of the rates' time zone.
    pub today: Money,
    /// The last 7 days.
    pub week: Money,
    /// Attempts that ended.
    pub attempts: u64,
    /// Average of these; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_attempt: Option<Money>,
    /// Cost of the live attempts up to now.
    pub live: Money,
}

/// How a sweep stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// `workflow/job`.
    pub name: String,
    /// How its trials are found.
    pub method: String,
    /// Trials.
    pub trials: u64,
    /// Trials by status.
    pub counts: BTreeMap<String, u64>,
    /// The metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Best value, and the trial that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<(f64, String)>,
    /// Cost so far; none is unpriced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Money>,
    /// Who paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
}

impl Run {
    /// What a bar shows, in percent: progress, else the time that ran against what is expected.
    #[must_use]
    pub fn percent(&self, now: Timestamp) -> Option<u64> {
        let share = |part: u64, whole: u64| (whole > 0).then(|| (u128::from(part) * 100 / u128::from(whole)).min(100) as u64);
        let known = self.progress.as_ref().and_then(|p| share(p.done, p.total?));
        known.or_else(|| {
            let (start, eta) = self.started.zip(self.eta.as_ref())?;
            // Whoever only waits for its time to pass is never quite done.
            share(now.since(start).0, eta.at.since(start).0.max(1)).map(|p| p.min(99))
        })
    }
}
