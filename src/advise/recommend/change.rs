//! What advice changes, and what the same runs cost then.
//!
//! In: a job, its runs as they ran, a change. Out: money. Must never price a run longer or other than the change says.

use crate::base::{Capacity, Gpu, Millis, Money, Timestamp};
use crate::price::Rates;
use crate::price::learn::Seconds;
use crate::record::JobSpec;

/// Steps in which cheap hours are looked for, and how far.
const STEP: Millis = Millis::from_secs(900);
const STEPS: u64 = 4 * 96;

/// One run of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Its place among the subject's runs, where it is one of them.
    pub run: Option<usize>,
    /// When it started.
    pub start: Timestamp,
    /// How long it took.
    pub length: Millis,
}

/// A change of settings, times, or of which runs there are. The default changes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// How machines are bought.
    pub capacity: Option<Capacity>,
    /// Cores.
    pub cpu_millis: Option<u64>,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// GPUs.
    pub gpu: Option<Gpu>,
    /// Factor of all times.
    pub factor: Option<f64>,
    /// Factor of each unit's time; 0 is a run that is not needed.
    pub each: Vec<f64>,
    /// Starts wait for the cheapest hours.
    pub off_peak: bool,
}

impl Change {
    /// A factor of all times.
    #[must_use]
    pub fn time(factor: f64) -> Self {
        Self { factor: Some(factor), ..Self::default() }
    }

    /// Both: the other one wins where both set the same; times multiply.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let factor = match (self.factor, other.factor) {
            (Some(a), Some(b)) => Some(a * b),
            (a, b) => a.or(b),
        };
        let each = match (self.each.is_empty(), other.each.is_empty()) {
            (true, _) => other.each.clone(),
            (_, true) => self.each,
            // A run ends at the earlier of both ends.
            _ => self.each.iter().zip(&other.each).map(|(a, b)| a.min(*b)).collect(),
        };
        Self {
            capacity: other.capacity.or(self.capacity),
            cpu_millis: other.cpu_millis.or(self.cpu_millis),
            memory_bytes: other.memory_bytes.or(self.memory_bytes),
            gpu: other.gpu.clone().or(self.gpu),
            factor,
            each,
            off_peak: self.off_peak || other.off_peak,
        }
    }

    /// The job with the changed settings.
    fn job(&self, job: &JobSpec) -> JobSpec {
        let mut job = job.clone();
        let r = &mut job.resources;
        r.capacity = self.capacity.unwrap_or(r.capacity);
        r.cpu_millis = self.cpu_millis.unwrap_or(r.cpu_millis);
        r.memory_bytes = self.memory_bytes.unwrap_or(r.memory_bytes);
        if let Some(gpu) = &self.gpu {
            r.gpu = gpu.clone();
        }
        job
    }

    /// What the units cost with it. None without a price.
    #[must_use]
    pub fn price(&self, rates: &Rates, job: &JobSpec, units: &[Unit]) -> Option<Money> {
        let job = self.job(job);
        let mut sum = Money::ZERO;
        for (index, unit) in units.iter().enumerate() {
            let factor = self.factor.unwrap_or(1.0) * self.each.get(index).copied().unwrap_or(1.0);
            let length = if factor == 1.0 { unit.length } else { Seconds::millis(unit.length.as_secs_f64() * factor) };
            let start = if self.off_peak { cheapest(rates, &job, unit.start, length) } else { unit.start };
            sum += rates.cost(&job, start, length).ok()?;
        }
        Some(sum)
    }
}

/// The first of the cheapest starts within four days, by quarters of an hour.
pub fn cheapest(rates: &Rates, job: &JobSpec, from: Timestamp, length: Millis) -> Timestamp {
    let cost = |at: Timestamp| rates.cost(job, at, length).unwrap_or(Money::MAX);
    let quarter = i64::try_from(STEP.0).unwrap_or(i64::MAX);
    let first = Timestamp(from.0.div_euclid(quarter).saturating_add(1).saturating_mul(quarter));
    let (mut best, mut least) = (from, cost(from));
    // Nothing is cheaper than all of it in the cheapest hours: the first start that reaches that is the answer.
    let floor = rates.cost_at_least(job, length).unwrap_or(Money::ZERO);
    for step in 0..STEPS {
        if least <= floor {
            break;
        }
        let at = first.after(STEP.times(step));
        let money = cost(at);
        if money < least {
            (best, least) = (at, money);
        }
    }
    best
}
