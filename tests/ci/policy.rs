//! Policies: in the project file and in documents, held by plan, apply, submit and ci, and tested by their own cases.

use crate::*;

const RULES: &str = "\
apiVersion: oppen/v1
kind: Policy
name: house
rules:
  - name: urgent-not-on-spot
    deny: run.priority == 'urgent' and run.capacity == 'spot'
    message: urgent runs must not be taken away
    hint: 'say `capacity: on-demand`'
  - name: dear-run
    deny: run.cost.expected > usd(1.20)
    message: a run may cost 1.20 USD
  - name: no-timeout
    warn: run.timeout is undefined
    message: has no timeout, so nobody knows its worst cost
  - name: small-plans
    deny: plan.count > 50 or plan.runs | selectattr('gpu.count', 'gt', 2) | list | length > 1
    message: too large for one plan
tests:
  - name: urgent spot is refused
    run: {priority: urgent, capacity: spot}
    expect: {deny: [urgent-not-on-spot]}
  - name: a dear run without a timeout
    run: {cost: {expected: 1.200001 USD}, timeout: null}
    expect: {deny: [dear-run], warn: [no-timeout]}
  - name: two large runs
    runs: [{gpu: {count: 4}}, {gpu: {count: 4}}]
    expect: {deny: [small-plans]}
  - name: an ordinary run
    expect: {}
";

#[test]
fn plans_are_held_to_rules_with_both_places() {
    let lab = folder(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP), ("policies/house.yaml", RULES)]);
    out(lab.path(), &["plan"], 0);
    write(lab.path(), &[("policies/house.yaml", &RULES.replace("usd(1.20)", "usd(0.10)"))]);
    let plan = out(lab.path(), &["plan"], 3);
    let wanted = "blocked: nlp/finetune: a run may cost 1.20 USD (workflows/nlp.yaml:5) (rule: policies/house.yaml:9) [policy/dear-run]";
    assert!(plan.contains(wanted), "{plan}");
    assert!(plan.contains("help: the rule is `run.cost.expected > usd(0.10)`"), "{plan}");
    out(lab.path(), &["apply", "--yes"], 3);
    assert!(out(lab.path(), &["policy", "list"], 0).starts_with("deny urgent-not-on-spot (policies/house.yaml:5)\n"));
}

#[test]
fn a_rule_that_cannot_be_judged_refuses() {
    let unpriced = NLP.replacen("    estimate: {time: 1h}\n", "", 1);
    let lab = folder(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", &unpriced), ("policies/house.yaml", RULES)]);
    let plan = out(lab.path(), &["plan"], 3);
    assert!(plan.contains("blocked: nlp/finetune: cannot be judged, so it is refused: `run.cost.expected > usd(1.20)`"), "{plan}");
    // A slip in a rule is an error of the files, wherever the rule stands.
    let project = format!(
        "{LAB}policies:\n  - {{name: a, deny: run.capcity == 'spot', message: no}}\n  - {{name: a, warn: 'true', deny: 'true', message: no}}\n"
    );
    write(lab.path(), &[("oppen.yaml", &project)]);
    let told = String::from_utf8_lossy(&oppen(lab.path(), &["validate"]).stdout).into_owned();
    assert!(told.contains("rules know no `run.capcity`") && told.contains("did you mean `run.capacity`?"), "{told}");
    assert!(told.contains("says both `deny` and `warn`"), "{told}");
}

#[test]
fn ci_refuses_what_an_edit_brings_against_a_rule() {
    let files = [("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP), ("policies/house.yaml", RULES)];
    let lab = repository(&files);
    write(lab.path(), &[("workflows/nlp.yaml", &NLP.replace("memory: 4Gi}", "memory: 4Gi, capacity: spot}\n    priority: urgent"))]);
    let text = out(lab.path(), &["ci", "--base", "main", "--at", NOON], 3);
    assert!(
        text.contains("blocked: nlp/finetune: urgent runs must not be taken away (workflows/nlp.yaml:5) (rule: policies/house.yaml:5)"),
        "{text}"
    );
    assert!(text.contains("help: say `capacity: on-demand`"), "{text}");
    // A stricter rule is not against an edit that leaves the runs as they are.
    write(lab.path(), &[("workflows/nlp.yaml", NLP), ("policies/house.yaml", &RULES.replace("usd(1.20)", "usd(0.10)"))]);
    assert!(out(lab.path(), &["ci", "--base", "main"], 0).contains("as before: nlp/finetune: a run may cost 1.20 USD"));
}

#[test]
fn cases_pass_or_say_what_is_otherwise() {
    let lab = folder(&[("oppen.yaml", LAB), ("policies/house.yaml", RULES)]);
    let test = |code| out(lab.path(), &["policy", "test"], code);
    let wanted = "\
house (policies/house.yaml)
  ok   urgent spot is refused
  ok   a dear run without a timeout
  ok   two large runs
  ok   an ordinary run
4 cases, all pass.
";
    assert_eq!(test(0), wanted);
    let broken = RULES.replace("usd(1.20)", "usd(0.50)").replace("deny: [urgent-not-on-spot]", "warn: [urgent-not-on-sopt]");
    write(lab.path(), &[("policies/house.yaml", &broken)]);
    let text = test(1);
    let first = "\
  FAIL urgent spot is refused (policies/house.yaml:19)
       there is no rule `urgent-not-on-sopt` in this document
       `urgent-not-on-spot` says deny, which is not expected
       `dear-run` says deny, which is not expected
       expected warn of `urgent-not-on-sopt`, and it is silent
";
    assert!(text.contains(first) && text.ends_with("4 cases, 3 failed.\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&out(lab.path(), &["policy", "test", "-o", "json"], 1)).expect("JSON");
    assert_eq!((json["cases"].as_u64(), json["failed"].as_u64()), (Some(4), Some(3)));
    write(lab.path(), &[("policies/house.yaml", RULES.split("tests:").next().unwrap_or_default())]);
    assert_eq!(test(0), "The policies have no cases: nothing was tested. Write `tests` into them, see docs/policies.md.\n");
    write(lab.path(), &[("policies/house.yaml", &RULES.replace("priority: urgent, ", "prioritty: urgent, "))]);
    assert!(test(1).contains("there is no `run.prioritty`; did you mean `priority`?"));
}

#[test]
fn the_rules_of_this_project_pass_their_cases() {
    let text = out(Path::new(env!("CARGO_MANIFEST_DIR")), &["policy", "test"], 0);
    assert!(text.ends_with("5 cases, all pass.\n"), "{text}");
}

#[test]
fn plan_prints_by_how_much_hard_budgets_may_be_passed() {
    // Three trials, two at a time: the two dearest, each 2 x 0.50 + 2 x 0.05 + 4 x 0.005 = $1.12/h for 60s of grace and 30s more.
    let nlp = NLP
        .split("  old:")
        .next()
        .unwrap_or_default()
        .replace("    timeout: 2h\n", "    timeout: 2h\n    grace: 60s\n    matrix: {seed: [1, 2, 3]}\n");
    let lab = LAB.replace("max_concurrent: 8", "max_concurrent: 2");
    let hard =
        folder(&[("oppen.yaml", &format!("{lab}budget: {{limit: 50 USD, on_exceed: hold, window: day}}\n")), ("workflows/nlp.yaml", &nlp)]);
    let plan = out(hard.path(), &["plan"], 0);
    assert!(plan.contains("At most $0.056 beyond hard budgets (grace + 30s of what runs at once).\n"), "{plan}");
    let json: serde_json::Value = serde_json::from_str(&out(hard.path(), &["plan", "-o", "json"], 0)).expect("JSON");
    assert_eq!(json["summary"]["overrun"].as_str(), Some("0.056"));
    // A budget that only warns promises nothing.
    write(hard.path(), &[("oppen.yaml", &format!("{lab}budget: {{limit: 50 USD, on_exceed: warn}}\n"))]);
    assert!(!out(hard.path(), &["plan"], 0).contains("beyond hard budgets"));
}
