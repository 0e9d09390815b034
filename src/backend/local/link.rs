//! The engine's end of the connection: requests are written as they come, a thread reads reports; both survive a supervisor that does
//! not.
//!
//! In: requests, reports, metrics. Out: observations. Must never drop a submission: what was not answered is sent again.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::LocalConfig;
use super::files::Files;
use super::protocol::{Exit, Hello, Job, PROTOCOL, Report, Request};
use super::reach::reach;
use super::tail::Tail;
use crate::backend::BackendError;
use crate::base::{AttemptId, Millis};
use crate::engine::Observation;
use crate::record::event::Anomaly;

/// How often a quiet connection is looked at.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at metrics, at the least.
const LEAST: Duration = Duration::from_millis(20);
/// Time for each attempt between two looks, so that many attempts that report do not use up a core.
const EACH: Duration = Duration::from_micros(200);
/// A timeout of the socket that is wrong by no more is left as it is.
const SLACK: Duration = Duration::from_millis(5);
/// Between two tries to reach a supervisor again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a request may take to be written: a supervisor that reads nothing for so long is not there.
const WRITE: Duration = Duration::from_secs(10);

/// An attempt that is not known to be over.
pub struct Known {
    /// Whose.
    pub attempt: AttemptId,
    /// To send again while it has not started: a supervisor keeps what waits in memory only.
    pub job: Option<Box<Job>>,
    /// It was asked to end.
    pub stop: Option<Millis>,
}

/// What both threads and the backend share.
#[derive(Default)]
pub struct Desk {
    /// By name.
    pub known: HashMap<String, Known>,
    /// Who waits for an attempt's files to be removed.
    pub removals: HashMap<String, Sender<Option<String>>>,
    stream: Option<UnixStream>,
}

impl Desk {
    /// Writes the request. While there is no connection it is dropped: the reader sends again what was not answered.
    fn send(&mut self, request: &Request) {
        let Some(stream) = &mut self.stream else { return };
        let Ok(mut bytes) = serde_json::to_vec(request) else { return };
        bytes.push(b'\n');
        if stream.write_all(&bytes).is_err() {
            // The reader sees the end, and reaches the supervisor again.
            let _ = stream.shutdown(Shutdown::Both);
            self.stream = None;
        }
    }
}

struct Shared {
    config: LocalConfig,
    desk: Mutex<Desk>,
    closing: AtomicBool,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that comes back.
pub struct Link {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Link {
    /// Reaches the supervisor and starts the thread.
    pub fn open(config: LocalConfig, out: Sender<Observation>) -> Result<Self, BackendError> {
        let reader = reach(&config)?;
        let shared = Arc::new(Shared { config, desk: Mutex::default(), closing: AtomicBool::new(false) });
        let link = Reader { shared: Arc::clone(&shared), out, tails: HashMap::new(), started: false };
        link.introduce(&reader).map_err(|e| BackendError { message: format!("the supervisor cannot be talked to: {e}"), hint: None })?;
        Ok(Self { shared, reader: Some(std::thread::spawn(move || link.run(reader))) })
    }

    /// What is known of attempts. A request about one is sent after it was noted here.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.shared.desk()
    }

    /// Sends.
    pub fn send(&self, request: &Request) {
        self.desk().send(request);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        if let Some(stream) = self.shared.desk().stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

struct Reader {
    shared: Arc<Shared>,
    out: Sender<Observation>,
    tails: HashMap<String, Tail>,
    /// An attempt began: its metrics are looked for soon.
    started: bool,
}

impl Reader {
    /// Says who we are on a new connection, and again all that was not answered.
    fn introduce(&self, reader: &BufReader<UnixStream>) -> io::Result<()> {
        let stream = reader.get_ref();
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(WRITE))?;
        let config = &self.shared.config;
        let env = std::env::vars_os().collect();
        let hello = Hello { protocol: PROTOCOL, root: config.root.clone(), gpus: config.gpus, env };
        let mut requests = vec![Request::Hello(Box::new(hello))];
        let mut desk = self.shared.desk();
        for (name, known) in &desk.known {
            let name = name.clone();
            requests.push(match &known.job {
                Some(job) => Request::Submit(job.clone()),
                None => Request::Lookup { name: name.clone() },
            });
            requests.extend(known.stop.map(|grace| Request::Stop { name, grace }));
        }
        desk.stream = Some(stream.try_clone()?);
        requests.iter().for_each(|request| desk.send(request));
        Ok(())
    }

    fn run(mut self, mut reader: BufReader<UnixStream>) {
        loop {
            self.listen(&mut reader);
            match self.reach_again() {
                Some(new) => reader = new,
                None => return,
            }
        }
    }

    /// Handles reports until the connection is over.
    fn listen(&mut self, reader: &mut BufReader<UnixStream>) {
        let mut line = Vec::new();
        let (mut next, mut patience) = (Instant::now(), TICK);
        loop {
            // A clock that the socket's timeout follows: reports come at once, metrics when they are due.
            let wanted = next.saturating_duration_since(Instant::now()).clamp(LEAST, TICK);
            if reader.buffer().is_empty() && wanted.abs_diff(patience) > SLACK && reader.get_ref().set_read_timeout(Some(wanted)).is_ok() {
                patience = wanted;
            }
            match reader.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {
                    if let Ok(report) = serde_json::from_slice(&line) {
                        self.handle(report);
                    }
                    line.clear();
                }
                Ok(_) => return,
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {}
                Err(_) => return,
            }
            if std::mem::take(&mut self.started) {
                next = next.min(Instant::now() + LEAST);
            }
            if Instant::now() >= next {
                next = self.tick();
            }
        }
    }

    fn reach_again(&self) -> Option<BufReader<UnixStream>> {
        let mut told = false;
        loop {
            if self.shared.closing.load(Ordering::SeqCst) {
                return None;
            }
            let reached = reach(&self.shared.config).map_err(|e| e.message);
            match reached.and_then(|reader| self.introduce(&reader).map_err(|e| e.to_string()).map(|()| reader)) {
                Ok(reader) => {
                    if told {
                        self.say(Observation::Reachable);
                    }
                    return Some(reader);
                }
                Err(detail) if !told => {
                    told = true;
                    self.say(Observation::Unreachable { detail });
                }
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }

    fn say(&self, observation: Observation) {
        let _ = self.out.send(observation);
    }

    /// Reads the metrics that are due; the answer is when the next ones are.
    fn tick(&mut self) -> Instant {
        let now = Instant::now();
        let due: Vec<String> = self.tails.iter().filter(|(_, t)| t.due() <= now).map(|(n, _)| n.clone()).collect();
        let desk = self.shared.desk();
        let attempts: HashMap<String, AttemptId> =
            due.into_iter().filter_map(|name| Some((name.clone(), desk.known.get(&name)?.attempt.clone()))).collect();
        drop(desk);
        let out = self.out.clone();
        self.tails.retain(|name, tail| {
            if tail.due() > now {
                return true;
            }
            let Some(attempt) = attempts.get(name) else { return false };
            tail.read(&mut |points| {
                let _ = out.send(Observation::Metrics { attempt: attempt.clone(), points });
            });
            true
        });
        let soonest = self.tails.values().map(Tail::due).min().unwrap_or(now + TICK);
        let pause = EACH * u32::try_from(self.tails.len()).unwrap_or(u32::MAX);
        soonest.max(Instant::now() + pause.clamp(LEAST, TICK)).min(now + TICK)
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Welcome { .. } => {}
            Report::Exists { name } => {
                self.about(&name, |attempt| Observation::Exists { attempt });
            }
            Report::Waiting { name, detail } => {
                self.about(&name, |attempt| Observation::Noticed { attempt, anomaly: Anomaly::Waiting { detail } });
            }
            Report::Started { name, at, place } => {
                let files = Files::new(&self.shared.config.state_dir, &name);
                if self.about(&name, |attempt| Observation::Started { attempt, at, place }) {
                    if let Some(known) = self.shared.desk().known.get_mut(&name) {
                        known.job = None;
                    }
                    self.tails.entry(name).or_insert_with(|| Tail::open(&files));
                    self.started = true;
                }
            }
            Report::Ended { name, exit } => self.ended(&name, *exit),
            Report::Absent { name } => self.over(&name, |attempt| Observation::Absent { attempt }),
            Report::Refused { name, detail } => self.over(&name, |attempt| Observation::Refused { attempt, detail }),
            Report::Unknown { name, detail } => {
                self.about(&name, |attempt| Observation::SubmitUnknown { attempt, detail });
            }
            Report::Removed { name, error } => {
                if let Some(waiter) = self.shared.desk().removals.remove(&name) {
                    let _ = waiter.send(error);
                }
            }
        }
    }

    /// Reports on an attempt that is ours and not over; false when it is not.
    fn about(&self, name: &str, what: impl FnOnce(AttemptId) -> Observation) -> bool {
        let attempt = self.shared.desk().known.get(name).map(|known| known.attempt.clone());
        attempt.map(|attempt| self.say(what(attempt))).is_some()
    }

    fn over(&mut self, name: &str, what: impl FnOnce(AttemptId) -> Observation) {
        self.tails.remove(name);
        let known = self.shared.desk().known.remove(name);
        if let Some(known) = known {
            self.say(what(known.attempt));
        }
    }

    fn ended(&mut self, name: &str, exit: Exit) {
        let Some(known) = self.shared.desk().known.remove(name) else { return };
        let files = Files::new(&self.shared.config.state_dir, name);
        let tail = self.tails.remove(name);
        let attempt = known.attempt;
        // Most attempts that say nothing have no file to look at.
        if exit.log_bytes > 0 || files.metrics().exists() {
            tail.unwrap_or_else(|| Tail::open(&files)).finish(&mut |points| {
                if !points.is_empty() {
                    self.say(Observation::Metrics { attempt: attempt.clone(), points });
                }
            });
        }
        let Exit { started, at, outcome, outputs, .. } = exit;
        self.say(Observation::Ended { attempt, started, at, outcome, outputs });
    }
}
