//! `oppen cost recommend`: what would have cost less, by how much, and the edit that makes it so.
//!
//! In: addresses, the state, samples, files. Out: text or JSON. Must never change anything but the file that `--apply-to` names, and that
//! only as a whole or not at all.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::forecast::Ground;
use crate::advise::recommend::{self, Advice, Confidence, Report, edit};
use crate::base::text::escape;
use crate::base::{Money, suggest};
use crate::cli::args::{BackendKind, Output};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, Form, fit, style, width, wrap};
use crate::cli::session::Session;
use crate::diff::select::matches_address;
use crate::monitor::outlook;
use crate::record::{JobSpec, RunRecord};

/// `cost recommend`
#[derive(Debug, Args)]
pub struct Recommend {
    /// Jobs or runs (addresses with * and ?)
    #[arg(value_name = "ADDR", required_unless_present = "all")]
    pub what: Vec<String>,
    /// Every job
    #[arg(long, conflicts_with = "what")]
    pub all: bool,
    /// Write the edits of one job into this workflow file; comments and layout stay
    #[arg(long, value_name = "FILE")]
    pub apply_to: Option<PathBuf>,
    /// With --apply-to: only these kinds (`off-peak`, `spot`, `cpu`, ...)
    #[arg(long, value_name = "KIND", requires = "apply_to", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// A job with what can be said of it.
struct Answer {
    job: Arc<str>,
    report: Result<Report, String>,
    /// For each advice, the edits in the file of the job, or why there are none.
    edits: Vec<Vec<Result<edit::Edit, String>>>,
    file: Option<Arc<str>>,
}

/// Recommends, shows, writes.
pub fn run(here: &Path, args: &Recommend) -> Outcome {
    let ground = Ground::read(here)?;
    let session = Session::read(here, &[], &[], Some(BackendKind::Local));
    let jobs = jobs(&ground, &session, &args.what)?;
    let answers = jobs.iter().map(|job| answer(&ground, &session, job)).collect::<Result<Vec<Answer>, Failure>>()?;
    if let Some(file) = &args.apply_to {
        return apply(here, file, &answers, &args.only);
    }
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(
            &json!({"format_version": 1, "time": ground.now.to_string(), "jobs": answers.iter().map(value).collect::<Vec<_>>()}),
        ),
        Form::Text => text(&answers),
    })?;
    Ok(Exit::Done)
}

/// Settings of the chosen jobs: as the files have them now, else as last run.
fn jobs(ground: &Ground, session: &Session, what: &[String]) -> Result<Vec<Arc<JobSpec>>, Failure> {
    let mut found: Vec<Arc<JobSpec>> = Vec::new();
    let mut add = |job: &Arc<JobSpec>| {
        if !found.iter().any(|f| f.job == job.job) {
            found.push(Arc::clone(job));
        }
    };
    let matches = |pattern: &str, address: &str, job: &str| matches_address(pattern, address) || pattern == job;
    let wanted = |address: &str, job: &str| what.is_empty() || what.iter().any(|w| matches(w, address, job));
    session.desired.runs.iter().filter(|r| wanted(r.address.as_str(), &r.job.job)).for_each(|r| add(&r.job));
    ground.state.runs.values().filter(|r| wanted(r.spec.address.as_str(), &r.spec.job.job)).for_each(|r| add(&r.spec.job));
    for pattern in what {
        let known = found.iter().any(|j| matches(pattern, &j.job, &j.job))
            || ground.state.runs.values().any(|r| matches(pattern, r.spec.address.as_str(), &r.spec.job.job))
            || session.desired.runs.iter().any(|r| matches(pattern, r.address.as_str(), &r.job.job));
        if !known {
            let names = session.desired.jobs.iter().map(|j| &*j.address).chain(ground.state.runs.values().map(|r| &*r.spec.job.job));
            let hint = suggest::hint(pattern, names.collect::<Vec<_>>());
            return Err(Failure {
                exit: Exit::Usage,
                message: format!("no job or run `{}` in the state or the files", escape(pattern)),
                hint,
            });
        }
    }
    Ok(found)
}

fn answer(ground: &Ground, session: &Session, job: &Arc<JobSpec>) -> Result<Answer, Failure> {
    let mut runs: Vec<&RunRecord> = ground.state.runs.values().filter(|r| r.spec.job.job == job.job).collect();
    runs.sort_by_key(|r| r.seq);
    let wanted = session.desired.jobs.iter().find(|j| j.address == job.job).map_or(0, |j| j.runs.len());
    let report = outlook::advice(ground.store.as_ref(), job, (&runs, wanted), &ground.place.rates, ground.now)?;
    let file = job.file.clone();
    let source = file.as_ref().and_then(|f| text_of(session, f));
    let workflow = crate::record::ledger::workflow(&job.job);
    let of = |advice: &Advice| {
        let one = |setting: &recommend::Setting| match source {
            Some(text) => edit::set(text, workflow, setting),
            None => Err("its file was not read: change it by hand".to_owned()),
        };
        advice.settings.iter().map(one).collect::<Vec<_>>()
    };
    let edits = report.as_ref().map(|r| r.advice.iter().map(of).collect()).unwrap_or_default();
    Ok(Answer { job: Arc::clone(&job.job), report, edits, file })
}

/// The text of a file as the session read it.
fn text_of<'s>(session: &'s Session, file: &str) -> Option<&'s str> {
    let sources = &session.loaded.sources;
    sources.ids().find(|id| sources.path(*id) == file).map(|id| sources.text(id))
}

const fn word(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    }
}

/// The word of a kind, as in JSON.
fn kind(advice: &Advice) -> String {
    serde_json::to_value(advice.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn value(a: &Answer) -> Value {
    let report = match &a.report {
        Ok(report) => report,
        Err(why) => return json!({"job": a.job, "unknown": why}),
    };
    let mut value = json!(report);
    value["file"] = json!(a.file);
    for (i, edits) in a.edits.iter().enumerate() {
        value["advice"][i]["edits"] = edits
            .iter()
            .map(|e| match e {
                Ok(e) => json!({"file": a.file, "line": e.line, "path": e.path, "before": e.before, "after": e.after}),
                Err(why) => json!({"by_hand": why}),
            })
            .collect();
    }
    value
}

fn text(all: &[Answer]) -> String {
    if all.is_empty() {
        return "No jobs.\n".to_owned();
    }
    let mut out = String::new();
    for (i, a) in all.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let name = style::paint(style::BOLD, &fit(&escape(&a.job), width().saturating_sub(40)));
        match &a.report {
            Err(why) => paragraph(&mut out, &format!("{name}  nothing can be said: {}", escape(why)), 2),
            Ok(report) => block(&mut out, a, report, &name),
        }
    }
    let known: Vec<&Report> = all.iter().filter_map(|a| a.report.as_ref().ok()).collect();
    if known.len() > 1 {
        let (base, saved): (Money, Money) = (known.iter().map(|r| r.base).sum(), known.iter().map(|r| r.together).sum());
        let _ = writeln!(out, "\n{} of {base} with all edits of all jobs.", style::paint(style::BOLD, &saved.to_string()));
    }
    out
}

/// Lines that fit, all but the first indented.
fn paragraph(out: &mut String, text: &str, indent: usize) {
    for (i, line) in wrap(text, width().saturating_sub(indent)).iter().enumerate() {
        let _ = writeln!(out, "{}{line}", if i == 0 { String::new() } else { " ".repeat(indent) });
    }
}

fn block(out: &mut String, a: &Answer, report: &Report, name: &str) {
    let what = if report.estimated { "is estimated to cost" } else { "cost" };
    let runs = if report.runs == 1 { "1 run".to_owned() } else { format!("{} runs", report.runs) };
    let _ = writeln!(out, "{name}  {runs} {what} {}", report.base);
    let line = |out: &mut String, label: &str, words: &str| {
        for (i, part) in wrap(words, width().saturating_sub(15)).iter().enumerate() {
            let _ = writeln!(out, "    {:<10} {part}", if i == 0 { label } else { "" });
        }
    };
    for (advice, edits) in report.advice.iter().zip(&a.edits) {
        let most = if advice.at_most { "up to " } else { "" };
        let head = format!("{most}{}  {}: {}", advice.saves, kind(advice), escape(&advice.title));
        let _ = writeln!(out, "  {}", style::paint(style::GOOD, &fit(&head, width().saturating_sub(2))));
        line(out, "computed", &escape(&advice.computed));
        line(out, "confidence", &format!("{}: {}", word(advice.confidence), escape(&advice.because)));
        for effect in &advice.side_effects {
            line(out, "but", &escape(effect));
        }
        for edit in edits {
            match edit {
                Ok(edit) => {
                    let file = a.file.as_deref().unwrap_or_default();
                    line(out, "edit", &format!("{}:{} {}", escape(file), edit.line, escape(&edit.path)));
                    let side = |out: &mut String, sign: &str, color, text: &str| {
                        for l in text.lines() {
                            let _ = writeln!(
                                out,
                                "      {}",
                                style::paint(color, &fit(&format!("{sign} {}", escape(l)), width().saturating_sub(6)))
                            );
                        }
                    };
                    side(out, "-", style::BAD, &edit.before);
                    side(out, "+", style::GOOD, &edit.after);
                }
                Err(why) => line(out, "by hand", &escape(why)),
            }
        }
    }
    if report.advice.is_empty() {
        let _ = writeln!(out, "  Nothing found that would have cost less.");
    } else if report.together > Money::ZERO {
        let _ = writeln!(
            out,
            "  All edits together save {} (priced at once, not added up).",
            style::paint(style::BOLD, &report.together.to_string())
        );
    }
    if !report.missing.is_empty() {
        let _ = writeln!(out, "  Not known, for want of a measurement:");
        for m in &report.missing {
            let kind = serde_json::to_value(m.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            for (i, part) in wrap(&escape(&m.what), width().saturating_sub(20)).iter().enumerate() {
                let _ = writeln!(out, "    {:<15} {part}", if i == 0 { &kind } else { "" });
            }
        }
    }
}

/// Writes the edits of one job into a file, reads everything again, and takes them back where that does not hold.
fn apply(here: &Path, file: &Path, answers: &[Answer], only: &[String]) -> Outcome {
    let [one] = answers else {
        return Err(
            Failure::new(Exit::Usage, format!("--apply-to writes the edits of one job, {} were named", answers.len())).hint("name one job")
        );
    };
    let report = one.report.as_ref().map_err(|why| Failure::new(Exit::Error, format!("{}: {why}", escape(&one.job))))?;
    let kinds: Vec<String> = report.advice.iter().map(kind).collect();
    if let Some(wrong) = only.iter().find(|k| !kinds.contains(k)) {
        let hint = suggest::hint(wrong, kinds.iter().map(String::as_str).collect::<Vec<_>>());
        return Err(Failure { exit: Exit::Usage, message: format!("there is no advice of kind `{}`", escape(wrong)), hint });
    }
    let path = here.join(file);
    let read =
        |what: &str| std::fs::read_to_string(&path).map_err(|e| Failure::new(Exit::Error, format!("{what} {}: {e}", file.display())));
    let before = read("cannot read")?;
    let workflow = crate::record::ledger::workflow(&one.job);
    let (mut text, mut done, mut left) = (before.clone(), Vec::new(), Vec::new());
    for (advice, kind) in report.advice.iter().zip(&kinds) {
        if advice.at_most || (!only.is_empty() && !only.contains(kind)) {
            continue;
        }
        for setting in &advice.settings {
            match edit::set(&text, workflow, setting) {
                Ok(edit) => {
                    text.clone_from(&edit.text);
                    done.push(format!("{kind}: {} = {}", edit.path, setting.value));
                }
                Err(why) => left.push(format!("{kind}: {why}")),
            }
        }
    }
    if done.is_empty() {
        let why = if left.is_empty() { "no advice has an edit".to_owned() } else { left.join("; ") };
        return Err(Failure::new(Exit::Error, format!("nothing was written: {why}")));
    }
    if read("cannot read")? != before {
        return Err(Failure::new(Exit::Stale, format!("{} changed meanwhile: nothing was written", file.display())).hint("try again"));
    }
    write(&path, &text)?;
    let again = Session::read(here, std::slice::from_ref(&path), &[], Some(BackendKind::Local));
    if again.diags.has_errors() {
        write(&path, &before)?;
        output::say(crate::cli::problems::text(&again.diags, &again.loaded.sources).trim_end());
        return Err(Failure::new(Exit::Invalid, format!("with these edits {} holds errors: it is as it was", file.display())));
    }
    for line in &done {
        output::print(&format!("{}\n", escape(line)))?;
    }
    for line in &left {
        output::say(&format!("by hand: {}", escape(line)));
    }
    output::print(&format!("{} edits in {}; see `oppen plan`.\n", done.len(), file.display()))?;
    Ok(Exit::Done)
}

/// A file is replaced as a whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Error, format!("{}: {e}", path.display()));
    // What a link leads to is what changes.
    let path = std::fs::canonicalize(path).map_err(failed)?;
    let beside = path.with_extension("oppen-new");
    let mode = std::fs::metadata(&path).map_err(failed)?.permissions();
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::set_permissions(&beside, mode))
        .and_then(|()| std::fs::rename(&beside, &path))
        .map_err(failed)
}
