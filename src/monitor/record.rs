//! The record, read so that a look costs what is open, not what is known.
//!
//! In: the store. Out: [`Record`]. What did not change since the last look is not read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{NaiveTime, TimeZone as _};

use super::Scene;
use super::outlook;
use super::reading::{Found, Miss, now};
use super::view::{Budget, Eta, Held, Metric, Progress, Queue, Record, Run, Spend, Sweep, Waiting};
use crate::advise::budget::{Standing, standing};
use crate::advise::forecast::{Ask, Forecast, Forecaster, World};
use crate::advise::sweeps::{self as sweep, Ground};
use crate::base::{AttemptId, Money, Timestamp};
use crate::engine::Engine;
use crate::expand::Scope;
use crate::queue::{Board, Treasury, board};
use crate::record::{RunRecord, RunStatus, State, work};
use crate::store::{Store, StoreError};

/// What is listed of each.
const RUNNING: usize = 200;
const WAITING: usize = 200;
const ENDED: usize = 50;
const SWEEPS: usize = 50;
const METRICS: usize = 8;
/// A sweep with more trials is counted, not read.
const TRIALS: u64 = outlook::RUNS;
/// What runs costs more every second: it is read again this often even where nobody wrote.
const OFTEN: Duration = Duration::from_secs(5);
/// A look that takes long is not repeated before this many times its length: at most 2% of a core.
const REST: u32 = 50;

/// Reads the record.
pub struct Recorder {
    scene: Arc<Scene>,
    store: Option<Store>,
    last: Option<(i64, Instant, Duration, Record)>,
}

impl Recorder {
    /// Nothing is read yet.
    #[must_use]
    pub const fn new(scene: Arc<Scene>) -> Self {
        Self { scene, store: None, last: None }
    }

    /// What the state has now.
    pub fn look(&mut self) -> Found<Record> {
        let found = self.read();
        if found.is_err() {
            // Whoever mends or replaces the file is seen.
            (self.store, self.last) = (None, None);
        }
        found
    }

    fn read(&mut self) -> Found<Record> {
        let words = |e: StoreError| Miss::Failed(format!("{e}; {}", e.hint()));
        let store = match &mut self.store {
            Some(store) => store,
            none => {
                let open = Store::open_existing(&self.scene.state_dir).map_err(words)?;
                none.insert(open.ok_or_else(|| Miss::Absent("nothing was applied here yet".to_owned()))?)
            }
        };
        let version = store.version().map_err(words)?;
        if let Some((known, at, took, record)) = &self.last {
            let rest = took.saturating_mul(REST);
            if at.elapsed() < rest || (version == *known && at.elapsed() < OFTEN) {
                return Ok((record.clone(), "the state".into()));
            }
        }
        let start = Instant::now();
        let record = read(store, &self.scene, now()).map_err(words)?;
        self.last = Some((version, Instant::now(), start.elapsed(), record.clone()));
        Ok((record, "the state".into()))
    }
}

fn read(store: &Store, scene: &Scene, now: Timestamp) -> Result<Record, StoreError> {
    let serial = store.serial()?;
    let mut state = store.load_open()?;
    store.foresee(&mut state)?;
    outlook::with_siblings(store, &mut state)?;
    let rules = store.rules_with(&scene.rules)?;
    let treasury = store.treasury(&scene.rates, &rules, &scene.limits, now)?;
    let board = board(&state, &scene.limits, treasury.meters(), &scene.rates, now);
    let mut live: Vec<&RunRecord> = state.runs.values().filter(|r| r.live_attempt().is_some()).collect();
    live.sort_by_key(|r| (r.live_attempt().map(|a| a.started_at.unwrap_or(a.admitted_at)), r.seq));
    let view = View { scene, lineage: store.lineage(), now };
    let history = store.past();
    let mut forecaster = Forecaster::new(World { state: &state, history: &history, rates: &scene.rates, treasury: &treasury, now });
    let running = live.iter().take(RUNNING).map(|r| view.run(r, Some(&forecaster.run(r, &Ask::default())))).collect();
    let spend = spend(store, scene, now, live.iter().filter_map(|r| view.so_far(r)).sum())?;
    let held = held(&live);
    let sweeps = sweeps(store, scene, &state, &treasury, now)?;
    let holder = store.holder()?.filter(|(h, _)| !h.is_dead()).map(|(h, _)| h.to_string());
    let ended = store.ended(ENDED)?.iter().map(|r| view.run(r, None)).collect();
    let mut counts = store.counts()?;
    counts.retain(|_, n| *n > 0);
    // The engine takes the state: it is the last to look at it.
    let engine = Engine::with_budgets(state, scene.limits.clone(), treasury).at(now);
    let budgets = standing(engine.treasury().accounts()).into_iter().filter(|b| !b.scope.is_each_run()).map(budget).collect();
    Ok(Record {
        lineage: store.lineage().to_owned(),
        serial,
        counts,
        running,
        ended,
        queue: queue(&board, &engine),
        budgets,
        spend,
        sweeps,
        held,
        holder,
    })
}

fn held(live: &[&RunRecord]) -> Held {
    live.iter().map(|r| &r.spec.job.resources).fold(Held::default(), |sum, r| Held {
        cpu_millis: sum.cpu_millis.saturating_add(r.cpu_millis),
        memory_bytes: sum.memory_bytes.saturating_add(r.memory_bytes),
        gpus: sum.gpus.saturating_add(u64::from(r.gpu.count)),
    })
}

fn queue(board: &Board, engine: &Engine) -> Queue {
    let first: Vec<_> = board.waiting.iter().take(WAITING).collect();
    let whys = engine.whys(first.iter().map(|w| &w.address));
    let waiting = |(w, why): (&&crate::queue::board::Waiting, Option<crate::engine::Wait>)| Waiting {
        address: w.address.as_str().to_owned(),
        position: w.position as u64,
        priority: w.class.to_string(),
        start: w.start,
        cost: w.cost,
        why: why.map(|w| w.to_string()).unwrap_or_default(),
    };
    Queue {
        waiting: board.waiting.len() as u64,
        first: first.iter().zip(whys).map(waiting).collect(),
        pending_cost: board.pending_cost,
        unpriced: board.unpriced as u64,
        running: board.running.len() as u64,
        slots: board.slots,
        next_free: board.next_free,
        end: board.end,
        paused_by: board.paused.as_ref().map(|p| p.by.clone()),
    }
}

fn budget(b: Standing) -> Budget {
    Budget {
        name: b.name.to_string(),
        spent: b.spent,
        reserved: b.reserved,
        left: b.left,
        limit: b.limit,
        spent_tenths: b.spent_tenths,
        reserved_tenths: b.reserved_tenths,
        reached: b.reached,
        next: b.next,
    }
}

fn spend(store: &Store, scene: &Scene, now: Timestamp, live: Money) -> Result<Spend, StoreError> {
    let zone = scene.rates.hours.zone;
    let midnight =
        now.utc().and_then(|t| zone.from_local_datetime(&t.with_timezone(&zone).date_naive().and_time(NaiveTime::MIN)).earliest());
    let today = midnight.map(|t| Timestamp(t.timestamp_millis()));
    let attempts: u64 = store.exposures()?.iter().map(|e| e.attempts).fold(0, u64::saturating_add);
    let total = store.spent_since(None)?;
    Ok(Spend {
        total,
        today: today.map_or(Ok(Money::ZERO), |t| store.spent_since(Some(t)))?,
        week: store.spent_since(Some(Timestamp(now.0.saturating_sub(7 * 86_400_000))))?,
        attempts,
        per_attempt: (attempts > 0).then(|| total.scale(1, attempts)),
        live,
    })
}

fn sweeps(store: &Store, scene: &Scene, open: &State, treasury: &Treasury, now: Timestamp) -> Result<Vec<Sweep>, StoreError> {
    let names: BTreeSet<&Arc<str>> =
        open.runs.values().filter(|r| r.spec.job.sweep.is_some() && !r.status.is_terminal()).map(|r| &r.spec.job.job).collect();
    let posted: BTreeMap<Arc<str>, Money> = treasury
        .accounts()
        .iter()
        .filter_map(|a| if let Scope::Job(job) = &a.rule.scope { Some((Arc::clone(job), a.spent)) } else { None })
        .collect();
    let mut all = Vec::new();
    for name in names.into_iter().take(SWEEPS) {
        let counts = store.counts_of(name)?;
        let trials = counts.values().sum();
        let mut sweep = Sweep { name: name.to_string(), trials, counts, ..Sweep::default() };
        if trials <= TRIALS {
            let mut state = store.load_job(name)?;
            state.sweeps.clone_from(&open.sweeps);
            let ground = Ground { rates: &scene.rates, posted: &posted, now };
            if let Some(seen) = sweep::overviews(&state, &[Arc::clone(name)], ground).pop() {
                sweep.method = seen.method.to_owned();
                sweep.metric = seen.metric.map(|m| m.name);
                sweep.best = seen.best.and_then(|b| Some((b.value?, b.address.as_str().to_owned())));
                sweep.spent = seen.spent;
            }
        }
        sweep.paused_by = open.sweeps.get(name).and_then(|s| s.paused.as_ref()).map(ToString::to_string);
        all.push(sweep);
    }
    Ok(all)
}

struct View<'a> {
    scene: &'a Scene,
    lineage: &'a str,
    now: Timestamp,
}

impl View<'_> {
    /// Cost of the live attempt up to now.
    fn so_far(&self, record: &RunRecord) -> Option<Money> {
        let Some(attempt) = record.live_attempt() else { return Some(Money::ZERO) };
        let Some(start) = attempt.started_at else { return Some(Money::ZERO) };
        self.scene.rates.cost(&record.spec.job, start, self.now.since(start)).ok()
    }

    fn run(&self, record: &RunRecord, forecast: Option<&Forecast>) -> Run {
        let (spec, job) = (&record.spec, &record.spec.job);
        let last = record.attempts.last();
        let started = last.and_then(|a| a.started_at);
        let before: Money = record.attempts.iter().filter_map(|a| a.cost).sum();
        let id = |number: u32| AttemptId { address: spec.address.clone(), generation: record.generation, number };
        let shown = |p: &crate::advise::forecast::Progress| Progress { unit: p.unit.to_owned(), done: p.done, total: p.total };
        let told = forecast.and_then(|f| f.progress.as_ref()).map(shown);
        Run {
            address: spec.address.as_str().to_owned(),
            status: record.status.word().to_owned(),
            priority: job.priority.class.to_string(),
            model: job.model.as_ref().map(ToString::to_string),
            team: job.team.clone(),
            attempt: last.map(|a| a.number),
            name: last.map(|a| id(a.number).name(self.lineage)),
            place: last.map(|a| a.place.clone()).unwrap_or_default(),
            planned: Some(record.planned_at),
            started,
            ended: record.ended_at,
            progress: told.or_else(|| progress(record, last?.progress.as_ref()?)),
            eta: forecast.filter(|_| started.is_some()).and_then(eta),
            cost: self.so_far(record).map(|live| forecast.map_or(before + live, |f| f.spent)),
            expected_cost: forecast.and_then(|f| f.total).map(|t| t.expected),
            metrics: metrics(record),
            because: because(record),
        }
    }
}

fn eta(forecast: &Forecast) -> Option<Eta> {
    let (low, high) = forecast.finish_interval.unzip();
    Some(Eta { at: forecast.finish?, low, high, basis: forecast.basis.to_string() })
}

fn progress(record: &RunRecord, progress: &work::Progress) -> Option<Progress> {
    let unit = if progress.epochs { "epochs" } else { "steps" };
    let declared = record.spec.job.estimate.epochs.filter(|_| progress.epochs).map(u64::from);
    let count = |v: f64| (1.0..1e15).contains(&v).then(|| v.round() as u64);
    let total = declared.or_else(|| work::features(&record.spec).get(unit).and_then(count));
    let done = u64::try_from(progress.done()?).ok()?;
    Some(Progress { unit: unit.to_owned(), done, total: total.filter(|t| *t >= done) })
}

/// The compared metric first; the epoch says how far, not how good.
fn metrics(record: &RunRecord) -> Vec<Metric> {
    let goal = record.spec.job.metric.as_ref().map(|g| g.name.as_str());
    let mut all: Vec<_> = record.metrics.iter().filter(|(name, _)| &***name != "epoch").collect();
    all.sort_by_key(|(name, _)| goal != Some(&***name));
    all.into_iter().take(METRICS).map(|(name, m)| Metric { name: name.to_string(), value: m.last, step: m.step }).collect()
}

fn because(record: &RunRecord) -> Option<String> {
    let said = record.because.as_deref().map(str::to_owned);
    let failed = || {
        let outcome = record.attempts.last().and_then(|a| a.outcome.as_ref()).filter(|_| record.status == RunStatus::Failed)?;
        let code = outcome.exit_code.map(|c| format!("exit code {c}"));
        Some(if outcome.detail.is_empty() { code.unwrap_or_default() } else { outcome.detail.clone() }).filter(|w| !w.is_empty())
    };
    said.or_else(failed)
}
