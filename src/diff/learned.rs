//! Times that were learned, put into the runs that a plan starts: what the plan shows is then what the engine reserves by.
//!
//! In: the plan's actions, samples of ended attempts. Out: specs whose estimate has expected time, interval and basis. Must never cost a
//! look into history for a job that starts nothing, nor change a fingerprint.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{History, Planned, Request};
use crate::price::learn::{self, Seconds, interruptions};
use crate::record::{Estimate, Exposure, Features, JobSpec, RunSpec, Sample, work};

/// What is known of one job.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Ended attempts of the job, newest first.
    pub samples: Vec<Sample>,
    /// Whole runs of its model type, where the job itself has none.
    pub of_model: Vec<Sample>,
}

impl Past {
    /// Looks into history for a job.
    #[must_use]
    pub fn read(history: &dyn History, job: &JobSpec) -> Self {
        let samples = history.samples(&job.job);
        let needs_model = !samples.iter().any(Sample::is_whole);
        let of_model = job.model.as_ref().filter(|_| needs_model).map(|m| history.of_model(m)).unwrap_or_default();
        Self { samples, of_model }
    }

    /// The time of one attempt of a run with these features that nothing interrupts. None where neither the job nor its model type tells.
    #[must_use]
    pub fn seconds(&self, job: &JobSpec, wanted: &Features) -> Option<Seconds> {
        let declared = job.estimate.declared.or(job.estimate.time);
        let of_model = || job.model.as_ref().and_then(|m| learn::of_model(&self.of_model, m, wanted, declared));
        learn::of_job(&self.samples, wanted, declared).or_else(of_model)
    }
}

/// Puts learned times in place of declared ones, for runs of jobs that have a history.
pub fn apply(request: &Request<'_>, actions: &mut [Planned]) {
    let mut pasts: FxHashMap<Arc<str>, Past> = FxHashMap::default();
    let mut exposures: Option<Vec<Exposure>> = None;
    // Runs that share settings and amounts share the learned settings too.
    let mut known: FxHashMap<(usize, String), Option<Arc<JobSpec>>> = FxHashMap::default();
    for action in actions.iter_mut().filter(|a| a.action.runs()) {
        let Some(spec) = &action.spec else { continue };
        let past = pasts.entry(Arc::clone(&spec.job.job)).or_insert_with(|| Past::read(request.history, &spec.job));
        if past.samples.is_empty() && past.of_model.is_empty() {
            continue;
        }
        let amounts = if work::differs(spec) { format!("{:?}", work::features(spec).values) } else { String::new() };
        let exposures = exposures.get_or_insert_with(|| request.history.exposures());
        let job = known
            .entry((Arc::as_ptr(&spec.job) as usize, amounts))
            .or_insert_with(|| estimate(spec, past, exposures).map(|e| Arc::new(JobSpec { estimate: e, ..(*spec.job).clone() })));
        if let Some(job) = job {
            action.spec = Some(Arc::new(RunSpec { job: Arc::clone(job), ..(**spec).clone() }));
        }
    }
}

/// The learned estimate of a run: from its own job, else from its model type. None where neither tells.
fn estimate(spec: &RunSpec, past: &Past, exposures: &[Exposure]) -> Option<Estimate> {
    let job = &spec.job;
    let mut seconds = past.seconds(job, &work::features(spec))?;
    let capacity = job.resources.capacity;
    let rate = interruptions::Rate::of(exposures, capacity);
    if rate.counts(capacity) {
        seconds.basis = format!("{}, {}", seconds.basis, rate.words()).into();
        let failing = interruptions::failing(&past.samples);
        seconds = interruptions::with_attempts(seconds, &rate, job.retry.attempts_max(), failing, job.retry.errors);
    }
    Some(Estimate {
        time: Some(Seconds::millis(seconds.expected)),
        interval: Some((Seconds::millis(seconds.low), Seconds::millis(seconds.high))),
        basis: seconds.basis,
        declared: job.estimate.declared.or(job.estimate.time),
        ..job.estimate.clone()
    })
}
