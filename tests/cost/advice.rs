//! `cost recommend` and `cost compare`, on runs that really ran.

use std::path::Path;

use serde_json::Value;

use super::project::*;

const WORKFLOW: &str = "\
# What everybody runs.
apiVersion: oppen/v1
kind: Workflow
name: w
inputs:
  num_epochs: {type: integer, default: 20}   # passes over the data
jobs:
  train:
    # It reports an epoch a line.
    run: |
      i=1
      while [ $i -le {{ inputs.num_epochs }} ]; do
        v=5; [ $i -lt 5 ] && v=$((10 - i))
        echo epoch=$i loss=0.$v; i=$((i+1))
      done
      sleep 0.3
    metric: {name: loss, goal: minimize}
    resources:
      cpu: 8        # as on the old machine
      memory: 4Gi
  other: {run: [sleep, \"0.1\"], resources: {cpu: 0.5, memory: 128Mi, capacity: reserved}}   # small
";

fn applied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("workflows")).unwrap();
    let project = "apiVersion: oppen/v1\nkind: Project\nname: lab\nrates: {cpu: 144 USD, memory: 40 USD, off_peak: {factor: 1}}\n";
    std::fs::write(folder.path().join("oppen.yaml"), project).unwrap();
    std::fs::write(folder.path().join("workflows/w.yaml"), WORKFLOW).unwrap();
    out(folder.path(), &["apply", "--yes"], 0);
    folder
}

fn json(at: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&out(at, args, 0)).unwrap()
}

#[test]
fn advice_names_its_edit_and_makes_it_without_touching_anything_else() {
    let folder = applied();
    let at = folder.path();
    let found = json(at, &["cost", "recommend", "w/train", "-o", "json"]);
    let job = &found["jobs"][0];
    let of = |kind: &str| job["advice"].as_array().unwrap().iter().find(|a| a["kind"] == kind).cloned().unwrap_or_default();
    let cpu = of("cpu");
    assert_eq!((cpu["edits"][0]["line"].as_u64(), cpu["edits"][0]["file"].as_str()), (Some(19), Some("workflows/w.yaml")));
    assert_eq!(cpu["edits"][0]["before"], "      cpu: 8        # as on the old machine");
    assert_eq!((cpu["confidence"].as_str(), cpu["settings"][0]["value"].as_str()), (Some("low"), Some("0.5")), "{cpu}");
    assert!(cpu["computed"].as_str().unwrap().contains("cores on average"), "{cpu}");
    assert_eq!(of("early-stopping")["title"], "train for 9 instead of 20 epochs");
    assert_eq!(of("memory")["settings"][0]["value"], "128Mi");
    // What is saved together is less than the sum, and less than all.
    let money = |v: &Value| v.as_str().unwrap().parse::<f64>().unwrap();
    let sum: f64 = job["advice"].as_array().unwrap().iter().map(|a| money(&a["saves"])).sum();
    assert!(money(&job["together"]) < sum && money(&job["together"]) < money(&job["base"]), "{job}");
    let missing: Vec<&str> = job["missing"].as_array().unwrap().iter().filter_map(|m| m["kind"].as_str()).collect();
    assert_eq!(missing, ["batch-size", "zone"]);
    let text = out(at, &["cost", "recommend", "--all"], 0);
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert!(text.contains("  w/train") || text.starts_with("w/"), "{text}");
    let written = out(at, &["cost", "recommend", "w/train", "--apply-to", "workflows/w.yaml"], 0);
    assert!(written.contains("cpu: jobs.train.resources.cpu = 0.5\n") && written.contains("edits in workflows/w.yaml"), "{written}");
    let after = std::fs::read_to_string(at.join("workflows/w.yaml")).unwrap();
    let want = WORKFLOW
        .replace("cpu: 8 ", "cpu: 0.5 ")
        .replace("memory: 4Gi\n", "memory: 128Mi\n      capacity: spot\n")
        .replace("default: 20", "default: 9");
    assert_eq!(after, want);
    let plan = out(at, &["plan"], 0);
    assert!(plan.contains("resources.cpu 8 -> 500m"), "{plan}");
}

#[test]
fn edits_that_cannot_be_made_leave_the_file_alone() {
    let folder = applied();
    let at = folder.path();
    let told = |args: &[&str], code: i32| {
        let found = oppen(at, args);
        assert_eq!(found.status.code(), Some(code), "{args:?}\n{}", String::from_utf8_lossy(&found.stdout));
        String::from_utf8_lossy(&found.stderr).into_owned()
    };
    assert!(told(&["cost", "recommend", "w/trian"], 64).contains("did you mean `w/train`?"));
    assert!(told(&["cost", "recommend"], 64).contains("ADDR"));
    assert!(told(&["cost", "recommend", "--all", "--apply-to", "workflows/w.yaml"], 64).contains("edits of one job, 2 were named"));
    assert!(
        told(&["cost", "recommend", "w/train", "--apply-to", "workflows/w.yaml", "--only", "cpus"], 64).contains("did you mean `cpu`?")
    );
    assert!(told(&["cost", "recommend", "w/train", "--apply-to", "gone.yaml"], 1).contains("cannot read gone.yaml"));
    assert!(told(&["cost", "recommend", "w/other", "--apply-to", "workflows/w.yaml"], 1).starts_with("error: nothing was written"));
    // Another workflow's file has no such job.
    std::fs::write(at.join("x.yaml"), "apiVersion: oppen/v1\nkind: Workflow\nname: x\njobs: {a: {run: [\"true\"]}}\n").unwrap();
    assert!(told(&["cost", "recommend", "w/train", "--apply-to", "x.yaml"], 1).contains("the file has no workflow `w`"));
    assert_eq!(std::fs::read_to_string(at.join("workflows/w.yaml")).unwrap(), WORKFLOW);
}

#[test]
fn runs_and_configurations_are_compared() {
    let folder = applied();
    let at = folder.path();
    let found = json(at, &["cost", "compare", "w/train", "workflows/w.yaml", "--variant", "num_epochs=2", "-o", "json"]);
    let rows = found["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["w/train", "workflows/w.yaml", "workflows/w.yaml num_epochs=2"]);
    assert_eq!(
        (found["metric"].as_str(), rows[0]["metric"].as_f64(), rows[0]["measured"].as_bool()),
        (Some("loss"), Some(0.5), Some(true))
    );
    // The file as it is has the fingerprint of what ran; the variant has not run.
    assert_eq!((rows[1]["metric"].as_f64(), rows[2]["metric"].is_null(), rows[2]["front"].as_bool()), (Some(0.5), true, Some(false)));
    let text = out(at, &["cost", "compare", "w/train", "w/other"], 0);
    assert!(text.contains("w/other: no finite value of loss.") && text.contains(" best\n"), "{text}");
    let csv = out(at, &["cost", "compare", "w/train", "-o", "csv"], 0);
    assert!(csv.starts_with("name,runs,measured,cost,") && csv.contains("\nw/train,1,true,0."), "{csv}");
    let svg = out(at, &["cost", "compare", "w/train", "w/other", "-o", "svg"], 0);
    assert!(svg.starts_with("<svg") && svg.contains("Cost against loss"), "{svg}");
    let wrong = oppen(at, &["cost", "compare", "w/tarin"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `w/train`?"));
    assert_eq!(oppen(at, &["cost", "compare", "w/train", "--variant", "a=1"]).status.code(), Some(64));
}
