//! The engine's end of the connection: one thread writes requests, one reads reports; both survive a supervisor that does not.
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

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::LocalConfig;
use super::files::Files;
use super::protocol::{Exit, Hello, Job, PROTOCOL, Report, Request};
use super::reach::reach;
use super::tail::Tail;
use crate::backend::BackendError;
use crate::base::{AttemptId, Millis};
use crate::engine::Observation;
use crate::record::event::Anomaly;

/// How often metrics of running attempts are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Between two tries to reach a supervisor again.
const AGAIN: Duration = Duration::from_secs(1);
/// Requests that go out in one write, in bytes.
const BATCH: usize = 1 << 20;

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

enum Out {
    Request(Request),
    Stream(UnixStream),
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
    requests: Option<Sender<Out>>,
    threads: Vec<JoinHandle<()>>,
}

impl Link {
    /// Reaches the supervisor and starts both threads.
    pub fn open(config: LocalConfig, out: Sender<Observation>) -> Result<Self, BackendError> {
        let reader = reach(&config)?;
        let shared = Arc::new(Shared { config, desk: Mutex::default(), closing: AtomicBool::new(false) });
        let (requests, queue) = unbounded();
        let link = Reader { shared: Arc::clone(&shared), requests: requests.clone(), out, tails: HashMap::new() };
        link.introduce(&reader).map_err(|e| BackendError { message: format!("the supervisor cannot be talked to: {e}"), hint: None })?;
        let threads = vec![std::thread::spawn(move || write_all(&queue)), std::thread::spawn(move || link.run(reader))];
        Ok(Self { shared, requests: Some(requests), threads })
    }

    /// What is known of attempts. A request about one is sent after it was noted here.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.shared.desk()
    }

    /// Sends, soon.
    pub fn send(&self, request: Request) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(Out::Request(request));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        if let Some(stream) = self.shared.desk().stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.requests = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Writes what is queued, many requests at once. While there is no connection requests are dropped: the reader sends them again.
fn write_all(queue: &Receiver<Out>) {
    let mut stream: Option<UnixStream> = None;
    let mut bytes = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(out) = next {
            match out {
                Out::Request(request) => {
                    let before = bytes.len();
                    match serde_json::to_writer(&mut bytes, &request) {
                        Ok(()) => bytes.push(b'\n'),
                        Err(_) => bytes.truncate(before),
                    }
                }
                Out::Stream(new) => {
                    bytes.clear();
                    stream = Some(new);
                }
            }
            next = if bytes.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        if stream.as_ref().is_some_and(|mut s| s.write_all(&bytes).is_err()) {
            stream = None;
        }
        bytes.clear();
    }
}

struct Reader {
    shared: Arc<Shared>,
    requests: Sender<Out>,
    out: Sender<Observation>,
    tails: HashMap<String, Tail>,
}

impl Reader {
    /// Says who we are on a new connection, and again all that was not answered.
    fn introduce(&self, reader: &BufReader<UnixStream>) -> io::Result<()> {
        let stream = reader.get_ref();
        stream.set_read_timeout(Some(TICK))?;
        self.shared.desk().stream = Some(stream.try_clone()?);
        let config = &self.shared.config;
        let env = std::env::vars_os().collect();
        let hello = Hello { protocol: PROTOCOL, root: config.root.clone(), gpus: config.gpus, env };
        let _ = self.requests.send(Out::Stream(stream.try_clone()?));
        let _ = self.requests.send(Out::Request(Request::Hello(Box::new(hello))));
        for (name, known) in &self.shared.desk().known {
            let name = name.clone();
            let first = match &known.job {
                Some(job) => Request::Submit(job.clone()),
                None => Request::Lookup { name: name.clone() },
            };
            let stop = known.stop.map(|grace| Request::Stop { name, grace });
            for request in std::iter::once(first).chain(stop) {
                let _ = self.requests.send(Out::Request(request));
            }
        }
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
        let mut ticked = Instant::now();
        loop {
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
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
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

    fn tick(&mut self) {
        let desk = self.shared.desk();
        let attempts: HashMap<String, AttemptId> =
            self.tails.keys().filter_map(|name| desk.known.get(name).map(|k| (name.clone(), k.attempt.clone()))).collect();
        drop(desk);
        let out = self.out.clone();
        self.tails.retain(|name, tail| {
            let Some(attempt) = attempts.get(name) else { return false };
            tail.read(&mut |points| {
                let _ = out.send(Observation::Metrics { attempt: attempt.clone(), points });
            });
            true
        });
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
