//! Attempts that nobody keeps any more and whose end nobody recorded.
//!
//! In: what their journal tells. Out: their recorded end, with nothing of them left alive. Must never signal a process that does not
//! carry the attempt's own token.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::backend::local::files::{Files, Intent, Meta};
use crate::backend::local::procfs;
use crate::backend::local::protocol::Exit;
use crate::base::Timestamp;
use crate::record::event::{Cause, Outcome};

/// The variable by which an attempt's processes are known.
pub const TOKEN: &str = "OPPEN_TOKEN";

/// How long the last processes of an attempt may take to go, altogether.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends what is left of the attempt and records its end.
pub fn settle(files: &Files, intent: Option<&Intent>, meta: Option<&Meta>, boot_id: &str, stopped: bool, now: Timestamp) -> Exit {
    let same_boot = meta.map(|m| &m.boot_id).or(intent.map(|i| &i.boot_id)).is_some_and(|b| b == boot_id);
    if same_boot && let Some(token) = meta.map(|m| &m.token).or(intent.map(|i| &i.token)) {
        end_by_token(token);
    }
    let started = meta.map(|m| m.started);
    let outcome = match (same_boot, stopped, started) {
        (_, true, None) => Outcome::new(Cause::Cancelled, None, "ended before it started"),
        (_, true, Some(_)) => Outcome::new(Cause::Cancelled, None, "ended on request; its exit status is not known"),
        (false, ..) => Outcome::new(Cause::Interrupted, None, "the machine was restarted"),
        (true, ..) => Outcome::new(Cause::Lost, None, "the process that kept it is gone; its exit status is not known"),
    };
    let log_bytes = files.log().metadata().map(|m| m.len()).unwrap_or(0);
    let exit = Exit { started, at: started.map_or(now, |s| s.max(now)), outcome, outputs: Vec::new(), log_bytes };
    if let Err(error) = files.write_exit(&exit) {
        eprintln!("the end of an attempt cannot be recorded: {error}");
    }
    exit
}

/// Ends every process that was started with the token. The pid is pinned first and the token looked at again, so that a pid given to
/// somebody else meanwhile is left alone.
fn end_by_token(token: &str) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let pinned: Vec<_> = procfs::with_variable(TOKEN, token).into_iter().filter_map(|pid| pin(pid, token)).collect();
        if pinned.is_empty() {
            return;
        }
        for process in &pinned {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        for process in &pinned {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else { return };
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left));
        }
    }
}

fn pin(pid: Pid, token: &str) -> Option<std::os::fd::OwnedFd> {
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    procfs::has_variable(pid, TOKEN, token).then_some(process)
}
