//! Answers of tools that look and advise: dashboard, forecasts, recommendations, comparisons.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Usd;
use super::output::{Budget, Live};

/// The forecast of one run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct JobForecast {
    /// The run.
    pub job_id: String,
    /// Where it stands.
    pub status: String,
    /// Spent so far.
    pub spent_usd: Usd,
    /// The whole cost; null while there is nothing to go by.
    pub expected_usd: Option<Usd>,
    /// Lower end of the 95% interval; null where nothing was measured.
    pub low_usd: Option<Usd>,
    /// Upper end.
    pub high_usd: Option<Usd>,
    /// At the most; null without a timeout.
    pub worst_usd: Option<Usd>,
    /// Time that is left.
    pub left_seconds: Option<f64>,
    /// When it is thought to be over.
    pub finish: Option<String>,
    /// What it rests on, or what is missing.
    pub basis: String,
    /// The chance of passing each budget.
    pub budgets: Vec<Value>,
}

/// `forecast_training_cost`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Forecast {
    /// The whole cost of all its runs; null while there is nothing to go by.
    pub expected_usd: Option<Usd>,
    /// Lower end of the 95% interval; null where nothing was measured.
    pub low_usd: Option<Usd>,
    /// Upper end.
    pub high_usd: Option<Usd>,
    /// At the most; null without a timeout.
    pub worst_usd: Option<Usd>,
    /// As asked for.
    pub job_name: String,
    /// Each run, at most 200.
    pub jobs: Vec<JobForecast>,
    /// What to do next.
    pub next: String,
}

/// One piece of advice.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Recommendation {
    /// batch-size, off-peak, spot, early-stopping, efficiency, cpu, memory, gpus, gpu-type, zone, trials or reuse.
    pub kind: String,
    /// What to do.
    pub title: String,
    /// What the runs would have cost less.
    pub saves_usd: Usd,
    /// The same in percent of what they cost.
    pub saves_percent: f64,
    /// low, medium or high.
    pub confidence: String,
    /// Why not surer.
    pub because: String,
    /// How that was found, with the figures.
    pub computed: String,
    /// What else would change.
    pub side_effects: Vec<String>,
    /// Edits of the YAML: file, line, before, after; or what to do by hand.
    pub edits: Vec<Value>,
}

/// Advice that the data does not allow.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Advice {
    /// What it would be about.
    pub kind: String,
    /// The measurement that is missing.
    pub what: String,
}

/// `recommend_cost_optimization`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Recommended {
    /// What the job's runs cost.
    pub base_usd: Usd,
    /// What all advice with edits saves together, priced at once and not added up.
    pub together_usd: Usd,
    /// The job.
    pub job: String,
    /// The greatest saving first.
    pub advice: Vec<Recommendation>,
    /// What cannot be known.
    pub missing: Vec<Advice>,
    /// What to do next.
    pub next: String,
}

/// One configuration with its standing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Config {
    /// As it was named.
    pub name: String,
    /// True when it ran, false when it is estimated.
    pub measured: bool,
    /// What it cost, or is expected to; null is unpriced.
    pub cost_usd: Option<Usd>,
    /// 95% interval, where it is estimated from history.
    pub low_usd: Option<Usd>,
    /// See `low_usd`.
    pub high_usd: Option<Usd>,
    /// How long it ran, or is thought to.
    pub seconds: Option<f64>,
    /// Its best value of the metric; null is not known.
    pub metric: Option<f64>,
    /// Where the metric is from, or why there is none.
    pub source: String,
    /// Nothing beats it in cost, time and metric at once.
    pub best: bool,
    /// What beats it.
    pub beaten_by: Option<String>,
    /// Dollars for one more unit of the metric, from the cheaper neighbour.
    pub usd_for_one_more: Option<Usd>,
}

/// `compare_training_configs`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Compared {
    /// The metric; null where none is declared.
    pub metric: Option<String>,
    /// minimize or maximize.
    pub goal: String,
    /// In the order given.
    pub configs: Vec<Config>,
    /// What to do next.
    pub next: String,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Finding {
    /// What it is about.
    pub about: String,
    /// warning (works, and should be looked at) or problem (does not work).
    pub level: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub next: String,
}

/// One check of health, as `oppen health` makes it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Check {
    /// project, store, engine, runs, machine, API server, permissions, quota, metrics, DCGM or MLflow.
    pub check: String,
    /// ok, note, warning or problem.
    pub level: String,
    /// What was found.
    pub message: String,
}

/// One source of figures.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SourceView {
    /// What it tells about.
    pub about: String,
    /// Who says it.
    pub source: String,
    /// fresh, stale (an earlier look), failed or absent (there is none here).
    pub quality: String,
    /// How old it is, in seconds.
    pub age_seconds: Option<f64>,
    /// What went wrong, or why there is none.
    pub why: Option<String>,
}

/// Machines together; null is not known, never 0.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Machines {
    /// Nodes of the cluster, or this machine.
    pub machines: Option<u64>,
    /// Of these, those that can run something.
    pub ready: Option<u64>,
    /// CPU in use, in percent.
    pub cpu_percent: Option<f64>,
    /// Memory in use, in percent.
    pub memory_percent: Option<f64>,
    /// GPUs.
    pub gpus: Option<u64>,
    /// GPUs that runs hold.
    pub gpus_held: Option<u64>,
    /// How long they computed, in percent of the time.
    pub gpu_percent: Option<f64>,
}

/// What a pod, or the processes of a run, use.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PodUse {
    /// The pod, or the run whose processes they are.
    pub name: String,
    /// The run.
    pub job_id: Option<String>,
    /// Where.
    pub node: Option<String>,
    /// Cores in use.
    pub cores: Option<f64>,
    /// Memory in use, in GiB.
    pub memory_gib: Option<f64>,
    /// GPUs that it asked for.
    pub gpus: Option<u64>,
}

/// `get_training_dashboard`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Dashboard {
    /// True when there is no problem; warnings do not count.
    pub healthy: bool,
    /// What is wrong, and what to do.
    pub findings: Vec<Finding>,
    /// Every check that was made.
    pub checks: Vec<Check>,
    /// Spent in all.
    pub cost_total_usd: Usd,
    /// Spent for each attempt that ended, on average.
    pub cost_average_usd: Usd,
    /// Expected of all that waits.
    pub pending_cost_usd: Usd,
    /// Runs by status.
    pub runs: BTreeMap<String, u64>,
    /// What runs, at most 50.
    pub running: Vec<Live>,
    /// Runs that wait.
    pub pending: usize,
    /// When a run that is submitted now is thought to start.
    pub next_free_slot: Option<String>,
    /// Budgets with what is reserved.
    pub budgets: Vec<Budget>,
    /// Where runs run.
    pub cluster: Machines,
    /// Use by pod, or by run where runs are processes; at most 100.
    pub usage: Vec<PodUse>,
    /// Where the figures come from, and how old they are.
    pub sources: Vec<SourceView>,
    /// What to do next.
    pub next: String,
}
