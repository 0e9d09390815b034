//! Does the 95% interval of a run under way hold 95%? Each finished run is forecast as it stood at a quarter, a half and three quarters of its
//! time, from what was known then.
//!
//! In: the runs of a job as they are recorded, samples of the job. Out: [`Row`]s: how many fell into their interval, and how wide it was.
//! Must never let a forecast see what came after its moment: reports, runs and samples that are younger do not exist for it.

use serde::Serialize;

use super::length::{Length, Siblings};
use crate::base::Timestamp;
use crate::diff::learned::Past;
use crate::record::{AttemptPhase, Cause, RunRecord, RunStatus, Sample, State};

/// Percent of their time at which runs are forecast.
pub const MOMENTS: [u8; 3] = [25, 50, 75];
/// Most runs of a job that are forecast, the last ones, and most of the runs before them that each forecast knows.
const RUNS: usize = 300;
const KNOWN: usize = 60;

/// Forecasts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Row {
    /// Percent of the time of each run.
    pub at: u8,
    /// Forecasts with an interval.
    pub predicted: usize,
    /// Of these, those that rest on the run's own reports.
    pub by_reports: usize,
    /// Of all, those whose time fell into the interval.
    pub within: usize,
    /// Mean of the upper end over the lower one, as a factor (geometric).
    pub width: f64,
    /// Mean of how far the expected time was off, as a share of the true one.
    pub error: f64,
}

impl Row {
    /// Share of times within their interval.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        if self.predicted == 0 { 0.0 } else { self.within as f64 / self.predicted as f64 }
    }
}

/// Sums of each moment while they are filled.
#[derive(Debug, Clone, Default)]
pub struct Midway {
    rows: [(usize, usize, usize, f64, f64); MOMENTS.len()],
}

impl Midway {
    /// Adds the runs of a job. `state` has them as they are recorded, `samples` are the job's, newest first.
    pub fn add(&mut self, job: &str, state: &State, samples: &[Sample]) {
        let mut over: Vec<&RunRecord> = state.runs.values().filter(|r| *r.spec.job.job == *job && r.ended_at.is_some()).collect();
        over.sort_by_key(|r| r.ended_at);
        for (place, record) in over.iter().enumerate().skip(over.len().saturating_sub(RUNS)) {
            let Some((start, end)) = whole(record) else { continue };
            for (row, percent) in MOMENTS.iter().enumerate() {
                let share = i128::from(end.0 - start.0) * i128::from(*percent) / 100;
                let moment = Timestamp(start.0.saturating_add(i64::try_from(share).unwrap_or(i64::MAX)));
                let before: Vec<&RunRecord> =
                    over.iter().take(place).filter(|r| r.ended_at.is_some_and(|e| e <= moment)).copied().collect();
                let known = before.get(before.len().saturating_sub(KNOWN)..).unwrap_or_default();
                self.note(row, record, known, samples, (start, moment, end));
            }
        }
    }

    fn note(&mut self, row: usize, record: &RunRecord, known: &[&RunRecord], samples: &[Sample], when: (Timestamp, Timestamp, Timestamp)) {
        let (start, moment, end) = when;
        let mut then = State::default();
        then.runs.extend(known.iter().map(|r| (r.spec.address.clone(), (*r).clone())));
        let live = as_it_stood(record, moment);
        let past = Past { samples: samples.iter().filter(|s| s.at <= moment).cloned().collect(), of_model: Vec::new() };
        let job = &record.spec.job;
        let siblings = Siblings::of(&job.job, &then);
        let length = Length::of(&live, job, &siblings, moment, None, |wanted| past.seconds(job, wanted));
        let (Some(expected), Some((low, high))) = (length.expected, length.interval) else { return };
        let (took, Some(sums)) = (end.since(start).as_secs_f64(), self.rows.get_mut(row)) else { return };
        let elapsed = moment.since(start).as_secs_f64();
        let (low, high) = (low.max(elapsed), high.max(elapsed));
        sums.0 += 1;
        sums.1 += usize::from(length.progress.as_ref().is_some_and(|p| p.total.is_some()));
        sums.2 += usize::from(low <= took && took <= high);
        sums.3 += (high / low.max(1e-6)).ln();
        sums.4 += (expected / took - 1.0).abs();
    }

    /// The moments that have forecasts.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let row = |(at, sums): (&u8, &(usize, usize, usize, f64, f64))| {
            let n = sums.0 as f64;
            Row { at: *at, predicted: sums.0, by_reports: sums.1, within: sums.2, width: (sums.3 / n).exp(), error: sums.4 / n }
        };
        MOMENTS.iter().zip(&self.rows).filter(|(_, sums)| sums.0 > 0).map(row).collect()
    }
}

/// Start and end of a run that one attempt did as a whole.
fn whole(record: &RunRecord) -> Option<(Timestamp, Timestamp)> {
    let [attempt] = record.attempts.as_slice() else { return None };
    let good = record.status == RunStatus::Succeeded && record.reused_from.is_none();
    let cause = attempt.outcome.as_ref().map(|o| o.cause);
    let (start, end) = attempt.started_at.zip(attempt.ended_at)?;
    (good && cause == Some(Cause::Success) && end > start).then_some((start, end))
}

/// The record as it was at a moment of its attempt.
fn as_it_stood(record: &RunRecord, moment: Timestamp) -> RunRecord {
    let mut then = record.clone();
    (then.status, then.ended_at) = (RunStatus::Running, None);
    then.metrics.clear();
    for attempt in &mut then.attempts {
        (attempt.phase, attempt.ended_at, attempt.outcome, attempt.cost) = (AttemptPhase::Running, None, None, None);
        if let Some(progress) = &mut attempt.progress {
            progress.marks.retain(|(_, at)| *at <= moment);
        }
    }
    then
}
