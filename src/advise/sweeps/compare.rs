//! Two sweeps side by side, or two sets of repeated ones: the best value against trials, cost and time.
//!
//! In: tables. Out: the best of each side at equal trials, cost and time, their curves, and whether repetitions differ by more than
//! chance. Must never call a difference of two single sweeps significant.

use std::sync::Arc;

use serde::Serialize;

use super::table::{Table, count};
use crate::base::{Millis, Money};

/// Most ways of dealing values that are counted one by one.
const EXACT: u64 = 200_000;

/// One result on the way of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// Results so far.
    pub results: usize,
    /// What all trials that had ended cost; micro-dollars.
    #[serde(serialize_with = "as_money")]
    pub cost: Money,
    /// Machine time of those trials, in milliseconds.
    pub time: Millis,
    /// The best value so far.
    pub best: f64,
}

fn as_money<S: serde::Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&money.decimal())
}

/// One sweep of a side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Way {
    /// `workflow/job`.
    pub sweep: Arc<str>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// True when no trial has a price.
    pub unpriced: bool,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Its sweeps: one, or repetitions.
    pub ways: Vec<Way>,
    /// Mean of the best values at the end.
    pub best: Option<f64>,
}

/// Both sides at the same expense.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Equal {
    /// `results`, `cost` or `time`.
    pub by: &'static str,
    /// How much of it, in words.
    pub at: String,
    /// Mean of the best values of the first and of the second side.
    pub best: (Option<f64>, Option<f64>),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The metric.
    pub metric: String,
    /// True when more is better.
    pub maximize: bool,
    /// Both sides.
    pub sides: (Side, Side),
    /// At a quarter, at half, and at all of what both sides have spent.
    pub equal: Vec<Equal>,
    /// The two-sided chance of a difference of means like this one, were both sides alike; none where nothing is repeated.
    pub chance: Option<f64>,
    /// What limits the comparison.
    pub warnings: Vec<String>,
}

/// The way of one sweep.
#[must_use]
pub fn way(table: &Table) -> Way {
    let mut ended: Vec<_> = table.rows.iter().filter(|r| r.ended.is_some()).collect();
    ended.sort_by_key(|r| r.ended);
    let (mut cost, mut time, mut best, mut steps) = (Money::ZERO, 0_u64, None::<f64>, Vec::new());
    for row in ended {
        cost = [cost, row.trial.spent.unwrap_or(Money::ZERO)].into_iter().sum();
        time = time.saturating_add(row.trial.took.map_or(0, |m| m.0));
        let Some(value) = row.trial.value.filter(|_| row.counts()) else { continue };
        let better = best.is_none_or(|b| if table.maximizes() { value > b } else { value < b });
        let now = if better { value } else { best.unwrap_or(value) };
        best = Some(now);
        steps.push(Step { results: steps.len() + 1, cost, time: Millis(time), best: now });
    }
    Way { sweep: Arc::clone(&table.sweep), steps, unpriced: table.rows.iter().all(|r| r.trial.spent.is_none()) }
}

/// Compares two sides of one or more sweeps each.
///
/// # Errors
/// Why they do not compare, and what would help.
pub fn compare(first: &[Table], second: &[Table]) -> Result<Comparison, (String, &'static str)> {
    let all: Vec<&Table> = first.iter().chain(second).collect();
    let Some(metric) = all.first().and_then(|t| t.metric.clone()) else {
        return Err(("a sweep without a metric does not compare".to_owned(), "add `metric: {name: val_loss, goal: minimize}` to it"));
    };
    if let Some(other) = all.iter().find(|t| t.metric.as_ref() != Some(&metric)) {
        let theirs = other.metric.as_ref().map_or_else(|| "none".to_owned(), |m| format!("{} ({:?})", m.name, m.goal).to_lowercase());
        let words = format!("{} goes by `{}`, {} by {theirs}", all.first().map_or("", |t| &*t.sweep), metric.name, other.sweep);
        return Err((words, "sweeps compare by the same metric and goal"));
    }
    let maximize = metric.goal == crate::record::Goal::Maximize;
    let side = |tables: &[Table]| {
        let ways: Vec<Way> = tables.iter().map(way).collect();
        Side { best: mean(&ways, |w| w.steps.last().map(|s| s.best)), ways }
    };
    let sides = (side(first), side(second));
    let ends = |s: &Side| s.ways.iter().filter_map(|w| w.steps.last().map(|s| s.best)).collect::<Vec<f64>>();
    let (a, b) = (ends(&sides.0), ends(&sides.1));
    let mut warnings = Vec::new();
    if let Some(empty) = sides.0.ways.iter().chain(&sides.1.ways).find(|w| w.steps.is_empty()) {
        warnings.push(format!("{} has no result yet", empty.sweep));
    }
    if a.len() < 3 || b.len() < 3 {
        warnings.push("one sweep tells little: the difference may be luck. Repeat both with other seeds (three times or more) and compare with patterns".to_owned());
    }
    let chance = (a.len() >= 3 && b.len() >= 3).then(|| chance(&a, &b));
    Ok(Comparison { metric: metric.name, maximize, equal: equal(&sides), sides, chance, warnings })
}

fn mean(ways: &[Way], of: impl Fn(&Way) -> Option<f64>) -> Option<f64> {
    let all: Vec<f64> = ways.iter().map(of).collect::<Option<_>>()?;
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / count(all.len()))
}

/// A name, and how much of it had been used at a step.
type Measure<'a> = (&'static str, &'a dyn Fn(&Step) -> u64);

/// At a quarter, a half and all of what every sweep has spent.
fn equal(sides: &(Side, Side)) -> Vec<Equal> {
    let ways: Vec<&Way> = sides.0.ways.iter().chain(&sides.1.ways).collect();
    let least = |of: &dyn Fn(&Step) -> u64| ways.iter().filter_map(|w| w.steps.last().map(of)).min().unwrap_or(0);
    let results = |s: &Step| u64::try_from(s.results).unwrap_or(u64::MAX);
    let cost = |s: &Step| u64::try_from(s.cost.micros()).unwrap_or(0);
    let time = |s: &Step| s.time.0;
    let priced = ways.iter().all(|w| !w.unpriced);
    let measures: [Measure<'_>; 3] = [("results", &results), ("cost", &cost), ("time", &time)];
    let mut all = Vec::new();
    for (by, of) in measures.into_iter().filter(|(by, _)| priced || *by != "cost") {
        for share in [4, 2, 1] {
            let at = least(of) / share;
            if at == 0 {
                continue;
            }
            let best = |side: &Side| mean(&side.ways, |w| w.steps.iter().take_while(|s| of(s) <= at).last().map(|s| s.best));
            let words = match by {
                "cost" => Money::from_micros(i64::try_from(at).unwrap_or(i64::MAX)).to_string(),
                "time" => Millis(at).to_string(),
                _ => format!("{at} result{}", if at == 1 { "" } else { "s" }),
            };
            all.push(Equal { by, at: words, best: (best(&sides.0), best(&sides.1)) });
        }
    }
    all
}

/// How often a difference of means at least as large comes by dealing all values to both sides anew (Fisher's permutation test). Counted
/// one by one while there are few ways, else with 100,000 deals of a fixed sequence.
#[must_use]
pub fn chance(a: &[f64], b: &[f64]) -> f64 {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let (n, k) = (all.len(), a.len());
    let total: f64 = all.iter().sum();
    let gap = |sum: f64| (sum / count(k) - (total - sum) / count(n - k)).abs();
    let seen = gap(a.iter().sum()) - 1e-12 * total.abs().max(1e-300);
    let ways = (0..k).fold(1_u64, |w, i| w.saturating_mul(u64::try_from(n - i).unwrap_or(1)) / u64::try_from(i + 1).unwrap_or(1));
    let (mut as_large, mut dealt) = (0_u64, 0_u64);
    if ways <= EXACT {
        let mut chosen: Vec<usize> = (0..k).collect();
        loop {
            let sum: f64 = chosen.iter().filter_map(|i| all.get(*i)).sum();
            dealt += 1;
            as_large += u64::from(gap(sum) >= seen);
            // The next choice of k in the order of a dictionary.
            let Some(at) = (0..k).rev().find(|i| chosen.get(*i).is_some_and(|c| *c < n - k + i)) else { break };
            let from = chosen.get(at).copied().unwrap_or(0) + 1;
            for (slot, value) in chosen.iter_mut().skip(at).zip(from..) {
                *slot = value;
            }
        }
    } else {
        let mut cards = all.clone();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        while dealt < 100_000 {
            for i in 0..k {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let j = i + usize::try_from(state % u64::try_from(n - i).unwrap_or(1)).unwrap_or(0);
                cards.swap(i, j);
            }
            dealt += 1;
            as_large += u64::from(gap(cards.iter().take(k).sum()) >= seen);
        }
    }
    as_large as f64 / dealt as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_counted_exactly_where_it_can_be() {
        // Of the 20 ways to deal three of six, two give a gap as large as that of the smallest three.
        assert!((chance(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]) - 0.1).abs() < 1e-12);
        assert!((chance(&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]) - 1.0).abs() < 1e-12);
        assert!((chance(&[1.0, 6.0, 3.0], &[4.0, 5.0, 2.0]) - 1.0).abs() < 0.2);
        // Too many ways to count: still near to none for what is far apart.
        let (low, high): (Vec<f64>, Vec<f64>) = ((0..20).map(f64::from).collect(), (100..120).map(f64::from).collect());
        assert!(chance(&low, &high) < 0.001);
    }
}
