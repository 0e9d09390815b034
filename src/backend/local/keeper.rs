//! The process that keeps an attempt: starts the command, ends it when asked or when its time is over, records how it ended. Then it
//! keeps the next one: to start a process for each attempt would cost more than all else that is done for it.
//!
//! In: a claimed journal and an order. Out: the journal's rest and the log. It outlives engine and supervisor. Must never signal a process
//! that is not an unreaped child of its own or in such a child's group.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::ending::{self, Facts, Why};
use super::files::{self, Files, Meta};
use super::handover::{self, Order};
use super::procfs;
use super::program;
use super::protocol::Exit;
use super::usage::{self, Reaped};
use crate::base::Millis;
use crate::base::text::escape;
use crate::files::objects::confine;
use crate::record::Usage;
use crate::record::event::{Cause, Outcome};

/// How long a keeper tries to record how its command ended.
const RECORD_PATIENCE: Duration = Duration::from_secs(600);

/// How long a count of the kernel's kills holds: to read it costs as much as to open a log.
const OOM_HOLDS: Duration = Duration::from_secs(1);

/// Variables and their values; of two with one name the later counts.
pub type Environment = Vec<(OsString, OsString)>;

/// What is the same for all attempts of a keeper.
pub struct Post<'a> {
    /// Where this process's command line stands in memory.
    pub title: procfs::Title,
    /// `.oppen`.
    pub state_dir: &'a Path,
    /// The project's root.
    pub root: &'a Path,
    /// The whole environment of an attempt's command.
    pub environment: &'a dyn Fn(&Order, &Files) -> Environment,
    /// To the supervisor.
    pub channel: UnixStream,
}

/// Keeps an attempt to its end, then what the supervisor hands over, until it hands over nothing more.
pub fn keep(post: &Post<'_>, first: Order, journal: File) {
    let _ = rustix::thread::set_name(c"attempt");
    let mut next = Some((first, journal));
    let mut name = String::new();
    let kept = Keeper::begin(post).and_then(|mut keeper| {
        while let Some((order, journal)) = next.take() {
            name.clone_from(&order.job.name);
            post.title.show(&format!("attempt {name}"));
            keeper.run(&order, &journal)?;
            // The lock goes first: whoever hears of the end finds the journal free.
            drop(journal);
            if handover::done(&post.channel).is_ok() {
                next = keeper.next()?;
            }
        }
        Ok(())
    });
    if let Err(error) = kept {
        // Without a record the supervisor reports the attempt as lost; the words are for its log.
        eprintln!("attempt {name}: {error}");
    }
}

struct Keeper<'a> {
    post: &'a Post<'a>,
    asked: UnixStream,
    pid: u32,
    start_ticks: u64,
    oom_kills: (Instant, Option<u64>),
}

/// One attempt of a keeper.
struct Kept<'a> {
    post: &'a Post<'a>,
    files: Files,
    order: &'a Order,
}

impl<'a> Keeper<'a> {
    fn begin(post: &'a Post<'a>) -> io::Result<Self> {
        rustix::process::setsid()?;
        rustix::process::set_child_subreaper(Some(Pid::INIT))?;
        let (asked, wake) = UnixStream::pair()?;
        asked.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, wake)?;
        let pid = std::process::id();
        let oom_kills = (Instant::now(), procfs::oom_kills());
        Ok(Self { post, asked, pid, start_ticks: procfs::start_ticks(pid).unwrap_or_default(), oom_kills })
    }

    /// Waits for the next attempt. None when there will be none, or this process is told to end.
    fn next(&self) -> io::Result<Option<(Order, File)>> {
        let mut fds = [PollFd::new(&self.post.channel, PollFlags::IN), PollFd::new(&self.asked, PollFlags::IN)];
        while let Err(error) = poll(&mut fds, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        let told = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if told { Ok(None) } else { handover::receive(&self.post.channel) }
    }

    fn oom_kills(&mut self) -> Option<u64> {
        if self.oom_kills.0.elapsed() > OOM_HOLDS {
            self.oom_kills = (Instant::now(), procfs::oom_kills());
        }
        self.oom_kills.1
    }

    fn run(&mut self, order: &Order, journal: &File) -> io::Result<()> {
        let begun = Instant::now();
        let Order { job, intent, started } = order;
        let meta = Meta {
            pid: self.pid,
            start_ticks: self.start_ticks,
            boot_id: intent.boot_id.clone(),
            token: intent.token.clone(),
            started: *started,
            deadline: job.timeout.map(|t| started.after(t)),
        };
        files::record_meta(journal, meta)?;
        let oom_before = self.oom_kills();
        let kept = Kept { post: self.post, files: Files::new(self.post.state_dir, &job.name), order };
        let log = kept.files.open_log()?;
        let (outcome, outputs) = match spawn(&kept, &log) {
            Err((code, detail)) => (Outcome::new(Cause::Error, Some(code), detail), Vec::new()),
            Ok(child) => {
                let mut watch = Watch {
                    kept: &kept,
                    asked: &self.asked,
                    deadline: deadline(begun, job.timeout),
                    why: None,
                    kill_at: None,
                    killed: false,
                };
                let (status, usage) = watch.await_end(&child)?;
                let facts = Facts { status, why: watch.why, killed: watch.killed, oom_before, timeout: job.timeout, log: kept.files.log() };
                let objects = self.post.state_dir.join("objects");
                let (mut outcome, outputs) = ending::conclude(&facts, self.post.root, &objects, &job.outputs);
                outcome.usage = Some(usage);
                (outcome, outputs)
            }
        };
        // What succeeded is never resumed: its checkpoints of all fingerprints go. One that cannot be removed does no harm.
        if outcome.cause == Cause::Success
            && let Some(all) = kept.files.checkpoint(&job.checkpoint).parent().filter(|_| job.checkpoint.contains('/') && !job.kept)
        {
            let _ = std::fs::remove_dir_all(all);
        }
        // From the start by a clock that nobody sets, so that no attempt ends before it started.
        let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let log_bytes = log.metadata().map(|m| m.len()).unwrap_or(0);
        record(journal, &Exit { started: Some(*started), at: started.after(Millis(elapsed)), outcome, outputs, log_bytes })
    }
}

/// Records the end. A full disk is waited for: nobody else knows how the command ended.
fn record(journal: &File, exit: &Exit) -> io::Result<()> {
    let give_up = Instant::now() + RECORD_PATIENCE;
    loop {
        match files::record_exit(journal, exit) {
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
    let job = &kept.order.job;
    let at = match job.workdir.as_deref() {
        None => kept.post.root.to_owned(),
        Some(dir) => confine(kept.post.root, dir).map_err(|e| (126, format!("cannot start in `{}`: {e}", escape(dir))))?,
    };
    let (first, rest) = job.argv.split_first().ok_or((127, "the command has no program".to_owned()))?;
    let env = (kept.post.environment)(kept.order, &kept.files);
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let program = program::find(first, path, &at)?;
    let mut command = Command::new(&program);
    command.arg0(&**first).args(rest.iter().map(|a| &**a)).env_clear().envs(env.iter().map(|(n, v)| (n, v)));
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
    fn await_end(&mut self, child: &Child) -> io::Result<(ExitStatus, Usage)> {
        let group = Pid::from_child(child);
        let over = rustix::process::pidfd_open(group, PidfdFlags::empty())?;
        while !self.wait(&over)? {
            self.act(group);
        }
        // The command is a zombie, so its pid still names its group and nobody else's.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let Reaped::One(status, usage) = usage::reap(Some(group), true)? else { return Err(io::ErrorKind::NotFound.into()) };
        Ok((status, end_orphans(usage)?))
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
            let grace = order.map_or(self.kept.order.job.grace, |o| o.grace);
            self.end(group, if order.is_some() { Why::Asked } else { Why::Terminated }, grace, now);
        }
        if self.why.is_none() && self.deadline.is_some_and(|at| at <= now) {
            self.end(group, Why::Timeout, self.kept.order.job.grace, now);
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
/// it is an unreaped child, so its pid is still its own. Adds what they used.
fn end_orphans(mut used: Usage) -> io::Result<Usage> {
    let mut hang = false;
    loop {
        match usage::reap(None, hang)? {
            Reaped::One(_, more) => {
                used = usage::together(&used, &more);
                hang = false;
            }
            Reaped::NoChild => return Ok(used),
            Reaped::NoneYet => {
                let left = procfs::own_children();
                if left.is_empty() {
                    return Ok(used);
                }
                for pid in left {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
                hang = true;
            }
        }
    }
}

/// Exit status as a shell tells it: 128 + signal when a signal ended the process.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| status.signal().unwrap_or(0).saturating_add(128))
}
