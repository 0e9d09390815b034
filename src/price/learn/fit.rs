//! A robust straight-line fit with prior beliefs: ridge regression by iteratively reweighted least squares.
//!
//! In: rows with weights, prior means and deviations of the coefficients. Out: coefficients, their uncertainty, and how far each row
//! lies from what all the others say of it. Must never divide by zero or fail: without rows the priors are the answer.
//!
//! Huber's weights (k = 1.345, 95% efficient for normal noise; Huber, 1964) keep outliers from moving the line. The residual that a
//! row would have without itself follows from its leverage, so nothing is fitted twice.

/// One measurement.
#[derive(Debug, Clone)]
pub struct Row {
    /// Regressors; the first is 1.
    pub x: Vec<f64>,
    /// What was measured.
    pub y: f64,
    /// How much it counts, 0 to 1.
    pub weight: f64,
}

/// Where a coefficient is thought to be before anything was measured.
#[derive(Debug, Clone, Copy)]
pub struct Prior {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
}

/// The result.
#[derive(Debug, Clone)]
pub struct Fit {
    /// Coefficients.
    pub beta: Vec<f64>,
    /// Inverse of the information matrix, in units of the noise's variance.
    inverse: Vec<Vec<f64>>,
    /// Robust variance of the noise.
    pub variance: f64,
    /// Measurements that the coefficients use up.
    pub used: f64,
    /// Of each row: residual without itself, leverage without itself, weight.
    pub scores: Vec<(f64, f64, f64)>,
}

const HUBER: f64 = 1.345;
/// Noise never counts as less than this, in the unit of `y`.
const LEAST: f64 = 0.005;

impl Fit {
    /// Fits. `noise` is what the standard deviation of the noise is thought to be, worth `worth` measurements.
    #[must_use]
    pub fn new(rows: &[Row], priors: &[Prior], noise: f64, worth: f64) -> Self {
        let mut fit = Self {
            beta: priors.iter().map(|p| p.mean).collect(),
            inverse: Vec::new(),
            variance: noise * noise,
            used: 0.0,
            scores: Vec::new(),
        };
        let mut robust = vec![1.0; rows.len()];
        for _ in 0..8 {
            fit.solve(rows, &robust, priors);
            let residuals: Vec<f64> = rows.iter().map(|r| r.y - dot(&r.x, &fit.beta)).collect();
            let scale = fit.scale(rows, &residuals, noise, worth);
            fit.variance = scale * scale;
            for (w, r) in robust.iter_mut().zip(&residuals) {
                *w = if r.abs() <= HUBER * scale { 1.0 } else { HUBER * scale / r.abs() };
            }
        }
        fit.solve(rows, &robust, priors);
        for (row, robust) in rows.iter().zip(&robust) {
            let h = (row.weight * robust * fit.leverage(&row.x)).min(0.999);
            let residual = row.y - dot(&row.x, &fit.beta);
            fit.used += h;
            // Without itself the row has residual r / (1 - h) and is predicted with leverage h / (1 - h).
            fit.scores.push((residual / (1.0 - h), fit.leverage(&row.x) / (1.0 - h), row.weight));
        }
        fit
    }

    /// Variance of the line at a place, in units of the noise's variance.
    #[must_use]
    pub fn leverage(&self, x: &[f64]) -> f64 {
        self.inverse.iter().zip(x).map(|(row, a)| a * dot(row, x)).sum::<f64>().max(0.0)
    }

    /// Median of absolute residuals as a standard deviation, drawn towards the prior one while there are few.
    fn scale(&self, rows: &[Row], residuals: &[f64], noise: f64, worth: f64) -> f64 {
        let mut sorted: Vec<(f64, f64)> = residuals.iter().zip(rows).map(|(r, row)| (r.abs(), row.weight)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n: f64 = rows.iter().map(|r| r.weight).sum();
        let free = (n - self.beta.len() as f64).max(0.0);
        let median = 1.4826 * weighted(&sorted, n / 2.0);
        ((worth * noise * noise + free * median * median) / (worth + free)).sqrt().max(LEAST)
    }

    fn solve(&mut self, rows: &[Row], robust: &[f64], priors: &[Prior]) {
        let n = priors.len();
        let mut a = vec![vec![0.0; n]; n];
        let mut b = vec![0.0; n];
        for (i, prior) in priors.iter().enumerate() {
            let precision = self.variance / (prior.sd * prior.sd);
            if let (Some(cell), Some(right)) = (a.get_mut(i).and_then(|r| r.get_mut(i)), b.get_mut(i)) {
                *cell = precision;
                *right = precision * prior.mean;
            }
        }
        for (row, robust) in rows.iter().zip(robust) {
            let w = row.weight * robust;
            for ((line, right), xi) in a.iter_mut().zip(b.iter_mut()).zip(&row.x) {
                *right += w * xi * row.y;
                for (cell, xj) in line.iter_mut().zip(&row.x) {
                    *cell += w * xi * xj;
                }
            }
        }
        self.inverse = inverse(a);
        self.beta = self.inverse.iter().map(|row| dot(row, &b)).collect();
    }
}

/// The value at which the weights of a sorted list reach `at`.
#[must_use]
pub fn weighted(sorted: &[(f64, f64)], at: f64) -> f64 {
    let mut sum = 0.0;
    for (value, weight) in sorted {
        sum += weight;
        if sum >= at {
            return *value;
        }
    }
    sorted.last().map_or(0.0, |(value, _)| *value)
}

/// Sum of products.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Gauss-Jordan with pivoting; the matrices are positive definite, since every prior has a finite deviation.
fn inverse(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    let mut out: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for column in 0..n {
        let size = |row: &Vec<f64>| row.get(column).map_or(0.0, |v| v.abs());
        let Some(pivot) = (column..n).max_by(|i, j| a.get(*i).map_or(0.0, size).total_cmp(&a.get(*j).map_or(0.0, size))) else { break };
        a.swap(column, pivot);
        out.swap(column, pivot);
        let (Some(head), Some(image)) = (a.get(column).cloned(), out.get(column).cloned()) else { break };
        let divisor = head.get(column).copied().filter(|v| v.abs() > 1e-12).unwrap_or(1e-12);
        for (i, (row, result)) in a.iter_mut().zip(out.iter_mut()).enumerate() {
            let factor = row.get(column).copied().unwrap_or(0.0) / divisor;
            let keep = if i == column { 0.0 } else { 1.0 };
            let scale = if i == column { 1.0 / divisor } else { -factor };
            for (cell, head) in row.iter_mut().zip(&head).chain(result.iter_mut().zip(&image)) {
                *cell = keep * *cell + scale * head;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_does_not_move_the_line() {
        let mut rows: Vec<Row> = (1..=20).map(|i| Row { x: vec![1.0, f64::from(i)], y: 3.0 + 2.0 * f64::from(i), weight: 1.0 }).collect();
        rows[9].y += 100.0;
        let flat = Prior { mean: 0.0, sd: 100.0 };
        let fit = Fit::new(&rows, &[flat, flat], 0.2, 2.0);
        assert!((fit.beta[0] - 3.0).abs() < 0.15 && (fit.beta[1] - 2.0).abs() < 0.02, "{:?}", fit.beta);
        assert!(fit.scores[9].0 > 90.0);
    }

    #[test]
    fn without_rows_the_priors_are_the_answer() {
        let fit = Fit::new(&[], &[Prior { mean: 5.0, sd: 2.0 }, Prior { mean: 1.0, sd: 0.5 }], 0.2, 2.0);
        assert!((fit.beta[0] - 5.0).abs() < 1e-9 && (fit.beta[1] - 1.0).abs() < 1e-9);
        assert!((fit.leverage(&[1.0, 0.0]) * fit.variance - 4.0).abs() < 1e-6);
    }

    #[test]
    fn inverses_are_inverses() {
        let found = inverse(vec![vec![4.0, 1.0], vec![1.0, 3.0]]);
        let wanted = [[3.0 / 11.0, -1.0 / 11.0], [-1.0 / 11.0, 4.0 / 11.0]];
        for (row, want) in found.iter().zip(wanted) {
            assert!(row.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        }
    }
}
