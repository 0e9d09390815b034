//! Outputs that are not as their runs left them.

use std::path::Path;

use rustc_hash::FxHashMap;

use super::objects::digest_path;
use crate::base::{Address, Digest};
use crate::diff::Drift;
use crate::record::{RunStatus, State};

/// Looks at the outputs of finished runs that `wanted` picks. Outputs without a digest lie where this machine cannot see them.
/// When several runs leave the same path, the one that ended last counts.
#[must_use]
pub fn find(root: &Path, state: &State, wanted: impl Fn(&Address) -> bool) -> Vec<Drift> {
    let mut last: FxHashMap<&str, (&Address, Digest, Option<crate::base::Timestamp>)> = FxHashMap::default();
    let finished = state.runs.values().filter(|r| r.status == RunStatus::Succeeded && !r.outputs.is_empty());
    for run in finished {
        for output in &run.outputs {
            let Some(digest) = output.digest else { continue };
            let newer = last.get(output.path.as_str()).is_none_or(|(_, _, ended)| run.ended_at >= *ended);
            if newer {
                last.insert(&output.path, (&run.spec.address, digest, run.ended_at));
            }
        }
    }
    let mut drift: Vec<Drift> = last
        .into_iter()
        .filter(|(_, (address, ..))| wanted(address))
        .filter_map(|(path, (address, digest, _))| {
            let what = match digest_path(root, path) {
                Ok(found) if found == digest => return None,
                Ok(_) => "changed",
                Err(_) => "missing",
            };
            Some(Drift { address: address.clone(), path: path.to_owned(), what: what.to_owned() })
        })
        .collect();
    drift.sort_unstable_by(|a, b| (&a.address, &a.path).cmp(&(&b.address, &b.path)));
    drift
}
