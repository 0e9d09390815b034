//! `oppen ci`, policies and quotas, with the real binary and real git repositories.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn oppen(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").output().unwrap_or_else(|e| panic!("oppen {args:?}: {e}"))
}

/// Runs in a folder and insists on an exit code; standard output comes back.
fn out(folder: &Path, args: &[&str], code: i32) -> String {
    let output = oppen(folder, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "oppen {}\n--- stdout\n{out}\n--- stderr\n{err}", args.join(" "));
    out.into_owned()
}

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), files);
    folder
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
}

const LAB: &str = "apiVersion: oppen/v1\nkind: Project\nname: lab\npool: {max_concurrent: 8, quotas: {gpu: 8}}\n";

const TEAM: &str = "\
apiVersion: oppen/v1
kind: Workflow
name: a
team: vision
jobs:
  train:
    run: [echo, hi]
    matrix: {seed: [1, 2, 3]}
    resources: {gpu: 1, cpu: 1, memory: 1Gi}
    estimate: {time: 1h}
    timeout: 2h
";

#[test]
fn a_team_waits_for_its_own_quota_and_plan_says_where_that_is_written() {
    let project = format!("{LAB}teams:\n  vision: {{gpu: 2, max_run_cost: 1 USD}}\n");
    let lab = folder(&[("oppen.yaml", &project), ("workflows/a.yaml", TEAM)]);
    let plan = out(lab.path(), &["plan"], 0);
    assert!(plan.contains("starts 2 now, 1 at +1h"), "{plan}");
    let wait = "warning: team vision holds 2 of 2 GPUs at the start: 1 run waits for it (oppen.yaml:6) [quota]";
    assert!(plan.contains(wait), "{plan}");
    // What the team can never hold is refused, with both places.
    write(lab.path(), &[("workflows/a.yaml", &TEAM.replace("gpu: 1", "gpu: 4"))]);
    let plan = out(lab.path(), &["plan"], 3);
    assert!(
        plan.contains("blocked: a/train asks for 4 GPUs, team vision has 2 (workflows/a.yaml:6) (rule: oppen.yaml:6) [quota]"),
        "{plan}"
    );
    assert!(plan.contains("budget is $1.00 (workflows/a.yaml:6) (rule: oppen.yaml:6) [budget]"), "{plan}");
    // A slip in the team's name escapes no quota unseen.
    write(lab.path(), &[("workflows/a.yaml", &TEAM.replace("vision", "visoin"))]);
    let plan = out(lab.path(), &["plan"], 0);
    assert!(plan.contains("belongs to team visoin, which `teams` does not name"), "{plan}");
    assert!(plan.contains("help: did you mean `vision`?"), "{plan}");
}
