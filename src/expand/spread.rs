//! One job instance to its runs.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::command::Command;
use super::desired::DesiredJob;
use super::fingerprint;
use super::instance::Instance;
use super::names;
use super::settings::{From, Settings};
use super::slot::Compile;
use super::space::{self, Context, Point, Trials};
use super::template::{Names, Scope, Template};
use crate::base::{Address, Diagnostic, Diagnostics, Digest, SourceMap, Span, Value, suggest};
use crate::record::{InputDigest, JobSpec, RunSpec, SweepSpec};
use crate::spec::lower::Named;
use crate::spec::types::{Parameter, Project};

/// Problems of one job after which its further runs are not looked at.
const ENOUGH: usize = 20;

/// Reads the digest and the size of a file or folder. `Ok(None)`: it does not exist.
pub type Digester<'a> = dyn FnMut(&str) -> Result<Option<(Digest, u64)>, String> + 'a;

/// A job with its runs, not yet sealed.
pub struct Spread {
    /// The job, its `runs` range still empty, its needs by address.
    pub job: DesiredJob,
    /// Addresses of needs, with the place of each edge.
    pub needs: Vec<(Arc<str>, Span)>,
    /// Its runs; fingerprints are their own, without what is upstream.
    pub runs: Vec<RunSpec>,
}

/// What all jobs are spread in.
pub struct Spreader<'a, 'd> {
    pub project: Option<&'a Project>,
    pub priorities: Vec<(Arc<str>, i32)>,
    pub sources: &'a SourceMap,
    pub digester: &'d mut Digester<'d>,
    /// Paths that some job leaves behind: their digests are those of the jobs.
    pub produced: FxHashSet<String>,
    /// What was counted and not made.
    pub refused: Vec<Refused>,
    pub diags: &'d mut Diagnostics,
}

/// Runs that were counted and are too many to be made.
pub struct Refused {
    /// Where the problem stands.
    pub span: Span,
    /// How many.
    pub runs: u64,
    /// What one of them asks for, where that is the same for all.
    pub job: Option<JobSpec>,
}

impl Spreader<'_, '_> {
    /// Makes the runs of a job.
    pub fn spread(&mut self, instance: &Instance<'_>) -> Option<Spread> {
        let decl = &*instance.decl;
        let mut names = Names { inputs: instance.input_names.to_vec(), ..Names::default() };
        let before = self.diags.as_slice().len();
        let Some(Trials { points, search, sample }) = self.points(instance, &names) else {
            self.refuse(instance, &names, before);
            return None;
        };
        let open = search.as_ref().is_some_and(|s| !s.method.is_fixed());
        names.params = match &search {
            Some(search) if open => search.space.parameters.iter().map(|p| Arc::clone(&p.name)).collect(),
            _ => param_names(&points),
        };
        self.check_params(&names.params, instance);
        let late_names = Names { needs: Some(instance.need_names.clone()), ..names.clone() };
        let (cx, late) = (Compile { names: &names, sources: self.sources }, Compile { names: &late_names, sources: self.sources });
        let from = From { job: decl, defaults: instance.defaults, workflow: instance.workflow, project: self.project };
        let settings = Settings::compile(&from, cx, late, self.diags);
        let command = Command::compile(decl.run.as_ref()?, late, self.diags)?;
        let mut spread = Spread { job: described(instance), needs: instance.needs.clone(), runs: Vec::with_capacity(points.len()) };
        let many = decl.matrix.is_some() || decl.sweep.is_some();
        if open {
            self.refuse_late(&settings);
        }
        let base = JobSpec {
            job: Arc::clone(&instance.address),
            file: Some(Arc::clone(&instance.file)),
            team: instance.team.as_ref().map(ToString::to_string),
            needs: instance.needs.iter().map(|(a, _)| Arc::clone(a)).collect(),
            late_inputs: late_inputs(&instance.inputs, settings.late(open).chain(command.late(open))),
            many,
            sweep: decl.sweep.as_ref().map(|s| Arc::new(SweepSpec { search: search.clone().map(Arc::new), ..limits(s) })),
            parallel: spread.job.parallel,
            ..JobSpec::default()
        };
        let mut shared: Option<(Arc<JobSpec>, Digest)> = None;
        let before = self.diags.as_slice().len();
        for (key, values) in points {
            if self.diags.as_slice().len() > before + ENOUGH {
                break;
            }
            // What an open trial is to try is not known yet: a sample shows what cannot be right.
            let params = ordered(&names.params, if open { sample.clone() } else { values });
            let scope = Scope { inputs: &instance.inputs, params: &params, needs: None };
            if shared.is_none() || settings.is_per_run() {
                let mut job = settings.render(base.clone(), scope, &self.priorities, open, self.diags);
                job.inputs = self.digests(&settings, scope);
                let bytes = job.inputs.iter().map(|i| i.bytes).fold(0, u64::saturating_add);
                if bytes > 0 {
                    job.work.values.insert(crate::record::work::DATA_BYTES.into(), bytes as f64);
                }
                let digest = fingerprint::of_settings(&job);
                shared = Some((Arc::new(job), digest));
            }
            let Some((job, digest)) = &shared else { break };
            let command = match command.render(scope, false).and_then(|known| if open { command.render(scope, true) } else { Ok(known) }) {
                Ok(command) => command,
                Err((span, words)) => {
                    self.diags.push(Diagnostic::error("template", span, words));
                    continue;
                }
            };
            let params: Vec<_> = params.into_iter().filter(|(_, v)| !open && (!v.is_null() || decl.matrix.is_some())).collect();
            let (workflow, name) = instance.address.split_once('/').unwrap_or((&instance.address, ""));
            let address = Address::new(workflow, name, key.as_deref());
            let fingerprint = fingerprint::of_run(digest, &params, &command);
            spread.runs.push(RunSpec { address, fingerprint, job: Arc::clone(job), params, command, parent: None });
        }
        Some(spread)
    }

    /// Settings that depend on params cannot be known before an open trial starts.
    fn refuse_late(&mut self, settings: &Settings) {
        for span in settings.on_params() {
            self.diags.push(
                Diagnostic::error("open-params", span, "the params of this sweep are found while it runs, and this must be known before")
                    .hint("use params in `run` and `env` alone; the trial's own name is in $OPPEN_ADDRESS"),
            );
        }
    }

    fn points(&mut self, instance: &Instance<'_>, names: &Names) -> Option<Trials> {
        let own = |s: &crate::spec::types::Sweep| s.warm_start.iter().find(|w| *w.0 == *instance.address).map(|w| w.1);
        if let Some(span) = instance.decl.sweep.as_ref().and_then(own) {
            self.diags.push(
                Diagnostic::error("bad-value", span, "a sweep knows its own trials without a `warm_start`").hint("name other sweeps"),
            );
        }
        let cx = Context { inputs: &instance.inputs, names, sources: self.sources };
        let before = self.diags.as_slice().len();
        let points = match (&instance.decl.matrix, &instance.decl.sweep) {
            (Some(matrix), Some(sweep)) => {
                self.diags.push(
                    Diagnostic::error("matrix-and-sweep", sweep.span, "a job has either a `matrix` or a `sweep`")
                        .hint("make the matrix axis a parameter with `values`")
                        .related(matrix.span, "the matrix is here"),
                );
                Trials::default()
            }
            (Some(matrix), None) => space::matrix(matrix, &cx, self.diags).into(),
            (None, Some(sweep)) => space::sweep(sweep, sweep.span, &cx, self.diags),
            (None, None) => vec![(None, Vec::new())].into(),
        };
        if self.diags.as_slice().len() > before && self.diags.has_errors() { None } else { Some(points) }
    }

    /// Notes what refused runs ask for, as far as that does not depend on their params.
    fn refuse(&mut self, instance: &Instance<'_>, names: &Names, before: usize) {
        let found = self.diags.as_slice().get(before..).unwrap_or_default().iter().filter_map(|d| d.span.map(|s| (d.runs, s)));
        let Some((runs, span)) = found.filter(|(runs, _)| *runs > 0).max_by_key(|(runs, _)| *runs) else { return };
        let decl = &*instance.decl;
        let axes = decl.matrix.iter().flat_map(|m| m.axes.iter().map(|(name, ..)| Arc::clone(name)));
        let parameters = decl.sweep.iter().flat_map(|s| s.parameters.0.iter().map(|(name, ..)| Arc::clone(name)));
        let names = Names { params: axes.chain(parameters).collect(), ..names.clone() };
        let late_names = Names { needs: Some(instance.need_names.clone()), ..names.clone() };
        let (cx, late) = (Compile { names: &names, sources: self.sources }, Compile { names: &late_names, sources: self.sources });
        let from = From { job: decl, defaults: instance.defaults, workflow: instance.workflow, project: self.project };
        let params = ordered(&names.params, Vec::new());
        let scope = Scope { inputs: &instance.inputs, params: &params, needs: None };
        let mut problems = Diagnostics::default();
        let job =
            Settings::compile(&from, cx, late, &mut problems).render(JobSpec::default(), scope, &self.priorities, false, &mut problems);
        self.refused.push(Refused { span, runs, job: (!problems.has_errors()).then_some(job) });
    }

    fn check_params(&mut self, params: &[Arc<str>], instance: &Instance<'_>) {
        let mut variables: Vec<(String, Span)> = Vec::new();
        for name in params {
            let span = written(&instance.decl, name).unwrap_or(instance.span);
            name.split('.').all(|part| names::check("a param", part, span, self.diags));
            let variable = super::command::variable_name(name);
            if let Some((_, other)) = variables.iter().find(|(v, _)| *v == variable) {
                let message = format!("param `{name}` has the same variable as another: `OPPEN_PARAM_{variable}`");
                let found = Diagnostic::error("name-collision", span, message).hint("give it another name");
                self.diags.push(if *other == span { found } else { found.related(*other, "the other") });
            }
            variables.push((variable, span));
        }
    }

    /// Digests of the declared inputs. What another job leaves behind counts through that job's fingerprint.
    fn digests(&mut self, settings: &Settings, scope: Scope<'_>) -> Vec<InputDigest> {
        let mut found = Vec::new();
        for slot in &settings.inputs {
            let Some(path) = settings.path(slot, scope, self.diags) else { continue };
            if self.is_produced(&path) {
                continue;
            }
            match (self.digester)(&path) {
                Ok(Some((digest, bytes))) => found.push(InputDigest { path, digest, bytes }),
                Ok(None) => {
                    let hint = suggest::nearest(&path, self.produced.iter().map(String::as_str))
                        .map(|n| format!("did you mean the output `{n}`?"));
                    let message = format!("no such file or folder: `{}`", crate::base::text::escape(&path));
                    self.diags.push(
                        Diagnostic::error("missing-file", slot.span(), message)
                            .maybe_hint(hint.or_else(|| Some("paths are relative to the project's root".to_owned()))),
                    );
                }
                Err(words) => self.diags.push(
                    Diagnostic::error("bad-path", slot.span(), words)
                        .hint("inputs are readable files and folders inside the project's root"),
                ),
            }
        }
        found
    }

    fn is_produced(&self, path: &str) -> bool {
        let mut prefix = path;
        loop {
            if self.produced.contains(prefix) {
                return true;
            }
            match prefix.rsplit_once('/') {
                Some((parent, _)) => prefix = parent,
                None => return false,
            }
        }
    }
}

fn described(instance: &Instance<'_>) -> DesiredJob {
    let sweep = instance.decl.sweep.as_ref();
    DesiredJob {
        address: Arc::clone(&instance.address),
        span: instance.span,
        needs: Vec::new(),
        runs: 0..0,
        method: sweep.map(|s| Arc::clone(&s.method.0.0)).or_else(|| instance.decl.matrix.as_ref().map(|_| "matrix".into())),
        max_cost: sweep.and_then(|s| s.max_cost.as_ref()).and_then(|m| Some((*m.known()?, m.span()))),
        parallel: sweep.and_then(|s| s.parallel.as_ref()?.known()).map(|p| (*p).max(1)),
    }
}

/// Where a param is written: an axis of the matrix, a parameter of the sweep or of one of its groups.
fn written(decl: &crate::spec::types::Job, name: &str) -> Option<Span> {
    fn inside(members: &Named<Parameter>, name: &str) -> Option<Span> {
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let (_, span, parameter) = members.iter().find(|(n, ..)| &**n == first)?;
        rest.map_or(Some(*span), |rest| inside(&parameter.parameters, rest))
    }
    let axis = decl.matrix.as_ref().and_then(|m| m.axes.iter().find(|(n, ..)| &**n == name)).map(|(_, span, _)| *span);
    axis.or_else(|| inside(&decl.sweep.as_ref()?.parameters.0, name))
}

/// What ends a sweep.
fn limits(sweep: &crate::spec::types::Sweep) -> SweepSpec {
    SweepSpec {
        max_failed: sweep.max_failed.as_ref().and_then(|p| p.known().copied()),
        max_time: sweep.max_time.as_ref().and_then(|p| p.known().copied()),
        max_cost: sweep.max_cost.as_ref().and_then(|p| p.known().copied()),
        warm_start: sweep.warm_start.iter().map(|w| Arc::clone(&w.0)).collect(),
        ..SweepSpec::default()
    }
}

/// The inputs that words use which are filled in late. Others are no part of the run.
fn late_inputs<'t>(inputs: &Value, late: impl Iterator<Item = &'t Template>) -> Option<Value> {
    let used: FxHashSet<&str> = late.flat_map(Template::inputs).map(|n| &**n).collect();
    let of = |map: &serde_json::Map<String, Value>| -> serde_json::Map<String, Value> {
        map.iter().filter(|(k, _)| used.contains("") || used.contains(k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    inputs.as_object().map(of).filter(|m| !m.is_empty()).map(Value::Object)
}

/// Names of all params of all points, in the order of first appearance.
fn param_names(points: &[Point]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for (_, row) in points {
        // Rows of one product are alike: only those that differ are searched.
        if row.len() == names.len() && row.iter().zip(&names).all(|((n, _), m)| n == m) {
            continue;
        }
        for (name, _) in row {
            if !names.contains(name) {
                names.push(Arc::clone(name));
            }
        }
    }
    names
}

/// The values in the order of the names; what a point lacks is null.
fn ordered(names: &[Arc<str>], mut values: Vec<(Arc<str>, serde_json::Value)>) -> Vec<(Arc<str>, serde_json::Value)> {
    if values.len() == names.len() && values.iter().zip(names).all(|((n, _), m)| n == m) {
        return values;
    }
    names
        .iter()
        .map(|name| match values.iter().position(|(n, _)| n == name) {
            Some(i) => values.swap_remove(i),
            None => (Arc::clone(name), serde_json::Value::Null),
        })
        .collect()
}
