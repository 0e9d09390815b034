//! What is to come, as `oppen cost` tells it: forecasts of what runs, advice on what costs less.
//!
//! In: the store, what is open, prices. Out: [`Forecast`](crate::advise::forecast::Forecast)s, [`Report`]s, a [`Next`]. Must never say other
//! than `cost forecast` and `cost recommend` do, and never read more than a bounded number of runs of a few jobs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Scene;
use super::reading::{Found, Miss, now};
use super::view::Next;
use crate::advise::forecast::metric_of;
use crate::advise::recommend::{self, Report, Subject};
use crate::base::{Money, Timestamp};
use crate::price::Rates;
use crate::record::{JobSpec, RunRecord, RunStatus, State};
use crate::store::{Store, StoreError};

/// Curves that are read of one job; more trials tell little more.
const CURVES: usize = 500;
/// A job with more runs is judged by its last attempts, and its live runs without their siblings.
pub const RUNS: u64 = 2000;
/// Jobs that are looked at, and of these those that are advised on.
const JOBS: usize = 50;
const MOST: usize = 3;
/// Advice is looked for again this often: it changes when runs end, not while they go on.
const ADVISED: Duration = Duration::from_secs(30);

/// Values of a run's metric by step, unknown ones included.
///
/// # Errors
/// When they cannot be read.
pub fn curve(store: &Store, record: &RunRecord) -> Result<Vec<(i64, Option<f64>)>, StoreError> {
    let Some(goal) = metric_of(record) else { return Ok(Vec::new()) };
    let points = store.points(record.spec.address.as_str(), record.generation)?;
    let mine = points.into_iter().filter(|(_, p)| *p.name == *goal.name);
    // Without a step a report is the next one.
    Ok(mine.enumerate().map(|(i, (_, p))| (p.step.unwrap_or(i64::try_from(i + 1).unwrap_or(i64::MAX)), p.value)).collect())
}

/// What would have cost less of a job, with all that the store knows of it; or why nothing can be said. `runs` are its runs, oldest first,
/// and how many the files want.
///
/// # Errors
/// When the store cannot be read.
pub fn advice(
    store: Option<&Store>,
    job: &Arc<JobSpec>,
    (runs, wanted): (&[&RunRecord], usize),
    rates: &Rates,
    now: Timestamp,
) -> Result<Result<Report, String>, StoreError> {
    let over = |r: &&RunRecord| matches!(r.status, RunStatus::Succeeded | RunStatus::Pruned);
    let mut curves = Vec::with_capacity(runs.len());
    for (i, run) in runs.iter().enumerate() {
        let kept = run.curve.points();
        curves.push(match store.filter(|_| kept.is_empty() && i < CURVES && over(run)) {
            Some(store) => curve(store, run)?,
            None => kept.iter().map(|(s, v)| (*s, Some(*v))).collect(),
        });
    }
    let (mut samples, mut points, mut exposures) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(store) = store {
        samples = store.samples(&job.job)?;
        exposures = store.exposures()?;
        if let Some(newest) = runs.iter().copied().filter(|r| over(r)).max_by_key(|r| r.ended_at) {
            points = store.points(newest.spec.address.as_str(), newest.generation)?;
        }
    }
    let subject = Subject { job, runs, wanted, samples: &samples, curves: &curves, points: &points, exposures: &exposures, rates, now };
    Ok(recommend::of_job(&subject))
}

/// Adds to what is open what is over of the jobs whose live runs are forecast from it: trials that may be ended early, and steps of which only
/// finished runs show how many there are.
///
/// # Errors
/// When the store cannot be read.
pub fn with_siblings(store: &Store, open: &mut State) -> Result<(), StoreError> {
    let prunes = |r: &RunRecord| r.spec.job.sweep.as_ref().and_then(|s| s.search.as_ref()).is_some_and(|s| s.prune.is_some());
    let steps = |r: &RunRecord| r.live_attempt().and_then(|a| a.progress.as_ref()).is_some_and(|p| !p.epochs);
    let live = open.runs.values().filter(|r| r.live_attempt().is_some() && (prunes(r) || steps(r)));
    let mut jobs: Vec<Arc<str>> = live.map(|r| Arc::clone(&r.spec.job.job)).collect();
    jobs.sort_unstable();
    jobs.dedup();
    for job in jobs.iter().take(MOST) {
        if store.counts_of(job)?.values().sum::<u64>() <= RUNS {
            for (address, record) in store.load_job(job)?.runs {
                open.runs.entry(address).or_insert(record);
            }
        }
    }
    Ok(())
}

/// Looks for the advice that saves most.
pub struct Adviser {
    scene: Arc<Scene>,
    last: Option<(Instant, Found<Next>)>,
}

impl Adviser {
    /// Nothing is read yet.
    #[must_use]
    pub const fn new(scene: Arc<Scene>) -> Self {
        Self { scene, last: None }
    }

    /// Of the jobs that have the most money ahead of them; of those that ended last where nothing is open.
    pub fn look(&mut self) -> Found<Next> {
        if let Some((_, found)) = self.last.as_ref().filter(|(at, _)| at.elapsed() < ADVISED) {
            return found.clone();
        }
        let words = |e: StoreError| Miss::Failed(e.to_string());
        let none = |why: &str| Miss::Absent(why.to_owned());
        let store = Store::open_existing(&self.scene.state_dir).map_err(words)?.ok_or_else(|| none("nothing was applied here yet"))?;
        let found = best(&store, &self.scene.rates, now()).map_err(words)?;
        let found = found.map(|next| (next, "oppen cost recommend".into())).ok_or_else(|| none("nothing was found that would cost less"));
        self.last = Some((Instant::now(), found.clone()));
        found
    }
}

fn best(store: &Store, rates: &Rates, now: Timestamp) -> Result<Option<Next>, StoreError> {
    let mut best: Option<Next> = None;
    for job in ahead(store, rates, now)? {
        let few = store.counts_of(&job.job)?.values().sum::<u64>() <= RUNS;
        let state = if few { store.load_job(&job.job)? } else { State::default() };
        let mut runs: Vec<&RunRecord> = state.runs.values().collect();
        runs.sort_by_key(|r| r.seq);
        let Ok(report) = advice(Some(store), &job, (&runs, runs.len()), rates, now)? else { continue };
        // The greatest saving comes first.
        let Some(found) = report.advice.into_iter().find(|a| !a.at_most && !a.settings.is_empty()) else { continue };
        if best.as_ref().is_none_or(|b| b.saves < found.saves) {
            best = Some(Next {
                command: format!("oppen cost recommend {}", job.job),
                saves: found.saves,
                of: report.base,
                job: report.job.to_string(),
                because: found.title,
            });
        }
    }
    Ok(best)
}

/// Jobs worth advice, the dearest first.
fn ahead(store: &Store, rates: &Rates, now: Timestamp) -> Result<Vec<Arc<JobSpec>>, StoreError> {
    let mut open = store.open_jobs(JOBS)?;
    let money = |job: &JobSpec, n: u64| rates.estimate(job, now).cost.map_or(Money::ZERO, |c| c.expected.scale(n, 1));
    open.sort_by_cached_key(|(job, n)| std::cmp::Reverse(money(job, *n)));
    let mut jobs: Vec<Arc<JobSpec>> = open.into_iter().map(|(job, _)| job).collect();
    if jobs.is_empty() {
        jobs = store.ended(JOBS)?.iter().map(|r| Arc::clone(&r.spec.job)).collect();
    }
    let mut seen = BTreeSet::new();
    jobs.retain(|job| seen.insert(Arc::clone(&job.job)));
    jobs.truncate(MOST);
    Ok(jobs)
}
