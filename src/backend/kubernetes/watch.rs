//! Informers: list and watch, again after every break.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};

use super::job::LINEAGE;
use super::work::Cluster;
use crate::engine::Observation;

fn ours(cluster: &Cluster) -> Config {
    Config::default().labels(&format!("{LINEAGE}={}", cluster.settings.lineage))
}

/// Follows our Jobs. It also tells when the API goes away and comes back.
pub async fn jobs(cluster: Arc<Cluster>) {
    let api: Api<Job> = Api::namespaced(cluster.client.clone(), &cluster.settings.namespace);
    let mut stream = pin!(watcher(api, ours(&cluster)).default_backoff());
    let mut away = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if std::mem::take(&mut away) {
                    cluster.tell(Observation::Reachable);
                }
                match event {
                    Event::Apply(job) | Event::InitApply(job) => cluster.job_seen(job),
                    Event::Delete(job) => cluster.job_deleted(&job),
                    Event::Init | Event::InitDone => {}
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    cluster.tell(Observation::Unreachable { detail: short(&error.to_string()) });
                }
            }
        }
    }
}

/// Follows the pods of our Jobs.
pub async fn pods(cluster: Arc<Cluster>) {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.settings.namespace);
    let mut stream = pin!(watcher(api, ours(&cluster)).default_backoff());
    while let Some(event) = stream.next().await {
        if let Ok(Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod)) = event {
            cluster.pod_seen(pod);
        }
    }
}

fn short(text: &str) -> String {
    crate::base::text::escape(text).chars().take(160).collect()
}
