//! What is wanted against what is recorded: the plan.
//!
//! In: [`Desired`] runs, [`State`], finished work of the past, drift of outputs, rates and limits. Out: [`Plan`]. Must never look
//! at files or the clock: `now` comes in.

pub mod change;
pub mod judge;
pub mod learned;
pub mod outlook;
pub mod plan;
pub mod reasons;
pub mod select;
pub mod sweep_price;
mod sweeps;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::base::{Address, Digest, Fingerprint, Timestamp};
use crate::check::Verdict;
use crate::check::policy::Policy;
use crate::expand::Desired;
use crate::expand::domain::Domain;
use crate::price::Rates;
use crate::queue::{Limits, Quotas, Treasury};
use crate::record::{Exposure, Finished, OutputRecord, RunRecord, RunSpec, RunStatus, Sample, State, Tally};
use crate::spec::types::Project;

use sweeps::Known;

pub use plan::{Action, Drift, Held, Origin, Plan, Planned, Reason};

/// Finished work that is no longer in the state.
pub trait History {
    /// What a succeeded run with this fingerprint left.
    fn finished(&self, fingerprint: &Fingerprint) -> Option<Finished>;
    /// The last ended attempts of `workflow/job`, newest first.
    fn samples(&self, _: &str) -> Vec<Sample> {
        Vec::new()
    }
    /// The last whole runs of a model type, newest first.
    fn of_model(&self, _: &str) -> Vec<Sample> {
        Vec::new()
    }
    /// How long attempts ran and how often they were taken away.
    fn exposures(&self) -> Vec<Exposure> {
        Vec::new()
    }
}

/// No history.
impl History for () {
    fn finished(&self, _: &Fingerprint) -> Option<Finished> {
        None
    }
}

/// Everything that a plan is made from.
pub struct Request<'a> {
    /// What the files want.
    pub desired: &'a Desired,
    /// What is recorded.
    pub state: &'a State,
    /// Finished work of the past.
    pub history: &'a dyn History,
    /// Outputs of recorded runs that are not as they were left.
    pub drift: &'a [Drift],
    /// True when these outputs can be put back from the store.
    pub restorable: &'a dyn Fn(&[OutputRecord]) -> bool,
    /// The project document.
    pub project: Option<&'a Project>,
    /// Rates.
    pub rates: &'a Rates,
    /// What was spent towards each budget.
    pub treasury: &'a Treasury,
    /// Who plans, and would pay.
    pub user: &'a Arc<str>,
    /// The pool.
    pub limits: &'a Limits,
    /// Most that one run may have where it runs (a namespace's LimitRange).
    pub ceiling: &'a Quotas,
    /// What helps when the pool is too small for a run.
    pub pool_hint: &'a str,
    /// Where runs run.
    pub backend: &'a str,
    /// Which state it is.
    pub lineage: &'a str,
    /// Its serial number.
    pub serial: u64,
    /// When the plan is made.
    pub now: Timestamp,
    /// Files that were planned: runs of theirs that are in no file any more are cancelled or forgotten.
    pub files: &'a FxHashSet<Arc<str>>,
    /// True when the whole project was planned, so that files that are gone count too.
    pub whole: bool,
    /// Which actions are wanted.
    pub select: &'a select::Selection,
    /// The rules that the plan is held to.
    pub policies: &'a [Policy],
    /// Further verdicts (limits of the namespace).
    pub verdicts: Vec<Verdict>,
    /// Templates that were left out.
    pub templates: Vec<Arc<str>>,
}

/// Makes the plan.
#[must_use]
pub fn plan(request: &Request<'_>) -> Plan {
    let mut differ = Differ::new(request);
    for (job, range) in request.desired.jobs.iter().map(|j| (j, j.runs.clone())) {
        let before = differ.changed;
        for run in request.desired.runs.get(range).unwrap_or_default() {
            differ.run(run);
        }
        if differ.changed > before {
            differ.changed_jobs.insert(Arc::clone(&job.address));
        }
    }
    differ.gone();
    let Differ { mut actions, unchanged, in_progress, kept, .. } = differ;
    request.select.keep(&mut actions, request.desired, request.state);
    outlook::complete(request, actions, outlook::Kept { unchanged, in_progress, runs: kept })
}

struct Differ<'a> {
    request: &'a Request<'a>,
    by_fingerprint: Option<FxHashMap<Fingerprint, &'a RunRecord>>,
    drift: FxHashMap<&'a Address, Vec<&'a Drift>>,
    new: Arc<[Reason]>,
    actions: Vec<Planned>,
    changed_jobs: FxHashSet<Arc<str>>,
    changed: usize,
    unchanged: usize,
    in_progress: usize,
    kept: Vec<&'a RunRecord>,
    tallies: Option<BTreeMap<&'a str, Tally>>,
    domains: FxHashMap<Arc<str>, Option<Domain>>,
    /// Searching jobs whose trials are other ones now.
    retemplated: FxHashSet<Arc<str>>,
}

impl<'a> Differ<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let mut drift: FxHashMap<&Address, Vec<&Drift>> = FxHashMap::default();
        for d in request.drift {
            drift.entry(&d.address).or_default().push(d);
        }
        Self {
            request,
            by_fingerprint: None,
            drift,
            new: vec![Reason { key: "new".to_owned(), before: None, after: None }].into(),
            actions: Vec::new(),
            changed_jobs: FxHashSet::default(),
            changed: 0,
            unchanged: 0,
            in_progress: 0,
            kept: Vec::new(),
            tallies: None,
            domains: FxHashMap::default(),
            retemplated: FxHashSet::default(),
        }
    }

    fn act(&mut self, spec: &Arc<RunSpec>, action: Action, origin: Origin, reasons: Arc<[Reason]>) {
        let address = spec.address.clone();
        self.changed += usize::from(action.runs());
        self.actions.push(Planned {
            address,
            action,
            origin,
            reasons,
            spec: Some(Arc::clone(spec)),
            result: None,
            estimate: None,
            start: None,
            hold: None,
        });
    }

    fn run(&mut self, spec: &Arc<RunSpec>) {
        let request = self.request;
        match request.state.runs.get(&spec.address) {
            None => match self.finished(spec) {
                Some(result) => self.reuse(spec, result, Arc::clone(&self.new), Origin::Edit),
                None => self.act(spec, Action::Create, Origin::Edit, Arc::clone(&self.new)),
            },
            Some(record) => match self.filled(spec, record) {
                Known::Misfit(reasons) => self.act(spec, Action::Rerun, Origin::Edit, reasons.into()),
                Known::Same(known) if record.spec.fingerprint == known.fingerprint => self.same(&known, record),
                Known::Same(known) => self.different(spec, &known, record),
            },
        }
    }

    /// The result is still the wanted one.
    fn same(&mut self, spec: &Arc<RunSpec>, record: &'a RunRecord) {
        match record.status {
            RunStatus::Succeeded => self.succeeded(spec, record),
            RunStatus::Pruned => self.keep(record),
            RunStatus::Unneeded => self.unneeded(spec, record),
            RunStatus::Failed if self.is_tolerated(spec) => self.tolerated(spec, record),
            RunStatus::Failed | RunStatus::Cancelled | RunStatus::Skipped => {
                self.act(spec, Action::Rerun, Origin::Drift, vec![last(record)].into())
            }
            _ if record.cancel_requested => self.act(spec, Action::Rerun, Origin::Drift, vec![last(record)].into()),
            _ => {
                let reasons = reasons::of_settings(&record.spec, spec);
                if reasons.is_empty() {
                    self.unchanged += 1;
                    self.in_progress += 1;
                } else {
                    self.act(spec, Action::Update, Origin::Edit, reasons.into());
                }
            }
        }
    }

    /// It is over, and as wanted.
    fn keep(&mut self, record: &'a RunRecord) {
        self.unchanged += 1;
        self.kept.push(record);
    }

    fn succeeded(&mut self, spec: &Arc<RunSpec>, record: &'a RunRecord) {
        let Some(drift) = self.drift.get(&spec.address) else {
            return self.keep(record);
        };
        let reasons: Vec<Reason> = drift
            .iter()
            .map(|d| Reason { key: format!("outputs.{}", d.path), before: Some("recorded".to_owned()), after: Some(d.what.clone()) })
            .collect();
        if (self.request.restorable)(&record.outputs) {
            self.reuse(spec, Finished::of(record), reasons.into(), Origin::Drift);
        } else {
            self.act(spec, Action::Rerun, Origin::Drift, reasons.into());
        }
    }

    /// Something that makes the result is another. `known` is the wanted run with the params that an open trial had.
    fn different(&mut self, spec: &Arc<RunSpec>, known: &RunSpec, record: &'a RunRecord) {
        let mut reasons = reasons::of_result(&record.spec, known);
        if spec.is_open() {
            self.retemplated.insert(Arc::clone(&spec.job.job));
        }
        let mut origin = Origin::Edit;
        let gone = record.spec.job.needs.iter().filter(|n| !spec.job.needs.contains(n)).map(|n| Reason {
            key: format!("needs.{n}"),
            before: Some("needed".to_owned()),
            after: None,
        });
        let added = spec.job.needs.iter().filter(|n| !record.spec.job.needs.contains(n)).map(|n| Reason {
            key: format!("needs.{n}"),
            before: None,
            after: Some("needed".to_owned()),
        });
        let needs: Vec<Reason> = gone.chain(added).collect();
        if reasons.is_empty() && needs.is_empty() {
            origin = Origin::Downstream;
            let changed = spec.job.needs.iter().filter(|n| self.changed_jobs.contains(*n));
            reasons.extend(changed.map(|n| Reason { key: format!("needs.{n}"), before: None, after: Some("changes".to_owned()) }));
            if reasons.is_empty() {
                reasons.push(Reason { key: "needs".to_owned(), before: None, after: Some("another result".to_owned()) });
            }
        }
        reasons.extend(needs);
        match self.finished(spec) {
            Some(result) => {
                self.reuse(spec, result, reasons.into(), origin);
                // What is downstream has another result to start from, though nothing runs here.
                self.changed += 1;
            }
            None => self.act(spec, Action::Rerun, origin, reasons.into()),
        }
    }

    fn reuse(&mut self, spec: &Arc<RunSpec>, result: Finished, reasons: Arc<[Reason]>, origin: Origin) {
        self.act(spec, Action::Reuse, origin, reasons);
        if let Some(planned) = self.actions.last_mut() {
            planned.result = Some(Box::new(result));
        }
    }

    /// An equal run that succeeded: in the state under another address, or in history.
    fn finished(&mut self, spec: &RunSpec) -> Option<Finished> {
        let state = self.request.state;
        let index = self.by_fingerprint.get_or_insert_with(|| {
            state.runs.values().filter(|r| r.status == RunStatus::Succeeded).map(|r| (r.spec.fingerprint, r)).collect()
        });
        let known = index.get(&spec.fingerprint).map(|record| Finished::of(record));
        let usable = |f: &Finished| !f.is_empty() && (self.request.restorable)(&f.outputs);
        known.filter(usable).or_else(|| self.request.history.finished(&spec.fingerprint).filter(usable))
    }

    /// Runs that came from another file, named by a person, are not this plan's to end.
    fn in_scope(&self, record: &RunRecord) -> bool {
        match &record.spec.job.file {
            Some(file) if self.request.files.contains(file) => true,
            Some(file) => self.request.whole && (file.starts_with("workflows/") || &**file == "oppen.yaml"),
            None => self.request.whole,
        }
    }

    /// Runs of the state that no file wants any more.
    fn gone(&mut self) {
        let wanted: FxHashSet<&Address> = self.request.desired.runs.iter().map(|r| &r.address).collect();
        let reasons: Arc<[Reason]> = vec![Reason { key: "gone".to_owned(), before: Some("in the files".to_owned()), after: None }].into();
        for record in self.request.state.runs.values() {
            let address = &record.spec.address;
            let in_scope = self.in_scope(record);
            if !in_scope || wanted.contains(address) {
                continue;
            }
            if self.is_worth_keeping(record) {
                self.unchanged += 1;
                self.in_progress += usize::from(!record.status.is_terminal());
                continue;
            }
            let action = if record.status.is_terminal() { Action::Forget } else { Action::Cancel };
            self.actions.push(Planned {
                address: address.clone(),
                action,
                origin: Origin::Edit,
                reasons: Arc::clone(&reasons),
                spec: None,
                result: None,
                estimate: None,
                start: None,
                hold: None,
            });
        }
    }
}

/// How the last planning of a run ended.
fn last(record: &RunRecord) -> Reason {
    let outcome = record.attempts.last().and_then(|a| a.outcome.as_ref());
    let mut words = record.status.word().to_owned();
    match (record.status, outcome, &record.because) {
        (RunStatus::Skipped, _, Some(need)) => words = format!("skipped because of {need}"),
        (RunStatus::Failed, Some(o), _) => {
            words = match (o.exit_code, o.detail.is_empty()) {
                (Some(code), true) => format!("failed with exit code {code}"),
                (_, false) => format!("failed: {}", o.detail),
                (None, true) => "failed".to_owned(),
            };
        }
        _ => {}
    }
    Reason { key: "last".to_owned(), before: Some(words), after: None }
}

/// Digest of the wanted runs.
fn base_digest(desired: &Desired) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for run in &desired.runs {
        hasher.update(run.address.as_str().as_bytes()).update(&run.fingerprint.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// Digest of what the state says of each run.
fn state_digest(state: &State) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for run in state.runs.values() {
        hasher.update(run.spec.address.as_str().as_bytes()).update(&run.spec.fingerprint.0).update(run.status.word().as_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}
