//! `oppen logs`, `explain`, `cancel`, `retry`, `destroy`: commands about runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::args;
use super::backends;
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, Form, style};
use super::plan::now;
use super::progress::{Progress, anomaly_text, cause_text, failure, metrics};
use super::session::{Place, Session};
use super::status::{matching, run_json};
use crate::base::text::{escape, escape_line};
use crate::base::{Address, AttemptId, suggest};
use crate::drive::{Clock, Drive, End, Settings};
use crate::engine::{Engine, Input};
use crate::record::{RunRecord, RunStatus, State};
use crate::store::{Request, Store, StoreError};

/// The one run that an address names.
fn one<'s>(state: &'s State, address: &str) -> Result<&'s RunRecord, Failure> {
    let parsed = Address::parse(address).map_err(|e| Failure::new(Exit::Usage, e))?;
    state.runs.get(&parsed).ok_or_else(|| {
        if let Some(failure) = many(address, "logs", state.runs.keys()) {
            return failure;
        }
        let hint = suggest::hint(address, state.runs.keys().map(|a| a.as_str()));
        Failure { exit: Exit::Error, message: format!("no run `{}` in the state", escape(address)), hint }
    })
}

/// An address of a job with several runs, where one is wanted.
fn many<'a>(job: &str, command: &str, known: impl Iterator<Item = &'a Address>) -> Option<Failure> {
    let runs: BTreeSet<&str> = known.filter(|a| a.key().is_some() && a.job() == job).map(Address::as_str).collect();
    let examples: Vec<String> = runs.iter().take(3).map(|a| format!("'{}'", escape(a))).collect();
    let (count, more) = (runs.len(), if runs.len() > examples.len() { " .." } else { "" });
    (count > 0).then(|| {
        let message = format!("`{}` has {count} run{}, and `{command}` shows one", escape(job), if count == 1 { "" } else { "s" });
        Failure::new(Exit::Usage, message).hint(format!("oppen {command} ADDRESS, with one of {}{more}", examples.join(", ")))
    })
}

/// `logs`
pub fn logs(here: &Path, args: &args::Logs) -> Outcome {
    let place = Place::find(here, None)?;
    let store = place.store()?;
    let state = store.load()?;
    let record = one(&state, &args.address)?;
    let number = args.attempt.or(record.attempts.last().map(|a| a.number)).ok_or_else(|| {
        let words = match &record.reused_from {
            Some(from) if *from == record.spec.address => format!("{from} did not run again: it has its own earlier result"),
            Some(from) => format!("{} did not run: it has the result of {from}", record.spec.address),
            None => format!("{} has not started yet", record.spec.address),
        };
        Failure::new(Exit::Error, words).hint("see why with `oppen explain`")
    })?;
    let attempt = AttemptId { address: record.spec.address.clone(), generation: record.generation, number };
    let path = crate::backend::log_path(&place.state_folder(), &attempt.name(store.lineage()));
    let mut file = std::fs::File::open(&path).map_err(|e| Failure::new(Exit::Error, format!("there is no output of {attempt}: {e}")))?;
    let mut rest = Vec::new();
    loop {
        // The state is read before the file: what an ended attempt wrote is all there by then.
        let over = store
            .load()?
            .runs
            .get(&attempt.address)
            .is_none_or(|r| r.generation != attempt.generation || r.live_attempt().is_none_or(|a| a.number != number));
        file.read_to_end(&mut rest)?;
        let complete = if over || !args.follow { rest.len() } else { rest.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1) };
        let text: String = String::from_utf8_lossy(rest.get(..complete).unwrap_or_default())
            .lines()
            .map(|l| format!("{}\n", escape_line(l.trim_end_matches('\r'))))
            .collect();
        output::print(&text)?;
        rest.drain(..complete);
        if over || !args.follow {
            return Ok(Exit::Done);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// `explain`
pub fn explain(here: &Path, args: &args::Explain) -> Outcome {
    let session = Session::from_files(here, &args.files);
    let store = Store::open_existing(&session.state_folder())?;
    let state = store.as_ref().map_or_else(|| Ok(State::default()), Store::load)?;
    let now = now();
    let plan = if session.diags.has_errors() { None } else { Some(session.plan(store.as_ref(), &state, &args::Part::default(), now)?) };
    let planned = plan.as_ref().and_then(|p| super::plan_text::explain(p, &args.address, now));
    let known = Address::parse(&args.address).ok().and_then(|a| state.runs.get(&a).cloned());
    if known.is_none()
        && let Some(failure) = many(&args.address, "explain", state.runs.keys().chain(session.desired.runs.iter().map(|r| &r.address)))
    {
        return Err(failure);
    }
    if known.is_none() && planned.is_none() {
        let addresses = state.runs.keys().map(|a| a.as_str()).chain(session.desired.runs.iter().map(|r| r.address.as_str()));
        return Err(Failure {
            exit: Exit::Error,
            message: format!("no run `{}`", escape(&args.address)),
            hint: suggest::hint(&args.address, addresses),
        });
    }
    let engine = match &store {
        Some(store) => Place::find(here, args.files.backend)?.engine(store, state)?,
        None => Engine::new(state, session.limits.clone()).at(now),
    };
    let tracked = store.as_ref().zip(known.as_ref()).and_then(|(store, run)| {
        let number = run.attempts.last()?.number;
        let attempt = AttemptId { address: run.spec.address.clone(), generation: run.generation, number };
        crate::backend::tracked::link(&session.state_folder(), &attempt.name(store.lineage()))
    });
    output::write(&args.files.output.output, |form| match form {
        Form::Json => output::json(&json!({
            "format_version": 1, "tracked": tracked, "recorded": known.as_ref().map(|r| run_json(r, &session.rates, now)),
            "waits": known.as_ref().and_then(|r| engine.why(&r.spec.address)).map(|w| w.to_string()),
            "planned": plan.as_ref().map(|p| p.runs.iter().filter(|r| r.address.as_str() == args.address).map(|r| json!({"action": r.action, "reasons": &*r.reasons})).collect::<Vec<_>>()),
        })),
        Form::Text => {
            let mut out = known.as_ref().map(|r| record_text(r, &engine)).unwrap_or_default();
            if let Some(link) = &tracked {
                let _ = writeln!(out, "  {:<8} {}", "tracked", escape(link));
            }
            match &planned {
                Some(text) => {
                    let _ = write!(out, "{}{text}", if out.is_empty() { "" } else { "\nThe next apply:\n" });
                }
                None => out.push_str("\nThe files want it as it is.\n"),
            }
            out
        }
    })?;
    Ok(Exit::Done)
}

fn record_text(record: &RunRecord, engine: &Engine) -> String {
    let spec = &record.spec;
    let mut out = format!("{} is {}\n", style::paint(style::BOLD, &escape(spec.address.as_str())), record.status.word());
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:<8} {}", escape(&text));
    };
    if let Some(wait) = engine.why(&spec.address) {
        line("waits", wait.to_string());
    }
    let command: Vec<String> = spec
        .command
        .argv
        .iter()
        .map(|a| match a {
            crate::record::Arg::Text(t) | crate::record::Arg::Late(t) => t.to_string(),
        })
        .collect();
    line("run", command.join(" "));
    if !spec.params.is_empty() {
        line("params", spec.params.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "));
    }
    if !spec.job.needs.is_empty() {
        line("needs", spec.job.needs.join(", "));
    }
    line("asks", format!("{}, priority {}", spec.job.resources, spec.job.priority.class));
    line("digest", spec.fingerprint.to_string());
    for attempt in &record.attempts {
        let took = attempt.started_at.zip(attempt.ended_at).map(|(s, e)| format!(" after {}", e.since(s))).unwrap_or_default();
        let how = attempt.outcome.as_ref().map_or("live".to_owned(), |o| {
            let code = o.exit_code.map(|c| format!(", exit code {c}")).unwrap_or_default();
            let detail = if o.detail.is_empty() { String::new() } else { format!(": {}", o.detail) };
            format!("{}{took}{code}{detail}", cause_text(o.cause))
        });
        line("attempt", format!("{} on {}: {how}", attempt.number, if attempt.place.is_empty() { "?" } else { &attempt.place }));
    }
    if let Some(metrics) = metrics(record, 20) {
        line("metrics", metrics);
    }
    for output in &record.outputs {
        line("output", format!("{} ({} bytes, {})", output.path, output.bytes, output.digest.map_or("not read".to_owned(), |d| d.short())));
    }
    for notice in &record.notices {
        line("notice", anomaly_text(notice));
    }
    if let Some(why) = &record.why {
        line("trial", why.to_string());
    }
    if matches!(record.status, RunStatus::Pruned | RunStatus::Unneeded) {
        line("why", record.because.as_deref().unwrap_or_default().to_owned());
    }
    if record.status == RunStatus::Failed {
        line("why", failure(record));
    }
    out
}

/// What is done with runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Ends them.
    Cancel,
    /// Ends those that wait.
    CancelWaiting,
    /// Ends those that run.
    Stop,
    /// Runs them again.
    Retry,
}

impl Deed {
    fn wants(self, run: &RunRecord) -> bool {
        match self {
            Self::Cancel => !run.status.is_terminal(),
            Self::CancelWaiting => run.status == RunStatus::Pending,
            Self::Stop => run.status.is_live(),
            Self::Retry => run.status.is_terminal() && !matches!(run.status, RunStatus::Succeeded | RunStatus::Pruned),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Cancel | Self::CancelWaiting => "cancel",
            Self::Stop => "stop",
            Self::Retry => "retry",
        }
    }

    const fn nothing(self) -> &'static str {
        match self {
            Self::Cancel => "none of these runs is waiting or running",
            Self::CancelWaiting => "none of these runs is waiting; `oppen stop` ends those that run",
            Self::Stop => "none of these runs is running; `oppen cancel` ends those that wait",
            Self::Retry => "none of these runs failed, was cancelled or was skipped",
        }
    }

    fn request(self, addresses: Vec<Address>, by: String) -> Request {
        match self {
            Self::Cancel | Self::Stop => Request::Cancel { addresses, by },
            Self::CancelWaiting => Request::CancelWaiting { addresses, by },
            Self::Retry => Request::Retry { addresses, by },
        }
    }
}

/// `cancel` and `retry`
pub fn act(here: &Path, args: &args::Select, retry: bool) -> Outcome {
    end(here, args, if retry { Deed::Retry } else { Deed::Cancel })
}

/// Asked of whoever applies right now, else done here.
pub fn end(here: &Path, args: &args::Select, deed: Deed) -> Outcome {
    let place = Place::find(here, args.backend)?;
    let mut store = place.store()?;
    let state = store.load()?;
    let wanted = matching(&state, &args.select)?.into_iter().filter(|r| deed.wants(r));
    let addresses: Vec<Address> = wanted.map(|r| r.spec.address.clone()).collect();
    if addresses.is_empty() {
        output::print(&format!("Nothing to do: {}.\n", deed.nothing()))?;
        return Ok(Exit::Done);
    }
    let me = crate::store::me(deed.word(), now());
    let by = format!("{}@{}", me.user, me.host);
    match store.lock(&me.what, Duration::ZERO) {
        Err(StoreError::Held(holder)) => {
            let count = addresses.len();
            store.request(&deed.request(addresses, by))?;
            output::print(&format!("Asked {holder} to {} {count} run{}.\n", me.what, if count == 1 { "" } else { "s" }))?;
            Ok(Exit::Done)
        }
        Err(error) => Err(error.into()),
        Ok(lock) => {
            store.check()?;
            let inputs = deed.request(addresses, by).inputs();
            let result = drive(&place, &mut store, &lock, inputs, deed == Deed::Retry, output::is_json(&args.output.output));
            store.unlock(&lock)?;
            super::apply::after(&place.loaded.root, &store)?;
            result
        }
    }
}

/// Runs the loop for a command that is no apply. Without `launch` nothing new starts and it ends when nothing is live.
pub(super) fn drive(
    place: &Place,
    store: &mut Store,
    lock: &crate::store::Lock,
    mut inputs: Vec<Input>,
    launch: bool,
    json: bool,
) -> Outcome {
    let control = super::signals::listen()?;
    let mut engine = place.engine(store, store.load()?)?;
    let mut backend = backends::open(place.backend, &place.loaded.root, place.loaded.project.as_ref(), store.lineage(), &place.limits)?;
    let mut view = Progress::new(json);
    if !launch {
        inputs.insert(0, Input::Launching(false));
    }
    let settings = Settings { forever: false, until_quiet: !launch, patience: Duration::from_secs(30) };
    let end = Drive {
        store,
        lock,
        engine: &mut engine,
        backend: &mut *backend,
        control: &control,
        view: &mut view,
        clock: Clock::start(),
        settings,
    }
    .run(inputs);
    view.finish();
    match end {
        Ok(End::Interrupted) => Ok(Exit::Interrupted),
        Ok(_) => {
            let failed = engine.state().runs.values().any(|r| view.ended.contains(&r.spec.address) && r.status == RunStatus::Failed);
            Ok(if failed && launch { Exit::RunsFailed } else { Exit::Done })
        }
        Err(error) => Err(super::apply::stopped(error, engine.state())),
    }
}

/// `destroy`
pub fn destroy(here: &Path, args: &args::Destroy) -> Outcome {
    let place = Place::find(here, args.backend)?;
    let mut store = place.store()?;
    let lock = store.lock("destroy", Duration::ZERO)?;
    let result = destroy_locked(&place, &mut store, &lock, args);
    store.unlock(&lock)?;
    result
}

fn destroy_locked(place: &Place, store: &mut Store, lock: &crate::store::Lock, args: &args::Destroy) -> Outcome {
    store.check()?;
    let state = store.load()?;
    let runs = matching(&state, &args.select)?;
    if runs.is_empty() {
        output::print("Nothing to destroy.\n")?;
        return Ok(Exit::Done);
    }
    let live = runs.iter().filter(|r| r.status.is_live()).count();
    output::print(&format!(
        "{} runs leave the state, {live} of them are ended; their logs and objects in the backend are removed.\nOutputs in the project and the history stay.\n",
        runs.len()
    ))?;
    if !args.yes {
        use std::io::IsTerminal as _;
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(Exit::Declined, "there is no terminal to ask on; nothing was destroyed").hint("say --yes"));
        }
        if !super::apply::ask("Destroy them?")? {
            return Err(Failure::new(Exit::Declined, "nothing was destroyed"));
        }
    }
    let me = &lock.holder;
    let gone: BTreeSet<Address> = runs.iter().map(|r| r.spec.address.clone()).collect();
    let input = Input::Forget { addresses: gone.iter().cloned().collect(), by: format!("{}@{}", me.user, me.host) };
    let exit = drive(place, store, lock, vec![input], false, false)?;
    let mut backend = backends::open(place.backend, &place.loaded.root, place.loaded.project.as_ref(), store.lineage(), &place.limits)?;
    let (out, _keep) = crossbeam_channel::unbounded();
    backend.start(&[], out)?;
    // Runs that left the state earlier have left objects behind, which nobody else would remove.
    let kept = backend.kept()?.into_iter().filter(|attempt| args.select.is_empty() || gone.contains(&attempt.address));
    let known = attempts_of(&runs).filter(|a| crate::backend::log_path(&place.state_folder(), &a.name(store.lineage())).exists());
    for attempt in kept.chain(known).collect::<BTreeSet<_>>() {
        backend.remove(&attempt)?;
    }
    output::print("Destroyed.\n")?;
    Ok(exit)
}

/// Attempts that these runs have had, and a few that they may have had in generations whose attempts are not counted any more.
fn attempts_of<'a>(runs: &'a [&RunRecord]) -> impl Iterator<Item = AttemptId> + 'a {
    runs.iter().flat_map(|run| {
        let most = |generation| match generation == run.generation {
            true => run.attempts.len(),
            false => usize::try_from(run.spec.job.retry.attempts_max()).unwrap_or(1).min(32),
        };
        let numbers = move |generation| (1..=u32::try_from(most(generation)).unwrap_or(1)).map(move |number| (generation, number));
        let id = |(generation, number)| AttemptId { address: run.spec.address.clone(), generation, number };
        (1..=run.generation).flat_map(numbers).map(id)
    })
}
