//! What is held, whether a demand fits beside it, and what those before it in the line lack.
//!
//! In: limits, what is held, demands. Out: fits, or the reason why not and the dimension that is lacking. Must never admit: the pool does.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::limits::{Demand, Limits, TeamLimits};
use super::meter::{Meters, Short};
use super::wait::WaitReason;
use crate::base::resources::{show_cpu, show_memory};
use crate::base::{Millis, Timestamp};

/// Amounts held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    runs: u64,
    gpu: u64,
    cpu: u64,
    memory: u64,
    gpu_time: u64,
}

impl Held {
    pub(super) fn add(&mut self, d: &Demand) {
        self.runs += 1;
        self.gpu += u64::from(d.gpu);
        self.cpu = self.cpu.saturating_add(d.cpu_millis);
        self.memory = self.memory.saturating_add(d.memory_bytes);
        self.gpu_time = self.gpu_time.saturating_add(d.gpu_time);
    }

    pub(super) fn sub(&mut self, d: &Demand) {
        self.runs = self.runs.saturating_sub(1);
        self.gpu = self.gpu.saturating_sub(u64::from(d.gpu));
        self.cpu = self.cpu.saturating_sub(d.cpu_millis);
        self.memory = self.memory.saturating_sub(d.memory_bytes);
        self.gpu_time = self.gpu_time.saturating_sub(d.gpu_time);
    }
}

/// What is held, and by whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    all: Held,
    classes: FxHashMap<Arc<str>, Held>,
    jobs: FxHashMap<Arc<str>, u32>,
    teams: FxHashMap<Arc<str>, Held>,
    pub(super) meters: Meters,
}

impl Usage {
    /// Nothing is held.
    pub(super) fn new(meters: Meters) -> Self {
        Self { meters, ..Self::default() }
    }

    pub(super) fn add(&mut self, d: &Demand) {
        self.all.add(d);
        self.classes.entry(Arc::clone(&d.class)).or_default().add(d);
        if let Some((job, _)) = &d.parallel {
            *self.jobs.entry(Arc::clone(job)).or_default() += 1;
        }
        if let Some(team) = &d.team {
            self.teams.entry(Arc::clone(team)).or_default().add(d);
        }
    }

    pub(super) fn sub(&mut self, d: &Demand) {
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

impl Usage {
    /// GPU time that live runs hold: of a team, or of all.
    fn gpu_time(&self, team: Option<&Arc<str>>) -> u64 {
        team.map_or(self.all.gpu_time, |team| self.teams.get(team).map_or(0, |held| held.gpu_time))
    }

    /// The quota of GPU-hours that keeps a run back.
    pub(super) fn short(&self, demand: &Demand) -> Option<Short> {
        self.meters.lacks(demand, |team| self.gpu_time(team))
    }
}

/// What a demand lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dimension {
    Slots,
    Gpu(Option<Arc<str>>),
    Cpu(Option<Arc<str>>),
    Memory(Option<Arc<str>>),
    Job(Arc<str>),
    Team(Arc<str>, Kind),
    Hours(Box<Short>),
}

impl Dimension {
    /// Whoever lacks it holds back only those that would take of the same.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Job(_) | Self::Team(..) | Self::Hours(_))
    }
}

/// What a team can lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Runs,
    Gpu,
    Cpu,
    Memory,
}

/// What heads that wait lack: nobody behind them may take of it.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    pub(super) now: Timestamp,
    pub(super) slots: bool,
    others: Vec<Dimension>,
    hours: Vec<Short>,
}

impl Lacking {
    /// Nobody lacks anything yet.
    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, ..Self::default() }
    }

    pub(super) fn note(&mut self, dimension: Dimension) {
        match dimension {
            Dimension::Slots => self.slots = true,
            Dimension::Hours(short) => self.hours.push(*short),
            other if !self.others.contains(&other) => self.others.push(other),
            _ => {}
        }
    }

    pub(super) fn touches(&self, usage: &Usage, demand: &Demand) -> bool {
        let in_class = |class: &Option<Arc<str>>| class.as_ref().is_none_or(|c| *c == demand.class);
        self.slots
            || self.touches_hours(usage, demand)
            || self.others.iter().any(|d| match d {
                Dimension::Slots | Dimension::Hours(_) => true,
                Dimension::Gpu(class) => demand.gpu > 0 && in_class(class),
                Dimension::Cpu(class) => demand.cpu_millis > 0 && in_class(class),
                Dimension::Memory(class) => demand.memory_bytes > 0 && in_class(class),
                Dimension::Job(job) => demand.parallel.as_ref().is_some_and(|(j, _)| j == job),
                Dimension::Team(team, kind) => demand.team.as_ref() == Some(team) && kind.is_asked_by(demand),
            })
    }

    /// Whether it would take GPU-hours of heads that wait for them. One that waits for the next window lets pass who is thought to end
    /// before, or to leave it enough.
    fn touches_hours(&self, usage: &Usage, demand: &Demand) -> bool {
        let mine = |short: &&Short| demand.gpu_time > 0 && (short.team.is_none() || short.team == demand.team);
        self.hours.iter().filter(mine).any(|short| {
            if !short.spent {
                return true;
            }
            let Some(next) = short.next else { return false };
            let ends = self.now.after(Millis(demand.gpu_time / u64::from(demand.gpu.max(1))));
            let heads = self.hours.iter().filter(|s| s.team == short.team && s.spent && s.next.is_some());
            let promised = heads.fold(usage.gpu_time(short.team.as_ref()), |sum, s| sum.saturating_add(s.asks));
            ends > next && promised.saturating_add(demand.gpu_time) > short.quota.limit
        })
    }

    /// Heads that wait only for their own sweep, team or GPU-hours hold nobody else back.
    fn only_own(&self) -> bool {
        !self.slots && self.others.iter().all(Dimension::is_own)
    }
}

pub(super) fn fits_beside(limits: &Limits, usage: &Usage, promised: &[Demand], lacking: &Lacking, demand: &Demand) -> bool {
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

pub(super) fn fits(limits: &Limits, usage: &Usage, d: &Demand) -> Result<(), (WaitReason, Dimension)> {
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
    if let Some(short) = usage.short(d) {
        return Err((short.reason(), Dimension::Hours(Box::new(short))));
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
