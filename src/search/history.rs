//! What a method knows of trials: their places, how they compare, what they cost.
//!
//! In: trials as they are told. Out: the same, by index. Must never remember in what order they were told.

use std::collections::BTreeMap;

use super::scale::{Scale, Units};
use super::{Trial, TrialState};
use crate::record::Goal;

/// Trials with a result are ordered by: complete first, then pruned ones by how far they came, then those that failed; then the value,
/// then the index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rank {
    /// 0 for complete, 1 for pruned, 2 for failed.
    pub class: u8,
    /// For pruned trials: less for those that came farther.
    pub steps_left_out: u64,
    /// Lower is better, whatever the goal.
    pub value: f64,
    /// Which trial.
    pub index: u64,
}

impl Rank {
    /// The rank of a trial that is over: none while it runs, or when nothing is known of it.
    pub fn of(trial: &Trial, goal: Goal) -> Option<Self> {
        let value = trial.value.filter(|v| v.is_finite());
        let (class, steps_left_out, value) = match (trial.state, value) {
            (TrialState::Running | TrialState::Lost, _) | (TrialState::Complete | TrialState::Pruned, None) => return None,
            (TrialState::Failed, _) => (2, 0, 0.0),
            (TrialState::Pruned, Some(value)) => (1, u64::MAX - trial.step.unwrap_or(0), value),
            (TrialState::Complete, Some(value)) => (0, 0, value),
        };
        Some(Self { class, steps_left_out, value: if goal == Goal::Maximize { -value } else { value }, index: trial.index })
    }

    /// Better first.
    pub fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let head = |r: &Self| (r.class, r.steps_left_out);
        head(self).cmp(&head(other)).then(self.value.total_cmp(&other.value)).then(self.index.cmp(&other.index))
    }
}

/// One trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Where it is.
    pub units: Units,
    /// How it compares; none while it runs.
    pub rank: Option<Rank>,
    /// The logarithm of what it cost, if that is known and not nothing.
    pub log_cost: Option<f64>,
}

/// All trials.
#[derive(Debug, Clone, Default)]
pub struct History(pub BTreeMap<u64, Note>);

impl History {
    /// Notes a trial as it is now.
    pub fn tell(&mut self, trial: &Trial, scale: &Scale, goal: Goal) {
        let rank = Rank::of(trial, goal);
        if rank.is_none() && trial.state != TrialState::Running {
            self.0.remove(&trial.index);
            return;
        }
        let note = Note { units: scale.place(&trial.params), rank, log_cost: log_cost(trial) };
        self.0.insert(trial.index, note);
    }

    /// Trials that are over, by index.
    pub fn known(&self) -> impl DoubleEndedIterator<Item = (&Note, Rank)> {
        self.0.values().filter_map(|n| Some((n, n.rank?)))
    }
}

/// The logarithm of what a trial that is over cost.
#[expect(clippy::cast_precision_loss, reason = "only a weight, never money again")]
pub fn log_cost(trial: &Trial) -> Option<f64> {
    let cost = trial.cost.filter(|c| c.micros() > 0 && trial.state != TrialState::Running)?;
    Some((cost.micros() as f64).ln())
}

/// Values that a model can learn from, in the order given, with mean 0 and variance 1: the better half of the complete trials as they
/// are, all others by their place in the order (half-rank warping, Song et al. 2024), so that outliers and unknown values do not
/// flatten what matters.
#[expect(clippy::cast_precision_loss, reason = "counts of trials")]
pub fn warp(ranks: &[Rank]) -> Vec<f64> {
    let n = ranks.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by(|a, b| ranks[*a].cmp(&ranks[*b]));
    let complete = ranks.iter().filter(|r| r.class == 0).count();
    let good = complete.div_ceil(2);
    let middle = good.checked_sub(1).map_or(0.0, |i| ranks[order[i]].value);
    let spread = (order[..good].iter().map(|i| (ranks[*i].value - middle).powi(2)).sum::<f64>() / good.max(1) as f64).sqrt();
    let spread = if spread > 0.0 && spread.is_finite() { spread } else { 1.0 };
    let mut out = vec![0.0; n];
    for (place, &i) in order.iter().enumerate() {
        out[i] = if place < good {
            (ranks[i].value - middle) / spread
        } else {
            let same = order[good..place].iter().position(|j| (ranks[*j].class, ranks[*j].value) == (ranks[i].class, ranks[i].value));
            let first = same.unwrap_or(place - good) as f64;
            let twin = ranks[i].class == 0 && ranks[i].value == middle;
            let share = 0.5 + 0.5 * (first + 0.5) / (n - good) as f64;
            if twin { 0.0 } else { crate::expand::dimension::normal_quantile(share) }
        };
    }
    // Values near the best are drawn apart (the logarithm of Song et al., with more of it).
    let low = out.iter().copied().fold(f64::INFINITY, f64::min);
    let high = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    out.iter_mut().for_each(|y| *y = (4.0 * (*y - low) / (high - low).max(1e-300)).ln_1p());
    let mean = out.iter().sum::<f64>() / n.max(1) as f64;
    let deviation = (out.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n.max(1) as f64).sqrt().max(1e-9);
    out.iter().map(|y| (y - mean) / deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Params;

    #[test]
    fn outliers_and_failures_do_not_flatten_the_others() {
        let value = |i: u64, v: f64| Rank::of(&Trial::complete(i, Params::new(), Some(v)), Goal::Minimize).unwrap();
        let mut ranks = vec![value(0, 1.0), value(1, 3.0), value(2, 2.0), value(3, 1e300), value(4, 5.0)];
        let failed = Trial { state: TrialState::Failed, ..Trial::complete(5, Params::new(), Some(f64::NAN)) };
        ranks.push(Rank::of(&failed, Goal::Minimize).unwrap());
        let warped = warp(&ranks);
        assert!(warped.iter().all(|w| w.abs() < 3.0), "{warped:?}");
        assert!(warped[0] < warped[2] && warped[2] < warped[1]);
        assert!(warped[1] < warped[4] && warped[4] < warped[3] && warped[3] < warped[5]);
        assert_eq!(Rank::of(&Trial::complete(0, Params::new(), Some(f64::NAN)), Goal::Minimize), None);
    }
}
