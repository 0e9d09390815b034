//! Submit, queue, pause, priorities: the real engine, real processes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Project(tempfile::TempDir);

const TEMPLATE: &str = "apiVersion: oppen/v1
kind: Workflow
name: train
inputs:
  model_type: {type: string}
  epochs: {type: integer, default: 1, minimum: 1, maximum: 100}
jobs:
  train:
    model: mnist
    run: [sh, -c, 'echo {{ inputs.epochs }} >> ran; sleep {{ inputs.epochs }}']
    resources: {gpu: 1, cpu: 1, memory: 1Gi}
";

impl Project {
    /// One GPU, so that runs come one after the other; half a dollar in all.
    fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(project.path().join("workflows")).unwrap();
        std::fs::write(
            project.path().join("oppen.yaml"),
            "apiVersion: oppen/v1\nkind: Project\nname: test\npool: {quotas: {gpu: 1, cpu: 8, memory: 16Gi}}\n\
             rates: {off_peak: {factor: 1}}\nbudget: {limit: 0.50 USD}\n\
             models:\n  mnist: {template: workflows/train.yaml, estimate: {epochs: '{{ inputs.epochs }}', per_epoch: 60s}}\n",
        )
        .unwrap();
        std::fs::write(project.path().join("workflows/train.yaml"), TEMPLATE).unwrap();
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn oppen(&self, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
        let out = command.args(args).current_dir(self.path()).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
        (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
    }

    fn json(&self, args: &[&str]) -> Value {
        let (code, text) = self.oppen(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{code} {e}: {text}"))
    }

    fn waiting(&self) -> Vec<(String, String)> {
        let queue = self.json(&["queue"]);
        let text = |v: &Value| v.as_str().unwrap().split("-").next().unwrap().to_owned();
        queue["waiting"].as_array().unwrap().iter().map(|w| (text(&w["address"]), text(&w["priority"]))).collect()
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(60), "waited for {what}: {}", self.oppen(&["status", "--expand"]).1);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ran(&self) -> String {
        std::fs::read_to_string(self.path().join("ran")).unwrap_or_default().replace('\n', " ")
    }
}

#[test]
fn what_is_submitted_runs_by_priority_and_plans_of_files_leave_it_alone() {
    let project = Project::new();
    let (code, text) = project.oppen(&["queue", "pause"]);
    assert_eq!((code, text.as_str()), (0, "The queue is paused: what runs goes on, nothing new is launched.\n"));
    for (epochs, class) in [("1", "normal"), ("2", "background"), ("3", "urgent")] {
        let receipt = project.json(&["submit", "mnist", "--with", &format!("epochs={epochs}"), "--priority", class]);
        assert_eq!(receipt["submitted"], true, "{receipt:#}");
    }
    let queue = project.json(&["queue"]);
    assert!(queue["waiting"][0]["waits"].as_str().unwrap().starts_with("the queue is paused by"), "{queue:#}");
    let classes: Vec<String> = project.waiting().into_iter().map(|w| w.1).collect();
    assert_eq!(classes, ["urgent", "normal", "background"]);
    // A minute of 1 GPU, 1 core and 1 GiB is 0.00925 USD; urgent costs half more, background a fifth less.
    assert_eq!(queue["pending_cost"], "0.065675");
    let last = queue["waiting"][2]["address"].as_str().unwrap().to_owned();
    assert_eq!(project.oppen(&["queue", "priority", "urgent", &last]).1, "1 run is of priority urgent now.\n");
    let classes: Vec<String> = project.waiting().into_iter().map(|w| w.1).collect();
    assert_eq!(classes, ["urgent", "urgent", "normal"]);
    // A plan of the project's files neither wants nor ends what was submitted.
    assert_eq!(project.json(&["plan"])["runs"], serde_json::json!([]));
    assert_eq!(project.oppen(&["queue", "resume"]).1, "The queue is resumed.\n");
    project.until("all to end", || project.ran() == "2 3 1 " && project.oppen(&["status"]).1.contains("3 succeeded"));
    let history = project.oppen(&["history", "-n", "100"]).1;
    assert!(["submitted", "queue-paused", "prioritized", "queue-resumed"].iter().all(|w| history.contains(w)), "{history}");
}

#[test]
fn a_batch_is_priced_first_and_goes_in_whole_or_not_at_all() {
    let project = Project::new();
    std::fs::write(project.path().join("batch.json"), r#"[{"model_type": "mnist", "epochs": 1, "count": 50}]"#).unwrap();
    assert_eq!(project.oppen(&["queue", "pause"]).0, 0);
    assert_eq!(project.json(&["submit", "--batch", "batch.json", "--dry-run"])["submitted"], false);
    assert_eq!(project.waiting().len(), 0);
    let receipt = project.json(&["submit", "--batch", "batch.json"]);
    assert_eq!((receipt["cost"].as_str(), receipt["pending_cost"].as_str()), (Some("0.4625"), Some("0.4625")));
    let positions: Vec<u64> = receipt["runs"].as_array().unwrap().iter().map(|r| r["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=50).collect::<Vec<u64>>());
    // What waits counts: there is money for four more, not for five.
    let (code, text) = project.oppen(&["submit", "mnist", "--count", "5"]);
    assert!(code == 3 && text.contains("nothing was submitted") && text.contains("limit is $0.50"), "{code} {text}");
    assert_eq!(project.waiting().len(), 50);
    let (code, text) = project.oppen(&["submit", "mnist", "--max-cost", "0.009"]);
    assert!(code == 3 && text.contains("expected to cost $0.00925, more than $0.009"), "{code} {text}");
    assert_eq!(project.oppen(&["cancel", "*"]).0, 0);
    project.until("all to be cancelled", || project.waiting().is_empty());
    assert_eq!(project.json(&["queue"])["pending_cost"], "0.00");
}

#[test]
fn what_cannot_be_submitted_says_why_and_changes_nothing() {
    let project = Project::new();
    for (args, code, words) in [
        (vec!["mnst"], 64, "did you mean `mnist`?"),
        (vec!["mnist", "--with", "epochs=0"], 4, "0 is out of range"),
        (vec!["mnist", "--with", "epochs=NaN"], 4, "is not an integer"),
        (vec!["mnist", "--with", "lr=1"], 4, "has no input `lr`"),
        (vec!["mnist", "--priority", "urgnt"], 64, "did you mean `urgent`?"),
        (vec!["mnist", "--count", "0"], 64, "`count` must be at least 1"),
        (vec!["mnist", "--count", "1001"], 64, "at most 1000"),
        (vec!["../outside.yaml"], 64, "is no model type"),
        (vec!["--batch", "none.json"], 64, "No such file"),
        (vec!["\u{1b}[31m"], 64, "`\\x1b[31m`"),
    ] {
        let all: Vec<&str> = [vec!["submit"], args.clone()].concat();
        let (found, text) = project.oppen(&all);
        assert!(found == code && text.contains(words), "{args:?}: {found} {text}");
    }
    assert!(!project.path().join(".oppen/state.db").exists(), "nothing was noted");
}
