//! `oppen sweep status`: how sweeps stand, once or as they go on.
//!
//! In: overviews. Out: a table of at most the terminal's width, JSON, CSV of all trials, the picture of the best so far.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{self, fit, pad, style, unicode, width};
use super::unseen::Unseen;
use super::{Desk, brief, cost, counts, live, params, shown};
use crate::advise::sweeps::{self as sweep, Overview, Point, Trial};
use crate::base::text::escape;
use crate::search::param;

/// Cells of the curve, where the line has room for so many.
const CELLS: usize = 40;
/// Running trials that are shown; JSON has all.
const LIVE: usize = 10;

/// `sweep status`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB, or a pattern with * and ?
    pub address: String,
    /// Show it anew as it goes on, until it is over
    #[arg(short, long, conflicts_with = "output")]
    pub watch: bool,
    /// Output: text, json, csv (all trials), svg (best so far), each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = output::parse::<Shape>)]
    pub output: Vec<output::Target<Shape>>,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A table.
    Text,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
    /// A picture.
    Svg,
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json), ("csv", Self::Csv), ("svg", Self::Svg)];
}

/// Shows it.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    if args.watch {
        return live::watch(desk, &args.address);
    }
    let alone = args.output.iter().any(|target| matches!(target.form, Shape::Csv | Shape::Svg));
    let jobs = if alone { vec![desk.one(&args.address)?] } else { desk.names(Some(&args.address))? };
    let all = desk.whole(&jobs);
    output::write(&args.output, |shape| match shape {
        Shape::Text => text(&all, None),
        Shape::Json => output::json(&json!({"format_version": 1, "sweeps": all.iter().map(value).collect::<Vec<_>>()})),
        Shape::Csv => jobs.iter().map(|job| csv(&sweep::trials(&desk.state, job, desk.ground()))).collect(),
        Shape::Svg => all.iter().map(|(o, _)| o.chart().svg()).collect(),
    })?;
    Ok(Exit::Done)
}

/// Sweeps that an address or a pattern names, as they stand, for programs.
pub fn values(here: &Path, address: &str) -> Result<Vec<Value>, Failure> {
    let desk = Desk::open(here)?;
    Ok(desk.whole(&desk.names(Some(address))?).iter().map(value).collect())
}

fn value((overview, unseen): &Whole) -> Value {
    let mut value = serde_json::to_value(overview).unwrap_or_default();
    if let (Some(fields), Some(unseen)) = (value.as_object_mut(), unseen) {
        fields.insert("metric_unseen".to_owned(), serde_json::to_value(unseen).unwrap_or_default());
    }
    value
}

/// A sweep, and what to say of a metric that none of its trials gave a value.
pub type Whole = (Overview, Option<Unseen>);

/// Sweeps in words. With a number of lines, no more than that: the tables are cut, never the heads.
pub fn text(all: &[Whole], rows: Option<usize>) -> String {
    let Some(rows) = rows else { return all.iter().map(|w| one(w, (LIVE, sweep::TOP))).collect::<Vec<_>>().join("\n") };
    let mut shown = (LIVE, sweep::TOP);
    loop {
        let text = all.iter().map(|w| one(w, shown)).collect::<Vec<_>>().join("\n");
        if shown == (0, 0) || text.lines().count() <= rows {
            return text;
        }
        // What runs is worth at least as much as what was best.
        if shown.0 > shown.1 { shown.0 -= 1 } else { shown.1 -= 1 }
    }
}

fn one((o, unseen): &Whole, most: (usize, usize)) -> String {
    let mut out = style::paint(style::BOLD, &escape(&o.sweep));
    let goal = o.metric.as_ref().map(|m| {
        let word = if m.goal == crate::record::Goal::Maximize { "maximize" } else { "minimize" };
        format!(", {word} {}", escape(&m.name))
    });
    let _ = writeln!(out, " ({}{})", o.method, goal.unwrap_or_default());
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<7} {}", fit(text, width().saturating_sub(10)));
    };
    line("trials", &format!("{}: {}", o.trials, counts(&o.counts)));
    if let Some(by) = &o.paused {
        line("paused", &format!("by {}; `oppen sweep resume {}` lets it go on", escape(by), escape(&o.sweep)));
    }
    line("cost", &cost(o));
    match (&o.best, &o.metric) {
        (Some(best), Some(_)) => {
            line("best", &format!("{} in {}", shown(best.value), escape(best.address.as_str())));
            line("", &params(best));
        }
        (None, Some(_)) => line("best", "no value yet"),
        _ => line("best", "none: the sweep names no metric"),
    }
    if let (Some(first), Some(last)) = (o.curve.first(), o.curve.last()) {
        let results = format!("{} result{}", last.results, if last.results == 1 { "" } else { "s" });
        let words = format!("  {} to {}, {results}", shown(Some(first.best)), shown(Some(last.best)));
        let room = width().saturating_sub(10 + words.len());
        line("curve", &format!("{}{words}", spark(&o.curve, unicode(), room.min(CELLS))));
    }
    if let Some(unseen) = unseen {
        let _ = write!(out, "\n{} {}", style::paint(style::CHANGE, "warning"), unseen.text());
    }
    if !o.live.is_empty() && most.0 > 0 {
        table(&mut out, "Running", o.live.get(..most.0).unwrap_or(&o.live), o.metric.is_some());
        let rest = o.live.len().saturating_sub(most.0);
        if rest > 0 {
            let _ = writeln!(out, "  and {rest} more");
        }
    }
    if !o.top.is_empty() && most.1 > 0 {
        table(&mut out, "Best", o.top.get(..most.1).unwrap_or(&o.top), true);
    }
    out
}

/// Trials, a line each.
fn table(out: &mut String, title: &str, trials: &[Trial], values: bool) {
    let key = |t: &Trial| escape(t.address.key().unwrap_or_default()).into_owned();
    let room = trials.iter().map(|t| unicode_width::UnicodeWidthStr::width(key(t).as_str())).max().unwrap_or(0).clamp(5, 16);
    let head = format!("{} {:>11} {:>6} {:>7} {:>10}  params", pad("trial", room), "value", "step", "time", "cost");
    let _ = writeln!(out, "\n{}\n  {}", style::paint(style::BOLD, title), style::paint(style::DIM, &head));
    for t in trials {
        let value = if values { shown(t.value) } else { "-".to_owned() };
        let step = t.step.map_or_else(|| "-".to_owned(), |s| s.to_string());
        let took = t.took.map_or_else(|| "-".to_owned(), |m| m.to_string());
        let spent = t.spent.map_or_else(|| "-".to_owned(), |m| m.to_string());
        let line = format!("  {} {value:>11} {step:>6} {took:>7} {spent:>10}  {}", pad(&fit(&key(t), room), room), brief(t));
        let _ = writeln!(out, "{}", fit(line.trim_end(), width()));
    }
}

/// The best value after each result, lowest to highest; of many results in a cell the last counts.
fn spark(points: &[Point], unicode: bool, room: usize) -> String {
    let cells = points.len().min(room.max(1));
    let bests: Vec<f64> =
        (1..=cells).filter_map(|i| points.get((i * points.len()).div_ceil(cells).saturating_sub(1))).map(|p| p.best).collect();
    let (low, high) = bests.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), b| (l.min(*b), h.max(*b)));
    let all: Vec<char> = if unicode { "▁▂▃▄▅▆▇█" } else { "_.-=+*#@" }.chars().collect();
    let steps: [f64; 7] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    let glyph = |b: &f64| {
        // Halves, so that two values far apart do not pass all bounds.
        let share = if high > low { (b / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) } else { 0.0 };
        all.get(steps.iter().filter(|s| share * 7.0 >= **s - 0.5).count()).copied().unwrap_or(' ')
    };
    bests.iter().map(glyph).collect()
}

/// Names of all params, in the order in which trials have them.
pub(super) fn param_names(trials: &[Trial]) -> Vec<&Arc<str>> {
    let mut seen = BTreeSet::new();
    trials.iter().flat_map(|t| &t.params).map(|(k, _)| k).filter(|k| seen.insert(Arc::clone(k))).collect()
}

/// All trials, a line each; a column a param.
pub(super) fn csv(trials: &[Trial]) -> String {
    let quoted = |t: &str| if t.contains([',', '"', '\n', '\r']) { format!("\"{}\"", t.replace('"', "\"\"")) } else { t.to_owned() };
    let names = param_names(trials);
    let heads: String = names.iter().map(|n| format!(",{}", quoted(&format!("params.{}", escape(n))))).collect();
    let mut out = format!("address,status,value,step,seconds,spent{heads},why,because,started,ended\n");
    for t in trials {
        let cells: String =
            names.iter().map(|n| format!(",{}", param(&t.params, n).map(|v| cell(v, quoted)).unwrap_or_default())).collect();
        let words = |w: &Option<Arc<str>>| quoted(&escape(w.as_deref().unwrap_or_default()));
        let _ = writeln!(
            out,
            "{},{},{},{},{},{}{cells},{},{},{},{}",
            quoted(&escape(t.address.as_str())),
            t.status.word(),
            t.value.map(|v| v.to_string()).unwrap_or_default(),
            t.step.map(|s| s.to_string()).unwrap_or_default(),
            t.took.map(|m| m.as_secs_f64().to_string()).unwrap_or_default(),
            t.spent.map(crate::base::Money::decimal).unwrap_or_default(),
            words(&t.why),
            words(&t.because),
            t.started.map(|at| at.to_string()).unwrap_or_default(),
            t.ended.map(|at| at.to_string()).unwrap_or_default(),
        );
    }
    out
}

/// A text that a spreadsheet would take for a formula stands behind an apostrophe.
fn cell(value: &crate::base::Value, quoted: impl Fn(&str) -> String) -> String {
    match value.as_str() {
        Some(text) if text.starts_with(['=', '+', '-', '@']) => quoted(&format!("'{}", escape(text))),
        Some(text) => quoted(&escape(text)),
        None => quoted(&escape(&value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Address, Timestamp};

    #[test]
    fn a_curve_has_at_most_forty_cells_and_ends_with_the_last_value() {
        let at = |results: usize, best: f64| Point { results, address: Address::new("w", "t", None), at: Timestamp(0), value: best, best };
        let points = |values: &[f64]| values.iter().enumerate().map(|(i, v)| at(i + 1, *v)).collect::<Vec<_>>();
        assert_eq!(spark(&points(&[7.0, 3.0, 1.0, 0.0]), true, CELLS), "█▄▂▁");
        assert_eq!(spark(&points(&[2.0, 2.0]), false, CELLS), "__");
        assert_eq!(spark(&points(&[f64::MAX, f64::MIN]), true, CELLS), "█▁");
        let many: Vec<f64> = (0..1001).map(|i| if i == 1000 { 0.0 } else { 1.0 }).collect();
        assert_eq!(spark(&points(&many), true, CELLS), format!("{}▁", "█".repeat(39)));
        assert_eq!(spark(&[], true, CELLS), "");
    }

    #[test]
    fn the_tables_are_cut_to_the_lines_that_there_are_and_the_heads_are_not() {
        let trial = |n: usize| Trial {
            address: Address::new("w", "t", Some(&n.to_string())),
            status: crate::record::RunStatus::Running,
            value: None,
            step: None,
            spent: None,
            took: None,
            started: None,
            ended: None,
            params: Vec::new(),
            why: None,
            because: None,
        };
        let trials: Vec<Trial> = (0..12).map(trial).collect();
        let overview = Overview {
            sweep: "w/t".into(),
            method: "tpe",
            metric: None,
            trials: 12,
            counts: crate::record::Tally::default(),
            paused: None,
            spent: None,
            held: crate::base::Money::ZERO,
            max_cost: None,
            best: None,
            curve: Vec::new(),
            live: trials.clone(),
            top: trials.into_iter().take(10).collect(),
        };
        let all = [(overview, None)];
        let lines = |rows| text(&all, rows).lines().count();
        assert_eq!((lines(None), lines(Some(100))), (4 + 3 + 10 + 1 + 3 + 10, 4 + 3 + 10 + 1 + 3 + 10));
        assert_eq!((lines(Some(23)), lines(Some(13)), lines(Some(2))), (23, 13, 4));
        assert!(text(&all, Some(23)).contains("and 6 more"));
    }
}
