//! `dashboard` and `health`: the real engine, real processes, and sources that are missing, hang, lie or send far too much.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "monitor/live.rs"]
mod live;

struct Project(tempfile::TempDir);

const HEAD: &str = "apiVersion: oppen/v1\nkind: Project\nname: vision\npool: {max_concurrent: 1, quotas: {gpu: 1, cpu: 8, memory: 16Gi}}\n\
    rates: {off_peak: {factor: 1}}\nbudget: {limit: 5 USD}\n";
const WORKFLOW: &str = "apiVersion: oppen/v1
kind: Workflow
name: w
jobs:
  prepare:
    run: [sh, -c, 'true']
  fail:
    run: [sh, -c, 'exit 3']
  train:
    needs: [prepare]
    run: [sh, -c, 'echo \"epoch=1 loss=0.5\"; printf \"\\033]0;owned\\007 plain\\n\"; sleep 60']
    resources: {gpu: 1, cpu: 1, memory: 1Gi}
    estimate: {epochs: 2, per_epoch: 600s}
    matrix: {seed: [1, 2]}
";

impl Project {
    fn new(more: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(project.path().join("workflows")).unwrap();
        std::fs::write(project.path().join("oppen.yaml"), format!("{HEAD}{more}")).unwrap();
        std::fs::write(project.path().join("workflows/w.yaml"), WORKFLOW).unwrap();
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
        command.args(args).current_dir(self.path()).env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8").env_remove("KUBECONFIG");
        command.env("KUBECONFIG", self.path().join("none")).stdin(Stdio::null());
        command
    }

    fn oppen(&self, args: &[&str]) -> (i32, String) {
        let out = self.command(args).output().unwrap();
        (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
    }

    fn json(&self, args: &[&str]) -> Value {
        let (code, text) = self.oppen(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{code} {e}: {text}"))
    }

    /// Findings of a check: level and message.
    fn findings(&self, check: &str) -> Vec<(String, String)> {
        let report = self.json(&["health"]);
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let all = report["findings"].as_array().unwrap().iter().filter(|f| f["check"] == check);
        all.map(|f| (text(&f["level"]), text(&f["message"]))).collect()
    }

    /// Applies, and waits until a run trains and has said something.
    fn start(&self) {
        let (code, text) = self.oppen(&["apply", "--yes", "--detach"]);
        assert_eq!(code, 0, "{text}");
        self.until("a run that trains", || {
            let seen = self.json(&["dashboard"]);
            seen["seen"]["record"]["value"]["running"].as_array().is_some_and(|r| r.iter().any(|r| r["progress"]["done"] == 1))
        });
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < until, "{what} did not come: {}", self.oppen(&["dashboard"]).1);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn stop(&self) {
        self.oppen(&["cancel", "*"]);
        self.until("the end of all", || {
            let counts = self.json(&["dashboard"])["seen"]["record"]["value"]["counts"].clone();
            counts["running"].is_null() && counts["pending"].is_null() && counts["stopping"].is_null()
        });
    }
}

/// A server that does to each caller what it is told.
fn server(each: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let each = std::sync::Arc::new(each);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = std::sync::Arc::clone(&each);
            std::thread::spawn(move || each(stream));
        }
    });
    format!("http://{address}")
}

fn hangs() -> String {
    server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        std::thread::sleep(Duration::from_secs(60));
    })
}

#[test]
fn a_new_project_is_healthy_and_its_screen_says_that_nothing_runs() {
    let project = Project::new("");
    let (code, text) = project.oppen(&["health"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("i note     store         nothing was applied here yet"), "{text}");
    let (code, text) = project.oppen(&["dashboard"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("runs      nothing was applied here yet"), "{text}");
    let seen = project.json(&["dashboard"]);
    let record = &seen["seen"]["record"];
    assert_eq!((&record["quality"], record.get("value")), (&Value::from("absent"), None), "nothing is made up: {record}");
    assert!(!project.path().join(".oppen").exists(), "a look leaves nothing behind");
}

const DECLARED: &str = "declared; no run has shown how far off that is";

/// Ends, costs and the next action are those of `oppen cost`.
fn one_truth(project: &Project, seen: &Value) {
    let dollars = |v: &Value| v.as_str().unwrap().parse::<f64>().unwrap();
    let running = &seen["seen"]["record"]["value"]["running"][0];
    let told = &project.json(&["cost", "forecast", "w/train[seed=1]"])["runs"][0];
    // It reported its first epoch at once, and is declared to take twenty minutes.
    assert_eq!((&running["eta"]["basis"], &told["basis"]), (&DECLARED.into(), &DECLARED.into()));
    assert_eq!(dollars(&running["expected_cost"]), dollars(&told["total"]["expected"]));
    let advice = &seen["seen"]["advice"];
    let report = &project.json(&["cost", "recommend", "w/train"])["jobs"][0];
    let first =
        report["advice"].as_array().unwrap().iter().find(|a| a["at_most"] == false && a["settings"] != serde_json::json!([])).unwrap();
    let next = &advice["value"];
    assert_eq!((&advice["quality"], &advice["source"]), (&"fresh".into(), &"oppen cost recommend".into()));
    assert_eq!((&next["command"], &next["because"]), (&"oppen cost recommend w/train".into(), &first["title"]));
    assert_eq!((&next["saves"], &next["of"]), (&first["saves"], &report["base"]));
}

#[test]
fn the_screen_shows_what_runs_waits_and_costs() {
    let project = Project::new("");
    project.start();
    let seen = project.json(&["dashboard"]);
    let record = &seen["seen"]["record"]["value"];
    let running = &record["running"][0];
    assert_eq!(
        (&running["address"], &running["metrics"][0]["name"], &running["metrics"][0]["value"]),
        (&Value::from("w/train[seed=1]"), &Value::from("loss"), &Value::from(0.5))
    );
    assert_eq!(running["progress"], serde_json::json!({"unit": "epochs", "done": 1, "total": 2}));
    let waiting = &record["queue"]["first"][0];
    assert_eq!((&waiting["address"], &waiting["position"]), (&Value::from("w/train[seed=2]"), &Value::from(1)));
    assert!(waiting["why"].as_str().unwrap().contains("1 of 1 runs at a time"), "{waiting}");
    assert!(waiting["start"].is_string() && waiting["cost"].is_string(), "{waiting}");
    assert_eq!((&record["counts"]["failed"], &record["counts"]["succeeded"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(record["held"]["gpus"], 1);
    one_truth(&project, &seen);
    let processes = seen["seen"]["processes"]["value"].as_array().unwrap();
    assert_eq!(processes[0]["address"], "w/train[seed=1]");
    assert!(processes[0]["rss_bytes"].as_u64().unwrap() > 0, "{processes:?}");
    let (_, text) = project.oppen(&["dashboard"]);
    for part in [
        "w/train[seed=1]",
        "1/2 epochs, loss 0.5",
        "1. w/train[seed=2]",
        "last failure w/fail: exit status 3",
        "50%",
        "project vision",
        "machine   CPU ",
        "next      oppen cost recommend w/train",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let (code, health) = project.oppen(&["health"]);
    assert_eq!(code, 0, "{health}");
    assert!(health.contains("1 live, each shows signs of life"), "{health}");
    // The same with no patience at all: nothing was seen of it for 0 s, and it sleeps.
    let (code, health) = project.oppen(&["health", "--stuck-after", "1ms"]);
    assert_eq!(code, 1, "{health}");
    assert!(health.contains("w/train[seed=1] seems stuck"), "{health}");
    live::drive(&project);
    project.stop();
}

#[test]
fn a_store_that_is_damaged_newer_or_held_is_said_and_everything_else_is_shown() {
    let project = Project::new("");
    std::fs::create_dir(project.path().join(".oppen")).unwrap();
    let file = project.path().join(".oppen/state.db");
    std::fs::write(&file, vec![b'x'; 8192]).unwrap();
    let found = project.findings("store");
    assert!(found[0].0 == "problem" && found[0].1.contains("is damaged"), "{found:?}");
    let (code, text) = project.oppen(&["dashboard"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("is damaged") && text.contains("machine   CPU "), "{text}");
    std::fs::remove_file(&file).unwrap();
    let db = rusqlite::Connection::open(&file).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    let found = project.findings("store");
    assert!(found[0].0 == "problem" && found[0].1.contains("has format 99"), "{found:?}");
    drop(db);
    std::fs::remove_file(&file).unwrap();
    let (code, text) = project.oppen(&["apply", "--yes", "--target", "w/prepare"]);
    assert_eq!(code, 0, "{text}");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let found = project.findings("store");
    assert!(found[0].0 == "problem" && (found[0].1.contains("locked") || found[0].1.contains("no answer")), "{found:?}");
}

#[test]
fn sources_that_hang_or_lie_or_send_too_much_hold_up_nobody() {
    let flood = server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let piece = vec![b'#'; 1 << 20];
        while stream.write_all(&piece).is_ok() {}
    });
    let more = format!("monitor: {{dcgm: {flood}/metrics}}\ntracking: {{mlflow: {{uri: {}}}}}\n", hangs());
    let project = Project::new(&more);
    let (code, text) = project.oppen(&["apply", "--yes", "--target", "w/prepare"]);
    assert_eq!(code, 0, "{text}");
    let found = project.findings("MLflow");
    assert!(found[0].0 == "problem" && found[0].1.starts_with("no answer within "), "{found:?}");
    let found = project.findings("DCGM");
    assert!(found[0].1.contains("answers more than 8 MiB") || found[0].1.starts_with("no answer within "), "{found:?}");
    assert_eq!(project.findings("store")[0].0, "ok");
    let (code, text) = project.oppen(&["dashboard"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("MLflow no answer within") && text.contains("1 succeeded"), "{text}");
    let lies = server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let body =
            "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"u\",modelName=\"\u{1b}[31mT4\"} NaN\nDCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"u\"} 1e300\n";
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    });
    let project = Project::new(&format!("monitor: {{dcgm: {lies}/metrics}}\n"));
    let gpu = project.json(&["dashboard"])["seen"]["cluster_gpus"]["value"][0].clone();
    assert_eq!((gpu.get("percent"), gpu.get("memory_used")), (None, None), "what is no number is no figure: {gpu}");
}

#[test]
fn broken_files_and_missing_clusters_are_problems_with_a_hint() {
    let project = Project::new("backend: kubernetes\n");
    let (code, text) = project.oppen(&["health"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no usable kubeconfig") && text.contains("help: "), "{text}");
    let project = Project::new("bugdet: 3\n");
    let (code, text) = project.oppen(&["health", "--quiet"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("✗ problem  project       "), "{text}");
    let (code, text) = project.oppen(&["health", "--stuck-after", "soon"]);
    assert_eq!(code, 64, "{text}");
}
