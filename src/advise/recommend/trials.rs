//! Fewer trials: how late a sweep found its best one.

use super::{Advice, Case, Change, Confidence, Found, Kind};
use crate::record::{Goal, RunStatus};

/// Finished trials below which nothing is said.
const ENOUGH: usize = 8;

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    if s.job.sweep.is_none() {
        return Found::Nothing;
    }
    let Some(goal) = &s.job.metric else { return Found::Missing("a metric of the sweep".to_owned()) };
    // In the order of planning, as a smaller sweep would keep them.
    let mut trials: Vec<(u64, usize, Option<f64>)> = Vec::new();
    for (place, unit) in case.units.iter().enumerate() {
        let Some(run) = unit.run.and_then(|i| s.runs.get(i)) else { continue };
        let value = run.metrics.get(goal.name.as_str()).and_then(|m| if goal.goal == Goal::Minimize { m.min } else { m.max });
        trials.push((run.seq, place, value.filter(|_| run.status == RunStatus::Succeeded)));
    }
    trials.sort_unstable_by_key(|t| t.0);
    let n = trials.len();
    if n < ENOUGH || trials.iter().filter(|t| t.2.is_some()).count() < ENOUGH {
        return Found::Missing(format!(
            "{ENOUGH} finished trials with a value of {}: there are {}",
            goal.name,
            trials.iter().filter(|t| t.2.is_some()).count()
        ));
    }
    let better = |a: f64, b: f64| if goal.goal == Goal::Minimize { a < b } else { a > b };
    let mut best: Option<(usize, f64)> = None;
    for (i, (_, _, value)) in trials.iter().enumerate() {
        if let Some(v) = value.filter(|v| best.is_none_or(|(_, b)| better(*v, b))) {
            best = Some((i, v));
        }
    }
    let Some((at, value)) = best else { return Found::Nothing };
    // A quarter of room behind the best.
    let keep = ((at + 1) * 5).div_ceil(4).max(ENOUGH / 2);
    if keep >= n {
        return Found::Nothing;
    }
    let mut each = vec![1.0; case.units.len()];
    for (_, place, _) in trials.iter().skip(keep) {
        if let Some(factor) = each.get_mut(*place) {
            *factor = 0.0;
        }
    }
    let change = Change { each, ..Change::default() };
    let Some(saves) = case.saves(&change) else { return Found::Nothing };
    let chance = keep as f64 / n as f64;
    Found::Do(Box::new(Advice {
        kind: Kind::Trials,
        title: format!("make {keep} trials instead of {n}"),
        saves,
        computed: format!("the best of {n} ({} {value}) was number {}; the trials after number {keep} are not priced", goal.name, at + 1),
        confidence: if chance > 0.75 { Confidence::Medium } else { Confidence::Low },
        because: format!(
            "were the order of trials chance, the first {keep} had the best of {n} in {} of all orders",
            super::percent(chance)
        ),
        side_effects: vec!["another search may find its best later".to_owned()],
        settings: vec![case.setting(&["sweep", "trials"], keep.to_string())],
        at_most: false,
        change,
    }))
}
