//! What concerns a sweep as a whole: its limits, its pause, its end.
//!
//! In: counts of its trials, its limits, requests of people. Out: events about the sweep, and about trials that end because of it.

use std::sync::Arc;

use super::Engine;
use super::index::Place;
use crate::base::{Address, Millis, Timestamp};
use crate::expand::OnExceed;
use crate::record::{Cause, Event, JobSpec, SweepRecord};

impl Engine {
    /// Who paused the sweep, if somebody did.
    pub(super) fn paused(&self, job: &str) -> Option<&Arc<str>> {
        self.state.sweeps.get(job).and_then(|s| s.paused.as_ref())
    }

    /// True when trials wait for a person.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let open = |job: &Arc<str>| self.index.jobs.get(job).is_some_and(|j| j.open > 0);
        self.state.sweeps.iter().any(|(job, sweep)| sweep.paused.is_some() && open(job))
    }

    pub(super) fn pause(&mut self, job: &Arc<str>, by: &str, now: Timestamp) {
        if self.paused(job).is_some() {
            return;
        }
        self.emit(Event::SweepPaused { job: Arc::clone(job), by: by.into() }, now);
        for id in self.index.members(job) {
            let Some((seq, demand)) = self.index.entry(id).filter(|e| e.place == Place::Line).map(|e| (e.seq, Arc::clone(&e.demand)))
            else {
                continue;
            };
            self.gate.withdraw(id, seq, &demand);
            self.place(id, Place::Blocked);
        }
    }

    pub(super) fn unpause(&mut self, job: &Arc<str>, by: &str, now: Timestamp) {
        if self.paused(job).is_none() {
            return;
        }
        self.emit(Event::SweepResumed { job: Arc::clone(job), by: by.into() }, now);
        for id in self.index.members(job) {
            // What waits for a time comes back by itself.
            if !self.index.has_timer(id) {
                self.back_in_line(id);
            }
        }
    }

    /// The first trial is about to start.
    pub(super) fn begin_sweep(&mut self, job: &Arc<JobSpec>, now: Timestamp) {
        let began = self.state.sweeps.get(&job.job).and_then(|s| s.began);
        if job.sweep.is_some() && began.is_none() {
            self.emit(Event::SweepBegan { job: Arc::clone(&job.job) }, now);
        }
    }

    /// Follows a change of its trials' counts: too many failed, or all are over.
    pub(super) fn settle_sweep(&mut self, job: &Arc<str>, now: Timestamp) {
        let Some(j) = self.index.jobs.get(job) else { return };
        let limited = j.sweep.as_ref().is_some_and(|s| s.max_failed.is_some());
        if limited && j.is_spoilt() && j.open > j.live {
            for address in self.waiting_of(job) {
                self.over(&address, Event::Skipped { address: address.clone(), because: Arc::clone(job) }, now);
            }
        }
        self.settle_rungs(job, now);
        self.next_generation(job);
        let over = self.index.jobs.get(job).is_none_or(|j| j.open == 0);
        if over && self.state.sweeps.get(job).is_some_and(|s| s.began.is_some()) {
            self.emit(Event::SweepEnded { job: Arc::clone(job) }, now);
        }
    }

    /// Trials that have no live attempt and are not over.
    fn waiting_of(&self, job: &str) -> Vec<Address> {
        let records = self.index.members(job).into_iter().filter_map(|id| self.record(id));
        records.filter(|r| !r.status.is_terminal() && !r.status.is_live()).map(|r| r.spec.address.clone()).collect()
    }

    /// Trials that the sweep's own money does not reach, once none of it can come back. True when there were some.
    pub(super) fn spare_unpaid(&mut self, now: Timestamp) -> bool {
        let mut unpaid = Vec::new();
        for (account, runs) in self.gate.held() {
            let Some(account) = self.gate.treasury().accounts().get(account).filter(|a| a.rule.on_exceed == OnExceed::Cap) else {
                continue;
            };
            let because: Arc<str> = format!("max_cost: {} of {} is spent", account.spent, account.rule.limit).into();
            for id in runs {
                let Some(record) = self.record(id) else { continue };
                if self.index.jobs.get(&record.spec.job.job).is_some_and(|j| j.live == 0) {
                    unpaid.push((record.spec.address.clone(), Arc::clone(&because)));
                }
            }
        }
        let some = !unpaid.is_empty();
        for (address, because) in unpaid {
            self.spare(&address, &because, now);
        }
        some
    }

    /// A trial whose attempt was ended early.
    pub(super) fn prune(&mut self, address: &Address, now: Timestamp) {
        let last = self.state.runs.get(address).and_then(|r| r.attempts.last());
        let because = last.map_or("", |a| match a.stop_detail.as_str() {
            "" => a.outcome.as_ref().map_or("", |o| o.detail.as_str()),
            words => words,
        });
        self.over(address, Event::Pruned { address: address.clone(), because: because.into() }, now);
    }

    /// When the time of a sweep that is under way is over: early enough that its trials can end politely.
    fn expiry(&self, job: &str, sweep: &SweepRecord) -> Option<(Timestamp, Millis)> {
        let known = self.index.jobs.get(job).filter(|j| !j.expired && j.open > 0)?;
        let limit = known.sweep.as_ref()?.max_time?;
        let most = limit.0.saturating_sub(known.grace.0.min(limit.0 / 2));
        Some((sweep.began?.after(Millis(most)), limit))
    }

    /// The next end of a sweep's time. Only sweeps that are under way are looked at.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.state.sweeps.iter().filter_map(|(job, sweep)| self.expiry(job, sweep)).map(|(at, _)| at).min()
    }

    /// Ends the sweeps whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let due = |(job, sweep): (&Arc<str>, &SweepRecord)| {
            let (at, limit) = self.expiry(job, sweep)?;
            (at <= now).then(|| (Arc::clone(job), limit))
        };
        let due: Vec<(Arc<str>, Millis)> = self.state.sweeps.iter().filter_map(due).collect();
        for (job, limit) in due {
            self.index.job(&job).expired = true;
            let because: Arc<str> = format!("max_time: the {limit} of the sweep are over").into();
            for address in self.waiting_of(&job) {
                self.spare(&address, &because, now);
            }
            for id in self.index.members(&job) {
                if let Some(address) = self.record(id).filter(|r| r.status.is_live()).map(|r| r.spec.address.clone()) {
                    self.end_for(&address, Cause::Pruned, because.to_string(), now);
                }
            }
        }
    }
}
