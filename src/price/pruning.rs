//! What ending bad trials early is expected to save.
//!
//! In: a rule of pruning, how many trials, how many steps a full trial has. Out: the share of all steps that is not trained. Must never
//! promise a saving for a rule whose decisions hang on the values themselves.
//!
//! Method: the rule is played with trials in random order whose places among each other stay the same from rung to rung, some hundred times
//! from a fixed seed. At a rung the k-th value goes on when it is among the best max(1, floor(k/eta)) of k; with `promote` also later, when it is
//! among the best floor(k/eta) of k. Trials whose places change
//! between rungs save more; a search that learns brings better and better trials, of which more go on, and saves less.

use std::collections::BTreeMap;

use crate::record::{Ladder, PruneSpec};

/// Trials that are played in all.
const PLAYED: usize = 20_000;
/// Trials of one play; shares of larger sweeps differ little.
const MOST: usize = 1_000;

/// A share of all steps of a sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saving {
    /// Expected.
    pub share: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The saving of a rule; none where it is not known beforehand (median, threshold and the like), or how long a full trial is.
#[must_use]
pub fn saving(spec: &PruneSpec, trials: u64, full: Option<u64>) -> Option<Saving> {
    let max = spec.max.or(full).filter(|m| *m > 0 && trials > 0)?;
    if !spec.method.has_rungs() {
        return None;
    }
    let ladder = Ladder::new(&PruneSpec { max: Some(max), ..spec.clone() });
    let trials = usize::try_from(trials).unwrap_or(MOST).min(MOST);
    let plays = (PLAYED / trials).clamp(20, 400);
    let mut state = 0x6f70_7065_6e70_7275_u64;
    let mut shares: Vec<f64> = (0..plays).map(|_| play(&ladder, trials, spec.promote, &mut state)).collect();
    shares.sort_by(f64::total_cmp);
    let at = |part: usize| shares.get(plays * part / 1000).or(shares.last()).copied().unwrap_or(0.0);
    Some(Saving { share: shares.iter().sum::<f64>() / float(plays), low: at(25), high: at(975) })
}

/// Values of a rung, best first, and which of them have gone on.
type Rung = BTreeMap<u64, bool>;

/// A value comes to a rung of a bracket that promotes. Gives the steps that are trained because of it.
fn climb(ladder: &Ladder, rungs: &mut BTreeMap<(u64, u64), Rung>, (first, rung): (u64, u64), value: u64) -> f64 {
    if rung >= ladder.max {
        return 0.0;
    }
    let values = rungs.entry((first, rung)).or_default();
    values.insert(value, false);
    let keeps = values.len() / usize::try_from(ladder.eta).unwrap_or(2);
    let on: Vec<u64> = values.iter_mut().take(keeps).filter(|(_, gone)| !**gone).map(|(v, gone)| (*gone = true, *v).1).collect();
    let next = ladder.after(rung).min(ladder.max);
    on.into_iter().map(|v| (next - rung) as f64 + climb(ladder, rungs, (first, next), v)).sum()
}

/// When nothing else comes, the best of each rung goes on where none has.
fn climb_last(ladder: &Ladder, rungs: &mut BTreeMap<(u64, u64), Rung>) -> f64 {
    let mut trained = 0.0;
    loop {
        let found = rungs.iter_mut().find_map(|(at, values)| {
            let mut best = values.first_entry().filter(|best| !*best.get())?;
            *best.get_mut() = true;
            Some((*at, *best.key()))
        });
        let Some(((first, rung), value)) = found else { return trained };
        let next = ladder.after(rung).min(ladder.max);
        trained += (next - rung) as f64 + climb(ladder, rungs, (first, next), value);
    }
}

/// One play: the share of steps that is not trained.
fn play(ladder: &Ladder, trials: usize, promote: bool, state: &mut u64) -> f64 {
    let max = ladder.max;
    let mut rungs: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
    let (mut trained, mut promoted) = (0.0, BTreeMap::new());
    for trial in 0..trials {
        // Marsaglia's xorshift (2003).
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        let (_, first) = ladder.bracket(u64::try_from(trial).unwrap_or(0));
        if promote {
            trained += first.min(max) as f64 + climb(ladder, &mut promoted, (first, first), *state);
            continue;
        }
        let mut rung = first;
        while rung < max {
            let values = rungs.entry((first, rung)).or_default();
            let place = values.partition_point(|v| v < state);
            values.insert(place, *state);
            if place >= (values.len() / usize::try_from(ladder.eta).unwrap_or(2)).max(1) {
                break;
            }
            rung = ladder.after(rung);
        }
        trained += rung.min(max) as f64;
    }
    trained += climb_last(ladder, &mut promoted);
    1.0 - trained / (float(trials) * max as f64)
}

fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PruneMethod;

    fn rule(method: PruneMethod, max: u64) -> PruneSpec {
        PruneSpec { max: Some(max), ..PruneSpec::new(method) }
    }

    #[test]
    fn few_trials_are_as_counted_by_hand() {
        // One rung at step 1 of 3, eta 3. The first goes on, the second with 1/2, the third with 1/3: 3 + 2 * 11/6 of 9 steps.
        let found = saving(&rule(PruneMethod::Asha, 3), 3, None).unwrap();
        assert!((found.share - (1.0 - (3.0 + 2.0 * 11.0 / 6.0) / 9.0)).abs() < 0.02, "{found:?}");
        assert!(found.low < found.share && found.share < found.high);
        assert_eq!(saving(&rule(PruneMethod::Asha, 1), 9, None).unwrap().share, 0.0);
        assert!(saving(&rule(PruneMethod::Median, 9), 9, None).is_none() && saving(&PruneSpec::new(PruneMethod::Asha), 9, None).is_none());
        assert!(saving(&PruneSpec::new(PruneMethod::Asha), 9, Some(27)).is_some(), "the epochs of the estimate");
        let (asha, hyperband) = (saving(&rule(PruneMethod::Asha, 27), 60, None), saving(&rule(PruneMethod::Hyperband, 27), 60, None));
        assert!(hyperband.unwrap().share < asha.unwrap().share, "Hyperband begins later for some");
        // With promotion one of three goes on whatever their order: 3 + 1 + 1 of 9 steps, and the same of 8 trials with 2.
        let promote = |trials| saving(&PruneSpec { promote: true, ..rule(PruneMethod::Asha, 3) }, trials, None).unwrap().share;
        assert!((promote(3) - (1.0 - 5.0 / 9.0)).abs() < 0.15 && promote(1) == 0.0, "{}", promote(3));
        assert!(saving(&rule(PruneMethod::Asha, 81), u64::MAX, None).unwrap().share > 0.8, "any number of trials");
    }
}
