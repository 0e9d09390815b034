//! Runs that hang, and what runs without being known.
//!
//! In: the record, `/proc`, the cluster's Jobs and their use. Out: findings. A run hangs when nothing of it was seen for a time: no output,
//! no metric, no time on a core, no GPU at work. What cannot be seen is not counted against it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;

use super::super::cluster::Link;
use super::super::local::{Procs, gpus, nvidia_smi};
use super::super::view::{Processes, Usage};
use super::{Finding, Level, Scene, now};
use crate::backend::local::kept;
use crate::base::text::escape;
use crate::base::{AttemptId, Millis, Timestamp};
use crate::record::{RunRecord, State};
use crate::store::Store;

/// What is listed of a kind.
const LISTED: usize = 10;
/// Percent of a core, and of a GPU, from which on a run is at work.
const WORKING: f64 = 1.0;

/// A Job of the cluster, as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WireJob {
    metadata: Meta,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    name: String,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    active: u64,
}

/// Both.
pub fn check(scene: &Scene, stuck_after: Millis) -> Vec<Finding> {
    let store = match Store::open_existing(&scene.state_dir) {
        Ok(Some(store)) => store,
        Ok(None) => return vec![Finding::new(Level::Ok, "none")],
        Err(_) => return vec![Finding::new(Level::Warning, "not known: the store cannot be read")],
    };
    let Ok(state) = store.load_live() else { return vec![Finding::new(Level::Warning, "not known: the store cannot be read")] };
    let live: BTreeMap<String, &RunRecord> = live(&state, store.lineage());
    let mut found = if scene.local { of_processes(scene, &live, stuck_after) } else { Vec::new() };
    if let Some(cluster) = scene.cluster.as_ref().filter(|_| !scene.local) {
        found.extend(of_jobs(scene, cluster, store.lineage(), &live, stuck_after));
    }
    if found.is_empty() {
        let words = if live.is_empty() { "none runs".to_owned() } else { format!("{} live, each shows signs of life", live.len()) };
        found.push(Finding::new(Level::Ok, words));
    }
    found
}

/// Live attempts by their names on backends.
fn live<'s>(state: &'s State, lineage: &str) -> BTreeMap<String, &'s RunRecord> {
    let named = |r: &'s RunRecord| {
        let number = r.live_attempt()?.number;
        let attempt = AttemptId { address: r.spec.address.clone(), generation: r.generation, number };
        Some((attempt.name(lineage), r))
    };
    state.runs.values().filter_map(named).collect()
}

fn changed(path: &Path) -> Option<Timestamp> {
    let at = std::fs::metadata(path).ok().filter(|m| m.len() > 0)?.modified().ok()?;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp)
}

/// When something of a live attempt was seen last: its start, output, a metric, progress.
fn last_sign(scene: &Scene, name: &str, run: &RunRecord) -> Option<Timestamp> {
    let attempt = run.live_attempt()?;
    let log = crate::backend::log_path(&scene.state_dir, name);
    let files = [changed(&log), changed(&log.with_extension("metrics")), changed(&log.with_extension("mlflow"))];
    let progress = attempt.progress.as_ref().and_then(|p| p.marks.last()).map(|(_, at)| *at);
    let told = [attempt.started_at, progress];
    files.into_iter().chain(told).flatten().max().filter(|_| attempt.started_at.is_some())
}

/// Attempts of which nothing was seen for a time.
fn silent<'s>(scene: &Scene, live: &BTreeMap<String, &'s RunRecord>, stuck_after: Millis) -> Vec<(String, &'s RunRecord, Millis)> {
    let now = now();
    let age = |(name, run): (&String, &&'s RunRecord)| Some((name.clone(), *run, now.since(last_sign(scene, name, run)?)));
    live.iter().filter_map(age).filter(|(_, _, age)| *age >= stuck_after).collect()
}

fn stuck(run: &RunRecord, age: Millis, use_words: &str) -> Finding {
    let address = escape(run.spec.address.as_str()).into_owned();
    let hint = format!("look at `oppen logs '{address}'`; end it with `oppen cancel '{address}'`, then `oppen retry '{address}'`");
    Finding::new(Level::Problem, format!("{address} seems stuck: no output or metric for {age}, {use_words}")).hint(hint)
}

fn of_processes(scene: &Scene, live: &BTreeMap<String, &RunRecord>, stuck_after: Millis) -> Vec<Finding> {
    let mut found = Vec::new();
    let keepers = kept(&scene.state_dir);
    let names: BTreeSet<&str> = keepers.iter().map(|k| k.name.as_str()).collect();
    let orphans = keepers.iter().filter(|k| !live.contains_key(&k.name));
    found.extend(listed(orphans.map(|k| {
        let words = format!("{} runs (pid {}) and the state does not know it", escape(&k.name), k.keeper);
        Finding::new(Level::Warning, words).hint(format!("see what it is with `ps -fp {0}`; end it with `kill {0}`", k.keeper))
    })));
    let lost = live.iter().filter(|(name, r)| !names.contains(name.as_str()) && r.live_attempt().is_some_and(|a| a.started_at.is_some()));
    found.extend(listed(lost.map(|(_, r)| {
        let words = format!("{} is recorded as running, and its process is gone", escape(r.spec.address.as_str()));
        Finding::new(Level::Warning, words).hint("the engine records its end: `oppen queue run`, unless one runs already")
    })));
    let quiet = silent(scene, live, stuck_after);
    if quiet.is_empty() {
        return found;
    }
    let uses = Procs::new(scene.state_dir.clone()).look().map(|(uses, _)| uses).unwrap_or_default();
    // Which process uses which GPU is not told: a GPU at work speaks for all that hold one.
    let busy = nvidia_smi().and_then(|p| gpus(&p).ok()).is_some_and(|(all, _)| all.iter().filter_map(|g| g.percent).any(|p| p >= WORKING));
    let works = |u: &Processes| u.cpu_percent.is_none_or(|p| p >= WORKING) || (busy && u.gpu_bytes.is_some_and(|b| b > 0));
    found.extend(listed(quiet.into_iter().filter_map(|(_, run, age)| {
        let used = uses.iter().find(|u| u.address == run.spec.address.as_str())?;
        (!works(used)).then(|| stuck(run, age, &format!("and its {} processes use no core", used.count)))
    })));
    found
}

fn of_jobs(scene: &Scene, link: &Link, lineage: &str, live: &BTreeMap<String, &RunRecord>, stuck_after: Millis) -> Vec<Finding> {
    let all = match link.jobs("oppen.dev/lineage") {
        Ok(all) => all,
        Err(words) => return vec![Finding::new(Level::Warning, format!("Jobs are not seen: {words}"))],
    };
    let mut found = Vec::new();
    let active = all.iter().filter(|j: &&WireJob| j.status.active > 0);
    let (own, foreign): (Vec<&WireJob>, Vec<&WireJob>) =
        active.partition(|j| j.metadata.labels.get("oppen.dev/lineage").is_some_and(|l| l == lineage));
    found.extend(listed(own.into_iter().filter(|j| !live.contains_key(&j.metadata.name)).map(|j| {
        let name = escape(&j.metadata.name).into_owned();
        let hint = format!("it costs money: `kubectl delete job {name}`, unless an engine elsewhere has just made it");
        Finding::new(Level::Warning, format!("the Job {name} runs and the state does not know it")).hint(hint)
    })));
    if !foreign.is_empty() {
        let words = format!("{} Jobs of other states run in this namespace", foreign.len());
        found.push(Finding::new(Level::Note, words).hint("see `oppen status --from-cluster`"));
    }
    // It is asked every time, so that the check takes as long whatever it finds.
    if let Ok((usage, _)) = link.usage() {
        let quiet = silent(scene, live, stuck_after);
        let namespace = &link.settings().namespace;
        found.extend(listed(quiet.into_iter().filter_map(|(name, run, age)| {
            let millis = used(&usage, namespace, &name)?;
            (millis < 10).then(|| stuck(run, age, "and its pod uses no core"))
        })));
    }
    found
}

/// Thousandths of cores that the pods of a Job use.
fn used(usage: &Usage, namespace: &str, job: &str) -> Option<u64> {
    let prefix = format!("{namespace}/{job}-");
    let pods: Vec<u64> = usage.pods.iter().filter(|(name, _)| name.starts_with(&prefix)).filter_map(|(_, u)| u.cpu_millis).collect();
    (!pods.is_empty()).then(|| pods.iter().sum())
}

/// The first few, and how many more there are.
fn listed(all: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = all.collect();
    if let Some(more) = all.len().checked_sub(LISTED).filter(|more| *more > 0) {
        let level = all.iter().map(|f| f.level).max().unwrap_or(Level::Note);
        all.truncate(LISTED);
        all.push(Finding::new(level, format!("and {more} more like it")));
    }
    all
}
