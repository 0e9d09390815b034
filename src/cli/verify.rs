//! `oppen verify`: whether the ledger says what it said when it was written.
//!
//! In: the state. Out: totals, or each fault with the number of its entry. Must never change anything.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::args::Output;
use super::exit::{Exit, Outcome};
use super::output::{self, Form, style, width, wrap};
use super::session::Place;
use crate::base::text::escape;
use crate::store::Reconciled;

/// Most faults in text; JSON has all.
const SHOWN: usize = 20;

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `verify`
pub fn run(here: &Path, args: &Verify) -> Outcome {
    let here = Place::find(here, None)?;
    let store = here.store()?;
    let mut found = store.verify()?;
    let again = store.reconcile(&here.rates)?;
    found.faults.extend(again.differences.iter().cloned());
    let place = |seq: i64| if seq > 0 { format!("entry {seq}") } else { "sums".to_owned() };
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            let faults: Vec<Value> = found.faults.iter().map(|f| json!({"entry": f.seq, "what": f.words})).collect();
            output::json(
                &json!({"format_version": 1, "whole": faults.is_empty(), "entries": found.entries, "spent": found.spent, "reserved": found.reserved, "head": found.head, "faults": faults,
                    "reconciled": {"seconds": again.seconds, "money": again.money, "gone": again.gone, "other_rates": again.other_rates, "charged": again.charged, "computed": again.computed}}),
            )
        }
        _ => {
            let mut out = String::new();
            for fault in found.faults.iter().take(SHOWN) {
                let _ = writeln!(out, "{} {}: {}", style::paint(style::BAD, "fault"), place(fault.seq), escape(&fault.words));
            }
            if found.faults.len() > SHOWN {
                let _ = writeln!(out, "and {} more; `-o json` has all", found.faults.len() - SHOWN);
            }
            let head = found.head.map(|h| format!(", head {}", h.short())).unwrap_or_default();
            let verdict = match found.faults.len() {
                0 => style::paint(style::GOOD, "The ledger is whole"),
                1 => style::paint(style::BAD, "The ledger has 1 fault"),
                n => style::paint(style::BAD, &format!("The ledger has {n} faults")),
            };
            let _ = writeln!(out, "{verdict}: {} entries, {} spent, {} reserved{head}.", found.entries, found.spent, found.reserved);
            for line in wrap(&reconciled(&again), width()) {
                let _ = writeln!(out, "{line}");
            }
            out
        }
    })?;
    Ok(if found.faults.is_empty() { Exit::Done } else { Exit::Error })
}

/// What was computed again from the backend's timestamps, and what could not be.
fn reconciled(r: &Reconciled) -> String {
    let posts = |n: u64| if n == 1 { "1 charge".to_owned() } else { format!("{n} charges") };
    let mut words = vec![format!(
        "By the backend's timestamps: {} checked for seconds, {} for money ({} charged, {} computed)",
        posts(r.seconds),
        r.money,
        r.charged,
        r.computed
    )];
    if r.other_rates > 0 {
        words.push(format!("{} at other rates or settings than now", posts(r.other_rates)));
    }
    if r.gone > 0 {
        words.push(format!("{} of runs that are no longer in the state", posts(r.gone)));
    }
    words.join("; ") + "."
}
