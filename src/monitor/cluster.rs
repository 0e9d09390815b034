//! The cluster: nodes, pods, what they use, their GPUs, over the API server alone.
//!
//! In: how the cluster is reached. Out: what it answers, bounded. Must never change anything there, and never read more than is shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::io::AsyncReadExt as _;
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use ureq::http::Request;

use super::read::cluster::{List, WireNode, WirePod, ask};
use super::read::{gpu, usage};
use super::reading::{Found, Miss, now};
use super::view::{Cluster, Gpu, Node, Pod, Usage};
use crate::backend::kubernetes::{self, Settings};
use crate::base::Timestamp;
use crate::base::text::escape;

/// Longest wait for one answer; the sources' own deadlines are shorter.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const LARGEST: u64 = 32 << 20;
/// Objects of one page, and pages of one list.
const PAGE: usize = 500;
const PAGES: usize = 40;
/// Pods that are listed, and nodes and exporters that are asked one by one.
const PODS: usize = 1000;
const ASKED: usize = 200;
/// Asked at the same time.
pub(super) const TOGETHER: usize = 8;
/// What is used is not asked again within this time.
const RECENT: Duration = Duration::from_secs(1);
/// Pods of all namespaces.
const PODS_PATH: &str = "/api/v1/pods";
/// Port of the exporter, as NVIDIA ships it.
const DCGM_PORT: u16 = 9400;
/// Labels of the exporter's pods and Services: those of its own chart, and of the GPU operator.
const DCGM_LABELS: [&str; 2] = ["app.kubernetes.io/name=dcgm-exporter", "app=nvidia-dcgm-exporter"];

/// Why an answer is none.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status; none where nothing was answered.
    pub status: Option<u16>,
    /// In words.
    pub words: String,
}

impl From<Refusal> for Miss {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.words)
    }
}

/// In words.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

/// The way to one cluster: a client whose connections all sources and checks share, made by whoever asks first.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    settings: Settings,
    made: Mutex<Option<(Arc<Runtime>, Client)>>,
    /// What is used, as told last: several ask at once.
    used: Mutex<Option<(Instant, Found<Usage>)>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Link").field(&self.0.settings).finish()
    }
}

impl Link {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared { settings, made: Mutex::default(), used: Mutex::default() }))
    }

    /// How it is reached.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn open(&self) -> Result<(Arc<Runtime>, Client), String> {
        let mut made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made {
            return Ok(made.clone());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let client = runtime.block_on(connect(&self.0.settings))?;
        Ok(made.insert((Arc::new(runtime), client)).clone())
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask<T>(&self, ask: impl AsyncFnOnce(Client) -> Result<T, Refusal>) -> Result<T, String> {
        let (runtime, client) = self.open()?;
        runtime.block_on(ask(client)).map_err(|e| e.words)
    }

    /// Nodes and pods.
    pub fn cluster(&self) -> Found<Cluster> {
        Ok((self.ask(async |client| cluster(&client, self.settings()).await)?, "the API server".into()))
    }

    /// What nodes and pods use: metrics-server, else the kubelets. Whoever asks at the same time gets the same answer.
    pub fn usage(&self) -> Found<Usage> {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = used.as_ref().filter(|(at, _)| at.elapsed() < RECENT) {
            return found.clone();
        }
        let namespace = &self.settings().namespace;
        let (runtime, client) = self.open()?;
        let found = runtime.block_on(async {
            match from_metrics_server(&client, namespace).await {
                Ok(usage) if !usage.nodes.is_empty() => Ok((usage, Arc::from("metrics-server"))),
                Ok(_) => from_kubelets(&client, namespace, "metrics-server has measured nothing yet").await,
                Err(e) => from_kubelets(&client, namespace, &e.words).await,
            }
        });
        *used = Some((Instant::now(), found.clone()));
        found
    }

    /// GPUs of all DCGM exporters.
    pub fn gpus(&self) -> Found<Vec<Gpu>> {
        let (runtime, client) = self.open()?;
        runtime.block_on(exporters(&client))
    }

    /// All objects of the batch API in the namespace that carry a label.
    pub fn jobs<T: DeserializeOwned>(&self, label: &str) -> Result<Vec<T>, String> {
        let path = format!("/apis/batch/v1/namespaces/{}/jobs", encoded(&self.settings().namespace));
        let query = format!("&labelSelector={}", encoded(label));
        self.ask(async |client| list(&client, &path, &query).await).map(|(all, _)| all)
    }
}

/// A client that gives up soon.
pub async fn connect(settings: &Settings) -> Result<Client, String> {
    let mut config = kubernetes::config(settings.context.as_deref()).await.map_err(|e| e.message)?;
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    if config.accept_invalid_certs && config.root_cert.is_none() {
        // Nobody looks at them: the machine's need not be read.
        config.root_cert = Some(Vec::new());
    }
    Client::try_from(config).map_err(|e| e.to_string())
}

/// One GET: its text, bounded in time and size.
pub async fn get(client: &Client, path: &str) -> Result<String, Refusal> {
    let request = http_get(path).map_err(|words| Refusal { status: None, words })?;
    bounded(client, path, request).await
}

/// One question: the answer's text, bounded in time and size.
async fn bounded(client: &Client, path: &str, request: Request<Vec<u8>>) -> Result<String, Refusal> {
    let none = |words: String| Refusal { status: None, words };
    let answer = tokio::time::timeout(PATIENCE, async {
        let stream = client.request_stream(request).await.map_err(|e| refused(path, &e))?;
        let mut bytes = Vec::new();
        let read = std::pin::pin!(stream).take(LARGEST + 1).read_to_end(&mut bytes).await;
        read.map_err(|e| none(e.to_string()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(none(format!("{path} answers more than {} MiB: not read", LARGEST >> 20)));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    answer.await.unwrap_or_else(|_| Err(none(format!("{path}: no answer within {}s", PATIENCE.as_secs()))))
}

fn http_get(path: &str) -> Result<Request<Vec<u8>>, String> {
    Request::get(path).body(Vec::new()).map_err(|e| e.to_string())
}

fn refused(path: &str, error: &kube::Error) -> Refusal {
    let path = path.split('?').next().unwrap_or(path);
    match error {
        kube::Error::Api(status) => {
            let words: String = escape(&status.message).chars().take(200).collect();
            Refusal { status: Some(status.code), words: format!("{path}: status {}: {words}", status.code) }
        }
        other => {
            // The outer words say only that a service failed.
            let inner = std::iter::successors(std::error::Error::source(other), |e| e.source()).last().map(ToString::to_string);
            Refusal { status: None, words: format!("the cluster does not answer: {}", inner.unwrap_or_else(|| other.to_string())) }
        }
    }
}

/// All pages of a list.
pub async fn list<T: DeserializeOwned>(client: &Client, path: &str, query: &str) -> Result<(Vec<T>, bool), Refusal> {
    let (mut items, mut next) = (Vec::new(), String::new());
    for _ in 0..PAGES {
        let more = if next.is_empty() { String::new() } else { format!("&continue={}", encoded(&next)) };
        let text = get(client, &format!("{path}?limit={PAGE}{query}{more}")).await?;
        let page: List<T> = serde_json::from_str(&text)
            .map_err(|e| Refusal { status: None, words: format!("{path} answers what the API would not: {e}") })?;
        items.extend(page.items);
        match page.metadata.next.filter(|n| !n.is_empty()) {
            Some(token) => next = token,
            None => return Ok((items, true)),
        }
    }
    Ok((items, false))
}

fn encoded(text: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A name that may stand in a path.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) && !text.contains("..")
}

async fn cluster(client: &Client, settings: &Settings) -> Result<Cluster, Refusal> {
    let mut notes = Vec::new();
    let live = "&fieldSelector=status.phase!%3DSucceeded,status.phase!%3DFailed";
    let own = format!("/api/v1/namespaces/{}/pods", encoded(&settings.namespace));
    let (nodes, everywhere) = futures::join!(list::<WireNode>(client, "/api/v1/nodes", ""), list::<WirePod>(client, PODS_PATH, live));
    let mut nodes: Vec<Node> = match nodes {
        Ok((nodes, _)) => nodes.iter().map(|n| n.node(settings.gpu_label.as_deref())).collect(),
        Err(e) if e.status.is_some() => {
            notes.push(format!("nodes are not seen: {}", e.words));
            Vec::new()
        }
        Err(e) => return Err(e),
    };
    let convert = |all: Vec<WirePod>| all.iter().filter(|p| p.is_live()).map(WirePod::pod).collect::<Vec<Pod>>();
    let mut pods = match everywhere {
        Ok((pods, whole)) => {
            let pods = convert(pods);
            if whole {
                ask(&mut nodes, &pods);
            } else {
                notes.push(format!("more than {} pods: what is asked of nodes is not counted", PAGE * PAGES));
            }
            pods
        }
        Err(e) if e.status.is_some() => {
            notes.push("pods of other namespaces may not be listed: what nodes have free is not known".to_owned());
            convert(list::<WirePod>(client, &own, live).await?.0)
        }
        Err(e) => return Err(e),
    };
    pods.retain(|p| p.namespace == settings.namespace);
    pods.sort_by(|a, b| (a.run.is_none(), &a.name).cmp(&(b.run.is_none(), &b.name)));
    if pods.len() > PODS {
        notes.push(format!("{} pods, of which {PODS} are listed", pods.len()));
        pods.truncate(PODS);
    }
    Ok(Cluster { namespace: settings.namespace.clone(), nodes, pods, notes })
}

async fn from_metrics_server(client: &Client, namespace: &str) -> Result<Usage, Refusal> {
    let group = "/apis/metrics.k8s.io/v1beta1";
    let own = format!("{group}/namespaces/{}/pods", encoded(namespace));
    let nodes_path = format!("{group}/nodes");
    let (nodes, pods) = futures::join!(get(client, &nodes_path), get(client, &own));
    let strange = |words: String| Refusal { status: None, words: format!("metrics-server: {words}") };
    let (nodes, measured) = usage::metrics(&nodes?).map_err(strange)?;
    let mut notes = Vec::new();
    let pods = match pods.and_then(|text| usage::metrics(&text).map_err(strange)) {
        Ok((pods, _)) => pods,
        Err(e) => {
            notes.push(format!("pods are not measured: {}", e.words));
            Default::default()
        }
    };
    Ok(Usage { nodes, pods, measured, notes })
}

/// Each node's kubelet, through the API server.
async fn from_kubelets(client: &Client, namespace: &str, because: &str) -> Found<Usage> {
    let (nodes, _) = list::<WireNode>(client, "/api/v1/nodes", "").await?;
    let names: Vec<String> = nodes.iter().map(|n| n.node(None).name).filter(|n| is_name(n)).collect();
    let (mut all, mut failed) = (Usage::default(), Vec::new());
    if names.len() > ASKED {
        all.notes.push(format!("{} nodes, of which {ASKED} were asked", names.len()));
    }
    let asks = names.iter().take(ASKED).map(|name| async move {
        let text = get(client, &format!("/api/v1/nodes/{name}/proxy/stats/summary?only_cpu_and_memory=true")).await;
        text.map_err(|e| e.words).and_then(|t| usage::summary(&t)).map_err(|e| format!("{name}: {e}"))
    });
    let answers: Vec<_> = futures::stream::iter(asks).buffer_unordered(TOGETHER).collect().await;
    let prefix = format!("{namespace}/");
    for answer in answers {
        match answer {
            Ok(of) => {
                all.nodes.insert(of.node, of.used);
                all.pods.extend(of.pods.into_iter().filter(|(name, _)| name.starts_with(&prefix)));
                all.measured = [all.measured, of.measured].into_iter().flatten().min();
            }
            Err(words) => failed.push(words),
        }
    }
    match failed.first() {
        Some(first) if all.nodes.is_empty() => Err(Miss::Failed(format!("{because}; kubelets: {first}"))),
        None if all.nodes.is_empty() => Err(Miss::Failed(format!("{because}; there is no node to ask"))),
        first => {
            all.notes.extend(first.map(|f| format!("{} of {} kubelets did not answer: {f}", failed.len(), names.len().min(ASKED))));
            Ok((all, "kubelets".into()))
        }
    }
}

#[derive(Debug, serde::Deserialize)]
struct Service {
    metadata: ServiceMeta,
}

#[derive(Debug, serde::Deserialize)]
struct ServiceMeta {
    name: String,
    namespace: String,
}

/// Exporters by their usual labels: each pod, else each Service.
async fn exporters(client: &Client) -> Found<Vec<Gpu>> {
    let labels = DCGM_LABELS.map(|label| format!("&labelSelector={}", encoded(label)));
    let [one, other] = &labels;
    let (pods, more) = futures::try_join!(list::<WirePod>(client, PODS_PATH, one), list::<WirePod>(client, PODS_PATH, other))?;
    let pods = pods.0.iter().chain(&more.0).filter(|p| p.is_live()).map(WirePod::pod);
    let mut paths: Vec<(String, String)> = pods
        .filter(|p| is_name(&p.name) && is_name(&p.namespace))
        .map(|p| (format!("/api/v1/namespaces/{}/pods/{}:{DCGM_PORT}/proxy/metrics", p.namespace, p.name), p.node.unwrap_or(p.name)))
        .collect();
    if paths.is_empty() {
        let all = "/api/v1/services";
        let (found, more) = futures::try_join!(list::<Service>(client, all, one), list::<Service>(client, all, other))?;
        let found = found.0.into_iter().chain(more.0).map(|s| s.metadata).filter(|s| is_name(&s.name) && is_name(&s.namespace));
        let path = |s: ServiceMeta| (format!("/api/v1/namespaces/{}/services/{}:{DCGM_PORT}/proxy/metrics", s.namespace, s.name), s.name);
        paths.extend(found.map(path));
    }
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return Err(Miss::Absent("the cluster has no DCGM exporter; name one with `monitor: {dcgm: URL}`".to_owned()));
    }
    let asks = paths.iter().take(ASKED).map(|(path, host)| async move { get(client, path).await.map(|text| gpu::dcgm(&text, host)) });
    let answers: Vec<_> = futures::stream::iter(asks).buffer_unordered(TOGETHER).collect().await;
    let (mut gpus, mut failed) = (Vec::new(), None);
    for answer in answers {
        match answer {
            Ok(found) => gpus.extend(found),
            Err(e) => failed = Some(e),
        }
    }
    match failed {
        Some(e) if gpus.is_empty() => Err(e.into()),
        _ => {
            gpus.sort_by(|a: &Gpu, b: &Gpu| (&a.host, a.index).cmp(&(&b.host, b.index)));
            Ok((gpus, "DCGM exporter".into()))
        }
    }
}

/// What an API server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// `v1.33.1`.
    pub version: String,
    /// Its clock, in whole seconds.
    pub date: Option<Timestamp>,
    /// Our clock before and after.
    pub between: (Timestamp, Timestamp),
}

/// Whether it answers.
pub async fn answers(client: &Client) -> Result<Answers, Refusal> {
    let none = |words: String| Refusal { status: None, words };
    let before = now();
    let request = http_get("/version").map_err(none)?.map(kube::client::Body::from);
    let answer = tokio::time::timeout(PATIENCE, async {
        let response = client.send(request).await.map_err(|e| refused("/version", &e))?;
        let after = now();
        let date = response.headers().get("date").and_then(|d| chrono::DateTime::parse_from_rfc2822(d.to_str().ok()?).ok());
        let date = date.map(|d| Timestamp(d.timestamp_millis()));
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(Refusal { status: Some(status), words: format!("/version: status {status}") });
        }
        let body = Limited::new(response.into_body(), 64 << 10).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let version: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let version = version.get("gitVersion").and_then(serde_json::Value::as_str).unwrap_or("of unknown version").to_owned();
        Ok(Answers { version, date, between: (before, after) })
    });
    answer.await.unwrap_or_else(|_| Err(none(format!("no answer within {}s", PATIENCE.as_secs()))))
}

/// Whether this user may do something (`SelfSubjectAccessReview`: it is asked, nothing is made).
pub async fn review(client: &Client, attributes: &serde_json::Value) -> Result<bool, Refusal> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = serde_json::json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes},
    });
    let request = Request::post(path).header("content-type", "application/json").body(review.to_string().into_bytes());
    let text = bounded(client, path, request.map_err(|e| Refusal { status: None, words: e.to_string() })?).await?;
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let allowed = answer.pointer("/status/allowed").and_then(serde_json::Value::as_bool);
    allowed.ok_or_else(|| Refusal { status: None, words: format!("{path} answers what the API would not") })
}
