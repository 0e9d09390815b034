//! Sweeps that go wrong while they run: values that are none, names that nobody reports, spaces that change.

use super::project::Project;

/// `lost` prints its value in a way that is not read; `odd` has values that are no numbers.
const JOBS: &str = r#"  lost:
    run: |
      printf '\n\033[31mval_loss: 0.5\033[0m\n'
      for i in 1 2 3; do echo "step=$i val_los=0.$i acc=1"; done
      printf '{"step": 1, "aux": 2}\n' > "$OPPEN_METRICS"
    resources: {cpu: 0.01, memory: 1Mi}
    sweep: {method: random, trials: 3, parameters: {x: {min: 0.0, max: 1.0}}, metric: {name: val_loss, goal: minimize}}
  odd:
    run: 'echo "step=1 loss=nan"; echo "step=2 loss=inf"'
    resources: {cpu: 0.01, memory: 1Mi}
    sweep: {method: tpe, trials: 12, parallel: 2, parameters: {x: {min: 0.0, max: 1.0}}, metric: {name: loss, goal: minimize}, prune: {method: asha}}
  half:
    run: 'if [ "$OPPEN_TRIAL" = 1 ]; then echo loss=nan; else echo "loss=$OPPEN_PARAM_X"; fi'
    resources: {cpu: 0.01, memory: 1Mi}
    sweep: {method: grid, parameters: {x: {values: [3, 1, 2]}}, metric: {name: loss, goal: minimize}}
"#;

/// Names of files, which hold the state's lineage, as `FILE`.
fn still(text: &str) -> String {
    let word = |w: &str| if w.starts_with(".oppen/attempts/") { format!("FILE{}", &w[w.rfind('.').unwrap()..]) } else { w.to_owned() };
    text.lines().map(|l| l.split(' ').map(word).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_metric_without_a_value_is_named_with_what_was_seen_on_which_lines() {
    let project = Project::new("pool: {max_concurrent: 4}\n", JOBS);
    let told = project.expect(&["apply"], 0);
    let warned: Vec<&str> =
        told.lines().skip_while(|l| !l.starts_with("warning w/lost")).take_while(|l| !l.starts_with("warning w/odd")).collect();
    insta::assert_snapshot!(still(&warned.join("\n")), @r#"
    warning w/lost: none of 3 trials reported `val_loss`
      w/lost[0] has, in its program's own words (not to be trusted):
      FILE.log
        (no value)  line 2          val_loss: 0.5
        val_los     lines 3 to 5    step=1 val_los=0.1 acc=1
        acc         lines 3 to 5    step=1 val_los=0.1 acc=1
      FILE.metrics
        aux         line 1          {"step": 1, "aux": 2}
      did you mean `val_los`? Name it under `metric`, or print `val_loss=0.5`
    "#);
    let odd = project.expect(&["sweep", "status", "w/odd"], 0);
    insta::assert_snapshot!(still(odd.split_once("\n\n").unwrap().1), @"
    warning w/odd: 12 trials gave `loss` no finite value
      w/odd[0] has, in its program's own words (not to be trusted):
      FILE.log
        loss  lines 1 to 2    step=1 loss=nan
      NaN and infinite values are unknown: they rank no trial
    ");
    // One value is enough to go on with, and what is no number is never the best.
    let half = project.expect(&["sweep", "status", "w/half"], 0);
    assert!(half.contains("best    2 in w/half[2]") && !half.contains("warning"), "{half}");
    let value = project.json(&["sweep", "status", "w/lost", "-o", "json"])["sweeps"][0]["metric_unseen"].clone();
    assert_eq!((&value["nearest"], &value["trials"], &value["untrusted"]), (&"val_los".into(), &3.into(), &true.into()));
    assert_eq!((&value["missed"][0]["line"], &value["reported"][0]["first"]), (&2.into(), &3.into()), "{value:#}");
    let again = project.expect(&["apply", "-o", "json"], 0);
    assert!(!again.contains("metric-unseen"), "nothing ended: {again}");
    let page = project.expect(&["sweep", "report", "w/lost"], 0);
    assert!(page.contains("<pre class=\"warn\" tabindex=\"0\">w/lost: none of 3 trials reported") && !page.contains('\x1b'), "{page}");
    let list = project.expect(&["sweep", "list"], 0);
    assert!(list.contains("no trial gave val_loss a value: `oppen sweep status w/lost` tells more"), "{list}");
    // A finished trial of what never finds a value is not run again, and does not stop the sweep.
    assert_eq!(project.statuses("w/odd"), ["succeeded"; 12]);
}

#[test]
fn a_resumed_sweep_whose_space_changed_keeps_what_fits_and_says_what_does_not() {
    let jobs = "  t:
    run: 'echo loss=$OPPEN_PARAM_X; test $OPPEN_TRIAL -lt 3 || while [ ! -e go ]; do sleep 0.05; done'
    resources: {cpu: 0.01, memory: 1Mi}
    grace: 1s
    sweep: {method: tpe, trials: 6, parallel: 3, points: [{x: 0.1}, {x: 0.6}, {x: 0.9}], parameters: {x: {min: 0.0, max: 1.0}}, metric: {name: loss, goal: minimize}}
";
    let project = Project::new("pool: {max_concurrent: 4}\n", jobs);
    let mut apply = project.start(&["apply"]);
    project.until("a state", || project.oppen(&["status"]).0 == 0);
    project.until("three results", || project.statuses("w/t").iter().filter(|s| *s == "succeeded").count() == 3);
    project.until("three more", || project.statuses("w/t").iter().filter(|s| *s == "running").count() == 3);
    apply.kill().unwrap();
    apply.wait().unwrap();
    project.edit("{min: 0.0, max: 1.0}", "{min: 0.5, max: 1.0}");
    project.edit("points: [{x: 0.1}, {x: 0.6}, {x: 0.9}], ", "");
    let plan = project.expect(&["plan", "--expand"], 0);
    assert!(plan.contains("w/t[0]") && plan.contains("outside the space: `0.1` is not a value of `x`"), "{plan}");
    assert!(!project.plan().iter().any(|p| p.ends_with("w/t[1]") || p.ends_with("w/t[2]")), "{:?}", project.plan());
    // What runs in the old space and does not fit is ended; the rest is adopted.
    std::fs::write(project.path().join("go"), "").unwrap();
    project.expect(&["apply"], 0);
    assert_eq!(project.statuses("w/t"), ["succeeded"; 6]);
    let inside = project.runs().iter().all(|r| r["params"]["x"].as_f64().is_some_and(|x| (0.5..=1.0).contains(&x)));
    assert!(inside, "{:#?}", project.runs());
}

#[test]
fn what_is_wrong_with_a_sweep_is_said_with_line_and_column() {
    let sweep = |rest: &str| format!("  t:\n    run: 'true'\n    sweep:\n      method: random\n      trials: 3\n{rest}");
    let x = "      parameters: {x: {min: 0.0, max: 1.0}}\n";
    for (rest, place, words, help) in [
        (format!("      metric: {{name: loss, goal: maximise}}\n{x}"), "10:34", "unknown goal `maximise`", "did you mean `maximize`?"),
        (format!("      metric: {{name: loss, goal: max}}\n{x}"), "10:34", "unknown goal `max`", "did you mean `maximize`?"),
        (format!("      metric: {{name: loss, goal: lower}}\n{x}"), "10:34", "unknown goal `lower`", "did you mean `minimize`?"),
        (format!("      metric: {{name: 'val loss', goal: minimize}}\n{x}"), "10:22", "no run can report a metric `val loss`", "letters, digits"),
        (format!("      metric: {{name: '', goal: minimize}}\n{x}"), "10:22", "no run can report a metric ``", "letters, digits"),
        (format!("      parallel: 0\n{x}"), "10:17", "no trial at a time runs no trial", "leave `parallel` out"),
        (format!("      max_cost: 0 USD\n{x}"), "10:17", "a sweep of no money runs no trial", "leave `max_cost` out"),
        ("      parameters: {x: {min: 1.0, max: 0.0}}\n".to_owned(), "10:20", "`min` (1) is above `max` (0)", "swap them"),
        ("      parameters: {x: {min: .nan, max: 1.0}}\n".to_owned(), "10:29", "`.nan` is not a finite number", "quote it"),
        ("      parameters: {x: {values: []}}\n".to_owned(), "10:20", "`values` must be a list with at least one value", "values: [a, b]"),
        (
            "      parameters:\n        x: {values: [1, 2]}\n        x: {values: [3]}\n".to_owned(),
            "12:9",
            "`x` is written twice",
            "keep one of them",
        ),
        (
            "      parameters:\n        x: {values: [1, 2]}\n        X: {values: [3]}\n".to_owned(),
            "12:9",
            "param `X` has the same variable as another: `OPPEN_PARAM_X`",
            "give it another name",
        ),
        (
            "      parameters: {x: {min: 0.0, max: 1.0}, y: {min: 0.0, max: 1.0}}\n      constraints: ['params.x + params.y < 0.0000001']\n".to_owned(),
            "11:21",
            "none of 10000 points that were looked at meets the constraints",
            "loosen the constraints",
        ),
        (
            "      parameters: {x: {values: [1, 2, 3]}}\n      constraints: ['params.x > 2', 'params.x < 2']\n".to_owned(),
            "11:21",
            "no point of the space meets the constraints",
            "loosen the constraints",
        ),
    ] {
        let project = Project::new("", &sweep(&rest));
        let text = project.expect(&["validate"], 4);
        assert_eq!(text.contains("of 1000 points meet it"), rest.contains("constraints"), "{rest}\n{text}");
        assert!(text.contains("\n1 error"), "one problem is told once: {text}");
        let flat = text.replace("\n  │ ", " ");
        assert!(flat.contains(words) && text.contains(&format!("w.yaml:{place}]")) && text.contains(help), "{rest}\n{text}");
    }
}

#[test]
fn a_parameter_that_can_never_exist_is_said_and_a_grid_does_not_count_it_twice() {
    let jobs = "  t:
    run: 'true'
    resources: {cpu: 0.01, memory: 1Mi}
    sweep:
      method: grid
      parameters:
        opt: {values: [adam, sgd]}
        momentum: {values: [0.5, 0.9], when: \"params.opt == 'SGD'\"}
        seed: {values: [1, 2]}
";
    let project = Project::new("", jobs);
    let text = project.expect(&["validate"], 0);
    assert!(text.contains("no trial has `momentum`") && text.contains("w.yaml:12:") && text.contains("4 runs"), "{text}");
    project.edit("'SGD'", "'sgd'");
    let text = project.expect(&["validate"], 0);
    assert!(!text.contains("no trial has") && text.contains("6 runs"), "{text}");
    project.edit("params.opt == 'sgd'", "false");
    assert!(project.expect(&["validate"], 0).contains("4 runs"));
}

#[test]
fn other_tools_words_and_unknown_sweeps_are_told_with_what_is_meant() {
    let jobs = "  t:
    run: 'true'
    sweep: {method: METHOD, trials: 3, parameters: {x: {min: 0.0, max: 1.0}}, metric: {name: loss, goal: minimize}, warm_start: [WARM]}
  other:
    run: 'true'
    sweep: {method: random, trials: 3, parameters: {x: {min: 0.0, max: 1.0}}}
";
    for (method, warm, code, words) in [
        ("bayes", "w/other", 4, "did you mean `gp`?"),
        ("hyperband", "w/other", 4, "write `prune: {method: hyperband}`"),
        ("tpe", "w/t", 4, "a sweep knows its own trials without a `warm_start`"),
        ("tpe", "w/othre", 0, "begins with the trials of w/othre, which neither the files nor the record know"),
    ] {
        let project = Project::new("", &jobs.replace("METHOD", method).replace("WARM", warm));
        let text = project.expect(&["plan"], code);
        let flat: Vec<&str> = text.split_whitespace().filter(|w| *w != "│").collect();
        assert!(flat.join(" ").contains(words), "{text}");
    }
    let project = Project::new("", &jobs.replace("METHOD", "tpe").replace("WARM", "w/other"));
    assert!(!project.expect(&["plan"], 0).contains("neither the files"));
}
