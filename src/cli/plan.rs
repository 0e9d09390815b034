//! `oppen plan`, and the plan's JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::args;
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Format, Forms};
use super::session::Session;
use super::views::{self, Found, Places};
use super::{plan_markdown, plan_text};
use crate::base::text::escape;
use crate::base::{SourceMap, Timestamp, suggest};
use crate::diff::{Plan, Planned};
use crate::record::State;
use crate::store::Store;

/// Plans, shows, saves.
pub fn run(here: &Path, args: &args::Plan) -> Outcome {
    let session = Session::from_files(here, &args.files);
    session.sound(&args.files.output.output)?;
    let now = now();
    let store = Store::open_existing(&session.state_folder())?;
    let state = store.as_ref().map_or_else(|| Ok(State::default()), Store::load)?;
    let mut plan = session.plan(store.as_ref(), &state, &args.part, now)?;
    args.unpriced.judge(&mut plan, &session.desired);
    let change = args.base.as_ref().map(|base| super::ci::of_plan(here, &args.files, base, now)).transpose()?;
    if let Some(address) = &args.explain {
        let text = plan_text::explain(&plan, address, now).ok_or_else(|| {
            let failure = Failure::new(Exit::Usage, format!("the plan has no action for `{}`", escape(address)));
            if session.desired.runs.iter().any(|r| r.address.as_str() == address) {
                return failure.hint("it is as the files want; see `oppen status`");
            }
            let all = plan.runs.iter().map(|r| r.address.as_str()).collect::<Vec<_>>();
            failure.hint(suggest::hint(address, all).map_or("it starts nothing".to_owned(), |h| escape(&h).into_owned()))
        })?;
        output::print(&text)?;
    } else {
        show(&plan, &args.files.output.output, now, args.expand, &session.loaded)?;
        // The change belongs to the plan's text: in other forms it is `ci` that has it.
        let targets = &args.files.output.output;
        let shown = targets.is_empty() || targets.iter().any(|t| t.form == Format::Text && t.file.is_none());
        if let Some(change) = change.filter(|_| shown) {
            output::print(&format!("\n{change}"))?;
        }
    }
    if let Some(file) = &args.save {
        save(&plan, file)?;
        output::say(&format!("saved to {}: apply it with `oppen apply {}`", file.display(), file.display()));
    }
    Ok(exit(&plan, args.detailed_exitcode))
}

/// Prints a plan in every wanted form.
pub fn show<F: Forms + Into<Format>>(
    plan: &Plan,
    targets: &[output::Target<F>],
    now: Timestamp,
    expand: bool,
    loaded: &crate::files::Loaded,
) -> Result<(), Failure> {
    output::write(targets, |form| match form.into() {
        Format::Text => plan_text::text(plan, now, expand, &loaded.sources),
        Format::Json => output::json(&value(plan, &loaded.sources)),
        Format::Markdown => plan_markdown::text(plan, now, &found(plan, loaded)),
        other => views::text(other, &found(plan, loaded)).unwrap_or_default(),
    })
}

/// What the checks of a plan say, for tools.
fn found(plan: &Plan, loaded: &crate::files::Loaded) -> Found {
    let prefix = views::prefix(&loaded.root);
    let mut jobs: Vec<String> = plan.runs.iter().map(|r| r.address.job().to_owned()).collect();
    jobs.sort_unstable();
    jobs.dedup();
    let findings = Places { sources: &loaded.sources, prefix: &prefix }.of_verdicts(&plan.checks);
    Found { command: "plan", looked_at: jobs, findings }
}

fn exit(plan: &Plan, detailed: bool) -> Exit {
    match (plan.is_blocked(), detailed) {
        (true, _) => Exit::Blocked,
        (_, true) if plan.is_drift_only() => Exit::Drift,
        (_, true) if !plan.runs.is_empty() => Exit::Changes,
        _ => Exit::Done,
    }
}

/// The plan as JSON: what `schemas/plan.json` describes.
#[must_use]
pub fn value(plan: &Plan, sources: &SourceMap) -> Value {
    let runs: Vec<Value> = plan
        .runs
        .iter()
        .map(|r| {
            let mut run = json!({"address": r.address, "action": r.action, "origin": r.origin, "reasons": &*r.reasons});
            if let Some(spec) = &r.spec {
                run["fingerprint"] = json!(spec.fingerprint);
                run["params"] = spec.params.iter().map(|(k, v)| (k.to_string(), v.clone())).collect::<serde_json::Map<_, _>>().into();
                run["priority"] = json!(spec.job.priority.class);
            }
            if let Some(from) = r.result.as_ref().map(|r| &r.from) {
                run["from"] = json!(from);
            }
            if let Some(estimate) = &r.estimate {
                match &estimate.cost {
                    Some(cost) => run["estimate"] = json!({"seconds": estimate.time.map(|t| t.as_secs_f64()), "cost": cost.expected, "worst": cost.worst, "basis": estimate.basis, "interval": estimate.interval.map(|(l, h)| json!({"seconds": [l.as_secs_f64(), h.as_secs_f64()], "cost": [cost.low, cost.high]}))}),
                    None => run["unpriced_reason"] = json!(estimate.basis),
                }
                run["start"] = json!(r.start.map(|s| s.to_string()));
            }
            if let Some(h) = &r.hold {
                let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
                let words = plan_text::hold_text(&[r]);
                run["hold"] = json!({"window": h.window, "state": h.state, "until": time(h.until), "by": time(h.by), "latest": time(h.latest), "cost_now": h.now, "saves": h.saves, "words": words});
            }
            run
        })
        .collect();
    let checks: Vec<Value> = plan
        .checks
        .iter()
        .map(|c| {
            let place = |span: Option<crate::base::Span>| span.map(|s| (sources.path(s.file).to_owned(), sources.place(s).line));
            let (place, rule) = (place(c.span), place(c.source));
            json!({"rule": c.rule, "blocks": c.blocks, "subject": c.subject, "message": c.message, "hint": c.hint, "file": place.as_ref().map(|p| &p.0), "line": place.as_ref().map(|p| p.1), "rule_file": rule.as_ref().map(|p| &p.0), "rule_line": rule.as_ref().map(|p| p.1)})
        })
        .collect();
    // What each job's runs cost together: the ends of their intervals, the worst case, what that rests on.
    let all: Vec<&Planned> = plan.runs.iter().collect();
    let jobs: Vec<Value> = plan_text::groups(plan, &all, false)
        .iter()
        .filter(|g| g.action.runs())
        .map(|g| json!({"job": g.job, "action": g.action, "runs": g.runs.len(), "cost": plan_text::range(g)}))
        .collect();
    let counts: serde_json::Map<String, Value> =
        crate::diff::Action::ALL.into_iter().map(|a| (a.word().to_owned(), plan.count(a).into())).collect();
    let sweeps: Vec<Value> = plan
        .sweeps
        .iter()
        .map(|s| {
            let pruning = s
                .pruning
                .as_ref()
                .map(|p| json!({"method": p.method, "share": f64::from(p.share) / 1e6, "saving": p.saving, "interval": p.interval}));
            json!({"sweep": s.sweep, "trials": s.trials, "cost": s.cost, "left": s.left, "interval": s.interval, "worst": s.worst, "pruning": pruning})
        })
        .collect();
    json!({
        "format_version": plan.format_version, "plan_id": plan.plan_id, "lineage": plan.lineage, "serial": plan.serial, "backend": plan.backend,
        "digests": plan.digests, "runs": runs, "edges": plan.edges, "drift": plan.drift, "budgets": plan.budgets, "quotas": plan.quotas,
        "jobs": jobs, "checks": checks, "templates": plan.templates, "sweeps": sweeps, "errored": plan.errored,
        "summary": {"actions": counts, "unchanged": plan.unchanged, "in_progress": plan.in_progress, "cost": plan.cost, "worst": plan.worst,
            "unpriced": plan.unpriced, "overrun": plan.overrun, "saved": plan.saved, "end": plan.end.map(|e| e.to_string()), "blocked": plan.is_blocked()},
    })
}

/// Saves a plan whole, so that `apply` does exactly this.
pub fn save(plan: &Plan, file: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string(plan).map_err(|e| Failure::new(Exit::Error, e.to_string()))?;
    let temporary = file.with_extension("tmp");
    let wrong = |e: std::io::Error| Failure::new(Exit::Error, format!("{}: {e}", file.display()));
    std::fs::write(&temporary, text + "\n").map_err(wrong)?;
    std::fs::rename(&temporary, file).map_err(wrong)
}

/// Reads a saved plan.
pub fn read(file: &Path) -> Result<Plan, Failure> {
    let wrong = |words: String| {
        Failure::new(Exit::Stale, format!("{} is not a plan that this Oppen saved: {words}", file.display()))
            .hint("plan again with `oppen plan --save FILE`")
    };
    let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if plan.format_version != crate::diff::plan::FORMAT_VERSION {
        return Err(wrong(format!("it has format {}", plan.format_version)));
    }
    if plan.plan_id != crate::diff::plan::plan_id(&plan.runs) {
        return Err(wrong("its actions were changed after it was saved".to_owned()));
    }
    Ok(plan)
}

/// The wall clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}
