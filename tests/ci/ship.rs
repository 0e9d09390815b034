//! What ships for pipelines: the GitHub Action, the GitLab template, the pre-commit hooks. Read as YAML, and their scripts run.

use std::path::PathBuf;

use serde_json::Value;

use crate::*;

fn shipped(name: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name);
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A shell with `oppen` in its path, in a repository whose last commit is an edit.
fn shell(script: &str, program: &str, env: &[(&str, &str)], lab: &Path) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_oppen")).parent().map(PathBuf::from).expect("a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("GITHUB_") || n.starts_with("CI_") || n.starts_with("GITLAB_")) {
        command.env_remove(name);
    }
    command.args(["-e", "-c", script]).current_dir(lab).env("PATH", path).env("NO_COLOR", "1").envs(env.iter().copied());
    command.output().expect(program)
}

/// The edit with prices that are the same at every hour of the week: what is shipped prices from now on.
fn at_any_hour() -> TempDir {
    let lab = edited();
    let file = lab.path().join("oppen.yaml");
    let text = std::fs::read_to_string(&file).expect("oppen.yaml");
    assert!(!text.contains("rates:"), "{text}");
    std::fs::write(&file, text + "rates: {off_peak: {factor: 1.0}}\n").expect("oppen.yaml");
    lab
}

fn two_commits() -> TempDir {
    let lab = at_any_hour();
    git(lab.path(), &["add", "-A"]);
    git(lab.path(), &["commit", "-qm", "edit"]);
    lab
}

#[test]
fn the_action_checks_and_hands_its_results_on() {
    let action = shipped("action.yml");
    assert_eq!(action["runs"]["using"].as_str(), Some("composite"));
    let steps = action["runs"]["steps"].as_array().expect("steps");
    let run = |name: &str| steps.iter().find(|s| s["name"] == name).and_then(|s| s["run"].as_str()).expect("a script").to_owned();
    // Nothing that a pull request can write stands in the text of a script.
    assert!(steps.iter().all(|s| !s["run"].as_str().unwrap_or_default().contains("${{")));
    let lab = two_commits();
    let temp = tempfile::tempdir().expect("a folder");
    let file = |name: &str| temp.path().join(name).display().to_string();
    let (output, summary) = (file("output"), file("summary"));
    let runner = temp.path().display().to_string();
    let check = |env: &[(&str, &str)]| {
        let mut all = vec![("OPPEN_BASE", ""), ("OPPEN_PATHS", ""), ("OPPEN_UNPRICED", "fail"), ("RUNNER_TEMP", runner.as_str())];
        all.extend([("GITHUB_OUTPUT", output.as_str()), ("GITHUB_STEP_SUMMARY", summary.as_str())]);
        all.extend(env);
        let done = shell(&run("Check"), "bash", &all, lab.path());
        assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let text = check(&[]);
    assert!(text.contains("Compared with HEAD^ (") && text.contains("\n::error file=workflows/vision.yaml,line=20,"), "{text}");
    let read = |path: &str| std::fs::read_to_string(path).expect(path);
    assert!(read(&output).starts_with("exit-code=3\nreport="), "{}", read(&output));
    assert!(read(&summary).starts_with("<!-- oppen:ci:lab -->\n"), "{}", read(&summary));
    let report: Value = serde_json::from_str(&read(&file("oppen/report.json"))).expect("JSON");
    assert_eq!(report["blocked"].as_bool(), Some(true));
    assert!(check(&[("OPPEN_PATHS", "workflows/nlp.yaml")]).contains("- nlp/old"));
    let code = shell(&run("Verdict"), "bash", &[("OPPEN_CODE", "3")], lab.path()).status.code();
    assert_eq!(code, Some(3));
    assert!(shell(&run("Install"), "bash", &[], lab.path()).status.success(), "what is in the path is not built again");
    // Without a way to comment the step warns, and does not decide.
    let env = [("RUNNER_TEMP", runner.as_str()), ("OPPEN_BEHAVIOR", "update"), ("OPPEN_MIN_DELTA", "1"), ("GITHUB_TOKEN", "")];
    let done = shell(&run("Comment"), "bash", &env, lab.path());
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("::warning title=oppen::"), "{done:?}");
}

#[test]
fn the_gitlab_job_checks() {
    let template = shipped("ci/gitlab.yml");
    let job = &template["oppen"];
    let script = job["script"][0].as_str().expect("a script");
    let lab = two_commits();
    let base = Command::new("git").args(["rev-parse", "main"]).current_dir(lab.path()).output().expect("git");
    let base = String::from_utf8_lossy(&base.stdout).trim().to_owned();
    let done = shell(script, "sh", &[("OPPEN_UNPRICED", "fail"), ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &base)], lab.path());
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stderr));
    let junit = job["artifacts"]["reports"]["junit"].as_str().expect("a report");
    assert!(std::fs::read_to_string(lab.path().join(junit)).expect("JUnit").contains("failures=\"1\""));
    assert_eq!(job["variables"]["GIT_DEPTH"].as_str(), Some("0"));
}

#[test]
fn the_hooks_run_on_what_is_to_be_committed() {
    let hooks = shipped(".pre-commit-hooks.yaml");
    let entry = |id: &str| {
        hooks.as_array().and_then(|all| all.iter().find(|h| h["id"] == id)).expect("a hook")["entry"].as_str().expect("an entry").to_owned()
    };
    let lab = at_any_hour();
    // As git runs hooks: with its own variables, which must not lead elsewhere.
    let env = [("GIT_INDEX_FILE", ".git/index"), ("GIT_DIR", ".git")];
    assert!(shell(&entry("oppen-validate"), "sh", &env, lab.path()).status.success());
    let done = shell(&entry("oppen-ci"), "sh", &env, lab.path());
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("blocked: workflow vision would spend"));
    write(lab.path(), &[("workflows/nlp.yaml", "kind: Workflow\n")]);
    assert_eq!(shell(&entry("oppen-validate"), "sh", &env, lab.path()).status.code(), Some(4));
}
