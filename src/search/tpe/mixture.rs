//! Densities of the estimator: one kernel for each trial and one of the prior.
//!
//! In: places of trials. Out: draws and logarithms of densities, over the dimensions of one block. Must never leave the bounds.

use std::sync::Arc;

use crate::expand::dimension::{Bits, normal_quantile};
use crate::search::scale::{Scale, Units};

/// Kernels of trials and one of the prior, the last.
pub struct Mixture {
    units: Vec<Arc<Units>>,
    /// Logarithms of what the trials cost.
    costs: Vec<Option<f64>>,
    /// Cumulated weights; the last is 1.
    cumulated: Vec<f64>,
    log_weights: Vec<f64>,
    /// For each kernel and dimension of the block: its width and the logarithm of the factor before the exponential.
    shapes: Vec<Shape>,
    /// The block, and for each of its dimensions the number of unordered values (0 for others).
    dims: Vec<(usize, usize)>,
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
    /// Kernels over the dimensions of a block, from places in the order of their trials.
    pub fn new(units: Vec<Arc<Units>>, costs: Vec<Option<f64>>, block: &[usize], scale: &Scale) -> Self {
        let n = units.len();
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
        let dims: Vec<(usize, usize)> = block.iter().map(|d| (*d, scale.choices(*d))).collect();
        let mut shapes = vec![PRIOR; (n + 1) * dims.len()];
        let mut known: Vec<(f64, usize)> = Vec::with_capacity(n);
        for (k, &(d, values)) in dims.iter().enumerate() {
            known.clear();
            known.extend(units.iter().enumerate().filter_map(|(i, u)| u.get(d).filter(|u| u.is_finite()).map(|u| (*u, i))));
            known.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (at, (unit, i)) in known.iter().enumerate() {
                shapes[i * dims.len() + k] =
                    if values > 0 { choice(*unit, values, n) } else { neighbour(&known, at, *unit, scale.cell(d)) };
            }
            if values == 0 {
                shapes[n * dims.len() + k] = gaussian(0.5, 1.0);
            }
        }
        Self { units, costs, cumulated, log_weights, shapes, dims }
    }

    /// A kernel, as often as its weight says.
    pub fn pick(&self, u: f64) -> usize {
        self.cumulated.partition_point(|c| *c <= u).min(self.units.len())
    }

    /// Draws one dimension of the block from a kernel, inside the bounds.
    pub fn draw(&self, kernel: usize, d: usize, scale: &Scale, bits: &mut Bits) -> f64 {
        let found = self.dims.iter().position(|(b, _)| *b == d);
        let shape = found.and_then(|k| self.shapes.get(kernel * self.dims.len() + k)).copied().unwrap_or(PRIOR);
        let u = bits.unit();
        if shape.mean.is_nan() {
            return scale.prior(d, u);
        }
        if scale.choices(d) > 0 {
            return if u < shape.log_factor.exp() { shape.mean } else { scale.prior_except(d, shape.mean, bits.unit()) };
        }
        let (low, high) = (phi((0.0 - shape.mean) / shape.sigma), phi((1.0 - shape.mean) / shape.sigma));
        let z = normal_quantile(low + (high - low) * u);
        scale.snap(d, (shape.mean + shape.sigma * z).clamp(0.0, 1.0))
    }

    /// Logarithms of each kernel's share of the density at a place; dimensions that are no number do not exist there. Gives the largest.
    fn fill(&self, units: &Units, logs: &mut Vec<f64>) -> f64 {
        logs.clear();
        logs.extend_from_slice(&self.log_weights);
        let wide = self.dims.len().max(1);
        for (k, &(d, values)) in self.dims.iter().enumerate() {
            let Some(&u) = units.get(d).filter(|u| u.is_finite()) else { continue };
            let unknown = if values > 0 { -count(values).ln() } else { 0.0 };
            for (log, shape) in logs.iter_mut().zip(self.shapes.iter().skip(k).step_by(wide)) {
                *log += if shape.mean.is_nan() {
                    unknown
                } else if values > 0 {
                    if (shape.mean - u).abs() < 0.5 { shape.log_factor } else { shape.log_miss }
                } else {
                    let z = (u - shape.mean) * shape.narrow;
                    shape.log_factor - z * z
                };
            }
        }
        logs.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Logarithm of the density at a place. `logs` is room to work in.
    pub fn log_density(&self, units: &Units, logs: &mut Vec<f64>) -> f64 {
        let top = self.fill(units, logs);
        top + logs.iter().map(|l| l - top).filter(|l| *l > -40.0).map(f64::exp).sum::<f64>().ln()
    }

    /// The same, and the mean logarithm of costs that trials near the place had; `usual` counts where nothing is known.
    pub fn with_cost(&self, units: &Units, logs: &mut Vec<f64>, usual: f64) -> (f64, f64) {
        let top = self.fill(units, logs);
        let (mut sum, mut cost) = (0.0, 0.0);
        for (i, log) in logs.iter().enumerate() {
            let weight = (log - top).exp();
            sum += weight;
            cost += weight * self.costs.get(i).copied().flatten().unwrap_or(usual);
        }
        (top + sum.ln(), cost / sum)
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

/// The standard normal distribution function: Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8. Fast, and as good as widths of
/// kernels need it.
fn phi(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = 0.398_942_280_401_432_7 * (-0.5 * x * x).exp() * poly;
    if x >= 0.0 { 1.0 - tail } else { tail }
}
