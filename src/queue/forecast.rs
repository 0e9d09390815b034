//! The forecast: the engine's own admission played forward over estimates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::limits::{Demand, Limits};
use super::meter::Meters;
use super::pool::Pool;
use super::wait::WaitReason;
use crate::base::{Millis, Timestamp};
use crate::price::Hours;

/// One run of the forecast.
#[derive(Debug, Clone)]
pub struct Item {
    /// Place in the line.
    pub seq: u64,
    /// What it holds; shared by runs of a job.
    pub demand: Arc<Demand>,
    /// How long it is thought to take; none is unknown.
    pub length: Option<Millis>,
    /// Index of its job.
    pub job: u32,
    /// It runs already, since then.
    pub running_since: Option<Timestamp>,
}

/// When a run is thought to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this time.
    At(Timestamp),
    /// After something whose length nobody knows.
    Unknown,
    /// Never: the pool cannot hold it, or what it needs never ends.
    Never,
}

/// The result.
#[derive(Debug, Clone, Default)]
pub struct Forecast {
    /// For each item.
    pub starts: Vec<Start>,
    /// When the last known run ends.
    pub end: Option<Timestamp>,
    /// Whether every length was known.
    pub certain: bool,
    /// Why runs that are ready wait at the beginning for their team, and how many; by team and what it lacks. Then who waits for the next
    /// window of a quota of GPU-hours when that first happens, by quota.
    pub teams: Vec<(WaitReason, usize)>,
}

/// Openings after which nothing has started and nothing runs: more than a year of nights. What waits then waits for ever.
const FRUITLESS: u32 = 400;

/// Plays the queue forward. `hours` are those of the rate card, for holds; `meters` what was used of quotas of GPU-hours. `needs` names, for
/// each job, the jobs whose runs must all have ended first; jobs without items are done.
#[must_use]
pub fn forecast(limits: &Limits, hours: &Arc<Hours>, meters: &Meters, items: &[Item], needs: &[Vec<u32>], now: Timestamp) -> Forecast {
    let mut play = Play::new(Pool::new(limits.clone(), Arc::clone(hours)).metered(meters), items, needs, now);
    play.run();
    play.teams.extend_from_slice(play.pool.short_of_hours());
    Forecast { starts: play.starts, end: play.last, certain: play.certain, teams: play.teams }
}

struct Play<'a> {
    items: &'a [Item],
    pool: Pool,
    /// Runs of each job that have not ended.
    open: Vec<u32>,
    /// Needs of each job that have not ended.
    blocked: Vec<u32>,
    after: Vec<Vec<u32>>,
    members: Vec<Vec<u32>>,
    ends: BinaryHeap<Reverse<(Timestamp, u32)>>,
    starts: Vec<Start>,
    begun: Vec<Timestamp>,
    now: Timestamp,
    last: Option<Timestamp>,
    certain: bool,
    teams: Vec<(WaitReason, usize)>,
}

impl<'a> Play<'a> {
    fn new(pool: Pool, items: &'a [Item], needs: &[Vec<u32>], now: Timestamp) -> Self {
        let jobs = needs.len();
        let mut play = Self {
            items,
            pool,
            open: vec![0; jobs],
            blocked: vec![0; jobs],
            after: vec![Vec::new(); jobs],
            members: vec![Vec::new(); jobs],
            ends: BinaryHeap::new(),
            starts: vec![Start::Never; items.len()],
            begun: vec![now; items.len()],
            now,
            last: None,
            certain: true,
            teams: Vec::new(),
        };
        for (i, item) in items.iter().enumerate() {
            let job = item.job as usize;
            if let (Some(open), Some(members)) = (play.open.get_mut(job), play.members.get_mut(job)) {
                *open += 1;
                members.push(u32::try_from(i).unwrap_or(u32::MAX));
            }
        }
        for (job, list) in needs.iter().enumerate() {
            for need in list.iter().filter(|n| play.open.get(**n as usize).is_some_and(|o| *o > 0)).collect::<Vec<_>>() {
                if let Some(after) = play.after.get_mut(*need as usize) {
                    after.push(u32::try_from(job).unwrap_or(u32::MAX));
                }
                if let Some(blocked) = play.blocked.get_mut(job) {
                    *blocked += 1;
                }
            }
        }
        play
    }

    fn run(&mut self) {
        for (i, item) in self.items.iter().enumerate() {
            if let Some(since) = item.running_since {
                self.pool.hold(&item.demand);
                self.begin(i, since);
            }
        }
        for job in 0..self.open.len() {
            if self.blocked.get(job) == Some(&0) {
                self.unlock(job);
            }
        }
        self.admit();
        self.teams = self.pool.teams_that_wait(self.now);
        let mut fruitless = 0;
        loop {
            let (end, opening) = (self.ends.peek().map(|Reverse((time, _))| *time), self.pool.next_opening(self.now));
            let Some(next) = [end, opening].into_iter().flatten().min() else { return };
            self.now = self.now.max(next);
            // Everything that ends at the same moment is free before the next is chosen.
            while self.ends.peek().is_some_and(|Reverse((time, _))| *time <= self.now) {
                if let Some(Reverse((_, run))) = self.ends.pop() {
                    self.end(run);
                }
            }
            let started = self.admit();
            fruitless = if started || end.is_some() { 0 } else { fruitless + 1 };
            if fruitless > FRUITLESS {
                return;
            }
        }
    }

    /// True when something started.
    fn admit(&mut self) -> bool {
        let admitted = self.pool.admit(self.now);
        for run in &admitted {
            self.begin(*run as usize, self.now);
        }
        !admitted.is_empty()
    }

    fn begin(&mut self, index: usize, at: Timestamp) {
        let Some(item) = self.items.get(index) else { return };
        if let Some(start) = self.starts.get_mut(index) {
            *start = if self.certain { Start::At(at) } else { Start::Unknown };
        }
        if let Some(begun) = self.begun.get_mut(index) {
            *begun = at;
        }
        let end = at.after(item.length.unwrap_or_default()).max(self.now);
        self.ends.push(Reverse((end, u32::try_from(index).unwrap_or(u32::MAX))));
    }

    fn end(&mut self, index: u32) {
        let Some(item) = self.items.get(index as usize) else { return };
        self.certain &= item.length.is_some();
        if self.certain {
            self.last = self.last.max(Some(self.now));
        }
        if item.demand.gpu_time > 0 {
            let ran = self.begun.get(index as usize).map_or(Millis(0), |begun| self.now.since(*begun));
            self.pool.spend(item.demand.team.as_deref(), ran.0.saturating_mul(u64::from(item.demand.gpu)), self.now);
        }
        self.pool.release(&item.demand);
        let job = item.job as usize;
        let Some(open) = self.open.get_mut(job) else { return };
        *open -= 1;
        if *open > 0 {
            return;
        }
        for after in self.after.get(job).cloned().unwrap_or_default() {
            let Some(blocked) = self.blocked.get_mut(after as usize) else { continue };
            *blocked -= 1;
            if *blocked == 0 {
                self.unlock(after as usize);
            }
        }
    }

    fn unlock(&mut self, job: usize) {
        for index in self.members.get(job).cloned().unwrap_or_default() {
            if let Some(item) = self.items.get(index as usize).filter(|i| i.running_since.is_none()) {
                self.pool.enqueue(index, item.seq, &item.demand);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Quotas, WaitReason};

    fn demand(weight: i32, gpu: u32, cpu_millis: u64) -> Demand {
        Demand { weight, class: "normal".into(), gpu, cpu_millis, ..Demand::default() }
    }

    fn flat() -> Arc<Hours> {
        Arc::new(Hours::flat())
    }

    fn limits(slots: u32, gpu: u32, cpu_millis: u64) -> Limits {
        Limits {
            max_concurrent: slots,
            quotas: Quotas { gpu: Some(gpu), cpu_millis: Some(cpu_millis), memory_bytes: None },
            ..Limits::default()
        }
    }

    fn starts(limits: &Limits, demands: &[(Demand, u64)]) -> Vec<i64> {
        let item = |(i, (d, s)): (usize, &(Demand, u64))| Item {
            seq: i as u64,
            demand: Arc::new(d.clone()),
            length: Some(Millis::from_secs(*s)),
            job: 0,
            running_since: None,
        };
        let items: Vec<Item> = demands.iter().enumerate().map(item).collect();
        let f = forecast(limits, &flat(), &Meters::default(), &items, &[vec![]], Timestamp(0));
        f.starts.iter().map(|s| if let Start::At(t) = s { t.0 / 1000 } else { -1 }).collect()
    }

    #[test]
    fn priority_then_first_in_first_out() {
        let (low, high) = (demand(10, 0, 0), demand(1000, 0, 0));
        assert_eq!(starts(&limits(1, 0, 0), &[(low.clone(), 10), (low, 10), (high, 10)]), [10, 20, 0]);
    }

    #[test]
    fn a_lower_run_passes_a_waiting_head_only_without_delaying_it() {
        let (gpu, cpu) = (demand(100, 1, 1000), demand(100, 0, 1000));
        // One GPU: the second waits for it. A run of cores alone passes while the head's own core stays free.
        assert_eq!(starts(&limits(9, 1, 3000), &[(gpu.clone(), 10), (gpu.clone(), 10), (cpu.clone(), 5), (cpu.clone(), 5)]), [0, 10, 0, 5]);
        // Two slots: the last one is the head's.
        assert_eq!(starts(&limits(2, 1, 9000), &[(gpu.clone(), 10), (gpu, 10), (cpu, 5)])[2], 10);
    }

    #[test]
    fn a_sweep_at_its_own_limit_holds_nobody_else_back() {
        let mut trial = demand(100, 0, 0);
        trial.parallel = Some(("w/train".into(), 1));
        let other = demand(100, 0, 0);
        assert_eq!(starts(&limits(9, 0, 0), &[(trial.clone(), 10), (trial, 10), (other, 5)]), [0, 10, 0]);
    }

    #[test]
    fn a_team_at_its_quota_waits_for_itself_and_holds_no_other_team_back() {
        let of = |team: &str, weight, gpu| Demand { team: Some(team.into()), ..demand(weight, gpu, 1000) };
        let mut limits = limits(9, 8, 90_000);
        let quotas = Quotas { gpu: Some(2), ..Quotas::default() };
        limits.teams.insert("vision".into(), crate::queue::TeamLimits { quotas, ..Default::default() });
        // Vision holds one GPU of two: its next asks for two and waits; what is behind it in the team takes no GPU before it, but may
        // take cores; speech starts at once, also behind it in the line.
        let line = [
            (of("vision", 100, 1), 10),
            (of("vision", 100, 2), 10),
            (of("vision", 10, 1), 5),
            (of("vision", 10, 0), 5),
            (of("speech", 10, 4), 5),
        ];
        assert_eq!(starts(&limits, &line), [0, 10, 20, 0, 0]);
        let item = |(i, (d, s)): (usize, &(Demand, u64))| Item {
            seq: i as u64,
            demand: Arc::new(d.clone()),
            length: Some(Millis::from_secs(*s)),
            job: 0,
            running_since: None,
        };
        let items: Vec<Item> = line.iter().enumerate().map(item).collect();
        let waits = forecast(&limits, &flat(), &Meters::default(), &items, &[vec![]], Timestamp(0)).teams;
        assert_eq!(waits.iter().map(|(w, n)| (w.to_string(), *n)).collect::<Vec<_>>(), [("team vision holds 1 of 2 GPUs".to_owned(), 1)]);
        let four = of("vision", 1, 4);
        assert_eq!(limits.never_in_team(&four).map(|(words, _)| words).as_deref(), Some("asks for 4 GPUs, team vision has 2"));
        assert_eq!(limits.never_in_team(&of("speech", 1, 4)), None);
    }

    #[test]
    fn unknown_lengths_make_later_starts_unknown() {
        let item = |job, length| Item { seq: 0, demand: Arc::new(demand(1, 0, 0)), length, job, running_since: None };
        let two = [item(0, None), item(1, Some(Millis(5)))];
        let f = forecast(&limits(9, 0, 0), &flat(), &Meters::default(), &two, &[vec![], vec![0]], Timestamp(0));
        assert_eq!(f.starts, [Start::At(Timestamp(0)), Start::Unknown]);
        assert!(!f.certain);
    }

    #[test]
    fn says_why_a_run_waits() {
        let mut pool = Pool::new(limits(9, 1, 9000), flat());
        let gpu = demand(100, 1, 0);
        pool.enqueue(0, 0, &gpu);
        pool.enqueue(1, 1, &gpu);
        assert_eq!(pool.admit(Timestamp(0)), [0]);
        let reason = WaitReason::Quota { what: "GPUs", class: None, asks: "1".into(), free: "0".into() };
        assert_eq!(pool.reasons(Timestamp(0)).get(&gpu), Some(&reason));
    }
}
