//! Conversations of `tests/mcp`, whose runs are Jobs here.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Project, text};

/// A template for agents; at these rates a minute of its GPU costs as much as one of 1 GPU, 2 cores and 3 GiB.
const AGENTS: &str = "kubernetes: {namespace: NAMESPACE, image_pull_policy: Never}\npool: {max_concurrent: SLOTS}\n\
    rates: {gpu: 0.615 USD, cpu: 0 USD, memory: 0 USD, off_peak: {factor: 1}}\nbudget: {limit: BUDGET USD}\n\
    models: {mnist: {template: workflows/train.yaml, estimate: {epochs: '{{ inputs.epochs }}', per_epoch: 60s}}}\n";
const TRAIN: &str = r#"apiVersion: oppen/v1
kind: Workflow
name: train
inputs:
  epochs: {type: integer, default: 2, minimum: 1, maximum: 1000}
  batch_size: {type: integer, default: 64, minimum: 1, maximum: 4096}
jobs:
  train:
    model: mnist
    image: oppen.test/busybox:1
    run: [sh, -c, 'e=1; while [ $e -le "$0" ]; do sleep PACE; echo "epoch=$e loss=0.$((1000 / (e + 1)))"; e=$((e + 1)); done', "{{ inputs.epochs }}"]
    resources: {gpu: 1, cpu: 50m, memory: 64Mi}
    grace: 1s
    timeout: 30m
"#;
/// It learns nothing more after its fifth epoch.
const DEAR: &str = r#"apiVersion: oppen/v1
kind: Workflow
name: train
inputs:
  epochs: {type: integer, default: 20, minimum: 1}   # passes over the data
jobs:
  train:
    image: oppen.test/busybox:1
    run: |
      i=1
      while [ $i -le {{ inputs.epochs }} ]; do
        sleep 0.4
        v=5; [ $i -lt 5 ] && v=$((10 - i))
        echo epoch=$i loss=0.$v; i=$((i+1))
      done
    metric: {name: loss, goal: minimize}
    resources: {gpu: 1, cpu: 50m, memory: 64Mi}   # as on the old machine
    estimate: {time: 10s}
    grace: 1s
    timeout: 10m
"#;

fn converse(name: &str, train: &str, slots: &str, budget: &str) {
    let Ok(python) = std::env::var("OPPEN_TEST_MCP") else {
        eprintln!("skipped: OPPEN_TEST_MCP names no Python with the `mcp` package");
        return;
    };
    let Some(project) = Project::new(&format!("agents-{name}"), "  none: {run: [\"true\"]}\n") else { return };
    let head = "apiVersion: oppen/v1\nkind: Project\nname: agents\nbackend: kubernetes\n";
    let settings = AGENTS.replace("NAMESPACE", &project.namespace).replace("SLOTS", slots).replace("BUDGET", budget);
    project.write("oppen.yaml", &format!("{head}{settings}"));
    project.write("workflows/train.yaml", train);
    std::fs::remove_file(project.folder.path().join("workflows/w.yaml")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/conversations.py");
    let mut command = Command::new(&python);
    command.arg("-B").arg(script).arg(name).arg(project.folder.path()).stdin(Stdio::null());
    let out = command.env("OPPEN", env!("CARGO_BIN_EXE_oppen")).env("KUBECONFIG", &project.kubeconfig).output().unwrap();
    assert!(out.status.success(), "conversation {name}: {}{}", text(&out.stdout), text(&out.stderr));
}

#[test]
fn agents_price_queue_and_train() {
    for (name, pace) in [("a", "1"), ("b", "20"), ("c", "20")] {
        converse(name, &TRAIN.replace("PACE", pace), "2", "0.50");
    }
}

#[test]
fn agents_reduce_the_cost_of_a_finished_run() {
    converse("d", DEAR, "2", "0.50");
}

#[test]
fn agents_are_told_the_systems_status() {
    converse("e", &TRAIN.replace("PACE", "60"), "1", "0.05");
}
