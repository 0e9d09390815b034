//! What interruptions and failed attempts add to a run.
//!
//! In: how long attempts ran on each kind of capacity and how often they were taken away. Out: the expected time of all attempts
//! together. Must never make a run shorter.
//!
//! A Poisson process whose rate has a gamma prior. An interrupted attempt is taken to begin anew (Daly, 2006, without checkpoints): the
//! expected time is `(exp(rate * time) - 1) / rate`.

use super::{Seconds, student};
use crate::base::Capacity;
use crate::record::{Cause, Exposure, Sample};

/// Interruptions an hour on one kind of capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// Expected.
    pub per_hour: f64,
    /// Hours that it rests on.
    pub hours: f64,
    /// Interruptions seen in them.
    pub seen: u64,
}

/// What is thought before anything was measured: (interruptions, hours). Spot machines: one in 20 hours. Others: one in 2,000.
const fn prior(capacity: Capacity) -> (f64, f64) {
    match capacity {
        Capacity::Spot => (0.5, 10.0),
        Capacity::OnDemand | Capacity::Reserved => (0.5, 1000.0),
    }
}

impl Rate {
    /// Of a kind of capacity.
    #[must_use]
    pub fn of(exposures: &[Exposure], capacity: Capacity) -> Self {
        let (seen, hours) = prior(capacity);
        let found = exposures.iter().find(|e| e.capacity == capacity).cloned().unwrap_or_default();
        let measured = found.time.as_secs_f64() / 3600.0;
        Self { per_hour: (seen + found.interruptions as f64) / (hours + measured), hours: measured, seen: found.interruptions }
    }

    /// True when it changes an estimate: seen to happen, or known to happen on such machines.
    #[must_use]
    pub const fn counts(&self, capacity: Capacity) -> bool {
        self.seen > 0 || matches!(capacity, Capacity::Spot)
    }

    /// Where it is from, in words.
    #[must_use]
    pub fn words(&self) -> String {
        if self.hours < 0.1 && self.seen == 0 {
            return format!("{:.2} interruptions/h assumed", self.per_hour);
        }
        let noun = if self.seen == 1 { "interruption" } else { "interruptions" };
        format!("{} {noun} in {:.1}h", self.seen, self.hours)
    }

    /// Expected seconds until an attempt of this length comes through, each interruption beginning anew. At most `tries` attempts.
    #[must_use]
    pub fn until_done(&self, seconds: f64, tries: u64) -> f64 {
        let load = self.per_hour / 3600.0 * seconds;
        let factor = if load < 1e-9 { 1.0 } else { (load.min(50.0).exp_m1()) / load };
        seconds * factor.clamp(1.0, tries.max(1) as f64)
    }

    /// Probability that an attempt is taken away within this many seconds.
    #[must_use]
    pub fn chance_within(&self, seconds: f64) -> f64 {
        -(-self.per_hour / 3600.0 * seconds).exp_m1()
    }

    /// Interruptions that a run of this length has with 97.5% at the most.
    fn most(&self, seconds: f64) -> f64 {
        let load = self.per_hour / 3600.0 * seconds;
        let (mut term, mut sum, mut k) = ((-load).exp(), (-load).exp(), 0.0);
        while sum < 0.975 && k < 100.0 {
            k += 1.0;
            term *= load / k;
            sum += term;
        }
        k
    }
}

/// Of a job's attempts that did run on their own account, the share that failed; drawn towards 2% while there are few.
#[must_use]
pub fn failing(samples: &[Sample]) -> f64 {
    let failed = samples.iter().filter(|s| matches!(s.cause, Cause::Error | Cause::OutOfMemory | Cause::BadGpu)).count() as f64;
    let whole = samples.iter().filter(|s| s.cause == Cause::Success).count() as f64;
    (failed + 0.02) / (failed + whole + 1.0)
}

/// The time of all attempts of a run. `errors` is how often it may fail and be tried again.
#[must_use]
pub fn with_attempts(seconds: Seconds, rate: &Rate, tries: u64, failing: f64, errors: u32) -> Seconds {
    let again: f64 = (1..=errors.min(20)).map(|n| failing.powi(i32::try_from(n).unwrap_or(20))).sum();
    let expected = rate.until_done(seconds.expected, tries) * (1.0 + again);
    // An interruption costs half of what it interrupts on average.
    let high = seconds.high * (1.0 + rate.most(seconds.high).min(tries.saturating_sub(1) as f64) / 2.0);
    let high = if again > 0.025 { high * 2.0 } else { high };
    Seconds { expected, high: high.max(expected), ..seconds }
}

/// 95% upper bound of a rate that was seen `seen` times in `hours` hours (normal approximation of the gamma posterior).
#[must_use]
pub fn at_most(rate: &Rate, capacity: Capacity) -> f64 {
    let (seen, hours) = prior(capacity);
    let (shape, scale) = (seen + rate.seen as f64, hours + rate.hours);
    (shape + student::t95(200.0) * shape.sqrt()) / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Millis;

    #[test]
    fn rates_are_learned() {
        let spot = |hours: u64, interruptions| Exposure {
            capacity: Capacity::Spot,
            attempts: 9,
            time: Millis::from_secs(hours * 3600),
            interruptions,
        };
        assert!((Rate::of(&[], Capacity::Spot).per_hour - 0.05).abs() < 1e-12);
        assert!((Rate::of(&[spot(90, 9)], Capacity::Spot).per_hour - 0.095).abs() < 1e-12);
        assert!(!Rate::of(&[spot(90, 9)], Capacity::OnDemand).counts(Capacity::OnDemand));
    }

    #[test]
    fn beginning_anew_costs_what_daly_says() {
        let rate = Rate { per_hour: 0.1, hours: 0.0, seen: 0 };
        let hours = |h: f64| rate.until_done(h * 3600.0, 11) / 3600.0;
        assert!((hours(1.0) - 1.0517).abs() < 1e-4);
        assert!((hours(10.0) - 17.183).abs() < 1e-3);
        assert!((hours(100.0) - 1100.0).abs() < 1e-6, "no more than all attempts");
        assert!((Rate { per_hour: 0.0, hours: 0.0, seen: 0 }.until_done(7.0, 3) - 7.0).abs() < 1e-12);
    }
}
