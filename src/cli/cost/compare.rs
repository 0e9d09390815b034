//! `oppen cost compare`: configurations and finished runs side by side.
//!
//! In: addresses, workflow files, variants of their inputs. Out: table, JSON, CSV, SVG. Must never run anything, nor guess a metric: what a
//! configuration will reach is known only where a finished run has its fingerprint.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::forecast::Ground;
use super::short;
use crate::advise::chart::{Across, Chart, Mark, Unit};
use crate::advise::compare::{Candidate, Compared, Row, compare};
use crate::base::text::escape;
use crate::base::{Millis, Money, Timestamp, suggest};
use crate::cli::args::BackendKind;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, fit, pad, style, width};
use crate::cli::progress::number;
use crate::cli::session::Session;
use crate::diff::outlook;
use crate::diff::select::matches_address;
use crate::record::{Goal, RunRecord, RunStatus, State};

/// Most rows of text.
const ROWS: usize = 100;
/// Names beside dots, up to which they do not hide each other.
const NAMED: usize = 12;

/// `cost compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Workflow files (.yaml), jobs, runs (addresses with * and ?)
    #[arg(value_name = "FILE|ADDR", required = true)]
    pub what: Vec<String>,
    /// One more configuration of each file: inputs by name, such as `epochs=5,batch_size=64`; repeatable
    #[arg(long, value_name = "K=V[,K=V]")]
    pub variant: Vec<String>,
    /// Compare by this metric, if it is not the one that the jobs declare
    #[arg(long, value_name = "NAME")]
    pub metric: Option<String>,
    /// Which way of --metric is better
    #[arg(long, value_name = "minimize|maximize", value_parser = goal)]
    pub goal: Option<Goal>,
    /// Print in this form, to a file with =FILE; repeatable
    #[arg(short, long, value_name = "text|json|csv|svg[=FILE]", value_parser = output::parse::<Shape>)]
    pub output: Vec<output::Target<Shape>>,
}

/// Forms of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
    /// A picture.
    Svg,
}

fn goal(word: &str) -> Result<Goal, String> {
    match word {
        "minimize" => Ok(Goal::Minimize),
        "maximize" => Ok(Goal::Maximize),
        _ => Err("write minimize or maximize".to_owned()),
    }
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json), ("csv", Self::Csv), ("svg", Self::Svg)];
}

/// Compares and shows.
pub fn run(here: &Path, args: &CompareArgs) -> Outcome {
    let ground = Ground::read(here)?;
    let (files, addresses) = super::estimate::files_and_addresses(&args.what);
    if files.is_empty() && !args.variant.is_empty() {
        return Err(Failure::new(Exit::Usage, "--variant varies files, and no file is named")
            .hint("name a workflow file, such as workflows/train.yaml"));
    }
    let declared = metric_of(&ground.state, &addresses);
    let mut by = args.metric.clone().map(|name| (name, args.goal.unwrap_or(Goal::Minimize))).or(declared);
    let mut all = Vec::new();
    for address in &addresses {
        all.extend(of_state(&ground, address, by.as_ref())?);
    }
    for file in &files {
        let plain = (!args.variant.iter().any(String::is_empty)).then_some("");
        for variant in plain.into_iter().chain(args.variant.iter().map(String::as_str)) {
            all.push(of_file(here, &ground, file, variant, &mut by)?);
        }
    }
    let (name, goal) = by.map_or((None, Goal::Minimize), |(n, g)| (Some(n), g));
    let found = compare(all, name, args.goal.unwrap_or(goal));
    output::write(&args.output, |shape| match shape {
        Shape::Text => text(&found),
        Shape::Json => output::json(&json!({"format_version": 1, "metric": found.metric, "goal": found.goal, "rows": found.rows})),
        Shape::Csv => csv(&found),
        Shape::Svg => svg(&found),
    })?;
    Ok(Exit::Done)
}

/// The metric that the first of the named runs declares.
fn metric_of(state: &State, addresses: &[&str]) -> Option<(String, Goal)> {
    let named = |r: &&RunRecord| addresses.iter().any(|a| matches_address(a, r.spec.address.as_str()) || **a == *r.spec.job.job);
    state.runs.values().filter(named).find_map(|r| r.spec.job.metric.as_ref()).map(|m| (m.name.clone(), m.goal))
}

/// Best finite value of a metric.
fn value(run: &RunRecord, by: Option<&(String, Goal)>) -> Option<f64> {
    let (name, goal) = by?;
    let m = run.metrics.get(name.as_str())?;
    if *goal == Goal::Minimize { m.min } else { m.max }
}

fn better(a: Option<f64>, b: Option<f64>, goal: Goal) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if goal == Goal::Minimize { a.min(b) } else { a.max(b) }),
        (a, b) => a.or(b),
    }
}

/// A job as one, runs by address each for itself.
fn of_state(ground: &Ground, address: &str, by: Option<&(String, Goal)>) -> Result<Vec<Candidate>, Failure> {
    let all = ground.state.runs.values();
    let job: Vec<&RunRecord> = all.clone().filter(|r| *r.spec.job.job == *address && r.spec.address.as_str() != address).collect();
    if !job.is_empty() {
        return Ok(vec![measured(ground, address, &job, by)]);
    }
    let found: Vec<Candidate> = all
        .clone()
        .filter(|r| matches_address(address, r.spec.address.as_str()))
        .map(|r| measured(ground, r.spec.address.as_str(), &[r], by))
        .collect();
    if found.is_empty() {
        let names = all.map(|r| r.spec.address.as_str()).chain(ground.state.runs.values().map(|r| &*r.spec.job.job)).collect::<Vec<_>>();
        let hint = suggest::hint(address, names).or_else(|| Some("nothing was applied here yet: name workflow files".to_owned()));
        return Err(Failure { exit: Exit::Usage, message: format!("no run `{}` in the state", escape(address)), hint });
    }
    Ok(found)
}

fn measured(ground: &Ground, name: &str, runs: &[&RunRecord], by: Option<&(String, Goal)>) -> Candidate {
    let attempts = || runs.iter().flat_map(|r| &r.attempts);
    let (first, last) = (attempts().filter_map(|a| a.started_at).min(), attempts().filter_map(|a| a.ended_at).max());
    let over = runs.iter().filter(|r| r.status.is_terminal()).count();
    let goal = by.map_or(Goal::Minimize, |b| b.1);
    let done = |r: &&&RunRecord| r.status == RunStatus::Succeeded || runs.len() == 1;
    let metric = runs.iter().filter(done).fold(None, |best, r| better(best, value(r, by), goal));
    let source = match (metric, by) {
        _ if over < runs.len() => format!("{} of {} runs are over", over, runs.len()),
        (None, Some((name, _))) => format!("no finite value of {name}"),
        (None, None) => "no metric is declared".to_owned(),
        _ => runs.iter().find_map(|r| r.reused_from.as_ref()).map_or("measured".to_owned(), |from| format!("measured by {from}")),
    };
    Candidate {
        name: name.to_owned(),
        runs: runs.len(),
        measured: true,
        cost: Some(runs.iter().map(|r| outlook::spent(r, &ground.place.rates, ground.now).0).sum()),
        interval: None,
        time: first.zip(last).map(|(a, b)| b.since(a)),
        metric,
        source,
    }
}

/// A configuration, as if nothing of it had run.
fn of_file(here: &Path, ground: &Ground, file: &Path, variant: &str, by: &mut Option<(String, Goal)>) -> Result<Candidate, Failure> {
    let set = variant.split(',').filter(|p| !p.trim().is_empty()).map(|p| output::setting(p.trim())).collect::<Result<Vec<_>, _>>();
    let set = set.map_err(|e| Failure::new(Exit::Usage, format!("--variant {}: {e}", escape(variant))))?;
    let session = Session::read(here, &[file.to_path_buf()], &set, Some(BackendKind::Local));
    session.sound::<output::Form>(&[])?;
    let plan = session.plan_anew(ground.store.as_ref(), ground.now)?;
    let specs = || session.desired.runs.iter();
    if by.is_none() {
        *by = specs().find_map(|s| s.job.metric.as_ref()).map(|m| (m.name.clone(), m.goal));
    }
    // A finished run of the same fingerprint says what this one will reach.
    let goal = by.as_ref().map_or(Goal::Minimize, |b| b.1);
    let (mut metric, mut known) = (None, 0);
    for spec in specs() {
        let same = ground.state.runs.values().find(|r| r.spec.fingerprint == spec.fingerprint && r.status == RunStatus::Succeeded);
        if let Some(found) = same.and_then(|r| value(r, by.as_ref())) {
            (metric, known) = (better(metric, Some(found), goal), known + 1);
        }
    }
    let mut interval = Some((0.0_f64, 0.0_f64, Money::ZERO));
    for money in plan.runs.iter().filter(|r| r.action.runs()).map(|r| r.estimate.as_deref()) {
        let ends = money.filter(|e| e.interval.is_some()).and_then(|e| e.cost);
        interval = interval.zip(ends).map(|((l, h, sum), c)| {
            // Runs of one file err together.
            let float = |m: Money| m.micros() as f64;
            (l + float(c.expected - c.low), h + float(c.high - c.expected), sum + c.expected)
        });
    }
    let micros = |v: f64| Money::from_micros(v.round() as i64);
    let name = if variant.is_empty() { file.display().to_string() } else { format!("{} {variant}", file.display()) };
    let count = plan.runs.iter().filter(|r| r.action.runs()).count();
    Ok(Candidate {
        name,
        runs: count,
        measured: false,
        cost: (plan.unpriced == 0 && count > 0).then_some(plan.cost),
        interval: interval.filter(|i| i.1 > 0.0).map(|(l, h, sum)| ((sum - micros(l)).max(Money::ZERO), sum + micros(h))),
        time: plan.end.map(|end: Timestamp| end.since(ground.now)).filter(|t| *t > Millis(0)),
        metric,
        source: if known > 0 {
            format!("measured by {known} finished runs of equal fingerprint")
        } else {
            "not run: its metric is not known".to_owned()
        },
    })
}

fn text(c: &Compared) -> String {
    let mut out = String::new();
    let metric = c.metric.as_deref().unwrap_or("metric");
    let room = width().saturating_sub(52);
    let _ = writeln!(out, "{} {:>9} {:>9} {:>10} {:>10}  ", pad("", room), "cost", "time", fit(&escape(metric), 10), "$ a unit");
    for row in c.rows.iter().take(ROWS) {
        let k = &row.candidate;
        let cost = k.cost.map_or("unpriced".to_owned(), short);
        let time = k.time.map_or("?".to_owned(), |t| t.to_string());
        let value = k.metric.map_or("-".to_owned(), number);
        let marginal = row.marginal.map_or(String::new(), short);
        let mark = if row.front { style::paint(style::GOOD, "best") } else { String::new() };
        let line = format!("{} {cost:>9} {time:>9} {value:>10} {marginal:>10}  {mark}", pad(&fit(&escape(&k.name), room), room));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if c.rows.len() > ROWS {
        let _ = writeln!(out, "... and {} more; `-o json` has all.", c.rows.len() - ROWS);
    }
    for row in c.rows.iter().take(ROWS) {
        if let Some(by) = &row.beaten_by {
            let _ = writeln!(out, "{}", fit(&format!("{} is beaten by {}.", escape(&row.candidate.name), escape(by)), width()));
        } else if !row.front {
            let _ = writeln!(out, "{}", fit(&format!("{}: {}.", escape(&row.candidate.name), escape(&row.candidate.source)), width()));
        }
    }
    let goal = if c.goal == Goal::Minimize { "less" } else { "more" };
    let by = c.metric.as_ref().map_or(String::new(), |m| format!(" and has {goal} {}", escape(m)));
    for line in output::wrap(
        &format!(
            "best: nothing else costs less, takes less time{by} at once. $ a unit: what one more unit of the metric costs, from the next cheaper one."
        ),
        width(),
    ) {
        let _ = writeln!(out, "{}", style::paint(style::DIM, &line));
    }
    out
}

fn csv(c: &Compared) -> String {
    let quoted = |t: &str| if t.contains([',', '"', '\n', '\r']) { format!("\"{}\"", t.replace('"', "\"\"")) } else { t.to_owned() };
    let mut out = String::from("name,runs,measured,cost,cost_low,cost_high,seconds,metric,front,beaten_by,dollars_per_unit\n");
    for Row { candidate: k, front, beaten_by, marginal } in &c.rows {
        let money = |m: Option<Money>| m.map_or(String::new(), Money::decimal);
        let cells = [
            quoted(&k.name),
            k.runs.to_string(),
            k.measured.to_string(),
            money(k.cost),
            money(k.interval.map(|i| i.0)),
            money(k.interval.map(|i| i.1)),
            k.time.map_or(String::new(), |t| t.as_secs_f64().to_string()),
            k.metric.map_or(String::new(), |m| m.to_string()),
            front.to_string(),
            quoted(beaten_by.as_deref().unwrap_or_default()),
            money(*marginal),
        ];
        let _ = writeln!(out, "{}", cells.join(","));
    }
    out
}

/// Where money stands on a page.
fn place(money: Money) -> f64 {
    money.micros() as f64
}

fn svg(c: &Compared) -> String {
    let has_metric = c.rows.iter().any(|r| r.candidate.metric.is_some());
    let up = |r: &Row| if has_metric { r.candidate.metric } else { r.candidate.time.map(|t| t.0 as f64) };
    let points = |front: bool| -> Vec<(f64, f64, String)> {
        c.rows
            .iter()
            .filter(|r| r.front == front)
            .filter_map(|r| Some((place(r.candidate.cost?), up(r)?, r.candidate.name.clone())))
            .collect()
    };
    let (best, others) = (points(true), points(false));
    let mut line: Vec<(f64, f64)> = best.iter().map(|p| (p.0, p.1)).collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    let labelled = c.rows.len() <= NAMED;
    let mut marks = Vec::new();
    if line.len() > 1 {
        marks.push(Mark::Line { name: "front".to_owned(), points: line, dashed: true, steps: false });
    }
    for (name, points) in [("best", best), ("beaten", others)] {
        if !points.is_empty() {
            marks.push(Mark::Points { name: name.to_owned(), points, labelled });
        }
    }
    let what = if has_metric { c.metric.clone().unwrap_or_default() } else { "time".to_owned() };
    Chart {
        title: format!("Cost against {what}"),
        note: format!("{} candidates, {} of them on the front", c.rows.len(), c.rows.iter().filter(|r| r.front).count()),
        across: Across::Values(Unit::Money),
        across_label: "cost".to_owned(),
        up: if has_metric { Unit::Number } else { Unit::Time },
        marks,
    }
    .svg()
}
