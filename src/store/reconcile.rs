//! Posts against the backend's own timestamps: seconds and money of each attempt, computed again.
//!
//! In: the ledger, the state's attempts, rates. Out: differences, and how many could not be computed again and why. Must never price with other
//! rates than those of the post.

use crate::base::{Money, Timestamp};
use crate::price::Rates;
use crate::record::{Entry, EntryKind, JobSpec, Payer, RunRecord, State};

use super::ledger::Fault;
use super::{Store, StoreError};

/// What computing again has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Posts whose seconds were held against start and end of the attempt.
    pub seconds: u64,
    /// Of these, those whose money was computed again.
    pub money: u64,
    /// Posts of runs that left the state or were planned anew: only the ledger knows their times.
    pub gone: u64,
    /// Posts that were priced with other rates than those of now.
    pub other_rates: u64,
    /// Charged in all that was computed again, and what it comes to.
    pub charged: Money,
    /// The same by timestamps and rates.
    pub computed: Money,
    /// Differences.
    pub differences: Vec<Fault>,
}

/// The settings of a run with the class and capacity by which an attempt of it was paid.
pub(super) fn as_paid(record: &RunRecord, payer: &Payer) -> JobSpec {
    let mut job = (*record.spec.job).clone();
    job.priority.class.clone_from(&payer.priority);
    job.resources.capacity = payer.capacity;
    job
}

impl Reconciled {
    fn post(&mut self, seq: i64, entry: &Entry, state: &State, rates: &Rates) {
        let record = state.runs.get(&entry.attempt.address).filter(|r| r.generation == entry.attempt.generation);
        let attempt = record.and_then(|r| r.attempts.iter().find(|a| a.number == entry.attempt.number).map(|a| (r, a)));
        let Some((record, attempt)) = attempt else {
            self.gone += 1;
            return;
        };
        let (Some(start), Some(end)) = (attempt.started_at, attempt.ended_at) else {
            self.gone += 1;
            return;
        };
        self.seconds += 1;
        let ran = end.since(start).times(if attempt.doubled { 2 } else { 1 });
        let mut fault = |words: String| self.differences.push(Fault { seq, words });
        if ran != entry.bill.time {
            fault(format!("{} is charged for {}, the backend saw it run for {ran} ({start} to {end})", entry.attempt, entry.bill.time));
        }
        if entry.bill.rates != Some(rates.digest()) {
            self.other_rates += 1;
            return;
        }
        let job = as_paid(record, &entry.bill.payer);
        // Settings that were edited since are not those that were paid for.
        if (job.resources.gpu.count, &job.resources.gpu.kind)
            != (entry.bill.payer.gpus, &entry.bill.payer.gpu.clone().or(job.resources.gpu.kind.clone()))
        {
            self.other_rates += 1;
            return;
        }
        let computed = rates.bill(&job, start, ran).amount;
        self.money += 1;
        self.charged += entry.amount;
        self.computed += computed;
        if computed != entry.amount {
            let more = if entry.amount > computed { entry.amount - computed } else { computed - entry.amount };
            let way = if entry.amount > computed { "more" } else { "less" };
            self.differences.push(Fault {
                seq,
                words: format!(
                    "{} is charged {}, {more} {way} than its {ran} come to by the rates ({computed})",
                    entry.attempt, entry.amount
                ),
            });
        }
    }
}

impl Store {
    /// Computes seconds and money of every post again, from the times at which the backend saw its attempt start and end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reconcile(&self, rates: &Rates) -> Result<Reconciled, StoreError> {
        let (state, mut found) = (self.load()?, Reconciled::default());
        self.entries(|seq, entry, _| {
            if entry.kind == EntryKind::Post {
                found.post(seq, &entry, &state, rates);
            }
        })?;
        Ok(found)
    }

    /// What was spent since a moment, by quarters of an hour and payer, as budgets count it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn spending(&self, since: Timestamp) -> Result<Vec<(Timestamp, crate::record::Payer, Money)>, StoreError> {
        let mut found = Vec::new();
        self.sums(since, |payer, at, amount| found.push((at, payer.clone(), amount)))?;
        Ok(found)
    }
}
