//! What a plan makes of the trials of a sweep that are over without a result.
//!
//! In: a wanted trial and its record. Out: its action: what the sweep can do without is left as it is.

use std::sync::Arc;

use super::plan::{Action, Origin, Reason};
use super::{Differ, reasons};
use crate::record::{RunRecord, RunSpec, Tally};

impl<'a> Differ<'a> {
    /// True when the sweep can take its failed trials.
    pub(super) fn is_tolerated(&mut self, spec: &RunSpec) -> bool {
        let Some(sweep) = spec.job.sweep.as_ref().filter(|s| s.max_failed.is_some()) else { return false };
        let state = self.request.state;
        let tallies = self.tallies.get_or_insert_with(|| Tally::of_sweeps(state));
        tallies.get(&*spec.job.job).is_some_and(|t| t.takes_failures(sweep))
    }

    /// A failed trial that its sweep can take stays as it is; it carries the limits that make it so.
    pub(super) fn tolerated(&mut self, spec: &Arc<RunSpec>, record: &'a RunRecord) {
        let limits = reasons::of_limits(&record.spec, spec);
        if limits.is_empty() {
            self.keep(record);
        } else {
            self.act(spec, Action::Update, Origin::Edit, limits.into());
        }
    }

    /// A trial that was not started since its sweep was over: other limits bring it back.
    pub(super) fn unneeded(&mut self, spec: &Arc<RunSpec>, record: &'a RunRecord) {
        let mut why: Vec<Reason> = reasons::of_limits(&record.spec, spec);
        why.retain(|r| r.key != "sweep.max_failed");
        if why.is_empty() {
            self.keep(record);
        } else {
            self.act(spec, Action::Rerun, Origin::Edit, why.into());
        }
    }
}
