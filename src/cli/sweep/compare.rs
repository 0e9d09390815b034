//! `oppen sweep compare`: two sweeps, or two sets of repeated ones.

use std::fmt::Write as _;
use std::path::Path;

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{self, fit, pad, style, width, wrap};
use super::{Desk, shown};
use crate::advise::sweeps::compare::{Comparison, Side, compare};
use crate::advise::sweeps::plots;
use crate::advise::sweeps::table::Table;
use crate::base::text::escape;

/// `sweep compare`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first: WORKFLOW/JOB, or a pattern for repetitions of it
    pub first: String,
    /// The second
    pub second: String,
    /// Output: text, json, svg, each with =FILE to write a file; may be given again
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
    /// A picture.
    Svg,
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json), ("svg", Self::Svg)];
}

/// Compares them.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    let side =
        |address: &str| -> Result<Vec<Table>, Failure> { Ok(desk.names(Some(address))?.iter().map(|job| desk.table(job)).collect()) };
    let (first, second) = (side(&args.first)?, side(&args.second)?);
    if let Some(both) = first.iter().find(|t| second.iter().any(|s| s.sweep == t.sweep)) {
        let message = format!("{} is on both sides", escape(&both.sweep));
        return Err(Failure::new(Exit::Usage, message).hint("name two different sweeps, or patterns that share none"));
    }
    let answer = compare(&first, &second).map_err(|(words, hint)| Failure::new(Exit::Error, escape(&words)).hint(hint))?;
    output::write(&args.output, |shape| match shape {
        Shape::Text => text(&answer),
        Shape::Svg => plots::comparison(&answer),
        Shape::Json => output::versioned(&answer),
    })?;
    Ok(Exit::Done)
}

fn name(side: &Side) -> String {
    match &side.ways[..] {
        [one] => escape(&one.sweep).into_owned(),
        many => format!("{} of {}", many.len(), escape(many.first().map_or("", |w| &w.sweep))),
    }
}

fn text(a: &Comparison) -> String {
    let (mut out, room) = (String::new(), 26);
    let goal = if a.maximize { "maximize" } else { "minimize" };
    let _ = writeln!(out, "{}\n", style::paint(style::BOLD, &format!("{goal} {}", escape(&a.metric))));
    let head = |text: &str| format!("{:>room$}", fit(text, room));
    // Figures stand above each other, whether a star follows or not.
    let plain = |text: String| format!("{text}  ");
    let _ = writeln!(out, "  {} {} {}", pad("", 18), head(&plain(name(&a.sides.0))), head(&plain(name(&a.sides.1))));
    let mut line = |what: &str, first: String, second: String| {
        let text = format!("  {} {} {}", pad(&fit(what, 18), 18), head(&first), head(&second));
        let _ = writeln!(out, "{}", fit(text.trim_end(), width()));
    };
    let last = |side: &Side, of: &dyn Fn(&crate::advise::sweeps::compare::Step) -> String| {
        let all: Vec<String> = side.ways.iter().map(|w| w.steps.last().map_or_else(|| "-".to_owned(), of)).collect();
        if all.len() > 3 { format!("{} and {} more", all[..2].join(", "), all.len() - 2) } else { all.join(", ") }
    };
    line("results", plain(last(&a.sides.0, &|s| s.results.to_string())), plain(last(&a.sides.1, &|s| s.results.to_string())));
    line("cost", plain(last(&a.sides.0, &|s| s.cost.to_string())), plain(last(&a.sides.1, &|s| s.cost.to_string())));
    line("machine time", plain(last(&a.sides.0, &|s| s.time.to_string())), plain(last(&a.sides.1, &|s| s.time.to_string())));
    line("best", plain(shown(a.sides.0.best)), plain(shown(a.sides.1.best)));
    for equal in &a.equal {
        let mark = |own: Option<f64>, other: Option<f64>| {
            let better = own.zip(other).is_some_and(|(a_, b)| if a.maximize { a_ > b } else { a_ < b });
            format!("{}{}", shown(own), if better { " *" } else { "  " })
        };
        line(&format!("after {}", equal.at), mark(equal.best.0, equal.best.1), mark(equal.best.1, equal.best.0));
    }
    if let Some(chance) = a.chance {
        let verdict = if chance < 0.05 { "they differ by more than chance" } else { "the difference may be chance" };
        let _ = writeln!(out, "\n  p = {chance:.3} (permutation test of the mean best): {verdict}");
    }
    for words in &a.warnings {
        let lines = wrap(&escape(words), width().saturating_sub(11));
        let _ = writeln!(out, "\n{} {}", style::paint(style::CHANGE, "warning:"), lines.join("\n         "));
    }
    out
}
