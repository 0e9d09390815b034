//! The output of a run, as it grows.
//!
//! In: the state folder, an address. Out: lines, safe to show. Must never read more of a huge log than is kept.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::model::LINES;
use crate::base::text::escape_line;
use crate::base::{Address, AttemptId};
use crate::store::Store;

/// Most bytes of one read, and of the end of the log that is read first.
const BYTES: u64 = 256 << 10;
/// Longest line that is shown whole.
const LONGEST: usize = 2000;

/// Where the reading stands.
pub struct Tail {
    /// The run.
    pub address: String,
    path: Option<PathBuf>,
    at: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// The last attempt of a run. Nothing is read yet.
    pub fn of(state_dir: &Path, address: &str) -> Result<Self, String> {
        let none = |why: &str| why.to_owned();
        let parsed = Address::parse(address).map_err(|_| none("that is no run"))?;
        let store = Store::open_existing(state_dir).map_err(|e| e.to_string())?.ok_or_else(|| none("there is no state"))?;
        let state = store.load_job(address).map_err(|e| e.to_string())?;
        let record = state.runs.get(&parsed).ok_or_else(|| none("the state does not know it"))?;
        let number = record.attempts.last().map(|a| a.number).ok_or_else(|| none("it has not started yet"))?;
        let attempt = AttemptId { address: parsed, generation: record.generation, number };
        let path = crate::backend::log_path(state_dir, &attempt.name(store.lineage()));
        Ok(Self { address: address.to_owned(), path: Some(path), at: 0, rest: Vec::new() })
    }

    /// A run without output.
    #[must_use]
    pub fn none(address: &str) -> Self {
        Self { address: address.to_owned(), path: None, at: 0, rest: Vec::new() }
    }

    /// What was written since, in whole lines.
    pub fn read(&mut self) -> Result<Vec<String>, String> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let mut file = File::open(path).map_err(|e| format!("there is no output: {e}"))?;
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        if size < self.at {
            // It began anew.
            (self.at, self.rest) = (0, Vec::new());
        }
        if size == self.at {
            return Ok(Vec::new());
        }
        let skipped = size.saturating_sub(self.at) > BYTES;
        if skipped {
            self.at = size - BYTES;
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.at)).map_err(|e| e.to_string())?;
        let mut fresh = Vec::new();
        file.take(BYTES).read_to_end(&mut fresh).map_err(|e| e.to_string())?;
        self.at += fresh.len() as u64;
        self.rest.extend(fresh);
        let mut lines = Vec::new();
        if skipped {
            // The first is a part of a line.
            let end = self.rest.iter().position(|b| *b == b'\n').map_or(0, |i| i + 1);
            self.rest.drain(..end);
            lines.push("(what was before is in `oppen logs`)".to_owned());
        }
        let whole = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        // A line without an end is not kept for ever.
        let whole = if whole == 0 && self.rest.len() > LONGEST { self.rest.len() } else { whole };
        let bytes: Vec<u8> = self.rest.drain(..whole).collect();
        lines.extend(String::from_utf8_lossy(&bytes).lines().map(line));
        let more = lines.len().saturating_sub(LINES);
        lines.drain(..more);
        Ok(lines)
    }
}

/// What a terminal would act on is shown; what a carriage return had written over is left out, as on a terminal.
fn line(text: &str) -> String {
    let text = text.trim_end_matches('\r');
    let last = text.rsplit('\r').next().unwrap_or(text);
    let cut: String = last.chars().take(LONGEST).collect();
    escape_line(&cut).replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_once_whole_and_safe() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = Tail { path: Some(path.clone()), ..Tail::none("w/a") };
        assert!(tail.read().is_err());
        std::fs::write(&path, "one\ttab\n10%\r20%\r\n\x1b[31mred\npart").unwrap();
        assert_eq!(tail.read().unwrap(), ["one    tab", "20%", "\\x1b[31mred"]);
        assert_eq!(tail.read().unwrap(), [""; 0]);
        std::fs::write(&path, "one\ttab\n10%\r20%\r\n\x1b[31mred\npartial\n").unwrap();
        assert_eq!(tail.read().unwrap(), ["partial"]);
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(tail.read().unwrap(), ["new"], "a log that began anew is read from its start");
        let long = "x".repeat(99) + "\n";
        std::fs::write(&path, long.repeat(10_000)).unwrap();
        let lines = tail.read().unwrap();
        assert!(lines.len() < 2700 && lines[0].starts_with("(what was before") && lines[1].len() == 99, "{}", lines.len());
    }
}
