//! Plan and apply on this machine, end to end: real files, real processes, real kills.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Project(tempfile::TempDir);

impl Project {
    fn new(jobs: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.write("oppen.yaml", "apiVersion: oppen/v1\nkind: Project\nname: test\n");
        project.write("workflows/w.yaml", &format!("apiVersion: oppen/v1\nkind: Workflow\nname: w\njobs:\n{jobs}"));
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn edit(&self, from: &str, to: &str) {
        let path = self.path().join("workflows/w.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
        command.args(args).current_dir(self.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    fn oppen(&self, args: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        (status.code().unwrap_or(-1), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.command(args).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stdout)))
    }

    fn runs(&self) -> Vec<Value> {
        self.json(&["status", "-o", "json"])["runs"].as_array().cloned().unwrap()
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(30), "waited for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap_or_default()
    }
}

/// Three trainings that count how often they ran, and a report.
const COUNTED: &str = "  prepare: {run: 'echo p >> count; echo data > data.txt', outputs: [data.txt]}
  train: {needs: [prepare], run: 'echo t{{ params.lr }} >> count; echo loss={{ params.lr }}', matrix: {lr: [1, 2, 3]}, metric: {name: loss, goal: minimize}}
  report: {needs: [train], run: 'echo r{{ needs.train.best.params.lr }} >> count'}
";

#[test]
fn a_second_apply_has_nothing_to_do_and_an_edit_reruns_only_what_it_reaches() {
    let project = Project::new(COUNTED);
    assert_eq!(project.oppen(&["plan", "--detailed-exitcode"]).0, 2);
    assert_eq!(project.oppen(&["apply"]).0, 0);
    assert_eq!(project.read("count").lines().count(), 5);
    let (code, text) = project.oppen(&["apply"]);
    assert!(code == 0 && text.contains("Nothing to change"), "{text}");
    assert_eq!(project.oppen(&["plan", "--detailed-exitcode"]).0, 0);
    project.edit("lr: [1, 2, 3]", "lr: [1, 2, 5]");
    let plan = project.json(&["plan", "-o", "json"]);
    let actions: Vec<String> = plan["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {}", r["action"].as_str().unwrap(), r["address"].as_str().unwrap()))
        .collect();
    assert_eq!(actions, ["create w/train[lr=5]", "rerun w/report", "forget w/train[lr=3]"]);
    assert_eq!(project.oppen(&["apply"]).0, 0);
    assert_eq!(project.read("count").lines().count(), 7);
    assert_eq!(project.oppen(&["plan", "--detailed-exitcode"]).0, 0);
    // Back again: the finished result serves, nothing runs but what is downstream of a change.
    project.edit("lr: [1, 2, 5]", "lr: [1, 2, 3]");
    let plan = project.json(&["plan", "-o", "json"]);
    assert!(plan["runs"].as_array().unwrap().iter().any(|r| r["action"] == "reuse" && r["address"] == "w/train[lr=3]"), "{plan:#}");
}

#[test]
fn a_param_that_changes_in_place_is_named() {
    let project = Project::new("  a: {run: [echo, \"{{ params.lr }}\"], sweep: {method: grid, parameters: {lr: {values: [0.1]}}}}\n");
    assert_eq!(project.oppen(&["apply"]).0, 0);
    project.edit("[0.1]", "[0.01]");
    let plan = project.json(&["plan", "-o", "json"]);
    assert_eq!(plan["runs"][0]["reasons"], serde_json::json!([{"key": "params.lr", "before": "0.1", "after": "0.01"}]));
    project.edit("run: [echo", "priority: urgent, run: [echo");
    project.edit("[0.01]", "[0.1]");
    assert_eq!(project.oppen(&["plan", "--detailed-exitcode"]).0, 0, "a finished run does not run again for another priority");
}

#[test]
fn killed_at_any_time_no_run_is_doubled_and_none_is_lost() {
    let project = Project::new(
        "  a: {run: 'echo s >> n-{{ params.i }}; sleep 0.3', matrix: {i: {range: [0, 12]}}}\n  z: {needs: [a], run: 'cat n-* > all'}\n",
    );
    for wait in [50, 150, 400, 700] {
        let mut apply = project.start(&["apply", "--lock-timeout", "5s"]);
        std::thread::sleep(Duration::from_millis(wait));
        apply.kill().unwrap();
        apply.wait().unwrap();
    }
    let (code, text) = project.oppen(&["apply"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(project.read("all").lines().count(), 12, "each run ran once");
    assert!(project.runs().iter().all(|r| r["status"] == "succeeded" && r["attempts"].as_array().unwrap().len() == 1));
}

#[test]
fn outputs_that_are_missing_or_changed_are_drift_and_are_put_back() {
    let project = Project::new(COUNTED);
    assert_eq!(project.oppen(&["apply"]).0, 0);
    std::fs::remove_file(project.path().join("data.txt")).unwrap();
    assert_eq!(project.oppen(&["plan", "--detailed-exitcode"]).0, 6);
    assert_eq!(project.oppen(&["apply"]).0, 0);
    assert_eq!(project.read("data.txt"), "data\n");
    assert_eq!(project.read("count").lines().count(), 5, "nothing ran");
    project.write("data.txt", "by hand\n");
    assert_eq!(project.oppen(&["plan", "--detailed-exitcode"]).0, 6);
    let (_, text) = project.oppen(&["apply"]);
    assert!(project.read("data.txt") == "data\n" && text.contains("is kept as"), "{text}");
}

#[test]
fn saved_plans_are_obeyed_or_stale() {
    let project = Project::new("  a: {run: 'echo a >> count'}\n");
    assert_eq!(project.oppen(&["plan", "--save", "plan.json"]).0, 0);
    assert_eq!(project.oppen(&["apply", "plan.json"]).0, 0);
    assert_eq!(project.read("count"), "a\n");
    assert_eq!(project.oppen(&["apply", "plan.json"]).0, 5, "the state has moved on");
    assert_eq!(project.read("count"), "a\n");
    project.edit("echo a", "echo b");
    assert_eq!(project.oppen(&["apply", "--expect", "0000000000000000"]).0, 5);
    let id = project.json(&["plan", "-o", "json"])["plan_id"].as_str().unwrap().to_owned();
    assert_eq!(project.oppen(&["apply", "--expect", &id]).0, 0);
    project.write("broken.json", "{\"format_version\": 1}");
    assert_eq!(project.oppen(&["apply", "broken.json"]).0, 5);
}

#[test]
fn a_detached_apply_does_what_was_agreed_or_ends_with_5() {
    let project = Project::new("  a: {run: 'echo a >> count'}\n");
    assert_eq!(project.oppen(&["apply", "--target", "w/a"]).0, 0);
    // A pipe in place of the log: the parent waits there, after it gave the lock back and before it starts its child.
    let log = project.path().join(".oppen/apply.log");
    let held = |between: &dyn Fn()| {
        let _ = std::fs::remove_file(&log);
        assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
        let parent = project.command(&["apply", "--detach"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let kept = project.path().join(format!(".oppen/detached-{}.json", parent.id()));
        project.until("the plan to be kept", || kept.exists());
        between();
        let log = log.clone();
        let reader = std::thread::spawn(move || std::fs::read_to_string(log).unwrap());
        let out = parent.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(!kept.exists(), "the plan is taken, or cleaned up");
        (out.status.code(), told, reader)
    };
    project.edit("echo a", "echo b");
    let (code, told, _) = held(&|| project.edit("echo b", "echo c"));
    assert!(code == Some(0) && told.contains("in the background"), "{code:?} {told}");
    project.until("it to be over", || project.runs()[0]["status"] == "succeeded" && project.runs()[0]["generation"] == 2);
    assert_eq!(project.read("count"), "a\nb\n", "the files of now are not what was agreed");
    project.until("the lock to be free", || !project.oppen(&["lock", "list"]).1.contains("pid"));
    let (code, told, log) = held(&|| assert_eq!(project.oppen(&["apply"]).0, 0));
    assert!(code == Some(5) && told.contains("the apply in the background is over"), "{code:?} {told}");
    assert!(log.join().unwrap().contains("the plan is stale"));
    assert_eq!(project.read("count"), "a\nb\nc\n", "once, by the other apply");
    let (code, told) = project.oppen(&["apply", "--detach"]);
    assert!(code == 0 && told.contains("Nothing to change") && !told.contains("background"), "{told}");
}

#[test]
fn two_applies_at_once_the_second_is_told_who_and_changes_nothing() {
    let project = Project::new("  a: {run: 'sleep 1; echo a >> count'}\n");
    let mut first = project.start(&["apply"]);
    project.until("the first to start", || {
        project.path().join(".oppen/state.db").exists() && project.oppen(&["lock", "list"]).1.contains("pid")
    });
    let (code, text) = project.oppen(&["apply"]);
    assert!(code == 7 && text.contains(&format!("pid {}", first.id())), "{code} {text}");
    assert!(first.wait().unwrap().success());
    assert_eq!(project.read("count"), "a\n");
}

#[test]
fn failures_are_retried_by_cause_and_skip_what_needs_them() {
    let project = Project::new(
        "  flaky: {run: 'test -e mark || { touch mark; exit 7; }', retry: {errors: 1, backoff: 100ms}}
  bad: {run: 'exit 3', retry: {backoff: 100ms}}
  after: {needs: [bad], run: 'echo no'}
  slow: {run: 'sleep 60', timeout: 300ms, grace: 100ms}
",
    );
    let (code, text) = project.oppen(&["apply"]);
    assert_eq!(code, 8, "{text}");
    let runs = project.runs();
    let run = |name: &str| runs.iter().find(|r| r["address"] == format!("w/{name}")).cloned().unwrap();
    assert_eq!((run("flaky")["status"].as_str(), run("flaky")["attempts"].as_array().map(Vec::len)), (Some("succeeded"), Some(2)));
    assert_eq!(run("bad")["attempts"][0]["outcome"]["exit_code"], 3);
    assert_eq!((run("after")["status"].as_str(), run("after")["because"].as_str()), (Some("skipped"), Some("w/bad")));
    assert_eq!(run("slow")["attempts"][0]["outcome"]["cause"], "timeout");
    project.edit("exit 3", "exit 0");
    project.edit("sleep 60", "true");
    assert_eq!(project.oppen(&["apply"]).0, 0);
}

#[test]
fn a_disk_that_is_full_starts_nothing_and_says_where_the_rest_is() {
    let project = Project::new("  a: {run: 'echo a >> count', matrix: {i: {range: [0, 300]}}}\n");
    let oppen = env!("CARGO_BIN_EXE_oppen");
    // Files may grow to 60 KiB: the journal of three hundred runs is larger.
    let script = format!("trap '' XFSZ; ulimit -f 60; exec {oppen} apply");
    let out = Command::new("sh").args(["-c", &script]).current_dir(project.path()).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot be written") || text.contains("could not be stored"), "{text}");
    assert_eq!(project.read("count"), "", "nothing started without a durable intent");
    assert_eq!(project.oppen(&["apply"]).0, 0, "with space again, everything runs");
    assert_eq!(project.read("count").lines().count(), 300);
}

#[test]
fn a_secret_is_nowhere_but_in_the_process() {
    let project = Project::new("  a: {run: 'test ${#TOKEN} = 13', secrets: {TOKEN: MY_TOKEN}}\n");
    let out = project.command(&["apply"]).env("MY_TOKEN", "sentinel-5f2c").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let found = Command::new("grep").args(["-r", "-l", "sentinel-5f2c", ".oppen"]).current_dir(project.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn an_interrupt_lets_runs_end_and_a_second_one_cancels_them() {
    let project = Project::new("  a: {run: 'while [ ! -e go ]; do sleep 0.05; done; echo a >> count', matrix: {i: {range: [0, 6]}}}\n");
    let signal = |child: &Child| assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let running = || project.runs().iter().filter(|run| run["status"] == "running").count();
    let mut apply = project.start(&["apply"]);
    project.until("three to run", || project.path().join(".oppen/state.db").exists() && running() == 3);
    signal(&apply);
    std::thread::sleep(Duration::from_millis(400));
    project.write("go", "");
    assert_eq!(apply.wait().unwrap().code(), Some(130));
    assert_eq!(project.read("count").lines().count(), 3, "what ran went on to its end, nothing new was launched");
    std::fs::remove_file(project.path().join("go")).unwrap();
    let mut apply = project.start(&["apply"]);
    project.until("the others to run", || running() == 3);
    signal(&apply);
    std::thread::sleep(Duration::from_millis(400));
    signal(&apply);
    assert_eq!(apply.wait().unwrap().code(), Some(130));
    assert_eq!(project.runs().iter().filter(|r| r["status"] == "cancelled").count(), 3);
}

#[test]
fn the_plans_json_fits_its_schema() {
    let project = Project::new(COUNTED);
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/plan.json")).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for round in 0..2 {
        let plan = project.json(&["plan", "-o", "json"]);
        let errors: Vec<String> = schema.iter_errors(&plan).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "round {round}: {errors:?}");
        project.oppen(&["apply"]);
        if round == 0 {
            project.edit("echo t", "echo u");
        }
    }
}

#[test]
fn a_plan_of_other_files_leaves_runs_alone() {
    let project = Project::new("  a: {run: 'echo loss=1'}\n");
    project.write("other/x.yaml", "apiVersion: oppen/v1\nkind: Workflow\nname: x\njobs:\n  b: {run: 'true'}\n");
    assert_eq!(project.oppen(&["apply"]).0, 0);
    assert_eq!(project.oppen(&["apply", "other/x.yaml"]).0, 0);
    assert_eq!(project.oppen(&["plan", "--detailed-exitcode"]).0, 0, "x is not of the project's own files");
    assert_eq!(project.oppen(&["plan", "other", "--detailed-exitcode"]).0, 0);
    project.write("other/x.yaml", "apiVersion: oppen/v1\nkind: Workflow\nname: x\njobs:\n  c: {run: 'true'}\n");
    let plan = project.json(&["plan", "other", "-o", "json"]);
    let actions: Vec<String> = plan["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {}", r["action"].as_str().unwrap(), r["address"].as_str().unwrap()))
        .collect();
    assert_eq!(actions, ["create x/c", "forget x/b"]);
    std::fs::remove_file(project.path().join("workflows/w.yaml")).unwrap();
    project.write("workflows/v.yaml", "apiVersion: oppen/v1\nkind: Workflow\nname: v\njobs:\n  a: {run: 'echo loss=1'}\n");
    let plan = project.json(&["plan", "-o", "json"]);
    let actions: Vec<String> = plan["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {}", r["action"].as_str().unwrap(), r["address"].as_str().unwrap()))
        .collect();
    assert_eq!(actions, ["reuse v/a", "forget w/a"], "the same work under another name is not done again");
}

#[test]
fn the_plans_text_fits_80_columns_and_says_what_is_known() {
    let project = Project::new(
        "  a: {run: 'echo {{ params.i }}', matrix: {i: {range: [0, 7]}}, resources: {cpu: 1, memory: 1Gi}, estimate: {time: 100m}}\n",
    );
    project.write(
        "oppen.yaml",
        "apiVersion: oppen/v1\nkind: Project\nname: test\npool: {max_concurrent: 1, quotas: {gpu: 2, cpu: 16, memory: 32Gi}}\n",
    );
    let text = project.oppen(&["plan"]).1;
    let end: String = text.lines().skip_while(|l| !l.starts_with("Pool")).map(|l| format!("{l}\n")).collect();
    let id = project.json(&["plan", "-o", "json"])["plan_id"].as_str().unwrap().to_owned();
    let cost = text.split("Expected ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(
        end.replace(&id, "ID").replace(&cost, "COST"),
        "Pool (local, 1 at a time, 2 GPUs, 16 cores, 32Gi): done at +11h40m,
  starts 1 now, 1 at +1h40m, 1 at +3h20m, 1 at +5h, 1 at +6h40m, 2 more waves
Plan ID: 7 to create. Expected COST,
  at worst unknown (7 runs have no timeout).
"
    );
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
}

#[test]
fn a_job_stands_once_and_many_runs_are_named_where_one_is_wanted() {
    let project = Project::new("  a: {run: 'echo loss={{ params.i }}', matrix: {i: [1, 2, 3]}}\n  b: {needs: [a], run: 'true'}\n");
    assert_eq!(project.oppen(&["apply"]).0, 0);
    project.edit("[1, 2, 3]", "[1, 2, 4]");
    assert_eq!(project.oppen(&["apply"]).0, 0);
    project.edit("[1, 2, 4]", "[1, 2, 3]");
    assert_eq!(project.oppen(&["apply"]).0, 0);
    let (_, text) = project.oppen(&["status"]);
    assert_eq!(text.matches("w/a (3 runs)").count(), 1, "{text}");
    let (_, text) = project.oppen(&["status", "--expand"]);
    assert!(!text.contains("result of w/a[i=3]") && text.contains("w/a[i=3]"), "{text}");
    for command in ["logs", "explain"] {
        let (code, text) = project.oppen(&[command, "w/a"]);
        let said = format!(
            "error: `w/a` has 3 runs, and `{command}` shows one\n  help: oppen {command} ADDRESS, with one of 'w/a[i=1]', 'w/a[i=2]', 'w/a[i=3]'\n"
        );
        assert_eq!((code, text), (64, said));
    }
}

#[test]
fn where_runs_are_jobs_a_state_that_cannot_be_read_is_not_all() {
    let project = Project::new("  a: {run: 'true'}\n");
    project.write(".oppen/state.db", &"no database ".repeat(1000));
    let hint = "oppen status --from-cluster";
    let (code, text) = project.oppen(&["status"]);
    assert!(code == 1 && text.contains("is damaged") && !text.contains(hint), "{text}");
    project.write("oppen.yaml", "apiVersion: oppen/v1\nkind: Project\nname: test\nbackend: kubernetes\n");
    let (code, text) = project.oppen(&["status"]);
    assert!(code == 1 && text.contains("is damaged") && text.contains(hint), "{text}");
    let out = project.command(&["status", "--from-cluster"]).env("KUBECONFIG", "/nowhere").env("HOME", "/nowhere").output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && text.contains("kubeconfig"), "{text}");
    assert_eq!(project.oppen(&["status", "--from-cluster", "state:failed"]).0, 64);
}
