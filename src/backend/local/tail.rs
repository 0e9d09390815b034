//! Metrics of an attempt, while it runs and when it ends.
//!
//! In: its log and its metrics file. Out: points. Must never follow a link or wait for a pipe that the command put in their place.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::files::{Files, write_whole};
use crate::record::event::MetricPoint;
use crate::track::Parser;

const CHUNK: usize = 64 * 1024;
/// How soon an attempt that reports is read again: a trial that is to end early should not train on for long.
const SOON: Duration = Duration::from_millis(50);
/// How soon an attempt that is silent is read again; between the two the wait doubles.
const LATE: Duration = Duration::from_millis(500);
/// How often the position is noted.
const NOTED: Duration = Duration::from_millis(500);

/// How far the points were handed on, so that the next engine does not count them twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    log: u64,
    metrics: u64,
}

/// Reads one attempt's metrics.
pub struct Tail {
    log: Stream,
    metrics: Stream,
    place: PathBuf,
    handed_on: Position,
    saved: Position,
    noted: Option<Instant>,
    wait: Duration,
    due: Instant,
}

impl Tail {
    /// Goes on where the last reader was.
    pub fn open(files: &Files) -> Self {
        let place = files.position();
        let saved: Position = fs::read(&place).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self {
            log: Stream::new(files.log(), saved.log),
            metrics: Stream::new(files.metrics(), saved.metrics),
            place,
            handed_on: saved,
            saved,
            noted: None,
            wait: SOON,
            due: Instant::now(),
        }
    }

    /// When it is worth to read again.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Gives what came since the last time. What was given the last time is noted as handed on.
    pub fn read(&mut self, each: &mut impl FnMut(Vec<MetricPoint>)) {
        let now = Instant::now();
        if self.handed_on != self.saved
            && self.noted.is_none_or(|at| now.duration_since(at) >= NOTED)
            && let Ok(bytes) = serde_json::to_vec(&self.handed_on)
            && write_whole(&self.place, &bytes).is_ok()
        {
            self.saved = self.handed_on;
            self.noted = Some(now);
        }
        let mut came = false;
        let mut each = |points: Vec<MetricPoint>| {
            came = true;
            each(points);
        };
        self.log.read(&mut each);
        self.metrics.read(&mut each);
        self.wait = if came { SOON } else { (self.wait * 2).min(LATE) };
        self.due = now + self.wait;
        self.handed_on = Position { log: self.log.position(), metrics: self.metrics.position() };
    }

    /// Gives the rest, when nothing can come any more.
    pub fn finish(mut self, each: &mut impl FnMut(Vec<MetricPoint>)) {
        self.log.read(each);
        self.metrics.read(each);
        each(self.log.parser.finish());
        each(self.metrics.parser.finish());
    }
}

struct Stream {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    parser: Parser,
}

impl Stream {
    fn new(path: PathBuf, offset: u64) -> Self {
        Self { path, file: None, offset, parser: Parser::new() }
    }

    fn position(&self) -> u64 {
        self.offset.saturating_sub(self.parser.pending() as u64)
    }

    fn read(&mut self, each: &mut impl FnMut(Vec<MetricPoint>)) {
        if self.file.is_none() {
            self.file = open_plain(&self.path, self.offset);
        }
        let Some(file) = &mut self.file else { return };
        let mut buffer = vec![0; CHUNK];
        while let Ok(n) = file.read(&mut buffer) {
            if n == 0 {
                return;
            }
            self.offset = self.offset.saturating_add(n as u64);
            let points = self.parser.feed(buffer.get(..n).unwrap_or_default());
            if !points.is_empty() {
                each(points);
            }
        }
    }
}

/// Opens a file of a run from a place on; neither a link nor anything else that is no file.
#[must_use]
pub fn open_plain(path: &Path, offset: u64) -> Option<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let mut file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().ok().filter(fs::Metadata::is_file)?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    Some(file)
}
