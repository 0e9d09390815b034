//! Trials that are ended early, and a kill in the middle.

use super::project::Project;

/// 200 trials of nine steps; a trial's values are its `x`, so that small ones are good.
const ASHA: &str = "  train:
    run: |
      echo \"$OPPEN_ADDRESS\" >> starts
      for step in 1 2 3 4 5 6 7 8 9; do
        echo \"step=$step loss=$OPPEN_PARAM_X\"
        sleep 0.25
      done
    resources: {cpu: 0.01, memory: 1Mi}
    sweep:
      method: random
      seed: 3
      trials: 200
      parameters: {x: {min: 0.0, max: 1.0}}
      metric: {name: loss, goal: minimize}
      prune: {method: asha, min: 1, max: 9, eta: 3}
  report: {needs: [train], run: 'echo {{ needs.train.best.params.x }} > report'}
";

#[test]
fn killed_in_the_middle_of_two_hundred_trials_none_is_lost_and_none_is_doubled() {
    let project = Project::new("pool: {max_concurrent: 60}\n", ASHA);
    for starts in [40, 90, 150] {
        let mut apply = project.start(&["apply"]);
        project.until("starts", || project.read("starts").lines().count() >= starts);
        apply.kill().unwrap();
        apply.wait().unwrap();
    }
    let text = project.expect(&["apply"], 0);
    assert!(text.contains("pruned at loss 0."), "{text}");
    let runs = project.runs();
    let trials: Vec<_> = runs.iter().filter(|r| r["address"].as_str().unwrap().starts_with("w/train[")).collect();
    assert_eq!(trials.len(), 200);
    let of = |word: &str| trials.iter().filter(|r| r["status"] == word).count();
    assert_eq!(of("succeeded") + of("pruned"), 200, "{} succeeded, {} pruned", of("succeeded"), of("pruned"));
    assert!(of("pruned") >= 20 && of("succeeded") >= 1, "{} succeeded, {} pruned", of("succeeded"), of("pruned"));
    let mut starts: Vec<String> = project.read("starts").lines().map(str::to_owned).collect();
    starts.sort();
    let mut wanted: Vec<String> = (0..200).map(|i| format!("w/train[{i}]")).collect();
    wanted.sort();
    assert_eq!(starts, wanted, "each trial once");

    // The best of all trials was among those that were kept to the end, and a pruned trial stays so.
    let x = |r: &serde_json::Value| r["params"]["x"].as_f64().unwrap();
    let best = trials.iter().map(|r| x(r)).fold(f64::INFINITY, f64::min);
    assert_eq!(project.read("report").trim(), best.to_string());
    assert_eq!(project.plan(), [""; 0]);
    let pruned = trials.iter().find(|r| r["status"] == "pruned").unwrap()["address"].as_str().unwrap();
    let text = project.expect(&["explain", pruned], 0);
    assert!(text.contains("is pruned") && text.contains("rung "), "{text}");
    let text = project.expect(&["history", pruned], 0);
    assert!(text.lines().skip_while(|l| !l.contains(" pruned ")).nth(1).is_some_and(|l| l.starts_with("        rung ")), "{text}");
}

/// Trials that keep each epoch in their checkpoint; `epochs` has a line for each that was trained.
const PROMOTED: &str = "  train:
    run: |
      epoch=0
      mkdir -p \"$OPPEN_CHECKPOINT\"
      if [ \"${OPPEN_RESUME:-}\" = 1 ]; then read -r epoch < \"$OPPEN_CHECKPOINT/epoch\"; fi
      echo \"$OPPEN_TRIAL from $epoch\" >> starts
      while [ \"$epoch\" -lt 9 ]; do
        epoch=$((epoch + 1))
        echo \"$epoch\" > \"$OPPEN_CHECKPOINT/new\" && mv \"$OPPEN_CHECKPOINT/new\" \"$OPPEN_CHECKPOINT/epoch\"
        echo \"$OPPEN_TRIAL $epoch\" >> epochs
        echo \"step=$epoch loss=$OPPEN_PARAM_X\"
        sleep 0.4
      done
    resources: {cpu: 0.01, memory: 1Mi}
    sweep:
      method: random
      seed: 3
      trials: 27
      parameters: {x: {min: 0.0, max: 1.0}}
      metric: {name: loss, goal: minimize}
      prune: {method: asha, promote: true, min: 1, max: 9, eta: 3}
";

#[test]
fn promoted_trials_go_on_from_their_checkpoints_after_a_kill_and_no_epoch_is_trained_twice() {
    let project = Project::new("pool: {max_concurrent: 6}\n", PROMOTED);
    let mut apply = project.start(&["apply", "--yes"]);
    project.until("twelve starts", || project.read("starts").lines().count() >= 12);
    apply.kill().unwrap();
    apply.wait().unwrap();
    let text = project.expect(&["apply", "--yes"], 0);
    assert!(text.contains(" paused: rung 1: ") && text.contains(" goes on: rung "), "{text}");
    let statuses = project.statuses("w/train");
    let of = |word: &str| statuses.iter().filter(|s| *s == word).count();
    assert!(of("succeeded") >= 1 && of("succeeded") + of("pruned") == 27, "{statuses:?}");

    let mut epochs: Vec<String> = project.read("epochs").lines().map(str::to_owned).collect();
    let trained = epochs.len();
    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), trained, "an epoch was trained twice");
    assert!(trained < 27 * 5, "{trained} epochs, of 243 without pruning");
    // The best of all was among those that went on, and it was promoted from a checkpoint or never stopped.
    let runs = project.runs();
    let x = |r: &serde_json::Value| r["params"]["x"].as_f64().unwrap();
    let best = runs.iter().min_by(|a, b| x(a).total_cmp(&x(b))).unwrap();
    assert_eq!(best["status"], "succeeded");
    let starts = project.read("starts");
    let resumed = starts.lines().filter(|l| !l.ends_with(" from 0")).count();
    assert!(resumed >= 3 && starts.lines().filter(|l| l.ends_with(" from 0")).count() == 27, "{starts}");
    // Its ledger has an entry for each part, and nothing is left to do.
    let parts = runs.iter().map(|r| r["attempts"].as_array().map_or(1, Vec::len)).sum::<usize>();
    assert!(parts == 1 || parts == starts.lines().count(), "{parts} attempts, {starts}");
    assert_eq!(project.plan(), [""; 0]);
    let pruned = runs.iter().find(|r| r["status"] == "pruned").unwrap()["address"].as_str().unwrap();
    let text = project.expect(&["history", pruned], 0);
    assert!(text.contains("rung "), "{text}");
}

#[test]
fn promotion_needs_rungs_and_the_steps_of_a_full_trial() {
    for (prune, words) in [
        ("{method: median, promote: true}", "`median` has no rungs to promote from"),
        ("{method: asha, promote: true}", "`promote` needs `max`, the steps of a full trial"),
    ] {
        let project = Project::new("", &PROMOTED.replace("{method: asha, promote: true, min: 1, max: 9, eta: 3}", prune));
        let text = project.expect(&["plan"], 4);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn the_saving_in_the_plan_is_that_of_the_rule_itself() {
    use oppen::record::{Distribution, Goal, Method, Parameter, PruneMethod, PruneSpec, SearchSpec, Space};
    use oppen::search::Verdict;
    let x = Parameter { name: "x".into(), dist: Distribution::Uniform { min: 0.0, max: 1.0 }, when: Vec::new() };
    for method in [PruneMethod::Asha, PruneMethod::Hyperband] {
        let rule = PruneSpec { max: Some(27), ..PruneSpec::new(method) };
        let spec = SearchSpec {
            space: Space { parameters: vec![x.clone()], ..Space::default() },
            method: Method::Random,
            options: Default::default(),
            seed: 0,
            goal: Goal::Minimize,
            trials: Some(40),
            parallel: None,
            points: Vec::new(),
            prune: Some(rule.clone()),
        };
        let mut saved = Vec::new();
        for game in 0..300_u32 {
            let mut pruner = oppen::search::pruner(&spec).unwrap();
            let mut trained = 0;
            for trial in 0..40_u64 {
                // Weyl's sequence, another one each game: trials in no order of quality.
                let value = (f64::from(game) * 0.754_877_666
                    + (trial * trial) as f64 * 0.569_840_291
                    + trial as f64 * f64::from(game) * 0.273_129_883)
                    .fract();
                let ends = (1..=27).find(|step| matches!(pruner.report(trial, *step, Some(value)), Verdict::Prune { .. }));
                trained += ends.unwrap_or(27);
            }
            saved.push(1.0 - trained as f64 / (40.0 * 27.0));
        }
        let mean = saved.iter().sum::<f64>() / saved.len() as f64;
        let told = oppen::price::pruning::saving(&rule, 40, None).unwrap();
        assert!((mean - told.share).abs() < 0.02, "{method:?}: {mean} {told:?}");
        let inside = saved.iter().filter(|s| (told.low - 0.01..=told.high + 0.01).contains(*s)).count();
        assert!(inside >= 255, "{method:?}: {inside} of 300 in {told:?}");
    }
    let project = Project::new("", ASHA);
    project.edit("    resources: {cpu: 0.01, memory: 1Mi}", "    resources: {cpu: 1, memory: 1Mi}\n    estimate: {time: 1h}");
    let plan = project.json(&["plan", "-o", "json"]);
    let sweep = &plan["sweeps"][0];
    let (cost, saving) =
        (sweep["cost"].as_str().unwrap().parse::<f64>().unwrap(), sweep["pruning"]["saving"].as_str().unwrap().parse::<f64>().unwrap());
    assert!(cost > 1.0 && (saving / cost - sweep["pruning"]["share"].as_f64().unwrap()).abs() < 0.001, "{sweep:#}");
    let text = project.expect(&["plan"], 0);
    assert!(text.contains("Sweep w/train: 200 trials in full $") && text.contains("of which asha saves about $"), "{text}");
}

#[test]
fn pruning_needs_a_metric_and_a_metric_that_never_comes_is_named() {
    let project = Project::new(
        "",
        "  train:
    run: 'echo step=1 los=0.5'
    sweep: {method: random, trials: 2, parameters: {x: {min: 0.0, max: 1.0}}, prune: {method: median}}
",
    );
    let text = project.expect(&["plan"], 4);
    assert!(text.contains("`prune` judges trials by a metric, and the sweep names none"), "{text}");
    project.edit("trials: 2", "trials: 2, metric: {name: loss, goal: minimize}");
    let text = project.expect(&["apply"], 0);
    assert!(text.contains("w/train: none of 2 trials reported `loss`") && text.contains("did you mean `los`?"), "{text}");
}
