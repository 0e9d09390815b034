//! What attempts cost: bills when they end, thresholds, and runs that a budget ends.

use std::sync::Arc;

use super::index::Index;
use super::port::Command;
use super::{Engine, SLACK, attempt_id, payer};
use crate::base::{Address, AttemptId, Millis, Money, Timestamp};
use crate::expand::Scope;
use crate::queue::{Account, Ask, Treasury};
use crate::record::{Attempt, Bill, Cause, Event, JobSpec, Outcome, Payer, RunRecord, State};

/// Who pays for a run's live attempt, and what is set aside for it.
pub(super) fn record_money(record: &RunRecord) -> Option<(Payer, Money)> {
    let attempt = record.live_attempt()?;
    Some((pays(record, attempt), attempt.reserved?))
}

/// Who pays for an attempt: as it was admitted, whatever the run's settings say now.
fn pays(record: &RunRecord, attempt: &Attempt) -> Payer {
    attempt.payer.as_deref().cloned().unwrap_or_else(|| payer(record))
}

/// The hard end of a live attempt, from its start: what the backend was told.
pub(super) fn hard_end(record: &RunRecord, live: &Attempt) -> Option<Millis> {
    limit(timeout(record, live), live.deadline)
}

/// The timeout of a live attempt, as it was admitted.
pub(super) fn timeout(record: &RunRecord, live: &Attempt) -> Option<Millis> {
    if live.payer.is_some() { live.timeout } else { record.spec.job.timeout }
}

/// When an attempt that nobody saw end was over at the latest: the backend ends it, also while nobody looks.
pub(super) fn over_by(record: &RunRecord, now: Timestamp) -> Timestamp {
    let hard = record.live_attempt().and_then(|live| live.started_at.zip(hard_end(record, live)));
    hard.map_or(now, |(start, length)| start.after(length.plus(record.spec.job.grace)).min(now))
}

/// Counts what is set aside for the live attempts of a state.
pub fn reserved(treasury: &mut Treasury, state: &State) {
    for (payer, amount) in state.runs.values().filter_map(record_money) {
        treasury.holds(&payer, amount);
    }
}

/// Most by which real spending passes hard budgets (promise 2): an attempt ends by its deadline, then has its grace, and is ended by the
/// engine [`SLACK`] after that; as many as may run at once, the dearest, each at its dear hours' rate. None where no budget is hard.
#[must_use]
pub fn overrun<'j>(jobs: impl Iterator<Item = (&'j Arc<JobSpec>, usize)>, slots: u32, treasury: &Treasury) -> Option<Money> {
    if !treasury.accounts().iter().any(Account::is_hard) {
        return None;
    }
    let late = |job: &JobSpec| treasury.rates().cost_at_most(job, job.grace.plus(SLACK)).unwrap_or_default();
    let mut each: Vec<(Money, usize)> = jobs.map(|(job, runs)| (late(job), runs)).collect();
    each.sort_unstable_by(|a, b| b.cmp(a));
    let (mut left, mut sum) = (u64::from(slots), Money::ZERO);
    for (money, runs) in each {
        let many = left.min(runs as u64);
        sum += money.scale(many, 1);
        left -= many;
    }
    Some(sum)
}

/// What the ended attempts of a run cost.
pub(super) fn already(record: &RunRecord) -> Money {
    record.attempts.iter().filter_map(|a| a.cost).sum()
}

impl Index {
    /// A ready run, as the gate asks for it.
    pub(super) fn ask(&self, state: &State, id: u32) -> Option<Ask> {
        let entry = self.entries.get(id as usize)?;
        let record = state.runs.get(&entry.address)?;
        Some(Ask {
            job: super::rungs::rest_of(record),
            demand: Arc::clone(&entry.demand),
            seq: entry.seq,
            user: Arc::clone(&record.by),
            already: already(record),
        })
    }
}

/// The hard end of an attempt: its timeout, or the end of its money if that comes first.
pub(super) fn limit(timeout: Option<Millis>, deadline: Option<Millis>) -> Option<Millis> {
    [timeout, deadline].into_iter().flatten().min()
}

impl Engine {
    /// A budget refuses the run for good.
    pub(super) fn refuse(&mut self, id: u32, words: String, now: Timestamp) {
        let Some(address) = self.index.address(id).cloned() else { return };
        self.over(&address, Event::Failed { address: address.clone(), cause: Cause::Budget, detail: words }, now);
    }

    /// What the live attempt of a run has cost when it ends.
    pub(super) fn bill(&self, attempt: &AttemptId, started: Option<Timestamp>, at: Timestamp) -> Option<Bill> {
        let record = self.state.runs.get(&attempt.address)?;
        let live = record.live_attempt()?;
        let begun = started.or(live.started_at);
        let time = begun.map_or(Millis(0), |start| at.since(start)).times(if live.doubled { 2 } else { 1 });
        let start = begun.unwrap_or(at);
        let payer = pays(record, live);
        // Priority and the way of buying may have been edited since; what was admitted is what is paid.
        let job = &record.spec.job;
        let mut admitted = None;
        if job.priority.class != payer.priority || job.resources.capacity != payer.capacity {
            let as_was = admitted.insert((**job).clone());
            as_was.priority.class = Arc::clone(&payer.priority);
            as_was.resources.capacity = payer.capacity;
        }
        let mut bill = self.gate.treasury().rates().bill(admitted.as_ref().unwrap_or(job), start, time);
        bill.reserved = live.reserved.unwrap_or_default();
        bill.payer = payer;
        Some(bill)
    }

    /// Counts a bill: money is free again, thresholds are announced, and what a budget ends is ended.
    pub(super) fn post(&mut self, bill: &Bill, now: Timestamp) {
        self.gate.spend(&bill.payer, bill.time.0.saturating_mul(u64::from(bill.payer.gpus)), now);
        let crossings = self.gate.treasury_mut().post(bill, now);
        self.gate.freed(&bill.payer);
        let crossed = !crossings.is_empty();
        for crossing in crossings {
            let Some(account) = self.gate.treasury().accounts().get(crossing.account) else { continue };
            let (budget, spent, limit) = (Arc::clone(&account.rule.name), account.spent, account.rule.limit);
            self.emit(Event::Threshold { budget, percent: crossing.percent, spent, limit }, now);
        }
        if crossed {
            self.end_used_up(now);
        }
    }

    /// Ends what runs on budgets that are used up and say so; also after a restart with a lower limit.
    pub(super) fn end_used_up(&mut self, now: Timestamp) {
        let accounts = self.gate.treasury().accounts().iter();
        let used_up: Vec<Scope> =
            accounts.filter(|a| a.rule.end_running && a.is_hard() && a.spent >= a.rule.limit).map(|a| a.rule.scope.clone()).collect();
        for scope in used_up {
            let live: Vec<Address> = self.live().into_iter().map(|a| a.address).collect();
            for address in live {
                if self.state.runs.get(&address).is_some_and(|r| r.live_attempt().is_some_and(|a| scope.covers(&pays(r, a)))) {
                    self.end_for(&address, Cause::Budget, String::new(), now);
                }
            }
        }
    }

    /// Asks the live attempt of a run to end.
    pub(super) fn end_for(&mut self, address: &Address, cause: Cause, detail: String, now: Timestamp) {
        let Some(record) = self.state.runs.get(address) else { return };
        let Some(live) = record.live_attempt().filter(|a| a.stop_cause.is_none()) else { return };
        let (attempt, grace) = (attempt_id(record, live.number), record.spec.job.grace);
        self.emit(Event::Stopping { attempt: attempt.clone(), cause, detail }, now);
        self.command(Command::Stop { attempt, grace });
        self.rearm(address, now);
    }
}

/// A timeout that was the end of the money counts as that.
pub(super) fn by_money(live: &Attempt, timeout: Option<Millis>, outcome: &mut Outcome) {
    if let Some(deadline) = live.deadline.filter(|d| outcome.cause == Cause::Timeout && timeout.is_none_or(|t| *d < t)) {
        outcome.cause = Cause::Budget;
        let reserved = live.reserved.unwrap_or_default();
        outcome.detail = format!("the {reserved} that its budget could set aside were used up after {deadline}");
    }
}
