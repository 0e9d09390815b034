//! `oppen sweep importance`: which params matter.

use std::fmt::Write as _;
use std::path::Path;

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{self, fit, pad, style, unicode, width, wrap};
use super::Desk;
use crate::advise::sweeps::importance::{Importance, Share, importance};
use crate::advise::sweeps::plots;
use crate::base::text::escape;

/// `sweep importance`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB
    pub address: String,
    /// Let pruned trials count with their last value
    #[arg(long)]
    pub with_pruned: bool,
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

/// Says it.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    let job = desk.one(&args.address)?;
    let answer =
        importance(&desk.table(&job), args.with_pruned).map_err(|(words, hint)| Failure::new(Exit::Error, escape(&words)).hint(hint))?;
    output::write(&args.output, |shape| match shape {
        Shape::Text => text(&answer),
        Shape::Svg => plots::importance(&answer),
        Shape::Json => output::versioned(&answer),
    })?;
    Ok(Exit::Done)
}

fn text(a: &Importance) -> String {
    let mut out = style::paint(style::BOLD, &escape(&a.sweep));
    let seen = (a.fit * 100.0).max(0.0);
    let _ = writeln!(out, ": what explains {}, from {} results (fit {seen:.0}%)\n", escape(&a.metric), a.results);
    let name = |s: &Share| escape(&s.params.iter().map(|p| &**p).collect::<Vec<_>>().join(" with ")).into_owned();
    let pairs: Vec<&Share> = a.pairs.iter().filter(|p| p.share >= 0.01).collect();
    let room =
        a.params.iter().chain(pairs.iter().copied()).map(|s| unicode_width::UnicodeWidthStr::width(name(s).as_str())).max().unwrap_or(5);
    let room = room.clamp(5, 30);
    let head = format!("{} {:>7}  {:>12}  {:<16}", pad("param", room), "share", "95% of trees", "best in the mean");
    let _ = writeln!(out, "  {}", style::paint(style::DIM, head.trim_end()));
    let mut row = |s: &Share| {
        let between = format!("{:.0}% to {:.0}%", s.interval.0 * 100.0, s.interval.1 * 100.0);
        let bar = bar(s.share);
        let best = s.best.as_deref().map(|b| escape(b).into_owned()).unwrap_or_default();
        let line =
            format!("  {} {:>6.1}%  {between:>12}  {} {bar}", pad(&fit(&name(s), room), room), s.share * 100.0, pad(&fit(&best, 16), 16));
        let _ = writeln!(out, "{}", fit(line.trim_end(), width()));
    };
    a.params.iter().for_each(&mut row);
    if !pairs.is_empty() {
        row(&Share {
            params: vec!["together:".into()],
            share: pairs.iter().map(|p| p.share).sum(),
            interval: pairs.iter().fold((0.0, 0.0), |(l, h), p| (l + p.interval.0, h + p.interval.1)),
            best: None,
        });
        pairs.into_iter().for_each(&mut row);
    }
    for words in &a.warnings {
        let lines = wrap(&escape(words), width().saturating_sub(11));
        let _ = writeln!(out, "\n{} {}", style::paint(style::CHANGE, "warning:"), lines.join("\n         "));
    }
    out
}

fn bar(share: f64) -> String {
    let glyph = if unicode() { "█" } else { "#" };
    let cells = (0..20).filter(|i| share * 20.0 >= f64::from(*i) + 0.5).count();
    glyph.repeat(cells)
}
