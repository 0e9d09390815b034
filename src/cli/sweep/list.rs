//! `oppen sweep list`: every sweep, in two lines each.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::super::args::Output;
use super::super::exit::{Exit, Outcome};
use super::super::output::{self, Form, fit, pad, style, width};
use super::{Desk, cost, counts, params, shown};
use crate::advise::sweeps::Overview;
use crate::base::text::escape;

/// `sweep list`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only sweeps that match: WORKFLOW/JOB, or a pattern with * and ?
    pub address: Option<String>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// Shows them.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    let all = desk.overviews(&desk.names(args.address.as_deref())?);
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            let brief = |o: &Overview| {
                json!({"sweep": o.sweep, "method": o.method, "metric": o.metric, "trials": o.trials, "counts": o.counts, "paused": o.paused,
                    "spent": o.spent, "held": o.held, "max_cost": o.max_cost, "best": o.best})
            };
            output::json(&json!({"format_version": 1, "sweeps": all.iter().map(brief).collect::<Vec<_>>()}))
        }
        Form::Text => text(&all),
    })?;
    Ok(Exit::Done)
}

fn text(all: &[Overview]) -> String {
    if all.is_empty() {
        return "No sweeps.\n".to_owned();
    }
    let (mut out, room) = (String::new(), 30);
    for o in all {
        let name = pad(&fit(&escape(&o.sweep), room), room);
        let paused = o.paused.as_ref().map(|by| format!("; paused by {}", escape(by))).unwrap_or_default();
        let words = format!("{} {}: {}{paused}", o.trials, if o.trials == 1 { "trial" } else { "trials" }, counts(&o.counts));
        let _ = writeln!(out, "{} {}", style::paint(style::BOLD, &name), fit(&words, width().saturating_sub(room + 1)));
        let best = match (&o.best, &o.metric) {
            (Some(best), Some(metric)) => {
                let key = best.address.key().unwrap_or_default();
                format!("best {} {} in [{}] with {}", escape(&metric.name), shown(best.value), escape(key), params(best))
            }
            (None, Some(metric)) if o.is_over() => {
                format!("no trial gave {} a value: `oppen sweep status {}` tells more", escape(&metric.name), escape(&o.sweep))
            }
            (None, Some(metric)) => format!("no value of {} yet", escape(&metric.name)),
            _ => "no metric".to_owned(),
        };
        let _ = writeln!(out, "  {}", fit(&best, width().saturating_sub(2)));
        let _ = writeln!(out, "  {}", fit(&format!("cost {}", cost(o)), width().saturating_sub(2)));
    }
    out
}
