//! What the sweeps of a plan are thought to cost: expected, interval, worst, and apart from that what pruning is expected to save.
//!
//! In: the plan's actions with their estimates. Out: a line a sweep. Must never take the saving off the price: budgets are held against
//! what every trial costs in full.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::plan::Planned;
use crate::base::Money;
use crate::check::{Caps, Sum};
use crate::price::pruning::saving;
use crate::record::RunSpec;

/// One sweep's price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepPrice {
    /// `workflow/job`.
    pub sweep: Arc<str>,
    /// Trials that the plan starts.
    pub trials: usize,
    /// Expected cost, every trial in full.
    pub cost: Money,
    /// What `max_cost` leaves for them, where that is less than they may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Money>,
    /// 95% interval, if all trials err the same way.
    pub interval: (Money, Money),
    /// Timeout x attempts of all trials, or what `max_cost` leaves if that is less; none where neither is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<Money>,
    /// What ending bad trials early is expected to save.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruning: Option<PruningPrice>,
}

/// What pruning is expected to save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruningPrice {
    /// The rule.
    pub method: Arc<str>,
    /// Share of the steps, parts per million.
    pub share: u32,
    /// Expected saving.
    pub saving: Money,
    /// 95% interval.
    pub interval: (Money, Money),
}

/// The sweeps that the plan starts trials of, those with a price.
#[must_use]
pub fn prices(actions: &[Planned], caps: &Caps) -> Vec<SweepPrice> {
    let mut groups: BTreeMap<Arc<str>, Vec<&Planned>> = BTreeMap::new();
    for action in actions.iter().filter(|a| a.action.runs()) {
        let job = action.spec.as_ref().filter(|s| s.job.sweep.is_some()).map(|s| Arc::clone(&s.job.job));
        job.into_iter().for_each(|job| groups.entry(job).or_default().push(action));
    }
    groups.into_iter().filter_map(|(sweep, runs)| price(sweep, &runs, caps)).collect()
}

fn price(sweep: Arc<str>, runs: &[&Planned], caps: &Caps) -> Option<SweepPrice> {
    let costs: Vec<_> = runs.iter().map(|r| r.cost()).collect::<Option<_>>()?;
    let spec: &RunSpec = runs.first()?.spec.as_deref()?;
    let settings = spec.job.sweep.as_ref()?;
    let full = Sum::of(costs.iter().copied().map(Some));
    let (cost, worst) = (full.expected, caps.part(&sweep, full).worst);
    let prune = settings.search.as_ref().and_then(|s| s.prune.as_ref());
    let epochs = spec.job.estimate.epochs.map(u64::from);
    let pruning = prune.and_then(|rule| Some((rule, saving(rule, u64::try_from(runs.len()).unwrap_or(u64::MAX), epochs)?)));
    Some(SweepPrice {
        left: caps.left(&sweep).filter(|left| full.worst.is_none_or(|worst| *left < worst)),
        sweep,
        trials: runs.len(),
        cost,
        interval: (costs.iter().map(|c| c.low).sum(), costs.iter().map(|c| c.high).sum()),
        worst,
        pruning: pruning.map(|(rule, saved)| PruningPrice {
            method: rule.method.name().into(),
            share: millionths(saved.share),
            saving: part(cost, saved.share),
            interval: (part(cost, saved.low), part(cost, saved.high)),
        }),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share from 0 to 1")]
fn millionths(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 1e6).round() as u32
}

/// A share of some money, in whole micro-dollars.
fn part(money: Money, share: f64) -> Money {
    let micros = i128::from(money.micros()) * i128::from(millionths(share)) / 1_000_000;
    Money::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
