//! GPU-hours: what the pool and each team have used in their windows, and whether a run fits into the rest.
//!
//! In: quotas, what the ledger says was used, what live runs hold. Out: [`Short`], or nothing where it fits. The pool asks here and
//! nowhere else, so that plan, forecast and engine agree. Must never admit past `used + held`; a run counts in the window in which it
//! ends, and holds what it is thought to need in every window that it lives in, as budgets count money.

use std::sync::Arc;

use super::limits::{Demand, Limits};
use super::wait::WaitReason;
use crate::base::Timestamp;
use crate::expand::gpu_time::GpuTime;

/// What was used of one quota in its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// Whose it is; none for the pool's.
    pub team: Option<Arc<str>>,
    /// The quota.
    pub quota: GpuTime,
    /// GPU-milliseconds of attempts that ended in the window.
    pub used: u64,
    /// Begin of the window; none before anybody looked. It never moves back, whatever the clock does.
    pub start: Option<Timestamp>,
    /// Begin of the next window.
    pub next: Option<Timestamp>,
}

/// All quotas of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meters(Vec<Meter>);

/// A quota into which a run does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// Whose quota.
    pub team: Option<Arc<str>>,
    /// What it asks for, in GPU-milliseconds.
    pub asks: u64,
    /// What is free.
    pub left: u64,
    /// The quota.
    pub quota: GpuTime,
    /// When the next window begins.
    pub next: Option<Timestamp>,
    /// Not even the end of all live runs would make room: it waits for the next window.
    pub spent: bool,
}

impl Short {
    /// Why the run waits.
    #[must_use]
    pub fn reason(&self) -> WaitReason {
        WaitReason::GpuHours {
            team: self.team.clone(),
            asks: self.asks,
            left: self.left,
            quota: self.quota,
            until: self.next.filter(|_| self.spent),
        }
    }
}

impl Meter {
    /// Begins a new window when its time has come.
    fn turn(&mut self, now: Timestamp) {
        let window = self.quota.window;
        if self.start.is_none() {
            // Who counted before the first look counted for this window.
            (self.start, self.next) = (Some(window.start(now)), window.next(now));
        } else if let Some((start, next)) = window.turned(self.next, now) {
            (self.start, self.next, self.used) = (Some(start), next, 0);
        }
    }

    /// Whether a run of a team counts.
    #[must_use]
    pub fn covers(&self, team: Option<&str>) -> bool {
        self.team.is_none() || self.team.as_deref() == team
    }
}

impl Meters {
    /// Of these limits, with nothing used.
    #[must_use]
    pub fn new(limits: &Limits, now: Timestamp) -> Self {
        let mut meters = Self::unread(limits);
        meters.turn(now);
        meters
    }

    /// Before anybody looked at the clock.
    pub(super) fn unread(limits: &Limits) -> Self {
        let meter = |team: Option<&Arc<str>>, quota: Option<GpuTime>| {
            quota.map(|quota| Meter { team: team.cloned(), quota, used: 0, start: None, next: None })
        };
        let teams = limits.teams.iter().filter_map(|(name, team)| meter(Some(name), team.gpu_time));
        Self(meter(None, limits.gpu_time).into_iter().chain(teams).collect())
    }

    /// What was used, as other meters know it.
    pub(super) fn take(&mut self, known: &Self) {
        for meter in &mut self.0 {
            if let Some(other) = known.0.iter().find(|m| m.team == meter.team && m.quota.window == meter.quota.window) {
                (meter.used, meter.start, meter.next) = (other.used, other.start, other.next);
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Meter> {
        self.0.iter()
    }

    /// All of them, to fill in what was used.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Meter> {
        self.0.iter_mut()
    }

    /// True where GPU-hours are no matter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins the windows whose time has come.
    pub fn turn(&mut self, now: Timestamp) {
        self.0.iter_mut().for_each(|meter| meter.turn(now));
    }

    /// Counts what an attempt that ended now has used.
    pub fn spend(&mut self, team: Option<&str>, gpu_millis: u64, now: Timestamp) {
        self.turn(now);
        for meter in self.0.iter_mut().filter(|m| m.covers(team)) {
            meter.used = meter.used.saturating_add(gpu_millis);
        }
    }

    /// The quota that keeps a run back; `held` is what live runs of a team, or all of them, hold. A window that is used up comes before one
    /// that live runs still hold.
    #[must_use]
    pub fn lacks(&self, demand: &Demand, held: impl Fn(Option<&Arc<str>>) -> u64) -> Option<Short> {
        if demand.gpu_time == 0 {
            return None;
        }
        let short = |meter: &Meter| {
            let (limit, asks) = (meter.quota.limit, demand.gpu_time);
            let taken = meter.used.saturating_add(held(meter.team.as_ref()));
            (taken.saturating_add(asks) > limit).then(|| Short {
                team: meter.team.clone(),
                asks,
                left: limit.saturating_sub(taken),
                quota: meter.quota,
                next: meter.next.filter(|_| asks <= limit),
                spent: meter.used.saturating_add(asks) > limit,
            })
        };
        let mut all = self.0.iter().filter(|m| m.covers(demand.team.as_deref())).filter_map(short);
        let first = all.next()?;
        if first.spent { Some(first) } else { Some(all.find(|s| s.spent).unwrap_or(first)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Millis, Period, Window};
    use crate::queue::{Start, forecast, forecast::Item};

    const HOUR: u64 = 3_600_000;

    fn item(seq: u64, gpu: u32, hours: u64) -> Item {
        let demand = Demand {
            weight: 100,
            class: "normal".into(),
            gpu,
            team: Some("vision".into()),
            gpu_time: u64::from(gpu) * hours * HOUR,
            ..Demand::default()
        };
        Item { seq, demand: Arc::new(demand), length: Some(Millis(hours * HOUR)), job: 0, running_since: None }
    }

    fn limits(hours: u64) -> Limits {
        let mut limits = Limits { max_concurrent: 9, ..Limits::default() };
        let window = Window { period: Period::Day, ..Window::default() };
        let gpu_time = Some(GpuTime { limit: hours * HOUR, window, span: None });
        limits.teams.insert("vision".into(), crate::queue::TeamLimits { gpu_time, ..Default::default() });
        limits
    }

    /// Hours of the starts, from midnight; `used` before.
    fn starts(limits: &Limits, used: u64, now: u64, items: &[Item]) -> (Vec<i64>, Vec<String>) {
        let at = |h: u64| Timestamp(i64::try_from(h * HOUR).unwrap());
        let mut meters = Meters::new(limits, at(now));
        meters.iter_mut().for_each(|m| m.used = used * HOUR);
        let played = forecast(limits, &Arc::new(crate::price::Hours::flat()), &meters, items, &[vec![]], at(now));
        let hours = played.starts.iter().map(|s| if let Start::At(t) = s { t.0 / i64::try_from(HOUR).unwrap() } else { -1 }).collect();
        (hours, played.teams.iter().map(|(why, runs)| format!("{why}: {runs}")).collect())
    }

    #[test]
    fn what_does_not_fit_waits_for_the_next_window_and_holds_back_nobody_who_ends_before() {
        // Eight hours a day, three used. Six do not fit today: they start at midnight. Two of an hour may go before; one that would live
        // on past midnight may not take what the first was promised.
        let line = [item(0, 2, 3), item(1, 1, 1), item(2, 1, 1), item(3, 1, 5)];
        let why = "asks for 6 GPU-hours, team vision has 5 of 8 a day left until 1970-01-02T00:00Z: 1";
        assert_eq!(starts(&limits(8), 3, 20, &line), (vec![24, 20, 20, 48], vec![why.to_owned()]));
        // What it lives on into counts where it ends.
        let line = [item(0, 4, 1), item(1, 4, 1), item(2, 1, 1)];
        assert_eq!(starts(&limits(8), 0, 23, &line).0, [23, 23, 48], "both end at midnight and use up the second day");
        // Live runs hold what they are thought to need: the next waits for their end, not for the window.
        assert_eq!(starts(&limits(8), 0, 1, &[item(0, 2, 3), item(1, 1, 2), item(2, 1, 1)]).0, [1, 1, 24]);
    }

    #[test]
    fn what_can_never_fit_waits_for_no_window() {
        assert_eq!(starts(&limits(8), 0, 1, &[item(0, 9, 1), item(1, 1, 1)]), (vec![-1, 1], vec![]));
    }

    #[test]
    fn a_clock_that_goes_back_opens_no_window_anew() {
        let limits = limits(8);
        let mut meters = Meters::new(&limits, Timestamp(0));
        meters.spend(Some("vision"), 5, Timestamp(2 * 86_400_000));
        meters.spend(Some("speech"), 7, Timestamp(86_400_000));
        meters.spend(Some("vision"), 1, Timestamp(86_400_000));
        assert_eq!(meters.iter().map(|m| (m.used, m.start.map(|t| t.0))).collect::<Vec<_>>(), [(6, Some(2 * 86_400_000))]);
    }
}
