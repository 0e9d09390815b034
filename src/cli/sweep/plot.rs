//! `oppen sweep plot`: one picture of a sweep.

use std::path::Path;

use clap::ValueEnum;

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::Desk;
use crate::advise::sweeps::plots;
use crate::base::text::escape;

/// `sweep plot`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sweep: WORKFLOW/JOB
    pub address: String,
    /// What to draw
    #[arg(value_enum)]
    pub what: What,
    /// The two params of a contour (default: the two that matter most)
    #[arg(long, value_name = "X,Y", value_parser = pair)]
    pub params: Option<(String, String)>,
    /// Output: svg, with =FILE to write a file
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = output::parse::<Picture>)]
    pub output: Vec<output::Target<Picture>>,
}

/// A picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The best value so far.
    History,
    /// A line a trial through all params.
    Parallel,
    /// The metric against each param.
    Slices,
    /// The metric over two params, as a forest sees it.
    Contour,
    /// The metric by step, a line a trial.
    Curves,
}

/// The one form of a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture;

impl output::Forms for Picture {
    const ALL: &'static [(&'static str, Self)] = &[("svg", Self)];
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(',').map(|(a, b)| (a.trim().to_owned(), b.trim().to_owned()));
    parts
        .filter(|(a, b)| !a.is_empty() && !b.is_empty() && a != b)
        .ok_or_else(|| "write two different params, such as `lr,batch`".to_owned())
}

/// Draws it.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let desk = Desk::open(here)?;
    let job = desk.one(&args.address)?;
    let table = desk.table(&job);
    if args.params.is_some() && args.what != What::Contour {
        return Err(Failure::new(Exit::Usage, "`--params` is for `contour`").hint("leave it out"));
    }
    if table.metric.is_none() {
        let message = format!("{} names no metric, so that there is nothing to draw", escape(&job));
        return Err(Failure::new(Exit::Error, message).hint("add `metric: {name: val_loss, goal: minimize}` to the sweep and apply it"));
    }
    if !table.rows.iter().any(|r| r.trial.value.is_some()) {
        let message = format!("no trial of {} has a value of `{}` yet", escape(&job), escape(table.metric_name()));
        return Err(Failure::new(Exit::Error, message).hint(format!("see how it stands with `oppen sweep status {}`", escape(&job))));
    }
    if args.what == What::Curves && table.rows.iter().all(|r| r.curve.is_empty()) {
        let message = format!("no trial of {} reported `{}` step by step", escape(&job), escape(table.metric_name()));
        return Err(Failure::new(Exit::Error, message).hint("print `step=3 val_loss=0.4` after each step"));
    }
    let svg = match args.what {
        What::History => desk.overviews(std::slice::from_ref(&job)).iter().map(|o| o.chart().svg()).collect(),
        What::Parallel => plots::parallel(&table),
        What::Slices => plots::slices(&table),
        What::Contour => {
            let pair = args.params.as_ref().map(|(a, b)| (a.as_str(), b.as_str()));
            plots::contour(&table, pair).map_err(|(words, hint)| Failure::new(Exit::Error, escape(&words)).hint(escape(&hint)))?
        }
        What::Curves => plots::curves(&table),
    };
    output::write(&args.output, |_| svg.clone())?;
    Ok(Exit::Done)
}
