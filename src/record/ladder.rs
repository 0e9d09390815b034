//! The rungs of halving rules: at which steps trials are compared, and in which bracket a trial is.
//!
//! In: the rule and the number of a trial. Out: steps. Must never depend on what was reported.

use super::search::{PruneMethod, PruneSpec};

/// Brackets of rungs. A trial's bracket follows from its index, so that each bracket gets its share of the trials.
#[derive(Debug, Clone)]
pub struct Ladder {
    /// One of this many goes on.
    pub eta: u64,
    /// Steps of a full trial: nothing is decided there.
    pub max: u64,
    /// First rung of each bracket, and how many of `turns` trials it gets.
    pub brackets: Vec<(u64, u64)>,
    /// Trials until the brackets come in turn again.
    pub turns: u64,
}

impl Ladder {
    /// With one bracket, or with all that Hyperband has.
    #[must_use]
    pub fn new(spec: &PruneSpec) -> Self {
        let many = spec.method == PruneMethod::Hyperband;
        let (eta, min, max) = (spec.eta.max(2), spec.min.max(1), spec.max.unwrap_or(u64::MAX));
        let later = |step: &u64| step.checked_mul(eta).filter(|s| many && *s < spec.max.unwrap_or(0));
        let firsts: Vec<u64> = std::iter::successors(Some(min), later).collect();
        let count = u32::try_from(firsts.len()).unwrap_or(1);
        // Each bracket gets trials so that all brackets cost about the same: those that begin early get more.
        let share = |b: u32| eta.saturating_pow(count - 1 - b).div_ceil(u64::from(b) + 1);
        let brackets: Vec<(u64, u64)> = firsts.into_iter().zip(0..count).map(|(first, b)| (first, share(b))).collect();
        let turns = brackets.iter().map(|(_, n)| n).sum::<u64>().max(1);
        Self { eta, max, brackets, turns }
    }

    /// The bracket of a trial, and its first rung.
    #[must_use]
    pub fn bracket(&self, trial: u64) -> (usize, u64) {
        let mut turn = trial % self.turns;
        let found = self.brackets.iter().enumerate().find(|(_, (_, share))| {
            let mine = turn < *share;
            turn = turn.saturating_sub(*share);
            mine
        });
        found.map_or((0, 1), |(bracket, (first, _))| (bracket, *first))
    }

    /// The rung after one.
    #[must_use]
    pub fn after(&self, rung: u64) -> u64 {
        rung.saturating_mul(self.eta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperband_gives_each_bracket_its_share() {
        let ladder = Ladder::new(&PruneSpec { max: Some(27), ..PruneSpec::new(PruneMethod::Hyperband) });
        let mut counts = [0; 3];
        (0..ladder.turns).for_each(|t| counts[ladder.bracket(t).0] += 1);
        assert_eq!((counts, ladder.brackets.iter().map(|b| b.0).collect::<Vec<_>>()), ([9, 2, 1], vec![1, 3, 9]));
    }
}
