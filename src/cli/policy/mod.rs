//! `oppen policy`: rules, and the cases that they are tested with.

mod test;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::{Output, Reports};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, fit, width};
use super::problems;
use crate::base::Diagnostics;
use crate::base::text::escape;
use crate::check::policy::{self, Level, Policy};
use crate::files::{self, Loaded};

/// `policy`
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the rules that plans are held to
    List {
        /// Shared arguments.
        #[command(flatten)]
        output: Output,
    },
    /// Run the cases under `tests` of policy documents
    Test {
        /// Policy files; without any, those in policies/
        files: Vec<PathBuf>,
        /// Shared arguments.
        #[command(flatten)]
        output: Reports,
    },
}

/// Does it.
pub fn run(here: &Path, args: &PolicyArgs) -> Outcome {
    match &args.command {
        PolicyCommand::List { output } => list(here, output),
        PolicyCommand::Test { files, output } => test::run(here, files, output),
    }
}

/// Reads the project's policies; stops when a file holds errors.
fn read(here: &Path, named: &[PathBuf]) -> Result<(Loaded, Vec<Policy>), Failure> {
    let mut diags = Diagnostics::default();
    let loaded = files::load(here, named, &mut diags);
    let policies = policy::compile(loaded.project.as_ref(), &loaded.policies, &loaded.sources, &mut diags);
    if diags.has_errors() {
        output::say(problems::text(&diags, &loaded.sources).trim_end());
        output::say(&problems::count(&diags));
        return Err(Failure::silent(Exit::Invalid));
    }
    Ok((loaded, policies))
}

fn list(here: &Path, output: &Output) -> Outcome {
    let (loaded, policies) = read(here, &[])?;
    let word = |level: Level| if level == Level::Deny { "deny" } else { "warn" };
    let place = |p: &Policy| (loaded.sources.path(p.span.file).to_owned(), loaded.sources.place(p.span).line);
    output::write(&output.output, |form| match form {
        Form::Json => {
            let rules = policies.iter().map(|p| {
                let (file, line) = place(p);
                json!({"name": p.name, "level": word(p.level), "expression": p.source, "each": if p.is_per_run() { "run" } else { "plan" }, "file": file, "line": line})
            });
            output::json(&json!({"format_version": 1, "policies": rules.collect::<Vec<Value>>()}))
        }
        Form::Text if policies.is_empty() => {
            "No policies: write `policies` into oppen.yaml, or documents of kind Policy into policies/.\n".to_owned()
        }
        Form::Text => policies.iter().fold(String::new(), |mut out, p| {
            let (file, line) = place(p);
            let _ = writeln!(out, "{} {} ({}:{line})", word(p.level), escape(&p.name), escape(&file));
            let _ = writeln!(out, "     {}", fit(&escape(&p.source), width().saturating_sub(5)));
            out
        }),
    })?;
    Ok(Exit::Done)
}
