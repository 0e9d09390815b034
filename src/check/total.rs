//! Money of many runs: expected, worst, unpriced, and what the `max_cost` of a sweep leaves of it.
//!
//! In: prices of runs, budgets with what counts against them. Out: sums. Must never count more for a sweep than its `max_cost` lets it
//! spend: trials that the money does not reach do not run.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::base::Money;
use crate::expand::{OnExceed, Rule, Scope};
use crate::record::Money95;

/// Money of some runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many runs.
    pub runs: usize,
    /// Expected cost of those that have a price.
    pub expected: Money,
    /// Cost at the worst; none when a run has no timeout or no price.
    pub worst: Option<Money>,
    /// Runs whose cost nobody knows.
    pub unpriced: usize,
}

impl Default for Sum {
    fn default() -> Self {
        Self { runs: 0, expected: Money::ZERO, worst: Some(Money::ZERO), unpriced: 0 }
    }
}

impl Sum {
    /// Of runs, by what is known of the cost of each.
    pub fn of(costs: impl IntoIterator<Item = Option<Money95>>) -> Self {
        let mut sum = Self::default();
        costs.into_iter().for_each(|cost| sum.add(cost));
        sum
    }

    /// Adds a run.
    pub fn add(&mut self, cost: Option<Money95>) {
        self.runs += 1;
        match cost {
            Some(cost) => {
                self.expected += cost.expected;
                self.worst = self.worst.zip(cost.worst).map(|(a, b)| a + b);
            }
            None => {
                self.unpriced += 1;
                self.worst = None;
            }
        }
    }

    /// Adds other runs.
    pub fn join(&mut self, other: &Self) {
        self.runs += other.runs;
        self.expected += other.expected;
        self.worst = self.worst.zip(other.worst).map(|(a, b)| a + b);
        self.unpriced += other.unpriced;
    }

    /// The same runs where no more than this is there for them. Without timeouts that is the worst; runs without a price stay unknown.
    #[must_use]
    pub fn at_most(self, limit: Money) -> Self {
        let worst = match self.worst {
            Some(worst) => Some(worst.min(limit)),
            None => (self.unpriced == 0).then_some(limit),
        };
        Self { expected: self.expected.min(limit), worst, ..self }
    }
}

/// What the `max_cost` of sweeps leaves for their trials, by job.
#[derive(Debug, Clone, Default)]
pub struct Caps(FxHashMap<Arc<str>, Money>);

impl Caps {
    /// Of budgets, each with what counts against it already.
    pub fn new<'a>(rules: impl Iterator<Item = (&'a Rule, Money)>) -> Self {
        let cap = |(rule, before): (&'a Rule, Money)| match (&rule.scope, rule.on_exceed) {
            (Scope::Job(job), OnExceed::Cap) => Some((Arc::clone(job), (rule.limit - before).max(Money::ZERO))),
            _ => None,
        };
        Self(rules.filter_map(cap).collect())
    }

    /// What is left for a job; none where it has no such limit.
    #[must_use]
    pub fn left(&self, job: &str) -> Option<Money> {
        self.0.get(job).copied()
    }

    /// The part of a job's price that its limit lets it spend.
    #[must_use]
    pub fn part(&self, job: &str, full: Sum) -> Sum {
        self.left(job).map_or(full, |left| full.at_most(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_and_never_a_guess_for_what_has_no_price() {
        let money = Money::from_micros;
        let cost = |worst| Some(Money95 { expected: money(30), worst, ..Money95::default() });
        let mut sum = Sum::of([cost(Some(money(90)))]);
        assert_eq!((sum.at_most(money(50)).expected, sum.at_most(money(50)).worst), (money(30), Some(money(50))));
        sum.add(cost(None));
        assert_eq!(sum.worst, None, "a run without a timeout may take for ever");
        assert_eq!((sum.at_most(money(50)).expected, sum.at_most(money(50)).worst), (money(50), Some(money(50))));
        sum.add(None);
        assert_eq!(sum.at_most(money(50)).worst, None);
    }
}
