//! The tree-structured Parzen estimator: Bergstra et al. 2011, with the multivariate kernels, magic clip and weights that Watanabe
//! (2023) found best.
//!
//! In: trials as they are told. Out: the candidate that good trials explain best against the others. Must never cost more as the
//! history grows: at most 25 good trials and the [`MAX_REST`] latest others have a kernel.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::scale::{Place, Scale, Units};
use super::{Sampler, Stuck, Suggestion, Trial, TrialState};
use crate::expand::dimension::Bits;
use crate::expand::domain::Domain;
use crate::record::{Goal, Params, SearchSpec};

/// Most good trials.
const MAX_GOOD: usize = 25;
/// Most other trials that have a kernel.
const MAX_REST: usize = 128;

/// Known trials are ordered by: complete first, then pruned ones by how far they came, then the value, then the index.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rank {
    pruned: bool,
    steps_left_out: u64,
    value: f64,
    index: u64,
}

impl Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let head = |r: &Self| (r.pruned, r.steps_left_out);
        head(self).cmp(&head(other)).then(self.value.total_cmp(&other.value)).then(self.index.cmp(&other.index))
    }
}

struct Seen {
    place: Arc<Place>,
    rank: Option<Rank>,
}

/// The sampler.
pub struct Tpe {
    domain: Arc<Domain>,
    scale: Scale,
    spec: SearchSpec,
    seen: FxHashMap<u64, Seen>,
    /// Known trials, best first.
    ranked: Vec<Rank>,
    /// All trials that count, by index.
    indices: Vec<u64>,
    why: String,
}

impl Tpe {
    /// A sampler over a compiled space.
    pub fn new(spec: &SearchSpec, domain: Arc<Domain>, why: &str) -> Self {
        let scale = Scale::new(&domain);
        Self { domain, scale, spec: spec.clone(), seen: FxHashMap::default(), ranked: Vec::new(), indices: Vec::new(), why: why.to_owned() }
    }

    fn startup(&self) -> usize {
        usize::try_from(self.spec.options.startup.unwrap_or(10)).unwrap_or(usize::MAX)
    }

    fn forget(&mut self, index: u64) {
        if let Some(old) = self.seen.remove(&index) {
            if let Some(rank) = old.rank
                && let Ok(at) = self.ranked.binary_search_by(|r| r.cmp(&rank))
            {
                self.ranked.remove(at);
            }
            if let Ok(at) = self.indices.binary_search(&index) {
                self.indices.remove(at);
            }
        }
    }

    /// Good trials and the latest of the others, each by index, so that the order of telling is forgotten.
    fn split(&self) -> (Vec<u64>, Vec<u64>) {
        let good = self.ranked.len().div_ceil(10).min(MAX_GOOD);
        let mut below: Vec<u64> = self.ranked.iter().take(good).map(|r| r.index).collect();
        below.sort_unstable();
        let mut above: Vec<u64> = self.indices.iter().rev().copied().filter(|i| below.binary_search(i).is_err()).take(MAX_REST).collect();
        above.reverse();
        (below, above)
    }

    fn mixture(&self, indices: &[u64]) -> Mixture {
        let places = indices.iter().filter_map(|i| self.seen.get(i)).map(|s| Arc::clone(&s.place)).collect();
        Mixture::new(places, &self.scale)
    }

    /// The best of the candidates, all dimensions together; none when no candidate is allowed.
    fn together(&self, below: &Mixture, above: &Mixture, bits: &mut Bits) -> Result<Option<(Params, f64)>, Stuck> {
        let mut best: Option<(Params, f64)> = None;
        let mut units: Units = vec![f64::NAN; self.scale.len()];
        for _ in 0..self.spec.options.candidates.unwrap_or(24) {
            let kernel = below.pick(bits.unit());
            units.fill(f64::NAN);
            let params = self.domain.point(|d| {
                let unit = below.draw(kernel, d, &self.scale, bits);
                if let Some(slot) = units.get_mut(d) {
                    *slot = unit;
                }
                self.scale.value(d, unit)
            })?;
            let score = below.log_density(&units) - above.log_density(&units);
            if best.as_ref().is_none_or(|(_, s)| score > *s) && self.domain.admits(&params)? {
                best = Some((params, score));
            }
        }
        Ok(best)
    }

    /// The best candidate of each dimension by itself.
    fn apart(&self, below: &Mixture, above: &Mixture, bits: &mut Bits) -> Result<Option<(Params, f64)>, Stuck> {
        let mut total = 0.0;
        let params = self.domain.point(|d| {
            let mut units: Units = vec![f64::NAN; self.scale.len()];
            let mut best = (f64::NAN, f64::NEG_INFINITY);
            for _ in 0..self.spec.options.candidates.unwrap_or(24) {
                let unit = below.draw(below.pick(bits.unit()), d, &self.scale, bits);
                if let Some(slot) = units.get_mut(d) {
                    *slot = unit;
                }
                let score = below.log_density(&units) - above.log_density(&units);
                if score > best.1 {
                    best = (unit, score);
                }
            }
            total += best.1;
            self.scale.value(d, best.0)
        })?;
        Ok(self.domain.admits(&params)?.then_some((params, total)))
    }
}

impl Sampler for Tpe {
    fn tell(&mut self, trial: &Trial) {
        self.forget(trial.index);
        let value = trial.value.filter(|v| v.is_finite());
        let rank = match (trial.state, value) {
            (TrialState::Running, _) if self.spec.options.constant_liar.unwrap_or(true) => None,
            (TrialState::Running | TrialState::Failed, _) | (_, None) => return,
            (state, Some(value)) => Some(Rank {
                pruned: state == TrialState::Pruned,
                steps_left_out: if state == TrialState::Pruned { u64::MAX - trial.step.unwrap_or(0) } else { 0 },
                value: if self.spec.goal == Goal::Maximize { -value } else { value },
                index: trial.index,
            }),
        };
        let place = Arc::new(self.scale.place(&trial.params));
        if let Some(rank) = rank {
            let at = self.ranked.partition_point(|r| r.cmp(&rank).is_lt());
            self.ranked.insert(at, rank);
        }
        let at = self.indices.partition_point(|i| *i < trial.index);
        self.indices.insert(at, trial.index);
        self.seen.insert(trial.index, Seen { place, rank });
    }

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        if let Some(point) = usize::try_from(index).ok().and_then(|i| self.spec.points.get(i)) {
            let params = self.domain.random(self.spec.seed, index, point)?;
            return Ok(Suggestion { params, why: "a point of the file, to be tried first".to_owned() });
        }
        if self.ranked.len() < self.startup().max(1) {
            let params = self.domain.random(self.spec.seed, index, &Params::new())?;
            let why = format!("random: {} of the {} results that it takes to learn", self.ranked.len(), self.startup().max(1));
            return Ok(Suggestion { params, why });
        }
        let (good, rest) = self.split();
        let (below, above) = (self.mixture(&good), self.mixture(&rest));
        for again in 0..100 {
            let mut bits = Bits::new(self.spec.seed, index, "tpe", again);
            let found = if self.spec.options.multivariate.unwrap_or(true) {
                self.together(&below, &above, &mut bits)?
            } else {
                self.apart(&below, &above, &mut bits)?
            };
            if let Some((params, score)) = found {
                let known = self.ranked.len();
                let why = format!("like the best {} of {known} results, {:.3} times as likely among them", good.len(), score.exp());
                return Ok(Suggestion { params, why });
            }
        }
        let params = self.domain.random(self.spec.seed, index, &Params::new())?;
        Ok(Suggestion { params, why: "random: no candidate meets the constraints".to_owned() })
    }

    fn describe(&self) -> String {
        self.why.clone()
    }
}

/// Kernels of trials and one of the prior, the last.
struct Mixture {
    places: Vec<Arc<Place>>,
    /// Cumulated weights; the last is 1.
    cumulated: Vec<f64>,
    log_weights: Vec<f64>,
    /// For each kernel and dimension: its width and the logarithm of the factor before the exponential.
    shapes: Vec<Shape>,
    dims: usize,
    choices: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Shape {
    mean: f64,
    sigma: f64,
    /// 1 / (sqrt 2 sigma).
    narrow: f64,
    log_factor: f64,
    /// For choices: logarithm of another value's probability.
    log_miss: f64,
}

/// A dimension that the kernel knows nothing of: the prior.
const PRIOR: Shape = Shape { mean: f64::NAN, sigma: 0.0, narrow: 0.0, log_factor: 0.0, log_miss: 0.0 };

impl Mixture {
    fn new(places: Vec<Arc<Place>>, scale: &Scale) -> Self {
        let (n, dims) = (places.len(), scale.len());
        // Optuna's weights: the latest 25 count fully, older ones less and less.
        let weight = |i: usize| {
            let flat = n.saturating_sub(25);
            if i >= flat || flat < 2 { 1.0 } else { 1.0 / count(n) + (1.0 - 1.0 / count(n)) * count(i) / count(flat - 1) }
        };
        let weights: Vec<f64> = (0..n).map(weight).chain([1.0]).collect();
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let cumulated = weights
            .iter()
            .map(|w| {
                sum += w / total;
                sum
            })
            .collect();
        let log_weights = weights.iter().map(|w| (w / total).ln()).collect();
        let mut shapes = vec![PRIOR; (n + 1) * dims];
        let choices: Vec<usize> = (0..dims).map(|d| scale.choices(d)).collect();
        for (d, &values) in choices.iter().enumerate() {
            let mut known: Vec<(f64, usize)> =
                places.iter().enumerate().filter_map(|(i, p)| p.units.get(d).filter(|u| u.is_finite()).map(|u| (*u, i))).collect();
            known.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (k, (unit, i)) in known.iter().enumerate() {
                let shape = if values > 0 { choice(*unit, values, n) } else { neighbour(&known, k, *unit, scale.cell(d)) };
                if let Some(slot) = shapes.get_mut(i * dims + d) {
                    *slot = shape;
                }
            }
            if values == 0
                && let Some(slot) = shapes.get_mut(n * dims + d)
            {
                *slot = gaussian(0.5, 1.0);
            }
        }
        Self { places, cumulated, log_weights, shapes, dims, choices }
    }

    fn pick(&self, u: f64) -> usize {
        self.cumulated.partition_point(|c| *c <= u).min(self.places.len())
    }

    fn shape(&self, kernel: usize, d: usize) -> Shape {
        self.shapes.get(kernel * self.dims + d).copied().unwrap_or(PRIOR)
    }

    /// Draws one dimension from a kernel, inside the bounds.
    fn draw(&self, kernel: usize, d: usize, scale: &Scale, bits: &mut Bits) -> f64 {
        let (shape, u) = (self.shape(kernel, d), bits.unit());
        if shape.mean.is_nan() {
            return scale.prior(d, u);
        }
        if self.choices.get(d).is_some_and(|c| *c > 0) {
            return if u < shape.log_factor.exp() { shape.mean } else { scale.prior_except(d, shape.mean, bits.unit()) };
        }
        let (low, high) = (phi((0.0 - shape.mean) / shape.sigma), phi((1.0 - shape.mean) / shape.sigma));
        let z = crate::expand::dimension::normal_quantile(low + (high - low) * u);
        scale.snap(d, (shape.mean + shape.sigma * z).clamp(0.0, 1.0))
    }

    /// Logarithm of the density at a place; dimensions that are no number do not exist there.
    fn log_density(&self, units: &Units) -> f64 {
        let active: Vec<(usize, f64, bool)> = units
            .iter()
            .enumerate()
            .filter(|(_, u)| u.is_finite())
            .map(|(d, u)| (d, *u, self.choices.get(d).is_some_and(|c| *c > 0)))
            .collect();
        let logs: Vec<f64> = self
            .log_weights
            .iter()
            .zip(self.shapes.chunks_exact(self.dims.max(1)))
            .map(|(weight, shapes)| {
                active.iter().fold(*weight, |sum, (d, u, is_choice)| match shapes.get(*d) {
                    Some(shape) if shape.mean.is_nan() => sum + if *is_choice { -count(self.choices[*d]).ln() } else { 0.0 },
                    Some(shape) if *is_choice => sum + if (shape.mean - u).abs() < 0.5 { shape.log_factor } else { shape.log_miss },
                    Some(shape) => {
                        let z = (u - shape.mean) * shape.narrow;
                        sum + shape.log_factor - z * z
                    }
                    None => sum,
                })
            })
            .collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of kernels and choices")]
fn count(n: usize) -> f64 {
    n as f64
}

/// A kernel of a choice: the observed value, with one over the number of kernels spread over all values.
fn choice(unit: f64, choices: usize, n: usize) -> Shape {
    let (prior, all) = (1.0 / count(n + 1), count(choices));
    let total = 1.0 + prior * all;
    Shape { mean: unit, sigma: 0.0, narrow: 0.0, log_factor: ((1.0 + prior) / total).ln(), log_miss: (prior / total).ln() }
}

/// A kernel as wide as the way to its farther neighbour, clipped (magic clip).
fn neighbour(known: &[(f64, usize)], k: usize, unit: f64, cell: f64) -> Shape {
    let n = known.len();
    let left = k.checked_sub(1).and_then(|i| known.get(i)).map(|l| unit - l.0);
    let right = known.get(k + 1).map(|r| r.0 - unit);
    // The bounds are no neighbours, unless there is no other.
    let sigma = match (left, right) {
        (Some(l), Some(r)) => l.max(r),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => unit.max(1.0 - unit),
    };
    let least = (1.0 / (2.0 + count(n)).min(100.0)).max(cell / 2.0);
    gaussian(unit, sigma.clamp(least.min(1.0), 1.0))
}

fn gaussian(mean: f64, sigma: f64) -> Shape {
    let inside = (phi((1.0 - mean) / sigma) - phi((0.0 - mean) / sigma)).max(1e-12);
    let log_factor = -(sigma * inside).ln() - 0.918_938_533_204_672_7;
    Shape { mean, sigma, narrow: std::f64::consts::FRAC_1_SQRT_2 / sigma, log_factor, log_miss: 0.0 }
}

/// The standard normal distribution function: Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8.
fn phi(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = 0.398_942_280_401_432_7 * (-0.5 * x * x).exp() * poly;
    if x >= 0.0 { 1.0 - tail } else { tail }
}
