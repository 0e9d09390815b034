//! Nearest known name, for "did you mean".

/// The known name closest to `name`, when close enough to be a likely slip of the pen.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&wanted, &k.to_lowercase()), k))
        .filter(|(distance, k)| *distance <= 1 + k.len().max(wanted.len()) / 4)
        .min_by_key(|(distance, k)| (*distance, k.len()))
        .map(|(_, k)| k)
}

/// What other tools (Argo, GitHub Actions, Katib, Optuna, Ray, Slurm, Weights & Biases) call it, and the words here: the first that
/// is known where the name stands is meant. Compared in lower case without `-` and `_`.
const ELSEWHERE: [(&[&str], &[&str]); 31] = [
    (&["accelerator", "accelerators", "numgpus", "gres"], &["gpu", "gpus"]),
    (&["algorithm", "sampler", "strategy", "search"], &["method"]),
    (&["artifacts", "produces", "out"], &["outputs"]),
    (&["backofflimit", "attempts", "retries", "retrystrategy", "restartpolicy"], &["retry"]),
    (&["cap", "budget", "costlimit", "maxbudget", "limit"], &["max_cost", "limit"]),
    (&["choices", "categories", "options", "feasiblespace"], &["values", "options"]),
    (&["command", "cmd", "args", "script", "entrypoint", "program", "exec", "steps"], &["run"]),
    (&["container", "docker", "containerimage"], &["image"]),
    (&["cores", "cpus", "ncpus", "vcpus"], &["cpu"]),
    (&["deadline", "activedeadlineseconds", "timelimit", "walltime"], &["timeout", "by"]),
    (&["dependson", "depends", "dependencies", "after", "upstream"], &["needs"]),
    (&["direction", "mode", "type", "objectivetype"], &["goal"]),
    (&["duration", "runtime", "expectedtime"], &["estimate", "time"]),
    (&["earlyterminate", "earlystopping", "pruner", "scheduler"], &["prune"]),
    (&["environment", "envvars", "variables"], &["env"]),
    (&["high", "upper", "ub", "maximum"], &["max"]),
    (&["low", "lower", "lb", "minimum"], &["min"]),
    (&["log", "scale", "prior"], &["distribution"]),
    (&["mem", "ram"], &["memory"]),
    (&["numsamples", "ntrials", "maxtrials", "maxtrialcount", "samples", "runcap", "count"], &["trials"]),
    (&["objective"], &["metric"]),
    (&["parallelism", "paralleltrialcount", "concurrency", "maxparallel", "maxconcurrenttrials"], &["parallel", "max_concurrent"]),
    (&["params", "space", "searchspace", "paramspace", "hyperparameters", "config"], &["parameters"]),
    (&["tags", "annotations"], &["labels"]),
    (&["bayes", "bayesian", "bayesianoptimization", "skopt"], &["gp"]),
    (&["cmaes"], &["cma-es"]),
    (&["gridsearch"], &["grid"]),
    (&["quasirandom", "qmc"], &["sobol"]),
    (&["randomsearch"], &["random"]),
    (&["max", "maximum", "maximal", "up", "higher", "greater", "ascend"], &["maximize"]),
    (&["min", "minimum", "minimal", "down", "lower", "less", "descend"], &["minimize"]),
];

/// The word here for what another tool calls `name`, where it is known.
fn translated<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect();
    let mut ours = ELSEWHERE.iter().filter(|(theirs, _)| theirs.contains(&plain.as_str())).flat_map(|(_, ours)| ours.iter());
    ours.find_map(|word| known.clone().into_iter().find(|k| k == word))
}

/// ``did you mean `x`?`` or the list of what is known.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(name, known.clone()).or_else(|| translated(name, known.clone())) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut all: Vec<&str> = known.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    let more = all.len().saturating_sub(12);
    all.truncate(12);
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("known here: {}", all.join(", "))),
        (false, more) => Some(format!("known here: {} and {more} more", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip_and_not_the_stranger() {
        assert_eq!(nearest("memroy", ["memory", "cpu"]), Some("memory"));
        assert_eq!(nearest("gpus", ["memory", "gpu"]), Some("gpu"));
        assert_eq!(nearest("zebra", ["memory", "cpu"]), None);
        assert_eq!(hint("depends_on", ["run", "needs"]).as_deref(), Some("did you mean `needs`?"));
        assert_eq!(hint("dependsOn", ["run", "cpu"]).as_deref(), Some("known here: cpu, run"), "a word of ours that is not known here");
        let of_goal = |word| hint(word, ["minimize", "maximize"]);
        assert_eq!(
            (of_goal("lower").as_deref(), of_goal("MAX").as_deref()),
            (Some("did you mean `minimize`?"), Some("did you mean `maximize`?"))
        );
        assert_eq!(hint("lower", ["min", "max"]).as_deref(), Some("did you mean `min`?"), "the same word elsewhere");
        assert_eq!(hint("zebra", ["memory", "cpu", "memory"]).as_deref(), Some("known here: cpu, memory"));
    }
}
