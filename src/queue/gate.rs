//! The gate through which every attempt goes: first the pool, then money. What a budget holds waits beside the pool's line.
//!
//! In: ready runs. Out: [`Decision`]s, in the order of admission. The engine and the forecast admit through it alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::limits::Demand;
use super::pool::Pool;
use super::treasury::{Refusal, Treasury};
use super::wait::WaitReason;
use crate::base::{Money, Timestamp};
use crate::record::{JobSpec, Payer, Reservation};

/// A ready run, as the gate asks for it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Its settings.
    pub job: Arc<JobSpec>,
    /// What it holds.
    pub demand: Arc<Demand>,
    /// Its place in the line.
    pub seq: u64,
    /// Who applied it.
    pub user: Arc<str>,
    /// What its earlier attempts cost.
    pub already: Money,
}

/// What becomes of a run that had its turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It starts, with this money.
    Launch(u32, Box<Reservation>),
    /// A budget refuses it for good.
    Refuse(u32, String),
}

/// The runs that one account holds.
type Held = BTreeSet<(Reverse<i32>, u64, u32)>;

/// Pool and treasury, and who waits for either.
#[derive(Debug, Clone)]
pub struct Gate {
    pool: Pool,
    treasury: Treasury,
    held: BTreeMap<usize, Held>,
    holder: FxHashMap<u32, usize>,
    /// The run of each account that was let into the pool's line again, to see whether there is money now.
    trying: BTreeMap<usize, u32>,
    /// Accounts that may have money for what they hold.
    woken: BTreeSet<usize>,
}

impl Gate {
    /// A gate before an empty pool.
    #[must_use]
    pub fn new(pool: Pool, treasury: Treasury) -> Self {
        Self { pool, treasury, held: BTreeMap::new(), holder: FxHashMap::default(), trying: BTreeMap::new(), woken: BTreeSet::new() }
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The accounts.
    #[must_use]
    pub fn treasury(&self) -> &Treasury {
        &self.treasury
    }

    /// The accounts, to change.
    pub fn treasury_mut(&mut self) -> &mut Treasury {
        &mut self.treasury
    }

    /// A run is ready to start.
    pub fn enqueue(&mut self, run: u32, seq: u64, demand: &Demand) {
        self.pool.enqueue(run, seq, demand);
    }

    /// A ready run is not to start any more.
    pub fn withdraw(&mut self, run: u32, seq: u64, demand: &Demand) {
        if let Some(account) = self.holder.remove(&run) {
            if let Some(held) = self.held.get_mut(&account) {
                held.remove(&(Reverse(demand.weight), seq, run));
            }
            return;
        }
        self.trying.retain(|_, r| *r != run);
        self.pool.withdraw(run, seq, demand);
    }

    /// An attempt holds its demand and its money already (it was admitted before).
    pub fn hold(&mut self, demand: &Demand, money: Option<(&Payer, Money)>) {
        self.pool.hold(demand);
        if let Some((payer, amount)) = money {
            self.treasury.holds(payer, amount);
        }
    }

    /// An attempt holds its demand no longer.
    pub fn release(&mut self, demand: &Demand) {
        self.pool.release(demand);
    }

    /// Counts the GPU time of an attempt that ended now.
    pub fn spend(&mut self, payer: &Payer, gpu_millis: u64, now: Timestamp) {
        self.pool.spend(payer.team.as_deref(), gpu_millis, now);
    }

    /// Money came back to the accounts of a payer.
    pub fn freed(&mut self, payer: &Payer) {
        if !self.held.is_empty() {
            self.woken.extend(self.treasury.of(payer));
        }
    }

    /// Admits all that may start now.
    pub fn admit(&mut self, now: Timestamp, ask: impl Fn(u32) -> Option<Ask>) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.woken.extend(self.treasury.turn(now));
        loop {
            self.wake(now, &ask);
            let admitted = self.pool.admit(now);
            if admitted.is_empty() {
                return decisions;
            }
            for run in admitted {
                let Some(asked) = ask(run) else { continue };
                self.trying.retain(|account, r| {
                    let mine = *r == run;
                    if mine {
                        self.woken.insert(*account);
                    }
                    !mine
                });
                let payer = Payer::of(&asked.job, &asked.user);
                match self.treasury.reserve(&asked.job, payer, asked.already, now) {
                    Ok(reservation) => decisions.push(Decision::Launch(run, Box::new(reservation))),
                    Err(Refusal { account: Some(account), hold: true, .. }) => {
                        self.pool.release(&asked.demand);
                        self.held.entry(account).or_default().insert((Reverse(asked.demand.weight), asked.seq, run));
                        self.holder.insert(run, account);
                        self.woken.remove(&account);
                    }
                    Err(refusal) => {
                        self.pool.release(&asked.demand);
                        decisions.push(Decision::Refuse(run, refusal.words));
                    }
                }
            }
        }
    }

    /// Lets the first held run of each account with fresh money into the line, one at a time.
    fn wake(&mut self, now: Timestamp, ask: &impl Fn(u32) -> Option<Ask>) {
        while let Some(account) = self.woken.pop_first() {
            if self.trying.contains_key(&account) {
                continue;
            }
            let Some(held) = self.held.get_mut(&account) else { continue };
            let Some(&(weight, seq, run)) = held.first() else { continue };
            let Some(asked) = ask(run) else {
                held.remove(&(weight, seq, run));
                self.holder.remove(&run);
                self.woken.insert(account);
                continue;
            };
            match self.treasury.quote(&asked.job, Payer::of(&asked.job, &asked.user), asked.already, now) {
                Err(Refusal { account: Some(now_by), hold: true, .. }) if now_by == account => {}
                Err(Refusal { account: Some(now_by), hold: true, .. }) => {
                    // Another budget holds it now: that one's money is what it waits for.
                    held.remove(&(weight, seq, run));
                    self.holder.insert(run, now_by);
                    self.held.entry(now_by).or_default().insert((weight, seq, run));
                    self.woken.insert(account);
                }
                // Also what is refused for good since goes through the line: there it is told.
                Ok(_) | Err(_) => {
                    held.remove(&(weight, seq, run));
                    self.holder.remove(&run);
                    self.trying.insert(account, run);
                    self.pool.enqueue(run, asked.seq, &asked.demand);
                }
            }
        }
        self.held.retain(|_, held| !held.is_empty());
    }

    /// When money may come by itself for what is held.
    #[must_use]
    pub fn next_turn(&self) -> Option<Timestamp> {
        self.held.keys().filter_map(|account| self.treasury.next_turn(*account)).min()
    }

    /// Which budget holds a run.
    #[must_use]
    pub fn holder(&self, run: u32) -> Option<usize> {
        self.holder.get(&run).copied()
    }

    /// The runs that each account holds, first in first out.
    #[must_use]
    pub fn held(&self) -> Vec<(usize, Vec<u32>)> {
        self.held.iter().map(|(account, held)| (*account, held.iter().map(|(_, _, run)| *run).collect())).collect()
    }

    /// True when runs wait for money.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.holder.is_empty()
    }

    /// Why the runs of each demand wait for the pool.
    #[must_use]
    pub fn reasons(&self, now: Timestamp) -> FxHashMap<Demand, WaitReason> {
        self.pool.reasons(now)
    }

    /// Runs that wait, for the pool and then for money, in the order in which they would be looked at.
    #[must_use]
    pub fn waiting(&self) -> Vec<u32> {
        let mut all = self.pool.waiting();
        all.extend(self.held.values().flatten().map(|(_, _, run)| *run));
        all
    }
}
