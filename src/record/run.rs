//! A run as plans, the journal and backends know it: self-contained, all values filled in.
//! These are wire types too (JSON in the store and in saved plans); fields are only ever added.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sweep::SweepSpec;
use super::work::Work;
use crate::base::{Address, Digest, Fingerprint, Millis, Money, Resources, Timestamp, Value};

/// One concrete unit to execute.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunSpec {
    /// Stable name.
    pub address: Address,
    /// Digest of what makes the result.
    pub fingerprint: Fingerprint,
    /// What all runs of the job with the same settings share.
    pub job: Arc<JobSpec>,
    /// Matrix and sweep values, in the order of declaration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<(Arc<str>, Value)>,
    /// What to execute.
    pub command: CommandLine,
    /// The trial whose checkpoint this one begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Arc<Parent>>,
}

/// A run whose checkpoint another begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The run.
    pub address: Address,
    /// What made its result.
    pub fingerprint: Fingerprint,
}

impl RunSpec {
    /// True for a trial whose params are found when it starts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let search = self.job.sweep.as_ref().and_then(|s| s.search.as_ref());
        self.params.is_empty() && search.is_some_and(|s| !s.method.is_fixed())
    }

    /// The trial with its params and its parent: its fingerprint is that of the open trial with both folded in, so that an unchanged trial
    /// is known again.
    #[must_use]
    pub fn with_params(&self, params: &[(Arc<str>, Value)], parent: Option<&Arc<Parent>>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"oppen/v1 trial").update(&self.fingerprint.0);
        for (name, value) in params {
            for text in [&**name, &value.to_string()] {
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
        }
        if let Some(parent) = parent {
            hasher.update(b"parent").update(&parent.fingerprint.0);
        }
        let fingerprint = Digest(*hasher.finalize().as_bytes());
        Self { fingerprint, params: params.to_vec(), parent: parent.cloned(), ..self.clone() }
    }

    /// The same in another priority class.
    #[must_use]
    pub fn with_priority(&self, priority: &Priority) -> Self {
        let job = JobSpec { priority: priority.clone(), ..(*self.job).clone() };
        Self { job: Arc::new(job), ..self.clone() }
    }
}

/// What runs of one job share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct JobSpec {
    /// `workflow/job`, the prefix of the runs' addresses.
    pub job: Arc<str>,
    /// File of the workflow, relative to the project's root: a plan of other files leaves the run alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<str>>,
    /// Team that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Container image; none on the local backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Declared environment, plain values only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Arg>,
    /// Environment taken from secrets, by reference: variable -> reference. Values are never read into state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, String>,
    /// Directory to start in, relative to the project's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// What it holds while it runs.
    pub resources: Resources,
    /// Who goes first.
    #[serde(default)]
    pub priority: Priority,
    /// Wall time of one attempt; none is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Time between the polite and the hard end of a process.
    pub grace: Millis,
    /// How often to try again, by cause.
    pub retry: Retry,
    /// `workflow/job` of every job whose runs must all have succeeded first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Arc<str>>,
    /// Files whose digests entered the fingerprint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputDigest>,
    /// Files that the run must leave behind, relative to the project's root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// What `needs.JOB.best` means for this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricGoal>,
    /// What the trials of a sweep share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Arc<SweepSpec>>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Values of the workflow's inputs, kept only where a late expression needs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_inputs: Option<Value>,
    /// What one attempt is thought to take and cost.
    #[serde(default)]
    pub estimate: Estimate,
    /// True when the job has many runs (matrix or sweep).
    #[serde(default)]
    pub many: bool,
    /// Most runs of this job at a time (`sweep.parallel`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Model type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// What its time may grow with.
    #[serde(default, skip_serializing_if = "Work::is_empty")]
    pub work: Work,
    /// Which hours it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartSpec>,
}

/// Hours that a run waits for, and until when at the most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartSpec {
    /// Name of the window of the rate card.
    pub window: Arc<str>,
    /// When it must be done all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Timestamp>,
}

/// Words of a command. A shell script is `["/bin/sh", "-ec", SCRIPT]` whose values stand in `vars`, never in the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct CommandLine {
    /// Program and arguments.
    pub argv: Vec<Arg>,
    /// Variables that the script refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vars: Vec<(Arc<str>, Arg)>,
}

/// One word: known now, or bound when the needs are done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arg {
    /// The bytes that the process gets.
    Text(Arc<str>),
    /// A template that refers to `needs`, rendered once when the run is admitted.
    Late(Arc<str>),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Priority class: a name and its weight; higher goes first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Priority {
    /// 1000 urgent, 100 normal, 10 background, or declared.
    pub weight: i32,
    /// Name of the class.
    pub class: Arc<str>,
}

impl Default for Priority {
    fn default() -> Self {
        Self { weight: 100, class: "normal".into() }
    }
}

/// How many further tries each cause gets. An interruption never uses up an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// After a non-zero exit.
    pub errors: u32,
    /// After an eviction, a preemption, a lost node, a reboot.
    pub interruptions: u32,
    /// After running out of memory.
    pub out_of_memory: u32,
    /// After a sign of a broken GPU.
    pub bad_gpu: u32,
    /// After a timeout.
    pub timeouts: u32,
    /// Wait before the first retry; doubles each time, up to `backoff_max`.
    pub backoff: Millis,
    /// Longest wait.
    pub backoff_max: Millis,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            errors: 0,
            interruptions: 10,
            out_of_memory: 0,
            bad_gpu: 2,
            timeouts: 0,
            backoff: Millis::from_secs(10),
            backoff_max: Millis::from_secs(600),
        }
    }
}

impl Retry {
    /// Tries that a run can take at the most: one and every retry.
    #[must_use]
    pub fn attempts_max(&self) -> u64 {
        1 + [self.errors, self.interruptions, self.out_of_memory, self.bad_gpu, self.timeouts].into_iter().map(u64::from).sum::<u64>()
    }
}

/// A file (or folder) and the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDigest {
    /// Relative to the project's root.
    pub path: String,
    /// BLAKE3 of the content; a folder's covers names and contents.
    pub digest: Digest,
    /// Size of the content.
    #[serde(default)]
    pub bytes: u64,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Less is better.
    #[default]
    Minimize,
    /// More is better.
    Maximize,
}

/// The metric by which trials compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricGoal {
    /// As the run reports it.
    pub name: String,
    /// Which way is better.
    pub goal: Goal,
}

/// Expected amount with its interval and bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Money95 {
    /// Expected.
    pub expected: Money,
    /// Lower end of the 95% interval.
    pub low: Money,
    /// Upper end.
    pub high: Money,
    /// Timeout x attempts, if there is a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<Money>,
}

/// What a run is thought to take and cost, and what that rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Expected wall time of the run; none is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Millis>,
    /// Epochs in that time, where they are declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// 95% interval of the wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(Millis, Millis)>,
    /// Expected cost; none is unpriced, never zero dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money95>,
    /// `declared`, `history of 14 runs`, `default of MODEL`, or why it is unpriced.
    #[serde(default)]
    pub basis: Arc<str>,
    /// What the files say that it takes, where `time` is learned from history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Millis>,
    /// Not before this time (cheap hours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
}
