//! The thread that talks to the server: looks at all live runs in one question, reads what is new, writes reports.
//!
//! In: words of the backend and of the forwarder. Out: metrics as observations, and who is finished with. Must never be waited for.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::cursor_path;
use crate::base::{AttemptId, Timestamp};
use crate::engine::Observation;
use crate::record::Anomaly;
use crate::record::event::MetricPoint;
use crate::track::mlflow::{Client, Cursor, MlflowError, Remote, Report, TAG_ATTEMPT, TAG_LINEAGE};

/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Points that are kept of an attempt for its report.
const KEPT: usize = 10_000;
/// Reports that wait for a server that does not answer; older ones are dropped first.
const REPORTS: usize = 10_000;

/// What the desk is told.
pub enum Word {
    /// The attempt may log something from now on.
    Watch(AttemptId),
    /// It reported these to Oppen.
    Points(AttemptId, Vec<MetricPoint>),
    /// It has ended: read the rest, then say so.
    Finish(AttemptId),
    /// Write this.
    Report(Box<Report>),
    /// The engine leaves.
    Leave,
}

struct Watched {
    attempt: AttemptId,
    cursor: Cursor,
    saved: Cursor,
    points: Vec<MetricPoint>,
}

/// All that is watched.
pub struct Desk {
    client: Client,
    lineage: String,
    state_dir: PathBuf,
    out: Sender<Observation>,
    done: Sender<AttemptId>,
    watched: BTreeMap<String, Watched>,
    reports: VecDeque<Report>,
    /// Points of attempts that have ended, until their report comes.
    kept: BTreeMap<String, Vec<MetricPoint>>,
    failures: u32,
    next: Instant,
}

impl Desk {
    pub fn new(client: Client, lineage: String, state_dir: PathBuf, out: Sender<Observation>, done: Sender<AttemptId>) -> Self {
        let (watched, reports, kept) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Self { client, lineage, state_dir, out, done, watched, reports, kept, failures: 0, next: Instant::now() }
    }

    /// An attempt may log something. Metrics that an earlier engine handed on are not handed on again.
    pub fn watch(&mut self, attempt: &AttemptId) {
        let name = attempt.name(&self.lineage);
        let saved = std::fs::read(cursor_path(&self.state_dir, &name)).ok();
        let cursor: Cursor = saved.and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
        let new = || Watched { attempt: attempt.clone(), saved: cursor.clone(), cursor, points: Vec::new() };
        self.watched.entry(name).or_insert_with(new);
    }

    /// Until the engine leaves, and what was to be written is written or cannot be.
    pub fn run(mut self, heard: &Receiver<Word>) {
        loop {
            let wait = self.next.saturating_duration_since(Instant::now());
            match heard.recv_timeout(wait) {
                Ok(Word::Watch(attempt)) => self.watch(&attempt),
                Ok(Word::Points(attempt, points)) => self.keep(&attempt, points),
                Ok(Word::Finish(attempt)) => {
                    self.finish(&attempt);
                    let _ = self.done.send(attempt);
                }
                Ok(Word::Report(report)) => self.report(*report),
                Ok(Word::Leave) | Err(RecvTimeoutError::Disconnected) => return self.write(),
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    self.write();
                    self.next = Instant::now() + self.pause();
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        let poll = self.client.settings().poll;
        poll.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE.max(poll))
    }

    fn keep(&mut self, attempt: &AttemptId, points: Vec<MetricPoint>) {
        if let Some(watched) = self.watched.get_mut(&attempt.name(&self.lineage)) {
            let room = KEPT.saturating_sub(watched.points.len());
            let at = Some(Timestamp(chrono::Utc::now().timestamp_millis()));
            watched.points.extend(points.into_iter().take(room).map(|p| MetricPoint { at: p.at.or(at), ..p }));
        }
    }

    fn report(&mut self, report: Report) {
        if self.reports.len() >= REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
        if self.failures == 0 {
            self.write();
        }
    }

    /// One question for all live runs.
    fn look(&mut self) {
        if self.watched.is_empty() {
            return;
        }
        match self.client.find(TAG_LINEAGE, &self.lineage, true) {
            Ok(runs) => {
                self.failures = 0;
                runs.iter().for_each(|run| self.read(&run.attempt, run, false));
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The rest of an attempt that has ended. Where the server did not answer before, it is not asked.
    fn finish(&mut self, attempt: &AttemptId) {
        let name = attempt.name(&self.lineage);
        if self.failures == 0 && self.watched.contains_key(&name) {
            match self.client.find(TAG_ATTEMPT, &name, false) {
                Ok(runs) => runs.iter().for_each(|run| self.read(&name, run, true)),
                Err(error) => self.failed(&error),
            }
        }
        if let Some(watched) = self.watched.remove(&name) {
            if watched.cursor != Cursor::default() {
                self.save(&name, &watched.cursor);
            }
            if self.client.settings().write {
                self.kept.insert(name, watched.points);
            }
        }
    }

    fn read(&mut self, name: &str, run: &Remote, all: bool) {
        let Some(mut watched) = self.watched.remove(name) else { return };
        if watched.cursor != watched.saved {
            // What was handed on the last time is with the engine by now.
            self.save(name, &watched.cursor);
            watched.saved = watched.cursor.clone();
        }
        match self.client.news(run, &mut watched.cursor, all) {
            Ok(points) if points.is_empty() => {}
            Ok(points) => {
                let _ = self.out.send(Observation::Metrics { attempt: watched.attempt.clone(), points });
            }
            Err(error) => self.failed(&error),
        }
        self.watched.insert(name.to_owned(), watched);
    }

    fn save(&self, name: &str, cursor: &Cursor) {
        let path = cursor_path(&self.state_dir, name);
        let temporary = path.with_extension("mlflow.tmp");
        if let Ok(bytes) = serde_json::to_vec(cursor)
            && std::fs::write(&temporary, bytes).is_ok()
        {
            let _ = std::fs::rename(&temporary, &path);
        }
    }

    /// Says so once, on every live run, and asks less often.
    fn failed(&mut self, error: &MlflowError) {
        self.failures = self.failures.saturating_add(1);
        if self.failures > 1 {
            return;
        }
        let detail = format!("MLflow at {} {error}: what runs log there is not known", self.client.settings().uri);
        for watched in self.watched.values() {
            let anomaly = Anomaly::Untracked { detail: detail.clone() };
            let _ = self.out.send(Observation::Noticed { attempt: watched.attempt.clone(), anomaly });
        }
    }

    fn write(&mut self) {
        while let Some(mut report) = self.reports.pop_front() {
            report.points = self.kept.get(&report.attempt).cloned().unwrap_or_default();
            match self.client.write(&report) {
                Ok(()) => {
                    self.failures = 0;
                    self.kept.remove(&report.attempt);
                }
                // It will say the same again: the report is given up, the run has its result all the same.
                Err(MlflowError::Refused(status, _)) if (400..500).contains(&status) && status != 429 => {
                    self.kept.remove(&report.attempt);
                }
                Err(error) => {
                    self.reports.push_front(report);
                    return self.failed(&error);
                }
            }
        }
    }
}
