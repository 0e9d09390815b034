//! `oppen budget status`: where each budget stands.
//!
//! In: the files' budgets, the ledger's sums, the state's reservations. Out: text or JSON. Must never change anything.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::advise::budget::{Standing, percent, standing};
use crate::base::Timestamp;
use crate::base::text::escape;
use crate::cli::args::{BackendKind, Output};
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::{self, Form, fit, style, width};
use crate::cli::plan::now;
use crate::cli::session::{Place, Session};
use crate::expand::OnExceed;
use crate::queue::Treasury;
use crate::store::Store;

/// Cells of a bar.
const BAR: i64 = 20;

/// `budget status`
#[derive(Debug, Args)]
pub struct Status {
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `budget status`
pub fn run(here: &Path, args: &Status) -> Outcome {
    let place = Place::find(here, Some(BackendKind::Local))?;
    let store = Store::open_existing(&place.state_folder())?;
    // What files say now; where they hold errors, what the project says and what was applied last.
    let session = Session::read(here, &[], &[], Some(BackendKind::Local));
    let mut rules = if session.diags.has_errors() { Vec::new() } else { session.rules };
    let applied = match &store {
        Some(store) => place.rules(store)?,
        None => place.of_project(),
    };
    let new: Vec<_> = applied.into_iter().filter(|r| !rules.iter().any(|k| k.scope == r.scope && k.name == r.name)).collect();
    rules.extend(new);
    let (now, slots) = (now(), place.limits.max_concurrent);
    let treasury = match &store {
        Some(store) => {
            let mut treasury = store.treasury(&place.rates, &rules, slots, now)?;
            crate::engine::reserved(&mut treasury, &store.load_open()?);
            treasury
        }
        None => Treasury::new(place.rates.clone(), &rules, slots, now),
    };
    let all = standing(treasury.accounts());
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            output::json(&json!({"format_version": 1, "time": now.to_string(), "budgets": all.iter().map(value).collect::<Vec<_>>()}))
        }
        _ => text(&all),
    })?;
    Ok(Exit::Done)
}

fn value(b: &Standing) -> serde_json::Value {
    let mut value = serde_json::to_value(b).unwrap_or_default();
    value["next"] = json!(b.next.map(|t| t.to_string()));
    value["percent"] = json!(percent(b.spent_tenths));
    value
}

fn text(all: &[Standing]) -> String {
    if all.is_empty() {
        return "No budgets. Write `budget: {limit: 50 USD}` into oppen.yaml or a workflow.\n".to_owned();
    }
    let mut out = String::new();
    for b in all {
        let limit = format!("{} {}", word(b.on_exceed), b.limit);
        let name = fit(&escape(&b.name), width().saturating_sub(limit.len() + 2));
        let _ = writeln!(out, "{}  {limit}", style::paint(style::BOLD, &name));
        if b.scope.is_each_run() {
            continue;
        }
        let used = format!("{:>6}", percent(b.spent_tenths));
        let _ = writeln!(out, "  {} {used}  {} spent, {} reserved, {} left", bar(b), b.spent, b.reserved, b.left);
        if let Some(next) = b.next {
            let _ = writeln!(out, "  begins anew {}", local(next, b.timezone));
        }
    }
    out
}

/// `2026-12-01 00:00 Europe/Berlin`.
fn local(at: Timestamp, zone: &str) -> String {
    let zone: chrono_tz::Tz = zone.parse().unwrap_or_default();
    at.utc().map_or_else(|| at.to_string(), |t| t.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string()) + " " + zone.name()
}

const fn word(on_exceed: OnExceed) -> &'static str {
    match on_exceed {
        OnExceed::Warn => "warns at",
        OnExceed::Hold => "holds at",
        OnExceed::Stop => "stops at",
        OnExceed::Cap => "ends its sweep at",
    }
}

/// Spent and reserved as parts of the limit.
fn bar(b: &Standing) -> String {
    let cells = |tenths: i64| (tenths * BAR + 500) / 1000;
    let spent = cells(b.spent_tenths).clamp(0, BAR);
    let both = cells(b.spent_tenths + b.reserved_tenths).clamp(spent, BAR);
    let [full, half, none] = if output::unicode() { ["█", "▒", "░"] } else { ["#", "=", "."] };
    let times = |cell: &str, n: i64| cell.repeat(usize::try_from(n).unwrap_or(0));
    let color = if b.spent >= b.limit {
        style::BAD
    } else if b.reached.is_some() {
        style::CHANGE
    } else {
        style::GOOD
    };
    format!(
        "{}{}{}",
        style::paint(color, &times(full, spent)),
        times(half, both - spent),
        style::paint(style::DIM, &times(none, BAR - both))
    )
}
