//! Whether everything is as it should be, and what to do where it is not.
//!
//! In: a [`Scene`]. Out: a [`Report`] of findings. All checks run at once, each with its own deadline. Must never change anything, and
//! never call something dead that has only had less time than it always took.

mod access;
mod cluster;
mod others;
mod runs;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Scene;
use super::patience::Patience;
use super::reading::{Asked, Bell, Found, Miss, Quality, Source, length, now, wait};
use super::view::time;
use crate::base::{Millis, Timestamp};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Works, and should be looked at.
    Warning,
    /// Does not work.
    Problem,
}

impl Level {
    /// The word shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was checked: `store`, `API server`.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn new(level: Level, message: impl Into<String>) -> Self {
        Self { check: String::new(), level, message: message.into(), hint: None }
    }

    /// With what to do.
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|h| !h.is_empty());
        self
    }
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format.
    pub format_version: u32,
    /// When it was looked.
    #[serde(with = "time")]
    pub at: Timestamp,
    /// True when there is no problem; warnings do not count.
    pub healthy: bool,
    /// How long it took, in milliseconds.
    pub took_ms: Millis,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    /// From findings.
    #[must_use]
    pub fn of(findings: Vec<Finding>, took: Duration) -> Self {
        let healthy = findings.iter().all(|f| f.level != Level::Problem);
        Self { format_version: 1, at: now(), healthy, took_ms: length(took), findings }
    }

    /// Findings of a level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|f| f.level == level).count()
    }
}

/// How patient the checks are.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Longest wait for a check; one that always was quicker is given up sooner.
    pub longest: Duration,
    /// A run that shows no sign of life for this long is stuck.
    pub stuck_after: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Self { longest: super::DEADLINE, stuck_after: Millis::from_secs(600) }
    }
}

/// One check.
struct Check {
    name: &'static str,
    source: Source<Vec<Finding>>,
    /// What to do when it does not answer.
    hint: &'static str,
}

struct Desk {
    bell: Arc<Bell>,
    patience: Patience,
    longest: Duration,
    checks: Vec<Check>,
}

impl Desk {
    /// A check of this machine: what it takes differs with what it finds, so it always has the longest time.
    fn near(&mut self, name: &'static str, hint: &'static str, check: impl FnMut() -> Vec<Finding> + Send + 'static) {
        self.add(name, hint, self.longest, check);
    }

    /// A check over a network: it asks the same every time.
    fn far(&mut self, name: &'static str, hint: &'static str, check: impl FnMut() -> Vec<Finding> + Send + 'static) {
        self.add(name, hint, self.patience.of(name, self.longest), check);
    }

    fn add(
        &mut self,
        name: &'static str,
        hint: &'static str,
        deadline: Duration,
        mut check: impl FnMut() -> Vec<Finding> + Send + 'static,
    ) {
        let look = move || -> Found<Vec<Finding>> { Ok((check(), name.into())) };
        self.checks.push(Check { name, source: Source::spawn(name, deadline, &self.bell, look), hint });
    }
}

/// Checks everything.
#[must_use]
pub fn look(scene: &Scene, settings: Settings) -> Report {
    let start = Instant::now();
    let patience = Patience::read(&scene.state_dir);
    let mut desk = Desk { bell: Arc::new(Bell::default()), patience, longest: settings.longest, checks: Vec::new() };
    own(&mut desk, scene, settings);
    elsewhere(&mut desk, scene);
    let all: Vec<&dyn Asked> = desk.checks.iter().map(|c| &c.source as &dyn Asked).collect();
    all.iter().for_each(|s| s.ask());
    wait(&all, &desk.bell);
    let broken = Finding::new(Level::Problem, "oppen.yaml has errors: what it says further is not known");
    let broken = Finding { check: "project".to_owned(), ..broken.hint("`oppen validate` prints them all") };
    let findings = scene.broken.then_some(broken).into_iter().chain(desk.checks.iter().flat_map(findings)).collect();
    for check in &desk.checks {
        if let Some(took) = check.source.took() {
            desk.patience.note(check.name, took);
        }
    }
    desk.patience.keep();
    Report::of(findings, start.elapsed())
}

/// Checks of what is on this machine.
fn own(desk: &mut Desk, scene: &Scene, settings: Settings) {
    let dir = scene.state_dir.clone();
    desk.near("store", "another program holds it, or its disk hangs", move || store::check(&dir));
    let dir = scene.state_dir.clone();
    desk.near("engine", "another program holds the store, or its disk hangs", move || store::engine(&dir));
    let mine = scene.clone();
    let (local, hint) = (scene.local, "the store or the cluster does not answer");
    let runs = move || runs::check(&mine, settings.stuck_after);
    if local {
        desk.near("runs", hint, runs)
    } else {
        desk.far("runs", hint, runs)
    }
    let gpus = scene.limits.quotas.gpu.unwrap_or(0);
    desk.near("machine", "this machine is very busy, or nvidia-smi hangs: try `nvidia-smi`", move || others::machine(local, gpus));
}

/// Checks of what is asked over a network.
fn elsewhere(desk: &mut Desk, scene: &Scene) {
    if let Some(cluster) = &scene.cluster {
        let reach = "see `kubectl get --raw /version`, the network, and `kubernetes.context` in oppen.yaml";
        let own = cluster.clone();
        desk.far("API server", reach, move || cluster::api(&own));
        let own = cluster.clone();
        desk.far("permissions", reach, move || access::check(&own));
        let own = cluster.clone();
        desk.far("quota", reach, move || cluster::quota(&own));
        let link = cluster.clone();
        desk.far("metrics", "see `kubectl get --raw /apis/metrics.k8s.io/v1beta1/nodes`", move || cluster::metrics(&link));
    }
    if let Some(url) = scene.dcgm.clone() {
        desk.far("DCGM", "see `monitor: {dcgm: ...}` in oppen.yaml, and ask it with curl", move || others::dcgm(&url));
    }
    if let Some(tracking) = scene.tracking.clone() {
        desk.far("MLflow", "see `tracking` in oppen.yaml; runs go on without it, their metrics there are not seen", move || {
            others::mlflow(&tracking)
        });
    }
}

fn findings(check: &Check) -> Vec<Finding> {
    let reading = check.source.reading();
    let found = match reading.value {
        Some(found) if reading.quality == Quality::Fresh => found,
        _ => vec![Finding::new(Level::Problem, reading.why.unwrap_or_default()).hint(check.hint)],
    };
    found.into_iter().map(|f| Finding { check: check.name.to_owned(), ..f }).collect()
}

/// Words of a look that found nothing.
fn words(miss: Miss) -> String {
    match miss {
        Miss::Absent(words) | Miss::Failed(words) => words,
    }
}
