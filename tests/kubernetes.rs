//! The Kubernetes backend against a real cluster: pods that train, fail, run out of memory, are deleted, wait and are cancelled.
//!
//! Needs `OPPEN_TEST_KUBECONFIG`; without it each test says that it is skipped. `./test` brings a cluster up. The cluster must know
//! the image `oppen.test/busybox:1` and have a node with two `nvidia.com/gpu`; `OPPEN_TEST_CLUSTER` names the script that can kill
//! its API server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "kubernetes/agents.rs"]
mod agents;
#[path = "kubernetes/sweeps.rs"]
mod sweeps;
#[path = "kubernetes/usage.rs"]
mod usage;

/// A project in a namespace of its own.
struct Project {
    folder: tempfile::TempDir,
    namespace: String,
    kubeconfig: String,
}

impl Drop for Project {
    fn drop(&mut self) {
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        self.kubectl(&["delete", "pv", &format!("workspace-{}", self.namespace), "--ignore-not-found", "--wait=false"]);
    }
}

impl Project {
    fn new(name: &str, workflow: &str) -> Option<Self> {
        let Ok(kubeconfig) = std::env::var("OPPEN_TEST_KUBECONFIG") else {
            eprintln!("skipped: {name} needs a cluster, and OPPEN_TEST_KUBECONFIG is not set (./test brings one up)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let namespace = format!("oppen-test-{name}-{}", std::process::id());
        let project = Self { folder, namespace, kubeconfig };
        project.write("oppen.yaml", &format!("apiVersion: oppen/v1\nkind: Project\nname: test\nbackend: kubernetes\npool: {{max_concurrent: 6}}\nkubernetes: {{namespace: {}, image_pull_policy: Never}}\n", project.namespace));
        let head = "apiVersion: oppen/v1\nkind: Workflow\nname: w\ndefaults:\n  image: oppen.test/busybox:1\n  resources: {cpu: 50m, memory: 64Mi}\n  grace: 1s\n  retry: {backoff: 1s}\njobs:\n";
        project.write("workflows/w.yaml", &format!("{head}{workflow}"));
        let made = project.oppen(&["install", "--yes"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        // Pods are refused until the namespace has its account.
        project.until("the namespace's account", || {
            project.kubectl(&["-n", &project.namespace, "get", "serviceaccount", "default"]).status.success()
        });
        Some(project)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
        command.args(args).current_dir(self.folder.path()).env("KUBECONFIG", &self.kubeconfig).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    fn oppen(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn kubectl(&self, args: &[&str]) -> Output {
        let cached = PathBuf::from(
            std::env::var("OPPEN_CLUSTER_CACHE").unwrap_or_else(|_| format!("{}/.cache/oppen-cluster", std::env::var("HOME").unwrap())),
        )
        .join("bin/kubectl");
        let program = if cached.exists() { cached } else { Path::new("kubectl").to_owned() };
        Command::new(program).args(["--kubeconfig", &self.kubeconfig]).args(args).output().unwrap()
    }

    fn status(&self) -> Vec<Value> {
        let out = self.oppen(&["status", "-o", "json"]);
        serde_json::from_slice::<Value>(&out.stdout).ok().and_then(|v| v["runs"].as_array().cloned()).unwrap_or_default()
    }

    fn run(&self, address: &str) -> Value {
        self.status().into_iter().find(|r| r["address"] == address).unwrap_or_default()
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(90), "waited for {what}: {:#?}", self.status());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn jobs(&self) -> Vec<String> {
        let out = self.kubectl(&["-n", &self.namespace, "get", "jobs", "-o", "name"]);
        text(&out.stdout).lines().map(str::to_owned).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cause(run: &Value) -> String {
    run["attempts"]
        .as_array()
        .and_then(|a| a.last())
        .map(|a| a["outcome"]["cause"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

#[test]
fn runs_end_by_their_cause_and_report_what_they_printed() {
    let workflow = r#"
  ok: {run: [sh, -c, 'echo "$1"; echo step=1 loss=0.5; sleep 1; echo step=2 loss=0.25', x, "a \"b\" $(HOME) $x 'c'"]}
  bad: {run: [sh, -c, "exit 3"]}
  oom: {run: [awk, 'BEGIN{s="x"; while(1) s=s s}']}
  slow: {run: [sleep, "300"], timeout: 2s}
  after: {needs: [ok], run: [echo, "loss was {{ needs.ok.metrics.loss }}"]}
  skipped: {needs: [bad], run: ["true"]}
"#;
    let Some(project) = Project::new("causes", workflow) else { return };
    let out = project.oppen(&["apply", "--yes"]);
    assert_eq!(out.status.code(), Some(8), "{}{}", text(&out.stdout), text(&out.stderr));
    assert_eq!(project.run("w/ok")["status"], "succeeded");
    assert_eq!(project.run("w/ok")["metrics"]["loss"]["last"], 0.25);
    assert_eq!(text(&project.oppen(&["logs", "w/ok"]).stdout).lines().next(), Some("a \"b\" $(HOME) $x 'c'"));
    assert_eq!(text(&project.oppen(&["logs", "w/after"]).stdout), "loss was 0.25\n");
    assert_eq!(
        (cause(&project.run("w/bad")), project.run("w/bad")["attempts"][0]["outcome"]["exit_code"].clone()),
        ("error".to_owned(), 3.into())
    );
    assert_eq!(cause(&project.run("w/oom")), "out-of-memory");
    assert_eq!(cause(&project.run("w/slow")), "timeout");
    assert_eq!(project.run("w/skipped")["status"], "skipped");
    let again = project.oppen(&["plan", "--target", "w/ok", "--detailed-exitcode"]);
    assert_eq!(again.status.code(), Some(0), "what succeeded is not planned again: {}", text(&again.stdout));
    seen_without_a_state(&project);
    let destroyed = project.oppen(&["destroy", "--yes"]);
    assert!(destroyed.status.success(), "{}", text(&destroyed.stderr));
    project.until("the Jobs to go", || project.jobs().is_empty());
}

/// The labels alone tell the same as the state, from a folder that has none.
fn seen_without_a_state(project: &Project) {
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::copy(project.folder.path().join("oppen.yaml"), elsewhere.path().join("oppen.yaml")).unwrap();
    let out = project.command(&["status", "--from-cluster", "-o", "json"]).current_dir(elsewhere.path()).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    let seen: Value = serde_json::from_slice(&out.stdout).unwrap();
    let attempts = seen["lineages"][0]["attempts"].as_array().unwrap();
    let told: Vec<_> = attempts.iter().map(|a| (a["address"].clone(), a["attempt"].clone(), a["outcome"]["cause"].clone())).collect();
    let mut recorded = Vec::new();
    for run in project.status() {
        for attempt in run["attempts"].as_array().unwrap() {
            recorded.push((run["address"].clone(), attempt["number"].clone(), attempt["outcome"]["cause"].clone()));
        }
    }
    recorded.sort_by_key(|(address, number, _)| (address.to_string(), number.as_u64()));
    assert_eq!(told, recorded, "{seen:#}");
    assert!(attempts.iter().all(|a| a["node"].is_string() && a["started"].is_string() && a["ended"].is_string()), "{seen:#}");
    assert!(!elsewhere.path().join(".oppen").exists(), "nothing is written");
}

#[test]
fn a_killed_apply_is_picked_up_and_no_run_is_doubled() {
    let workflow = "  a: {run: [sleep, \"4\"], matrix: {i: {range: [0, 5]}}}\n  z: {needs: [a], run: [\"true\"]}\n";
    let Some(project) = Project::new("kill", workflow) else { return };
    let mut first = project.start(&["apply", "--yes"]);
    project.until("a run to start", || project.status().iter().any(|r| r["status"] == "running"));
    first.kill().unwrap();
    first.wait().unwrap();
    let out = project.oppen(&["apply", "--yes"]);
    assert_eq!(out.status.code(), Some(0), "{}{}", text(&out.stdout), text(&out.stderr));
    let runs = project.status();
    assert!(
        runs.len() == 6 && runs.iter().all(|r| r["status"] == "succeeded" && r["attempts"].as_array().unwrap().len() == 1),
        "{runs:#?}"
    );
    assert_eq!(project.jobs().len(), 6, "one Job a run");
}

#[test]
fn what_is_deleted_by_hand_is_an_interruption_and_tried_again() {
    let Some(project) = Project::new("deleted", "  a: {run: [sleep, \"6\"]}\n  b: {run: [sleep, \"6\"]}\n") else { return };
    let mut apply = project.start(&["apply", "--yes"]);
    project.until("both to run", || project.status().iter().filter(|r| r["status"] == "running").count() == 2);
    let (jobs, pods) = (project.jobs(), project.kubectl(&["-n", &project.namespace, "get", "pods", "-o", "name"]));
    let job = jobs.iter().find(|j| j.contains("/w-a-")).unwrap().clone();
    let pod = text(&pods.stdout).lines().find(|p| p.contains("/w-b-")).unwrap().to_owned();
    project.kubectl(&["-n", &project.namespace, "delete", &job, "--wait=false"]);
    project.kubectl(&["-n", &project.namespace, "delete", &pod, "--wait=false"]);
    assert_eq!(apply.wait().unwrap().code(), Some(0), "{:#?}", project.status());
    for run in project.status() {
        assert_eq!(
            (run["status"].as_str(), run["attempts"][0]["outcome"]["cause"].as_str(), run["attempts"].as_array().map(Vec::len)),
            (Some("succeeded"), Some("interrupted"), Some(2)),
            "{run:#?}"
        );
    }
}

#[test]
fn runs_wait_for_gpus_in_the_schedulers_words_and_are_cancelled() {
    let Some(project) = Project::new("gpus", "  a: {run: [sleep, \"300\"], matrix: {i: [1, 2]}, resources: {gpu: 2}}\n") else { return };
    // The quota of the namespace would keep the second pod from being made at all.
    project.kubectl(&["-n", &project.namespace, "delete", "resourcequota", "--all"]);
    let mut apply = project.start(&["apply", "--yes"]);
    project.until("one to wait", || project.status().iter().any(|r| r["notices"].to_string().contains("Insufficient nvidia.com/gpu")));
    let other = project.oppen(&["apply", "--yes"]);
    assert_eq!(other.status.code(), Some(7), "a second apply is told who holds the lock");
    assert!(text(&other.stderr).contains("pid"), "{}", text(&other.stderr));
    assert!(project.oppen(&["cancel", "w/a"]).status.success());
    assert_eq!(apply.wait().unwrap().code(), Some(8));
    assert!(project.status().iter().all(|r| r["status"] == "cancelled"), "{:#?}", project.status());
    project.until("the Jobs to go", || project.jobs().is_empty());
}

#[test]
fn a_job_of_somebody_else_is_never_touched() {
    let Some(project) = Project::new("foreign", "  a: {run: [sleep, \"1\"]}\n") else { return };
    assert_eq!(project.oppen(&["apply", "--yes"]).status.code(), Some(0));
    let job = project.jobs().remove(0);
    project.kubectl(&["-n", &project.namespace, "label", &job, "oppen.dev/lineage=somebody", "--overwrite"]);
    assert!(project.oppen(&["destroy", "--yes"]).status.success());
    assert_eq!(project.jobs(), [job], "the Job of another lineage stays");
}

#[test]
fn what_left_the_state_long_ago_is_destroyed_too_and_a_missing_namespace_is_said() {
    let Some(project) = Project::new("left", "  a: {run: [\"true\"], matrix: {i: [1, 2]}}\n") else { return };
    assert_eq!(project.oppen(&["apply", "--yes"]).status.code(), Some(0));
    let workflow = std::fs::read_to_string(project.folder.path().join("workflows/w.yaml")).unwrap();
    project.write("workflows/w.yaml", &workflow.replace("[1, 2]", "[1]"));
    assert_eq!(project.oppen(&["apply", "--yes"]).status.code(), Some(0));
    assert_eq!(project.jobs().len(), 2, "the Job of the run that left the files stays for its log");
    assert!(project.oppen(&["destroy", "--yes"]).status.success());
    project.until("both Jobs to go", || project.jobs().is_empty());
    let settings = std::fs::read_to_string(project.folder.path().join("oppen.yaml")).unwrap();
    project.write("oppen.yaml", &settings.replace(&project.namespace, "no-such-namespace"));
    let refused = project.oppen(&["apply", "--yes"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
    let words = text(&refused.stderr);
    assert!(words.contains("no namespace no-such-namespace") && words.contains("oppen install"), "{words}");
    assert!(project.status().is_empty(), "nothing was recorded as failed");
}

#[test]
fn an_api_server_that_dies_ends_nothing() {
    let Ok(cluster) = std::env::var("OPPEN_TEST_CLUSTER") else {
        eprintln!("skipped: killing the API server needs a cluster of our own (OPPEN_TEST_CLUSTER)");
        return;
    };
    // Other tests share the server: this one runs in a process of its own (see ./test).
    if std::env::var("OPPEN_TEST_ALONE").is_err() {
        eprintln!("skipped: it takes the API server away from the others (OPPEN_TEST_ALONE)");
        return;
    }
    let Some(project) = Project::new("away", "  a: {run: [sleep, \"10\"], matrix: {i: [1, 2]}}\n  z: {needs: [a], run: [\"true\"]}\n")
    else {
        return;
    };
    let mut apply = project.start(&["apply", "--yes"]);
    project.until("a run to start", || project.status().iter().any(|r| r["status"] == "running"));
    assert!(Command::new(&cluster).arg("kill-apiserver").status().unwrap().success());
    std::thread::sleep(Duration::from_secs(5));
    assert!(Command::new(&cluster).arg("start-apiserver").status().unwrap().success());
    assert_eq!(apply.wait().unwrap().code(), Some(0), "{:#?}", project.status());
    assert!(
        project.status().iter().all(|r| r["status"] == "succeeded" && r["attempts"].as_array().unwrap().len() == 1),
        "{:#?}",
        project.status()
    );
}
