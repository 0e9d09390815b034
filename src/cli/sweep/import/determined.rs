//! Experiments of Determined: <https://docs.determined.ai/reference/training/experiment-config-reference.html>.
//!
//! In: the YAML. Out: a draft. Bounds of `log` are exponents there and values here; programs find their params in the environment.

use serde_json::{Map, Value, json};

use super::draft::{Draft, Lines, entries, float, get, items, literal, text, tidy, value, whole};
use crate::spec::tree::{Kind, Node};

/// Reads an experiment.
pub fn read(node: &Node, lines: Lines<'_>) -> Result<Draft, String> {
    let name = text(node, "name").or_else(|| text(node, "description")).unwrap_or_else(|| "experiment".to_owned());
    let mut draft = Draft { source: "a Determined experiment", name, ..Draft::default() };
    draft.description = text(node, "description").map(|t| literal(&t));
    let grid = text(node, "searcher.name").as_deref() == Some("grid");
    let hyperparameters = get(node, "hyperparameters").ok_or("the experiment has no `hyperparameters`")?;
    let space = group(hyperparameters, "hyperparameters.", grid, &mut draft, lines);
    if space.is_empty() {
        return Err("`hyperparameters` is empty: there is nothing to search".to_owned());
    }
    draft.sweep.insert("parameters".to_owned(), Value::Object(space));
    searcher(node, &mut draft, lines);
    entrypoint(node, &mut draft, lines);
    settings(node, &mut draft, lines);
    let known = ["name", "description", "hyperparameters", "searcher", "entrypoint", "resources", "environment", "max_restarts", "labels"];
    draft.rest(lines, Some(node), "", &known);
    Ok(draft)
}

fn group(node: &Node, path: &str, grid: bool, draft: &mut Draft, lines: Lines<'_>) -> Map<String, Value> {
    let mut out = Map::new();
    let top = path == "hyperparameters.";
    for (name, p) in entries(node) {
        let ours = if top { draft.param(name) } else { Draft::default().param(name) };
        let full = format!("{path}{name}");
        let made = match (&p.kind, text(p, "type")) {
            (Kind::Map(_), None) => json!({"parameters": group(p, &format!("{full}."), grid, draft, lines)}),
            (Kind::Map(_), Some(kind)) => parameter(p, &kind, &full, grid, draft, lines),
            _ => json!({"value": value(p)}),
        };
        if made.get("value").is_some_and(Value::is_null) {
            draft.lost(lines, p.span, format!("`{full}` is null: the program must use its own default"));
            continue;
        }
        out.insert(ours, made);
    }
    out
}

fn parameter(p: &Node, kind: &str, path: &str, grid: bool, draft: &mut Draft, lines: Lines<'_>) -> Value {
    let (low, high) = (float(p, "minval").unwrap_or(0.0), float(p, "maxval").unwrap_or(1.0));
    let base = float(p, "base").unwrap_or(10.0);
    let count = whole(p, "count").filter(|_| grid);
    // In a grid, `count` points at equal distances, of exponents for `log`.
    let points = |n: u64| (0..n).map(move |i| if n > 1 { low + (high - low) * i as f64 / (n - 1) as f64 } else { low });
    draft.rest(lines, Some(p), &format!("{path}."), &["type", "minval", "maxval", "base", "count", "vals", "val"]);
    match (kind, count) {
        ("const", _) => json!({"value": entries(p).into_iter().find(|(k, _)| *k == "val").map(|(_, v)| value(v))}),
        ("categorical", _) => json!({"values": get(p, "vals").map(items).unwrap_or_default().into_iter().map(value).collect::<Vec<_>>()}),
        ("int", Some(n)) => {
            let mut values: Vec<i64> = points(n).map(|v| v.round() as i64).collect();
            values.dedup();
            json!({"values": values, "ordered": true})
        }
        ("int", None) => json!({"distribution": "int_uniform", "min": low as i64, "max": high as i64}),
        ("log", Some(n)) => json!({"values": points(n).map(|e| tidy(base.powf(e))).collect::<Vec<_>>(), "ordered": true}),
        ("log", None) => json!({"distribution": "log_uniform", "min": tidy(base.powf(low)), "max": tidy(base.powf(high))}),
        ("double", Some(n)) => json!({"values": points(n).map(tidy).collect::<Vec<_>>(), "ordered": true}),
        ("double", None) => json!({"distribution": "uniform", "min": low, "max": high}),
        (other, _) => {
            draft.lost(lines, p.span, format!("`{path}`: the type `{other}` is not known here"));
            json!({"value": value(p)})
        }
    }
}

/// A length such as `{epochs: 16}` and its unit.
fn length(node: &Node, path: &str) -> Option<(u64, String)> {
    let at = get(node, path)?;
    if let Some(n) = at.text().and_then(|t| t.parse().ok()) {
        return Some((n, "steps".to_owned()));
    }
    entries(at).into_iter().find_map(|(unit, n)| Some((n.text()?.parse().ok()?, unit.to_owned())))
}

fn searcher(node: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let at = get(node, "searcher").unwrap_or(node);
    let word = text(at, "name").unwrap_or_else(|| "single".to_owned());
    let method = if word == "grid" { "grid" } else { "random" };
    draft.sweep.insert("method".to_owned(), json!(method));
    if let Some(metric) = text(at, "metric") {
        draft.metric(&metric, text(at, "smaller_is_better").as_deref() == Some("false"));
        draft.say(format!(
            "metrics reported to Determined: let the program print `{metric}=0.5` (with `step=3`), or write JSON lines to $OPPEN_METRICS"
        ));
    }
    let most = length(at, "max_time").or_else(|| length(at, "max_length"));
    match word.as_str() {
        "single" => drop(draft.sweep.insert("trials".to_owned(), json!(1))),
        "grid" => {}
        _ => drop(draft.sweep.insert("trials".to_owned(), json!(whole(at, "max_trials").unwrap_or(16)))),
    }
    if let Some(parallel) = whole(at, "max_concurrent_trials").filter(|n| *n > 0) {
        draft.sweep.insert("parallel".to_owned(), json!(parallel));
    }
    if ["adaptive_asha", "async_halving", "adaptive", "adaptive_simple", "sync_halving"].contains(&word.as_str()) {
        let divisor = float(at, "divisor").map_or(4, |d| d.round().max(2.0) as u64);
        let rungs = whole(at, "max_rungs").or_else(|| whole(at, "num_rungs")).unwrap_or(5).clamp(1, 40);
        let (max, unit) = most.clone().unwrap_or((81, "steps".to_owned()));
        let rung = u32::try_from(rungs - 1).unwrap_or(4);
        let min = (max / divisor.saturating_pow(rung)).max(1);
        let rule = if word.starts_with("adaptive") { "hyperband" } else { "asha" };
        draft.sweep.insert("prune".to_owned(), json!({"method": rule, "min": min, "max": max, "eta": divisor}));
        draft.lost(
            lines,
            at.span,
            format!("`searcher`: rungs are steps as the program reports them: report `step=` in {unit}, up to {max}"),
        );
        if draft.sweep.get("metric").is_none() {
            draft.sweep.remove("prune");
        }
    } else if !["single", "grid", "random"].contains(&word.as_str()) {
        draft.lost(lines, at.span, format!("`searcher.name: {word}` is not known here; it is `random` now"));
    }
    if let (Some((most, unit)), None) = (&most, draft.sweep.get("prune")) {
        draft.lost(lines, at.span, format!("`searcher`: a trial trains for {most} {unit}; the program must know that itself"));
    }
    let known = [
        "name",
        "metric",
        "smaller_is_better",
        "max_trials",
        "max_length",
        "max_time",
        "time_metric",
        "divisor",
        "max_rungs",
        "num_rungs",
        "max_concurrent_trials",
    ];
    draft.rest(lines, Some(at), "searcher.", &known);
}

fn entrypoint(node: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let at = get(node, "entrypoint");
    let words: Vec<String> = match at.map(|n| &n.kind) {
        Some(Kind::Scalar { text, .. }) => text.split_whitespace().map(literal).collect(),
        Some(_) => at.map(items).unwrap_or_default().into_iter().filter_map(|w| w.text().map(|t| literal(t))).collect(),
        None => Vec::new(),
    };
    let span = at.map_or(node.span, |n| n.span);
    let legacy = matches!(&words[..], [one] if one.contains(':') && !one.contains('/'));
    if words.is_empty() || legacy {
        draft.lost(lines, span, "`entrypoint`: a trial class is no command: write one that trains, such as `python train.py`");
        draft.run = ["python", "train.py"].map(str::to_owned).to_vec();
    } else {
        if words.iter().any(|w| w.starts_with("determined.launch")) {
            draft.lost(lines, span, "`entrypoint`: launchers of Determined need its cluster: start `torchrun` or the program itself");
        }
        draft.run = words;
    }
    draft.say(
        "hyperparameters: the program reads them from $OPPEN_PARAMS (JSON) or $OPPEN_PARAM_NAME, or put `{{ params.NAME }}` into `run`"
            .replace("{{ params.NAME }}", "params.NAME"),
    );
}

fn settings(node: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let slots = whole(node, "resources.slots_per_trial").unwrap_or(1);
    draft.job.insert("resources".to_owned(), json!({"gpu": slots}));
    draft.rest(lines, get(node, "resources"), "resources.", &["slots_per_trial"]);
    let image =
        text(node, "environment.image").or_else(|| text(node, "environment.image.gpu")).or_else(|| text(node, "environment.image.cuda"));
    let image = image.or_else(|| text(node, "environment.image.cpu"));
    draft.job.extend(image.map(|i| ("image".to_owned(), json!(literal(&i)))));
    let mut env = Map::new();
    for variable in get(node, "environment.environment_variables").map(items).unwrap_or_default() {
        if let Some((name, value)) = variable.text().and_then(|t| t.split_once('=')) {
            env.insert(name.to_owned(), json!(literal(value)));
        } else {
            draft.lost(lines, variable.span, "`environment.environment_variables`: only NAME=VALUE has a counterpart");
        }
    }
    if !env.is_empty() {
        draft.job.insert("env".to_owned(), Value::Object(env));
    }
    draft.rest(lines, get(node, "environment"), "environment.", &["image", "environment_variables"]);
    draft.job.insert("retry".to_owned(), json!({"errors": whole(node, "max_restarts").unwrap_or(5)}));
}
