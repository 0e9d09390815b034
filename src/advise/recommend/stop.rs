//! Early stopping: what a rule would have saved on the curves that runs left, and what it would have lost.
//!
//! A sweep's trials are played again under successive halving, each against those that had started before it (ASHA; Li et al., 2020). A run
//! alone is played under patience: it ends once its best value has not improved for a while.

use super::{Advice, Case, Change, Confidence, Found, Kind, Setting, by_count};
use crate::record::Goal;

/// Values of a curve below which nothing is said.
const ENOUGH: usize = 6;
const ETA: usize = 3;

/// One run's curve: its place among the units, its order, and values that are better when smaller.
struct Curve {
    place: usize,
    seq: u64,
    values: Vec<f64>,
}

fn curves(case: &Case<'_>, goal: Goal) -> Vec<Curve> {
    let s = case.subject;
    let sign = if goal == Goal::Minimize { 1.0 } else { -1.0 };
    let mut all: Vec<Curve> = Vec::new();
    for (place, unit) in case.units.iter().enumerate() {
        let Some((run, points)) = unit.run.and_then(|i| s.runs.get(i).zip(s.curves.get(i))) else { continue };
        // A value that is no number is worse than any.
        let values: Vec<f64> = points.iter().map(|(_, v)| v.filter(|v| v.is_finite()).map_or(f64::INFINITY, |v| v * sign)).collect();
        if values.len() >= ENOUGH && values.iter().any(|v| v.is_finite()) {
            all.push(Curve { place, seq: run.seq, values });
        }
    }
    all.sort_unstable_by_key(|c| c.seq);
    all
}

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    let pruned = s.job.sweep.as_ref().and_then(|w| w.search.as_ref()).is_some_and(|w| w.prune.is_some());
    if pruned {
        return Found::Nothing;
    }
    let Some(goal) = &s.job.metric else {
        return Found::Missing("a metric: declare `metric: {name: val_loss, goal: minimize}`, and report it each epoch".to_owned());
    };
    let all = curves(case, goal.goal);
    if all.is_empty() {
        return Found::Missing(format!("values of {} by epoch: at least {ENOUGH} of one run", goal.name));
    }
    if s.job.sweep.is_some() && all.len() >= ETA * 2 { halving(case, &all) } else { patience(case, &all) }
}

fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Plays the trials again; a trial that is not among the best third of those seen at a rung ends there.
fn halving(case: &Case<'_>, all: &[Curve]) -> Found {
    let longest = all.iter().map(|c| c.values.len()).max().unwrap_or(0);
    let min = (longest / (ETA * ETA)).max(1);
    let rungs: Vec<usize> = std::iter::successors(Some(min), |r| Some(r * ETA)).take_while(|r| *r < longest).collect();
    let mut seen: Vec<Vec<f64>> = vec![Vec::new(); rungs.len()];
    let mut each = vec![1.0; case.units.len()];
    let (mut ended, mut kept) = (0, f64::INFINITY);
    for curve in all {
        let mut stop = curve.values.len();
        for (rung, values) in rungs.iter().zip(&mut seen) {
            let Some(so_far) = curve.values.get(..*rung) else { break };
            let value = best(so_far);
            values.push(value);
            let better = values.iter().filter(|v| **v < value).count();
            if better >= values.len().div_ceil(ETA) {
                stop = *rung;
                break;
            }
        }
        ended += usize::from(stop < curve.values.len());
        kept = kept.min(best(curve.values.get(..stop).unwrap_or_default()));
        if let Some(factor) = each.get_mut(curve.place) {
            *factor = stop as f64 / curve.values.len() as f64;
        }
    }
    let change = Change { each, ..Change::default() };
    let Some(saves) = case.saves(&change).filter(|_| ended > 0) else { return Found::Nothing };
    let whole = all.iter().map(|c| best(&c.values)).fold(f64::INFINITY, f64::min);
    let survives = kept <= whole;
    Found::Do(Box::new(Advice {
        kind: Kind::EarlyStopping,
        title: "end bad trials early (ASHA)".to_owned(),
        saves,
        computed: format!(
            "{} played again by their curves, in the order of planning: rungs {rungs:?}, one of {ETA} goes on; {ended} would have ended early",
            super::runs(all.len())
        ),
        confidence: if survives { by_count(all.len(), 8, 20) } else { Confidence::Low },
        because: if survives {
            "the best trial would have survived".to_owned()
        } else {
            format!("the best trial would have ended early: {:.5} instead of {:.5}", kept.abs(), whole.abs())
        },
        side_effects: vec!["trials that start slowly and end well are lost".to_owned()],
        settings: vec![case.setting(&["sweep", "prune"], format!("{{method: asha, min: {min}, eta: {ETA}}}"))],
        at_most: false,
        change,
    }))
}

/// Ends each run once its best value has not improved, by a thousandth of its range, for a fifth of its length.
fn patience(case: &Case<'_>, all: &[Curve]) -> Found {
    let mut each = vec![1.0; case.units.len()];
    let (mut ended, mut latest, mut worst) = (0, 0, 0.0_f64);
    let waits = |n: usize| (n / 5).max(2);
    for curve in all {
        let n = curve.values.len();
        let finite = curve.values.iter().copied().filter(|v| v.is_finite());
        let range = finite.clone().fold(f64::NEG_INFINITY, f64::max) - best(&curve.values);
        let (mut least, mut at, mut stop) = (f64::INFINITY, 0, n);
        for (i, value) in curve.values.iter().enumerate() {
            if *value < least - 0.001 * range || i == 0 {
                (least, at) = (value.min(least), i);
            } else if i - at >= waits(n) {
                stop = i + 1;
                break;
            }
        }
        ended += usize::from(stop < n);
        latest = latest.max(stop);
        if range > 0.0 {
            worst = worst.max((best(curve.values.get(..stop).unwrap_or_default()) - best(&curve.values)) / range);
        }
        if let Some(factor) = each.get_mut(curve.place) {
            *factor = stop as f64 / n as f64;
        }
    }
    let sweep = case.subject.job.sweep.is_some();
    let longest = all.iter().map(|c| c.values.len()).max().unwrap_or(0);
    let epochs = all.iter().all(|c| c.values.len() == longest).then_some(latest).filter(|l| *l < longest);
    let change = match epochs.filter(|_| !sweep) {
        // Fewer epochs are fewer for every run.
        Some(latest) => Change::time(latest as f64 / longest as f64),
        None => Change { each, ..Change::default() },
    };
    let Some(saves) = case.saves(&change).filter(|_| ended > 0) else { return Found::Nothing };
    let settings = match (sweep, epochs) {
        (true, _) => vec![case.setting(&["sweep", "prune"], format!("{{method: patience, patience: {}}}", waits(longest)))],
        (false, Some(latest)) => {
            vec![Setting { path: ["inputs", "@epochs", "default"].map(str::to_owned).to_vec(), value: latest.to_string() }]
        }
        (false, None) => Vec::new(),
    };
    Found::Do(Box::new(Advice {
        kind: Kind::EarlyStopping,
        title: match (sweep, epochs) {
            (false, Some(latest)) => format!("train for {latest} instead of {longest} epochs"),
            _ => "end trials whose value no longer improves".to_owned(),
        },
        saves,
        computed: format!(
            "{ended} of {} did not improve for a fifth of their length ({} values); priced to that point",
            super::runs(all.len()),
            waits(longest)
        ),
        confidence: by_count(all.len(), 2, 10).min(if worst > 0.01 { Confidence::Low } else { Confidence::High }),
        because: if worst > 0.0 {
            format!("the best value would have been worse by {} of its range", super::percent(worst))
        } else {
            "the best values came before".to_owned()
        },
        side_effects: vec!["a learning-rate schedule that ends with the epochs ends earlier too".to_owned()],
        settings,
        at_most: false,
        change,
    }))
}
