//! What runs may hold together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::hold::{self, Hold};
use crate::base::resources::{show_cpu, show_memory};
use crate::base::{Diagnostics, Span};
use crate::expand::gpu_time::GpuTime;
use crate::record::JobSpec;
use crate::spec::lower::Named;
use crate::spec::types::{PoolDecl, QuotasDecl, TeamDecl};

/// Most of each resource; none is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas {
    /// GPUs.
    pub gpu: Option<u32>,
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
}

/// What a team may hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamLimits {
    /// Most runs at a time.
    pub max_concurrent: Option<u32>,
    /// Most of each resource at a time.
    pub quotas: Quotas,
    /// Most GPU time in a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_time: Option<GpuTime>,
    /// Where it is written; not part of saved plans.
    #[serde(skip)]
    pub span: Option<Span>,
}

/// The limits of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most runs at a time.
    pub max_concurrent: u32,
    /// Most of each resource at a time.
    pub quotas: Quotas,
    /// Further quotas by priority class.
    pub classes: BTreeMap<Arc<str>, Quotas>,
    /// Cores and memory are those of this machine, not declared: a run that asks for more has it to itself.
    #[serde(default)]
    pub soft: bool,
    /// Most GPU time of all runs in a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_time: Option<GpuTime>,
    /// What each team may hold of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teams: BTreeMap<Arc<str>, TeamLimits>,
}

/// Runs at a time where the project names no other number.
pub const MAX_CONCURRENT: u32 = 3;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent: MAX_CONCURRENT,
            quotas: Quotas::default(),
            classes: BTreeMap::new(),
            soft: false,
            gpu_time: None,
            teams: BTreeMap::new(),
        }
    }
}

impl Quotas {
    fn read(decl: &QuotasDecl) -> Self {
        Self {
            gpu: decl.gpu.as_ref().map(|p| p.0),
            cpu_millis: decl.cpu.as_ref().map(|p| p.0.0),
            memory_bytes: decl.memory.as_ref().map(|p| p.0.0),
        }
    }

    /// These, and where they say nothing, those.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            gpu: self.gpu.or(other.gpu),
            cpu_millis: self.cpu_millis.or(other.cpu_millis),
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
        }
    }
}

impl Limits {
    /// The project's pool; `machine` is what the backend has, which counts where the project sets no quota.
    #[must_use]
    pub fn read(decl: Option<&PoolDecl>, machine: &Quotas) -> Self {
        let declared = decl.and_then(|d| d.quotas.as_ref()).map(Quotas::read).unwrap_or_default();
        Self {
            max_concurrent: decl.and_then(|d| d.max_concurrent.as_ref()).map_or(MAX_CONCURRENT, |p| p.0),
            quotas: declared.or(machine),
            soft: decl.is_none_or(|d| d.quotas.as_ref().is_none_or(|q| q.cpu.is_none() && q.memory.is_none())),
            gpu_time: decl.and_then(|d| d.gpu_hours.as_ref()).and_then(|d| GpuTime::read(d, &mut Diagnostics::default())),
            teams: BTreeMap::new(),
            classes: decl.map(|d| d.classes.iter().map(|(n, _, q)| (Arc::clone(n), Quotas::read(q))).collect()).unwrap_or_default(),
        }
    }

    /// With what teams may hold of it.
    #[must_use]
    pub fn with_teams(mut self, teams: &Named<TeamDecl>) -> Self {
        let limits = |span: Span, t: &TeamDecl| TeamLimits {
            max_concurrent: t.max_concurrent.as_ref().map(|p| p.0),
            quotas: Quotas {
                gpu: t.gpu.as_ref().map(|p| p.0),
                cpu_millis: t.cpu.as_ref().map(|p| p.0.0),
                memory_bytes: t.memory.as_ref().map(|p| p.0.0),
            },
            gpu_time: t.gpu_hours.as_ref().and_then(|d| GpuTime::read(d, &mut Diagnostics::default())),
            span: Some(span),
        };
        self.teams = teams.iter().map(|(name, span, t)| (Arc::clone(name), limits(*span, t))).collect();
        self
    }

    /// What a run holds here.
    #[must_use]
    pub fn demand(&self, job: &JobSpec) -> Demand {
        let mut demand = Demand::of(job);
        let of_team = self.team(&demand).and_then(|(_, team)| team.gpu_time);
        let quotas = || [self.gpu_time, of_team].into_iter().flatten();
        if let Some(least) = quotas().map(|q| q.limit).min().filter(|_| demand.gpu > 0) {
            let thought = hold::length(job);
            let most = thought.into_iter().chain(job.timeout).min();
            // How long it takes nobody knows: an equal share of the quota, as for money.
            let asks = most.map_or(least / u64::from(self.max_concurrent.max(1)), |m| m.0.saturating_mul(u64::from(demand.gpu)));
            demand.gpu_time = asks.max(1);
        }
        demand
    }

    /// The limits of the team of a demand.
    #[must_use]
    pub fn team(&self, demand: &Demand) -> Option<(&Arc<str>, &TeamLimits)> {
        demand.team.as_ref().filter(|_| !self.teams.is_empty()).and_then(|name| self.teams.get_key_value(name))
    }

    /// Why its team can never run it, if it cannot, and where that is written.
    #[must_use]
    pub fn never_in_team(&self, demand: &Demand) -> Option<(String, Option<Span>)> {
        let (name, team) = self.team(demand)?;
        let alone = Self { max_concurrent: team.max_concurrent.unwrap_or(u32::MAX), quotas: team.quotas.clone(), ..Self::default() };
        if alone.max_concurrent == 0 {
            return Some((format!("belongs to team {name}, which may not run anything (`max_concurrent: 0`)"), team.span));
        }
        alone.never(demand).map(|why| (why.replace("the pool has", &format!("team {name} has")), team.span))
    }

    /// Why the pool can never admit a run, if it cannot.
    #[must_use]
    pub fn never(&self, demand: &Demand) -> Option<String> {
        if self.max_concurrent == 0 {
            return Some("the pool admits no run at all (`max_concurrent: 0`)".to_owned());
        }
        let class = self.classes.get(&demand.class).map(|q| (format!("class {}", demand.class), q));
        let all = [("the pool".to_owned(), &self.quotas)].into_iter().chain(class);
        for (whose, quota) in all {
            let over = |what: &str, asks: String, has: String| Some(format!("asks for {asks} {what}, {whose} has {has}"));
            if let Some(has) = quota.gpu.filter(|has| demand.gpu > *has) {
                return over(if demand.gpu == 1 { "GPU" } else { "GPUs" }, demand.gpu.to_string(), has.to_string());
            }
            if self.soft {
                continue;
            }
            if let Some(has) = quota.cpu_millis.filter(|has| demand.cpu_millis > *has) {
                return over("cores", show_cpu(demand.cpu_millis), show_cpu(has));
            }
            if let Some(has) = quota.memory_bytes.filter(|has| demand.memory_bytes > *has) {
                return over("of memory", show_memory(demand.memory_bytes), show_memory(has));
            }
        }
        None
    }
}

/// What one run holds, and in which class; runs with equal demands queue up behind each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Demand {
    /// Higher goes first.
    pub weight: i32,
    /// Priority class.
    pub class: Arc<str>,
    /// GPUs.
    pub gpu: u32,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Job and most of its runs at a time, where it has such a limit.
    pub parallel: Option<(Arc<str>, u32)>,
    /// Whose quota it counts towards.
    pub team: Option<Arc<str>>,
    /// Hours that it waits for.
    pub hold: Option<Hold>,
    /// GPU-milliseconds that it is thought to need at the most, where a quota counts them.
    pub gpu_time: u64,
}

impl Demand {
    /// Of a run, without what quotas of GPU-hours count ([`Limits::demand`]).
    #[must_use]
    pub fn of(job: &JobSpec) -> Self {
        Self {
            weight: job.priority.weight,
            class: Arc::clone(&job.priority.class),
            gpu: job.resources.gpu.count,
            cpu_millis: job.resources.cpu_millis,
            memory_bytes: job.resources.memory_bytes,
            parallel: job.parallel.map(|n| (Arc::clone(&job.job), n)),
            team: job.team.as_deref().map(Into::into),
            hold: Hold::of(job),
            gpu_time: 0,
        }
    }
}
