//! The process that keeps one attempt: starts the command, ends it when asked or when its time is over, records how it ended.
//!
//! In: a claimed journal and a job. Out: the journal's rest and the log. It outlives engine and supervisor. Must never signal a process
//! that is not an unreaped child of its own or in such a child's group.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::ending::{self, Facts, Why};
use super::files::{self, Files, Intent, Meta};
use super::procfs;
use super::program;
use super::protocol::{Exit, Job};
use super::usage;
use crate::base::text::escape;
use crate::base::{Millis, Timestamp};
use crate::files::objects::confine;
use crate::record::event::{Cause, Outcome};

/// How long a keeper tries to record how its command ended.
const RECORD_PATIENCE: Duration = Duration::from_secs(600);

/// All that a keeper needs.
pub struct Kept<'a> {
    /// Its files.
    pub files: Files,
    /// Its journal, locked.
    pub journal: &'a File,
    /// What was claimed.
    pub intent: &'a Intent,
    /// Where this process's command line stands in memory.
    pub title: procfs::Title,
    /// The command.
    pub job: &'a Job,
    /// The project's root.
    pub root: &'a Path,
    /// Store of objects.
    pub objects: PathBuf,
    /// The command's whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// By the supervisor's clock.
    pub started: Timestamp,
}

/// Keeps the attempt to its end.
pub fn keep(kept: &Kept<'_>) {
    kept.title.show(&format!("attempt {}", kept.job.name));
    let _ = rustix::thread::set_name(c"attempt");
    if let Err(error) = run(kept) {
        // Without a record the supervisor reports the attempt as lost; the words are for its log.
        eprintln!("attempt {}: {error}", kept.job.name);
    }
}

fn run(kept: &Kept<'_>) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(Pid::INIT))?;
    let (asked, wake) = UnixStream::pair()?;
    asked.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, wake)?;
    let begun = Instant::now();
    let pid = std::process::id();
    let meta = Meta {
        pid,
        start_ticks: procfs::start_ticks(pid).unwrap_or_default(),
        boot_id: kept.intent.boot_id.clone(),
        token: kept.intent.token.clone(),
        started: kept.started,
        deadline: kept.job.timeout.map(|t| kept.started.after(t)),
    };
    files::record_meta(kept.journal, meta)?;
    let oom_before = procfs::oom_kills();
    let log = kept.files.open_log()?;
    let (mut outcome, outputs) = match spawn(kept, &log) {
        Err((code, detail)) => (Outcome::new(Cause::Error, Some(code), detail), Vec::new()),
        Ok(mut child) => {
            let mut watch =
                Watch { kept, asked: &asked, deadline: deadline(begun, kept.job.timeout), why: None, kill_at: None, killed: false };
            let status = watch.await_end(&mut child)?;
            let facts =
                Facts { status, why: watch.why, killed: watch.killed, oom_before, timeout: kept.job.timeout, log: kept.files.log() };
            ending::conclude(&facts, kept.root, &kept.objects, &kept.job.outputs)
        }
    };
    outcome.usage = usage::of_children();
    // From the start by a clock that nobody sets, so that no attempt ends before it started.
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let log_bytes = log.metadata().map(|m| m.len()).unwrap_or(0);
    record(kept, &Exit { started: Some(kept.started), at: kept.started.after(Millis(elapsed)), outcome, outputs, log_bytes })
}

/// Records the end. A full disk is waited for: nobody else knows how the command ended.
fn record(kept: &Kept<'_>, exit: &Exit) -> io::Result<()> {
    let give_up = Instant::now() + RECORD_PATIENCE;
    loop {
        match files::record_exit(kept.journal, exit) {
            Err(_) if Instant::now() < give_up => std::thread::sleep(Duration::from_secs(1)),
            done => return done,
        }
    }
}

fn deadline(begun: Instant, timeout: Option<Millis>) -> Option<Instant> {
    timeout.and_then(|t| begun.checked_add(Duration::from_millis(t.0)))
}

/// Starts the command; the error is an exit status as a shell would give it, and words.
fn spawn(kept: &Kept<'_>, log: &File) -> Result<Child, (i32, String)> {
    let cannot = |e: io::Error| (126, format!("cannot start: {e}"));
    let at = match kept.job.workdir.as_deref() {
        None => kept.root.to_owned(),
        Some(dir) => confine(kept.root, dir).map_err(|e| (126, format!("cannot start in `{}`: {e}", escape(dir))))?,
    };
    let (first, rest) = kept.job.argv.split_first().ok_or((127, "the command has no program".to_owned()))?;
    let path = kept.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let program = program::find(first, path, &at)?;
    let mut command = Command::new(&program);
    command.arg0(&**first).args(rest.iter().map(|a| &**a)).env_clear().envs(kept.env.iter().map(|(n, v)| (n, v)));
    command.current_dir(&at).stdin(Stdio::null()).process_group(0);
    command.stdout(log.try_clone().map_err(cannot)?).stderr(log.try_clone().map_err(cannot)?);
    command.spawn().map_err(|e| (126, format!("cannot start `{}`: {e}", program.display())))
}

/// Watches one command.
struct Watch<'a> {
    kept: &'a Kept<'a>,
    asked: &'a UnixStream,
    deadline: Option<Instant>,
    why: Option<Why>,
    kill_at: Option<Instant>,
    killed: bool,
}

impl Watch<'_> {
    /// Waits until the command is over and nothing of it is left.
    fn await_end(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        let group = Pid::from_child(child);
        let over = rustix::process::pidfd_open(group, PidfdFlags::empty())?;
        while !self.wait(&over)? {
            self.act(group);
        }
        // The command is a zombie, so its pid still names its group and nobody else's.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let status = child.wait()?;
        end_orphans();
        Ok(status)
    }

    /// True when the command is over; false when there is something to do.
    fn wait(&self, over: &OwnedFd) -> io::Result<bool> {
        let next = if self.killed { None } else { self.kill_at.or(self.deadline) };
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
        let mut fds = [PollFd::new(over, PollFlags::IN), PollFd::new(self.asked, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty()))
    }

    fn act(&mut self, group: Pid) {
        let now = Instant::now();
        if drain(self.asked) {
            let order = self.kept.files.stop_order();
            let grace = order.map_or(self.kept.job.grace, |o| o.grace);
            self.end(group, if order.is_some() { Why::Asked } else { Why::Terminated }, grace, now);
        }
        if self.why.is_none() && self.deadline.is_some_and(|at| at <= now) {
            self.end(group, Why::Timeout, self.kept.job.grace, now);
        }
        if !self.killed && self.kill_at.is_some_and(|at| at <= now) {
            self.killed = true;
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    fn end(&mut self, group: Pid, why: Why, grace: Millis, now: Instant) {
        let hard = now.checked_add(Duration::from_millis(grace.0));
        self.kill_at = match (self.kill_at, hard) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        if self.why.is_none() {
            self.why = Some(why);
            let _ = rustix::process::kill_process_group(group, Signal::TERM);
            // A stopped process hears of its end only when it goes on.
            let _ = rustix::process::kill_process_group(group, Signal::CONT);
        }
    }
}

/// True when a signal came.
fn drain(mut asked: &UnixStream) -> bool {
    let mut came = false;
    let mut buffer = [0; 64];
    while io::Read::read(&mut asked, &mut buffer).is_ok_and(|n| n > 0) {
        came = true;
    }
    came
}

/// Ends what the command left behind in groups of its own: such processes have become children of this one. Each is signalled while
/// it is an unreaped child, so its pid is still its own.
fn end_orphans() {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(rustix::io::Errno::INTR) | Ok(Some(_)) => continue,
            Err(_) => return,
            Ok(None) => {}
        }
        let left = procfs::own_children();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        let _ = rustix::process::wait(WaitOptions::empty());
    }
}

/// Exit status as a shell tells it: 128 + signal when a signal ended the process.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| status.signal().unwrap_or(0).saturating_add(128))
}
