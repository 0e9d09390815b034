//! Axes: round steps, units, and points in time that people recognise.

use chrono::{DateTime, Datelike as _, Duration, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;

use crate::base::{Millis, Money};

/// What a value is, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Micro-dollars.
    Money,
    /// Milliseconds.
    Time,
    /// Plain numbers.
    Number,
    /// Percent.
    Percent,
}

impl Unit {
    /// A value in words.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Money => Money::from_micros(micros(value)).to_string(),
            Self::Time => Millis(u64::try_from(micros(value)).unwrap_or(0)).to_string(),
            Self::Percent => format!("{value:.0}%"),
            Self::Number if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) => format!("{value:.2e}").replace(".00e", "e"),
            Self::Number => {
                let text = format!("{value:.4}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a position on an axis, cut to the range of whole numbers")]
fn micros(value: f64) -> i64 {
    value.round() as i64
}

/// A value as a whole number from 0 up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range of whole numbers")]
pub(super) fn whole(value: f64) -> usize {
    value.ceil().clamp(0.0, 1e9) as usize
}

/// Least and greatest of the finite values, never the same.
pub(in crate::advise) fn range(values: &[f64]) -> (f64, f64) {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return (0.0, 1.0);
    }
    if high > low { (low, high) } else { (low, low + if low == 0.0 { 1.0 } else { low.abs() }) }
}

/// Round values (1, 2 or 5 times a power of ten) from below `low` to `high`, about `wanted` of them.
pub(in crate::advise) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let rough = (high - low) / super::count(wanted.max(1));
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    (0..50).map(|i| (first + f64::from(i)) * step).take_while(|v| *v <= high + step * 1e-9).collect()
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Points in time between two others, with their names.
pub(super) fn times(low: f64, high: f64, zone: Tz) -> Vec<(f64, String)> {
    let (low, high) = (micros(low), micros(high));
    let span = high.saturating_sub(low);
    let steps = [60_000, 300_000, 900_000, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];
    let local = |ms: i64| DateTime::<Utc>::from_timestamp_millis(ms).map(|t| t.with_timezone(&zone));
    let Some(step) = steps.into_iter().find(|s| span / s <= 8) else { return months(low, high, zone) };
    let Some(begin) = local(low) else { return Vec::new() };
    // Steps are counted from the midnight before the first point, by the zone's clock.
    let midnight = begin.date_naive().and_hms_opt(0, 0, 0).and_then(|t| zone.from_local_datetime(&t).earliest());
    let mut at = midnight.map_or(low, |t| t.timestamp_millis());
    let mut found = Vec::new();
    while at <= high && found.len() < 40 {
        if let Some(t) = local(at).filter(|_| at >= low) {
            let text = if step < DAY && (t.hour(), t.minute()) != (0, 0) { t.format("%H:%M") } else { t.format("%b %-d") };
            found.push((at, text.to_string()));
        }
        at = match (step > HOUR, local(at)) {
            // A day is not always 24 hours.
            (true, Some(t)) => {
                let next = t.naive_local().checked_add_signed(Duration::milliseconds(step));
                next.and_then(|n| zone.from_local_datetime(&n).earliest()).map_or(at + step, |n| n.timestamp_millis())
            }
            _ => at + step,
        };
    }
    found.into_iter().map(|(at, text)| (position(at), text)).collect()
}

fn months(low: i64, high: i64, zone: Tz) -> Vec<(f64, String)> {
    let local = |ms: i64| DateTime::<Utc>::from_timestamp_millis(ms).map(|t| t.with_timezone(&zone));
    let (Some(begin), Some(end)) = (local(low), local(high)) else { return Vec::new() };
    let index = |t: &DateTime<Tz>| t.year() * 12 + i32::try_from(t.month0()).unwrap_or(0);
    let every = ((index(&end) - index(&begin)) / 8 + 1).max(1);
    let firsts = (index(&begin)..=index(&end)).filter(|m| m % every == 0);
    firsts
        .filter_map(|m| {
            let first = zone.with_ymd_and_hms(m.div_euclid(12), u32::try_from(m.rem_euclid(12)).unwrap_or(0) + 1, 1, 0, 0, 0).earliest()?;
            let text = if first.month() == 1 || every >= 12 { first.format("%b %Y") } else { first.format("%b") };
            Some((first.timestamp_millis(), text.to_string()))
        })
        .filter(|(at, _)| (low..=high).contains(at))
        .map(|(at, text)| (position(at), text))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a position on a page")]
fn position(ms: i64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_days_are_those_of_the_zone() {
        assert_eq!(ticks(0.0, 47.0, 5), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(0.0, 0.0, 5), Vec::<f64>::new());
        let at = |text: &str| position(crate::base::Timestamp::parse(text).map_or(0, |t| t.0));
        let shown = |from: &str, to: &str| times(at(from), at(to), Tz::Europe__Berlin).into_iter().map(|t| t.1).collect::<Vec<_>>();
        // Over the end of summer time every mark is still midnight.
        assert_eq!(
            shown("2026-10-24T10:00Z", "2026-10-28T00:00Z"),
            ["12:00", "Oct 25", "12:00", "Oct 26", "12:00", "Oct 27", "12:00", "Oct 28"]
        );
        assert_eq!(
            shown("2026-10-20T10:00Z", "2026-10-28T00:00Z"),
            ["Oct 21", "Oct 22", "Oct 23", "Oct 24", "Oct 25", "Oct 26", "Oct 27", "Oct 28"]
        );
        assert_eq!(shown("2026-01-05T00:00Z", "2026-12-05T00:00Z").first().map(String::as_str), Some("Mar"));
    }
}
