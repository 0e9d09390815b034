//! What a cluster shows of our runs without any state: every Job of ours in the namespace, of every lineage.
//!
//! In: Jobs and their pods. Out: one row an attempt. Must never change anything, here or there.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use rustc_hash::FxHashMap;

use super::{Settings, client, job, judge, work};
use crate::backend::BackendError;
use crate::base::{AttemptId, Timestamp};
use crate::record::{Cause, Outcome};

/// One attempt, as its Job and pods tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The state that it belongs to.
    pub lineage: String,
    /// Address, generation and number; none where somebody took the labels off.
    pub attempt: Option<AttemptId>,
    /// Name of the Job.
    pub job: String,
    /// `pending`, `suspended`, `running`, `stopping`, `succeeded` or `failed`.
    pub state: &'static str,
    /// When its container started; when the Job did, where no pod is left to tell.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Node; empty where no pod tells it.
    pub node: String,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it waits, in the scheduler's or kubelet's words.
    pub waits: Option<String>,
}

/// Asks the cluster.
///
/// # Errors
/// When it does not answer, or does not let us look.
pub fn read(settings: &Settings, now: Timestamp) -> Result<Vec<Seen>, BackendError> {
    let wrong = |e: &dyn std::fmt::Display| BackendError {
        message: format!("the Jobs of namespace {} cannot be read: {e}", settings.namespace),
        hint: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| wrong(&e))?;
    runtime.block_on(async {
        let client = client(settings.context.as_deref()).await?;
        let ours = ListParams::default().labels(job::LINEAGE);
        let jobs: Api<Job> = Api::namespaced(client.clone(), &settings.namespace);
        let pods: Api<Pod> = Api::namespaced(client, &settings.namespace);
        let jobs = jobs.list(&ours).await.map_err(|e| wrong(&e))?;
        let pods = pods.list(&ours).await.map_err(|e| wrong(&e))?;
        Ok(rows(&jobs.items, &pods.items, now))
    })
}

/// One row a Job, by lineage, address, generation and attempt.
fn rows(jobs: &[Job], pods: &[Pod], now: Timestamp) -> Vec<Seen> {
    let mut by_job: FxHashMap<&str, Vec<&Pod>> = FxHashMap::default();
    for pod in pods {
        if let Some(name) = pod.metadata.labels.as_ref().and_then(|l| l.get(work::JOB_NAME)) {
            by_job.entry(name).or_default().push(pod);
        }
    }
    let pods_of = |job: &Job| job.metadata.name.as_deref().and_then(|n| by_job.get(n)).map_or(&[][..], Vec::as_slice);
    let mut rows: Vec<Seen> = jobs.iter().filter_map(|job| row(job, pods_of(job), now)).collect();
    rows.sort_by(|a, b| (&a.lineage, &a.attempt, &a.job).cmp(&(&b.lineage, &b.attempt, &b.job)));
    rows
}

fn row(job: &Job, pods: &[&Pod], now: Timestamp) -> Option<Seen> {
    let lineage = job.metadata.labels.as_ref()?.get(job::LINEAGE)?.clone();
    let facts = judge::judge(job, pods, now);
    let (ended, outcome) = facts.ended.unzip();
    let state = match &outcome {
        Some(outcome) if outcome.cause == Cause::Success => "succeeded",
        Some(_) => "failed",
        None if job.metadata.deletion_timestamp.is_some() => "stopping",
        None if facts.started.is_some() => "running",
        None if job.spec.as_ref().is_some_and(|s| s.suspend == Some(true)) => "suspended",
        None => "pending",
    };
    let (started, node) = facts.started.unzip();
    let of_job = || job.status.as_ref().filter(|_| ended.is_some()).and_then(|s| s.start_time.as_ref()).map(judge::time);
    Some(Seen {
        attempt: job::attempt(job, &lineage),
        lineage,
        job: job.metadata.name.clone().unwrap_or_default(),
        state,
        started: started.or_else(of_job),
        ended,
        node: node.unwrap_or_default(),
        outcome,
        waits: facts.hopeless.or(facts.waiting),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::base::Address;

    fn job(name: &str, lineage: &str, address: Option<&str>, status: Value) -> Job {
        let annotations = address.map(|a| json!({job::ADDRESS: a}));
        let labels = json!({job::LINEAGE: lineage, job::GENERATION: "2", job::ATTEMPT: "3"});
        let metadata = json!({"name": name, "labels": labels, "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"template": {}}, "status": status})).unwrap()
    }

    fn pod(job: &str, state: Value, status: Value) -> Pod {
        let mut status = status;
        status["containerStatuses"] =
            json!([{"name": "run", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state}]);
        let metadata = json!({"name": format!("{job}-x"), "labels": {work::JOB_NAME: job}});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"nodeName": "n1", "containers": []}, "status": status})).unwrap()
    }

    #[test]
    fn a_job_becomes_a_row_with_all_that_its_labels_say() {
        let over = |kind: &str| json!({"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:09Z"}]});
        let dead = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": "2026-01-01T00:00:01Z", "finishedAt": "2026-01-01T00:00:05Z"}});
        let waits = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no GPU"}]});
        let jobs = [
            job("d", "l2", Some("w/d"), json!({})),
            job("c", "l1", None, over("Complete")),
            job("b", "l1", Some("w/b"), json!({"active": 1})),
            job("a", "l1", Some("w/a[lr=0.1]"), over("Failed")),
            serde_json::from_value(json!({"metadata": {"name": "foreign"}})).unwrap(),
        ];
        let pods = [
            pod("a", dead, json!({"phase": "Failed"})),
            pod("b", json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}}), json!({"phase": "Running"})),
            pod("d", json!({}), waits),
        ];
        let seconds = |s: i64| Some(Timestamp(1_767_225_600_000 + s * 1000));
        let of = |a: &str| Some(AttemptId { address: Address::parse(a).unwrap(), generation: 2, number: 3 });
        let rows = rows(&jobs, &pods, Timestamp(0));
        let brief: Vec<_> =
            rows.iter().map(|r| (r.lineage.as_str(), r.attempt.clone(), r.state, r.started, r.ended, r.node.as_str())).collect();
        assert_eq!(
            brief,
            [
                ("l1", None, "succeeded", seconds(0), seconds(9), ""),
                ("l1", of("w/a[lr=0.1]"), "failed", seconds(1), seconds(5), "n1"),
                ("l1", of("w/b"), "running", seconds(2), None, "n1"),
                ("l2", of("w/d"), "pending", None, None, ""),
            ]
        );
        assert_eq!(rows[1].outcome.as_ref().map(|o| o.cause), Some(Cause::OutOfMemory));
        assert_eq!(rows[3].waits.as_deref(), Some("no GPU"));
    }
}
