//! A sweep as its trials and the record know it: what ends it, what it has begun, the values its trials reported step by step.
//!
//! In: nothing. Out: [`SweepSpec`], which the settings of a job carry; [`SweepRecord`], which the state keeps for each sweep that is
//! under way; [`Curve`]. Must never decide anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::search::SearchSpec;
use super::state::{RunStatus, State};
use crate::base::{Millis, Money, Timestamp};

/// Most points of a curve that are kept; a longer one is thinned out.
pub const CURVE_POINTS: usize = 512;
/// The first points of a curve, which are never thinned out: early decisions rest on them.
const CURVE_HEAD: usize = 128;

/// What the trials of one sweep share beside their settings. No part of it enters a fingerprint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SweepSpec {
    /// Failed trials that the sweep can take; one more ends it. None: every failed trial fails the job, and the others go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<u32>,
    /// Longest time from the first start of a trial to the end of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Millis>,
    /// Most that all trials together may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<Money>,
    /// How its trials are found and which of them end early, where that is decided while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Arc<SearchSpec>>,
    /// Sweeps whose finished trials are known beforehand, as `workflow/job`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm_start: Vec<Arc<str>>,
}

/// What is known of a sweep beside its trials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SweepRecord {
    /// When its first trial was admitted, since it was last over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// Who paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Arc<str>>,
}

impl SweepRecord {
    /// True when there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a trial was stopped to be compared with others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// The last step that it had reported.
    pub step: i64,
    /// Its value there.
    pub value: f64,
    /// True until it is promoted, or over.
    pub waits: bool,
    /// How it stood when it was stopped.
    pub because: Arc<str>,
}

/// How the trials of one sweep stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Not over, without a live attempt.
    pub pending: u32,
    /// With a live attempt.
    pub live: u32,
    /// With a result.
    pub succeeded: u32,
    /// Ended early.
    pub pruned: u32,
    /// Not started, since the sweep was over before.
    pub unneeded: u32,
    /// Failed.
    pub failed: u32,
    /// Cancelled or skipped.
    pub lost: u32,
}

impl Tally {
    /// Of all sweeps of a state, by `workflow/job`.
    #[must_use]
    pub fn of_sweeps(state: &State) -> BTreeMap<&str, Self> {
        let mut all: BTreeMap<&str, Self> = BTreeMap::new();
        for record in state.runs.values().filter(|r| r.spec.job.sweep.is_some()) {
            all.entry(&record.spec.job.job).or_default().add(record.status);
        }
        all
    }

    /// Counts one more trial.
    pub fn add(&mut self, status: RunStatus) {
        *match status {
            RunStatus::Pending => &mut self.pending,
            RunStatus::Launching | RunStatus::Running | RunStatus::Stopping => &mut self.live,
            RunStatus::Succeeded => &mut self.succeeded,
            RunStatus::Pruned => &mut self.pruned,
            RunStatus::Unneeded => &mut self.unneeded,
            RunStatus::Failed => &mut self.failed,
            RunStatus::Cancelled | RunStatus::Skipped => &mut self.lost,
        } += 1;
    }

    /// True when the sweep can take its failed trials.
    #[must_use]
    pub fn takes_failures(&self, sweep: &SweepSpec) -> bool {
        sweep.max_failed.is_some_and(|most| self.failed <= most) && self.succeeded + self.pending + self.live > 0
    }

    /// True when all of it is over and nothing succeeded.
    #[must_use]
    pub fn is_barren(&self) -> bool {
        self.pending + self.live + self.succeeded == 0
    }
}

/// The values of a sweep's metric by step, ascending. Reporting a step again replaces its value, so that a report that comes twice
/// or late changes nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Curve(Vec<(i64, f64)>);

impl Curve {
    /// All points, ascending.
    #[must_use]
    pub fn points(&self) -> &[(i64, f64)] {
        &self.0
    }

    /// True when nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last point.
    #[must_use]
    pub fn last(&self) -> Option<(i64, f64)> {
        self.0.last().copied()
    }

    /// Notes a value. A curve that grows too long keeps its first points, its last, and every second one between.
    pub fn note(&mut self, step: i64, value: f64) {
        match self.0.binary_search_by_key(&step, |(s, _)| *s) {
            Ok(i) => {
                if let Some(point) = self.0.get_mut(i) {
                    point.1 = value;
                }
            }
            Err(i) => self.0.insert(i, (step, value)),
        }
        if self.0.len() > CURVE_POINTS {
            let (mut index, last) = (0_usize, self.0.len() - 1);
            self.0.retain(|_| {
                let keep = index < CURVE_HEAD || index == last || index % 2 == 0;
                index += 1;
                keep
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_the_same_whatever_comes_twice_or_late() {
        let (mut a, mut b) = (Curve::default(), Curve::default());
        for (step, value) in [(1, 0.5), (2, 0.4), (3, 0.3)] {
            a.note(step, value);
        }
        for (step, value) in [(3, 0.3), (1, 0.9), (2, 0.4), (1, 0.5), (3, 0.3)] {
            b.note(step, value);
        }
        assert_eq!(a, b);
        assert_eq!(a.last(), Some((3, 0.3)));
    }

    #[test]
    fn a_long_curve_keeps_its_beginning_and_its_end() {
        let mut curve = Curve::default();
        (1..=100_000).for_each(|step| curve.note(step, 1.0));
        assert!(curve.points().len() <= CURVE_POINTS);
        assert_eq!(curve.points()[..CURVE_HEAD].last(), Some(&(128, 1.0)));
        assert_eq!(curve.last(), Some((100_000, 1.0)));
    }
}
