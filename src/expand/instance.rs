//! Workflows to job instances: inputs bound, used templates put in, needs resolved by name.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::inputs::{self, Given};
use super::names::{self, Distinct};
use super::paths;
use super::slot::{Compile, render_tree};
use super::template::Names;
use crate::base::{Diagnostic, Diagnostics, FileId, SourceMap, Span, Value, suggest};
use crate::spec::Workflow;
use crate::spec::types::{Defaults, Job};

/// How deep templates may use templates.
const MAX_DEPTH: usize = 16;

/// Workflows that others use, by path relative to the project's root.
pub type Library = FxHashMap<String, Arc<Workflow>>;

/// One job with its inputs known and its needs resolved; not yet spread over params.
pub struct Instance<'a> {
    /// `workflow/outer.inner`.
    pub address: Arc<str>,
    /// As declared, with the settings of its sweep and its metric known.
    pub decl: Cow<'a, Job>,
    /// Where its name stands.
    pub span: Span,
    /// Of its workflow document.
    pub defaults: Option<&'a Defaults>,
    /// Labels of its workflow document.
    pub workflow: &'a Workflow,
    /// File of the outermost workflow.
    pub file: Arc<str>,
    /// Team that pays: of the outermost workflow that names one.
    pub team: Option<Arc<str>>,
    /// Values of the inputs.
    pub inputs: Arc<Value>,
    /// Names of the inputs.
    pub input_names: Arc<[Arc<str>]>,
    /// Names under which late expressions know its needs.
    pub need_names: Vec<Arc<str>>,
    /// Addresses of needs, with the place of each edge.
    pub needs: Vec<(Arc<str>, Span)>,
}

/// Where jobs are being put in.
struct Frame<'a> {
    workflow: &'a Workflow,
    /// `workflow/` or `workflow/outer.`.
    prefix: String,
    file: Arc<str>,
    team: Option<Arc<str>>,
    inputs: Arc<Value>,
    input_names: Arc<[Arc<str>]>,
}

/// Puts all jobs of workflows into a list.
pub struct Builder<'a, 'd> {
    /// Used workflows.
    pub library: &'a Library,
    /// For places and paths.
    pub sources: &'a SourceMap,
    /// Problems.
    pub diags: &'d mut Diagnostics,
    /// The result.
    pub out: Vec<Instance<'a>>,
}

impl<'a> Builder<'a, '_> {
    /// Adds the jobs of a workflow. False when it is a template whose inputs are missing and nobody asked for it by name.
    pub fn root(&mut self, workflow: &'a Workflow, given: &[Given], explicit: bool) -> bool {
        let bound = inputs::bind(workflow, given, self.diags);
        if !bound.missing.is_empty() {
            if !explicit {
                return false;
            }
            for (name, span) in &bound.missing {
                let message = format!("input `{name}` of workflow `{}` must be set", workflow.name.0.0);
                self.diags.push(
                    Diagnostic::error("missing-input", *span, message)
                        .hint(format!("give it a `default`, or run with `--set {name}=VALUE`")),
                );
            }
            return true;
        }
        let name = &workflow.name.0;
        if !names::check("a workflow", &name.0, name.1, self.diags) {
            return true;
        }
        let frame = Frame {
            workflow,
            prefix: format!("{}/", name.0),
            file: self.sources.path(workflow.span.file).into(),
            team: workflow.team.as_ref().map(|t| Arc::clone(&t.0)),
            inputs: Arc::new(bound.values),
            input_names: workflow.inputs.iter().map(|(n, _, _)| Arc::clone(n)).collect(),
        };
        self.jobs(&frame, &mut vec![workflow.span.file]);
        true
    }

    /// Adds the jobs of one document; returns their addresses by local name.
    fn jobs(&mut self, frame: &Frame<'a>, stack: &mut Vec<FileId>) -> FxHashMap<Arc<str>, Vec<Arc<str>>> {
        let mut known: FxHashMap<Arc<str>, Vec<Arc<str>>> = FxHashMap::default();
        let mut distinct = Distinct::default();
        let mut wanted: Vec<(usize, usize, &'a Job)> = Vec::new();
        for (name, span, job) in frame.workflow.jobs.0.iter() {
            if !names::check("a job", name, *span, self.diags) || !distinct.add("job", name, *span, self.diags) {
                continue;
            }
            let start = self.out.len();
            match &job.uses {
                Some(path) => {
                    let inner = self.used(job, name, &path.0, path.1, frame, stack);
                    let mut all = Vec::new();
                    for (local, addresses) in inner {
                        known.insert(format!("{name}.{local}").into(), addresses.clone());
                        all.extend(addresses);
                    }
                    all.sort_unstable();
                    all.dedup();
                    known.insert(Arc::clone(name), all);
                }
                None => {
                    let address: Arc<str> = format!("{}{name}", frame.prefix).into();
                    known.insert(Arc::clone(name), vec![Arc::clone(&address)]);
                    self.plain(job, address, *span, frame);
                }
            }
            wanted.push((start, self.out.len(), job));
        }
        for (start, end, job) in wanted {
            self.connect(start, end, job, &known, frame);
        }
        known
    }

    fn plain(&mut self, job: &'a Job, address: Arc<str>, span: Span, frame: &Frame<'a>) {
        if job.run.is_none() {
            self.diags.push(Diagnostic::error("missing-key", span, "a job needs `run` or `uses`").hint("add `run: [python, train.py]`"));
        }
        if !job.with.0.is_empty() {
            self.diags.push(
                Diagnostic::error("with-without-uses", span, "`with` sets inputs of a used workflow, and this job uses none")
                    .hint("add `uses: ./workflow.yaml`, or remove `with`"),
            );
        }
        let names = Names { inputs: frame.input_names.to_vec(), ..Names::default() };
        let decl = super::settle::job(job, Compile { names: &names, sources: self.sources }, &frame.inputs, self.diags);
        self.out.push(Instance {
            address,
            decl,
            span,
            defaults: frame.workflow.defaults.as_ref(),
            workflow: frame.workflow,
            file: Arc::clone(&frame.file),
            team: frame.team.clone(),
            inputs: Arc::clone(&frame.inputs),
            input_names: Arc::clone(&frame.input_names),
            need_names: Vec::new(),
            needs: Vec::new(),
        });
    }

    /// Puts a used workflow in. Returns the local names of its jobs.
    fn used(
        &mut self,
        job: &'a Job,
        name: &str,
        path: &str,
        at: Span,
        frame: &Frame<'a>,
        stack: &mut Vec<FileId>,
    ) -> FxHashMap<Arc<str>, Vec<Arc<str>>> {
        self.refuse_beside_uses(job);
        let library = self.library;
        let workflow = match paths::used(self.sources.path(at.file), path) {
            Err(words) => {
                self.diags
                    .push(Diagnostic::error("bad-path", at, words).hint("write a path relative to this file, such as `./train.yaml`"));
                return FxHashMap::default();
            }
            Ok(path) => match library.get(&path) {
                Some(workflow) => workflow,
                // That it is missing or broken was said where the file was read.
                None => return FxHashMap::default(),
            },
        };
        if stack.contains(&workflow.span.file) || stack.len() >= MAX_DEPTH {
            let chain: Vec<&str> = stack.iter().chain([&workflow.span.file]).map(|f| self.sources.path(*f)).collect();
            let message = format!("a workflow cannot use itself: {}", chain.join(" -> "));
            self.diags.push(
                Diagnostic::error("endless-use", at, message).hint("remove this `uses`, or move the shared jobs into a file of their own"),
            );
            return FxHashMap::default();
        }
        let names = Names { inputs: frame.input_names.to_vec(), ..Names::default() };
        let cx = Compile { names: &names, sources: self.sources };
        let mut given = Vec::new();
        for (key, span, value) in job.with.iter() {
            if let Some(value) = render_tree(value, *span, cx, &frame.inputs, self.diags) {
                given.push(Given { name: Arc::clone(key), value, span: Some(*span) });
            }
        }
        let bound = inputs::bind(workflow, &given, self.diags);
        for (missing, declared) in bound.missing.iter().filter(|(m, _)| job.with.get(m).is_none()) {
            let message = format!("`{name}` uses workflow `{}`, which needs the input `{missing}`", workflow.name.0.0);
            self.diags.push(
                Diagnostic::error("missing-input", at, message)
                    .hint(format!("add `with: {{{missing}: ...}}`"))
                    .related(*declared, "declared here"),
            );
        }
        if !bound.missing.is_empty() {
            return FxHashMap::default();
        }
        let inner = Frame {
            workflow,
            prefix: format!("{}{name}.", frame.prefix),
            file: Arc::clone(&frame.file),
            team: frame.team.clone().or_else(|| workflow.team.as_ref().map(|t| Arc::clone(&t.0))),
            inputs: Arc::new(bound.values),
            input_names: workflow.inputs.iter().map(|(n, _, _)| Arc::clone(n)).collect(),
        };
        stack.push(workflow.span.file);
        let known = self.jobs(&inner, stack);
        stack.pop();
        known
    }

    fn refuse_beside_uses(&mut self, job: &Job) {
        let beside = [
            ("run", job.run.is_some()),
            ("sweep", job.sweep.is_some()),
            ("matrix", job.matrix.is_some()),
            ("image", job.image.is_some()),
            ("resources", job.resources.is_some()),
        ];
        for (key, _) in beside.into_iter().filter(|(_, there)| *there) {
            let message = format!("`{key}` has no effect on a job that uses another workflow");
            self.diags.push(
                Diagnostic::error("key-beside-uses", job.span, message)
                    .hint(format!("remove `{key}`, or make it an input of the used workflow")),
            );
        }
    }

    /// Resolves the needs of one declared job for all instances that it became.
    fn connect(&mut self, start: usize, end: usize, job: &Job, known: &FxHashMap<Arc<str>, Vec<Arc<str>>>, frame: &Frame<'a>) {
        let mut edges: Vec<(Arc<str>, Span)> = Vec::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        for need in &job.needs {
            let Some(addresses) = known.get(&need.0) else {
                // A job whose own declaration was refused is not unknown.
                if frame.workflow.jobs.0.get(&need.0).is_none() {
                    let message = format!("there is no job `{}` in this workflow", crate::base::text::escape(&need.0));
                    let hint = suggest::hint(&need.0, frame.workflow.jobs.0.names());
                    self.diags.push(Diagnostic::error("unknown-need", need.1, message).maybe_hint(hint));
                }
                continue;
            };
            names.extend(need.0.split('.').next().map(Arc::from));
            for address in addresses.iter().filter(|a| !edges.iter().any(|(e, _)| e == *a)).cloned().collect::<Vec<_>>() {
                edges.push((address, need.1));
            }
        }
        let uses = job.uses.is_some();
        for instance in self.out.get_mut(start..end).unwrap_or_default() {
            if uses && !instance.needs.is_empty() {
                continue;
            }
            instance.needs.extend(edges.iter().cloned());
            if !uses {
                instance.need_names.clone_from(&names);
            }
        }
    }
}
