//! `oppen status --from-cluster`: what the cluster has of our runs, when the state cannot be asked.
//!
//! In: the project file and the cluster. Out: text and JSON. Must never open, make or change a state.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::args::{self, BackendKind};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, fit, pad, style, width};
use super::plan::now;
use super::progress::cause_text;
use super::session::Place;
use crate::backend::kubernetes::Settings;
use crate::backend::kubernetes::seen::{self, Seen};
use crate::base::Timestamp;
use crate::base::text::escape;
use crate::diff::select::matches_address;

/// Asks, selects, prints.
pub fn run(here: &Path, args: &args::Status) -> Outcome {
    if let Some(selector) = args.select.iter().find(|s| s.contains(':') || s.contains('+')) {
        let message = format!("--from-cluster knows addresses alone, not `{}`", escape(selector));
        return Err(Failure::new(Exit::Usage, message).hint("write an address with * and ?, such as 'w/train*'"));
    }
    let place = Place::find(here, Some(BackendKind::Kubernetes))?;
    let decl = place.loaded.project.as_ref().and_then(|p| p.kubernetes.as_ref());
    let settings = Settings::read(decl, "", place.state_folder());
    let now = now();
    let mut rows = seen::read(&settings, now)?;
    let wanted = |r: &Seen| r.attempt.as_ref().is_some_and(|a| args.select.iter().any(|s| matches_address(s, a.address.as_str())));
    rows.retain(|r| args.select.is_empty() || wanted(r));
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            let lineages: Vec<Value> = lineages(&rows)
                .map(|rows| json!({"lineage": rows.first().map(|r| &r.lineage), "attempts": rows.iter().map(value).collect::<Vec<_>>()}))
                .collect();
            output::json(&json!({"format_version": 1, "namespace": settings.namespace, "lineages": lineages}))
        }
        Form::Text if rows.is_empty() && !args.select.is_empty() => {
            format!("No Job of Oppen in the namespace {} has such an address.\n", settings.namespace)
        }
        Form::Text => text(&rows, &settings.namespace, now),
    })?;
    Ok(Exit::Done)
}

/// Rows that follow each other and are of the same lineage.
fn lineages(rows: &[Seen]) -> impl Iterator<Item = &[Seen]> {
    rows.chunk_by(|a, b| a.lineage == b.lineage)
}

fn value(row: &Seen) -> Value {
    let id = row.attempt.as_ref();
    json!({
        "address": id.map(|a| &a.address), "generation": id.map(|a| a.generation), "attempt": id.map(|a| a.number), "job": row.job,
        "state": row.state, "started": row.started.map(|t| t.to_string()), "ended": row.ended.map(|t| t.to_string()), "node": row.node,
        "outcome": row.outcome, "waits": row.waits,
    })
}

fn text(rows: &[Seen], namespace: &str, now: Timestamp) -> String {
    if rows.is_empty() {
        return format!("No Job of Oppen in the namespace {namespace}.\n");
    }
    let mut out = String::new();
    for rows in lineages(rows) {
        let lineage = rows.first().map(|r| escape(&r.lineage)).unwrap_or_default();
        let _ = writeln!(out, "{}", style::paint(style::BOLD, &format!("Lineage {lineage}")));
        rows.iter().for_each(|row| write_row(&mut out, row, now));
        out.push('\n');
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (jobs, of) = (count(rows.len(), "Job"), count(lineages(rows).count(), "lineage"));
    let _ = writeln!(out, "{jobs} of {of} in the namespace {namespace}; times are UTC.");
    let _ = writeln!(out, "{}", style::paint(style::DIM, "From labels in the cluster alone: no state was read or changed."));
    out
}

fn write_row(out: &mut String, row: &Seen, now: Timestamp) {
    let (name, try_) = match &row.attempt {
        Some(a) => (escape(a.address.as_str()).into_owned(), format!("g{} a{}", a.generation, a.number)),
        None => (format!("Job {}", escape(&row.job)), String::new()),
    };
    let color = match row.state {
        "succeeded" => style::GOOD,
        "failed" => style::BAD,
        "running" => style::LIVE,
        _ => style::CHANGE,
    };
    let start = row.started.map(|t| t.to_string().get(5..16).unwrap_or_default().replace('T', " ")).unwrap_or_default();
    let took = row.started.map(|s| row.ended.unwrap_or(now).since(s).to_string()).unwrap_or_default();
    let room = width().saturating_sub(54).max(20);
    let state = style::paint(color, &pad(row.state, 9));
    let line = format!("  {} {} {state} {} {took:>7}", pad(&fit(&name, room), room), pad(&try_, 6), pad(&start, 11));
    let node = if row.node.is_empty() { String::new() } else { format!(" {}", fit(&escape(&row.node), 12)) };
    let _ = writeln!(out, "{}", format!("{line}{node}").trim_end());
    let words = match &row.outcome {
        Some(o) if row.state == "failed" => {
            let code = o.exit_code.map(|c| format!(" (exit code {c})")).unwrap_or_default();
            let detail = if o.detail.is_empty() { String::new() } else { format!(": {}", o.detail) };
            Some(format!("{}{code}{detail}", cause_text(o.cause)))
        }
        _ => row.waits.as_ref().filter(|_| row.ended.is_none()).map(|w| format!("waits: {w}")),
    };
    if let Some(words) = words {
        let _ = writeln!(out, "      {}", fit(&escape(&words), width().saturating_sub(6)));
    }
}
