//! What a run will have cost when it is over: from its own progress, else from history, else from what its files declare.
//!
//! In: records, prices, history, budgets, now. Out: [`Forecast`] with expected total, 95% interval, finish, and the chance of passing each
//! budget. Must never claim an interval that nothing was measured for, nor expect less than has been spent.
//!
//! A live attempt is forecast from its marks (`price::learn::progress`); while it has few, they are weighed with history. One without
//! marks has the time that history gives, on the condition that it has run so long already. Interruptions still to come are counted
//! where they are known to happen (spot).

pub mod curve;
mod length;
pub mod midway;
mod odds;
mod together;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Serialize, Serializer};

use crate::base::{Address, Millis, Money, Timestamp};
use crate::diff::History;
use crate::diff::learned::Past;
use crate::price::Rates;
use crate::price::learn::{Seconds, interruptions};
use crate::queue::Treasury;
use crate::record::{Attempt, Exposure, Features, JobSpec, MetricGoal, Payer, RunRecord, RunStatus, State};

pub use curve::Curve95;
pub use length::Progress;
use length::{Length, Siblings};
pub use odds::{Odds, Pruning};
pub use together::Together;

/// Everything that forecasts are made from.
pub struct World<'a> {
    /// What is recorded.
    pub state: &'a State,
    /// Finished work of the past.
    pub history: &'a dyn History,
    /// Prices.
    pub rates: &'a Rates,
    /// What was spent and reserved towards each budget.
    pub treasury: &'a Treasury,
    /// When it is asked.
    pub now: Timestamp,
}

/// What is asked of one run.
#[derive(Default)]
pub struct Ask<'a> {
    /// Units (epochs or steps) that are still to do, where the asker knows better than the files.
    pub remaining: Option<u64>,
    /// When a run that waits is thought to start; now without it.
    pub start: Option<Timestamp>,
    /// Values of its metric by step, where they are wanted to be extrapolated; unknown ones (NaN) included.
    pub curve: &'a [(i64, Option<f64>)],
}

/// Money with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Expected, of all attempts together.
    pub expected: Money,
    /// 95% interval; none where nothing was measured.
    pub interval: Option<(Money, Money)>,
    /// At the most: the hard end of the live attempt and every retry; none without a timeout.
    pub worst: Option<Money>,
}

/// Time with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimeLeft {
    /// How long the live attempt has run, in seconds.
    #[serde(rename = "so_far_s", serialize_with = "seconds")]
    pub so_far: Millis,
    /// What is left, in seconds.
    #[serde(rename = "left_s", serialize_with = "seconds")]
    pub left: Millis,
    /// 95% interval of what is left.
    #[serde(rename = "left_interval_s", serialize_with = "pair_seconds")]
    pub interval: Option<(Millis, Millis)>,
}

/// The answer for one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// The run.
    pub address: Address,
    /// Where it stands.
    pub status: RunStatus,
    /// The live attempt.
    pub attempt: Option<u32>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Spent so far: ended attempts, and the live one until now.
    pub spent: Money,
    /// The whole cost; none while there is nothing to go by.
    pub total: Option<Total>,
    /// Time.
    pub time: Option<TimeLeft>,
    /// When it is thought to be over.
    #[serde(serialize_with = "time")]
    pub finish: Option<Timestamp>,
    /// 95% interval of that.
    #[serde(serialize_with = "pair_time")]
    pub finish_interval: Option<(Timestamp, Timestamp)>,
    /// What it rests on, or what is missing.
    pub basis: Arc<str>,
    /// Its metric at the end.
    pub metric: Option<Curve95>,
    /// The chance that its sweep ends it early.
    pub pruning: Option<Pruning>,
    /// The chance that the timeout ends the attempt.
    pub timeout_chance: Option<f64>,
    /// Budgets that count it.
    pub budgets: Vec<Odds>,
    /// Who pays.
    #[serde(skip)]
    pub payer: Payer,
    /// The part of the whole that is not posted yet.
    #[serde(skip)]
    pub open: Money,
}

fn seconds<S: Serializer>(time: &Millis, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn pair_seconds<S: Serializer>(pair: &Option<(Millis, Millis)>, to: S) -> Result<S::Ok, S::Error> {
    pair.map(|(a, b)| [a.as_secs_f64(), b.as_secs_f64()]).serialize(to)
}

pub(super) fn time<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|t| t.to_string()).serialize(to)
}

fn pair_time<S: Serializer>(pair: &Option<(Timestamp, Timestamp)>, to: S) -> Result<S::Ok, S::Error> {
    pair.map(|(a, b)| [a.to_string(), b.to_string()]).serialize(to)
}

/// The metric by which a run counts, where one is declared.
#[must_use]
pub fn metric_of(record: &RunRecord) -> Option<&MetricGoal> {
    record.spec.job.metric.as_ref()
}

/// Makes forecasts of many runs; history of a job is looked up once.
pub struct Forecaster<'a> {
    world: World<'a>,
    pasts: FxHashMap<Arc<str>, Arc<Past>>,
    siblings: FxHashMap<Arc<str>, Arc<Siblings>>,
    /// What history says, by settings and amounts: runs that share both share the answer.
    learned: FxHashMap<(usize, String), Option<Seconds>>,
    exposures: Option<Vec<Exposure>>,
    /// What live attempts are expected to cost, by address.
    live: Vec<(Address, Payer, Money)>,
}

impl<'a> Forecaster<'a> {
    /// Over a state.
    #[must_use]
    pub fn new(world: World<'a>) -> Self {
        let live = world.state.runs.values().filter(|r| r.live_attempt().is_some()).map(|r| {
            let cost = crate::diff::outlook::spent(r, world.rates, world.now).1;
            (r.spec.address.clone(), payer(r), cost)
        });
        Self {
            live: live.collect(),
            world,
            pasts: FxHashMap::default(),
            siblings: FxHashMap::default(),
            learned: FxHashMap::default(),
            exposures: None,
        }
    }

    /// The forecast of a run. It need not be in the state: what is only planned is forecast as if it started at `ask.start`.
    pub fn run(&mut self, record: &RunRecord, ask: &Ask<'_>) -> Forecast {
        let job = as_admitted(record);
        let spent = self.spent(record, &job);
        let mut answer = Forecast {
            address: record.spec.address.clone(),
            status: record.status,
            attempt: record.live_attempt().map(|a| a.number),
            progress: None,
            spent,
            total: None,
            time: None,
            finish: None,
            finish_interval: None,
            basis: "".into(),
            metric: None,
            pruning: None,
            timeout_chance: None,
            budgets: Vec::new(),
            payer: payer(record),
            open: Money::ZERO,
        };
        if record.status.is_terminal() {
            answer.total = Some(Total { expected: spent, interval: Some((spent, spent)), worst: Some(spent) });
            answer.basis = format!("it is over: {}", record.status.word()).into();
            answer.finish = record.ended_at;
            return answer;
        }
        let length = self.length(record, &job, ask);
        answer.progress = length.progress.clone();
        answer.basis = length.basis.clone();
        self.money(&mut answer, record, &job, &length, ask);
        answer.metric = metric_of(record).and_then(|goal| {
            let end = length.progress.as_ref().and_then(|p| p.total);
            curve::at_end(goal, ask.curve, end)
        });
        answer.budgets = odds::of_budgets(self, record, &job, &length, &answer);
        answer
    }

    fn history(&mut self, record: &RunRecord, wanted: &Features) -> Option<Seconds> {
        let job = &record.spec.job;
        let history = self.world.history;
        let past = self.pasts.entry(Arc::clone(&job.job)).or_insert_with(|| Arc::new(Past::read(history, job)));
        let key = (Arc::as_ptr(job) as usize, format!("{:?}", wanted.values));
        self.learned.entry(key).or_insert_with(|| past.seconds(job, wanted)).clone()
    }

    /// How long the attempt takes that is live, or that comes next.
    fn length(&mut self, record: &RunRecord, job: &JobSpec, ask: &Ask<'_>) -> Length {
        let state = self.world.state;
        let siblings = Arc::clone(self.siblings.entry(Arc::clone(&job.job)).or_insert_with(|| Arc::new(Siblings::of(&job.job, state))));
        let now = self.world.now;
        let mut length = Length::of(record, job, &siblings, now, ask.remaining, |wanted| self.history(record, wanted));
        let exposures = self.exposures.get_or_insert_with(|| self.world.history.exposures());
        let rate = interruptions::Rate::of(exposures, job.resources.capacity);
        if rate.counts(job.resources.capacity) {
            length.interrupted(&rate, job.retry.attempts_max());
        }
        length.prune(record, &siblings);
        length
    }

    /// Ended attempts, and the live one until now.
    fn spent(&self, record: &RunRecord, job: &JobSpec) -> Money {
        let ended = crate::diff::outlook::spent(record, self.world.rates, self.world.now).0;
        let live = record.live_attempt().and_then(|a| a.started_at.map(|start| (a, start)));
        let live = live.and_then(|(a, start)| {
            let ran = self.world.now.since(start).times(if a.doubled { 2 } else { 1 });
            self.world.rates.cost(job, start, ran).ok()
        });
        ended + live.unwrap_or_default()
    }

    fn money(&self, answer: &mut Forecast, record: &RunRecord, job: &JobSpec, length: &Length, ask: &Ask<'_>) {
        let (now, rates) = (self.world.now, self.world.rates);
        let ended = crate::diff::outlook::spent(record, rates, now).0;
        let live = record.live_attempt();
        let start = live.map_or_else(|| ask.start.unwrap_or(now).max(now), |a| a.started_at.unwrap_or(now));
        let so_far = live.and_then(|a| a.started_at).map_or(Millis(0), |s| now.since(s));
        let double = if live.is_some_and(|a| a.doubled) { 2 } else { 1 };
        let cost = |s: f64| rates.cost(job, start, Seconds::millis(s).times(double));
        let worst = worst(record, job, live, rates).map(|w| ended + w);
        let Some(expected) = length.expected else { return };
        answer.pruning = length.pruning.clone();
        answer.timeout_chance = job.timeout.and_then(|t| length.chance_beyond(t.as_secs_f64()));
        match cost(expected) {
            Ok(own) => {
                let ends = length.interval.map(|(l, h)| (cost(l).unwrap_or(own).min(own), cost(h).unwrap_or(own).max(own)));
                let interval = ends.map(|(l, h)| (ended + l, ended + h));
                answer.total = Some(Total { expected: ended + own, interval, worst });
                answer.open = own;
            }
            Err(why) => answer.basis = why.into(),
        }
        let millis = Seconds::millis;
        let left = |s: f64| Millis(millis(s).0.saturating_sub(so_far.0));
        let interval = length.interval.map(|(l, h)| (left(l), left(h)));
        answer.time = Some(TimeLeft { so_far, left: left(expected), interval });
        // A run that waits and of whose start nobody knows has no finish.
        if live.is_some() || ask.start.is_some() {
            let from = if live.is_some() { now } else { start };
            answer.finish = Some(from.after(left(expected)));
            answer.finish_interval = interval.map(|(l, h)| (from.after(l), from.after(h)));
        }
    }
}

/// Who pays for a run: as its live attempt was admitted.
fn payer(record: &RunRecord) -> Payer {
    let admitted = record.live_attempt().and_then(|a| a.payer.as_deref().cloned());
    admitted.unwrap_or_else(|| Payer::of(&record.spec.job, &record.by))
}

/// The settings by which the live attempt is paid: priority and capacity may have been edited since.
fn as_admitted(record: &RunRecord) -> Arc<JobSpec> {
    let job = &record.spec.job;
    match record.live_attempt().and_then(|a| a.payer.as_deref()) {
        Some(p) if p.priority != job.priority.class || p.capacity != job.resources.capacity => {
            let mut job = (**job).clone();
            job.priority.class = Arc::clone(&p.priority);
            job.resources.capacity = p.capacity;
            Arc::new(job)
        }
        _ => Arc::clone(job),
    }
}

/// At the most: every attempt that may still come, each until its timeout; the live one until its hard end.
fn worst(record: &RunRecord, job: &JobSpec, live: Option<&Attempt>, rates: &Rates) -> Option<Money> {
    let done = u64::try_from(record.attempts.len()).unwrap_or(u64::MAX).saturating_sub(u64::from(live.is_some()));
    let timeout = job.timeout?;
    let hard = live.and_then(|a| a.deadline).map_or(timeout, |d| d.min(timeout));
    let further = job.retry.attempts_max().saturating_sub(done).saturating_sub(1);
    rates.cost_at_most(job, hard.plus(timeout.times(further))).ok()
}

#[cfg(test)]
mod tests;
