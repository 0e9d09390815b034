//! The ready set and admission: priority, then first in first out; a lower run may pass a waiting head only when that cannot
//! delay the head (conservative backfill, after Lifka 1995: it may use nothing that the head lacks and nothing that the head
//! has been promised).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::hold::Opening;
use super::limits::{Demand, Limits, TeamLimits};
use super::wait::WaitReason;
use crate::base::Timestamp;
use crate::base::resources::{show_cpu, show_memory};
use crate::price::Hours;

/// Amounts held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    runs: u64,
    gpu: u64,
    cpu: u64,
    memory: u64,
}

impl Held {
    fn add(&mut self, d: &Demand) {
        self.runs += 1;
        self.gpu += u64::from(d.gpu);
        self.cpu = self.cpu.saturating_add(d.cpu_millis);
        self.memory = self.memory.saturating_add(d.memory_bytes);
    }

    fn sub(&mut self, d: &Demand) {
        self.runs = self.runs.saturating_sub(1);
        self.gpu = self.gpu.saturating_sub(u64::from(d.gpu));
        self.cpu = self.cpu.saturating_sub(d.cpu_millis);
        self.memory = self.memory.saturating_sub(d.memory_bytes);
    }
}

/// What is held, and by whom.
#[derive(Debug, Clone, Default)]
struct Usage {
    all: Held,
    classes: FxHashMap<Arc<str>, Held>,
    jobs: FxHashMap<Arc<str>, u32>,
    teams: FxHashMap<Arc<str>, Held>,
}

impl Usage {
    fn add(&mut self, d: &Demand) {
        self.all.add(d);
        self.classes.entry(Arc::clone(&d.class)).or_default().add(d);
        if let Some((job, _)) = &d.parallel {
            *self.jobs.entry(Arc::clone(job)).or_default() += 1;
        }
        if let Some(team) = &d.team {
            self.teams.entry(Arc::clone(team)).or_default().add(d);
        }
    }

    fn sub(&mut self, d: &Demand) {
        self.all.sub(d);
        if let Some(held) = self.classes.get_mut(&d.class) {
            held.sub(d);
        }
        if let Some(n) = d.parallel.as_ref().and_then(|(job, _)| self.jobs.get_mut(job)) {
            *n = n.saturating_sub(1);
        }
        if let Some(held) = d.team.as_ref().and_then(|team| self.teams.get_mut(team)) {
            held.sub(d);
        }
    }
}

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
}

impl Pool {
    /// An empty pool. `hours` are those of the rate card, for runs that wait for some of them.
    #[must_use]
    pub fn new(limits: Limits, hours: Arc<Hours>) -> Self {
        Self { limits, hours, usage: Usage::default(), groups: Vec::new(), by_demand: FxHashMap::default(), holding: Vec::new() }
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
        self.pass(now, |run| admitted.push(run), |_, _| {});
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
        waiting.filter_map(|g| g.opening(&self.hours, now)?.until()).min()
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
        let mut lacking = Lacking::default();
        while let Some(Reverse((_, _, index))) = heads.pop() {
            let Some(group) = self.groups.get_mut(index) else { continue };
            let demand = group.demand.clone();
            match fits(&self.limits, &self.usage, &demand) {
                Err((reason, dimension)) => {
                    // A team at its own quota holds no other team back; behind it in the same team nobody takes of what it lacks.
                    if !matches!(dimension, Dimension::Team(..)) {
                        promised.push(demand.clone());
                    }
                    lacking.note(dimension);
                    blocked(&demand, reason);
                }
                Ok(()) if lacking.touches(&demand) || !fits_beside(&self.limits, &self.usage, &promised, &lacking, &demand) => {
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

/// What a demand lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Dimension {
    Slots,
    Gpu(Option<Arc<str>>),
    Cpu(Option<Arc<str>>),
    Memory(Option<Arc<str>>),
    Job(Arc<str>),
    Team(Arc<str>, Kind),
}

/// What a team can lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Runs,
    Gpu,
    Cpu,
    Memory,
}

/// What heads that wait lack: nobody behind them may take of it.
#[derive(Debug, Default)]
struct Lacking {
    slots: bool,
    others: Vec<Dimension>,
}

impl Lacking {
    fn note(&mut self, dimension: Dimension) {
        match dimension {
            Dimension::Slots => self.slots = true,
            other if !self.others.contains(&other) => self.others.push(other),
            _ => {}
        }
    }

    fn touches(&self, demand: &Demand) -> bool {
        let in_class = |class: &Option<Arc<str>>| class.as_ref().is_none_or(|c| *c == demand.class);
        self.slots
            || self.others.iter().any(|d| match d {
                Dimension::Slots => true,
                Dimension::Gpu(class) => demand.gpu > 0 && in_class(class),
                Dimension::Cpu(class) => demand.cpu_millis > 0 && in_class(class),
                Dimension::Memory(class) => demand.memory_bytes > 0 && in_class(class),
                Dimension::Job(job) => demand.parallel.as_ref().is_some_and(|(j, _)| j == job),
                Dimension::Team(team, kind) => demand.team.as_ref() == Some(team) && kind.is_asked_by(demand),
            })
    }

    /// Heads that wait only for their own sweep or team hold nobody else back.
    fn only_own(&self) -> bool {
        !self.slots && self.others.iter().all(|d| matches!(d, Dimension::Job(_) | Dimension::Team(..)))
    }
}

fn fits_beside(limits: &Limits, usage: &Usage, promised: &[Demand], lacking: &Lacking, demand: &Demand) -> bool {
    if lacking.only_own() {
        return true;
    }
    let mut with = usage.clone();
    for head in
        promised.iter().filter(|h| h.parallel.as_ref().is_none_or(|(job, _)| !lacking.others.contains(&Dimension::Job(Arc::clone(job)))))
    {
        with.add(head);
    }
    // A head may itself be over the limit in what it lacks; what the candidate does not use does not matter.
    match fits(limits, &with, demand) {
        Ok(()) => true,
        Err((_, Dimension::Gpu(_))) if demand.gpu == 0 => true,
        Err(_) => false,
    }
}

fn fits(limits: &Limits, usage: &Usage, d: &Demand) -> Result<(), (WaitReason, Dimension)> {
    if let Some((job, limit)) = &d.parallel
        && usage.jobs.get(job).copied().unwrap_or(0) >= *limit
    {
        return Err((WaitReason::Parallel { limit: *limit }, Dimension::Job(Arc::clone(job))));
    }
    if usage.all.runs >= u64::from(limits.max_concurrent) {
        return Err((WaitReason::Slots { limit: limits.max_concurrent }, Dimension::Slots));
    }
    if let Some(short) = team_lacks(limits, usage, d) {
        return Err(short);
    }
    let nothing = Held::default();
    let class = limits.classes.get(&d.class).map(|q| (q, usage.classes.get(&d.class).unwrap_or(&nothing), Some(Arc::clone(&d.class))));
    for (quota, held, class) in [(&limits.quotas, &usage.all, None)].into_iter().chain(class) {
        let wait = |what, asks, free| WaitReason::Quota { what, class: class.clone(), asks, free };
        if let Some(limit) = quota.gpu.filter(|l| d.gpu > 0 && held.gpu + u64::from(d.gpu) > u64::from(*l)) {
            let free = u64::from(limit).saturating_sub(held.gpu);
            return Err((wait("GPUs", d.gpu.to_string(), free.to_string()), Dimension::Gpu(class)));
        }
        // On a machine whose capacity nobody declared, a run that asks for more than all of it runs alone.
        let most = |asks: u64, limit: u64| if limits.soft { asks.min(limit) } else { asks };
        if let Some(limit) = quota.cpu_millis.filter(|l| d.cpu_millis > 0 && held.cpu.saturating_add(most(d.cpu_millis, *l)) > *l) {
            return Err((wait("cores", show_cpu(d.cpu_millis), show_cpu(limit.saturating_sub(held.cpu))), Dimension::Cpu(class)));
        }
        if let Some(limit) = quota.memory_bytes.filter(|l| d.memory_bytes > 0 && held.memory.saturating_add(most(d.memory_bytes, *l)) > *l)
        {
            return Err((
                wait("of memory", show_memory(d.memory_bytes), show_memory(limit.saturating_sub(held.memory))),
                Dimension::Memory(class),
            ));
        }
    }
    Ok(())
}

impl Kind {
    const ALL: [Self; 4] = [Self::Runs, Self::Gpu, Self::Cpu, Self::Memory];

    /// Whether a run uses any of it.
    fn is_asked_by(self, d: &Demand) -> bool {
        self.asks(d) > 0
    }

    fn asks(self, d: &Demand) -> u64 {
        match self {
            Self::Runs => 1,
            Self::Gpu => u64::from(d.gpu),
            Self::Cpu => d.cpu_millis,
            Self::Memory => d.memory_bytes,
        }
    }

    fn held(self, held: &Held) -> u64 {
        match self {
            Self::Runs => held.runs,
            Self::Gpu => held.gpu,
            Self::Cpu => held.cpu,
            Self::Memory => held.memory,
        }
    }

    fn limit(self, team: &TeamLimits) -> Option<u64> {
        match self {
            Self::Runs => team.max_concurrent.map(u64::from),
            Self::Gpu => team.quotas.gpu.map(u64::from),
            Self::Cpu => team.quotas.cpu_millis,
            Self::Memory => team.quotas.memory_bytes,
        }
    }

    fn show(self, amount: u64) -> String {
        match self {
            Self::Runs | Self::Gpu => amount.to_string(),
            Self::Cpu => show_cpu(amount),
            Self::Memory => show_memory(amount),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Runs => "runs at a time",
            Self::Gpu => "GPUs",
            Self::Cpu => "cores",
            Self::Memory => "of memory",
        }
    }
}

/// What a run's team may not hold beside what it holds already.
fn team_lacks(limits: &Limits, usage: &Usage, d: &Demand) -> Option<(WaitReason, Dimension)> {
    let (name, team) = limits.team(d)?;
    let nothing = Held::default();
    let held = usage.teams.get(name).unwrap_or(&nothing);
    Kind::ALL.into_iter().find_map(|kind| {
        let (asks, holds, limit) = (kind.asks(d), kind.held(held), kind.limit(team)?);
        (asks > 0 && holds.saturating_add(asks) > limit).then(|| {
            let reason = WaitReason::Team { team: Arc::clone(name), what: kind.word(), holds: kind.show(holds), limit: kind.show(limit) };
            (reason, Dimension::Team(Arc::clone(name), kind))
        })
    })
}
