//! What a Job and its pods say about an attempt.
//!
//! In: objects of the API. Out: facts. Must never ask the API.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::base::Timestamp;
use crate::record::{Cause, Outcome};

/// Facts about one attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// When its container started, and on which node.
    pub started: Option<(Timestamp, String)>,
    /// How it ended, and when.
    pub ended: Option<(Timestamp, Outcome)>,
    /// It will never run: in the kubelet's words.
    pub hopeless: Option<String>,
    /// It waits, in the scheduler's or kubelet's words.
    pub waiting: Option<String>,
    /// Pods whose containers ran, when there are several.
    pub doubled: Option<String>,
    /// Its node does not answer.
    pub unreachable: Option<String>,
}

/// The API's time in ours.
pub fn time(time: &Time) -> Timestamp {
    Timestamp(time.0.as_millisecond())
}

fn status(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn state(pod: &Pod) -> Option<&ContainerState> {
    status(pod)?.state.as_ref()
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or("?")
}

fn node(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default()
}

fn start(pod: &Pod) -> Option<Timestamp> {
    let state = state(pod)?;
    let running = state.running.as_ref().and_then(|r| r.started_at.as_ref());
    running.or(state.terminated.as_ref().and_then(|t| t.started_at.as_ref())).map(time)
}

fn condition<'p>(pod: &'p Pod, kind: &str) -> Option<&'p k8s_openapi::api::core::v1::PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// True when a pod may still run something.
#[must_use]
pub fn may_run(pod: &Pod) -> bool {
    !matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Reads a Job and its pods.
#[must_use]
pub fn judge(job: &Job, pods: &[&Pod], now: Timestamp) -> Facts {
    let mut facts = Facts::default();
    let mut ran: Vec<&&Pod> = pods.iter().filter(|p| start(p).is_some()).collect();
    ran.sort_by_key(|p| start(p));
    if let Some((first, at)) = ran.first().and_then(|p| start(p).map(|at| (p, at))) {
        facts.started = Some((at, node(first)));
    }
    if ran.len() > 1 {
        facts.doubled = Some(ran.iter().map(|p| format!("{} on {}", name(p), node(p))).collect::<Vec<_>>().join(", "));
    }
    for pod in pods.iter().filter(|p| may_run(p)) {
        waits(pod, &mut facts);
    }
    facts.ended = end(job, pods, now);
    facts
}

fn waits(pod: &Pod, facts: &mut Facts) {
    if let Some(c) = condition(pod, "PodScheduled").filter(|c| c.status == "False") {
        facts.waiting = c.message.clone().or_else(|| c.reason.clone());
    }
    if let Some(waiting) = state(pod).and_then(|s| s.waiting.as_ref()) {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let words = format!("{reason}: {}", waiting.message.as_deref().unwrap_or("no message"));
        match reason {
            "ErrImageNeverPull" | "InvalidImageName" => facts.hopeless = Some(words),
            "ErrImagePull" | "ImagePullBackOff" | "CreateContainerConfigError" | "CreateContainerError" => facts.waiting = Some(words),
            _ => {}
        }
    }
    let lost = condition(pod, "Ready").is_some_and(|c| c.status == "Unknown")
        || pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Unknown"));
    if lost {
        facts.unreachable = Some(format!("node {} does not answer; {} may still run", node(pod), name(pod)));
    }
}

/// Only a Job that says so itself is over: its controller has seen every pod end by then.
fn end(job: &Job, pods: &[&Pod], now: Timestamp) -> Option<(Timestamp, Outcome)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let over = conditions.iter().find(|c| c.status == "True" && (c.type_ == "Complete" || c.type_ == "Failed"))?;
    let last = pods.iter().filter(|p| state(p).is_some_and(|s| s.terminated.is_some())).max_by_key(|p| finished(p));
    let at = last.and_then(|p| finished(p)).or_else(|| over.last_transition_time.as_ref().map(time)).unwrap_or(now);
    if over.type_ == "Complete" {
        return Some((at, Outcome::new(Cause::Success, Some(0), "")));
    }
    let reason = over.reason.as_deref().unwrap_or_default();
    if reason == "DeadlineExceeded" {
        return Some((at, Outcome::new(Cause::Timeout, last.and_then(|p| code(p)), "it took longer than its timeout")));
    }
    let words = over.message.clone().unwrap_or_default();
    Some((at, last.or(pods.first()).map_or_else(|| Outcome::new(Cause::Interrupted, None, words), |p| failure(p))))
}

fn finished(pod: &Pod) -> Option<Timestamp> {
    state(pod)?.terminated.as_ref()?.finished_at.as_ref().map(time)
}

fn code(pod: &Pod) -> Option<i32> {
    state(pod)?.terminated.as_ref().map(|t| t.exit_code)
}

/// Why a pod failed.
fn failure(pod: &Pod) -> Outcome {
    let code = code(pod);
    let reason = state(pod).and_then(|s| s.terminated.as_ref()).and_then(|t| t.reason.as_deref());
    if reason == Some("OOMKilled") {
        return Outcome::new(Cause::OutOfMemory, code, "the kernel ended it: more memory than its limit");
    }
    if let Some(c) = condition(pod, "DisruptionTarget").filter(|c| c.status == "True") {
        let words = [c.reason.as_deref(), c.message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Outcome::new(Cause::Interrupted, code, words);
    }
    let status = pod.status.as_ref();
    if let Some(words) = status
        .and_then(|s| s.reason.as_deref())
        .filter(|r| matches!(*r, "Evicted" | "NodeLost" | "Preempting" | "Shutdown" | "Terminated" | "NodeShutdown"))
    {
        let detail = status.and_then(|s| s.message.as_deref()).unwrap_or_default();
        return Outcome::new(Cause::Interrupted, code, format!("{words}: {detail}"));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Outcome::new(Cause::Interrupted, code, format!("the pod {} was deleted", name(pod)));
    }
    match reason {
        Some("ContainerCannotRun" | "StartError" | "ContainerStatusUnknown") => {
            let words = state(pod).and_then(|s| s.terminated.as_ref()).and_then(|t| t.message.clone()).unwrap_or_default();
            Outcome::new(if reason == Some("ContainerStatusUnknown") { Cause::Interrupted } else { Cause::Error }, code, words)
        }
        _ => Outcome::new(Cause::Error, code, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn facts(job: Value, pods: &[Value]) -> Facts {
        let job: Job = serde_json::from_value(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "status": job})).unwrap();
        let pods: Vec<Pod> = pods.iter().map(|p| serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": p["metadata"], "spec": {"containers": [], "nodeName": "n"}, "status": p["status"]})).unwrap()).collect();
        judge(&job, &pods.iter().collect::<Vec<_>>(), Timestamp(9))
    }

    fn failed(reason: &str) -> Value {
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": reason}]})
    }

    fn pod(state: Value, more: Value) -> Value {
        let mut status = json!({"phase": "Failed", "containerStatuses": [{"name": "run", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]});
        status.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        json!({"metadata": {"name": "p"}, "status": status})
    }

    fn dead(reason: &str, code: i32) -> Value {
        json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:05Z"}})
    }

    #[test]
    fn causes() {
        let cause = |f: Facts| f.ended.map(|(_, o)| (o.cause, o.exit_code));
        assert_eq!(cause(facts(failed("BackoffLimitExceeded"), &[pod(dead("Error", 3), json!({}))])), Some((Cause::Error, Some(3))));
        assert_eq!(
            cause(facts(failed("BackoffLimitExceeded"), &[pod(dead("OOMKilled", 137), json!({}))])),
            Some((Cause::OutOfMemory, Some(137)))
        );
        assert_eq!(cause(facts(failed("DeadlineExceeded"), &[])), Some((Cause::Timeout, None)));
        let disrupted = json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]});
        assert_eq!(cause(facts(failed("PodFailurePolicy"), &[pod(dead("Error", 143), disrupted)])), Some((Cause::Interrupted, Some(143))));
        assert_eq!(cause(facts(failed("BackoffLimitExceeded"), &[])), Some((Cause::Interrupted, None)));
        assert_eq!(cause(facts(json!({"conditions": [{"type": "Complete", "status": "True"}]}), &[])), Some((Cause::Success, Some(0))));
    }

    #[test]
    fn a_pod_that_ended_is_no_end_before_the_job_says_so() {
        let f = facts(json!({"active": 1}), &[pod(dead("Error", 1), json!({}))]);
        assert_eq!(f.ended, None);
        assert_eq!(f.started, Some((Timestamp(1_767_225_600_000), "n".to_owned())));
    }

    #[test]
    fn says_why_it_waits() {
        let scheduled = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}]});
        let f = facts(json!({}), &[pod(json!({}), scheduled)]);
        assert_eq!(f.waiting.as_deref(), Some("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."));
        let never = pod(json!({"waiting": {"reason": "ErrImageNeverPull", "message": "x"}}), json!({"phase": "Pending"}));
        assert_eq!(facts(json!({}), &[never]).hopeless.as_deref(), Some("ErrImageNeverPull: x"));
    }
}
