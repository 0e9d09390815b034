//! Budgets as answers: where each stands, and whether a plan fits.
//!
//! In: accounts, a plan, rates. Out: [`Standing`] and [`Answer`], ready to be written as JSON. Must never count an unknown price as
//! nothing: what has a run without one is not feasible.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::base::money::div_half_even;
use crate::base::{Millis, Money, Timestamp};
use crate::check::{Caps, Sum};
use crate::diff::Plan;
use crate::expand::{OnExceed, Scope};
use crate::price::Rates;
use crate::queue::Account;
use crate::record::{JobSpec, Payer};

/// Where one budget stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// As shown.
    pub name: Arc<str>,
    /// Whose money counts.
    pub scope: Scope,
    /// Posted in the window. Nothing is counted where each run counts for itself.
    pub spent: Money,
    /// Set aside for live attempts.
    pub reserved: Money,
    /// Neither spent nor reserved.
    pub left: Money,
    /// The limit.
    pub limit: Money,
    /// Spent, in tenths of a percent of the limit.
    pub spent_tenths: i64,
    /// Reserved, in tenths of a percent of the limit.
    pub reserved_tenths: i64,
    /// The highest threshold that spending has reached, in percent.
    pub reached: Option<u32>,
    /// `total`, `day`, `week`, `month`, `quarter`.
    pub window: &'static str,
    /// Whose midnight, an IANA name.
    pub timezone: &'static str,
    /// When it begins anew.
    pub next: Option<Timestamp>,
    /// What happens above the limit.
    pub on_exceed: OnExceed,
}

/// Where all budgets stand, in their order.
#[must_use]
pub fn standing(accounts: &[Account]) -> Vec<Standing> {
    accounts.iter().map(one).collect()
}

fn one(a: &Account) -> Standing {
    let spent_tenths = tenths(a.spent, a.rule.limit);
    // As the announcement counts it: whole percents, rounded down.
    let percent = i128::from(a.spent.micros()) * 100 / i128::from(a.rule.limit.micros().max(1));
    Standing {
        name: Arc::clone(&a.rule.name),
        scope: a.rule.scope.clone(),
        spent: a.spent,
        reserved: a.reserved,
        left: a.left(),
        limit: a.rule.limit,
        spent_tenths,
        reserved_tenths: tenths(a.reserved, a.rule.limit),
        reached: a.rule.thresholds.iter().copied().filter(|t| percent >= i128::from(*t)).max(),
        window: a.rule.window.period.word(),
        timezone: a.rule.window.zone.name(),
        next: a.next,
        on_exceed: a.rule.on_exceed,
    }
}

/// Part of a limit in tenths of a percent, half to even.
#[must_use]
pub fn tenths(part: Money, limit: Money) -> i64 {
    div_half_even(i128::from(part.micros()) * 1000, i128::from(limit.micros().max(1)))
}

/// Tenths of a percent as text: `41%`, `102.5%`.
#[must_use]
pub fn percent(tenths: i64) -> String {
    if tenths % 10 == 0 { format!("{}%", tenths / 10) } else { format!("{}.{}%", tenths / 10, (tenths % 10).abs()) }
}

/// Whether a plan fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// True when every limit holds, as far as is expected, and every run has a price.
    pub feasible: bool,
    /// Runs that would start.
    pub runs: usize,
    /// Of these, those without a price.
    pub unpriced: usize,
    /// What they are expected to cost.
    pub expected: Money,
    /// At the most; none where a run has no timeout.
    pub worst: Option<Money>,
    /// Each limit that counts any of them.
    pub limits: Vec<Against>,
    /// Each job: how much of it would fit.
    pub jobs: Vec<Fit>,
}

/// The plan against one limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Against {
    /// As shown.
    pub name: Arc<str>,
    /// True where each run counts for itself: `expected` is that of the dearest.
    pub each_run: bool,
    /// Spent in the window, and expected of what runs.
    pub before: Money,
    /// Expected of what the plan starts.
    pub expected: Money,
    /// The same at the most.
    pub worst: Option<Money>,
    /// The limit.
    pub limit: Money,
    /// `before` and `expected` in tenths of a percent of the limit.
    pub used_tenths: i64,
    /// Runs that count and have no price.
    pub unpriced: usize,
    /// What happens above the limit.
    pub on_exceed: OnExceed,
    /// Whether it holds. What a sweep's own limit does not reach is not needed: that holds.
    pub feasible: bool,
    /// Whether it holds at the worst; none where that is not known.
    pub at_worst: Option<bool>,
}

/// How much of a job would fit, with everything else as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// `workflow/job`.
    pub job: Arc<str>,
    /// Runs that the plan starts.
    pub runs: u64,
    /// The dearest of them.
    pub each: Money,
    /// Runs of that price that would fit.
    pub runs_fit: u64,
    /// Epochs of each run, where they are declared.
    pub epochs: Option<u32>,
    /// Epochs that each of its runs could have.
    pub epochs_fit: Option<u64>,
    /// The limit that allows least.
    pub by: Arc<str>,
}

/// Runs of one job that the plan starts.
struct Group<'a> {
    job: &'a JobSpec,
    payer: Payer,
    start: Timestamp,
    /// What a run is thought to take: declared, or learned.
    time: Option<Millis>,
    /// Money of all of them, and the part that the sweep's `max_cost` lets them spend.
    full: Sum,
    part: Sum,
    dearest: Money,
}

/// A limit with what counts already.
struct Limit {
    name: Arc<str>,
    scope: Scope,
    before: Money,
    limit: Money,
    on_exceed: OnExceed,
}

/// Holds a plan against a limit given, or else against the budgets that it was made with.
#[must_use]
pub fn check(plan: &Plan, rates: &Rates, user: &Arc<str>, given: Option<Money>, now: Timestamp) -> Answer {
    let mut groups = groups(plan, user, now);
    let of_plan = of_plan(plan);
    let caps = Caps::new(plan.rules.iter().zip(of_plan.iter().map(|l| l.before)));
    groups.iter_mut().for_each(|g| g.part = caps.part(&g.job.job, g.full));
    let limits = given.map_or(of_plan, |limit| vec![Limit::given(limit)]);
    let against: Vec<Against> = limits.iter().filter_map(|l| l.against(&groups)).collect();
    let mut all = Sum::default();
    groups.iter().for_each(|g| all.join(&g.part));
    Answer {
        feasible: all.unpriced == 0 && against.iter().all(|a| a.feasible),
        runs: all.runs,
        unpriced: all.unpriced,
        expected: all.expected,
        worst: all.worst,
        jobs: groups.iter().filter_map(|g| g.fit(&groups, &limits, rates)).collect(),
        limits: against,
    }
}

fn groups<'p>(plan: &'p Plan, user: &Arc<str>, now: Timestamp) -> Vec<Group<'p>> {
    let mut groups: Vec<Group<'p>> = Vec::new();
    let mut known: FxHashMap<&str, usize> = FxHashMap::default();
    for run in plan.runs.iter().filter(|r| r.action.runs()) {
        let Some(spec) = &run.spec else { continue };
        let index = *known.entry(&spec.job.job).or_insert(groups.len());
        if index == groups.len() {
            let (payer, start) = (Payer::of(&spec.job, user), run.start.unwrap_or(now));
            let (full, time) = (Sum::default(), run.estimate.as_ref().and_then(|e| e.time));
            groups.push(Group { job: &spec.job, payer, start, time, full, part: full, dearest: Money::ZERO });
        }
        let Some(group) = groups.get_mut(index) else { continue };
        let cost = run.cost();
        group.full.add(cost);
        group.dearest = group.dearest.max(cost.map(|c| c.expected).unwrap_or_default());
    }
    groups
}

fn of_plan(plan: &Plan) -> Vec<Limit> {
    // Lines of the plan are in the order of its rules; budgets of each run have none.
    let mut lines = plan.budgets.iter();
    let limit = |rule: &crate::expand::Rule| {
        let before = if rule.scope.is_each_run() { Money::ZERO } else { lines.next().map(|l| l.spent + l.running).unwrap_or_default() };
        Limit { name: Arc::clone(&rule.name), scope: rule.scope.clone(), before, limit: rule.limit, on_exceed: rule.on_exceed }
    };
    plan.rules.iter().map(limit).collect()
}

impl Limit {
    fn given(limit: Money) -> Self {
        Self { name: "limit given".into(), scope: Scope::Project, before: Money::ZERO, limit, on_exceed: OnExceed::Stop }
    }

    fn against(&self, groups: &[Group<'_>]) -> Option<Against> {
        let mine: Vec<&Group<'_>> = groups.iter().filter(|g| self.scope.covers(&g.payer)).collect();
        if mine.is_empty() {
            return None;
        }
        let each_run = self.scope.is_each_run();
        let mut all = Sum::default();
        mine.iter().for_each(|g| all.join(self.of(g)));
        let (expected, worst) = if each_run {
            let worst = mine.iter().map(|g| g.full.worst.map(|w| w.scale(1, g.runs().max(1))));
            (mine.iter().map(|g| g.dearest).max().unwrap_or_default(), worst.collect::<Option<Vec<_>>>().and_then(|w| w.into_iter().max()))
        } else {
            (all.expected, all.worst)
        };
        let unpriced = all.unpriced;
        let fits = |plan: Money| self.before + plan <= self.limit;
        Some(Against {
            name: Arc::clone(&self.name),
            each_run,
            before: self.before,
            expected,
            worst,
            limit: self.limit,
            used_tenths: tenths(self.before + expected, self.limit),
            unpriced,
            on_exceed: self.on_exceed,
            feasible: unpriced == 0 && (fits(expected) || self.on_exceed == OnExceed::Cap),
            at_worst: worst.map(fits),
        })
    }

    /// What counts of a group: all of it where this is the sweep's own limit.
    fn of<'g>(&self, group: &'g Group<'_>) -> &'g Sum {
        if self.on_exceed == OnExceed::Cap { &group.full } else { &group.part }
    }

    /// What is left for a group, with everything else as planned.
    fn room(&self, group: &Group<'_>, groups: &[Group<'_>]) -> Money {
        let all: Money = groups.iter().filter(|g| self.scope.covers(&g.payer)).map(|g| self.of(g).expected).sum();
        (self.limit - self.before - (all - self.of(group).expected)).max(Money::ZERO)
    }
}

impl Group<'_> {
    fn runs(&self) -> u64 {
        u64::try_from(self.full.runs).unwrap_or(u64::MAX)
    }

    fn fit(&self, groups: &[Group<'_>], limits: &[Limit], rates: &Rates) -> Option<Fit> {
        if self.full.unpriced > 0 || self.dearest == Money::ZERO {
            return None;
        }
        let covering = || limits.iter().filter(|l| l.scope.covers(&self.payer));
        // What each of its runs may cost, and how many there may be, by the limit that allows least.
        let shared = covering().filter(|l| !l.scope.is_each_run()).map(|l| (l.room(self, groups), l)).min_by_key(|(room, _)| *room);
        let alone = covering().filter(|l| l.scope.is_each_run()).map(|l| (l.limit, l)).min_by_key(|(limit, _)| *limit);
        let share = shared.map(|(room, l)| (room.scale(1, self.runs().max(1)), l));
        let (each, by) = [share, alone].into_iter().flatten().min_by_key(|(money, _)| *money)?;
        let count = |room: Money| u64::try_from(room.micros() / self.dearest.micros().max(1)).unwrap_or(0);
        let runs_fit = match alone {
            Some((limit, _)) if limit < self.dearest => 0,
            _ => shared.map_or(self.runs(), |(room, _)| count(room)),
        };
        let per_epoch = self.job.estimate.epochs.filter(|n| *n > 0).zip(self.time).map(|(n, t)| t.0 / u64::from(n));
        let epochs_fit = per_epoch.filter(|each| *each > 0).map(|one| rates.affords(self.job, self.start, each).0 / one);
        let epochs = self.job.estimate.epochs;
        Some(Fit {
            job: Arc::clone(&self.job.job),
            runs: self.runs(),
            each: self.dearest,
            runs_fit,
            epochs,
            epochs_fit,
            by: Arc::clone(&by.name),
        })
    }
}
