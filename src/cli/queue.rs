//! `oppen queue`: who waits, where, from when, for how much; pause, resume, priorities; and the engine that runs what waits.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::{BackendKind, Output, Select};
use super::desk::{engine, submit};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, fit, pad, style, width};
use super::plan::now;
use super::progress::Progress;
use super::session::Place;
use super::submit::when;
use super::{backends, status};
use crate::base::text::escape;
use crate::base::{Address, Timestamp};
use crate::drive::{Clock, Drive, End, Settings};
use crate::engine::Engine;
use crate::expand::gpu_time::{hours, whose};
use crate::queue::meter::Meter;
use crate::queue::{Board, board};
use crate::record::{Priority, RunStatus};
use crate::store::{Request, Store};

/// Rows of text; JSON has all.
const ROWS: usize = 200;

/// `queue`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Queue {
    /// What to do; without it the line is shown.
    #[command(subcommand)]
    pub command: Option<QueueCommand>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Give waiting runs another priority
    Priority {
        /// Priority class
        class: String,
        /// Addresses or selectors
        #[arg(required = true)]
        select: Vec<String>,
    },
    /// End runs that wait; one that starts in the meantime goes on
    Cancel(Select),
    /// Launch nothing more; what runs goes on
    Pause,
    /// Launch again
    Resume,
    /// Run what waits until nothing is left (submit starts this in the background)
    Run {
        /// Where runs run, if it is not what oppen.yaml says
        #[arg(long, value_enum)]
        backend: Option<BackendKind>,
    },
}

/// Shows or does.
pub fn run(here: &Path, args: &Queue) -> Outcome {
    match &args.command {
        None => show(here, &args.output),
        Some(QueueCommand::Priority { class, select }) => priority(here, class, select),
        Some(QueueCommand::Cancel(select)) => super::runs::end(here, select, super::runs::Deed::CancelWaiting),
        Some(QueueCommand::Pause) => pause(here, true),
        Some(QueueCommand::Resume) => pause(here, false),
        Some(QueueCommand::Run { backend }) => work(here, *backend),
    }
}

/// The line as it will be once what was asked for is answered, and why each of the first runs in it waits.
pub fn look(place: &Place, store: &Store) -> Result<(Board, Engine), Failure> {
    let mut state = store.load_open()?;
    store.foresee(&mut state)?;
    let board = board(&state, &place.limits, &store.meters(&place.limits, now())?, &place.rates, now());
    Ok((board, place.engine(store, state)?))
}

fn show(here: &Path, output: &Output) -> Outcome {
    let place = Place::find(here, None)?;
    let store = place.store()?;
    let (board, engine) = look(&place, &store)?;
    let now = now();
    let whys: Vec<String> =
        engine.whys(board.waiting.iter().map(|w| &w.address)).into_iter().map(|w| w.map(|w| w.to_string()).unwrap_or_default()).collect();
    output::write(&output.output, |form| match form {
        Form::Json => {
            let mut seen = value(&board, &whys);
            if let Value::Object(seen) = &mut seen {
                seen.insert("gpu_hours".to_owned(), meters(&engine));
            }
            output::json(&seen)
        }
        Form::Text => text(&board, &whys, now) + &metered(&engine),
    })?;
    Ok(Exit::Done)
}

/// The queue for programs.
#[must_use]
pub fn value(board: &Board, whys: &[String]) -> Value {
    let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
    let waiting: Vec<Value> = board
        .waiting
        .iter()
        .zip(whys)
        .map(|(w, why)| json!({"place": w.position, "address": w.address, "priority": w.class, "waits": why, "start": time(w.start), "cost": w.cost}))
        .collect();
    json!({
        "format_version": 1, "running": board.running.len(), "max_concurrent": board.slots, "waiting": waiting,
        "pending_cost": board.pending_cost, "unpriced": board.unpriced, "next_free": time(board.next_free), "end": time(board.end),
        "paused": board.paused,
    })
}

/// Quotas of GPU-hours for programs.
fn meters(engine: &Engine) -> Value {
    let each = engine.meters().iter().map(|m| {
        json!({"team": m.team, "limit": hours(m.quota.limit), "used": hours(m.used), "window": m.quota.window.period.word(),
            "next": m.next.map(|t| t.to_string())})
    });
    each.collect()
}

/// What is used of quotas of GPU-hours, a line each.
fn metered(engine: &Engine) -> String {
    let line = |m: &Meter| {
        let whose = whose(m.team.as_deref().map(escape).as_deref());
        let anew = m.next.map_or_else(String::new, |next| format!(", anew at {}", next.minute()));
        format!("GPU-hours of {whose}: {} of {}{} used{anew}.\n", hours(m.used), hours(m.quota.limit), m.quota.each())
    };
    engine.meters().iter().map(line).collect()
}

fn text(board: &Board, whys: &[String], now: Timestamp) -> String {
    let mut out = String::new();
    let room = width().saturating_sub(42);
    let mut last = "";
    for (w, why) in board.waiting.iter().zip(whys).take(ROWS) {
        let start = w.start.map_or("?".to_owned(), |s| when(s, now));
        let cost = w.cost.map_or("unpriced".to_owned(), |c| c.to_string());
        let address = pad(&fit(&escape(w.address.as_str()), room), room);
        let _ = writeln!(out, "{:>4}  {address} {} {start:>9} {cost:>12}", w.position, pad(&fit(&w.class, 10), 10));
        // Those behind wait for the same: said once.
        if why != last && !why.is_empty() {
            let _ = writeln!(out, "      {}", style::paint(style::DIM, &fit(&escape(why), width().saturating_sub(6))));
        }
        last = why;
    }
    if let Some(pause) = &board.paused {
        let _ = writeln!(out, "Paused by {} since {}: see `oppen queue resume`.", escape(&pause.by), pause.since);
    }
    let unpriced = if board.unpriced > 0 { format!(" and {} runs without a price", board.unpriced) } else { String::new() };
    let free = board
        .next_free
        .map(|t| format!(" A run submitted now starts {}.", if t <= now { "now".to_owned() } else { format!("in {}", t.since(now)) }));
    let (running, slots, waiting) = (board.running.len(), board.slots, board.waiting.len());
    let _ = writeln!(
        out,
        "{running} running (at most {slots}), {waiting} waiting for {}{unpriced}.{}",
        board.pending_cost,
        free.unwrap_or_default()
    );
    out
}

fn who(what: &str) -> String {
    crate::store::me(what, now()).who()
}

fn pause(here: &Path, paused: bool) -> Outcome {
    let place = Place::find(here, None)?;
    let mut store = Store::open(&place.state_folder())?;
    let word = if paused { "paused: what runs goes on, nothing new is launched" } else { "resumed" };
    let request = Request::PauseQueue { paused, by: who(if paused { "pause" } else { "resume" }) };
    told(engine::ask(&place.loaded.root, &mut store, &request)?, &format!("The queue is {word}."))
}

fn told(answered: bool, words: &str) -> Outcome {
    output::print(&if answered {
        format!("{words}\n")
    } else {
        "Asked for; the engine has not answered yet, see `oppen history`.\n".to_owned()
    })?;
    Ok(Exit::Done)
}

fn priority(here: &Path, class: &str, select: &[String]) -> Outcome {
    let place = Place::find(here, None)?;
    let mut store = place.store()?;
    let (class, weight) = submit::class_of(&crate::expand::priorities(place.loaded.project.as_ref()), class)?;
    let mut state = store.load_open()?;
    store.foresee(&mut state)?;
    let waits = status::matching(&state, select)?.into_iter().filter(|r| r.status == RunStatus::Pending);
    let addresses: Vec<Address> = waits.map(|r| r.spec.address.clone()).collect();
    if addresses.is_empty() {
        return Err(Failure::new(Exit::Error, "none of these runs waits").hint("what runs keeps its priority, and its price"));
    }
    let words = format!("{} run{} of priority {class} now.", addresses.len(), if addresses.len() == 1 { " is" } else { "s are" });
    let request = Request::Prioritize { addresses, priority: Priority { weight, class }, by: who("priority") };
    told(engine::ask(&place.loaded.root, &mut store, &request)?, &words)
}

/// The engine alone: no files are planned; what is recorded and what is asked for runs.
fn work(here: &Path, backend: Option<BackendKind>) -> Outcome {
    let control = super::signals::listen()?;
    let place = Place::find(here, backend)?;
    let mut store = Store::open(&place.state_folder())?;
    store.check()?;
    let lock = match store.lock("queue run", Duration::ZERO) {
        // Whoever was quicker answers what we would have.
        Err(crate::store::StoreError::Held(holder)) => {
            output::print(&format!("{holder} runs the queue.\n"))?;
            return Ok(Exit::Done);
        }
        other => other?,
    };
    let mut view = Progress::new(false);
    loop {
        let mut engine = place.engine(&store, store.load()?)?;
        let mut runner = backends::open(place.backend, &place.loaded.root, place.loaded.project.as_ref(), store.lineage(), &place.limits)?;
        let settings = Settings { forever: false, until_quiet: false, patience: Duration::from_secs(600) };
        let (store, clock) = (&mut store, Clock::start());
        let drive =
            Drive { store, lock: &lock, engine: &mut engine, backend: &mut *runner, control: &control, view: &mut view, clock, settings };
        let end = { drive }.run(Vec::new());
        match end {
            Err(error) => {
                let failure = super::apply::stopped(error, engine.state());
                store.unlock(&lock)?;
                return Err(failure);
            }
            Ok(End::Interrupted) => {
                store.unlock(&lock)?;
                return Ok(Exit::Interrupted);
            }
            Ok(_) if store.unlock_if_quiet(&lock)? => return Ok(Exit::Done),
            Ok(_) => {}
        }
    }
}
