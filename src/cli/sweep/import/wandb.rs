//! Sweeps of Weights & Biases: <https://docs.wandb.ai/models/sweeps/sweep-config-keys>.
//!
//! In: the YAML. Out: a draft. Bounds of `log_uniform` are exponents there and values here.

use serde_json::{Map, Value, json};

use super::draft::{Draft, Lines, entries, float, get, items, literal, number, raw, text, tidy, value, whole};
use crate::spec::tree::{Kind, Node};

/// Reads a sweep.
pub fn read(node: &Node, lines: Lines<'_>) -> Result<Draft, String> {
    let mut draft = Draft { source: "a W&B sweep", name: text(node, "name").unwrap_or_else(|| "sweep".to_owned()), ..Draft::default() };
    draft.description = text(node, "description").map(|t| literal(&t));
    let parameters = get(node, "parameters").ok_or("the sweep has no `parameters`")?;
    let mut shapes = Vec::new();
    let space = group(parameters, "parameters.", &mut draft, lines, &mut shapes);
    if space.is_empty() {
        return Err("`parameters` is empty".to_owned());
    }
    draft.sweep.insert("parameters".to_owned(), Value::Object(space));
    method(node, &mut draft, lines);
    if let Some(name) = text(node, "metric.name") {
        draft.metric(&name, text(node, "metric.goal").as_deref() == Some("maximize"));
        if let Some(target) = get(node, "metric.target") {
            draft.lost(lines, target.span, "`metric.target`: no sweep ends at a value; end it with `oppen sweep pause`");
        }
        draft.say(format!("`wandb.log`: let the program print `{name}=0.5` (with `step=3`), or write it to $OPPEN_METRICS as JSON lines"));
    }
    draft.rest(lines, get(node, "metric"), "metric.", &["name", "goal", "target"]);
    early(node, &mut draft, lines);
    command(node, &shapes, &mut draft, lines);
    let known = ["name", "description", "program", "method", "metric", "parameters", "early_terminate", "command", "run_cap", "$schema"];
    draft.rest(lines, Some(node), "", &known);
    Ok(draft)
}

/// A parameter as a word of the command needs it.
struct Shape {
    name: String,
    expression: String,
}

fn group(node: &Node, path: &str, draft: &mut Draft, lines: Lines<'_>, shapes: &mut Vec<Shape>) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, p) in entries(node) {
        let nested = path != "parameters.";
        let ours = if nested { super::draft::Draft::default().param(name) } else { draft.param(name) };
        if let Some(inner) = get(p, "parameters") {
            let members = group(inner, &format!("{path}{name}."), draft, lines, shapes);
            out.insert(ours.clone(), json!({"parameters": members}));
            if !nested {
                let message = format!("`{path}{name}` has members: the program gets them as JSON in `--{name}`, W&B gives a Python dict");
                draft.lost(lines, p.span, message);
                shapes.push(Shape { name: name.to_owned(), expression: format!("params.{ours} | tojson") });
            }
            continue;
        }
        let made = parameter(p, &format!("{path}{name}"), draft, lines);
        if made.get("value").is_some_and(Value::is_null) {
            draft.lost(lines, p.span, format!("`{path}{name}` is null: the program must use its own default"));
            continue;
        }
        if !nested {
            let flags = made.get("values").and_then(Value::as_array).is_some_and(|v| v.iter().all(Value::is_boolean));
            let flag = flags || made.get("value").is_some_and(Value::is_boolean);
            let expression = if flag { format!("'True' if params.{ours} else 'False'") } else { format!("params.{ours}") };
            shapes.push(Shape { name: name.to_owned(), expression });
        }
        out.insert(ours, made);
    }
    out
}

fn parameter(p: &Node, path: &str, draft: &mut Draft, lines: Lines<'_>) -> Value {
    let bound = |key: &str| get(p, key).and_then(number);
    let kind = text(p, "distribution").unwrap_or_else(|| {
        let whole = |v: Option<Value>| v.is_some_and(|v| v.is_i64());
        let word = match () {
            () if get(p, "values").is_some() => "categorical",
            () if entries(p).iter().any(|(k, _)| *k == "value") => "constant",
            () if get(p, "mu").is_some() || get(p, "sigma").is_some() => "normal",
            () if whole(bound("min")) && whole(bound("max")) => "int_uniform",
            () => "uniform",
        };
        word.to_owned()
    });
    draft.rest(
        lines,
        Some(p),
        &format!("{path}."),
        &["distribution", "values", "value", "probabilities", "min", "max", "q", "mu", "sigma", "parameters"],
    );
    let span = |name: &str, min: Option<Value>, max: Option<Value>| json!({"distribution": name, "min": min, "max": max});
    let power = |v: Option<Value>| v.and_then(|v| v.as_f64()).map(|e| json!(tidy(e.exp())));
    let negated = |v: Option<Value>| v.and_then(|v| v.as_f64()).map(|e| json!(tidy((-e).exp())));
    let quantum = float(p, "q").unwrap_or(1.0);
    match kind.as_str() {
        "constant" => json!({"value": entries(p).into_iter().find(|(k, _)| *k == "value").map(|(_, v)| value(v))}),
        "categorical" | "categorical_w_probabilities" => {
            let values: Vec<Value> = get(p, "values").map(items).unwrap_or_default().into_iter().map(value).collect();
            match get(p, "probabilities") {
                Some(weights) => json!({"values": values, "weights": raw(weights)}),
                None => json!({"values": values}),
            }
        }
        "int_uniform" => span("int_uniform", bound("min"), bound("max")),
        "uniform" => span("uniform", bound("min").or(Some(json!(0.0))), bound("max").or(Some(json!(1.0)))),
        "q_uniform" => json!({"distribution": "quantized_uniform", "min": bound("min"), "max": bound("max"), "step": quantum}),
        "log_uniform" => span("log_uniform", power(bound("min")), power(bound("max"))),
        "log_uniform_values" | "inv_log_uniform_values" => span("log_uniform", bound("min"), bound("max")),
        "inv_log_uniform" => span("log_uniform", negated(bound("max")), negated(bound("min"))),
        "q_log_uniform" | "q_log_uniform_values" => {
            let (min, max) =
                if kind == "q_log_uniform" { (power(bound("min")), power(bound("max"))) } else { (bound("min"), bound("max")) };
            quantized_log(p, path, min, max, quantum, draft, lines)
        }
        "normal" | "q_normal" | "log_normal" | "q_log_normal" => {
            if kind.starts_with("q_") {
                draft.lost(lines, p.span, format!("`{path}`: `{kind}` is not rounded to multiples of {quantum}"));
            }
            let name = if kind.ends_with("log_normal") { "log_normal" } else { "normal" };
            json!({"distribution": name, "mean": float(p, "mu").unwrap_or(0.0), "std": float(p, "sigma").unwrap_or(1.0)})
        }
        other => {
            draft.lost(lines, p.span, format!("`{path}`: the distribution `{other}` is not known here; it is uniform now"));
            span("uniform", bound("min").or(Some(json!(0.0))), bound("max").or(Some(json!(1.0))))
        }
    }
}

/// Whole steps are a distribution of ours; others are not.
fn quantized_log(p: &Node, path: &str, min: Option<Value>, max: Option<Value>, q: f64, draft: &mut Draft, lines: Lines<'_>) -> Value {
    let ends = (min.as_ref().and_then(Value::as_f64), max.as_ref().and_then(Value::as_f64));
    if let (true, (Some(low), Some(high))) = (q >= 1.0 && q.fract() == 0.0, ends) {
        let low = ((low / q).round() * q).max(q);
        return json!({"distribution": "int_log_uniform", "min": low as i64, "max": ((high / q).round() * q).max(low) as i64, "step": q as i64});
    }
    draft.lost(lines, p.span, format!("`{path}`: it is not rounded to multiples of {q}"));
    json!({"distribution": "log_uniform", "min": min, "max": max})
}

fn method(node: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let at = get(node, "method").map_or(node.span, |n| n.span);
    let word = text(node, "method").unwrap_or_else(|| "random".to_owned());
    let ours = match word.as_str() {
        "grid" => "grid",
        "random" => "random",
        "bayes" => {
            draft.lost(lines, at, "`method: bayes` is a Gaussian process at W&B; `auto` chooses by space and budget");
            "auto"
        }
        other => {
            draft.lost(lines, at, format!("`method: {other}` is not known here; it is `random` now"));
            "random"
        }
    };
    draft.sweep.insert("method".to_owned(), json!(ours));
    match (whole(node, "run_cap"), ours) {
        (Some(cap), _) => drop(draft.sweep.insert("trials".to_owned(), json!(cap))),
        (None, "grid") => {}
        (None, _) => {
            draft.sweep.insert("trials".to_owned(), json!(30));
            draft.lost(lines, at, "no `run_cap`: W&B goes on until somebody ends it; `trials: 30` is a guess to change, or set `max_cost`");
        }
    }
}

/// W&B's Hyperband keeps the best 1/eta at `min_iter`, `min_iter * eta`, ...: ASHA's rule.
fn early(node: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let Some(early) = get(node, "early_terminate") else { return };
    let kind = text(early, "type").unwrap_or_default();
    if kind != "hyperband" {
        draft.lost(lines, early.span, format!("`early_terminate.type: {kind}`; see `prune` for the rules that there are"));
        return;
    }
    let eta = whole(early, "eta").unwrap_or(3).max(2);
    let mut prune = json!({"method": "asha", "eta": eta});
    if let Some(min) = whole(early, "min_iter") {
        prune["min"] = json!(min.max(1));
    }
    if let Some(max) = whole(early, "max_iter") {
        let rungs = u32::try_from(whole(early, "s").unwrap_or(2)).unwrap_or(2);
        prune["max"] = json!(max);
        if prune.get("min").is_none() {
            prune["min"] = json!((max / eta.saturating_pow(rungs)).max(1));
        }
    }
    if get(node, "metric.name").is_some() {
        draft.sweep.insert("prune".to_owned(), prune);
    } else {
        draft.lost(lines, early.span, "`early_terminate` needs a `metric`, and the sweep names none");
    }
    draft.rest(lines, Some(early), "early_terminate.", &["type", "min_iter", "max_iter", "s", "eta"]);
}

fn command(node: &Node, shapes: &[Shape], draft: &mut Draft, lines: Lines<'_>) {
    let program = text(node, "program").unwrap_or_else(|| "train.py".to_owned());
    let default = ["${env}", "${interpreter}", "${program}", "${args}"].map(str::to_owned).to_vec();
    let at = get(node, "command");
    let words = match at.map(|n| (&n.kind, items(n))) {
        None => default,
        // One text is split as W&B's documentation shows commands: at blanks.
        Some((Kind::Scalar { text, .. }, _)) => text.split_whitespace().filter(|w| *w != "-").map(str::to_owned).collect(),
        Some((_, words)) => words.into_iter().filter_map(|w| w.text().map(ToString::to_string)).collect(),
    };
    if get(node, "program").is_none() && words.iter().any(|w| w.contains("${program}")) {
        draft.say("the sweep names no `program` (it was given to `wandb.agent`): `train.py` stands for it");
    }
    let span = at.map_or(node.span, |n| n.span);
    for word in words {
        match word.trim() {
            "${env}" | "/usr/bin/env" => {}
            "${args}" => draft.run.extend(shapes.iter().map(|s| format!("--{}={{{{ {} }}}}", literal(&s.name), s.expression))),
            "${args_no_hyphens}" => draft.run.extend(shapes.iter().map(|s| format!("{}={{{{ {} }}}}", literal(&s.name), s.expression))),
            "${args_no_boolean_flags}" => {
                draft.run.extend(shapes.iter().map(|s| format!("--{}={{{{ {} }}}}", literal(&s.name), s.expression)));
                if shapes.iter().any(|s| s.expression.starts_with("'True'")) {
                    draft.lost(lines, span, "`${args_no_boolean_flags}`: flags are passed as `--flag=True` and `--flag=False`");
                }
            }
            "${args_json}" => {
                let all: Vec<String> = shapes.iter().map(|s| format!("'{}': {}", s.name.replace('\'', ""), s.expression)).collect();
                draft.run.push(format!("{{{{ {{{}}} | tojson }}}}", all.join(", ")));
            }
            "${args_json_file}" => {
                draft.lost(lines, span, "`${args_json_file}`: the params are in $OPPEN_PARAMS as JSON; the file is not written");
            }
            other => {
                let made = macros(other, &program, draft, lines, span);
                draft.run.push(made);
            }
        }
    }
}

/// A word with macros inside it.
fn macros(word: &str, program: &str, draft: &mut Draft, lines: Lines<'_>, span: crate::base::Span) -> String {
    let word = word.replace("${interpreter}", "python").replace("${program}", program);
    if let Some(name) = word.split("${envvar:").nth(1).and_then(|rest| rest.split('}').next()) {
        draft.lost(
            lines,
            span,
            format!("`${{envvar:{name}}}`: no word of a list is an environment variable; put it into `env`, or write a script"),
        );
    } else if word.contains("${") {
        draft.lost(lines, span, format!("`{word}`: this macro of W&B is not known here"));
    }
    literal(&word)
}
