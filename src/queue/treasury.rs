//! Money at admission: accounts of budgets, and the one atomic reservation of each attempt.
//!
//! In: rules, what was spent in their windows, what is reserved. Out: a [`Reservation`] or why there is none. Must never let
//! `spent + reserved` pass a budget that holds or stops; a run counts in the window in which it ends, its reservation in every
//! window that it lives in.

use rustc_hash::FxHashMap;

use super::limits::Limits;
use super::meter::Meters;
use crate::base::{Millis, Money, Timestamp};
use crate::expand::{OnExceed, Rule, Scope, budget};
use crate::price::Rates;
use crate::record::{Bill, JobSpec, Payer, Reservation};

/// A deadline holds although the attempt starts this much later than it was admitted, into dearer hours: the shorter of both counts.
const START_WITHIN: Millis = Millis::from_secs(600);
/// Money that ends a run sooner than this is no money for it.
const SHORTEST: Millis = Millis::from_secs(1);

/// What counts against one budget in its window.
#[derive(Debug, Clone)]
pub struct Account {
    /// The budget.
    pub rule: Rule,
    /// Posted in the window.
    pub spent: Money,
    /// Set aside for live attempts.
    pub reserved: Money,
    /// Begin of the window. It never moves back, whatever the clock does.
    pub start: Timestamp,
    /// Begin of the next window.
    pub next: Option<Timestamp>,
}

impl Account {
    /// What may still be set aside; nothing when the budget is passed.
    #[must_use]
    pub fn left(&self) -> Money {
        (self.rule.limit - self.spent - self.reserved).max(Money::ZERO)
    }

    /// True when it refuses or holds what it cannot pay.
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.rule.on_exceed != OnExceed::Warn
    }

    fn percent(&self, spent: Money) -> i128 {
        i128::from(spent.micros()) * 100 / i128::from(self.rule.limit.micros().max(1))
    }
}

/// A threshold that spending has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// Number of the account.
    pub account: usize,
    /// Percent of the limit.
    pub percent: u32,
}

/// Why there is no money for an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Number of the account that lacks it; none where a single run may not cost that much.
    pub account: Option<usize>,
    /// It waits for the window or the limit, instead of failing.
    pub hold: bool,
    /// In words.
    pub words: String,
}

/// All accounts of a project.
#[derive(Debug, Clone, Default)]
pub struct Treasury {
    rates: Rates,
    accounts: Vec<Account>,
    by_scope: FxHashMap<Scope, Vec<usize>>,
    each_run: Vec<usize>,
    slots: u32,
    /// What was used of quotas of GPU-hours.
    meters: Meters,
    /// When the first window turns.
    first_turn: Option<Timestamp>,
}

impl Treasury {
    /// Opens an account for each rule. `slots` is how many runs share what is left when none of them says how much it needs.
    #[must_use]
    pub fn new(rates: Rates, rules: &[Rule], slots: u32, now: Timestamp) -> Self {
        let mut treasury = Self { rates, slots: slots.max(1), ..Self::default() };
        treasury.open(rules, now);
        treasury
    }

    /// Takes rules on while attempts run: one that is known by scope and name gets its new limit, others are opened.
    pub fn hold_to(&mut self, rules: &[Rule], now: Timestamp) {
        for rule in rules {
            match self.accounts.iter_mut().find(|a| a.rule.scope == rule.scope && a.rule.name == rule.name) {
                Some(account) => account.rule = rule.clone(),
                None => self.open(std::slice::from_ref(rule), now),
            }
        }
    }

    /// Opens accounts for further rules towards which nothing was spent yet.
    pub fn open(&mut self, rules: &[Rule], now: Timestamp) {
        for rule in rules {
            let index = self.accounts.len();
            if rule.scope.is_each_run() {
                self.each_run.push(index);
            } else {
                self.by_scope.entry(rule.scope.clone()).or_default().push(index);
            }
            let (start, next) = (rule.window.start(now), rule.window.next(now));
            self.accounts.push(Account { rule: rule.clone(), spent: Money::ZERO, reserved: Money::ZERO, start, next });
        }
        self.first_turn = self.accounts.iter().filter_map(|a| a.next).min();
    }

    /// Where nothing has run yet: nothing is spent, and nothing used of quotas of GPU-hours.
    #[must_use]
    pub fn unspent(rates: Rates, rules: &[Rule], limits: &Limits, now: Timestamp) -> Self {
        Self::new(rates, rules, limits.max_concurrent, now).metered(Meters::new(limits, now))
    }

    /// With what was used of quotas of GPU-hours, for the pool.
    #[must_use]
    pub fn metered(self, meters: Meters) -> Self {
        Self { meters, ..self }
    }

    /// What was used of quotas of GPU-hours, when this was read.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The prices.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// All accounts.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Earliest moment from which on past spending counts somewhere; none when nothing counts.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.accounts.iter().map(|a| a.start).min()
    }

    /// Counts what was posted in the past.
    pub fn spent_before(&mut self, payer: &Payer, at: Timestamp, amount: Money) {
        for index in self.of(payer) {
            if let Some(account) = self.accounts.get_mut(index).filter(|a| at >= a.start) {
                account.spent += amount;
            }
        }
    }

    /// Counts the reservation of an attempt that is live.
    pub fn holds(&mut self, payer: &Payer, amount: Money) {
        for index in self.of(payer) {
            if let Some(account) = self.accounts.get_mut(index) {
                account.reserved += amount;
            }
        }
    }

    /// Numbers of the accounts that count a payer. Looked up by scope: what other budgets exist does not matter.
    #[must_use]
    pub fn of(&self, payer: &Payer) -> Vec<usize> {
        let mut found = Vec::new();
        let mut add = |scope: &Scope| found.extend(self.by_scope.get(scope).into_iter().flatten());
        if self.by_scope.is_empty() {
            return found;
        }
        add(&Scope::Project);
        add(&Scope::Workflow(payer.workflow().into()));
        add(&Scope::Job(std::sync::Arc::clone(&payer.job)));
        if let Some(team) = &payer.team {
            add(&Scope::Team(team.as_str().into()));
        }
        if !payer.user.is_empty() {
            add(&Scope::User(std::sync::Arc::clone(&payer.user)));
            let person = budget::person(&payer.user);
            if person.len() < payer.user.len() {
                add(&Scope::User(person.into()));
            }
        }
        for (key, value) in &payer.labels {
            add(&Scope::Label(key.as_str().into(), value.as_str().into()));
        }
        found
    }

    /// Sets money aside for an attempt, in all of its scopes or in none. `already` is what earlier attempts of the run cost.
    ///
    /// # Errors
    /// Which budget lacks how much.
    pub fn reserve(&mut self, job: &JobSpec, payer: Payer, already: Money, now: Timestamp) -> Result<Reservation, Refusal> {
        let reservation = self.quote(job, payer, already, now)?;
        self.holds(&reservation.payer, reservation.amount);
        Ok(reservation)
    }

    /// What [`Treasury::reserve`] would set aside.
    ///
    /// # Errors
    /// Which budget lacks how much.
    pub fn quote(&self, job: &JobSpec, payer: Payer, already: Money, now: Timestamp) -> Result<Reservation, Refusal> {
        let worst = job.timeout.and_then(|t| self.rates.cost_at_most(job, t).ok());
        let most = job.estimate.interval.map(|(_, high)| high).or(job.estimate.time);
        let least = most.and_then(|length| self.rates.cost(job, now, length).ok());
        let hard =
            self.of(&payer).into_iter().filter_map(|i| self.accounts.get(i).map(|a| (Some(i), a.left(), a))).filter(|h| h.2.is_hard());
        let each = self.each_run.iter().filter_map(|i| self.accounts.get(*i)).filter(|a| a.is_hard() && a.rule.scope.covers(&payer));
        let each = each.map(|a| (None, (a.rule.limit - already).max(Money::ZERO), a));
        let hard: Vec<_> = hard.chain(each).collect();
        let Some(left) = hard.iter().map(|(_, left, _)| *left).min() else {
            let amount = worst.or(least).unwrap_or_default();
            return Ok(Reservation { amount, deadline: None, timeout: job.timeout, payer });
        };
        // Without a timeout nobody knows the worst: an equal share of what is left, or what it is thought to need if that is more.
        let want = worst.unwrap_or_else(|| left.scale(1, u64::from(self.slots)).max(least.unwrap_or_default()));
        let need = least.unwrap_or(want).min(want);
        if need > left || left == Money::ZERO {
            return Err(refusal(&hard, need, now));
        }
        let amount = want.min(left);
        let lasts = |start| self.rates.affords(job, start, amount);
        let deadline = (worst.is_none_or(|w| amount < w)).then(|| lasts(now).min(lasts(now.after(START_WITHIN))));
        if deadline.is_some_and(|d| d < SHORTEST) {
            return Err(refusal(&hard, need, now));
        }
        Ok(Reservation { amount, deadline, timeout: job.timeout, payer })
    }

    /// Posts what an attempt cost and frees the rest of its reservation. Tells which thresholds this has reached.
    pub fn post(&mut self, bill: &Bill, now: Timestamp) -> Vec<Crossing> {
        let mut crossings = Vec::new();
        for index in self.of(&bill.payer) {
            let Some(account) = self.accounts.get_mut(index) else { continue };
            turn(account, now);
            account.reserved = (account.reserved - bill.reserved).max(Money::ZERO);
            let (before, after) = (account.percent(account.spent), account.percent(account.spent + bill.amount));
            account.spent += bill.amount;
            let reached = account.rule.thresholds.iter().filter(|t| before < i128::from(**t) && after >= i128::from(**t));
            crossings.extend(reached.map(|percent| Crossing { account: index, percent: *percent }));
        }
        crossings
    }

    /// Takes a reservation back: the attempt was never submitted.
    pub fn cancel(&mut self, reservation: &Reservation) {
        for index in self.of(&reservation.payer) {
            if let Some(account) = self.accounts.get_mut(index) {
                account.reserved = (account.reserved - reservation.amount).max(Money::ZERO);
            }
        }
    }

    /// Begins the windows whose time has come; tells which.
    pub fn turn(&mut self, now: Timestamp) -> Vec<usize> {
        // Admission looks here every time: what other budgets exist must not matter until one of them turns.
        if self.first_turn.is_none_or(|first| now < first) {
            return Vec::new();
        }
        let turned = self.turn_all(now);
        self.first_turn = self.accounts.iter().filter_map(|a| a.next).min();
        turned
    }

    fn turn_all(&mut self, now: Timestamp) -> Vec<usize> {
        self.accounts.iter_mut().enumerate().filter_map(|(i, account)| turn(account, now).then_some(i)).collect()
    }

    /// When the next window of an account begins.
    #[must_use]
    pub fn next_turn(&self, account: usize) -> Option<Timestamp> {
        self.accounts.get(account).and_then(|a| a.next)
    }
}

/// Begins a new window when its time has come.
fn turn(account: &mut Account, now: Timestamp) -> bool {
    let Some((start, next)) = account.rule.window.turned(account.next, now) else { return false };
    (account.start, account.next, account.spent) = (start, next, Money::ZERO);
    true
}

fn refusal(hard: &[(Option<usize>, Money, &Account)], need: Money, now: Timestamp) -> Refusal {
    let short = || hard.iter().filter(|(_, left, _)| *left < need || *left == Money::ZERO);
    // What stops is final, whatever else would only hold.
    let first = short().find(|(_, _, a)| a.rule.on_exceed == OnExceed::Stop).or_else(|| short().next());
    let Some((account, left, a)) = first else {
        return Refusal { account: None, hold: false, words: "no budget has money left".to_owned() };
    };
    let hold = matches!(a.rule.on_exceed, OnExceed::Hold | OnExceed::Cap) && account.is_some();
    let until = match a.next.filter(|_| hold) {
        Some(next) => format!("; it begins anew in {}", next.since(now)),
        None => String::new(),
    };
    let words = format!("budget of {}: needs {need}, {left} of {} is left{until}", a.rule.name, a.rule.limit);
    Refusal { account: *account, hold, words }
}
