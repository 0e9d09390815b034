//! Wishes, done: beside the screen, by the same commands that people type.
//!
//! In: wishes. Out: answers on a channel. Must never hold up the screen, nor write to it.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crossbeam_channel::Sender;

use super::model::Wish;
use crate::base::text::escape_line;
use crate::monitor::health::Report;

/// Most lines of a text.
const LINES: usize = 2000;

/// What comes of a wish.
#[derive(Debug)]
pub enum Answer {
    /// One line.
    Message(String),
    /// A title and lines.
    Text(String, Vec<String>),
    /// Health was looked at.
    Health(Report),
}

/// Runs one of our own commands; its whole output is the answer.
fn command(root: &PathBuf, args: &[&str]) -> Result<(bool, Vec<String>), String> {
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(exe);
    command.arg("-C").arg(root).args(args).env("NO_COLOR", "1").stdin(Stdio::null()).process_group(0);
    let out = command.output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let lines = text.lines().take(LINES).map(|l| escape_line(l).replace('\t', "    ")).collect();
    Ok((out.status.success(), lines))
}

/// Does it on a thread of its own.
pub fn act(root: PathBuf, wish: Wish, out: Sender<Answer>) {
    let started = std::thread::Builder::new().name("act".to_owned()).spawn({
        let out = out.clone();
        move || {
            let _ = out.send(done(&root, &wish));
        }
    });
    if let Err(e) = started {
        let _ = out.send(Answer::Message(format!("the system gives no thread: {e}")));
    }
}

fn done(root: &PathBuf, wish: &Wish) -> Answer {
    let (args, title): (Vec<&str>, Option<&str>) = match wish {
        Wish::Cancel(address) => (vec!["cancel", address], None),
        Wish::Retry(address) => (vec!["retry", address], None),
        Wish::Priority(address, class) => (vec!["queue", "priority", class, address], None),
        Wish::Explain(address) => (vec!["explain", address], Some(address)),
        Wish::Quit | Wish::Refresh | Wish::Follow(_) => return Answer::Message(String::new()),
    };
    match (command(root, &args), title) {
        (Err(e), _) => Answer::Message(e),
        (Ok((_, lines)), Some(title)) => Answer::Text(title.to_owned(), lines),
        (Ok((_, lines)), None) => {
            // What was said last counts: before it stands what happened on the way.
            let said = lines.iter().rev().find(|l| !l.trim().is_empty() && !l.trim_start().starts_with("help:"));
            Answer::Message(said.cloned().unwrap_or_else(|| "done".to_owned()))
        }
    }
}
