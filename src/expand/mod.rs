//! Documents to runs: inputs, templates, defaults, matrices, sweep points, fingerprints.
//!
//! In: typed documents and the digests of input files. Out: jobs with their runs, and diagnostics. Must never read a file or
//! parse a rendered value again.

pub mod budget;
mod command;
pub mod desired;
pub mod dimension;
pub mod domain;
pub mod fingerprint;
pub mod gpu_time;
pub mod inputs;
mod instance;
pub mod lattice;
pub mod late;
mod names;
pub mod paths;
pub mod search;
mod settings;
mod settle;
pub mod shell;
mod slot;
pub mod space;
mod spread;
pub mod template;

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::base::{Diagnostic, Diagnostics, SourceMap, suggest};
use crate::spec::Workflow;
use crate::spec::types::Project;

pub use budget::{OnExceed, Rule, Scope};
pub use desired::{Desired, DesiredJob, DesiredWorkflow};
pub use inputs::Given;
pub use instance::Library;
pub use settings::priorities;
pub use spread::{Digester, Refused, Spread};

/// One workflow that is to be planned.
pub struct Root<'a> {
    /// The document.
    pub workflow: &'a Workflow,
    /// Named by the caller, so that missing inputs are an error and not a reason to leave it out.
    pub explicit: bool,
}

/// What is to be expanded.
pub struct Request<'a> {
    /// The project document.
    pub project: Option<&'a Project>,
    /// The workflows, in the order of files.
    pub roots: &'a [Root<'a>],
    /// Workflows that others use.
    pub library: &'a Library,
    /// `--set` values: `name` for every workflow that has it, or `workflow.name`.
    pub set: &'a [Given],
    /// The texts.
    pub sources: &'a SourceMap,
}

/// All jobs with their runs, not yet a graph.
pub struct Expanded {
    /// In the order of writing.
    pub jobs: Vec<Spread>,
    /// The workflows that have runs.
    pub workflows: Vec<DesiredWorkflow>,
    /// Workflows left out because they are templates whose inputs nobody gave.
    pub templates: Vec<Arc<str>>,
    /// Runs that were counted and not made.
    pub refused: Vec<Refused>,
}

/// Expands everything. The result may be used only while `diags` holds no error.
pub fn expand<'a>(request: &Request<'a>, digester: &mut Digester<'_>, diags: &mut Diagnostics) -> Expanded {
    let mut expanded = Expanded { jobs: Vec::new(), workflows: Vec::new(), templates: Vec::new(), refused: Vec::new() };
    let mut distinct = names::Distinct::default();
    let mut builder = instance::Builder { library: request.library, sources: request.sources, diags, out: Vec::new() };
    check_set(request, builder.diags);
    for root in request.roots {
        let name = &root.workflow.name.0;
        if !builder.root(root.workflow, &given(request, root.workflow), root.explicit) {
            expanded.templates.push(Arc::clone(&name.0));
        } else if distinct.add("workflow", &name.0, name.1, builder.diags) {
            expanded.workflows.push(described(root.workflow, builder.diags));
        }
    }
    let instances = builder.out;
    let mut spreader = spread::Spreader {
        project: request.project,
        priorities: settings::priorities(request.project),
        sources: request.sources,
        digester: &mut |path| digester(path),
        produced: produced(&instances),
        refused: Vec::new(),
        diags,
    };
    expanded.jobs = instances.iter().filter_map(|i| spreader.spread(i)).collect();
    expanded.refused = spreader.refused;
    let total: u128 = expanded.jobs.iter().map(|j| j.runs.len() as u128).sum();
    if total > space::MAX_RUNS {
        let message = format!("{total} runs in all are more than the {} that one project may have", space::MAX_RUNS);
        diags.push(Diagnostic::error("too-many-runs", None, message).hint("plan fewer workflows at a time"));
    }
    expanded
}

/// Literal outputs of all jobs. Outputs that are templates are matched by what stands before the first expression's folder.
fn produced(instances: &[instance::Instance<'_>]) -> FxHashSet<String> {
    let mut all = FxHashSet::default();
    for instance in instances {
        for output in &instance.decl.outputs {
            match output {
                crate::spec::scalar::Templ::Known(path, _) => {
                    all.extend(paths::confined(path).ok());
                }
                crate::spec::scalar::Templ::Template(path, _) => {
                    let literal = path.split("{{").next().unwrap_or_default();
                    all.extend(literal.rsplit_once('/').and_then(|(folder, _)| paths::confined(folder).ok()));
                }
            }
        }
    }
    all
}

/// The `--set` values that concern a workflow.
fn given(request: &Request<'_>, workflow: &Workflow) -> Vec<Given> {
    let mut found = Vec::new();
    for g in request.set {
        let (scope, name) = g.name.split_once('.').map_or((None, &*g.name), |(w, n)| (Some(w), n));
        let here = scope.is_none_or(|w| w == &*workflow.name.0.0);
        if here && (scope.is_some() || workflow.inputs.get(name).is_some()) {
            found.push(Given { name: name.into(), ..g.clone() });
        }
    }
    found
}

fn check_set(request: &Request<'_>, diags: &mut Diagnostics) {
    for g in request.set.iter() {
        let (scope, name) = g.name.split_once('.').map_or((None, &*g.name), |(w, n)| (Some(w), n));
        let mut workflows = request.roots.iter().map(|r| r.workflow).filter(|w| scope.is_none_or(|s| s == &*w.name.0.0)).peekable();
        if let (Some(scope), None) = (scope, workflows.peek()) {
            let hint = suggest::hint(scope, request.roots.iter().map(|r| &*r.workflow.name.0.0));
            diags.push(
                Diagnostic::error(
                    "unknown-input",
                    None,
                    format!("--set {}: there is no workflow `{}`", g.name, crate::base::text::escape(scope)),
                )
                .maybe_hint(hint),
            );
            continue;
        }
        let known: Vec<&str> = workflows.flat_map(|w| w.inputs.names()).collect();
        if !known.contains(&name) && scope.is_none() {
            let message = format!("--set {}: no planned workflow has such an input", crate::base::text::escape(&g.name));
            diags.push(Diagnostic::error("unknown-input", None, message).maybe_hint(suggest::hint(name, known)));
        }
    }
}

fn described(workflow: &Workflow, diags: &mut Diagnostics) -> DesiredWorkflow {
    DesiredWorkflow {
        name: Arc::clone(&workflow.name.0.0),
        span: workflow.span,
        team: workflow.team.as_ref().map(|t| Arc::clone(&t.0)),
        budget: workflow.budget.as_ref().and_then(|b| {
            let name = &workflow.name.0.0;
            budget::read(b, &format!("workflow {name}"), Scope::Workflow(Arc::clone(name)), diags)
        }),
    }
}
