//! What happens, as it happens: lines with a bar on a terminal, plain lines in a pipe, JSON lines for programs.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rustc_hash::FxHashSet;
use serde_json::{Value, json};

use super::output::{self, style};
use crate::base::text::escape;
use crate::base::{Address, Timestamp};
use crate::drive::View;
use crate::engine::Engine;
use crate::record::{Anomaly, Event, RunRecord, RunStatus, State};

/// Shows events.
pub struct Progress {
    json: bool,
    bar: Option<ProgressBar>,
    /// Runs that came to an end while we looked.
    pub ended: FxHashSet<Address>,
}

impl Progress {
    /// For a command that prints JSON or text.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { json, bar, ended: FxHashSet::default() }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        let show = || {
            let _ = output::print(&format!("{text}\n"));
        };
        match &self.bar {
            Some(bar) => bar.suspend(show),
            None => show(),
        }
    }
}

impl View for Progress {
    fn events(&mut self, events: &[Event], state: &State, now: Timestamp) {
        for event in events {
            if matches!(
                event,
                Event::Succeeded { .. }
                    | Event::Failed { .. }
                    | Event::Cancelled { .. }
                    | Event::Skipped { .. }
                    | Event::Pruned { .. }
                    | Event::Unneeded { .. }
                    | Event::Reused { .. }
            ) {
                self.ended.extend(event.address().cloned());
            }
            if self.json {
                if let Ok(line) = serde_json::to_string(&event_json(event, now)) {
                    self.line(&line);
                }
            } else if let Some(line) = event_line(event, state, now) {
                self.line(&line);
            }
        }
    }

    fn notice(&mut self, words: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::say(words)),
            None => output::say(words),
        }
    }

    fn tick(&mut self, engine: &Engine, _: Timestamp) {
        let Some(bar) = &self.bar else { return };
        let (mut live, mut waiting, mut done, mut bad) = (0, 0, 0, 0);
        // On a terminal this is looked at a few times a second; a hundred thousand runs are counted in a millisecond.
        for run in engine.state().runs.values() {
            match run.status {
                s if s.is_live() => live += 1,
                RunStatus::Pending => waiting += 1,
                RunStatus::Succeeded | RunStatus::Pruned | RunStatus::Unneeded => done += 1,
                _ => bad += 1,
            }
        }
        let bad = if bad > 0 { format!(", {bad} not succeeded") } else { String::new() };
        bar.set_message(format!("{live} running, {waiting} waiting, {done} done{bad}"));
    }
}

/// An event for programs: specs are shortened to what identifies them.
fn event_json(event: &Event, now: Timestamp) -> Value {
    let mut value = match event.spec() {
        Some(spec) => {
            let word = match event {
                Event::Planned { .. } => "planned",
                Event::Updated { .. } => "updated",
                Event::Superseded { .. } => "superseded",
                _ => "reused",
            };
            json!({"event": word, "address": spec.address, "fingerprint": spec.fingerprint})
        }
        None => serde_json::to_value(event).unwrap_or_default(),
    };
    value["time"] = json!(now.to_string());
    value
}

fn clock(now: Timestamp) -> String {
    now.utc().map_or_else(String::new, |t| t.with_timezone(&chrono::Local).format("%H:%M:%S").to_string())
}

/// One line about an event that people want to see.
#[must_use]
pub fn event_line(event: &Event, state: &State, now: Timestamp) -> Option<String> {
    let (mark, words) = match event {
        Event::Started { place, .. } => (style::paint(style::LIVE, ">"), format!("started on {}", escape(place))),
        Event::Succeeded { address } => (style::paint(style::GOOD, "+"), succeeded(state.runs.get(address)?)),
        Event::Reused { result, spec } if result.from == spec.address => (style::paint(style::LIVE, "="), "outputs put back".to_owned()),
        Event::Reused { result, .. } => (style::paint(style::LIVE, "="), format!("reuses the result of {}", result.from)),
        Event::Failed { address, .. } => (style::paint(style::BAD, "x"), format!("failed: {}", failure(state.runs.get(address)?))),
        Event::Cancelled { .. } => (style::paint(style::BAD, "x"), "cancelled".to_owned()),
        Event::Pruned { address, because } => (style::paint(style::LIVE, "/"), pruned(state.runs.get(address)?, because)),
        Event::Paused { because, .. } => (style::paint(style::LIVE, "/"), format!("paused: {}", escape(because))),
        Event::Promoted { because, .. } => (style::paint(style::LIVE, ">"), format!("goes on: {}", escape(because))),
        Event::Unneeded { because, .. } => (style::paint(style::DIM, "-"), format!("not needed: {}", escape(because))),
        Event::SweepPaused { job, by } => return Some(format!("{} {job} is paused by {}", clock(now), escape(by))),
        Event::Threshold { budget, percent, spent, limit } => {
            let mark = style::paint(if *percent < 100 { style::CHANGE } else { style::BAD }, "!");
            return Some(format!("{} {mark} budget of {}: {percent}% reached, {spent} of {limit}", clock(now), escape(budget)));
        }
        Event::SweepResumed { job, by } => return Some(format!("{} {job} goes on, asked by {}", clock(now), escape(by))),
        Event::Skipped { because, .. } => (style::paint(style::CHANGE, "-"), format!("skipped: {because} did not succeed")),
        Event::RetryScheduled { address, not_before } => {
            (style::paint(style::CHANGE, "~"), format!("{}; tries again in {}", failure(state.runs.get(address)?), not_before.since(now)))
        }
        Event::Noticed { anomaly, .. } => (style::paint(style::CHANGE, "!"), anomaly_text(anomaly)),
        Event::Forgotten { .. } => (style::paint(style::DIM, "-"), "left the state".to_owned()),
        _ => return None,
    };
    let address = output::pad(&escape(event.address()?.as_str()), 28);
    Some(format!("{} {mark} {address} {words}", clock(now)))
}

/// `succeeded in 2s, val_loss 0.31`.
fn succeeded(record: &RunRecord) -> String {
    let took =
        record.attempts.last().and_then(|a| a.started_at.zip(a.ended_at)).map(|(s, e)| format!(" in {}", e.since(s))).unwrap_or_default();
    format!("succeeded{took}{}", metrics(record, 2).map(|m| format!(", {m}")).unwrap_or_default())
}

/// `pruned at val_loss 0.31: not among the best third`.
fn pruned(record: &RunRecord, because: &str) -> String {
    let at = metrics(record, 1).map(|m| format!(" at {m}")).unwrap_or_default();
    format!("pruned{at}: {}", escape(because))
}

/// The compared metric first, else the last reported ones.
#[must_use]
pub fn metrics(record: &RunRecord, most: usize) -> Option<String> {
    let goal = record.spec.job.metric.as_ref();
    // The epoch tells how far the run is, not how good.
    let mut names: Vec<&Arc<str>> = record.metrics.keys().filter(|n| &***n != "epoch").collect();
    names.sort_by_key(|n| goal.is_none_or(|g| *g.name != ***n));
    let shown: Vec<String> = names
        .into_iter()
        .take(most)
        .map(|n| {
            let value = record.metrics.get(n).and_then(|m| m.last);
            format!("{} {}", escape(n), value.map_or("unknown".to_owned(), number))
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Five digits that count.
#[must_use]
pub fn number(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e7).contains(&value.abs()) {
        return format!("{value:.4e}");
    }
    let text = format!("{value:.5}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// How the last attempt failed.
#[must_use]
pub fn failure(record: &RunRecord) -> String {
    // Words of the run itself are about its end: a budget that refused a further attempt, a value that could not be bound.
    if let Some(because) = &record.because {
        return escape(because).into_owned();
    }
    let Some(outcome) = record.attempts.last().and_then(|a| a.outcome.as_ref()) else { return "failed".to_owned() };
    let cause = cause_text(outcome.cause);
    let code = outcome.exit_code.filter(|c| *c != 0).map(|c| format!(" (exit code {c})")).unwrap_or_default();
    // That a program ended with its exit code says nothing new.
    let said = outcome.detail.is_empty() || outcome.exit_code.is_some_and(|c| outcome.detail == format!("exit status {c}"));
    let detail = if said { String::new() } else { format!(": {}", escape(&outcome.detail)) };
    format!("{cause}{code}{detail}")
}

/// The cause in words.
#[must_use]
pub fn cause_text(cause: crate::record::Cause) -> &'static str {
    use crate::record::Cause;
    match cause {
        Cause::Success => "success",
        Cause::Error => "error",
        Cause::OutOfMemory => "out of memory",
        Cause::BadGpu => "bad GPU",
        Cause::Timeout => "timeout",
        Cause::Interrupted => "interrupted",
        Cause::Lost => "lost",
        Cause::Unschedulable => "unschedulable",
        Cause::Refused => "refused by the backend",
        Cause::Cancelled => "cancelled",
        Cause::Budget => "budget used up",
        Cause::Pruned => "pruned",
        Cause::Paused => "paused at a rung",
    }
}

/// An anomaly in words.
#[must_use]
pub fn anomaly_text(anomaly: &Anomaly) -> String {
    let (what, detail) = match anomaly {
        Anomaly::DoubleStart { detail } => ("started twice", detail),
        Anomaly::Foreign { detail } => ("belongs to somebody else", detail),
        Anomaly::Unreachable { detail } => ("out of reach, may still run", detail),
        Anomaly::LateReport { detail } => ("late report", detail),
        Anomaly::SubmitUnknown { detail } => ("the answer to its submission was lost", detail),
        Anomaly::Untracked { detail } => ("not tracked", detail),
        Anomaly::Waiting { detail } => ("waits", detail),
    };
    format!("{what}: {}", escape(detail))
}
