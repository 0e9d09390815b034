//! `oppen sweep best`: the params of the best trials, ready to paste.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::super::args::Output;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{self, Form};
use super::{Desk, shown, yaml};
use crate::advise::sweeps as sweep;
use crate::base::text::escape;
use crate::expand::template::nested;

/// `sweep best`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB
    pub address: String,
    /// How many trials, best first; more than one are printed as a list, as `points` takes them
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub number: u32,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// Prints them.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    let job = desk.one(&args.address)?;
    let metric = desk.state.runs.values().find(|r| r.spec.job.job == job).and_then(|r| r.spec.job.metric.clone());
    let Some(metric) = metric else {
        let message = format!("{} names no metric, so that none of its trials is the best", escape(&job));
        return Err(Failure::new(Exit::Error, message).hint("add `metric: {name: val_loss, goal: minimize}` to the sweep and apply it"));
    };
    let trials = sweep::best(&desk.state, &job, usize::try_from(args.number).unwrap_or(usize::MAX), desk.ground());
    if trials.is_empty() {
        let message = format!("no trial of {} has a value of `{}` yet", escape(&job), escape(&metric.name));
        return Err(Failure::new(Exit::Error, message).hint(format!("see how it stands with `oppen sweep status {}`", escape(&job))));
    }
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&json!({"format_version": 1, "sweep": job, "metric": metric, "trials": trials})),
        Form::Text => {
            let mut out = String::new();
            for trial in &trials {
                let words = format!("{}: {} {}", trial.address, metric.name, shown(trial.value));
                let params = Value::Object(nested(trial.params.iter().map(|(k, v)| (k, v))));
                let _ = writeln!(out, "# {}", escape(&words));
                out.push_str(&if args.number > 1 { yaml::write(&json!([params])) } else { yaml::write(&params) });
            }
            out
        }
    })?;
    Ok(Exit::Done)
}
