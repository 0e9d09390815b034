//! The full screen, driven in tmux: keys, a log, a resize, a cancel with its question, leaving, and SIGTERM.

use std::process::Command;
use std::time::{Duration, Instant};

use super::Project;

struct Tmux {
    socket: String,
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

impl Tmux {
    /// A terminal of 80 columns and 24 lines that shows it, and then what it left with and how the terminal is set.
    fn start(project: &Project, name: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: the full screen is driven in tmux, and there is none (./test installs it)");
            return None;
        }
        let tmux = Self { socket: format!("oppen-test-{name}-{}", std::process::id()) };
        let inside = format!(
            "sh -c 'echo $$ > pid; exec {} dashboard --live'; echo left with $?; stty -a | tr ';' '\\n' | grep -o ' icanon'; sleep 60",
            env!("CARGO_BIN_EXE_oppen")
        );
        let folder = project.path().to_str().unwrap();
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", folder, "-e", "LC_ALL=C.UTF-8", &inside]);
        Some(tmux)
    }

    fn run(&self, args: &[&str]) -> String {
        let out = Command::new("tmux").args(["-L", &self.socket]).args(args).env("LC_ALL", "C.UTF-8").output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    fn until(&self, wanted: &[&str]) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.screen();
            if wanted.iter().all(|w| screen.contains(w)) {
                return screen;
            }
            assert!(Instant::now() < until, "{wanted:?} did not come:\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Walks through it while a run trains and another waits for it.
pub fn drive(project: &Project) {
    let Some(tmux) = Tmux::start(project, "drive") else { return };
    let screen = tmux.until(&["w/train[seed=1]", "▶ running", "… pending", "✗ failed", "1 of 1 running, 1 waiting"]);
    assert!(screen.lines().all(|l| l.chars().count() <= 80), "{screen}");
    tmux.keys(&["l"]);
    tmux.until(&["output of w/train[seed=1]: follows", "epoch=1 loss=0.5", "\\x1b]0;owned\\x07 plain"]);
    tmux.run(&["resize-window", "-x", "200", "-y", "60"]);
    tmux.keys(&["1"]);
    tmux.until(&["METRICS", "loss 0.5", "PRIORITY"]);
    tmux.keys(&["?"]);
    tmux.until(&["follow its output", "Esc closes"]);
    tmux.keys(&["Escape"]);
    tmux.keys(&["e"]);
    tmux.until(&["w/train[seed=1] is running", "digest"]);
    tmux.keys(&["Escape"]);
    tmux.keys(&["2"]);
    tmux.until(&["w/train[seed=2]", "1 of 1 runs at a time"]);
    tmux.keys(&["c"]);
    tmux.until(&["Cancel w/train[seed=2], which is pending?"]);
    tmux.keys(&["y"]);
    tmux.until(&["nothing waits", "0 waiting"]);
    tmux.keys(&["q"]);
    let screen = tmux.until(&["left with 0", "icanon"]);
    assert!(!screen.contains(" -icanon"), "the terminal is as it was: {screen}");
    let Some(tmux) = Tmux::start(project, "term") else { return };
    tmux.until(&["w/train[seed=1]", "▶ running"]);
    let pid = std::fs::read_to_string(project.path().join("pid")).unwrap();
    assert!(Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap().success());
    tmux.until(&["left with 130", " icanon"]);
}
