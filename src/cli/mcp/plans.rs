//! Tools about files: validate, plan, and apply exactly the plan that was shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jobs::budget;
use super::look::shown;
use super::{Hands, refusal, stored};
use crate::cli::args::{Files as FileArgs, Part, Reports};
use crate::cli::desk::engine;
use crate::cli::desk::submit::Leave;
use crate::cli::exit::{Exit, Failure};
use crate::cli::plan::now;
use crate::cli::plan_text::reason_text;
use crate::cli::problems;
use crate::cli::session::Session;
use crate::diff::{Action, Plan as Planned, plan::Planned as Step};
use crate::engine::orders;
use crate::files::STATE_FOLDER;
use crate::mcp::{Answer, Apply, ApplyPlan, Code, Cost, Files, Plan, PlanFiles, PlanRun, Refusal, Talk, Validated, plain};
use crate::record::State;
use crate::store::{Request, Store};

/// Actions of one answer.
const RUNS: usize = 200;
/// Plans that are kept; older ones go.
const KEPT: usize = 50;
/// Where plans lie, in the state folder.
pub const PLANS: &str = "plans";

/// What a plan was made of: enough to make it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    format_version: u32,
    paths: Vec<PathBuf>,
    set: Vec<(String, String)>,
    targets: Vec<String>,
    /// The plan for programs, as it was shown.
    plan: Value,
}

/// Paths inside the project, relative to its root.
fn inside(paths: &[String]) -> Answer<Vec<PathBuf>> {
    let one = |path: &String| {
        crate::expand::paths::confined(path)
            .map(PathBuf::from)
            .map_err(|e| Refusal::new(Code::InvalidArguments, e, "give files or folders relative to the project's root"))
    };
    paths.iter().map(one).collect()
}

/// `validate_workflow`
pub fn validate(hands: &Hands, args: Files, _: &Talk<'_>) -> Answer<Validated> {
    let root = hands.place()?.loaded.root;
    let files = FileArgs { paths: inside(&args.paths)?, set: Vec::new(), backend: None, output: Reports { output: Vec::new() } };
    let session = Session::to_validate(&root, &files);
    let diagnostics = problems::values(&session.diags, &session.loaded.sources).into_iter().map(shown).collect();
    Ok(Validated {
        valid: !session.diags.has_errors(),
        diagnostics,
        workflows: session.desired.workflows.len(),
        jobs: session.desired.jobs.len(),
        runs: session.desired.runs.len(),
        templates: session.templates.iter().map(|t| plain(t, 200)).collect(),
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Files that hold errors, as a refusal with all of them.
fn sound(session: &Session) -> Answer<()> {
    if !session.diags.has_errors() {
        return Ok(());
    }
    let all: Vec<Value> = problems::values(&session.diags, &session.loaded.sources).into_iter().map(shown).collect();
    let words = problems::count(&session.diags);
    Err(Refusal::new(Code::InvalidFiles, plain(&words, 200), "mend what `details` names, then call again").with(Value::Array(all)))
}

fn make(session: &Session, store: Option<&Store>, targets: &[String]) -> Result<Planned, Failure> {
    let state = store.map_or_else(|| Ok(State::default()), Store::load)?;
    session.plan(store, &state, &Part { select: Vec::new(), target: targets.to_vec() }, now())
}

/// `plan_workflow`
pub fn plan(hands: &Hands, args: PlanFiles, talk: &Talk<'_>) -> Answer<Plan> {
    let root = hands.place()?.loaded.root;
    let (paths, set) = (inside(&args.paths)?, args.set.iter().map(|(k, v)| (k.clone(), text(v))).collect::<Vec<_>>());
    (talk.progress)(0, None, "reading and expanding");
    let session = Session::read(&root, &paths, &set, None);
    sound(&session)?;
    let store = Store::open_existing(&session.state_folder()).map_err(stored)?;
    let plan = make(&session, store.as_ref(), &args.targets).map_err(refusal)?;
    let value = crate::cli::plan::value(&plan, &session.loaded.sources);
    let kept = Kept { format_version: 1, paths, set, targets: args.targets, plan: value };
    keep(&root, &plan.plan_id, &kept).map_err(|e| refusal(e.into()))?;
    Ok(told(&plan))
}

/// Keeps a plan for apply_plan, and forgets the oldest.
fn keep(root: &Path, id: &str, kept: &Kept) -> std::io::Result<()> {
    let folder = root.join(STATE_FOLDER).join(PLANS);
    if !folder.is_dir() {
        drop(Store::open(&root.join(STATE_FOLDER)).map_err(|e| std::io::Error::other(e.to_string()))?);
        std::fs::create_dir_all(&folder)?;
    }
    let text = serde_json::to_string(kept).map_err(std::io::Error::other)?;
    let fresh = folder.join(format!(".{id}.{}", uuid::Uuid::new_v4().simple()));
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, folder.join(format!("{id}.json")))?;
    let mut all: Vec<_> =
        std::fs::read_dir(&folder)?.filter_map(Result::ok).filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
    all.sort();
    let surplus = all.len().saturating_sub(KEPT);
    all.iter().take(surplus).for_each(|(_, path)| drop(std::fs::remove_file(path)));
    Ok(())
}

fn told(plan: &Planned) -> Plan {
    let blocked = plan.is_blocked();
    let next = if plan.runs.is_empty() {
        "nothing would change: there is nothing to apply"
    } else if blocked {
        "it is blocked: do what `checks` say, then plan again"
    } else {
        "show the cost to the person you work for, then call apply_plan with this plan_id and max_cost_usd"
    };
    Plan {
        cost: cost(plan),
        plan_id: plan.plan_id.clone(),
        blocked,
        checks: plan.checks.iter().map(|c| plain(&format!("{} {} ({})", c.subject, c.message, c.hint), 500)).collect(),
        actions: Action::ALL.into_iter().map(|a| (a.word().to_owned(), plan.count(a))).filter(|(_, n)| *n > 0).collect::<BTreeMap<_, _>>(),
        unchanged: plan.unchanged,
        saved_usd: plan.saved.into(),
        end: plan.end.map(|t| t.to_string()),
        runs: actions(plan.runs.iter().take(RUNS)),
        budgets: plan.budgets.iter().map(budget).collect(),
        next: next.to_owned(),
    }
}

fn cost(plan: &Planned) -> Cost {
    Cost { expected_usd: plan.cost.into(), worst_usd: plan.worst.map(Into::into), unpriced_runs: plan.unpriced }
}

/// Actions as agents see them.
pub fn actions<'p>(runs: impl Iterator<Item = &'p Step>) -> Vec<PlanRun> {
    let one = |r: &Step| PlanRun {
        address: plain(r.address.as_str(), 512),
        action: r.action.word().to_owned(),
        reasons: r.reasons.iter().map(|reason| plain(&reason_text(reason, false), 300)).collect(),
        cost_usd: r.estimate.as_ref().and_then(|e| e.cost).map(|c| c.expected.into()),
        starts_at: r.start.map(|t| t.to_string()),
    };
    runs.map(one).collect()
}

/// A plan that plan_workflow kept.
fn kept(root: &Path, id: &str) -> Answer<Kept> {
    let unknown =
        || Refusal::new(Code::NotFound, format!("there is no plan `{}`", plain(id, 64)), "call plan_workflow; its answer has plan_id");
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let text = std::fs::read_to_string(root.join(STATE_FOLDER).join(PLANS).join(format!("{id}.json"))).map_err(|_| unknown())?;
    serde_json::from_str(&text).map_err(|_| unknown())
}

/// A kept plan's JSON, for reading.
pub fn text_of(root: &Path, id: &str) -> Answer<String> {
    Ok(serde_json::to_string_pretty(&kept(root, id)?.plan).unwrap_or_default())
}

/// `apply_plan`
pub fn apply(hands: &Hands, args: ApplyPlan, talk: &Talk<'_>) -> Answer<Apply> {
    let place = hands.place()?;
    let (agents, root) = (place.agents(), place.loaded.root);
    let kept = kept(&root, &args.plan_id)?;
    let session = Session::read(&root, &kept.paths, &kept.set, None);
    sound(&session)?;
    let mut store = Store::open(&session.state_folder()).map_err(stored)?;
    store.check().map_err(stored)?;
    super::gone(talk)?;
    (talk.progress)(0, None, "planning again, to see that it is still the same");
    let most = args.max_cost_usd.0;
    // Plan, judge and leave it for the engine in one transaction: two agents cannot spend the last dollar twice.
    let plan = store.atomically(|store| {
        let plan = make(&session, Some(store), &kept.targets)?;
        if plan.plan_id != args.plan_id {
            let words = format!("the plan is {} now, not {}: files or state have changed", plan.plan_id, plain(&args.plan_id, 64));
            return Err(Failure::new(Exit::Stale, words).hint("call plan_workflow again and look at the new plan"));
        }
        if plan.runs.is_empty() {
            return Ok(plan);
        }
        allowed(&plan, most)?;
        let by = crate::store::me("apply", now()).who();
        let request = Request::Apply { plan_id: plan.plan_id.clone(), by, orders: orders(&plan), rules: plan.rules.clone() };
        let request = Leave::agent(&talk.agent).sign(agents, &plan, request)?;
        crate::cli::apply::restore(&session.loaded.root, &plan)?;
        store.add_rules(&plan.rules)?;
        store.request(&request)?;
        Ok(plan)
    });
    let plan = plan.map_err(|failure| {
        let held = failure.exit == Exit::Declined;
        let told = refusal(failure);
        if !held {
            return told;
        }
        let command = by_hand(&kept, &args.plan_id, most);
        let next = format!("ask a person to run `{command}`");
        Refusal { next, ..told }.with(serde_json::json!({"command": command}))
    })?;
    let applied = !plan.runs.is_empty();
    if applied {
        engine::ensure(&root, &store).map_err(refusal)?;
    }
    let starts = plan.runs.iter().filter(|r| r.action.runs()).take(RUNS).map(|r| r.address.to_string()).collect();
    let next = if applied {
        "call get_training_status with one of the runs (and wait_seconds) to follow it, or get_queue_status"
    } else {
        "there was nothing to do"
    };
    Ok(Apply { cost: cost(&plan), plan_id: plan.plan_id.clone(), applied, runs: starts, next: next.to_owned() })
}

/// The command by which a person applies the same plan.
fn by_hand(kept: &Kept, id: &str, most: crate::base::Money) -> String {
    let word = |text: &str| {
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=,:@%+".contains(&b));
        if bare { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    let mut words = vec!["oppen".to_owned(), "apply".to_owned()];
    words.extend(kept.paths.iter().map(|p| word(&p.to_string_lossy())));
    words.extend(kept.set.iter().flat_map(|(k, v)| ["--set".to_owned(), word(&format!("{k}={v}"))]));
    words.extend(kept.targets.iter().flat_map(|t| ["--target".to_owned(), word(t)]));
    words.extend(["--expect".to_owned(), id.to_owned(), "--max-cost".to_owned(), most.decimal()]);
    words.join(" ")
}

fn allowed(plan: &Planned, most: crate::base::Money) -> Result<(), Failure> {
    if let Some(check) = plan.checks.iter().find(|c| c.blocks) {
        let words = plain(&format!("nothing was applied: {} {}", check.subject, check.message), 500);
        return Err(Failure::new(Exit::Blocked, words).hint(check.hint.clone()));
    }
    if plan.cost > most {
        let words = format!("nothing was applied: the plan is expected to cost {}, more than {most}", plan.cost);
        return Err(Failure::new(Exit::Blocked, words).hint("make the plan cheaper, or allow more with max_cost_usd"));
    }
    if plan.unpriced > 0 {
        let words = format!("nothing was applied: {} runs have no price, so that {most} cannot be kept", plan.unpriced);
        return Err(Failure::new(Exit::Blocked, words).hint("declare their `estimate` in the workflow, then plan again"));
    }
    Ok(())
}
