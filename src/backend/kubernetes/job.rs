//! A launch as a `batch/v1` Job: the one place that says what a pod of ours looks like.
//!
//! In: a launch and settings. Out: the Job. Every field is chosen here (an allowlist): nothing of a workflow file reaches the pod's
//! spec but command, environment, image, resources and priority. Pods pass the Pod Security Standard `restricted`.

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Map, Value, json};

use super::Settings;
use crate::base::resources::show_cpu;
use crate::base::{Address, AttemptId, Digest, Fingerprint, Millis};
use crate::engine::Launch;

/// Label with the state that an object belongs to.
pub const LINEAGE: &str = "oppen.dev/lineage";
/// Annotation with the run's address.
pub const ADDRESS: &str = "oppen.dev/address";
/// Annotation with the digest of everything that we asked for.
pub const SPEC: &str = "oppen.dev/spec";
/// Label with the generation.
pub const GENERATION: &str = "oppen.dev/generation";
/// Label with the attempt's number.
pub const ATTEMPT: &str = "oppen.dev/attempt";
/// How long finished Jobs stay, in seconds.
const TTL: i64 = 7 * 86_400;
/// Longest label value.
const MAX_LABEL: usize = 63;

/// The Job of an attempt.
///
/// # Errors
/// Why no Job can be made of it, in words.
pub fn of(launch: &Launch, settings: &Settings, classes: &[String]) -> Result<Job, String> {
    let job = &launch.spec.job;
    let image = job.image.as_ref().ok_or("it has no `image`, and a pod needs one")?;
    let name = launch.attempt.name(&settings.lineage);
    let container = container(launch, settings, image)?;
    let mut pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        // As process 1 of its own, a program without a handler never hears that it is to end.
        "shareProcessNamespace": true,
        "terminationGracePeriodSeconds": seconds(job.grace),
        "securityContext": {"runAsNonRoot": true, "runAsUser": settings.user, "runAsGroup": settings.user, "fsGroup": settings.user, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    });
    let class = format!("oppen-{}", job.priority.class);
    let optional = [
        ("priorityClassName", classes.contains(&class).then(|| json!(class))),
        (
            "imagePullSecrets",
            (!settings.image_pull_secrets.is_empty()).then(|| settings.image_pull_secrets.iter().map(|s| json!({"name": s})).collect()),
        ),
        ("volumes", settings.claim.as_ref().map(|claim| json!([{"name": "workspace", "persistentVolumeClaim": {"claimName": claim}}]))),
        ("nodeSelector", settings.gpu_label.as_ref().zip(job.resources.gpu.kind.as_ref()).map(|(label, kind)| json!({label: kind}))),
    ];
    extend(&mut pod, optional);
    let mut labels = json!({
        LINEAGE: settings.lineage, "app.kubernetes.io/managed-by": "oppen", "oppen.dev/workflow": label(launch.attempt.address.workflow()),
        GENERATION: launch.attempt.generation.to_string(), ATTEMPT: launch.attempt.number.to_string(),
    });
    extend(&mut labels, [("kueue.x-k8s.io/queue-name", settings.queue.as_ref().map(|q| json!(q)))]);
    let mut spec = json!({
        "backoffLimit": 0, "completions": 1, "parallelism": 1, "podReplacementPolicy": "Failed", "ttlSecondsAfterFinished": TTL,
        // A disruption ends the attempt; the engine counts it and starts the next one under a new name.
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]},
        "template": {"metadata": {"labels": labels, "annotations": {ADDRESS: launch.attempt.address}}, "spec": pod},
    });
    // What is left of an attempt's money changes when it is sent again; it is the same attempt all the same.
    let digest = Digest::of(spec.to_string().as_bytes());
    extend(
        &mut spec,
        [("activeDeadlineSeconds", launch.timeout.map(|t| json!(seconds(t)))), ("suspend", settings.queue.as_ref().map(|_| json!(true)))],
    );
    let whole = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": settings.namespace, "labels": labels, "annotations": {ADDRESS: launch.attempt.address, SPEC: digest}},
        "spec": spec,
    });
    serde_json::from_value(whole).map_err(|e| e.to_string())
}

fn container(launch: &Launch, settings: &Settings, image: &str) -> Result<Value, String> {
    let job = &launch.spec.job;
    let mut env: Vec<Value> = launch.env.iter().map(|(name, value)| json!({"name": name, "value": literal(value)})).collect();
    // A pod's own disk goes with it: only a volume of the project keeps a checkpoint.
    if settings.claim.is_some() {
        let place = |address: &Address, fingerprint: &Fingerprint| {
            let key = crate::backend::checkpoint_key(&settings.lineage, address, fingerprint);
            format!("{}/.oppen-checkpoints/{key}", settings.mount.trim_end_matches('/'))
        };
        let spec = &launch.spec;
        env.push(json!({"name": "OPPEN_CHECKPOINT", "value": place(&spec.address, &spec.fingerprint)}));
        if let Some(parent) = &spec.parent {
            env.push(json!({"name": "OPPEN_PARENT_CHECKPOINT", "value": place(&parent.address, &parent.fingerprint)}));
        }
        if launch.attempt.number > 1 {
            env.push(json!({"name": "OPPEN_RESUME", "value": "1"}));
        }
    }
    for (name, reference) in &job.secret_env {
        let (secret, key) = reference
            .split_once('/')
            .ok_or_else(|| format!("the secret of `{name}` must be `secret/key` on Kubernetes, not `{reference}`"))?;
        env.push(json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}));
    }
    let mut limits = json!({"cpu": show_cpu(job.resources.cpu_millis), "memory": job.resources.memory_bytes.to_string()});
    extend(&mut limits, [("nvidia.com/gpu", (job.resources.gpu.count > 0).then(|| json!(job.resources.gpu.count.to_string())))]);
    extend(&mut limits, [("ephemeral-storage", (job.resources.disk_bytes > 0).then(|| json!(job.resources.disk_bytes.to_string())))]);
    let argv: Vec<String> = launch.argv.iter().map(|a| literal(a)).collect();
    let mut container = json!({
        "name": "run", "image": image, "command": argv, "env": env, "resources": {"limits": limits, "requests": limits},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "privileged": false},
    });
    let folder =
        |w: &Option<String>| w.as_ref().map_or(settings.mount.clone(), |w| format!("{}/{w}", settings.mount.trim_end_matches('/')));
    let mounted = settings.claim.is_some();
    let optional = [
        ("imagePullPolicy", settings.image_pull_policy.as_ref().map(|p| json!(p))),
        ("volumeMounts", mounted.then(|| json!([{"name": "workspace", "mountPath": settings.mount}]))),
        ("workingDir", mounted.then(|| json!(folder(&job.workdir)))),
    ];
    extend(&mut container, optional);
    Ok(container)
}

/// Kubernetes expands `$(NAME)` in commands and values; a doubled dollar stands for itself.
fn literal(text: &str) -> String {
    text.replace("$(", "$$(")
}

fn extend<const N: usize>(object: &mut Value, fields: [(&str, Option<Value>); N]) {
    if let Some(map) = object.as_object_mut() {
        map.extend(fields.into_iter().filter_map(|(k, v)| v.map(|v| (k.to_owned(), v))).collect::<Map<_, _>>());
    }
}

/// Whole seconds, at least one.
fn seconds(time: Millis) -> u64 {
    time.0.div_ceil(1000).max(1)
}

fn label(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(MAX_LABEL)
        .collect::<String>()
        .trim_matches(['-', '_', '.'])
        .to_owned()
}

/// The attempt that a Job is of, if it is one of ours.
#[must_use]
pub fn attempt(job: &Job, lineage: &str) -> Option<AttemptId> {
    let labels = job.metadata.labels.as_ref()?;
    if labels.get(LINEAGE)? != lineage {
        return None;
    }
    let address = crate::base::Address::parse(job.metadata.annotations.as_ref()?.get(ADDRESS)?).ok()?;
    Some(AttemptId { address, generation: labels.get(GENERATION)?.parse().ok()?, number: labels.get(ATTEMPT)?.parse().ok()? })
}

/// The digest of what was asked for.
#[must_use]
pub fn digest(job: &Job) -> Option<&String> {
    job.metadata.annotations.as_ref()?.get(SPEC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Address;
    use crate::record::{JobSpec, RunSpec};

    fn launch() -> Launch {
        let address = Address::new("w", "train", Some("lr=0.1"));
        let job = JobSpec {
            job: "w/train".into(),
            image: Some("busybox".into()),
            timeout: Some(Millis(1500)),
            secret_env: [("TOKEN".to_owned(), "hub/token".to_owned())].into(),
            ..JobSpec::default()
        };
        let spec = RunSpec { address: address.clone(), job: job.into(), ..RunSpec::default() };
        let attempt = AttemptId { address, generation: 2, number: 3 };
        Launch {
            attempt,
            spec: spec.into(),
            argv: vec!["echo".into(), "$(HOME) $x \"}],\"args\":[".into()],
            env: vec![("A".into(), "$(B)".into())],
            timeout: Some(Millis(1500)),
        }
    }

    fn settings() -> Settings {
        Settings { lineage: "l".into(), claim: Some("workspace".into()), ..Settings::default() }
    }

    #[test]
    fn words_reach_the_pod_byte_for_byte_and_secrets_by_reference() {
        let job = serde_json::to_value(of(&launch(), &settings(), &[]).unwrap()).unwrap();
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["echo", "$$(HOME) $x \"}],\"args\":["]));
        assert_eq!(container["env"][0]["value"], "$$(B)");
        let place = container["env"][1]["value"].as_str().unwrap();
        assert!(
            place.contains("/.oppen-checkpoints/") && container["env"][2] == json!({"name": "OPPEN_RESUME", "value": "1"}),
            "{container}"
        );
        assert_eq!(container["env"][3]["valueFrom"]["secretKeyRef"], json!({"name": "hub", "key": "token"}));
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 2);
        assert_eq!(attempt(&of(&launch(), &settings(), &[]).unwrap(), "l"), Some(launch().attempt));
        assert_eq!(attempt(&of(&launch(), &settings(), &[]).unwrap(), "other"), None);
    }

    #[test]
    fn a_pod_is_restricted_and_at_most_one() {
        let job = serde_json::to_value(of(&launch(), &settings(), &["oppen-normal".to_owned()]).unwrap()).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(pod["priorityClassName"], "oppen-normal");
        assert!(pod.get("hostNetwork").is_none() && pod.get("serviceAccountName").is_none());
        assert_eq!((&job["spec"]["backoffLimit"], &job["spec"]["podReplacementPolicy"]), (&json!(0), &json!("Failed")));
    }
}
