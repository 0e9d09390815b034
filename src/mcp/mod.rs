//! Agent tools: the Model Context Protocol over standard input and output, or over HTTP.
//!
//! In: calls of agents. Out: typed answers, or a [`Refusal`] that says what the agent can do next. What a tool does comes from a
//! [`Desk`]: this room knows names, shapes, transports and who may speak. Must never do a tool's work itself, nor let through a
//! value that its schema forbids.

mod check;
mod http;
mod input;
mod lines;
mod output;
mod output_advice;
mod prompts;
mod refusal;
mod server;
mod text;
mod tools;
mod usd;

pub use http::{Door, serve as serve_http};
pub use input::{
    ApplyPlan, BudgetCheck, CompareConfigs, CostReport, Files, ForecastAsk, JobRef, Json, Logs, Nothing, Page, PlanFiles, RunPage, RunRef,
    Status, Train, TrainBatch,
};
pub use output::{
    Apply, Budget, Budgeted, Capacity, Cost, Explained, JobView, Live, LogText, Plan, PlanRun, Queue, QueuePage, Queued, Report, ReportRow,
    RunList, Stopped, Submitted, Sums, SweepView, Training, Trend, Validated,
};
pub use output_advice::{
    Advice, Check, Compared, Config, Dashboard, Finding, Forecast, JobForecast, Machines, PodUse, Recommendation, Recommended, SourceView,
};
pub use refusal::{Answer, Code, Refusal};
pub use server::serve_stdio;
pub use text::{line, plain, untrusted};
pub use tools::{Desk, Kind, Tool, call, tools};
pub use usd::Usd;

/// What a tool knows about the call that it answers.
pub struct Talk<'a> {
    /// Name and version that the agent gave itself, escaped.
    pub agent: String,
    /// True once nobody waits for the answer any more.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Tells how far the work is: done, in all, in words.
    pub progress: &'a (dyn Fn(u32, Option<u32>, &str) + Sync),
}

/// Something to read: files, schemas, plans, runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// `oppen://kind/name`.
    pub uri: String,
    /// For people.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Its type.
    pub mime: &'static str,
}
