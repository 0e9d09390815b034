//! `oppen cost`: what runs cost, before, while and after they run. A file a subcommand, its arguments beside it.

pub mod backtest;
pub mod compare;
pub mod correct;
pub mod estimate;
pub mod forecast;
pub mod recommend;
pub mod report;

use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::Outcome;
use crate::base::Money;

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
    /// Tell what runs will have cost when they are over, and when that is
    Forecast(forecast::ForecastArgs),
    /// Tell what would have cost less, by how much, with the edit that makes it so
    Recommend(recommend::Recommend),
    /// Compare configurations and finished runs: cost, time, metric, and which nothing beats
    Compare(compare::CompareArgs),
    /// Test the 95% interval on recorded runs: how many fell into theirs, and how wide it was
    Backtest(backtest::Backtest),
    /// Correct what an attempt cost, with a new entry of the ledger
    Correct(correct::Correct),
    /// Show where the money went: totals, waste, savings
    Report(report::Report),
}

/// `cost`
pub fn run(here: &Path, args: &Cost) -> Outcome {
    match &args.command {
        CostCommand::Estimate(args) => estimate::run(here, args),
        CostCommand::Forecast(args) => forecast::run(here, args),
        CostCommand::Recommend(args) => recommend::run(here, args),
        CostCommand::Compare(args) => compare::run(here, args),
        CostCommand::Backtest(args) => backtest::run(here, args),
        CostCommand::Correct(args) => correct::run(here, args),
        CostCommand::Report(args) => report::run(here, args),
    }
}

/// Money in a narrow column: cents from a dollar on, three digits that count below.
#[must_use]
pub fn short(money: Money) -> String {
    digits(money, 1)
}

/// Money in the narrowest column: two digits that count below a dollar.
#[must_use]
pub fn shorter(money: Money) -> String {
    digits(money, 10)
}

fn digits(money: Money, less: i64) -> String {
    let micros = money.micros();
    let step = match micros.unsigned_abs() {
        0 => return "$0".to_owned(),
        1_000_000.. => 10_000,
        100_000.. => 1000 * less,
        10_000.. => 100 * less,
        1000.. => 10 * less,
        100.. => less,
        _ => 1,
    };
    let rounded = crate::base::money::div_half_even(i128::from(micros), i128::from(step)).saturating_mul(step);
    Money::from_micros(rounded).to_string()
}

/// A chance as people say it: `3%`, `below 0.1%`.
#[must_use]
pub fn odds(chance: f64) -> String {
    match chance * 100.0 {
        p if p < 0.1 => "below 0.1%".to_owned(),
        p if p > 99.9 => "above 99.9%".to_owned(),
        p if p < 10.0 => format!("{p:.1}%"),
        p => format!("{p:.0}%"),
    }
}
