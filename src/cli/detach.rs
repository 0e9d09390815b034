//! `oppen apply --detach`: another process obeys the plan that was agreed to.
//!
//! In: the agreed plan. Out: a child in a process group of its own, which was seen to begin. It gets the plan itself, its id and
//! the ceiling; it must never do another plan: it ends with 5 where the state has moved on.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::apply::Ground;
use super::exit::{Exit, Failure, Outcome};
use super::{args, output, plan};
use crate::diff::Plan;
use crate::files::STATE_FOLDER;

/// How files with agreed plans begin, in the state folder.
const PLAN: &str = "detached-";
/// What the child says.
const LOG: &str = "apply.log";
/// How long it may take the child to begin, beyond its wait for the lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the child, and waits until it obeys the plan or is over.
pub fn run(ground: &Ground<'_>, args: &args::Apply, agreed: &Plan) -> Outcome {
    let folder = ground.root.join(STATE_FOLDER);
    let (log, kept) = (folder.join(LOG), folder.join(format!("{PLAN}{}.json", std::process::id())));
    plan::save(agreed, &kept)?;
    let file = std::fs::File::create(&log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("apply").arg(&kept).args(["--yes", "--expect", &agreed.plan_id, "--backend", ground.backend.word()]);
    command.args(["--lock-timeout", &format!("{}ms", args.lock_timeout.as_millis())]);
    command.args(args.max_cost.iter().flat_map(|most| ["--max-cost".to_owned(), most.decimal()]));
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    let mut child = command.spawn()?;
    if let Some(status) = over(&mut child, &kept, args.lock_timeout + PATIENCE)?.filter(|s| !s.success()) {
        taken(&kept)?;
        return Err(failed(status, &log));
    }
    let pid = child.id();
    output::print(&if ground.json {
        format!("{}\n", json!({"event": "detached", "plan_id": agreed.plan_id, "pid": pid, "log": log}))
    } else {
        format!("Applying {} in the background (pid {pid}): see `oppen status` and\n{}\n", agreed.plan_id, log.display())
    })?;
    Ok(Exit::Done)
}

/// The child says that it obeys a plan by removing it; plans that a person saved stay.
pub fn taken(plan: &Path) -> std::io::Result<()> {
    let name = plan.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let ours = name.starts_with(PLAN) && plan.parent().is_some_and(|p| p.ends_with(STATE_FOLDER));
    if ours && plan.exists() { std::fs::remove_file(plan) } else { Ok(()) }
}

/// How the child ended, if it did before it took the plan.
fn over(child: &mut Child, kept: &Path, most: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < most && kept.exists() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// The child's exit code, with its last words.
fn failed(status: ExitStatus, log: &Path) -> Failure {
    let codes = [Exit::Blocked, Exit::Invalid, Exit::Stale, Exit::Locked, Exit::RunsFailed, Exit::Interrupted];
    let exit = codes.into_iter().find(|e| status.code() == Some(i32::from(*e as u8))).unwrap_or(Exit::Error);
    let said = std::fs::metadata(log).ok().filter(std::fs::Metadata::is_file).and_then(|_| std::fs::read_to_string(log).ok());
    let words = said.as_deref().and_then(|t| t.lines().rev().find_map(|l| l.strip_prefix("error: "))).unwrap_or_default();
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    Failure::new(exit, format!("the apply in the background is over, {status}{words}")).hint(format!("it said more in {}", log.display()))
}
