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
    /// The logarithms of the weights with the factors before the exponentials of all numbers of the block.
    log_starts: Vec<f64>,
    axes: Vec<Axis>,
}

/// One dimension of the block: what each kernel is along it, a column a property, so that a candidate is weighed along whole columns.
struct Axis {
    d: usize,
    /// Unordered values, 0 for numbers.
    values: usize,
    means: Vec<f64>,
    /// Widths; 0 for a choice, and where the kernel's trial does not have the dimension: then it is the prior.
    sigmas: Vec<f64>,
    /// 1 / (sqrt 2 sigma).
    narrows: Vec<f64>,
    /// What the exponential is divided by.
    divisors: Vec<f64>,
    /// For choices, and where dimensions may be missing: logarithm of the observed value's probability, or of the factor before the exponential.
    log_factors: Vec<f64>,
    /// For choices: logarithm of another value's probability.
    log_misses: Vec<f64>,
}

#[derive(Clone, Copy)]
struct Shape {
    mean: f64,
    sigma: f64,
    /// What the exponential is divided by; 1 for choices.
    divisor: f64,
    log_factor: f64,
    log_miss: f64,
}

impl Axis {
    fn new(d: usize, values: usize, kernels: usize) -> Self {
        let unknown = if values > 0 { -count(values).ln() } else { 0.0 };
        let mean = if values > 0 { f64::NAN } else { 0.0 };
        let log_misses = if values > 0 { vec![unknown; kernels] } else { Vec::new() };
        Self {
            d,
            values,
            means: vec![mean; kernels],
            sigmas: vec![0.0; kernels],
            narrows: vec![0.0; kernels],
            divisors: vec![1.0; kernels],
            log_factors: vec![unknown; kernels],
            log_misses,
        }
    }

    fn set(&mut self, kernel: usize, shape: Shape) {
        let cells = [
            (&mut self.means, shape.mean),
            (&mut self.sigmas, shape.sigma),
            (&mut self.narrows, if shape.sigma > 0.0 { std::f64::consts::FRAC_1_SQRT_2 / shape.sigma } else { 0.0 }),
            (&mut self.divisors, shape.divisor),
            (&mut self.log_factors, shape.log_factor),
            (&mut self.log_misses, shape.log_miss),
        ];
        for (column, value) in cells {
            if let Some(cell) = column.get_mut(kernel) {
                *cell = value;
            }
        }
    }
}

impl Mixture {
    /// Kernels over the dimensions of a block, from places in the order of their trials.
    /// `whole`: places have all of them.
    pub fn new(units: Vec<Arc<Units>>, costs: Vec<Option<f64>>, block: &[usize], scale: &Scale, whole: bool) -> Self {
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
        let log_weights: Vec<f64> = weights.iter().map(|w| (w / total).ln()).collect();
        let mut log_starts = log_weights.clone();
        // The logarithm of a product costs as much as that of one factor.
        let mut products = vec![1.0; n + 1];
        let mut take_in = |products: &mut Vec<f64>| {
            log_starts.iter_mut().zip(products).for_each(|(log, product)| *log -= std::mem::replace(product, 1.0).ln());
        };
        let (mut keys, mut known): (Vec<u64>, Vec<(f64, usize)>) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let mut axes = Vec::with_capacity(block.len());
        for (number, &d) in block.iter().enumerate() {
            let mut axis = Axis::new(d, scale.choices(d), n + 1);
            known.clear();
            known.extend(units.iter().enumerate().filter_map(|(i, u)| u.get(d).filter(|u| u.is_finite()).map(|u| (*u, i))));
            if axis.values > 0 {
                let shape = choice(axis.values, n);
                known.iter().for_each(|(unit, i)| axis.set(*i, Shape { mean: *unit, ..shape }));
            } else {
                sort(&mut keys, &mut known);
                for (at, (unit, i)) in known.iter().enumerate() {
                    axis.set(*i, neighbour(&known, at, *unit, scale.cell(d)));
                }
                axis.set(n, gaussian(0.5, 1.0));
                products.iter_mut().zip(&axis.divisors).for_each(|(product, divisor)| *product *= divisor);
                if !whole {
                    axis.log_factors.iter_mut().zip(&axis.divisors).for_each(|(log, divisor)| *log = -divisor.ln());
                }
            }
            axes.push(axis);
            if number % 8 == 7 || number + 1 == block.len() {
                take_in(&mut products);
            }
        }
        Self { units, costs, cumulated, log_weights, log_starts, axes }
    }

    /// A kernel, as often as its weight says.
    pub fn pick(&self, u: f64) -> usize {
        self.cumulated.partition_point(|c| *c <= u).min(self.units.len())
    }

    /// Draws one dimension of the block from a kernel, inside the bounds.
    pub fn draw(&self, kernel: usize, d: usize, scale: &Scale, bits: &mut Bits) -> f64 {
        let axis = self.axes.iter().find(|axis| axis.d == d);
        let u = bits.unit();
        let Some((axis, mean)) = axis.and_then(|a| Some((a, *a.means.get(kernel)?))) else { return scale.prior(d, u) };
        let (sigma, log_factor) = (axis.sigmas.get(kernel).copied().unwrap_or(0.0), axis.log_factors.get(kernel).copied().unwrap_or(0.0));
        if axis.values > 0 && mean.is_finite() {
            return if u < log_factor.exp() { mean } else { scale.prior_except(d, mean, bits.unit()) };
        }
        if sigma == 0.0 {
            return scale.prior(d, u);
        }
        let (low, high) = (phi((0.0 - mean) / sigma), phi((1.0 - mean) / sigma));
        let z = normal_quantile(low + (high - low) * u);
        scale.snap(d, (mean + sigma * z).clamp(0.0, 1.0))
    }

    /// Logarithms of each kernel's share of the density at a place; dimensions that are no number do not exist there. Gives the largest.
    fn fill(&self, units: &Units, logs: &mut Vec<f64>) -> f64 {
        logs.clear();
        let place = |axis: &Axis| units.get(axis.d).copied().filter(|u| u.is_finite());
        let whole = self.axes.iter().all(|axis| place(axis).is_some());
        logs.extend_from_slice(if whole { &self.log_starts } else { &self.log_weights });
        for axis in &self.axes {
            let Some(u) = place(axis) else { continue };
            if axis.values > 0 {
                for (((log, mean), hit), miss) in logs.iter_mut().zip(&axis.means).zip(&axis.log_factors).zip(&axis.log_misses) {
                    *log += if (mean - u).abs() < 0.5 { hit } else { miss };
                }
                continue;
            }
            if !whole {
                logs.iter_mut().zip(&axis.log_factors).for_each(|(log, factor)| *log += factor);
            }
            for ((log, mean), narrow) in logs.iter_mut().zip(&axis.means).zip(&axis.narrows) {
                let z = (u - mean) * narrow;
                *log -= z * z;
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

/// Sorts coordinates, equal ones by number. Those that are known are few and not below 0, so that their bits are in their order and the last byte
/// has room for the place: one number each is sorted in half the time.
fn sort(keys: &mut Vec<u64>, known: &mut Vec<(f64, usize)>) {
    keys.clear();
    keys.extend((0..=u64::from(u8::MAX)).zip(known.iter()).map(|(place, (unit, _))| (unit.abs().to_bits() & !0xff) | place));
    if keys.len() < known.len() {
        return known.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
    keys.sort_unstable();
    let sorted = keys.iter().filter_map(|key| known.get(usize::from(key.to_le_bytes()[0])).copied()).collect();
    *known = sorted;
}

#[expect(clippy::cast_precision_loss, reason = "counts of kernels and choices")]
fn count(n: usize) -> f64 {
    n as f64
}

/// A kernel of a choice: the observed value, with one over the number of kernels spread over all values.
fn choice(choices: usize, n: usize) -> Shape {
    let (prior, all) = (1.0 / count(n + 1), count(choices));
    let total = 1.0 + prior * all;
    Shape { mean: f64::NAN, sigma: 0.0, divisor: 1.0, log_factor: ((1.0 + prior) / total).ln(), log_miss: (prior / total).ln() }
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
    Shape { mean, sigma, divisor: sigma * inside * ROOT_TWO_PI, log_factor: 0.0, log_miss: 0.0 }
}

/// The square root of 2 pi.
const ROOT_TWO_PI: f64 = 2.506_628_274_631_000_2;

/// The standard normal distribution function: Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8. Fast, and as good as widths of
/// kernels need it.
fn phi(x: f64) -> f64 {
    if x.abs() > 5.3 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = 0.398_942_280_401_432_7 * (-0.5 * x * x).exp() * poly;
    if x >= 0.0 { 1.0 - tail } else { tail }
}
