//! What is seen, as data: the wire types of `oppen dashboard -o json` and of agents. Fields are only ever added.
//!
//! Times are RFC 3339 in UTC, money is decimal strings of dollars, what is unknown is missing.

mod machines;
mod record;
mod times;

use serde::{Deserialize, Serialize};

pub use machines::{Cluster, Gpu, Machine, Node, Pod, Processes, Totals, Tracked, Usage, Use};
pub use record::{Budget, Eta, Held, Metric, Next, Progress, Queue, Record, Run, Spend, Sweep, Waiting};
pub use times::{time, time_opt};

use super::reading::Reading;
use crate::base::Timestamp;

/// Version of the format of [`Snapshot`].
pub const FORMAT_VERSION: u32 = 1;

/// Everything that was seen at one time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// When it was taken.
    #[serde(with = "time")]
    pub at: Timestamp,
    /// Name of the project.
    pub project: String,
    /// `local` or `kubernetes`.
    pub backend: String,
    /// The record: runs, queue, money, sweeps.
    pub record: Reading<Record>,
    /// This machine.
    pub machine: Reading<Machine>,
    /// Processes of local runs, by address.
    pub processes: Reading<Vec<Processes>>,
    /// GPUs of this machine.
    pub gpus: Reading<Vec<Gpu>>,
    /// Nodes and pods of the cluster.
    pub cluster: Reading<Cluster>,
    /// What nodes and pods use.
    pub usage: Reading<Usage>,
    /// GPUs of the cluster.
    pub cluster_gpus: Reading<Vec<Gpu>>,
    /// Runs on the MLflow server.
    pub tracking: Reading<Vec<Tracked>>,
    /// The cheapest next action: the advice that saves most.
    #[serde(default)]
    pub advice: Reading<Next>,
    /// Where runs run, all together: the cluster's nodes, or this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
}
