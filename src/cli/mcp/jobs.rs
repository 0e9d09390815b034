//! Tools that start and end training: the same submissions and requests as `oppen submit` and `oppen cancel`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Hands, refusal, resolve, stored};
use crate::base::{Address, Timestamp};
use crate::check::BudgetLine;
use crate::cli::desk::approval;
use crate::cli::desk::ask::{Ask, batch as read_batch, spread};
use crate::cli::desk::engine;
use crate::cli::desk::submit::{Leave, Prepared, Receipt, new_id, prepare, price, submit};
use crate::cli::exit::{Exit, Failure};
use crate::cli::plan::now;
use crate::cli::session::Place;
use crate::mcp::{Answer, Budget, Code, Cost, JobRef, Queued, Refusal, Stopped, Submitted, Talk, Train, TrainBatch, plain};
use crate::queue::board;
use crate::queue::board::Waiting;
use crate::record::{RunRecord, RunStatus};
use crate::store::{Request, Store};

/// `trigger_training_job`, `queue_training_job`
pub fn train(hands: &Hands, args: Train, talk: &Talk<'_>) -> Answer<Submitted> {
    let ask = Ask {
        model_type: confined(&args.model_type)?,
        epochs: args.epochs,
        batch_size: args.batch_size,
        priority: args.priority,
        with: args.with,
        count: None,
    };
    let asks = spread(vec![ask]).map_err(refusal)?;
    send(hands, asks, args.max_cost_usd.map(|m| m.0), !args.dry_run, talk)
}

/// `submit_batch_training_jobs`
pub fn batch(hands: &Hands, args: TrainBatch, talk: &Talk<'_>) -> Answer<Submitted> {
    let mut asks = read_batch(&args.jobs_json.0).map_err(refusal)?;
    for ask in &mut asks {
        ask.model_type = confined(&ask.model_type)?;
    }
    send(hands, asks, args.max_cost_usd.map(|m| m.0), !args.dry_run, talk)
}

/// A template's file must lie in the project; other names are looked up in it.
fn confined(what: &str) -> Answer<String> {
    if !(what.ends_with(".yaml") || what.ends_with(".yml")) {
        return Ok(what.to_owned());
    }
    crate::expand::paths::confined(what).map_err(|words| {
        Refusal::new(Code::InvalidArguments, words, "give a model type, the name of a workflow, or a file relative to the project's root")
    })
}

fn send(hands: &Hands, asks: Vec<Ask>, most: Option<crate::base::Money>, really: bool, talk: &Talk<'_>) -> Answer<Submitted> {
    let count = u32::try_from(asks.len()).unwrap_or(u32::MAX);
    (talk.progress)(0, Some(count), "filling in the templates");
    let root = hands.place()?.loaded.root;
    let prepared = prepare(&root, &asks, &new_id()).map_err(refusal)?;
    super::gone(talk)?;
    (talk.progress)(count, Some(count), "pricing, and holding it against budgets");
    match submit(&prepared, &Leave::agent(&talk.agent), most, really) {
        Ok(receipt) => Ok(submitted(&receipt, now())),
        Err(held) if held.exit == Exit::Declined => Err(proposed(&root, &prepared, asks, &talk.agent, held.message)),
        Err(failure) => Err(refusal(failure)),
    }
}

/// Keeps what a person must agree to, and says how that is done.
fn proposed(root: &Path, prepared: &Prepared, asks: Vec<Ask>, agent: &str, because: String) -> Refusal {
    let plan = match price(prepared) {
        Ok(plan) => plan,
        Err(failure) => return refusal(failure),
    };
    let (id, runs) = (prepared.submission.id.clone(), prepared.submission.runs.len());
    let (digest, agent) = (approval::digest(prepared), agent.to_owned());
    let (cost, at) = (plan.cost, now());
    let proposal = approval::Proposal { format_version: 1, id: id.clone(), agent, asks, digest, cost, runs, because: because.clone(), at };
    if let Err(failure) = approval::keep(root, &proposal) {
        return refusal(failure);
    }
    let words = format!("expected to cost {cost}; nothing was submitted yet: {because}");
    let next = format!("ask a person to run `oppen approve {id}`; get_training_status with job_id {id} tells whether they did");
    Refusal::new(Code::ApprovalRequired, words, next).with(serde_json::json!({
        "cost": {"expected_usd": cost, "worst_usd": plan.worst, "unpriced_runs": plan.unpriced},
        "job_id": id, "command": format!("oppen approve {id}"), "runs": runs,
    }))
}

fn submitted(receipt: &Receipt, now: Timestamp) -> Submitted {
    let jobs: Vec<Queued> = receipt.runs.iter().map(|a| receipt.board.of(a).map_or_else(|| unknown(a), |w| queued(w, None, now))).collect();
    let job_id = match &receipt.runs[..] {
        [one] => one.to_string(),
        _ => receipt.id.clone(),
    };
    let next = if receipt.submitted {
        "call get_training_status with this job_id (and wait_seconds) to follow it; cancel_queued_job takes it back while it waits"
    } else {
        "nothing was submitted: call again without dry_run to do it"
    };
    Submitted {
        cost: Cost { expected_usd: receipt.cost.into(), worst_usd: receipt.worst.map(Into::into), unpriced_runs: receipt.unpriced },
        pending_cost_usd: receipt.board.pending_cost.into(),
        job_id,
        submission_id: receipt.id.clone(),
        submitted: receipt.submitted,
        position: jobs.iter().filter_map(|j| j.position).min(),
        wait_seconds: jobs.iter().filter_map(|j| j.wait_seconds).min_by(f64::total_cmp),
        jobs,
        budgets: receipt.budgets.iter().map(budget).collect(),
        next: next.to_owned(),
    }
}

fn unknown(address: &Address) -> Queued {
    let job_id = address.to_string();
    Queued { job_id, position: None, priority: String::new(), starts_at: None, wait_seconds: None, cost_usd: None, waits_because: None }
}

/// A place in the line.
pub fn queued(waiting: &Waiting, why: Option<String>, now: Timestamp) -> Queued {
    Queued {
        job_id: waiting.address.to_string(),
        position: Some(waiting.position),
        priority: waiting.class.to_string(),
        starts_at: waiting.start.map(|s| s.max(now).to_string()),
        wait_seconds: waiting.start.map(|s| s.since(now).as_secs_f64()),
        cost_usd: waiting.cost.map(Into::into),
        waits_because: why,
    }
}

/// A budget with what counts against it.
pub fn budget(line: &BudgetLine) -> Budget {
    let tenths = crate::advise::budget::tenths(line.total, line.limit);
    Budget {
        name: plain(&line.scope, 200),
        spent_usd: line.spent.into(),
        committed_usd: line.total.into(),
        limit_usd: line.limit.into(),
        used_percent: percent(tenths),
    }
}

/// Tenths of a percent in percent, for showing.
pub fn percent(tenths: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a percentage for showing")]
    let value = tenths as f64 / 10.0;
    value
}

/// `stop_training_job`
pub fn stop(hands: &Hands, args: JobRef, talk: &Talk<'_>) -> Answer<Stopped> {
    let place = hands.place()?;
    let (store, runs) = resolve::runs(&place, &args.job_id)?;
    let live = |r: &&RunRecord| r.status.is_live();
    if !runs.iter().any(|r| live(&r)) {
        return Err(match runs.iter().find(|r| !r.status.is_terminal()) {
            Some(_) => Refusal::new(
                Code::InvalidArguments,
                format!("`{}` waits and does not run", plain(&args.job_id, 200)),
                "call cancel_queued_job with the same job_id",
            ),
            None => over(&args.job_id, &runs),
        });
    }
    end(&place, store, &args.job_id, runs, live, false, talk)
}

/// `cancel_queued_job`
pub fn cancel(hands: &Hands, args: JobRef, talk: &Talk<'_>) -> Answer<Stopped> {
    let place = hands.place()?;
    let (store, runs) = resolve::runs(&place, &args.job_id)?;
    let waits = |r: &&RunRecord| r.status == RunStatus::Pending;
    if !runs.iter().any(|r| waits(&r)) {
        return Err(match runs.iter().find(|r| r.status.is_live()) {
            Some(_) => Refusal::new(
                Code::NotQueued,
                format!("`{}` has started: it is not in the queue any more", plain(&args.job_id, 200)),
                "call stop_training_job with the same job_id to end it; what it cost so far is spent",
            ),
            None => over(&args.job_id, &runs),
        });
    }
    end(&place, store, &args.job_id, runs, waits, true, talk)
}

fn over(id: &str, runs: &[RunRecord]) -> Refusal {
    let words: Vec<&str> = runs.iter().take(3).map(|r| r.status.word()).collect();
    Refusal::new(
        Code::AlreadyEnded,
        format!("`{}` is over: {}", plain(id, 200), words.join(", ")),
        "nothing needs to be done; get_training_status tells how it went",
    )
}

fn end(
    place: &Place,
    mut store: Store,
    id: &str,
    runs: Vec<RunRecord>,
    chosen: impl Fn(&&RunRecord) -> bool,
    waiting: bool,
    talk: &Talk<'_>,
) -> Answer<Stopped> {
    let addresses: Vec<Address> = runs.iter().filter(|r| chosen(r)).map(|r| r.spec.address.clone()).collect();
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    (talk.progress)(0, Some(count), "asking the engine");
    let confirmed = ask(place, &mut store, &addresses, waiting).map_err(refusal)?;
    let after = resolve::runs(place, id)?.1;
    let still = |a: &Address| after.iter().find(|r| r.spec.address == *a).is_some_and(|r| r.status.is_live() && !r.cancel_requested);
    // What started in the meantime is left alone by a cancel of what waits.
    let (left, ended): (Vec<Address>, Vec<Address>) = addresses.into_iter().partition(|a| waiting && still(a));
    if waiting && ended.is_empty() {
        let words = format!("`{}` has started in the meantime", plain(id, 200));
        return Err(Refusal::new(Code::NotQueued, words, "call stop_training_job with the same job_id to end it"));
    }
    let mut state = store.load_open().map_err(stored)?;
    store.foresee(&mut state).map_err(stored)?;
    let others = runs.iter().filter(|r| !ended.contains(&r.spec.address) && !left.contains(&r.spec.address));
    let untouched = left.iter().map(ToString::to_string).chain(others.map(|r| r.spec.address.to_string())).collect();
    Ok(Stopped {
        pending_cost_usd: board(&state, &place.limits, &store.meters(&place.limits, now()).map_err(stored)?, &place.rates, now())
            .pending_cost
            .into(),
        job_id: id.to_owned(),
        ended: ended.iter().map(ToString::to_string).collect(),
        untouched,
        confirmed,
        next: "get_training_status tells when it is over and what it cost; get_queue_status shows who moves up".to_owned(),
    })
}

/// Leaves the wish for the engine that runs, behind what was asked before: a run that was just submitted is there when its turn comes.
/// Where none runs and nobody asked for anything, a command does it, so that nothing that waits is launched by this.
fn ask(place: &Place, store: &mut Store, addresses: &[Address], waiting: bool) -> Result<bool, Failure> {
    let by = crate::store::me("cancel", now()).who();
    if store.is_held()? || !store.requests()?.is_empty() {
        let addresses = addresses.to_vec();
        let request = if waiting { Request::CancelWaiting { addresses, by } } else { Request::Cancel { addresses, by } };
        let id = store.atomically(|store| store.request(&request))?;
        // It may have given the state back since: whoever asks sees to it that somebody answers.
        engine::ensure(&place.loaded.root, store)?;
        return engine::answered(store, id);
    }
    command(&place.loaded.root, if waiting { &["queue", "cancel"] } else { &["stop"] }, addresses)
}

fn command(root: &Path, words: &[&str], addresses: &[Address]) -> Result<bool, Failure> {
    for part in addresses.chunks(500) {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("-C").arg(root).args(words).arg("--").args(part.iter().map(Address::as_str));
        let out = command.stdin(Stdio::null()).env("NO_COLOR", "1").output()?;
        if !out.status.success() && out.status.code() != Some(i32::from(Exit::RunsFailed as u8)) {
            let words = String::from_utf8_lossy(&out.stderr);
            let words = words.lines().find_map(|l| l.strip_prefix("error: ")).unwrap_or("it could not be cancelled").to_owned();
            return Err(Failure::new(Exit::Error, words));
        }
    }
    Ok(true)
}
