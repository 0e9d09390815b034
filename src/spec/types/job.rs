//! The job, and what `defaults` may say of all jobs.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Matrix, MetricDecl, Sweep, Text, Word};
use crate::base::{Capacity, Diagnostics, Millis, Span};
use crate::spec::lower::{Definitions, Lower, Named, list, wrong};
use crate::spec::scalar::{Cpu, GpuAsk, Memory, Plain, Scalar, Templ};
use crate::spec::tree::{Kind, Node};

document! {
    /// A template of work: a command with its needs, resources and variations.
    "a job" pub struct Job {
        /// Another workflow file whose jobs stand here, relative to this file.
        "uses" uses: Option<Word>,
        /// Values of the used workflow's inputs.
        "with" with: Named<Value>,
        /// Jobs that must have succeeded first.
        "needs" needs: Vec<Word>,
        /// The command: a list is a program with its arguments, a text is a shell script (`sh -e`).
        "run" run: Option<RunText>,
        /// Container image (Kubernetes).
        "image" image: Option<Text>,
        /// Environment variables.
        "env" env: Named<Text>,
        /// Environment variables taken from secrets: `NAME: secret/key` on Kubernetes, `NAME: VARIABLE` of the caller locally.
        "secrets" secrets: Named<Word>,
        /// Directory to start in, relative to the project's root.
        "workdir" workdir: Option<Text>,
        /// GPUs, cores and memory of each run.
        "resources" resources: Option<ResourcesDecl>,
        /// `urgent`, `normal`, `background`, or a class of the project.
        "priority" priority: Option<Text>,
        /// Files and folders whose content decides whether the run is still up to date.
        "inputs" inputs: Vec<Text>,
        /// Files and folders that the run leaves behind.
        "outputs" outputs: Vec<Text>,
        /// How long it is thought to take.
        "estimate" estimate: Option<EstimateDecl>,
        /// Longest time of one attempt.
        "timeout" timeout: Option<Templ<Millis>>,
        /// Time between the polite and the hard end (default 30s).
        "grace" grace: Option<Templ<Millis>>,
        /// Further attempts, by cause of the failure.
        "retry" retry: Option<RetryDecl>,
        /// When it may start.
        "start" start: Option<StartDecl>,
        /// A run for each combination of values.
        "matrix" matrix: Option<Matrix>,
        /// Trials over a space of parameters.
        "sweep" sweep: Option<Sweep>,
        /// The metric by which runs of a matrix compare (`needs.JOB.best`).
        "metric" metric: Option<MetricDecl>,
        /// Labels, for selectors and reports.
        "labels" labels: Named<Text>,
        /// Model type, for default estimates of the project.
        "model" model: Option<Word>,
    }
}

document! {
    /// What holds for every job that does not say otherwise.
    "defaults" pub struct Defaults {
        /// Container image (Kubernetes).
        "image" image: Option<Text>,
        /// Environment variables; a job's own are added and win.
        "env" env: Named<Text>,
        /// Environment variables taken from secrets.
        "secrets" secrets: Named<Word>,
        /// Directory to start in, relative to the project's root.
        "workdir" workdir: Option<Text>,
        /// GPUs, cores and memory; each part can be overridden alone.
        "resources" resources: Option<ResourcesDecl>,
        /// Priority class.
        "priority" priority: Option<Text>,
        /// How long a run is thought to take.
        "estimate" estimate: Option<EstimateDecl>,
        /// Longest time of one attempt.
        "timeout" timeout: Option<Templ<Millis>>,
        /// Time between the polite and the hard end.
        "grace" grace: Option<Templ<Millis>>,
        /// Further attempts, by cause of the failure.
        "retry" retry: Option<RetryDecl>,
        /// When runs may start.
        "start" start: Option<StartDecl>,
        /// Labels.
        "labels" labels: Named<Text>,
        /// Model type, for default estimates of the project.
        "model" model: Option<Word>,
    }
}

/// The command of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum RunText {
    /// Program and arguments, byte for byte.
    Argv(Vec<Text>, Span),
    /// A shell script.
    Script(Arc<str>, Span),
}

impl Lower for RunText {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => list(node, diags).map(|argv| Self::Argv(argv, node.span)),
            Kind::Scalar { text, .. } => Arc::<str>::read(text, true).ok().map(|t| Self::Script(t, node.span)),
            Kind::Map(_) => {
                diags.push(
                    wrong(node, "a command: a list of words or a shell script")
                        .hint("write `run: [python, train.py]` or `run: python train.py`"),
                );
                None
            }
        }
    }
    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": Text::schema(definitions)}]})
    }
}

document! {
    /// What a run holds while it runs. GPUs can be written as `gpu: 1`, `gpu: A100:2`, or as Kubernetes `limits`.
    "resources" pub struct ResourcesDecl {
        /// GPUs: `1`, `A100`, `A100:2`.
        "gpu" gpu: Option<Templ<GpuAsk>>,
        /// Cores: `2`, `0.5`, `500m`.
        "cpu" cpu: Option<Templ<Cpu>>,
        /// Memory: `512Mi`, `16Gi`.
        "memory" memory: Option<Templ<Memory>>,
        /// Disk of its own: `100Gi`. On Kubernetes it is ephemeral storage; locally it is priced and not held.
        "disk" disk: Option<Templ<Memory>>,
        /// How the machine is bought: `on-demand`, `spot` or `reserved`.
        "capacity" capacity: Option<Plain<Capacity>>,
        /// The same in the words of Kubernetes.
        "limits" limits: Option<KubernetesLimits>,
    }
}

document! {
    /// Resources in the words of Kubernetes.
    "limits" pub struct KubernetesLimits {
        /// GPUs.
        "nvidia.com/gpu" gpu: Option<Templ<GpuAsk>>,
        /// Cores.
        "cpu" cpu: Option<Templ<Cpu>>,
        /// Memory.
        "memory" memory: Option<Templ<Memory>>,
    }
}

impl Scalar for Capacity {
    const EXPECTED: &'static str = "`on-demand`, `spot` or `reserved`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        match text {
            "on-demand" => Ok(Self::OnDemand),
            "spot" => Ok(Self::Spot),
            "reserved" => Ok(Self::Reserved),
            _ => Err(None),
        }
    }
    fn scalar_schema() -> Value {
        json!({"enum": ["on-demand", "spot", "reserved"]})
    }
}

document! {
    /// Further attempts, by cause. An interruption never uses up an error.
    "retry" pub struct RetryDecl {
        /// After a non-zero exit (default 0).
        "errors" errors: Option<Templ<u32>>,
        /// After an eviction, a preemption, a lost node or a restart of the machine (default 10).
        "interruptions" interruptions: Option<Templ<u32>>,
        /// After running out of memory (default 0).
        "out_of_memory" out_of_memory: Option<Templ<u32>>,
        /// After a sign of a broken GPU (default 2).
        "bad_gpu" bad_gpu: Option<Templ<u32>>,
        /// After a timeout (default 0).
        "timeouts" timeouts: Option<Templ<u32>>,
        /// Wait before the first retry, doubled each time (default 10s).
        "backoff" backoff: Option<Templ<Millis>>,
        /// Longest wait (default 10m).
        "backoff_max" backoff_max: Option<Templ<Millis>>,
    }
}

document! {
    /// How long a run is thought to take: `time`, or `epochs` times `per_epoch`. Once runs have ended, their times count instead.
    "an estimate" pub struct EstimateDecl {
        /// Whole wall time.
        "time" time: Option<Templ<Millis>>,
        /// Number of epochs.
        "epochs" epochs: Option<Templ<u32>>,
        /// Wall time of one epoch.
        "per_epoch" per_epoch: Option<Templ<Millis>>,
        /// Inputs and params that the time grows with, beside those that are known by name (`epochs`, `steps`, `batch_size`, `data_size`).
        "scales_with" scales_with: Vec<Word>,
    }
}

document! {
    /// When a run may start.
    "start" pub struct StartDecl {
        /// Wait for these hours of the rate card, such as `off-peak`; `any` waits for none.
        "window" window: Option<Word>,
        /// Be done by this moment all the same (RFC 3339): start earlier where the estimate needs it, and by then where there is none.
        "by" by: Option<Word>,
    }
}
