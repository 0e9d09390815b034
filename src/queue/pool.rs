//! The ready set and admission: priority, then first in first out; a lower run may pass a waiting head only when that cannot
//! delay the head (conservative backfill, after Lifka 1995: it may use nothing that the head lacks and nothing that the head
//! has been promised).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::hold::Opening;
use super::limits::{Demand, Limits};
use super::meter::Meters;
use super::usage::{Lacking, Usage, fits, fits_beside};
use super::wait::WaitReason;
use crate::base::Timestamp;
use crate::price::Hours;

/// Runs with one demand, first in first out by sequence number.
#[derive(Debug, Clone)]
struct Group {
    demand: Demand,
    waiting: BTreeSet<(u64, u32)>,
    /// Since when it is known to be closed, and until when.
    closed: Option<(Timestamp, Opening)>,
}

impl Group {
    /// What its hold says; none where it has none.
    fn opening(&self, hours: &Hours, now: Timestamp) -> Option<Opening> {
        let hold = self.demand.hold.as_ref()?;
        let known = self.closed.filter(|(since, opening)| *since <= now && opening.until().is_some_and(|until| now < until));
        Some(known.map_or_else(|| hold.at(hours, now), |(_, opening)| opening))
    }

    /// The same, noted for the next time.
    fn look(&mut self, hours: &Hours, now: Timestamp) -> Option<Opening> {
        let opening = self.opening(hours, now)?;
        if self.closed.is_none_or(|(_, known)| known != opening) {
            self.closed = opening.until().map(|_| (now, opening));
        }
        Some(opening)
    }
}

/// The pool: what is held, and who waits. Runs are known by numbers of the caller's.
#[derive(Debug, Clone)]
pub struct Pool {
    limits: Limits,
    hours: Arc<Hours>,
    usage: Usage,
    groups: Vec<Group>,
    by_demand: FxHashMap<Demand, usize>,
    /// Groups that wait for hours.
    holding: Vec<usize>,
    /// Runs that waited for the next window of a quota of GPU-hours, when they first did: the reason and how many.
    short: Vec<(WaitReason, usize)>,
}

impl Pool {
    /// An empty pool. `hours` are those of the rate card, for runs that wait for some of them.
    #[must_use]
    pub fn new(limits: Limits, hours: Arc<Hours>) -> Self {
        let usage = Usage::new(Meters::unread(&limits));
        Self { limits, hours, usage, groups: Vec::new(), by_demand: FxHashMap::default(), holding: Vec::new(), short: Vec::new() }
    }

    /// With what was used of the quotas of GPU-hours before.
    #[must_use]
    pub fn metered(mut self, known: &Meters) -> Self {
        self.usage.meters.take(known);
        self
    }

    /// Counts the GPU time of an attempt that ended now.
    pub fn spend(&mut self, team: Option<&str>, gpu_millis: u64, now: Timestamp) {
        self.usage.meters.spend(team, gpu_millis, now);
    }

    /// What is used of the quotas of GPU-hours.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.usage.meters
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn group(&mut self, demand: &Demand) -> usize {
        if let Some(i) = self.by_demand.get(demand) {
            return *i;
        }
        if demand.hold.is_some() {
            self.holding.push(self.groups.len());
        }
        self.groups.push(Group { demand: demand.clone(), waiting: BTreeSet::new(), closed: None });
        self.by_demand.insert(demand.clone(), self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// A run is ready to start. `seq` is its place in the line.
    pub fn enqueue(&mut self, run: u32, seq: u64, demand: &Demand) {
        let group = self.group(demand);
        if let Some(group) = self.groups.get_mut(group) {
            group.waiting.insert((seq, run));
        }
    }

    /// A ready run is not to start any more.
    pub fn withdraw(&mut self, run: u32, seq: u64, demand: &Demand) {
        let group = self.group(demand);
        if let Some(group) = self.groups.get_mut(group) {
            group.waiting.remove(&(seq, run));
        }
    }

    /// A run holds its demand already (it was admitted before).
    pub fn hold(&mut self, demand: &Demand) {
        self.usage.add(demand);
    }

    /// A run holds its demand no longer.
    pub fn release(&mut self, demand: &Demand) {
        self.usage.sub(demand);
    }

    /// Admits all that may start now, in order; they hold their demands from here on.
    pub fn admit(&mut self, now: Timestamp) -> Vec<u32> {
        let mut admitted = Vec::new();
        let mut short = Vec::new();
        self.pass(
            now,
            |run| admitted.push(run),
            |demand, reason| {
                if matches!(reason, WaitReason::GpuHours { until: Some(_), .. }) {
                    short.push((demand.clone(), reason));
                }
            },
        );
        self.note_short(short);
        admitted
    }

    /// Why the runs of each demand wait, after everything that may start was admitted.
    #[must_use]
    pub fn reasons(&self, now: Timestamp) -> FxHashMap<Demand, WaitReason> {
        let mut reasons = FxHashMap::default();
        self.clone().pass(
            now,
            |_| {},
            |demand, reason| {
                reasons.entry(demand.clone()).or_insert(reason);
            },
        );
        reasons
    }

    /// When the next of the hours comes that a run waits for.
    #[must_use]
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.holding.iter().filter_map(|i| self.groups.get(*i)).filter(|g| !g.waiting.is_empty());
        let opening = waiting.filter_map(|g| g.opening(&self.hours, now)?.until()).min();
        let metered = self.groups.iter().filter(|g| g.demand.gpu_time > 0 && !g.waiting.is_empty());
        let turn = metered.filter_map(|g| self.usage.short(&g.demand)?.next).min();
        [opening, turn].into_iter().flatten().min()
    }

    /// Runs that waited for the next window of a quota of GPU-hours: why the first did, and how many then, by quota.
    #[must_use]
    pub fn short_of_hours(&self) -> &[(WaitReason, usize)] {
        &self.short
    }

    fn note_short(&mut self, found: Vec<(Demand, WaitReason)>) {
        let whose = |reason: &WaitReason| if let WaitReason::GpuHours { team, .. } = reason { Some(team.clone()) } else { None };
        let known = self.short.len();
        for (demand, reason) in found {
            let runs = self.by_demand.get(&demand).and_then(|i| self.groups.get(*i)).map_or(0, |g| g.waiting.len());
            match self.short.iter_mut().enumerate().find(|(_, (r, _))| whose(r) == whose(&reason)) {
                Some((i, (_, n))) if i >= known => *n += runs,
                Some(_) => {}
                None => self.short.push((reason, runs)),
            }
        }
    }

    /// Why runs wait for their own team, and how many, after everything that may start was admitted.
    #[must_use]
    pub fn teams_that_wait(&self, now: Timestamp) -> Vec<(WaitReason, usize)> {
        let mut found: Vec<(WaitReason, usize)> = Vec::new();
        if self.limits.teams.is_empty() {
            return found;
        }
        for (demand, reason) in self.reasons(now).into_iter().filter(|(_, r)| matches!(r, WaitReason::Team { .. })) {
            if self.limits.never_in_team(&demand).is_some() {
                continue;
            }
            let runs = self.by_demand.get(&demand).and_then(|i| self.groups.get(*i)).map_or(0, |g| g.waiting.len());
            match found.iter_mut().find(|(r, _)| *r == reason) {
                Some((_, n)) => *n += runs,
                None => found.push((reason, runs)),
            }
        }
        found.sort_by_cached_key(|(reason, _)| reason.to_string());
        found
    }

    /// Runs that wait, in the order in which they would be looked at.
    #[must_use]
    pub fn waiting(&self) -> Vec<u32> {
        let mut all: Vec<(Reverse<i32>, u64, u32)> =
            self.groups.iter().flat_map(|g| g.waiting.iter().map(|(seq, run)| (Reverse(g.demand.weight), *seq, *run))).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, _, run)| run).collect()
    }

    fn pass(&mut self, now: Timestamp, mut admit: impl FnMut(u32), mut blocked: impl FnMut(&Demand, WaitReason)) {
        self.usage.meters.turn(now);
        let mut heads: BinaryHeap<Reverse<(Reverse<i32>, u64, usize)>> = BinaryHeap::new();
        for (i, group) in self.groups.iter_mut().enumerate() {
            if let Some((seq, _)) = group.waiting.first().copied() {
                // Who waits for hours is promised nothing and holds nobody back.
                let opening = group.look(&self.hours, now).and_then(|o| o.until().map(|until| (until, o)));
                if let (Some((until, opening)), Some(hold)) = (opening, &group.demand.hold) {
                    let early = matches!(opening, Opening::Early(_));
                    blocked(&group.demand, WaitReason::Window { window: Arc::clone(&hold.window), until, early });
                    continue;
                }
                heads.push(Reverse((Reverse(group.demand.weight), seq, i)));
            }
        }
        // What heads that wait have been promised, beside what is held.
        let mut promised: Vec<Demand> = Vec::new();
        let mut lacking = Lacking::at(now);
        while let Some(Reverse((_, _, index))) = heads.pop() {
            let Some(group) = self.groups.get_mut(index) else { continue };
            let demand = group.demand.clone();
            match fits(&self.limits, &self.usage, &demand) {
                Err((reason, dimension)) => {
                    // A team at its own quota holds no other team back; behind it in the same team nobody takes of what it lacks. Nor is
                    // a run promised slots and GPUs that waits for GPU-hours.
                    if !dimension.is_own() {
                        promised.push(demand.clone());
                    }
                    lacking.note(dimension);
                    blocked(&demand, reason);
                }
                Ok(())
                    if lacking.touches(&self.usage, &demand) || !fits_beside(&self.limits, &self.usage, &promised, &lacking, &demand) =>
                {
                    promised.push(demand.clone());
                    blocked(&demand, WaitReason::Behind);
                }
                Ok(()) => {
                    if let Some((_, run)) = group.waiting.pop_first() {
                        admit(run);
                        self.usage.add(&demand);
                    }
                    if let Some((seq, _)) = group.waiting.first() {
                        heads.push(Reverse((Reverse(demand.weight), *seq, index)));
                    }
                }
            }
            if lacking.slots {
                // Every run needs a slot: nobody can pass.
                while let Some(Reverse((_, _, rest))) = heads.pop() {
                    if let Some(group) = self.groups.get(rest) {
                        blocked(&group.demand, WaitReason::Slots { limit: self.limits.max_concurrent });
                    }
                }
            }
        }
    }
}
