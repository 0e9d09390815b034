//! `oppen sweep`: sweeps as units. A file a family of commands; each has its own arguments.

mod act;
mod best;
mod compare;
mod export;
mod import;
mod importance;
mod live;
mod parquet;
mod plot;
mod report;
mod list;
pub mod status;
pub mod unseen;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;

use super::exit::{Exit, Failure, Outcome};
use super::plan::now;
use super::progress::number;
use super::session::Place;
use crate::advise::sweeps::table::Table;
use crate::advise::sweeps::{self as sweep, Ground, Overview, Trial};
use crate::base::text::escape;
use crate::base::{Money, suggest};
use crate::diff::select::matches_address;
use crate::expand::{OnExceed, Scope};
use crate::record::{State, Tally};
use crate::store::Store;

/// `sweep`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with sweeps.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every sweep: its trials, its best value, its cost
    List(list::Args),
    /// Show how a sweep stands: counts, best so far, curve, cost, what runs, the ten best
    Status(status::Args),
    /// Print the params of the best trials as YAML, ready to paste
    Best(best::Args),
    /// Tell which params matter (functional ANOVA), and how sure that is
    Importance(importance::Args),
    /// Hold two sweeps against each other: best value at equal trials, cost and time
    Compare(compare::Args),
    /// Draw one as SVG: history, parallel, slices, contour, curves
    Plot(plot::Args),
    /// Write one as a page of HTML that needs nothing else
    Report(report::Args),
    /// Write its trials for other programs
    Export(export::Args),
    /// Make a workflow of another tool's search: W&B, Katib, Determined, Optuna
    Import(import::Args),
    /// Start no further trial; what runs goes on to its end
    Pause(act::Args),
    /// Let paused sweeps go on
    Resume(act::Args),
}

/// Runs one of them.
pub fn run(here: &Path, args: &Args) -> Outcome {
    match &args.command {
        Command::List(args) => list::run(here, args),
        Command::Status(args) => status::run(here, args),
        Command::Best(args) => best::run(here, args),
        Command::Importance(args) => importance::run(here, args),
        Command::Compare(args) => compare::run(here, args),
        Command::Plot(args) => plot::run(here, args),
        Command::Report(args) => report::run(here, args),
        Command::Export(args) => export::run(here, args),
        Command::Import(args) => import::run(here, args),
        Command::Pause(args) => act::pause(here, args),
        Command::Resume(args) => act::resume(here, args),
    }
}

/// The sweeps of a state that match an address or a glob; all without one.
fn matching(state: &State, address: Option<&str>) -> Result<Vec<Arc<str>>, Failure> {
    let mut all = sweep::names(state);
    let sweeps: std::collections::BTreeSet<&str> =
        state.runs.values().filter(|r| r.spec.job.sweep.is_some()).map(|r| &*r.spec.job.job).collect();
    all.retain(|job| sweeps.contains(&**job));
    among(all, state, address)
}

/// Those of the names that match an address or a glob.
fn among(all: Vec<Arc<str>>, state: &State, address: Option<&str>) -> Result<Vec<Arc<str>>, Failure> {
    let Some(address) = address else { return Ok(all) };
    let found: Vec<_> = all.iter().filter(|job| matches_address(address, job)).cloned().collect();
    if found.is_empty() {
        let job = state.runs.values().any(|r| matches_address(address, r.spec.address.as_str()));
        let message =
            if job { format!("`{}` is no sweep", escape(address)) } else { format!("no sweep `{}` in the state", escape(address)) };
        let hint = suggest::hint(address, all.iter().map(|j| &**j)).map(|h| escape(&h).into_owned());
        let hint = hint.or_else(|| Some("no workflow that was applied here has a sweep".to_owned()));
        return Err(Failure { exit: Exit::Error, message, hint });
    }
    Ok(found)
}

/// The store and all that answers about sweeps need.
struct Desk {
    place: Place,
    store: Store,
    state: State,
    posted: BTreeMap<Arc<str>, Money>,
}

impl Desk {
    fn open(here: &Path) -> Result<Self, Failure> {
        let place = Place::find(here, None)?;
        let store = place.store()?;
        let mut desk = Self { place, store, state: State::default(), posted: BTreeMap::new() };
        desk.refresh()?;
        Ok(desk)
    }

    /// Reads the state again.
    fn refresh(&mut self) -> Result<(), Failure> {
        self.state = self.store.load()?;
        let rules: Vec<_> =
            self.store.rules()?.into_iter().filter(|r| matches!(r.scope, Scope::Job(_)) && r.on_exceed == OnExceed::Cap).collect();
        let treasury = self.store.treasury(&self.place.rates, &rules, &self.place.limits, now())?;
        let of = |a: &crate::queue::Account| match &a.rule.scope {
            Scope::Job(job) => Some((Arc::clone(job), a.spent)),
            _ => None,
        };
        self.posted = treasury.accounts().iter().filter_map(of).collect();
        Ok(())
    }

    fn ground(&self) -> Ground<'_> {
        Ground { rates: &self.place.rates, posted: &self.posted, now: now() }
    }

    /// Sweeps and matrices with a metric.
    fn names(&self, address: Option<&str>) -> Result<Vec<Arc<str>>, Failure> {
        among(sweep::names(&self.state), &self.state, address)
    }

    /// The only one that an address names.
    fn one(&self, address: &str) -> Result<Arc<str>, Failure> {
        match &self.names(Some(address))?[..] {
            [one] => Ok(Arc::clone(one)),
            more => {
                let message = format!("`{}` is {} sweeps, and this is about one", escape(address), more.len());
                let all: Vec<&str> = more.iter().take(8).map(|j| &**j).collect();
                Err(Failure::new(Exit::Usage, message).hint(format!("name one of {}", escape(&all.join(", ")))))
            }
        }
    }

    /// Overviews, and what to say of a metric that no trial gave a value.
    fn whole(&self, jobs: &[Arc<str>]) -> Vec<status::Whole> {
        let folder = self.place.state_folder();
        let files = unseen::Files { folder: &folder, lineage: self.store.lineage() };
        // Files are read only where no value is known.
        let unseen = |o: &Overview| o.best.is_none().then(|| unseen::of(&sweep::records(&self.state, &o.sweep), files)).flatten();
        let with = |o: Overview| {
            let unseen = unseen(&o);
            (o, unseen)
        };
        self.overviews(jobs).into_iter().map(with).collect()
    }

    fn table(&self, job: &Arc<str>) -> Table {
        sweep::table::table(&self.state, job, self.ground())
    }

    fn overviews(&self, jobs: &[Arc<str>]) -> Vec<Overview> {
        sweep::overviews(&self.state, jobs, self.ground())
    }
}

/// Trials by where they stand, in words.
fn counts(tally: &Tally) -> String {
    let all = [
        (tally.succeeded, "succeeded"),
        (tally.live, "running"),
        (tally.pending, "pending"),
        (tally.pruned, "pruned"),
        (tally.unneeded, "not needed"),
        (tally.failed, "failed"),
        (tally.lost, "cancelled or skipped"),
    ];
    let parts: Vec<String> = all.into_iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")).collect();
    parts.join(", ")
}

/// What it cost, against what it may.
fn cost(sweep: &Overview) -> String {
    let spent = sweep.spent.map_or_else(|| "unpriced".to_owned(), |m| m.to_string());
    let limit = match sweep.max_cost {
        Some(limit) => {
            let percent = sweep.spent.filter(|_| limit > Money::ZERO).map(|s| i128::from(s.micros()) * 100 / i128::from(limit.micros()));
            format!(" of max_cost {limit}{}", percent.map(|p| format!(" ({p}%)")).unwrap_or_default())
        }
        None => String::new(),
    };
    let held = if sweep.held > Money::ZERO { format!(", {} set aside for what runs", sweep.held) } else { String::new() };
    format!("{spent}{limit}{held}")
}

/// Params in a line.
fn params(trial: &Trial) -> String {
    let all: Vec<String> = trial.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
    escape(&all.join(" ")).into_owned()
}

/// The same for a narrow column: long fractions are rounded.
fn brief(trial: &Trial) -> String {
    let short = |v: &crate::base::Value| {
        let text = v.to_string();
        v.as_f64().filter(|_| text.len() > 8).map_or(text, number)
    };
    let all: Vec<String> = trial.params.iter().map(|(k, v)| format!("{k}={}", short(v))).collect();
    escape(&all.join(" ")).into_owned()
}

/// A value, or that there is none.
fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}
