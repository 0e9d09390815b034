//! Experiments of Katib (Kubeflow): <https://www.kubeflow.org/docs/components/katib/>.
//!
//! In: the YAML. Out: a draft whose job is the primary container of the trial template. Must never take over a pod's rights.

use serde_json::{Map, Value, json};

use super::draft::{Draft, Lines, entries, get, items, literal, number, text, value, whole};
use crate::spec::tree::Node;

/// Reads an experiment.
pub fn read(node: &Node, lines: Lines<'_>) -> Result<Draft, String> {
    let spec = get(node, "spec").ok_or("the Experiment has no `spec`")?;
    let name = text(node, "metadata.name").or_else(|| text(node, "metadata.generateName")).unwrap_or_else(|| "experiment".to_owned());
    let mut draft = Draft { source: "a Katib Experiment", name, ..Draft::default() };
    let mut space = Map::new();
    for p in get(spec, "parameters").map(items).unwrap_or_default() {
        let Some(name) = text(p, "name") else { continue };
        let made = parameter(p, &name, &mut draft, lines);
        space.insert(draft.param(&name), made);
    }
    if space.is_empty() {
        let nas = get(spec, "nasConfig").is_some();
        let words = if nas { "neural architecture search (`nasConfig`) has no counterpart here" } else { "`spec.parameters` is empty" };
        return Err(words.to_owned());
    }
    draft.sweep.insert("parameters".to_owned(), Value::Object(space));
    objective(spec, &mut draft, lines);
    algorithm(spec, &mut draft, lines);
    let trials = whole(spec, "maxTrialCount");
    if trials.is_none() && draft.sweep.get("method") != Some(&json!("grid")) {
        draft.lost(lines, spec.span, "no `maxTrialCount`: `trials: 30` is a guess to change");
    }
    let grid = draft.sweep.get("method") == Some(&json!("grid"));
    let pairs = [
        ("trials", trials.or((!grid).then_some(30))),
        ("parallel", whole(spec, "parallelTrialCount").or(Some(3))),
        ("max_failed", whole(spec, "maxFailedTrialCount")),
    ];
    for (key, count) in pairs {
        draft.sweep.extend(count.map(|c| (key.to_owned(), json!(c))));
    }
    stopping(spec, &mut draft, lines);
    collector(spec, &mut draft, lines);
    match get(spec, "trialTemplate") {
        Some(template) => container(template, &mut draft, lines),
        None => draft.say("there is no `trialTemplate`: write the command"),
    }
    if draft.run.is_empty() {
        draft.run = ["python", "train.py"].map(str::to_owned).to_vec();
    }
    let known = [
        "parameters",
        "objective",
        "algorithm",
        "maxTrialCount",
        "parallelTrialCount",
        "maxFailedTrialCount",
        "earlyStopping",
        "metricsCollectorSpec",
        "trialTemplate",
        "resumePolicy",
    ];
    draft.rest(lines, Some(spec), "spec.", &known);
    Ok(draft)
}

fn parameter(p: &Node, name: &str, draft: &mut Draft, lines: Lines<'_>) -> Value {
    let bound = |key: &str| get(p, &format!("feasibleSpace.{key}")).and_then(number);
    let listed: Vec<&Node> = get(p, "feasibleSpace.list").map(items).unwrap_or_default();
    let dist = text(p, "feasibleSpace.distribution").unwrap_or_default();
    let log = dist.eq_ignore_ascii_case("logUniform");
    if !["", "uniform", "loguniform"].contains(&dist.to_ascii_lowercase().as_str()) {
        draft.lost(lines, p.span, format!("`{name}`: the distribution `{dist}` within bounds is not known here; it is uniform now"));
    }
    let (min, max, step) = (bound("min"), bound("max"), bound("step"));
    match text(p, "parameterType").unwrap_or_default().as_str() {
        "int" => {
            let mut made = json!({"distribution": if log { "int_log_uniform" } else { "int_uniform" }, "min": min, "max": max});
            if let Some(step) = step {
                made["step"] = step;
            }
            made
        }
        "double" if log => json!({"distribution": "log_uniform", "min": min, "max": max}),
        "double" => match step {
            Some(step) => json!({"distribution": "quantized_uniform", "min": min, "max": max, "step": step}),
            None => json!({"distribution": "uniform", "min": min, "max": max}),
        },
        "discrete" => json!({"values": listed.iter().map(|n| number(n).unwrap_or_else(|| value(n))).collect::<Vec<_>>(), "ordered": true}),
        "categorical" => json!({"values": listed.iter().filter_map(|n| n.text()).map(|t| literal(t)).collect::<Vec<_>>()}),
        other => {
            draft.lost(lines, p.span, format!("`{name}`: the type `{other}` is not known here"));
            json!({"values": listed.iter().map(|n| value(n)).collect::<Vec<_>>()})
        }
    }
}

fn objective(spec: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let Some(name) = text(spec, "objective.objectiveMetricName") else { return };
    draft.metric(&name, text(spec, "objective.type").as_deref() == Some("maximize"));
    if let Some(goal) = get(spec, "objective.goal") {
        draft.lost(lines, goal.span, "`objective.goal`: no sweep ends at a value; end it with `oppen sweep pause`");
    }
    for strategy in get(spec, "objective.metricStrategies").map(items).unwrap_or_default() {
        if text(strategy, "name").as_deref() == Some(&name) && text(strategy, "value").as_deref() != Some("latest") {
            draft.lost(lines, strategy.span, "`objective.metricStrategies`: trials compare by their last value");
        }
    }
    let known = ["objectiveMetricName", "type", "goal", "metricStrategies", "additionalMetricNames"];
    draft.rest(lines, get(spec, "objective"), "objective.", &known);
}

fn settings(node: Option<&Node>) -> Vec<(String, &Node)> {
    let all = node.and_then(|n| get(n, "algorithmSettings")).map(items).unwrap_or_default();
    all.into_iter().filter_map(|s| Some((text(s, "name")?, get(s, "value")?))).collect()
}

fn algorithm(spec: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let at = get(spec, "algorithm");
    let word = text(spec, "algorithm.algorithmName").unwrap_or_else(|| "random".to_owned());
    let span = at.map_or(spec.span, |n| n.span);
    let method = match word.as_str() {
        "random" => "random",
        "grid" => "grid",
        "tpe" | "multivariate-tpe" => "tpe",
        "sobol" => "sobol",
        "cmaes" => "cma-es",
        "hyperband" => "random",
        "bayesianoptimization" => {
            draft.lost(lines, span, "`bayesianoptimization` is a Gaussian process in Katib; `auto` chooses by space and budget");
            "auto"
        }
        other => {
            draft.lost(lines, span, format!("the algorithm `{other}` is not known here; it is `random` now"));
            "random"
        }
    };
    draft.sweep.insert("method".to_owned(), json!(method));
    let mut prune = json!({"method": "hyperband"});
    for (name, node) in settings(at) {
        let number = number(node).and_then(|n| n.as_f64()).filter(|n| *n >= 1.0);
        match (name.as_str(), number) {
            ("random_state", Some(seed)) => drop(draft.sweep.insert("seed".to_owned(), json!(seed as u64))),
            ("eta", Some(eta)) if word == "hyperband" => prune["eta"] = json!((eta as u64).max(2)),
            ("r_l" | "rL", Some(most)) if word == "hyperband" => prune["max"] = json!(most as u64),
            ("resource_name" | "resourceName", _) if word == "hyperband" => {
                let resource = node.text().map(ToString::to_string).unwrap_or_default();
                draft.lost(
                    lines,
                    node.span,
                    format!(
                        "`{resource}` was Hyperband's resource: let each trial train in full and report step by step; it is ended early"
                    ),
                );
            }
            _ => draft.lost(lines, node.span, format!("`algorithmSettings.{name}`")),
        }
    }
    if word == "hyperband" {
        if prune.get("max").is_none() {
            prune["max"] = json!(81);
        }
        draft.sweep.insert("prune".to_owned(), prune);
    }
}

fn stopping(spec: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let Some(early) = get(spec, "earlyStopping") else { return };
    if text(early, "algorithmName").as_deref() != Some("medianstop") {
        draft.lost(lines, early.span, "`earlyStopping`: only `medianstop` has a counterpart; see `prune`");
        return;
    }
    let mut prune = json!({"method": "median", "startup": 3, "min": 4});
    for (name, node) in settings(Some(early)) {
        match (name.as_str(), node.text().and_then(|t| t.parse::<u64>().ok())) {
            ("min_trials_required", Some(n)) => prune["startup"] = json!(n),
            ("start_step", Some(n)) => prune["min"] = json!(n.max(1)),
            _ => draft.lost(lines, node.span, format!("`earlyStopping.algorithmSettings.{name}`")),
        }
    }
    draft.sweep.insert("prune".to_owned(), prune);
}

fn collector(spec: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let Some(collector) = get(spec, "metricsCollectorSpec") else { return };
    let kind = text(collector, "collector.kind").unwrap_or_default();
    if !["", "StdOut", "None"].contains(&kind.as_str()) {
        let message =
            format!("`metricsCollectorSpec` ({kind}): let the program print `name=value` lines, or write JSON lines to $OPPEN_METRICS");
        draft.lost(lines, collector.span, message);
    }
    if get(collector, "source.filter").is_some() {
        draft.lost(lines, collector.span, "`metricsCollectorSpec.source.filter`: lines of `name=value` and of JSON are read as they are");
    }
}

/// The pod template in a trial of any of the kinds that Katib's examples use.
fn pod<'n>(trial: &'n Node, draft: &mut Draft, lines: Lines<'_>) -> Option<&'n Node> {
    let paths = [
        "spec.template.spec",
        "spec.pytorchReplicaSpecs.Master.template.spec",
        "spec.tfReplicaSpecs.Chief.template.spec",
        "spec.tfReplicaSpecs.Worker.template.spec",
        "spec.xgbReplicaSpecs.Master.template.spec",
        "spec.mpiReplicaSpecs.Launcher.template.spec",
    ];
    let kind = text(trial, "kind").unwrap_or_default();
    if kind != "Job" {
        draft.lost(lines, trial.span, format!("`trialSpec` is a {kind}: one container of it runs as a plain job here"));
    }
    paths.iter().find_map(|path| get(trial, path))
}

fn container(template: &Node, draft: &mut Draft, lines: Lines<'_>) {
    let Some(trial) = get(template, "trialSpec") else {
        draft.lost(lines, template.span, "`trialTemplate` has no `trialSpec`: write the command");
        return;
    };
    let Some(pod) = pod(trial, draft, lines) else {
        draft.lost(lines, trial.span, "`trialSpec`: no container was found in it: write the command");
        return;
    };
    let all = get(pod, "containers").map(items).unwrap_or_default();
    let primary = text(template, "primaryContainerName");
    let Some(main) = all.iter().find(|c| primary.is_some() && text(c, "name") == primary).or(all.first()) else { return };
    let mut references: Vec<(String, String)> = Vec::new();
    for p in get(template, "trialParameters").map(items).unwrap_or_default() {
        references.extend(text(p, "name").zip(text(p, "reference")));
    }
    let words: Vec<&Node> = ["command", "args"].iter().filter_map(|k| get(main, k)).flat_map(items).collect();
    for word in words.into_iter().filter_map(Node::text) {
        let made = filled(word, &references, draft, lines, main);
        draft.run.push(made);
    }
    draft.job.extend(text(main, "image").map(|i| ("image".to_owned(), json!(literal(&i)))));
    resources(main, draft);
    environment(main, &references, draft, lines);
    draft.rest(lines, Some(main), "containers.", &["name", "image", "command", "args", "resources", "env", "imagePullPolicy"]);
    draft.rest(lines, Some(pod), "trialSpec.", &["containers", "restartPolicy"]);
}

/// `${trialParameters.name}` as our expression.
fn filled(word: &str, references: &[(String, String)], draft: &mut Draft, lines: Lines<'_>, at: &Node) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once("${trialParameters.") {
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        let reference = references.iter().find(|(n, _)| n == name).map_or(name, |(_, r)| r);
        out.push_str(&literal(before));
        if reference.starts_with("${trialSpec.") {
            draft.lost(lines, at.span, format!("`{reference}`: the run's own name is in $OPPEN_ADDRESS"));
            rest = tail;
            continue;
        }
        out.push_str(&format!("{{{{ params.{} }}}}", draft.param(reference)));
        rest = tail;
    }
    out + &literal(rest)
}

fn resources(main: &Node, draft: &mut Draft) {
    let mut made = Map::new();
    for (theirs, ours) in [("nvidia.com/gpu", "gpu"), ("cpu", "cpu"), ("memory", "memory")] {
        let of = |part: &str| {
            get(main, "resources")
                .and_then(|r| get(r, part))
                .and_then(|p| entries(p).into_iter().find(|(k, _)| *k == theirs).map(|(_, v)| v))
        };
        if let Some(amount) = of("limits").or_else(|| of("requests")) {
            made.insert(ours.to_owned(), number(amount).unwrap_or_else(|| value(amount)));
        }
    }
    if !made.is_empty() {
        draft.job.insert("resources".to_owned(), Value::Object(made));
    }
}

fn environment(main: &Node, references: &[(String, String)], draft: &mut Draft, lines: Lines<'_>) {
    let (mut plain, mut secret) = (Map::new(), Map::new());
    for variable in get(main, "env").map(items).unwrap_or_default() {
        let Some(name) = text(variable, "name") else { continue };
        let key = |part: &str| text(variable, &format!("valueFrom.secretKeyRef.{part}"));
        if let Some(value) = text(variable, "value") {
            let made = filled(&value, references, draft, lines, variable);
            plain.insert(name, json!(made));
        } else if let (Some(from), Some(key)) = (key("name"), key("key")) {
            secret.insert(name, json!(format!("{from}/{key}")));
        } else {
            draft.lost(lines, variable.span, format!("`env.{name}`: only values and keys of secrets have a counterpart"));
        }
    }
    for (key, map) in [("env", plain), ("secrets", secret)] {
        if !map.is_empty() {
            draft.job.insert(key.to_owned(), Value::Object(map));
        }
    }
}
