//! The time of a run that is under way, from what it has done so far.
//!
//! In: units done and when, units in all, the time that ran. Out: the expected whole time with a 95% interval. Must never expect less
//! than has run already.
//!
//! What is left takes as long as the same number of units took: a weighted mean pace whose slow outliers are held back (Huber). The
//! pace of the first unit holds the start of the program, so it counts only while there is no other. Errors of the pace grow with all
//! that is left; those of single units only with its root.

use super::{NOISE, Seconds, student};

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Units done and seconds since the start, in order.
    pub marks: Vec<(f64, f64)>,
    /// Units in all.
    pub total: f64,
    /// Seconds since the start.
    pub elapsed: f64,
}

/// Paces of neighbours differ less than those of strangers: what is left is less certain than if they were independent.
const TOGETHER: f64 = 1.5;

struct Pace {
    mean: f64,
    /// Variance of a single unit's time.
    unit: f64,
    /// Units that the mean rests on.
    units: f64,
    df: f64,
}

fn pace(marks: &[(f64, f64)]) -> Option<Pace> {
    let mut steps: Vec<(f64, f64)> = marks
        .windows(2)
        .filter_map(|w| Some((w.get(1)?.0 - w.first()?.0, w.get(1)?.1 - w.first()?.1)))
        .filter(|(u, t)| *u > 0.0 && *t >= 0.0)
        .collect();
    let first = marks.first().filter(|(u, t)| *u > 0.0 && *t > 0.0);
    if steps.is_empty() {
        steps.extend(first);
    }
    let units: f64 = steps.iter().map(|(u, _)| u).sum();
    if units <= 0.0 {
        return None;
    }
    let mut paces: Vec<(f64, f64)> = steps.iter().map(|(u, t)| (t / u, *u)).collect();
    paces.sort_by(|a, b| a.0.total_cmp(&b.0));
    let middle = super::fit::weighted(&paces, units / 2.0);
    let mut off: Vec<(f64, f64)> = steps.iter().map(|(u, t)| (((t / u) - middle).abs() * u.sqrt(), *u)).collect();
    off.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = steps.len() as f64;
    let prior = NOISE * middle;
    let robust = 1.4826 * super::fit::weighted(&off, units / 2.0);
    let scale = ((2.0 * prior * prior + (n - 1.0) * robust * robust) / (n + 1.0)).sqrt().max(1e-6);
    let held = |u: f64, t: f64| {
        let limit = 3.0 * scale / u.sqrt();
        (t / u).clamp(middle - limit, middle + limit) * u
    };
    let mean = steps.iter().map(|(u, t)| held(*u, *t)).sum::<f64>() / units;
    let squares: f64 = steps.iter().map(|(u, t)| (held(*u, *t) - mean * u).powi(2) / u).sum();
    Some(Pace { mean, unit: (2.0 * prior * prior + squares) / (n + 1.0), units, df: n + 1.0 })
}

/// Seconds of one unit, robustly.
#[must_use]
pub fn per_unit(course: &Course) -> Option<f64> {
    pace(&course.marks).map(|p| p.mean)
}

/// The whole time of the run. None before the first unit is done.
#[must_use]
pub fn whole(course: &Course) -> Option<Seconds> {
    let (done, at) = *course.marks.last()?;
    let pace = pace(&course.marks)?;
    let left = (course.total - done).max(0.0);
    // A unit that takes long already is not done yet: the ones behind it still come.
    let since = (course.elapsed - at).max(0.0);
    let expected = (at + left * pace.mean).max(course.elapsed + (left - 1.0).max(0.0) * pace.mean).max(course.elapsed);
    let start = if course.marks.len() < 2 { 0.5 * at } else { 0.0 };
    let variance = left * pace.unit + left * left * pace.unit / pace.units + start * start * f64::from(u8::from(left > 0.0));
    let half = student::t95(pace.df) * variance.sqrt() * TOGETHER;
    let low = (expected - half).max(course.elapsed).max(at + 0.2 * left * pace.mean).min(expected);
    let high = expected + half.max(since.min(pace.mean));
    let units = course.marks.len();
    let noun = if units == 1 { "1 mark".to_owned() } else { format!("{units} marks") };
    let basis = format!("its own progress: {done} of {} done, {noun}", course.total).into();
    let sd = if expected > 0.0 { (half / expected / 1.96).max(1e-6) } else { 1.0 };
    Some(Seconds { expected, low, high: high.max(expected), samples: units, basis, sd })
}

/// Weighs a young run's own progress with what others took: by precision, in logarithms. From five marks on its own progress is all.
#[must_use]
pub fn with_history(own: Seconds, history: Option<&Seconds>, elapsed: f64) -> Seconds {
    let Some(history) = history.filter(|h| own.samples < 5 && h.sd > 0.0 && own.expected > elapsed && h.expected > elapsed) else {
        return own;
    };
    let (a, b) = (1.0 / (own.sd * own.sd), 1.0 / (history.sd * history.sd));
    let centre = (a * own.expected.ln() + b * history.expected.ln()) / (a + b);
    // Two sources that contradict each other are less certain than either says.
    let apart = (own.expected.ln() - history.expected.ln()).abs() / (1.0 / a + 1.0 / b).sqrt();
    let sd = (1.0 / (a + b)).sqrt() * (apart / 1.96).max(1.0);
    let (low, high) = ((centre - 1.96 * sd).exp().max(elapsed), (centre + 1.96 * sd).exp());
    Seconds {
        expected: centre.exp().max(elapsed),
        low: low.min(centre.exp()),
        high: high.max(elapsed),
        basis: format!("{} and {}", own.basis, history.basis).into(),
        sd,
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_run_is_forecast_from_its_pace() {
        let marks = (1..=10).map(|i| (f64::from(i), 30.0 + 60.0 * f64::from(i))).collect();
        let found = whole(&Course { marks, total: 100.0, elapsed: 640.0 }).unwrap();
        assert!((found.expected - 6030.0).abs() < 1.0, "{found:?}");
        assert!(found.low < 6000.0 && found.high > 6060.0 && found.high < 7800.0, "{found:?}");
    }

    #[test]
    fn a_stuck_unit_moves_the_end() {
        let marks: Vec<(f64, f64)> = (1..=5).map(|i| (f64::from(i), 10.0 * f64::from(i))).collect();
        let found = whole(&Course { marks, total: 10.0, elapsed: 250.0 }).unwrap();
        assert!(found.expected >= 290.0, "{found:?}");
    }

    #[test]
    fn what_is_done_is_known() {
        let found = whole(&Course { marks: vec![(1.0, 5.0), (2.0, 10.0)], total: 2.0, elapsed: 10.5 }).unwrap();
        assert!((found.expected - 10.5).abs() < 1e-9 && found.low >= 10.0, "{found:?}");
        assert_eq!(whole(&Course { marks: vec![], total: 2.0, elapsed: 10.5 }), None);
    }
}
