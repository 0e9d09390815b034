//! Late words: templates over the results of needs, filled in once, when a run is admitted.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::template::{Names, Scope, Template};
use crate::base::{Diagnostics, FileId, SourceMap, Span};
use crate::record::{Arg, Goal, RunRecord, RunSpec, RunStatus};

/// Where the records of a need's runs come from.
pub trait Results {
    /// The runs of `workflow/job`, in the order of their keys.
    fn runs(&self, job: &str) -> Vec<&RunRecord>;
}

/// True when a word of the run waits for results of needs.
#[must_use]
pub fn is_late(spec: &RunSpec) -> bool {
    let command = spec.command.argv.iter().chain(spec.command.vars.iter().map(|(_, a)| a));
    command.chain(spec.job.env.values()).any(|a| matches!(a, Arg::Late(_)))
}

/// Program with its arguments, and variables.
pub type Bound = (Vec<Arc<str>>, Vec<(String, Arc<str>)>);

/// Program, arguments and declared variables of a run, byte for byte.
///
/// # Errors
/// What could not be evaluated, in words for people.
pub fn bind(spec: &RunSpec, results: &dyn Results) -> Result<Bound, String> {
    let needs = if is_late(spec) { context(spec, results) } else { Value::Null };
    let inputs = spec.job.late_inputs.clone().unwrap_or_else(|| json!({}));
    let binder = Binder { params: params(spec), needs, inputs };
    let argv = spec.command.argv.iter().map(|a| binder.word(a)).collect::<Result<Vec<_>, _>>()?;
    let mut env = Vec::new();
    for (name, arg) in &spec.job.env {
        env.push((name.clone(), binder.word(arg)?));
    }
    for (name, arg) in &spec.command.vars {
        env.push((name.to_string(), binder.word(arg)?));
    }
    Ok((argv, env))
}

/// The params, with null for those of the space that this trial lacks.
fn params(spec: &RunSpec) -> Vec<(Arc<str>, Value)> {
    let mut all = spec.params.clone();
    let search = spec.job.sweep.as_ref().and_then(|s| s.search.as_ref());
    for parameter in search.iter().flat_map(|s| &s.space.parameters) {
        if !all.iter().any(|(n, _)| *n == parameter.name) {
            all.push((Arc::clone(&parameter.name), Value::Null));
        }
    }
    all
}

struct Binder {
    params: Vec<(Arc<str>, Value)>,
    needs: Value,
    inputs: Value,
}

impl Binder {
    fn word(&self, arg: &Arg) -> Result<Arc<str>, String> {
        let text = match arg {
            Arg::Text(text) => return Ok(Arc::clone(text)),
            Arg::Late(text) => text,
        };
        let keys = |v: &Value| v.as_object().map(|m| m.keys().map(|k| Arc::from(k.as_str())).collect()).unwrap_or_default();
        let names = Names {
            inputs: keys(&self.inputs),
            params: self.params.iter().map(|(n, _)| Arc::clone(n)).collect(),
            needs: Some(keys(&self.needs)),
        };
        let nowhere = Span { file: FileId(u32::MAX), start: 0, end: 0 };
        let mut diags = Diagnostics::default();
        let template = Template::compile(text, nowhere, &names, &SourceMap::default(), &mut diags);
        let Some(template) = template else {
            return Err(diags.as_slice().first().map_or_else(|| "not a template".to_owned(), |d| d.message.clone()));
        };
        template.word(Scope { inputs: &self.inputs, params: &self.params, needs: Some(&self.needs) })
    }
}

/// `needs`: by the name that the job's own document uses; jobs of a used workflow stand under `jobs`.
fn context(spec: &RunSpec, results: &dyn Results) -> Value {
    let own = spec.job.job.as_ref();
    // `workflow/outer.inner` knows its neighbours without `workflow/outer.`.
    let prefix = own.rfind(['/', '.']).map_or("", |i| own.get(..=i).unwrap_or_default());
    let mut needs = Map::new();
    for need in &spec.job.needs {
        let Some(local) = need.strip_prefix(prefix) else { continue };
        let value = job(&results.runs(need));
        if let Value::Object(fields) = value {
            nest(&mut needs, local, fields);
        }
    }
    Value::Object(needs)
}

/// Puts `fields` at `outer.jobs.inner` for the local name `outer.inner`.
fn nest(needs: &mut Map<String, Value>, local: &str, fields: Map<String, Value>) {
    let (first, rest) = local.split_once('.').map_or((local, None), |(f, r)| (f, Some(r)));
    let slot = needs.entry(first.to_owned()).or_insert_with(|| json!({}));
    let Some(slot) = slot.as_object_mut() else { return };
    match rest {
        None => slot.extend(fields),
        Some(rest) => {
            if let Some(jobs) = slot.entry("jobs").or_insert_with(|| json!({})).as_object_mut() {
                nest(jobs, rest, fields);
            }
        }
    }
}

fn job(runs: &[&RunRecord]) -> Value {
    let all: Vec<Value> = runs.iter().map(|r| run(r)).collect();
    let mut value = match &all[..] {
        [only] => only.clone(),
        _ => json!({}),
    };
    if let (Some(fields), Some(best)) = (value.as_object_mut(), best(runs)) {
        fields.insert("best".to_owned(), run(best));
    }
    if let Some(fields) = value.as_object_mut() {
        fields.insert("runs".to_owned(), Value::Array(all));
    }
    value
}

fn run(record: &RunRecord) -> Value {
    let params = super::template::nested(record.spec.params.iter().map(|(k, v)| (k, v)));
    let metrics: Map<String, Value> = record.metrics.iter().map(|(k, m)| (k.to_string(), json!(m.last))).collect();
    let outputs: Vec<&str> = record.spec.job.outputs.iter().map(String::as_str).collect();
    json!({"address": record.spec.address, "key": record.spec.address.key(), "params": params, "metrics": metrics, "outputs": outputs})
}

/// The run with the best last value of the job's metric; the earlier key wins a tie, unknown values never win.
#[must_use]
pub fn best<'r>(runs: &[&'r RunRecord]) -> Option<&'r RunRecord> {
    let metric = runs.first()?.spec.job.metric.as_ref()?;
    let mut best: Option<(f64, &RunRecord)> = None;
    // A trial that was ended early, or failed, has no result: it counts only where nothing has.
    let some = runs.iter().any(|r| r.status == RunStatus::Succeeded);
    for run in runs.iter().filter(|r| !some || r.status == RunStatus::Succeeded) {
        let Some(value) = run.metrics.get(metric.name.as_str()).and_then(|m| m.last).filter(|v| v.is_finite()) else { continue };
        let better = best.is_none_or(|(b, _)| match metric.goal {
            Goal::Minimize => value < b,
            Goal::Maximize => value > b,
        });
        if better {
            best = Some((value, run));
        }
    }
    best.map(|(_, run)| run)
}

/// Variables that every run gets: who it is and its params.
#[must_use]
pub fn own_env(spec: &RunSpec, attempt: u32) -> Vec<(String, Arc<str>)> {
    let params = super::template::nested(spec.params.iter().map(|(k, v)| (k, v)));
    let mut env = vec![
        ("OPPEN_ADDRESS".to_owned(), spec.address.as_str().into()),
        ("OPPEN_ATTEMPT".to_owned(), attempt.to_string().into()),
        ("OPPEN_PARAMS".to_owned(), Value::Object(params).to_string().into()),
    ];
    if let Some(number) = spec.address.key().filter(|_| spec.job.sweep.is_some()) {
        env.push(("OPPEN_TRIAL".to_owned(), number.into()));
    }
    if let Some(number) = spec.parent.as_ref().and_then(|p| p.address.key()) {
        env.push(("OPPEN_PARENT".to_owned(), number.into()));
    }
    for (name, value) in &spec.params {
        let mut word = String::new();
        super::template::push_word(&mut word, value);
        env.push((format!("OPPEN_PARAM_{}", super::command::variable_name(name)), word.into()));
    }
    env
}
