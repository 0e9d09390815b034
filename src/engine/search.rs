//! What a sweep searches with: its sampler and its pruner, kept beside the state so that asking costs no more than one trial.
//!
//! In: trials of the state as they change. Out: what an open trial is to try, and which trials end early. Must never hold anything
//! that cannot be made again from the state: after a restart the same is answered.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Engine;
use crate::base::{Address, AttemptId, Timestamp};
use crate::record::event::MetricPoint;
use crate::record::{Cause, Event, Parent, RunRecord, RunStatus, SearchSpec, SweepSpec};
use crate::search::{ELSEWHERE, Pruner, Sampler, Trial, TrialState, Verdict, pruner, sampler};

/// One sweep's sampler and pruner, with all that they were told.
pub(super) struct Searcher {
    spec: Arc<SweepSpec>,
    pub(super) sampler: Box<dyn Sampler>,
    pub(super) pruner: Option<Box<dyn Pruner>>,
}

/// The searchers of all sweeps that asked for something. A copy is empty: what is missing is made again from the state.
#[derive(Default)]
pub struct Searchers(FxHashMap<Arc<str>, Searcher>);

impl Clone for Searchers {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Searchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Which trial of its sweep a run is.
#[must_use]
pub fn index(address: &Address) -> Option<u64> {
    address.key()?.parse().ok()
}

/// What a sampler is told of a run; nothing while it has no params.
#[must_use]
pub fn trial(record: &RunRecord, index: u64, metric: &str) -> Option<Trial> {
    if record.spec.params.is_empty() || record.status == RunStatus::Unneeded {
        return None;
    }
    let last = record.metrics.get(metric).and_then(|m| m.last).filter(|v| v.is_finite());
    // One that was stopped at a rung is known by its value there until it is over, so that others learn from it.
    if let Some(rung) = record.rung.as_ref().filter(|_| !record.status.is_terminal()) {
        let step = u64::try_from(rung.step).ok();
        let known = Trial { state: TrialState::Pruned, value: Some(rung.value), step, ..Trial::running(index, record.spec.params.clone()) };
        return Some(known);
    }
    let state = match record.status {
        RunStatus::Succeeded if last.is_some() => TrialState::Complete,
        RunStatus::Pruned if !record.curve.is_empty() => TrialState::Pruned,
        RunStatus::Cancelled | RunStatus::Skipped => TrialState::Lost,
        s if s.is_terminal() => TrialState::Failed,
        _ => TrialState::Running,
    };
    let value = match state {
        TrialState::Pruned => record.curve.last().map(|(_, v)| v),
        TrialState::Complete => last,
        _ => None,
    };
    let costs: Vec<_> = record.attempts.iter().filter_map(|a| a.cost).collect();
    let cost = (!costs.is_empty()).then(|| costs.into_iter().sum());
    let step = record.curve.last().and_then(|(s, _)| u64::try_from(s).ok());
    Some(Trial { value, cost, step, state, ..Trial::running(index, record.spec.params.clone()) })
}

impl Engine {
    /// What an open trial is to try, if the run is one: noted before its first attempt.
    pub(super) fn suggest(&mut self, address: &Address, now: Timestamp) -> Result<(), String> {
        let Some(record) = self.state.runs.get(address).filter(|r| r.spec.is_open()) else { return Ok(()) };
        let (job, index) = (Arc::clone(&record.spec.job.job), index(address).unwrap_or_default());
        let spec = record.spec.job.sweep.clone().unwrap_or_default();
        let searcher = self.searcher(&job, &spec)?;
        let suggestion = searcher.sampler.ask(index).map_err(|stuck| stuck.to_string())?;
        searcher.sampler.tell(&Trial::running(index, suggestion.params.clone()));
        let parent = searcher.sampler.parent(index).and_then(|p| self.sibling(&job, p)).map(|r| &r.spec);
        let parent = parent.map(|spec| Parent { address: spec.address.clone(), fingerprint: spec.fingerprint }.into());
        let why = suggestion.why.into();
        self.emit(Event::Suggested { address: address.clone(), params: suggestion.params, why, parent }, now);
        Ok(())
    }

    /// A trial of a sweep.
    pub(super) fn sibling(&self, job: &str, index: u64) -> Option<&RunRecord> {
        let (workflow, name) = job.split_once('/')?;
        self.state.runs.get(&Address::new(workflow, name, Some(&index.to_string())))
    }

    /// The trials that a trial waits for, where its method has generations: those of the generation before that are not over.
    pub(super) fn generation_of(&self, record: &RunRecord) -> Option<Range<u64>> {
        let search = record.spec.job.sweep.as_ref()?.search.as_ref().filter(|_| record.spec.is_open())?;
        let before = search.generation_before(index(&record.spec.address)?)?;
        let open = |i: u64| self.sibling(&record.spec.job.job, i).is_some_and(|r| !r.status.is_terminal());
        before.clone().any(open).then_some(before)
    }

    /// A generation may be over: those that waited for it go into the line.
    pub(super) fn next_generation(&mut self, job: &Arc<str>) {
        let has = |s: &SweepSpec| s.search.as_ref().is_some_and(|s| s.method.has_generations());
        if !self.index.jobs.get(job).and_then(|j| j.sweep.as_deref()).is_some_and(has) {
            return;
        }
        for id in self.index.members(job) {
            if self.record(id).is_some_and(|r| r.status == RunStatus::Pending) && !self.index.has_timer(id) {
                self.back_in_line(id);
            }
        }
    }

    /// The searcher of a sweep, made from the state when there is none yet or when it searches otherwise now.
    pub(super) fn searcher(&mut self, job: &Arc<str>, spec: &Arc<SweepSpec>) -> Result<&mut Searcher, String> {
        if self.searchers.0.get(job).is_none_or(|s| !Arc::ptr_eq(&s.spec, spec) && s.spec != *spec) {
            let made = self.make(job, spec)?;
            self.searchers.0.insert(Arc::clone(job), made);
        }
        self.searchers.0.get_mut(job).ok_or_else(|| "no search".to_owned())
    }

    fn make(&self, job: &str, spec: &Arc<SweepSpec>) -> Result<Searcher, String> {
        let search: &SearchSpec = spec.search.as_deref().ok_or("the sweep does not search")?;
        let (mut sampler, mut pruner) = (sampler(search)?, pruner(search));
        let mut records: Vec<(u64, &RunRecord)> = self
            .index
            .members(job)
            .into_iter()
            .filter_map(|id| self.record(id))
            .filter_map(|r| Some((index(&r.spec.address)?, r)))
            .collect();
        records.sort_unstable_by_key(|(i, _)| *i);
        for (index, record) in &records {
            let metric = record.spec.job.metric.as_ref().map_or("", |m| m.name.as_str());
            if let Some(trial) = trial(record, *index, metric) {
                sampler.tell(&trial);
            }
            let Some(pruner) = &mut pruner else { continue };
            for (step, value) in record.curve.points() {
                pruner.report(*index, u64::try_from(*step).unwrap_or(0), Some(*value));
            }
            if record.status == RunStatus::Succeeded {
                pruner.complete(*index);
            }
            if record.waits_at_rung() {
                pruner.waits(*index);
            }
        }
        let metric = records.first().and_then(|(_, r)| r.spec.job.metric.as_ref()).map_or("", |m| m.name.as_str());
        let mut number = ELSEWHERE;
        for other in spec.warm_start.iter().filter(|o| &***o != job) {
            for record in self.index.members(other).into_iter().filter_map(|id| self.record(id)) {
                // Only what is over: a warm start does not change while the other sweep goes on.
                if let Some(trial) = trial(record, number, metric).filter(|t| t.state == TrialState::Complete) {
                    sampler.tell(&trial);
                }
                number += 1;
            }
        }
        Ok(Searcher { spec: Arc::clone(spec), sampler, pruner })
    }

    /// A trial is over: its sampler and its pruner are told.
    pub(super) fn tell(&mut self, address: &Address) {
        let Some(record) = self.state.runs.get(address) else { return };
        let Some(searcher) = self.searchers.0.get_mut(&record.spec.job.job) else { return };
        let metric = record.spec.job.metric.as_ref().map_or("", |m| m.name.as_str());
        let Some(index) = index(address) else { return };
        if let Some(trial) = trial(record, index, metric) {
            searcher.sampler.tell(&trial);
        }
        if let (RunStatus::Succeeded, Some(pruner)) = (record.status, &mut searcher.pruner) {
            pruner.complete(index);
        }
    }

    /// Trials of the sweep were planned anew or left: what was told of them does not hold any more.
    pub(super) fn untell(&mut self, job: &str) {
        self.searchers.0.remove(job);
    }

    /// Values come, which the state does not have yet: why the trial ends or pauses early, if it does. Only steps beyond those known are judged.
    pub(super) fn judge(&mut self, attempt: &AttemptId, points: &[MetricPoint]) -> Option<(Cause, String)> {
        let record = self.state.runs.get(&attempt.address)?;
        let metric = record.spec.job.metric.as_ref()?.name.clone();
        let sweep = Arc::clone(record.spec.job.sweep.as_ref()?);
        sweep.search.as_ref()?.prune.as_ref()?;
        let (job, index) = (Arc::clone(&record.spec.job.job), index(&attempt.address)?);
        let mut count = record.attempts.last().map_or(0, |a| a.reports);
        let mut last = record.curve.last().map(|(step, _)| step);
        let pruner = self.searcher(&job, &sweep).ok()?.pruner.as_mut()?;
        let mut why = None;
        for point in points.iter().filter(|p| *p.name == *metric) {
            count = count.saturating_add(1);
            let step = point.step.unwrap_or(count);
            let number = u64::try_from(step).unwrap_or(0);
            if last.is_some_and(|l| step <= l) {
                point.value.filter(|v| v.is_finite()).into_iter().for_each(|v| pruner.revise(index, number, v));
                continue;
            }
            last = Some(step);
            let verdict = pruner.report(index, number, point.value.filter(|v| v.is_finite()));
            match verdict {
                Verdict::Continue => {}
                Verdict::Prune { why: words } => drop(why.get_or_insert((Cause::Pruned, words))),
                Verdict::Pause { why: words } => drop(why.get_or_insert((Cause::Paused, words))),
            }
        }
        why
    }
}

#[cfg(test)]
mod tests;
