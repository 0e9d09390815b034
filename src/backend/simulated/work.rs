//! Random workloads: jobs with needs, many runs, retries, timeouts, priorities, quotas.

use std::sync::Arc;

use super::rng::Rng;
use crate::base::{Address, Digest, Gpu, Millis, Resources};
use crate::queue::{Limits, Quotas};
use crate::record::{Arg, CommandLine, JobSpec, Priority, Retry, RunSpec};

/// Limits of a small pool.
pub fn limits(rng: &mut Rng) -> Limits {
    let quotas = Quotas { gpu: Some(2), cpu_millis: Some(4000), memory_bytes: None };
    Limits { max_concurrent: 1 + u32::try_from(rng.below(5)).unwrap_or(0), quotas, ..Limits::default() }
}

/// All runs of a random workflow, needs first. `edit` changes the fingerprints of some jobs and of what is downstream.
pub fn workload(shape: &mut Rng, edit: u64) -> Vec<Arc<RunSpec>> {
    let jobs = 2 + shape.below(4);
    let mut all: Vec<Arc<JobSpec>> = Vec::new();
    let mut runs = Vec::new();
    let mut edited: Vec<bool> = Vec::new();
    for number in 0..jobs {
        let needs: Vec<Arc<str>> = all.iter().filter(|_| shape.percent(40)).map(|j| Arc::clone(&j.job)).collect();
        let job = Arc::new(job(number, needs, shape));
        let touched = shape.percent(30) || job.needs.iter().any(|n| all.iter().zip(&edited).any(|(j, e)| *e && j.job == *n));
        let count = 1 + shape.below(4);
        for run in 0..count {
            let name = job.job.strip_prefix("w/").unwrap_or_default();
            let address = Address::new("w", name, (count > 1).then(|| run.to_string()).as_deref());
            let version = if touched { edit } else { 0 };
            let fingerprint = Digest::of(format!("{address} {version}").as_bytes());
            let command = CommandLine { argv: vec![Arg::Text("true".into())], vars: Vec::new() };
            runs.push(Arc::new(RunSpec { address, fingerprint, job: Arc::clone(&job), command, ..RunSpec::default() }));
        }
        all.push(job);
        edited.push(touched);
    }
    runs
}

fn job(number: u64, needs: Vec<Arc<str>>, rng: &mut Rng) -> JobSpec {
    let small = |rng: &mut Rng, n| u32::try_from(rng.below(n)).unwrap_or(0);
    let class = [("urgent", 1000), ("normal", 100), ("background", 10)][usize::try_from(rng.below(3)).unwrap_or(0)];
    JobSpec {
        job: format!("w/j{number}").into(),
        resources: Resources {
            gpu: Gpu { count: small(rng, 3), kind: None },
            cpu_millis: 500 + 500 * rng.below(4),
            ..Resources::default()
        },
        priority: Priority { weight: class.1, class: class.0.into() },
        timeout: rng.percent(60).then(|| Millis::from_secs(30 + rng.below(120))),
        grace: Millis::from_secs(rng.below(10)),
        retry: Retry {
            errors: small(rng, 2),
            interruptions: 3 + small(rng, 5),
            backoff: Millis::from_secs(1 + rng.below(10)),
            timeouts: small(rng, 2),
            ..Retry::default()
        },
        needs,
        parallel: rng.percent(30).then(|| 1 + small(rng, 2)),
        ..JobSpec::default()
    }
}
