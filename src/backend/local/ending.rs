//! What the end of a command means.
//!
//! In: its exit status, why it was ended, its log, its outputs. Out: an outcome. Must never call something a success whose outputs are
//! not all kept.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::keeper::exit_code;
use super::procfs;
use crate::backend::cause;
use crate::base::Millis;
use crate::base::text::escape;
use crate::files::objects::Objects;
use crate::record::event::{Cause, Outcome};
use crate::record::state::OutputRecord;

/// Why the keeper ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The engine asked.
    Asked,
    /// Its time was over.
    Timeout,
    /// The keeper itself was told to end, as when the machine goes down.
    Terminated,
}

/// What is known at the end.
pub struct Facts {
    /// Of the command.
    pub status: ExitStatus,
    /// Why it was ended, if it was.
    pub why: Option<Why>,
    /// It had to be ended by force.
    pub killed: bool,
    /// How many processes the kernel had ended for want of memory when it started.
    pub oom_before: Option<u64>,
    /// Its limit.
    pub timeout: Option<Millis>,
    /// Where its output is.
    pub log: PathBuf,
}

/// The outcome, with the outputs that were kept.
pub fn conclude(facts: &Facts, root: &Path, objects: &Path, outputs: &[String]) -> (Outcome, Vec<OutputRecord>) {
    let code = Some(exit_code(facts.status));
    if let Some(why) = facts.why {
        return (ended(facts, why, code), Vec::new());
    }
    if !facts.status.success() {
        return (failed(facts, code), Vec::new());
    }
    let store = Objects::new(objects);
    let kept: Result<Vec<_>, Outcome> = outputs.iter().map(|path| store.put(root, path).map_err(|e| unkept(path, &e, code))).collect();
    match kept {
        Ok(records) => (Outcome::new(Cause::Success, code, ""), records),
        Err(outcome) => (outcome, Vec::new()),
    }
}

fn unkept(path: &str, error: &io::Error, code: Option<i32>) -> Outcome {
    let shown = escape(path);
    let detail = match error.kind() {
        io::ErrorKind::NotFound => format!("the output `{shown}` is missing"),
        _ => format!("the output `{shown}` cannot be kept: {error}"),
    };
    Outcome::new(Cause::Error, code, detail)
}

fn ended(facts: &Facts, why: Why, code: Option<i32>) -> Outcome {
    let force = if facts.killed { ", by force after the grace period" } else { "" };
    match why {
        Why::Asked => Outcome::new(Cause::Cancelled, code, format!("ended on request{force}")),
        Why::Terminated => Outcome::new(Cause::Interrupted, code, format!("the process that keeps it was told to end{force}")),
        Why::Timeout => {
            let limit = facts.timeout.unwrap_or_default();
            Outcome::new(Cause::Timeout, code, format!("took longer than {limit}{force}"))
        }
    }
}

fn failed(facts: &Facts, code: Option<i32>) -> Outcome {
    // A shell tells of a killed child by this status.
    if code == Some(137) && matches!((facts.oom_before, procfs::oom_kills()), (Some(before), Some(after)) if after > before) {
        return Outcome::new(Cause::OutOfMemory, code, "ended by the kernel: out of memory");
    }
    if let Some((cause, line)) = tail(&facts.log).ok().and_then(|tail| cause::from_log(&tail)) {
        return Outcome::new(cause, code, line);
    }
    let detail = match facts.status.signal() {
        Some(signal) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("ended by {name}"),
            None => format!("ended by signal {signal}"),
        },
        None => format!("exit status {}", code.unwrap_or_default()),
    };
    Outcome::new(Cause::Error, code, detail)
}

fn tail(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(cause::LOG_TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(cause::LOG_TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}
