//! What would have cost less: recommendations from what runs of a job took, used and reported.
//!
//! In: a job, its runs, samples, reported points, prices. Out: [`Report`]: advice with the money that it saves, and what is missing for the rest.
//! Must never claim what the data does not show; a saving is a difference of two prices, never a rule of thumb.
//!
//! The base is what the job's runs cost, each at its own time: a file a kind of advice changes settings, times or which runs there are, and the
//! same runs are priced again. Several kinds together are priced together, so their savings are not added up.

mod batch;
mod change;
pub mod edit;
mod efficiency;
mod gpu;
mod reuse;
mod size;
mod spot;
mod stop;
mod trials;
mod window;
mod zone;

use std::sync::Arc;

use serde::Serialize;

use crate::base::{Millis, Money, Timestamp};
use crate::price::Rates;
use crate::record::{Exposure, JobSpec, MetricPoint, RunRecord, RunStatus, Sample};

pub use change::{Change, Unit};

/// Least saving that is worth words, as a part of the base: one in a hundred.
const LEAST: u64 = 100;

/// Everything that is known of one job.
pub struct Subject<'a> {
    /// Its settings now.
    pub job: &'a Arc<JobSpec>,
    /// Its runs in the state.
    pub runs: &'a [&'a RunRecord],
    /// How many the files want: the base of an estimate, where none has run.
    pub wanted: usize,
    /// Its ended attempts, newest first.
    pub samples: &'a [Sample],
    /// Values of its metric by step, for each run of `runs`; empty where there are none.
    pub curves: &'a [Vec<(i64, Option<f64>)>],
    /// Everything that its newest run reported.
    pub points: &'a [(Timestamp, MetricPoint)],
    /// How long attempts ran on each way of buying machines.
    pub exposures: &'a [Exposure],
    /// Prices.
    pub rates: &'a Rates,
    /// When it is asked.
    pub now: Timestamp,
}

/// What advice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Another batch size.
    BatchSize,
    /// Cheap hours.
    OffPeak,
    /// Spot capacity.
    Spot,
    /// An earlier end.
    EarlyStopping,
    /// Time in which what is paid for does nothing.
    Efficiency,
    /// Fewer cores.
    Cpu,
    /// Less memory.
    Memory,
    /// Fewer GPUs.
    Gpus,
    /// Another GPU type.
    GpuType,
    /// Another zone.
    Zone,
    /// Fewer trials.
    Trials,
    /// Results that are there already.
    Reuse,
}

/// How sure advice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// It rests on an assumption that the data cannot test.
    Low,
    /// Measured, on few runs or beside what will be run.
    Medium,
    /// Measured on runs like those to come.
    High,
}

/// One setting of the files: a path below the workflow's document and the value to write there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `jobs.train.resources.cpu`.
    pub path: Vec<String>,
    /// As it is written in YAML.
    pub value: String,
}

/// One recommendation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// What it is about.
    pub kind: Kind,
    /// In a sentence, what to do.
    pub title: String,
    /// What the runs would have cost less.
    pub saves: Money,
    /// How that was found, with the figures.
    pub computed: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// Why not surer.
    pub because: String,
    /// What else would change.
    pub side_effects: Vec<String>,
    /// The settings to write; none where the code must change, or another job.
    pub settings: Vec<Setting>,
    /// True when `saves` is all that could be saved at the most.
    pub at_most: bool,
    /// For pricing it anew.
    #[serde(skip)]
    pub change: Change,
}

/// A kind of advice that the data does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// What it would be about.
    pub kind: Kind,
    /// The measurement that is missing.
    pub what: String,
}

/// What a kind of advice comes to.
pub enum Found {
    /// Advice.
    Do(Box<Advice>),
    /// Not to be known.
    Missing(String),
    /// Nothing to save.
    Nothing,
}

/// The answer for one job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// `workflow/job`.
    pub job: Arc<str>,
    /// Runs that the base counts.
    pub runs: usize,
    /// What they cost, priced as they ran.
    pub base: Money,
    /// True when they have not run: the base is the estimate.
    pub estimated: bool,
    /// Advice, the greatest saving first.
    pub advice: Vec<Advice>,
    /// What all advice with settings saves together, priced at once.
    pub together: Money,
    /// What cannot be known.
    pub missing: Vec<Missing>,
}

/// A subject with its base.
pub struct Case<'a> {
    /// What is known.
    pub subject: &'a Subject<'a>,
    /// The base: a unit each whole run.
    pub units: Vec<Unit>,
    /// What it costs.
    pub base: Money,
    /// Whether it only is an estimate.
    pub estimated: bool,
}

impl Case<'_> {
    /// What a change saves; none where it has no price or saves nothing worth words.
    fn saves(&self, change: &Change) -> Option<Money> {
        let with = change.price(self.subject.rates, self.subject.job, &self.units)?;
        let saved = self.base - with;
        (saved > Money::ZERO && saved >= self.base.scale(1, LEAST)).then_some(saved)
    }

    /// Settings below the job.
    fn setting(&self, path: &[&str], value: impl Into<String>) -> Setting {
        let (_, job) = self.subject.job.job.split_once('/').unwrap_or(("", &self.subject.job.job));
        let path = ["jobs", job].iter().chain(path).map(|p| (*p).to_owned()).collect();
        Setting { path, value: value.into() }
    }

    /// Whole attempts.
    fn whole(&self) -> impl Iterator<Item = &Sample> {
        self.subject.samples.iter().filter(|s| s.is_whole())
    }
}

/// All advice for a job. None where it has no runs, no history and no estimate, or no price: then `Err` says what is missing.
///
/// # Errors
/// Why nothing can be said.
pub fn of_job(subject: &Subject<'_>) -> Result<Report, String> {
    let (units, estimated) = base_units(subject)?;
    let base = Change::default().price(subject.rates, subject.job, &units).ok_or("it has no price: see `oppen rates check`")?;
    let case = Case { subject, units, base, estimated };
    type Rule = fn(&Case<'_>) -> Found;
    let rules: [(Kind, Rule); 12] = [
        (Kind::BatchSize, batch::advise),
        (Kind::OffPeak, window::advise),
        (Kind::Spot, spot::advise),
        (Kind::EarlyStopping, stop::advise),
        (Kind::Efficiency, efficiency::advise),
        (Kind::Cpu, size::cpu),
        (Kind::Memory, size::memory),
        (Kind::Gpus, gpu::count),
        (Kind::GpuType, gpu::kind),
        (Kind::Zone, zone::advise),
        (Kind::Trials, trials::advise),
        (Kind::Reuse, reuse::advise),
    ];
    let (mut advice, mut missing) = (Vec::new(), Vec::new());
    for (kind, rule) in rules {
        match rule(&case) {
            Found::Do(found) => advice.push(*found),
            Found::Missing(what) => missing.push(Missing { kind, what }),
            Found::Nothing => {}
        }
    }
    advice.sort_by(|a, b| b.saves.cmp(&a.saves).then(a.kind.cmp(&b.kind)));
    let together = together(&case, &advice);
    Ok(Report { job: Arc::clone(&subject.job.job), runs: case.units.len(), base, estimated, advice, together, missing })
}

/// All that can be written into the files, priced at once.
fn together(case: &Case<'_>, advice: &[Advice]) -> Money {
    let changes = advice.iter().filter(|a| !a.settings.is_empty() && !a.at_most).map(|a| &a.change);
    let all = changes.fold(Change::default(), |all, one| all.and(one));
    let with = all.price(case.subject.rates, case.subject.job, &case.units);
    with.map_or(Money::ZERO, |with| (case.base - with).max(Money::ZERO))
}

/// What the job's runs took, each by its last whole attempt; else what they are thought to take.
fn base_units(subject: &Subject<'_>) -> Result<(Vec<Unit>, bool), String> {
    let mut units = Vec::new();
    for (index, run) in subject.runs.iter().enumerate().filter(|(_, r)| r.status == RunStatus::Succeeded || r.status == RunStatus::Pruned) {
        let ran = run.attempts.last().and_then(|a| a.started_at.zip(a.ended_at));
        let Some((start, end)) = ran.filter(|(s, e)| e > s) else { continue };
        units.push(Unit { run: Some(index), start, length: end.since(start) });
    }
    if !units.is_empty() {
        return Ok((units, false));
    }
    // Runs that left the state are in the samples.
    let whole: Vec<&Sample> = subject.samples.iter().filter(|s| s.is_whole()).take(1).collect();
    if let Some(sample) = whole.first() {
        let start = Timestamp(sample.at.0.saturating_sub_unsigned(sample.time.0));
        return Ok((vec![Unit { run: None, start, length: sample.time }], false));
    }
    let length = subject.job.estimate.time.filter(|t| *t > Millis(0));
    let length = length.ok_or("no run of it has ended, and it has no `estimate`: there is nothing to go by")?;
    let units = (0..subject.runs.len().max(subject.wanted).max(1)).map(|_| Unit { run: None, start: subject.now, length });
    Ok((units.collect(), true))
}

/// Whole percents of a share.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.005 { "under 1%".to_owned() } else { format!("{:.0}%", share * 100.0) }
}

/// `1 run`, `5 runs`.
fn runs(n: usize) -> String {
    if n == 1 { "1 run".to_owned() } else { format!("{n} runs") }
}

/// More runs, more confidence: `few` for medium, `many` for high.
const fn by_count(n: usize, few: usize, many: usize) -> Confidence {
    if n >= many {
        Confidence::High
    } else if n >= few {
        Confidence::Medium
    } else {
        Confidence::Low
    }
}

#[cfg(test)]
mod tests;
