//! Tracking by a real MLflow server, and by ones that are down, slow or lie.
//!
//! `OPPEN_TEST_MLFLOW` names a Python that has MLflow; without it the test of the real server says that it is skipped.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

fn oppen(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap()
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let out = oppen(folder, args);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

fn project(uri: &str, workflow: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tracking = format!("apiVersion: oppen/v1\nkind: Project\nname: tracked\ntracking: {{mlflow: {{uri: '{uri}', poll: 500ms}}}}\n");
    std::fs::write(folder.path().join("oppen.yaml"), tracking).unwrap();
    std::fs::create_dir(folder.path().join("workflows")).unwrap();
    std::fs::write(folder.path().join("workflows/w.yaml"), workflow).unwrap();
    folder
}

fn run<'v>(status: &'v Value, address: &str) -> &'v Value {
    status["runs"].as_array().unwrap().iter().find(|r| r["address"] == address).unwrap()
}

/// A server of our own on a free port, ended with the test.
struct Server {
    child: Child,
    uri: String,
}

impl Server {
    fn start(python: &str, folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let store = format!("sqlite:///{}", folder.join("mlflow.sqlite").display());
        let args = ["-m", "mlflow", "server", "--backend-store-uri", &store, "--host", "127.0.0.1", "--port", &port, "--workers", "1"];
        let log = std::fs::File::create(folder.join("server.log")).unwrap();
        let mut command = Command::new(python);
        command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // The server has children: they are ended with its process group.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let server = Self { child: command.spawn().unwrap(), uri: format!("http://127.0.0.1:{port}") };
        let start = Instant::now();
        while !server.is_up(&port) {
            assert!(start.elapsed() < Duration::from_secs(120), "{}", std::fs::read_to_string(folder.join("server.log")).unwrap());
            std::thread::sleep(Duration::from_millis(200));
        }
        server
    }

    fn is_up(&self, port: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(format!("127.0.0.1:{port}")) else { return false };
        let mut answer = String::new();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let asked = write!(stream, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").is_ok();
        asked && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Logs more points than one page holds, in pieces, and a value that is none.
const TRAIN: &str = r#"
import json, os, time
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
lr = json.loads(os.environ["OPPEN_PARAMS"])["lr"]
with mlflow.start_run() as run:
    mlflow.log_param("lr", lr)
    begin = int(time.time() * 1000)
    for part in range(3):
        points = [Metric("val_loss", lr / (1 + i), begin + i, i) for i in range(part * 800, part * 800 + 800)]
        MlflowClient().log_batch(run.info.run_id, metrics=points)
        time.sleep(0.7)
    mlflow.log_metric("odd", float("nan"), step=1)
"#;

/// What the server knows, for the test.
const ASK: &str = r#"
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
history = lambda run, name: [[m.step, m.value] for m in client.get_metric_history(run.info.run_id, name)]
print(json.dumps({r.data.tags["oppen.address"]: {"status": r.info.status, "params": r.data.params, "tags": r.data.tags,
    "loss": history(r, "loss")} for r in runs}))
"#;

#[test]
fn a_real_server_is_read_and_written() {
    let Ok(python) = std::env::var("OPPEN_TEST_MLFLOW") else {
        eprintln!("skipped: OPPEN_TEST_MLFLOW names no Python that has MLflow");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(&python, place.path());
    let workflow = format!(
        "apiVersion: oppen/v1\nkind: Workflow\nname: w\njobs:\n  logged: {{run: [{python}, train.py], matrix: {{lr: [0.5]}}}}\n  \
         silent: {{run: 'for i in 1 2 3; do echo step=$i loss=0.$i; done', matrix: {{a: [7]}}}}\n  bad: {{run: 'echo loss=1; exit 3'}}\n"
    );
    let folder = project(&server.uri, &workflow);
    std::fs::write(folder.path().join("train.py"), TRAIN).unwrap();
    let applied = oppen(folder.path(), &["apply", "--yes"]);
    assert_eq!(applied.status.code(), Some(8), "{}", String::from_utf8_lossy(&applied.stderr));

    let status = json(folder.path(), &["status", "-o", "json"]);
    let logged = run(&status, "w/logged[lr=0.5]");
    assert_eq!(logged["metrics"]["val_loss"]["count"], 2400, "every point once: {logged}");
    assert_eq!(logged["metrics"]["val_loss"]["step"], 2399);
    assert_eq!(logged["metrics"]["odd"]["last"], Value::Null, "not a number is unknown");
    let explained = json(folder.path(), &["explain", "w/logged[lr=0.5]", "-o", "json"]);
    assert!(explained["tracked"].as_str().unwrap().starts_with(&server.uri), "{explained}");

    let asked = Command::new(&python).args(["-c", ASK, &server.uri]).output().unwrap();
    let known: Value = serde_json::from_slice(&asked.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&asked.stderr)));
    assert_eq!(known.as_object().unwrap().len(), 3, "a run for each attempt: {known}");
    let silent = &known["w/silent[a=7]"];
    assert_eq!((&silent["status"], &silent["params"]["a"]), (&Value::from("FINISHED"), &Value::from("7")));
    assert_eq!(silent["loss"], serde_json::json!([[1, 0.1], [2, 0.2], [3, 0.3]]));
    assert_eq!(known["w/bad"]["status"], "FAILED");
    assert_eq!(known["w/bad"]["tags"]["oppen.outcome"], "error");
    assert!(known["w/logged[lr=0.5]"]["tags"]["oppen.cost_usd"].is_string(), "{known}");
}

const TWO: &str = "apiVersion: oppen/v1\nkind: Workflow\nname: w\njobs:\n  a: {run: 'echo loss=0.5'}\n  b: {run: 'echo loss=0.25'}\n";

fn succeeds_untracked(uri: &str, words: &str) {
    let folder = project(uri, TWO);
    let applied = oppen(folder.path(), &["apply", "--yes"]);
    assert_eq!(applied.status.code(), Some(0), "{}", String::from_utf8_lossy(&applied.stderr));
    let status = json(folder.path(), &["status", "-o", "json"]);
    for address in ["w/a", "w/b"] {
        assert_eq!(run(&status, address)["metrics"]["loss"]["count"], 1);
    }
    assert!(status.to_string().contains(words), "{words} is not in {status}");
}

#[test]
fn a_server_that_is_down_fails_no_run() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    succeeds_untracked(&format!("http://{free}"), "does not answer");
}

/// Answers every connection with the same words, or with silence.
fn answers(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut some = [0; 4096];
            let _ = stream.read(&mut some);
            if words.is_empty() {
                open.push(stream);
            } else {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{words}", words.len());
            }
        }
    });
    uri
}

#[test]
fn a_server_that_lies_fails_no_run() {
    succeeds_untracked(&answers("<html>hello\u{1b}[31m</html>"), "answers what MLflow would not");
    succeeds_untracked(&answers("[1, 2]"), "answers what MLflow would not");
}

#[test]
fn a_server_that_never_answers_holds_no_run_up() {
    succeeds_untracked(&answers(""), "w/a");
}

/// Knows a run of somebody else beside ours, and pages through runs and histories for ever. Gives what was asked.
fn pages_for_ever() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            let (mut said, mut some) = (String::new(), [0; 4096]);
            // Head and body may come in pieces; every body that matters ends with a brace.
            while !(said.contains("\r\n\r\n") && (said.starts_with("GET") || said.ends_with('}'))) {
                match stream.read(&mut some) {
                    Ok(n) if n > 0 => said += &String::from_utf8_lossy(&some[..n]),
                    _ => break,
                }
            }
            let path = said.split_whitespace().nth(1).unwrap_or_default().to_owned();
            let ours = said.split("oppen.attempt\\\" = '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or("none");
            let run = |id: &str, attempt: &str| {
                let metric = serde_json::json!({"key": "loss", "value": -9, "timestamp": number, "step": number});
                let tags = [serde_json::json!({"key": "oppen.attempt", "value": attempt})];
                serde_json::json!({"info": {"run_id": id, "status": "RUNNING"}, "data": {"tags": tags, "metrics": [metric]}})
            };
            let point = |key: &str| serde_json::json!({"key": key, "value": -9, "timestamp": number, "step": number});
            let answer = if path.contains("get-by-name") {
                serde_json::json!({"experiment": {"experiment_id": "1"}})
            } else if path.contains("runs/search") {
                serde_json::json!({"runs": [run("theirs", "somebody-else"), run("ours", ours)], "next_page_token": number.to_string()})
            } else if path.contains("get-history") {
                serde_json::json!({"metrics": [point("loss"), point("other")], "next_page_token": number.to_string()})
            } else {
                serde_json::json!({})
            };
            all.lock().unwrap().push(path);
            let words = answer.to_string();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{words}", words.len());
        }
    });
    (uri, asked)
}

#[test]
fn a_server_that_pages_for_ever_and_has_others_runs_holds_nothing_up_and_mixes_nothing_up() {
    let (uri, asked) = pages_for_ever();
    let one = "apiVersion: oppen/v1\nkind: Workflow\nname: w\njobs:\n  a: {run: 'echo acc=0.5'}\n";
    let folder = project(&uri, one);
    let applied = oppen(folder.path(), &["apply", "--yes"]);
    assert_eq!(applied.status.code(), Some(0), "{}", String::from_utf8_lossy(&applied.stderr));
    let status = json(folder.path(), &["status", "-o", "json"]);
    let a = run(&status, "w/a");
    assert_eq!((&a["status"], &a["metrics"]["acc"]["last"]), (&"succeeded".into(), &0.5.into()));
    assert!(a["metrics"].as_object().unwrap().keys().all(|name| name == "acc" || name == "loss"), "{a}");
    let asked = asked.lock().unwrap();
    let of = |word: &str| asked.iter().filter(|path| path.contains(word)).count();
    assert!(of("run_id=theirs") == 0, "the runs of others are left alone: {asked:?}");
    assert!(of("get-history") > 2 && of("get-history") <= 1000 && of("runs/search") <= 1000, "{} {}", of("get-history"), of("runs/search"));
}

#[test]
fn an_address_that_cannot_be_is_told_with_its_place() {
    let folder = project("http://user:secret@host", TWO);
    let out = oppen(folder.path(), &["validate"]);
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(4), "{said}");
    assert!(said.contains("oppen.yaml:4") && said.contains("password does not belong"), "{said}");
    let out = oppen(project("file:///tmp/mlruns", TWO).path(), &["validate"]);
    assert_eq!(out.status.code(), Some(4));
}
