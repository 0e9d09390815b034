//! A learning curve, extrapolated.
//!
//! In: values of a metric by step. Out: the value at the end with a 95% interval. Must never answer from fewer than five values, and must
//! grow less certain the further it looks.
//!
//! Each shape of a small family (power laws as in Hestness et al., 2017, exponentials, and no change at all) is fitted by least squares,
//! later values counting more. The answers are averaged by how well each fits (as Domhan, Springenberg and Hutter, 2015, average their
//! family), so that shapes which fit alike and part later widen the interval.

use std::sync::Arc;

use serde::Serialize;

use crate::price::learn::student;
use crate::record::{Goal, MetricGoal};

/// Values from which on a curve is extrapolated.
const ENOUGH: usize = 5;
/// What each older value counts, of the one after it, when the curve has a hundred of them or fewer.
const FADING: f64 = 0.97;
/// Neighbouring values err together: the interval of independent ones is too narrow by this.
const TOGETHER: f64 = 1.3;

/// Exponent of the likelihood, a half if one of the shapes were true. Found on the curves of the tests: with a half, ends of curves that are
/// none of the shapes lie outside far more often than once in 20.
const TRUST: f64 = 0.15;

/// A metric at the end of its run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve95 {
    /// As the run reports it.
    pub name: Arc<str>,
    /// Which way is better.
    pub goal: Goal,
    /// Last finite value.
    pub last: Option<f64>,
    /// Best finite value.
    pub best: Option<f64>,
    /// Finite values.
    pub values: usize,
    /// Values that were no number (NaN, infinite): they are not used.
    pub unknown: usize,
    /// Step of the end; none where nobody says.
    pub end: Option<u64>,
    /// At the end; none while too little is known.
    pub expected: Option<f64>,
    /// 95% interval.
    pub interval: Option<(f64, f64)>,
    /// What is missing where nothing is expected.
    pub missing: Option<Arc<str>>,
}

/// The curve of a metric at step `end`. None when nothing was reported.
#[must_use]
pub fn at_end(goal: &MetricGoal, points: &[(i64, Option<f64>)], end: Option<u64>) -> Option<Curve95> {
    if points.is_empty() {
        return None;
    }
    let finite: Vec<(i64, f64)> = points.iter().filter_map(|(s, v)| v.filter(|v| v.is_finite()).map(|v| (*s, v))).collect();
    let better = |a: f64, b: f64| if goal.goal == Goal::Minimize { a.min(b) } else { a.max(b) };
    let mut answer = Curve95 {
        name: goal.name.as_str().into(),
        goal: goal.goal,
        last: finite.last().map(|(_, v)| *v),
        best: finite.iter().map(|(_, v)| *v).reduce(better),
        values: finite.len(),
        unknown: points.len() - finite.len(),
        end,
        expected: None,
        interval: None,
        missing: None,
    };
    // Steps from 1 on; a curve that begins with 0 counts from there.
    let zero = i64::from(finite.first().is_some_and(|(s, _)| *s == 0));
    let xs: Vec<(f64, f64)> = finite.iter().map(|(s, v)| ((s + zero) as f64, *v)).filter(|(s, _)| *s > 0.0).collect();
    let mut steps: Vec<i64> = finite.iter().map(|(s, _)| *s).collect();
    steps.dedup();
    if steps.len() < ENOUGH || xs.len() < ENOUGH {
        answer.missing =
            Some(format!("{} value{} by step, {ENOUGH} are needed", steps.len(), if steps.len() == 1 { "" } else { "s" }).into());
        return Some(answer);
    }
    let Some(end) = end else {
        answer.missing = Some("the last step is not known".into());
        return Some(answer);
    };
    let (expected, half) = extrapolate(&xs, (end as f64).max(xs.last().map_or(1.0, |p| p.0)));
    // What was never negative, such as a loss, stays so.
    let floor = if xs.iter().all(|(_, v)| *v >= 0.0) { 0.0 } else { f64::NEG_INFINITY };
    answer.expected = Some(expected.max(floor));
    answer.interval = Some(((expected - half).max(floor), expected + half));
    Some(answer)
}

/// Shapes over steps: each is a regressor beside the constant; the last is none.
fn shapes(last: f64) -> Vec<Box<dyn Fn(f64) -> f64>> {
    let mut all: Vec<Box<dyn Fn(f64) -> f64>> = Vec::new();
    for power in [0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0] {
        all.push(Box::new(move |t: f64| t.powf(-power)));
    }
    for share in [0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2] {
        all.push(Box::new(move |t: f64| (-t / (share * last)).exp()));
    }
    all.push(Box::new(|t: f64| t.ln()));
    all
}

/// Value at a step, and half its 95% interval.
#[must_use]
pub fn extrapolate(points: &[(f64, f64)], end: f64) -> (f64, f64) {
    let n = points.len();
    let last = points.last().map_or(1.0, |p| p.0);
    let fading = FADING.powf((100.0 / n as f64).min(1.0));
    let weights: Vec<f64> = (0..n).map(|i| fading.powi(i32::try_from(n - 1 - i).unwrap_or(i32::MAX))).collect();
    let count: f64 = weights.iter().sum();
    let df = (count - 2.0).max(1.0);
    let spread = noise(points);
    let mut fits: Vec<(f64, f64, f64)> = Vec::new();
    for shape in shapes(last) {
        let Some((mean, leverage, squares)) = line(points, &weights, &*shape, end) else { continue };
        let variance = (squares + spread * spread) / (df + 1.0);
        fits.push((squares / count, mean, variance * (1.0 + leverage)));
    }
    // The curve stays where it is: the mean of its last fifth.
    let tail = points.get(n - (n / 5).max(2)..).unwrap_or(points);
    let flat = tail.iter().map(|p| p.1).sum::<f64>() / tail.len() as f64;
    let squares: f64 = points.iter().zip(&weights).map(|((_, v), w)| w * (v - flat).powi(2)).sum();
    fits.push((squares / count, flat, (squares / count).min(4.0 * spread * spread) + spread * spread));
    let best = fits.iter().map(|f| f.0).fold(f64::INFINITY, f64::min).max(1e-300);
    // Likelihood of normal errors, held back: none of the shapes is the true one. Each has as many coefficients as the other.
    let likely = |squares: f64| (squares.max(1e-300) / best).powf(-count * TRUST);
    let all: f64 = fits.iter().map(|f| likely(f.0)).sum();
    let mean = fits.iter().map(|(s, m, _)| likely(*s) * m).sum::<f64>() / all;
    let variance = fits.iter().map(|(s, m, v)| likely(*s) * (v + (m - mean).powi(2))).sum::<f64>() / all;
    (mean, student::t95(df) * variance.sqrt() * TOGETHER)
}

/// Spread of single values about their neighbours: half the mean square of differences, the trend taken out by the median.
fn noise(points: &[(f64, f64)]) -> f64 {
    let late = points.get(points.len() / 2..).unwrap_or(points);
    let mut steps: Vec<f64> = late.windows(2).filter_map(|w| Some(w.get(1)?.1 - w.first()?.1)).collect();
    steps.sort_by(f64::total_cmp);
    let middle = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let n = steps.len().max(1) as f64;
    (steps.iter().map(|d| (d - middle).powi(2)).sum::<f64>() / n / 2.0).sqrt().max(1e-12)
}

/// Weighted least squares of `a + b shape(t)`: value at the end, its leverage, the sum of squares.
fn line(points: &[(f64, f64)], weights: &[f64], shape: &dyn Fn(f64) -> f64, end: f64) -> Option<(f64, f64, f64)> {
    let (mut sw, mut sx, mut sy) = (0.0, 0.0, 0.0);
    for ((t, y), w) in points.iter().zip(weights) {
        (sw, sx, sy) = (sw + w, sx + w * shape(*t), sy + w * y);
    }
    let (mx, my) = (sx / sw, sy / sw);
    let (mut xx, mut xy) = (0.0, 0.0);
    for ((t, y), w) in points.iter().zip(weights) {
        let x = shape(*t) - mx;
        (xx, xy) = (xx + w * x * x, xy + w * x * (y - my));
    }
    if xx <= 1e-18 {
        return None;
    }
    let b = xy / xx;
    let squares = points.iter().zip(weights).map(|((t, y), w)| w * (y - my - b * (shape(*t) - mx)).powi(2)).sum();
    let x = shape(end) - mx;
    Some((my + b * x, 1.0 / sw + x * x / xx, squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*, as a normal number.
    fn normal(state: &mut u64) -> f64 {
        let mut unit = || {
            *state ^= *state >> 12;
            *state ^= *state << 25;
            *state ^= *state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (a, b) = (unit().max(1e-300), unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    type Shape = fn(f64) -> f64;

    /// Share of ends that lie in their interval, and its mean half width over the noise.
    fn coverage(known: usize, curve: Shape, noise: f64) -> (f64, f64) {
        let (mut within, mut width, mut seed) = (0, 0.0, 0x9E37_79B9_7F4A_7C15);
        for _ in 0..400 {
            let points: Vec<(f64, f64)> = (1..=known).map(|t| (t as f64, curve(t as f64) + noise * normal(&mut seed))).collect();
            let (mean, half) = extrapolate(&points, 40.0);
            let end = curve(40.0) + noise * normal(&mut seed);
            within += usize::from((end - mean).abs() <= half);
            width += half / noise / 400.0;
        }
        (within as f64 / 400.0, width)
    }

    #[test]
    fn the_interval_holds_on_curves_of_many_shapes() {
        let curves: [(&str, Shape); 5] = [
            ("power law", |t| 0.2 + 2.0 * t.powf(-0.7)),
            ("exponential", |t| 0.3 + 1.5 * (-t / 8.0).exp()),
            ("accuracy", |t| 0.95 - 0.6 * (-t / 12.0).exp()),
            ("flat", |_| 0.69),
            ("overfitting", |t| 0.3 + 1.0 / t + 0.004 * t),
        ];
        for (name, curve) in curves {
            let found: Vec<(f64, f64)> = [8, 20, 32].into_iter().map(|known| coverage(known, curve, 0.02)).collect();
            // A curve that turns is only seen to once it has.
            let least = if name == "overfitting" { 0.75 } else { 0.9 };
            assert!(found.iter().all(|(c, _)| *c >= least), "{name}: {found:?}");
            assert!(found[2].1 < found[0].1, "{name}: nearer is narrower: {found:?}");
        }
    }

    #[test]
    fn too_little_and_unknown_values_are_said() {
        let goal = MetricGoal { name: "loss".to_owned(), goal: Goal::Minimize };
        assert_eq!(at_end(&goal, &[], Some(10)), None);
        let points: Vec<(i64, Option<f64>)> = vec![(1, Some(3.0)), (2, None), (3, Some(f64::NAN)), (4, Some(2.0))];
        let found = at_end(&goal, &points, Some(10)).unwrap();
        assert_eq!((found.values, found.unknown, found.last, found.expected), (2, 2, Some(2.0), None));
        assert_eq!(found.missing.as_deref(), Some("2 values by step, 5 are needed"));
    }
}
