//! Studies of Optuna: its SQLite storage, its journal file, or JSON of its distributions.
//!
//! Optuna's spaces are code. What outlives a run is its storage, in which each parameter of each trial stands with its distribution
//! as JSON: `sqlite:///study.db` and `JournalStorage`. Without one, `{name: distribution_to_json(d)}` is what a study can print. Out: a
//! draft; the best points that were found are tried first. Must never write to a storage.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};

use super::super::super::exit::{Exit, Failure};
use super::draft::{Draft, Lines, entries, literal, literals, raw};
use crate::base::suggest;
use crate::base::text::escape;
use crate::spec::tree::Node;

/// Points that are taken over.
const POINTS: usize = 3;

/// One finished trial.
#[derive(Debug, Default)]
struct Past {
    value: Option<f64>,
    done: bool,
    /// Optuna's internal numbers by name.
    params: Vec<(String, f64)>,
}

/// A study as it was found.
#[derive(Debug, Default)]
struct Study {
    name: String,
    directions: Vec<bool>,
    distributions: Vec<(String, Value)>,
    trials: BTreeMap<i64, Past>,
}

impl Study {
    fn note(&mut self, trial: i64, name: &str, internal: f64, distribution: &str) {
        if let (Ok(made), false) = (serde_json::from_str(distribution), self.distributions.iter().any(|(n, _)| n == name)) {
            self.distributions.push((name.to_owned(), made));
        }
        self.trials.entry(trial).or_default().params.push((name.to_owned(), internal));
    }
}

/// True for a file that begins as SQLite's do.
pub fn is_database(path: &Path) -> bool {
    let mut head = [0_u8; 16];
    std::fs::File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head)).is_ok() && &head == b"SQLite format 3\0"
}

/// True for lines of JSON with an `op_code`.
pub fn is_journal(text: &str) -> bool {
    text.lines().next().and_then(|l| serde_json::from_str::<Value>(l).ok()).is_some_and(|v| v.get("op_code").is_some())
}

/// True for a mapping whose values are distributions.
pub fn looks_like(node: &Node) -> bool {
    let all = entries(node);
    !all.is_empty() && all.iter().all(|(_, n)| distribution(&raw(n)).is_some())
}

/// `{"name": "FloatDistribution", "attributes": {...}}`, also as text.
fn distribution(value: &Value) -> Option<(String, Map<String, Value>)> {
    let value = match value {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let name = value.get("name")?.as_str().filter(|n| n.ends_with("Distribution"))?.to_owned();
    Some((name, value.get("attributes")?.as_object()?.clone()))
}

/// JSON of distributions.
pub fn distributions(node: &Node, _: Lines<'_>) -> Result<Draft, String> {
    let distributions: Vec<_> = entries(node).into_iter().map(|(n, d)| (n.to_owned(), raw(d))).collect();
    if distributions.is_empty() {
        return Err("there is no distribution in it".to_owned());
    }
    Ok(draft("Optuna distributions", Study { name: "study".to_owned(), distributions, ..Study::default() }))
}

/// A storage in SQLite.
pub fn database(path: &Path, wanted: Option<&str>) -> Result<Draft, Failure> {
    let broken =
        |e: rusqlite::Error| Failure::new(Exit::Invalid, format!("{}: not a storage of Optuna: {e}", escape(&path.to_string_lossy())));
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(broken)?;
    let mut studies = db.prepare("SELECT study_id, study_name FROM studies ORDER BY study_id").map_err(broken)?;
    let studies: Vec<(i64, String)> = studies.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).and_then(Iterator::collect).map_err(broken)?;
    let names: Vec<&str> = studies.iter().map(|(_, n)| n.as_str()).collect();
    let at = choose(&names, wanted)?;
    let Some((id, name)) = studies.get(at).cloned() else { return Err(Failure::new(Exit::Invalid, "the storage has no study")) };
    let mut study = Study { name, ..Study::default() };
    let rows = |sql: &str| -> Result<Vec<(i64, String, f64, String)>, Failure> {
        let mut query = db.prepare(sql).map_err(broken)?;
        let found = query.query_map([id], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, Option<f64>>(2)?.unwrap_or(f64::NAN), r.get(3)?)));
        found.and_then(Iterator::collect).map_err(broken)
    };
    for (_, direction, _, _) in rows("SELECT objective, direction, 0.0, '' FROM study_directions WHERE study_id = ?1 ORDER BY objective")? {
        study.directions.push(direction == "MAXIMIZE");
    }
    let params = "SELECT t.trial_id, p.param_name, p.param_value, p.distribution_json FROM trial_params p JOIN trials t USING (trial_id)
                  WHERE t.study_id = ?1 ORDER BY t.number, p.param_id";
    for (trial, name, value, distribution) in rows(params)? {
        study.note(trial, &name, value, &distribution);
    }
    let values = "SELECT t.trial_id, t.state, v.value, '' FROM trials t JOIN trial_values v USING (trial_id) WHERE t.study_id = ?1 AND v.objective = 0";
    for (trial, state, value, _) in rows(values)? {
        let past = study.trials.entry(trial).or_default();
        (past.value, past.done) = (Some(value), state == "COMPLETE");
    }
    finished(study)
}

/// A journal file: a line of JSON an operation.
pub fn journal(text: &str, wanted: Option<&str>) -> Result<Draft, Failure> {
    let mut studies: Vec<Study> = Vec::new();
    // Trials are numbered over all studies, in the order of their creation.
    let (mut owner, mut next): (BTreeMap<i64, usize>, i64) = (BTreeMap::new(), 0);
    for line in text.lines() {
        let Ok(op) = serde_json::from_str::<Value>(line) else { continue };
        let (code, int) = (op["op_code"].as_i64().unwrap_or(-1), |key: &str| op[key].as_i64());
        let place = int("study_id").and_then(|s| usize::try_from(s).ok());
        let trial = int("trial_id").unwrap_or(-1);
        match code {
            0 => {
                let directions = op["directions"].as_array().map(|d| d.iter().map(|d| d.as_i64() == Some(2)).collect()).unwrap_or_default();
                studies.push(Study { name: op["study_name"].as_str().unwrap_or("study").to_owned(), directions, ..Study::default() });
            }
            4 => {
                owner.extend(place.map(|p| (next, p)));
                next += 1;
            }
            5 | 6 => {
                let Some(study) = owner.get(&trial).and_then(|p| studies.get_mut(*p)) else { continue };
                if code == 5 {
                    let internal = op["param_value_internal"].as_f64().unwrap_or(f64::NAN);
                    study.note(
                        trial,
                        op["param_name"].as_str().unwrap_or_default(),
                        internal,
                        op["distribution"].as_str().unwrap_or_default(),
                    );
                } else {
                    let past = study.trials.entry(trial).or_default();
                    past.done = int("state") == Some(1);
                    past.value = op["values"].as_array().and_then(|v| v.first()?.as_f64());
                }
            }
            _ => {}
        }
    }
    let names: Vec<&str> = studies.iter().map(|s| s.name.as_str()).collect();
    let at = choose(&names, wanted)?;
    if at >= studies.len() {
        return Err(Failure::new(Exit::Invalid, "the journal has no study"));
    }
    finished(studies.swap_remove(at))
}

fn choose(names: &[&str], wanted: Option<&str>) -> Result<usize, Failure> {
    match (wanted, names) {
        (Some(name), _) => names.iter().position(|n| *n == name).ok_or_else(|| {
            let failure = Failure::new(Exit::Invalid, format!("the storage has no study `{}`", escape(name)));
            let hint = suggest::hint(name, names.iter().copied()).unwrap_or_else(|| format!("it has {}", escape(&names.join(", "))));
            failure.hint(hint)
        }),
        (None, [] | [_]) => Ok(0),
        (None, many) => {
            let failure = Failure::new(Exit::Usage, format!("the storage has {} studies, and this is about one", many.len()));
            Err(failure.hint(format!("name one with --study: {}", escape(&many.join(", ")))))
        }
    }
}

fn finished(study: Study) -> Result<Draft, Failure> {
    if study.distributions.is_empty() {
        let failure = Failure::new(Exit::Invalid, format!("the study `{}` has no trial with parameters", escape(&study.name)));
        return Err(failure.hint("a space is known once a trial has asked for it"));
    }
    Ok(draft("an Optuna study", study))
}

fn draft(source: &'static str, study: Study) -> Draft {
    let mut draft = Draft { source, name: study.name.clone(), ..Draft::default() };
    let mut space = Map::new();
    for (name, value) in &study.distributions {
        let ours = draft.param(name);
        match distribution(value) {
            Some((kind, attributes)) => {
                let made = parameter(&kind, &attributes);
                if made.is_none() {
                    draft.say(format!("`{name}`: the distribution `{kind}` is not known here"));
                }
                space.extend(made.map(|m| (ours.clone(), m)));
            }
            None => draft.say(format!("`{name}` has no distribution that can be read")),
        }
        draft.run.push(format!("--{}={{{{ params.{ours} }}}}", literal(name)));
        let with = study.trials.values().filter(|t| t.params.iter().any(|(n, _)| n == name)).count();
        let all = study.trials.values().filter(|t| !t.params.is_empty()).count();
        if with < all {
            draft.say(format!("`{name}` is in {with} of {all} trials: the condition is in the objective's code; write it as `when`"));
        }
    }
    draft.run.splice(0..0, ["python", "train.py"].map(str::to_owned));
    draft.sweep.insert("parameters".to_owned(), Value::Object(space));
    draft.sweep.insert("method".to_owned(), json!("tpe"));
    draft.sweep.insert("trials".to_owned(), json!(study.trials.len().max(30)));
    let maximize = study.directions.first().copied().unwrap_or(false);
    draft.metric("objective", maximize);
    draft.say("the objective is a Python function: make it a program that takes the params as `--name=value` and prints `objective=0.5`");
    draft.say("sampler and pruner are not part of a storage: `tpe` is Optuna's default; add `prune` if there was a pruner");
    if study.directions.len() > 1 {
        draft.say(format!("the study has {} objectives: the first one counts here", study.directions.len()));
    }
    if study.directions.is_empty() {
        draft.say("distributions do not say which way is better: `minimize` is a guess");
    }
    let points = best(&study, maximize, &mut draft);
    if !points.is_empty() {
        draft.sweep.insert("points".to_owned(), Value::Array(points));
    }
    draft
}

fn best(study: &Study, maximize: bool, draft: &mut Draft) -> Vec<Value> {
    let mut done: Vec<(f64, &Past)> =
        study.trials.values().filter(|t| t.done).filter_map(|t| Some((t.value.filter(|v| v.is_finite())?, t))).collect();
    done.sort_by(|(a, _), (b, _)| if maximize { b.total_cmp(a) } else { a.total_cmp(b) });
    let point = |past: &Past, draft: &mut Draft| {
        let mut out = Map::new();
        for (name, internal) in &past.params {
            let (_, value) = study.distributions.iter().find(|(n, _)| n == name)?;
            let (kind, attributes) = distribution(value)?;
            out.insert(draft.param(name), external(&kind, &attributes, *internal)?);
        }
        Some(Value::Object(out))
    };
    done.into_iter().take(POINTS).filter_map(|(_, past)| point(past, draft)).collect()
}

/// Optuna keeps the index of a choice and a float of a whole number.
fn external(kind: &str, attributes: &Map<String, Value>, internal: f64) -> Option<Value> {
    if kind.starts_with("Categorical") {
        let at = (internal >= 0.0).then_some(internal as usize)?;
        return attributes.get("choices")?.as_array()?.get(at).cloned().map(literals);
    }
    if kind.starts_with("Int") {
        return Some(json!(internal as i64));
    }
    internal.is_finite().then(|| json!(internal))
}

/// Distributions of versions 2 to 4.
fn parameter(kind: &str, attributes: &Map<String, Value>) -> Option<Value> {
    let of = |key: &str| attributes.get(key).cloned().filter(|v| !v.is_null());
    let (low, high) = (of("low"), of("high"));
    let log = kind.contains("Log") || of("log") == Some(json!(true));
    let step = of("step").or_else(|| of("q"));
    Some(match kind {
        "CategoricalDistribution" => json!({"values": literals(of("choices")?)}),
        "IntDistribution" | "IntUniformDistribution" | "IntLogUniformDistribution" => {
            let mut made = json!({"distribution": if log { "int_log_uniform" } else { "int_uniform" }, "min": low?, "max": high?});
            if let Some(step) = step.filter(|s| s.as_i64().is_some_and(|s| s > 1)) {
                made["step"] = step;
            }
            made
        }
        "FloatDistribution" | "UniformDistribution" | "LogUniformDistribution" | "DiscreteUniformDistribution" => match step {
            Some(step) => json!({"distribution": "quantized_uniform", "min": low?, "max": high?, "step": step}),
            None => json!({"distribution": if log { "log_uniform" } else { "uniform" }, "min": low?, "max": high?}),
        },
        _ => return None,
    })
}
