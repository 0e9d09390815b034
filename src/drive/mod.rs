//! The one event loop: receive, step, append, then perform.
//!
//! In: a locked store, an engine, a backend, first inputs. Out: what happened. Must never perform a command before the events of
//! its step are durable, and never go on after an append failed.

mod clock;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};

use crate::backend::{Backend, BackendError};
use crate::base::Timestamp;
use crate::engine::{Command, Engine, Input, Observation};
use crate::record::{Event, State};
use crate::store::{Lock, Request, Store, StoreError};

pub use clock::Clock;

/// How often other processes' requests are looked for.
const POLL: Duration = Duration::from_millis(200);
/// How often the lock's lease is renewed.
const RENEW: Duration = Duration::from_secs(15);
/// How long reports that free nothing wait for others: what starts and ends at once is one transaction.
const LINGER: Duration = Duration::from_millis(2);
/// Observations taken into one transaction at the most.
const BATCH: usize = 512;

/// What the loop is told while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// Ctrl-C: the first stops launching, the second cancels what is live, the third leaves at once.
    Interrupt,
    /// A further input (a new plan of `watch`).
    Input(Input),
    /// Leave; live runs go on.
    Leave,
}

/// Who is shown what happens.
pub trait View {
    /// Events that are durable now.
    fn events(&mut self, events: &[Event], state: &State, now: Timestamp);
    /// A line for people: interrupted, unreachable, reachable again.
    fn notice(&mut self, words: &str);
    /// Time passed.
    fn tick(&mut self, engine: &Engine, now: Timestamp);
}

/// Why the loop ended before its time.
#[derive(Debug)]
pub enum DriveError {
    /// The store refused an append; what could not be written was rescued.
    Store(StoreError, crate::store::Rescue),
    /// The backend cannot be used.
    Backend(BackendError),
    /// The backend stayed out of reach.
    Unreachable(String),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every run is over.
    Idle,
    /// Interrupted by a person.
    Interrupted,
    /// Told to leave.
    Left,
    /// All that is left waits for a budget that never begins anew by itself.
    Held,
}

/// Settings of one loop.
pub struct Settings {
    /// Go on when every run is over (`watch`).
    pub forever: bool,
    /// End as soon as nothing is live, whatever waits (`cancel`, `destroy`).
    pub until_quiet: bool,
    /// How long the backend may be out of reach.
    pub patience: Duration,
}

/// Everything the loop works with.
pub struct Drive<'a> {
    /// The store, locked by us.
    pub store: &'a mut Store,
    /// The lock.
    pub lock: &'a Lock,
    /// The engine with the store's state.
    pub engine: &'a mut Engine,
    /// Where attempts run.
    pub backend: &'a mut dyn Backend,
    /// Told while it runs.
    pub control: &'a Receiver<Control>,
    /// Shown what happens.
    pub view: &'a mut dyn View,
    /// The clock.
    pub clock: Clock,
    /// Settings.
    pub settings: Settings,
}

struct Turn {
    interrupts: u32,
    wake: Option<Timestamp>,
    renewed: Instant,
    polled: Instant,
    unreachable: Option<(Instant, String)>,
    leave: bool,
    answered: Vec<i64>,
}

impl Drive<'_> {
    /// Runs until every run is over, or somebody says otherwise.
    ///
    /// # Errors
    /// [`DriveError`]; live runs go on, and the next apply picks them up.
    pub fn run(&mut self, first: Vec<Input>) -> Result<End, DriveError> {
        let (out, observations) = unbounded();
        self.backend.start(&self.engine.live(), out).map_err(DriveError::Backend)?;
        let mut turn = Turn {
            interrupts: 0,
            wake: None,
            renewed: Instant::now(),
            // What was asked before we came is answered at once.
            polled: Instant::now().checked_sub(POLL).unwrap_or_else(Instant::now),
            unreachable: None,
            leave: false,
            answered: Vec::new(),
        };
        let mut inputs = first;
        inputs.push(Input::Tick);
        loop {
            inputs.extend(self.requests(&mut turn)?);
            self.turn(std::mem::take(&mut inputs), &mut turn)?;
            let now = self.clock.now();
            self.view.tick(self.engine, now);
            if turn.leave {
                return Ok(End::Left);
            }
            if turn.interrupts > 0 && (!self.engine.has_live() || turn.interrupts > 2) {
                return Ok(End::Interrupted);
            }
            if (self.engine.is_idle() || (self.settings.until_quiet && !self.engine.has_live())) && !self.settings.forever {
                return Ok(End::Idle);
            }
            if self.engine.is_stalled() && !self.settings.forever {
                return Ok(End::Held);
            }
            if let Some((_, words)) = turn.unreachable.as_ref().filter(|(since, _)| since.elapsed() >= self.settings.patience) {
                return Err(DriveError::Unreachable(words.clone()));
            }
            inputs = self.wait(&observations, &mut turn);
        }
    }

    /// One transaction: all inputs stepped, their events appended, then their commands performed.
    fn turn(&mut self, inputs: Vec<Input>, turn: &mut Turn) -> Result<(), DriveError> {
        let (mut events, mut commands) = (Vec::new(), Vec::new());
        let now = self.clock.now();
        if !inputs.is_empty() {
            // Every step names the next time that counts; without a step the old one stands.
            turn.wake = None;
        }
        for input in inputs {
            self.note(&input, turn);
            let mut step = self.engine.step(input, now);
            events.append(&mut step.events);
            commands.append(&mut step.commands);
        }
        if !events.is_empty() || !turn.answered.is_empty() {
            let answered = std::mem::take(&mut turn.answered);
            self.store.append(self.lock, &events, self.engine.state(), &answered, now).map_err(|error| {
                let rescue = self.store.rescue(&events, now);
                DriveError::Store(error, rescue)
            })?;
            self.view.events(&events, self.engine.state(), now);
            self.backend.recorded(&events, self.engine.state());
        }
        for command in commands {
            match command {
                Command::Submit(launch) => self.backend.submit(*launch),
                Command::Stop { attempt, grace } => self.backend.stop(&attempt, grace),
                Command::Lookup { attempt } => self.backend.lookup(&attempt),
                Command::WakeAt(at) => turn.wake = Some(at),
            }
        }
        if turn.renewed.elapsed() >= RENEW {
            turn.renewed = Instant::now();
            self.store.renew(self.lock).map_err(|e| DriveError::Store(e, crate::store::Rescue::Text(String::new())))?;
        }
        Ok(())
    }

    fn note(&mut self, input: &Input, turn: &mut Turn) {
        match input {
            Input::Observed(Observation::Unreachable { detail }) if turn.unreachable.is_none() => {
                self.view.notice(&format!("the backend is out of reach ({detail}); nothing new is launched"));
                turn.unreachable = Some((Instant::now(), detail.clone()));
            }
            Input::Observed(Observation::Reachable) if turn.unreachable.take().is_some() => {
                self.view.notice("the backend can be reached again")
            }
            _ => {}
        }
    }

    /// What other processes asked for, looked at a few times a second.
    fn requests(&mut self, turn: &mut Turn) -> Result<Vec<Input>, DriveError> {
        if turn.polled.elapsed() < POLL {
            return Ok(Vec::new());
        }
        turn.polled = Instant::now();
        let found = self.store.requests().map_err(|e| DriveError::Store(e, crate::store::Rescue::Text(String::new())))?;
        let mut inputs = Vec::new();
        for (id, request) in found {
            turn.answered.push(id);
            inputs.extend(request.map(Request::inputs).unwrap_or_default());
        }
        Ok(inputs)
    }

    /// Waits for something to happen; takes all that has.
    fn wait(&mut self, observations: &Receiver<Observation>, turn: &mut Turn) -> Vec<Input> {
        let now = self.clock.now();
        let until = turn.wake.map_or(POLL, |at| at.since(now).to_std()).min(POLL);
        let mut inputs = Vec::new();
        match observations.recv_timeout(until) {
            Ok(first) => inputs.push(Input::Observed(first)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(until),
        }
        inputs.extend(observations.try_iter().take(BATCH).map(Input::Observed));
        let until = Instant::now() + LINGER;
        while !inputs.is_empty() && inputs.len() < BATCH && inputs.iter().all(can_wait) {
            let Ok(next) = observations.recv_deadline(until) else { break };
            inputs.push(Input::Observed(next));
            inputs.extend(observations.try_iter().take(BATCH).map(Input::Observed));
        }
        while let Ok(control) = self.control.try_recv() {
            match control {
                Control::Input(input) => inputs.push(input),
                Control::Leave => turn.leave = true,
                Control::Interrupt => inputs.extend(self.interrupt(turn)),
            }
        }
        if inputs.is_empty() && turn.wake.is_some_and(|at| at <= self.clock.now()) {
            inputs.push(Input::Tick);
        }
        inputs
    }

    fn interrupt(&mut self, turn: &mut Turn) -> Option<Input> {
        turn.interrupts += 1;
        match turn.interrupts {
            1 => {
                self.view.notice("interrupted: nothing new is launched, what runs goes on to its end (again: cancel it)");
                Some(Input::Launching(false))
            }
            2 => {
                self.view.notice("interrupted again: cancelling what runs");
                let addresses = self.engine.live().into_iter().map(|a| a.address).collect();
                Some(Input::Cancel { addresses, by: "interrupt".to_owned() })
            }
            _ => None,
        }
    }
}

/// True when nothing waits for what the engine makes of it.
fn can_wait(input: &Input) -> bool {
    matches!(
        input,
        Input::Observed(
            Observation::Exists { .. } | Observation::Started { .. } | Observation::Metrics { .. } | Observation::Noticed { .. }
        )
    )
}
