//! Attempts that keepers of this machine keep for a state folder, found from `/proc` alone.
//!
//! In: a state folder. Out: keepers and the attempts that they say they keep, by their open journals. Must never take a lock or signal
//! anybody, and never read the journals of attempts that are over.

use std::fs;
use std::path::Path;

use super::files::{self, Files};
use crate::base::AttemptId;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The keeper.
    pub keeper: u32,
    /// Name of the attempt.
    pub name: String,
    /// The attempt, as its journal has it; none where that cannot be read.
    pub attempt: Option<AttemptId>,
}

/// What `/proc` shows of them.
#[must_use]
pub fn kept(state_dir: &Path) -> Vec<Kept> {
    let Ok(dir) = files::dir(state_dir).canonicalize() else { return Vec::new() };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let one = |pid: u32| {
        // What the keeper shows as its command line may be cut; the file that it holds open is not.
        fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|c| c.starts_with(b"attempt "))?;
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        let journal = open.into_iter().find(|p| p.parent() == Some(&dir) && p.extension().is_some_and(|e| e == "jsonl"))?;
        let name = journal.file_stem()?.to_str()?.to_owned();
        let attempt = Files::new(state_dir, &name).intent().map(|i| i.attempt);
        Some(Kept { keeper: pid, name, attempt })
    };
    pids.filter_map(one).collect()
}
