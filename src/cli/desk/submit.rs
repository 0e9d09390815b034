//! Submissions: templates and values become runs, are priced and judged as a whole, and are left for the engine.
//!
//! In: [`Ask`]s. Out: a [`Receipt`]. All or none: the price, the budgets with everything that runs and waits already, and the note of
//! it are one transaction, so that two at once cannot spend the last dollar twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::ask::Ask;
use super::engine;
use crate::base::text::escape;
use crate::base::{Address, Diagnostics, Money, Timestamp, suggest};
use crate::check::policy;
use crate::cli::exit::{Exit, Failure};
use crate::cli::plan::now;
use crate::cli::problems;
use crate::cli::session::Place;
use crate::diff::{self, Plan, select};
use crate::engine::{Agency, Agents, Submission};
use crate::expand::{self, Desired, Given, Root};
use crate::files::{self, Digests};
use crate::queue::{Board, Quotas, Treasury, board};
use crate::record::{JobSpec, Priority, RunSpec, State, SubmittedJob};
use crate::spec::types::Project;
use crate::spec::{Project as ProjectDoc, Workflow};
use crate::store::{Request, Store};

/// Runs that can be submitted, not judged yet.
pub struct Prepared {
    /// The project's place.
    pub place: Place,
    /// What was asked for.
    pub submission: Submission,
    desired: Desired,
    rules: Vec<expand::Rule>,
}

/// What came of a submission.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The submission.
    pub id: String,
    /// Its workflows, each a job of its own to agents.
    pub jobs: Vec<SubmittedJob>,
    /// All runs.
    pub runs: Vec<Address>,
    /// Expected cost of all of it.
    pub cost: Money,
    /// At the most; none where a run has no timeout.
    pub worst: Option<Money>,
    /// Runs without a price.
    pub unpriced: usize,
    /// The queue with it.
    pub board: Board,
    /// Budgets with it, and with all that runs and waits.
    pub budgets: Vec<crate::check::BudgetLine>,
    /// False when this was only a look.
    pub submitted: bool,
}

/// Finds the templates, fills in the values. Nothing is priced or noted.
pub fn prepare(here: &Path, asks: &[Ask], id: &str) -> Result<Prepared, Failure> {
    let place = Place::find(here, None)?;
    let project = place.loaded.project.as_ref();
    let targets: Vec<Target> = asks.iter().map(|a| target(&place, here, a)).collect::<Result<_, _>>()?;
    let mut paths: Vec<PathBuf> = targets.iter().map(|t| t.path.clone()).collect();
    paths.sort();
    paths.dedup();
    let mut diags = Diagnostics::default();
    let loaded = files::load(&place.loaded.root, &paths, &mut diags);
    let many = asks.len() > 1;
    let (mut workflows, mut set, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (ask, target)) in asks.iter().zip(&targets).enumerate() {
        let Some((template, file)) = chosen(&loaded, target) else { continue };
        let base: String = target.model.as_deref().filter(|m| is_name(m)).unwrap_or(&template.name.0.0).chars().take(40).collect();
        let name: Arc<str> = if many { format!("{base}-{id}-{:03}", i + 1) } else { format!("{base}-{id}") }.into();
        let mut workflow = (*template).clone();
        workflow.name.0.0 = Arc::clone(&name);
        let values = values(project, target, &template, ask);
        set.extend(values.iter().map(|(k, v)| Given { name: format!("{name}.{k}").into(), value: v.clone(), span: None }));
        jobs.push(SubmittedJob { workflow: name, template: file.into(), model: target.model.clone(), with: values });
        workflows.push((workflow, ask.priority.clone()));
    }
    let roots: Vec<Root<'_>> = workflows.iter().map(|(w, _)| Root { workflow: w, explicit: true }).collect();
    let request = expand::Request { project, roots: &roots, library: &loaded.library, set: &set, sources: &loaded.sources };
    let mut digests = Digests::new(&loaded.root);
    let expanded = expand::expand(&request, &mut |path| digests.of(path), &mut diags);
    let mut desired = crate::graph::seal(expanded, &mut diags);
    let rules = expand::budget::rules(project, &desired, &mut diags);
    if diags.has_errors() {
        let text = problems::text(&diags, &loaded.sources);
        return Err(Failure::new(Exit::Invalid, format!("nothing was submitted: {}", text.trim()))
            .hint("see the inputs of the template with `oppen validate`, or give other values"));
    }
    settle(&mut desired, project, &workflows, id)?;
    let by = crate::store::me("submit", now()).who();
    let own = |r: &&expand::Rule| matches!(r.scope, expand::Scope::Workflow(_) | expand::Scope::Job(_)) && of_submission(&r.scope, &jobs);
    let submission =
        Submission { id: id.to_owned(), by, runs: desired.runs.clone(), rules: rules.iter().filter(own).cloned().collect(), jobs };
    Ok(Prepared { place, submission, desired, rules })
}

/// Who submits: a person, or an agent, with or without a person who agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leave {
    agent: Option<String>,
    approved_by: Option<String>,
}

impl Leave {
    /// A person.
    #[must_use]
    pub fn person() -> Self {
        Self::default()
    }

    /// An agent alone.
    #[must_use]
    pub fn agent(name: &str) -> Self {
        Self { agent: Some(name.to_owned()), approved_by: None }
    }

    /// An agent, and the person who agreed.
    #[must_use]
    pub fn approved(name: &str, by: String) -> Self {
        Self { agent: Some(name.to_owned()), approved_by: Some(by) }
    }

    /// What the engine is told of an agent.
    #[must_use]
    pub fn agency(&self, plan: &Plan) -> Option<Agency> {
        let agent = self.agent.clone()?;
        Some(Agency { agent, approved_by: self.approved_by.clone(), cost: plan.cost, unpriced: plan.unpriced })
    }

    /// A request as its bearer leaves it, unless a person has to agree first.
    pub fn sign(&self, agents: Agents, plan: &Plan, request: Request) -> Result<Request, Failure> {
        let Some(agency) = self.agency(plan) else { return Ok(request) };
        match agents.holds_back(&agency) {
            Some(because) => Err(Failure::new(Exit::Declined, because)),
            None => Ok(Request::OfAgent { agency, wants: Box::new(request) }),
        }
    }
}

/// A name for a submission, new each time.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}

/// Prices and judges; with `really` also notes it, unless something is against it. All in one transaction.
pub fn submit(prepared: &Prepared, leave: &Leave, most: Option<Money>, really: bool) -> Result<Receipt, Failure> {
    let place = &prepared.place;
    let mut store = Store::open(&place.state_folder())?;
    let receipt = store.atomically(|store| {
        let mut state = store.load_open()?;
        store.foresee(&mut state)?;
        let now = now();
        let plan = judge(prepared, Some(store), &state, now)?;
        allowed(&plan, most)?;
        if really {
            let request = Request::Submit { submission: Box::new(prepared.submission.clone()) };
            let request = leave.sign(place.agents(), &plan, request)?;
            store.add_rules(&prepared.submission.rules)?;
            store.request(&request)?;
        }
        for spec in &prepared.submission.runs {
            state.apply(&crate::record::Event::Planned { spec: Arc::clone(spec) }, now);
        }
        Ok::<_, Failure>(Receipt {
            id: prepared.submission.id.clone(),
            jobs: prepared.submission.jobs.clone(),
            runs: prepared.submission.runs.iter().map(|r| r.address.clone()).collect(),
            cost: plan.cost,
            worst: plan.worst,
            unpriced: plan.unpriced,
            board: board(&state, &place.limits, &store.meters(&place.limits, now)?, &place.rates, now),
            budgets: plan.budgets,
            submitted: really,
        })
    })?;
    if really {
        engine::ensure(&place.loaded.root, &store)?;
    }
    Ok(receipt)
}

/// What these runs would be, with everything that runs and waits; nothing is noted, and no state is made where there is none.
pub fn price(prepared: &Prepared) -> Result<Plan, Failure> {
    let store = Store::open_existing(&prepared.place.state_folder())?;
    let mut state = store.as_ref().map_or_else(|| Ok(State::default()), Store::load_open)?;
    if let Some(store) = &store {
        store.foresee(&mut state)?;
    }
    judge(prepared, store.as_ref(), &state, now())
}

fn allowed(plan: &Plan, most: Option<Money>) -> Result<(), Failure> {
    if let Some(check) = plan.checks.iter().find(|c| c.blocks) {
        let words = format!("nothing was submitted: {} {}", escape(&check.subject), escape(&check.message));
        return Err(Failure::new(Exit::Blocked, words).hint(check.hint.clone()));
    }
    let Some(most) = most else { return Ok(()) };
    if plan.cost > most {
        return Err(Failure::new(Exit::Blocked, format!("nothing was submitted: it is expected to cost {}, more than {most}", plan.cost))
            .hint("submit less, make it cheaper (fewer epochs, `background` priority), or allow more"));
    }
    if plan.unpriced > 0 {
        let words = format!("nothing was submitted: {} runs have no price, so that {most} cannot be kept", plan.unpriced);
        return Err(Failure::new(Exit::Blocked, words).hint("declare an `estimate` for the template or the model type"));
    }
    Ok(())
}

/// The plan that these runs alone are, beside everything that runs and waits. What ran before does not serve: a submission runs.
fn judge(prepared: &Prepared, store: Option<&Store>, state: &State, now: Timestamp) -> Result<Plan, Failure> {
    let place = &prepared.place;
    let mut treasury = match store {
        Some(store) => store.treasury(&place.rates, &prepared.rules, &place.limits, now)?,
        None => Treasury::unspent(place.rates.clone(), &prepared.rules, &place.limits, now),
    };
    crate::engine::reserved(&mut treasury, state);
    let user: Arc<str> = prepared.submission.by.as_str().into();
    // What is wrong with a rule is told by `plan` and `validate`; here a rule that cannot be read must not let anything pass.
    let (loaded, mut diags) = (&place.loaded, Diagnostics::default());
    let policies = policy::compile(loaded.project.as_ref(), &loaded.policies, &loaded.sources, &mut diags);
    if diags.has_errors() {
        return Err(Failure::new(Exit::Invalid, problems::text(&diags, &loaded.sources).trim().to_owned()).hint("mend the policies first"));
    }
    let (history, nothing) = ((), FxHashSet::default());
    Ok(diff::plan(&diff::Request {
        desired: &prepared.desired,
        state,
        history: &history,
        drift: &[],
        restorable: &|_| false,
        project: place.loaded.project.as_ref(),
        rates: &place.rates,
        treasury: &treasury,
        user: &user,
        limits: &place.limits,
        ceiling: &Quotas::default(),
        pool_hint: "ask for less, or raise `pool.quotas` in oppen.yaml",
        backend: place.backend.word(),
        lineage: store.map_or("", Store::lineage),
        serial: store.map_or(Ok(0), Store::serial)?,
        now,
        files: &nothing,
        whole: false,
        select: &select::Selection::default(),
        policies: &policies,
        verdicts: Vec::new(),
        templates: Vec::new(),
    }))
}

/// What one ask means.
struct Target {
    path: PathBuf,
    /// Name of the workflow in the file, where a name was given.
    named: Option<Arc<str>>,
    model: Option<Arc<str>>,
}

fn target(place: &Place, here: &Path, ask: &Ask) -> Result<Target, Failure> {
    let what = ask.model_type.as_str();
    let root = &place.loaded.root;
    let project: Option<&Project> = place.loaded.project.as_ref();
    if let Some(model) = project.and_then(|p| p.models.get(what)) {
        let Some(template) = &model.template else {
            return Err(Failure::new(Exit::Invalid, format!("the model type `{}` names no template", escape(what)))
                .hint(format!("add `template: workflows/train.yaml` to `models.{what}` in oppen.yaml")));
        };
        let path = expand::paths::confined(&template.0).map_err(|e| Failure::new(Exit::Invalid, e))?;
        return Ok(Target { path: root.join(path), named: None, model: Some(what.into()) });
    }
    let path = here.join(what);
    if (what.ends_with(".yaml") || what.ends_with(".yml")) && path.is_file() {
        return Ok(Target { path, named: None, model: None });
    }
    let mut diags = Diagnostics::default();
    let whole = files::load(root, &[], &mut diags);
    let found = whole.workflows.iter().find(|(w, _)| &*w.name.0.0 == what);
    if let Some((workflow, _)) = found {
        let path = root.join(whole.sources.path(workflow.span.file));
        return Ok(Target { path, named: Some(Arc::clone(&workflow.name.0.0)), model: None });
    }
    let models = project.into_iter().flat_map(|p| p.models.iter().filter(|(_, _, m)| m.template.is_some()).map(|(n, _, _)| &**n));
    let known: Vec<&str> = models.chain(whole.workflows.iter().map(|(w, _)| &*w.name.0.0)).collect();
    let hint = match suggest::hint(what, known.iter().copied()) {
        Some(hint) => hint,
        None if known.is_empty() => "declare `models: {NAME: {template: workflows/train.yaml}}` in oppen.yaml".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    Err(Failure::new(Exit::Usage, format!("`{}` is no model type, no workflow file and no workflow", escape(what))).hint(hint))
}

/// The workflow document that a target means, with its file.
fn chosen(loaded: &files::Loaded, target: &Target) -> Option<(Arc<Workflow>, String)> {
    let real = target.path.canonicalize().ok()?;
    let of = |w: &Workflow| loaded.root.join(loaded.sources.path(w.span.file)) == real;
    let mut inside = loaded.workflows.iter().filter(|(w, _)| of(w));
    let found = inside.find(|(w, _)| target.named.as_ref().is_none_or(|n| *n == w.name.0.0))?;
    Some((Arc::clone(&found.0), loaded.sources.path(found.0.span.file).to_owned()))
}

/// Values of the template's inputs: those of the model type, then those of the caller.
fn values(project: Option<&ProjectDoc>, target: &Target, template: &Workflow, ask: &Ask) -> serde_json::Map<String, Value> {
    let model = target.model.as_ref().and_then(|m| project.and_then(|p| p.models.get(m)));
    let mut all: serde_json::Map<String, Value> =
        model.into_iter().flat_map(|m| m.with.iter()).map(|(k, _, v)| (k.to_string(), v.clone())).collect();
    if let Some(name) = target.model.as_ref().filter(|_| template.inputs.get("model_type").is_some()) {
        all.insert("model_type".to_owned(), Value::String(name.to_string()));
    }
    all.extend(ask.values());
    all
}

fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

fn of_submission(scope: &expand::Scope, jobs: &[SubmittedJob]) -> bool {
    let workflow = match scope {
        expand::Scope::Workflow(name) => &**name,
        expand::Scope::Job(job) => job.split('/').next().unwrap_or_default(),
        _ => return false,
    };
    jobs.iter().any(|j| &*j.workflow == workflow)
}

/// Gives the runs their priority, and a file that no plan plans: no plan of files ends what was submitted.
fn settle(desired: &mut Desired, project: Option<&Project>, workflows: &[(Workflow, Option<String>)], id: &str) -> Result<(), Failure> {
    let classes = expand::priorities(project);
    let mut wanted: FxHashMap<&str, Priority> = FxHashMap::default();
    for (workflow, class) in workflows {
        let Some(class) = class else { continue };
        let (class, weight) = class_of(&classes, class)?;
        wanted.insert(&workflow.name.0.0, Priority { weight, class });
    }
    let file: Arc<str> = format!("submitted/{id}").into();
    let mut done: FxHashMap<*const JobSpec, Arc<JobSpec>> = FxHashMap::default();
    for run in &mut desired.runs {
        let job = done.entry(Arc::as_ptr(&run.job)).or_insert_with(|| {
            let mut job = (*run.job).clone();
            job.file = Some(Arc::clone(&file));
            if let Some(priority) = wanted.get(run.address.workflow()) {
                job.priority = priority.clone();
            }
            Arc::new(job)
        });
        *run = Arc::new(RunSpec { job: Arc::clone(job), ..(**run).clone() });
    }
    Ok(())
}

/// A priority class by name.
pub fn class_of(classes: &[(Arc<str>, i32)], class: &str) -> Result<(Arc<str>, i32), Failure> {
    classes.iter().find(|(name, _)| &**name == class).cloned().ok_or_else(|| {
        let names: Vec<&str> = classes.iter().map(|(n, _)| &**n).collect();
        let hint = suggest::hint(class, names.iter().copied()).unwrap_or_else(|| format!("known are {}", names.join(", ")));
        Failure::new(Exit::Usage, format!("unknown priority class `{}`", escape(class))).hint(hint)
    })
}
