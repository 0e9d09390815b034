//! The Gaussian process itself: a Matern 5/2 kernel with a length for each dimension, its hyperparameters at their most likely, and
//! what it predicts with gradients.
//!
//! In: places on the unit scale with values of mean 0 and variance 1. Out: mean and variance anywhere. Must never fail: noise is
//! added until the matrix can be factored.

use crate::search::linear::{Square, dot, minimize};

const SQRT5: f64 = 2.236_067_977_499_79;

/// Which axes the kernel sees, and how.
#[derive(Debug, Clone)]
pub struct Axes {
    /// For each dimension of the space: true when its values are unordered.
    pub choice: Vec<bool>,
    /// Dimensions of the space that vary.
    pub dims: Vec<usize>,
}

impl Axes {
    /// The squared difference of two coordinates. One that does not exist is as far from all that do as the ends of a range.
    fn gap(&self, d: usize, a: f64, b: f64) -> f64 {
        match (a.is_nan(), b.is_nan()) {
            (true, true) => 0.0,
            (true, false) | (false, true) => 1.0,
            _ if self.choice[d] => f64::from((a - b).abs() > 0.5),
            _ => (a - b) * (a - b),
        }
    }
}

/// Hyperparameters, in logarithms.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyper {
    /// Inverse squared length of each axis.
    weights: Vec<f64>,
    /// Variance of the function.
    signal: f64,
    /// Variance of the noise.
    noise: f64,
}

/// Least variance of the noise.
const LEAST_NOISE: f64 = 1e-6;

impl Hyper {
    fn from(theta: &[f64]) -> Self {
        let n = theta.len() - 2;
        Self { weights: theta[..n].iter().map(|t| t.exp()).collect(), signal: theta[n].exp(), noise: theta[n + 1].exp() + LEAST_NOISE }
    }

    /// The most likely hyperparameters under priors like those of Hvarfner, Hellsten and Nardi (2024): lengths grow with the root of the
    /// number of dimensions. Ours are shorter by a factor e, and noise is expected to be small: measured in `benches/search`.
    #[expect(clippy::cast_precision_loss, reason = "a count of dimensions")]
    pub fn fit(axes: &Axes, places: &[Vec<f64>], values: &[f64]) -> Self {
        let d = axes.dims.len();
        let length = std::f64::consts::SQRT_2 - 1.0 + 0.5 * (d as f64).max(1.0).ln();
        let gaps = gaps(axes, places);
        let mut best: Option<(Vec<f64>, f64)> = None;
        for first in [length, length - 2.0] {
            let mut start = vec![-2.0 * first; d];
            start.extend([0.0, -6.0]);
            let found = minimize(|theta, grad| loss(theta, grad, length, &gaps, values), &start, (-14.0, 14.0), 25);
            if best.as_ref().is_none_or(|b| found.1 < b.1) {
                best = Some(found);
            }
        }
        best.map_or_else(|| Self::from(&[0.0, -6.0]), |(theta, _)| Self::from(&theta))
    }
}

/// Squared differences of all pairs, `i > j`, row by row; one run of axes a pair.
fn gaps(axes: &Axes, places: &[Vec<f64>]) -> Vec<f64> {
    let mut out = Vec::with_capacity(places.len() * places.len() / 2 * axes.dims.len());
    for (i, a) in places.iter().enumerate() {
        for b in &places[..i] {
            out.extend(axes.dims.iter().map(|&d| axes.gap(d, a[d], b[d])));
        }
    }
    out
}

/// Correlation at a squared distance, and its derivative by that.
fn matern(r2: f64) -> (f64, f64) {
    let r = SQRT5 * r2.sqrt();
    let e = (-r).exp();
    ((1.0 + r + r * r / 3.0) * e, -5.0 / 6.0 * (1.0 + r) * e)
}

/// The negative logarithm of the posterior of hyperparameters, and its gradient.
fn loss(theta: &[f64], grad: &mut [f64], length: f64, gaps: &[f64], values: &[f64]) -> f64 {
    let (n, d, h) = (values.len(), theta.len() - 2, Hyper::from(theta));
    let (mut k, mut slopes) = (Square::zero(n), Vec::with_capacity(n * n / 2));
    let mut rest = gaps;
    for i in 0..n {
        for j in 0..i {
            let (gap, tail) = rest.split_at(d);
            rest = tail;
            let (c, slope) = matern(dot(&h.weights, gap));
            k.set(i, j, h.signal * c);
            slopes.push(h.signal * slope);
        }
        k.set(i, i, h.signal + h.noise);
    }
    let Some(factor) = k.cholesky() else { return f64::INFINITY };
    let inverse = factor.inverse_of_factor();
    let alpha = inverse.times(values);
    let log_det: f64 = (0..n).map(|i| factor.at(i, i).ln()).sum();
    let mut total = 0.5 * dot(values, &alpha) + log_det;
    grad.fill(0.0);
    let (mut pair, mut rest) = (slopes.iter(), gaps);
    let (mut by_signal, mut by_noise) = (0.0, 0.0);
    for i in 0..n {
        let (row, ai) = (inverse.row(i), alpha[i]);
        for j in 0..i {
            // Both halves of the symmetric matrix.
            let weight = row[j] - ai * alpha[j];
            let (gap, tail) = rest.split_at(d);
            rest = tail;
            let by_distance = weight * pair.next().copied().unwrap_or(0.0);
            grad[..d].iter_mut().zip(gap).for_each(|(g, gap)| *g += by_distance * gap);
            by_signal += weight * k.at(i, j);
        }
        let weight = row[i] - ai * ai;
        by_signal += 0.5 * weight * h.signal;
        by_noise += 0.5 * weight * (h.noise - LEAST_NOISE);
    }
    grad[..d].iter_mut().zip(&h.weights).for_each(|(g, w)| *g *= w);
    grad[d] = by_signal;
    grad[d + 1] = by_noise;
    // Lengths are log-normal with the deviation sqrt 3; signal and noise are, too.
    let mut prior = |at: usize, mean: f64, variance: f64| {
        total += (theta[at] - mean).powi(2) / (2.0 * variance);
        grad[at] += (theta[at] - mean) / variance;
    };
    (0..d).for_each(|i| prior(i, -2.0 * length, 12.0));
    prior(d, 0.0, 1.0);
    prior(d + 1, -8.0, 2.0);
    total
}

/// A process that has seen places.
pub struct Model {
    axes: Axes,
    hyper: Hyper,
    places: Vec<Vec<f64>>,
    inverse: Square,
    alpha: Vec<f64>,
}

/// What is expected at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    /// Of the function.
    pub mean: f64,
    /// Of the function, without noise.
    pub variance: f64,
}

impl Model {
    /// Conditions the process on what was seen.
    pub fn new(axes: Axes, hyper: Hyper, places: Vec<Vec<f64>>, values: &[f64]) -> Self {
        let n = places.len();
        let mut k = Square::zero(n);
        for i in 0..n {
            for j in 0..i {
                let r2 = distance(&axes, &hyper, &places[i], &places[j]);
                k.set(i, j, hyper.signal * matern(r2).0);
            }
        }
        let mut noise = hyper.noise;
        let factor = loop {
            (0..n).for_each(|i| k.set(i, i, hyper.signal + noise));
            match k.cholesky() {
                Some(factor) => break factor,
                // Beyond this the matrix is diagonal in all but name, and can be factored.
                None if noise > 1e6 => break Square::unit(n),
                None => noise = noise * 10.0 + LEAST_NOISE,
            }
        };
        let inverse = factor.inverse_of_factor();
        let alpha = inverse.times(values);
        Self { axes, hyper, places, inverse, alpha }
    }

    /// Mean and variance at a place.
    pub fn at(&self, x: &[f64]) -> Guess {
        let k: Vec<f64> = self.places.iter().map(|p| self.hyper.signal * matern(distance(&self.axes, &self.hyper, x, p)).0).collect();
        self.guess(&k, &self.inverse.times(&k))
    }

    fn guess(&self, k: &[f64], v: &[f64]) -> Guess {
        Guess { mean: dot(k, &self.alpha), variance: (self.hyper.signal - dot(k, v)).max(1e-12) }
    }

    /// The same, with the gradients of mean and variance along the free dimensions.
    pub fn slope(&self, x: &[f64], free: &[usize]) -> (Guess, Vec<f64>, Vec<f64>) {
        let (mut k, mut dk) = (Vec::with_capacity(self.places.len()), Vec::with_capacity(self.places.len()));
        for p in &self.places {
            let (c, slope) = matern(distance(&self.axes, &self.hyper, x, p));
            k.push(self.hyper.signal * c);
            dk.push(self.hyper.signal * slope);
        }
        let v = self.inverse.times(&k);
        let (mut dm, mut dv) = (vec![0.0; free.len()], vec![0.0; free.len()]);
        for (at, &d) in free.iter().enumerate() {
            let weight = self.axes.dims.iter().position(|a| *a == d).map_or(0.0, |i| self.hyper.weights[i]);
            for (i, p) in self.places.iter().enumerate().filter(|(_, p)| !p[d].is_nan()) {
                let change = dk[i] * 2.0 * weight * (x[d] - p[d]);
                dm[at] += change * self.alpha[i];
                dv[at] -= 2.0 * change * v[i];
            }
        }
        (self.guess(&k, &v), dm, dv)
    }
}

fn distance(axes: &Axes, hyper: &Hyper, a: &[f64], b: &[f64]) -> f64 {
    axes.dims.iter().zip(&hyper.weights).map(|(&d, w)| w * axes.gap(d, a[d], b[d])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Axes, Vec<Vec<f64>>, Vec<f64>) {
        let axes = Axes { choice: vec![false, true, false], dims: vec![0, 1, 2] };
        let places: Vec<Vec<f64>> = (0..12)
            .map(|i| vec![f64::from(i * 5 % 12) / 12.0, f64::from(i % 3), if i % 4 == 0 { f64::NAN } else { f64::from(i * 7 % 12) / 12.0 }])
            .collect();
        let values = places.iter().map(|p| (4.0 * p[0]).sin() + 0.3 * p[1] - 0.4).collect();
        (axes, places, values)
    }

    #[test]
    fn gradients_are_those_of_the_function() {
        let (axes, places, values) = sample();
        let gaps = gaps(&axes, &places);
        let theta = [0.3, -1.0, 0.5, 0.1, -4.0];
        let mut grad = vec![0.0; 5];
        loss(&theta, &mut grad, 1.0, &gaps, &values);
        for i in 0..5 {
            let at = |by: f64| {
                let mut moved = theta;
                moved[i] += by;
                loss(&moved, &mut [0.0; 5], 1.0, &gaps, &values)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - grad[i]).abs() < 1e-5 * slope.abs().max(1.0), "{i}: {slope} {}", grad[i]);
        }
        let model = Model::new(axes, Hyper::from(&theta), places, &values);
        let x = [0.41, 1.0, 0.2];
        let (_, dm, dv) = model.slope(&x, &[0, 2]);
        for (k, d) in [0, 2].into_iter().enumerate() {
            let at = |by: f64| {
                let mut moved = x;
                moved[d] += by;
                model.at(&moved)
            };
            let (up, down) = (at(1e-5), at(-1e-5));
            assert!(((up.mean - down.mean) / 2e-5 - dm[k]).abs() < 1e-6);
            assert!(((up.variance - down.variance) / 2e-5 - dv[k]).abs() < 1e-6);
        }
    }

    #[test]
    fn what_was_seen_is_expected_again() {
        let (axes, places, values) = sample();
        let hyper = Hyper::fit(&axes, &places, &values);
        let model = Model::new(axes, hyper, places.clone(), &values);
        for (p, y) in places.iter().zip(&values) {
            let guess = model.at(p);
            assert!((guess.mean - y).abs() < 0.1 && guess.variance < 0.05, "{guess:?} {y}");
        }
    }
}
