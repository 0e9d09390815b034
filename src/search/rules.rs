//! The rules that end trials early.
//!
//! In: reports of trials. Out: verdicts. What a rule knows is the set of values by step, whatever their order, so that a rule that is
//! told the record again knows the same. Must never end a trial on a value that is unknown.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::promote::Promoting;
use super::prune::{Pruner, Verdict};
use crate::record::{Goal, Ladder, PruneMethod, PruneSpec};

/// Finished trials before `median` and `percentile` decide, where the file does not say it.
const STARTUP: u64 = 5;
/// Reports without a change that counts, where the file does not say it.
const PATIENCE: u64 = 5;
/// Least relative change that counts for `convergence`, where the file does not say it.
const CONVERGED: f64 = 1e-3;

/// The rule of a sweep.
pub fn make(spec: &PruneSpec, goal: Goal) -> Box<dyn Pruner> {
    let sign = if goal == Goal::Maximize { -1.0 } else { 1.0 };
    match spec.method {
        PruneMethod::Asha | PruneMethod::SuccessiveHalving | PruneMethod::Hyperband if spec.promote => Box::new(Promoting::new(spec, sign)),
        PruneMethod::Asha | PruneMethod::SuccessiveHalving | PruneMethod::Hyperband => Box::new(Halving::new(spec, sign)),
        PruneMethod::Median => Box::new(Others::new(spec, sign, 50.0)),
        PruneMethod::Percentile => Box::new(Others::new(spec, sign, spec.percentile.unwrap_or(25.0))),
        PruneMethod::Threshold => Box::new(Threshold(spec.clone())),
        PruneMethod::Patience | PruneMethod::Convergence => Box::new(Still { spec: spec.clone(), sign, trials: FxHashMap::default() }),
    }
}

fn prune(why: String) -> Verdict {
    Verdict::Prune { why }
}

/// Asynchronous successive halving that stops (Li et al. 2020, as in Ray Tune and Optuna): at each rung a trial goes on when its
/// value is among the best 1/eta of all that have come so far, or the best of fewer than eta. Hyperband (Li et al. 2018) is several
/// of these with later and later first rungs; a trial's bracket follows from its index.
struct Halving {
    ladder: Ladder,
    sign: f64,
    /// Values at each rung of each bracket, best first; lower is better.
    rungs: FxHashMap<(usize, u64), Vec<f64>>,
    /// The next rung of each trial.
    next: FxHashMap<u64, u64>,
}

impl Halving {
    fn new(spec: &PruneSpec, sign: f64) -> Self {
        Self { ladder: Ladder::new(spec), sign, rungs: FxHashMap::default(), next: FxHashMap::default() }
    }
}

impl Pruner for Halving {
    fn report(&mut self, trial: u64, step: u64, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|v| v.is_finite()) else { return Verdict::Continue };
        let ((bracket, first), key) = (self.ladder.bracket(trial), value * self.sign);
        let mut verdict = Verdict::Continue;
        let mut rung = *self.next.entry(trial).or_insert(first);
        while rung <= step && rung < self.ladder.max {
            let values = self.rungs.entry((bracket, rung)).or_default();
            let place = values.partition_point(|v| *v < key);
            let after = values.partition_point(|v| *v <= key);
            values.insert(after, key);
            let (count, keeps) = (values.len() as u64, (values.len() as u64 / self.ladder.eta).max(1));
            if place as u64 >= keeps && verdict == Verdict::Continue {
                verdict = prune(format!("rung {rung}: {} of {count}, and the best {keeps} go on", place + 1));
            }
            rung = self.ladder.after(rung);
        }
        self.next.insert(trial, rung);
        verdict
    }

    fn complete(&mut self, _: u64) {}
}

/// Median and percentile: a trial ends when the best of its values so far is worse than that share of the finished trials were at the
/// same step (Golovin et al. 2017).
struct Others {
    spec: PruneSpec,
    sign: f64,
    share: f64,
    trials: FxHashMap<u64, BTreeMap<u64, f64>>,
    /// Values of finished trials at each step, best first; lower is better.
    at: FxHashMap<u64, Vec<f64>>,
    finished: u64,
}

impl Others {
    fn new(spec: &PruneSpec, sign: f64, share: f64) -> Self {
        Self { spec: spec.clone(), sign, share, trials: FxHashMap::default(), at: FxHashMap::default(), finished: 0 }
    }
}

impl Pruner for Others {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below a length")]
    fn report(&mut self, trial: u64, step: u64, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|v| v.is_finite()) else { return Verdict::Continue };
        let mine = self.trials.entry(trial).or_default();
        mine.insert(step, value * self.sign);
        let best = mine.values().copied().fold(f64::INFINITY, f64::min);
        let due = step >= self.spec.min && (step - self.spec.min).is_multiple_of(self.spec.every.max(1));
        if !due || self.finished < self.spec.startup.unwrap_or(STARTUP) {
            return Verdict::Continue;
        }
        let Some(others) = self.at.get(&step).filter(|o| !o.is_empty()) else { return Verdict::Continue };
        let place = ((others.len() - 1) as f64 * self.share / 100.0).round() as usize;
        let Some(bound) = others.get(place).filter(|bound| best > **bound) else { return Verdict::Continue };
        prune(format!(
            "step {step}: its best {} is worse than {}, which the best {}% of {} finished trials reached",
            best * self.sign,
            bound * self.sign,
            self.share,
            others.len()
        ))
    }

    fn complete(&mut self, trial: u64) {
        self.finished += 1;
        for (step, value) in self.trials.remove(&trial).unwrap_or_default() {
            let values = self.at.entry(step).or_default();
            values.insert(values.partition_point(|v| *v <= value), value);
        }
    }
}

/// Beyond a fixed bound.
struct Threshold(PruneSpec);

impl Pruner for Threshold {
    fn report(&mut self, _: u64, step: u64, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|v| v.is_finite() && step >= self.0.min) else { return Verdict::Continue };
        match (self.0.lower, self.0.upper) {
            (Some(lower), _) if value < lower => prune(format!("step {step}: {value} is below {lower}")),
            (_, Some(upper)) if value > upper => prune(format!("step {step}: {value} is above {upper}")),
            _ => Verdict::Continue,
        }
    }

    fn complete(&mut self, _: u64) {}
}

/// Patience and convergence: the trial itself no longer changes.
struct Still {
    spec: PruneSpec,
    sign: f64,
    /// What counts of each trial, and the reports since it last changed.
    trials: FxHashMap<u64, (f64, u64)>,
}

impl Pruner for Still {
    fn report(&mut self, trial: u64, step: u64, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|v| v.is_finite()).map(|v| v * self.sign) else { return Verdict::Continue };
        let patience = self.spec.patience.unwrap_or(PATIENCE);
        let (known, still) = self.trials.entry(trial).or_insert((f64::INFINITY, 0));
        let changed = match self.spec.method {
            PruneMethod::Patience => value < *known - self.spec.tolerance.unwrap_or(0.0),
            _ => !known.is_finite() || (value - *known).abs() > self.spec.tolerance.unwrap_or(CONVERGED) * known.abs(),
        };
        if changed {
            (*known, *still) = (value, 0);
            return Verdict::Continue;
        }
        *still += 1;
        if *still < patience || step < self.spec.min {
            return Verdict::Continue;
        }
        prune(format!("step {step}: nothing better than {} for {still} reports", *known * self.sign))
    }

    fn complete(&mut self, trial: u64) {
        self.trials.remove(&trial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asha() -> Box<dyn Pruner> {
        make(&PruneSpec { max: Some(9), ..PruneSpec::new(PruneMethod::Asha) }, Goal::Minimize)
    }

    fn ends(rule: &mut Box<dyn Pruner>, trial: u64, step: u64, value: f64) -> bool {
        rule.report(trial, step, Some(value)) != Verdict::Continue
    }

    #[test]
    fn halving_keeps_the_best_third_of_what_has_come() {
        let mut rule = asha();
        let first: Vec<bool> =
            [0.5, 0.6, 0.4, 0.45, 0.3, 0.35, 0.9].iter().enumerate().map(|(i, v)| ends(&mut rule, i as u64, 1, *v)).collect();
        assert_eq!(first, [false, true, false, true, false, false, true]);
        assert!(!ends(&mut rule, 2, 2, 9.0), "between two rungs nothing is decided");
        assert!(!ends(&mut rule, 2, 3, 0.2) && ends(&mut rule, 4, 3, 0.21));
        assert!(!ends(&mut rule, 2, 9, 5.0), "a full trial is never ended");
        assert_eq!(rule.report(8, 1, None), Verdict::Continue);
    }

    #[test]
    fn told_the_record_again_a_rule_says_the_same() {
        let reports: Vec<(u64, u64, f64)> = (0..30_u64).flat_map(|t| (1..5).map(move |s| (t, s, ((t * 7 + s * 3) % 11) as f64))).collect();
        let (mut one, mut two) = (asha(), asha());
        reports.iter().for_each(|(t, s, v)| drop(one.report(*t, *s, Some(*v))));
        let mut by_step = reports.clone();
        by_step.sort_by_key(|(t, s, _)| (*s, *t));
        by_step.iter().for_each(|(t, s, v)| drop(two.report(*t, *s, Some(*v))));
        for value in 0..11 {
            let next = 100 + value;
            assert_eq!(one.report(next, 3, Some(value as f64)), two.report(next, 3, Some(value as f64)));
        }
    }

    #[test]
    fn the_median_of_finished_trials_counts_from_the_fifth_on() {
        let mut rule = make(&PruneSpec::new(PruneMethod::Median), Goal::Maximize);
        for trial in 0..5 {
            assert!(!ends(&mut rule, trial, 1, trial as f64));
            rule.complete(trial);
        }
        assert!(!ends(&mut rule, 5, 1, 2.0) && ends(&mut rule, 6, 1, 1.9));
        assert!(!ends(&mut rule, 7, 2, -1.0), "nobody was at this step");
    }

    #[test]
    fn bounds_and_patience_end_a_trial_by_itself() {
        let mut bound = make(&PruneSpec { upper: Some(10.0), ..PruneSpec::new(PruneMethod::Threshold) }, Goal::Minimize);
        assert!(!ends(&mut bound, 0, 1, 9.0) && ends(&mut bound, 0, 2, 11.0));
        let mut patience = make(&PruneSpec { patience: Some(2), ..PruneSpec::new(PruneMethod::Patience) }, Goal::Minimize);
        assert_eq!([3.0, 2.0, 2.5, 2.0].map(|v| ends(&mut patience, 0, 1, v)), [false, false, false, true]);
    }
}
