//! Sweeps as they stand: counts, money, the best trials, and the way to the best value.
//!
//! In: the state, rates, what the ledger has posted to a sweep's own limit, a time. Out: an [`Overview`] a sweep (or matrix with a
//! metric), and its [`Trial`]s. Must never decide anything: which value is best is `needs.JOB.best`'s rule.

pub mod compare;
pub mod forest;
pub mod importance;
pub mod page;
pub mod plots;
pub mod table;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::chart::{Across, Chart, Mark, Unit};
use crate::base::{Address, Millis, Money, Timestamp, Value};
use crate::diff::outlook;
use crate::expand::{late, template};
use crate::price::Rates;
use crate::record::{Goal, JobSpec, MetricGoal, RunRecord, RunStatus, State, Tally};

/// Most trials of an overview's list of the best.
pub const TOP: usize = 10;

/// What is needed to judge sweeps beside the state.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// Prices.
    pub rates: &'a Rates,
    /// Posted to the limits of sweeps, by `workflow/job`: trials that are run anew have been paid for before, too.
    pub posted: &'a BTreeMap<Arc<str>, Money>,
    /// The time.
    pub now: Timestamp,
}

/// How one sweep stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// `workflow/job`.
    pub sweep: Arc<str>,
    /// How its trials are found: the method where the trials are decided as it runs, else `sweep`, or `matrix`.
    pub method: &'static str,
    /// By what they compare; without it nothing is best.
    pub metric: Option<MetricGoal>,
    /// How many there are.
    pub trials: usize,
    /// The same by where they stand.
    pub counts: Tally,
    /// Who paused it.
    pub paused: Option<Arc<str>>,
    /// What it cost so far; none is unpriced, never zero dollars.
    pub spent: Option<Money>,
    /// Set aside for live trials, or thought to be their cost.
    pub held: Money,
    /// What it may cost.
    pub max_cost: Option<Money>,
    /// The best trial, as `needs.JOB.best` has it.
    pub best: Option<Trial>,
    /// The best value after each trial with a result, in the order in which they ended.
    pub curve: Vec<Point>,
    /// Trials with a live attempt.
    pub live: Vec<Trial>,
    /// The best trials, at most [`TOP`].
    pub top: Vec<Trial>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Its name.
    pub address: Address,
    /// Where it stands.
    pub status: RunStatus,
    /// Last value of the metric.
    pub value: Option<f64>,
    /// The step that it belongs to.
    pub step: Option<i64>,
    /// What it cost so far; none is unpriced.
    pub spent: Option<Money>,
    /// How long its last attempt ran; in JSON as `seconds`.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub took: Option<Millis>,
    /// When its last attempt started.
    #[serde(serialize_with = "as_time")]
    pub started: Option<Timestamp>,
    /// When it was over.
    #[serde(serialize_with = "as_time")]
    pub ended: Option<Timestamp>,
    /// What it tries; members of groups are called `group.member`.
    #[serde(serialize_with = "as_mapping")]
    pub params: Vec<(Arc<str>, Value)>,
    /// How its params were found.
    pub why: Option<Arc<str>>,
    /// Why it was ended early, or did not start.
    pub because: Option<Arc<str>>,
}

/// One step of the way to the best value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// How many trials had a result.
    pub results: usize,
    /// The trial that was the last of them.
    pub address: Address,
    /// When it ended.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Its value.
    pub value: f64,
    /// The best value up to then.
    pub best: f64,
}

fn as_mapping<S: Serializer>(params: &[(Arc<str>, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    template::nested(params.iter().map(|(k, v)| (k, v))).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde wants it so")]
fn as_seconds<S: Serializer>(took: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    took.map(Millis::as_secs_f64).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde wants it so")]
fn as_time<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|t| t.to_string()).serialize(serializer)
}

fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// True for a job whose runs compare: a sweep, or a matrix with a metric.
#[must_use]
pub fn compares(job: &JobSpec) -> bool {
    job.sweep.is_some() || (job.many && job.metric.is_some())
}

/// All sweeps and matrices with a metric, as `workflow/job`.
#[must_use]
pub fn names(state: &State) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = Vec::new();
    for record in state.runs.values().filter(|r| compares(&r.spec.job)) {
        if all.last() != Some(&record.spec.job.job) {
            all.push(Arc::clone(&record.spec.job.job));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// How some sweeps stand, in one pass over the state. A name that is no sweep has no overview.
#[must_use]
pub fn overviews(state: &State, jobs: &[Arc<str>], ground: Ground<'_>) -> Vec<Overview> {
    let groups = groups(state, jobs);
    jobs.iter().filter_map(|job| overview(state, groups.get(&**job)?, ground)).collect()
}

/// The records of a sweep's trials, by number.
#[must_use]
pub fn records<'s>(state: &'s State, job: &Arc<str>) -> Vec<&'s RunRecord> {
    groups(state, std::slice::from_ref(job)).into_values().flatten().collect()
}

/// All trials of a sweep, by number.
#[must_use]
pub fn trials(state: &State, job: &Arc<str>, ground: Ground<'_>) -> Vec<Trial> {
    let groups = groups(state, std::slice::from_ref(job));
    groups.values().flatten().map(|r| trial(r, ground)).collect()
}

/// The best trials of a sweep, best first: of those that succeeded, or of all with a value while none has.
#[must_use]
pub fn best(state: &State, job: &Arc<str>, most: usize, ground: Ground<'_>) -> Vec<Trial> {
    let groups = groups(state, std::slice::from_ref(job));
    groups.values().flat_map(|runs| ranked(runs, most)).map(|r| trial(r, ground)).collect()
}

/// Runs by job, those of a job by number.
fn groups<'s>(state: &'s State, jobs: &[Arc<str>]) -> BTreeMap<&'s str, Vec<&'s RunRecord>> {
    let wanted: BTreeSet<&str> = jobs.iter().map(|j| &**j).collect();
    let mut groups: BTreeMap<&str, Vec<&RunRecord>> = BTreeMap::new();
    for record in state.runs.values().filter(|r| compares(&r.spec.job) && wanted.contains(&*r.spec.job.job)) {
        groups.entry(&record.spec.job.job).or_default().push(record);
    }
    let number = |r: &RunRecord| r.spec.address.key().and_then(|k| k.parse::<u64>().ok());
    groups.values_mut().for_each(|runs| runs.sort_by_key(|r| (number(r), r.seq)));
    groups
}

fn value(record: &RunRecord) -> Option<f64> {
    let metric = record.spec.job.metric.as_ref()?;
    record.metrics.get(metric.name.as_str()).and_then(|m| m.last).filter(|v| v.is_finite())
}

fn ranked<'r>(runs: &[&'r RunRecord], most: usize) -> Vec<&'r RunRecord> {
    let some = late::best(runs).is_some_and(|b| b.status == RunStatus::Succeeded);
    let counts = |r: &&&RunRecord| !some || r.status == RunStatus::Succeeded;
    let mut all: Vec<(f64, &RunRecord)> = runs.iter().filter(counts).filter_map(|r| Some((value(r)?, *r))).collect();
    // Stable: of equal values the earlier number comes first.
    all.sort_by(|(a, r), (b, _)| better(r.spec.job.metric.as_ref(), *a, *b));
    all.into_iter().take(most).map(|(_, r)| r).collect()
}

fn better(metric: Option<&MetricGoal>, a: f64, b: f64) -> Ordering {
    match metric.map(|m| m.goal) {
        Some(Goal::Maximize) => b.total_cmp(&a),
        _ => a.total_cmp(&b),
    }
}

fn spent(record: &RunRecord, ground: Ground<'_>) -> Option<Money> {
    let (spent, _) = outlook::spent(record, ground.rates, ground.now);
    let priced = spent != Money::ZERO || ground.rates.cost(&record.spec.job, ground.now, Millis(0)).is_ok();
    priced.then_some(spent)
}

fn trial(record: &RunRecord, ground: Ground<'_>) -> Trial {
    let last = record.attempts.last();
    let metric = record.spec.job.metric.as_ref().and_then(|m| record.metrics.get(m.name.as_str()));
    Trial {
        address: record.spec.address.clone(),
        status: record.status,
        value: value(record),
        step: record.curve.last().map(|(step, _)| step).or_else(|| metric.and_then(|m| m.step)),
        spent: spent(record, ground),
        took: last.and_then(|a| Some(a.ended_at.unwrap_or(ground.now).since(a.started_at?))),
        started: last.and_then(|a| a.started_at),
        ended: record.ended_at,
        params: record.spec.params.clone(),
        why: record.why.clone(),
        because: record.because.clone(),
    }
}

fn overview(state: &State, runs: &[&RunRecord], ground: Ground<'_>) -> Option<Overview> {
    let job = &runs.first()?.spec.job;
    let mut counts = Tally::default();
    runs.iter().for_each(|r| counts.add(r.status));
    let costs: Vec<Money> = runs.iter().filter_map(|r| spent(r, ground)).collect();
    let sum = (!costs.is_empty()).then(|| costs.into_iter().sum::<Money>());
    let held = |r: &&RunRecord| r.live_attempt().map(|a| a.reserved.unwrap_or_else(|| outlook::spent(r, ground.rates, ground.now).1));
    let top: Vec<Trial> = ranked(runs, TOP).into_iter().map(|r| trial(r, ground)).collect();
    Some(Overview {
        sweep: Arc::clone(&job.job),
        method: match &job.sweep {
            None => "matrix",
            Some(sweep) => sweep.search.as_ref().map_or("sweep", |s| s.method.name()),
        },
        metric: job.metric.clone(),
        trials: runs.len(),
        counts,
        paused: state.sweeps.get(&job.job).and_then(|s| s.paused.clone()),
        spent: ground.posted.get(&job.job).copied().or(sum),
        held: runs.iter().filter_map(held).sum(),
        max_cost: job.sweep.as_ref().and_then(|s| s.max_cost),
        best: top.first().cloned(),
        curve: curve(runs),
        live: runs.iter().filter(|r| r.status.is_live()).map(|r| trial(r, ground)).collect(),
        top,
    })
}

/// The best value after each trial that succeeded with a value.
fn curve(runs: &[&RunRecord]) -> Vec<Point> {
    let done = runs.iter().filter(|r| r.status == RunStatus::Succeeded);
    let mut done: Vec<(Timestamp, f64, &RunRecord)> = done.filter_map(|r| Some((r.ended_at?, value(r)?, *r))).collect();
    done.sort_by_key(|(at, _, _)| *at);
    let mut best: Option<f64> = None;
    let mut points = Vec::with_capacity(done.len());
    for (at, value, record) in done {
        let metric = record.spec.job.metric.as_ref();
        let now = best.filter(|b| better(metric, *b, value).is_le()).unwrap_or(value);
        best = Some(now);
        points.push(Point { results: points.len() + 1, address: record.spec.address.clone(), at, value, best: now });
    }
    points
}

impl Overview {
    /// True when nothing of it waits or runs.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.counts.pending + self.counts.live == 0
    }

    /// The best value so far, over the trials with a result, and their own values.
    #[must_use]
    pub fn chart(&self) -> Chart {
        let at = |p: &Point| f64::from(u32::try_from(p.results).unwrap_or(u32::MAX));
        let name = self.metric.as_ref().map_or("", |m| m.name.as_str());
        let line: Vec<(f64, f64)> = self.curve.iter().map(|p| (at(p), p.best)).collect();
        let dots = self.curve.iter().map(|p| (at(p), p.value, p.address.to_string())).collect();
        let note = match &self.best {
            Some(best) => {
                format!("{name} {} in {}, of {} trials", Unit::Number.show(best.value.unwrap_or_default()), best.address, self.trials)
            }
            None => format!("no result yet, {} trials", self.trials),
        };
        Chart {
            title: format!("Best of {}", self.sweep),
            note,
            across: Across::Values(Unit::Number),
            across_label: "trials with a result".into(),
            up: Unit::Number,
            marks: vec![
                Mark::Line { name: "best so far".into(), points: line, dashed: false, steps: true },
                Mark::Points { name: "trial".into(), points: dots, labelled: false },
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{MetricSummary, RunSpec, SweepSpec};

    fn run(number: u64, status: RunStatus, value: Option<f64>, goal: Goal) -> RunRecord {
        let job = JobSpec {
            job: "w/t".into(),
            many: true,
            metric: Some(MetricGoal { name: "acc".into(), goal }),
            sweep: Some(Arc::new(SweepSpec { max_cost: Some(Money::from_micros(9)), ..SweepSpec::default() })),
            ..JobSpec::default()
        };
        let address = Address::new("w", "t", Some(&number.to_string()));
        let spec = RunSpec { address, job: Arc::new(job), params: vec![("g.x".into(), number.into())], ..RunSpec::default() };
        let mut record = RunRecord::new(Arc::new(spec), 1, 100 - number, Timestamp(0));
        record.status = status;
        // The later the number, the earlier it ended.
        record.ended_at = status.is_terminal().then(|| Timestamp(1000 - i64::try_from(number).unwrap()));
        let summary = MetricSummary { last: value, min: value, max: value, step: Some(4), count: 1 };
        record.metrics.insert("acc".into(), summary);
        record
    }

    fn seen(goal: Goal, runs: &[(u64, RunStatus, Option<f64>)]) -> Overview {
        let mut state = State::default();
        for (number, status, value) in runs {
            let record = run(*number, *status, *value, goal);
            state.runs.insert(record.spec.address.clone(), record);
        }
        let posted = BTreeMap::from([("w/t".into(), Money::from_micros(5))]);
        let ground = Ground { rates: &Rates::default(), posted: &posted, now: Timestamp(5000) };
        overviews(&state, &names(&state), ground).remove(0)
    }

    #[test]
    fn the_best_is_that_of_needs_and_ties_go_to_the_earlier_number() {
        use RunStatus::{Pending, Pruned, Running, Succeeded};
        let runs = [
            (0, Succeeded, Some(0.5)),
            (2, Succeeded, Some(0.7)),
            (10, Succeeded, Some(0.7)),
            (3, Pruned, Some(0.9)),
            (4, Running, Some(0.8)),
            (5, Succeeded, Some(f64::NAN)),
            (6, Succeeded, None),
            (7, Pending, None),
        ];
        let most = seen(Goal::Maximize, &runs);
        let names = |trials: &[Trial]| trials.iter().map(|t| t.address.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&most.top), ["w/t[2]", "w/t[10]", "w/t[0]"]);
        assert_eq!(names(&most.live), ["w/t[4]"]);
        assert_eq!(most.curve.iter().map(|p| (p.value, p.best)).collect::<Vec<_>>(), [(0.7, 0.7), (0.7, 0.7), (0.5, 0.7)]);
        assert_eq!((most.trials, most.counts.succeeded, most.spent), (8, 5, Some(Money::from_micros(5))));
        assert_eq!(seen(Goal::Minimize, &runs).best.unwrap().address.as_str(), "w/t[0]");
        assert_eq!(serde_json::to_value(&most.top[0]).unwrap()["params"], serde_json::json!({"g": {"x": 2}}));

        // Nothing succeeded: what was ended early is the best there is.
        let none = seen(Goal::Maximize, &[(3, Pruned, Some(0.9)), (4, Running, Some(0.8))]);
        assert_eq!((names(&none.top), none.curve.len(), none.is_over()), (vec!["w/t[3]".to_owned(), "w/t[4]".to_owned()], 0, false));
        assert!(none.chart().svg().contains("acc 0.9 in w/t[3], of 2 trials"));
    }
}
