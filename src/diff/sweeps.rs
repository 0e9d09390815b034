//! What a plan makes of the trials of a sweep that are over without a result.
//!
//! In: a wanted trial and its record. Out: its action: what the sweep can do without is left as it is.

use std::sync::Arc;

use super::plan::{Action, Origin, Reason};
use super::{Differ, reasons};
use crate::expand::domain::Domain;
use crate::record::{Params, RunRecord, RunSpec, RunStatus, Tally};

/// What is wanted of a trial that is recorded.
pub enum Known {
    /// The wanted run; an open trial has the params that it was given.
    Same(Arc<RunSpec>),
    /// What it tried does not lie in the space any more.
    Misfit(Vec<Reason>),
}

impl<'a> Differ<'a> {
    /// An open trial is wanted as it was begun, where that still fits the space.
    pub(super) fn filled(&mut self, spec: &Arc<RunSpec>, record: &RunRecord) -> Known {
        if !spec.is_open() || record.spec.params.is_empty() {
            return Known::Same(Arc::clone(spec));
        }
        let known = Arc::new(spec.with_params(&record.spec.params, record.spec.parent.as_ref()));
        if known.fingerprint != record.spec.fingerprint {
            return Known::Same(known);
        }
        let search = spec.job.sweep.as_ref().and_then(|s| s.search.as_ref());
        let domain = self.domains.entry(Arc::clone(&spec.job.job)).or_insert_with(|| search.and_then(|s| Domain::compile(&s.space).ok()));
        match domain.as_ref().and_then(|d| misfit(d, &record.spec.params)) {
            None => Known::Same(known),
            Some(reason) => Known::Misfit(vec![reason]),
        }
    }

    /// Trials beyond those that are wanted: what has a result, or is on its way to one, is kept.
    pub(super) fn is_worth_keeping(&mut self, record: &RunRecord) -> bool {
        let job = &record.spec.job.job;
        let done = matches!(record.status, RunStatus::Succeeded | RunStatus::Pruned) || record.status.is_live();
        if !done || record.cancel_requested || record.why.is_none() || self.retemplated.contains(job) {
            return false;
        }
        let desired = self.request.desired;
        let wanted = desired.jobs.iter().find(|j| j.address == *job).and_then(|j| desired.runs.get(j.runs.start));
        let Some(spec) = wanted.filter(|s| s.is_open()).cloned() else { return false };
        matches!(self.filled(&spec, record), Known::Same(known) if known.fingerprint == record.spec.fingerprint)
    }

    /// True when the sweep can take its failed trials.
    pub(super) fn is_tolerated(&mut self, spec: &RunSpec) -> bool {
        let Some(sweep) = spec.job.sweep.as_ref().filter(|s| s.max_failed.is_some()) else { return false };
        let state = self.request.state;
        let tallies = self.tallies.get_or_insert_with(|| Tally::of_sweeps(state));
        tallies.get(&*spec.job.job).is_some_and(|t| t.takes_failures(sweep))
    }

    /// A failed trial that its sweep can take stays as it is; it carries the limits that make it so.
    pub(super) fn tolerated(&mut self, spec: &Arc<RunSpec>, record: &'a RunRecord) {
        let mut limits = reasons::of_limits(&record.spec, spec);
        limits.retain(|r| r.key == "sweep.max_failed");
        if limits.is_empty() {
            self.keep(record);
        } else {
            self.act(spec, Action::Update, Origin::Edit, limits.into());
        }
    }

    /// A trial that was not started since its sweep was over: other limits bring it back.
    pub(super) fn unneeded(&mut self, spec: &Arc<RunSpec>, record: &'a RunRecord) {
        let mut why: Vec<Reason> = reasons::of_limits(&record.spec, spec);
        why.retain(|r| matches!(r.key.as_str(), "sweep.max_time" | "sweep.max_cost" | "sweep.parameters" | "sweep.trials"));
        if why.is_empty() {
            self.keep(record);
        } else {
            self.act(spec, Action::Rerun, Origin::Edit, why.into());
        }
    }
}

/// Why a point does not fit a space.
fn misfit(domain: &Domain, params: &Params) -> Option<Reason> {
    let (words, _) = domain.objection(params)?;
    let outside = params.iter().find(|(n, v)| domain.dims.iter().all(|d| d.name != *n || !d.dist.holds(v)));
    let (key, before) = match outside {
        Some((name, value)) => (format!("params.{name}"), Some(value.to_string())),
        None => ("sweep.parameters".to_owned(), None),
    };
    Some(Reason { key, before, after: Some(format!("outside the space: {words}")) })
}
