//! `oppen approve`: a person agrees to what an agent proposed, or declines it.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::args::Output;
use super::desk::approval::{self, Proposal};
use super::desk::submit::{Leave, prepare, submit};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, fit, pad, width};
use super::plan::now;
use super::session::Place;
use crate::base::suggest;
use crate::base::text::escape;

/// `approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// The proposal; without it those that wait are listed
    pub id: Option<String>,
    /// Decline it
    #[arg(long, requires = "id")]
    pub decline: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// Lists, or decides.
pub fn run(here: &Path, args: &Approve) -> Outcome {
    let root = Place::find(here, None)?.loaded.root;
    let Some(id) = &args.id else { return list(&root, &args.output) };
    let all = approval::all(&root);
    let proposal = all.iter().find(|p| p.id == *id).ok_or_else(|| {
        let hint = suggest::hint(id, all.iter().map(|p| p.id.as_str())).unwrap_or_else(|| "nothing waits for approval".to_owned());
        Failure::new(Exit::Error, format!("no proposal `{}`", escape(id))).hint(hint)
    })?;
    if args.decline {
        approval::forget(&root, id);
        output::print(&format!("Declined {id}: nothing was submitted.\n"))?;
        return Ok(Exit::Done);
    }
    let prepared = prepare(&root, &proposal.asks, id)?;
    if approval::digest(&prepared) != proposal.digest {
        return Err(Failure::new(Exit::Stale, format!("the files have changed since {id} was proposed: other runs would start"))
            .hint(format!("decline it (`oppen approve {id} --decline`) and let the agent propose again")));
    }
    let look = submit(&prepared, &Leave::person(), None, false)?;
    output::print(&text(std::slice::from_ref(proposal)))?;
    output::print(&format!("Expected to cost {} now, for {} runs.\n", look.cost, look.runs.len()))?;
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(Exit::Declined, "there is no terminal to ask on; nothing was submitted").hint("say --yes"));
        }
        if !super::apply::ask("Submit it?")? {
            return Err(Failure::new(Exit::Declined, "nothing was submitted"));
        }
    }
    let leave = Leave::approved(&proposal.agent, crate::store::me("approve", now()).who());
    // Not dearer than what was shown a moment ago.
    let receipt = submit(&prepared, &leave, Some(look.cost), true)?;
    approval::forget(&root, id);
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&super::submit::value(&receipt)),
        Form::Text => format!("Submitted {id}: {} runs for {}; see `oppen queue`.\n", receipt.runs.len(), receipt.cost),
    })?;
    Ok(Exit::Done)
}

fn list(root: &Path, output: &Output) -> Outcome {
    let all = approval::all(root);
    output::write(&output.output, |form| match form {
        Form::Json => {
            let one = |p: &Proposal| json!({"id": p.id, "agent": p.agent, "cost": p.cost, "runs": p.runs, "because": p.because, "at": p.at.to_string(), "asks": p.asks});
            output::json(&json!({"format_version": 1, "proposals": all.iter().map(one).collect::<Vec<_>>()}))
        }
        Form::Text if all.is_empty() => "Nothing waits for approval.\n".to_owned(),
        Form::Text => text(&all) + "Decide with `oppen approve ID`, or `oppen approve ID --decline`.\n",
    })?;
    Ok(Exit::Done)
}

fn text(all: &[Proposal]) -> String {
    let mut out = String::new();
    for p in all {
        let runs = if p.runs == 1 { "1 run".to_owned() } else { format!("{} runs", p.runs) };
        let _ = writeln!(out, "{}  {:>9} {:>10}  {}", p.id, runs, p.cost.to_string(), pad(&fit(&escape(&p.agent), 30), 0));
        for ask in p.asks.iter().take(5) {
            let values: Vec<String> = ask.values().iter().map(|(k, v)| format!("{k}={v}")).collect();
            let priority = ask.priority.as_deref().map(|p| format!(", {p}")).unwrap_or_default();
            let words = format!("{} {}{priority}", ask.model_type, values.join(" "));
            let _ = writeln!(out, "          {}", fit(&escape(&words), width().saturating_sub(10)));
        }
        if p.asks.len() > 5 {
            let _ = writeln!(out, "          and {} more", p.asks.len() - 5);
        }
    }
    out
}
