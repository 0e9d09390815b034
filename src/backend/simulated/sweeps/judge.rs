//! What must hold of a sweep: after every event, when a driver takes over, and at the end.

use std::collections::BTreeSet;

use super::{SWEEP, TRIALS, World};
use crate::base::{Money, Timestamp};
use crate::engine::{Engine, Input, Observation, Step};
use crate::record::event::MetricPoint;
use crate::record::{Cause, Event, Outcome};

impl World {
    /// What must hold before an event is written.
    pub(super) fn promised(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Suggested { address, parent, .. } => {
                self.inherited(address, parent.as_deref())?;
                let generation = self.engine.state().runs.get(address).map_or(0, |r| r.generation);
                if !self.suggested.insert((address.clone(), generation)) {
                    return Err(format!("{address} is given params a second time"));
                }
            }
            Event::Admitted { attempt, reservation } => {
                if self.paused {
                    return Err(format!("{attempt} is admitted while the sweep is paused"));
                }
                if !self.suggested.contains(&(attempt.address.clone(), attempt.generation)) {
                    return Err(format!("{attempt} is admitted without params"));
                }
                if self.resting.contains(&attempt.address) {
                    return Err(format!("{attempt} is admitted while it waits at a rung"));
                }
                let amount = reservation.as_ref().map_or(Money::ZERO, |r| r.amount);
                self.live.insert(attempt.clone(), amount);
                let held: Money = self.live.values().copied().sum();
                if let Some(cap) = self.cap.filter(|cap| self.spent + held > *cap) {
                    return Err(format!("{attempt}: {} spent and {held} held are more than {cap}", self.spent));
                }
                if self.live.len() > 3 {
                    return Err(format!("{} trials at a time", self.live.len()));
                }
            }
            Event::Ended { attempt, bill, .. } => {
                self.live.remove(attempt);
                self.spent += bill.as_ref().map_or(Money::ZERO, |b| b.amount);
            }
            Event::Paused { address, .. } if self.live.keys().any(|a| a.address == *address) || !self.resting.insert(address.clone()) => {
                return Err(format!("{address} waits at a rung while it runs, or twice"));
            }
            Event::Promoted { address, .. } => {
                let step = self.trained(address);
                if !self.resting.remove(address) || !self.promoted.insert((address.clone(), step)) {
                    return Err(format!("{address} goes on from step {step} twice, or without waiting"));
                }
                self.report.promoted += 1;
            }
            Event::Pruned { address, .. } => drop(self.resting.remove(address)),
            Event::Stopping { attempt, .. } => drop(self.asked.entry(attempt.clone()).or_insert(self.now)),
            Event::SweepPaused { .. } => self.paused = true,
            Event::SweepResumed { .. } => self.paused = false,
            _ => {}
        }
        Ok(())
    }

    /// A member begins when the generation before is over, from one of it.
    fn inherited(&mut self, address: &crate::base::Address, parent: Option<&crate::record::Parent>) -> Result<(), String> {
        let number = |a: &crate::base::Address| a.key().and_then(|k| k.parse::<u64>().ok()).unwrap_or_default();
        let generation = number(address) / super::work::MEMBERS;
        if self.kind != super::Kind::Population {
            return if parent.is_some() { Err(format!("{address} has a parent")) } else { Ok(()) };
        }
        let early = self
            .engine
            .state()
            .runs
            .values()
            .find(|r| number(&r.spec.address) / super::work::MEMBERS + 1 == generation && !r.status.is_terminal());
        if let Some(early) = early {
            return Err(format!("{address} begins while {} of the generation before is open", early.spec.address));
        }
        let Some(parent) = parent else { return Ok(()) };
        if number(&parent.address) / super::work::MEMBERS + 1 != generation {
            return Err(format!("{address} goes on from {}, of another generation", parent.address));
        }
        self.report.exploited += u64::from(number(&parent.address) + super::work::MEMBERS != number(address));
        Ok(())
    }

    /// The last step that any attempt of a trial has trained.
    fn trained(&self, address: &crate::base::Address) -> i64 {
        self.works.values().filter(|w| w.launch.attempt.address == *address).map(super::Work::step).max().unwrap_or(0)
    }

    /// Statuses that are over never change.
    pub(super) fn states(&mut self) -> Result<(), String> {
        for run in self.engine.state().runs.values().filter(|r| r.status.is_terminal()) {
            let before = *self.over.entry((run.spec.address.clone(), run.generation)).or_insert(run.status);
            if before != run.status {
                return Err(format!("{} was {} and is {}", run.spec.address, before.word(), run.status.word()));
            }
        }
        if self.over.len() > self.engine.state().runs.len() {
            return Err("a trial that was over is gone".to_owned());
        }
        if self.report.steps.is_multiple_of(53) && self.fold()? != *self.engine.state() {
            return Err("the state is not the fold of the journal".to_owned());
        }
        Ok(())
    }

    /// Who was there before and who takes over are given the same: a value that may end a trial, then its end, which frees a place.
    pub(super) fn same(&mut self, mut before: Engine) -> Result<(), String> {
        let mut after = self.successor()?;
        let now = Timestamp(self.now);
        let Some(attempt) = before.live().first().cloned() else { return Ok(()) };
        let step = i64::try_from(before.state().runs.get(&attempt.address).map_or(0, |r| r.curve.points().len())).unwrap_or(0) + 1;
        let points = vec![MetricPoint { name: "loss".into(), step: Some(step), value: Some(0.4), at: None }];
        let outcome = Outcome::new(Cause::Success, Some(0), "");
        let inputs = [
            Observation::Metrics { attempt: attempt.clone(), points },
            Observation::Ended { attempt, started: Some(now), at: now, outcome, outputs: Vec::new() },
        ];
        let told = |step: Step| {
            let ends = |e: &Event| matches!(e, Event::Stopping { cause: Cause::Pruned | Cause::Paused, .. } | Event::Pruned { .. });
            let counts = |e: &Event| ends(e) || matches!(e, Event::Suggested { .. } | Event::Promoted { .. } | Event::Admitted { .. });
            step.events.into_iter().filter(counts).collect::<Vec<_>>()
        };
        for observation in inputs {
            let (a, b) =
                (told(before.step(Input::Observed(observation.clone()), now)), told(after.step(Input::Observed(observation), now)));
            self.report.compared += a.len() as u64;
            if a != b {
                return Err(format!("who was there before says {a:?}, who takes over says {b:?}"));
            }
        }
        Ok(())
    }

    /// Everything has come to rest: each trial once, none forgotten.
    pub(super) fn converged(&mut self) -> Result<(), String> {
        let state = self.engine.state();
        if let Some(stuck) = state.runs.values().find(|r| !r.status.is_terminal()) {
            return Err(format!("{} is stuck: {}", stuck.spec.address, stuck.status.word()));
        }
        let wanted: BTreeSet<String> = (0..TRIALS[1]).map(|i| format!("{SWEEP}[{i}]")).collect();
        let found: BTreeSet<String> = state.runs.keys().map(ToString::to_string).collect();
        if wanted != found {
            return Err(format!("lost or too many: {:?}", wanted.symmetric_difference(&found).collect::<Vec<_>>()));
        }
        for address in state.runs.keys() {
            let whole = self.works.values().filter(|w| w.launch.attempt.address == *address);
            let whole = whole.filter(|w| matches!(&w.ended, Some((_, o)) if o.cause == Cause::Success)).count();
            let steps: usize = self.works.values().filter(|w| w.launch.attempt.address == *address).map(|w| w.curve.len()).sum();
            if self.kind == super::Kind::Promote && i64::try_from(steps).unwrap_or(0) > super::STEPS {
                return Err(format!("{address} trained {steps} steps, more than a full trial"));
            }
            if whole > 1 {
                return Err(format!("{address} was trained {whole} times"));
            }
        }
        if let Some(orphan) = self.works.values().find(|w| w.ended.is_none()) {
            return Err(format!("{} still runs, and nobody knows", orphan.launch.attempt));
        }
        for run in state.runs.values() {
            *self.report.ends.entry(run.status.word()).or_default() += 1;
        }
        Ok(())
    }
}
