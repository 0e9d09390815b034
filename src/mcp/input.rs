//! Arguments of tools. Doc comments and ranges become the schemas that agents see, and that calls are held against.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Usd;

/// No arguments.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `trigger_training_job`, `queue_training_job`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// What to train: a model type of the project (`models` in oppen.yaml), a workflow's name, or a workflow file.
    #[schemars(length(min = 1, max = 256))]
    pub model_type: String,
    /// How many epochs: the template's input `epochs`. Without it the template's default.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: Option<u32>,
    /// Batch size: the template's input `batch_size`. Without it the template's default.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub batch_size: Option<u32>,
    /// Priority class: urgent (half dearer), normal, background (a fifth cheaper), or one of the project's own.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub priority: Option<String>,
    /// Values of further inputs of the template, by name.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Refuse if it is expected to cost more.
    #[serde(default)]
    pub max_cost_usd: Option<Usd>,
    /// Only price it and show its place in the queue; nothing is submitted.
    #[serde(default)]
    pub dry_run: bool,
}

/// JSON as a text, or as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Json(pub String);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(from)? {
            Value::String(text) => text,
            other => other.to_string(),
        }))
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "array", "object"], "maxLength": 4_194_304})
    }
}

/// `submit_batch_training_jobs`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainBatch {
    /// A JSON list of at most 1000 jobs: [{"model_type": "mnist", "epochs": 2, "batch_size": 64, "priority": "normal", "with": {}, "count": 1}].
    pub jobs_json: Json,
    /// Refuse all of it if it is expected to cost more together.
    #[serde(default)]
    pub max_cost_usd: Option<Usd>,
    /// Only price it; nothing is submitted.
    #[serde(default)]
    pub dry_run: bool,
}

/// A job or a run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRef {
    /// `job_id` as a tool gave it: a run's address (workflow/job, with its key in brackets where the job has many), a workflow's name, or a submission's id.
    #[schemars(length(min = 1, max = 512))]
    pub job_id: String,
}

/// `get_training_status`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// `job_id` as a tool gave it: a run's address (workflow/job, with its key in brackets where the job has many), a workflow's name, or a submission's id.
    #[schemars(length(min = 1, max = 512))]
    pub job_id: String,
    /// Wait up to this many seconds for its end, with progress notifications meanwhile.
    #[serde(default)]
    #[schemars(range(min = 0, max = 300))]
    pub wait_seconds: u32,
}

/// `list_training_runs`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunPage {
    /// Only runs that stand so: open is pending or running.
    #[serde(default)]
    #[schemars(extend("enum" = ["open", "pending", "running", "succeeded", "failed", "cancelled", "any"]))]
    pub status: Option<String>,
    /// Only runs of this workflow, or of this workflow/job.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    pub workflow: Option<String>,
    /// Most entries of one answer.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub cursor: Option<String>,
}

/// `list_queued_jobs`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Most entries of one answer.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub cursor: Option<String>,
}

/// `get_training_logs`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// `job_id` as a tool gave it; where it means several runs, name one by its address.
    #[schemars(length(min = 1, max = 512))]
    pub job_id: String,
    /// Most lines: the last ones, or those after `cursor`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2000))]
    pub lines: Option<u32>,
    /// Which attempt; without it the last.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: Option<u32>,
    /// `next_cursor` of the answer before: only what came since.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub cursor: Option<String>,
}

/// `check_training_budget`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetCheck {
    /// What may be spent.
    pub budget_usd: Usd,
    /// How many epochs.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: Option<u32>,
    /// Batch size.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub batch_size: Option<u32>,
    /// What to train; needed only where the project has several model types.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    pub model_type: Option<String>,
    /// Priority class; without it what the template says.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub priority: Option<String>,
}

/// `recommend_cost_optimization`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRef {
    /// A run or a job: `job_id` as a tool gave it.
    #[schemars(length(min = 1, max = 512))]
    pub run_id: String,
}

/// `forecast_training_cost`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForecastAsk {
    /// A job or a run: `job_id` as a tool gave it.
    #[schemars(length(min = 1, max = 512))]
    pub job_name: String,
    /// Epochs (or steps) still to do, where you know better than the files.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub remaining_epochs: Option<u64>,
}

/// `compare_training_configs`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareConfigs {
    /// A JSON list of 2 to 50: [{"model_type": "mnist", "epochs": 2, "batch_size": 64, "priority": "normal", "with": {}, "name": "short"}, {"job_id": "train/train"}]. Runs compare by what they measured.
    pub config_json: Json,
}

/// `get_training_cost_report`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostReport {
    /// First day that counts, such as 2026-11-01; without it the first day of the ledger.
    #[serde(default)]
    #[schemars(length(min = 1, max = 10))]
    pub start_date: Option<String>,
    /// Last day that counts; without it today.
    #[serde(default)]
    #[schemars(length(min = 1, max = 10))]
    pub end_date: Option<String>,
    /// What rows are for.
    #[serde(default)]
    #[schemars(extend("enum" = ["team", "workflow", "job", "user", "priority", "gpu", "day", "month", "quarter"]))]
    pub by: Option<String>,
    /// Whose days: an IANA time zone; without it UTC.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
}

/// `validate_workflow`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Workflow files or folders inside the project; without any, oppen.yaml and workflows/.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub paths: Vec<String>,
}

/// `plan_workflow`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanFiles {
    /// Workflow files or folders inside the project; without any, oppen.yaml and workflows/.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub paths: Vec<String>,
    /// Values of inputs: name, or workflow.name.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// Only these addresses (with * and ?) and what they need.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub targets: Vec<String>,
}

/// `apply_plan`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyPlan {
    /// `plan_id` as plan_workflow gave it.
    #[schemars(length(min = 1, max = 128))]
    pub plan_id: String,
    /// Refuse if the plan is expected to cost more.
    pub max_cost_usd: Usd,
}
