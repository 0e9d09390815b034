//! How much a run has to do, how far it is, and what ended attempts took: what estimates are learned from.
//!
//! In: specs, reported points, ends of attempts. Out: features by name, progress, samples. Must never hold money as a float.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Cause, Event, MetricPoint};
use super::run::RunSpec;
use super::state::{RunRecord, State};
use crate::base::{Capacity, Fingerprint, Millis, Money, Timestamp, Value};

/// Names under which inputs and params say how much there is to do, and the feature that each of them is.
const NAMES: [(&str, &[&str]); 4] = [
    ("epochs", &["epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs"]),
    ("steps", &["steps", "max_steps", "num_steps", "train_steps", "iterations", "max_iters"]),
    ("batch_size", &["batch_size", "batch", "train_batch_size", "per_device_train_batch_size"]),
    ("data_size", &["data_size", "dataset_size", "num_samples", "n_samples", "max_samples", "train_size"]),
];

/// Feature of the bytes of input files.
pub const DATA_BYTES: &str = "data_bytes";

/// Marks of progress that are kept of an attempt; more are thinned out evenly.
const MARKS: usize = 32;

/// The feature that a name stands for.
#[must_use]
pub fn canonical(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(_, names)| names.contains(&name)).map(|(feature, _)| *feature)
}

/// What a job's time may grow with. Params are added run by run: see [`features`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Work {
    /// Numbers from inputs, from `estimate` and from the sizes of input files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<Arc<str>, f64>,
    /// Further params that count (`estimate.scales_with`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Arc<str>>,
}

impl Work {
    /// True when nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.names.is_empty()
    }

    /// Notes a number under its feature's name; what is not positive and finite is no amount of work.
    pub fn note(&mut self, name: &str, value: &Value) {
        let named = self.names.iter().find(|n| n.as_ref() == name).map(AsRef::as_ref);
        if let (Some(feature), Some(value)) = (canonical(name).or(named), amount(value)) {
            let feature = Arc::from(feature);
            self.values.insert(feature, value);
        }
    }
}

fn amount(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    };
    number.filter(|v| v.is_finite() && *v > 0.0)
}

/// What one run's time may depend on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Features {
    /// Amounts by name: `epochs`, `steps`, `batch_size`, `data_size`, `data_bytes`, and those that `scales_with` names.
    #[serde(default)]
    pub values: BTreeMap<Arc<str>, f64>,
    /// GPU type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// GPUs.
    #[serde(default)]
    pub gpus: u32,
}

impl Features {
    /// An amount by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// The features of a run: those of its job, with its own params over them.
#[must_use]
pub fn features(spec: &RunSpec) -> Features {
    let mut work = spec.job.work.clone();
    for (name, value) in &spec.params {
        work.note(name, value);
    }
    let gpu = &spec.job.resources.gpu;
    Features { values: work.values, gpu: gpu.kind.clone().filter(|_| gpu.count > 0), gpus: gpu.count }
}

/// True when a param of the run says how much there is to do, so that runs of the job differ.
#[must_use]
pub fn differs(spec: &RunSpec) -> bool {
    spec.params.iter().any(|(name, _)| canonical(name).is_some() || spec.job.work.names.contains(name))
}

/// What an attempt used of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Time on cores, of all its processes together.
    pub cpu: Millis,
    /// Most memory that one of its processes held, in bytes.
    pub memory_bytes: u64,
}

/// How far an attempt is: when it had done how much.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// True for epochs, false for steps.
    #[serde(default)]
    pub epochs: bool,
    /// Units done and when that was first heard, in order; thinned out to at most 32.
    pub marks: Vec<(i64, Timestamp)>,
}

impl Progress {
    /// Notes reported points. Epochs count before steps.
    pub fn note(&mut self, points: &[MetricPoint], now: Timestamp) {
        for point in points {
            let is_epoch = &*point.name == "epoch";
            if is_epoch && !self.epochs {
                *self = Self { epochs: true, marks: Vec::new() };
            }
            if is_epoch != self.epochs {
                continue;
            }
            let Some(units) = point.step.filter(|s| *s >= 0) else { continue };
            if self.marks.last().is_none_or(|(last, _)| units > *last) {
                self.marks.push((units, point.at.unwrap_or(now)));
            }
        }
        if self.marks.len() > MARKS {
            let mut index = 0;
            let last = self.marks.len() - 1;
            self.marks.retain(|_| {
                index += 1;
                (index - 1) % 2 == 0 || index - 1 == last
            });
        }
    }

    /// Units done. Programs that count from 0 have done one more than they say.
    #[must_use]
    pub fn done(&self) -> Option<i64> {
        self.marks.last().map(|(units, _)| units + self.from_zero())
    }

    /// 1 when the first unit has the number 0.
    #[must_use]
    pub fn from_zero(&self) -> i64 {
        i64::from(self.marks.first().is_some_and(|(first, _)| *first == 0))
    }
}

/// One ended attempt, for statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it ended.
    pub at: Timestamp,
    /// The run's address.
    pub address: String,
    /// `workflow/job`.
    pub job: Arc<str>,
    /// Model type.
    pub model: Option<Arc<str>>,
    /// How it ended.
    pub cause: Cause,
    /// It followed an interruption or a pause in the same generation, so it may have begun in the middle.
    pub resumed: bool,
    /// How long it ran.
    pub time: Millis,
    /// What it cost.
    pub cost: Money,
    /// What its time may depend on.
    pub features: Features,
    /// How its machine was bought.
    pub capacity: Capacity,
    /// What the files said that it takes.
    pub declared: Option<Millis>,
    /// What makes its result.
    pub fingerprint: Fingerprint,
    /// What it used, where the backend tells.
    pub usage: Option<Usage>,
}

impl Sample {
    /// The sample that an event makes. `state` has the event folded in.
    #[must_use]
    pub fn of(event: &Event, state: &State) -> Option<Self> {
        let Event::Ended { attempt, started: Some(start), at, outcome, bill, .. } = event else { return None };
        let record = state.runs.get(&attempt.address).filter(|r| r.generation == attempt.generation)?;
        Some(Self::read(record, attempt.number, (*start, *at), outcome, bill.as_ref().map(|b| b.amount).unwrap_or_default()))
    }

    fn read(record: &RunRecord, number: u32, ran: (Timestamp, Timestamp), outcome: &super::event::Outcome, cost: Money) -> Self {
        let spec = &record.spec;
        let cut_short = |cause: Cause| matches!(cause, Cause::Interrupted | Cause::Lost | Cause::BadGpu | Cause::Timeout | Cause::Paused);
        let before = record.attempts.iter().filter(|a| a.number < number);
        Self {
            at: ran.1,
            address: spec.address.as_str().to_owned(),
            job: Arc::clone(&spec.job.job),
            model: spec.job.model.clone(),
            cause: outcome.cause,
            resumed: before.filter_map(|a| a.outcome.as_ref()).any(|o| cut_short(o.cause)),
            time: ran.1.since(ran.0),
            cost,
            features: features(spec),
            capacity: spec.job.resources.capacity,
            declared: spec.job.estimate.declared.or(spec.job.estimate.time),
            fingerprint: spec.fingerprint,
            usage: outcome.usage,
        }
    }

    /// True when its time says how long a whole run takes.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.cause == Cause::Success && !self.resumed && self.time > Millis(0)
    }
}

/// How long attempts ran on one way of buying machines, and how often they were taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exposure {
    /// The way.
    pub capacity: Capacity,
    /// Attempts.
    pub attempts: u64,
    /// All of their time.
    pub time: Millis,
    /// Of these, interrupted or lost.
    pub interruptions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, step: i64) -> MetricPoint {
        MetricPoint { name: name.into(), step: Some(step), value: Some(1.0), at: None }
    }

    #[test]
    fn epochs_count_before_steps_and_marks_stay_few() {
        let mut progress = Progress::default();
        progress.note(&[point("loss", 10), point("loss", 20)], Timestamp(5));
        assert_eq!((progress.epochs, progress.marks.len()), (false, 2));
        for epoch in 0..1000 {
            progress.note(&[point("epoch", epoch), point("loss", epoch * 7)], Timestamp(epoch));
        }
        assert!(progress.epochs);
        assert!(progress.marks.len() <= MARKS, "{}", progress.marks.len());
        assert_eq!(progress.done(), Some(1000), "counted from 0, so the last is the thousandth");
        assert!(progress.marks.iter().all(|(units, at)| *units == at.0), "each mark keeps its own time");
    }

    #[test]
    fn numbers_are_found_by_their_names() {
        let mut work = Work { names: vec!["layers".into()], ..Work::default() };
        for (name, value) in [("num_epochs", Value::from(3)), ("layers", Value::from(12)), ("lr", Value::from(0.1)), ("batch", "x".into())]
        {
            work.note(name, &value);
        }
        work.note("steps", &Value::from(-1));
        let found: Vec<(&str, f64)> = work.values.iter().map(|(n, v)| (&**n, *v)).collect();
        assert_eq!(found, [("epochs", 3.0), ("layers", 12.0)]);
    }
}
