//! What the full screen shows: which page, which row, what lies over it.
//!
//! In: snapshots, logs, answers. Out: rows. Pure: no clock, no terminal; keys are in `update.rs`, drawing is in `draw.rs`.

use std::collections::VecDeque;

use crate::base::Timestamp;
use crate::base::text::escape;
use crate::monitor::Snapshot;
use crate::monitor::health::{Level, Report};

use super::rows::{Row, rows};

/// Lines of a log that are kept.
pub const LINES: usize = 5000;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// All runs.
    Runs,
    /// Those that wait.
    Queue,
    /// Sweeps.
    Sweeps,
    /// Money.
    Costs,
    /// Machines.
    Cluster,
    /// The output of a run.
    Logs,
}

impl Tab {
    /// In the order of their keys.
    pub const ALL: [Self; 6] = [Self::Runs, Self::Queue, Self::Sweeps, Self::Costs, Self::Cluster, Self::Logs];

    /// The word shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Runs => "Runs",
            Self::Queue => "Queue",
            Self::Sweeps => "Sweeps",
            Self::Costs => "Costs",
            Self::Cluster => "Cluster",
            Self::Logs => "Logs",
        }
    }

    /// What it can be sorted by; the first is how it comes.
    #[must_use]
    pub const fn sorts(self) -> &'static [&'static str] {
        match self {
            Self::Runs => &["state", "name", "cost", "end"],
            Self::Queue => &["place", "name", "cost"],
            Self::Sweeps | Self::Costs | Self::Cluster => &["order", "name"],
            Self::Logs => &["order"],
        }
    }
}

/// Which runs are shown.
pub const FILTERS: [&str; 5] = ["all", "running", "waiting", "failed", "ended"];

/// What is wanted of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Leave.
    Quit,
    /// End a run.
    Cancel(String),
    /// Run it again.
    Retry(String),
    /// Give a waiting run another priority.
    Priority(String, String),
    /// Tell everything about a run.
    Explain(String),
    /// Follow its output.
    Follow(String),
    /// Look again now.
    Refresh,
}

/// What lies over the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// Keys.
    Help,
    /// A question with yes or no.
    Confirm(Wish, String),
    /// Which priority for which run.
    Priorities(String, usize),
    /// A text, and how far it is scrolled.
    Text(String, Vec<String>, usize),
}

/// Colors and characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Colors beside words and signs.
    pub color: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
}

/// The output of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The run.
    pub address: String,
    /// Its last lines, safe to show.
    pub lines: VecDeque<String>,
    /// Lines scrolled up from the end; 0 follows.
    pub up: usize,
    /// Why there is none.
    pub missing: Option<String>,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct Model {
    /// The page.
    pub tab: Tab,
    /// What was seen last.
    pub shot: Snapshot,
    /// Health, once it was looked at.
    pub health: Option<Report>,
    /// Row of each page.
    pub chosen: [usize; 6],
    /// Number of the sort of each page, and whether it is turned around.
    pub sort: [(usize, bool); 6],
    /// Number of [`FILTERS`].
    pub filter: usize,
    /// What is searched for.
    pub search: String,
    /// True while it is typed.
    pub typing: bool,
    /// What lies over the page.
    pub over: Option<Over>,
    /// The log that is followed.
    pub log: Log,
    /// One line for the person: what came of the last wish.
    pub message: String,
    /// Priority classes.
    pub classes: Vec<String>,
    /// Rows that fit on a page: set by the drawing side, for whole pages.
    pub page: usize,
    /// Look and feel.
    pub theme: Theme,
}

impl Model {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(theme: Theme, classes: Vec<String>) -> Self {
        Self {
            tab: Tab::Runs,
            shot: Snapshot::default(),
            health: None,
            chosen: [0; 6],
            sort: [(0, false); 6],
            filter: 0,
            search: String::new(),
            typing: false,
            over: None,
            log: Log::default(),
            message: String::new(),
            classes,
            page: 10,
            theme,
        }
    }

    /// Number of the page.
    #[must_use]
    pub fn at(&self) -> usize {
        Tab::ALL.iter().position(|t| *t == self.tab).unwrap_or(0)
    }

    /// The rows of the page, as they are shown.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        rows(self)
    }

    /// The row that is chosen.
    #[must_use]
    pub fn row(&self) -> Option<Row> {
        let rows = self.rows();
        let at = self.chosen.get(self.at()).copied().unwrap_or(0).min(rows.len().saturating_sub(1));
        rows.into_iter().nth(at)
    }

    /// Takes what was seen; the chosen run stays chosen where it is still there. False when nothing that is shown changed.
    pub fn see(&mut self, shot: Snapshot) -> bool {
        let changed = !same(&self.shot, &shot);
        let before = self.row().map(|r| r.id);
        self.shot = shot;
        let rows = self.rows();
        let at = self.at();
        let found = before.and_then(|id| rows.iter().position(|r| r.id == id && !r.id.is_empty()));
        if let Some(chosen) = self.chosen.get_mut(at) {
            *chosen = found.unwrap_or(*chosen).min(rows.len().saturating_sub(1));
        }
        changed
    }

    /// Takes further lines of the followed log.
    pub fn hear(&mut self, address: &str, fresh: Vec<String>, missing: Option<String>) -> bool {
        if self.log.address != address {
            return false;
        }
        let changed = !fresh.is_empty() || missing != self.log.missing;
        // Who scrolled up stays where he is.
        if self.log.up > 0 {
            self.log.up += fresh.len();
        }
        self.log.lines.extend(fresh);
        while self.log.lines.len() > LINES {
            self.log.lines.pop_front();
        }
        self.log.up = self.log.up.min(self.log.lines.len().saturating_sub(1));
        self.log.missing = missing;
        changed
    }

    /// The time that ages and lengths are counted to.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.shot.at
    }
}

/// Whether two snapshots show the same, to the second.
fn same(a: &Snapshot, b: &Snapshot) -> bool {
    a.at.0 / 1000 == b.at.0 / 1000
        && a.record.value == b.record.value
        && a.record.why == b.record.why
        && a.machine.value == b.machine.value
        && a.cluster == b.cluster
        && a.usage == b.usage
        && a.tracking == b.tracking
}

/// Health in lines.
#[must_use]
pub fn told(report: Option<&Report>) -> Vec<String> {
    let Some(report) = report else { return vec!["It is being looked at.".to_owned()] };
    let mut lines = Vec::new();
    for finding in &report.findings {
        let sign = match finding.level {
            Level::Ok => "+",
            Level::Note => "i",
            Level::Warning => "!",
            Level::Problem => "x",
        };
        lines.push(format!("{sign} {}: {}", finding.check, escape(&finding.message)));
        lines.extend(finding.hint.as_ref().map(|h| format!("    help: {}", escape(h))));
    }
    lines
}
