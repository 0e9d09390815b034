//! What must hold after every event.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use crate::base::{Address, AttemptId, Money};
use crate::engine::Engine;
use crate::queue::Limits;
use crate::record::{Event, RunStatus, State};

/// Remembers what may never change.
#[derive(Debug, Default)]
pub struct Promises {
    over: BTreeMap<(Address, u32), RunStatus>,
}

impl Promises {
    /// At most one live execution of a run: of one attempt, and not of two.
    pub fn one_execution(cluster: &Cluster, attempt: &AttemptId) -> Result<(), String> {
        let live = cluster.live_of(&attempt.address);
        if live.len() > 1 {
            return Err(format!("{} executions of {} at a time: {live:?}", live.len(), attempt.address));
        }
        match cluster.objects.get(attempt).map(|o| o.live) {
            Some(n) if n > 1 => Err(format!("{attempt} runs {n} times")),
            _ => Ok(()),
        }
    }

    /// Every need of an admitted run has succeeded, whole.
    pub fn needs(state: &State, event: &Event, needs: &dyn Fn(&Address) -> Vec<String>) -> Result<(), String> {
        let Event::Admitted { attempt, .. } = event else { return Ok(()) };
        for need in needs(&attempt.address) {
            // A need whose runs a person took out of the state had succeeded before, or what needs it was skipped.
            if state.runs.values().any(|r| *r.spec.job.job == *need && r.status != RunStatus::Succeeded) {
                return Err(format!("{attempt} was admitted before {need} had succeeded"));
            }
        }
        Ok(())
    }

    /// The money of an attempt is not free again while it runs.
    pub fn paid_to_the_end(cluster: &Cluster, event: &Event) -> Result<(), String> {
        let Event::Ended { attempt, .. } = event else { return Ok(()) };
        match cluster.objects.get(attempt).map(|o| o.live) {
            Some(n) if n > 0 => Err(format!("budget: the money of {attempt} is free again, and it still runs")),
            _ => Ok(()),
        }
    }

    /// Every budget has set aside what its live attempts were promised: no more and no less.
    pub fn set_aside(engine: &Engine) -> Result<(), String> {
        for account in engine.treasury().accounts().iter().filter(|a| !a.rule.scope.is_each_run()) {
            let live = engine.state().runs.values().filter_map(|r| r.live_attempt());
            let held = live.filter(|a| a.payer.as_deref().is_some_and(|p| account.rule.scope.covers(p)));
            let held: Money = held.filter_map(|a| a.reserved).sum();
            if held != account.reserved {
                let (name, reserved) = (&account.rule.name, account.reserved);
                return Err(format!("budget {name}: {reserved} is set aside, its live attempts hold {held}"));
            }
        }
        Ok(())
    }

    /// Limits, terminal statuses, and that the engine's own counts agree with its state.
    pub fn state(&mut self, engine: &Engine, limits: &Limits) -> Result<(), String> {
        let live: Vec<_> = engine.state().runs.values().filter(|r| r.status.is_live()).collect();
        if live.len() > limits.max_concurrent as usize {
            return Err(format!("{} runs at a time, {} allowed", live.len(), limits.max_concurrent));
        }
        let gpus: u32 = live.iter().map(|r| r.spec.job.resources.gpu.count).sum();
        if limits.quotas.gpu.is_some_and(|g| gpus > g) {
            return Err(format!("{gpus} GPUs held, {:?} allowed", limits.quotas.gpu));
        }
        let open = engine.state().runs.values().any(|r| !r.status.is_terminal());
        if engine.is_idle() == open || engine.has_live() == live.is_empty() {
            return Err(format!("the engine's counts disagree with its state: idle {}, live {}", engine.is_idle(), engine.has_live()));
        }
        for run in engine.state().runs.values() {
            let key = (run.spec.address.clone(), run.generation);
            match self.over.get(&key) {
                Some(before) if *before != run.status => {
                    return Err(format!("{} was {} and is {}", key.0, before.word(), run.status.word()));
                }
                None if run.status.is_terminal() => {
                    self.over.insert(key, run.status);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// When the faults have stopped and everything has come to rest: nothing is stuck, nothing runs unseen.
    pub fn converged(engine: &Engine, cluster: &Cluster) -> Result<(), String> {
        if let Some(stuck) = engine.state().runs.values().find(|r| !r.status.is_terminal()) {
            return Err(format!("{} is stuck: {}", stuck.spec.address, stuck.status.word()));
        }
        match cluster.objects.values().find(|o| o.live > 0) {
            Some(orphan) => Err(format!("{} still runs, and nobody knows", orphan.attempt)),
            None => Ok(()),
        }
    }
}
