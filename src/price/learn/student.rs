//! Student's t distribution: what a mean of few measurements is worth.
//!
//! In: degrees of freedom, probabilities. Out: quantiles and probabilities. Must never answer NaN for finite input.
//!
//! The cumulative distribution is the regularised incomplete beta function, by its continued fraction (Numerical Recipes, 3rd edition,
//! 6.4); quantiles invert it by bisection.

/// Lanczos approximation of ln(gamma(x)) for x > 0 (g = 5, Numerical Recipes 6.1; error below 2e-10).
fn ln_gamma(x: f64) -> f64 {
    const C: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_9e-2,
        -0.539_523_938_495_3e-5,
    ];
    let t = x + 5.5;
    let t = t - (x + 0.5) * t.ln();
    let mut sum = 1.000_000_000_190_015;
    let mut y = x;
    for c in C {
        y += 1.0;
        sum += c / y;
    }
    -t + (2.506_628_274_631_000_5 * sum / x).ln()
}

/// Continued fraction of the incomplete beta function (modified Lentz).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let (mut c, mut d) = (1.0, 1.0 / guard(1.0 - (a + b) * x / (a + 1.0)));
    let mut h = d;
    for m in 1..300 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    h
}

/// Regularised incomplete beta function.
fn beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) { front * fraction(a, b, x) / a } else { 1.0 - front * fraction(b, a, 1.0 - x) / b }
}

/// Probability that a value of Student's t with `df` degrees of freedom is at most `t`.
#[must_use]
pub fn below(t: f64, df: f64) -> f64 {
    let tail = 0.5 * beta(df / 2.0, 0.5, df / (df + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The value below which Student's t with `df` degrees of freedom is with probability `p`, 0.5 < p < 1.
#[must_use]
pub fn quantile(p: f64, df: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1e4);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if below(middle, df) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// Half the width of a 95% interval, in standard errors.
#[must_use]
pub fn t95(df: f64) -> f64 {
    quantile(0.975, df.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the usual table (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
    #[test]
    fn quantiles_are_those_of_the_table() {
        for (df, t) in [(1.0, 12.706), (2.0, 4.303), (3.0, 3.182), (5.0, 2.571), (10.0, 2.228), (30.0, 2.042), (100.0, 1.984)] {
            assert!((t95(df) - t).abs() < 6e-4, "{df}: {}", t95(df));
        }
        assert!((below(1.812, 10.0) - 0.95).abs() < 1e-4);
        assert!((below(-1.812, 10.0) - 0.05).abs() < 1e-4);
    }
}
