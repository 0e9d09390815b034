//! What is going on: machines, clusters, runs, queue, money, health.
//!
//! In: a [`Scene`]. Out: a [`Snapshot`] whose every figure has its source and age, and [`health`]'s findings. Each source is asked on a
//! thread of its own. Must never change anything, never let one source hold up another, and never show 0 for what it does not know.

mod cluster;
pub mod health;
mod http;
mod local;
pub mod outlook;
pub mod patience;
pub mod read;
pub mod reading;
mod record;
mod totals;
mod tracking;
pub mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use cluster::Link;
pub use reading::{Quality, Reading};
pub use view::Snapshot;

use crate::expand::Rule;
use crate::price::Rates;
use crate::queue::Limits;
use crate::track::mlflow;
use reading::{Asked, Bell, Source, now, wait};
use view::{Cluster, FORMAT_VERSION, Gpu, Machine, Next, Processes, Record, Tracked, Usage};

/// How long a source may take where nobody says.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Name of the project.
    pub project: String,
    /// Whether its files hold errors.
    pub broken: bool,
    /// `.oppen`.
    pub state_dir: PathBuf,
    /// Prices.
    pub rates: Rates,
    /// The pool.
    pub limits: Limits,
    /// Budgets of the project file.
    pub rules: Vec<Rule>,
    /// The cluster, where runs are Jobs or the project names one.
    pub cluster: Option<Link>,
    /// Whether runs are processes of this machine.
    pub local: bool,
    /// The server that tracks runs.
    pub tracking: Option<mlflow::Settings>,
    /// Address of a DCGM exporter's metrics.
    pub dcgm: Option<String>,
}

/// The sources, and what they said last.
pub struct Monitor {
    scene: Arc<Scene>,
    bell: Arc<Bell>,
    record: Source<Record>,
    machine: Source<Machine>,
    processes: Source<Vec<Processes>>,
    gpus: Source<Vec<Gpu>>,
    cluster: Source<Cluster>,
    usage: Source<Usage>,
    cluster_gpus: Source<Vec<Gpu>>,
    tracking: Source<Vec<Tracked>>,
    advice: Source<Next>,
}

impl Monitor {
    /// Makes the sources; nothing is asked yet.
    #[must_use]
    pub fn new(scene: Scene, deadline: Duration) -> Self {
        let (scene, bell) = (Arc::new(scene), Arc::new(Bell::default()));
        let link = || scene.cluster.clone();
        let elsewhere = "oppen.yaml names no cluster";
        let kept = scene.state_dir.clone();
        let mut recorder = record::Recorder::new(Arc::clone(&scene));
        let mut adviser = outlook::Adviser::new(Arc::clone(&scene));
        let (mut cores, mut procs) = (local::Cores::default(), local::Procs::new(kept));
        Self {
            // What all else stands around gets more time.
            record: Source::spawn("the state", deadline.saturating_mul(4), &bell, move || recorder.look()),
            machine: if scene.local {
                Source::spawn("/proc", deadline, &bell, move || cores.look())
            } else {
                Source::absent("/proc", "runs are Jobs of a cluster")
            },
            processes: if scene.local {
                Source::spawn("/proc", deadline, &bell, move || procs.look())
            } else {
                Source::absent("/proc", "runs are Jobs of a cluster")
            },
            gpus: match local::nvidia_smi() {
                Some(program) => Source::spawn("nvidia-smi", deadline, &bell, move || local::gpus(&program)),
                None => Source::absent("nvidia-smi", "this machine has no nvidia-smi"),
            },
            cluster: match link() {
                Some(link) => Source::spawn("the API server", deadline, &bell, move || link.cluster()),
                None => Source::absent("the API server", elsewhere),
            },
            usage: match link() {
                Some(link) => Source::spawn("metrics-server", deadline, &bell, move || link.usage()),
                None => Source::absent("metrics-server", elsewhere),
            },
            cluster_gpus: match (scene.dcgm.clone(), link()) {
                (Some(url), _) => Source::spawn("DCGM exporter", deadline, &bell, move || http::dcgm(&url)),
                (None, Some(link)) => Source::spawn("DCGM exporter", deadline, &bell, move || link.gpus()),
                (None, None) => Source::absent("DCGM exporter", "oppen.yaml names none (`monitor: {dcgm: URL}`), and no cluster"),
            },
            tracking: match scene.tracking.clone() {
                Some(settings) => {
                    let mut tracker = tracking::Tracker::new(settings, scene.state_dir.clone());
                    Source::spawn("MLflow", deadline, &bell, move || tracker.look())
                }
                None => Source::absent("MLflow", "oppen.yaml names no `tracking`"),
            },
            advice: Source::spawn("oppen cost recommend", deadline, &bell, move || adviser.look()),
            scene,
            bell,
        }
    }

    fn all(&self) -> [&dyn Asked; 9] {
        let Self { record, machine, processes, gpus, cluster, usage, cluster_gpus, tracking, advice, .. } = self;
        [record, machine, processes, gpus, cluster, usage, cluster_gpus, tracking, advice]
    }

    /// Asks all sources that are not being asked; the answers come when they come.
    pub fn ask(&self) {
        self.all().iter().for_each(|s| s.ask());
    }

    /// Asks the record alone: it changes more often than machines do.
    pub fn ask_record(&self) {
        self.record.ask();
    }

    /// Changes whenever a source has answered.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.bell.rung()
    }

    /// Asks all, and waits until each has answered or is past its deadline.
    #[must_use]
    pub fn look(&self) -> Snapshot {
        self.ask();
        wait(&self.all(), &self.bell);
        self.snapshot()
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut shot = Snapshot {
            format_version: FORMAT_VERSION,
            at: now(),
            project: self.scene.project.clone(),
            backend: if self.scene.local { "local" } else { "kubernetes" }.to_owned(),
            record: self.record.reading(),
            machine: self.machine.reading(),
            processes: self.processes.reading(),
            gpus: self.gpus.reading(),
            cluster: self.cluster.reading(),
            usage: self.usage.reading(),
            cluster_gpus: self.cluster_gpus.reading(),
            tracking: self.tracking.reading(),
            advice: self.advice.reading(),
            totals: None,
        };
        totals::complete(&mut shot);
        shot
    }
}
