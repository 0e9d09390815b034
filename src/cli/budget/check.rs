//! `oppen budget check`: whether what files want fits.
//!
//! In: files and addresses, a limit or the budgets. Out: feasible or not, and how much would fit; as text and JSON. Must never
//! change anything.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::advise::budget::{Answer, Fit, check, percent};
use crate::base::text::escape;
use crate::base::{Money, Timestamp};
use crate::cli::args::{BackendKind, Output, Part};
use crate::cli::cost::estimate::{files_and_addresses, wanted};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, Form, fit, pad, style, width};
use crate::cli::plan::now;
use crate::cli::session::Session;
use crate::record::State;
use crate::store::Store;

/// Most jobs of text; JSON has all.
const JOBS: usize = 20;

/// `budget check`
#[derive(Debug, Args)]
pub struct Check {
    /// Workflow files (.yaml) and addresses (with * and ?); without any, everything in the project
    #[arg(value_name = "FILE|ADDR")]
    pub what: Vec<String>,
    /// Against this limit instead of the budgets: everything counts as if nothing had run yet
    #[arg(long, value_name = "USD", value_parser = output::money)]
    pub limit: Option<Money>,
    /// Price as if started at this time (RFC 3339; default: now)
    #[arg(long, value_name = "TIME", value_parser = output::time)]
    pub at: Option<Timestamp>,
    /// Set an input: name=value, or workflow.name=value
    #[arg(long, value_name = "K=V", value_parser = output::setting)]
    pub set: Vec<(String, String)>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `budget check`
pub fn run(here: &Path, args: &Check) -> Outcome {
    if args.limit.is_some_and(|l| l <= Money::ZERO) {
        return Err(Failure::new(Exit::Usage, "--limit: nothing fits into no money").hint("give dollars, such as --limit \"5 USD\""));
    }
    let (paths, addresses) = files_and_addresses(&args.what);
    let session = Session::read(here, &paths, &args.set, Some(BackendKind::Local));
    session.sound(&args.output.output)?;
    wanted(&session, &addresses)?;
    let at = args.at.unwrap_or_else(now);
    let part = Part { target: addresses.iter().map(|a| (*a).to_owned()).collect(), ..Part::default() };
    let store = if args.limit.is_some() { None } else { Store::open_existing(&session.state_folder())? };
    let state = store.as_ref().map_or(Ok(State::default()), Store::load)?;
    let plan = session.plan(store.as_ref(), &state, &part, at)?;
    let user = crate::store::me("budget", at).who().into();
    let answer = check(&plan, &session.rates, &user, args.limit, at);
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            let mut value = serde_json::to_value(&answer).unwrap_or_default();
            value["format_version"] = json!(1);
            value["time"] = json!(at.to_string());
            output::json(&value)
        }
        _ => text(&answer),
    })?;
    Ok(if answer.feasible { Exit::Done } else { Exit::Blocked })
}

fn text(a: &Answer) -> String {
    let mut out = String::new();
    if a.runs == 0 {
        return "Nothing would run: it fits.\n".to_owned();
    }
    let worst = a.worst.map_or_else(|| "not known at the worst (a run has no timeout)".to_owned(), |w| format!("{w} at the worst"));
    let _ = writeln!(out, "{}: {} expected, {worst}.", runs(a.runs as u64), style::paint(style::BOLD, &a.expected.to_string()));
    if a.unpriced > 0 {
        let _ = writeln!(out, "{} has no price: add `estimate: {{time: 30m}}`.", runs(a.unpriced as u64));
    }
    if a.limits.is_empty() {
        let _ = writeln!(out, "No budget counts it. Give a limit: --limit \"5 USD\".");
        return out;
    }
    let head = ["so far", "this", "limit", "used"];
    let _ = writeln!(out, "\n  {} {:>11} {:>11} {:>11} {:>7}", pad("", 28), head[0], head[1], head[2], head[3]);
    for l in &a.limits {
        let (word, color) = match (l.feasible, l.unpriced > 0, l.at_worst) {
            (false, true, _) => ("?", style::BAD),
            (false, ..) => ("over", style::BAD),
            (true, _, Some(false)) => ("fits*", style::CHANGE),
            _ => ("fits", style::GOOD),
        };
        let name = pad(&fit(&escape(&l.name), 28), 28);
        let used = percent(l.used_tenths);
        let _ = writeln!(out, "  {name} {:>11} {:>11} {:>11} {used:>7} {}", l.before, l.expected, l.limit, style::paint(color, word));
    }
    if a.limits.iter().any(|l| l.feasible && l.at_worst == Some(false)) {
        let _ = writeln!(out, "  * at the worst, its timeouts and retries used up, it does not fit");
    }
    out.push('\n');
    for f in a.jobs.iter().take(JOBS) {
        let _ = writeln!(out, "  {}", fit(&words(f), width().saturating_sub(2)));
    }
    if a.jobs.len() > JOBS {
        let _ = writeln!(out, "  ... and {} more jobs; `-o json` has all", a.jobs.len() - JOBS);
    }
    let verdict = if a.feasible { style::paint(style::GOOD, "Feasible.") } else { style::paint(style::BAD, "Not feasible.") };
    let _ = writeln!(out, "{verdict}");
    out
}

/// `mnist/train: room for 4 epochs (2 planned) or 2 runs (1 planned)`.
fn words(f: &Fit) -> String {
    let epochs = f.epochs_fit.zip(f.epochs).map(|(fit, n)| {
        let each = if f.runs > 1 { " each" } else { "" };
        format!("{fit} {}{each} ({n} planned) or ", if fit == 1 { "epoch" } else { "epochs" })
    });
    format!("{}: room for {}{} ({} planned)", escape(&f.job), epochs.unwrap_or_default(), runs(f.runs_fit), f.runs)
}

fn runs(n: u64) -> String {
    if n == 1 { "1 run".to_owned() } else { format!("{n} runs") }
}
