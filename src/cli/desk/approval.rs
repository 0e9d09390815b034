//! What agents proposed and a person must agree to: kept beside the state until somebody decides.
//!
//! In: asks of an agent. Out: a file in `.oppen/proposals`. Must never start anything.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::submit::Prepared;
use crate::base::{Money, Timestamp};
use crate::cli::exit::{Exit, Failure};
use crate::files::STATE_FOLDER;

/// Where proposals lie, in the state folder.
const FOLDER: &str = "proposals";
/// Most that are kept: an agent cannot fill the disk.
const MOST: usize = 200;

/// What an agent wants to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proposal {
    /// Version of this file.
    pub format_version: u32,
    /// Name of the submission that it becomes.
    pub id: String,
    /// Name and version that the agent gave itself.
    pub agent: String,
    /// What it asks for.
    pub asks: Vec<Ask>,
    /// Digest of the runs: what a person agrees to is what was proposed.
    pub digest: String,
    /// What it was expected to cost.
    pub cost: Money,
    /// How many runs.
    pub runs: usize,
    /// Why a person must agree.
    pub because: String,
    /// When.
    pub at: Timestamp,
}

/// Digest of the runs of a submission.
#[must_use]
pub fn digest(prepared: &Prepared) -> String {
    let mut hasher = blake3::Hasher::new();
    for run in &prepared.submission.runs {
        hasher.update(run.address.as_str().as_bytes()).update(&[0]).update(&run.fingerprint.0);
        hasher.update(run.job.priority.class.as_bytes()).update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

fn folder(root: &Path) -> PathBuf {
    root.join(STATE_FOLDER).join(FOLDER)
}

fn file(root: &Path, id: &str) -> Option<PathBuf> {
    let named = id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit());
    named.then(|| folder(root).join(format!("{id}.json")))
}

/// Keeps one.
pub fn keep(root: &Path, proposal: &Proposal) -> Result<(), Failure> {
    drop(crate::store::Store::open(&root.join(STATE_FOLDER))?);
    std::fs::create_dir_all(folder(root))?;
    if std::fs::read_dir(folder(root))?.count() >= MOST {
        return Err(Failure::new(Exit::Blocked, format!("{MOST} proposals wait for a person already"))
            .hint("ask a person to decide about them: `oppen approve` lists them"));
    }
    let path = file(root, &proposal.id).ok_or_else(|| Failure::new(Exit::Error, "a proposal without a name"))?;
    let text = serde_json::to_string(proposal).map_err(|e| Failure::new(Exit::Error, e.to_string()))?;
    let fresh = path.with_extension("tmp");
    std::fs::write(&fresh, text)?;
    Ok(std::fs::rename(&fresh, &path)?)
}

/// All that wait, the oldest first.
pub fn all(root: &Path) -> Vec<Proposal> {
    let Ok(entries) = std::fs::read_dir(folder(root)) else { return Vec::new() };
    let ids = entries.filter_map(Result::ok).filter_map(|e| e.file_name().to_str()?.strip_suffix(".json").map(str::to_owned));
    let mut all: Vec<Proposal> = ids.filter_map(|id| find(root, &id)).collect();
    all.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    all
}

/// One by its id.
pub fn find(root: &Path, id: &str) -> Option<Proposal> {
    let text = std::fs::read_to_string(file(root, id)?).ok()?;
    serde_json::from_str::<Proposal>(&text).ok().filter(|p| p.id == id)
}

/// Forgets one that was decided about.
pub fn forget(root: &Path, id: &str) {
    if let Some(file) = file(root, id) {
        let _ = std::fs::remove_file(file);
    }
}
