//! A seeded cluster with faults, running the shipped engine in virtual time.
//!
//! In: a seed. Out: a report, or the first broken promise with its step. The engine is [`crate::engine::Engine`] itself; around it the
//! simulator plays driver, journal, API and nodes: replies are lost, doubled and late, the API goes away, the driver dies before and
//! after every write, an overtaken driver wakes up, objects are deleted by hand. Every second world has budgets: there nothing is deleted by
//! hand (what nobody can see nobody can count), and the clock of each new driver may be a day off. No clock, no thread, no file.

mod cluster;
mod happening;
mod money;
mod promises;
mod rng;
pub mod sweeps;
mod work;
mod world;

use std::collections::BTreeMap;

pub use world::simulate;

/// A mistake put in on purpose: the simulator must find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Commands are performed before their events are durable.
    EffectBeforeIntent,
    /// What an overtaken driver writes is taken.
    NoFencing,
    /// An API that is away is read as a cluster without our objects.
    UnreachableIsAbsent,
    /// Look-ups are answered from a cache that knows nothing yet.
    StaleLookup,
    /// A submission whose answer was lost is sent again under another name.
    NewNameOnUnknown,
    /// The pool admits more than its limit.
    PoolNotHeld,
    /// An acknowledged write is lost in a crash.
    LostWrite,
    /// Needs are not waited for.
    NeedsIgnored,
    /// What is to be stopped is not.
    StopForgotten,
    /// Timers are not kept.
    WakeForgotten,
    /// A submission under a known name starts a second execution.
    NoAdoption,
    /// After a restart nobody asks for what may be live.
    NoResume,
    /// What is set aside for live attempts is not counted after a restart.
    ReservationDropped,
    /// A reservation is void while its attempt runs on.
    VoidBeforeEnd,
    /// A window begins again after a restart: what was spent in it is forgotten.
    WindowBegunTwice,
    /// GPU-hours that were used are forgotten by a restart.
    HoursForgotten,
    /// The cluster does not keep the hard end that it was given with an attempt.
    DeadlineNotKept,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::EffectBeforeIntent,
        Self::NoFencing,
        Self::UnreachableIsAbsent,
        Self::StaleLookup,
        Self::NewNameOnUnknown,
        Self::PoolNotHeld,
        Self::LostWrite,
        Self::NeedsIgnored,
        Self::StopForgotten,
        Self::WakeForgotten,
        Self::NoAdoption,
        Self::NoResume,
        Self::ReservationDropped,
        Self::VoidBeforeEnd,
        Self::WindowBegunTwice,
        Self::HoursForgotten,
        Self::DeadlineNotKept,
    ];
}

/// What a seed went through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Inputs given to the engine; every promise was checked after each.
    pub steps: u64,
    /// Events written.
    pub events: u64,
    /// Executions that the cluster started.
    pub executions: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Virtual time, in milliseconds.
    pub time: i64,
}

impl Report {
    /// Adds another seed's.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.events += other.events;
        self.executions += other.executions;
        self.time += other.time;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed that shows it.
    pub seed: u64,
    /// After which step.
    pub step: u64,
    /// Which promise, and how.
    pub what: String,
    /// The last things that happened, oldest first.
    pub trace: Vec<String>,
}
