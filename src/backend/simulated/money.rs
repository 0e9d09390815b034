//! Budgets in the simulated world: what really runs is priced by the second, and held against every hard limit after every event.
//!
//! In: the cluster's executions, rules, rates. Out: a broken promise, if there is one. Must never look at what the engine believes: money is
//! counted from what ran.
//!
//! The promise (promise 2): real spending passes a limit by at most X, the sum over live executions of rate x (grace + lag), the greatest that
//! there was at any time. The cluster keeps hard ends within `LAG`, as the supervisor and Kubernetes do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Mutation;
use super::cluster::{Cluster, Object};
use super::rng::Rng;
use crate::base::{AttemptId, Millis, Money, Period, Timestamp, Window};
use crate::engine::Engine;
use crate::expand::gpu_time::GpuTime;
use crate::expand::{OnExceed, Rule, Scope};
use crate::price::{Hours, ONE, Rates};
use crate::queue::{Limits, Meters, Treasury};
use crate::record::{Entry, EntryKind, Event, JobSpec, Payer, RunSpec, State};

/// How late the cluster may be in ending what has reached its hard end, in milliseconds.
pub const LAG: i64 = 5_000;
/// Rounding: each price is rounded once, half to even.
const ROUNDING: i64 = 1;

/// Budgets of a world, and what was really spent.
#[derive(Debug, Clone)]
pub struct Purse {
    rates: Rates,
    rules: Vec<Rule>,
    /// How far the clock of each new driver may be off, in milliseconds.
    jumps: i64,
    /// What ended executions cost, and when they ended.
    closed: BTreeMap<AttemptId, (Timestamp, Money, Payer)>,
    /// X: the greatest sum of live rates x (grace + lag).
    slack: Money,
    /// Times at which a limit was nine tenths used up: a world in which none binds shows nothing.
    pub bound: u64,
}

impl Purse {
    /// Budgets for a workload, such that they bind now and then.
    pub fn new(runs: &[Arc<RunSpec>], rng: &mut Rng) -> Self {
        // Dollars an hour would take days to matter.
        let mut rates = Rates::bare();
        (rates.cpu, rates.gpu) = (Some(Money::from_micros(3_600_000_000)), Some(Money::from_micros(7_200_000_000)));
        let total = rng.percent(60);
        // A clock that is off by hours does not know which hours are cheap.
        let jumps = if total { 86_400_000 } else { 0 };
        if total {
            rates.hours = Arc::new(Hours::flat());
        } else {
            rates.hours = Arc::new(Hours::off_peak(ONE / 2, 23 * 60 + 50, 23 * 60 + 58, false));
        }
        let minute = |job: &JobSpec| rates.cost_at_most(job, Millis::from_secs(30)).unwrap_or_default();
        let all: Money = runs.iter().map(|r| minute(&r.job)).sum();
        let worst = |job: &JobSpec| job.timeout.and_then(|t| rates.cost_at_most(job, t).ok()).unwrap_or_default();
        let largest = runs.iter().map(|r| worst(&r.job)).max().unwrap_or_default();
        let share = |rng: &mut Rng, from: u64, to: u64| all.scale(from + rng.below(to - from), 100).max(Money::from_micros(1_000_000));
        let (period, on_exceed, limit) = if total {
            (Period::Total, OnExceed::Stop, share(rng, 10, 120))
        } else {
            // What waits for the next day must fit into a day.
            (Period::Day, OnExceed::Hold, share(rng, 20, 120).max(largest.scale(12, 10)))
        };
        let rule = |name: &str, scope, limit, on_exceed, period| Rule {
            name: name.into(),
            scope,
            limit,
            window: Window { period, ..Window::default() },
            on_exceed,
            thresholds: vec![50, 80, 100],
            end_running: false,
            span: None,
        };
        let mut rules = vec![rule("project", Scope::Project, limit, on_exceed, period)];
        if rng.percent(40) {
            let job = runs.first().map(|r| Arc::clone(&r.job.job)).unwrap_or_default();
            let mine: Money = runs.iter().filter(|r| r.job.job == job).map(|r| minute(&r.job)).sum();
            rules.push(rule(
                "job",
                Scope::Job(job),
                mine.scale(30 + rng.below(150), 100).max(Money::from_micros(1_000_000)),
                OnExceed::Stop,
                Period::Total,
            ));
        }
        Self { rates, rules, jumps, closed: BTreeMap::new(), slack: Money::ZERO, bound: 0 }
    }

    /// How far off the clock of a new driver is.
    pub fn jump(&self, rng: &mut Rng) -> i64 {
        if self.jumps > 0 && rng.percent(30) { rng.between(0, 2 * self.jumps) - self.jumps } else { 0 }
    }

    /// An engine over a state, with what the journal says was spent: as a driver starts.
    pub fn engine(
        &self,
        state: State,
        limits: Limits,
        journal: &[(Timestamp, String)],
        now: Timestamp,
        mutation: Option<Mutation>,
    ) -> Engine {
        let mut treasury = Treasury::new(self.rates.clone(), &self.rules, limits.max_concurrent, now);
        let entries = journal.iter().filter_map(|(at, line)| Entry::of(&serde_json::from_str::<Event>(line).ok()?, *at));
        if mutation != Some(Mutation::WindowBegunTwice) {
            entries.filter(|e| e.spent() != Money::ZERO).for_each(|e| treasury.spent_before(&e.bill.payer, e.at, e.spent()));
        }
        if mutation == Some(Mutation::ReservationDropped) {
            for run in state.runs.values() {
                let held = run.live_attempt().and_then(|a| Some((a.payer.as_deref()?, a.reserved?)));
                if let Some((payer, amount)) = held {
                    treasury.holds(payer, Money::ZERO - amount);
                }
            }
        }
        let used = if mutation == Some(Mutation::HoursForgotten) { Meters::new(&limits, now) } else { self.meters(&limits, journal, now) };
        Engine::with_budgets(state, limits, treasury.metered(used))
    }

    /// A quota of GPU-hours by the day, where clocks are right: now and then too little for all, never for one.
    pub fn gpu_time(&self, runs: &[Arc<RunSpec>], rng: &mut Rng) -> Option<GpuTime> {
        let longest = |job: &JobSpec| job.timeout.unwrap_or_default().0.saturating_mul(u64::from(job.resources.gpu.count));
        let largest = runs.iter().map(|r| longest(&r.job)).max().unwrap_or_default();
        let window = Window { period: Period::Day, ..Window::default() };
        (self.jumps == 0).then(|| GpuTime { limit: largest + 60_000 + 1000 * rng.below(400), window, span: None })
    }

    /// Quotas of GPU-hours, with what the journal says was used in their windows.
    fn meters(&self, limits: &Limits, journal: &[(Timestamp, String)], now: Timestamp) -> Meters {
        let mut meters = Meters::new(limits, now);
        let entries = journal.iter().filter_map(|(at, line)| Entry::of(&serde_json::from_str::<Event>(line).ok()?, *at));
        for entry in entries.filter(|e| e.kind == EntryKind::Post) {
            let used = entry.bill.time.0.saturating_mul(u64::from(entry.bill.payer.gpus));
            meters.iter_mut().filter(|m| m.start.is_some_and(|start| entry.at >= start)).for_each(|m| m.used = m.used.saturating_add(used));
        }
        meters
    }

    /// After an admission: what was used of GPU-hours and what live runs may need fits.
    ///
    /// # Errors
    /// By how much it does not.
    pub fn hours(&self, engine: &Engine, limits: &Limits, journal: &[(Timestamp, String)], now: Timestamp) -> Result<(), String> {
        let live = engine.state().runs.values().filter(|r| r.status.is_live());
        let held: u64 = live.map(|r| limits.demand(&r.spec.job).gpu_time).sum();
        match self.meters(limits, journal, now).iter().find(|m| m.used.saturating_add(held) > m.quota.limit) {
            Some(m) => Err(format!("GPU-hours: {} ms used and {held} ms held, {} ms allowed", m.used, m.quota.limit)),
            None => Ok(()),
        }
    }

    /// What an object has cost until now.
    fn cost(&self, object: &Object, until: Timestamp) -> Option<Money> {
        let start = object.started?;
        self.rates.cost(&object.spec.job, start, until.since(start)).ok()
    }

    /// Counts what ran, and holds it against every limit. `now` is true time.
    ///
    /// # Errors
    /// Which limit was passed, and by how much.
    pub fn check(&mut self, cluster: &Cluster, now: Timestamp) -> Result<(), String> {
        let mut live: Vec<(Payer, Money)> = Vec::new();
        let mut slack = Money::ZERO;
        for object in cluster.objects.values() {
            let payer = || Payer::of(&object.spec.job, &"somebody".into());
            match (object.started, object.ended) {
                (Some(_), Some(end)) if !self.closed.contains_key(&object.attempt) => {
                    let cost = self.cost(object, end).unwrap_or_default();
                    self.closed.insert(object.attempt.clone(), (end, cost, payer()));
                }
                (Some(_), None) if object.live > 0 => {
                    live.push((payer(), self.cost(object, now).unwrap_or_default()));
                    let late = object.spec.job.grace.plus(Millis(LAG.unsigned_abs()));
                    slack += self.rates.cost_at_most(&object.spec.job, late).unwrap_or_default();
                }
                _ => {}
            }
        }
        self.slack = self.slack.max(slack);
        for rule in &self.rules {
            let start = rule.window.start(now);
            let closed: Money = self.closed.values().filter(|(end, _, p)| *end >= start && rule.scope.covers(p)).map(|c| c.1).sum();
            let open: Money = live.iter().filter(|(p, _)| rule.scope.covers(p)).map(|l| l.1).sum();
            let (spent, rounding) =
                (closed + open, Money::from_micros(ROUNDING * i64::try_from(self.closed.len() + live.len()).unwrap_or(i64::MAX)));
            self.bound += u64::from(spent >= rule.limit.scale(90, 100));
            if spent > rule.limit + self.slack + rounding {
                return Err(format!("budget {}: {spent} really spent, the limit is {}, X is {}", rule.name, rule.limit, self.slack));
            }
        }
        Ok(())
    }
}
