//! Points in time and lengths of time, in whole milliseconds. The clock itself lives outside the pure rooms.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A length of time in milliseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Timestamp {
    /// This much later; stops at the end of time.
    #[must_use]
    pub fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add_unsigned(length.0))
    }

    /// Time from `earlier` to `self`; zero when the clock went backwards.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `2026-12-01T08:00Z`, for people.
    #[must_use]
    pub fn minute(self) -> String {
        self.utc().map_or_else(|| self.to_string(), |t| t.format("%Y-%m-%dT%H:%MZ").to_string())
    }

    /// As a UTC date and time, when in chrono's range.
    #[must_use]
    pub fn utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.0)
    }

    /// Reads RFC 3339 (`2026-12-01T08:00:00Z`, seconds may be missing).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let full = DateTime::parse_from_rfc3339(text);
        let full = full.or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%#z"));
        full.ok().map(|t| Self(t.timestamp_millis()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.utc() {
            Some(t) => f.write_str(&t.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "@{}ms", self.0),
        }
    }
}

impl Millis {
    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Seconds as a float, for showing and for statistics only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths of time stay far below 2^53 ms")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// For the standard library.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// The sum, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self * n`, saturating.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Reads `90`, `1.5` (seconds), `250ms`, `30s`, `30m`, `1h30m`, `2d`.
    ///
    /// # Errors
    /// A sentence saying what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time; write `90s`, `30m`, `1h30m` or `2d`");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total = 0_u64;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(end);
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let unit = match unit.trim() {
                "ms" => 1,
                "" if last_unit == u64::MAX && tail.is_empty() => 1000,
                "s" | "sec" => 1000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            if unit >= last_unit {
                return Err(wrong());
            }
            last_unit = unit;
            total = total.checked_add(scaled(number, unit).ok_or_else(wrong)?).ok_or_else(wrong)?;
            rest = tail;
        }
        Ok(Self(total))
    }
}

/// `number * unit` in whole milliseconds; digits finer than a millisecond are refused.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().ok()?;
    if fraction.len() > 9 {
        return None;
    }
    let denominator = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
    if part % u128::from(denominator) != 0 {
        return None;
    }
    whole.checked_mul(unit)?.checked_add(u64::try_from(part / u128::from(denominator)).ok()?)
}

/// `1h30m`, `2m05s`, `12s`, `1.5s`, `250ms`: two units at most.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (d, h, m, s) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let text = match (d, h, m, s) {
            (0, 0, 0, 0) => format!("{}ms", self.0),
            (0, 0, 0, s) if s < 10 && self.0 % 1000 >= 100 => format!("{s}.{}s", self.0 % 1000 / 100),
            (0, 0, 0, s) => format!("{s}s"),
            (0, 0, m, 0) => format!("{m}m"),
            (0, 0, m, s) => format!("{m}m{s:02}s"),
            (0, h, 0, _) => format!("{h}h"),
            (0, h, m, _) => format!("{h}h{m:02}m"),
            (d, 0, _, _) => format!("{d}d"),
            (d, h, _, _) => format!("{d}d{h:02}h"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lengths() {
        for (text, ms) in
            [("90", 90_000), ("1.5", 1500), ("250ms", 250), ("30s", 30_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0.5h", 1_800_000)]
        {
            assert_eq!(Millis::parse(text), Ok(Millis(ms)), "{text}");
        }
        for text in ["", "s", "-5s", "5x", "1m1h", "1s1s", "NaN", "1e3", "99999999999999999999h", "1.2.3s"] {
            assert!(Millis::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_zero() {
        assert_eq!(Timestamp(5).since(Timestamp(10)), Millis(0));
        assert_eq!(Timestamp(i64::MAX).after(Millis(u64::MAX)), Timestamp(i64::MAX));
    }

    #[test]
    fn reads_dates() {
        assert_eq!(Timestamp::parse("2026-12-01T08:00Z"), Timestamp::parse("2026-12-01T09:00:00+01:00"));
        assert_eq!(Timestamp::parse("tomorrow"), None);
    }
}
