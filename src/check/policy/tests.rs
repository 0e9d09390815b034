use serde_json::json;

use super::*;

fn policy(expression: &str) -> Result<Policy, String> {
    let mut sources = SourceMap::default();
    let file = sources.add("p.yaml", expression);
    let span = Span { file, start: 0, end: u32::try_from(expression.len()).unwrap_or(0) };
    let word = |text: &str| crate::spec::scalar::Plain(text.into(), span);
    let decl = RuleDecl {
        span,
        name: crate::spec::lower::Must(word("p")),
        deny: Some(word(expression)),
        warn: None,
        message: crate::spec::lower::Must(word("no")),
        hint: None,
    };
    let mut diags = Diagnostics::default();
    rule(&decl, &sources, &mut diags).ok_or_else(|| {
        let first = diags.as_slice().first();
        first.map(|d| format!("{}; {}", d.message, d.hint.clone().unwrap_or_default())).unwrap_or_default()
    })
}

fn outcome(expression: &str, run: serde_json::Value) -> Outcome {
    let run = view::case_run(Some(&run)).expect("a case");
    policy(expression).expect("a rule").outcome(&json!({"run": run}))
}

#[test]
fn money_is_compared_to_the_micro_dollar() {
    let run = json!({"cost": {"expected": "0.3 USD"}});
    assert_eq!(outcome("run.cost.expected > usd(0.3)", run.clone()), Outcome::Silent);
    assert_eq!(outcome("run.cost.expected > usd(0.299999)", run.clone()), Outcome::Hit);
    // As floats, 0.1 + 0.2 is more than 0.3.
    assert_eq!(outcome("usd(0.1) + usd(0.2) > run.cost.expected", run.clone()), Outcome::Silent);
    assert!(matches!(outcome("run.cost.expected > usd('-1')", run.clone()), Outcome::Broken(w) if w.contains("not an amount of money")));
    assert!(matches!(outcome("run.cost.expected > usd(1e-9)", run), Outcome::Broken(_)));
}

#[test]
fn what_is_not_known_is_never_passed() {
    let unpriced = json!({"cost": {"expected": null}, "timeout": null});
    for expression in ["run.cost.expected > usd(40)", "run.timeout > seconds('1h')", "run.labels.env == 'prod'", "run.params.lr < 1"] {
        assert!(matches!(outcome(expression, unpriced.clone()), Outcome::Broken(_)), "{expression}");
    }
    assert_eq!(outcome("run.cost.expected is undefined or run.cost.expected > usd(40)", unpriced.clone()), Outcome::Hit);
    assert_eq!(outcome("run.labels.env is defined and run.labels.env == 'prod'", unpriced.clone()), Outcome::Silent);
    assert!(matches!(outcome("run.gpu.count", unpriced.clone()), Outcome::Broken(w) if w.contains("neither true nor false")));
    // Nothing runs for ever.
    assert!(matches!(outcome("range(99999) | map('string') | join | length > 1", unpriced), Outcome::Broken(_)));
}

#[test]
fn names_that_rules_do_not_know_are_told_when_they_are_read() {
    assert_eq!(policy("run.capcity == 'spot'").err().as_deref(), Some("rules know no `run.capcity`; did you mean `run.capacity`?"));
    assert!(policy("run.gpu.count >").err().is_some_and(|w| w.contains("not a valid expression")));
    assert!(policy("job.team == 'x'").is_err());
    assert!(policy("run.labels.team == 'x' and run.params.lr > 1 and plan.count > 3").is_ok());
}

#[test]
fn a_case_knows_its_keys() {
    let wrong = view::case_run(Some(&json!({"prioritty": "x"})));
    assert_eq!(wrong.err().as_deref(), Some("there is no `run.prioritty`; did you mean `priority`?"));
    let run = view::case_run(Some(&json!({"gpu": {"count": 4}, "resources": {"memory": "2Gi"}}))).expect("a case");
    assert_eq!((&run["resources"]["gpu"], &run["resources"]["memory"]), (&json!(4), &json!(2_u64 << 30)));
    let plan = view::case_plan(&[run.clone(), run], None).expect("a plan");
    assert_eq!((&plan["cost"]["expected"], &plan["count"]), (&json!(2_000_000), &json!(2)));
}
