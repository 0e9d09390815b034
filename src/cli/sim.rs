//! `oppen sim`: the engine against a simulated cluster with faults.

use std::fmt::Write as _;

use super::args;
use super::exit::{Exit, Outcome};
use super::output;
use crate::backend::simulated::{Report, simulate};

/// Runs seeds until one breaks a promise.
pub fn run(args: &args::Sim) -> Outcome {
    let mut total = Report::default();
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let show = args.trace && seed == args.seed;
        let result = simulate(seed, None, |line| {
            if show {
                let _ = output::print(&format!("{line}\n"));
            }
        });
        match result {
            Ok(report) => total.add(&report),
            Err(violation) => {
                let trace = violation.trace.join("\n");
                output::say(&format!(
                    "{trace}\nseed {seed}, step {}, oppen {}: {}",
                    violation.step,
                    env!("CARGO_PKG_VERSION"),
                    violation.what
                ));
                return Ok(Exit::Error);
            }
        }
    }
    let mut text = format!(
        "{} seeds, {} steps, {} events, {} executions: all promises held.\n",
        args.seeds, total.steps, total.events, total.executions
    );
    for (kind, count) in &total.faults {
        let _ = writeln!(text, "  {count:>8}  {kind}");
    }
    output::print(&text)?;
    Ok(Exit::Done)
}
