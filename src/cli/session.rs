//! What most commands begin with: the project read, its runs expanded, the state opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::args::{BackendKind, Files, Part, Reports};
use super::exit::{Exit, Failure};
use super::output::{Format, Forms};
use super::views::{self, Found, Places};
use super::{output, problems};
use crate::backend::kubernetes::{Settings, namespace};
use crate::base::{Diagnostic, Diagnostics, Timestamp, suggest};
use crate::check::Verdict;
use crate::check::policy::{self, Policy};
use crate::diff::{self, Plan, select};
use crate::engine::{Agents, Engine};
use crate::expand::{self, Desired, Given, Root};
use crate::files::{self, Digests, Loaded, Objects, STATE_FOLDER};
use crate::price::{Cards, Rates};
use crate::queue::{Limits, Quotas, Treasury};
use crate::record::{OutputRecord, State};
use crate::store::Store;

/// The project with everything that its files say.
pub struct Session {
    /// What was read.
    pub loaded: Loaded,
    /// Problems of all files.
    pub diags: Diagnostics,
    /// The wanted runs.
    pub desired: Desired,
    /// Templates that were left out.
    pub templates: Vec<Arc<str>>,
    /// The prices that hold.
    pub rates: Rates,
    /// All rate cards.
    pub cards: Cards,
    /// Budgets.
    pub rules: Vec<expand::Rule>,
    /// The rules that plans are held to.
    pub policies: Vec<Policy>,
    /// The pool.
    pub limits: Limits,
    /// Where runs run.
    pub backend: BackendKind,
    /// Most that one run may have where it runs.
    ceiling: Quotas,
    /// What was seen of the place where runs run.
    verdicts: Vec<Verdict>,
}

/// What says how large the pool is.
type Limiter = fn(&Loaded, BackendKind) -> Limits;

/// How files alone are looked at.
pub struct Look<'a> {
    /// Where the files are.
    pub tree: &'a files::Tree,
    /// The project's root, a real path.
    pub root: &'a Path,
    /// Where paths begin.
    pub here: &'a Path,
    /// Files and folders; without any the whole project.
    pub paths: &'a [PathBuf],
    /// Inputs.
    pub set: &'a [(String, String)],
    /// Where runs run.
    pub backend: Option<BackendKind>,
    /// Whether there must be a workflow, and every input of `set`.
    pub must: bool,
}

/// The project's root and where runs run, without reading workflows.
pub struct Place {
    /// What was read: the project document alone.
    pub loaded: Loaded,
    /// The pool.
    pub limits: Limits,
    /// Prices.
    pub rates: Rates,
    /// Where runs run.
    pub backend: BackendKind,
    /// The files hold errors: what they say is not all known.
    pub broken: bool,
}

impl Place {
    /// Finds the project around a folder.
    pub fn find(here: &Path, backend: Option<BackendKind>) -> Result<Self, Failure> {
        let mut diags = Diagnostics::default();
        let mut loaded = files::load(here, &[], &mut diags);
        loaded.workflows.clear();
        let mut mine = Diagnostics::default();
        let backend = backend_of(&loaded, backend, &mut mine);
        let rates = Cards::read(loaded.project.as_ref(), &loaded.rates, super::plan::now(), &mut mine).rates();
        let limits = limits_of(&loaded, backend);
        let broken = diags.has_errors() || mine.has_errors();
        Ok(Self { loaded, limits, rates, backend, broken })
    }

    /// The folder of the state.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.loaded.root.join(STATE_FOLDER)
    }

    /// The engine over a state, with its budgets: those of the project file as it is now, those of workflows as last applied.
    pub fn engine(&self, store: &Store, state: State) -> Result<Engine, Failure> {
        let rules = self.rules(store)?;
        let now = super::plan::now();
        let treasury = store.treasury(&self.rates, &rules, &self.limits, now)?;
        Ok(Engine::with_budgets(state, self.limits.clone(), treasury).ruled_by(self.agents()).at(now))
    }

    /// What agents may start without a person.
    #[must_use]
    pub fn agents(&self) -> Agents {
        Agents::read(self.loaded.project.as_ref().and_then(|p| p.agents.as_ref()), &mut Diagnostics::default())
    }

    /// The budgets of the project file.
    #[must_use]
    pub fn of_project(&self) -> Vec<expand::Rule> {
        let mut ignored = Diagnostics::default();
        self.loaded.project.as_ref().map(|p| expand::budget::of_project(p, &mut ignored)).unwrap_or_default()
    }

    /// The budgets of the project file as it is now, and those of workflows as last applied.
    pub fn rules(&self, store: &Store) -> Result<Vec<expand::Rule>, Failure> {
        Ok(store.rules_with(&self.of_project())?)
    }

    /// The state, when there is one.
    pub fn store(&self) -> Result<Store, Failure> {
        Store::open_existing(&self.state_folder())?.ok_or_else(|| {
            Failure::new(Exit::Error, format!("there is no state in {}", self.loaded.root.display()))
                .hint("nothing was applied here yet: run `oppen apply`")
        })
    }
}

impl Session {
    /// Reads and expands everything; problems are collected, not thrown.
    #[must_use]
    pub fn read(here: &Path, paths: &[PathBuf], set: &[(String, String)], backend: Option<BackendKind>) -> Self {
        let mut diags = Diagnostics::default();
        let loaded = files::load(here, paths, &mut diags);
        if loaded.workflows.is_empty() && diags.is_empty() {
            diags.push(
                Diagnostic::error("no-workflows", None, "there are no workflows to plan")
                    .hint("name a file, put workflows into workflows/, or run `oppen init`"),
            );
        }
        Self::expand(loaded, set, backend, diags)
    }

    /// The same for a look at the files alone, without the wish to run them.
    #[must_use]
    pub fn to_validate(here: &Path, args: &Files<Reports>) -> Self {
        let mut diags = Diagnostics::default();
        let mut loaded = files::load(here, &args.paths, &mut diags);
        for (_, explicit) in &mut loaded.workflows {
            *explicit = false;
        }
        if loaded.workflows.is_empty() && loaded.project.is_none() && diags.is_empty() {
            diags.push(
                Diagnostic::error("no-documents", None, "there is nothing to check")
                    .hint("name a file, put workflows into workflows/, or run `oppen init`"),
            );
        }
        Self::expand(loaded, &args.set, args.backend, diags)
    }

    fn expand(loaded: Loaded, set: &[(String, String)], backend: Option<BackendKind>, diags: Diagnostics) -> Self {
        let root = loaded.root.clone();
        let mut digests = Digests::new(&root);
        let mut session = Self::expand_by(loaded, set, (backend, limits_of), &mut |path| digests.of(path), diags);
        session.ask_namespace();
        session
    }

    /// From files alone, whatever machine, cluster or state there is.
    #[must_use]
    pub fn offline(look: &Look<'_>, digester: &mut expand::Digester<'_>) -> Self {
        let mut diags = Diagnostics::default();
        let loaded = files::load_in(look.tree, look.root, look.here, look.paths, &mut diags);
        if look.must && loaded.workflows.is_empty() && diags.is_empty() {
            diags.push(
                Diagnostic::error("no-workflows", None, "there are no workflows to plan")
                    .hint("name a file, put workflows into workflows/, or run `oppen init`"),
            );
        }
        Self::of_look(look, loaded, digester, diags)
    }

    /// The project document alone, where none of the wanted files is there.
    #[must_use]
    pub fn offline_without_workflows(look: &Look<'_>, digester: &mut expand::Digester<'_>) -> Self {
        let mut diags = Diagnostics::default();
        let mut loaded = files::load_in(look.tree, look.root, look.here, &[], &mut diags);
        loaded.workflows.clear();
        Self::of_look(look, loaded, digester, Diagnostics::default())
    }

    fn of_look(look: &Look<'_>, loaded: Loaded, digester: &mut expand::Digester<'_>, diags: Diagnostics) -> Self {
        // An input that an older version of the files does not have is none that it can be given.
        let has = |name: &str| {
            let (scope, name) = name.split_once('.').map_or((None, name), |(w, n)| (Some(w), n));
            let mut all = loaded.workflows.iter().map(|(w, _)| w);
            all.any(|w| scope.is_none_or(|s| s == &*w.name.0.0) && w.inputs.get(name).is_some())
        };
        let set: Vec<(String, String)> = look.set.iter().filter(|(k, _)| look.must || has(k)).cloned().collect();
        Self::expand_by(loaded, &set, (look.backend, declared_limits), digester, diags)
    }

    fn expand_by(
        loaded: Loaded,
        set: &[(String, String)],
        (backend, limits): (Option<BackendKind>, Limiter),
        digester: &mut expand::Digester<'_>,
        mut diags: Diagnostics,
    ) -> Self {
        let backend = backend_of(&loaded, backend, &mut diags);
        let cards = Cards::read(loaded.project.as_ref(), &loaded.rates, super::plan::now(), &mut diags);
        let rates = cards.rates();
        let all = loaded.workflows.iter().map(|(w, _)| w).chain(loaded.library.values());
        crate::price::windows::known(all.map(AsRef::as_ref), &rates.hours, &mut diags);
        let limits = limits(&loaded, backend);
        let set: Vec<Given> = set.iter().map(|(k, v)| Given { name: k.as_str().into(), value: v.as_str().into(), span: None }).collect();
        let roots: Vec<Root<'_>> = loaded.workflows.iter().map(|(w, explicit)| Root { workflow: w, explicit: *explicit }).collect();
        let request = expand::Request {
            project: loaded.project.as_ref(),
            roots: &roots,
            library: &loaded.library,
            set: &set,
            sources: &loaded.sources,
        };
        let mut expanded = expand::expand(&request, digester, &mut diags);
        crate::price::refused::add(&rates, &expanded.refused, &mut diags);
        let templates = std::mem::take(&mut expanded.templates);
        let desired = crate::graph::seal(expanded, &mut diags);
        let rules = expand::budget::rules(loaded.project.as_ref(), &desired, &mut diags);
        let policies = policy::compile(loaded.project.as_ref(), &loaded.policies, &loaded.sources, &mut diags);
        if let Some(project) = &loaded.project {
            let _rule = Agents::read(project.agents.as_ref(), &mut diags);
            super::backends::tracking(project, &mut diags);
        }
        let (ceiling, verdicts) = (Quotas::default(), Vec::new());
        Self { loaded, diags, desired, templates, rates, cards, rules, policies, limits, backend, ceiling, verdicts }
    }

    /// On Kubernetes the namespace's quotas hold too, as far as they can be read.
    fn ask_namespace(&mut self) {
        if self.backend != BackendKind::Kubernetes || self.diags.has_errors() {
            return;
        }
        let decl = self.loaded.project.as_ref().and_then(|p| p.kubernetes.as_ref());
        let settings = Settings::read(decl, "", self.state_folder());
        match namespace::read(&settings) {
            Ok(allowed) => {
                namespace::within(&mut self.limits, &allowed);
                self.ceiling = allowed.pod;
            }
            Err(error) => self.verdicts.push(Verdict {
                rule: "namespace".into(),
                blocks: false,
                subject: format!("namespace {}", settings.namespace).into(),
                message: format!("could not be looked at, its quotas are not checked: {}", error.message),
                hint: error.hint.unwrap_or_else(|| "plan again when the cluster can be reached".to_owned()),
                span: None,
                source: None,
            }),
        }
    }

    /// As [`Session::read`], from arguments.
    #[must_use]
    pub fn from_files<O: clap::Args>(here: &Path, files: &Files<O>) -> Self {
        Self::read(here, &files.paths, &files.set, files.backend)
    }

    /// Stops when the files hold errors, after printing them all in every wanted form.
    pub fn sound<F: Forms + Into<Format>>(&self, targets: &[output::Target<F>]) -> Result<(), Failure> {
        let (diags, sources) = (&self.diags, &self.loaded.sources);
        if !diags.has_errors() {
            if !diags.is_empty() {
                output::say(problems::text(diags, sources).trim_end());
            }
            return Ok(());
        }
        let prefix = views::prefix(&self.loaded.root);
        let findings = Places { sources, prefix: &prefix }.of_diagnostics(diags);
        let found = Found { command: "files", looked_at: Vec::new(), findings };
        let (text, others): (Vec<_>, Vec<_>) = targets.iter().partition(|t| t.form.into() == Format::Text && t.file.is_none());
        let others: Vec<_> = others.into_iter().cloned().collect();
        if !text.is_empty() || !others.iter().any(|t| t.file.is_none()) {
            output::say(problems::text(diags, sources).trim_end());
            output::say(&problems::count(diags));
        }
        if !others.is_empty() {
            output::write(&others, |form| match form.into() {
                Format::Text => problems::text(diags, sources),
                Format::Json => output::json(
                    &serde_json::json!({"format_version": 1, "errored": true, "diagnostics": problems::values(diags, sources)}),
                ),
                other => views::text(other, &found).unwrap_or_default(),
            })?;
        }
        Err(Failure::silent(Exit::Invalid))
    }

    /// The folder of the state.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.loaded.root.join(STATE_FOLDER)
    }

    /// Makes the plan against a state; `store` is none where nothing was applied yet.
    pub fn plan(&self, store: Option<&Store>, state: &State, part: &Part, now: Timestamp) -> Result<Plan, Failure> {
        let past = store.map(Store::past);
        self.plan_with(store, past.as_ref().map_or(&() as &dyn diff::History, |p| p), state, part, now)
    }

    /// Makes the plan as if nothing had run yet: times are learned all the same, finished work is not taken over.
    pub fn plan_anew(&self, store: Option<&Store>, now: Timestamp) -> Result<Plan, Failure> {
        let past = store.map(|s| TimesOf(s.past()));
        let history = past.as_ref().map_or(&() as &dyn diff::History, |p| p);
        self.plan_with(store, history, &State::default(), &Part { select: Vec::new(), target: Vec::new() }, now)
    }

    fn plan_with(
        &self,
        store: Option<&Store>,
        history: &dyn diff::History,
        state: &State,
        part: &Part,
        now: Timestamp,
    ) -> Result<Plan, Failure> {
        let selection = selection(part)?;
        self.check_targets(part)?;
        let workflows: FxHashSet<&str> = self.desired.workflows.iter().map(|w| &*w.name).collect();
        let planned: FxHashSet<Arc<str>> =
            self.loaded.workflows.iter().map(|(w, _)| self.loaded.sources.path(w.span.file).into()).collect();
        let drift = files::drift::find(&self.loaded.root, state, |a| workflows.contains(a.workflow()));
        let objects = Objects::new(self.state_folder().join("objects"));
        let restorable = |outputs: &[OutputRecord]| outputs.iter().all(|o| o.digest.is_none_or(|d| objects.has(&d)));
        let slots = self.limits.max_concurrent;
        let mut treasury = match store {
            Some(store) => store.treasury(&self.rates, &self.rules, &self.limits, now)?,
            None => Treasury::unspent(self.rates.clone(), &self.rules, &self.limits, now),
        };
        crate::engine::reserved(&mut treasury, state);
        let user = crate::store::me("plan", now).who().into();
        let mut plan = diff::plan(&diff::Request {
            desired: &self.desired,
            state,
            history,
            drift: &drift,
            restorable: &restorable,
            project: self.loaded.project.as_ref(),
            rates: &self.rates,
            treasury: &treasury,
            user: &user,
            limits: &self.limits,
            ceiling: &self.ceiling,
            pool_hint: match self.backend {
                BackendKind::Local => "ask for less, set `pool.quotas` in oppen.yaml, or run it with `--backend kubernetes`",
                BackendKind::Kubernetes => "ask for less, or raise `pool.quotas` in oppen.yaml",
            },
            backend: self.backend.word(),
            lineage: store.map_or("", Store::lineage),
            serial: store.map_or(Ok(0), Store::serial)?,
            now,
            files: &planned,
            whole: self.loaded.whole,
            select: &selection,
            policies: &self.policies,
            verdicts: self.verdicts.clone(),
            templates: self.templates.clone(),
        });
        let live = state.runs.values().filter(|r| !r.status.is_terminal()).map(|r| (&r.spec.job, 1));
        plan.overrun = crate::engine::overrun(plan.starting().chain(live), slots, &treasury);
        Ok(plan)
    }

    fn check_targets(&self, part: &Part) -> Result<(), Failure> {
        for target in &part.target {
            if !self.desired.runs.iter().any(|r| select::matches_address(target, r.address.as_str())) {
                let known = self.desired.jobs.iter().map(|j| &*j.address);
                let failure = Failure::new(Exit::Usage, format!("--target {}: there is no such run", crate::base::text::escape(target)));
                return Err(match suggest::hint(target, known) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                });
            }
        }
        Ok(())
    }
}

/// History that tells how long runs took, and of no result that could be taken over.
struct TimesOf<'a>(crate::store::Past<'a>);

impl diff::History for TimesOf<'_> {
    fn finished(&self, _: &crate::base::Fingerprint) -> Option<crate::record::Finished> {
        None
    }
    fn samples(&self, job: &str) -> Vec<crate::record::Sample> {
        self.0.samples(job)
    }
    fn of_model(&self, model: &str) -> Vec<crate::record::Sample> {
        self.0.of_model(model)
    }
    fn exposures(&self) -> Vec<crate::record::Exposure> {
        self.0.exposures()
    }
}

/// Reads selectors.
pub fn selection(part: &Part) -> Result<select::Selection, Failure> {
    let selectors =
        part.select.iter().map(|s| select::Selector::parse(s).map_err(|e| Failure::new(Exit::Usage, e))).collect::<Result<_, _>>()?;
    Ok(select::Selection { selectors, targets: part.target.clone() })
}

fn backend_of(loaded: &Loaded, asked: Option<BackendKind>, diags: &mut Diagnostics) -> BackendKind {
    let declared = loaded.project.as_ref().and_then(|p| p.backend.as_ref());
    let from_file = match declared.map(|w| (&*w.0, w.1)) {
        None | Some(("local", _)) => BackendKind::Local,
        Some(("kubernetes", _)) => BackendKind::Kubernetes,
        Some((other, span)) => {
            let hint = suggest::hint(other, ["local", "kubernetes"]);
            diags.push(
                Diagnostic::error("unknown-backend", span, format!("unknown backend `{}`", crate::base::text::escape(other)))
                    .maybe_hint(hint),
            );
            BackendKind::Local
        }
    };
    asked.unwrap_or(from_file)
}

fn limits_of(loaded: &Loaded, backend: BackendKind) -> Limits {
    let pool = loaded.project.as_ref().and_then(|p| p.pool.as_ref());
    let limits = match backend {
        BackendKind::Local => Limits::read(pool, &machine()),
        BackendKind::Kubernetes => Limits { soft: false, ..Limits::read(pool, &Quotas::default()) },
    };
    loaded.project.as_ref().map_or(limits.clone(), |p| limits.with_teams(&p.teams))
}

/// The pool as far as the project declares it: what this machine has does not count.
fn declared_limits(loaded: &Loaded, _: BackendKind) -> Limits {
    let pool = loaded.project.as_ref().and_then(|p| p.pool.as_ref());
    let limits = Limits { soft: false, ..Limits::read(pool, &Quotas::default()) };
    loaded.project.as_ref().map_or(limits.clone(), |p| limits.with_teams(&p.teams))
}

/// What this machine has. GPUs as the driver lists them.
fn machine() -> Quotas {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")).and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Quotas { gpu: Some(gpus()), cpu_millis: Some(cores.saturating_mul(1000)), memory_bytes: total.map(|kib| kib.saturating_mul(1024)) }
}

/// GPUs of this machine, or those that the caller was given.
fn gpus() -> u32 {
    let all = std::fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, |d| u32::try_from(d.count()).unwrap_or(0));
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(list) => all.min(u32::try_from(list.split(',').filter(|d| !d.trim().is_empty()).count()).unwrap_or(0)),
        Err(_) => all,
    }
}
