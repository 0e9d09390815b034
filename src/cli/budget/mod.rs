//! `oppen budget`: where budgets stand, and whether a plan fits. A file a subcommand, its arguments beside it.

pub mod check;
pub mod status;

use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::Outcome;

/// `budget`
#[derive(Debug, Args)]
pub struct Budget {
    /// What to do.
    #[command(subcommand)]
    pub command: BudgetCommand,
}

/// What to know about budgets.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Show every budget: spent, reserved, left, and when it begins anew
    Status(status::Status),
    /// Tell whether what files want fits into a limit or into the budgets (exit code 3 when not)
    Check(check::Check),
}

/// `budget`
pub fn run(here: &Path, args: &Budget) -> Outcome {
    match &args.command {
        BudgetCommand::Status(args) => status::run(here, args),
        BudgetCommand::Check(args) => check::run(here, args),
    }
}
