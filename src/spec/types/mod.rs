//! The documents, a file a concept. Doc comments are what editors show.

mod budget;
mod job;
mod policy;
mod project;
mod rates;
mod sweep;
mod tracking;
mod workflow;

use std::sync::Arc;

use crate::spec::scalar::{Plain, Templ};

pub use budget::BudgetDecl;
pub use job::{Defaults, EstimateDecl, Job, ResourcesDecl, RetryDecl, RunText, StartDecl};
pub use policy::{CaseDecl, ExpectDecl, PolicyDoc, RuleDecl};
pub use project::{AgentsDecl, GpuHoursDecl, KubernetesDecl, LimitsDecl, ModelDecl, PoolDecl, Project, QuotasDecl, TeamDecl};
pub use rates::{GpuPrices, OffPeakDecl, Priced, RatesCard, RatesDecl, RegionPrices, WindowDecl, ZonePrices};
pub use sweep::{Matrix, MatrixAxis, MethodOptions, MetricDecl, Parameter, PruneDecl, Sweep, WrittenPoint};
pub use tracking::{MlflowDecl, TrackingDecl};
pub use workflow::{InputDecl, Workflow};

/// Text that may hold a template.
pub type Text = Templ<Arc<str>>;
/// Text that may not.
pub type Word = Plain<Arc<str>>;
