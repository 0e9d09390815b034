//! `oppen rates`: what resources cost, how old that is, and prices of clouds read in. A file a subcommand, its arguments beside it.

pub mod check;
pub mod import;
pub mod show;

use std::path::Path;

use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::exit::Outcome;
use crate::base::Timestamp;
use crate::price::{ONE, Rates};

/// `rates`
#[derive(Debug, Args)]
pub struct RatesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RatesCommand,
}

/// What to know about rates.
#[derive(Debug, Subcommand)]
pub enum RatesCommand {
    /// Show a rate card: what each resource costs now, windows, factors, date and source
    Show(show::Show),
    /// Tell whether rates are fresh and price what workflows ask for (exit code 3 when not)
    Check(check::Check),
    /// Read price catalogs of clouds (SkyPilot's CSV files) into a rate card
    Import(import::Import),
}

/// `rates`
pub fn run(here: &Path, args: &RatesArgs) -> Outcome {
    match &args.command {
        RatesCommand::Show(args) => show::run(here, args),
        RatesCommand::Check(args) => check::run(here, args),
        RatesCommand::Import(args) => import::run(here, args),
    }
}

/// Name of the rates that stand in oppen.yaml, or of the built-in ones.
pub const OWN: &str = "project";

/// The name of a card.
fn name(rates: &Rates) -> &str {
    rates.card.as_deref().unwrap_or(OWN)
}

/// Whole days since the date of the prices.
fn age(as_of: NaiveDate, now: Timestamp) -> i64 {
    now.utc().map_or(0, |t| (t.date_naive() - as_of).num_days().max(0))
}

/// A factor in parts per million as a decimal.
fn factor(ppm: u64) -> String {
    let text = format!("{}.{:06}", ppm / ONE, ppm % ONE);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1 day`, `80 days`.
fn days(n: i64) -> String {
    format!("{n} day{}", if n == 1 { "" } else { "s" })
}
