//! `oppen cost backtest`: does the 95% interval hold 95%?
//!
//! In: the recorded history of this project, or one in a file. Out: coverage and width by how much was known, and of runs under way at a quarter,
//! a half and three quarters of their time; or that history as a file. Must never let a run see itself or what came after it
//! (`price::learn::backtest`, `advise::forecast::midway`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::advise::forecast::midway::{Midway, Row};
use crate::base::text::escape;
use crate::base::{Capacity, Digest, Money, Timestamp};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, fit, width};
use crate::cli::session::Place;
use crate::price::learn::Seconds;
use crate::price::learn::backtest::{Band, Table};
use crate::record::{Cause, Features, Sample};

/// Most lines of a history that are read.
const LINES: usize = 200_000;

/// `cost backtest`
#[derive(Debug, Args)]
pub struct Backtest {
    /// A history in a file: a JSON object a line with job, seconds, values, gpu, gpus, declared_s; oldest first
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Write the recorded history of this project to a file, for --history
    #[arg(long, value_name = "FILE", conflicts_with = "history")]
    pub export: Option<PathBuf>,
    /// Print in this form, to a file with =FILE; repeatable
    #[arg(short, long, value_name = "text|json|markdown[=FILE]", value_parser = output::parse::<Shape>)]
    pub output: Vec<output::Target<Shape>>,
}

/// Forms of a back-test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For pages.
    Markdown,
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json), ("markdown", Self::Markdown)];
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    job: String,
    seconds: f64,
    #[serde(default)]
    values: std::collections::BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gpu: Option<String>,
    #[serde(default)]
    gpus: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    declared_s: Option<f64>,
}

impl Line {
    fn of(sample: &Sample) -> Self {
        let f = &sample.features;
        Self {
            job: sample.job.to_string(),
            seconds: sample.time.as_secs_f64(),
            values: f.values.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
            gpu: f.gpu.clone(),
            gpus: f.gpus,
            declared_s: sample.declared.map(|d| d.as_secs_f64()),
        }
    }

    fn sample(self) -> Result<Sample, String> {
        let good = |v: f64| v.is_finite() && v > 0.0 && v < 1e10;
        if !good(self.seconds) || self.declared_s.is_some_and(|d| !good(d)) {
            return Err("a time is no positive number of seconds".to_owned());
        }
        if let Some((name, _)) = self.values.iter().find(|(_, v)| !v.is_finite() || **v <= 0.0) {
            return Err(format!("`{}` is no positive number", escape(name)));
        }
        Ok(Sample {
            at: Timestamp(0),
            address: self.job.clone(),
            job: self.job.into(),
            model: None,
            cause: Cause::Success,
            resumed: false,
            time: Seconds::millis(self.seconds),
            cost: Money::ZERO,
            features: Features { values: self.values.into_iter().map(|(k, v)| (k.into(), v)).collect(), gpu: self.gpu, gpus: self.gpus },
            capacity: Capacity::OnDemand,
            declared: self.declared_s.map(Seconds::millis),
            fingerprint: Digest::default(),
            usage: None,
        })
    }
}

/// Histories by job, oldest first.
type Histories = Vec<(String, Vec<Sample>)>;

fn from_file(path: &Path) -> Result<Histories, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::new(Exit::Error, format!("cannot read {}: {e}", path.display())))?;
    let mut all: Histories = Vec::new();
    let mut wrong = Vec::new();
    for (i, line) in text.lines().take(LINES).enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let read = serde_json::from_str::<Line>(line).map_err(|e| e.to_string()).and_then(Line::sample);
        match read {
            Ok(sample) => match all.iter_mut().find(|(job, _)| **job == *sample.job) {
                Some((_, samples)) => samples.push(sample),
                None => all.push((sample.job.to_string(), vec![sample])),
            },
            Err(e) => wrong.push(format!("{}:{}: {}", path.display(), i + 1, escape(&e))),
        }
    }
    if wrong.is_empty() {
        return Ok(all);
    }
    wrong.iter().take(10).for_each(|w| output::say(w));
    Err(Failure::new(Exit::Invalid, format!("{} of the lines cannot be read", wrong.len()))
        .hint("write lines such as {\"job\": \"w/train\", \"seconds\": 61.5, \"values\": {\"epochs\": 2}}"))
}

fn recorded(here: &Path) -> Result<Histories, Failure> {
    let store = Place::find(here, None)?.store()?;
    let mut all = Vec::new();
    for job in store.jobs_with_samples()? {
        let mut samples = store.samples(&job)?;
        samples.reverse();
        all.push((job, samples));
    }
    Ok(all)
}

/// Tests and shows, or exports.
pub fn run(here: &Path, args: &Backtest) -> Outcome {
    let histories = match &args.history {
        Some(file) => from_file(&here.join(file))?,
        None => recorded(here)?,
    };
    if let Some(file) = &args.export {
        let whole = histories.iter().flat_map(|(_, samples)| samples).filter(|s| s.is_whole());
        let lines: Vec<String> = whole.filter_map(|s| serde_json::to_string(&Line::of(s)).ok()).collect();
        std::fs::write(here.join(file), lines.iter().map(|l| format!("{l}\n")).collect::<String>())
            .map_err(|e| Failure::new(Exit::Error, format!("{}: {e}", file.display())))?;
        output::print(&format!("{} runs of {} in {}.\n", lines.len(), jobs(histories.len()), file.display()))?;
        return Ok(Exit::Done);
    }
    let midway = if args.history.is_some() { Vec::new() } else { under_way(here)? };
    let mut table = Table::default();
    histories.iter().for_each(|(_, samples)| table.add(samples));
    let runs = histories.iter().flat_map(|(_, s)| s).filter(|s| s.is_whole()).count();
    let (bands, all) = (table.bands(), table.all());
    if all.predicted == 0 {
        return Err(Failure::new(Exit::Error, format!("{runs} whole runs: there is nothing to predict one from"))
            .hint("a job needs two ended runs at least"));
    }
    output::write(&args.output, |shape| match shape {
        Shape::Text => text(&bands, &all, runs, histories.len()) + &midway_text(&midway),
        Shape::Markdown => markdown(HEADS, &rows(&bands, &all)) + &midway_markdown(&midway),
        Shape::Json => {
            let row = |b: &Band| json!({"known": [b.known.0, (b.known.1 < usize::MAX).then_some(b.known.1)], "predicted": b.predicted, "within": b.within, "coverage": b.coverage(), "coverage_interval": wilson(b), "width": b.width, "error": b.error});
            output::json(
                &json!({"format_version": 1, "runs": runs, "jobs": histories.len(), "rows": bands.iter().map(row).collect::<Vec<_>>(), "all": row(&all), "midway": midway.iter().map(moment).collect::<Vec<_>>()}),
            )
        }
    })?;
    Ok(Exit::Done)
}

fn jobs(n: usize) -> String {
    if n == 1 { "1 job".to_owned() } else { format!("{n} jobs") }
}

/// Recorded runs, forecast as they stood under way.
fn under_way(here: &Path) -> Result<Vec<Row>, Failure> {
    let store = Place::find(here, None)?.store()?;
    let mut midway = Midway::default();
    for job in store.jobs_with_samples()? {
        midway.add(&job, &store.load_job(&job)?, &store.samples(&job)?);
    }
    Ok(midway.rows())
}

fn moment(row: &Row) -> serde_json::Value {
    json!({"at_percent": row.at, "predicted": row.predicted, "by_reports": row.by_reports, "within": row.within, "coverage": row.coverage(),
        "coverage_interval": share(row.predicted, row.coverage()), "width": row.width, "error": row.error})
}

/// 95% interval of a share that was counted (Wilson, 1927).
fn wilson(b: &Band) -> (f64, f64) {
    share(b.predicted, b.coverage())
}

fn share(counted: usize, p: f64) -> (f64, f64) {
    let (n, z) = (counted.max(1) as f64, 1.96_f64);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

fn known(b: &Band) -> String {
    match b.known {
        (from, usize::MAX) => format!("{from} and more"),
        (from, to) => format!("{from} to {to}"),
    }
}

fn cells(name: &str, b: &Band) -> [String; 6] {
    shown(name.to_owned(), b.predicted, b.coverage(), b.width, b.error)
}

fn shown(name: String, predicted: usize, coverage: f64, width: f64, error: f64) -> [String; 6] {
    let (low, high) = share(predicted, coverage);
    [
        name,
        predicted.to_string(),
        format!("{:.1}%", 100.0 * coverage),
        format!("{:.0}% to {:.0}%", 100.0 * low, 100.0 * high),
        format!("x{width:.2}"),
        format!("{:.1}%", 100.0 * error),
    ]
}

const MIDWAY: [&str; 6] = ["of its time", "forecast", "within", "95% of that", "width", "off"];

fn midway_rows(rows: &[Row]) -> Vec<[String; 6]> {
    rows.iter().map(|r| shown(format!("{}%", r.at), r.predicted, r.coverage(), r.width, r.error)).collect()
}

fn midway_text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let by_reports: usize = rows.iter().map(|r| r.by_reports).sum();
    let words = format!("Forecast as they stood under way, {by_reports} by their own reports.");
    format!("\n{}{}\n", table(MIDWAY, midway_rows(rows)), fit(&words, width()))
}

fn midway_markdown(rows: &[Row]) -> String {
    if rows.is_empty() { String::new() } else { format!("\n{}", markdown(MIDWAY, &midway_rows(rows))) }
}

fn table(heads: [&str; 6], rows: Vec<[String; 6]>) -> String {
    let mut out = String::new();
    for row in std::iter::once(heads.map(str::to_owned)).chain(rows) {
        let [name, rest @ ..] = row;
        let _ = writeln!(out, "{name:<12} {:>9} {:>8} {:>13} {:>7} {:>7}", rest[0], rest[1], rest[2], rest[3], rest[4]);
    }
    out
}

const HEADS: [&str; 6] = ["runs known", "predicted", "within", "95% of that", "width", "off"];

fn rows(bands: &[Band], all: &Band) -> Vec<[String; 6]> {
    let mut rows: Vec<[String; 6]> = bands.iter().map(|b| cells(&known(b), b)).collect();
    rows.push(cells("all", all));
    rows
}

fn text(bands: &[Band], all: &Band, runs: usize, jobs: usize) -> String {
    let mut out = table(HEADS, rows(bands, all));
    let _ = writeln!(out, "{}", fit(&format!("{runs} runs of {}, each predicted from those before it alone.", self::jobs(jobs)), width()));
    out
}

fn markdown(heads: [&str; 6], rows: &[[String; 6]]) -> String {
    let mut out = format!("| {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(5));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}
