//! Sweeps whose trials are Jobs: every template of `workflows/`, an early end, and a kill in the middle.

use super::{Project, text};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A training in a second or two: the loss falls with the epochs, and is least at a rate of 0.1. It finds what was prepared on the volume.
const TRAIN: &str = r#"test -s data/prepared; e=1; while [ $e -le "${EPOCHS:-2}" ]; do awk -v lr="${OPPEN_PARAM_LR:-${LR:-0.1}}" -v s="${SEED:-0}" -v e=$e 'BEGIN { d = lr < 0.1 ? 0.1 / lr - 1 : lr / 0.1 - 1; print "epoch=" e " val_loss=" d * d + 1 / e + s / 100 " val_acc=" 1 / (1 + d * d + s / 100) }'; sleep 0.4; e=$((e + 1)); done; mkdir -p "$OUT"; echo model > "$OUT/model""#;

/// Each template in small, with nothing but what it must be given.
fn templates() -> String {
    let part = |name: &str, more: &str| {
        let given = "image: oppen.test/busybox:1, cpu: 50m, memory: 64Mi, code: train.sh";
        format!("  {name}:\n    needs: [prepare]\n    uses: ./{name}.yaml\n    with: {{{given}, out: out/{name}, {more}}}\n")
    };
    let train = "train: sh train.sh";
    let head = "  prepare: {run: 'mkdir -p data; echo rows > data/prepared', outputs: [data/prepared]}\n";
    [
        head.to_owned(),
        part("asha", &format!("{train}, trials: 6, parallel: 2, epochs: 4, eta: 2")),
        part("capped", &format!("{train}, trials: 20, parallel: 2, max_cost: 0.00001 USD, time: 4s")),
        part("confirm", &format!("{train}, trials: 3, seeds: 2")),
        part("lr-range", &format!("{train}, points: 3")),
        part("ablation", &format!("{train}, parts: [warmup], seeds: 2")),
        part("kfold", &format!("{train}, folds: 2")),
        part("seeds", "command: sh train.sh, metric: val_loss, seeds: 2"),
        part("sweep", &format!("{train}, prepare: 'mkdir -p \"$DATA\"; echo rows > \"$DATA/x\"', trials: 2")),
    ]
    .concat()
}

/// A volume that the project's folder is.
fn with_volume(project: &Project) -> bool {
    let Ok(cluster) = std::env::var("OPPEN_TEST_CLUSTER") else {
        eprintln!("skipped: a volume needs a cluster of our own (OPPEN_TEST_CLUSTER)");
        return false;
    };
    let settings = std::fs::read_to_string(project.folder.path().join("oppen.yaml")).unwrap();
    project.write("oppen.yaml", &settings.replace("image_pull_policy: Never}", "image_pull_policy: Never, claim: workspace}"));
    let made = Command::new(cluster).args(["claim", &project.namespace]).arg(project.folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    true
}

#[test]
fn every_template_runs_and_then_there_is_nothing_to_do() {
    let Some(project) = Project::new("templates", &templates()) else { return };
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows");
    let mut found = 0;
    for file in std::fs::read_dir(&workflows).unwrap().map(|f| f.unwrap().path()).filter(|f| f.extension().is_some_and(|e| e == "yaml")) {
        let (name, yaml) = (file.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&file).unwrap());
        if yaml.contains("\ninputs:") {
            found += 1;
            assert!(templates().contains(&format!("uses: ./{name}\n")), "{name} is a template, and is not tried here");
            project.write(&format!("workflows/{name}"), &yaml);
        }
    }
    assert!(found >= 8, "{found} templates");
    project.write("train.sh", TRAIN);
    if !with_volume(&project) {
        return;
    }
    let out = project.oppen(&["apply", "workflows/w.yaml", "--yes"]);
    assert_eq!(out.status.code(), Some(0), "{}{}", text(&out.stdout), text(&out.stderr));
    let runs = project.status();
    let of = |job: &str| runs.iter().filter(move |r| r["address"].as_str().unwrap().starts_with(&format!("w/{job}"))).collect::<Vec<_>>();
    let with = |job: &str, word: &str| of(job).iter().filter(|r| r["status"] == word).count();
    assert_eq!((of("asha.train[").len(), with("asha.train[", "succeeded") + with("asha.train[", "pruned")), (6, 6));
    assert!(with("asha.train[", "pruned") >= 1, "{:#?}", of("asha.train["));
    assert!(with("capped.train[", "unneeded") >= 1 && with("capped.train[", "succeeded") >= 1, "{:#?}", of("capped.train["));
    let params = |r: &&&Value| r["params"]["lr"].is_f64() && r["metrics"]["val_loss"]["last"].is_f64();
    assert_eq!(of("confirm.search[").iter().filter(params).count(), 3);
    let left = |file: &str| std::fs::read_to_string(project.folder.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    for (file, words) in [
        ("out/asha/report.txt", "val_loss "),
        ("out/capped/report.txt", "val_loss "),
        ("out/confirm/summary.txt", "runs=2 mean="),
        ("out/lr-range/report.txt", "best_lr="),
        ("out/ablation/report.txt", "warmup"),
        ("out/kfold/summary.txt", "mean="),
        ("out/seeds/summary.txt", "mean="),
    ] {
        assert!(left(file).contains(words), "{file}: {}", left(file));
    }
    let again = project.oppen(&["plan", "workflows/w.yaml", "--detailed-exitcode"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
}

/// Twelve trials; the second is the worst, comes later than the first and would go on for long. None of them has a handler for signals,
/// and each may take ten minutes to end.
const ASHA: &str = r#"  t:
    run: |
      if [ "$OPPEN_TRIAL" = 1 ]; then sleep 3; fi
      for step in 1 2 3; do echo "step=$step loss=$OPPEN_PARAM_X"; sleep 0.5; done
      if [ "$OPPEN_TRIAL" = 1 ]; then sleep 900; fi
    grace: 10m
    sweep:
      method: random
      seed: 3
      trials: 12
      points: [{x: 0.0}, {x: 0.9}]
      parameters: {x: {min: 0.0, max: 0.9}}
      metric: {name: loss, goal: minimize}
      prune: {method: asha, min: 2, max: 9, eta: 2}
"#;

#[test]
fn killed_in_the_middle_no_trial_is_lost_or_doubled_and_a_pruned_one_ends_at_once() {
    let Some(project) = Project::new("asha", ASHA) else { return };
    for ended in [2, 6] {
        let mut apply = project.start(&["apply", "--yes"]);
        let over = |r: &Value| r["status"] == "succeeded" || r["status"] == "pruned";
        project.until("some trials to end", || project.status().iter().filter(|r| over(r)).count() >= ended);
        apply.kill().unwrap();
        apply.wait().unwrap();
    }
    let out = project.oppen(&["apply", "--yes"]);
    assert_eq!(out.status.code(), Some(0), "{}{}", text(&out.stdout), text(&out.stderr));
    let runs = project.status();
    let of = |word: &str| runs.iter().filter(|r| r["status"] == word).count();
    assert!(runs.len() == 12 && of("succeeded") + of("pruned") == 12 && of("pruned") >= 1, "{runs:#?}");
    assert!(runs.iter().all(|r| r["attempts"].as_array().unwrap().len() == 1), "{runs:#?}");
    assert_eq!(project.jobs().len(), of("succeeded"), "one Job a trial; that of a pruned one goes");
}
