//! What happens inside a run: the fold of the events of its life.
//!
//! In: events about one run, through [`super::State`]. Out: its record. Must never decide anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Anomaly, Cause, MetricPoint};
use super::ledger::Reservation;
use super::run::{Parent, RunSpec};
use super::state::{Attempt, AttemptPhase, MetricSummary, RunRecord, RunStatus};
use super::sweep::{Curve, Rung};
use crate::base::{AttemptId, Money, Timestamp, Value};

impl RunRecord {
    /// A run just planned.
    #[must_use]
    pub fn new(spec: Arc<RunSpec>, generation: u32, seq: u64, now: Timestamp) -> Self {
        Self {
            spec,
            generation,
            seq,
            status: RunStatus::Pending,
            attempts: Vec::new(),
            cancel_requested: false,
            next: None,
            withdrawn: false,
            metrics: BTreeMap::new(),
            curve: Curve::default(),
            rung: None,
            why: None,
            outputs: Vec::new(),
            reused_from: None,
            because: None,
            not_before: None,
            notices: Vec::new(),
            planned_at: now,
            by: "".into(),
            ended_at: None,
        }
    }

    /// The attempt that is not over, if any. At most one is live at a time.
    #[must_use]
    pub fn live_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|a| a.phase != AttemptPhase::Ended)
    }

    pub(super) fn open_attempt(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempts.last_mut().filter(|a| a.number == number && a.phase != AttemptPhase::Ended)
    }

    pub(super) fn admit(&mut self, number: u32, reservation: Option<&Reservation>, now: Timestamp) {
        self.status = RunStatus::Launching;
        self.not_before = None;
        self.attempts.push(Attempt {
            number,
            phase: AttemptPhase::Admitted,
            admitted_at: now,
            started_at: None,
            ended_at: None,
            place: String::new(),
            reserved: reservation.map(|r| r.amount),
            deadline: reservation.and_then(|r| r.deadline),
            timeout: reservation.and_then(|r| r.timeout),
            payer: reservation.map(|r| Arc::new(r.payer.clone())),
            cost: None,
            doubled: false,
            outcome: None,
            reports: 0,
            stop_detail: String::new(),
            stop_cause: None,
            progress: None,
        });
    }

    pub(super) fn started(&mut self, number: u32, at: Timestamp, place: &str) {
        if let Some(a) = self.open_attempt(number) {
            a.started_at = Some(at);
            place.clone_into(&mut a.place);
            if a.phase == AttemptPhase::Admitted {
                a.phase = AttemptPhase::Running;
                self.status = RunStatus::Running;
            }
        }
    }

    pub(super) fn stopping(&mut self, number: u32, cause: Cause, detail: &str) {
        if let Some(a) = self.open_attempt(number) {
            a.phase = AttemptPhase::Stopping;
            a.stop_cause = Some(cause);
            detail.clone_into(&mut a.stop_detail);
            self.status = RunStatus::Stopping;
        }
    }

    pub(super) fn correct(&mut self, attempt: &AttemptId, amount: Money) {
        let same = self.generation == attempt.generation;
        if let Some(a) = self.attempts.iter_mut().find(|a| same && a.number == attempt.number) {
            a.cost = Some(a.cost.unwrap_or_default() + amount);
        }
    }

    pub(super) fn noticed(&mut self, number: u32, anomaly: &Anomaly) {
        if !self.notices.contains(anomaly) {
            self.notices.push(anomaly.clone());
        }
        if let (Anomaly::DoubleStart { .. }, Some(a)) = (anomaly, self.open_attempt(number)) {
            a.doubled = true;
        }
    }

    pub(super) fn end(&mut self, status: RunStatus, now: Timestamp) {
        if !self.status.is_terminal() {
            self.promoted();
            self.status = status;
            self.ended_at = Some(now);
        }
    }

    /// The trial waits at the last step that it reported.
    pub(super) fn paused_at_rung(&mut self, because: &Arc<str>) {
        let Some((step, value)) = self.curve.last() else { return };
        self.status = RunStatus::Pending;
        self.rung = Some(Rung { step, value, waits: true, because: Arc::clone(because) });
    }

    /// The trial does not wait at its rung any more.
    pub(super) fn promoted(&mut self) {
        self.rung.iter_mut().for_each(|rung| rung.waits = false);
    }

    /// True for a trial that waits at a rung: it is neither in the line nor over.
    #[must_use]
    pub fn waits_at_rung(&self) -> bool {
        self.rung.as_ref().is_some_and(|rung| rung.waits)
    }

    /// Ends the run for a reason that no attempt has.
    pub(super) fn end_because(&mut self, status: RunStatus, because: &Arc<str>, now: Timestamp) {
        self.because = Some(Arc::clone(because));
        self.end(status, now);
    }

    /// What the trial is to try.
    pub(super) fn suggested(&mut self, params: &[(Arc<str>, Value)], why: &Arc<str>, parent: Option<&Arc<Parent>>) {
        self.spec = Arc::new(self.spec.with_params(params, parent));
        self.why = Some(Arc::clone(why));
    }

    /// Other settings. A trial that has its params keeps them.
    pub(super) fn updated(&mut self, spec: &Arc<RunSpec>) {
        let open = self.why.is_some() && spec.params.is_empty();
        self.spec = if open { Arc::new(spec.with_params(&self.spec.params, self.spec.parent.as_ref())) } else { Arc::clone(spec) };
    }

    pub(super) fn fail(&mut self, detail: &str, now: Timestamp) {
        if !detail.is_empty() {
            self.because = Some(detail.into());
        }
        self.end(RunStatus::Failed, now);
    }

    /// A report of the sweep's metric: a point of the trial's curve. Without a step it is the attempt's next one.
    fn note_point(&mut self, point: &MetricPoint) {
        let (Some(_), Some(metric)) = (&self.spec.job.sweep, &self.spec.job.metric) else { return };
        if metric.name != *point.name {
            return;
        }
        let Some(attempt) = self.attempts.last_mut() else { return };
        attempt.reports = attempt.reports.saturating_add(1);
        if let Some(value) = point.value.filter(|v| v.is_finite()) {
            self.curve.note(point.step.unwrap_or(attempt.reports), value);
        }
    }

    pub(super) fn reported(&mut self, number: u32, points: &[MetricPoint], now: Timestamp) {
        points.iter().for_each(|point| self.note_metric(point));
        if let Some(a) = self.open_attempt(number) {
            a.progress.get_or_insert_default().note(points, now);
        }
    }

    fn note_metric(&mut self, point: &MetricPoint) {
        self.note_point(point);
        let new = MetricSummary { last: None, min: None, max: None, step: None, count: 0 };
        let m = self.metrics.entry(Arc::clone(&point.name)).or_insert(new);
        m.count += 1;
        m.step = point.step.or(m.step);
        if let Some(value) = point.value.filter(|v| v.is_finite()) {
            m.last = Some(value);
            m.min = Some(m.min.map_or(value, |old| old.min(value)));
            m.max = Some(m.max.map_or(value, |old| old.max(value)));
        }
    }
}
