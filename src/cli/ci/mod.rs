//! `oppen ci`: what a change of files would run and cost, without a cluster, secrets or a state.
//!
//! In: a base reference and files. Out: the change in every wanted form, and an exit code that a pipeline can hold on to. Must never
//! contact anything but git.

mod comment;
mod forge;
mod git;
mod markdown;
mod report;
mod sides;
mod text;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::args::{BackendKind, Files, Reports};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Format};
use super::plan::now;
use super::problems;
use super::session::Session;
use super::views::{self, Found, Places};
use crate::base::Timestamp;
use crate::check;
use crate::check::policy::Policy;
use crate::diff::judge::Side;
use crate::diff::{Plan, change};
use crate::expand::Desired;
use crate::record::{Estimate, RunSpec};
use report::Report;
use sides::{Asked, Sides};

/// `ci`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Ci {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<CiCommand>,
    /// Compare with this branch, tag or commit: with the point where this branch left it (default in a pull or merge request: its target)
    #[arg(long, value_name = "REF")]
    pub base: Option<String>,
    /// Workflow files or folders; without any, oppen.yaml and workflows/**/*.yaml
    pub paths: Vec<PathBuf>,
    /// Set an input: name=value, or workflow.name=value
    #[arg(long, value_name = "K=V", value_parser = output::setting)]
    pub set: Vec<(String, String)>,
    /// Where runs run: local or kubernetes (default: what oppen.yaml says, else local); nothing is contacted
    #[arg(long, value_enum)]
    pub backend: Option<BackendKind>,
    /// Price as if started at this time (RFC 3339; default: now)
    #[arg(long, value_name = "TIME", value_parser = output::time)]
    pub at: Option<Timestamp>,
    /// What runs without a price do
    #[arg(long, value_enum, default_value_t = Unpriced::Fail, value_name = "WHAT")]
    pub unpriced: Unpriced,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Reports,
}

/// What else `ci` does.
#[derive(Debug, Subcommand)]
pub enum CiCommand {
    /// Post the Markdown of a check to its pull or merge request, or put it in place of the last one
    Comment(comment::CommentArgs),
}

/// What runs without a price do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Unpriced {
    /// Warn.
    #[default]
    Warn,
    /// Refuse, with exit code 3.
    Fail,
}

impl Unpriced {
    /// Refuses a plan for its runs without a price, where that is wanted.
    pub fn judge(self, plan: &mut Plan, desired: &Desired) {
        if self == Self::Warn {
            return;
        }
        let starting = plan.runs.iter().filter(|r| r.action.runs());
        let priced: Vec<(&RunSpec, &Estimate)> = starting.filter_map(|r| r.spec.as_deref().zip(r.estimate.as_deref())).collect();
        let verdicts = check::unpriced(desired, &priced, true);
        plan.checks.extend(verdicts);
    }
}

/// Compares, shows, judges.
pub fn run(here: &Path, args: &Ci) -> Outcome {
    if let Some(CiCommand::Comment(args)) = &args.command {
        return comment::run(here, args);
    }
    let reference = match args.base.clone().or_else(target) {
        Some(reference) => reference,
        None => {
            return Err(Failure::new(Exit::Usage, "there is nothing to compare with").hint("say --base REF, such as --base origin/main"));
        }
    };
    let asked = Asked { paths: &args.paths, set: &args.set, backend: args.backend };
    let sides = sides::read(here, &asked, &reference)?;
    let prefix = views::prefix(&sides.head.loaded.root);
    if sides.head.diags.has_errors() {
        invalid(&sides.head, &prefix, args)?;
        return Ok(Exit::Invalid);
    }
    if !sides.head.diags.is_empty() {
        output::say(problems::text(&sides.head.diags, &sides.head.loaded.sources).trim_end());
    }
    let report = compare(&sides, args.unpriced, args.at.unwrap_or_else(now), &prefix);
    let jobs: Vec<String> = sides.head.desired.jobs.iter().map(|j| j.address.to_string()).collect();
    output::write(&args.output.output, |format| match format {
        Format::Text => text::text(&report),
        Format::Json => output::json(&report),
        Format::Markdown => markdown::text(&report),
        other => views::text(other, &report.found(jobs.clone())).unwrap_or_default(),
    })?;
    Ok(if report.blocked { Exit::Blocked } else { Exit::Done })
}

/// The change against a reference as text, for `oppen plan --base`.
pub fn of_plan(here: &Path, files: &Files<Reports>, reference: &str, at: Timestamp) -> Result<String, Failure> {
    let asked = Asked { paths: &files.paths, set: &files.set, backend: files.backend };
    let sides = sides::read(here, &asked, reference)?;
    Ok(text::text(&compare(&sides, Unpriced::Warn, at, &views::prefix(&sides.head.loaded.root))))
}

fn compare(sides: &Sides, unpriced: Unpriced, at: Timestamp, prefix: &str) -> Report {
    // The rules of the edit hold for both sides: what they say of the base as well is not the edit's doing. A rule that the edit
    // brings is so for new runs.
    let policies = &sides.head.policies;
    let base = (!sides.base.diags.has_errors()).then(|| side(&sides.base, policies, unpriced));
    let change = change::change(base.as_ref(), &side(&sides.head, policies, unpriced), at);
    report::report(sides, change, at, prefix)
}

fn side<'a>(session: &'a Session, policies: &'a [Policy], unpriced: Unpriced) -> Side<'a> {
    Side {
        desired: &session.desired,
        project: session.loaded.project.as_ref(),
        rates: &session.rates,
        rules: &session.rules,
        limits: &session.limits,
        policies,
        unpriced_blocks: unpriced == Unpriced::Fail,
    }
}

/// What a pull or merge request is to be merged into, as the CI tells it.
fn target() -> Option<String> {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let github = var("GITHUB_BASE_REF").map(|branch| format!("origin/{branch}"));
    github.or_else(|| var("CI_MERGE_REQUEST_DIFF_BASE_SHA"))
}

/// The files hold errors: told in every wanted form.
fn invalid(head: &Session, prefix: &str, args: &Ci) -> Result<(), Failure> {
    let (diags, sources) = (&head.diags, &head.loaded.sources);
    let found = Found { command: "ci", looked_at: Vec::new(), findings: Places { sources, prefix }.of_diagnostics(diags) };
    let project = head.loaded.project.as_ref().map(|p| p.name.0.0.to_string()).unwrap_or_default();
    let targets = &args.output.output;
    if !targets.iter().any(|t| t.file.is_none()) {
        output::say(problems::text(diags, sources).trim_end());
        output::say(&problems::count(diags));
    }
    if targets.is_empty() {
        return Ok(());
    }
    output::write(targets, |format| match format {
        Format::Text => format!("{}{}\n", problems::text(diags, sources), problems::count(diags)),
        Format::Json => output::json(
            &json!({"format_version": report::FORMAT_VERSION, "errored": true, "diagnostics": problems::values(diags, sources)}),
        ),
        Format::Markdown => format!("{}\n{}", markdown::marker(&project), views::text(format, &found).unwrap_or_default()),
        other => views::text(other, &found).unwrap_or_default(),
    })
}
