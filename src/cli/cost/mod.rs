//! `oppen cost`: what runs cost, before, while and after they run. A file a subcommand, its arguments beside it.

pub mod estimate;
pub mod report;

use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::Outcome;

/// `cost`
#[derive(Debug, Args)]
pub struct Cost {
    /// What to do.
    #[command(subcommand)]
    pub command: CostCommand,
}

/// What to know about cost.
#[derive(Debug, Subcommand)]
pub enum CostCommand {
    /// Price runs piece by piece, as if they started at a time
    Estimate(estimate::Estimate),
    /// Show where the money went: totals, waste, savings
    Report(report::Report),
}

/// `cost`
pub fn run(here: &Path, args: &Cost) -> Outcome {
    match &args.command {
        CostCommand::Estimate(args) => estimate::run(here, args),
        CostCommand::Report(args) => report::run(here, args),
    }
}
