//! What the checks say of files alone, and whether an edit made it worse.
//!
//! In: one side's wanted runs, rates, budgets, limits. Out: sums and verdicts, as if everything started at one moment and nothing was
//! spent yet. Must never look at a state.

use std::cell::RefCell;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::base::{Money, Timestamp};
use crate::check::policy::{self, Policy};
use crate::check::{self, BudgetLine, Caps, Sum, Sums, Verdict};
use crate::expand::{Desired, Rule};
use crate::price::Rates;
use crate::queue::{Limits, Meters, Treasury};
use crate::record::{Estimate, JobSpec, Money95, Payer, RunSpec};
use crate::spec::types::Project;

/// One side of a comparison.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// What its files want.
    pub desired: &'a Desired,
    /// Its project document.
    pub project: Option<&'a Project>,
    /// Its rates.
    pub rates: &'a Rates,
    /// Its budgets.
    pub rules: &'a [Rule],
    /// Its pool, as far as it is declared.
    pub limits: &'a Limits,
    /// The rules of the edit: those that hold once it is merged.
    pub policies: &'a [Policy],
    /// Whether a run without a price is refused.
    pub unpriced_blocks: bool,
}

impl Side<'_> {
    /// What its sweeps may spend.
    #[must_use]
    pub fn caps(&self) -> Caps {
        Caps::new(self.rules.iter().map(|r| (r, Money::ZERO)))
    }
}

/// Estimates of jobs, each made once.
#[derive(Default)]
pub struct Prices<'a> {
    rates: Option<&'a Rates>,
    at: Timestamp,
    known: RefCell<FxHashMap<*const JobSpec, Arc<Estimate>>>,
}

impl<'a> Prices<'a> {
    /// Prices at a time.
    #[must_use]
    pub fn new(rates: &'a Rates, at: Timestamp) -> Self {
        Self { rates: Some(rates), at, known: RefCell::default() }
    }

    /// The estimate of a run of a job.
    #[must_use]
    pub fn estimate(&self, job: &Arc<JobSpec>) -> Arc<Estimate> {
        let make = || Arc::new(self.rates.map(|r| r.estimate(job, self.at)).unwrap_or_default());
        Arc::clone(self.known.borrow_mut().entry(Arc::as_ptr(job)).or_insert_with(make))
    }

    /// Its money; none when it has no price.
    #[must_use]
    pub fn of(&self, job: &Arc<JobSpec>) -> Option<Money95> {
        self.estimate(job).cost
    }
}

/// What is to be said of one side.
pub struct Judgement {
    /// All its runs.
    pub total: Sum,
    /// Its budgets.
    pub budgets: Vec<BudgetLine>,
    /// Its verdicts.
    pub verdicts: Vec<Verdict>,
}

/// How a verdict stands to the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// The base had none like it.
    New,
    /// The base had it, and it was less bad or not the same.
    Worse,
    /// The base had the same.
    Known,
}

/// A verdict with how it stands to the base.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the edit brings it.
    pub news: News,
}

impl Judged {
    /// True when the edit is to be refused for it.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.verdict.blocks && self.news != News::Known
    }
}

/// Prices and checks one side.
#[must_use]
pub fn judge(side: &Side<'_>, at: Timestamp) -> Judgement {
    let prices = Prices::new(side.rates, at);
    let runs: Vec<&RunSpec> = side.desired.runs.iter().map(AsRef::as_ref).collect();
    let estimates: Vec<Arc<Estimate>> = runs.iter().map(|r| prices.estimate(&r.job)).collect();
    let priced: Vec<(&RunSpec, &Estimate)> = runs.iter().zip(&estimates).map(|(r, e)| (*r, &**e)).collect();
    let mut treasury = Treasury::new(side.rates.clone(), side.rules, side.limits.max_concurrent, at);
    treasury.turn(at);
    let nobody: Arc<str> = "".into();
    let (mut total, mut sums) = (Sum::default(), vec![Sums::default(); treasury.accounts().len()]);
    let caps = side.caps();
    for job in &side.desired.jobs {
        let payer = priced.get(job.runs.clone()).unwrap_or_default();
        let full = Sum::of(payer.iter().map(|(_, estimate)| estimate.cost));
        let part = caps.part(&job.address, full);
        total.join(&part);
        let Some((first, _)) = payer.first() else { continue };
        check::count(&treasury, &Payer::of(&first.job, &nobody), &full, &part, &mut sums);
    }
    let budgets = check::budget_lines(treasury.accounts(), &sums);
    let limits = side.project.and_then(|p| p.limits.as_ref());
    let hint = "ask for less, or raise `pool.quotas` in oppen.yaml";
    let mut verdicts = check::pool(side.desired, &runs, side.limits, hint);
    verdicts.extend(check::teams(side.desired, &runs, side.limits));
    verdicts.extend(check::gpu_hours(side.desired, &runs, side.limits, &Meters::new(side.limits, at)));
    verdicts.extend(check::run_limits(side.desired, &runs, limits));
    verdicts.extend(check::prices(side.desired, &runs, side.rates));
    verdicts.extend(check::run_cost(side.desired, &priced, limits));
    verdicts.extend(check::each_run(side.desired, &priced, treasury.accounts()));
    verdicts.extend(policy::judge(side.policies, side.desired, &priced, &total));
    verdicts.extend(check::unpriced(side.desired, &priced, side.unpriced_blocks));
    // Runs without a price are told job by job.
    verdicts.extend(check::budgets(treasury.accounts(), &budgets).into_iter().filter(|v| &*v.rule != "unpriced"));
    Judgement { total, budgets, verdicts }
}

/// The verdicts of the edit, each with how it stands to the base.
#[must_use]
pub fn compare(base: Option<&Judgement>, head: &Judgement) -> Vec<Judged> {
    let news = |verdict: &Verdict| {
        let Some(base) = base else { return News::New };
        let mut like = base.verdicts.iter().filter(|b| is_like(b, verdict) && (b.blocks || !verdict.blocks)).peekable();
        if like.peek().is_none() {
            return News::New;
        }
        // A budget is worse when more is spent of it, or when its limit is lower; not when the edit makes it cheaper.
        let line = |side: &Judgement| side.budgets.iter().find(|l| l.scope == verdict.subject).map(|l| l.total - l.limit);
        match line(base).zip(line(head)) {
            Some((before, after)) if after > before => News::Worse,
            Some(_) => News::Known,
            None if like.any(|b| b.message == verdict.message) => News::Known,
            None => News::Worse,
        }
    };
    head.verdicts.iter().map(|v| Judged { news: news(v), verdict: v.clone() }).collect()
}

/// Verdicts of the base that the edit has none like.
#[must_use]
pub fn resolved(base: &Judgement, head: &Judgement) -> usize {
    base.verdicts.iter().filter(|b| !head.verdicts.iter().any(|h| is_like(b, h))).count()
}

fn is_like(a: &Verdict, b: &Verdict) -> bool {
    a.rule == b.rule && a.subject == b.subject
}
