//! `oppen sweep`: sweeps as units. A file a family of commands; each has its own arguments.

mod act;

use std::path::Path;

use clap::Subcommand;

use super::exit::{Exit, Failure, Outcome};
use crate::base::suggest;
use crate::base::text::escape;
use crate::diff::select::matches_address;
use crate::record::State;

/// `sweep`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with sweeps.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start no further trial; what runs goes on to its end
    Pause(act::Args),
    /// Let paused sweeps go on
    Resume(act::Args),
}

/// Runs one of them.
pub fn run(here: &Path, args: &Args) -> Outcome {
    match &args.command {
        Command::Pause(args) => act::pause(here, args),
        Command::Resume(args) => act::resume(here, args),
    }
}

/// The sweeps of a state that match an address or a glob; all without one.
fn matching(state: &State, address: Option<&str>) -> Result<Vec<std::sync::Arc<str>>, Failure> {
    let mut all: Vec<std::sync::Arc<str>> = Vec::new();
    for record in state.runs.values().filter(|r| r.spec.job.sweep.is_some()) {
        if all.last() != Some(&record.spec.job.job) {
            all.push(std::sync::Arc::clone(&record.spec.job.job));
        }
    }
    all.sort_unstable();
    all.dedup();
    let Some(address) = address else { return Ok(all) };
    let found: Vec<_> = all.iter().filter(|job| matches_address(address, job)).cloned().collect();
    if found.is_empty() {
        let job = state.runs.values().any(|r| matches_address(address, r.spec.address.as_str()));
        let message =
            if job { format!("`{}` is no sweep", escape(address)) } else { format!("no sweep `{}` in the state", escape(address)) };
        let hint = suggest::hint(address, all.iter().map(|j| &**j)).or_else(|| Some("`oppen sweep list` shows all sweeps".to_owned()));
        return Err(Failure { exit: Exit::Error, message, hint });
    }
    Ok(found)
}
