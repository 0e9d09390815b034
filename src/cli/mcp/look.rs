//! Tools that look at runs: status, list, logs, explain, sweeps.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::plans::actions;
use super::{Hands, refusal, resolve, stored};
use crate::base::{Address, AttemptId, Money, Timestamp};
use crate::cli::args::Part;
use crate::cli::exit::Exit;
use crate::cli::plan::now;
use crate::cli::progress::{cause_text, failure};
use crate::cli::session::{Place, Session};
use crate::diff::outlook;
use crate::mcp::{
    Answer, Code, Explained, JobRef, JobView, LogText, Logs, Refusal, RunList, RunPage, Status, SweepView, Talk, Training, line, plain,
    untrusted,
};
use crate::record::{RunRecord, RunStatus, State};
use crate::store::{Store, Wanted};

/// Runs of one answer about a job.
const RUNS: usize = 200;
/// Entries of a page, unless the agent says otherwise.
const PAGE: u32 = 50;
/// Most bytes of a log that are read for one answer.
const BYTES: u64 = 1 << 20;

/// One run as agents see it.
pub fn view(run: &RunRecord, place: &Place, why: Option<String>, now: Timestamp) -> JobView {
    let (spent, running) = outlook::spent(run, &place.rates, now);
    let last = run.attempts.last();
    let done = last.and_then(|a| a.progress.as_ref()).and_then(|p| p.marks.last()).map(|(units, _)| *units);
    let reason = match run.status {
        RunStatus::Failed => Some(failure(run)),
        RunStatus::Pending => why,
        _ => run.because.as_deref().map(str::to_owned),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of epochs, bounded by its schema")]
    let counted = run.spec.job.work.values.get("epochs").map(|n| *n as u32);
    JobView {
        job_id: run.spec.address.to_string(),
        status: run.status.word().to_owned(),
        spent_usd: spent.into(),
        running_usd: running.into(),
        priority: run.spec.job.priority.class.to_string(),
        attempts: run.attempts.len(),
        done,
        epochs: run.spec.job.estimate.epochs.or(counted),
        metrics: run.metrics.iter().take(64).map(|(name, m)| (plain(name, 100), m.last.filter(|v| v.is_finite()))).collect(),
        params: run.spec.params.iter().map(|(k, v)| (plain(k, 100), v.clone())).collect(),
        planned_at: run.planned_at.to_string(),
        started_at: last.and_then(|a| a.started_at).map(|t| t.to_string()),
        ended_at: run.ended_at.map(|t| t.to_string()),
        place: plain(last.map_or("", |a| &a.place), 200),
        reason: reason.map(|r| plain(&r, 500)),
    }
}

/// Why the first runs that wait do so.
fn whys(place: &Place, store: &Store, runs: &[RunRecord]) -> Answer<BTreeMap<Address, String>> {
    let waiting: Vec<&Address> = runs.iter().filter(|r| r.status == RunStatus::Pending).map(|r| &r.spec.address).take(RUNS).collect();
    if waiting.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut state = store.load_open().map_err(stored)?;
    store.foresee(&mut state).map_err(stored)?;
    let engine = place.engine(store, state).map_err(refusal)?;
    let all = engine.whys(waiting.iter().copied());
    Ok(waiting.into_iter().cloned().zip(all).filter_map(|(a, w)| Some((a, w?.to_string()))).collect())
}

/// `get_training_status`
pub fn status(hands: &Hands, args: Status, talk: &Talk<'_>) -> Answer<Training> {
    let place = hands.place()?;
    let until = Instant::now() + Duration::from_secs(u64::from(args.wait_seconds));
    let (mut store, mut runs) = resolve::runs(&place, &args.job_id)?;
    let mut told = None;
    while runs.iter().any(|r| !r.status.is_terminal()) && Instant::now() < until && !(talk.cancelled)() {
        let news = progress(&runs);
        if told.as_ref() != Some(&news) {
            (talk.progress)(news.0, news.1, &news.2);
            told = Some(news);
        }
        std::thread::sleep(Duration::from_millis(200));
        (store, runs) = resolve::runs(&place, &args.job_id)?;
    }
    let now = now();
    let whys = whys(&place, &store, &runs)?;
    let views = runs.iter().take(RUNS).map(|r| view(r, &place, whys.get(&r.spec.address).cloned(), now)).collect();
    let (word, next) = together(&runs);
    Ok(Training {
        job_id: args.job_id,
        status: word.to_owned(),
        over: runs.iter().all(|r| r.status.is_terminal()),
        spent_usd: runs.iter().map(|r| outlook::spent(r, &place.rates, now).0).sum::<Money>().into(),
        runs: views,
        total: runs.len(),
        next: next.to_owned(),
    })
}

/// How far a job is: epochs where it is one run that tells, else runs.
fn progress(runs: &[RunRecord]) -> (u32, Option<u32>, String) {
    let small = |n: i64| u32::try_from(n).unwrap_or(0);
    if let [one] = runs {
        let done = one.attempts.last().and_then(|a| a.progress.as_ref()).and_then(|p| p.marks.last()).map_or(0, |(n, _)| small(*n));
        let metrics = crate::cli::progress::metrics(one, 3).map(|m| format!(", {m}")).unwrap_or_default();
        return (done, one.spec.job.estimate.epochs, format!("{}{metrics}", one.status.word()));
    }
    let over = runs.iter().filter(|r| r.status.is_terminal()).count();
    let live = runs.iter().filter(|r| r.status.is_live()).count();
    (u32::try_from(over).unwrap_or(0), u32::try_from(runs.len()).ok(), format!("{over} over, {live} running"))
}

fn together(runs: &[RunRecord]) -> (&'static str, &'static str) {
    let any = |f: fn(RunStatus) -> bool| runs.iter().any(|r| f(r.status));
    if any(RunStatus::is_live) {
        ("running", "call again with wait_seconds to follow it; get_training_logs shows its output; stop_training_job ends it")
    } else if any(|s| s == RunStatus::Pending) {
        ("queued", "list_queued_jobs shows its place; cancel_queued_job takes it back; call again with wait_seconds to follow it")
    } else if any(|s| s == RunStatus::Failed) {
        ("failed", "explain_run tells the cause and get_training_logs shows the output; mend it and submit again")
    } else if any(|s| matches!(s, RunStatus::Cancelled | RunStatus::Skipped)) {
        ("cancelled", "submit again if it is still wanted")
    } else {
        ("succeeded", "get_training_cost_report sums the cost; recommend_cost_optimization tells how to make it cheaper")
    }
}

/// `list_training_runs`
pub fn list(hands: &Hands, args: RunPage, _: &Talk<'_>) -> Answer<RunList> {
    let place = hands.place()?;
    let cursor = args.cursor.as_deref().map(|c| super::queue::start(Some(c))).transpose()?;
    let before = cursor.map(|c| i64::try_from(c).unwrap_or(i64::MAX));
    let Some(store) = Store::open_existing(&place.state_folder()).map_err(stored)? else {
        return Ok(RunList { runs: Vec::new(), next_cursor: None });
    };
    let (most, now) = (args.limit.unwrap_or(PAGE) as usize, now());
    let status = args.status.as_deref().unwrap_or("any");
    let mut found: Vec<(i64, RunRecord)> = Vec::new();
    if matches!(status, "open" | "pending" | "running") {
        let mut state = store.load_open().map_err(stored)?;
        store.foresee(&mut state).map_err(stored)?;
        let fits = |r: &RunRecord| match status {
            "pending" => r.status == RunStatus::Pending,
            "running" => r.status.is_live(),
            _ => !r.status.is_terminal(),
        };
        let within = |r: &RunRecord| {
            args.workflow
                .as_deref()
                .is_none_or(|w| w == r.spec.address.workflow() || w == r.spec.address.job() || w == r.spec.address.as_str())
        };
        let number = |r: &RunRecord| i64::try_from(r.seq).unwrap_or(i64::MAX);
        found = state.runs.into_values().filter(|r| fits(r) && within(r)).map(|r| (number(&r), r)).collect();
        found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        found.retain(|(seq, _)| before.is_none_or(|b| *seq < b));
        found.truncate(most + 1);
    } else {
        let status = [RunStatus::Succeeded, RunStatus::Failed, RunStatus::Cancelled].into_iter().find(|s| s.word() == status);
        for (seq, address) in store.newest(&Wanted { before, status, within: args.workflow }, most + 1).map_err(stored)? {
            let mut state = store.load_job(&address).map_err(stored)?;
            found.extend(Address::parse(&address).ok().and_then(|a| state.runs.remove(&a)).map(|r| (seq, r)));
        }
    }
    let more = found.len() > most;
    found.truncate(most);
    let next_cursor = found.last().filter(|_| more).map(|(seq, _)| seq.to_string());
    Ok(RunList { runs: found.iter().map(|(_, r)| view(r, &place, None, now)).collect(), next_cursor })
}

/// `get_training_logs`
pub fn logs(hands: &Hands, args: Logs, _: &Talk<'_>) -> Answer<LogText> {
    let place = hands.place()?;
    let (store, run) = resolve::one(&place, &args.job_id)?;
    let none = |words: String| Refusal::new(Code::NotFound, words, "get_training_status tells where it stands; explain_run tells why");
    let last = run.attempts.last().map(|a| a.number);
    let number = args.attempt.or(last).ok_or_else(|| none(format!("{} has not started yet", plain(run.spec.address.as_str(), 200))))?;
    let attempt = AttemptId { address: run.spec.address.clone(), generation: run.generation, number };
    // The record was read before the file: what an ended attempt wrote is all there by then.
    let over = run.live_attempt().is_none_or(|a| a.number != number);
    let path = crate::backend::log_path(&place.state_folder(), &attempt.name(store.lineage()));
    let mut file = std::fs::File::open(&path).map_err(|_| none(format!("there is no output of {attempt}")))?;
    let most = args.lines.unwrap_or(100) as usize;
    let from = args.cursor.as_deref().map(|c| super::queue::start(Some(c))).transpose()?;
    let cut = cut(&mut file, from.map(|f| f as u64), most, over).map_err(|e| none(e.to_string()))?;
    let secrets: Vec<String> = run.spec.job.secret_env.values().filter_map(|source| std::env::var(source).ok()).collect();
    let lines: Vec<String> = cut.lines.iter().map(|l| line(l, &secrets)).collect();
    let mark = uuid::Uuid::new_v4().simple().to_string();
    Ok(LogText {
        job_id: run.spec.address.to_string(),
        attempt: number,
        untrusted: true,
        text: untrusted(run.spec.address.as_str(), &lines, &mark),
        lines: lines.len(),
        complete: over && cut.all,
        next_cursor: cut.end.to_string(),
    })
}

/// A part of a log.
struct Cut {
    lines: Vec<String>,
    /// Where the next part begins, in bytes.
    end: u64,
    /// True when there is nothing behind it.
    all: bool,
}

/// The last lines, or those from a place on. A line that is still being written waits for its end.
fn cut(file: &mut std::fs::File, from: Option<u64>, most: usize, over: bool) -> std::io::Result<Cut> {
    let size = file.metadata()?.len();
    let start = from.unwrap_or_else(|| size.saturating_sub(BYTES)).min(size);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    let read_all = start + bytes.len() as u64 >= size;
    if !(over && read_all) {
        // A line longer than all that is read at once is given in pieces.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map(|i| i + 1).or((bytes.len() as u64 >= BYTES).then_some(bytes.len()));
        bytes.truncate(whole.unwrap_or(0));
    }
    let mut ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    if ends.last().copied().unwrap_or(0) < bytes.len() {
        ends.push(bytes.len());
    }
    let first = if from.is_some() { 0 } else { ends.len().saturating_sub(most) };
    let last = ends.len().min(first.saturating_add(most));
    let begin = first.checked_sub(1).and_then(|i| ends.get(i)).copied().unwrap_or(0);
    let end = last.checked_sub(1).and_then(|i| ends.get(i)).copied().unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(begin..end.max(begin)).unwrap_or_default()).into_owned();
    let lines = text.split_terminator('\n').map(str::to_owned).collect();
    Ok(Cut { lines, end: start + end as u64, all: read_all && end == bytes.len() })
}

/// `explain_run`
pub fn explain(hands: &Hands, args: JobRef, _: &Talk<'_>) -> Answer<Explained> {
    let place = hands.place()?;
    let now = now();
    let (known, missing) = match resolve::one(&place, &args.job_id) {
        Ok(known) => (Some(known), None),
        Err(refusal) if refusal.code == Code::NotFound => (None, Some(refusal)),
        Err(refusal) => return Err(refusal),
    };
    let id = known.as_ref().map_or_else(|| args.job_id.clone(), |(_, r)| r.spec.address.to_string());
    let session = Session::read(&hands.here, &[], &[], None);
    let planned = if session.diags.has_errors() {
        Vec::new()
    } else {
        let store = Store::open_existing(&session.state_folder()).map_err(stored)?;
        let state = store.as_ref().map_or_else(|| Ok(State::default()), Store::load).map_err(stored)?;
        let plan = session.plan(store.as_ref(), &state, &Part::default(), now).map_err(refusal)?;
        actions(plan.runs.iter().filter(|r| r.address.as_str() == id))
    };
    if let Some(refusal) = missing.filter(|_| planned.is_empty()) {
        return Err(refusal);
    }
    let Some((store, run)) = known else {
        return Ok(Explained { job_id: id, recorded: None, waits: None, planned, attempts: Vec::new(), history: Vec::new() });
    };
    let waits = whys(&place, &store, std::slice::from_ref(&run))?.remove(&run.spec.address);
    let history = store.history(Some(&id), 50).map_err(stored)?;
    let event = |e: &crate::store::HistoryEntry| {
        let text = |key: &str| e.body.get(key).and_then(Value::as_str).map(|t| plain(t, 300));
        let all = ["event", "by", "cause", "because", "place", "detail"].into_iter().filter_map(|k| Some((k.to_owned(), text(k)?.into())));
        let mut fields: Map<String, Value> = all.collect();
        fields.insert("at".to_owned(), e.at.to_string().into());
        Value::Object(fields)
    };
    Ok(Explained {
        job_id: id,
        recorded: Some(view(&run, &place, waits.clone(), now)),
        waits,
        planned,
        attempts: run.attempts.iter().map(attempt).collect(),
        history: history.iter().map(event).collect(),
    })
}

fn attempt(a: &crate::record::Attempt) -> Value {
    let outcome = a.outcome.as_ref();
    json!({
        "number": a.number, "place": plain(&a.place, 200), "started_at": a.started_at.map(|t| t.to_string()),
        "ended_at": a.ended_at.map(|t| t.to_string()), "cause": outcome.map(|o| cause_text(o.cause)),
        "exit_code": outcome.and_then(|o| o.exit_code), "detail": outcome.map(|o| plain(&o.detail, 500)),
        "cost_usd": a.cost,
    })
}

/// `sweep_status`
pub fn sweep(hands: &Hands, args: JobRef, _: &Talk<'_>) -> Answer<SweepView> {
    let all = crate::cli::sweep::status::values(&hands.here, &args.job_id).map_err(|failure| {
        let unknown = failure.exit == Exit::Error;
        let told = refusal(failure);
        if unknown { Refusal { code: Code::NotFound, ..told } } else { told }
    })?;
    let sweeps = all.into_iter().map(shown).collect();
    Ok(SweepView { sweeps })
}

/// Every text of a value escaped: names of metrics and reasons are others' words.
pub fn shown(value: Value) -> Value {
    match value {
        Value::String(text) => plain(&text, 2000).into(),
        Value::Array(list) => list.into_iter().map(shown).collect(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (plain(&k, 200), shown(v))).collect(),
        other => other,
    }
}
