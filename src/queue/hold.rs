//! Holds for cheap hours: since when, or until when, a run waits for a window of the rate card.
//!
//! In: the window, the latest start, the hours of the card, now. Out: [`Opening`]. The pool asks here and nowhere else, so that plan,
//! forecast and engine start a held run at the same moment. Must never hold a run for a window that does not come before its deadline.

use std::sync::Arc;

use crate::base::{Millis, Timestamp};
use crate::price::Hours;
use crate::record::JobSpec;

const MINUTE: i64 = 60_000;

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hold {
    /// Name of the window.
    pub window: Arc<str>,
    /// When the run must be done, or started where nobody knows how long it takes.
    pub by: Option<Timestamp>,
    /// From this moment on it waits for the window no longer: `by` less the upper end of its estimate, on whole minutes.
    pub latest: Option<Timestamp>,
}

/// What a hold says at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The window is open.
    Open,
    /// The card has no such window, or it does not open within a year: it is not waited for.
    Unknown,
    /// The latest start has come.
    Due,
    /// The window does not open before `by`: nothing is won by waiting.
    Pointless,
    /// The window opens then.
    Opens(Timestamp),
    /// The window opens too late for all of it: the latest start comes first, and a part of the run is cheap.
    Early(Timestamp),
}

impl Opening {
    /// When it may start; none is now.
    #[must_use]
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::Opens(time) | Self::Early(time) => Some(time),
            Self::Open | Self::Unknown | Self::Due | Self::Pointless => None,
        }
    }
}

impl Hold {
    /// Of a run; none where it waits for no window.
    #[must_use]
    pub fn of(job: &JobSpec) -> Option<Self> {
        let start = job.start.as_ref()?;
        let latest = start.by.map(|by| {
            let latest = by.0.saturating_sub_unsigned(length(job).unwrap_or_default().0);
            Timestamp(latest.saturating_sub(latest.rem_euclid(MINUTE)))
        });
        Some(Self { window: Arc::clone(&start.window), by: start.by, latest })
    }

    /// What it says at a moment.
    #[must_use]
    pub fn at(&self, hours: &Hours, now: Timestamp) -> Opening {
        let Some(window) = hours.set(&self.window) else { return Opening::Unknown };
        if hours.is_open(window, now) {
            return Opening::Open;
        }
        if self.latest.is_some_and(|latest| latest <= now) {
            return Opening::Due;
        }
        match (hours.next_open(window, now), self.by, self.latest) {
            (Some(opens), None, _) => Opening::Opens(opens),
            (None, None, _) => Opening::Unknown,
            (Some(opens), Some(by), latest) if opens < by => match latest.filter(|l| *l < opens) {
                Some(latest) => Opening::Early(latest),
                None => Opening::Opens(opens),
            },
            _ => Opening::Pointless,
        }
    }
}

/// How long a run takes at the most, as far as is thought: the upper end of the interval, else the expected time.
#[must_use]
pub fn length(job: &JobSpec) -> Option<Millis> {
    job.estimate.interval.map(|(_, high)| high).or(job.estimate.time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::window;
    use crate::record::StartSpec;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_default()
    }

    fn hold(by: Option<&str>, seconds: u64) -> Hold {
        let mut job = JobSpec { start: Some(StartSpec { window: "off-peak".into(), by: by.map(at) }), ..JobSpec::default() };
        job.estimate.time = Some(Millis::from_secs(seconds));
        Hold::of(&job).unwrap()
    }

    #[test]
    fn it_waits_for_the_window_unless_the_deadline_comes_first() {
        let (hours, noon) = (Hours::default(), at("2026-11-24T12:00Z"));
        let says = |by, seconds| hold(by, seconds).at(&hours, noon);
        let night = at("2026-11-24T22:00Z");
        assert_eq!(says(None, 3600), Opening::Opens(night));
        assert_eq!(says(Some("2026-11-25T08:00Z"), 3600), Opening::Opens(night));
        assert_eq!(says(Some("2026-11-24T23:00Z"), 7200), Opening::Early(at("2026-11-24T21:00Z")));
        assert_eq!(says(Some("2026-11-24T20:00Z"), 3600), Opening::Pointless, "before the window");
        assert_eq!(says(Some("2026-11-24T23:00Z"), 40_000), Opening::Due, "no time is left to wait");
        assert_eq!(says(Some("2026-11-20T08:00Z"), 3600), Opening::Due, "past");
        assert_eq!(hold(None, 1).at(&hours, night), Opening::Open);
        assert_eq!(Hold { window: "nigth".into(), ..hold(None, 1) }.at(&hours, noon), Opening::Unknown);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Until the moment that it names a hold goes on naming that moment, then it lets go; it never waits past the latest start.
        #[test]
        fn a_hold_keeps_its_word(
            zone in 0..4_usize, from in 0..1440_u32, to in 0..1440_u32, weekends: bool, shift in 0..20_160_i64,
            by in prop::option::of(0..6_000_i64), minutes in 0..900_u64, near in prop::sample::select(vec!["2026-03-27T00:00Z", "2026-10-23T00:00Z", "2026-06-01T00:00Z"]),
        ) {
            let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
            let mut diags = crate::base::Diagnostics::default();
            let span = crate::base::Span { file: crate::base::FileId(0), start: 0, end: 0 };
            let zone = window::zone(zones[zone], span, &mut diags).unwrap();
            let hours = Hours { zone, ..Hours::off_peak(500_000, from, to, weekends) };
            let now = Timestamp(at(near).0 + shift * MINUTE);
            let by = by.map(|m| Timestamp(now.0 + m * MINUTE));
            let mut job = JobSpec { start: Some(StartSpec { window: "off-peak".into(), by }), ..JobSpec::default() };
            job.estimate.time = Some(Millis(minutes * 60_000));
            let hold = Hold::of(&job).unwrap();
            let set = hours.set("off-peak").unwrap();
            let Some(until) = hold.at(&hours, now).until() else {
                // It starts now: the window is open, or never opens in time.
                let opens = hours.next_open(set, now);
                let open = opens == Some(now);
                prop_assert!(open || opens.is_none() || by.is_some_and(|by| opens >= Some(by)) || hold.latest <= Some(now));
                return Ok(());
            };
            prop_assert!(until > now && hold.latest.is_none_or(|l| until <= l));
            let mut t = now;
            while t < until {
                prop_assert!(!hours.is_open(set, t), "held though open at {}", t);
                prop_assert_eq!(hold.at(&hours, t).until(), Some(until));
                t = t.after(Millis(17 * 60_000));
            }
            prop_assert_eq!(hold.at(&hours, until).until(), None);
        }
    }
}
