//! Limits of pool, run and money: verdicts, a rule a function.
//!
//! In: what a plan would run, with prices. Out: [`Verdict`]s with a reason. Must never change the plan.

mod gpu_hours;
pub mod policy;
mod total;

pub use gpu_hours::gpu_hours;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::resources::{show_cpu, show_memory};
use crate::base::text::{counted, escape};
use crate::base::{Money, Span, Timestamp, suggest};
use crate::expand::{Desired, OnExceed};
use crate::price::Rates;
use crate::queue::{Account, Demand, Limits, Quotas, Treasury, WaitReason};
use crate::record::{Estimate, JobSpec, Payer, RunSpec, State};
use crate::spec::types::LimitsDecl;

pub use total::{Caps, Sum};

/// One rule's answer, where it has something to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Stable name: `pool`, `run-limit`, `budget`, `max-cost`, `unpriced`.
    pub rule: Arc<str>,
    /// True when the plan may not be applied.
    pub blocks: bool,
    /// What it is about: a job, a workflow or the project.
    pub subject: Arc<str>,
    /// One sentence.
    pub message: String,
    /// What would help.
    pub hint: String,
    /// Where the job or limit is written; not part of saved plans.
    #[serde(skip)]
    pub span: Option<Span>,
    /// Where the rule is written, if that is another place; not part of saved plans.
    #[serde(skip)]
    pub source: Option<Span>,
}

/// A budget with what counts against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLine {
    /// `workflow NAME`, `project NAME`, `sweep ADDRESS`, `team NAME a month`.
    pub scope: Arc<str>,
    /// Posted in its window.
    pub spent: Money,
    /// Expected cost of what runs.
    pub running: Money,
    /// Set aside for what runs.
    #[serde(default)]
    pub reserved: Money,
    /// Expected cost of what the plan starts.
    pub plan: Money,
    /// Spent, running and plan together.
    pub total: Money,
    /// The limit.
    pub limit: Money,
    /// Runs of the plan whose cost nobody knows.
    pub unpriced: usize,
    /// What happens above the limit.
    pub on_exceed: OnExceed,
    /// Whether the sum is above the limit.
    pub exceeded: bool,
    /// When it begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// Money towards one budget.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    /// What runs.
    pub running: Money,
    /// What the plan starts.
    pub plan: Money,
    /// Runs of the plan without a price.
    pub unpriced: usize,
}

/// Runs that the pool can never hold: one verdict for each job and reason.
#[must_use]
pub fn pool(desired: &Desired, runs: &[&RunSpec], limits: &Limits, hint: &str) -> Vec<Verdict> {
    per_job(desired, runs, "pool", |job| limits.never(&Demand::of(job)).map(|why| (why, hint.to_owned())))
}

/// Runs that their team can never hold, with the place of its quota.
#[must_use]
pub fn teams(desired: &Desired, runs: &[&RunSpec], limits: &Limits) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if limits.teams.is_empty() {
        return verdicts;
    }
    for run in of_each_job(runs) {
        let demand = Demand::of(&run.job);
        if let Some(team) = demand.team.as_ref().filter(|t| !limits.teams.contains_key(*t))
            && let Some(near) = suggest::nearest(team, limits.teams.keys().map(|k| &**k))
        {
            let message = format!("belongs to team {team}, which `teams` does not name");
            if let Some(new) = push_once(&mut verdicts, desired, run, "quota", message, &format!("did you mean `{near}`?")) {
                new.blocks = false;
            }
        }
        let Some((message, place)) = limits.never_in_team(&demand) else { continue };
        let hint = "ask for less, or raise the team's quota under `teams` in oppen.yaml";
        if let Some(new) = push_once(&mut verdicts, desired, run, "quota", message, hint) {
            new.source = place;
        }
    }
    verdicts
}

/// Teams whose runs wait for the team's own quota when the plan begins, and who waits for GPU-hours.
#[must_use]
pub fn waits(limits: &Limits, waits: &[(WaitReason, usize)]) -> Vec<Verdict> {
    let of = |(reason, runs): &(WaitReason, usize)| {
        if let WaitReason::GpuHours { .. } = reason {
            return gpu_hours::waits(limits, reason, *runs);
        }
        let WaitReason::Team { team, what, holds, limit } = reason else { return None };
        let many = waiting(*runs);
        Some(Verdict {
            rule: "quota".into(),
            blocks: false,
            subject: format!("team {team}").into(),
            message: format!("holds {holds} of {limit} {what} at the start: {many} for it"),
            hint: "they start when runs of the team end; raise the quota under `teams` in oppen.yaml to start them sooner".to_owned(),
            span: None,
            source: limits.teams.get(team).and_then(|t| t.span),
        })
    };
    waits.iter().filter_map(of).collect()
}

/// `1 run waits`, `2 runs wait`.
fn waiting(runs: usize) -> String {
    format!("{} wait{}", counted(runs, "run"), if runs == 1 { "s" } else { "" })
}

/// Runs that ask for more than the project lets a single run have.
#[must_use]
pub fn run_limits(desired: &Desired, runs: &[&RunSpec], limits: Option<&LimitsDecl>) -> Vec<Verdict> {
    let Some(limits) = limits else { return Vec::new() };
    per_job(desired, runs, "run-limit", |job| {
        let (r, mut over) = (&job.resources, Vec::new());
        over.extend(limits.gpu.as_ref().filter(|l| r.gpu.count > l.0).map(|l| format!("{} GPUs, the limit is {}", r.gpu.count, l.0)));
        over.extend(
            limits
                .cpu
                .as_ref()
                .filter(|l| r.cpu_millis > l.0.0)
                .map(|l| format!("{} cores, the limit is {}", show_cpu(r.cpu_millis), show_cpu(l.0.0))),
        );
        over.extend(
            limits
                .memory
                .as_ref()
                .filter(|l| r.memory_bytes > l.0.0)
                .map(|l| format!("{} of memory, the limit is {}", show_memory(r.memory_bytes), show_memory(l.0.0))),
        );
        let timeout = limits.timeout.as_ref().filter(|l| job.timeout.is_none_or(|t| t > l.0));
        over.extend(
            timeout
                .map(|l| format!("a timeout of {}, the limit is {}", job.timeout.map_or("any length".to_owned(), |t| t.to_string()), l.0)),
        );
        (!over.is_empty()).then(|| (format!("asks for {}", over.join("; ")), "ask for less, or raise `limits` in oppen.yaml".to_owned()))
    })
}

/// Runs that ask for more than the namespace lets one pod have.
#[must_use]
pub fn namespace(desired: &Desired, runs: &[&RunSpec], pod: &Quotas) -> Vec<Verdict> {
    let alone = Limits { quotas: pod.clone(), max_concurrent: u32::MAX, ..Limits::default() };
    per_job(desired, runs, "namespace", |job| {
        let why = alone.never(&Demand::of(job))?.replace("the pool has", "the namespace lets a pod have");
        Some((why, "ask for less, or have the LimitRange of the namespace changed".to_owned()))
    })
}

/// Runs that hold something without a price: they are refused, never free.
#[must_use]
pub fn prices(desired: &Desired, runs: &[&RunSpec], rates: &Rates) -> Vec<Verdict> {
    per_job(desired, runs, "price", |job| {
        let hint = || match &rates.card {
            Some(card) => format!("add it to the rate card `{card}`, or choose another with `pool.rates`"),
            None => "add it to `rates` in oppen.yaml".to_owned(),
        };
        rates.parts(&job.resources).err().map(|why| (format!("has {why}"), hint()))
    })
}

/// Runs whose expected cost is above what a single run may cost, and runs without a price where there is such a limit.
#[must_use]
pub fn run_cost(desired: &Desired, priced: &[(&RunSpec, &Estimate)], limits: Option<&LimitsDecl>) -> Vec<Verdict> {
    let Some(limit) = limits.and_then(|l| l.cost.as_ref()) else { return Vec::new() };
    let mut verdicts: Vec<Verdict> = Vec::new();
    for (run, estimate) in priced {
        let message = match &estimate.cost {
            None => format!("has no price ({}), and a run may cost {} at the most", estimate.basis, limit.0),
            Some(cost) if cost.expected > limit.0 => {
                format!("is expected to cost {}, a run may cost {} at the most", cost.expected, limit.0)
            }
            Some(_) => continue,
        };
        push_once(&mut verdicts, desired, run, "run-limit", message, "raise `limits.cost` in oppen.yaml, or make the run cheaper");
    }
    verdicts
}

/// Jobs whose cost nobody knows: never nothing.
#[must_use]
pub fn unpriced(desired: &Desired, priced: &[(&RunSpec, &Estimate)], blocks: bool) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    // A price that is missing is told by `prices`.
    for (run, estimate) in priced.iter().filter(|(_, e)| e.cost.is_none() && e.time.is_none()) {
        let message = format!("has no price: {}", estimate.basis);
        push_once(&mut verdicts, desired, run, "unpriced", message, "an unpriced run is not free: declare its `estimate` and its rates");
    }
    verdicts.iter_mut().for_each(|v| v.blocks = blocks);
    verdicts
}

fn per_job(desired: &Desired, runs: &[&RunSpec], rule: &str, judge: impl Fn(&JobSpec) -> Option<(String, String)>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for run in of_each_job(runs) {
        if let Some((message, hint)) = judge(&run.job) {
            push_once(&mut verdicts, desired, run, rule, message, &hint);
        }
    }
    verdicts
}

/// One of the runs that stand together and have the same settings.
fn of_each_job<'r>(runs: &[&'r RunSpec]) -> impl Iterator<Item = &'r RunSpec> {
    runs.chunk_by(|a, b| Arc::ptr_eq(&a.job, &b.job)).filter_map(|same| same.first().copied())
}

/// Adds a verdict that blocks, unless its job has the same one; gives what was added, for what else is to be said of it.
fn push_once<'v>(
    verdicts: &'v mut Vec<Verdict>,
    desired: &Desired,
    run: &RunSpec,
    rule: &str,
    message: String,
    hint: &str,
) -> Option<&'v mut Verdict> {
    let known = verdicts.iter().rev().take_while(|v| v.subject == run.job.job).any(|v| v.message == message);
    if known {
        return None;
    }
    let span = desired.jobs.iter().find(|j| j.address == run.job.job).map(|j| j.span);
    verdicts.push(Verdict {
        rule: rule.into(),
        blocks: true,
        subject: Arc::clone(&run.job.job),
        message,
        hint: hint.to_owned(),
        span,
        source: None,
    });
    verdicts.last_mut()
}

/// Sweeps that are to begin with the trials of others, which neither the files nor the record know.
#[must_use]
pub fn warm_starts(desired: &Desired, runs: &[&RunSpec], state: &State) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for run in of_each_job(runs) {
        for other in run.job.sweep.iter().flat_map(|s| &s.warm_start) {
            let wanted = || desired.jobs.iter().map(|j| &j.address);
            if wanted().any(|j| j == other) || state.runs.values().any(|r| r.spec.job.job == *other) {
                continue;
            }
            let message = format!("begins with the trials of {}, which neither the files nor the record know", escape(other));
            let hint = suggest::nearest(other, wanted().map(|j| &**j)).map(|near| format!("did you mean `{near}`?"));
            let hint = hint.unwrap_or_else(|| "it begins blindly".to_owned());
            if let Some(new) = push_once(&mut verdicts, desired, run, "warm-start", message, &hint) {
                new.blocks = false;
            }
        }
    }
    verdicts
}

/// Counts runs of the plan in all budgets of their payer: in full where the budget is the sweep's own limit, else the part that this
/// limit lets them spend.
pub fn count(treasury: &Treasury, payer: &Payer, full: &Sum, part: &Sum, sums: &mut [Sums]) {
    for index in treasury.of(payer) {
        let own = treasury.accounts().get(index).is_some_and(|a| a.rule.on_exceed == OnExceed::Cap);
        if let Some(sum) = sums.get_mut(index) {
            sum.plan += if own { full.expected } else { part.expected };
            sum.unpriced += full.unpriced;
        }
    }
}

/// What counts against each budget. A budget of each run has no line: every run is looked at for itself.
#[must_use]
pub fn budget_lines(accounts: &[Account], sums: &[Sums]) -> Vec<BudgetLine> {
    let shared = accounts.iter().zip(sums).filter(|(a, _)| !a.rule.scope.is_each_run());
    shared
        .map(|(account, sums)| {
            let total = account.spent + sums.running + sums.plan;
            BudgetLine {
                scope: Arc::clone(&account.rule.name),
                spent: account.spent,
                running: sums.running,
                reserved: account.reserved,
                plan: sums.plan,
                total,
                limit: account.rule.limit,
                unpriced: sums.unpriced,
                on_exceed: account.rule.on_exceed,
                exceeded: total > account.rule.limit,
                next: account.next,
            }
        })
        .collect()
}

/// What budgets say: above the limit, or not known because a run has no estimate.
#[must_use]
pub fn budgets(accounts: &[Account], lines: &[BudgetLine]) -> Vec<Verdict> {
    let shared: Vec<&Account> = accounts.iter().filter(|a| !a.rule.scope.is_each_run()).collect();
    let verdict = |rule: &str, line: &BudgetLine, span, blocks, message: String, hint: &str| Verdict {
        rule: rule.into(),
        blocks,
        subject: Arc::clone(&line.scope),
        message,
        hint: hint.to_owned(),
        span,
        source: None,
    };
    let mut verdicts = Vec::new();
    for (account, line) in shared.iter().zip(lines).filter(|(_, l)| l.unpriced > 0) {
        let runs = if line.unpriced == 1 { "1 run".to_owned() } else { format!("{} runs", line.unpriced) };
        let message = format!("has {runs} without an estimate: its cost counts once it has run");
        verdicts.push(verdict("unpriced", line, account.rule.span, false, message, "declare an `estimate`"));
    }
    for (account, line) in shared.iter().zip(lines).filter(|(_, l)| l.plan > Money::ZERO && l.exceeded) {
        let span = account.rule.span;
        verdicts.push(match (line.on_exceed, line.next) {
            (OnExceed::Hold, Some(next)) => {
                let message = format!("would spend {}, its limit is {}: what does not fit waits until {next}", line.total, line.limit);
                verdict("budget", line, span, false, message, "plan fewer or cheaper runs, or raise the limit")
            }
            (OnExceed::Hold, None) => {
                let message =
                    format!("would spend {}, its limit is {}: what does not fit waits until the limit is raised", line.total, line.limit);
                verdict("budget", line, span, false, message, "plan fewer or cheaper runs, or raise the limit")
            }
            (OnExceed::Cap, _) => {
                let message = format!(
                    "would spend {}, its max_cost is {}: trials that the money does not reach are left out",
                    line.total, line.limit
                );
                verdict("max-cost", line, span, false, message, "plan fewer or cheaper trials, or raise `max_cost`")
            }
            (on_exceed, _) => {
                let message = format!("would spend {}, its limit is {}", line.total, line.limit);
                verdict("budget", line, span, on_exceed == OnExceed::Stop, message, "plan fewer or cheaper runs, or raise the limit")
            }
        });
    }
    verdicts
}

/// Runs that are expected to cost more than each run may.
#[must_use]
pub fn each_run(desired: &Desired, priced: &[(&RunSpec, &Estimate)], accounts: &[Account]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for account in accounts.iter().filter(|a| a.rule.scope.is_each_run()) {
        for (run, estimate) in priced {
            if !account.rule.scope.may_cover(&run.job) {
                continue;
            }
            let Some(cost) = estimate.cost.filter(|c| c.expected > account.rule.limit) else { continue };
            let message = format!("is expected to cost {}, its budget is {}", cost.expected, account.rule.limit);
            if let Some(new) = push_once(&mut verdicts, desired, run, "budget", message, "make the run cheaper, or raise the limit") {
                new.blocks = account.rule.on_exceed != OnExceed::Warn;
                new.source = account.rule.span;
            }
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Window;
    use crate::expand::{Rule, Scope};
    use crate::queue::Treasury;

    fn line(plan: i64, unpriced: usize, on_exceed: OnExceed) -> (Vec<BudgetLine>, Vec<Verdict>) {
        let money = Money::from_micros;
        let rule = Rule {
            name: "workflow w".into(),
            scope: Scope::Workflow("w".into()),
            limit: money(100),
            window: Window::default(),
            on_exceed,
            thresholds: vec![],
            end_running: false,
            span: None,
        };
        let mut treasury = Treasury::new(Rates::default(), &[rule], 1, Timestamp(0));
        let payer = |job: &str| crate::record::Payer { job: job.into(), ..Default::default() };
        treasury.spent_before(&payer("w/a"), Timestamp(0), money(30));
        treasury.spent_before(&payer("wx/a"), Timestamp(0), money(1000));
        let lines = budget_lines(treasury.accounts(), &[Sums { running: money(20), plan: money(plan), unpriced }]);
        let verdicts = budgets(treasury.accounts(), &lines);
        (lines, verdicts)
    }

    #[test]
    fn a_budget_counts_what_is_spent_running_and_planned() {
        let (lines, verdicts) = line(50, 0, OnExceed::Stop);
        assert_eq!(lines[0].total, Money::from_micros(100));
        assert!(verdicts.is_empty(), "exactly the limit is allowed");
        assert!(line(51, 0, OnExceed::Stop).1[0].blocks);
        assert!(!line(51, 0, OnExceed::Warn).1[0].blocks);
        assert!(!line(51, 0, OnExceed::Hold).1[0].blocks);
        assert_eq!(line(1, 1, OnExceed::Stop).1.iter().map(|v| (&*v.rule, v.blocks)).collect::<Vec<_>>(), [("unpriced", false)]);
    }
}
