//! A project in a folder of its own, and the real binary in it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub struct Project(tempfile::TempDir);

impl Project {
    /// One workflow `w` with these jobs; `project` are further lines of `oppen.yaml`.
    pub fn new(project: &str, jobs: &str) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(made.path().join("workflows")).unwrap();
        let head = |kind: &str, name: &str| format!("apiVersion: oppen/v1\nkind: {kind}\nname: {name}\n");
        std::fs::write(made.path().join("oppen.yaml"), format!("{}{project}", head("Project", "test"))).unwrap();
        std::fs::write(made.path().join("workflows/w.yaml"), format!("{}jobs:\n{jobs}", head("Workflow", "w"))).unwrap();
        made
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn edit(&self, from: &str, to: &str) {
        let path = self.path().join("workflows/w.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
        command.args(args).current_dir(self.path()).env("NO_COLOR", "1").env("COLUMNS", "80").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    /// Exit code and all that was printed.
    pub fn oppen(&self, args: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        (status.code().unwrap_or(-1), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    /// Insists on an exit code.
    pub fn expect(&self, args: &[&str], code: i32) -> String {
        let (found, text) = self.oppen(args);
        assert_eq!(found, code, "oppen {}\n{text}", args.join(" "));
        text
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.command(args).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stdout)))
    }

    pub fn runs(&self) -> Vec<Value> {
        self.json(&["status", "-o", "json"])["runs"].as_array().cloned().unwrap()
    }

    /// Statuses of a job's runs, in the order of their numbers.
    pub fn statuses(&self, job: &str) -> Vec<String> {
        let mut runs = self.runs();
        runs.retain(|r| r["address"].as_str().unwrap().split('[').next() == Some(job));
        let number = |r: &Value| {
            let address = r["address"].as_str().unwrap().to_owned();
            address.split(['[', ']']).nth(1).and_then(|k| k.parse::<u64>().ok())
        };
        runs.sort_by_key(number);
        runs.iter().map(|r| r["status"].as_str().unwrap().to_owned()).collect()
    }

    /// Actions of the next plan, as `action address`.
    pub fn plan(&self) -> Vec<String> {
        let plan = self.json(&["plan", "-o", "json"]);
        let runs = plan["runs"].as_array().unwrap().clone();
        runs.iter().map(|r| format!("{} {}", r["action"].as_str().unwrap(), r["address"].as_str().unwrap())).collect()
    }

    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(60), "waited for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap_or_default()
    }
}
