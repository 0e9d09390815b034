//! The record: what a run is, the events of its life, and their fold into [`State`].
//!
//! In: events. Out: state. Must never decide anything: a fold only notes what the engine decided or a backend saw.

pub mod event;
mod ladder;
pub mod ledger;
mod life;
pub mod run;
pub mod search;
pub mod state;
pub mod sweep;
pub mod work;

pub use event::{Anomaly, Cause, Event, MetricPoint, Outcome, SubmittedJob};
pub use ladder::Ladder;
pub use ledger::{Bill, Entry, EntryKind, Payer, Reservation};
pub use run::{Arg, CommandLine, Estimate, Goal, InputDigest, JobSpec, MetricGoal, Money95, Parent, Priority, Retry, RunSpec, StartSpec};
pub use search::{Distribution, Method, Options, Parameter, Params, PruneMethod, PruneSpec, Restarts, SearchSpec, Space};
pub use state::{Attempt, AttemptPhase, Finished, MetricSummary, OutputRecord, Pause, RunRecord, RunStatus, State};
pub use sweep::{Curve, Rung, SweepRecord, SweepSpec, Tally};
pub use work::{Exposure, Features, Progress, Sample, Usage, Work};
