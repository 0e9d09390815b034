//! `oppen status`, `queue`, `history`: what is recorded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::args;
use super::cost::forecast;
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, fit, pad, style, width, wrap};
use super::plan::now;
use super::progress::{failure, metrics};
use super::session::Place;
use crate::advise::budget::{Standing, percent, standing};
use crate::advise::forecast::{Forecast, World};
use crate::base::text::escape;
use crate::base::{Address, Money, Timestamp};
use crate::diff::{outlook, select::Selector};
use crate::expand::late;
use crate::price::Rates;
use crate::queue::Hold;
use crate::record::{RunRecord, RunStatus, State};

/// Forecasts of live runs by address.
type Live<'f> = FxHashMap<&'f Address, &'f Forecast>;

/// Most budgets that `status` names.
const BUDGETS: usize = 3;

/// The runs that match; all without selectors.
pub fn matching<'s>(state: &'s State, select: &[String]) -> Result<Vec<&'s RunRecord>, Failure> {
    let selectors = select.iter().map(|s| Selector::parse(s).map_err(|e| Failure::new(Exit::Usage, e))).collect::<Result<Vec<_>, _>>()?;
    let mut runs: Vec<&RunRecord> =
        state.runs.values().filter(|r| selectors.is_empty() || selectors.iter().any(|s| s.matches_record(r))).collect();
    runs.sort_by_key(|r| r.seq);
    if runs.is_empty() && !selectors.is_empty() {
        let known = state.runs.keys().map(|a| a.as_str());
        let hint = select.first().and_then(|s| crate::base::suggest::hint(s, known));
        return Err(Failure { exit: Exit::Error, message: format!("no run matches {}", escape(&select.join(" "))), hint });
    }
    Ok(runs)
}

/// `status`
pub fn status(here: &Path, args: &args::Status) -> Outcome {
    if args.from_cluster {
        return super::from_cluster::run(here, args);
    }
    let place = Place::find(here, None)?;
    let store = place.store()?;
    let mut state = store.load()?;
    store.foresee(&mut state)?;
    let runs = matching(&state, &args.select)?;
    let holder = store.holder()?.filter(|(h, _)| !h.is_dead());
    let now = now();
    let treasury = store.treasury(&place.rates, &place.rules(&store)?, &place.limits, now)?;
    let budgets = standing(treasury.accounts());
    let past = store.past();
    let forecasts = forecast::of_live(World { state: &state, history: &past, rates: &place.rates, treasury: &treasury, now }, &runs);
    let live: Live<'_> = forecasts.iter().map(|f| (&f.address, f)).collect();
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            let one = |r: &&RunRecord| {
                let mut value = run_json(r, &place.rates, now);
                if let Some(forecast) = live.get(&r.spec.address) {
                    value["forecast"] = json!(forecast);
                }
                value
            };
            let runs: Vec<Value> = runs.iter().map(one).collect();
            output::json(
                &json!({"format_version": 1, "lineage": store.lineage(), "serial": store.serial().unwrap_or(0), "runs": runs, "holder": holder.as_ref().map(|h| &h.0)}),
            )
        }
        Form::Text => {
            let mut text = table(&runs, args.expand || !args.select.is_empty(), now, &live);
            text += &forecast::outlook(&forecasts, now);
            text += &holds(&runs, &place.rates, now);
            text += &reached(&budgets);
            if let Some((holder, _)) = &holder {
                let _ = writeln!(text, "Applied right now by {holder}.");
            }
            text
        }
    })?;
    Ok(Exit::Done)
}

/// Until when a run waits for cheap hours.
fn held_until(run: &RunRecord, rates: &Rates, now: Timestamp) -> Option<(Hold, Timestamp)> {
    let hold = Hold::of(&run.spec.job).filter(|_| run.status == RunStatus::Pending)?;
    let until = hold.at(&rates.hours, now).until()?;
    Some((hold, until))
}

/// A line for each of the hours that runs wait for.
fn holds(runs: &[&RunRecord], rates: &Rates, now: Timestamp) -> String {
    let mut all: BTreeMap<(Timestamp, Arc<str>), usize> = BTreeMap::new();
    for (hold, until) in runs.iter().filter_map(|r| held_until(r, rates, now)) {
        *all.entry((until, hold.window)).or_default() += 1;
    }
    let line = |((until, window), n): (&(Timestamp, Arc<str>), &usize)| {
        let (s, wait) = if *n == 1 { ("", "waits") } else { ("s", "wait") };
        format!("{n} pending run{s} {wait} for {} at {}.\n", escape(window), until.minute())
    };
    all.iter().map(line).collect()
}

/// One run for programs.
#[must_use]
pub fn run_json(run: &RunRecord, rates: &Rates, now: Timestamp) -> Value {
    let (spent, running) = outlook::spent(run, rates, now);
    let attempts: Vec<Value> = run
        .attempts
        .iter()
        .map(|a| json!({"number": a.number, "phase": a.phase, "admitted": a.admitted_at.to_string(), "started": a.started_at.map(|t| t.to_string()), "ended": a.ended_at.map(|t| t.to_string()), "place": a.place, "outcome": a.outcome}))
        .collect();
    json!({
        "address": run.spec.address, "status": run.status, "generation": run.generation, "fingerprint": run.spec.fingerprint,
        "params": run.spec.params.iter().map(|(k, v)| (k.to_string(), v.clone())).collect::<serde_json::Map<_, _>>(),
        "priority": run.spec.job.priority.class, "attempts": attempts, "metrics": run.metrics, "outputs": run.outputs, "reused_from": run.reused_from,
        "because": run.because, "notices": run.notices, "planned": run.planned_at.to_string(), "ended": run.ended_at.map(|t| t.to_string()),
        "spent": spent, "running": running, "held_until": held_until(run, rates, now).map(|(_, t)| t.to_string()),
    })
}

fn colored(status: RunStatus) -> String {
    let color = match status {
        RunStatus::Succeeded => style::GOOD,
        RunStatus::Pruned | RunStatus::Unneeded => style::DIM,
        RunStatus::Failed | RunStatus::Cancelled => style::BAD,
        s if s.is_live() => style::LIVE,
        _ => style::CHANGE,
    };
    style::paint(color, &pad(status.word(), 9))
}

fn table(runs: &[&RunRecord], expand: bool, now: Timestamp, live: &Live<'_>) -> String {
    if runs.is_empty() {
        return "No runs.\n".to_owned();
    }
    // A job stands once, where its first run does: after a part of it ran again its runs do not follow each other.
    let mut places: FxHashMap<&str, usize> = FxHashMap::default();
    for run in runs {
        let next = places.len();
        places.entry(&run.spec.job.job).or_insert(next);
    }
    let mut runs = runs.to_vec();
    runs.sort_by_key(|r| places.get(&*r.spec.job.job).copied());
    let mut out = String::new();
    let mut index = 0;
    while let Some(first) = runs.get(index) {
        let job = &first.spec.job.job;
        let count = runs.get(index..).unwrap_or_default().iter().take_while(|r| r.spec.job.job == *job).count();
        let group = runs.get(index..index + count).unwrap_or_default();
        if expand || count == 1 {
            group.iter().for_each(|r| write_run(&mut out, r, now, live.get(&r.spec.address).copied()));
        } else {
            write_group(&mut out, job, group);
        }
        index += count;
    }
    let of = |f: &dyn Fn(&RunRecord) -> bool| runs.iter().filter(|r| f(r)).count();
    let counts = [
        (of(&|r| r.status == RunStatus::Succeeded), "succeeded"),
        (of(&|r| r.status.is_live()), "running"),
        (of(&|r| r.status == RunStatus::Pending), "pending"),
        (of(&|r| r.status == RunStatus::Pruned), "pruned"),
        (of(&|r| r.status == RunStatus::Unneeded), "not needed"),
        (of(&|r| r.status == RunStatus::Failed), "failed"),
        (of(&|r| r.status == RunStatus::Cancelled), "cancelled"),
        (of(&|r| r.status == RunStatus::Skipped), "skipped"),
    ];
    let parts: Vec<String> = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")).collect();
    let _ = writeln!(out, "{} run{}: {}.", runs.len(), if runs.len() == 1 { "" } else { "s" }, parts.join(", "));
    out
}

fn write_run(out: &mut String, run: &RunRecord, now: Timestamp, forecast: Option<&Forecast>) {
    let took = run
        .attempts
        .last()
        .and_then(|a| a.started_at.map(|s| a.ended_at.unwrap_or(now).since(s)))
        .map(|t| t.to_string())
        .unwrap_or_default();
    let words = match run.status {
        RunStatus::Failed => failure(run),
        RunStatus::Unneeded => run.because.as_deref().map(|b| escape(b).into_owned()).unwrap_or_default(),
        RunStatus::Skipped => run.because.as_ref().map(|b| format!("because of {b}")).unwrap_or_default(),
        status if status.is_live() => {
            let ahead = forecast.map(forecast::compact);
            [ahead, metrics(run, 3)].into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        _ => match run.reused_from.as_ref().filter(|from| **from != run.spec.address) {
            Some(from) => format!("result of {from}"),
            None => metrics(run, 3).unwrap_or_default(),
        },
    };
    let room = 30;
    let line = format!("{} {} {:>7}  ", pad(&fit(&escape(run.spec.address.as_str()), room), room), colored(run.status), took);
    let left = width().saturating_sub(room + 20);
    let _ = writeln!(out, "{}", format!("{line}{}", fit(&words, left)).trim_end());
}

fn write_group(out: &mut String, job: &str, group: &[&RunRecord]) {
    let mut parts: Vec<String> = Vec::new();
    for status in [
        RunStatus::Succeeded,
        RunStatus::Running,
        RunStatus::Launching,
        RunStatus::Stopping,
        RunStatus::Pending,
        RunStatus::Pruned,
        RunStatus::Unneeded,
        RunStatus::Failed,
        RunStatus::Cancelled,
        RunStatus::Skipped,
    ] {
        let n = group.iter().filter(|r| r.status == status).count();
        if n > 0 {
            parts.push(format!("{n} {}", status.word()));
        }
    }
    let room = 30;
    let name = pad(&fit(&format!("{} ({} runs)", escape(job), group.len()), room), room);
    let _ = writeln!(out, "{name} {}", parts.join(", "));
    if let Some(best) = late::best(group) {
        let params: Vec<String> = best.spec.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let text = format!("best {}: {} with {}", best.spec.address, metrics(best, 1).unwrap_or_default(), params.join(" "));
        let _ = writeln!(out, "  {}", fit(&escape(&text), width().saturating_sub(2)));
    }
}

/// Why a trial was suggested, with its params, or ended early.
fn reason(body: &Value) -> Vec<String> {
    let pairs = body.get("params").and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_array));
    let params = pairs.map(|all| {
        let pair = |p: &Vec<Value>| Some(format!("{}={}", p.first()?.as_str()?, p.get(1)?));
        all.filter_map(pair).collect::<Vec<_>>().join(" ")
    });
    let words = ["why", "because"].iter().filter_map(|k| body.get(*k).and_then(Value::as_str)).map(str::to_owned);
    params.into_iter().chain(words).filter(|r| !r.is_empty()).collect()
}

/// `history`
pub fn history(here: &Path, args: &args::History) -> Outcome {
    let entries = Place::find(here, None)?.store()?.history(args.address.as_deref(), args.limit)?;
    output::write(&args.output.output, |form| match form {
        Form::Json => {
            let list: Vec<Value> =
                entries.iter().map(|e| json!({"seq": e.seq, "time": e.at.to_string(), "address": e.address, "event": e.body})).collect();
            output::json(&json!({"format_version": 1, "events": list}))
        }
        Form::Text => {
            let mut out = String::new();
            for e in &entries {
                let word = e.body.get("event").and_then(Value::as_str).unwrap_or_default();
                // Reasons of a search are sentences: they have lines of their own.
                let reasons = matches!(word, "suggested" | "paused" | "promoted" | "pruned" | "unneeded");
                let keys: &[&str] =
                    if reasons { &[] } else { &["plan_id", "by", "agent", "approved_by", "cause", "because", "place", "from"] };
                let detail = keys
                    .iter()
                    .filter_map(|k| e.body.get(*k).and_then(Value::as_str).map(|v| format!("{k} {v}")))
                    .collect::<Vec<_>>()
                    .join(", ");
                let outcome = e
                    .body
                    .get("outcome")
                    .map(|o| o.get("cause").and_then(Value::as_str).unwrap_or_default().to_owned())
                    .unwrap_or_default();
                let detail = if word == "threshold" { threshold(&e.body) } else { detail };
                let line =
                    format!("{:>6}  {}  {} {} {}{}", e.seq, e.at, pad(word, 16), e.address.as_deref().unwrap_or_default(), detail, outcome);
                let _ = writeln!(out, "{}", fit(&escape(line.trim_end()), width()));
                if reasons {
                    for line in reason(&e.body).iter().flat_map(|r| wrap(&escape(r), width().saturating_sub(8))) {
                        let _ = writeln!(out, "        {line}");
                    }
                }
            }
            out
        }
    })?;
    Ok(Exit::Done)
}

/// `80% of workflow mnist, $0.041 of $0.05`.
fn threshold(body: &Value) -> String {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let money = |key: &str| Money::parse(text(key)).map(|m| m.to_string()).unwrap_or_default();
    let percent = body.get("percent").and_then(Value::as_u64).unwrap_or_default();
    format!("{percent}% of {}, {} of {}", text("budget"), money("spent"), money("limit"))
}

/// A line for each budget that has reached a threshold.
fn reached(budgets: &[Standing]) -> String {
    let mut out = String::new();
    let high: Vec<&Standing> = budgets.iter().filter(|b| b.reached.is_some()).collect();
    for b in high.iter().take(BUDGETS) {
        let color = if b.spent < b.limit { style::CHANGE } else { style::BAD };
        let used = style::paint(color, &percent(b.spent_tenths));
        let _ = writeln!(out, "Budget of {}: {used} spent, {} of {}.", fit(&escape(&b.name), 40), b.spent, b.limit);
    }
    if high.len() > BUDGETS {
        let _ = writeln!(out, "And {} more budgets; `oppen budget status` has all.", high.len() - BUDGETS);
    }
    out
}
