//! How fast a budget is used up: spending by day, and the day on which it would be gone.
//!
//! In: a rule, when its window began, what was spent when, now. Out: [`Burn`]. Must never hold money as a float, nor project from less than
//! a day.

use chrono::NaiveDate;
use serde::Serialize;

use crate::base::{Millis, Money, Timestamp};
use crate::expand::Rule;

/// Days that the pace is taken from, at most: older spending tells little of what comes.
const RECENT: usize = 14;
/// Days that are shown at most.
const SHOWN: usize = 92;
const DAY: u64 = 86_400_000;

/// Spending towards one budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Burn {
    /// Each day of the window until today, in the budget's time zone.
    #[serde(serialize_with = "dates")]
    pub days: Vec<(NaiveDate, Money)>,
    /// Mean of a day, over the last fourteen of them.
    pub a_day: Option<Money>,
    /// When nothing is left at that pace; none where that is not before the window turns, or nothing is spent.
    #[serde(serialize_with = "text")]
    pub exhausted: Option<Timestamp>,
}

fn text<S: serde::Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|t| t.to_string()).serialize(to)
}

fn dates<S: serde::Serializer>(days: &[(NaiveDate, Money)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(days.iter().map(|(day, amount)| (day.to_string(), amount)))
}

/// Counts what was spent since `begin` and projects what is `left`. `spent` is in any order.
#[must_use]
pub fn burn(rule: &Rule, begin: Timestamp, next: Option<Timestamp>, left: Money, spent: &[(Timestamp, Money)], now: Timestamp) -> Burn {
    let day = |at: Timestamp| at.utc().map(|t| t.with_timezone(&rule.window.zone).date_naive());
    let mine = || spent.iter().filter(|(at, _)| *at >= begin);
    let Some((first, today)) = mine().map(|(at, _)| *at).min().and_then(day).zip(day(now)) else {
        return Burn { days: Vec::new(), a_day: None, exhausted: None };
    };
    // A clock that went back: what is noted tomorrow is of today.
    let dates = first.iter_days().take_while(|d| *d <= today);
    let mut days: Vec<(NaiveDate, Money)> = dates.map(|d| (d, Money::ZERO)).collect();
    if days.is_empty() {
        days.push((today, Money::ZERO));
    }
    for (at, amount) in mine() {
        let Some(date) = day(*at) else { continue };
        let place = usize::try_from((date - first).num_days()).unwrap_or(0).min(days.len() - 1);
        if let Some(slot) = days.get_mut(place) {
            slot.1 += *amount;
        }
    }
    let recent = days.len().min(RECENT);
    let sum: Money = days.iter().rev().take(recent).map(|d| d.1).sum();
    // Today has not passed yet: its part counts as far as it has.
    let from = days
        .get(days.len() - recent)
        .and_then(|d| d.0.and_hms_opt(0, 0, 0))
        .and_then(|t| t.and_local_timezone(rule.window.zone).earliest());
    let passed = now.since(from.map_or(begin, |t| Timestamp(t.timestamp_millis())).max(begin));
    let a_day = (passed.0 >= DAY).then(|| sum.scale(DAY, passed.0));
    let exhausted = a_day.filter(|a| *a > Money::ZERO).and_then(|a_day| {
        let lasts = i128::from(left.max(Money::ZERO).micros()) * i128::from(DAY) / i128::from(a_day.micros());
        let at = now.after(Millis(u64::try_from(lasts).unwrap_or(u64::MAX)));
        // A century ahead nobody is told.
        (lasts < i128::from(DAY) * 36_500 && next.is_none_or(|next| at < next)).then_some(at)
    });
    let skip = days.len().saturating_sub(SHOWN);
    Burn { days: days.split_off(skip), a_day, exhausted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Period, Window};
    use crate::expand::{OnExceed, Scope};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn rule() -> Rule {
        Rule {
            name: "team".into(),
            scope: Scope::Project,
            limit: Money::from_micros(100_000_000),
            window: Window { period: Period::Month, zone: chrono_tz::Tz::Europe__Berlin },
            on_exceed: OnExceed::Stop,
            thresholds: Vec::new(),
            end_running: false,
            span: None,
        }
    }

    #[test]
    fn a_pace_gives_the_day_on_which_it_is_gone() {
        let dollars = |n: i64| Money::from_micros(n * 1_000_000);
        // Midnight in Berlin is 23:00 in UTC: the first counts on the second day.
        let spent = [(at("2026-11-02T23:30Z"), dollars(10)), (at("2026-11-02T10:00Z"), dollars(4)), (at("2026-11-05T12:00Z"), dollars(6))];
        let (begin, next) = (at("2026-10-31T23:00Z"), Some(at("2026-11-30T23:00Z")));
        let found = burn(&rule(), begin, next, dollars(80), &spent, at("2026-11-06T23:00Z"));
        let days: Vec<(String, i64)> = found.days.iter().map(|(d, m)| (d.to_string(), m.micros() / 1_000_000)).collect();
        let want = [("2026-11-02", 4), ("2026-11-03", 10), ("2026-11-04", 0), ("2026-11-05", 6), ("2026-11-06", 0), ("2026-11-07", 0)];
        assert_eq!(days, want.map(|(d, n)| (d.to_owned(), n)));
        // 20 dollars in five days: 80 last for twenty more.
        assert_eq!((found.a_day, found.exhausted), (Some(dollars(4)), Some(at("2026-11-26T23:00Z"))));
        let more = burn(&rule(), begin, next, dollars(200), &spent, at("2026-11-06T23:00Z"));
        assert_eq!(more.exhausted, None, "the window turns before");
        let young = burn(&rule(), begin, next, dollars(80), &spent[1..2], at("2026-11-02T11:00Z"));
        assert_eq!((young.a_day, young.exhausted, young.days.len()), (None, None, 1));
        assert_eq!(burn(&rule(), begin, next, dollars(80), &[], at("2026-11-02T11:00Z")).days, []);
    }
}
