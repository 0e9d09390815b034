//! `oppen sweep export`: trials for other programs.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::parquet::{self, Column};
use super::{Desk, status};
use crate::advise::sweeps::table::Table;
use crate::advise::sweeps::{self as sweep, Trial};
use crate::base::text::escape;
use crate::record::Goal;
use crate::search::param;

/// `sweep export`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB
    pub address: String,
    /// Output: csv or parquet (a row a trial), steps (a line a step of the metric), parquet-steps (a row a report of any metric, with its
    /// time), each with =FILE to write a file; may be given again. Parquet goes to a file or into a pipe
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
    /// A row a trial, with types.
    Parquet,
    /// A row a report of any metric, with types.
    ParquetSteps,
}

impl Shape {
    const fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Steps)
    }
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] =
        &[("csv", Self::Csv), ("steps", Self::Steps), ("parquet", Self::Parquet), ("parquet-steps", Self::ParquetSteps)];
}

/// Writes it.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let (texts, tables): (Vec<_>, Vec<_>) = args.output.iter().cloned().partition(|target| target.form.is_text());
    let shown = |target: &output::Target<Shape>| target.file.is_none();
    if tables.iter().any(shown) && std::io::stdout().is_terminal() {
        let hint = "name a file, as in `-o parquet=trials.parquet`, or write into a pipe";
        return Err(Failure::new(Exit::Usage, "Parquet is bytes that a terminal cannot show").hint(hint));
    }
    if let (Some(table), true) = (tables.iter().find(|t| shown(t)), args.output.iter().filter(|t| shown(t)).count() > 1) {
        let words = "standard output holds one Parquet file and nothing else";
        let form = if table.form == Shape::Parquet { "parquet" } else { "parquet-steps" };
        return Err(Failure::new(Exit::Usage, words).hint(format!("name a file for the other forms, or `-o {form}=FILE`")));
    }
    let desk = Desk::open(here)?;
    let job = desk.one(&args.address)?;
    if !texts.is_empty() || tables.is_empty() {
        output::write(&texts, |shape| match shape {
            Shape::Steps => steps(&desk.table(&job)),
            _ => status::csv(&sweep::trials(&desk.state, &job, desk.ground())),
        })?;
    }
    for target in tables {
        let bytes = match target.form {
            Shape::ParquetSteps => reports(&desk, &job)?,
            _ => trial_rows(&sweep::trials(&desk.state, &job, desk.ground()), &notes(&desk, &job))?,
        };
        output::write_bytes(target.file.as_deref(), &bytes)?;
    }
    Ok(Exit::Done)
}

/// What a file says of itself beside its columns.
fn notes(desk: &Desk, job: &Arc<str>) -> Vec<(&'static str, String)> {
    let mut notes = vec![("oppen.format_version", "1".to_owned()), ("oppen.sweep", job.to_string())];
    for overview in desk.overviews(std::slice::from_ref(job)) {
        notes.push(("oppen.method", overview.method.to_owned()));
        if let Some(metric) = overview.metric {
            notes.push(("oppen.metric", metric.name));
            notes.push(("oppen.goal", if metric.goal == Goal::Maximize { "maximize" } else { "minimize" }.to_owned()));
        }
    }
    notes
}

/// The columns of the CSV, with types.
fn trial_rows(trials: &[Trial], notes: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
    let names = status::param_names(trials);
    let mut columns = vec![
        ("address".to_owned(), Column::texts(trials.iter().map(|t| Some(t.address.as_str())))),
        ("status".to_owned(), Column::texts(trials.iter().map(|t| Some(t.status.word())))),
        ("value".to_owned(), Column::Number(trials.iter().map(|t| t.value).collect())),
        ("step".to_owned(), Column::Whole(trials.iter().map(|t| t.step).collect())),
        ("seconds".to_owned(), Column::Number(trials.iter().map(|t| t.took.map(crate::base::Millis::as_secs_f64)).collect())),
        ("spent".to_owned(), Column::amounts(trials.iter().map(|t| t.spent))),
    ];
    for name in names {
        columns.push((format!("params.{name}"), Column::values(trials.iter().map(|t| param(&t.params, name)))));
    }
    columns.push(("why".to_owned(), Column::texts(trials.iter().map(|t| t.why.as_deref()))));
    columns.push(("because".to_owned(), Column::texts(trials.iter().map(|t| t.because.as_deref()))));
    columns.push(("started".to_owned(), Column::times(trials.iter().map(|t| t.started))));
    columns.push(("ended".to_owned(), Column::times(trials.iter().map(|t| t.ended))));
    parquet::file(&columns, notes)
}

/// Every report of every trial, as the journal has it: nothing is thinned out, and what is no number is null.
fn reports(desk: &Desk, job: &Arc<str>) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    for record in sweep::records(&desk.state, job) {
        let address = record.spec.address.as_str();
        all.extend(desk.store.points(address, record.generation)?.into_iter().map(|(noted, point)| (address, noted, point)));
    }
    let columns = [
        ("address".to_owned(), Column::texts(all.iter().map(|(address, ..)| Some(*address)))),
        ("metric".to_owned(), Column::texts(all.iter().map(|(.., p)| Some(&*p.name)))),
        ("step".to_owned(), Column::Whole(all.iter().map(|(.., p)| p.step).collect())),
        ("value".to_owned(), Column::Number(all.iter().map(|(.., p)| p.value.filter(|v| v.is_finite())).collect())),
        ("at".to_owned(), Column::times(all.iter().map(|(_, noted, p)| Some(p.at.unwrap_or(*noted))))),
    ];
    parquet::file(&columns, &notes(desk, job))
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
