//! What runs cost: rates x resources x time, by the pieces of cheap and dear hours.
//!
//! In: rates, resources, a start and a length. Out: money, or why there is no price. Must never answer zero dollars for what it
//! does not know.

mod hours;
pub mod learn;
pub mod pieces;
pub mod refused;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::money::div_half_even;
use crate::base::{Capacity, Diagnostic, Diagnostics, Digest, Gpu, Millis, Money, Resources, Timestamp, suggest};
use crate::record::{Bill, Estimate, JobSpec, Money95};
use crate::spec::types::RatesDecl;

pub use hours::OffPeak;
pub use pieces::Breakdown;

/// One, in parts per million.
pub const ONE: u64 = 1_000_000;
const HOUR_MS: i128 = 3_600_000;

/// What resources cost by the hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// A GPU whose type has no price of its own; none where only listed types have one.
    pub gpu: Option<Money>,
    /// GPUs by type.
    pub gpus: BTreeMap<Arc<str>, Money>,
    /// A core.
    pub cpu: Money,
    /// A GiB of memory.
    pub memory: Money,
    /// Cheap hours.
    pub off_peak: OffPeak,
    /// Factors by priority class, parts per million.
    pub priority: BTreeMap<Arc<str>, u64>,
    /// Factor of spot capacity, parts per million.
    pub spot: u64,
    /// Date of the prices.
    pub as_of: Option<Arc<str>>,
    /// Where they are from.
    pub source: Arc<str>,
}

impl Default for Rates {
    /// GPU 0.50 USD/h, core 0.05, GiB 0.005; 22:00 to 08:00 and weekends half price (UTC); urgent +50%, background -20%; spot
    /// 70% cheaper.
    fn default() -> Self {
        Self {
            gpu: Some(Money::from_micros(500_000)),
            gpus: BTreeMap::new(),
            cpu: Money::from_micros(50_000),
            memory: Money::from_micros(5_000),
            off_peak: OffPeak::default(),
            priority: [("urgent".into(), 1_500_000), ("background".into(), 800_000)].into(),
            spot: 300_000,
            as_of: None,
            source: "built-in".into(),
        }
    }
}

impl Rates {
    /// The project's rates, over the built-in ones.
    pub fn read(decl: Option<&RatesDecl>, diags: &mut Diagnostics) -> Self {
        let mut rates = Self::default();
        let Some(decl) = decl else { return rates };
        // A project that lists its GPU types means those: another type has no price unless `gpu` says so.
        rates.gpu = match (&decl.gpu, decl.gpus.0.is_empty()) {
            (Some(m), _) => Some(m.0),
            (None, true) => rates.gpu,
            (None, false) => None,
        };
        rates.gpus = decl.gpus.iter().map(|(n, _, m)| (Arc::clone(n), m.0)).collect();
        rates.cpu = decl.cpu.as_ref().map_or(rates.cpu, |m| m.0);
        rates.memory = decl.memory.as_ref().map_or(rates.memory, |m| m.0);
        rates.spot = decl.spot.as_ref().map_or(rates.spot, |p| p.0.0);
        for (class, _, factor) in decl.priority.iter() {
            rates.priority.insert(Arc::clone(class), factor.0.0);
        }
        if let Some(hours) = &decl.off_peak {
            rates.off_peak = OffPeak::read(hours, diags);
        }
        rates.as_of = decl.as_of.as_ref().map(|w| Arc::clone(&w.0));
        if let Some(date) = decl.as_of.as_ref().filter(|w| chrono::NaiveDate::parse_from_str(&w.0, "%Y-%m-%d").is_err()) {
            diags.push(
                Diagnostic::error("bad-value", date.1, format!("`{}` is not a date", crate::base::text::escape(&date.0)))
                    .hint("write `as_of: 2026-11-01`"),
            );
        }
        rates.source = decl.source.as_ref().map_or_else(|| "oppen.yaml".into(), |w| Arc::clone(&w.0));
        rates
    }

    /// Prices of another currency, and prices from the future. `now` decides; a day ahead is let pass, for time zones.
    pub fn check(decl: &RatesDecl, now: Timestamp, diags: &mut Diagnostics) {
        if let Some(currency) = decl.currency.as_ref().filter(|w| !w.0.eq_ignore_ascii_case("usd")) {
            let message = format!("rates in `{}`: money is counted in USD alone", crate::base::text::escape(&currency.0));
            diags.push(Diagnostic::error("unknown-currency", currency.1, message).hint("convert the prices and write `currency: USD`"));
        }
        let Some(as_of) = &decl.as_of else { return };
        let date = chrono::NaiveDate::parse_from_str(&as_of.0, "%Y-%m-%d").ok();
        let tomorrow = now.after(Millis::from_secs(86_400)).utc().map(|t| t.date_naive());
        if date.zip(tomorrow).is_some_and(|(date, tomorrow)| date > tomorrow) {
            let message = format!("rates as of {} are from the future", as_of.0);
            diags.push(Diagnostic::error("future-rates", as_of.1, message).hint("write the date on which the prices held"));
        }
    }

    /// Digest of all prices, for plans.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(format!("{self:?}").as_bytes())
    }

    /// Micro-dollars an hour in dear hours and at normal priority.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn hourly(&self, resources: &Resources) -> Result<Money, String> {
        let gpu = match (resources.gpu.count, &resources.gpu.kind) {
            (0, _) => Money::ZERO,
            (_, Some(kind)) => match self.gpus.get(kind.as_str()).copied().or(self.gpu) {
                Some(price) => price,
                None => {
                    let hint = suggest::hint(kind, self.gpus.keys().map(AsRef::as_ref)).unwrap_or_default();
                    return Err(format!("no price for the GPU type `{kind}`; {hint}"));
                }
            },
            (_, None) => self.gpu.ok_or("no price for a GPU of any type; add `rates.gpu`")?,
        };
        let gpus = gpu.scale(u64::from(resources.gpu.count), 1);
        let cpu = self.cpu.scale(resources.cpu_millis, 1000);
        let memory = self.memory.scale(resources.memory_bytes, crate::base::resources::GIB);
        Ok(gpus + cpu + memory)
    }

    /// What a stretch of time costs, priced by the pieces.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn cost(&self, job: &JobSpec, start: Timestamp, length: Millis) -> Result<Money, String> {
        let weighted = self.off_peak.weighted(start, length);
        self.total(job, weighted)
    }

    /// What a stretch of time costs at the most, whenever it starts.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn cost_at_most(&self, job: &JobSpec, length: Millis) -> Result<Money, String> {
        self.total(job, i128::from(length.0) * i128::from(self.off_peak.factor.max(ONE)))
    }

    /// `weighted` is in milliseconds x parts per million. Rounded once, half to even.
    fn total(&self, job: &JobSpec, weighted: i128) -> Result<Money, String> {
        let hourly = i128::from(self.hourly(&job.resources)?.micros());
        let class = i128::from(self.priority.get(&job.priority.class).copied().unwrap_or(ONE));
        let spot = i128::from(if job.resources.capacity == Capacity::Spot { self.spot } else { ONE });
        let product = hourly.checked_mul(weighted).and_then(|p| p.checked_mul(class)).and_then(|p| p.checked_mul(spot));
        let one = i128::from(ONE);
        Ok(product.map_or(Money::MAX, |p| Money::from_micros(div_half_even(p, HOUR_MS * one * one * one))))
    }

    /// What a stretch of time costs, with its parts and what cheap hours and spot capacity saved. What has no price is refused at
    /// plan; a price that was taken away since counts as nothing here and shows as `rates` of the bill.
    #[must_use]
    pub fn bill(&self, job: &JobSpec, start: Timestamp, length: Millis) -> Bill {
        let weighted = self.off_peak.weighted(start, length);
        let dear = i128::from(length.0) * i128::from(ONE);
        let amount = self.total(job, weighted).unwrap_or_default();
        let part = |resources: &Resources| {
            let alone = JobSpec { resources: resources.clone(), priority: job.priority.clone(), ..JobSpec::default() };
            self.total(&alone, weighted).unwrap_or_default()
        };
        let r = &job.resources;
        let gpu = part(&Resources { cpu_millis: 0, memory_bytes: 0, ..r.clone() });
        let cpu = part(&Resources { gpu: Gpu::default(), memory_bytes: 0, ..r.clone() });
        let on_demand = |weighted| {
            let bought = Resources { capacity: Capacity::OnDemand, ..r.clone() };
            let alone = JobSpec { resources: bought, priority: job.priority.clone(), ..JobSpec::default() };
            self.total(&alone, weighted).unwrap_or_default()
        };
        Bill {
            amount,
            time: length,
            gpu,
            cpu,
            off_peak_saved: (self.total(job, dear).unwrap_or_default() - amount).max(Money::ZERO),
            spot_saved: (on_demand(weighted) - amount).max(Money::ZERO),
            rates: Some(self.digest()),
            ..Bill::default()
        }
    }

    /// How long an amount of money lasts from a moment on, at most ten years.
    #[must_use]
    pub fn affords(&self, job: &JobSpec, start: Timestamp, amount: Money) -> Millis {
        let (mut low, mut high) = (0_u64, 10 * 365 * 86_400_000_u64);
        if self.cost(job, start, Millis(high)).is_ok_and(|c| c <= amount) {
            return Millis(high);
        }
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if self.cost(job, start, Millis(middle)).is_ok_and(|c| c <= amount) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Millis(low)
    }

    /// The estimate of a run that starts at a time: its learned or declared length with what that costs.
    #[must_use]
    pub fn estimate(&self, job: &JobSpec, start: Timestamp) -> Estimate {
        let mut estimate = job.estimate.clone();
        let worst = job.timeout.map(|t| self.cost_at_most(job, t.times(job.retry.attempts_max())));
        let priced = match estimate.time {
            Some(length) => self.cost(job, start, length),
            None => Err("no estimate; add `estimate: {time: 30m}`".to_owned()),
        };
        match priced {
            Ok(expected) => {
                // Longer never costs less, so the ends of the time's interval are those of the cost's.
                let at = |length| self.cost(job, start, length).unwrap_or(expected);
                let (low, high) = estimate.interval.map_or((expected, expected), |(l, h)| (at(l).min(expected), at(h).max(expected)));
                estimate.cost = Some(Money95 { expected, low, high, worst: worst.and_then(Result::ok) });
            }
            Err(why) => estimate.basis = why.into(),
        }
        estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Gpu;
    use crate::base::resources::GIB;
    use crate::record::Priority;

    fn mnist() -> JobSpec {
        let resources = Resources { gpu: Gpu { count: 1, kind: None }, cpu_millis: 2000, memory_bytes: 3 * GIB, ..Resources::default() };
        JobSpec { resources, ..JobSpec::default() }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_default()
    }

    const TWO_EPOCHS: Millis = Millis::from_secs(120);

    #[test]
    fn the_reference_case_holds() {
        let rates = Rates::default();
        let cost = |job: &JobSpec, start| rates.cost(job, at(start), TWO_EPOCHS).map(|m| m.decimal());
        assert_eq!(cost(&mnist(), "2026-11-24T12:00Z"), Ok("0.0205".to_owned()));
        assert_eq!(cost(&mnist(), "2026-11-24T23:00Z"), Ok("0.01025".to_owned()));
        assert_eq!(cost(&mnist(), "2026-11-28T12:00Z"), Ok("0.01025".to_owned()), "a Saturday");
        let mut urgent = mnist();
        urgent.priority = Priority { weight: 1000, class: "urgent".into() };
        assert_eq!(cost(&urgent, "2026-11-24T12:00Z"), Ok("0.03075".to_owned()));
        urgent.resources.capacity = Capacity::Spot;
        assert_eq!(cost(&urgent, "2026-11-24T12:00Z"), Ok("0.009225".to_owned()));
    }

    #[test]
    fn a_run_over_a_boundary_is_priced_by_the_pieces() {
        let cost = Rates::default().cost(&mnist(), at("2026-11-24T21:59Z"), TWO_EPOCHS);
        assert_eq!(cost.map(|m| m.decimal()), Ok("0.015375".to_owned()));
    }

    #[test]
    fn what_has_no_price_is_not_free() {
        let mut rates = Rates { gpu: None, ..Rates::default() };
        rates.gpus.insert("A100".into(), Money::from_micros(2_000_000));
        let mut job = mnist();
        job.resources.gpu.kind = Some("H900".to_owned());
        job.estimate.time = Some(TWO_EPOCHS);
        assert!(rates.cost(&job, at("2026-11-24T12:00Z"), TWO_EPOCHS).is_err());
        assert_eq!(rates.estimate(&job, at("2026-11-24T12:00Z")).cost, None);
    }
}
