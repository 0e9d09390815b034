//! Attempts as Jobs of a Kubernetes cluster.
//!
//! In: launches. Out: observations. The API server is the truth: what is not seen there after a look-up does not exist, what cannot be
//! asked is not concluded. Objects of another lineage are never adopted, changed or deleted.

pub mod install;
mod job;
mod judge;
mod logs;
pub mod namespace;
pub mod seen;
mod watch;
mod work;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::runtime::Runtime;

use super::{Backend, BackendError};
use crate::base::{AttemptId, Millis, Timestamp};
use crate::engine::{Launch, Observation};
use crate::spec::types::KubernetesDecl;
use work::Cluster;

/// How long the first contact may take.
const FIRST_CONTACT: Duration = Duration::from_secs(15);

/// How runs stand in a cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Context of the kubeconfig; the current one without it.
    pub context: Option<String>,
    /// Namespace of all objects.
    pub namespace: String,
    /// Claim with the project's files.
    pub claim: Option<String>,
    /// Where the claim is mounted.
    pub mount: String,
    /// `Always`, `IfNotPresent`, `Never`.
    pub image_pull_policy: Option<String>,
    /// Secrets for pulling images.
    pub image_pull_secrets: Vec<String>,
    /// Local queue of Kueue.
    pub queue: Option<String>,
    /// Node label with the GPU type.
    pub gpu_label: Option<String>,
    /// User that containers run as.
    pub user: u32,
    /// Whose objects are ours.
    pub lineage: String,
    /// `.oppen`: logs are kept there.
    pub state_dir: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            context: None,
            namespace: "default".to_owned(),
            claim: None,
            mount: "/workspace".to_owned(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            queue: None,
            gpu_label: None,
            user: 65534,
            lineage: String::new(),
            state_dir: PathBuf::new(),
        }
    }
}

impl Settings {
    /// As the project declares them.
    #[must_use]
    pub fn read(decl: Option<&KubernetesDecl>, lineage: &str, state_dir: PathBuf) -> Self {
        let defaults = Self { lineage: lineage.to_owned(), state_dir, ..Self::default() };
        let Some(d) = decl else { return defaults };
        let text = |w: &Option<crate::spec::types::Word>| w.as_ref().map(|w| w.0.to_string());
        Self {
            context: text(&d.context),
            namespace: text(&d.namespace).unwrap_or(defaults.namespace),
            claim: text(&d.claim),
            mount: text(&d.mount).unwrap_or(defaults.mount),
            image_pull_policy: text(&d.image_pull_policy),
            image_pull_secrets: d.image_pull_secrets.iter().map(|w| w.0.to_string()).collect(),
            queue: text(&d.queue),
            gpu_label: text(&d.gpu_label),
            user: d.user.as_ref().map_or(defaults.user, |u| u.0),
            ..defaults
        }
    }
}

/// Runs attempts as Jobs.
pub struct KubernetesBackend {
    settings: Settings,
    runtime: Runtime,
    cluster: Option<Arc<Cluster>>,
}

impl KubernetesBackend {
    /// A backend that has not asked anything yet.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("kubernetes").enable_all().build()?;
        Ok(Self { settings, runtime, cluster: None })
    }
}

/// How a cluster that a context names is reached; the current context without one.
///
/// # Errors
/// When there is no such context.
pub async fn config(context: Option<&str>) -> Result<Config, BackendError> {
    // Two crypto providers in one program must be told which counts; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(context) = context else {
        return Config::infer().await.map_err(|e| misled(format!("there is no usable kubeconfig: {e}")));
    };
    let file = Kubeconfig::read().map_err(|e| misled(format!("there is no usable kubeconfig: {e}")))?;
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let found = Config::from_custom_kubeconfig(file, &options).await;
    found.map_err(|e| misled(format!("the context `{context}` cannot be used: {e}")))
}

fn misled(words: String) -> BackendError {
    BackendError::new(words, "see `kubectl config get-contexts`, and `kubernetes.context` in oppen.yaml")
}

/// A client of the cluster that a context names.
///
/// # Errors
/// When there is no such context, or the cluster does not answer.
pub async fn client(context: Option<&str>) -> Result<Client, BackendError> {
    let config = config(context).await?;
    let url = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|e| misled(e.to_string()))?;
    let unreachable = |words: String| {
        BackendError::new(format!("the cluster {url} does not answer: {words}"), "nothing was started; try again when it can be reached")
    };
    match tokio::time::timeout(FIRST_CONTACT, client.apiserver_version()).await {
        Err(_) => Err(unreachable(format!("nothing within {}s", FIRST_CONTACT.as_secs()))),
        Ok(Err(e)) => Err(unreachable(e.to_string())),
        Ok(Ok(_)) => Ok(client),
    }
}

impl Backend for KubernetesBackend {
    fn start(&mut self, live: &[AttemptId], out: Sender<Observation>) -> Result<(), BackendError> {
        let settings = self.settings.clone();
        let cluster = self.runtime.block_on(async move {
            let client = client(settings.context.as_deref()).await?;
            namespace::exists(&client, &settings.namespace).await?;
            let classes: Api<PriorityClass> = Api::all(client.clone());
            // Without the right to list them, pods get the cluster's default priority.
            let classes = classes
                .list(&Default::default())
                .await
                .map(|l| l.items.into_iter().filter_map(|c| c.metadata.name).collect())
                .unwrap_or_default();
            Ok::<_, BackendError>(Arc::new(Cluster::new(client, settings, classes, out)))
        })?;
        self.runtime.spawn(watch::jobs(Arc::clone(&cluster)));
        self.runtime.spawn(watch::pods(Arc::clone(&cluster)));
        self.cluster = Some(cluster);
        live.iter().for_each(|attempt| self.lookup(attempt));
        Ok(())
    }

    fn submit(&mut self, launch: Launch) {
        if let Some(cluster) = self.cluster.clone() {
            self.runtime.spawn(async move { cluster.submit(launch).await });
        }
    }

    fn stop(&mut self, attempt: &AttemptId, _grace: Millis) {
        if let Some(cluster) = self.cluster.clone() {
            let attempt = attempt.clone();
            self.runtime.spawn(async move { cluster.stop(attempt).await });
        }
    }

    fn lookup(&mut self, attempt: &AttemptId) {
        if let Some(cluster) = self.cluster.clone() {
            let attempt = attempt.clone();
            self.runtime.spawn(async move { cluster.lookup(attempt).await });
        }
    }

    fn logs(&self, attempt: &AttemptId, _follow: bool) -> io::Result<Box<dyn io::Read + Send>> {
        let path = super::log_path(&self.settings.state_dir, &attempt.name(&self.settings.lineage));
        Ok(Box::new(std::fs::File::open(path)?))
    }

    fn remove(&mut self, attempt: &AttemptId) -> Result<(), BackendError> {
        let name = attempt.name(&self.settings.lineage);
        let _ = std::fs::remove_file(super::log_path(&self.settings.state_dir, &name));
        let Some(cluster) = self.cluster.clone() else { return Ok(()) };
        self.runtime.block_on(async move { cluster.remove(&name).await })
    }

    fn kept(&self) -> Result<Vec<AttemptId>, BackendError> {
        let seen = seen::read(&self.settings, Timestamp(chrono::Utc::now().timestamp_millis()))?;
        Ok(seen.into_iter().filter(|s| s.lineage == self.settings.lineage).filter_map(|s| s.attempt).collect())
    }
}
