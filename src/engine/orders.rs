//! Orders of a plan and requests of people.

use std::sync::Arc;

use super::index::Place;
use super::port::{Command, Order, Submission};
use super::{Engine, attempt_id};
use crate::base::{Address, Timestamp};
use crate::record::{Cause, Event, Priority, RunRecord, RunSpec, RunStatus};

impl Engine {
    pub(super) fn apply(&mut self, plan_id: String, by: String, orders: Vec<Order>, now: Timestamp) {
        self.emit(Event::PlanApplied { plan_id, by: by.clone() }, now);
        for order in orders {
            match order {
                Order::Run(spec) => self.run(spec, &by, now),
                Order::Update(spec) => self.update(&spec, now),
                Order::Reuse { spec, result } => {
                    if self.state.runs.get(&spec.address).is_some_and(|r| r.status.is_live()) {
                        // The old result is still being made: it is ended first, and the next plan reuses.
                        self.cancel(&spec.address, &by, now);
                        continue;
                    }
                    self.untrack(&spec.address);
                    self.emit(Event::Reused { spec: Arc::clone(&spec), result }, now);
                    self.track(&spec.address);
                }
                Order::Cancel(address) => self.cancel(&address, &by, now),
                Order::Forget(address) => self.forget(&address, &by, now),
            }
        }
    }

    /// Runs that come beside all others. One whose address is taken already is left alone: submissions never end anything.
    pub(super) fn submit(&mut self, submission: Submission, now: Timestamp) {
        let Submission { id, by, jobs, runs, .. } = submission;
        self.emit(Event::Submitted { id, by, jobs }, now);
        for spec in runs.iter().filter(|s| !self.state.runs.contains_key(&s.address)).cloned().collect::<Vec<_>>() {
            self.plan(&spec, now);
        }
    }

    /// Ends what has not started; what runs, or may, goes on.
    pub(super) fn cancel_waiting(&mut self, addresses: &[Address], by: &str, now: Timestamp) {
        for address in addresses {
            if self.state.runs.get(address).is_some_and(|r| r.status == RunStatus::Pending) {
                self.cancel(address, by, now);
            }
        }
    }

    /// Another place in the line for a run that waits. Its price follows its class, so one that runs keeps both.
    pub(super) fn prioritize(&mut self, address: &Address, priority: &Priority, by: &str, now: Timestamp) {
        let waits = |r: &RunRecord| r.status == RunStatus::Pending && r.spec.job.priority != *priority;
        let Some(spec) = self.state.runs.get(address).filter(|r| waits(r)).map(|r| Arc::clone(&r.spec)) else { return };
        let event = Event::Prioritized { address: address.clone(), priority: priority.clone(), by: by.to_owned() };
        self.change(&Arc::new(spec.with_priority(priority)), event, now);
    }

    pub(super) fn pause_queue(&mut self, paused: bool, by: String, now: Timestamp) {
        if self.state.paused.is_some() != paused {
            self.emit(if paused { Event::QueuePaused { by } } else { Event::QueueResumed { by } }, now);
        }
    }

    fn run(&mut self, spec: Arc<RunSpec>, by: &str, now: Timestamp) {
        if self.state.runs.get(&spec.address).is_some_and(|r| r.status.is_live()) {
            let address = spec.address.clone();
            self.emit(Event::Superseded { spec }, now);
            self.cancel(&address, by, now);
            return;
        }
        self.plan(&spec, now);
    }

    /// A new generation of a run that is not live.
    pub(super) fn plan(&mut self, spec: &Arc<RunSpec>, now: Timestamp) {
        self.untrack(&spec.address);
        self.emit(Event::Planned { spec: Arc::clone(spec) }, now);
        self.track(&spec.address);
    }

    fn update(&mut self, spec: &Arc<RunSpec>, now: Timestamp) {
        self.change(spec, Event::Updated { spec: Arc::clone(spec) }, now);
    }

    /// Notes other settings of a run; in the line it stands by them.
    fn change(&mut self, spec: &Arc<RunSpec>, event: Event, now: Timestamp) {
        let Some(id) = self.index.id(&spec.address) else { return };
        let place = self.index.entry(id).map(|e| (e.place, Arc::clone(&e.demand), e.seq));
        self.emit(event, now);
        self.index.job(&spec.job.job).know(&spec.job);
        let demand = Arc::new(self.gate.pool().limits().demand(&spec.job));
        match place {
            Some((Place::Line, old, seq)) => {
                self.gate.withdraw(id, seq, &old);
                self.gate.enqueue(id, seq, &demand);
            }
            // What it holds was taken under the old settings and is given back under them.
            Some((Place::Held, ..)) | None => return,
            Some(_) => {}
        }
        if let Some(entry) = self.index.entry(id) {
            entry.demand = demand;
        }
    }

    pub(super) fn cancel(&mut self, address: &Address, by: &str, now: Timestamp) {
        let Some(record) = self.state.runs.get(address).filter(|r| !r.status.is_terminal()) else { return };
        let live = record.live_attempt().map(|a| attempt_id(record, a.number));
        let (stopping, grace, asked) = (record.status == RunStatus::Stopping, record.spec.job.grace, record.cancel_requested);
        if !asked {
            self.emit(Event::CancelRequested { address: address.clone(), by: by.to_owned() }, now);
        }
        match live {
            None => self.over(address, Event::Cancelled { address: address.clone() }, now),
            Some(_) if stopping => {}
            Some(attempt) => {
                self.emit(Event::Stopping { attempt: attempt.clone(), cause: Cause::Cancelled, detail: String::new() }, now);
                self.command(Command::Stop { attempt, grace });
                self.rearm(address, now);
            }
        }
    }

    pub(super) fn forget(&mut self, address: &Address, by: &str, now: Timestamp) {
        let Some(record) = self.state.runs.get(address) else { return };
        if record.status.is_live() {
            self.emit(Event::Withdrawn { address: address.clone() }, now);
            self.cancel(address, by, now);
        } else {
            self.drop_run(address, now);
        }
    }

    pub(super) fn drop_run(&mut self, address: &Address, now: Timestamp) {
        self.untrack(address);
        self.emit(Event::Forgotten { address: address.clone() }, now);
    }

    /// Runs again what is over without success, and what was skipped because of it.
    pub(super) fn retry(&mut self, addresses: &[Address], _by: &str, now: Timestamp) {
        let mut again: Vec<Arc<RunSpec>> = Vec::new();
        let mut queue: Vec<Address> = addresses.to_vec();
        while let Some(address) = queue.pop() {
            let Some(record) = self.state.runs.get(&address) else { continue };
            let ended = record.status.is_terminal() && !matches!(record.status, RunStatus::Succeeded | RunStatus::Pruned);
            if !ended || again.iter().any(|s| s.address == address) {
                continue;
            }
            again.push(Arc::clone(&record.spec));
            let job = &record.spec.job.job;
            let skipped = self.state.runs.values().filter(|r| r.status == RunStatus::Skipped && r.spec.job.needs.contains(job));
            queue.extend(skipped.map(|r| r.spec.address.clone()));
        }
        again.sort_by_key(|s| self.state.runs.get(&s.address).map(|r| r.seq));
        for spec in again {
            self.plan(&spec, now);
        }
    }
}
