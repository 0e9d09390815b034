//! Asking the API: create, look up, delete; and telling what came of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use super::judge::{self, Facts};
use super::{Settings, job, logs};
use crate::backend::BackendError;
use crate::base::{AttemptId, Timestamp};
use crate::engine::{Launch, Observation};
use crate::record::{Anomaly, Cause, Outcome, OutputRecord};

/// Creations under way at a time.
const CREATES: usize = 32;
/// Waits between tries of the same creation.
const WAITS: [u64; 5] = [1, 2, 5, 10, 20];
/// Label that the Job controller gives its pods.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// What is known of one attempt.
#[derive(Default)]
pub struct Tracked {
    attempt: Option<AttemptId>,
    outputs: Vec<String>,
    job: Option<Job>,
    pods: FxHashMap<String, Pod>,
    told: Facts,
    /// It will be deleted because it can never run; that counts as this.
    doomed: Option<Outcome>,
    ending: bool,
    logging: Option<tokio::task::JoinHandle<()>>,
}

/// One cluster, asked for one lineage.
pub struct Cluster {
    pub settings: Settings,
    pub client: Client,
    classes: Vec<String>,
    out: Sender<Observation>,
    creates: Semaphore,
    known: Mutex<FxHashMap<String, Tracked>>,
}

fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}

impl Cluster {
    /// Nothing known yet.
    pub fn new(client: Client, settings: Settings, classes: Vec<String>, out: Sender<Observation>) -> Self {
        Self { settings, client, classes, out, creates: Semaphore::new(CREATES), known: Mutex::default() }
    }

    pub fn tell(&self, observation: Observation) {
        // An engine that is gone wants no more.
        let _ = self.out.send(observation);
    }

    fn known(&self) -> MutexGuard<'_, FxHashMap<String, Tracked>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    fn track(&self, attempt: &AttemptId) -> String {
        let name = attempt.name(&self.settings.lineage);
        self.known().entry(name.clone()).or_default().attempt.get_or_insert_with(|| attempt.clone());
        name
    }

    /// Creates the Job under its name, or adopts it. Only the same name is tried again.
    pub async fn submit(self: Arc<Self>, launch: Launch) {
        let attempt = launch.attempt.clone();
        let name = self.track(&attempt);
        if let Some(tracked) = self.known().get_mut(&name) {
            tracked.outputs.clone_from(&launch.spec.job.outputs);
        }
        let wanted = match job::of(&launch, &self.settings, &self.classes) {
            Ok(job) => job,
            Err(detail) => return self.tell(Observation::Refused { attempt, detail }),
        };
        for wait in WAITS.into_iter().chain(std::iter::repeat(30)) {
            let created = {
                let _turn = self.creates.acquire().await;
                self.jobs().create(&PostParams::default(), &wanted).await
            };
            match created {
                Ok(job) => return self.job_seen(job),
                Err(kube::Error::Api(status)) if status.code == 409 => return self.adopt(&name, &attempt, &wanted).await,
                Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("exceeded quota") => {
                    self.tell(Observation::Noticed {
                        attempt: attempt.clone(),
                        anomaly: Anomaly::Waiting { detail: status.message.clone() },
                    });
                }
                Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
                    return self.tell(Observation::Refused { attempt, detail: status.message.clone() });
                }
                Err(error) => self.tell(Observation::SubmitUnknown { attempt: attempt.clone(), detail: error.to_string() }),
            }
            tokio::time::sleep(Duration::from_secs(wait)).await;
            // Asked to stop in the meantime: nothing more is created.
            if self.known().get(&name).is_none_or(|t| t.ending) {
                return;
            }
        }
    }

    async fn adopt(self: &Arc<Self>, name: &str, attempt: &AttemptId, wanted: &Job) {
        match self.jobs().get_opt(name).await {
            Ok(Some(found))
                if job::attempt(&found, &self.settings.lineage).as_ref() == Some(attempt) && job::digest(&found) == job::digest(wanted) =>
            {
                self.job_seen(found)
            }
            Ok(Some(found)) => {
                let owner = found.metadata.labels.as_ref().and_then(|l| l.get(job::LINEAGE)).map_or("nobody".to_owned(), Clone::clone);
                let detail = format!("a Job `{name}` of lineage {owner} stands in namespace {}", self.settings.namespace);
                self.tell(Observation::Noticed { attempt: attempt.clone(), anomaly: Anomaly::Foreign { detail: detail.clone() } });
                self.tell(Observation::Refused { attempt: attempt.clone(), detail });
            }
            Ok(None) => self.tell(Observation::Absent { attempt: attempt.clone() }),
            Err(error) => self.tell(Observation::SubmitUnknown { attempt: attempt.clone(), detail: error.to_string() }),
        }
    }

    /// Says whether it exists: from the API, never from what we remember.
    pub async fn lookup(self: Arc<Self>, attempt: AttemptId) {
        let name = self.track(&attempt);
        match self.jobs().get_opt(&name).await {
            Ok(Some(found)) if job::attempt(&found, &self.settings.lineage).as_ref() == Some(&attempt) => {
                self.tell(Observation::Exists { attempt });
                if let Some(tracked) = self.known().get_mut(&name) {
                    tracked.told = Facts::default();
                }
                self.job_seen(found);
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                self.gone(&name).await;
            }
            Err(_) => {}
        }
    }

    /// The Job is not there. Its pods may be, until they have ended; false as long as that is not known.
    async fn gone(self: &Arc<Self>, name: &str) -> bool {
        let selector = ListParams::default().labels(&format!("{JOB_NAME}={name},{}={}", job::LINEAGE, self.settings.lineage));
        let Ok(pods) = self.pods().list(&selector).await else { return false };
        if pods.items.iter().any(judge::may_run) {
            return false;
        }
        let Ok(None) = self.jobs().get_opt(name).await else { return true };
        let (attempt, seen, outcome) = {
            let mut known = self.known();
            let Some(tracked) = known.get_mut(name) else { return true };
            let Some(attempt) = tracked.attempt.clone() else { return true };
            let seen = tracked.job.take().is_some() || tracked.told.started.is_some();
            tracked.ending = true;
            (attempt, seen.then(|| tracked.told.started.as_ref().map(|(at, _)| *at)), tracked.doomed.clone())
        };
        let Some(started) = seen else {
            self.tell(Observation::Absent { attempt });
            return true;
        };
        let outcome = outcome.unwrap_or_else(|| Outcome::new(Cause::Interrupted, None, "its Job was deleted"));
        self.finish_logs(name).await;
        self.tell(Observation::Ended { attempt, started, at: now(), outcome, outputs: Vec::new() });
        true
    }

    /// Deletes the Job; its end is told when it and its pods are gone.
    pub async fn stop(self: Arc<Self>, attempt: AttemptId) {
        let name = self.track(&attempt);
        if let Some(tracked) = self.known().get_mut(&name).filter(|t| t.job.is_none()) {
            tracked.ending = true;
        }
        match self.jobs().get_opt(&name).await {
            Ok(Some(found)) if job::attempt(&found, &self.settings.lineage).as_ref() == Some(&attempt) => {
                if let Some(tracked) = self.known().get_mut(&name) {
                    tracked.job.get_or_insert(found);
                }
                let _ = self.jobs().delete(&name, &DeleteParams::foreground()).await;
            }
            Ok(Some(_)) => self.tell(Observation::Absent { attempt }),
            Ok(None) => {
                self.gone(&name).await;
            }
            Err(_) => {}
        }
    }

    /// Removes the Job if it is ours.
    pub async fn remove(&self, name: &str) -> Result<(), BackendError> {
        let wrong = |e: kube::Error| BackendError { message: format!("the Job {name} cannot be removed: {e}"), hint: None };
        match self.jobs().get_opt(name).await.map_err(wrong)? {
            Some(found) if job::attempt(&found, &self.settings.lineage).is_some() => {
                self.jobs().delete(name, &DeleteParams::background()).await.map(|_| ()).map_err(wrong)
            }
            _ => Ok(()),
        }
    }

    /// A Job as the API has it.
    pub fn job_seen(self: &Arc<Self>, found: Job) {
        let (Some(name), Some(attempt)) = (found.metadata.name.clone(), job::attempt(&found, &self.settings.lineage)) else { return };
        {
            let mut known = self.known();
            let tracked = known.entry(name.clone()).or_default();
            tracked.attempt = Some(attempt);
            // A list may be older than what we were told about our own object.
            let older = |a: &Job, b: &Job| version(a) < version(b) && a.metadata.uid == b.metadata.uid;
            if !tracked.job.as_ref().is_some_and(|known| older(&found, known)) {
                tracked.job = Some(found);
            }
        }
        self.evaluate(&name);
    }

    /// A Job that was deleted.
    pub fn job_deleted(self: &Arc<Self>, found: &Job) {
        let Some(name) = found.metadata.name.clone() else { return };
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            // Its pods take their grace to end; until then it may still run.
            while !cluster.gone(&name).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    /// A pod as the API has it.
    pub fn pod_seen(self: &Arc<Self>, pod: Pod) {
        let Some(job) = pod.metadata.labels.as_ref().and_then(|l| l.get(JOB_NAME)).cloned() else { return };
        if let Some(name) = pod.metadata.name.clone() {
            self.known().entry(job.clone()).or_default().pods.insert(name, pod);
        }
        self.evaluate(&job);
    }

    /// Tells what is new about an attempt.
    fn evaluate(self: &Arc<Self>, name: &str) {
        let mut known = self.known();
        let Some(tracked) = known.get_mut(name) else { return };
        let (Some(attempt), Some(job)) = (tracked.attempt.clone(), tracked.job.as_ref()) else { return };
        let pods: Vec<&Pod> = tracked.pods.values().collect();
        let facts = judge::judge(job, &pods, now());
        let before = std::mem::replace(&mut tracked.told, facts.clone());
        let first = before == Facts::default();
        if first {
            self.tell(Observation::Exists { attempt: attempt.clone() });
        }
        if let Some((at, node)) = facts.started.clone().filter(|s| before.started.as_ref() != Some(s)) {
            self.tell(Observation::Started { attempt: attempt.clone(), at, place: node });
        }
        let notices = [
            (facts.waiting.clone(), &before.waiting, (|detail| Anomaly::Waiting { detail }) as fn(String) -> Anomaly),
            (facts.doubled.clone(), &before.doubled, |detail| Anomaly::DoubleStart { detail }),
            (facts.unreachable.clone(), &before.unreachable, |detail| Anomaly::Unreachable { detail }),
        ];
        for (words, told, anomaly) in notices {
            if let Some(words) = words.filter(|w| told.as_ref() != Some(w)) {
                self.tell(Observation::Noticed { attempt: attempt.clone(), anomaly: anomaly(words) });
            }
        }
        let ran = pods
            .iter()
            .filter(|p| facts.started.is_some() && p.spec.is_some())
            .max_by_key(|p| p.metadata.creation_timestamp.clone().map(|t| t.0))
            .and_then(|p| p.metadata.name.clone());
        if let Some(pod) = ran.filter(|_| tracked.logging.is_none()) {
            tracked.logging = Some(tokio::spawn(logs::follow(Arc::clone(self), name.to_owned(), attempt.clone(), pod)));
        }
        if let Some(words) = facts.hopeless.clone().filter(|_| tracked.doomed.is_none()) {
            tracked.doomed = Some(Outcome::new(Cause::Refused, None, words));
            tokio::spawn(Arc::clone(self).stop(attempt.clone()));
        }
        if let Some((at, outcome)) = facts.ended.clone() {
            tracked.ending = true;
            let outputs = if outcome.cause == Cause::Success {
                tracked.outputs.iter().map(|p| OutputRecord { path: p.clone(), digest: None, bytes: 0 }).collect()
            } else {
                Vec::new()
            };
            let end = Observation::Ended { attempt, started: facts.started.map(|(at, _)| at), at, outcome, outputs };
            let (cluster, name) = (Arc::clone(self), name.to_owned());
            tokio::spawn(async move {
                cluster.finish_logs(&name).await;
                cluster.tell(end);
            });
        }
    }

    /// Waits until the output was read to its end, within reason.
    async fn finish_logs(&self, name: &str) {
        let task = self.known().get_mut(name).and_then(|t| t.logging.take());
        if let Some(task) = task {
            let _ = tokio::time::timeout(Duration::from_secs(20), task).await;
        }
    }
}

fn version(job: &Job) -> u64 {
    job.metadata.resource_version.as_ref().and_then(|v| v.parse().ok()).unwrap_or(0)
}
