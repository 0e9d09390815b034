//! Machines, nodes, pods, GPUs and processes as they are seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Metric, time_opt};
use crate::base::{Millis, Timestamp};

/// A machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// Cores.
    pub cores: u64,
    /// Percent of all cores in use, over the last `window_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Time that the percents are over, in milliseconds.
    pub window_ms: Millis,
    /// Bytes of memory.
    pub memory_total: u64,
    /// Bytes that are not available to new programs.
    pub memory_used: u64,
}

/// The processes of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Processes {
    /// The run.
    pub address: String,
    /// How many.
    pub count: u64,
    /// Percent of one core, over the last look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Resident bytes, of all together.
    pub rss_bytes: u64,
    /// Bytes of GPU memory, where the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_bytes: Option<u64>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Gpu {
    /// Machine or node.
    pub host: String,
    /// Its number there.
    pub index: u32,
    /// Its own name in the world.
    pub uuid: String,
    /// Its model.
    pub name: String,
    /// Percent of the time that it computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Bytes in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<u64>,
    /// Degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub celsius: Option<f64>,
    /// Watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watts: Option<f64>,
    /// Pod that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// Nodes and pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// Namespace of our pods.
    pub namespace: String,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Live pods of our namespace; at most 1000.
    pub pods: Vec<Pod>,
    /// What is missing, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The kubelet says that it can run pods.
    pub ready: bool,
    /// Takes new pods.
    pub schedulable: bool,
    /// Type of its GPUs, by its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<String>,
    /// Thousandths of cores that pods may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Asked for by pods; none where they may not be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_requested_millis: Option<u64>,
    /// Bytes that pods may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_requested_bytes: Option<u64>,
    /// GPUs that pods may have.
    pub gpus: u64,
    /// Asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus_requested: Option<u64>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `Pending`, `Running`, ...
    pub phase: String,
    /// The run that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The state that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
    /// Thousandths of cores asked for.
    pub cpu_millis: u64,
    /// Bytes asked for.
    pub memory_bytes: u64,
    /// GPUs asked for.
    pub gpus: u64,
}

/// What nodes and pods use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// By name.
    pub nodes: BTreeMap<String, Use>,
    /// By `namespace/name`.
    pub pods: BTreeMap<String, Use>,
    /// When the oldest figure of a node was measured, where the source tells.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub measured: Option<Timestamp>,
    /// What is missing, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What is used right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Use {
    /// Thousandths of cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// A run on the MLflow server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tracked {
    /// Its address; its attempt's name where it is not of a run that is known here.
    pub run: String,
    /// Its id there.
    pub id: String,
    /// Last values; at most 8.
    pub metrics: Vec<Metric>,
}

/// All machines together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Machines.
    pub machines: u64,
    /// Of these, those that can run something.
    pub ready: u64,
    /// Thousandths of cores.
    pub cpu_millis: u64,
    /// Asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_requested_millis: Option<u64>,
    /// Percent in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Bytes.
    pub memory_bytes: u64,
    /// Asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_requested_bytes: Option<u64>,
    /// Percent in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_percent: Option<f64>,
    /// GPUs.
    pub gpus: u64,
    /// Asked for, or held by runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus_requested: Option<u64>,
    /// Percent of the time that they computed, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_percent: Option<f64>,
}
