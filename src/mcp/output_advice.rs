//! Answers of tools that look and advise: dashboard, forecasts, recommendations, comparisons.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Usd;
use super::output::{Budget, Live};

/// Something that is not as it should be.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Finding {
    /// What it is about.
    pub about: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub next: String,
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
    /// True when nothing is wrong.
    pub healthy: bool,
    /// What is wrong, and what to do.
    pub findings: Vec<Finding>,
    /// Spent in all.
    pub cost_total_usd: Usd,
    /// Spent for each run.
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
