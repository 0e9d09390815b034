//! What may end a run before its time: budgets, and its sweep.
//!
//! In: how long the run takes, accounts, finished siblings. Out: chances. Must never name a chance that nothing was measured for.

use std::sync::Arc;

use serde::Serialize;

use super::length::{Length, Siblings};
use super::{Forecast, Forecaster, time};
use crate::base::{Money, Timestamp};
use crate::expand::OnExceed;
use crate::record::{JobSpec, RunRecord};

/// Finished siblings from which on a share of them is told.
const ENOUGH: usize = 5;

/// A budget against one run, or all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Odds {
    /// As shown.
    pub name: Arc<str>,
    /// The limit.
    pub limit: Money,
    /// Posted in the window in which the run is thought to end.
    pub spent: Money,
    /// What other live runs are expected to cost.
    pub others: Money,
    /// What is left for this one, attempts that ended already not counted again.
    pub left: Money,
    /// What happens above the limit.
    pub on_exceed: OnExceed,
    /// The chance that the run costs more than is left; none where that is not known.
    pub chance: Option<f64>,
    /// When the window turns, where the run is thought to end after that.
    #[serde(serialize_with = "time")]
    pub turns: Option<Timestamp>,
}

/// How often a sweep ends its trials early.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pruning {
    /// Chance for this trial; none while too few are over.
    pub chance: Option<f64>,
    /// Trials over that had run as long as this one has.
    pub seen: usize,
    /// Of these, ended early.
    pub pruned: usize,
    /// Where those ended on average, in seconds since the start.
    pub ends_at_s: Option<f64>,
}

/// Of trials that had run as long, the share that was ended early (Jeffreys' estimate).
pub(super) fn of_pruning(record: &RunRecord, siblings: &Siblings, elapsed: f64, expected: f64) -> Option<Pruning> {
    record.spec.job.sweep.as_ref()?.search.as_ref()?.prune.as_ref()?;
    let over = siblings.over.iter().filter(|(_, t)| *t >= elapsed);
    let early: Vec<f64> = over.clone().filter(|(pruned, _)| *pruned).map(|(_, t)| t.min(expected)).collect();
    let (seen, pruned) = (over.count(), early.len());
    let chance = (seen >= ENOUGH && pruned > 0).then(|| (pruned as f64 + 0.5) / (seen as f64 + 1.0));
    let ends_at_s = (pruned > 0).then(|| early.iter().sum::<f64>() / pruned as f64);
    Some(Pruning { chance, seen, pruned, ends_at_s })
}

/// Each budget that counts the run.
pub(super) fn of_budgets(all: &Forecaster<'_>, record: &RunRecord, job: &JobSpec, length: &Length, answer: &Forecast) -> Vec<Odds> {
    let world = &all.world;
    let accounts = world.treasury.accounts().iter().filter(|a| a.rule.scope.covers(&answer.payer));
    let mut found: Vec<Odds> = accounts
        .map(|account| {
            let each_run = account.rule.scope.is_each_run();
            let ended = answer.total.map(|t| t.expected - answer.open).unwrap_or_default();
            let turns = account.next.filter(|next| answer.finish.is_some_and(|f| f >= *next));
            let others = all.live.iter().filter(|(a, payer, _)| *a != record.spec.address && account.rule.scope.covers(payer));
            let others = if each_run { Money::ZERO } else { others.map(|(_, _, cost)| *cost).sum() };
            let spent = match (each_run, turns) {
                (true, _) => ended,
                (false, Some(_)) => Money::ZERO,
                (false, None) => account.spent,
            };
            let left = account.rule.limit - spent - others;
            let chance = chance(all, record, job, length, left.max(Money::ZERO), answer);
            let (name, limit, on_exceed) = (Arc::clone(&account.rule.name), account.rule.limit, account.rule.on_exceed);
            Odds { name, limit, spent, others, left, on_exceed, chance, turns }
        })
        .collect();
    found.sort_by(|a, b| b.chance.unwrap_or(0.0).total_cmp(&a.chance.unwrap_or(0.0)).then(a.left.cmp(&b.left)));
    found
}

/// The chance that the open attempt costs more than is left.
fn chance(all: &Forecaster<'_>, record: &RunRecord, job: &JobSpec, length: &Length, left: Money, answer: &Forecast) -> Option<f64> {
    let total = answer.total?;
    if total.worst.is_some_and(|worst| worst - (total.expected - answer.open) <= left) {
        return Some(0.0);
    }
    let start = record.live_attempt().and_then(|a| a.started_at).unwrap_or(all.world.now);
    let lasts = all.world.rates.affords(job, start, left);
    length.chance_beyond(lasts.as_secs_f64())
}
