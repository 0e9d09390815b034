//! The hours of a rate card: which window of the week a moment lies in, and what it multiplies prices by.
//!
//! In: windows by day and minute, holidays, a time zone. Out: the pieces of a stretch of time, openings. Must be exact over changes of
//! the clock, and never take a step for each night of a length of years.

use std::sync::Arc;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, Timelike};
use chrono_tz::Tz;

use super::ONE;
use crate::base::{Millis, Timestamp};

const WEEK: u64 = 7 * 86_400_000;
/// How far weeks are looked at one by one: twenty years.
const HORIZON: u64 = 1043 * WEEK;
/// How far ahead an opening is looked for: a year and a month, for windows that are open on holidays alone.
const AHEAD: Millis = Millis::from_secs(396 * 86_400);
/// Minutes of a day.
pub const DAY: u32 = 1440;
/// Kinds of days: Monday to Sunday, then holidays.
pub const KINDS: usize = 8;

/// Hours of one name and factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Name.
    pub name: Arc<str>,
    /// Factor of the price, parts per million.
    pub factor: u64,
}

/// The windows of a rate card, in its time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Hours {
    /// All windows.
    pub windows: Vec<Window>,
    /// For each kind of day: from which minute on which window holds. Sorted, the first is minute 0, neighbours differ.
    pub(crate) days: [Vec<(u32, usize)>; KINDS],
    /// Days that count as holidays, sorted.
    pub holidays: Vec<NaiveDate>,
    /// The time zone.
    pub zone: Tz,
}

/// A set of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set(u64);

/// Most windows of a card.
pub const MOST: usize = 64;

impl Default for Hours {
    /// 22:00 to 08:00 and weekends at half price (UTC).
    fn default() -> Self {
        Self::off_peak(ONE / 2, 22 * 60, 8 * 60, true)
    }
}

impl Hours {
    /// One price at all times.
    #[must_use]
    pub fn flat() -> Self {
        let windows = vec![Window { name: "always".into(), factor: ONE }];
        Self { windows, days: std::array::from_fn(|_| vec![(0, 0)]), holidays: Vec::new(), zone: Tz::UTC }
    }

    /// Cheap from one minute of the day to another, over midnight where the second is less, and dear otherwise. Holidays are cheap all
    /// day, and weekends if so said.
    #[must_use]
    pub fn off_peak(factor: u64, from: u32, to: u32, weekends: bool) -> Self {
        let night = |m: u32| if from <= to { (from..to).contains(&m) } else { m >= from || m < to };
        let windows = vec![Window { name: "peak".into(), factor: ONE }, Window { name: "off-peak".into(), factor }];
        let is_cheap = |kind: usize, minute: u32| usize::from(kind == 7 || (kind > 4 && weekends) || night(minute));
        Self::new(windows, is_cheap, Vec::new(), Tz::UTC)
    }

    /// `of` tells the window of each minute of each kind of day.
    pub fn new(windows: Vec<Window>, of: impl Fn(usize, u32) -> usize, holidays: Vec<NaiveDate>, zone: Tz) -> Self {
        let day = |kind: usize| {
            let mut edges: Vec<(u32, usize)> = Vec::new();
            for minute in 0..DAY {
                let window = of(kind, minute);
                if edges.last().is_none_or(|(_, w)| *w != window) {
                    edges.push((minute, window));
                }
            }
            edges
        };
        Self { windows, days: std::array::from_fn(day), holidays, zone }
    }

    /// From which minute on which window holds, for a kind of day.
    #[must_use]
    pub fn day(&self, kind: usize) -> &[(u32, usize)] {
        self.days.get(kind).map_or(&[], Vec::as_slice)
    }

    /// The dearest factor.
    #[must_use]
    pub fn dearest(&self) -> u64 {
        self.windows.iter().map(|w| w.factor).max().unwrap_or(ONE)
    }

    /// The cheapest factor.
    #[must_use]
    pub fn cheapest(&self) -> u64 {
        self.windows.iter().map(|w| w.factor).min().unwrap_or(ONE)
    }

    /// A window by its name. `off-peak` is also what is cheaper than the dearest, where no window has that name.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<Set> {
        let of = |chosen: &dyn Fn(&Window) -> bool| {
            let bits = self.windows.iter().take(MOST).enumerate().filter(|(_, w)| chosen(w)).map(|(i, _)| 1_u64 << i);
            Some(Set(bits.sum())).filter(|s| s.0 != 0)
        };
        let dearest = self.dearest();
        of(&|w| *w.name == *name).or_else(|| of(&|w| name == "off-peak" && w.factor < dearest))
    }

    /// The window of a moment.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<&Window> {
        self.local(at).and_then(|(local, _)| self.windows.get(self.index(local)))
    }

    /// Whether one of these windows is open.
    #[must_use]
    pub fn is_open(&self, set: Set, at: Timestamp) -> bool {
        self.local(at).is_none_or(|(local, _)| set.0 >> self.index(local) & 1 == 1)
    }

    /// When one of these windows is open again, from a moment on; none when that is not within a year.
    #[must_use]
    pub fn next_open(&self, set: Set, from: Timestamp) -> Option<Timestamp> {
        self.next(from, |window| set.0 >> window & 1 == 1)
    }

    /// When a moment's window ends; none when that is not within a year.
    #[must_use]
    pub fn until(&self, at: Timestamp) -> Option<Timestamp> {
        let here = self.index(self.local(at)?.0);
        self.next(at, |window| window != here)
    }

    fn next(&self, from: Timestamp, found: impl Fn(usize) -> bool) -> Option<Timestamp> {
        let (mut at, end) = (from, from.after(AHEAD));
        while at < end {
            let (local, offset) = self.local(at)?;
            if found(self.index(local)) {
                return Some(at);
            }
            at = self.boundary(at, local, offset);
        }
        None
    }

    /// The edges of the day of a local time.
    fn edges(&self, local: NaiveDateTime) -> &[(u32, usize)] {
        let holiday = !self.holidays.is_empty() && self.holidays.binary_search(&local.date()).is_ok();
        self.day(if holiday { 7 } else { local.weekday().num_days_from_monday() as usize })
    }

    /// Number of the window of a local time.
    fn index(&self, local: NaiveDateTime) -> usize {
        let (minute, edges) = (local.hour() * 60 + local.minute(), self.edges(local));
        edges.get(edges.partition_point(|(from, _)| *from <= minute).saturating_sub(1)).map_or(0, |(_, window)| *window)
    }

    /// Sum over the pieces of milliseconds x factor (parts per million).
    #[must_use]
    pub fn weighted(&self, start: Timestamp, length: Millis) -> i128 {
        if let [first, others @ ..] = &self.windows[..]
            && others.iter().all(|w| w.factor == first.factor)
        {
            return i128::from(length.0) * i128::from(first.factor);
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
        self.each(start, length, &mut |from, to, window| {
            sum += i128::from(to.since(from).0) * i128::from(self.windows.get(window).map_or(ONE, |w| w.factor));
        });
        sum
    }

    /// The stretches of one window, by its number, in the order of time; neighbours may have the same.
    pub fn each(&self, start: Timestamp, length: Millis, piece: &mut dyn FnMut(Timestamp, Timestamp, usize)) {
        let (mut at, end) = (start, start.after(length));
        while at < end {
            let Some((local, offset)) = self.local(at) else { return piece(at, end, usize::MAX) };
            let next = self.boundary(at, local, offset).min(end);
            piece(at, next, self.index(local));
            at = next;
        }
    }

    /// The next moment at which the window may change: an edge of the day's hours, midnight, or a change of the clock, whichever
    /// comes first. Clocks are changed at most once in a day.
    fn boundary(&self, at: Timestamp, local: NaiveDateTime, offset: i32) -> Timestamp {
        let minute = local.hour() * 60 + local.minute();
        let next = self.edges(local).iter().map(|(from, _)| *from).find(|from| *from > minute);
        let edge = match next.and_then(|m| NaiveTime::from_hms_opt(m / 60, m % 60, 0)) {
            Some(time) => Some(local.date().and_time(time)),
            None => local.date().checked_add_days(Days::new(1)).map(|day| day.and_time(NaiveTime::MIN)),
        };
        let nearest = edge.and_then(|e| u64::try_from((e - local).num_milliseconds()).ok()).unwrap_or(3_600_000).max(1);
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
            let hours = Hours { holidays, zone: ZONES[zone], ..Hours::off_peak(300_000, from, to, weekends) };
            let start = Timestamp(Timestamp::parse(near).unwrap().0 + shift * 60_000);
            let night = |m: u32| if from <= to { (from..to).contains(&m) } else { m >= from || m < to };
            let is_cheap = |t: NaiveDateTime| {
                let weekend = matches!(t.weekday(), chrono::Weekday::Sat | chrono::Weekday::Sun);
                night(t.hour() * 60 + t.minute()) || (weekends && weekend) || hours.holidays.contains(&t.date())
            };
            let local = |m: u64| hours.local(start.after(Millis(m * 60_000))).unwrap().0;
            let oracle: i128 = (0..minutes).map(|m| 60_000 * if is_cheap(local(m)) { 300_000 } else { i128::from(ONE) }).sum();
            // The next opening, too, is what the walk finds.
            let found = (0..minutes).find(|m| is_cheap(local(*m))).map(|m| start.after(Millis(m * 60_000)));
            let opens = hours.set("off-peak").and_then(|set| hours.next_open(set, start));
            prop_assert!(found.is_none_or(|f| opens == Some(f)), "{:?} {:?}", found, opens);
            prop_assert_eq!(hours.weighted(start, Millis(minutes * 60_000)), oracle);
        }
    }
}
