//! What ends a sweep: failures, money, time.

use super::project::Project;

fn count(statuses: &[String], word: &str) -> usize {
    statuses.iter().filter(|s| *s == word).count()
}

#[test]
fn a_sweep_takes_as_many_failures_as_it_says_and_no_more() {
    let project = Project::new(
        "",
        "  train:
    run: 'test {{ params.x }} -gt 1 && echo loss={{ params.x }}'
    sweep: {method: grid, parameters: {x: {values: [0, 1, 2, 3, 4]}}, metric: {name: loss, goal: minimize}, parallel: 1, max_failed: 2}
  report: {needs: [train], run: 'echo best={{ needs.train.best.params.x }} > report'}
",
    );
    let text = project.expect(&["apply"], 0);
    assert!(text.contains("4 succeeded, 2 failed"), "{text}");
    assert_eq!(project.read("report"), "best=2\n");
    assert_eq!(project.plan(), [""; 0], "failures that the sweep takes are not tried again");

    // Fewer are taken now: what failed is tried again, and the first that fails too often ends the sweep.
    project.edit("max_failed: 2", "max_failed: 0");
    assert_eq!(project.plan(), ["rerun w/train[0]", "rerun w/train[1]"]);
    project.expect(&["apply"], 8);
    assert_eq!(project.statuses("w/train"), ["failed", "skipped", "succeeded", "succeeded", "succeeded"]);
    project.expect(&["apply"], 8);
    project.edit("max_failed: 0", "max_failed: 7");
    project.expect(&["apply"], 0);
    assert_eq!(project.plan(), [""; 0]);
}

#[test]
fn a_sweep_that_learns_is_extended_and_keeps_what_still_fits_another_space() {
    let sweep = |name: &str, more: &str| {
        format!(
            "  {name}:
    run: 'awk -v x=\"$OPPEN_PARAM_X\" \"BEGIN {{ print \\\"loss=\\\" (x - 0.3) * (x - 0.3) }}\"'
    resources: {{cpu: 0.01, memory: 1Mi}}
    sweep:
      method: tpe
      trials: 8
      parameters: {{x: {{min: -1.0, max: 1.0}}}}
      metric: {{name: loss, goal: minimize}}
      options: {{startup: 5}}
{more}"
        )
    };
    let project = Project::new("", &(sweep("a", "") + &sweep("b", "      warm_start: [w/a]\n    needs: [a]\n")));
    project.expect(&["apply"], 0);
    let tried = |job: &str| -> Vec<f64> {
        let csv = project.expect(&["sweep", "export", job], 0);
        csv.lines().skip(1).filter_map(|l| l.split(',').nth(6)?.parse().ok()).collect()
    };
    // Eight results of another sweep are more than the five that it would have begun with blindly.
    let history = project.expect(&["sweep", "export", "w/b"], 0);
    assert!(history.lines().nth(1).is_some_and(|l| l.contains("of 8 results")), "{history}");

    let before = tried("w/a");
    project.edit("trials: 8", "trials: 12");
    assert_eq!(project.plan().iter().filter(|a| a.contains("w/a[")).collect::<Vec<_>>().len(), 4, "the eight are kept");
    project.expect(&["apply"], 0);
    let after = tried("w/a");
    assert!(after.len() == 12 && after.starts_with(&before), "{before:?} {after:?}");

    project.edit("min: -1.0", "min: -0.5");
    let mut again: Vec<String> = project.plan().into_iter().filter(|a| a.contains("w/a[")).collect();
    let mut unfit: Vec<String> = (0..12).filter(|i| after[*i] < -0.5).map(|i| format!("rerun w/a[{i}]")).collect();
    again.sort();
    unfit.sort();
    assert!(!unfit.is_empty() && unfit.len() < 12, "{after:?}");
    assert_eq!(again, unfit, "what still fits is kept");
}

#[test]
fn trials_that_the_money_does_not_reach_are_left_out_and_come_back_with_more_money() {
    // A core costs a dollar a second; two trials are thought to fit, and each leaves half of what it was given.
    let project = Project::new(
        "rates: {cpu: 3600 USD, off_peak: {factor: 1.0}}\n",
        "  train:
    run: 'sleep 1; echo loss={{ params.x }}'
    resources: {cpu: 1, memory: 1Mi}
    estimate: {time: 2s}
    sweep: {method: grid, parameters: {x: {values: [0, 1, 2, 3, 4, 5]}}, metric: {name: loss, goal: minimize}, max_cost: 4 USD}
  report: {needs: [train], run: 'echo {{ needs.train.runs | length }} > report'}
",
    );
    let plan = project.expect(&["plan"], 0);
    assert!(plan.contains("would spend $12.00") && plan.contains("its max_cost is $4.00"), "{plan}");
    assert!(plan.contains("Sweep w/train: 6 trials in full $12.00, max_cost leaves $4.00."), "{plan}");
    assert!(plan.contains("Expected $4.00, 1 unpriced"), "the sum holds what the limit lets it spend: {plan}");
    project.expect(&["apply"], 0);
    let before = project.statuses("w/train");
    assert!(count(&before, "succeeded") >= 1 && count(&before, "unneeded") >= 3, "{before:?}");
    assert_eq!(count(&before, "succeeded") + count(&before, "unneeded"), 6, "{before:?}");
    let spent: f64 = project.runs().iter().map(|r| r["spent"].as_str().unwrap().parse::<f64>().unwrap()).sum();
    assert!(spent <= 4.0, "{spent}");
    assert_eq!(project.read("report"), "6\n");
    assert_eq!(project.plan(), [""; 0]);
    project.edit("max_cost: 4 USD", "max_cost: 6 USD");
    let text = project.expect(&["plan"], 0);
    assert!(text.contains("sweep.max_cost $4.00 -> $6.00"), "{text}");
    assert_eq!(project.plan().len(), count(&before, "unneeded"), "only what was left out runs now");
}

#[test]
fn a_sweep_whose_time_is_over_ends_what_runs_and_starts_nothing_more() {
    let project = Project::new(
        "",
        "  train:
    run: 'echo loss={{ params.s }}; exec sleep {{ params.s }}'
    grace: 1s
    sweep: {method: grid, parameters: {s: {values: [0, 60, 61, 62]}}, metric: {name: loss, goal: minimize}, parallel: 2, max_time: 3s}
  report: {needs: [train], run: 'echo {{ needs.train.best.params.s }} > report'}
",
    );
    let text = project.expect(&["apply"], 0);
    assert!(text.contains("pruned at loss 60: max_time: the 3s of the sweep are over"), "{text}");
    assert_eq!(project.statuses("w/train"), ["succeeded", "pruned", "pruned", "unneeded"]);
    assert_eq!(project.read("report"), "0\n", "the best of those with a result");
    assert_eq!(project.plan(), [""; 0]);
}

#[test]
fn a_paused_sweep_starts_nothing_and_goes_on_where_it_was() {
    let project = Project::new(
        "",
        "  train:
    run: 'echo x >> count; while [ ! -e go ]; do sleep 0.02; done; echo loss={{ params.x }}'
    sweep: {method: grid, parameters: {x: {values: [0, 1, 2, 3]}}, metric: {name: loss, goal: minimize}, parallel: 1}
  after: {needs: [train], run: 'true'}
",
    );
    let mut apply = project.start(&["apply"]);
    project.until("the first trial", || project.read("count").lines().count() == 1);
    let text = project.expect(&["sweep", "pause", "w/train"], 0);
    assert!(text.starts_with("Asked "), "{text}");
    project.until("the pause", || project.oppen(&["queue"]).1.contains("its sweep was paused by"));
    std::fs::write(project.path().join("go"), "").unwrap();
    assert_eq!(apply.wait().unwrap().code(), Some(3), "what is left waits for a person");
    assert_eq!(project.statuses("w/train"), ["succeeded", "pending", "pending", "pending"]);
    let text = project.expect(&["apply"], 3);
    assert!(text.contains("`oppen sweep resume w/train` lets it go on"), "{text}");
    assert!(project.expect(&["sweep", "pause", "w/train"], 0).contains("paused already"));
    let text = project.expect(&["sweep", "resume", "w/trian"], 1);
    assert!(text.contains("did you mean `w/train`?"), "{text}");
    let text = project.expect(&["sweep", "pause", "w/after"], 1);
    assert!(text.contains("`w/after` is no sweep"), "{text}");
    project.expect(&["sweep", "resume", "w/train"], 0);
    assert_eq!(project.statuses("w/train"), ["succeeded"; 4]);
    assert_eq!(project.read("count").lines().count(), 4);

    // Without an engine the wish is noted for the next one.
    project.edit("[0, 1, 2, 3]", "[0, 1, 2, 3, 4]");
    project.expect(&["sweep", "pause", "w/*"], 0);
    project.expect(&["apply"], 3);
    assert_eq!(project.statuses("w/train")[4], "pending");
    project.expect(&["sweep", "resume", "w/train"], 0);
    assert_eq!(project.read("count").lines().count(), 5);
    assert_eq!(project.statuses("w/after"), ["succeeded"]);
}
