//! A seeded world for one sweep that searches: trials that report step by step, a driver that dies at any write, people who pause, extend
//! and let go on, money that ends.
//!
//! In: a seed. Out: what was met, or the first broken promise. The engine is the shipped one with its samplers and pruners. Promised: no trial
//! is lost or doubled, a trial keeps its params, whoever takes over suggests and prunes the same, nothing starts while the sweep is
//! paused or its money is used up, what is ended early ends.

mod judge;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rng::Rng;
use crate::base::{Address, AttemptId, Money, Timestamp};
use crate::engine::{Command, Engine, Input, Launch, Observation, Order, Step};
use crate::record::event::MetricPoint;
use crate::record::{Cause, Event, Outcome, RunSpec, RunStatus, State};
use work::{Kind, limits, loss, treasury, trials};

/// Steps of a full trial.
const STEPS: i64 = 27;
/// Trials at first, and after the extension.
const TRIALS: [u64; 2] = [12, 16];
/// Virtual time at which faults stop.
const FAULTS_END: i64 = 1_200_000;
/// Virtual time by which everything has come to rest.
const PATIENCE: i64 = 24 * 3_600_000;
/// A trial that was asked to end has ended by then, whatever was lost on the way.
const ENDED_WITHIN: i64 = 240_000;
/// The sweep.
const SWEEP: &str = "w/t";

/// A mistake put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepMutation {
    /// What a trial is to try is not written.
    SuggestionLost,
    /// Values of trials are not written.
    MetricsLost,
    /// What is to be ended early is not.
    StopForgotten,
    /// A pause does not outlive the driver.
    PauseForgotten,
    /// Who takes over does not know what was spent.
    SpendingForgotten,
    /// Who takes over submits what may run under another name.
    TrialDoubled,
    /// Who takes over does not know what was suggested.
    SuggestedAnew,
    /// A trial whose start was written is left out of what is taken over.
    TrialLost,
    /// That a trial waits at a rung is not written.
    PauseAtRungLost,
    /// That a trial goes on from a rung is not written.
    PromotionLost,
    /// What a promoted trial had trained is thrown away with its pause.
    CheckpointLost,
    /// The next generation begins before the last is over.
    GenerationEarly,
    /// From whom a member goes on is not written.
    ParentLost,
}

impl SweepMutation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SuggestionLost,
        Self::MetricsLost,
        Self::StopForgotten,
        Self::PauseForgotten,
        Self::SpendingForgotten,
        Self::TrialDoubled,
        Self::SuggestedAnew,
        Self::TrialLost,
        Self::PauseAtRungLost,
        Self::PromotionLost,
        Self::CheckpointLost,
        Self::GenerationEarly,
        Self::ParentLost,
    ];
}

/// What a seed went through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Inputs given to the engine.
    pub steps: u64,
    /// Drivers that died.
    pub restarts: u64,
    /// Suggestions of who took over that were compared with those of who was there before.
    pub compared: u64,
    /// Trials that went on from another's checkpoint.
    pub exploited: u64,
    /// Trials that went on from a rung.
    pub promoted: u64,
    /// Trials by how they ended.
    pub ends: BTreeMap<&'static str, u64>,
}

/// A training.
#[derive(Debug, Clone)]
struct Work {
    launch: Launch,
    started: i64,
    /// The step that it goes on from.
    from: i64,
    curve: Vec<MetricPoint>,
    ended: Option<(i64, Outcome)>,
    stopping: bool,
}

impl Work {
    /// The last step that it trained.
    fn step(&self) -> i64 {
        self.from + i64::try_from(self.curve.len()).unwrap_or(0)
    }
}

enum Happening {
    Deliver(Observation),
    Arrive(Command),
    Train(AttemptId),
    End(AttemptId, Outcome),
    Person(u64),
}

struct World {
    rng: Rng,
    mutation: Option<SweepMutation>,
    now: i64,
    cap: Option<Money>,
    kind: Kind,
    engine: Engine,
    journal: Vec<(Timestamp, String)>,
    works: BTreeMap<AttemptId, Work>,
    queue: BTreeMap<(i64, u64), Happening>,
    next: u64,
    wake: Option<i64>,
    last: BTreeMap<AttemptId, i64>,
    suggested: BTreeSet<(Address, u32)>,
    /// Trials that wait at a rung, and from which steps trials have gone on.
    resting: BTreeSet<Address>,
    promoted: BTreeSet<(Address, i64)>,
    live: BTreeMap<AttemptId, Money>,
    spent: Money,
    paused: bool,
    asked: BTreeMap<AttemptId, i64>,
    over: BTreeMap<(Address, u32), RunStatus>,
    report: SweepReport,
}

/// Runs one seed.
///
/// # Errors
/// The first broken promise, with its step.
pub fn simulate_sweep(seed: u64, mutation: Option<SweepMutation>) -> Result<SweepReport, String> {
    let mut rng = Rng::new(seed ^ 0x7377_6565_7073);
    let cap = rng.percent(60).then(|| Money::from_micros(3_000_000 + 1_000_000 * rng.between(0, 8)));
    let kind = [Kind::Stop, Kind::Promote, Kind::Promote, Kind::Population][usize::try_from(rng.below(4)).unwrap_or(0)];
    let engine = Engine::with_budgets(State::default(), limits(), treasury(cap, 0));
    let mut world = World {
        rng,
        mutation,
        now: 0,
        cap,
        kind,
        engine,
        journal: Vec::new(),
        works: BTreeMap::new(),
        queue: BTreeMap::new(),
        next: 0,
        wake: None,
        last: BTreeMap::new(),
        suggested: BTreeSet::new(),
        resting: BTreeSet::new(),
        promoted: BTreeSet::new(),
        live: BTreeMap::new(),
        spent: Money::ZERO,
        paused: false,
        asked: BTreeMap::new(),
        over: BTreeMap::new(),
        report: SweepReport::default(),
    };
    world.run().map_err(|words| format!("seed {seed}, step {}: {words}", world.report.steps))?;
    Ok(world.report)
}

impl World {
    fn at(&mut self, delay: i64, what: Happening) {
        self.next += 1;
        self.queue.insert((self.now + delay.max(0), self.next), what);
    }

    fn faults(&self) -> bool {
        self.now < FAULTS_END
    }

    fn run(&mut self) -> Result<(), String> {
        for i in 0..8 {
            let when = if i == 0 { 0 } else { self.rng.between(1_000, FAULTS_END) };
            self.at(when, Happening::Person(i));
        }
        self.at(FAULTS_END + 1_000, Happening::Person(9));
        loop {
            let happens = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = [happens, self.wake].into_iter().flatten().min() else { break };
            if at > PATIENCE || self.report.steps > 40_000 {
                break;
            }
            self.now = self.now.max(at);
            if happens == Some(at) {
                if let Some((_, what)) = self.queue.pop_first() {
                    self.happen(what)?;
                }
            } else {
                self.input(Input::Tick)?;
            }
        }
        self.converged()
    }

    fn happen(&mut self, what: Happening) -> Result<(), String> {
        match what {
            Happening::Deliver(observation) => self.input(Input::Observed(observation)),
            Happening::Arrive(command) => self.arrive(command),
            Happening::Train(attempt) => self.train(&attempt),
            Happening::End(attempt, outcome) => {
                self.end(&attempt, outcome);
                Ok(())
            }
            Happening::Person(number) => self.person(number),
        }
    }

    /// Somebody applies, extends, pauses, lets go on.
    fn person(&mut self, number: u64) -> Result<(), String> {
        let (jobs, by) = (vec![SWEEP.into()], "somebody".to_owned());
        let known = |world: &Self, order: &Order| matches!(order, Order::Run(s) if world.engine.state().runs.contains_key(&s.address));
        let input = match number {
            0 | 1 | 9 if !self.paused || number < 9 => {
                let count = if number == 0 { TRIALS[0] } else { TRIALS[1] };
                let orders = trials(count, self.kind).into_iter().filter(|o| !known(self, o)).collect();
                Input::Apply { plan_id: format!("p{number}"), by, orders }
            }
            2 | 4 | 6 => Input::Pause { jobs, by },
            _ => Input::Resume { jobs, by },
        };
        if number == 9 && self.paused {
            self.input(Input::Resume { jobs: vec![SWEEP.into()], by: "somebody".to_owned() })?;
            return self.person(9);
        }
        self.input(input)
    }

    fn arrive(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Submit(launch) => {
                let attempt = launch.attempt.clone();
                if self.works.contains_key(&attempt) {
                    self.describe(&attempt);
                    return Ok(());
                }
                if let Some(other) = self.works.values().find(|w| w.ended.is_none() && w.launch.attempt.address == attempt.address) {
                    return Err(format!("{attempt} starts while {} runs", other.launch.attempt));
                }
                // It goes on from the last step of the attempts before, which it has kept.
                let kept = self.works.values().filter(|w| w.launch.attempt.address == attempt.address).map(Work::step).max();
                let from = kept.filter(|_| self.kind == Kind::Promote && self.mutation != Some(SweepMutation::CheckpointLost)).unwrap_or(0);
                let work = Work { launch: *launch, started: self.now, from, curve: Vec::new(), ended: None, stopping: false };
                self.works.insert(attempt.clone(), work);
                self.describe(&attempt);
                let first = self.rng.between(2_000, 15_000);
                self.at(first, Happening::Train(attempt));
            }
            Command::Stop { attempt, grace } => {
                let wait = self.rng.between(1, i64::try_from(grace.0).unwrap_or(1).max(1));
                if let Some(work) = self.works.get_mut(&attempt).filter(|w| w.ended.is_none() && !w.stopping) {
                    work.stopping = true;
                    self.at(wait, Happening::End(attempt, Outcome::new(Cause::Cancelled, Some(143), "")));
                } else {
                    self.describe(&attempt);
                }
            }
            Command::Lookup { attempt } => self.describe(&attempt),
            Command::WakeAt(_) => {}
        }
        Ok(())
    }

    /// All that there is to say of an attempt; its values before its end.
    fn describe(&mut self, attempt: &AttemptId) {
        let Some(work) = self.works.get(attempt).cloned() else {
            return self.report(attempt, vec![Observation::Absent { attempt: attempt.clone() }]);
        };
        let mut all = vec![
            Observation::Exists { attempt: attempt.clone() },
            Observation::Started { attempt: attempt.clone(), at: Timestamp(work.started), place: "here".into() },
        ];
        if !work.curve.is_empty() {
            all.push(Observation::Metrics { attempt: attempt.clone(), points: work.curve.clone() });
        }
        all.extend(work.ended.map(|(at, outcome)| Observation::Ended {
            attempt: attempt.clone(),
            started: Some(Timestamp(work.started)),
            at: Timestamp(at),
            outcome,
            outputs: Vec::new(),
        }));
        self.report(attempt, all);
    }

    /// Reports of one attempt come late, but in their order.
    fn report(&mut self, attempt: &AttemptId, all: Vec<Observation>) {
        for observation in all {
            let delay = self.rng.between(1, 400);
            let at = (self.now + delay).max(self.last.get(attempt).copied().unwrap_or(0) + 1);
            self.last.insert(attempt.clone(), at);
            self.at(at - self.now, Happening::Deliver(observation));
        }
    }

    fn train(&mut self, attempt: &AttemptId) -> Result<(), String> {
        if let Some(asked) = self.asked.get(attempt).filter(|at| self.now - **at > ENDED_WITHIN) {
            return Err(format!("{attempt} was asked to end at {asked} and trains on at {}", self.now));
        }
        let interrupted = self.faults() && self.rng.percent(2);
        let Some(work) = self.works.get_mut(attempt).filter(|w| w.ended.is_none()) else { return Ok(()) };
        let steps = if self.kind == Kind::Population { STEPS / 3 } else { STEPS };
        if work.step() >= steps {
            // It was interrupted after its last step.
            self.end(attempt, Outcome::new(Cause::Success, Some(0), ""));
            return Ok(());
        }
        let step = work.step() + 1;
        let point = MetricPoint { name: "loss".into(), step: Some(step), value: Some(loss(&work.launch, step)), at: None };
        work.curve.push(point.clone());
        self.report(attempt, vec![Observation::Metrics { attempt: attempt.clone(), points: vec![point] }]);
        if interrupted {
            self.end(attempt, Outcome::new(Cause::Interrupted, None, "gone"));
        } else if step >= steps {
            self.end(attempt, Outcome::new(Cause::Success, Some(0), ""));
        } else {
            let next = self.rng.between(5_000, 15_000);
            self.at(next, Happening::Train(attempt.clone()));
        }
        Ok(())
    }

    fn end(&mut self, attempt: &AttemptId, outcome: Outcome) {
        let now = self.now;
        let Some(work) = self.works.get_mut(attempt).filter(|w| w.ended.is_none()) else { return };
        work.ended = Some((now, outcome.clone()));
        let started = Some(Timestamp(work.started));
        self.report(
            attempt,
            vec![Observation::Ended { attempt: attempt.clone(), started, at: Timestamp(now), outcome, outputs: Vec::new() }],
        );
    }

    /// One turn of the driver: step, write, perform; it may die in between.
    fn input(&mut self, input: Input) -> Result<(), String> {
        self.report.steps += 1;
        self.wake = None;
        let step = self.engine.step(input, Timestamp(self.now));
        if self.faults() && self.rng.percent(1) {
            return self.restart(false);
        }
        self.write(&step.events)?;
        if self.faults() && self.rng.percent(1) {
            return self.restart(true);
        }
        let mut commands = step.commands;
        if self.faults() && self.rng.percent(1) {
            commands.truncate(usize::try_from(self.rng.below(commands.len() as u64 + 1)).unwrap_or(0));
            self.perform(commands);
            return self.restart(true);
        }
        self.perform(commands);
        self.states()
    }

    fn perform(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::WakeAt(at) => self.wake = Some(at.0.max(self.now)),
                Command::Stop { .. } if self.mutation == Some(SweepMutation::StopForgotten) => {}
                command => {
                    let delay = self.rng.between(1, 300);
                    // Requests of one driver arrive in their order often enough; what is lost is asked for again.
                    if !(self.faults() && self.rng.percent(3)) {
                        self.at(delay, Happening::Arrive(command));
                    }
                }
            }
        }
    }

    fn write(&mut self, events: &[Event]) -> Result<(), String> {
        for event in events {
            self.promised(event)?;
            let lost = match event {
                Event::Suggested { .. } => self.mutation == Some(SweepMutation::SuggestionLost),
                Event::Metrics { .. } => self.mutation == Some(SweepMutation::MetricsLost),
                Event::SweepPaused { .. } => self.mutation == Some(SweepMutation::PauseForgotten),
                Event::Paused { .. } => self.mutation == Some(SweepMutation::PauseAtRungLost),
                Event::Promoted { .. } => self.mutation == Some(SweepMutation::PromotionLost),
                _ => false,
            };
            let event = match event {
                Event::Suggested { address, params, why, .. } if self.mutation == Some(SweepMutation::ParentLost) => {
                    &Event::Suggested { address: address.clone(), params: params.clone(), why: Arc::clone(why), parent: None }
                }
                event => event,
            };
            if !lost {
                self.journal.push((Timestamp(self.now), serde_json::to_string(event).map_err(|e| e.to_string())?));
            }
        }
        Ok(())
    }

    fn fold(&self) -> Result<State, String> {
        let mut state = State::default();
        for (at, line) in &self.journal {
            let event: Event = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
            state.apply(&event, *at);
        }
        Ok(state)
    }

    /// Another driver, from the journal and the ledger.
    fn successor(&self) -> Result<Engine, String> {
        let mut treasury = treasury(self.cap, self.now);
        for (at, line) in &self.journal {
            let event: Event = serde_json::from_str(line).map_err(|e| e.to_string())?;
            if let (Event::Ended { bill: Some(bill), .. }, false) = (&event, self.mutation == Some(SweepMutation::SpendingForgotten)) {
                treasury.spent_before(&bill.payer, *at, bill.amount);
            }
        }
        let mut state = self.fold()?;
        match self.mutation {
            Some(SweepMutation::SuggestedAnew) => state.runs.values_mut().filter(|r| !r.status.is_terminal()).for_each(|r| {
                r.spec = Arc::new(RunSpec { params: Vec::new(), ..(*r.spec).clone() });
            }),
            Some(SweepMutation::GenerationEarly) => state.runs.values_mut().for_each(|r| r.spec = other_population(&r.spec)),
            Some(SweepMutation::TrialLost) => {
                let first = state.runs.values().find(|r| r.status.is_live()).map(|r| r.spec.address.clone());
                first.and_then(|a| state.runs.remove(&a));
            }
            _ => {}
        }
        Ok(Engine::with_budgets(state, limits(), treasury))
    }

    fn restart(&mut self, written: bool) -> Result<(), String> {
        self.report.restarts += 1;
        let successor = self.successor()?;
        let before = std::mem::replace(&mut self.engine, successor);
        if written {
            self.same(before)?;
        }
        self.queue.retain(|_, h| !matches!(h, Happening::Deliver(_)));
        self.last.clear();
        self.wake = None;
        self.now += self.rng.between(10, 60_000);
        let mut step = self.engine.step(Input::Tick, Timestamp(self.now));
        self.write(&step.events)?;
        if self.mutation == Some(SweepMutation::TrialDoubled) {
            double(&mut step, &self.engine);
        }
        self.perform(step.commands);
        self.states()
    }
}

/// The same trial of a population of twice the size.
fn other_population(spec: &RunSpec) -> Arc<RunSpec> {
    let (mut run, mut job) = (spec.clone(), (*spec.job).clone());
    let mut sweep = job.sweep.as_deref().cloned().unwrap_or_default();
    let search = sweep.search.as_deref().cloned().map(|mut search| {
        search.options.population = Some(8);
        Arc::new(search)
    });
    sweep.search = search;
    job.sweep = Some(Arc::new(sweep));
    run.job = Arc::new(job);
    Arc::new(run)
}

/// Submits what may run already once more, under another name.
fn double(step: &mut Step, engine: &Engine) {
    for attempt in engine.live() {
        let Some(record) = engine.state().runs.get(&attempt.address) else { continue };
        let attempt = AttemptId { number: attempt.number + 100, ..attempt };
        let launch = Launch { attempt, spec: Arc::clone(&record.spec), argv: Vec::new(), env: Vec::new(), timeout: None };
        step.commands.push(Command::Submit(Box::new(launch)));
    }
}
