//! `oppen watch`: every kind of change is seen, a broken edit keeps the last good plan, `--apply` keeps to its ceiling.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A watching process whose output is collected.
struct Watch {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Watch {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oppen"))
            .args(["watch", "--debounce", "100ms"])
            .args(args)
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn std::io::Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut pipe in pipes {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                    said.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
                }
            });
        }
        Self { child, said }
    }

    /// Waits until something new was said that holds all of these words; then that is forgotten.
    fn says(&self, words: &[&str]) {
        self.says_without("\0", words);
    }

    /// The same, and one word was not said.
    fn says_without(&self, never: &str, words: &[&str]) {
        let start = Instant::now();
        loop {
            let mut said = self.said.lock().unwrap();
            if words.iter().all(|w| said.contains(w)) {
                assert!(!said.contains(never), "{said}");
                said.clear();
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "waited for {words:?}, was told:\n{said}");
            drop(said);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn workflow(name: &str, command: &str) -> String {
    format!("apiVersion: oppen/v1\nkind: Workflow\nname: {name}\njobs:\n  a: {{run: '{command}', estimate: {{time: 60s}}}}\n")
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn every_kind_of_change_is_seen_and_a_broken_edit_keeps_the_last_good_plan() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "oppen.yaml", "apiVersion: oppen/v1\nkind: Project\nname: p\n");
    write(root, "workflows/w.yaml", &workflow("w", "echo 1"));
    write(root, "shared/t.yaml", &workflow("t", "echo t"));
    let watch = Watch::start(root, &[]);
    watch.says(&["w/a", "1 to create"]);
    // An editor's atomic save.
    write(root, "workflows/.w.tmp", &workflow("w", "echo 2"));
    std::fs::rename(root.join("workflows/.w.tmp"), root.join("workflows/w.yaml")).unwrap();
    watch.says(&["workflows/w.yaml changed", "w/a"]);
    write(root, "workflows/w.yaml", &workflow("w", "echo 2").replace("run:", "runn:"));
    watch.says(&["unknown key `runn`", "the last good plan", "stays"]);
    write(root, "workflows/w.yaml", &workflow("w", "echo 3"));
    watch.says(&["w/a"]);
    write(root, "workflows/deep/new.yaml", &workflow("n", "echo n"));
    watch.says(&["n/a", "2 to create"]);
    std::fs::rename(root.join("workflows/deep/new.yaml"), root.join("workflows/deep/renamed.yaml")).unwrap();
    watch.says(&["renamed.yaml", "changed"]);
    write(root, "workflows/u.yaml", "apiVersion: oppen/v1\nkind: Workflow\nname: u\njobs:\n  x: {uses: ../shared/t.yaml}\n");
    watch.says(&["u/x.a", "3 to create"]);
    write(root, "shared/t.yaml", &workflow("t", "echo changed"));
    watch.says(&["shared/t.yaml changed", "u/x.a"]);
    std::fs::remove_dir_all(root.join("workflows/deep")).unwrap();
    watch.says(&["changed", "2 to create"]);
}

#[test]
fn applies_what_costs_no_more_than_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "oppen.yaml", "apiVersion: oppen/v1\nkind: Project\nname: p\n");
    write(root, "workflows/w.yaml", &workflow("w", "echo first >> out"));
    let watch = Watch::start(root, &["--apply", "--max-cost", "0.01"]);
    watch.says(&["w/a", "succeeded"]);
    write(root, "workflows/w.yaml", &workflow("w", "echo second >> out"));
    watch.says(&["rerun", "succeeded"]);
    // Another job: of this one it is known by now that it takes no time at all, whatever it declares.
    write(root, "workflows/w.yaml", &workflow("w", "echo third >> out").replace("60s", "1000h").replace("a:", "b:"));
    watch.says(&["is not applied", "more than --max-cost"]);
    write(root, "workflows/w.yaml", &workflow("w", "echo fourth >> out").replace("60s", "2000h"));
    watch.says_without("Done in", &["changed", "is not applied"]);
    assert_eq!(std::fs::read_to_string(root.join("out")).unwrap(), "first\nsecond\n");
}
