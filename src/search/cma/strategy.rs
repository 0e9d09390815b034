//! One run of CMA-ES as Hansen's tutorial (arXiv 1604.00772, 2016) has it, with active updates, and with the margin of Hamano et al.
//! (2022) so that whole numbers do not get stuck.
//!
//! In: points of a generation, best first. Out: the distribution of the next. Must never draw randomness itself.

use super::raster::Raster;
use crate::search::linear::{Square, dot};

/// Weights and rates, which follow from dimension and population.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Points of a generation.
    pub population: usize,
    weights: Vec<f64>,
    mu_eff: f64,
    c_sigma: f64,
    d_sigma: f64,
    c_c: f64,
    c_1: f64,
    c_mu: f64,
    chi: f64,
}

impl Rates {
    /// The defaults of table 1 of the tutorial.
    pub fn new(dim: usize, population: usize) -> Self {
        let (n, lambda) = (count(dim.max(1)), count(population));
        let raw: Vec<f64> = (1..=population).map(|i| f64::midpoint(lambda, 1.0).ln() - count(i).ln()).collect();
        let mu = population / 2;
        let eff = |w: &[f64]| w.iter().sum::<f64>().powi(2) / w.iter().map(|w| w * w).sum::<f64>().max(1e-300);
        let (mu_eff, mu_eff_minus) = (eff(&raw[..mu]), eff(&raw[mu..]));
        let c_1 = 2.0 / ((n + 1.3).powi(2) + mu_eff);
        let c_mu = (1.0 - c_1 - 1e-8).min(2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((n + 2.0).powi(2) + mu_eff));
        let least = (1.0 + c_1 / c_mu).min(1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0)).min((1.0 - c_1 - c_mu) / (n * c_mu));
        let plus: f64 = raw.iter().filter(|w| **w >= 0.0).sum();
        let minus: f64 = -raw.iter().filter(|w| **w < 0.0).sum::<f64>();
        let weights = raw.iter().map(|w| if *w >= 0.0 { w / plus } else { least / minus * w }).collect();
        let c_sigma = (mu_eff + 2.0) / (n + mu_eff + 5.0);
        let d_sigma = 1.0 + 2.0 * (((mu_eff - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n);
        let chi = n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n));
        Self { population, weights, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi }
    }
}

/// The distribution of a generation: normal, with this mean and the covariance `sigma^2 C`.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// Its rates.
    pub rates: Rates,
    /// Mean.
    pub mean: Vec<f64>,
    /// Overall deviation.
    pub sigma: f64,
    /// Deviations along the axes, beyond `C`: 1 but where a raster needs a margin.
    stretch: Vec<f64>,
    /// The values of each axis.
    rasters: Vec<Raster>,
    covariance: Square,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    /// Square roots of eigenvalues, and eigenvectors.
    roots: Vec<f64>,
    vectors: Square,
    generation: u32,
    first_sigma: f64,
    /// Best values of the last generations.
    bests: Vec<f64>,
}

impl Strategy {
    /// The first distribution of a run.
    pub fn new(rates: Rates, mean: Vec<f64>, sigma: f64, rasters: Vec<Raster>) -> Self {
        let n = mean.len();
        Self {
            rates,
            sigma,
            stretch: vec![1.0; n],
            rasters,
            covariance: Square::unit(n),
            path_sigma: vec![0.0; n],
            path_c: vec![0.0; n],
            roots: vec![1.0; n],
            vectors: Square::unit(n),
            generation: 0,
            first_sigma: sigma,
            bests: Vec::new(),
            mean,
        }
    }

    /// The point at normal coordinates.
    pub fn at(&self, z: &[f64]) -> Vec<f64> {
        let scaled: Vec<f64> = z.iter().zip(&self.roots).map(|(z, r)| z * r).collect();
        let y = self.vectors.times(&scaled);
        (0..y.len()).map(|i| self.mean[i] + self.sigma * self.stretch[i] * y[i]).collect()
    }

    /// `C^(-1/2) y`.
    fn whiten(&self, y: &[f64]) -> Vec<f64> {
        let n = y.len();
        let turned: Vec<f64> = (0..n).map(|k| (0..n).map(|i| self.vectors.at(i, k) * y[i]).sum::<f64>() / self.roots[k]).collect();
        self.vectors.times(&turned)
    }

    /// Learns from a generation: points, best first, with the best value. Points that this distribution would hardly have drawn are
    /// drawn in (injection, Hansen 2011), since parallel trials come from older ones.
    pub fn update(&mut self, points: &[Vec<f64>], best: f64) {
        let (n, r) = (self.mean.len(), self.rates.clone());
        let limit = count(n).sqrt() + 2.0 * count(n) / (count(n) + 2.0);
        let mut steps: Vec<(Vec<f64>, f64)> = Vec::with_capacity(points.len());
        for point in points {
            let mut y: Vec<f64> = (0..n).map(|i| (point[i] - self.mean[i]) / (self.sigma * self.stretch[i])).collect();
            let white = self.whiten(&y);
            let length = dot(&white, &white).sqrt();
            let shrink = if length > limit * 1.5 { limit * 1.5 / length } else { 1.0 };
            y.iter_mut().for_each(|y| *y *= shrink);
            steps.push((y, length * shrink));
        }
        let mut move_y = vec![0.0; n];
        for ((y, _), w) in steps.iter().zip(&r.weights).filter(|(_, w)| **w > 0.0) {
            move_y.iter_mut().zip(y).for_each(|(m, y)| *m += w * y);
        }
        (0..n).for_each(|i| self.mean[i] = (self.mean[i] + self.sigma * self.stretch[i] * move_y[i]).clamp(0.0, 1.0));
        let white = self.whiten(&move_y);
        let gain = (r.c_sigma * (2.0 - r.c_sigma) * r.mu_eff).sqrt();
        self.path_sigma.iter_mut().zip(&white).for_each(|(p, w)| *p = (1.0 - r.c_sigma) * *p + gain * w);
        let length = dot(&self.path_sigma, &self.path_sigma).sqrt();
        self.generation += 1;
        let forgotten = (1.0 - (1.0 - r.c_sigma).powi(2 * i32::try_from(self.generation).unwrap_or(i32::MAX))).sqrt();
        let stalled = if length / forgotten < (1.4 + 2.0 / (count(n) + 1.0)) * r.chi { 1.0 } else { 0.0 };
        let gain = stalled * (r.c_c * (2.0 - r.c_c) * r.mu_eff).sqrt();
        self.path_c.iter_mut().zip(&move_y).for_each(|(p, y)| *p = (1.0 - r.c_c) * *p + gain * y);
        self.learn_shape(&steps, stalled);
        self.sigma = (self.sigma * ((r.c_sigma / r.d_sigma) * (length / r.chi - 1.0)).min(1.0).exp()).clamp(1e-12, 1e3);
        self.bests.push(best);
        self.keep_margin();
    }

    fn learn_shape(&mut self, steps: &[(Vec<f64>, f64)], stalled: f64) {
        let (n, r) = (self.mean.len(), &self.rates);
        let missing = (1.0 - stalled) * r.c_c * (2.0 - r.c_c);
        let keep = 1.0 + r.c_1 * missing - r.c_1 - r.c_mu * r.weights.iter().sum::<f64>();
        let weights: Vec<f64> = steps
            .iter()
            .zip(&r.weights)
            .map(|((_, length), w)| if *w >= 0.0 { *w } else { w * count(n) / (length * length).max(1e-12) })
            .collect();
        for i in 0..n {
            for j in 0..=i {
                let ranks: f64 = steps.iter().zip(&weights).map(|((y, _), w)| w * y[i] * y[j]).sum();
                let cell = keep * self.covariance.at(i, j) + r.c_1 * self.path_c[i] * self.path_c[j] + r.c_mu * ranks;
                self.covariance.set(i, j, cell);
                self.covariance.set(j, i, cell);
            }
        }
        let (values, vectors) = self.covariance.eigen();
        let most = values.iter().copied().fold(1e-300, f64::max);
        self.roots = values.iter().map(|v| v.max(1e-14 * most).sqrt()).collect();
        self.vectors = vectors;
    }

    /// Gives every axis on a raster a chance of at least `1/(population n)` to leave the value that its mean stands at.
    fn keep_margin(&mut self) {
        let n = self.mean.len();
        let alpha = 1.0 / (count(n.max(1)) * count(self.rates.population));
        let reach = -crate::expand::dimension::normal_quantile(alpha / 2.0);
        for d in 0..n {
            let Some((low, high)) = self.rasters[d].stretch(self.mean[d]) else { continue };
            let deviation = self.sigma * self.stretch[d] * self.covariance.at(d, d).max(0.0).sqrt();
            // The nearer of the borders to another value; at the ends there is one.
            let border = if low <= 0.0 {
                high
            } else if high >= 1.0 || self.mean[d] - low < high - self.mean[d] {
                low
            } else {
                high
            };
            let away = (self.mean[d] - border).abs();
            if away <= reach * deviation {
                continue;
            }
            // Both move half the way: the mean to the border, the deviation outwards.
            let wanted = (away / reach).min((high - low) / 2.0);
            self.stretch[d] *= (wanted / deviation.max(1e-300)).clamp(1.0, 1e6);
            let deviation = deviation.max(wanted);
            let closest = reach * deviation;
            if away > closest {
                self.mean[d] = border + (self.mean[d] - border).signum() * closest;
            }
        }
    }

    /// True when nothing more is to be expected of this run.
    pub fn is_over(&self) -> bool {
        let wide = (0..self.mean.len()).map(|d| self.sigma * self.stretch[d] * self.covariance.at(d, d).max(0.0).sqrt());
        let widest = wide.fold(0.0, f64::max);
        let span = 10 + (30.0 * count(self.mean.len()) / count(self.rates.population)).ceil() as usize;
        let recent = &self.bests[self.bests.len().saturating_sub(span)..];
        let (low, high) = recent.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), b| (l.min(*b), h.max(*b)));
        let flat = self.bests.len() >= span && high - low <= 1e-12 * low.abs().max(1e-300);
        let (least, most) = self.roots.iter().fold((f64::INFINITY, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
        widest < 1e-11 * self.first_sigma.max(1e-3) || most > 1e7 * least || flat
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of dimensions and points")]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expand::dimension::{Bits, normal_quantile};

    #[test]
    fn a_tilted_valley_is_descended() {
        let f = |x: &[f64]| (x[0] - 0.3).powi(2) + 1e4 * (x[0] + x[1] - 0.9).powi(2) + (x[2] - 0.7).powi(2);
        let mut strategy = Strategy::new(Rates::new(3, 8), vec![0.5; 3], 0.2, vec![Raster::Continuous; 3]);
        let mut bits = Bits::new(1, 0, "test", 0);
        for _ in 0..120 {
            let mut points: Vec<Vec<f64>> =
                (0..8).map(|_| strategy.at(&(0..3).map(|_| normal_quantile(bits.unit())).collect::<Vec<_>>())).collect();
            points.sort_by(|a, b| f(a).total_cmp(&f(b)));
            let best = f(&points[0]);
            strategy.update(&points, best);
        }
        assert!(f(&strategy.mean) < 1e-8, "{:?}", strategy.mean);
    }

    #[test]
    fn the_rates_are_those_of_the_tutorial() {
        let rates = Rates::new(10, 10);
        assert!((rates.weights[..5].iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((rates.mu_eff - 3.167).abs() < 1e-3 && (rates.c_sigma - 0.2844).abs() < 1e-3, "{rates:?}");
    }
}
