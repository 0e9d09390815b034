//! The standard normal distribution to full precision, tails included.
//!
//! In: a number. Out: density, distribution, their ratio. Must never lose relative precision in the lower tail: logarithms are taken
//! of it.

/// The density.
pub fn density(x: f64) -> f64 {
    0.398_942_280_401_432_7 * (-0.5 * x * x).exp()
}

/// The distribution function.
pub fn below(x: f64) -> f64 {
    if x > 0.0 { 1.0 - below(-x) } else { density(x) * mills(x) }
}

/// The distribution function over the density, for `x <= 0`: Mills' ratio of `-x`. A series near 0 (Marsaglia 2004), a continued
/// fraction beyond.
pub fn mills(x: f64) -> f64 {
    let y = -x.min(0.0);
    if y > 2.5 {
        return 1.0 / (1..60).rev().fold(y, |tail, k| y + f64::from(k) / tail);
    }
    let (mut term, mut sum, mut k) = (y, y, 1.0);
    while term > 1e-17 * sum {
        k += 2.0;
        term *= y * y / k;
        sum += term;
    }
    0.5 / density(y) - sum
}

/// The logarithm of `density(z) + z below(z)`, and the shares of `below` and `density` in it: how improvement grows (Ament et al. 2023).
pub fn log_improvement(z: f64) -> (f64, f64, f64) {
    if z > -1.0 {
        let (p, d) = (below(z), density(z));
        let all = d + z * p;
        return (all.ln(), p / all, d / all);
    }
    let ratio = mills(z);
    // Far out the difference is 1/z^2 - 3/z^4 + 15/z^6.
    let (z2, far) = (z * z, z < -25.0);
    let all = if far { (1.0 - 3.0 / z2 + 15.0 / (z2 * z2)) / z2 } else { 1.0 + z * ratio };
    (-0.5 * z2 - 0.918_938_533_204_672_7 + all.ln(), ratio / all, 1.0 / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_and_slopes_are_right() {
        assert!((below(1.0) - 0.841_344_746_068_542_9).abs() < 1e-15);
        assert!((below(-6.0) / 9.865_876_450_376_98e-10 - 1.0).abs() < 1e-12);
        assert!((below(-30.0) / 4.906_713_927_148_187e-198 - 1.0).abs() < 1e-12);
        for z in [-40.0, -25.0001, -24.9, -8.0, -1.001, -0.5, 0.0, 3.0] {
            let slope = (log_improvement(z + 1e-5).0 - log_improvement(z - 1e-5).0) / 2e-5;
            assert!((slope / log_improvement(z).1 - 1.0).abs() < 1e-3, "{z}");
        }
    }
}
