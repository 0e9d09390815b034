//! Early end of bad trials: a verdict for each report, from the reports before it.
//!
//! In: values that trials report, in the order of the record. Out: go on or end, with the reason. Must never end a trial on a value
//! that is unknown.

use crate::record::SearchSpec;

/// What becomes of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// It ends now.
    Prune {
        /// One sentence for people, without a full stop.
        why: String,
    },
    /// It ends now, and may go on later from its checkpoint.
    Pause {
        /// One sentence for people, without a full stop.
        why: String,
    },
}

/// A trial that may go on after all, from its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Which.
    pub trial: u64,
    /// One sentence for people, without a full stop.
    pub why: String,
}

/// A rule that ends trials. It is a function of the reports in their order: told the record again, it says the same again.
pub trait Pruner {
    /// Notes a value and judges the trial. Not finite is unknown: it is noted and never ends a trial.
    fn report(&mut self, trial: u64, step: u64, value: Option<f64>) -> Verdict;

    /// Notes a value for a step before the last that was reported: it came late, or again. It decides nothing by itself.
    fn revise(&mut self, _trial: u64, _step: u64, _value: f64) {}

    /// Notes that a trial has come to its end by itself.
    fn complete(&mut self, trial: u64);

    /// Notes that a trial that was told to pause has stopped and waits.
    fn waits(&mut self, _trial: u64) {}

    /// A waiting trial that should go on now that more is known, if there is one; it does not wait any more. `last`: nothing else is to
    /// come.
    fn promote(&mut self, _last: bool) -> Option<Promotion> {
        None
    }

    /// How a trial stands at its last rung, for people.
    fn standing(&self, _trial: u64) -> Option<String> {
        None
    }
}

/// The pruner of a search, if it has one.
#[must_use]
pub fn pruner(spec: &SearchSpec) -> Option<Box<dyn Pruner>> {
    spec.prune.as_ref().map(|p| super::rules::make(p, spec.goal))
}
