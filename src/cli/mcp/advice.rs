//! Tools that advise: forecasts, recommendations, comparisons.
//!
//! Forecasts and recommendations are those of `oppen cost`, asked in a process of its own: they read all that is known, and their memory
//! goes with them. Must never run or change anything.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::look::{shown, view};
use super::{Hands, refusal, resolve, stored};
use crate::advise::compare::{Candidate, compare};
use crate::base::Money;
use crate::cli::desk::ask::Ask;
use crate::cli::desk::submit::{new_id, prepare, price};
use crate::cli::exit::{Exit, Failure};
use crate::cli::plan::now;
use crate::cli::session::Place;
use crate::diff::{History as _, outlook};
use crate::mcp::{
    Advice, Answer, Code, CompareConfigs, Compared, Config, Forecast, ForecastAsk, JobForecast, Recommendation, Recommended, Refusal,
    RunRef, Talk, Usd, plain,
};
use crate::record::{Goal, RunRecord};
use crate::store::Store;

/// Runs that are forecast in one answer.
const RUNS: usize = 200;
/// Configurations of one comparison.
const CONFIGS: usize = 50;

/// Asks a command for its JSON.
fn asked(root: &Path, args: &[&str]) -> Answer<Value> {
    let run = || -> Result<Value, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        // Before the `--` that stands before addresses.
        let (command_words, rest) = args.split_at(args.len().min(2));
        command.arg("-C").arg(root).arg("--color=never").args(command_words).args(["-o", "json"]).args(rest);
        let out = command.stdin(Stdio::null()).output()?;
        if let Ok(value) = serde_json::from_slice::<Value>(&out.stdout) {
            return Ok(shown(value));
        }
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let find = |mark: &str| said.lines().find_map(|l| l.trim_start().strip_prefix(mark)).map(|t| plain(t, 600));
        let codes = [Exit::Blocked, Exit::Invalid, Exit::Usage, Exit::Locked];
        let exit = codes.into_iter().find(|e| out.status.code() == Some(i32::from(*e as u8))).unwrap_or(Exit::Error);
        let failure = Failure::new(exit, find("error: ").unwrap_or_else(|| "the question could not be answered".to_owned()));
        Err(match find("help: ") {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    };
    run().map_err(refusal)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn money(value: Option<&Value>) -> Option<Usd> {
    Money::parse(value?.as_str()?).ok().map(Usd)
}

fn pair(value: Option<&Value>) -> (Option<Usd>, Option<Usd>) {
    let at = |i: usize| value.and_then(|v| v.get(i));
    (money(at(0)), money(at(1)))
}

/// `forecast_training_cost`
pub fn forecast(hands: &Hands, args: ForecastAsk, _: &Talk<'_>) -> Answer<Forecast> {
    let place = hands.place()?;
    let (_, runs) = resolve::runs(&place, &args.job_name)?;
    let addresses: Vec<&str> = runs.iter().take(RUNS).map(|r| r.spec.address.as_str()).collect();
    let remaining = args.remaining_epochs.map(|n| n.to_string());
    let mut words = vec!["cost", "forecast"];
    if let Some(remaining) = &remaining {
        if runs.iter().all(|r| r.status.is_terminal()) {
            let words = format!("`{}` is over: it has no epochs left", plain(&args.job_name, 200));
            return Err(Refusal::new(Code::AlreadyEnded, words, "leave remaining_epochs out, or ask check_training_budget for a new run"));
        }
        words.extend(["--remaining-epochs", remaining]);
    }
    words.push("--");
    words.extend(addresses);
    let found = asked(&place.loaded.root, &words)?;
    let one = |run: &Value| {
        let total = run.get("total").filter(|t| !t.is_null());
        let (low_usd, high_usd) = pair(total.and_then(|t| t.get("interval")));
        JobForecast {
            job_id: text(run, "address"),
            status: text(run, "status"),
            spent_usd: money(run.get("spent")).unwrap_or_default(),
            expected_usd: money(total.and_then(|t| t.get("expected"))),
            low_usd,
            high_usd,
            worst_usd: money(total.and_then(|t| t.get("worst"))),
            left_seconds: run.get("time").and_then(|t| t.get("left_s")).and_then(Value::as_f64),
            finish: run.get("finish").and_then(Value::as_str).map(str::to_owned),
            basis: text(run, "basis"),
            budgets: run.get("budgets").and_then(Value::as_array).cloned().unwrap_or_default(),
        }
    };
    let jobs: Vec<JobForecast> = found.get("runs").and_then(Value::as_array).into_iter().flatten().map(one).collect();
    let total = found.get("together").and_then(|t| t.get("total"));
    let (low_usd, high_usd) = pair(total.and_then(|t| t.get("interval")));
    let next = match (jobs.iter().all(|j| j.expected_usd.is_none()), low_usd) {
        (true, _) => "there is nothing to go by yet: declare an `estimate`, or ask again when it has reported epochs",
        (false, None) => "no interval is known: nothing was measured yet, ask again when it has reported epochs",
        (false, Some(_)) => "stop_training_job ends it if that is too much; recommend_cost_optimization tells how to make it cheaper",
    };
    Ok(Forecast {
        expected_usd: money(total.and_then(|t| t.get("expected"))),
        low_usd,
        high_usd,
        worst_usd: money(total.and_then(|t| t.get("worst"))),
        job_name: args.job_name,
        jobs,
        next: next.to_owned(),
    })
}

/// `recommend_cost_optimization`
pub fn recommend(hands: &Hands, args: RunRef, _: &Talk<'_>) -> Answer<Recommended> {
    let place = hands.place()?;
    let (_, runs) = resolve::runs(&place, &args.run_id)?;
    let mut jobs: Vec<&str> = runs.iter().map(|r| &*r.spec.job.job).collect();
    jobs.dedup();
    let [job] = jobs[..] else {
        let words = format!("`{}` has {} jobs, and advice is about one", plain(&args.run_id, 200), jobs.len());
        return Err(Refusal::new(Code::InvalidArguments, words, format!("give one of {} as run_id", plain(&jobs.join(", "), 400))));
    };
    let found = asked(&place.loaded.root, &["cost", "recommend", "--", job])?;
    let report = found.get("jobs").and_then(|j| j.get(0)).cloned().unwrap_or_default();
    if let Some(why) = report.get("unknown").and_then(Value::as_str) {
        return Err(Refusal::new(
            Code::NotFound,
            format!("nothing can be said of {}: {why}", plain(job, 200)),
            "let it run to its end once, or declare an `estimate`",
        ));
    }
    let base = money(report.get("base")).unwrap_or_default();
    let list = |key: &str| report.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let one = |a: &Value| {
        let saves = money(a.get("saves")).unwrap_or_default();
        let tenths = crate::advise::budget::tenths(saves.0, base.0);
        Recommendation {
            kind: text(a, "kind"),
            title: text(a, "title"),
            saves_usd: saves,
            saves_percent: super::jobs::percent(tenths),
            confidence: text(a, "confidence"),
            because: text(a, "because"),
            computed: text(a, "computed"),
            side_effects: a
                .get("side_effects")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|s| Some(s.as_str()?.to_owned()))
                .collect(),
            edits: a.get("edits").and_then(Value::as_array).cloned().unwrap_or_default(),
        }
    };
    let advice: Vec<Recommendation> = list("advice").iter().map(one).collect();
    let next = if advice.is_empty() {
        "nothing was found that would have cost less; `missing` says what was not measured"
    } else {
        "show the advice; where the person agrees, write `after` over `before` in the file of each edit, then plan_workflow shows the new cost"
    };
    Ok(Recommended {
        base_usd: base,
        together_usd: money(report.get("together")).unwrap_or_default(),
        job: plain(job, 512),
        advice,
        missing: list("missing").iter().map(|m| Advice { kind: text(m, "kind"), what: text(m, "what") }).collect(),
        next: next.to_owned(),
    })
}

/// One entry of `config_json`.
enum Entry {
    /// What was run.
    Run(String),
    /// What could be.
    New(Box<Ask>),
}

fn entries(text: &str) -> Answer<Vec<(String, Entry)>> {
    let shape = "give a JSON list such as [{\"model_type\": \"mnist\", \"epochs\": 2}, {\"model_type\": \"mnist\", \"epochs\": 4}, {\"job_id\": \"train/train\"}]";
    let wrong = |words: String| Refusal::new(Code::InvalidArguments, format!("config_json cannot be read: {}", plain(&words, 1000)), shape);
    let value: Value = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(mut fields) => match fields.remove("configs") {
            Some(Value::Array(list)) => list,
            _ => return Err(wrong("it is no list of configurations".to_owned())),
        },
        _ => return Err(wrong("it is no list of configurations".to_owned())),
    };
    if list.len() < 2 || list.len() > CONFIGS {
        return Err(wrong(format!("it has {} entries; 2 to {CONFIGS} are compared", list.len())));
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (i, mut entry) in list.into_iter().enumerate() {
        let name = entry.as_object_mut().and_then(|f| f.remove("name")).and_then(|n| n.as_str().map(|n| plain(n, 100)));
        let run = entry.as_str().or_else(|| entry.get("job_id").and_then(Value::as_str)).map(str::to_owned);
        match run {
            Some(id) => found.push((name.unwrap_or_else(|| plain(&id, 200)), Entry::Run(id))),
            None => match serde_json::from_value::<Ask>(entry.clone()) {
                Ok(ask) => {
                    let values: Vec<String> = ask.values().iter().map(|(k, v)| format!("{k}={v}")).collect();
                    let class = ask.priority.as_deref().map(|p| format!(" {p}")).unwrap_or_default();
                    let name = name.unwrap_or_else(|| plain(&format!("{} {}{class}", ask.model_type, values.join(" ")), 200));
                    found.push((name, Entry::New(Box::new(ask))));
                }
                Err(e) => problems.push(format!("number {}: {e}", i + 1)),
            },
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(wrong(problems.join("; "))) }
}

fn best(run: &RunRecord) -> Option<(String, Goal, Option<f64>)> {
    let goal = run.spec.job.metric.as_ref()?;
    let found = run.metrics.get(goal.name.as_str());
    let value = found.and_then(|m| if goal.goal == Goal::Minimize { m.min } else { m.max }).filter(|v| v.is_finite());
    Some((goal.name.clone(), goal.goal, value))
}

/// `compare_training_configs`
pub fn configs(hands: &Hands, args: CompareConfigs, talk: &Talk<'_>) -> Answer<Compared> {
    let place = hands.place()?;
    let entries = entries(&args.config_json.0)?;
    let store = Store::open_existing(&place.state_folder()).map_err(stored)?;
    let (mut by, mut all) = (None, Vec::new());
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    for (i, (name, entry)) in entries.into_iter().enumerate() {
        super::gone(talk)?;
        (talk.progress)(u32::try_from(i).unwrap_or(0), Some(count), "pricing");
        all.push(match entry {
            Entry::Run(id) => measured(&place, name, &id, &mut by)?,
            Entry::New(ask) => estimated(&place, store.as_ref(), name, &ask, &mut by)?,
        });
    }
    let (metric, goal) = by.map_or((None, Goal::Minimize), |(n, g): (String, Goal)| (Some(n), g));
    let compared = compare(all, metric, goal);
    let row = |r: &crate::advise::compare::Row| Config {
        name: r.candidate.name.clone(),
        measured: r.candidate.measured,
        cost_usd: r.candidate.cost.map(Usd),
        low_usd: r.candidate.interval.map(|(low, _)| Usd(low)),
        high_usd: r.candidate.interval.map(|(_, high)| Usd(high)),
        seconds: r.candidate.time.map(|t| t.as_secs_f64()),
        metric: r.candidate.metric,
        source: plain(&r.candidate.source, 300),
        best: r.front,
        beaten_by: r.beaten_by.clone(),
        usd_for_one_more: r.marginal.map(Usd),
    };
    Ok(Compared {
        metric: compared.metric.as_deref().map(|m| plain(m, 100)),
        goal: if compared.goal == Goal::Minimize { "minimize" } else { "maximize" }.to_owned(),
        configs: compared.rows.iter().map(row).collect(),
        next: "`best` marks what nothing beats in cost, time and metric at once; where the metric is null, only a run can tell it: \
               trigger_training_job starts one"
            .to_owned(),
    })
}

fn measured(place: &Place, name: String, id: &str, by: &mut Option<(String, Goal)>) -> Answer<Candidate> {
    let (_, run) = resolve::one(place, id)?;
    let metric = best(&run);
    if let (None, Some((name, goal, _))) = (&by, &metric) {
        *by = Some((name.clone(), *goal));
    }
    let times = run.attempts.iter().filter_map(|a| a.started_at.zip(a.ended_at)).map(|(s, e)| e.since(s));
    let time = times.reduce(|a, b| a.plus(b));
    let seen = view(&run, place, None, now());
    Ok(Candidate {
        name,
        runs: 1,
        measured: true,
        cost: Some(outlook::spent(&run, &place.rates, now()).0),
        interval: None,
        time,
        metric: metric.and_then(|m| m.2),
        source: if run.status.is_terminal() { "measured".to_owned() } else { format!("it is {}", seen.status) },
    })
}

fn estimated(place: &Place, store: Option<&Store>, name: String, ask: &Ask, by: &mut Option<(String, Goal)>) -> Answer<Candidate> {
    let prepared = prepare(&place.loaded.root, std::slice::from_ref(ask), &new_id()).map_err(refusal)?;
    let plan = price(&prepared).map_err(refusal)?;
    let estimates = || plan.runs.iter().filter(|r| r.action.runs()).filter_map(|r| r.estimate.as_deref());
    // A finished run of the same fingerprint says what this one would reach.
    let (mut metric, mut source) = (None, "not run: its metric is not known".to_owned());
    for spec in &prepared.submission.runs {
        if let (None, Some(goal)) = (&by, &spec.job.metric) {
            *by = Some((goal.name.clone(), goal.goal));
        }
        let Some(from) = store.and_then(|s| s.past().finished(&spec.fingerprint)).map(|f| f.from) else { continue };
        let Ok((_, run)) = resolve::one(place, from.as_str()) else { continue };
        if let Some((_, _, Some(value))) = best(&run) {
            (metric, source) = (Some(value), format!("measured by {from}, which had the same settings"));
        }
    }
    let known = estimates().all(|e| e.interval.is_some());
    let sum = |of: fn(&crate::record::Money95) -> Money| estimates().filter_map(|e| e.cost.as_ref().map(of)).sum::<Money>();
    Ok(Candidate {
        name,
        runs: prepared.submission.runs.len(),
        measured: false,
        cost: (plan.unpriced == 0).then_some(plan.cost),
        interval: (known && plan.unpriced == 0).then(|| (sum(|c| c.low), sum(|c| c.high))),
        time: estimates().map(|e| e.time).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().reduce(|a, b| a.plus(b))),
        metric,
        source,
    })
}
