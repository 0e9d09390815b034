//! A price in pieces: by resource, and by the windows that it crosses.
//!
//! In: rates, a job, a start and a length. Out: [`Breakdown`], whose pieces sum up to its total exactly: running sums are rounded
//! and the pieces are their differences, so that no piece is off by more than a micro-dollar. Must never differ from what
//! [`Rates::cost`] says of the same stretch.

use std::sync::Arc;

use super::{ONE, Rates};
use crate::base::{Capacity, Millis, Money, Resources, Timestamp};
use crate::record::JobSpec;

/// A resource with its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `GPU`, `CPU`, `memory`.
    pub what: &'static str,
    /// How much of it: `2 x A100`, `2 cores`, `3Gi`.
    pub amount: String,
    /// What that much costs an hour, at factor 1 of window, priority and capacity.
    pub hourly: Money,
    /// Its share of the total.
    pub cost: Money,
}

/// A stretch of time at one factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Name of the window; none outside all.
    pub window: Option<Arc<str>>,
    /// Begin.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
    /// Factor of the price, parts per million.
    pub factor: u64,
    /// Its share of the total.
    pub cost: Money,
}

/// What a run costs, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    /// By resource.
    pub lines: Vec<Line>,
    /// By window, in the order of time.
    pub stretches: Vec<Stretch>,
    /// Factor of the priority class, parts per million.
    pub priority: u64,
    /// Factor of the capacity, parts per million.
    pub capacity: u64,
    /// The whole.
    pub total: Money,
}

impl Rates {
    /// What a stretch of time costs, in pieces.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn breakdown(&self, job: &JobSpec, start: Timestamp, length: Millis) -> Result<Breakdown, String> {
        let total = self.cost(job, start, length)?;
        let weighted = self.off_peak.weighted(start, length);
        let mut lines = Vec::new();
        let (mut known, mut sum) = (Resources { capacity: job.resources.capacity, ..Resources::default() }, Money::ZERO);
        for (what, amount, more) in parts(&job.resources) {
            let before = self.hourly(&known)?;
            more(&mut known, &job.resources);
            let alone = JobSpec { resources: known.clone(), priority: job.priority.clone(), ..JobSpec::default() };
            let upto = self.total(&alone, weighted)?;
            lines.push(Line { what, amount, hourly: self.hourly(&known)? - before, cost: upto - sum });
            sum = upto;
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        let (mut weight, mut sum) = (0_i128, Money::ZERO);
        let mut wrong = None;
        self.off_peak.each(start, length, &mut |from, to, factor| {
            weight += i128::from(to.since(from).0) * i128::from(factor);
            let upto = self.total(job, weight).unwrap_or_else(|why| {
                wrong = Some(why);
                Money::ZERO
            });
            let window = (factor != ONE).then(|| Arc::from("off-peak"));
            match stretches.last_mut().filter(|s| s.factor == factor) {
                Some(last) => {
                    last.to = to;
                    last.cost += upto - sum;
                }
                None => stretches.push(Stretch { window, from, to, factor, cost: upto - sum }),
            }
            sum = upto;
        });
        let priority = self.priority.get(&job.priority.class).copied().unwrap_or(ONE);
        let capacity = if job.resources.capacity == Capacity::Spot { self.spot } else { ONE };
        wrong.map_or(Ok(Breakdown { lines, stretches, priority, capacity, total }), Err)
    }
}

type Part = (&'static str, String, fn(&mut Resources, &Resources));

/// What a run holds, a resource at a time.
fn parts(r: &Resources) -> Vec<Part> {
    use crate::base::resources::{show_cpu, show_memory};
    let mut all: Vec<Part> = Vec::new();
    if r.gpu.count > 0 {
        let kind = r.gpu.kind.as_deref().unwrap_or("GPU");
        all.push(("GPU", format!("{} x {kind}", r.gpu.count), |to, from| to.gpu = from.gpu.clone()));
    }
    all.push(("CPU", show_cpu(r.cpu_millis), |to, from| to.cpu_millis = from.cpu_millis));
    all.push(("memory", show_memory(r.memory_bytes), |to, from| to.memory_bytes = from.memory_bytes));
    all
}
