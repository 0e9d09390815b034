//! What runs cost: rates x resources x time, by the pieces of cheap and dear hours.
//!
//! In: rates, resources, a start and a length. Out: money, or why there is no price. Must never answer zero dollars for what it
//! does not know.

pub mod card;
pub mod catalog;
pub mod hours;
pub mod learn;
pub mod offer;
pub mod pieces;
pub mod pruning;
pub mod refused;
pub mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chrono::NaiveDate;

use crate::base::money::div_half_even;
use crate::base::resources::GIB;
use crate::base::{Capacity, Digest, Millis, Money, Resources, Timestamp, suggest};
use crate::record::{Bill, Estimate, JobSpec, Money95};

pub use card::{Card, Cards};
pub use hours::Hours;
pub use offer::{Offer, Site};
pub use pieces::Breakdown;

/// One, in parts per million.
pub const ONE: u64 = 1_000_000;
const HOUR_MS: i128 = 3_600_000;

/// What resources cost by the hour: one rate card, at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Name of the card; none for `rates` of the project and the built-in ones.
    pub card: Option<Arc<str>>,
    /// A GPU whose type has no price of its own; none where only listed types have one.
    pub gpu: Option<Money>,
    /// GPUs by type.
    pub gpus: BTreeMap<Arc<str>, Offer>,
    /// A core.
    pub cpu: Option<Money>,
    /// A GiB of memory.
    pub memory: Option<Money>,
    /// A GiB of disk.
    pub disk: Option<Money>,
    /// Windows of the week.
    pub hours: Arc<Hours>,
    /// Factors by priority class, parts per million.
    pub priority: BTreeMap<Arc<str>, u64>,
    /// Factor of spot capacity where no spot price is named, parts per million.
    pub spot: Option<u64>,
    /// The same of reserved capacity.
    pub reserved: Option<u64>,
    /// Where runs run.
    pub site: Site,
    /// Date of the prices.
    pub as_of: Option<NaiveDate>,
    /// Where they are from.
    pub source: Arc<str>,
    /// Their digest, once somebody asked for it.
    pub(crate) seal: Seal,
}

/// A digest that is made once. A copy makes its own, for it may be changed.
#[derive(Default)]
pub(crate) struct Seal(OnceLock<Digest>);

impl Clone for Seal {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Seal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

/// What a part of a price is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// GPUs.
    Gpu,
    /// Cores.
    Cpu,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
}

/// One resource of a run with its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The resource.
    pub what: What,
    /// What all of it costs an hour, at factor 1 of window, priority and capacity.
    pub hourly: Money,
    /// Factor of the capacity, parts per million.
    pub factor: u64,
    /// The price is the capacity's own, named by the card.
    pub own: bool,
    /// It comes with the GPU and is not charged again.
    pub included: bool,
}

impl Default for Rates {
    /// GPU 0.50 USD/h, core 0.05, GiB 0.005; 22:00 to 08:00 and weekends half price (UTC); urgent +50%, background -20%; spot
    /// 70% cheaper.
    fn default() -> Self {
        Self {
            gpu: Some(Money::from_micros(500_000)),
            cpu: Some(Money::from_micros(50_000)),
            memory: Some(Money::from_micros(5_000)),
            hours: Arc::new(Hours::default()),
            priority: [("urgent".into(), 1_500_000), ("background".into(), 800_000)].into(),
            spot: Some(300_000),
            reserved: Some(ONE),
            source: "built-in".into(),
            ..Self::bare()
        }
    }
}

impl Rates {
    /// No price for anything.
    #[must_use]
    pub fn bare() -> Self {
        Self {
            card: None,
            gpu: None,
            gpus: BTreeMap::new(),
            cpu: None,
            memory: None,
            disk: None,
            hours: Arc::new(Hours::flat()),
            priority: BTreeMap::new(),
            spot: None,
            reserved: None,
            site: Site::default(),
            as_of: None,
            source: "".into(),
            seal: Seal::default(),
        }
    }

    /// Digest of all prices, for plans and bills. Made once.
    #[must_use]
    pub fn digest(&self) -> Digest {
        *self.seal.0.get_or_init(|| Digest::of(format!("{self:?}").as_bytes()))
    }

    /// The factor of a capacity where the card names no price of its own for it.
    #[must_use]
    pub const fn capacity(&self, capacity: Capacity) -> Option<u64> {
        match capacity {
            Capacity::OnDemand => Some(ONE),
            Capacity::Spot => self.spot,
            Capacity::Reserved => self.reserved,
        }
    }

    /// What a run holds, priced part by part: GPU, cores, memory, disk.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn parts(&self, r: &Resources) -> Result<[Part; 4], String> {
        let none = Part { what: What::Gpu, hourly: Money::ZERO, factor: ONE, own: false, included: false };
        let gpu = if r.gpu.count > 0 { self.gpu_part(r)? } else { none };
        let offer = r.gpu.kind.as_deref().filter(|_| r.gpu.count > 0).and_then(|k| self.gpus.get(k));
        let includes = offer.map(|o| o.includes).unwrap_or_default();
        // What stands beside a GPU that is bought at a price of its own has no other price than its usual one.
        let factor = self.capacity(r.capacity).unwrap_or(ONE);
        let other = |what, price: Option<Money>, (amount, unit): (u64, u64), included, name: &str| {
            let hourly = match price {
                _ if included || amount == 0 => Money::ZERO,
                Some(price) => price.scale(amount, unit),
                None => return Err(format!("no price for {name}{}", self.of_card())),
            };
            Ok(Part { what, hourly, factor, own: false, included })
        };
        Ok([
            gpu,
            other(What::Cpu, self.cpu, (r.cpu_millis, 1000), includes.cpu, "a core (`cpu`)")?,
            other(What::Memory, self.memory, (r.memory_bytes, GIB), includes.memory, "a GiB of memory (`memory`)")?,
            other(What::Disk, self.disk, (r.disk_bytes, GIB), includes.disk, "a GiB of disk (`disk`)")?,
        ])
    }

    fn of_card(&self) -> String {
        self.card.as_ref().map(|c| format!(" in the rate card `{c}`")).unwrap_or_default()
    }

    fn gpu_part(&self, r: &Resources) -> Result<Part, String> {
        let part = |price: Money, factor, own| Part {
            what: What::Gpu,
            hourly: price.scale(u64::from(r.gpu.count), 1),
            factor,
            own,
            included: false,
        };
        let (capacity, factor) = (r.capacity, self.capacity(r.capacity));
        let word = match capacity {
            Capacity::OnDemand => "",
            Capacity::Spot => "spot ",
            Capacity::Reserved => "reserved ",
        };
        let Some(kind) = &r.gpu.kind else {
            let price = self.gpu.ok_or_else(|| format!("no price for a GPU of any type{}; name the type, or add `gpu`", self.of_card()))?;
            return factor.map(|f| part(price, f, false)).ok_or_else(|| format!("no {word}price for a GPU{}", self.of_card()));
        };
        let Some(offer) = self.gpus.get(kind.as_str()) else {
            if let Some((price, factor)) = self.gpu.zip(factor) {
                return Ok(part(price, factor, false));
            }
            let hint = suggest::hint(kind, self.gpus.keys().map(AsRef::as_ref)).map(|h| format!("; {h}")).unwrap_or_default();
            return Err(format!("no {word}price for the GPU type `{kind}`{}{hint}", self.of_card()));
        };
        if let Some(price) = offer.price(capacity, &self.site).filter(|_| capacity != Capacity::OnDemand) {
            return Ok(part(price, ONE, true));
        }
        if let Some((price, factor)) = offer.price(Capacity::OnDemand, &self.site).zip(factor) {
            return Ok(part(price, factor, false));
        }
        let hint = match &self.site.region {
            _ if offer.regions.is_empty() => String::new(),
            Some(region) if offer.regions.contains_key(region) => format!(" in {region}"),
            Some(region) => {
                let known: Vec<&str> = offer.regions.keys().map(AsRef::as_ref).take(6).collect();
                format!(" in {region}; it has prices in {}", known.join(", "))
            }
            None => {
                let known: Vec<&str> = offer.regions.keys().map(AsRef::as_ref).take(6).collect();
                format!(" without a region; set `pool.region` to one of {}", known.join(", "))
            }
        };
        Err(format!("no {word}price for the GPU type `{kind}`{}{hint}", self.of_card()))
    }

    /// What a stretch of time costs, priced by the pieces.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn cost(&self, job: &JobSpec, start: Timestamp, length: Millis) -> Result<Money, String> {
        let weighted = self.hours.weighted(start, length);
        self.total(job, weighted)
    }

    /// What a stretch of time costs at the most, whenever it starts.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn cost_at_most(&self, job: &JobSpec, length: Millis) -> Result<Money, String> {
        self.total(job, i128::from(length.0) * i128::from(self.hours.dearest()))
    }

    /// What a stretch of time costs at the least, whenever it starts.
    ///
    /// # Errors
    /// Which price is missing.
    pub fn cost_at_least(&self, job: &JobSpec, length: Millis) -> Result<Money, String> {
        self.total(job, i128::from(length.0) * i128::from(self.hours.cheapest()))
    }

    /// `weighted` is in milliseconds x parts per million.
    fn total(&self, job: &JobSpec, weighted: i128) -> Result<Money, String> {
        Ok(self.amount(&self.parts(&job.resources)?, &job.priority.class, weighted))
    }

    /// The sum of parts. Rounded once, half to even.
    fn amount(&self, parts: &[Part], class: &str, weighted: i128) -> Money {
        let class = i128::from(self.priority.get(class).copied().unwrap_or(ONE));
        let hourly: i128 = parts.iter().map(|p| i128::from(p.hourly.micros()) * i128::from(p.factor)).sum();
        let one = i128::from(ONE);
        let product = hourly.checked_mul(weighted).and_then(|p| p.checked_mul(class));
        product.map_or(Money::MAX, |p| Money::from_micros(div_half_even(p, HOUR_MS * one * one * one)))
    }

    /// What a stretch of time costs, with its parts and what cheap hours and spot capacity saved. What has no price is refused at
    /// plan; a price that was taken away since counts as nothing here and shows as `rates` of the bill.
    #[must_use]
    pub fn bill(&self, job: &JobSpec, start: Timestamp, length: Millis) -> Bill {
        let bill = Bill { time: length, rates: Some(self.digest()), ..Bill::default() };
        let Ok(parts) = self.parts(&job.resources) else { return bill };
        let (weighted, class) = (self.hours.weighted(start, length), &*job.priority.class);
        let dear = i128::from(length.0) * i128::from(self.hours.dearest());
        let of = |parts: &[Part], weighted| self.amount(parts, class, weighted);
        let amount = of(&parts, weighted);
        let on_demand = self.parts(&Resources { capacity: Capacity::OnDemand, ..job.resources.clone() }).map(|p| of(&p, weighted));
        let [gpu, cpu, ..] = parts;
        Bill {
            amount,
            gpu: of(&[gpu], weighted),
            cpu: of(&[cpu], weighted),
            off_peak_saved: (of(&parts, dear) - amount).max(Money::ZERO),
            spot_saved: (on_demand.unwrap_or(amount) - amount).max(Money::ZERO),
            ..bill
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
        rates.gpus.insert("A100".into(), Offer::flat(Money::from_micros(2_000_000)));
        let mut job = mnist();
        job.resources.gpu.kind = Some("H900".to_owned());
        job.estimate.time = Some(TWO_EPOCHS);
        assert!(rates.cost(&job, at("2026-11-24T12:00Z"), TWO_EPOCHS).is_err());
        assert_eq!(rates.estimate(&job, at("2026-11-24T12:00Z")).cost, None);
    }
}
