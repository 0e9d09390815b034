//! `oppen verify`: whether the ledger says what it said when it was written.
//!
//! In: the state, and what the backend still knows of its attempts. Out: totals, or each fault with the number of its entry. Must never
//! change anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::args::{BackendKind, Output};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, style, width, wrap};
use super::plan::now;
use super::session::Place;
use crate::backend::kubernetes::{Settings, seen};
use crate::backend::local;
use crate::base::AttemptId;
use crate::base::text::{counted, escape};
use crate::store::{Confronted, Reconciled, Store, WITHIN, Witness};

/// Most faults in text; JSON has all.
const SHOWN: usize = 20;

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Ask no cluster: hold the ledger only against what is on this machine
    #[arg(long)]
    pub offline: bool,
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
    let asked = Asked::ask(&here, &store, args.offline)?;
    found.faults.extend(asked.found.differences.iter().cloned());
    let place = |seq: i64| if seq > 0 { format!("entry {seq}") } else { "sums".to_owned() };
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            let faults: Vec<Value> = found.faults.iter().map(|f| json!({"entry": f.seq, "what": f.words})).collect();
            output::json(
                &json!({"format_version": 1, "whole": faults.is_empty(), "entries": found.entries, "spent": found.spent, "reserved": found.reserved, "head": found.head, "faults": faults,
                    "reconciled": {"seconds": again.seconds, "money": again.money, "gone": again.gone, "other_rates": again.other_rates, "charged": again.charged, "computed": again.computed},
                    "backend": asked.value()}),
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
            for words in [reconciled(&again), asked.words()] {
                for line in wrap(&words, width()) {
                    let _ = writeln!(out, "{line}");
                }
            }
            out
        }
    })?;
    Ok(if found.faults.is_empty() { Exit::Done } else { Exit::Error })
}

/// What the backends were asked, and what came of it.
struct Asked {
    /// Who answered: `the keepers' files`, `namespace training`.
    whom: Vec<String>,
    /// Why a cluster was not asked.
    silent: Option<String>,
    found: Confronted,
}

impl Asked {
    /// Asks this machine, and the cluster where runs are Jobs.
    fn ask(here: &Place, store: &Store, offline: bool) -> Result<Self, Failure> {
        let (folder, lineage) = (here.state_folder(), store.lineage());
        let (mut whom, mut silent) = (vec!["the files of their keepers".to_owned()], None);
        let of_machine = local::told(&folder, lineage).into_iter();
        let mut seen: BTreeMap<AttemptId, Witness> =
            of_machine.map(|t| (t.attempt, Witness { started: t.started, ended: t.ended, around: false })).collect();
        if here.backend == BackendKind::Kubernetes {
            let decl = here.loaded.project.as_ref().and_then(|p| p.kubernetes.as_ref());
            let settings = Settings::read(decl, lineage, folder);
            let answer = if offline { Err("--offline".to_owned()) } else { seen::read(&settings, now()).map_err(|e| e.message) };
            match answer {
                Ok(rows) => {
                    whom.push(format!("namespace {}", settings.namespace));
                    let ours = rows.into_iter().filter(|r| r.lineage == lineage);
                    // Without a pod only the Job tells, and that began before its container did.
                    let witness = |r: &seen::Seen| Witness { started: r.started, ended: r.ended, around: r.node.is_empty() };
                    seen.extend(ours.filter_map(|r| r.attempt.clone().map(|a| (a, witness(&r)))));
                }
                Err(words) => silent = Some(words),
            }
        }
        Ok(Self { whom, silent, found: store.confront(&seen, &here.rates, now())? })
    }

    fn value(&self) -> Value {
        let f = &self.found;
        json!({"asked": self.whom, "not_asked": self.silent, "within_s": WITHIN.as_secs_f64(), "agree": f.agree, "settled": f.settled,
            "gone": f.gone, "live": f.live, "differ": f.differences.len()})
    }

    fn words(&self) -> String {
        let f = &self.found;
        let agree = if f.agree == 1 { "agrees" } else { "agree" };
        let mut words = vec![format!("Asked again ({}): {} {agree} within {WITHIN}", self.whom.join(", "), charges(f.agree))];
        words.extend((!f.differences.is_empty()).then(|| format!("{} differ", f.differences.len())));
        words.extend((f.settled > 0).then(|| format!("{} with other times that cost the same", charges(f.settled))));
        words.extend((f.live > 0).then(|| format!("{} not over", f.live)));
        words.extend((f.gone > 0).then(|| format!("{} of attempts that the backend no longer has", charges(f.gone))));
        words.extend(self.silent.as_ref().map(|why| format!("the cluster was not asked: {}", escape(why))));
        words.join("; ") + "."
    }
}

fn charges(n: u64) -> String {
    counted(usize::try_from(n).unwrap_or(usize::MAX), "charge")
}

/// What was computed again from the backend's timestamps, and what could not be.
fn reconciled(r: &Reconciled) -> String {
    let mut words = vec![format!(
        "By the backend's timestamps: {} checked for seconds, {} for money ({} charged, {} computed)",
        charges(r.seconds),
        r.money,
        r.charged,
        r.computed
    )];
    if r.other_rates > 0 {
        words.push(format!("{} at other rates or settings than now", charges(r.other_rates)));
    }
    if r.gone > 0 {
        words.push(format!("{} of runs that are no longer in the state", charges(r.gone)));
    }
    words.join("; ") + "."
}
