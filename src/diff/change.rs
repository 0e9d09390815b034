//! What an edit of files changes, in runs and in money: two sets of wanted runs, those of the base taken as done.
//!
//! In: both sides with their rates, budgets and limits. Out: [`Change`], priced as if everything started at one moment, so that a
//! difference comes from the edit alone. Must never know what has run or was spent: a check of files depends on files.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::judge::{self, Judged, Prices, Side};
use super::plan::{Action, Planned, Reason};
use super::{Request, plan, reasons, select};
use crate::base::{Address, Money, Timestamp};
use crate::expand::OnExceed;
use crate::queue::{Quotas, Treasury};
use crate::record::{Event, Money95, RunSpec, State};

pub use super::judge::News;
pub use crate::check::Sum;

/// What becomes of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// They are new, and run.
    Added,
    /// Their result is another one now: they run again.
    Changed,
    /// They do not run again; settings or prices are others.
    Settings,
    /// No file wants them any more.
    Removed,
}

impl What {
    /// The word shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Settings => "settings",
            Self::Removed => "removed",
        }
    }

    /// True when an apply would start them.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Added | Self::Changed)
    }
}

/// Runs of one job with which the same happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobChange {
    /// `workflow/job`, or the address of its one run.
    pub job: Arc<str>,
    /// What happens.
    pub what: What,
    /// How many runs.
    pub runs: usize,
    /// Money in the base; none for what is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Sum>,
    /// Money with the edit; none for what is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Sum>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Reasons whose values differ from run to run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub varied: Vec<String>,
}

/// A budget on both sides, as if all that it counts ran once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BudgetChange {
    /// As shown.
    pub scope: Arc<str>,
    /// In the base; none where it is new.
    pub before: Option<Money>,
    /// With the edit.
    pub after: Money,
    /// The limit, with the edit.
    pub limit: Money,
    /// What happens above it.
    pub on_exceed: OnExceed,
    /// Whether `after` is above it.
    pub exceeded: bool,
}

/// Everything about an edit.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Job by job: what runs first, then the rest, in the order of the files.
    pub jobs: Vec<JobChange>,
    /// All runs of the base; none where it cannot be read.
    pub before: Option<Sum>,
    /// All runs with the edit.
    pub after: Sum,
    /// What an apply would start where everything of the base is done.
    pub run: Sum,
    /// Runs that stay as they are.
    pub unchanged: usize,
    /// Budgets.
    pub budgets: Vec<BudgetChange>,
    /// What the checks say of the edit.
    pub checks: Vec<Judged>,
    /// Verdicts of the base that are gone.
    pub resolved: usize,
}

impl Change {
    /// True when the edit makes something worse that a check refuses.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.checks.iter().any(Judged::stops)
    }

    /// Expected cost of all runs, after less before.
    #[must_use]
    pub fn delta(&self) -> Money {
        self.after.expected - self.before.map(|b| b.expected).unwrap_or_default()
    }
}

/// Compares. Without a base everything is new.
#[must_use]
pub fn change(base: Option<&Side<'_>>, head: &Side<'_>, at: Timestamp) -> Change {
    let before = base.map(|side| judge::judge(side, at));
    let after = judge::judge(head, at);
    let actions = actions(base, head, at);
    let (base_prices, head_prices) = (base.map(|s| Prices::new(s.rates, at)).unwrap_or_default(), Prices::new(head.rates, at));
    let mut groups = Groups { base: by_address(base), prices: (base_prices, head_prices), found: Vec::new(), index: FxHashMap::default() };
    let acting: FxHashSet<&Address> = actions.iter().map(|a| &a.address).collect();
    actions.iter().for_each(|a| groups.action(a));
    let kept: Vec<&Arc<RunSpec>> = head.desired.runs.iter().filter(|r| !acting.contains(&r.address)).collect();
    let mut touched = 0;
    for run in &kept {
        touched += usize::from(groups.kept(run));
    }
    let mut jobs = groups.found;
    jobs.sort_by_key(|j| (!j.what.runs(), j.what == What::Removed));
    let caps = (base.map(Side::caps).unwrap_or_default(), head.caps());
    for job in &mut jobs {
        let address = job.job.split('[').next().unwrap_or_default();
        job.before = job.before.map(|sum| caps.0.part(address, sum));
        job.after = job.after.map(|sum| caps.1.part(address, sum));
    }
    let mut run = Sum::default();
    jobs.iter().filter(|j| j.what.runs()).filter_map(|j| j.after.as_ref()).for_each(|sum| run.join(sum));
    let budgets = after.budgets.iter().map(|line| {
        let known = before.as_ref().and_then(|b| b.budgets.iter().find(|l| l.scope == line.scope));
        BudgetChange {
            scope: Arc::clone(&line.scope),
            before: known.map(|l| l.total),
            after: line.total,
            limit: line.limit,
            on_exceed: line.on_exceed,
            exceeded: line.exceeded,
        }
    });
    Change {
        jobs,
        run,
        unchanged: kept.len() - touched,
        budgets: budgets.collect(),
        checks: judge::compare(before.as_ref(), &after),
        resolved: before.as_ref().map_or(0, |b| judge::resolved(b, &after)),
        before: before.map(|b| b.total),
        after: after.total,
    }
}

/// What a plan would do in a state where every run of the base has succeeded.
fn actions(base: Option<&Side<'_>>, head: &Side<'_>, at: Timestamp) -> Vec<Planned> {
    let mut state = State::default();
    for spec in base.iter().flat_map(|b| &b.desired.runs) {
        state.apply(&Event::Planned { spec: Arc::clone(spec) }, at);
        state.apply(&Event::Succeeded { address: spec.address.clone() }, at);
    }
    let treasury = Treasury::new(head.rates.clone(), &[], 1, at);
    let plan = plan(&Request {
        desired: head.desired,
        state: &state,
        history: &(),
        drift: &[],
        restorable: &|_| false,
        project: None,
        rates: head.rates,
        treasury: &treasury,
        user: &"".into(),
        limits: head.limits,
        ceiling: &Quotas::default(),
        pool_hint: "",
        backend: "",
        lineage: "",
        serial: 0,
        now: at,
        files: &FxHashSet::default(),
        whole: true,
        select: &select::Selection::default(),
        policies: &[],
        verdicts: Vec::new(),
        templates: Vec::new(),
    });
    plan.runs
}

fn by_address<'a>(base: Option<&'a Side<'_>>) -> FxHashMap<&'a Address, &'a Arc<RunSpec>> {
    base.iter().flat_map(|b| &b.desired.runs).map(|r| (&r.address, r)).collect()
}

struct Groups<'a> {
    base: FxHashMap<&'a Address, &'a Arc<RunSpec>>,
    prices: (Prices<'a>, Prices<'a>),
    found: Vec<JobChange>,
    index: FxHashMap<(Arc<str>, What), usize>,
}

impl Groups<'_> {
    fn action(&mut self, planned: &Planned) {
        let before = self.base.get(&planned.address).copied();
        let what = match (planned.action, before) {
            (Action::Create, _) => What::Added,
            (Action::Rerun, _) => What::Changed,
            (Action::Forget | Action::Cancel, Some(_)) => What::Removed,
            _ => return,
        };
        let reasons = planned.reasons.iter().filter(|r| r.key != "new" && r.key != "gone").cloned().collect();
        self.note(&planned.address, what, before, planned.spec.as_ref(), reasons);
    }

    /// A run whose result stays: settings and prices may be others. Tells whether they are.
    fn kept(&mut self, run: &Arc<RunSpec>) -> bool {
        let Some(before) = self.base.get(&run.address).copied() else { return false };
        let mut why = if Arc::ptr_eq(&before.job, &run.job) { Vec::new() } else { reasons::of_settings(before, run) };
        let shown = |t: Option<crate::base::Millis>| t.map(|t| t.to_string());
        let (was, is) = (before.job.estimate.time, run.job.estimate.time);
        if was != is {
            why.push(Reason { key: "estimate".to_owned(), before: shown(was), after: shown(is) });
        }
        let price = |cost: Option<Money95>| cost.map(|c| (c.expected, c.worst));
        let (was, is) = (price(self.prices.0.of(&before.job)), price(self.prices.1.of(&run.job)));
        if why.is_empty() && was != is {
            let shown = |cost: Option<(Money, _)>| Some(cost.map_or("unpriced".to_owned(), |(expected, _)| expected.to_string()));
            why.push(Reason { key: "price".to_owned(), before: shown(was), after: shown(is) });
        }
        let touched = !why.is_empty();
        if touched {
            self.note(&run.address, What::Settings, Some(before), Some(run), why);
        }
        touched
    }

    fn note(&mut self, address: &Address, what: What, before: Option<&Arc<RunSpec>>, after: Option<&Arc<RunSpec>>, why: Vec<Reason>) {
        let job: Arc<str> = address.job().into();
        let costs = (before.map(|s| self.prices.0.of(&s.job)), after.map(|s| self.prices.1.of(&s.job)));
        let index = *self.index.entry((Arc::clone(&job), what)).or_insert_with(|| {
            self.found.push(JobChange {
                job: address.as_str().into(),
                what,
                runs: 0,
                before: None,
                after: None,
                reasons: why.clone(),
                varied: Vec::new(),
            });
            self.found.len() - 1
        });
        let Some(group) = self.found.get_mut(index) else { return };
        group.runs += 1;
        if group.runs == 2 {
            group.job = job;
        }
        if let (Some(cost), What::Changed | What::Settings | What::Removed) = (costs.0, what) {
            group.before.get_or_insert_default().add(cost);
        }
        if let Some(cost) = costs.1 {
            group.after.get_or_insert_default().add(cost);
        }
        vary(group, &why);
    }
}

/// Notes in which reasons a further run of the group differs from its first.
fn vary(group: &mut JobChange, why: &[Reason]) {
    for reason in why {
        let same = group.reasons.iter().any(|r| r == reason);
        if !same && !group.varied.contains(&reason.key) {
            group.varied.push(reason.key.clone());
            if !group.reasons.iter().any(|r| r.key == reason.key) {
                group.reasons.push(reason.clone());
            }
        }
    }
}
