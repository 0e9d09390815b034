//! The attempts of one state folder: which run, which wait for GPU slots, what is known of the others.
//!
//! In: requests, and word that a keeper is gone. Out: reports. Must never start an attempt that has a journal, unless it surely never
//! started.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};

use super::crew::{Crew, Keeper};
use super::settle::{TOKEN, settle};
use super::slots::{Slots, visible_devices};
use crate::backend::local::files::{self, Files, Found, Intent, Meta, StopOrder};
use crate::backend::local::fork::SingleThreaded;
use crate::backend::local::handover::Order;
use crate::backend::local::keeper::{Environment, Post, keep};
use crate::backend::local::procfs;
use crate::backend::local::protocol::{Exit, Hello, Job, Report};
use crate::base::{Millis, Timestamp};
use crate::record::event::{Cause, Outcome};

/// An attempt that somebody keeps.
struct Live {
    keeper: By,
    started: Option<Timestamp>,
    place: String,
    gpus: Vec<u32>,
    stopped: bool,
}

/// Who keeps it.
enum By {
    /// A child of this process.
    Ours(Keeper),
    /// One of our own that cannot be watched. Its journal is looked at from time to time.
    Unwatched(Pid),
    /// A process that is adopted, once known for sure and watched. Without, its journal is looked at from time to time.
    Adopted(Option<OwnedFd>),
}

impl Live {
    fn process(&self) -> Option<&OwnedFd> {
        match &self.keeper {
            By::Ours(keeper) => Some(&keeper.process),
            By::Unwatched(_) => None,
            By::Adopted(process) => process.as_ref(),
        }
    }
}

/// All attempts.
pub struct Registry {
    state_dir: PathBuf,
    boot_id: String,
    single: SingleThreaded,
    title: procfs::Title,
    lives: HashMap<String, Live>,
    by_id: HashMap<u64, String>,
    waiting: VecDeque<(Rc<Hello>, Box<Job>)>,
    slots: Slots,
    crew: Crew,
    /// To send to everybody.
    pub reports: Vec<Report>,
}

impl Registry {
    /// Adopts what already runs.
    pub fn open(state_dir: PathBuf, boot_id: String, single: SingleThreaded, epoll: &OwnedFd) -> Self {
        let mut registry = Self {
            state_dir,
            boot_id,
            single,
            title: procfs::Title::find(),
            lives: HashMap::new(),
            by_id: HashMap::new(),
            waiting: VecDeque::new(),
            slots: Slots::default(),
            crew: Crew::default(),
            reports: Vec::new(),
        };
        for name in files::names(&registry.state_dir) {
            if let Ok(Found::Kept(intent, meta)) = registry.files(&name).look() {
                registry.adopt(&name, intent.as_ref(), meta.as_ref(), epoll);
            }
        }
        registry
    }

    /// Nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.lives.is_empty() && self.waiting.is_empty()
    }

    /// Some attempts have a keeper that is not known yet.
    pub fn must_look(&self) -> bool {
        self.lives.values().any(|live| live.process().is_none())
    }

    /// Sets how many GPU slots there are.
    pub fn set_gpus(&mut self, gpus: u32) {
        self.slots.set_total(gpus);
    }

    fn files(&self, name: &str) -> Files {
        Files::new(&self.state_dir, name)
    }

    /// Starts the attempt, or tells what there is of it.
    pub fn submit(&mut self, hello: &Rc<Hello>, job: Box<Job>, epoll: &OwnedFd) {
        if !self.tell(&job.name, epoll, false) {
            return;
        }
        if let Err(detail) = acceptable(&job, hello, self.slots.total()) {
            self.reports.push(Report::Refused { name: job.name, detail });
            return;
        }
        let name = job.name.clone();
        let first = job.gpus == 0 || self.waiting.is_empty();
        match first.then(|| self.slots.take(job.gpus)).flatten() {
            Some(gpus) => self.launch(hello, *job, gpus, epoll),
            None => {
                let detail = format!("for {} of {} GPU slots", job.gpus, self.slots.total());
                self.waiting.push_back((Rc::clone(hello), job));
                self.reports.push(Report::Exists { name: name.clone() });
                self.reports.push(Report::Waiting { name, detail });
            }
        }
    }

    /// Says whether the attempt exists.
    pub fn lookup(&mut self, name: &str, epoll: &OwnedFd) {
        if self.tell(name, epoll, false) {
            self.reports.push(Report::Absent { name: name.to_owned() });
        }
    }

    /// Reports what there is of an attempt. True when there is nothing, and nothing can come.
    fn tell(&mut self, name: &str, epoll: &OwnedFd, stopped: bool) -> bool {
        if self.waiting.iter().any(|(_, job)| job.name == name) {
            self.reports.push(Report::Exists { name: name.to_owned() });
            return false;
        }
        if let Some(live) = self.lives.get(name) {
            self.reports.push(match live.started {
                Some(at) => Report::Started { name: name.to_owned(), at, place: live.place.clone() },
                None => Report::Exists { name: name.to_owned() },
            });
            return false;
        }
        let files = self.files(name);
        match files.look() {
            Ok(Found::Nothing) => return true,
            Ok(Found::Ended(exit)) => self.reports.push(Report::Ended { name: name.to_owned(), exit }),
            Ok(Found::Kept(intent, meta)) => {
                self.adopt(name, intent.as_ref(), meta.as_ref(), epoll);
                return self.tell(name, epoll, stopped);
            }
            // A keeper records itself before it starts the command: without that record there never was one.
            Ok(Found::Left(_, None)) if !stopped => match files.remove() {
                Ok(()) => return true,
                Err(e) => self.reports.push(Report::Unknown { name: name.to_owned(), detail: e.to_string() }),
            },
            Ok(Found::Left(intent, meta)) => {
                let exit = settle(&files, intent.as_ref(), meta.as_ref(), &self.boot_id, stopped, now());
                self.reports.push(Report::Ended { name: name.to_owned(), exit: Box::new(exit) });
            }
            Err(e) => self.reports.push(Report::Unknown { name: name.to_owned(), detail: format!("its journal cannot be read: {e}") }),
        }
        false
    }

    fn adopt(&mut self, name: &str, intent: Option<&Intent>, meta: Option<&Meta>, epoll: &OwnedFd) {
        let gpus = intent.map(|i| i.gpus.clone()).unwrap_or_default();
        self.slots.hold(&gpus);
        let process = meta.and_then(|m| pin(m, &self.boot_id)).and_then(|process| self.watch(name, process, epoll));
        let place = meta.map(|m| place(m.pid, &gpus)).unwrap_or_default();
        let live = Live { keeper: By::Adopted(process), started: meta.map(|m| m.started), place, gpus, stopped: false };
        self.lives.insert(name.to_owned(), live);
    }

    /// None when it cannot be watched.
    fn watch(&mut self, name: &str, process: OwnedFd, epoll: &OwnedFd) -> Option<OwnedFd> {
        let id = self.crew.id();
        epoll::add(epoll, &process, epoll::EventData::new_u64(id), epoll::EventFlags::IN).ok()?;
        self.by_id.insert(id, name.to_owned());
        Some(process)
    }

    fn launch(&mut self, hello: &Rc<Hello>, job: Job, gpus: Vec<u32>, epoll: &OwnedFd) {
        let name = job.name.clone();
        match self.try_launch(hello, job, &gpus, epoll) {
            Ok((pid, keeper, started)) => {
                let place = place(pid.as_raw_nonzero().get().unsigned_abs(), &gpus);
                self.reports.push(Report::Started { name: name.clone(), at: started, place: place.clone() });
                if let By::Ours(keeper) = &keeper {
                    self.by_id.insert(keeper.id, name.clone());
                }
                self.lives.insert(name, Live { keeper, started: Some(started), place, gpus, stopped: false });
            }
            Err(error) => {
                self.slots.release(&gpus);
                self.reports.push(Report::Refused { name, detail: format!("it cannot be started: {error}") });
            }
        }
    }

    fn try_launch(&mut self, hello: &Rc<Hello>, job: Job, gpus: &[u32], epoll: &OwnedFd) -> std::io::Result<(Pid, By, Timestamp)> {
        let files = self.files(&job.name);
        let token = uuid::Uuid::new_v4().simple().to_string();
        let intent = Intent { attempt: job.attempt.clone(), token, boot_id: self.boot_id.clone(), gpus: gpus.to_vec() };
        let journal = files.claim(intent.clone())?;
        let started = now();
        let order = Order { job, intent, started };
        let journal = match self.crew.hand_over(hello, &order, journal, epoll) {
            Ok(keeper) => return Ok((keeper.pid, By::Ours(keeper), started)),
            Err(journal) => journal,
        };
        let forked = UnixStream::pair().and_then(|(ours, theirs)| {
            ours.set_nonblocking(true)?;
            let kept = [journal.as_raw_fd(), theirs.as_raw_fd()];
            let (title, state_dir) = (self.title, self.state_dir.as_path());
            let pid = self.single.fork(&kept, move || {
                let environment = |order: &Order, files: &Files| environment(hello, order, files);
                keep(&Post { title, state_dir, root: &hello.root, environment: &environment, channel: theirs }, order, journal);
            })?;
            Ok((pid, ours))
        });
        match forked {
            Ok((pid, ours)) => Ok((pid, self.crew.hire(pid, ours, hello, epoll).map_or(By::Unwatched(pid), By::Ours), started)),
            Err(error) => files.remove().and(Err(error)),
        }
    }

    /// Ends an attempt, or tells what there is of it.
    pub fn stop(&mut self, name: &str, grace: Millis, epoll: &OwnedFd) {
        if let Some(at) = self.waiting.iter().position(|(_, job)| job.name == name) {
            self.waiting.remove(at);
            let outcome = Outcome::new(Cause::Cancelled, None, "ended before it started");
            let exit = Box::new(Exit { started: None, at: now(), outcome, outputs: Vec::new(), log_bytes: 0 });
            self.reports.push(Report::Ended { name: name.to_owned(), exit });
            return;
        }
        if !self.lives.contains_key(name) && self.tell(name, epoll, true) {
            self.reports.push(Report::Absent { name: name.to_owned() });
        }
        let files = self.files(name);
        let Some(live) = self.lives.get_mut(name) else { return };
        live.stopped = true;
        if let Err(error) = files.write_stop(StopOrder { grace }) {
            eprintln!("attempt {name} is ended with its own grace period: {error}");
        }
        if let Some(process) = live.process() {
            let _ = pidfd_send_signal(process, Signal::TERM);
        }
    }

    /// Removes an attempt's files.
    pub fn remove(&mut self, name: &str) {
        let busy = self.lives.contains_key(name) || self.waiting.iter().any(|(_, job)| job.name == name);
        let files = self.files(name);
        let error = match files.look() {
            _ if busy => Some("it still runs".to_owned()),
            Ok(Found::Kept(..)) => Some("it still runs".to_owned()),
            Ok(_) => files.remove().err().map(|e| e.to_string()),
            Err(e) => Some(e.to_string()),
        };
        self.reports.push(Report::Removed { name: name.to_owned(), error });
    }

    /// A caller's connection is there, or is over.
    pub fn caller(&mut self, hello: &Rc<Hello>, there: bool, epoll: &OwnedFd) {
        if there { self.crew.welcome(Rc::clone(hello)) } else { self.crew.goodbye(hello, epoll) }
    }

    /// A keeper is gone: tells how its attempt ended, and starts what waited for its slots.
    pub fn gone(&mut self, id: u64, epoll: &OwnedFd) {
        match self.by_id.remove(&id) {
            Some(name) => self.finish(&name, true, epoll),
            None => self.crew.gone(id, epoll),
        }
    }

    /// A keeper has a word: its attempt is over, and it can keep the next one.
    pub fn heard(&mut self, id: u64, epoll: &OwnedFd) {
        let Some(name) = self.by_id.get(&id) else { return };
        if matches!(self.lives.get(name), Some(Live { keeper: By::Ours(keeper), .. }) if keeper.is_done())
            && let Some(name) = self.by_id.remove(&id)
        {
            self.finish(&name, false, epoll);
        }
    }

    fn finish(&mut self, name: &str, gone: bool, epoll: &OwnedFd) {
        let Some(live) = self.lives.remove(name) else { return };
        // Who was made for this attempt and could not start it will not start it at a second try.
        let first = matches!(&live.keeper, By::Ours(keeper) if keeper.is_new()) || matches!(live.keeper, By::Unwatched(_));
        match live.keeper {
            By::Ours(keeper) if gone => keeper.bury(epoll),
            By::Ours(keeper) => self.crew.take_back(keeper, live.stopped, epoll),
            By::Adopted(Some(process)) => drop(epoll::delete(epoll, process)),
            By::Unwatched(pid) => drop(waitpid(Some(pid), WaitOptions::NOHANG)),
            By::Adopted(None) => {}
        }
        self.slots.release(&live.gpus);
        if self.tell(name, epoll, live.stopped) {
            let name = name.to_owned();
            self.reports.push(if first {
                Report::Refused { name, detail: "it could not be started; supervisor.log in the state folder says why".to_owned() }
            } else {
                Report::Absent { name }
            });
        }
        self.start_waiting(epoll);
    }

    fn start_waiting(&mut self, epoll: &OwnedFd) {
        while let Some((_, job)) = self.waiting.front() {
            let Some(gpus) = self.slots.take(job.gpus) else { return };
            if let Some((hello, job)) = self.waiting.pop_front() {
                self.launch(&hello, *job, gpus, epoll);
            }
        }
    }

    /// Looks again at attempts whose keeper is not known.
    pub fn look_again(&mut self, epoll: &OwnedFd) {
        let unknown: Vec<String> = self.lives.iter().filter(|(_, live)| live.process().is_none()).map(|(name, _)| name.clone()).collect();
        for name in unknown {
            match self.files(&name).look() {
                Ok(Found::Kept(_, Some(meta))) => self.found(&name, &meta, epoll),
                Ok(Found::Kept(..)) | Err(_) => {}
                Ok(_) => self.finish(&name, false, epoll),
            }
        }
    }

    /// The keeper of an adopted attempt has said who it is.
    fn found(&mut self, name: &str, meta: &Meta, epoll: &OwnedFd) {
        if !matches!(self.lives.get(name), Some(Live { keeper: By::Adopted(None), .. })) {
            return;
        }
        let Some(process) = pin(meta, &self.boot_id).and_then(|process| self.watch(name, process, epoll)) else { return };
        let Some(live) = self.lives.get_mut(name) else { return };
        if live.stopped {
            let _ = pidfd_send_signal(&process, Signal::TERM);
        }
        live.place = place(meta.pid, &live.gpus);
        live.started = Some(meta.started);
        live.keeper = By::Adopted(Some(process));
        self.reports.push(Report::Started { name: name.to_owned(), at: meta.started, place: live.place.clone() });
    }
}

/// The keeper's process, held so that its pid cannot become another's. None when it is not the one that was recorded.
fn pin(meta: &Meta, boot_id: &str) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(meta.pid).ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (meta.boot_id == boot_id && procfs::start_ticks(meta.pid) == Some(meta.start_ticks)).then_some(process)
}

fn place(pid: u32, gpus: &[u32]) -> String {
    if gpus.is_empty() {
        return format!("pid {pid}");
    }
    let list: Vec<String> = gpus.iter().map(u32::to_string).collect();
    format!("pid {pid}, gpu {}", list.join(","))
}

/// Says why a job can never start here.
fn acceptable(job: &Job, hello: &Hello, total: u32) -> Result<(), String> {
    if job.gpus > total {
        return Err(format!("it asks for {} GPUs and this machine has {total}", job.gpus));
    }
    let words = job.argv.iter().chain(job.env.iter().map(|(_, value)| value));
    if words.into_iter().any(|w| w.contains('\0')) || job.env.iter().any(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
        return Err("a word of the command or its environment has a NUL, or a variable's name is none".to_owned());
    }
    match job.secret_env.iter().find(|(_, source)| value(hello, source).is_none()) {
        Some((name, source)) => Err(format!("the secret for `{name}` is not there: set `{source}` in the environment of oppen")),
        None => Ok(()),
    }
}

fn value<'a>(hello: &'a Hello, name: &str) -> Option<&'a OsString> {
    hello.env.iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

/// The caller's variables, then the declared ones, secrets, and ours.
fn environment(hello: &Hello, order: &Order, files: &Files) -> Environment {
    let Order { job, intent, .. } = order;
    let mut env = hello.env.clone();
    let devices = visible_devices(&intent.gpus, value(hello, "CUDA_VISIBLE_DEVICES").map(OsString::as_os_str));
    env.push(("CUDA_VISIBLE_DEVICES".into(), devices));
    env.extend(job.env.iter().map(|(name, value)| (name.into(), OsString::from(&**value))));
    env.extend(job.secret_env.iter().filter_map(|(name, source)| Some((name.into(), value(hello, source)?.clone()))));
    env.push(("OPPEN_METRICS".into(), files.metrics().into()));
    if !job.checkpoint.is_empty() {
        let place = files.checkpoint(&job.checkpoint);
        if std::fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_some()) {
            env.push(("OPPEN_RESUME".into(), "1".into()));
        }
        env.push(("OPPEN_CHECKPOINT".into(), place.into()));
        if !job.parent.is_empty() {
            env.push(("OPPEN_PARENT_CHECKPOINT".into(), files.checkpoint(&job.parent).into()));
        }
    }
    env.push((TOKEN.into(), intent.token.clone().into()));
    env
}

/// The wall clock.
pub fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}
