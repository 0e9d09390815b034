//! Small dense linear algebra and a minimiser with gradients, for the methods that model.
//!
//! In: matrices of a few hundred rows, functions of a few dozen variables. Out: factors, inverses, eigenvectors, minima. Must never
//! depend on anything but its arguments: sums are taken in one fixed order.

/// A square matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Square {
    n: usize,
    cells: Vec<f64>,
}

impl Square {
    /// All zero.
    pub fn zero(n: usize) -> Self {
        Self { n, cells: vec![0.0; n * n] }
    }

    /// One on the diagonal.
    pub fn unit(n: usize) -> Self {
        let mut made = Self::zero(n);
        (0..n).for_each(|i| made.set(i, i, 1.0));
        made
    }

    /// A cell.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.cells[i * self.n + j]
    }

    /// Sets a cell.
    pub fn set(&mut self, i: usize, j: usize, to: f64) {
        self.cells[i * self.n + j] = to;
    }

    /// A row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.cells[i * self.n..(i + 1) * self.n]
    }

    /// The product with a vector.
    pub fn times(&self, v: &[f64]) -> Vec<f64> {
        (0..self.n).map(|i| dot(self.row(i), v)).collect()
    }

    /// The lower factor of Cholesky; none when the matrix is not positive definite. Only the lower half is read.
    pub fn cholesky(&self) -> Option<Self> {
        let mut l = Self::zero(self.n);
        for i in 0..self.n {
            for j in 0..=i {
                let rest = self.at(i, j) - dot(&l.row(i)[..j], &l.row(j)[..j]);
                if i == j {
                    if !(rest > 0.0 && rest.is_finite()) {
                        return None;
                    }
                    l.set(i, i, rest.sqrt());
                } else {
                    let pivot = l.at(j, j);
                    l.set(i, j, rest / pivot);
                }
            }
        }
        Some(l)
    }

    /// From a lower factor: the inverse of the matrix that it came from.
    pub fn inverse_of_factor(&self) -> Self {
        // Row i holds column i of the factor's inverse, so that all sums run along rows.
        let n = self.n;
        let mut columns = Self::zero(n);
        for i in 0..n {
            columns.set(i, i, 1.0 / self.at(i, i));
            for k in i + 1..n {
                let sum = dot(&self.row(k)[i..k], &columns.row(i)[i..k]);
                columns.set(i, k, -sum / self.at(k, k));
            }
        }
        let mut inverse = Self::zero(n);
        for i in 0..n {
            for j in i..n {
                let sum = dot(&columns.row(i)[j..], &columns.row(j)[j..]);
                inverse.set(i, j, sum);
                inverse.set(j, i, sum);
            }
        }
        inverse
    }

    /// Eigenvalues and, as columns, eigenvectors of a symmetric matrix: Jacobi's rotations (Golub and Van Loan, 8.5).
    pub fn eigen(&self) -> (Vec<f64>, Self) {
        let n = self.n;
        let (mut a, mut v) = (self.clone(), Self::unit(n));
        for _ in 0..30 {
            let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a.at(i, j).powi(2)).sum();
            let on: f64 = (0..n).map(|i| a.at(i, i).powi(2)).sum();
            if off <= 1e-28 * on {
                break;
            }
            for p in 0..n {
                for q in p + 1..n {
                    a.rotate(&mut v, p, q);
                }
            }
        }
        ((0..n).map(|i| a.at(i, i)).collect(), v)
    }

    fn rotate(&mut self, v: &mut Self, p: usize, q: usize) {
        let off = self.at(p, q);
        if off == 0.0 {
            return;
        }
        let theta = (self.at(q, q) - self.at(p, p)) / (2.0 * off);
        let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
        let t = if theta == 0.0 { 1.0 } else { t };
        let (c, s) = (1.0 / t.hypot(1.0), t / t.hypot(1.0));
        for k in 0..self.n {
            let (x, y) = (self.at(k, p), self.at(k, q));
            self.set(k, p, c * x - s * y);
            self.set(k, q, s * x + c * y);
        }
        for k in 0..self.n {
            let (x, y) = (self.at(p, k), self.at(q, k));
            self.set(p, k, c * x - s * y);
            self.set(q, k, s * x + c * y);
            let (x, y) = (v.at(k, p), v.at(k, q));
            v.set(k, p, c * x - s * y);
            v.set(k, q, s * x + c * y);
        }
    }
}

/// The sum of products, in four fixed strands.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let (mut four, whole) = ([0.0_f64; 4], n - n % 4);
    for (x, y) in a[..whole].chunks_exact(4).zip(b[..whole].chunks_exact(4)) {
        for k in 0..4 {
            four[k] += x[k] * y[k];
        }
    }
    let rest: f64 = a[whole..].iter().zip(&b[whole..]).map(|(x, y)| x * y).sum();
    (four[0] + four[1]) + (four[2] + four[3]) + rest
}

/// Steps that the minimiser remembers.
const MEMORY: usize = 8;

/// A local minimum inside bounds: L-BFGS (Nocedal 1980) on the variables that no bound holds, with backtracking (Armijo). `f` fills the
/// gradient and gives the value; a value that is not finite counts as very bad.
pub fn minimize(mut f: impl FnMut(&[f64], &mut [f64]) -> f64, start: &[f64], bounds: (f64, f64), rounds: usize) -> (Vec<f64>, f64) {
    let n = start.len();
    let clamp = |x: f64| x.clamp(bounds.0, bounds.1);
    let mut x: Vec<f64> = start.iter().map(|x| clamp(*x)).collect();
    let mut g = vec![0.0; n];
    let mut fx = f(&x, &mut g);
    let mut memory: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..rounds {
        let held: Vec<bool> = (0..n).map(|i| (x[i] <= bounds.0 && g[i] > 0.0) || (x[i] >= bounds.1 && g[i] < 0.0)).collect();
        let free: Vec<f64> = g.iter().zip(&held).map(|(g, held)| if *held { 0.0 } else { *g }).collect();
        if !fx.is_finite() || free.iter().all(|g| g.abs() < 1e-7) {
            break;
        }
        let mut way = direction(&free, &memory);
        way.iter_mut().zip(&held).filter(|(_, held)| **held).for_each(|(w, _)| *w = 0.0);
        if dot(&way, &free) >= 0.0 {
            memory.clear();
            way = free.iter().map(|g| -g).collect();
        }
        let longest = way.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
        let mut step = if memory.is_empty() { (0.25 * (bounds.1 - bounds.0).min(4.0) / longest.max(1e-300)).min(1.0) } else { 1.0 };
        let mut moved = false;
        for _ in 0..12 {
            let next: Vec<f64> = x.iter().zip(&way).map(|(x, w)| clamp(x + step * w)).collect();
            let mut grad = vec![0.0; n];
            let value = f(&next, &mut grad);
            let gone: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
            if value.is_finite() && value <= fx + 1e-4 * dot(&gone, &free) {
                let turn: Vec<f64> = grad.iter().zip(&g).map(|(a, b)| a - b).collect();
                if dot(&gone, &turn) > 1e-12 {
                    memory.push((gone, turn));
                    memory.drain(..memory.len().saturating_sub(MEMORY));
                }
                moved = fx - value > 1e-9 * fx.abs().max(1.0);
                (x, g, fx) = (next, grad, value);
                break;
            }
            step *= 0.4;
        }
        if !moved {
            break;
        }
    }
    (x, fx)
}

/// The two loops of L-BFGS.
fn direction(g: &[f64], memory: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut q = g.to_vec();
    let mut alphas = Vec::with_capacity(memory.len());
    for (s, y) in memory.iter().rev() {
        let alpha = dot(s, &q) / dot(s, y);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    if let Some((s, y)) = memory.last() {
        let scale = dot(s, y) / dot(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y), alpha) in memory.iter().zip(alphas.into_iter().rev()) {
        let beta = dot(y, &q) / dot(s, y);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q.iter().map(|q| -q).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spd(n: usize) -> Square {
        let mut a = Square::zero(n);
        for i in 0..n {
            for j in 0..n {
                a.set(i, j, 1.0 / (1.0 + i.abs_diff(j) as f64) + if i == j { 0.5 } else { 0.0 });
            }
        }
        a
    }

    #[test]
    fn a_matrix_is_what_its_factor_inverse_and_eigenvectors_say() {
        let a = spd(7);
        let inverse = a.cholesky().unwrap().inverse_of_factor();
        let (values, vectors) = a.eigen();
        for i in 0..7 {
            for j in 0..7 {
                let one: f64 = (0..7).map(|k| a.at(i, k) * inverse.at(k, j)).sum();
                assert!((one - if i == j { 1.0 } else { 0.0 }).abs() < 1e-12);
                let again: f64 = (0..7).map(|k| vectors.at(i, k) * values[k] * vectors.at(j, k)).sum();
                assert!((again - a.at(i, j)).abs() < 1e-12);
            }
        }
        let mut flat = Square::unit(2);
        flat.set(1, 1, -1.0);
        assert_eq!(flat.cholesky(), None);
    }

    #[test]
    fn a_curved_valley_is_followed_and_bounds_hold() {
        let valley = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let (x, fx) = minimize(valley, &[-1.2, 1.0], (-5.0, 5.0), 200);
        assert!(fx < 1e-8 && (x[0] - 1.0).abs() < 1e-3, "{x:?} {fx}");
        let (x, _) = minimize(valley, &[-0.2, 0.2], (-0.5, 0.5), 200);
        assert!((x[0] - 0.5).abs() < 1e-6 && (x[1] - 0.25).abs() < 1e-4, "{x:?}");
    }
}
