//! Population-based training (Jaderberg et al. 2017): members are trained a while, then the worst go on from a copy of one of the best with
//! other hyperparameters.
//!
//! In: the results of the generation before. Out: for each member its parent, whose checkpoint it goes on from, and its params. Must never look
//! at anything but that generation, so that the order in which its trials ended does not matter.

use std::sync::Arc;

use super::history::{History, Rank};
use super::scale::Scale;
use super::{Sampler, Stuck, Suggestion, Trial};
use crate::base::Value;
use crate::expand::dimension::Bits;
use crate::expand::domain::Domain;
use crate::record::{Distribution, Params, SearchSpec};

/// The share of the members that is replaced, and by whom: truncation selection of the paper.
const QUANTILE: usize = 4;
/// A parameter is drawn anew this often instead of being perturbed.
const RESAMPLE: f64 = 0.25;
/// What a number is multiplied by.
const FACTORS: [f64; 2] = [0.8, 1.2];
/// Tries of exploring until a point meets the constraints.
const TRIES: u64 = 100;

/// The sampler.
pub struct Pbt {
    domain: Arc<Domain>,
    scale: Scale,
    spec: SearchSpec,
    history: History,
    /// Params as they were told, by trial.
    params: std::collections::BTreeMap<u64, Params>,
}

/// How a member begins its next generation.
enum Turn {
    /// Nobody of the last generation has a result.
    Anew,
    /// From its own checkpoint with its own params.
    Continue(u64),
    /// From another's, with params like that one's.
    Exploit(u64),
}

impl Pbt {
    /// A sampler over a compiled space.
    pub fn new(spec: &SearchSpec, domain: Arc<Domain>) -> Self {
        let scale = Scale::new(&domain);
        Self { domain, scale, spec: spec.clone(), history: History::default(), params: Default::default() }
    }

    fn turn(&self, index: u64) -> Turn {
        let Some(before) = self.spec.generation_before(index) else { return Turn::Anew };
        let mut ranks: Vec<Rank> = self.history.0.range(before.clone()).filter_map(|(_, note)| note.rank).filter(|r| r.class < 2).collect();
        ranks.sort_by(Rank::cmp);
        let all = usize::try_from(before.end - before.start).unwrap_or(usize::MAX);
        let some = all.div_ceil(QUANTILE);
        let own = index - (before.end - before.start);
        // Those without a result stand behind all others.
        let place = ranks.iter().position(|r| r.index == own);
        if place.is_some_and(|p| p < all - some || p == 0) {
            return Turn::Continue(own);
        }
        let best = ranks.get(..some.min(ranks.len())).unwrap_or_default();
        let pick = Bits::new(self.spec.seed, index, "pbt parent", 0).unit();
        let chosen = best.get(share(pick, best.len()));
        chosen.map_or(Turn::Anew, |r| if r.index == own { Turn::Continue(own) } else { Turn::Exploit(r.index) })
    }

    /// Params like a parent's: each number times 0.8 or 1.2, an ordered value or a whole number at least one further, and a quarter of all drawn anew.
    fn explore(&self, parent: &Params, index: u64, again: u64) -> Result<Params, Stuck> {
        let mut bits = Bits::new(self.spec.seed, index, "pbt", again);
        self.domain.point(|d| {
            let (anew, up) = (bits.unit() < RESAMPLE, bits.unit() < 0.5);
            let known = self.domain.dims.get(d).and_then(|dim| super::param(parent, &dim.name)).filter(|_| !anew);
            known.map_or_else(|| self.domain.draw(d, self.spec.seed, index, again), |v| self.perturb(d, v, up))
        })
    }

    fn perturb(&self, d: usize, value: &Value, up: bool) -> Value {
        let cell = self.scale.cell(d);
        let Some(unit) = self.scale.unit(d, value) else { return value.clone() };
        let step = |unit: f64| self.scale.value(d, (if up { unit + cell } else { unit - cell }).clamp(0.0, 1.0));
        match self.domain.dims.get(d).map(|dim| &dim.dist) {
            None | Some(Distribution::Tied { .. } | Distribution::Values { ordered: false, .. }) => value.clone(),
            Some(Distribution::Values { .. }) => step(unit),
            Some(dist) => {
                let Some(number) = value.as_f64() else { return value.clone() };
                let wanted = number * FACTORS[usize::from(up)];
                let low = |unit: f64| self.scale.value(d, unit).as_f64().unwrap_or(wanted);
                let at = match dist {
                    Distribution::Normal { .. } | Distribution::LogNormal { .. } => wanted,
                    _ => wanted.clamp(low(0.0), low(1.0)),
                };
                let moved = self.scale.unit(d, &at.into()).map(|u| self.scale.value(d, u));
                moved.filter(|m| m != value || cell == 0.0).unwrap_or_else(|| step(unit))
            }
        }
    }
}

/// The number at a share of a count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a number below a small count")]
fn share(u: f64, count: usize) -> usize {
    ((u * count as f64) as usize).min(count.saturating_sub(1))
}

impl Sampler for Pbt {
    fn tell(&mut self, trial: &Trial) {
        self.history.tell(trial, &self.scale, self.spec.goal);
        self.params.insert(trial.index, trial.params.clone());
    }

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        let number = |i: u64| i / self.spec.population();
        let value = |i: u64| {
            let sign = if self.spec.goal == crate::record::Goal::Maximize { -1.0 } else { 1.0 };
            self.history.0.get(&i).and_then(|n| n.rank).map_or_else(String::new, |r| format!(" ({})", r.value * sign))
        };
        match self.turn(index) {
            Turn::Continue(own) => {
                let params = self.params.get(&own).cloned().unwrap_or_default();
                Ok(Suggestion { params, why: format!("generation {}: goes on from trial {own}{}", number(index) + 1, value(own)) })
            }
            Turn::Exploit(parent) => {
                let old = self.params.get(&parent).cloned().unwrap_or_default();
                let mut params = old.clone();
                for again in 0..TRIES {
                    let made = self.explore(&old, index, again)?;
                    if self.domain.admits(&made)? {
                        params = made;
                        break;
                    }
                }
                let why = format!("generation {}: exploits trial {parent}{}, explores around it", number(index) + 1, value(parent));
                Ok(Suggestion { params, why })
            }
            Turn::Anew => {
                let point = usize::try_from(index).ok().and_then(|i| self.spec.points.get(i));
                let params = self.domain.random(self.spec.seed, index, point.unwrap_or(&Params::new()))?;
                let why = if point.is_some() {
                    "a point of the file, to be tried first".to_owned()
                } else {
                    format!("generation {}: random", number(index) + 1)
                };
                Ok(Suggestion { params, why })
            }
        }
    }

    fn parent(&self, index: u64) -> Option<u64> {
        match self.turn(index) {
            Turn::Anew => None,
            Turn::Continue(parent) | Turn::Exploit(parent) => Some(parent),
        }
    }

    fn describe(&self) -> String {
        format!("population-based training: {} members, the worst quarter goes on from the best", self.spec.population())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Goal, Method, Parameter, Space};

    fn pbt() -> Pbt {
        let parameter = |name: &str, dist| Parameter { name: name.into(), dist, when: Vec::new() };
        let sizes = Distribution::Values { values: vec!["s".into(), "m".into(), "l".into()], weights: Vec::new(), ordered: true };
        let space = Space {
            parameters: vec![
                parameter("lr", Distribution::LogUniform { min: 1e-4, max: 1.0 }),
                parameter("batch", Distribution::IntUniform { min: 1, max: 64, step: 1 }),
                parameter("size", sizes),
            ],
            ..Space::default()
        };
        let spec = SearchSpec { goal: Goal::Maximize, ..SearchSpec::new(space, Method::Pbt) };
        Pbt::new(&spec, Arc::new(Domain::compile(&spec.space).unwrap()))
    }

    fn first_generation(order: impl Iterator<Item = u64>) -> Pbt {
        let mut pbt = pbt();
        for i in order {
            let params = pbt.ask(i).unwrap().params;
            let value = (i != 3).then_some(i as f64);
            let trial = Trial::complete(i, params, value);
            pbt.tell(&if i == 3 { Trial { state: super::super::TrialState::Failed, ..trial } } else { trial });
        }
        pbt
    }

    #[test]
    fn the_worst_quarter_goes_on_from_the_best_whatever_the_order_of_telling() {
        let (mut one, mut two) = (first_generation(0..8), first_generation((0..8).rev()));
        let parents: Vec<Option<u64>> = (8..16).map(|i| one.parent(i)).collect();
        // Trial 3 failed and trial 0 is the worst of the others.
        assert!([6, 7].contains(&parents[0].unwrap()) && [6, 7].contains(&parents[3].unwrap()), "{parents:?}");
        let own = [1, 2, 4, 5, 6, 7];
        assert!(own.iter().all(|i| parents[*i] == Some(*i as u64)), "{parents:?}");
        for i in 8..16 {
            let made = one.ask(i).unwrap();
            assert_eq!(made, two.ask(i).unwrap());
            let parent = one.params[&parents[i as usize - 8].unwrap()].clone();
            assert_eq!(made.params == parent, own.contains(&(i as usize - 8)), "{made:?}");
        }
        assert_eq!(one.ask(9).unwrap().why, "generation 2: goes on from trial 1 (1)");
        assert!((0..8).all(|i| one.parent(i).is_none()));
    }

    #[test]
    fn exploring_multiplies_steps_or_draws_anew_and_stays_inside() {
        let pbt = pbt();
        let parent: Params = vec![("lr".into(), 0.1.into()), ("batch".into(), 2.into()), ("size".into(), "l".into())];
        let (mut near, mut far) = (0, 0);
        for again in 0..400 {
            let made = pbt.explore(&parent, 9, again).unwrap();
            let lr = made[0].1.as_f64().unwrap();
            let by = [0.08, 0.12].iter().any(|x| (lr - x).abs() < 1e-9);
            *if by { &mut near } else { &mut far } += 1;
            assert!((1e-4..=1.0).contains(&lr) && (1..=64).contains(&made[1].1.as_i64().unwrap()));
        }
        assert!((260..340).contains(&near) && far > 60, "{near} near, {far} drawn anew");
        // A small whole number moves by one at least, an ordered value to its neighbour; the ends hold.
        assert_eq!((pbt.perturb(1, &2.into(), true), pbt.perturb(1, &1.into(), false)), (3.into(), 1.into()));
        assert_eq!((pbt.perturb(2, &"l".into(), true), pbt.perturb(2, &"m".into(), false)), ("l".into(), "s".into()));
        assert_eq!(pbt.perturb(0, &1.0.into(), true), Value::from(1.0));
    }
}
