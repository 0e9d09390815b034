//! Runs and plans as rules see them.
//!
//! In: runs with estimates, or what a test case says. Out: mappings. What is not known is not there, so that a rule which compares it
//! fails instead of passing. Money is whole micro-dollars, memory bytes, time seconds.

use serde_json::{Map, Value, json};

use crate::base::{Millis, Money, resources};
use crate::check::Sum;
use crate::expand::template::nested;
use crate::record::{Estimate, RunSpec};

/// A run.
#[must_use]
pub fn run(run: &RunSpec, estimate: &Estimate) -> Value {
    let (job, r) = (&run.job, &run.job.resources);
    let mut cost = Map::new();
    if let Some(money) = &estimate.cost {
        for (name, amount) in
            [("expected", Some(money.expected)), ("low", Some(money.low)), ("high", Some(money.high)), ("worst", money.worst)]
        {
            if let Some(amount) = amount {
                cost.insert(name.to_owned(), amount.micros().into());
            }
        }
    }
    let mut all = json!({
        "address": run.address, "job": job.job, "workflow": run.address.workflow(), "team": job.team, "labels": job.labels,
        "priority": job.priority.class, "gpu": {"type": r.gpu.kind, "count": r.gpu.count},
        "resources": {"gpu": r.gpu.count, "cpu": cores(r.cpu_millis), "memory": r.memory_bytes},
        "capacity": r.capacity.word(), "params": nested(run.params.iter().map(|(k, v)| (k, v))), "image": job.image, "model": job.model,
        "cost": cost,
    });
    let mut time = |name: &str, length: Option<Millis>| {
        if let Some(length) = length {
            all[name] = json!(length.0 / 1000);
        }
    };
    time("timeout", job.timeout);
    time("time", estimate.time);
    all
}

/// Whole cores stay whole numbers.
fn cores(millis: u64) -> Value {
    if millis.is_multiple_of(1000) { json!(millis / 1000) } else { json!(std::time::Duration::from_millis(millis).as_secs_f64()) }
}

/// The plan that runs make. Its cost is there only when every run has one.
#[must_use]
pub fn plan(priced: &[(&RunSpec, &Estimate)], total: &Sum, with_runs: bool) -> Value {
    let mut cost = Map::new();
    if total.unpriced == 0 {
        cost.insert("expected".to_owned(), total.expected.micros().into());
    }
    total.worst.map(|m| cost.insert("worst".to_owned(), m.micros().into()));
    let mut all = json!({"cost": cost, "count": priced.len(), "unpriced": total.unpriced});
    if with_runs {
        all["runs"] = priced.iter().map(|(r, e)| run(r, e)).collect();
    }
    all
}

/// The run that a case differs from.
fn ordinary() -> Value {
    let dollar = 1_000_000;
    json!({
        "address": "test/run", "job": "test/run", "workflow": "test", "team": null, "labels": {}, "priority": "normal",
        "gpu": {"type": null, "count": 1}, "resources": {"gpu": 1, "cpu": 1, "memory": 1_u64 << 30}, "capacity": "on-demand", "params": {},
        "image": null, "model": null, "cost": {"expected": dollar, "low": dollar, "high": dollar, "worst": 2 * dollar}, "timeout": 7200, "time": 3600,
    })
}

/// What a case says, put over an ordinary run.
///
/// # Errors
/// Which key there is not, or which value is none.
pub fn case_run(given: Option<&Value>) -> Result<Value, String> {
    let mut all = ordinary();
    let gpus_said = given.is_some_and(|g| g.get("gpu").and_then(|g| g.get("count")).is_some());
    if let Some(given) = given {
        over(&mut all, given, "run")?;
    }
    // The GPUs stand in two places: one is enough for a case.
    if gpus_said {
        all["resources"]["gpu"] = all["gpu"]["count"].clone();
    } else {
        all["gpu"]["count"] = all["resources"]["gpu"].clone();
    }
    Ok(all)
}

/// The plan of a case: of its runs, with what it says put over that.
///
/// # Errors
/// As [`case_run`].
pub fn case_plan(runs: &[Value], given: Option<&Value>) -> Result<Value, String> {
    let mut cost = Map::new();
    for name in ["expected", "worst"] {
        let all: Option<i64> = runs.iter().map(|r| r["cost"].get(name).and_then(Value::as_i64)).sum();
        all.map(|amount| cost.insert(name.to_owned(), amount.into()));
    }
    let unpriced = runs.iter().filter(|r| r["cost"].get("expected").is_none()).count();
    let mut all = json!({"cost": cost, "count": runs.len(), "unpriced": unpriced, "runs": runs});
    if let Some(given) = given {
        over(&mut all, given, "plan")?;
    }
    Ok(all)
}

/// Puts given values over known ones. A null takes a value away: it is not known then.
fn over(all: &mut Value, given: &Value, path: &str) -> Result<(), String> {
    let Some(given) = given.as_object() else { return Err(format!("`{path}` must be a mapping")) };
    for (key, value) in given {
        let inner = format!("{path}.{key}");
        let free = path == "run.labels" || path == "run.params";
        let Some(map) = all.as_object_mut() else { continue };
        let known = free || map.contains_key(key) || matches!((path, key.as_str()), ("plan.cost", "expected" | "worst"));
        if !known {
            let hint = crate::base::suggest::hint(key, map.keys().map(String::as_str)).unwrap_or_default();
            return Err(format!("there is no `{inner}`; {hint}"));
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let new = match inner.as_str() {
            _ if value.is_null() && !matches!(inner.as_str(), "run.team" | "run.image" | "run.model" | "run.gpu.type") => None,
            "run.cost" | "plan.cost" | "run.gpu" | "run.resources" | "run.labels" => {
                over(&mut map[key], value, &inner)?;
                continue;
            }
            _ if inner.contains(".cost.") => Some(Money::parse(&text).map_err(|e| format!("`{inner}`: {e}"))?.micros().into()),
            "run.resources.memory" => Some(resources::parse_memory(&text).map_err(|e| format!("`{inner}`: {e}"))?.into()),
            "run.timeout" | "run.time" => Some((Millis::parse(&text).map_err(|e| format!("`{inner}`: {e}"))?.0 / 1000).into()),
            _ => Some(value.clone()),
        };
        match new {
            Some(new) => map.insert(key.clone(), new),
            None => map.shift_remove(key),
        };
    }
    Ok(())
}
