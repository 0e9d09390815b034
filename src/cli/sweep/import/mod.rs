//! `oppen sweep import`: another tool's search as a workflow of ours.
//!
//! In: a W&B sweep, a Katib Experiment, a Determined experiment, an Optuna study. Out: YAML that validates, and a list of what could not
//! be carried over, with lines. Must never leave something out in silence, nor write a template where the source has text.

mod determined;
mod draft;
mod katib;
mod optuna;
mod wandb;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use self::draft::Draft;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::super::problems;
use crate::base::text::escape;
use crate::base::{Diagnostics, SourceMap};
use crate::expand::{self, Request, Root};
use crate::spec::Document;
use crate::spec::tree::{self, Kind, Node};

/// Largest file that is read as text.
const MAX_BYTES: u64 = 64 << 20;

/// `sweep import`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A W&B sweep (YAML), a Katib Experiment (YAML), a Determined experiment (YAML), or an Optuna study: its SQLite storage, its journal
    /// file, or JSON of its distributions
    pub file: PathBuf,
    /// What it is, where that cannot be told from its content
    #[arg(long, value_enum)]
    pub from: Option<Tool>,
    /// Name of the workflow (default: the name in the file)
    #[arg(long)]
    pub name: Option<String>,
    /// The study, where an Optuna storage has several
    #[arg(long)]
    pub study: Option<String>,
    /// Output: yaml (the workflow) or json, each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = output::parse::<Shape>)]
    pub output: Vec<output::Target<Shape>>,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// Weights & Biases.
    Wandb,
    /// Katib of Kubeflow.
    Katib,
    /// Determined.
    Determined,
    /// Optuna.
    Optuna,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The workflow.
    Yaml,
    /// The workflow and the notes, for programs.
    Json,
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] = &[("yaml", Self::Yaml), ("json", Self::Json)];
}

/// Reads, converts, checks, writes.
pub fn run(here: &Path, args: &Args) -> Outcome {
    let path = here.join(&args.file);
    let shown = escape(&args.file.to_string_lossy()).into_owned();
    let unreadable = |e: std::io::Error| Failure::new(Exit::Error, format!("{shown}: {e}"));
    let size = std::fs::metadata(&path).map_err(unreadable)?.len();
    let mut draft = if optuna::is_database(&path) {
        optuna::database(&path, args.study.as_deref())
    } else if size > MAX_BYTES {
        Err(Failure::new(Exit::Invalid, format!("{shown} has {size} bytes, more than the {MAX_BYTES} that are read")))
    } else {
        let bytes = std::fs::read(&path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::new(Exit::Invalid, format!("{shown} is not text in UTF-8"))
                .hint("give a YAML or JSON file, or an Optuna storage in SQLite")
        })?;
        of_text(&text, &shown, args)
    }?;
    if let Some(name) = &args.name {
        draft.name.clone_from(name);
    }
    let text = draft.yaml(&shown);
    let problems = check(&text);
    output::write(&args.output, |shape| match shape {
        Shape::Yaml => text.clone(),
        Shape::Json => {
            let notes: Vec<_> = draft.notes.iter().map(|n| json!({"line": n.line, "message": n.text})).collect();
            output::json(
                &json!({"format_version": 1, "source": draft.source, "workflow": text, "not_carried_over": notes, "valid": problems.is_none()}),
            )
        }
    })?;
    tell(&draft, &shown);
    match problems {
        None => Ok(Exit::Done),
        Some(words) => {
            output::say(&format!("The workflow needs a hand before it is valid:\n{words}"));
            Ok(Exit::Invalid)
        }
    }
}

fn tell(draft: &Draft, shown: &str) {
    let what = draft.source;
    if draft.notes.is_empty() {
        output::say(&format!("{shown}: {what}, carried over in full."));
        return;
    }
    output::say(&format!("{shown}: {what}. Look at what could not be carried over:"));
    for note in &draft.notes {
        let place = note.line.map(|l| format!("line {l}: ")).unwrap_or_default();
        let lines = output::wrap(&format!("{place}{}", escape(&note.text)), output::width().saturating_sub(4));
        output::say(&format!("  - {}", lines.join("\n    ")));
    }
}

fn of_text(text: &str, shown: &str, args: &Args) -> Result<Draft, Failure> {
    if optuna::is_journal(text) {
        return optuna::journal(text, args.study.as_deref());
    }
    let (mut sources, mut diags) = (SourceMap::default(), Diagnostics::default());
    // YAML's own tags say nothing here that the value does not; blanks keep the places.
    let text = ["!!float", "!!int", "!!str", "!!bool"].iter().fold(text.to_owned(), |t, tag| t.replace(tag, &" ".repeat(tag.len())));
    let id = sources.add(shown, &text);
    let nodes = tree::parse(id, sources.text(id), &mut diags);
    if diags.has_errors() {
        output::say(&problems::text(&diags, &sources));
        return Err(Failure::silent(Exit::Invalid));
    }
    let wanted = |n: &&Node| args.from.map_or_else(|| tool(n).is_some(), |_| matches!(n.kind, Kind::Map(_)));
    let Some(node) = nodes.iter().find(wanted) else {
        let known = "a W&B sweep has `method` and `parameters`, a Katib one `kind: Experiment`, a Determined one `hyperparameters` and `searcher`, an Optuna one its distributions";
        let ours = text.contains("oppen/v1");
        let hint = if ours { "it is a file of Oppen already".to_owned() } else { format!("{known}; `--from` names the tool") };
        return Err(Failure::new(Exit::Invalid, format!("{shown}: this is no search of a tool that is known")).hint(hint));
    };
    let cx = draft::Lines { sources: &sources };
    match args.from.or_else(|| tool(node)) {
        Some(Tool::Wandb) => wandb::read(node, cx),
        Some(Tool::Katib) => katib::read(node, cx),
        Some(Tool::Determined) => determined::read(node, cx),
        Some(Tool::Optuna) | None => optuna::distributions(node, cx),
    }
    .map_err(|words| Failure::new(Exit::Invalid, format!("{shown}: {words}")))
}

/// Whose file it is, by its keys.
fn tool(node: &Node) -> Option<Tool> {
    let has = |key: &str| draft::get(node, key).is_some();
    if draft::text(node, "kind").as_deref() == Some("Experiment") && has("spec") {
        Some(Tool::Katib)
    } else if has("hyperparameters") && (has("searcher") || has("entrypoint")) {
        Some(Tool::Determined)
    } else if has("parameters") && (has("method") || has("program") || has("command")) {
        Some(Tool::Wandb)
    } else if optuna::looks_like(node) {
        Some(Tool::Optuna)
    } else {
        None
    }
}

/// What is wrong with the workflow, in words, as `validate` says it.
fn check(text: &str) -> Option<String> {
    let (mut sources, mut diags) = (SourceMap::default(), Diagnostics::default());
    let id = sources.add("the workflow", text);
    let documents = crate::spec::read(id, &sources, &mut diags);
    let workflows: Vec<_> = documents.iter().filter_map(|d| if let Document::Workflow(w) = d { Some(&**w) } else { None }).collect();
    let roots: Vec<Root<'_>> = workflows.into_iter().map(|workflow| Root { workflow, explicit: true }).collect();
    let library = expand::Library::default();
    let request = Request { roots: &roots, library: &library, project: None, set: &[], sources: &sources };
    let _ = expand::expand(&request, &mut |_| Ok(None), &mut diags);
    diags.has_errors().then(|| problems::text(&diags, &sources))
}
