//! Why a run is not what it was: the differences between two specs, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::Reason;
use crate::base::Value;
use crate::base::resources::{show_cpu, show_memory};
use crate::expand::template::push_word;
use crate::record::{Arg, RunSpec, SweepSpec};

/// Longest value shown in a reason, in characters.
const LONGEST: usize = 60;

fn short(text: &str) -> String {
    let mut out: String = text.chars().take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push_str("...");
    }
    out
}

/// Collects differences.
#[derive(Default)]
struct Differences(Vec<Reason>);

impl Differences {
    fn compare(&mut self, key: impl Into<String>, before: Option<String>, after: Option<String>) {
        if before != after {
            self.0.push(Reason { key: key.into(), before: before.map(|t| short(&t)), after: after.map(|t| short(&t)) });
        }
    }

    fn maps<'a, V: 'a>(&mut self, what: &str, before: &BTreeMap<String, V>, after: &BTreeMap<String, V>, show: impl Fn(&V) -> String) {
        for name in before.keys().chain(after.keys().filter(|k| !before.contains_key(*k))) {
            self.compare(format!("{what}.{name}"), before.get(name).map(&show), after.get(name).map(&show));
        }
    }
}

fn value_text(value: &Value) -> String {
    let mut out = String::new();
    push_word(&mut out, value);
    out
}

fn arg_text(arg: &Arg) -> String {
    match arg {
        Arg::Text(text) | Arg::Late(text) => text.to_string(),
    }
}

/// What differs and makes the run a new one, apart from what is upstream.
#[must_use]
pub fn of_result(before: &RunSpec, after: &RunSpec) -> Vec<Reason> {
    let mut d = Differences::default();
    let (old, new) = (&before.job, &after.job);
    let find = |list: &[(Arc<str>, Value)], name: &str| list.iter().find(|(n, _)| &**n == name).map(|(_, v)| value_text(v));
    for (name, _) in before.params.iter().chain(after.params.iter().filter(|(n, _)| !before.params.iter().any(|(m, _)| m == n))) {
        d.compare(format!("params.{name}"), find(&before.params, name), find(&after.params, name));
    }
    if !command_follows_params(before, after, &d.0) {
        let words = |spec: &RunSpec| spec.command.argv.iter().map(arg_text).collect::<Vec<_>>();
        let (a, b) = (words(before), words(after));
        match a.len() == b.len() {
            // Same shape: the words that differ say it best.
            true => {
                for (x, y) in a.iter().zip(&b).filter(|(x, y)| x != y).take(3) {
                    d.compare("run", Some(x.clone()), Some(y.clone()));
                }
            }
            false => d.compare("run", Some(a.join(" ")), Some(b.join(" "))),
        }
        for (i, (name, value)) in after.command.vars.iter().enumerate() {
            let old = before.command.vars.get(i).filter(|(n, _)| n == name).map(|(_, v)| arg_text(v));
            d.compare("run", old, Some(arg_text(value)));
        }
    }
    d.compare("image", old.image.clone(), new.image.clone());
    d.compare("workdir", old.workdir.clone(), new.workdir.clone());
    d.maps("env", &old.env, &new.env, arg_text);
    d.maps("secrets", &old.secret_env, &new.secret_env, Clone::clone);
    let (r, s) = (&old.resources, &new.resources);
    let gpu = |g: &crate::base::Gpu| Some(g.kind.as_ref().map_or_else(|| g.count.to_string(), |k| format!("{k}:{}", g.count)));
    d.compare("resources.gpu", gpu(&r.gpu), gpu(&s.gpu));
    d.compare("resources.cpu", Some(show_cpu(r.cpu_millis)), Some(show_cpu(s.cpu_millis)));
    d.compare("resources.memory", Some(show_memory(r.memory_bytes)), Some(show_memory(s.memory_bytes)));
    let disk = |bytes: u64| (bytes > 0).then(|| show_memory(bytes));
    d.compare("resources.disk", disk(r.disk_bytes), disk(s.disk_bytes));
    let inputs = |list: &[crate::record::InputDigest]| list.iter().map(|i| (i.path.clone(), i.digest.short())).collect::<BTreeMap<_, _>>();
    d.maps("inputs", &inputs(&old.inputs), &inputs(&new.inputs), Clone::clone);
    if old.outputs != new.outputs {
        d.compare("outputs", Some(old.outputs.join(", ")), Some(new.outputs.join(", ")));
    }
    if old.late_inputs != new.late_inputs {
        let show = |v: &Option<Value>| v.as_ref().map(value_text);
        d.compare("inputs of the workflow", show(&old.late_inputs), show(&new.late_inputs));
    }
    d.0
}

/// True when the command differs only by the values of params that are named already.
fn command_follows_params(before: &RunSpec, after: &RunSpec, params: &[Reason]) -> bool {
    let args = |spec: &RunSpec| spec.command.argv.iter().chain(spec.command.vars.iter().map(|(_, v)| v)).map(arg_text).collect::<Vec<_>>();
    let (a, b) = (args(before), args(after));
    a.len() == b.len()
        && a.iter().zip(&b).filter(|(x, y)| x != y).all(|(x, y)| {
            params.iter().any(|r| match (&r.before, &r.after) {
                (Some(p), Some(q)) => !p.is_empty() && x.replace(p.as_str(), q) == **y,
                _ => false,
            })
        })
}

/// Limits of the sweep that differ.
#[must_use]
pub fn of_limits(before: &RunSpec, after: &RunSpec) -> Vec<Reason> {
    let mut d = Differences::default();
    limits(&mut d, before, after);
    d.0
}

fn limits(d: &mut Differences, before: &RunSpec, after: &RunSpec) {
    let (old, new) = (before.job.sweep.as_deref(), after.job.sweep.as_deref());
    let failed = |s: Option<&SweepSpec>| s.and_then(|s| s.max_failed).map(|n| n.to_string());
    let time = |s: Option<&SweepSpec>| s.and_then(|s| s.max_time).map(|t| t.to_string());
    let cost = |s: Option<&SweepSpec>| s.and_then(|s| s.max_cost).map(|m| m.to_string());
    let search = |s: Option<&SweepSpec>| s.and_then(|s| s.search.clone());
    let (a, b) = (search(old), search(new));
    d.compare("sweep.method", a.as_ref().map(|s| s.method.name().to_owned()), b.as_ref().map(|s| s.method.name().to_owned()));
    if let (Some(a), Some(b)) = (&a, &b) {
        d.compare("sweep.seed", Some(a.seed.to_string()), Some(b.seed.to_string()));
        if a.space != b.space {
            d.compare("sweep.parameters", None, Some("another space".to_owned()));
        }
        if a.options != b.options {
            d.compare("sweep.options", None, Some("others".to_owned()));
        }
        if a.points != b.points {
            d.compare("sweep.points", None, Some("others".to_owned()));
        }
        d.compare("sweep.trials", a.trials.map(|n| n.to_string()), b.trials.map(|n| n.to_string()));
    }
    let prune = |s: &Option<Arc<crate::record::SearchSpec>>| {
        s.as_ref().and_then(|s| s.prune.as_ref().map(|p| format!("{} {p:?}", p.method.name())))
    };
    d.compare("sweep.prune", prune(&a), prune(&b));
    d.compare("sweep.max_failed", failed(old), failed(new));
    d.compare("sweep.max_time", time(old), time(new));
    d.compare("sweep.max_cost", cost(old), cost(new));
}

/// What differs and does not make the run a new one.
#[must_use]
pub fn of_settings(before: &RunSpec, after: &RunSpec) -> Vec<Reason> {
    let mut d = Differences::default();
    let (old, new) = (&before.job, &after.job);
    if Arc::ptr_eq(old, new) {
        return d.0;
    }
    d.compare("priority", Some(old.priority.class.to_string()), Some(new.priority.class.to_string()));
    d.compare("priority weight", Some(old.priority.weight.to_string()), Some(new.priority.weight.to_string()));
    d.compare("timeout", old.timeout.map(|t| t.to_string()), new.timeout.map(|t| t.to_string()));
    d.compare("grace", Some(old.grace.to_string()), Some(new.grace.to_string()));
    let retry = |r: &crate::record::Retry| {
        Some(format!(
            "errors {}, interruptions {}, out_of_memory {}, bad_gpu {}, timeouts {}, backoff {}",
            r.errors, r.interruptions, r.out_of_memory, r.bad_gpu, r.timeouts, r.backoff
        ))
    };
    d.compare("retry", retry(&old.retry), retry(&new.retry));
    let window = |job: &crate::record::JobSpec| job.start.as_ref().map(|s| s.window.to_string());
    let by = |job: &crate::record::JobSpec| job.start.as_ref().and_then(|s| s.by).map(|t| t.minute());
    d.compare("start.window", window(old), window(new));
    d.compare("start.by", by(old), by(new));
    d.compare("parallel", old.parallel.map(|n| n.to_string()), new.parallel.map(|n| n.to_string()));
    limits(&mut d, before, after);
    d.compare("resources.capacity", Some(old.resources.capacity.word().to_owned()), Some(new.resources.capacity.word().to_owned()));
    d.compare("team", old.team.clone(), new.team.clone());
    d.maps("labels", &old.labels, &new.labels, Clone::clone);
    d.0
}
