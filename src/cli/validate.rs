//! `oppen validate`: every problem of every file, in one pass.

use std::path::Path;

use serde_json::json;

use super::args::Files;
use super::exit::{Exit, Outcome};
use super::output::{self, Form};
use super::problems;
use super::session::Session;

/// Reads, expands and seals everything; prints what is wrong. A template without its inputs, and a project without workflows,
/// are no problems here: they are when they are to be planned.
pub fn run(here: &Path, args: &Files) -> Outcome {
    let session = Session::to_validate(here, args);
    let (diags, sources) = (&session.diags, &session.loaded.sources);
    let (runs, jobs, workflows) = (session.desired.runs.len(), session.desired.jobs.len(), session.desired.workflows.len());
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&json!({
            "format_version": 1, "valid": !diags.has_errors(), "diagnostics": problems::values(diags, sources),
            "workflows": workflows, "jobs": jobs, "runs": runs, "templates": session.templates,
        })),
        Form::Text if diags.has_errors() => format!("{}{}\n", problems::text(diags, sources), problems::count(diags)),
        Form::Text => {
            let left_out =
                if session.templates.is_empty() { String::new() } else { format!(" Templates: {}.", session.templates.join(", ")) };
            format!("{}Valid: {workflows} workflows, {jobs} jobs, {runs} runs.{left_out}\n", problems::text(diags, sources))
        }
    })?;
    Ok(if diags.has_errors() { Exit::Invalid } else { Exit::Done })
}
