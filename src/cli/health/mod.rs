//! `oppen health`: whether everything is as it should be, and what to do where it is not.
//!
//! In: the monitor's findings. Out: text or JSON; exit 0, or 1 when there is a problem.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::args::Output;
use super::dashboard::scene;
use super::exit::{Exit, Outcome};
use super::output::{self, Form, pad, style, unicode, width, wrap};
use super::session::Place;
use crate::base::Millis;
use crate::base::text::escape;
use crate::monitor::health::{Level, Report, Settings, look};
use crate::monitor::reading::length;

/// Columns of the words in front.
const MARK: usize = 10;
const NAME: usize = 13;

/// `health`
#[derive(Debug, Args)]
pub struct Health {
    /// A run without output, metric or work for this long is stuck
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = output::duration)]
    pub stuck_after: Duration,
    /// Longest wait for an answer; what always was quicker is given up sooner
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = output::duration)]
    pub deadline: Duration,
    /// Only what is not as it should be
    #[arg(short, long)]
    pub quiet: bool,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// Looks and tells.
pub fn run(here: &Path, args: &Health) -> Outcome {
    let place = Place::find(here, None)?;
    let settings = Settings { longest: args.deadline, stuck_after: length(args.stuck_after) };
    let report = look(&scene(&place), settings);
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&report),
        Form::Text => text(&report, args.quiet),
    })?;
    Ok(if report.healthy { Exit::Done } else { Exit::Error })
}

/// The mark of a level: never color alone.
#[must_use]
pub fn mark(level: Level) -> String {
    let (style, sign) = match level {
        Level::Ok => (style::GOOD, if unicode() { "✓" } else { "+" }),
        Level::Note => (style::LIVE, "i"),
        Level::Warning => (style::CHANGE, "!"),
        Level::Problem => (style::BAD, if unicode() { "✗" } else { "x" }),
    };
    style::paint(style, &pad(&format!("{sign} {}", level.word()), MARK))
}

fn text(report: &Report, quiet: bool) -> String {
    let mut out = String::new();
    let room = width().saturating_sub(MARK + NAME + 2).max(20);
    let indent = " ".repeat(MARK + NAME + 2);
    let mut last = "";
    for finding in report.findings.iter().filter(|f| !quiet || f.level >= Level::Warning) {
        let name = if finding.check == last { "" } else { finding.check.as_str() };
        last = &finding.check;
        for (i, line) in wrap(&escape(&finding.message), room).iter().enumerate() {
            let _ =
                if i == 0 { writeln!(out, "{} {} {line}", mark(finding.level), pad(name, NAME)) } else { writeln!(out, "{indent}{line}") };
        }
        for line in finding.hint.iter().flat_map(|h| wrap(&format!("help: {}", escape(h)), room)) {
            let _ = writeln!(out, "{indent}{}", style::paint(style::DIM, &line));
        }
    }
    let _ = writeln!(out, "{}", summary(report));
    out
}

/// `Healthy: 9 checks, 1 warning, in 0.3s.`
#[must_use]
pub fn summary(report: &Report) -> String {
    let (problems, warnings) = (report.count(Level::Problem), report.count(Level::Warning));
    let mut names: Vec<&str> = report.findings.iter().map(|f| f.check.as_str()).collect();
    names.dedup();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let mut parts = vec![plural(names.len(), "check")];
    parts.extend((problems > 0).then(|| plural(problems, "problem")));
    parts.extend((warnings > 0).then(|| plural(warnings, "warning")));
    let word = if report.healthy { style::paint(style::GOOD, "Healthy") } else { style::paint(style::BAD, "Not healthy") };
    format!("{word}: {}, in {}.", parts.join(", "), Millis(report.took_ms.0))
}
