//! Trials that pause at a rung and go on later.
//!
//! In: trials whose attempt was stopped at a rung, and what the pruner makes of all values. Out: who goes on, and in the end who does not. Must
//! never promote a trial twice for the same rung, nor leave one waiting when nothing else is to come.

use std::sync::Arc;

use super::Engine;
use crate::base::{Address, Millis, Timestamp};
use crate::record::{Event, JobSpec, RunRecord, SweepSpec};

/// What is left of a trial that goes on from a rung, as it is priced: the steps after those that it has reported. Others are whole.
pub(super) fn rest_of(record: &RunRecord) -> Arc<JobSpec> {
    let job = &record.spec.job;
    let prune = job.sweep.as_ref().and_then(|s| s.search.as_ref()?.prune.as_ref());
    let left = record.rung.as_ref().zip(prune.and_then(|p| p.max)).and_then(|(rung, max)| {
        let done = u64::try_from(rung.step).ok()?.min(max);
        Some((max - done, max.max(1)))
    });
    let Some((left, all)) = left else { return Arc::clone(job) };
    let part = |time: Millis| Millis(u64::try_from(u128::from(time.0) * u128::from(left) / u128::from(all)).unwrap_or(u64::MAX).max(1));
    let mut rest = (**job).clone();
    rest.estimate.time = rest.estimate.time.map(part);
    rest.estimate.interval = rest.estimate.interval.map(|(low, high)| (part(low), part(high)));
    Arc::new(rest)
}

fn promotes(sweep: &SweepSpec) -> bool {
    sweep.search.as_ref().and_then(|s| s.prune.as_ref()).is_some_and(|p| p.promote)
}

impl Engine {
    /// A trial's attempt was stopped at a rung: the trial waits there, unless it belongs to the best by now.
    pub(super) fn rest(&mut self, address: &Address, now: Timestamp) {
        let Some(record) = self.state.runs.get(address) else { return };
        let because: Arc<str> = record.attempts.last().map_or("", |a| a.stop_detail.as_str()).into();
        let job = Arc::clone(&record.spec.job.job);
        self.emit(Event::Paused { address: address.clone(), because }, now);
        if self.step_back(address).is_none() {
            return;
        }
        self.tell(address);
        if let (Some(index), Some(searcher)) = (super::search::index(address), self.pruned(&job)) {
            searcher.pruner.iter_mut().for_each(|p| p.waits(index));
        }
        self.promote(&job, false, now);
        self.index.touched.push(job);
    }

    /// The searcher of a sweep whose trials go on from rungs.
    fn pruned(&mut self, job: &Arc<str>) -> Option<&mut super::search::Searcher> {
        let sweep = self.index.jobs.get(job)?.sweep.clone().filter(|s| promotes(s))?;
        self.searcher(job, &sweep).ok()
    }

    /// New values may have made waiting trials of the same sweep the best of their rung.
    pub(super) fn promote_in_sweep_of(&mut self, address: &Address, now: Timestamp) {
        let job = self.state.runs.get(address).map(|r| Arc::clone(&r.spec.job.job));
        if let Some(job) = job {
            self.promote(&job, false, now);
        }
    }

    /// Lets go on who belongs to the best of a rung. True when somebody does.
    fn promote(&mut self, job: &Arc<str>, last: bool, now: Timestamp) -> bool {
        let mut some = false;
        while let Some(promotion) = self.pruned(job).and_then(|s| s.pruner.as_mut()?.promote(last)) {
            // Whoever was ended meanwhile does not go on.
            let waiting = self.sibling(job, promotion.trial).filter(|r| r.waits_at_rung());
            let Some(address) = waiting.map(|r| r.spec.address.clone()) else { continue };
            some = true;
            self.emit(Event::Promoted { address: address.clone(), because: promotion.why.into() }, now);
            if let Some(id) = self.index.id(&address) {
                self.back_in_line(id);
            }
            if last {
                break;
            }
        }
        some
    }

    /// When all that is left of a sweep waits at rungs, the best goes on where none has; then those that are left are over.
    pub(super) fn settle_rungs(&mut self, job: &Arc<str>, now: Timestamp) {
        let Some(known) = self.index.jobs.get(job) else { return };
        if known.live > 0 || known.open == 0 || !known.sweep.as_deref().is_some_and(promotes) {
            return;
        }
        let open = self.index.members(job).into_iter().filter_map(|id| self.record(id)).filter(|r| !r.status.is_terminal());
        let waiting: Option<Vec<Address>> = open.map(|r| r.waits_at_rung().then(|| r.spec.address.clone())).collect();
        let Some(waiting) = waiting else { return };
        if self.promote(job, true, now) {
            return;
        }
        for address in waiting {
            let standing = super::search::index(&address).and_then(|i| self.pruned(job)?.pruner.as_ref()?.standing(i));
            let because = standing.unwrap_or_else(|| "it was not among the best at its rung".to_owned()).into();
            self.over(&address, Event::Pruned { address: address.clone(), because }, now);
        }
    }

    /// A trial that the sweep does not reach any more: pruned if it has waited at a rung, else it was not needed.
    pub(super) fn spare(&mut self, address: &Address, because: &Arc<str>, now: Timestamp) {
        let (address, because) = (address.clone(), Arc::clone(because));
        let trained = self.state.runs.get(&address).is_some_and(|r| r.rung.is_some());
        let event = if trained { Event::Pruned { address, because } } else { Event::Unneeded { address, because } };
        if let Some(address) = event.address().cloned() {
            self.over(&address, event, now);
        }
    }
}
