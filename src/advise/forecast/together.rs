//! Many forecasts as one: their sum, and the chance that together they pass a budget.
//!
//! In: forecasts. Out: [`Together`]. Must never add up the ends of intervals as if all runs were slow at once.
//!
//! Runs of one job share what the estimate is wrong about, so their deviations are added; those of different jobs are not related, so
//! their squares are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::odds::Odds;
use super::{Forecast, Total, time};
use crate::base::{Money, Timestamp};
use crate::price::learn::student;
use crate::queue::Treasury;

/// The sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Together {
    /// Runs that are not over.
    pub open: usize,
    /// Of these, those that nothing can be said of.
    pub unknown: usize,
    /// Spent so far on all of them.
    pub spent: Money,
    /// What they will have cost.
    pub total: Total,
    /// When the last one is thought to be over.
    #[serde(serialize_with = "time")]
    pub finish: Option<Timestamp>,
    /// Budgets that count any of them.
    pub budgets: Vec<Odds>,
}

/// Deviations below and above the expectation, of one standard deviation, in micro-dollars.
fn spread<'f>(all: impl Iterator<Item = &'f Forecast>) -> Option<(f64, f64)> {
    let mut jobs: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for f in all {
        let total = f.total?;
        let (low, high) = total.interval?;
        let job = jobs.entry(&f.payer.job).or_default();
        // As statistics, not as money.
        let float = |m: Money| m.micros() as f64;
        job.0 += float(total.expected - low) / 1.96;
        job.1 += float(high - total.expected) / 1.96;
    }
    let squares = jobs.values().fold((0.0, 0.0), |s, (l, h)| (s.0 + l * l, s.1 + h * h));
    Some((squares.0.sqrt(), squares.1.sqrt()))
}

fn micros(value: f64) -> Money {
    Money::from_micros(value.round() as i64)
}

impl Together {
    /// Of forecasts.
    #[must_use]
    pub fn of(all: &[Forecast], treasury: &Treasury) -> Self {
        let expected: Money = all.iter().filter_map(|f| f.total).map(|t| t.expected).sum();
        let spent: Money = all.iter().map(|f| f.spent).sum();
        let known = || all.iter().filter(|f| f.total.is_some());
        let interval = spread(known())
            .filter(|_| all.iter().all(|f| f.total.is_some()))
            .map(|(low, high)| ((expected - micros(1.96 * low)).max(spent), expected + micros(1.96 * high)));
        let worst = all.iter().map(|f| f.total.and_then(|t| t.worst)).sum::<Option<Money>>();
        let open: Vec<&Forecast> = all.iter().filter(|f| !f.status.is_terminal()).collect();
        Self {
            open: open.len(),
            unknown: open.iter().filter(|f| f.total.is_none()).count(),
            spent,
            total: Total { expected, interval, worst },
            finish: open.iter().map(|f| f.finish).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()),
            budgets: budgets(&open, treasury),
        }
    }
}

fn budgets(open: &[&Forecast], treasury: &Treasury) -> Vec<Odds> {
    let shared = treasury.accounts().iter().filter(|a| !a.rule.scope.is_each_run());
    let mut found: Vec<Odds> = shared
        .filter_map(|account| {
            let mine: Vec<&Forecast> = open.iter().copied().filter(|f| account.rule.scope.covers(&f.payer)).collect();
            if mine.is_empty() {
                return None;
            }
            let left = account.rule.limit - account.spent;
            let expected: Money = mine.iter().map(|f| f.open).sum();
            let chance = spread(mine.iter().copied()).map(|(low, high)| {
                let over = (left - expected).micros() as f64;
                let sd = if over >= 0.0 { high } else { low };
                if sd < 1.0 { f64::from(u8::from(over < 0.0)) } else { student::below(-over / sd, 200.0) }
            });
            let worst = mine.iter().map(|f| f.total.and_then(|t| t.worst.map(|w| w - (t.expected - f.open)))).sum::<Option<Money>>();
            let chance = match worst {
                _ if left <= Money::ZERO => Some(1.0),
                Some(worst) if worst <= left => Some(0.0),
                _ => chance,
            };
            let (name, on_exceed) = (Arc::clone(&account.rule.name), account.rule.on_exceed);
            Some(Odds { name, limit: account.rule.limit, spent: account.spent, others: Money::ZERO, left, on_exceed, chance, turns: None })
        })
        .collect();
    found.sort_by(|a, b| b.chance.unwrap_or(0.0).total_cmp(&a.chance.unwrap_or(0.0)).then(a.left.cmp(&b.left)));
    found
}
