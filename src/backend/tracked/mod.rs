//! A backend whose runs are tracked by an MLflow server too.
//!
//! In: commands for the backend inside, its observations. Out: the same, with metrics that runs log to the server. Must never hold up
//! or fail a run because of the server: it has a moment at an attempt's end, and none where it did not answer before.

mod desk;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::{Backend, BackendError};
use crate::base::{AttemptId, Millis};
use crate::engine::{Launch, Observation};
use crate::record::{Cause, Event, State};
use crate::track::mlflow::{Client, Cursor, Report, Settings, TAG_ATTEMPT, TAG_LINEAGE};
use desk::{Desk, Word};

/// How long the end of an attempt waits for its last metrics.
const MOMENT: Duration = Duration::from_secs(3);
/// How long the last reports may take when the engine leaves.
const FAREWELL: Duration = Duration::from_secs(10);

/// Where the reading of an attempt's metrics stands, beside its log.
fn cursor_path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join("attempts").join(format!("{name}.mlflow"))
}

/// Where people see an attempt on the server, once something of it was found there.
#[must_use]
pub fn link(state_dir: &Path, name: &str) -> Option<String> {
    let bytes = std::fs::read(cursor_path(state_dir, name)).ok()?;
    serde_json::from_slice::<Cursor>(&bytes).ok().map(|c| c.link).filter(|l| !l.is_empty())
}

/// Wraps a backend.
pub struct Tracked {
    inside: Box<dyn Backend>,
    settings: Settings,
    lineage: String,
    state_dir: PathBuf,
    desk: Option<(Sender<Word>, JoinHandle<()>)>,
}

impl Tracked {
    /// A tracked backend; nothing is started yet.
    #[must_use]
    pub fn new(inside: Box<dyn Backend>, settings: Settings, lineage: &str, state_dir: PathBuf) -> Self {
        Self { inside, settings, lineage: lineage.to_owned(), state_dir, desk: None }
    }

    fn tell(&self, word: Word) {
        if let Some((desk, _)) = &self.desk {
            let _ = desk.send(word);
        }
    }
}

impl Backend for Tracked {
    fn start(&mut self, live: &[AttemptId], out: Sender<Observation>) -> Result<(), BackendError> {
        let (seen, observations) = unbounded();
        let (words, heard) = unbounded();
        let (done, finished) = unbounded();
        let client = Client::new(self.settings.clone(), |name| std::env::var(name).ok());
        let mut desk = Desk::new(client, self.lineage.clone(), self.state_dir.clone(), out.clone(), done);
        live.iter().for_each(|attempt| desk.watch(attempt));
        let handle = std::thread::spawn(move || desk.run(&heard));
        let asks = words.clone();
        self.desk = Some((words, handle));
        std::thread::spawn(move || forward(&observations, &finished, &asks, &out));
        self.inside.start(live, seen)
    }

    fn submit(&mut self, mut launch: Launch) {
        let name = launch.attempt.name(&self.lineage);
        let address = launch.attempt.address.as_str().to_owned();
        for (key, value) in self.settings.env(&[(TAG_ATTEMPT, &name), (TAG_LINEAGE, &self.lineage), ("oppen.address", &address)]) {
            // What the run declares itself wins.
            if !launch.env.iter().any(|(k, _)| *k == key) {
                launch.env.push((key, value));
            }
        }
        self.tell(Word::Watch(launch.attempt.clone()));
        self.inside.submit(launch);
    }

    fn stop(&mut self, attempt: &AttemptId, grace: Millis) {
        self.inside.stop(attempt, grace);
    }

    fn lookup(&mut self, attempt: &AttemptId) {
        self.inside.lookup(attempt);
    }

    fn logs(&self, attempt: &AttemptId, follow: bool) -> io::Result<Box<dyn io::Read + Send>> {
        self.inside.logs(attempt, follow)
    }

    fn remove(&mut self, attempt: &AttemptId) -> Result<(), BackendError> {
        let _ = std::fs::remove_file(cursor_path(&self.state_dir, &attempt.name(&self.lineage)));
        self.inside.remove(attempt)
    }

    fn kept(&self) -> Result<Vec<AttemptId>, BackendError> {
        self.inside.kept()
    }

    fn recorded(&mut self, events: &[Event], state: &State) {
        self.inside.recorded(events, state);
        if self.settings.write {
            let reports = events.iter().filter_map(|event| report(event, state, &self.lineage));
            reports.for_each(|report| self.tell(Word::Report(Box::new(report))));
        }
    }
}

impl Drop for Tracked {
    /// Reports that are under way get a while; what the server does not take by then is left.
    fn drop(&mut self) {
        if let Some((desk, handle)) = self.desk.take() {
            let _ = desk.send(Word::Leave);
            drop(desk);
            let until = Instant::now() + FAREWELL;
            while !handle.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Ends that wait for their last metrics, and until when.
type Waiting = BTreeMap<AttemptId, (Instant, Observation)>;

/// Hands observations on. The end of an attempt waits for its last metrics, but not for long.
fn forward(observations: &Receiver<Observation>, finished: &Receiver<AttemptId>, desk: &Sender<Word>, out: &Sender<Observation>) {
    let mut waiting = Waiting::new();
    loop {
        let patience = if waiting.is_empty() { Duration::from_secs(60) } else { Duration::from_millis(20) };
        let handed_on = match observations.recv_timeout(patience) {
            Ok(Observation::Ended { attempt, started, at, outcome, outputs }) => {
                let ended = Observation::Ended { attempt: attempt.clone(), started, at, outcome, outputs };
                if desk.send(Word::Finish(attempt.clone())).is_ok() {
                    waiting.insert(attempt, (Instant::now() + MOMENT, ended));
                    Ok(())
                } else {
                    out.send(ended)
                }
            }
            Ok(Observation::Metrics { attempt, points }) => {
                let _ = desk.send(Word::Points(attempt.clone(), points.clone()));
                out.send(Observation::Metrics { attempt, points })
            }
            Ok(other) => out.send(other),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if handed_on.is_err() || release(&mut waiting, finished, out).is_err() {
            return;
        }
    }
}

/// Hands on the ends that have waited long enough.
fn release(waiting: &mut Waiting, finished: &Receiver<AttemptId>, out: &Sender<Observation>) -> Result<(), ()> {
    let done: Vec<AttemptId> = finished.try_iter().collect();
    let now = Instant::now();
    let ready: Vec<AttemptId> =
        waiting.iter().filter(|(a, (until, _))| *until <= now || done.contains(a)).map(|(a, _)| a.clone()).collect();
    for attempt in ready {
        if let Some((_, ended)) = waiting.remove(&attempt) {
            out.send(ended).map_err(|_| ())?;
        }
    }
    Ok(())
}

/// What an event has to tell the server.
fn report(event: &Event, state: &State, lineage: &str) -> Option<Report> {
    let Event::Ended { attempt, started, at, outcome, bill, .. } = event else { return None };
    let spec = &state.runs.get(&attempt.address)?.spec;
    let text = |v: &crate::base::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let mut tags = vec![
        ("oppen.address".to_owned(), spec.address.to_string()),
        ("oppen.outcome".to_owned(), serde_json::to_value(outcome.cause).ok()?.as_str()?.to_owned()),
        ("oppen.priority".to_owned(), spec.job.priority.class.to_string()),
        ("oppen.fingerprint".to_owned(), spec.fingerprint.to_string()),
        ("oppen.explain".to_owned(), format!("oppen explain '{}'", spec.address)),
    ];
    if let Some(bill) = bill {
        tags.push(("oppen.cost_usd".to_owned(), bill.amount.decimal()));
        tags.push(("oppen.seconds".to_owned(), format!("{}", bill.time.as_secs_f64())));
    }
    Some(Report {
        attempt: attempt.name(lineage),
        lineage: lineage.to_owned(),
        title: spec.address.to_string(),
        params: spec.params.iter().map(|(k, v)| (k.to_string(), text(v))).collect(),
        tags,
        ran: (started.unwrap_or(*at), *at),
        status: match outcome.cause {
            Cause::Success => "FINISHED",
            Cause::Cancelled | Cause::Interrupted | Cause::Budget => "KILLED",
            _ => "FAILED",
        },
        points: Vec::new(),
    })
}
