//! `oppen validate`: every problem of every file, in one pass.

use std::path::Path;

use serde_json::json;

use super::args::{Files, Reports};
use super::exit::{Exit, Outcome};
use super::output::{self, Format};
use super::problems;
use super::session::Session;
use super::views::{self, Found, Places};
use crate::base::text::counted;

/// Reads, expands and seals everything; prints what is wrong. A template without its inputs, and a project without workflows,
/// are no problems here: they are when they are to be planned.
pub fn run(here: &Path, args: &Files<Reports>) -> Outcome {
    let session = Session::to_validate(here, args);
    let (diags, sources) = (&session.diags, &session.loaded.sources);
    let (runs, jobs, workflows) = (session.desired.runs.len(), session.desired.jobs.len(), session.desired.workflows.len());
    let prefix = views::prefix(&session.loaded.root);
    let places = Places { sources, prefix: &prefix };
    let found = Found {
        command: "validate",
        looked_at: sources.ids().map(|id| format!("{prefix}{}", sources.path(id))).collect(),
        findings: places.of_diagnostics(diags),
    };
    output::write(&args.output.output, |format| match format {
        Format::Json => output::json(&json!({
            "format_version": 1, "valid": !diags.has_errors(), "diagnostics": problems::values(diags, sources),
            "workflows": workflows, "jobs": jobs, "runs": runs, "templates": session.templates,
        })),
        Format::Text if diags.has_errors() => format!("{}{}\n", problems::text(diags, sources), problems::count(diags)),
        Format::Text => {
            let left_out =
                if session.templates.is_empty() { String::new() } else { format!(" Templates: {}.", session.templates.join(", ")) };
            let counts = [counted(workflows, "workflow"), counted(jobs, "job"), counted(runs, "run")].join(", ");
            format!("{}Valid: {counts}.{left_out}\n", problems::text(diags, sources))
        }
        other => views::text(other, &found).unwrap_or_default(),
    })?;
    Ok(if diags.has_errors() { Exit::Invalid } else { Exit::Done })
}
