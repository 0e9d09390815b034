//! A need that begins anew while who needs it waits: for the pool, or for its next attempt. The simulator meets this once in some ten thousand
//! seeds.

use std::sync::Arc;

use super::super::{Command, Engine, Input, Observation, Order};
use crate::base::{Address, AttemptId, Millis, Timestamp};
use crate::price::Rates;
use crate::queue::{Limits, Treasury};
use crate::record::{Cause, JobSpec, Outcome, RunSpec, State};

/// An engine, and what it has submitted last.
struct World {
    engine: Engine,
    now: Timestamp,
    submitted: Vec<AttemptId>,
}

fn order(name: &str, needs: &[&str]) -> Order {
    let address = Address::parse(name).unwrap();
    let needs = needs.iter().map(|n| Arc::from(*n)).collect();
    let job = JobSpec { job: address.job().into(), needs, ..JobSpec::default() };
    Order::Run(Arc::new(RunSpec { address, job: Arc::new(job), ..RunSpec::default() }))
}

impl World {
    fn new(slots: u32) -> Self {
        let now = Timestamp::parse("2026-10-23T00:00Z").unwrap();
        let limits = Limits { max_concurrent: slots, ..Limits::default() };
        let treasury = Treasury::new(Rates::default(), &[], slots, now);
        let mut world = Self { engine: Engine::with_budgets(State::default(), limits, treasury), now, submitted: Vec::new() };
        world.step(Input::Launching(true));
        world
    }

    fn step(&mut self, input: Input) {
        let mut started = Vec::new();
        for command in self.engine.step(input, self.now).commands {
            if let Command::Submit(launch) = command {
                started.push(launch.attempt);
            }
        }
        for attempt in started {
            self.submitted.push(attempt.clone());
            self.step(Input::Observed(Observation::Started { attempt, at: self.now, place: String::new() }));
        }
    }

    fn apply(&mut self, orders: Vec<Order>) {
        self.step(Input::Apply { plan_id: "p".into(), by: "me".into(), orders });
    }

    /// Ends what was submitted last.
    fn end(&mut self, cause: Cause) {
        let attempt = self.submitted.last().unwrap().clone();
        let (started, at) = (Some(self.now), self.now.after(Millis::from_secs(1)));
        self.now = at;
        let outcome = Outcome::new(cause, Some(0), "");
        self.step(Input::Observed(Observation::Ended { attempt, started, at, outcome, outputs: Vec::new() }));
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.after(Millis::from_secs(seconds));
        self.step(Input::Tick);
    }

    fn names(&self) -> Vec<String> {
        self.submitted.iter().map(|a| format!("{} {}.{}", a.address, a.generation, a.number)).collect()
    }
}

#[test]
fn who_stands_in_the_line_waits_for_its_need_again() {
    let mut world = World::new(1);
    world.apply(vec![order("w/a", &[]), order("w/c", &[]), order("w/b", &["w/a"])]);
    world.end(Cause::Success);
    assert_eq!(world.names(), ["w/a 1.1", "w/c 1.1"], "c has the slot, b stands behind it");
    world.apply(vec![order("w/a", &[])]);
    world.end(Cause::Success);
    assert_eq!(world.names()[2..], ["w/a 2.1"], "b needs what a makes anew, and stood before it");
    world.end(Cause::Success);
    assert_eq!(world.names()[3..], ["w/b 1.1"]);
    world.end(Cause::Success);
    assert!(world.engine.is_idle());
}

#[test]
fn who_is_to_be_tried_again_waits_for_its_need_first() {
    let mut world = World::new(2);
    world.apply(vec![order("w/a", &[]), order("w/b", &["w/a"])]);
    world.end(Cause::Success);
    world.end(Cause::Interrupted);
    assert_eq!(world.names(), ["w/a 1.1", "w/b 1.1"], "b is tried again in a while");
    world.apply(vec![order("w/a", &[])]);
    assert_eq!(world.names()[2..], ["w/a 2.1"]);
    world.later(3600);
    assert_eq!(world.names().len(), 3, "its time has come, and its need is not there yet");
    world.end(Cause::Success);
    world.later(0);
    assert_eq!(world.names()[3..], ["w/b 1.2"]);
    world.end(Cause::Success);
    assert!(world.engine.is_idle());
}
