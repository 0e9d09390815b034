//! Halving that promotes: a trial pauses at each rung and goes on, from its checkpoint, once it is among the best 1/eta there.
//!
//! In: reports of trials, and which of them wait. Out: who pauses, who goes on. What it knows is a function of the values by step and of
//! who waits, which the record has. Must never offer a trial that does not wait, nor one twice for the same rung.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::prune::{Promotion, Pruner, Verdict};
use crate::record::{Ladder, PruneSpec};

/// Asynchronous successive halving as Li et al. (2020) have it, algorithm 2: of the n trials that have come to a rung, the best
/// floor(n/eta) go on, whenever they belong to them. When nothing else is left to come, the best of a rung goes on also where fewer than
/// eta have come, so that a sweep always has a full trial.
pub struct Promoting {
    ladder: Ladder,
    sign: f64,
    /// Values at each rung of each bracket with their trials, best first; lower is better.
    rungs: BTreeMap<(usize, u64), Vec<(f64, u64)>>,
    /// At which step each trial came to each rung, and its value there.
    came: FxHashMap<(u64, u64), (u64, f64)>,
    /// The last rung that each trial came to.
    at: FxHashMap<u64, u64>,
    /// Trials that wait.
    waiting: BTreeSet<u64>,
    /// Something has changed since nobody was found to promote.
    changed: bool,
}

impl Promoting {
    /// The rule.
    pub fn new(spec: &PruneSpec, sign: f64) -> Self {
        Self {
            ladder: Ladder::new(spec),
            sign,
            rungs: BTreeMap::new(),
            came: FxHashMap::default(),
            at: FxHashMap::default(),
            waiting: BTreeSet::new(),
            changed: false,
        }
    }

    /// A value comes to a rung: its place from 0 on, and of how many.
    fn insert(&mut self, trial: u64, rung: u64, step: u64, key: f64) -> (usize, usize) {
        let values = self.rungs.entry((self.ladder.bracket(trial).0, rung)).or_default();
        let place = values.partition_point(|v| v.0.total_cmp(&key).then(v.1.cmp(&trial)).is_lt());
        values.insert(place, (key, trial));
        self.came.insert((trial, rung), (step, key));
        self.changed = true;
        (place, values.len())
    }

    fn keeps(&self, count: usize) -> usize {
        count / usize::try_from(self.ladder.eta).unwrap_or(usize::MAX)
    }
}

impl Pruner for Promoting {
    fn report(&mut self, trial: u64, step: u64, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|v| v.is_finite()) else { return Verdict::Continue };
        let ((_, first), key) = (self.ladder.bracket(trial), value * self.sign);
        let mut verdict = Verdict::Continue;
        let mut rung = self.at.get(&trial).map_or(first, |r| self.ladder.after(*r));
        while rung <= step && rung < self.ladder.max {
            let (place, count) = self.insert(trial, rung, step, key);
            verdict = if place < self.keeps(count) {
                Verdict::Continue
            } else {
                Verdict::Pause { why: words(rung, place, count, self.keeps(count)) }
            };
            self.at.insert(trial, rung);
            rung = self.ladder.after(rung);
        }
        verdict
    }

    fn revise(&mut self, trial: u64, step: u64, value: f64) {
        let mut rung = self.ladder.bracket(trial).1;
        while rung <= step {
            let Some(&(came, key)) = self.came.get(&(trial, rung)) else { return };
            if step <= came {
                let values = self.rungs.entry((self.ladder.bracket(trial).0, rung)).or_default();
                values.retain(|v| *v != (key, trial));
                self.insert(trial, rung, step, value * self.sign);
            }
            rung = self.ladder.after(rung);
        }
    }

    fn complete(&mut self, _: u64) {}

    fn waits(&mut self, trial: u64) {
        self.waiting.insert(trial);
        self.changed = true;
    }

    fn promote(&mut self, last: bool) -> Option<Promotion> {
        if !(self.changed || last) || self.waiting.is_empty() {
            return None;
        }
        let found = self.rungs.iter().rev().find_map(|((_, rung), values)| {
            let keeps = self.keeps(values.len()).max(usize::from(last));
            let ready = |t: &u64| self.waiting.contains(t) && self.at.get(t) == Some(rung);
            let place = values.iter().take(keeps).position(|(_, t)| ready(t))?;
            Some((values.get(place)?.1, words(*rung, place, values.len(), keeps)))
        });
        let Some((trial, why)) = found else {
            self.changed = false;
            return None;
        };
        self.waiting.remove(&trial);
        Some(Promotion { trial, why })
    }

    fn standing(&self, trial: u64) -> Option<String> {
        let rung = *self.at.get(&trial)?;
        let values = self.rungs.get(&(self.ladder.bracket(trial).0, rung))?;
        let place = values.iter().position(|(_, t)| *t == trial)?;
        Some(words(rung, place, values.len(), self.keeps(values.len()).max(1)))
    }
}

/// `rung 3: 4 of 7, and the best 2 go on`.
fn words(rung: u64, place: usize, count: usize, keeps: usize) -> String {
    match keeps {
        0 => format!("rung {rung}: {} of {count}, too few to compare", place + 1),
        _ => format!("rung {rung}: {} of {count}, and the best {keeps} go on", place + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PruneMethod;

    fn rule() -> Promoting {
        Promoting::new(&PruneSpec { max: Some(9), promote: true, ..PruneSpec::new(PruneMethod::Asha) }, 1.0)
    }

    /// Reports, waits when told to pause, and says who is promoted.
    fn come(rule: &mut Promoting, trial: u64, step: u64, value: f64) -> (bool, Vec<u64>) {
        let pauses = matches!(rule.report(trial, step, Some(value)), Verdict::Pause { .. });
        if pauses {
            rule.waits(trial);
        }
        (pauses, std::iter::from_fn(|| rule.promote(false)).map(|p| p.trial).collect())
    }

    #[test]
    fn who_is_among_the_best_third_goes_on_whenever_that_is() {
        let mut rule = rule();
        assert_eq!(come(&mut rule, 0, 1, 0.5), (true, vec![]));
        assert_eq!(come(&mut rule, 1, 1, 0.6), (true, vec![]));
        assert_eq!(come(&mut rule, 2, 1, 0.7), (true, vec![0]), "the best of three");
        assert_eq!(come(&mut rule, 3, 1, 0.4), (false, vec![]), "better than all: it never stops");
        assert_eq!(come(&mut rule, 4, 1, 0.9), (true, vec![]));
        assert_eq!(come(&mut rule, 5, 1, 0.8), (true, vec![]), "the two best of six have gone on");
        assert_eq!(rule.standing(1).unwrap(), "rung 1: 3 of 6, and the best 2 go on");
        // At the second rung, too few for a comparison.
        assert_eq!(come(&mut rule, 0, 3, 0.3), (true, vec![]));
        assert_eq!(come(&mut rule, 3, 3, 0.2), (true, vec![]));
        assert_eq!(rule.promote(true).map(|p| p.trial), Some(3), "when nothing else comes, the best goes on");
        assert_eq!(rule.promote(true), None, "once");
        assert_eq!(come(&mut rule, 3, 9, 0.1), (false, vec![]), "a full trial is never stopped");
    }

    #[test]
    fn made_again_from_values_and_from_who_waits_it_decides_the_same() {
        let (mut one, mut reports) = (rule(), Vec::new());
        for trial in 0..40_u64 {
            let value = ((trial * 17) % 41) as f64;
            reports.push((trial, 1, value));
            come(&mut one, trial, 1, value);
            if trial % 5 == 4 && !one.waiting.contains(&(trial - 4)) {
                reports.push((trial - 4, 3, value));
                come(&mut one, trial - 4, 3, value);
            }
        }
        let mut two = rule();
        reports.sort_by_key(|(trial, step, _)| (std::cmp::Reverse(*trial), *step));
        reports.iter().for_each(|(t, s, v)| drop(two.report(*t, *s, Some(*v))));
        one.waiting.iter().for_each(|t| two.waits(*t));
        assert_eq!((&one.rungs, &one.at), (&two.rungs, &two.at));
        let ends = |rule: &mut Promoting| std::iter::from_fn(|| rule.promote(true)).collect::<Vec<_>>();
        // A step that comes after a later one changes what is known of the rung, as it does in the record.
        two.report(50, 2, Some(0.1));
        two.revise(50, 1, 0.7);
        one.report(50, 1, Some(0.7));
        assert_eq!((&one.rungs, &one.came.len()), (&two.rungs, &two.came.len()));
        assert_eq!(come(&mut one, 90, 1, 0.5), come(&mut two, 90, 1, 0.5));
        assert_eq!(ends(&mut one), ends(&mut two));
    }
}
