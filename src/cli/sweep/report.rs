//! `oppen sweep report`: a page of HTML that needs nothing else.

use std::path::Path;

use serde_json::Value;

use super::super::exit::{Exit, Outcome};
use super::super::output;
use super::{Desk, yaml};
use crate::advise::sweeps::page;
use crate::expand::template::nested;

/// `sweep report`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB
    pub address: String,
    /// Output: html, with =FILE to write a file
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = output::parse::<Page>)]
    pub output: Vec<output::Target<Page>>,
}

/// The one form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page;

impl output::Forms for Page {
    const ALL: &'static [(&'static str, Self)] = &[("html", Self)];
}

/// Writes it.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    let job = desk.one(&args.address)?;
    let table = desk.table(&job);
    let made = format!("As of {}, by Oppen {}.", desk.ground().now, env!("CARGO_PKG_VERSION"));
    for (overview, unseen) in desk.whole(std::slice::from_ref(&job)) {
        let warning = unseen.map(|u| u.text());
        let best = overview.best.as_ref().map(|b| yaml::write(&Value::Object(nested(b.params.iter().map(|(k, v)| (k, v))))));
        let html = page::html(&overview, &table, best.as_deref(), warning.as_deref(), &made);
        output::write(&args.output, |_| html.clone())?;
    }
    Ok(Exit::Done)
}
