//! `cost forecast`, and what `status` says of runs that go on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::project::*;

/// A run of four epochs, in the order of its estimate, that waits, after the second, for a file; then a run that follows it.
fn training() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("workflows")).unwrap();
    let project = "apiVersion: oppen/v1\nkind: Project\nname: lab\nrates: {cpu: 144 USD, memory: 0 USD, off_peak: {factor: 1}}\n";
    let workflow = "apiVersion: oppen/v1\nkind: Workflow\nname: w\nbudget: {limit: 100 USD}\n\
        inputs: {epochs: {type: integer, default: 4}}\n\
        defaults: {resources: {cpu: 1, memory: 1Mi}, estimate: {time: 3s}}\n\
        jobs:\n  train:\n    metric: {name: loss, goal: minimize}\n    run: |\n      sleep 0.2; echo epoch=1 loss=nan\n\
        \x20     sleep 0.2; echo epoch=2 loss=0.5\n      n=0; while [ ! -e go ] && [ $n -lt 900 ]; do sleep 0.05; n=$((n+1)); done\n\
        \x20     for i in 3 4; do sleep 0.1; echo epoch=$i loss=0.$i; done\n      : {{ inputs.epochs }}\n\
        \x20 after: {run: [\"true\"], needs: [train]}\n";
    std::fs::write(folder.path().join("oppen.yaml"), project).unwrap();
    std::fs::write(folder.path().join("workflows/w.yaml"), workflow).unwrap();
    folder
}

fn json(at: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&out(at, args, 0)).unwrap()
}

#[test]
fn a_run_is_forecast_before_while_and_after_it_runs() {
    let folder = training();
    let at = folder.path();
    // Nothing was applied: what the files declare is all there is.
    let before = json(at, &["cost", "forecast", "w/train", "-o", "json"]);
    let run = &before["runs"][0];
    assert_eq!(
        (run["total"]["expected"].as_str(), run["total"]["interval"].is_null(), run["spent"].as_str()),
        (Some("0.12"), true, Some("0.00"))
    );
    assert_eq!(run["basis"], "declared; no run has shown how far off that is");
    let binary = env!("CARGO_BIN_EXE_oppen");
    let mut apply =
        Command::new(binary).args(["apply", "--yes"]).current_dir(at).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let second = |v: &Value| v["runs"][0]["progress"]["done"] == 2;
    let mut tries = 0;
    let live = loop {
        tries += 1;
        let found = oppen(at, &["cost", "forecast", "w/train", "-o", "json"]);
        let value: Value = serde_json::from_slice(&found.stdout).unwrap_or_default();
        if second(&value) || tries > 600 {
            break value;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let run = &live["runs"][0];
    assert_eq!(
        (run["progress"]["total"].as_u64(), run["progress"]["unit"].as_str(), run["attempt"].as_u64()),
        (Some(4), Some("epochs"), Some(1))
    );
    assert!(run["basis"].as_str().unwrap().starts_with("its own progress: 2 of 4 epochs"), "{run}");
    assert_eq!((run["metric"]["unknown"].as_u64(), run["metric"]["last"].as_f64()), (Some(1), Some(0.5)));
    assert_eq!(run["metric"]["missing"], "1 value by step, 5 are needed");
    assert!(run["budgets"][0]["chance"].as_f64().unwrap() < 0.5, "{run}");
    let text = out(at, &["cost", "forecast", "w/train"], 0);
    assert!(text.starts_with("w/train  running, attempt 1\n  progress   2 of 4 epochs, "), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("metric loss 0.5 now; its end is not told: 1 value by step, 5 are needed; 1 value was no number"), "{text}");
    let status = out(at, &["status"], 0);
    let line = status.lines().find(|l| l.starts_with("w/train")).unwrap();
    assert!(line.contains(" 2/4, ") && line.contains(" left, $") && line.chars().count() <= 80, "{line}");
    assert!(status.contains("\nRunning: $") && status.contains(" in all, done by "), "{status}");
    let all = out(at, &["cost", "forecast", "--all"], 0);
    assert!(all.contains("2 open runs: $") && all.contains("w/after  pending"), "{all}");
    std::fs::write(at.join("go"), "").unwrap();
    assert!(apply.wait().unwrap().success());
    let after = out(at, &["cost", "forecast", "w/train"], 0);
    assert!(after.starts_with("w/train  succeeded\n  cost       $") && after.contains(", all of it\n"), "{after}");
    assert_eq!(out(at, &["cost", "forecast", "--all"], 0), "Nothing runs or waits: there is nothing to forecast.\n");
}

#[test]
fn a_slip_and_nonsense_are_told() {
    let folder = training();
    let told = |args: &[&str], code: i32| {
        let found = oppen(folder.path(), args);
        assert_eq!(found.status.code(), Some(code), "{args:?}");
        String::from_utf8_lossy(&found.stderr).into_owned()
    };
    assert_eq!(
        told(&["cost", "forecast", "w/trian"], 64),
        "error: no run `w/trian` in the state or the files\n  help: did you mean `w/train`?\n"
    );
    assert!(told(&["cost", "forecast", "\u{1b}[31mw"], 64).starts_with("error: no run `\\x1b[31mw` in"));
    for wrong in
        [&["cost", "forecast"][..], &["cost", "forecast", "--all", "w/a"], &["cost", "forecast", "w/train", "--remaining-epochs", "-3"]]
    {
        told(wrong, 64);
    }
}
