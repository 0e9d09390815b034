//! The queue as people and agents see it: who runs, who waits in which place, from when and for how much.
//!
//! In: the state, the pool, prices, now. Out: [`Board`]. Start times are those of the one forecast, which plays the engine's own
//! admission forward. Must never guess: what nobody can know is `None`.

use std::cmp::Reverse;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::forecast::{Item, Start, forecast};
use super::limits::{Demand, Limits};
use super::meter::Meters;
use crate::base::{Address, Millis, Money, Timestamp};
use crate::price::Rates;
use crate::record::{JobSpec, Pause, RunRecord, RunStatus, State};

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The run.
    pub address: Address,
    /// Its place among those that wait, from 1 on.
    pub position: usize,
    /// Priority class.
    pub class: Arc<str>,
    /// When it is thought to start; none while nobody can know, or while the queue is paused.
    pub start: Option<Timestamp>,
    /// What it is expected to cost then; none is unpriced.
    pub cost: Option<Money>,
    /// When it was planned.
    pub since: Timestamp,
}

/// A run that holds its part of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The run.
    pub address: Address,
    /// Priority class.
    pub class: Arc<str>,
    /// When its attempt started, or was admitted.
    pub since: Timestamp,
    /// When it is thought to end.
    pub end: Option<Timestamp>,
    /// What it is expected to cost.
    pub cost: Option<Money>,
}

/// Everything that runs and waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// In the order of the line: weight of the class, then first in first out.
    pub waiting: Vec<Waiting>,
    /// In the order of starting.
    pub running: Vec<Live>,
    /// What all that waits is expected to cost together, as far as it has a price.
    pub pending_cost: Money,
    /// Runs that wait and have no price.
    pub unpriced: usize,
    /// Most runs at a time.
    pub slots: u32,
    /// When a run that is submitted now, at normal priority and asking for a slot alone, is thought to start.
    pub next_free: Option<Timestamp>,
    /// When the last run is thought to end.
    pub end: Option<Timestamp>,
    /// Who paused the queue.
    pub paused: Option<Pause>,
}

impl Board {
    /// Where a run waits.
    #[must_use]
    pub fn of(&self, address: &Address) -> Option<&Waiting> {
        self.waiting.iter().find(|w| w.address == *address)
    }
}

/// Demands and jobs by number, each made once.
struct Numbers<'a> {
    limits: &'a Limits,
    demands: FxHashMap<*const JobSpec, Arc<Demand>>,
    jobs: FxHashMap<Arc<str>, u32>,
    needs: Vec<Vec<Arc<str>>>,
}

impl Numbers<'_> {
    fn item(&mut self, record: &RunRecord) -> Item {
        let spec = &record.spec;
        let next = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        let job = *self.jobs.entry(Arc::clone(&spec.job.job)).or_insert_with(|| {
            self.needs.push(spec.job.needs.clone());
            next
        });
        let demand = self.demands.entry(Arc::as_ptr(&spec.job)).or_insert_with(|| Arc::new(self.limits.demand(&spec.job)));
        let running_since = record.live_attempt().map(|a| a.started_at.unwrap_or(a.admitted_at));
        Item { seq: record.seq, demand: Arc::clone(demand), length: spec.job.estimate.time, job, running_since }
    }
}

/// Looks at all runs that are not over. `meters` say what was used of quotas of GPU-hours.
#[must_use]
pub fn board(state: &State, limits: &Limits, meters: &Meters, rates: &Rates, now: Timestamp) -> Board {
    let mut open: Vec<&RunRecord> = state.runs.values().filter(|r| !r.status.is_terminal()).collect();
    open.sort_by_key(|r| (r.status == RunStatus::Pending, Reverse(r.spec.job.priority.weight), r.seq));
    let mut numbers = Numbers { limits, demands: FxHashMap::default(), jobs: FxHashMap::default(), needs: Vec::new() };
    let mut items: Vec<Item> = open.iter().map(|r| numbers.item(r)).collect();
    let probe = Demand { weight: 100, class: "normal".into(), ..Demand::default() };
    let job = u32::try_from(numbers.needs.len()).unwrap_or(u32::MAX);
    // It takes no time: what nobody knows of it must not make the starts of others unknown.
    items.push(Item { seq: u64::MAX, demand: Arc::new(probe), length: Some(Millis(0)), job, running_since: None });
    let mut needs: Vec<Vec<u32>> =
        numbers.needs.iter().map(|list| list.iter().filter_map(|n| numbers.jobs.get(n).copied()).collect()).collect();
    needs.push(Vec::new());
    let played = forecast(limits, &rates.hours, meters, &items, &needs, now);
    let paused = state.paused.clone();
    let start = |i: usize| match played.starts.get(i) {
        Some(Start::At(time)) if paused.is_none() => Some(*time),
        _ => None,
    };
    let mut board = Board { slots: limits.max_concurrent, next_free: start(open.len()), end: None, ..Board::default() };
    let mut certain = true;
    for (i, record) in open.iter().enumerate() {
        let job = &record.spec.job;
        let begins = start(i);
        let cost = rates.estimate(job, begins.unwrap_or(now)).cost.map(|c| c.expected);
        let end = begins.zip(job.estimate.time).map(|(s, t)| s.after(t).max(now));
        certain &= end.is_some();
        board.end = board.end.max(end);
        let (address, class) = (record.spec.address.clone(), Arc::clone(&job.priority.class));
        if record.status == RunStatus::Pending {
            board.pending_cost += cost.unwrap_or_default();
            board.unpriced += usize::from(cost.is_none());
            let position = board.waiting.len() + 1;
            board.waiting.push(Waiting { address, position, class, start: begins, cost, since: record.planned_at });
        } else {
            let since = record.live_attempt().map_or(now, |a| a.started_at.unwrap_or(a.admitted_at));
            let end = job.estimate.time.map(|t| since.after(t).max(now));
            board.running.push(Live { address, class, since, end, cost });
        }
    }
    board.running.sort_by_key(|r| r.since);
    board.end = board.end.filter(|_| certain);
    board.paused = paused;
    board
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Event, Priority, RunSpec};

    fn planned(state: &mut State, address: &str, class: (&str, i32), seconds: u64, needs: &[&str]) {
        let address = Address::parse(address).unwrap_or_default();
        let mut job = JobSpec { job: address.job().into(), needs: needs.iter().map(|n| (*n).into()).collect(), ..JobSpec::default() };
        job.priority = Priority { class: class.0.into(), weight: class.1 };
        job.resources.cpu_millis = 1000;
        job.estimate.time = Some(Millis::from_secs(seconds));
        state.apply(&Event::Planned { spec: RunSpec { address, job: job.into(), ..RunSpec::default() }.into() }, Timestamp(0));
    }

    fn seen(board: &Board) -> Vec<(&str, usize, i64)> {
        board.waiting.iter().map(|w| (w.address.as_str(), w.position, w.start.map_or(-1, |s| s.0 / 1000))).collect()
    }

    #[test]
    fn places_starts_and_money_of_the_line() {
        let mut state = State::default();
        planned(&mut state, "a/x", ("normal", 100), 3600, &[]);
        planned(&mut state, "a/y", ("normal", 100), 3600, &["a/x"]);
        planned(&mut state, "b/x", ("urgent", 1000), 3600, &[]);
        // 02:00 on a Thursday: off-peak until 08:00, half of 0.05 an hour and urgent half more.
        let limits = Limits { max_concurrent: 1, ..Limits::default() };
        let board = board(&state, &limits, &Meters::default(), &Rates::default(), Timestamp(2 * 3_600_000));
        assert_eq!(seen(&board), [("b/x", 1, 7200), ("a/x", 2, 10800), ("a/y", 3, 14400)]);
        let costs: Vec<String> = board.waiting.iter().filter_map(|w| w.cost).map(Money::decimal).collect();
        assert_eq!(costs, ["0.0375", "0.025", "0.025"]);
        assert_eq!((board.pending_cost.decimal().as_str(), board.unpriced), ("0.0875", 0));
        assert_eq!((board.next_free.map(|t| t.0), board.end.map(|t| t.0)), (Some(18_000_000), Some(18_000_000)));
    }

    #[test]
    fn a_paused_line_promises_no_times() {
        let mut state = State::default();
        planned(&mut state, "a/x", ("normal", 100), 60, &[]);
        state.apply(&Event::QueuePaused { by: "me".to_owned() }, Timestamp(5));
        let board = board(&state, &Limits::default(), &Meters::default(), &Rates::default(), Timestamp(10));
        assert_eq!(seen(&board), [("a/x", 1, -1)]);
        assert_eq!((board.next_free, board.paused.map(|p| p.by)), (None, Some("me".to_owned())));
    }
}
