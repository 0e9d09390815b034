//! `oppen submit`: templates with values into the queue, without a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::args::Output;
use super::desk::ask::{Ask, batch, spread};
use super::desk::submit::{Leave, Receipt, new_id, prepare, submit};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, fit, pad, width};
use super::plan::now;
use crate::base::text::escape;
use crate::base::{Money, Timestamp};

/// Rows of text; JSON has all.
const ROWS: usize = 20;

/// `submit`
#[derive(Debug, Args)]
pub struct Submit {
    /// A model type of oppen.yaml, a workflow file, or the name of a workflow
    #[arg(required_unless_present = "batch")]
    pub what: Option<String>,
    /// Value of an input: name=value
    #[arg(long, value_name = "K=V", value_parser = output::setting)]
    pub with: Vec<(String, String)>,
    /// Priority class (default: what the template says)
    #[arg(long, value_name = "CLASS")]
    pub priority: Option<String>,
    /// How often
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// A JSON array of {model_type, epochs, batch_size, priority, with, count}; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "with", "priority", "count"])]
    pub batch: Option<PathBuf>,
    /// Submit only if all of it is expected to cost no more
    #[arg(long, value_name = "USD", value_parser = output::money)]
    pub max_cost: Option<Money>,
    /// Price it and show its place, and leave it at that
    #[arg(long)]
    pub dry_run: bool,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// Reads, prices, submits, tells the place in the line.
pub fn run(here: &Path, args: &Submit) -> Outcome {
    let prepared = prepare(here, &asks(args)?, &new_id())?;
    let receipt = submit(&prepared, &Leave::person(), args.max_cost, !args.dry_run)?;
    let now = now();
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&value(&receipt)),
        Form::Text => text(&receipt, now),
    })?;
    Ok(Exit::Done)
}

fn asks(args: &Submit) -> Result<Vec<Ask>, Failure> {
    if let Some(file) = &args.batch {
        let wrong = |e: std::io::Error| Failure::new(Exit::Usage, format!("--batch {}: {e}", file.display()));
        let text = if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
        return batch(&text.map_err(wrong)?);
    }
    let with: Map<String, Value> = args.with.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
    let what = args.what.clone().unwrap_or_default();
    spread(vec![Ask { model_type: what, priority: args.priority.clone(), with, count: Some(args.count), ..Ask::default() }])
}

/// A receipt for programs.
#[must_use]
pub fn value(receipt: &Receipt) -> Value {
    let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
    let runs: Vec<Value> = receipt
        .runs
        .iter()
        .map(|a| {
            let waits = receipt.board.of(a);
            json!({"address": a, "position": waits.map(|w| w.position), "start": time(waits.and_then(|w| w.start)), "cost": waits.and_then(|w| w.cost)})
        })
        .collect();
    json!({
        "format_version": 1, "id": receipt.id, "submitted": receipt.submitted, "cost": receipt.cost, "unpriced": receipt.unpriced,
        "jobs": receipt.jobs, "runs": runs, "pending_cost": receipt.board.pending_cost, "budgets": receipt.budgets,
    })
}

fn text(receipt: &Receipt, now: Timestamp) -> String {
    let mut out = String::new();
    for address in receipt.runs.iter().take(ROWS) {
        let waits = receipt.board.of(address);
        let position = waits.map_or(String::new(), |w| w.position.to_string());
        let start = waits.and_then(|w| w.start).map_or("unknown".to_owned(), |s| when(s, now));
        let cost = waits.and_then(|w| w.cost).map_or("unpriced".to_owned(), |c| c.to_string());
        let room = width().saturating_sub(40);
        let _ = writeln!(out, "{position:>5}  {} {start:>12} {cost:>12}", pad(&fit(&escape(address.as_str()), room), room));
    }
    if receipt.runs.len() > ROWS {
        let _ = writeln!(out, "       and {} more; -o json has all", receipt.runs.len() - ROWS);
    }
    for line in &receipt.budgets {
        let _ = writeln!(out, "Budget of {}: {} with all that runs and waits, of {}", escape(&line.scope), line.total, line.limit);
    }
    let (n, verb) = (receipt.runs.len(), if receipt.submitted { "submitted" } else { "priced, nothing submitted" });
    let unpriced = if receipt.unpriced > 0 { format!(", {} without a price", receipt.unpriced) } else { String::new() };
    let _ = writeln!(out, "{n} run{} {verb}, expected to cost {}{unpriced}.", if n == 1 { "" } else { "s" }, receipt.cost);
    out
}

/// `now`, `+2m`.
#[must_use]
pub fn when(time: Timestamp, now: Timestamp) -> String {
    if time <= now { "now".to_owned() } else { format!("+{}", time.since(now)) }
}
