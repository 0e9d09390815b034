//! When attempts of this machine ran, as their keepers noted it.
//!
//! In: a state folder, a lineage. Out: start and end of every attempt whose journal is still there. Must never take a lock or write.

use std::path::Path;

use super::files::{self, Files};
use crate::base::{AttemptId, Timestamp};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The attempt.
    pub attempt: AttemptId,
    /// When its command started.
    pub started: Option<Timestamp>,
    /// When it ended; none while it runs, or where nobody saw it.
    pub ended: Option<Timestamp>,
}

/// Reads every journal.
#[must_use]
pub fn told(state_dir: &Path, lineage: &str) -> Vec<Told> {
    let one = |name: String| {
        let (attempt, meta, exit) = Files::new(state_dir, &name).told()?;
        // The files of another state are not ours.
        (attempt.name(lineage) == name).then(|| Told {
            started: exit.as_ref().map_or_else(|| meta.map(|m| m.started), |e| e.started),
            ended: exit.map(|e| e.at),
            attempt,
        })
    };
    files::names(state_dir).into_iter().filter_map(one).collect()
}
