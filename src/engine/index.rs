//! What the engine looks up beside the state: runs by number, jobs with their counts, timers.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::base::{Address, Millis, Timestamp};
use crate::queue::Demand;
use crate::record::{JobSpec, RunStatus, SweepSpec};

/// Where a run stands towards the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Over, or not known.
    Out,
    /// Waits for needs or for a time.
    Blocked,
    /// In the pool's line.
    Line,
    /// Holds its demand.
    Held,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Entry {
    pub address: Address,
    pub job: Arc<str>,
    pub demand: Arc<Demand>,
    pub seq: u64,
    pub place: Place,
    /// Needs that are not complete.
    pub blocked: u32,
    /// When the engine saw the live attempt start, by the engine's clock.
    pub started: Option<Timestamp>,
    /// Since when the backend says that the live attempt is not there.
    pub absent: Option<Timestamp>,
    timer: Option<Timestamp>,
}

/// One job: its runs in the state, and who waits for all of them.
#[derive(Debug, Clone, Default)]
pub struct Job {
    pub members: FxHashSet<u32>,
    /// What its trials share, where it is a sweep: as of the last spec that came.
    pub sweep: Option<Arc<SweepSpec>>,
    /// Time between the polite and the hard end of its runs.
    pub grace: Millis,
    pub succeeded: usize,
    /// Trials that were ended early or not started, and count as done.
    pub spared: usize,
    pub failed: usize,
    /// Cancelled or skipped.
    pub lost: usize,
    /// Not over.
    pub open: usize,
    /// With a live attempt.
    pub live: usize,
    /// The sweep's time is over and all of its runs were told.
    pub expired: bool,
    pub waiters: FxHashSet<u32>,
    /// It was complete, and runs that waited for it went on.
    pub released: bool,
}

impl Job {
    /// Takes over what its runs share.
    pub fn know(&mut self, spec: &JobSpec) {
        self.sweep.clone_from(&spec.sweep);
        self.grace = spec.grace;
    }

    /// How many runs have this status.
    pub fn count(&mut self, status: RunStatus) -> &mut usize {
        match status {
            RunStatus::Succeeded => &mut self.succeeded,
            RunStatus::Pruned | RunStatus::Unneeded => &mut self.spared,
            RunStatus::Failed => &mut self.failed,
            RunStatus::Cancelled | RunStatus::Skipped => &mut self.lost,
            _ => &mut self.open,
        }
    }

    /// More runs failed than may.
    pub fn is_spoilt(&self) -> bool {
        let allowed = self.sweep.as_ref().and_then(|s| s.max_failed).unwrap_or(0);
        self.failed > usize::try_from(allowed).unwrap_or(usize::MAX)
    }

    /// All runs are over, one succeeded, and no more failed than may.
    pub fn is_complete(&self) -> bool {
        self.open == 0 && self.lost == 0 && self.succeeded > 0 && !self.is_spoilt()
    }

    /// Can never become complete as things are.
    pub fn is_lost(&self) -> bool {
        self.lost > 0 || self.is_spoilt() || (self.open == 0 && self.succeeded == 0)
    }
}

/// All indices.
#[derive(Debug, Clone, Default)]
pub struct Index {
    pub entries: Vec<Entry>,
    by_address: FxHashMap<Address, u32>,
    pub jobs: FxHashMap<Arc<str>, Job>,
    timers: BTreeSet<(Timestamp, u32)>,
    /// Jobs whose counts changed in this step.
    pub touched: Vec<Arc<str>>,
    /// Runs that are not over.
    pub open: usize,
    /// Runs with a live attempt.
    pub live: usize,
    /// The first step was taken.
    pub started: bool,
}

impl Index {
    pub fn id(&self, address: &Address) -> Option<u32> {
        self.by_address.get(address).copied()
    }

    pub fn address(&self, id: u32) -> Option<&Address> {
        self.entries.get(id as usize).map(|e| &e.address)
    }

    pub fn entry(&mut self, id: u32) -> Option<&mut Entry> {
        self.entries.get_mut(id as usize)
    }

    /// The number of a run, new or known.
    pub fn intern(&mut self, address: &Address, job: &Arc<str>, demand: &Arc<Demand>, seq: u64) -> u32 {
        let id = match self.by_address.get(address) {
            Some(id) => *id,
            None => {
                let id = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
                self.by_address.insert(address.clone(), id);
                self.entries.push(Entry {
                    address: address.clone(),
                    job: Arc::clone(job),
                    demand: Arc::clone(demand),
                    seq,
                    place: Place::Out,
                    blocked: 0,
                    started: None,
                    absent: None,
                    timer: None,
                });
                id
            }
        };
        if let Some(entry) = self.entry(id) {
            entry.job = Arc::clone(job);
            entry.demand = Arc::clone(demand);
            entry.seq = seq;
        }
        id
    }

    pub fn job(&mut self, name: &Arc<str>) -> &mut Job {
        self.jobs.entry(Arc::clone(name)).or_default()
    }

    /// True when the job has runs and all of them are done.
    pub fn is_complete(&self, job: &str) -> bool {
        self.jobs.get(job).is_some_and(Job::is_complete)
    }

    /// Why a job can never become complete as things are: a run of it is over without success, or it has none.
    pub fn is_lost(&self, job: &str) -> bool {
        self.jobs.get(job).is_none_or(Job::is_lost)
    }

    /// Jobs that are complete and that others wait for.
    pub fn complete(&self) -> Vec<Arc<str>> {
        self.jobs.iter().filter(|(_, j)| !j.waiters.is_empty() && j.is_complete()).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// True when the run waits for a time.
    pub fn has_timer(&self, id: u32) -> bool {
        self.entries.get(id as usize).is_some_and(|e| e.timer.is_some())
    }

    /// The runs of a job, first in first out.
    pub fn members(&self, job: &str) -> Vec<u32> {
        let mut all: Vec<u32> = self.jobs.get(job).into_iter().flat_map(|j| &j.members).copied().collect();
        all.sort_unstable_by_key(|id| self.entries.get(*id as usize).map(|e| e.seq));
        all
    }

    /// Counts a run that has become live, or that is so no longer.
    pub fn set_live(&mut self, job: &Arc<str>, live: bool) {
        let counts = [&mut self.live, &mut self.jobs.entry(Arc::clone(job)).or_default().live];
        for count in counts {
            *count = if live { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    /// Everybody in the line.
    pub fn in_line(&self) -> Vec<u32> {
        let standing = self.entries.iter().enumerate().filter(|(_, e)| e.place == Place::Line);
        standing.filter_map(|(id, _)| u32::try_from(id).ok()).collect()
    }

    /// Sets the run's one timer.
    pub fn set_timer(&mut self, id: u32, at: Option<Timestamp>) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        if let Some(old) = entry.timer.take() {
            self.timers.remove(&(old, id));
        }
        entry.timer = at;
        if let Some(at) = at {
            self.timers.insert((at, id));
        }
    }

    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Everybody who waits for a job, in the order of their numbers; nobody does afterwards.
    pub fn take_waiters(&mut self, job: &Arc<str>) -> Vec<u32> {
        let mut waiters: Vec<u32> = std::mem::take(&mut self.job(job).waiters).into_iter().collect();
        waiters.sort_unstable();
        waiters
    }

    /// Takes a timer that is due.
    pub fn due(&mut self, now: Timestamp) -> Option<u32> {
        let (_, id) = self.timers.first().copied().filter(|(at, _)| *at <= now)?;
        self.set_timer(id, None);
        Some(id)
    }
}
