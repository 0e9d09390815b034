//! How long an attempt takes in all, given how long it has run and what it has done.
//!
//! In: a record, history of its job, its finished siblings, now. Out: [`Length`]: expected seconds, interval, basis. Must never take steps for
//! epochs unless finished runs of the job show that they are.

use std::sync::Arc;

use serde::Serialize;

use super::odds::{self, Pruning};
use crate::base::Timestamp;
use crate::price::learn::interruptions::{self, Rate};
use crate::price::learn::progress::{self, Course};
use crate::price::learn::{Seconds, student};
use crate::record::{Attempt, Features, JobSpec, RunRecord, RunStatus, State, work};

/// Degrees of freedom at which Student's t is the normal distribution.
const NORMAL: f64 = 200.0;
/// Times that one mark may be sooner than history or the files say before it is not believed.
const EARLY: f64 = 10.0;
/// A run this far beyond all that history says is not described by it.
const BEYOND: f64 = 1e-3;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// `epochs` or `steps`.
    pub unit: &'static str,
    /// Done.
    pub done: u64,
    /// In all; none where nobody says.
    pub total: Option<u64>,
    /// Seconds of one.
    pub seconds_each: Option<f64>,
    /// When it was last heard of, in seconds since the start.
    #[serde(skip)]
    pub at: f64,
}

/// Seconds of one attempt from its start to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Length {
    /// Expected; none while there is nothing to go by.
    pub expected: Option<f64>,
    /// 95% interval; none where nothing was measured.
    pub interval: Option<(f64, f64)>,
    /// What it rests on, or what is missing.
    pub basis: Arc<str>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Whether its sweep may end it.
    pub pruning: Option<Pruning>,
    /// The interval of the time without an early end by its sweep.
    whole: Option<(f64, f64)>,
    elapsed: f64,
}

impl Length {
    /// Of the live attempt, or of the next one.
    pub fn of(
        record: &RunRecord,
        job: &JobSpec,
        siblings: &Siblings,
        now: Timestamp,
        remaining: Option<u64>,
        mut history: impl FnMut(&Features) -> Option<Seconds>,
    ) -> Self {
        let live = record.live_attempt();
        let start = live.and_then(|a| a.started_at);
        let elapsed = start.map_or(0.0, |s| now.since(s).as_secs_f64());
        let mut features = work::features(&record.spec);
        let course = live.zip(start).and_then(|(a, s)| Marks::of(a, s));
        let total = course.as_ref().and_then(|m| m.total(remaining, &features, job, siblings));
        if let (None, Some(left)) = (&course, remaining) {
            features.values.insert("epochs".into(), left as f64);
        }
        let history = history(&features);
        let progress = course.as_ref().map(|m| m.shown(total));
        let new = |expected, interval, basis: Arc<str>| {
            let progress = progress.clone();
            Self { expected, interval, basis, progress, pruning: None, whole: interval, elapsed }
        };
        let own = course.as_ref().zip(total).and_then(|(m, total)| progress::whole(&m.course(total, elapsed)));
        let declared = declared(job, remaining);
        // One mark far sooner than anybody thought tells when the program began to speak, not how fast it is.
        let thought = history.as_ref().map(|h| h.expected).or(declared);
        let first = course.as_ref().filter(|m| m.marks.len() == 1).and_then(|m| m.marks.first()).zip(total);
        let spoke = first.zip(thought).is_some_and(|(((units, at), total), thought)| at / units * total < thought / EARLY);
        if let Some(mut own) = own.filter(|_| !spoke) {
            own.basis = own_words(&progress, own.samples);
            let both = progress::with_history(own, history.as_ref(), elapsed);
            return new(Some(both.expected), Some((both.low, both.high)), both.basis);
        }
        if let Some(history) = history {
            return match given(&history, elapsed) {
                Some((expected, low, high)) => new(Some(expected), Some((low, high)), history.basis),
                None => new(Some(elapsed), None, format!("{}, and it has run longer than that allows", history.basis).into()),
            };
        }
        match declared {
            Some(length) => {
                let words =
                    if elapsed > length { "declared, and it has run longer" } else { "declared; no run has shown how far off that is" };
                new(Some(length.max(elapsed)), None, words.into())
            }
            None if course.is_some() => new(
                None,
                None,
                "how much there is to do is not known: declare `estimate: {epochs: N}` and report `epoch=`, or give --remaining-epochs"
                    .into(),
            ),
            None => new(None, None, "no progress, no history, and no `estimate`".into()),
        }
    }

    /// Probability that it takes longer than this; none where that is not known.
    #[must_use]
    pub fn chance_beyond(&self, seconds: f64) -> Option<f64> {
        if seconds <= self.elapsed {
            return Some(1.0);
        }
        let (low, high) = self.whole?;
        let (low, high) = (low.max(1e-6), high.max(1e-6));
        // What its sweep ends early does not come that far.
        let stays = 1.0 - self.pruning.as_ref().and_then(|p| p.chance).unwrap_or(0.0);
        if high <= low * (1.0 + 1e-9) {
            return Some(stays * f64::from(u8::from(high > seconds)));
        }
        let (middle, sd) = ((low.ln() + high.ln()) / 2.0, (high.ln() - low.ln()) / 3.92);
        let above = |t: f64| student::below((middle - t.max(1e-6).ln()) / sd, NORMAL);
        Some(stays * (above(seconds) / above(self.elapsed).max(1e-9)).clamp(0.0, 1.0))
    }

    /// Counts interruptions still to come: what is left may be cut short, and then all of it begins anew. With a Poisson process of rate r and
    /// an interruption before the end the expected time is `(1 - exp(-r left)) (1/r + U)` in place of `left`, U that of a whole new try.
    pub fn interrupted(&mut self, rate: &Rate, tries: u64) {
        let Some(expected) = self.expected else { return };
        let left = (expected - self.elapsed).max(0.0);
        let chance = rate.chance_within(left);
        let per_second = (rate.per_hour / 3600.0).max(1e-12);
        let anew = rate.until_done(expected, tries.saturating_sub(1));
        // The part that is run before either end comes.
        let until = chance / per_second;
        self.expected = Some(self.elapsed + until.min(left) + chance * anew);
        if let Some((_, high)) = &mut self.interval {
            let seconds =
                Seconds { expected: left, low: left, high: (*high - self.elapsed).max(left), samples: 1, basis: "".into(), sd: 1.0 };
            let more = interruptions::with_attempts(seconds, rate, tries, 0.0, 0).high;
            let again = if rate.chance_within(*high - self.elapsed) > 0.025 { anew } else { 0.0 };
            *high = self.elapsed + more.max(*high - self.elapsed) + again;
            *high = high.max(self.expected.unwrap_or_default());
        }
        self.whole = self.interval;
        self.basis = format!("{}, {}", self.basis, rate.words()).into();
    }

    /// Counts the chance that the sweep ends the run early, as it has ended its finished siblings.
    pub fn prune(&mut self, record: &RunRecord, siblings: &Siblings) {
        let Some(expected) = self.expected else { return };
        let Some(pruning) = odds::of_pruning(record, siblings, self.elapsed, expected) else { return };
        if let Some(chance) = pruning.chance {
            let end = pruning.ends_at_s.unwrap_or(expected).clamp(self.elapsed, expected);
            self.expected = Some((1.0 - chance) * expected + chance * end);
            if let Some((low, _)) = self.interval.as_mut().filter(|_| chance > 0.025) {
                *low = low.min(end).max(self.elapsed);
            }
        }
        self.pruning = Some(pruning);
    }
}

fn own_words(progress: &Option<Progress>, marks: usize) -> Arc<str> {
    let noun = if marks == 1 { "1 report" } else { "reports" };
    let count = if marks == 1 { noun.to_owned() } else { format!("{marks} {noun}") };
    match progress {
        Some(Progress { unit, done, total: Some(total), .. }) => format!("its own progress: {done} of {total} {unit}, {count}").into(),
        _ => format!("its own progress, {count}").into(),
    }
}

/// What the files say that it takes; with `remaining` epochs the same share of it.
fn declared(job: &JobSpec, remaining: Option<u64>) -> Option<f64> {
    let length = job.estimate.declared.or(job.estimate.time)?.as_secs_f64();
    match (remaining, job.estimate.epochs.filter(|n| *n > 0)) {
        (Some(left), Some(all)) => Some(length * left as f64 / f64::from(all)),
        _ => Some(length),
    }
}

/// The time of a run that has run for `elapsed` already: mean and 95% interval of the part of the distribution beyond it. None where that part
/// is so small that the distribution says nothing there.
fn given(history: &Seconds, elapsed: f64) -> Option<(f64, f64, f64)> {
    let (low, high) = (history.low.max(1e-6), history.high.max(1e-6));
    if elapsed < low {
        return Some((history.expected.max(elapsed), low, high));
    }
    let (middle, sd) = ((low.ln() + high.ln()) / 2.0, ((high.ln() - low.ln()) / 3.92).max(1e-6));
    let before = student::below((elapsed.ln() - middle) / sd, NORMAL);
    if 1.0 - before < BEYOND {
        return None;
    }
    let quantile = |p: f64| {
        let p = before + p * (1.0 - before);
        let z = if p > 0.5 { student::quantile(p, NORMAL) } else { -student::quantile(1.0 - p, NORMAL) };
        (middle + sd * z).exp()
    };
    let mean = (0..40).map(|i| quantile((f64::from(i) + 0.5) / 40.0)).sum::<f64>() / 40.0;
    Some((mean.max(elapsed), quantile(0.025).max(elapsed), quantile(0.975)))
}

/// Marks of an attempt, in units done and seconds since its start.
struct Marks {
    epochs: bool,
    marks: Vec<(f64, f64)>,
    from_zero: i64,
    /// Units that an earlier attempt had done: this one began in the middle.
    before: f64,
}

impl Marks {
    fn of(attempt: &Attempt, start: Timestamp) -> Option<Self> {
        let progress = attempt.progress.as_deref().filter(|p| !p.marks.is_empty())?;
        let zero = progress.from_zero();
        let mut marks: Vec<(f64, f64)> = progress
            .marks
            .iter()
            .map(|(units, at)| ((units + zero) as f64, at.since(start).as_secs_f64()))
            .filter(|(u, _)| *u > 0.0)
            .collect();
        // Units that were heard of at one moment were not done at one moment: the last of them tells.
        marks.reverse();
        marks.dedup_by_key(|m| m.1);
        marks.reverse();
        let first = marks.first()?.0;
        let before = if attempt.number > 1 && first > 1.0 { first - 1.0 } else { 0.0 };
        Some(Self { epochs: progress.epochs, marks, from_zero: zero, before })
    }

    fn done(&self) -> f64 {
        self.marks.last().map_or(0.0, |m| m.0)
    }

    /// Units in all: as asked, as declared, or as its finished siblings show.
    fn total(&self, remaining: Option<u64>, features: &Features, job: &JobSpec, siblings: &Siblings) -> Option<f64> {
        if let Some(left) = remaining {
            return Some(self.done() + left as f64);
        }
        let known = if self.epochs {
            features.get("epochs").or_else(|| job.estimate.epochs.map(f64::from))
        } else {
            features.get("steps").or_else(|| siblings.steps(features, self.from_zero))
        };
        known.map(|total| total.max(self.done()))
    }

    fn course(&self, total: f64, elapsed: f64) -> Course {
        let marks = self.marks.iter().map(|(u, t)| (u - self.before, *t)).collect();
        Course { marks, total: total - self.before, elapsed }
    }

    fn shown(&self, total: Option<f64>) -> Progress {
        let course = self.course(total.unwrap_or(self.done()), 0.0);
        // Whole numbers: units are counted.
        let whole = |v: f64| v.round().max(0.0) as u64;
        Progress {
            unit: if self.epochs { "epochs" } else { "steps" },
            done: whole(self.done()),
            total: total.map(whole),
            seconds_each: progress::per_unit(&course),
            at: self.marks.last().map_or(0.0, |m| m.1),
        }
    }
}

/// What the runs of a job that are over tell of those that are not.
#[derive(Debug, Clone, Default)]
pub struct Siblings {
    /// Whether each was ended early, and the seconds of its last attempt.
    pub over: Vec<(bool, f64)>,
    /// The last step of those that succeeded, and their epochs where these are known.
    ends: Vec<(i64, Option<f64>)>,
}

impl Siblings {
    /// Of a job.
    #[must_use]
    pub fn of(job: &str, state: &State) -> Self {
        let mut found = Self::default();
        let mine = state.runs.values().filter(|r| *r.spec.job.job == *job && r.reused_from.is_none());
        for run in mine.filter(|r| matches!(r.status, RunStatus::Succeeded | RunStatus::Pruned)) {
            let pruned = run.status == RunStatus::Pruned;
            let took = run.attempts.last().and_then(|a| a.started_at.zip(a.ended_at)).map(|(start, end)| end.since(start));
            found.over.extend(took.map(|t| (pruned, t.as_secs_f64())));
            let last = run.metrics.values().filter_map(|m| m.step).max().filter(|_| !pruned);
            found.ends.extend(last.map(|step| (step, work::features(&run.spec).get("epochs"))));
        }
        found
    }

    /// Finished runs of the job end at a step that is their epochs times a number, or the same for all.
    fn steps(&self, features: &Features, from_zero: i64) -> Option<f64> {
        let end = |step: &i64| (step + from_zero) as f64;
        let same = |all: &[f64]| all.first().copied().filter(|first| all.iter().all(|v| (v - first).abs() <= 0.01 * first.abs()));
        let ratios: Vec<f64> = self.ends.iter().filter_map(|(step, epochs)| epochs.map(|e| end(step) / e)).collect();
        match features.get("epochs").filter(|_| ratios.len() == self.ends.len()) {
            Some(epochs) => same(&ratios).map(|r| r * epochs),
            None => same(&self.ends.iter().map(|(step, _)| end(step)).collect::<Vec<_>>()),
        }
    }
}
