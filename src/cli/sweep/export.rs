//! `oppen sweep export`: trials for other programs.

use std::fmt::Write as _;
use std::path::Path;

use super::super::exit::{Exit, Outcome};
use super::super::output;
use super::{Desk, status};
use crate::advise::sweeps as sweep;
use crate::advise::sweeps::table::Table;
use crate::base::text::escape;

/// `sweep export`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB
    pub address: String,
    /// Output: csv (a line a trial), steps (CSV, a line a reported step), each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = output::parse::<Shape>)]
    pub output: Vec<output::Target<Shape>>,
}

/// A form of the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A line a trial.
    Csv,
    /// A line a step.
    Steps,
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] = &[("csv", Self::Csv), ("steps", Self::Steps)];
}

/// Writes it.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    let job = desk.one(&args.address)?;
    output::write(&args.output, |shape| match shape {
        Shape::Csv => status::csv(&sweep::trials(&desk.state, &job, desk.ground())),
        Shape::Steps => steps(&desk.table(&job)),
    })?;
    Ok(Exit::Done)
}

fn steps(table: &Table) -> String {
    let mut out = "address,step,value\n".to_owned();
    for row in &table.rows {
        let address = escape(row.trial.address.as_str());
        let address = if address.contains([',', '"']) { format!("\"{}\"", address.replace('"', "\"\"")) } else { address.into_owned() };
        for (step, value) in &row.curve {
            let _ = writeln!(out, "{address},{step},{value}");
        }
    }
    out
}
