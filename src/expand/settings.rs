//! Settings of a job: own and default, compiled once, filled in for each run that differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{text_template, word};
use super::names::check_variable;
use super::paths;
use super::slot::{Compile, Slot, merged, pick};
use super::template::{Scope, Template};
use crate::base::{Capacity, Diagnostic, Diagnostics, Gpu, Millis, Resources, Span, Timestamp, suggest};
use crate::record::{Estimate, Goal, JobSpec, MetricGoal, MetricPoint, Priority, Retry, StartSpec, Work};
use crate::spec::scalar::{Cpu, GpuAsk, Memory, Plain};
use crate::spec::types::{Defaults, EstimateDecl, Job, MetricDecl, Project, ResourcesDecl, RetryDecl, StartDecl, Workflow};

/// Cores of a run that names none, in thousandths: the cluster's LimitRange has the same.
const DEFAULT_CPU: u64 = 500;
/// Memory of a run that names none, in bytes.
const DEFAULT_MEMORY: u64 = 256 << 20;

/// All settings of one job, compiled.
pub struct Settings {
    image: Option<Slot<Arc<str>>>,
    env: Vec<(Arc<str>, Template)>,
    secrets: BTreeMap<String, String>,
    workdir: Option<Slot<Arc<str>>>,
    gpu: Option<Slot<GpuAsk>>,
    cpu: Option<Slot<Cpu>>,
    memory: Option<Slot<Memory>>,
    disk: Option<Slot<Memory>>,
    capacity: Capacity,
    priority: Option<Slot<Arc<str>>>,
    pub inputs: Vec<Slot<Arc<str>>>,
    outputs: Vec<Slot<Arc<str>>>,
    timeout: Option<Slot<Millis>>,
    grace: Option<Slot<Millis>>,
    retry: [Option<Slot<u32>>; 5],
    backoff: [Option<Slot<Millis>>; 2],
    estimate: EstimateSlots,
    labels: Vec<(Arc<str>, Slot<Arc<str>>)>,
    metric: Option<MetricGoal>,
    start: Option<StartSpec>,
}

struct EstimateSlots {
    time: Option<Slot<Millis>>,
    epochs: Option<Slot<u32>>,
    per_epoch: Option<Slot<Millis>>,
    basis: Arc<str>,
    model: Option<Arc<str>>,
    /// Names of inputs and params that the time grows with.
    scales_with: Vec<Arc<str>>,
}

/// Where settings come from.
pub struct From<'a> {
    pub job: &'a Job,
    pub defaults: Option<&'a Defaults>,
    pub workflow: &'a Workflow,
    pub project: Option<&'a Project>,
}

impl Settings {
    /// Checks everything that can be checked before a run is known. `late` is the same with results of needs allowed.
    pub fn compile(from: &From<'_>, cx: Compile<'_>, late: Compile<'_>, diags: &mut Diagnostics) -> Self {
        let (job, d) = (from.job, from.defaults);
        let resources = |f: fn(&ResourcesDecl) -> bool| job.resources.as_ref().filter(|r| f(r)).or(d.and_then(|d| d.resources.as_ref()));
        let gpu = resources(|r| r.gpu.is_some() || r.limits.as_ref().is_some_and(|l| l.gpu.is_some()));
        let cpu = resources(|r| r.cpu.is_some() || r.limits.as_ref().is_some_and(|l| l.cpu.is_some()));
        let memory = resources(|r| r.memory.is_some() || r.limits.as_ref().is_some_and(|l| l.memory.is_some()));
        let disk = resources(|r| r.disk.is_some()).and_then(|r| r.disk.as_ref());
        let capacity = resources(|r| r.capacity.is_some()).and_then(|r| r.capacity.as_ref());
        for decl in [job.resources.as_ref(), d.and_then(|d| d.resources.as_ref())].into_iter().flatten() {
            refuse_twice(decl, diags);
        }
        let env: Vec<(Arc<str>, Template)> = merged(d.map(|d| &d.env), &job.env)
            .into_iter()
            .filter_map(|(name, span, text)| {
                check_variable(name, span, diags);
                text_template(text, late, diags).map(|t| (Arc::clone(name), t))
            })
            .collect();
        let texts =
            |list: &[crate::spec::types::Text], diags: &mut Diagnostics| list.iter().filter_map(|t| Slot::compile(t, cx, diags)).collect();
        let retry = |f: fn(&RetryDecl) -> Option<&crate::spec::scalar::Templ<u32>>| {
            job.retry.as_ref().and_then(f).or(d.and_then(|d| d.retry.as_ref()).and_then(f))
        };
        let wait = |f: fn(&RetryDecl) -> Option<&crate::spec::scalar::Templ<Millis>>| {
            job.retry.as_ref().and_then(f).or(d.and_then(|d| d.retry.as_ref()).and_then(f))
        };
        Self {
            image: pick(job.image.as_ref(), d.and_then(|d| d.image.as_ref()), cx, diags),
            secrets: secrets(from, &env, diags),
            env,
            workdir: pick(job.workdir.as_ref(), d.and_then(|d| d.workdir.as_ref()), cx, diags),
            gpu: gpu
                .and_then(|r| r.gpu.as_ref().or(r.limits.as_ref().and_then(|l| l.gpu.as_ref())))
                .and_then(|t| Slot::compile(t, cx, diags)),
            cpu: cpu
                .and_then(|r| r.cpu.as_ref().or(r.limits.as_ref().and_then(|l| l.cpu.as_ref())))
                .and_then(|t| Slot::compile(t, cx, diags)),
            memory: memory
                .and_then(|r| r.memory.as_ref().or(r.limits.as_ref().and_then(|l| l.memory.as_ref())))
                .and_then(|t| Slot::compile(t, cx, diags)),
            disk: disk.and_then(|t| Slot::compile(t, cx, diags)),
            capacity: capacity.map(|c| c.0).unwrap_or_default(),
            priority: pick(job.priority.as_ref(), d.and_then(|d| d.priority.as_ref()), cx, diags),
            inputs: texts(&job.inputs, diags),
            outputs: texts(&job.outputs, diags),
            timeout: pick(job.timeout.as_ref(), d.and_then(|d| d.timeout.as_ref()), cx, diags),
            grace: pick(job.grace.as_ref(), d.and_then(|d| d.grace.as_ref()), cx, diags),
            retry: [
                retry(|r| r.errors.as_ref()),
                retry(|r| r.interruptions.as_ref()),
                retry(|r| r.out_of_memory.as_ref()),
                retry(|r| r.bad_gpu.as_ref()),
                retry(|r| r.timeouts.as_ref()),
            ]
            .map(|t| t.and_then(|t| Slot::compile(t, cx, diags))),
            backoff: [wait(|r| r.backoff.as_ref()), wait(|r| r.backoff_max.as_ref())].map(|t| t.and_then(|t| Slot::compile(t, cx, diags))),
            estimate: EstimateSlots::compile(from, cx, diags),
            labels: labels(from, cx, diags),
            start: start(job.start.as_ref().or(d.and_then(|d| d.start.as_ref())), diags),
            metric: metric(job.metric.as_ref().or(job.sweep.as_ref().and_then(|s| s.metric.as_ref())), from.project, diags),
        }
    }

    /// True when runs of the job differ in more than their command.
    pub fn is_per_run(&self) -> bool {
        let texts = [&self.image, &self.workdir, &self.priority]
            .into_iter()
            .flatten()
            .chain(&self.inputs)
            .chain(&self.outputs)
            .chain(self.labels.iter().map(|(_, s)| s));
        let times = [&self.timeout, &self.grace, &self.estimate.time, &self.estimate.per_epoch].into_iter().chain(&self.backoff).flatten();
        let counts = self.retry.iter().chain([&self.estimate.epochs]).flatten();
        let sizes = [&self.memory, &self.disk].map(|s| s.as_ref().map(Slot::is_per_run));
        let resources = [self.gpu.as_ref().map(Slot::is_per_run), self.cpu.as_ref().map(Slot::is_per_run)].into_iter().chain(sizes);
        self.env.iter().any(|(_, t)| t.is_per_run() && !t.is_late())
            || texts.map(Slot::is_per_run).chain(times.map(Slot::is_per_run)).chain(counts.map(Slot::is_per_run)).any(|p| p)
            || resources.flatten().any(|p| p)
    }

    /// Where settings other than variables depend on params.
    pub fn on_params(&self) -> Vec<Span> {
        fn at<'s, T: crate::spec::scalar::Scalar + Clone + 's>(slots: impl IntoIterator<Item = &'s Slot<T>>) -> Vec<Span> {
            slots.into_iter().filter(|s| s.is_per_run()).map(Slot::span).collect()
        }
        let mut all = at([&self.image, &self.workdir, &self.priority].into_iter().flatten());
        all.extend(at(self.inputs.iter().chain(&self.outputs).chain(self.labels.iter().map(|(_, s)| s))));
        all.extend(at([&self.timeout, &self.grace, &self.estimate.time, &self.estimate.per_epoch]
            .into_iter()
            .chain(&self.backoff)
            .flatten()));
        all.extend(at(self.retry.iter().chain([&self.estimate.epochs]).flatten()));
        all.extend(at(&self.gpu));
        all.extend(at(&self.cpu));
        all.extend(at([&self.memory, &self.disk].into_iter().flatten()));
        all
    }

    /// Variables that wait for results of needs, or for params where these are `open`.
    pub fn late(&self, open: bool) -> impl Iterator<Item = &Template> {
        self.env.iter().map(|(_, t)| t).filter(move |t| t.is_late() || (open && t.is_per_run()))
    }

    /// The settings of one run. `base` holds what does not come from templates.
    pub fn render(&self, base: JobSpec, scope: Scope<'_>, priorities: &[(Arc<str>, i32)], open: bool, diags: &mut Diagnostics) -> JobSpec {
        let get_u32 = |i: usize, default: u32, diags: &mut Diagnostics| {
            self.retry.get(i).and_then(|s| s.as_ref()).and_then(|s| s.get(scope, diags)).unwrap_or(default)
        };
        let d = Retry::default();
        let retry = Retry {
            errors: get_u32(0, d.errors, diags),
            interruptions: get_u32(1, d.interruptions, diags),
            out_of_memory: get_u32(2, d.out_of_memory, diags),
            bad_gpu: get_u32(3, d.bad_gpu, diags),
            timeouts: get_u32(4, d.timeouts, diags),
            backoff: self.backoff[0].as_ref().and_then(|s| s.get(scope, diags)).unwrap_or(d.backoff),
            backoff_max: self.backoff[1].as_ref().and_then(|s| s.get(scope, diags)).unwrap_or(d.backoff_max),
        };
        let text =
            |slot: &Option<Slot<Arc<str>>>, diags: &mut Diagnostics| slot.as_ref().and_then(|s| s.get(scope, diags)).map(|t| t.to_string());
        let timeout = self.timeout.as_ref().and_then(|s| s.get(scope, diags));
        if let (Some(Millis(0)), Some(slot)) = (timeout, &self.timeout) {
            diags.push(
                Diagnostic::error("bad-value", slot.span(), "a timeout of 0 ends every run at once")
                    .hint("leave `timeout` out for no limit"),
            );
        }
        JobSpec {
            image: text(&self.image, diags),
            env: self.render_env(scope, open, diags),
            secret_env: self.secrets.clone(),
            workdir: self.workdir.as_ref().and_then(|s| self.path(s, scope, diags)).filter(|p| p != "."),
            resources: self.resources(scope, diags),
            priority: self.render_priority(scope, priorities, diags),
            timeout,
            grace: self.grace.as_ref().and_then(|s| s.get(scope, diags)).unwrap_or(Millis::from_secs(30)),
            retry,
            outputs: self.outputs.iter().filter_map(|s| self.path(s, scope, diags)).collect(),
            metric: self.metric.clone(),
            start: self.start.clone(),
            labels: self.labels.iter().filter_map(|(n, s)| s.get(scope, diags).map(|t| (n.to_string(), t.to_string()))).collect(),
            estimate: self.estimate.render(scope, diags),
            model: self.estimate.model.clone(),
            work: self.work(scope, diags),
            ..base
        }
    }

    /// What the time may grow with: inputs by name, and the epochs of the estimate.
    fn work(&self, scope: Scope<'_>, diags: &mut Diagnostics) -> Work {
        let mut work = Work { names: self.estimate.scales_with.clone(), ..Work::default() };
        for (name, value) in scope.inputs.as_object().into_iter().flatten() {
            work.note(name, value);
        }
        if let Some(epochs) = self.estimate.epochs.as_ref().and_then(|s| s.get(scope, diags)) {
            work.note("epochs", &epochs.into());
        }
        work
    }

    /// A path inside the project's root.
    pub fn path(&self, slot: &Slot<Arc<str>>, scope: Scope<'_>, diags: &mut Diagnostics) -> Option<String> {
        let text = slot.get(scope, diags)?;
        paths::confined(&text)
            .map_err(|words| {
                diags.push(
                    Diagnostic::error("bad-path", slot.span(), words)
                        .hint("write a path inside the project's root, such as `data/train.csv`"),
                )
            })
            .ok()
    }

    fn render_env(&self, scope: Scope<'_>, open: bool, diags: &mut Diagnostics) -> BTreeMap<String, crate::record::Arg> {
        let mut env = BTreeMap::new();
        for (name, template) in &self.env {
            match word(template, scope, open) {
                Ok(arg) => {
                    env.insert(name.to_string(), arg);
                }
                Err((span, words)) => diags.push(Diagnostic::error("template", span, words)),
            }
        }
        env
    }

    fn resources(&self, scope: Scope<'_>, diags: &mut Diagnostics) -> Resources {
        let gpu = self.gpu.as_ref().and_then(|s| s.get(scope, diags)).map_or_else(Gpu::default, |g| g.0);
        Resources {
            gpu: if gpu.count == 0 { Gpu::default() } else { gpu },
            cpu_millis: self.cpu.as_ref().and_then(|s| s.get(scope, diags)).map_or(DEFAULT_CPU, |c| c.0),
            memory_bytes: self.memory.as_ref().and_then(|s| s.get(scope, diags)).map_or(DEFAULT_MEMORY, |m| m.0),
            disk_bytes: self.disk.as_ref().and_then(|s| s.get(scope, diags)).map_or(0, |m| m.0),
            capacity: self.capacity,
        }
    }

    fn render_priority(&self, scope: Scope<'_>, priorities: &[(Arc<str>, i32)], diags: &mut Diagnostics) -> Priority {
        let Some(slot) = &self.priority else { return Priority::default() };
        let Some(class) = slot.get(scope, diags) else { return Priority::default() };
        match priorities.iter().find(|(name, _)| *name == class) {
            Some((class, weight)) => Priority { weight: *weight, class: Arc::clone(class) },
            None => {
                let message = format!("unknown priority class `{}`", crate::base::text::escape(&class));
                let hint = suggest::hint(&class, priorities.iter().map(|(n, _)| n.as_ref()));
                diags.push(Diagnostic::error("unknown-priority", slot.span(), message).maybe_hint(hint));
                Priority::default()
            }
        }
    }
}

/// The built-in priority classes and those of the project, with their weights.
pub fn priorities(project: Option<&Project>) -> Vec<(Arc<str>, i32)> {
    let mut all: Vec<(Arc<str>, i32)> = vec![("urgent".into(), 1000), ("normal".into(), 100), ("background".into(), 10)];
    for (name, _, Plain(weight, _)) in project.into_iter().flat_map(|p| p.priorities.iter()) {
        let weight = i32::try_from(*weight).unwrap_or(i32::MAX);
        match all.iter_mut().find(|(n, _)| n == name) {
            Some(slot) => slot.1 = weight,
            None => all.push((Arc::clone(name), weight)),
        }
    }
    all
}

impl EstimateSlots {
    fn compile(from: &From<'_>, cx: Compile<'_>, diags: &mut Diagnostics) -> Self {
        let own = from.job.estimate.as_ref().or(from.defaults.and_then(|d| d.estimate.as_ref()));
        let model = from.job.model.as_ref().or(from.defaults.and_then(|d| d.model.as_ref()));
        let declared = model.and_then(|m| {
            let found = from.project.and_then(|p| p.models.get(&m.0));
            if found.is_none() {
                let names: Vec<&str> = from.project.map(|p| p.models.names().collect()).unwrap_or_default();
                let hint = suggest::hint(&m.0, names)
                    .or_else(|| Some(format!("declare it in oppen.yaml: `models: {{{}: {{estimate: {{time: 30m}}}}}}`", m.0)));
                diags.push(
                    Diagnostic::error("unknown-model", m.1, format!("unknown model type `{}`", crate::base::text::escape(&m.0)))
                        .maybe_hint(hint),
                );
            }
            found.and_then(|f| f.estimate.as_ref())
        });
        fn part<'a, T>(
            own: Option<&'a EstimateDecl>,
            model: Option<&'a EstimateDecl>,
            f: fn(&'a EstimateDecl) -> Option<&'a T>,
        ) -> Option<&'a T> {
            own.and_then(f).or(model.and_then(f))
        }
        let whole = own.and_then(|e| e.time.as_ref()).or_else(|| {
            if own.is_some_and(|e| e.epochs.is_some() || e.per_epoch.is_some()) { None } else { declared.and_then(|e| e.time.as_ref()) }
        });
        let slots = Self {
            time: whole.and_then(|t| Slot::compile(t, cx, diags)),
            epochs: part(own, declared, |e| e.epochs.as_ref()).and_then(|t| Slot::compile(t, cx, diags)),
            per_epoch: part(own, declared, |e| e.per_epoch.as_ref()).and_then(|t| Slot::compile(t, cx, diags)),
            basis: match (own, model) {
                (Some(_), _) => "declared".into(),
                (None, Some(m)) => format!("default of {}", m.0).into(),
                (None, None) => "no estimate".into(),
            },
            model: model.map(|m| Arc::clone(&m.0)),
            scales_with: scales_with([own, declared], cx, diags),
        };
        let only_scales = |e: &EstimateDecl| !e.scales_with.is_empty() && e.epochs.is_none() && e.per_epoch.is_none();
        let known = |e: &EstimateDecl| slots.time.is_some() || (slots.epochs.is_some() && slots.per_epoch.is_some()) || only_scales(e);
        if let Some(e) = own.filter(|e| !known(e)) {
            diags.push(
                Diagnostic::error("missing-key", e.span, "an estimate needs `time`, or `epochs` and `per_epoch`")
                    .hint("write `estimate: {time: 30m}`"),
            );
        }
        slots
    }

    fn render(&self, scope: Scope<'_>, diags: &mut Diagnostics) -> Estimate {
        let time = match (&self.time, &self.epochs, &self.per_epoch) {
            (Some(time), _, _) => time.get(scope, diags),
            (None, Some(epochs), Some(each)) => {
                epochs.get(scope, diags).zip(each.get(scope, diags)).map(|(n, each)| each.times(u64::from(n)))
            }
            _ => None,
        };
        let epochs = self.epochs.as_ref().filter(|_| self.time.is_none() && time.is_some()).and_then(|n| n.get(scope, diags));
        Estimate { time, epochs, basis: Arc::clone(&self.basis), ..Estimate::default() }
    }
}

/// The names without `params.` and `inputs.`; those that nobody declares are noted.
fn scales_with(decls: [Option<&EstimateDecl>; 2], cx: Compile<'_>, diags: &mut Diagnostics) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for word in decls.into_iter().flatten().flat_map(|e| &e.scales_with) {
        let name = word.0.strip_prefix("params.").or(word.0.strip_prefix("inputs.")).unwrap_or(&word.0);
        let mut known = cx.names.inputs.iter().chain(&cx.names.params).map(AsRef::as_ref).collect::<Vec<&str>>();
        known.sort_unstable();
        if known.contains(&name) {
            names.push(name.into());
        } else {
            let message = format!("there is no input or param `{}` that the time could grow with", crate::base::text::escape(name));
            diags.push(Diagnostic::error("unknown-name", word.1, message).maybe_hint(suggest::hint(name, known)));
        }
    }
    names
}

fn refuse_twice(decl: &ResourcesDecl, diags: &mut Diagnostics) {
    let Some(limits) = &decl.limits else { return };
    let twice = [
        ("gpu", decl.gpu.is_some() && limits.gpu.is_some()),
        ("cpu", decl.cpu.is_some() && limits.cpu.is_some()),
        ("memory", decl.memory.is_some() && limits.memory.is_some()),
    ];
    for (key, _) in twice.into_iter().filter(|(_, both)| *both) {
        diags.push(
            Diagnostic::error("said-twice", limits.span, format!("`{key}` is given both directly and under `limits`"))
                .hint("keep one of them"),
        );
    }
}

/// The hours that runs wait for. Whether the rate card has such hours is told where cards are known.
fn start(decl: Option<&StartDecl>, diags: &mut Diagnostics) -> Option<StartSpec> {
    let decl = decl?;
    let by = decl.by.as_ref().and_then(|word| {
        let found = Timestamp::parse(&word.0);
        if found.is_none() {
            let message = format!("`{}` is not a time", crate::base::text::escape(&word.0));
            diags.push(Diagnostic::error("bad-value", word.1, message).hint("write a time with its zone, such as `2026-12-01T08:00Z`"));
        }
        found
    });
    match &decl.window {
        Some(word) if &*word.0 == "any" => None,
        Some(word) => Some(StartSpec { window: Arc::clone(&word.0), by }),
        None => {
            diags.push(Diagnostic::error("missing-key", decl.span, "`start` needs `window`").hint("write `start: {window: off-peak}`"));
            None
        }
    }
}

fn secrets(from: &From<'_>, env: &[(Arc<str>, Template)], diags: &mut Diagnostics) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, span, reference) in from.defaults.into_iter().flat_map(|d| d.secrets.iter()).chain(from.job.secrets.iter()) {
        check_variable(name, *span, diags);
        if env.iter().any(|(n, _)| n == name) {
            diags.push(
                Diagnostic::error("said-twice", *span, format!("`{name}` is set under `env` and under `secrets`")).hint("keep one of them"),
            );
        }
        let shape = reference.0.split('/').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
        if !shape || reference.0.split('/').count() > 2 {
            diags.push(
                Diagnostic::error("bad-secret", reference.1, "a secret is referred to by name, never written out")
                    .hint("write `NAME: secret/key` (Kubernetes) or `NAME: VARIABLE` (local)"),
            );
        }
        all.insert(name.to_string(), reference.0.to_string());
    }
    all
}

fn labels(from: &From<'_>, cx: Compile<'_>, diags: &mut Diagnostics) -> Vec<(Arc<str>, Slot<Arc<str>>)> {
    let mut all: Vec<(Arc<str>, Slot<Arc<str>>)> = Vec::new();
    let defaults = from.defaults.map(|d| &d.labels);
    for (name, _, text) in merged(Some(&from.workflow.labels), &Default::default()).into_iter().chain(merged(defaults, &from.job.labels)) {
        if let Some(slot) = Slot::compile(text, cx, diags) {
            all.retain(|(n, _)| n != name);
            all.push((Arc::clone(name), slot));
        }
    }
    all
}

fn metric(decl: Option<&MetricDecl>, project: Option<&Project>, diags: &mut Diagnostics) -> Option<MetricGoal> {
    let decl = decl?;
    let name = decl.name.0.known()?;
    // A tracking server knows other names, too.
    let tracked = project.is_some_and(|p| p.tracking.is_some());
    if !MetricPoint::is_name(name) && (!tracked || name.trim().is_empty()) {
        let message = format!("no run can report a metric `{}`", crate::base::text::escape(name));
        let hint = "a name begins with a letter or `_`, and has letters, digits, `_`, `.`, `/` and `-`";
        diags.push(Diagnostic::error("bad-name", decl.name.0.span(), message).hint(hint));
    }
    let (goal, span): (&str, Span) = (decl.goal.0.known()?, decl.goal.0.span());
    let goal = match goal {
        "minimize" => Goal::Minimize,
        "maximize" => Goal::Maximize,
        other => {
            let hint = suggest::hint(other, ["minimize", "maximize"]);
            diags.push(
                Diagnostic::error("unknown-goal", span, format!("unknown goal `{}`", crate::base::text::escape(other))).maybe_hint(hint),
            );
            return None;
        }
    };
    Some(MetricGoal { name: name.to_string(), goal })
}
