//! The world: a driver that dies, a journal that does not, an API that loses things, and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::cluster::{Cluster, Later};
use super::happening::{Happening, shown};
use super::money::{LAG, Purse};
use super::promises::Promises;
use super::rng::Rng;
use super::work::{limits, workload};
use super::{Mutation, Report, Violation};
use crate::base::{Address, AttemptId, Timestamp};
use crate::engine::{Command, Engine, Input, Observation, Order};
use crate::queue::Limits;
use crate::record::{Cause, Event, JobSpec, Outcome, RunSpec, RunStatus, State};

/// Virtual time at which a world begins, in milliseconds: a quarter to midnight, so that a day turns while there are faults.
const START: i64 = 85_500_000;
const FAULTS_END: i64 = START + HALF_HOUR;
const HALF_HOUR: i64 = 1_800_000;
/// Steps after which a world that has not come to rest is stuck.
const MAX_STEPS: u64 = 60_000;
/// Virtual time after the faults within which everything comes to rest.
const PATIENCE: i64 = 48 * 3_600_000;

/// Runs one seed.
///
/// # Errors
/// The first broken promise.
pub fn simulate(seed: u64, mutation: Option<Mutation>, mut trace: impl FnMut(&str)) -> Result<Report, Violation> {
    let mut world = World::new(seed, mutation);
    let outcome = world.run(&mut trace);
    let World { mut report, cluster, step, notes, now, .. } = world;
    report.steps = step;
    report.executions = cluster.executions;
    report.time = now;
    outcome.map(|()| report).map_err(|what| Violation { seed, step, what, trace: notes.into() })
}

struct World {
    rng: Rng,
    seed: u64,
    mutation: Option<Mutation>,
    now: i64,
    limits: Limits,
    engine: Engine,
    journal: Vec<(Timestamp, String)>,
    cluster: Cluster,
    queue: BTreeMap<(i64, u64), Happening>,
    next: u64,
    wake: Option<i64>,
    away: bool,
    needs: BTreeMap<Address, Vec<String>>,
    /// Attempts whose intent is in the journal.
    intents: BTreeSet<AttemptId>,
    promises: Promises,
    report: Report,
    step: u64,
    notes: VecDeque<String>,
    edits: u64,
    /// Budgets, in every second world.
    purse: Option<Purse>,
    skew: i64,
    due: i64,
}

impl World {
    fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut rng = Rng::new(seed);
        let mut limits = limits(&mut rng);
        let purse = (seed % 2 == 1).then(|| Purse::new(&workload(&mut Rng::new(seed), 0), &mut rng));
        limits.gpu_time = purse.as_ref().and_then(|p| p.gpu_time(&workload(&mut Rng::new(seed), 0), &mut Rng::new(!seed)));
        let mut given = limits.clone();
        if mutation == Some(Mutation::PoolNotHeld) {
            given.max_concurrent += 2;
        }
        let keeps = purse.as_ref().map(|_| LAG);
        let begin = Timestamp(START);
        let engine = match &purse {
            Some(purse) => purse.engine(State::default(), given, &[], begin, mutation),
            None => Engine::new(State::default(), given),
        };
        Self {
            seed,
            mutation,
            now: START,
            engine,
            purse,
            skew: 0,
            due: START,
            limits,
            journal: Vec::new(),
            cluster: Cluster { mutation, keeps, ..Cluster::default() },
            queue: BTreeMap::new(),
            next: 0,
            wake: None,
            away: false,
            needs: BTreeMap::new(),
            intents: BTreeSet::new(),
            promises: Promises::default(),
            report: Report::default(),
            step: 0,
            notes: VecDeque::new(),
            edits: 0,
            rng,
        }
    }

    fn faults(&self) -> bool {
        self.now < FAULTS_END
    }

    fn fault(&mut self, kind: &'static str, percent: u64) -> bool {
        let hit = self.faults() && self.rng.percent(percent);
        if hit {
            *self.report.faults.entry(kind).or_default() += 1;
        }
        hit
    }

    fn at(&mut self, delay: i64, what: Happening) {
        self.next += 1;
        self.queue.insert((self.now + delay.max(0), self.next), what);
    }

    fn run(&mut self, trace: &mut dyn FnMut(&str)) -> Result<(), String> {
        for i in 0..6 {
            let when = self.rng.between(0, HALF_HOUR / 6) + i * HALF_HOUR / 6;
            self.at(if i == 0 { 0 } else { when }, Happening::Person);
        }
        for _ in 0..2 {
            let (when, long) = (self.rng.between(10_000, HALF_HOUR - 200_000), self.rng.between(1_000, 90_000));
            self.at(when, Happening::ApiAway(long));
        }
        loop {
            let happens = self.queue.first_key_value().map(|((at, _), _)| *at);
            let wakes = self.wake.filter(|_| self.mutation != Some(Mutation::WakeForgotten));
            let Some(at) = [happens, wakes].into_iter().flatten().min() else { break };
            if self.step > MAX_STEPS {
                return Err(format!("no rest after {MAX_STEPS} steps"));
            }
            // What waits for money may wait for a day each run.
            let days = if self.purse.is_some() { 40 } else { 1 };
            if at > FAULTS_END + days * PATIENCE {
                break;
            }
            self.now = self.now.max(at);
            self.due = at;
            if happens == Some(at) {
                if let Some((_, what)) = self.queue.pop_first() {
                    let line = format!("{:>9} {}", self.now, shown(&what));
                    trace(&line);
                    self.notes.push_back(line);
                    while self.notes.len() > 90 {
                        self.notes.pop_front();
                    }
                    self.happen(what)?;
                }
            } else {
                self.input(Input::Tick)?;
            }
            self.money()?;
            if !self.faults() && self.queue.is_empty() && self.engine.is_idle() {
                break;
            }
        }
        self.same_as_journal()?;
        Promises::converged(&self.engine, &self.cluster)
    }

    /// What really ran against every limit.
    fn money(&mut self) -> Result<(), String> {
        let Some(purse) = &mut self.purse else { return Ok(()) };
        let before = purse.bound;
        purse.check(&self.cluster, Timestamp(self.due))?;
        *self.report.faults.entry("budget nearly used up").or_default() += u64::from(purse.bound > before);
        Ok(())
    }

    /// GPU-hours, after every admission of a run that uses some.
    fn hours(&self, events: &[Event]) -> Result<(), String> {
        let admitted = events.iter().any(|e| matches!(e, Event::Admitted { reservation: Some(r), .. } if r.payer.gpus > 0));
        let purse = self.purse.as_ref().filter(|_| admitted && self.limits.gpu_time.is_some());
        purse.map_or(Ok(()), |p| p.hours(&self.engine, &self.limits, &self.journal, self.clock()))
    }

    /// The driver's clock.
    fn clock(&self) -> Timestamp {
        Timestamp(self.now + self.skew)
    }

    fn happen(&mut self, what: Happening) -> Result<(), String> {
        let now = Timestamp(if self.purse.is_some() { self.due } else { self.now });
        match what {
            Happening::Deliver(observation) => self.input(Input::Observed(*observation)),
            Happening::Arrive(command) => {
                let effects = match *command {
                    _ if self.away => Default::default(),
                    Command::Submit(launch) => self.cluster.submit(&launch, &mut self.rng),
                    Command::Stop { attempt, grace } => self.cluster.stop(&attempt, grace.0, &mut self.rng),
                    Command::Lookup { attempt } => (self.cluster.describe(&attempt), Vec::new()),
                    Command::WakeAt(_) => Default::default(),
                };
                self.spread(effects);
                Ok(())
            }
            Happening::Later(later) => {
                let attempt = match &later {
                    Later::Start(a) | Later::End(a, _) => a.clone(),
                };
                let begins = matches!(later, Later::Start(_)) && self.cluster.objects.contains_key(&attempt);
                if begins && !self.intents.contains(&attempt) {
                    return Err(format!("{attempt} starts, and no intent of it is durable"));
                }
                let effects = self.cluster.happen(later, now, &mut self.rng);
                self.spread(effects);
                if self.purse.is_none() && self.fault("deleted by hand", 2) {
                    let reports = self.cluster.delete(&attempt, now);
                    self.spread((reports, Vec::new()));
                }
                Promises::one_execution(&self.cluster, &attempt)
            }
            Happening::Person => self.person(),
            Happening::ApiAway(long) => {
                self.away = true;
                *self.report.faults.entry("API away").or_default() += 1;
                self.at(long, Happening::ApiBack);
                if self.mutation == Some(Mutation::VoidBeforeEnd) {
                    for attempt in self.engine.live() {
                        let outcome = Outcome::new(Cause::Interrupted, None, "");
                        let (at, outputs) = (self.clock(), Vec::new());
                        self.input(Input::Observed(Observation::Ended { attempt, started: None, at, outcome, outputs }))?;
                    }
                }
                if self.mutation == Some(Mutation::UnreachableIsAbsent) {
                    for attempt in self.engine.live() {
                        self.input(Input::Observed(Observation::Absent { attempt }))?;
                    }
                    return Ok(());
                }
                self.input(Input::Observed(Observation::Unreachable { detail: "away".into() }))
            }
            Happening::ApiBack => {
                self.away = false;
                self.input(Input::Observed(Observation::Reachable))
            }
            Happening::Zombie(engine) => self.zombie(*engine),
        }
    }

    /// Reports travel: late, twice, in another order, or not at all.
    fn spread(&mut self, (reports, later): (Vec<Observation>, Vec<(i64, Later)>)) {
        for (delay, what) in later {
            // A cluster does not wait for its driver.
            let behind = if self.purse.is_some() { self.now - self.due } else { 0 };
            self.next += 1;
            self.queue.insert((self.now - behind + delay.max(0), self.next), Happening::Later(what));
        }
        for report in reports {
            if self.away || self.fault("lost report", 8) {
                continue;
            }
            if matches!(report, Observation::Absent { .. }) {
                // The answer to a question: it comes within its timeout and once, or not at all.
                let delay = self.rng.between(1, 19_000);
                self.at(delay, Happening::Deliver(Box::new(report)));
                continue;
            }
            let delay = if self.fault("late report", 10) { self.rng.between(1_000, 300_000) } else { self.rng.between(1, 500) };
            if self.fault("doubled report", 8) {
                let again = delay + self.rng.between(1, 400_000);
                self.at(again, Happening::Deliver(Box::new(report.clone())));
            }
            self.at(delay, Happening::Deliver(Box::new(report)));
        }
    }

    /// A person applies, edits, cancels, retries, removes.
    fn person(&mut self) -> Result<(), String> {
        self.edits += u64::from(self.rng.percent(40));
        let runs = workload(&mut Rng::new(self.seed), self.edits);
        let addresses: Vec<Address> = runs.iter().map(|r| r.address.clone()).collect();
        let one = usize::try_from(self.rng.below(addresses.len() as u64)).unwrap_or(0);
        let some: Vec<Address> = addresses.get(one).cloned().into_iter().collect();
        let by = || "somebody".to_owned();
        match self.rng.below(10) {
            _ if self.journal.is_empty() => self.apply(&runs),
            0..5 => self.apply(&runs),
            5..7 => self.input(Input::Cancel { addresses: some, by: by() }),
            7..9 => self.input(Input::Retry { addresses, by: by() }),
            _ => self.input(Input::Forget { addresses: some, by: by() }),
        }
    }

    /// The differ's rules in short: new and failed runs, and those with another fingerprint.
    fn apply(&mut self, runs: &[Arc<RunSpec>]) -> Result<(), String> {
        let mut orders = Vec::new();
        for run in runs {
            let known = self.engine.state().runs.get(&run.address);
            let again = known.is_none_or(|r| {
                r.spec.fingerprint != run.fingerprint || matches!(r.status, RunStatus::Failed | RunStatus::Cancelled | RunStatus::Skipped)
            });
            self.needs.insert(run.address.clone(), run.job.needs.iter().map(ToString::to_string).collect());
            if again {
                let spec = if self.mutation == Some(Mutation::NeedsIgnored) {
                    Arc::new(RunSpec { job: Arc::new(JobSpec { needs: Vec::new(), ..(*run.job).clone() }), ..(**run).clone() })
                } else {
                    Arc::clone(run)
                };
                orders.push(Order::Run(spec));
            }
        }
        self.input(Input::Apply { plan_id: format!("p{}", self.step), by: "somebody".into(), orders })
    }

    /// One turn of the driver: step, write, perform; it may die in between.
    fn input(&mut self, input: Input) -> Result<(), String> {
        self.step += 1;
        // Every step names the next time that counts.
        self.wake = None;
        let before = self.engine.clone();
        let step = self.engine.step(input, self.clock());
        if self.fault("crash before the write", 1) {
            if self.mutation == Some(Mutation::EffectBeforeIntent) {
                self.perform(step.commands)?;
            }
            return self.restart(before);
        }
        self.write(&step.events)?;
        if self.fault("crash after the write", 1) {
            if self.mutation == Some(Mutation::LostWrite) {
                self.journal.truncate(self.journal.len().saturating_sub(step.events.len().max(1)));
                self.perform(step.commands)?;
            }
            return self.restart(before);
        }
        let mut commands = step.commands;
        if self.fault("crash between commands", 1) {
            commands.truncate(usize::try_from(self.rng.below(commands.len() as u64 + 1)).unwrap_or(0));
            self.perform(commands)?;
            return self.restart(before);
        }
        self.perform(commands)?;
        Promises::set_aside(&self.engine)?;
        self.hours(&step.events)?;
        if self.step.is_multiple_of(97) {
            self.same_as_journal()?;
        }
        self.promises.state(&self.engine, &self.limits)
    }

    fn write(&mut self, events: &[Event]) -> Result<(), String> {
        for event in events {
            let line = serde_json::to_string(event).map_err(|e| e.to_string())?;
            self.notes.push_back(format!("          {}", line.chars().take(200).collect::<String>()));
            let needs = |address: &Address| self.needs.get(address).cloned().unwrap_or_default();
            Promises::needs(self.engine.state(), event, &needs)?;
            if self.purse.is_some() {
                Promises::paid_to_the_end(&self.cluster, event)?;
            }
            if let Event::Admitted { attempt, .. } = event {
                self.intents.insert(attempt.clone());
            }
            self.journal.push((self.clock(), line));
        }
        self.report.events += events.len() as u64;
        Ok(())
    }

    fn perform(&mut self, commands: Vec<Command>) -> Result<(), String> {
        for command in commands {
            match &command {
                Command::WakeAt(at) => {
                    self.wake = Some((at.0 - self.skew).max(self.now));
                    continue;
                }
                Command::Stop { .. } if self.mutation == Some(Mutation::StopForgotten) => continue,
                _ => {}
            }
            self.send(command);
        }
        Ok(())
    }

    /// A request travels; it may be lost, and so may its answer.
    fn send(&mut self, command: Command) {
        if self.fault("lost request", 5) {
            if let Command::Submit(launch) = command {
                let lost = Observation::SubmitUnknown { attempt: launch.attempt.clone(), detail: "timeout".into() };
                self.at(100, Happening::Deliver(Box::new(lost)));
            }
            return;
        }
        if let (Command::Submit(launch), true) = (&command, self.fault("lost answer", 5)) {
            let unknown = Observation::SubmitUnknown { attempt: launch.attempt.clone(), detail: "timeout".into() };
            self.at(200, Happening::Deliver(Box::new(unknown)));
            if self.mutation == Some(Mutation::NewNameOnUnknown) {
                let mut again = launch.clone();
                again.attempt.number += 100;
                self.at(300, Happening::Arrive(Box::new(Command::Submit(again))));
            }
        }
        if self.fault("doubled request", 5) {
            let delay = self.rng.between(1, 5_000);
            self.at(delay, Happening::Arrive(Box::new(command.clone())));
        }
        let delay = self.rng.between(1, 300);
        self.at(delay, Happening::Arrive(Box::new(command)));
    }

    /// The driver is gone; another takes over from the journal. Now and then the old one was only paused.
    fn restart(&mut self, old: Engine) -> Result<(), String> {
        if self.rng.percent(30) {
            let delay = self.rng.between(1_000, 60_000);
            self.at(delay, Happening::Zombie(Box::new(old)));
        }
        // Reports to the old driver are lost with it.
        self.queue.retain(|_, h| !matches!(h, Happening::Deliver(_)));
        let mut limits = self.limits.clone();
        if self.mutation == Some(Mutation::PoolNotHeld) {
            limits.max_concurrent += 2;
        }
        self.wake = None;
        self.now += self.rng.between(10, 120_000);
        let state = self.fold()?;
        self.engine = match &self.purse {
            Some(purse) => {
                self.skew = purse.jump(&mut self.rng);
                *self.report.faults.entry("clock jumped").or_default() += u64::from(self.skew != 0);
                purse.engine(state, limits, &self.journal, self.clock(), self.mutation)
            }
            None => Engine::new(state, limits),
        };
        self.step += 1;
        let step = self.engine.step(Input::Tick, self.clock());
        self.write(&step.events)?;
        Promises::set_aside(&self.engine)?;
        self.hours(&step.events)?;
        let commands = step
            .commands
            .into_iter()
            .filter(|c| self.mutation != Some(Mutation::NoResume) || !matches!(c, Command::Lookup { .. } | Command::WakeAt(_)))
            .collect();
        self.perform(commands)
    }

    /// Its epoch is old: the store refuses what it writes, and so it performs nothing.
    fn zombie(&mut self, mut engine: Engine) -> Result<(), String> {
        *self.report.faults.entry("overtaken driver").or_default() += 1;
        if self.mutation != Some(Mutation::NoFencing) {
            return Ok(());
        }
        let live = engine.live();
        let mut commands = Vec::new();
        for attempt in live {
            let ended = Observation::Absent { attempt };
            let step = engine.step(Input::Observed(ended), self.clock());
            self.write(&step.events)?;
            commands.extend(step.commands);
        }
        commands.extend(engine.step(Input::Tick, Timestamp(self.clock().0 + 600_000)).commands);
        commands.retain(|c| matches!(c, Command::Submit(_)));
        for command in commands {
            self.send(command);
        }
        self.same_as_journal()
    }

    /// The journal, read back from its written form.
    fn fold(&self) -> Result<State, String> {
        let mut state = State::default();
        for (at, line) in &self.journal {
            let event: Event = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
            state.apply(&event, *at);
        }
        Ok(state)
    }

    fn same_as_journal(&self) -> Result<(), String> {
        let folded = self.fold()?;
        if folded == *self.engine.state() {
            return Ok(());
        }
        let differs = folded.runs.iter().find(|(a, r)| self.engine.state().runs.get(a) != Some(r)).map(|(a, _)| a.to_string());
        Err(format!("the state is not the fold of the journal: {}", differs.unwrap_or_default()))
    }
}
