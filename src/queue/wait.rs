//! Why a run that could start does not, as a typed answer with words for people.

use std::fmt;
use std::sync::Arc;

use crate::base::Timestamp;
use crate::expand::gpu_time::{GpuTime, hours, whose};

/// Why a ready run is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// As many runs as may run do run.
    Slots {
        /// The limit.
        limit: u32,
    },
    /// Not enough of a resource is free.
    Quota {
        /// `GPUs`, `cores`, `memory`.
        what: &'static str,
        /// Priority class whose quota it is; none for the pool's.
        class: Option<Arc<str>>,
        /// What it asks for.
        asks: String,
        /// What is free.
        free: String,
    },
    /// As many runs of its job as may run do run (`sweep.parallel`).
    Parallel {
        /// The limit.
        limit: u32,
    },
    /// Its team holds as much as it may.
    Team {
        /// The team.
        team: Arc<str>,
        /// `GPUs`, `cores`, `of memory`, `runs`.
        what: &'static str,
        /// What it holds.
        holds: String,
        /// What it may hold.
        limit: String,
    },
    /// A quota of GPU-hours has too little left.
    GpuHours {
        /// Whose quota; none for the pool's.
        team: Option<Arc<str>>,
        /// What it asks for, in GPU-milliseconds.
        asks: u64,
        /// What is left.
        left: u64,
        /// The quota.
        quota: GpuTime,
        /// When the next window begins; none where the end of live runs can make room before.
        until: Option<Timestamp>,
    },
    /// The hours that it waits for have not come.
    Window {
        /// The window.
        window: Arc<str>,
        /// When it may start.
        until: Timestamp,
        /// The deadline lets it start before the window opens.
        early: bool,
    },
    /// A run before it in the queue waits, and this one could delay it.
    Behind,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots { limit } => write!(f, "{limit} of {limit} runs at a time"),
            Self::Quota { what, class: None, asks, free } => write!(f, "asks for {asks} {what}, {free} free"),
            Self::Quota { what, class: Some(class), asks, free } => write!(f, "asks for {asks} {what}, {free} free in class {class}"),
            Self::Parallel { limit } => write!(f, "{limit} of {limit} trials of its sweep at a time"),
            Self::Team { team, what, holds, limit } => write!(f, "team {team} holds {holds} of {limit} {what}"),
            Self::GpuHours { team, asks, left, quota, until } => {
                let whose = whose(team.as_deref());
                let one = if hours(*asks) == "1" { "" } else { "s" };
                write!(
                    f,
                    "asks for {} GPU-hour{one}, {whose} has {} of {}{} left",
                    hours(*asks),
                    hours(*left),
                    hours(quota.limit),
                    quota.each()
                )?;
                until.map_or(Ok(()), |until| write!(f, " until {}", until.minute()))
            }
            Self::Window { window, until, early: false } => write!(f, "waits for {window} at {}", until.minute()),
            Self::Window { window, until, early: true } => {
                write!(f, "waits for {window}, but starts at {} to be done in time", until.minute())
            }
            Self::Behind => write!(f, "a run before it in the queue waits for the same"),
        }
    }
}
