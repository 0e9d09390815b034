//! What backends report. Reports come late, doubled and out of order: only what concerns the live attempt counts.

use std::sync::Arc;

use super::index::Place;
use super::policy::{self, Next};
use super::port::{Command, Observation};
use super::{Engine, attempt_id, money};
use crate::base::{Address, AttemptId, Millis, Timestamp};
use crate::record::{Anomaly, AttemptPhase, Cause, Event, Outcome, OutputRecord};

/// When an attempt ran and how it ended.
struct End {
    started: Option<Timestamp>,
    at: Timestamp,
    outcome: Outcome,
    outputs: Vec<OutputRecord>,
}

impl Engine {
    pub(super) fn observe(&mut self, observation: Observation, now: Timestamp) {
        match observation {
            Observation::Exists { attempt } => self.seen(&attempt, now),
            Observation::Started { attempt, at, place } => self.started(attempt, at, place, now),
            Observation::Ended { attempt, started, at, outcome, outputs } => {
                self.ended(&attempt, End { started, at, outcome, outputs }, now)
            }
            Observation::Absent { attempt } => self.absent(attempt, now),
            Observation::SubmitUnknown { attempt, detail } => {
                if self.phase(&attempt).is_some() {
                    self.notice(attempt, Anomaly::SubmitUnknown { detail }, now);
                }
            }
            Observation::Refused { attempt, detail } => {
                // A refusal of something that runs is a report about somebody else's object.
                if self.phase(&attempt) != Some(AttemptPhase::Running) {
                    self.ended(
                        &attempt,
                        End { started: None, at: now, outcome: Outcome::new(Cause::Refused, None, detail), outputs: Vec::new() },
                        now,
                    );
                }
            }
            Observation::Metrics { attempt, points } => {
                if self.phase(&attempt).is_some() && !points.is_empty() {
                    let verdict = self.judge(&attempt, &points);
                    let address = attempt.address.clone();
                    self.emit(Event::Metrics { attempt, points }, now);
                    verdict.into_iter().for_each(|(cause, why)| self.end_for(&address, cause, why, now));
                    self.promote_in_sweep_of(&address, now);
                }
            }
            Observation::Noticed { attempt, anomaly } => self.notice(attempt, anomaly, now),
            Observation::Unreachable { .. } => self.reachable = false,
            Observation::Reachable => {
                if !std::mem::replace(&mut self.reachable, true) {
                    self.resume(now);
                }
            }
        }
    }

    /// Where the attempt stands, if it is the run's live one.
    fn phase(&self, attempt: &AttemptId) -> Option<AttemptPhase> {
        let record = self.state.runs.get(&attempt.address)?;
        let live = record.live_attempt()?;
        (attempt_id(record, live.number) == *attempt).then_some(live.phase)
    }

    fn seen(&mut self, attempt: &AttemptId, now: Timestamp) {
        if self.phase(attempt).is_some() {
            self.rearm(&attempt.address, now);
            if let Some(entry) = self.index.id(&attempt.address).and_then(|id| self.index.entry(id)) {
                entry.absent = None;
            }
        }
    }

    fn started(&mut self, attempt: AttemptId, at: Timestamp, place: String, now: Timestamp) {
        let Some(phase) = self.phase(&attempt) else { return };
        self.seen(&attempt, now);
        if let Some(entry) = self.index.id(&attempt.address).and_then(|id| self.index.entry(id)) {
            entry.started.get_or_insert(now);
        }
        let known = self.state.runs.get(&attempt.address).and_then(|r| r.live_attempt()).is_some_and(|a| a.started_at.is_some());
        if phase == AttemptPhase::Admitted || !known {
            self.emit(Event::Started { attempt, at, place }, now);
        }
    }

    fn ended(&mut self, attempt: &AttemptId, end: End, now: Timestamp) {
        if self.phase(attempt).is_none() {
            self.late(attempt, &end.outcome, now);
            return;
        }
        let asked = self.state.runs.get(&attempt.address).and_then(|r| r.live_attempt()).and_then(|a| a.stop_cause);
        let mut outcome = end.outcome;
        // What was asked to end counts as what it was asked for, unless it was done before.
        if let Some(cause) = asked.filter(|_| outcome.cause != Cause::Success) {
            outcome.cause = cause;
        }
        // A clock that went back gives no negative time.
        let at = end.started.map_or(end.at, |s| end.at.max(s));
        let bill = self.bill(attempt, end.started, at);
        if let Some(record) = self.state.runs.get(&attempt.address) {
            record.live_attempt().into_iter().for_each(|live| money::by_money(live, money::timeout(record, live), &mut outcome));
        }
        let (attempt_id, boxed) = (attempt.clone(), bill.clone().map(Box::new));
        self.emit(Event::Ended { attempt: attempt_id, started: end.started, at, outcome, outputs: end.outputs, bill: boxed }, now);
        if let Some(bill) = bill {
            self.post(&bill, now);
        }
        self.decide(attempt, now);
    }

    fn decide(&mut self, attempt: &AttemptId, now: Timestamp) {
        let Some(record) = self.state.runs.get(&attempt.address) else { return };
        let address = attempt.address.clone();
        if let Some(entry) = self.index.id(&address).and_then(|id| self.index.entry(id)) {
            entry.started = None;
            entry.absent = None;
        }
        match policy::after(record) {
            Next::Done => self.over(&address, Event::Succeeded { address: address.clone() }, now),
            Next::Cancelled => self.over(&address, Event::Cancelled { address: address.clone() }, now),
            Next::Prune => self.prune(&address, now),
            Next::Pause => self.rest(&address, now),
            Next::Fail(cause) => self.over(&address, Event::Failed { address: address.clone(), cause, detail: String::new() }, now),
            Next::Retry(wait) => {
                let not_before = now.after(wait);
                self.emit(Event::RetryScheduled { address: address.clone(), not_before }, now);
                if let Some(id) = self.step_back(&address) {
                    self.index.set_timer(id, Some(not_before));
                }
            }
        }
    }

    /// A run whose attempt is over gives back what it held, and is in no line. Gives its number.
    pub(super) fn step_back(&mut self, address: &Address) -> Option<u32> {
        let id = self.index.id(address)?;
        let entry = self.index.entry(id)?;
        (entry.place, entry.blocked) = (Place::Blocked, 0);
        let (demand, job) = (Arc::clone(&entry.demand), Arc::clone(&entry.job));
        self.gate.release(&demand);
        self.index.set_live(&job, false);
        self.index.set_timer(id, None);
        Some(id)
    }

    /// The backend surely does not have it: an intent that never arrived is sent again under its name; what ran is gone.
    fn absent(&mut self, attempt: AttemptId, now: Timestamp) {
        let Some(phase) = self.phase(&attempt) else { return };
        if phase != AttemptPhase::Admitted && !self.confirmed_absent(&attempt, now) {
            return;
        }
        let at = self.state.runs.get(&attempt.address).map_or(now, |r| money::over_by(r, now));
        let nobody = |cause, words: &str| Outcome::new(cause, None, words);
        match phase {
            AttemptPhase::Admitted => {
                let launch = self.state.runs.get(&attempt.address).map(|r| {
                    // Money is set aside from the admission on, whenever the submission arrives.
                    let live = r.live_attempt();
                    let left = live.and_then(|a| Some(Millis(a.deadline?.0.saturating_sub(now.since(a.admitted_at).0))));
                    (left, self.bound(r, attempt.clone(), money::limit(live.and_then(|a| money::timeout(r, a)), left)))
                });
                match launch {
                    Some((Some(Millis(0)), _)) => {
                        // An answer may be older than a submission that was sent again: its money is not free before a second one.
                        if !self.confirmed_absent(&attempt, now) {
                            return;
                        }
                        let words = "it never started, and the time that its money was set aside for is over";
                        let outcome = nobody(Cause::Interrupted, words);
                        self.ended(&attempt, End { started: None, at: now, outcome, outputs: Vec::new() }, now);
                    }
                    Some((_, Ok(launch))) => {
                        self.rearm(&attempt.address, now);
                        self.command(Command::Submit(Box::new(launch)));
                    }
                    Some((_, Err(words))) => self.ended(
                        &attempt,
                        End { started: None, at, outcome: Outcome::new(Cause::Error, None, words), outputs: Vec::new() },
                        now,
                    ),
                    None => {}
                }
            }
            AttemptPhase::Stopping => self.ended(
                &attempt,
                End { started: None, at, outcome: nobody(Cause::Cancelled, "it was gone before it was stopped"), outputs: Vec::new() },
                now,
            ),
            AttemptPhase::Running => self.ended(
                &attempt,
                End { started: None, at, outcome: nobody(Cause::Lost, "the backend no longer knows it"), outputs: Vec::new() },
                now,
            ),
            AttemptPhase::Ended => {}
        }
    }

    /// True when the attempt has been gone for long enough; until then it is asked after again.
    fn confirmed_absent(&mut self, attempt: &AttemptId, now: Timestamp) -> bool {
        let Some(id) = self.index.id(&attempt.address) else { return false };
        let Some(entry) = self.index.entry(id) else { return false };
        let since = *entry.absent.get_or_insert(now);
        let confirmed = now.since(since) >= super::CONFIRM;
        if !confirmed {
            self.index.set_timer(id, Some(since.after(super::CONFIRM)));
        }
        confirmed
    }

    /// A report about an attempt that is over changes nothing; one that contradicts the record is noted.
    fn late(&mut self, attempt: &AttemptId, outcome: &Outcome, now: Timestamp) {
        let Some(record) = self.state.runs.get(&attempt.address).filter(|r| r.generation == attempt.generation) else { return };
        let known = record.attempts.iter().find(|a| a.number == attempt.number).and_then(|a| a.outcome.as_ref());
        if known.is_some_and(|k| k.cause != outcome.cause && k.exit_code != outcome.exit_code) {
            let detail = format!("attempt {} is over, and was reported again as {:?}", attempt.number, outcome.cause);
            self.notice(attempt.clone(), Anomaly::LateReport { detail }, now);
        }
    }

    fn notice(&mut self, attempt: AttemptId, anomaly: Anomaly, now: Timestamp) {
        let known = self.state.runs.get(&attempt.address).is_none_or(|r| r.notices.contains(&anomaly));
        if !known {
            self.emit(Event::Noticed { attempt, anomaly }, now);
        }
    }
}
