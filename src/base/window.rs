//! Budget windows: days, weeks, months and quarters of a time zone.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{Diagnostic, Diagnostics, Span, Timestamp, suggest, text};

/// How long a limit counts before it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// For ever.
    #[default]
    Total,
    /// From midnight.
    Day,
    /// From Monday (ISO 8601).
    Week,
    /// From the first.
    Month,
    /// From the first of January, April, July, October.
    Quarter,
}

impl Period {
    /// All periods.
    pub const ALL: [Self; 5] = [Self::Total, Self::Day, Self::Week, Self::Month, Self::Quarter];

    /// The word in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
        }
    }

    /// By its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.word() == word)
    }
}

/// A period in a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// How long.
    pub period: Period,
    /// Whose midnight.
    pub zone: Tz,
}

impl Default for Window {
    fn default() -> Self {
        Self { period: Period::Total, zone: Tz::UTC }
    }
}

impl Window {
    /// When the window around a moment began; the beginning of time for a total.
    #[must_use]
    pub fn start(&self, now: Timestamp) -> Timestamp {
        self.first_day(now).and_then(|day| self.midnight(day)).unwrap_or(Timestamp(i64::MIN))
    }

    /// The window that has begun since `next`, where the last one ended: its begin, and when the one after it begins. It begins no sooner than
    /// the last has ended, whatever the clock does. None while the last goes on.
    #[must_use]
    pub fn turned(&self, next: Option<Timestamp>, now: Timestamp) -> Option<(Timestamp, Option<Timestamp>)> {
        let next = next.filter(|next| now >= *next)?;
        Some((self.start(now).max(next), self.next(now)))
    }

    /// When the next window begins; never for a total.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let first = self.first_day(now)?;
        let day = match self.period {
            Period::Total => None,
            Period::Day => first.checked_add_days(Days::new(1)),
            Period::Week => first.checked_add_days(Days::new(7)),
            Period::Month => first.checked_add_months(Months::new(1)),
            Period::Quarter => first.checked_add_months(Months::new(3)),
        }?;
        self.midnight(day)
    }

    fn first_day(&self, now: Timestamp) -> Option<NaiveDate> {
        let today = now.utc()?.with_timezone(&self.zone).date_naive();
        match self.period {
            Period::Total => None,
            Period::Day => Some(today),
            Period::Week => today.checked_sub_days(Days::new(u64::from(today.weekday().num_days_from_monday()))),
            Period::Month => today.with_day(1),
            Period::Quarter => NaiveDate::from_ymd_opt(today.year(), today.month0() / 3 * 3 + 1, 1),
        }
    }

    /// The first moment of a day; where a clock change leaves midnight out, the first one that exists.
    fn midnight(&self, day: NaiveDate) -> Option<Timestamp> {
        let tries = (0..8).filter_map(|half| NaiveTime::from_hms_opt(half / 2, half % 2 * 30, 0));
        let found: Option<DateTime<Tz>> = tries.into_iter().find_map(|time| self.zone.from_local_datetime(&day.and_time(time)).earliest());
        found.map(|t| Timestamp(t.with_timezone(&Utc).timestamp_millis()))
    }
}

/// Reads the IANA name of a time zone.
pub fn zone(name: &str, span: Span, diags: &mut Diagnostics) -> Option<Tz> {
    let found = name.parse::<Tz>().ok();
    if found.is_none() {
        let near = suggest::nearest(name, chrono_tz::TZ_VARIANTS.iter().map(|z| z.name()));
        let hint = near.map_or_else(|| "write an IANA name such as `Europe/Berlin`".to_owned(), |n| format!("did you mean `{n}`?"));
        diags.push(Diagnostic::error("unknown-zone", span, format!("unknown time zone `{}`", text::escape(name))).hint(hint));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_default()
    }

    #[test]
    fn windows_begin_at_local_midnight() {
        let berlin = |period| Window { period, zone: Tz::Europe__Berlin };
        let now = at("2026-11-24T23:30:00Z");
        assert_eq!(berlin(Period::Day).start(now), at("2026-11-24T23:00:00Z"), "it is Wednesday there already");
        assert_eq!(berlin(Period::Week).start(now), at("2026-11-22T23:00:00Z"));
        assert_eq!(berlin(Period::Month).next(now), Some(at("2026-11-30T23:00:00Z")));
        assert_eq!(berlin(Period::Quarter).start(now), at("2026-09-30T22:00:00Z"), "summer time");
        assert_eq!(berlin(Period::Total).next(now), None);
    }

    #[test]
    fn a_day_of_a_clock_change_is_shorter_or_longer() {
        let day = Window { period: Period::Day, zone: Tz::Europe__Berlin };
        let length = |text| day.next(at(text)).map(|n| n.since(day.start(at(text))).0 / 3_600_000);
        assert_eq!(length("2026-03-29T12:00Z"), Some(23));
        assert_eq!(length("2026-10-25T12:00Z"), Some(25));
        // Midnight does not exist on this day in Beirut.
        let beirut = Window { period: Period::Day, zone: Tz::Asia__Beirut };
        assert_eq!(beirut.start(at("2026-03-29T12:00Z")), at("2026-03-28T22:00Z"));
    }
}
