//! `oppen init`, `graph`, `lock`, `schema`, `completions`, `man`: commands without runs.

use std::path::Path;

use clap::CommandFactory as _;
use serde_json::json;

use super::args::{self, Drawing, LockCommand};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form};
use super::session::{Place, Session};
use crate::graph::draw;

const PROJECT: &str = "\
# The project: where runs run, what they may use, what that costs.
apiVersion: oppen/v1
kind: Project
name: NAME
backend: local        # or kubernetes
pool:
  max_concurrent: 3
";

const WORKFLOW: &str = "\
# A first workflow: prepare -> three trainings -> report. Change a value and plan again.
apiVersion: oppen/v1
kind: Workflow
name: hello
jobs:
  prepare:
    run: echo 4 2 > numbers.txt
    outputs: [numbers.txt]
    estimate: {time: 1s}
  train:
    needs: [prepare]
    run: |
      read a b < numbers.txt
      echo \"loss=$((a + b + OPPEN_PARAM_SEED))\"
    matrix: {seed: [1, 2, 3]}
    metric: {name: loss, goal: minimize}
    estimate: {time: 1s}
  report:
    needs: [train]
    run: [echo, \"best seed: {{ needs.train.best.params.seed }}\"]
    estimate: {time: 1s}
";

/// `init`
pub fn init(here: &Path, args: &args::Init) -> Outcome {
    let folder = here.join(&args.folder);
    let name = args
        .name
        .clone()
        .or_else(|| folder.canonicalize().unwrap_or(folder.clone()).file_name().map(|n| n.to_string_lossy().into_owned()))
        .unwrap_or_default();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect();
    let name = if name.trim_matches('-').is_empty() { "project" } else { name.trim_matches('-') };
    let files = [(crate::files::PROJECT_FILE, PROJECT.replace("NAME", name)), ("workflows/hello.yaml", WORKFLOW.to_owned())];
    if let Some((file, _)) = files.iter().find(|(f, _)| folder.join(f).exists()) {
        return Err(Failure::new(Exit::Error, format!("{} is there already; nothing was written", folder.join(file).display()))
            .hint("see what it would run with `oppen plan`"));
    }
    std::fs::create_dir_all(folder.join("workflows"))?;
    for (file, text) in &files {
        std::fs::write(folder.join(file), text)?;
        output::print(&format!("wrote {file}\n"))?;
    }
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, ".oppen/\n")?;
        output::print("wrote .gitignore\n")?;
    }
    output::print("Next: `oppen plan`, then `oppen apply`.\n")?;
    Ok(Exit::Done)
}

/// `graph`
pub fn graph(here: &Path, args: &args::Graph) -> Outcome {
    let session = Session::read(here, &args.files.paths, &args.files.set, Some(args::BackendKind::Local));
    session.sound::<output::Form>(&[])?;
    output::write(&args.output, |form| match form {
        Drawing::Text => draw::tree(&session.desired, output::unicode()),
        Drawing::Dot => draw::dot(&session.desired),
        Drawing::Mermaid => draw::mermaid(&session.desired),
        Drawing::Svg => draw::svg(&session.desired),
    })?;
    Ok(Exit::Done)
}

/// `lock`
pub fn lock(here: &Path, args: &args::Lock) -> Outcome {
    let mut store = Place::find(here, None)?.store()?;
    let holder = store.holder()?;
    match &args.command {
        LockCommand::List(listing) => output::write(&listing.output.output, |form| match (form, &holder) {
            (Form::Json, _) => output::json(
                &json!({"format_version": 1, "holder": holder.as_ref().map(|(h, _)| h), "renewed": holder.as_ref().map(|(_, t)| t.to_string()), "dead": holder.as_ref().map(|(h, _)| h.is_dead())}),
            ),
            (Form::Text, None) => "Nobody holds the lock.\n".to_owned(),
            (Form::Text, Some((h, _))) if h.is_dead() => format!("{h}: this process is gone, the next apply takes over.\n"),
            (Form::Text, Some((h, renewed))) => format!("{h}, last sign of life {renewed}\n"),
        })?,
        LockCommand::Break { yes } => {
            let Some((holder, _)) = holder else {
                output::print("Nobody holds the lock.\n")?;
                return Ok(Exit::Done);
            };
            output::print(&format!("Held by {holder}.\n"))?;
            if !yes && !super::apply::ask("Take it away? What it still writes will be refused.")? {
                return Err(Failure::new(Exit::Declined, "the lock stays"));
            }
            store.break_lock()?;
            output::print("The lock is free.\n")?;
        }
    }
    Ok(Exit::Done)
}

/// All schemas: file name and text.
#[must_use]
pub fn schemas() -> Vec<(&'static str, String)> {
    let mut all = crate::spec::schema::all();
    all.push(("plan.json", super::plan_schema::text()));
    all
}

/// `schema`
pub fn schema(here: &Path, args: &args::Schema) -> Outcome {
    let all = schemas();
    if let Some(folder) = &args.write {
        let folder = here.join(folder);
        std::fs::create_dir_all(&folder)?;
        for (file, text) in &all {
            std::fs::write(folder.join(file), text)?;
        }
        return Ok(Exit::Done);
    }
    let names = || all.iter().map(|(f, _)| f.trim_end_matches(".json"));
    match &args.name {
        None => output::print(&names().map(|n| format!("{n}\n")).collect::<String>())?,
        Some(name) => match all.iter().find(|(f, _)| f.trim_end_matches(".json") == name) {
            Some((_, text)) => output::print(text)?,
            None => {
                let hint = crate::base::suggest::hint(name, names().collect::<Vec<_>>());
                return Err(Failure {
                    exit: Exit::Usage,
                    message: format!("there is no schema `{}`", crate::base::text::escape(name)),
                    hint,
                });
            }
        },
    }
    Ok(Exit::Done)
}

/// `completions`
pub fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut args::Cli::command(), "oppen", &mut text);
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// `man`
pub fn man(here: &Path, folder: &Path) -> Outcome {
    let folder = here.join(folder);
    std::fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(args::Cli::command(), &folder)?;
    Ok(Exit::Done)
}
