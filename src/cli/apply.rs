//! `oppen apply`: the plan, obeyed.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::Receiver;
use rustc_hash::FxHashSet;
use serde_json::json;

use super::args::{self, BackendKind};
use super::exit::{Exit, Failure, Outcome};
use super::output::{self, style};
use super::plan::{self, now};
use super::progress::{Progress, failure};
use super::session::{Place, Session};
use super::sweep::unseen;
use super::{backends, detach, plan_text};
use crate::base::{Diagnostics, Money, SourceMap, Timestamp};
use crate::diff::{Action, Plan, outlook};
use crate::drive::{Clock, Control, Drive, DriveError, End, Settings};
use crate::engine::{self, Agents, Engine, Input};
use crate::expand::Desired;
use crate::files::{Objects, STATE_FOLDER};
use crate::price::Rates;
use crate::record::{RunRecord, RunStatus, State, Tally};
use crate::spec::Project;
use crate::store::{Lock, Rescue, Store};

/// What applying works with, whether the plan was saved or made now.
pub struct Ground<'a> {
    /// The project's root.
    pub root: &'a Path,
    /// The project document.
    pub project: Option<&'a Project>,
    /// Prices.
    pub rates: &'a Rates,
    /// Where runs run.
    pub backend: BackendKind,
    /// The texts, for places.
    pub sources: &'a SourceMap,
    /// Prints JSON lines.
    pub json: bool,
}

/// Plans under the lock, asks, does.
pub fn run(here: &Path, args: &args::Apply) -> Outcome {
    let saved = saved_plan(here, args)?;
    let json = output::is_json(&args.files.output.output);
    if let Some(saved) = saved {
        let place = Place::find(here, args.files.backend)?;
        let ground = Ground {
            root: &place.loaded.root,
            project: place.loaded.project.as_ref(),
            rates: &place.rates,
            backend: place.backend,
            sources: &place.loaded.sources,
            json,
        };
        return locked(&ground, args, |_, store, _| {
            let serial = store.serial()?;
            let same = saved.serial == serial && (saved.lineage == store.lineage() || (saved.lineage.is_empty() && serial == 0));
            if !same {
                return Err(Failure::new(
                    Exit::Stale,
                    format!("the plan is stale: it was made at serial {}, the state is at {serial}", saved.serial),
                )
                .hint("plan again"));
            }
            if saved.backend != ground.backend.word() {
                return Err(Failure::new(Exit::Stale, format!("the plan was made for the {} backend", saved.backend))
                    .hint(format!("apply it with `--backend {}`", saved.backend)));
            }
            args.files.paths.first().map_or(Ok(()), |path| detach::taken(&here.join(path)))?;
            let mut plan = saved.clone();
            args.unpriced.judge(&mut plan, &Desired::default());
            Ok(plan)
        });
    }
    let session = Session::from_files(here, &args.files);
    session.sound(&args.files.output.output)?;
    let loaded = &session.loaded;
    let ground = Ground {
        root: &loaded.root,
        project: loaded.project.as_ref(),
        rates: &session.rates,
        backend: session.backend,
        sources: &loaded.sources,
        json,
    };
    locked(&ground, args, |state, store, now| {
        let mut plan = session.plan(Some(store), state, &args.part, now)?;
        args.unpriced.judge(&mut plan, &session.desired);
        Ok(plan)
    })
}

fn saved_plan(here: &Path, args: &args::Apply) -> Result<Option<Plan>, Failure> {
    let [path] = &args.files.paths[..] else { return Ok(None) };
    let full = here.join(path);
    let starts_like_json = full.is_file() && std::fs::read(&full).is_ok_and(|b| b.iter().find(|c| !c.is_ascii_whitespace()) == Some(&b'{'));
    if starts_like_json { plan::read(&full).map(Some) } else { Ok(None) }
}

/// Takes the lock, makes the plan with `make`, asks, applies, gives the lock back.
fn locked(ground: &Ground<'_>, args: &args::Apply, make: impl Fn(&State, &Store, Timestamp) -> Result<Plan, Failure>) -> Outcome {
    let control = super::signals::listen()?;
    let mut store = Store::open(&ground.root.join(STATE_FOLDER))?;
    store.check()?;
    let lock = store.lock("apply", args.lock_timeout)?;
    let result = under_lock(ground, args, &mut store, &lock, &control, make);
    let unlocked = store.unlock(&lock);
    let next = result?;
    unlocked?;
    let outcome = match next {
        Next::Over(exit) => Ok(exit),
        Next::Detach(plan) => match detach::run(ground, args, &plan) {
            // The child looks after the rest at its own end.
            Ok(exit) => return Ok(exit),
            Err(failure) => Err(failure),
        },
    };
    after(ground.root, &store)?;
    outcome
}

/// What follows once the lock is given back.
enum Next {
    /// Nothing.
    Over(Exit),
    /// Another process obeys this plan.
    Detach(Box<Plan>),
}

/// What was submitted while we were ending is somebody's to run.
pub fn after(root: &Path, store: &Store) -> Result<(), Failure> {
    if store.requests()?.is_empty() { Ok(()) } else { super::desk::engine::ensure(root, store) }
}

fn under_lock(
    ground: &Ground<'_>,
    args: &args::Apply,
    store: &mut Store,
    lock: &Lock,
    control: &Receiver<Control>,
    make: impl Fn(&State, &Store, Timestamp) -> Result<Plan, Failure>,
) -> Result<Next, Failure> {
    let state = store.load()?;
    let now = now();
    let plan = make(&state, store, now)?;
    let text = || plan_text::text(&plan, now, false, ground.sources);
    if let Some(expected) = args.expect.as_ref().filter(|e| **e != plan.plan_id) {
        output::say(text().trim_end());
        return Err(Failure::new(Exit::Stale, format!("the plan is {}, not {expected}", plan.plan_id))
            .hint("look at the plan again: files, inputs or state have changed"));
    }
    if plan.runs.is_empty() && plan.in_progress == 0 {
        if ground.json {
            output::print(&format!(
                "{}\n",
                json!({"event": "summary", "plan_id": plan.plan_id, "changes": 0, "unchanged": plan.unchanged})
            ))?;
        } else {
            output::print(&text())?;
        }
        return Ok(Next::Over(Exit::Done));
    }
    if ground.json {
        output::print(&format!("{}\n", json!({"event": "plan", "plan": plan::value(&plan, ground.sources)})))?;
    } else {
        output::print(&format!("{}\n", text()))?;
    }
    allowed(&plan, args)?;
    if !args.yes && !agreed(ground, args)? {
        return Err(Failure::new(Exit::Declined, "nothing was applied"));
    }
    if args.detach {
        return Ok(Next::Detach(Box::new(plan)));
    }
    let settings = Settings { forever: false, until_quiet: false, patience: Duration::from_secs(30) };
    execute(ground, store, lock, control, state, &plan, settings).map(Next::Over)
}

/// Checks and ceilings.
pub fn allowed(plan: &Plan, args: &args::Apply) -> Result<(), Failure> {
    if plan.is_blocked() {
        return Err(Failure::new(Exit::Blocked, "the plan is blocked; nothing was applied"));
    }
    let Some(most) = args.max_cost else { return Ok(()) };
    if plan.cost > most {
        return Err(Failure::new(Exit::Blocked, format!("the plan is expected to cost {}, more than --max-cost {most}", plan.cost)));
    }
    if plan.unpriced > 0 {
        return Err(Failure::new(Exit::Blocked, format!("{} runs have no price, so that --max-cost {most} cannot be kept", plan.unpriced))
            .hint("declare their `estimate`"));
    }
    Ok(())
}

/// Asks on a terminal. In a pipe, local runs need no answer; runs on a cluster cost money and do.
fn agreed(ground: &Ground<'_>, args: &args::Apply) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let said = ground.backend == BackendKind::Local || args.expect.is_some() || args.max_cost.is_some();
        if said {
            return Ok(true);
        }
        return Err(Failure::new(Exit::Declined, "there is no terminal to ask on; nothing was applied")
            .hint("say --yes, --expect PLAN_ID or --max-cost USD"));
    }
    ask("Apply this plan?")
}

/// A question on the terminal; only `y` or `yes` is a yes.
pub fn ask(question: &str) -> Result<bool, Failure> {
    let mut err = std::io::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Obeys a plan: outputs put back, orders given, the loop run to its end.
pub fn execute(
    ground: &Ground<'_>,
    store: &mut Store,
    lock: &Lock,
    control: &Receiver<Control>,
    state: State,
    plan: &Plan,
    settings: Settings,
) -> Outcome {
    restore(ground.root, plan)?;
    store.backup(now())?;
    store.keep_rules(&plan.rules)?;
    let treasury = store.treasury(ground.rates, &plan.rules, &plan.quotas, now())?;
    let agents = Agents::read(ground.project.and_then(|p| p.agents.as_ref()), &mut Diagnostics::default());
    let mut engine = Engine::with_budgets(state, plan.quotas.clone(), treasury).ruled_by(agents);
    let mut backend = backends::open(ground.backend, ground.root, ground.project, store.lineage(), &plan.quotas)?;
    let mut view = Progress::new(ground.json);
    let clock = Clock::start();
    let start = clock.now();
    let orders = engine::orders(plan);
    let mut first = Vec::new();
    if !orders.is_empty() {
        first.push(Input::Apply { plan_id: plan.plan_id.clone(), by: lock.holder.who(), orders });
    }
    let end = Drive { store, lock, engine: &mut engine, backend: &mut *backend, control, view: &mut view, clock, settings }.run(first);
    view.finish();
    let state = engine.state();
    match end {
        Ok(end) => {
            let files = unseen::Files { folder: &ground.root.join(STATE_FOLDER), lineage: store.lineage() };
            unseen::tell(state, &view.ended, files, ground.json)?;
            finish(ground, plan, state, &view, end, clock.now().since(start))
        }
        Err(error) => Err(stopped(error, state)),
    }
}

/// Puts the outputs of reused results in place. A file that was changed by hand is kept by content before it is replaced.
pub fn restore(root: &Path, plan: &Plan) -> Result<(), Failure> {
    let objects = Objects::new(root.join(STATE_FOLDER).join("objects"));
    for planned in plan.runs.iter().filter(|r| r.action == Action::Reuse) {
        for output in planned.result.iter().flat_map(|r| &r.outputs).filter(|o| o.digest.is_some()) {
            if root.join(&output.path).exists()
                && let Ok(kept) = objects.put(root, &output.path)
                && kept.digest != output.digest
            {
                output::say(&format!(
                    "{} is put back; what was there is kept as {}",
                    output.path,
                    kept.digest.map(|d| d.short()).unwrap_or_default()
                ));
            }
            objects
                .restore(root, output)
                .map_err(|e| Failure::new(Exit::Error, format!("{}: its recorded content cannot be put back: {e}", output.path)))?;
        }
    }
    Ok(())
}

fn finish(ground: &Ground<'_>, plan: &Plan, state: &State, view: &Progress, end: End, took: crate::base::Millis) -> Outcome {
    let of = |status: RunStatus| view.ended.iter().filter_map(|a| state.runs.get(a)).filter(|r| r.status == status).count();
    let bad: Vec<_> = state.runs.values().filter(|r| view.ended.contains(&r.spec.address) && r.status == RunStatus::Failed).collect();
    let (good, failed, cancelled, skipped) =
        (of(RunStatus::Succeeded), of(RunStatus::Failed), of(RunStatus::Cancelled), of(RunStatus::Skipped));
    let (pruned, unneeded) = (of(RunStatus::Pruned), of(RunStatus::Unneeded));
    let sweeps = Tally::of_sweeps(state);
    let takes = |r: &&&RunRecord| {
        let sweep = r.spec.job.sweep.as_deref();
        sweep.is_some_and(|s| sweeps.get(&*r.spec.job.job).is_some_and(|t| t.takes_failures(s)))
    };
    let taken = bad.iter().filter(takes).count();
    let barren = barren(state, view, &sweeps);
    let pending = state.runs.values().filter(|r| !r.status.is_terminal()).count();
    let spent: Money = view
        .ended
        .iter()
        .filter_map(|a| state.runs.get(a))
        .filter(|r| r.reused_from.is_none())
        .map(|r| outlook::spent(r, ground.rates, now()).0)
        .sum();
    let exit = match end {
        End::Interrupted => Exit::Interrupted,
        _ if failed - taken + cancelled + skipped + barren.len() > 0 => Exit::RunsFailed,
        End::Held => Exit::Blocked,
        _ => Exit::Done,
    };
    if ground.json {
        output::print(&format!(
            "{}\n",
            json!({"event": "summary", "plan_id": plan.plan_id, "succeeded": good, "failed": failed, "cancelled": cancelled, "skipped": skipped, "pruned": pruned, "unneeded": unneeded, "pending": pending, "seconds": took.as_secs_f64(), "cost": spent, "exit": exit as u8})
        ))?;
        return Ok(exit);
    }
    if end == End::Held {
        held(state);
    }
    let counts = [
        (good, "succeeded"),
        (pruned, "pruned"),
        (unneeded, "not needed"),
        (failed, "failed"),
        (cancelled, "cancelled"),
        (skipped, "skipped"),
        (pending, "still pending"),
    ];
    let parts: Vec<String> = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")).collect();
    for record in bad.iter().take(5) {
        output::say(&format!(
            "{} {}: {}; see `oppen logs '{}'`",
            style::paint(style::BAD, "failed"),
            record.spec.address,
            failure(record),
            record.spec.address
        ));
    }
    for words in barren {
        output::say(&format!("{} {words}", style::paint(style::BAD, "failed")));
    }
    if !parts.is_empty() {
        output::print(&format!("Done in {took}: {}. Cost {spent}.\n", parts.join(", ")))?;
    } else if !plan.runs.is_empty() {
        output::print(&format!("Done in {took}: nothing had to run.\n"))?;
    }
    Ok(exit)
}

/// Says what the pending runs wait for.
fn held(state: &State) {
    for (job, sweep) in state.sweeps.iter().filter(|(_, s)| s.paused.is_some()) {
        let by = sweep.paused.as_deref().unwrap_or_default();
        output::say(&format!("{job} was paused by {by}: `oppen sweep resume {job}` lets it go on"));
    }
    if state.sweeps.values().all(|s| s.paused.is_none()) {
        output::say("what is pending waits for money or for `oppen queue resume`; see `oppen queue`");
    }
}

/// Sweeps that are over without a result, with what became of their trials.
fn barren(state: &State, view: &Progress, sweeps: &BTreeMap<&str, Tally>) -> Vec<String> {
    let looked_at: FxHashSet<&str> = view.ended.iter().filter_map(|a| state.runs.get(a)).map(|r| &*r.spec.job.job).collect();
    let mine = sweeps.iter().filter(|(job, tally)| tally.is_barren() && tally.pruned + tally.unneeded > 0 && looked_at.contains(*job));
    mine.map(|(job, t)| format!("{job}: no trial has a result ({} pruned, {} not needed, {} failed)", t.pruned, t.unneeded, t.failed))
        .collect()
}

/// The loop ended before its time: what is done, pending, unknown.
pub fn stopped(error: DriveError, state: &State) -> Failure {
    let count = |f: fn(RunStatus) -> bool| state.runs.values().filter(|r| f(r.status)).count();
    let list = format!(
        "{} done, {} pending, {} unknown",
        count(RunStatus::is_terminal),
        count(|s| s == RunStatus::Pending),
        count(RunStatus::is_live)
    );
    let unknown: Vec<&str> = state.runs.values().filter(|r| r.status.is_live()).take(10).map(|r| r.spec.address.as_str()).collect();
    if !unknown.is_empty() {
        output::say(&format!("may still run: {}", unknown.join(", ")));
    }
    match error {
        DriveError::Backend(error) => error.into(),
        DriveError::Unreachable(words) => Failure::new(Exit::Error, format!("the backend is out of reach ({words}): {list}"))
            .hint("what runs goes on; apply again when it can be reached"),
        DriveError::Store(error, rescue) => {
            match rescue {
                Rescue::File(path) => output::say(&format!("events that could not be stored are in {}", path.display())),
                Rescue::Text(text) if !text.is_empty() => {
                    output::say("events that could not be stored:");
                    let _ = output::print(&text);
                }
                Rescue::Text(_) => {}
            }
            let failure: Failure = error.into();
            Failure { message: format!("{}: {list}", failure.message), ..failure }
        }
    }
}
