//! Cheap hours: which stretches of a time are off-peak.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, Timelike, Weekday};
use chrono_tz::Tz;

use super::ONE;
use crate::base::{Diagnostic, Diagnostics, Millis, Timestamp, text};
use crate::spec::types::{OffPeakDecl, Word};

const WEEK: u64 = 7 * 86_400_000;
/// How far weeks are looked at one by one: twenty years.
const HORIZON: u64 = 1043 * WEEK;

/// Cheap hours of a rate, in its time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct OffPeak {
    /// Factor of the price, parts per million.
    pub factor: u64,
    /// First minute of the day that is cheap.
    pub from: u32,
    /// First minute of the day that is dear again; less than `from` when midnight lies between.
    pub to: u32,
    /// Saturdays and Sundays are cheap all day.
    pub weekends: bool,
    /// Days that are cheap from midnight to midnight, sorted.
    pub holidays: Vec<NaiveDate>,
    /// The time zone.
    pub zone: Tz,
}

impl Default for OffPeak {
    fn default() -> Self {
        Self { factor: ONE / 2, from: 22 * 60, to: 8 * 60, weekends: true, holidays: Vec::new(), zone: Tz::UTC }
    }
}

impl OffPeak {
    /// As declared, over the built-in hours.
    pub fn read(decl: &OffPeakDecl, diags: &mut Diagnostics) -> Self {
        let mut hours = Self::default();
        hours.factor = decl.factor.as_ref().map_or(hours.factor, |f| f.0.0);
        hours.from = decl.from.as_ref().map_or(hours.from, |w| minute(w, diags));
        hours.to = decl.to.as_ref().map_or(hours.to, |w| minute(w, diags));
        hours.weekends = decl.weekends.as_ref().map_or(hours.weekends, |w| w.0);
        hours.holidays = decl.holidays.iter().filter_map(|w| day(w, diags)).collect();
        hours.holidays.sort_unstable();
        if let Some(factor) = decl.factor.as_ref().filter(|f| f.0.0 == 0) {
            diags.push(Diagnostic::error("bad-value", factor.1, "a factor of 0 makes runs free").hint("write a factor such as `0.5`"));
        }
        if let Some(zone) = decl.timezone.as_ref().and_then(|w| crate::base::window::zone(&w.0, w.1, diags)) {
            hours.zone = zone;
        }
        hours
    }

    /// Whether a local time is cheap.
    fn is_cheap(&self, local: NaiveDateTime) -> bool {
        let minute = local.hour() * 60 + local.minute();
        let night = if self.from <= self.to { (self.from..self.to).contains(&minute) } else { minute >= self.from || minute < self.to };
        night
            || (self.weekends && matches!(local.weekday(), Weekday::Sat | Weekday::Sun))
            || (!self.holidays.is_empty() && self.holidays.binary_search(&local.date()).is_ok())
    }

    /// Sum over the pieces of milliseconds x factor (parts per million).
    #[must_use]
    pub fn weighted(&self, start: Timestamp, length: Millis) -> i128 {
        if self.factor == ONE {
            return i128::from(length.0) * i128::from(ONE);
        }
        let (mut at, end, mut sum, mut week) = (start, start.after(length), 0_i128, None);
        let horizon = start.after(Millis(HORIZON));
        while end.since(at).0 >= WEEK && at < horizon {
            let next = at.after(Millis(WEEK));
            // Weeks without a clock change or a holiday are alike: a length of years does not take a step for each night.
            sum += if self.is_plain(at, next) {
                *week.get_or_insert_with(|| self.pieces(at, Millis(WEEK)))
            } else {
                self.pieces(at, Millis(WEEK))
            };
            at = next;
        }
        // Beyond the horizon one week is like any other: no length makes this slow.
        let beyond = end.since(at).0 / WEEK;
        if beyond > 0 {
            sum += i128::from(beyond) * *week.get_or_insert_with(|| self.pieces(at, Millis(WEEK)));
            at = at.after(Millis(beyond * WEEK));
        }
        sum + self.pieces(at, end.since(at))
    }

    /// True when the clock is not changed between two moments and no holiday lies between them.
    fn is_plain(&self, from: Timestamp, to: Timestamp) -> bool {
        let Some((a, b)) = self.local(from).zip(self.local(to)) else { return false };
        let holiday = self.holidays.iter().any(|h| (a.0.date()..=b.0.date()).contains(h));
        a.1 == b.1 && !holiday
    }

    /// The local time and its distance to UTC in seconds.
    fn local(&self, at: Timestamp) -> Option<(NaiveDateTime, i32)> {
        at.utc().map(|t| t.with_timezone(&self.zone)).map(|t| (t.naive_local(), t.offset().fix().local_minus_utc()))
    }

    fn pieces(&self, start: Timestamp, length: Millis) -> i128 {
        let mut sum = 0_i128;
        self.each(start, length, &mut |from, to, factor| sum += i128::from(to.since(from).0) * i128::from(factor));
        sum
    }

    /// The stretches of one factor, in the order of time; neighbours may have the same.
    pub fn each(&self, start: Timestamp, length: Millis, piece: &mut dyn FnMut(Timestamp, Timestamp, u64)) {
        let (mut at, end) = (start, start.after(length));
        while at < end {
            let Some((local, offset)) = self.local(at) else { return piece(at, end, ONE) };
            let next = self.boundary(at, local, offset).min(end);
            piece(at, next, if self.is_cheap(local) { self.factor } else { ONE });
            at = next;
        }
    }

    /// The next moment at which the price may change: an edge of the day's hours, midnight, or a change of the clock, whichever
    /// comes first. Clocks are changed at most once in a day.
    fn boundary(&self, at: Timestamp, local: NaiveDateTime, offset: i32) -> Timestamp {
        let to_edge = |minute: u32| {
            let time = NaiveTime::from_hms_opt(minute / 60 % 24, minute % 60, 0)?;
            let today = local.date().and_time(time);
            let edge = if today > local { today } else { local.date().checked_add_days(Days::new(1))?.and_time(time) };
            u64::try_from((edge - local).num_milliseconds()).ok()
        };
        let nearest = [self.from, self.to, 0].into_iter().filter_map(to_edge).min().unwrap_or(3_600_000).max(1);
        let changed = |ahead: u64| self.local(at.after(Millis(ahead))).is_some_and(|(_, o)| o != offset);
        if !changed(nearest) {
            return at.after(Millis(nearest));
        }
        let (mut same, mut other) = (0, nearest);
        while same + 1 < other {
            let middle = same + (other - same) / 2;
            if changed(middle) { other = middle } else { same = middle }
        }
        at.after(Millis(other))
    }
}

fn day(word: &Word, diags: &mut Diagnostics) -> Option<NaiveDate> {
    let found = NaiveDate::parse_from_str(&word.0, "%Y-%m-%d").ok();
    if found.is_none() {
        diags.push(Diagnostic::error("bad-value", word.1, format!("`{}` is not a date", text::escape(&word.0))).hint("write `2026-12-25`"));
    }
    found
}

fn minute(word: &Word, diags: &mut Diagnostics) -> u32 {
    match NaiveTime::parse_from_str(&word.0, "%H:%M") {
        Ok(time) => time.hour() * 60 + time.minute(),
        Err(_) => {
            diags.push(
                Diagnostic::error("bad-value", word.1, format!("`{}` is not a time of day", text::escape(&word.0)))
                    .hint("write `22:00`, in quotes"),
            );
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZONES: [Tz; 5] = [Tz::UTC, Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::Asia__Kathmandu];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// The price of a stretch is what a walk minute by minute gives, over clock changes and holidays too.
        #[test]
        fn pieces_are_what_a_walk_by_minutes_gives(
            zone in 0..ZONES.len(), from in 0..1440_u32, to in 0..1440_u32, weekends: bool,
            near in prop::sample::select(vec!["2026-03-08T00:00Z", "2026-03-29T00:00Z", "2026-04-04T00:00Z", "2026-10-03T00:00Z", "2026-10-25T00:00Z", "2026-11-01T00:00Z", "2026-06-10T00:00Z"]),
            shift in 0..2880_i64, minutes in 1..30_000_u64,
        ) {
            let holidays = vec![NaiveDate::from_ymd_opt(2026, 3, 30).unwrap(), NaiveDate::from_ymd_opt(2026, 10, 5).unwrap()];
            let hours = OffPeak { factor: 300_000, from, to, weekends, holidays, zone: ZONES[zone] };
            let start = Timestamp(Timestamp::parse(near).unwrap().0 + shift * 60_000);
            let oracle: i128 = (0..minutes)
                .map(|m| hours.local(start.after(Millis(m * 60_000))).unwrap().0)
                .map(|local| 60_000 * i128::from(if hours.is_cheap(local) { hours.factor } else { ONE }))
                .sum();
            prop_assert_eq!(hours.weighted(start, Millis(minutes * 60_000)), oracle);
        }
    }
}
