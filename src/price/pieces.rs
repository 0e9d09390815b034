//! A price in pieces: by resource, and by the windows that it crosses.
//!
//! In: rates, a job, a start and a length. Out: [`Breakdown`], whose pieces sum up to its total exactly: running sums are rounded
//! and the pieces are their differences, so that no piece is off by more than a micro-dollar. Must never differ from what
//! [`Rates::cost`] says of the same stretch.

use std::sync::Arc;

use super::{ONE, Part, Rates, What};
use crate::base::{Capacity, Millis, Money, Resources, Timestamp};
use crate::record::JobSpec;

/// A resource with its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `GPU`, `CPU`, `memory`, `disk`.
    pub what: &'static str,
    /// How much of it: `2 x A100`, `2 cores`, `3Gi`.
    pub amount: String,
    /// What that much costs an hour, at factor 1 of window, priority and capacity.
    pub hourly: Money,
    /// The price is the capacity's own: its factor is in it.
    pub own: bool,
    /// It comes with the GPU and is not charged again.
    pub included: bool,
    /// Its share of the total.
    pub cost: Money,
}

/// A stretch of time at one factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Name of the window.
    pub window: Arc<str>,
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
    /// Factor of the capacity, parts per million; none where it has prices of its own alone.
    pub capacity: Option<u64>,
    /// The whole.
    pub total: Money,
}

impl Rates {
    /// What a stretch of time costs, in pieces.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn breakdown(&self, job: &JobSpec, start: Timestamp, length: Millis) -> Result<Breakdown, String> {
        let parts = self.parts(&job.resources)?;
        let (weighted, class) = (self.hours.weighted(start, length), &*job.priority.class);
        let (mut lines, mut sum) = (Vec::new(), Money::ZERO);
        for (i, part) in parts.iter().enumerate() {
            let upto = self.amount(parts.get(..=i).unwrap_or_default(), class, weighted);
            let Some((what, amount)) = words(part, &job.resources) else { continue };
            lines.push(Line { what, amount, hourly: part.hourly, own: part.own, included: part.included, cost: upto - sum });
            sum = upto;
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        let (mut weight, mut sum) = (0_i128, Money::ZERO);
        self.hours.each(start, length, &mut |from, to, window| {
            let (name, factor) = self.hours.windows.get(window).map_or(("always".into(), ONE), |w| (Arc::clone(&w.name), w.factor));
            weight += i128::from(to.since(from).0) * i128::from(factor);
            let upto = self.amount(&parts, class, weight);
            match stretches.last_mut().filter(|s| s.window == name) {
                Some(last) => {
                    last.to = to;
                    last.cost += upto - sum;
                }
                None => stretches.push(Stretch { window: name, from, to, factor, cost: upto - sum }),
            }
            sum = upto;
        });
        let charged = |p: &&Part| p.hourly > Money::ZERO && !p.own;
        let capacity = parts.iter().find(charged).map(|p| p.factor).or_else(|| self.capacity(job.resources.capacity));
        let capacity = capacity.filter(|_| job.resources.capacity == Capacity::OnDemand || parts.iter().any(|p| charged(&p)));
        let priority = self.priority.get(class).copied().unwrap_or(ONE);
        Ok(Breakdown { lines, stretches, priority, capacity, total: self.amount(&parts, class, weighted) })
    }
}

/// A part in words; none for what the run does not hold.
fn words(part: &Part, r: &Resources) -> Option<(&'static str, String)> {
    use crate::base::resources::{show_cpu, show_memory};
    let kind = r.gpu.kind.as_deref().unwrap_or("GPU");
    match part.what {
        What::Gpu => (r.gpu.count > 0).then(|| ("GPU", format!("{} x {kind}", r.gpu.count))),
        What::Cpu => Some(("CPU", show_cpu(r.cpu_millis))),
        What::Memory => Some(("memory", show_memory(r.memory_bytes))),
        What::Disk => (r.disk_bytes > 0).then(|| ("disk", show_memory(r.disk_bytes))),
    }
}
