//! `oppen policy test`: each case set against the rules of its document.
//!
//! In: documents of kind Policy. Out: a line a case, exit code 1 when one fails. Must never count a case that was not judged as passed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::text::escape;
use crate::base::{SourceMap, Span};
use crate::check::policy::{Level, Outcome as Judged, Policy, view};
use crate::cli::args::Reports;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::style::{BAD, GOOD, paint};
use crate::cli::output::{self, Format};
use crate::cli::views::{self, Finding, Found, Level as Weight, Places};
use crate::spec::types::{CaseDecl, PolicyDoc, Word};

/// One case and what came of it.
struct Run<'a> {
    doc: &'a PolicyDoc,
    case: &'a CaseDecl,
    /// Why it fails; nothing when it passes.
    wrong: Vec<String>,
}

/// Runs all cases of the named files, or of the project.
pub fn run(here: &Path, files: &[PathBuf], args: &Reports) -> Outcome {
    let (loaded, policies) = super::read(here, files)?;
    let wanted: Vec<PathBuf> = files.iter().filter_map(|f| here.join(f).canonicalize().ok()).collect();
    let in_named = |span: Span| {
        let path = loaded.root.join(loaded.sources.path(span.file));
        wanted.is_empty() || wanted.iter().any(|w| path.starts_with(w))
    };
    let docs: Vec<&PolicyDoc> = loaded.policies.iter().filter(|d| in_named(d.span)).collect();
    let runs: Vec<Run<'_>> = docs.iter().flat_map(|doc| doc.tests.iter().map(|case| judge(doc, case, &policies))).collect();
    let failed = runs.iter().filter(|r| !r.wrong.is_empty()).count();
    let prefix = views::prefix(&loaded.root);
    let places = Places { sources: &loaded.sources, prefix: &prefix };
    output::write(&args.output, |format| match format {
        Format::Text => text(&runs, docs.len(), &loaded.sources),
        Format::Json => output::json(&json!({
            "format_version": 1, "cases": runs.len(), "failed": failed,
            "results": runs.iter().map(|r| json!({"policy": r.doc.name.0.0, "case": r.case.name.0.0, "passed": r.wrong.is_empty(), "wrong": r.wrong})).collect::<Vec<Value>>(),
        })),
        other => views::text(other, &found(&runs, &places)).unwrap_or_default(),
    })?;
    Ok(if failed > 0 { Exit::Error } else { Exit::Done })
}

fn judge<'a>(doc: &'a PolicyDoc, case: &'a CaseDecl, policies: &[Policy]) -> Run<'a> {
    let wrong = match verdicts(doc, case, policies) {
        Ok((deny, warn)) => {
            let mut wrong = unknown(doc, case);
            wrong.extend(differ("deny", &case.expect.0.deny, &deny));
            wrong.extend(differ("warn", &case.expect.0.warn, &warn));
            wrong
        }
        Err(words) => vec![words],
    };
    Run { doc, case, wrong }
}

type Names = Vec<(String, Option<String>)>;

/// The rules that a case sets off: those that deny, those that warn; with the words of those that cannot be judged.
fn verdicts(doc: &PolicyDoc, case: &CaseDecl, policies: &[Policy]) -> Result<(Names, Names), String> {
    let given: Vec<&Value> = case.run.iter().chain(&case.runs).collect();
    let mut runs = given.iter().map(|v| view::case_run(Some(v))).collect::<Result<Vec<Value>, String>>()?;
    if runs.is_empty() {
        runs.push(view::case_run(None)?);
    }
    let plan = view::case_plan(&runs, case.plan.as_ref())?;
    let (mut deny, mut warn) = (Names::new(), Names::new());
    let mine = policies.iter().filter(|p| doc.rules.iter().any(|r| r.name.0.0 == p.name && r.name.0.1 == p.span));
    for policy in mine {
        let contexts: Vec<Value> = if policy.is_per_run() {
            runs.iter().map(|run| json!({"run": run, "plan": plan})).collect()
        } else {
            vec![json!({"plan": plan})]
        };
        let first = contexts.iter().map(|c| policy.outcome(c)).find(|o| *o != Judged::Silent);
        let words = match first {
            None | Some(Judged::Silent) => continue,
            Some(Judged::Hit) => None,
            Some(Judged::Broken(words)) => Some(words),
        };
        let list = if policy.level == Level::Deny { &mut deny } else { &mut warn };
        list.push((policy.name.to_string(), words));
    }
    Ok((deny, warn))
}

/// Expected names that no rule of the document has.
fn unknown(doc: &PolicyDoc, case: &CaseDecl) -> Vec<String> {
    let expected = case.expect.0.deny.iter().chain(&case.expect.0.warn);
    let missing = expected.filter(|w| !doc.rules.iter().any(|r| r.name.0.0 == w.0));
    missing.map(|w| format!("there is no rule `{}` in this document", escape(&w.0))).collect()
}

fn differ(what: &str, expected: &[Word], got: &Names) -> Vec<String> {
    let mut wrong: Vec<String> = expected
        .iter()
        .filter(|w| !got.iter().any(|(n, _)| **n == *w.0))
        .map(|w| format!("expected {what} of `{}`, and it is silent", escape(&w.0)))
        .collect();
    for (name, broken) in got.iter().filter(|(n, _)| !expected.iter().any(|w| *w.0 == **n)) {
        let why = broken.as_ref().map(|w| format!(": it cannot be judged: {w}")).unwrap_or_default();
        wrong.push(format!("`{}` says {what}, which is not expected{why}", escape(name)));
    }
    wrong
}

fn text(runs: &[Run<'_>], docs: usize, sources: &SourceMap) -> String {
    if runs.is_empty() {
        let what = if docs == 0 { "There are no documents of kind Policy" } else { "The policies have no cases" };
        return format!("{what}: nothing was tested. Write `tests` into them, see docs/policies.md.\n");
    }
    let (mut out, mut last) = (String::new(), None);
    for run in runs {
        if last != Some(run.doc.span) {
            let _ = writeln!(out, "{} ({})", escape(&run.doc.name.0.0), escape(sources.path(run.doc.span.file)));
            last = Some(run.doc.span);
        }
        let name = escape(&run.case.name.0.0);
        if run.wrong.is_empty() {
            let _ = writeln!(out, "  {}   {name}", paint(GOOD, "ok"));
            continue;
        }
        let span = run.case.name.0.1;
        let _ = writeln!(out, "  {} {name} ({}:{})", paint(BAD, "FAIL"), escape(sources.path(span.file)), sources.place(span).line);
        for words in &run.wrong {
            let _ = writeln!(out, "       {words}");
        }
    }
    let failed = runs.iter().filter(|r| !r.wrong.is_empty()).count();
    let cases = if runs.len() == 1 { "1 case".to_owned() } else { format!("{} cases", runs.len()) };
    let _ = writeln!(out, "{cases}, {}.", if failed == 0 { "all pass".to_owned() } else { format!("{failed} failed") });
    out
}

fn found(runs: &[Run<'_>], places: &Places<'_>) -> Found {
    let name = |r: &Run<'_>| format!("{}: {}", r.doc.name.0.0, r.case.name.0.0);
    let failed = runs.iter().filter(|r| !r.wrong.is_empty()).map(|r| Finding {
        rule: "policy-test".to_owned(),
        level: Weight::Error,
        subject: name(r),
        message: r.wrong.join("; "),
        hint: String::new(),
        at: Some(places.at(r.case.name.0.1)),
        related: Vec::new(),
    });
    Found { command: "policy test", looked_at: runs.iter().map(name).collect(), findings: failed.collect() }
}
