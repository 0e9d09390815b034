//! Cheap hours: which stretches of a time are off-peak.

use chrono::{Datelike, Days, NaiveDateTime, NaiveTime, TimeZone, Timelike, Weekday};
use chrono_tz::Tz;

use super::ONE;
use crate::base::{Diagnostic, Diagnostics, Millis, Timestamp, text};
use crate::spec::types::{OffPeakDecl, Word};

const WEEK: u64 = 7 * 86_400_000;

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
    /// The time zone.
    pub zone: Tz,
}

impl Default for OffPeak {
    fn default() -> Self {
        Self { factor: ONE / 2, from: 22 * 60, to: 8 * 60, weekends: true, zone: Tz::UTC }
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
        if let Some(zone) = decl.timezone.as_ref().and_then(|w| crate::base::window::zone(&w.0, w.1, diags)) {
            hours.zone = zone;
        }
        hours
    }

    /// Whether a local time is cheap.
    fn is_cheap(&self, local: NaiveDateTime) -> bool {
        let minute = local.hour() * 60 + local.minute();
        let night = if self.from <= self.to { (self.from..self.to).contains(&minute) } else { minute >= self.from || minute < self.to };
        night || (self.weekends && matches!(local.weekday(), Weekday::Sat | Weekday::Sun))
    }

    /// Sum over the pieces of milliseconds x factor (parts per million).
    #[must_use]
    pub fn weighted(&self, start: Timestamp, length: Millis) -> i128 {
        if self.factor == ONE {
            return i128::from(length.0) * i128::from(ONE);
        }
        // Whole weeks are alike: a length of years does not take a step for each night.
        let weeks = length.0 / WEEK;
        let whole = if weeks > 0 { self.pieces(start, Millis(WEEK)) * i128::from(weeks) } else { 0 };
        whole + self.pieces(start, Millis(length.0 % WEEK))
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
            let Some(local) = at.utc().map(|t| t.with_timezone(&self.zone).naive_local()) else {
                return piece(at, end, ONE);
            };
            let next = self.boundary(at, local).min(end);
            piece(at, next, if self.is_cheap(local) { self.factor } else { ONE });
            at = next;
        }
    }

    /// The next moment at which the price may change. Local times that a clock change leaves out are stepped over by the hour.
    fn boundary(&self, at: Timestamp, local: NaiveDateTime) -> Timestamp {
        let midnight = 0;
        let next = [self.from, self.to, midnight]
            .into_iter()
            .filter_map(|minute| {
                let time = NaiveTime::from_hms_opt(minute / 60 % 24, minute % 60, 0)?;
                let today = local.date().and_time(time);
                if today > local { Some(today) } else { local.date().checked_add_days(Days::new(1)).map(|d| d.and_time(time)) }
            })
            .filter_map(|t| self.zone.from_local_datetime(&t).earliest())
            .map(|t| Timestamp(t.timestamp_millis()))
            .filter(|t| *t > at)
            .min();
        let hour = at.after(Millis::from_secs(3600));
        next.unwrap_or(hour)
    }
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
