//! The engine: all of execution's decisions, as a pure function of state, input and time.
//!
//! In: an [`Input`] and `now`. Out: [`Step`]: events to make durable, then commands to perform. Must never touch a clock, a
//! file, a thread or a backend: `drive` does that, and the simulator does it with faults.
//!
//! [`Engine`] keeps indices beside the state, so that an event costs no more than the runs that it concerns.

mod admission;
pub mod agents;
mod index;
mod money;
mod observe;
mod orders;
pub mod policy;
pub mod port;
mod rungs;
pub mod search;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::base::{Address, AttemptId, Millis, Timestamp};
use crate::diff::{Action, Plan};
use crate::queue::{Demand, Gate, Limits, Meters, Pool, Treasury, WaitReason};
use crate::record::{Event, Pause, Payer, RunRecord, RunStatus, State};
use index::Index;

pub use agents::{Agency, Agents};
pub use money::{overrun, reserved};
pub use port::{Command, Input, Launch, Observation, Order, Step, Submission};

/// Silence after which an attempt is asked after again.
pub const RECHECK: Millis = Millis::from_secs(30);
/// How long "it is not there" must hold before what may have run counts as gone: longer than any answer travels, so that one given
/// before a creation is not taken for one after it. Backends must give up on answers that take longer than 20 seconds.
pub const CONFIRM: Millis = Millis::from_secs(25);
/// What a backend gets beyond timeout and grace before the engine ends an attempt itself.
pub const SLACK: Millis = Millis::from_secs(30);

/// What the engine is told by a plan.
#[must_use]
pub fn orders(plan: &Plan) -> Vec<Order> {
    let order = |r: &crate::diff::Planned| {
        let spec = r.spec.clone();
        Some(match r.action {
            Action::Create | Action::Rerun => Order::Run(spec?),
            Action::Update => Order::Update(spec?),
            Action::Reuse => Order::Reuse { spec: spec?, result: r.result.as_deref().cloned()? },
            Action::Cancel | Action::Forget => Order::Forget(r.address.clone()),
        })
    };
    plan.runs.iter().filter_map(order).collect()
}

/// State with its indices.
#[derive(Debug, Clone)]
pub struct Engine {
    state: State,
    gate: Gate,
    index: Index,
    searchers: search::Searchers,
    launching: bool,
    reachable: bool,
    agents: Agents,
    /// When the last step was taken.
    now: Timestamp,
    step: Step,
}

impl Engine {
    /// Takes over a state without budgets.
    #[must_use]
    pub fn new(state: State, limits: Limits) -> Self {
        Self::with_budgets(state, limits, Treasury::default())
    }

    /// Takes over a state. The first `Tick` asks after every attempt that may be live. `treasury` knows what was spent; what is
    /// reserved for live attempts is in the state.
    #[must_use]
    pub fn with_budgets(state: State, limits: Limits, treasury: Treasury) -> Self {
        let gate = Gate::new(Pool::new(limits, Arc::clone(&treasury.rates().hours)).metered(treasury.meters()), treasury);
        let mut engine = Self {
            state,
            gate,
            index: Index::default(),
            searchers: search::Searchers::default(),
            launching: true,
            reachable: true,
            agents: Agents::default(),
            now: Timestamp::default(),
            step: Step::default(),
        };
        let addresses: Vec<Address> = {
            let mut by_seq: Vec<&RunRecord> = engine.state.runs.values().collect();
            by_seq.sort_unstable_by_key(|r| r.seq);
            by_seq.iter().map(|r| r.spec.address.clone()).collect()
        };
        for address in &addresses {
            engine.track(address);
        }
        // Whoever only looks, without a step, sees the line as it is: needs that are done hold nobody up.
        for job in engine.index.complete() {
            engine.meet(&job);
        }
        engine.index.started = false;
        engine
    }

    /// Under a rule for agents.
    #[must_use]
    pub fn ruled_by(mut self, agents: Agents) -> Self {
        self.agents = agents;
        self
    }

    /// As it is at a moment, for those who only look: steps bring their own.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// The state, all events of past steps folded in.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes one input.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Step {
        self.now = now;
        if !self.index.started {
            self.index.started = true;
            self.resume(now);
        }
        self.take(input, now);
        self.fire(now);
        self.expire(now);
        self.settle(now);
        self.admit(now);
        if let Some(at) = self.next_time() {
            self.step.commands.push(Command::WakeAt(at));
        }
        std::mem::take(&mut self.step)
    }

    fn take(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Apply { plan_id, by, orders } => self.apply(plan_id, by, orders, now),
            Input::Observed(observation) => self.observe(observation, now),
            Input::Cancel { addresses, by } => addresses.iter().for_each(|a| self.cancel(a, &by, now)),
            Input::Retry { addresses, by } => self.retry(&addresses, &by, now),
            Input::Forget { addresses, by } => addresses.iter().for_each(|a| self.forget(a, &by, now)),
            Input::Pause { jobs, by } => jobs.iter().for_each(|job| self.pause(job, &by, now)),
            Input::Resume { jobs, by } => jobs.iter().for_each(|job| self.unpause(job, &by, now)),
            Input::Budgets(rules) => self.gate.treasury_mut().hold_to(&rules, now),
            Input::Submit(submission) => self.submit(*submission, now),
            Input::CancelWaiting { addresses, by } => self.cancel_waiting(&addresses, &by, now),
            Input::Prioritize { addresses, priority, by } => addresses.iter().for_each(|a| self.prioritize(a, &priority, &by, now)),
            Input::PauseQueue { paused, by } => self.pause_queue(paused, by, now),
            Input::Launching(on) => self.launching = on,
            Input::OfAgent { agency, inputs } => match self.agents.holds_back(&agency) {
                Some(because) => self.emit(Event::HeldBack { agent: agency.agent, because }, now),
                None => {
                    let Agency { agent, approved_by, cost, .. } = agency;
                    self.emit(Event::OfAgent { agent, approved_by, cost }, now);
                    inputs.into_iter().for_each(|input| self.take(input, now));
                }
            },
            Input::Tick => {}
        }
    }

    /// True when nothing more will happen by itself: every run is over.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.index.open == 0
    }

    /// True when all that is left waits for a person who paused it, or for a budget that never begins anew by itself.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let held = (self.gate.is_holding() || self.is_paused()) && self.next_time().is_none();
        self.index.open > 0 && self.index.live == 0 && (held || self.state.paused.is_some())
    }

    /// The next moment that counts by itself.
    fn next_time(&self) -> Option<Timestamp> {
        [self.index.next_timer(), self.gate.next_turn(), self.gate.pool().next_opening(self.now), self.next_expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// True when an attempt is live or may be.
    #[must_use]
    pub fn has_live(&self) -> bool {
        self.index.live > 0
    }

    /// Attempts that may be live.
    #[must_use]
    pub fn live(&self) -> Vec<AttemptId> {
        self.state.runs.values().filter_map(|r| r.live_attempt().map(|a| attempt_id(r, a.number))).collect()
    }

    /// Why a pending run waits.
    #[must_use]
    pub fn why(&self, address: &Address) -> Option<Wait> {
        self.whys([address]).pop().flatten()
    }

    /// Why each of these runs waits; none for those that do not. The pool is asked once for all of them.
    #[must_use]
    pub fn whys<'a>(&self, addresses: impl IntoIterator<Item = &'a Address>) -> Vec<Option<Wait>> {
        let reasons = self.gate.reasons(self.now);
        addresses.into_iter().map(|a| self.reason(a, &reasons)).collect()
    }

    fn reason(&self, address: &Address, reasons: &FxHashMap<Demand, WaitReason>) -> Option<Wait> {
        let record = self.state.runs.get(address).filter(|r| r.status == RunStatus::Pending)?;
        if let Some(need) = record.spec.job.needs.iter().find(|n| !self.index.is_complete(n)) {
            return Some(Wait::Needs(Arc::clone(need)));
        }
        if let Some(by) = self.paused(&record.spec.job.job) {
            return Some(Wait::Paused(Arc::clone(by)));
        }
        if let Some(pause) = &self.state.paused {
            return Some(Wait::QueuePaused(pause.clone()));
        }
        if let Some(rung) = record.rung.as_ref().filter(|r| r.waits) {
            return Some(Wait::Rung(Arc::clone(&rung.because)));
        }
        if let Some(before) = self.generation_of(record) {
            return Some(Wait::Generation(before));
        }
        if let Some(time) = record.not_before {
            return Some(Wait::Backoff(time));
        }
        if let Some(account) = self.index.id(address).and_then(|id| self.gate.holder(id)) {
            let account = self.gate.treasury().accounts().get(account)?;
            return Some(Wait::Budget(Arc::clone(&account.rule.name), account.next));
        }
        if let Some(reason) = reasons.get(&self.gate.pool().limits().demand(&record.spec.job)) {
            return Some(Wait::Pool(reason.clone()));
        }
        let treasury = self.gate.treasury();
        let short = treasury.quote(&record.spec.job, payer(record), money::already(record), record.planned_at).err();
        let account = short.and_then(|s| s.account).and_then(|i| treasury.accounts().get(i));
        Some(account.map_or(Wait::Launch, |a| Wait::Budget(Arc::clone(&a.rule.name), a.next)))
    }

    /// The accounts of all budgets.
    #[must_use]
    pub fn treasury(&self) -> &Treasury {
        self.gate.treasury()
    }

    /// What is used of the quotas of GPU-hours.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        self.gate.pool().meters()
    }

    /// Runs that wait for the pool, in the order of the line.
    #[must_use]
    pub fn line(&self) -> Vec<&RunRecord> {
        self.gate.waiting().into_iter().filter_map(|id| self.record(id)).collect()
    }

    fn record(&self, id: u32) -> Option<&RunRecord> {
        self.state.runs.get(self.index.address(id)?)
    }

    /// Notes an event: folded into the state at once, handed out for the journal.
    fn emit(&mut self, event: Event, now: Timestamp) {
        self.state.apply(&event, now);
        self.step.events.push(event);
    }

    fn command(&mut self, command: Command) {
        self.step.commands.push(command);
    }
}

/// Why a pending run does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A need has not succeeded yet.
    Needs(Arc<str>),
    /// The person who paused its sweep.
    Paused(Arc<str>),
    /// Other trials: it was stopped at a rung, and goes on when it belongs to the best there.
    Rung(Arc<str>),
    /// The trials of the generation before.
    Generation(std::ops::Range<u64>),
    /// The backoff of a retry.
    Backoff(Timestamp),
    /// A budget, until it begins anew.
    Budget(Arc<str>, Option<Timestamp>),
    /// Somebody paused the queue.
    QueuePaused(Pause),
    /// The pool.
    Pool(WaitReason),
    /// Nothing: it starts as soon as an engine runs.
    Launch,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Needs(job) => write!(f, "needs {job}"),
            Self::Paused(by) => write!(f, "its sweep was paused by {by}"),
            Self::Rung(because) => write!(f, "paused at {because}"),
            Self::Generation(before) => {
                write!(f, "waits for trials {} to {}, the generation before", before.start, before.end.saturating_sub(1))
            }
            Self::Backoff(time) => write!(f, "tries again at {time}"),
            Self::Budget(name, Some(next)) => write!(f, "budget of {name} is used up until {next}"),
            Self::Budget(name, None) => write!(f, "budget of {name} is used up"),
            Self::QueuePaused(pause) => write!(f, "the queue is paused by {}", pause.by),
            Self::Pool(reason) => write!(f, "{reason}"),
            Self::Launch => write!(f, "starts with the next apply"),
        }
    }
}

/// Who pays for a run.
fn payer(record: &RunRecord) -> Payer {
    Payer::of(&record.spec.job, &record.by)
}

fn attempt_id(record: &RunRecord, number: u32) -> AttemptId {
    AttemptId { address: record.spec.address.clone(), generation: record.generation, number }
}
