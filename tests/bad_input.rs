//! Bad input and attacks: each gives a diagnostic with its place, and nothing else happens.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn oppen(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oppen")).args(args).current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const HEAD: &str = "apiVersion: oppen/v1\nkind: Workflow\nname: w\n";

/// All problems of one workflow file.
fn diagnostics(yaml: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.yaml"), yaml).unwrap();
    let out = oppen(folder.path(), &["validate", "w.yaml", "-o", "json"]);
    assert_eq!(out.status.code(), Some(4), "{yaml}\n{}{}", text(&out.stdout), text(&out.stderr));
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    value["diagnostics"].as_array().unwrap().clone()
}

/// Codes with their lines.
fn problems(yaml: &str) -> Vec<(String, u64)> {
    diagnostics(yaml).iter().map(|d| (d["code"].as_str().unwrap().to_owned(), d["line"].as_u64().unwrap_or(0))).collect()
}

fn first_message(yaml: &str) -> String {
    diagnostics(yaml)[0]["message"].as_str().unwrap().to_owned()
}

fn codes(yaml: &str) -> Vec<String> {
    problems(yaml).into_iter().map(|(c, _)| c).collect()
}

fn job(body: &str) -> String {
    format!("{HEAD}jobs:\n  a:\n    run: [\"true\"]\n{body}")
}

#[test]
fn all_problems_come_in_one_pass_with_their_lines() {
    let yaml = format!(
        "{HEAD}jobs:\n  a:\n    runn: [\"true\"]\n    needs: [b]\n  c:\n    run: [echo, \"{{{{ inputs.x }}}}\"]\n    resources: {{cpu: -1}}\n"
    );
    let found = problems(&yaml);
    for (code, line) in [("unknown-key", 6), ("unknown-need", 7), ("unknown-name", 9), ("bad-value", 10)] {
        assert!(found.contains(&(code.to_owned(), line)), "{code} at {line}: {found:?}");
    }
}

#[test]
fn hints_name_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.yaml"), job("    resorces: {cpu: 1}\n")).unwrap();
    let out = text(&oppen(folder.path(), &["validate", "w.yaml"]).stdout);
    assert!(out.contains("w.yaml:7:5") && out.contains("did you mean `resources`?"), "{out}");
}

#[test]
fn a_long_line_is_shown_no_wider_than_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(3000);
    let yaml = [
        job(&format!("    env: {{A: {long}, B: {long}}}\n    resorces: {long}\n")),
        // Two places on the one line, far from each other, and a place that is itself too wide.
        format!(
            "{HEAD}jobs: {{a: {{run: [\"{long}\"], env: {{A: ä{long}}}, priority: normal, priority: urgent, resources: {{cpu: {long}}}}}}}\n"
        ),
        job(&format!("    resources: {{cpu: 1, {}\tgqu: 1}}\n", " ".repeat(200))),
    ];
    for yaml in yaml {
        std::fs::write(folder.path().join("w.yaml"), &yaml).unwrap();
        let out = oppen(folder.path(), &["validate", "w.yaml"]);
        let shown = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(4), "{shown}");
        let wide = |l: &str| l.chars().map(|c| if c == '\t' { 4 } else { 1 }).sum::<usize>();
        assert!(shown.contains("here (line cut)"), "{shown}");
        assert!(shown.lines().all(|l| wide(l) <= 80), "{shown}");
    }
}

#[test]
fn bombs_and_depths_are_refused() {
    let mut bomb = format!("{HEAD}x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n");
    for i in 1..10 {
        bomb += &format!("x{i}: &x{i} [*x{0}, *x{0}, *x{0}, *x{0}, *x{0}, *x{0}, *x{0}, *x{0}, *x{0}]\n", i - 1);
    }
    assert!(!codes(&bomb).is_empty());
    assert!(!codes(&format!("{HEAD}jobs: {}{}", "[".repeat(10_000), "]".repeat(10_000))).is_empty());
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("w.yaml")).unwrap();
    file.set_len(100 << 20).unwrap();
    let out = oppen(folder.path(), &["validate", "w.yaml"]);
    assert_eq!(out.status.code(), Some(4));
    assert!(text(&out.stdout).contains("104857600 bytes"), "{}", text(&out.stdout));
}

#[test]
fn keys_twice_and_unknown_tags_are_errors() {
    assert!(
        codes(&job("    priority: normal\n    priority: urgent\n")).iter().any(|c| c.contains("duplicate")),
        "{:?}",
        codes(&job("    priority: normal\n    priority: urgent\n"))
    );
    assert!(!codes(&job("    env: {A: !secret x}\n")).is_empty());
}

#[test]
fn a_grid_of_a_billion_is_counted_before_it_is_made() {
    let values = "{values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}";
    let parameters: String = (0..9).map(|i| format!("        p{i}: {values}\n")).collect();
    let yaml = job(&format!("    sweep:\n      method: grid\n      parameters:\n{parameters}"));
    assert_eq!(codes(&yaml), ["too-many-runs"]);
    let priced = |more: &str, sweep: &str| first_message(&job(&format!("{more}    {sweep}\n")));
    let matrix = "matrix: {a: {range: [0, 1000]}, b: {range: [0, 1000]}, c: {range: [0, 1000]}}";
    let refused = "1000000000 runs are more than the 1000000 that one project may have";
    let hour = "    resources: {gpu: 1, cpu: 2, memory: 3Gi}\n    estimate: {time: 1h}\n";
    assert_eq!(priced(hour, matrix), format!("{refused}; they would cost $615000000.00 at full price"));
    assert_eq!(priced("", matrix), format!("{refused}; they have no price without an `estimate`"));
    let random = "sweep: {method: random, trials: 1000000000, parameters: {lr: {min: 0.1, max: 1.0}}}";
    let depends = "    estimate: {epochs: 3, per_epoch: \"{{ params.lr * 3 }}s\"}\n";
    assert_eq!(priced(depends, random), format!("{refused}; what they cost depends on their params"));
    assert_eq!(codes(&job("    sweep: {method: grid, parameters: {lr: {min: 0.1, max: 1.0}}}\n")), ["continuous-grid"]);
    assert_eq!(codes(&job("    sweep: {method: random, parameters: {lr: {min: 0.1, max: 1.0}}}\n")), ["missing-key"]);
    assert_eq!(
        codes(&job("    sweep: {method: random, trials: 3, parameters: {lr: {distribution: log_uniform, min: -5, max: -1}}}\n")),
        ["bad-parameter"]
    );
    let searched = |method: &str, more: &str, parameters: &str| {
        let head = format!("method: {method}, trials: 3, metric: {{name: loss, goal: minimize}}");
        codes(&job(&format!("    sweep: {{{head}, {more} parameters: {{{parameters}}}}}\n")))
    };
    let range = "lr: {min: 0.1, max: 1.0}";
    assert_eq!(searched("pbt", "", range), ["bad-value"]);
    // Options that a method does not have, or that contradict each other, are never passed over in silence.
    assert_eq!(searched("gp", "options: {restarts: ipop, population: 8},", range), ["bad-value", "bad-value"]);
    assert_eq!(searched("cma-es", "options: {population: 3, group: true},", range), ["bad-value", "bad-value"]);
    assert_eq!(searched("tpe", "options: {group: true, multivariate: false, candidates: 0},", range), ["bad-value", "bad-value"]);
    assert_eq!(searched("cma-es", "", "opt: {values: [adam, sgd]}"), ["bad-value"]);
}

#[test]
fn numbers_that_are_none_are_refused() {
    for bad in [
        "timeout: NaN",
        "timeout: -5s",
        "resources: {memory: inf}",
        "resources: {cpu: .nan}",
        "resources: {gpu: -1}",
        "estimate: {time: 1e999}",
    ] {
        assert!(!codes(&job(&format!("    {bad}\n"))).is_empty(), "{bad}");
    }
    for bad in ["NaN USD", "-1 USD", "inf", "99999999999999999999 USD", "1 EUR"] {
        assert!(!codes(&format!("{}budget: {{limit: {bad}}}\n", job(""))).is_empty(), "{bad}");
    }
}

#[test]
fn paths_stay_inside_the_root() {
    for path in ["../x", "/etc/passwd", "a/../../x", "\"%2e%2e/x\"", "\"a\\\\..\\\\x\"", "file:///etc/passwd", ".oppen/state.db"] {
        assert!(codes(&job(&format!("    outputs: [{path}]\n"))).contains(&"bad-path".to_owned()), "{path}");
        assert!(!codes(&format!("{HEAD}jobs:\n  a: {{uses: {path}}}\n")).is_empty(), "{path}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    std::fs::write(folder.path().join("w.yaml"), job("    inputs: [link]\n")).unwrap();
    let out = oppen(folder.path(), &["validate", "w.yaml"]);
    assert_eq!(out.status.code(), Some(4), "{}", text(&out.stdout));
}

#[test]
fn names_that_collide_or_are_none_are_refused() {
    assert_eq!(codes(&format!("{HEAD}jobs:\n  Train: {{run: [\"true\"]}}\n  train: {{run: [\"true\"]}}\n")), ["name-collision"]);
    assert!(codes(&format!("{HEAD}jobs:\n  \"a/b\": {{run: [\"true\"]}}\n")).contains(&"bad-name".to_owned()));
    assert!(codes(&format!("{HEAD}jobs:\n  {}: {{run: [\"true\"]}}\n", "x".repeat(64))).contains(&"bad-name".to_owned()));
    assert!(codes(&format!("{HEAD}jobs:\n  \"a\\e[31m\": {{run: [\"true\"]}}\n")).contains(&"bad-name".to_owned()));
    assert!(codes(&format!("{HEAD}jobs:\n  \"a\\u202e\": {{run: [\"true\"]}}\n")).contains(&"bad-name".to_owned()));
    assert!(!codes(&job("    env: {\"A B\": x}\n")).is_empty());
}

#[test]
fn nothing_hostile_reaches_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.yaml"), "apiVersion: oppen/v1\nkind: \"\\e[31mred\\u202e\"\nname: \x1b[31mx\n").unwrap();
    let out = oppen(folder.path(), &["validate", "w.yaml"]);
    let shown = text(&out.stdout) + &text(&out.stderr);
    assert!(!shown.contains('\x1b') && !shown.contains('\u{202e}'), "{shown:?}");
}

#[test]
fn a_loop_is_told_by_its_shortest_way_and_where_it_is_written() {
    let yaml = format!(
        "{HEAD}jobs:\n  a: {{run: [\"true\"], needs: [c]}}\n  b: {{run: [\"true\"], needs: [a]}}\n  c: {{run: [\"true\"], needs: [b, a]}}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.yaml"), &yaml).unwrap();
    let value: Value = serde_json::from_slice(&oppen(folder.path(), &["validate", "w.yaml", "-o", "json"]).stdout).unwrap();
    let d = &value["diagnostics"][0];
    assert_eq!(d["message"], "jobs need each other: w/a -> w/c -> w/a");
    assert_eq!((d["line"].as_u64(), d["related"][0]["line"].as_u64()), (Some(5), Some(7)));
    assert_eq!(codes(&format!("{HEAD}jobs:\n  a: {{uses: ./w.yaml}}\n")), ["endless-use"]);
}

#[test]
fn values_reach_the_program_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = r#"'; touch pwned; "}],"args":[ $(touch pwned) `touch pwned` \ {{ inputs.x }}
second line"#;
    let yaml = format!(
        "{HEAD}inputs: {{x: {{type: string}}}}\njobs:\n  argv: {{run: [printf, \"%s\", \"{{{{ inputs.x }}}}\"]}}\n  script:\n    run: |\n      printf '%s' {{{{ inputs.x }}}} > bare\n      printf '%s' \"{{{{ inputs.x }}}}\" > double\n      printf '%s' '{{{{ inputs.x }}}}' > single\n    outputs: [bare, double, single]\n"
    );
    std::fs::write(folder.path().join("w.yaml"), yaml).unwrap();
    let out = oppen(folder.path(), &["apply", "w.yaml", "--set", &format!("x={hostile}")]);
    assert_eq!(out.status.code(), Some(0), "{}{}", text(&out.stdout), text(&out.stderr));
    for file in ["bare", "double", "single"] {
        assert_eq!(std::fs::read_to_string(folder.path().join(file)).unwrap(), hostile, "{file}");
    }
    assert!(!folder.path().join("pwned").exists());
    let comment = format!("{HEAD}inputs: {{x: {{default: a}}}}\njobs:\n  a:\n    run: |\n      true # {{{{ inputs.x }}}}\n");
    assert_eq!(codes(&comment), ["unsafe-value"]);
}

#[test]
fn rates_that_cannot_hold_are_refused() {
    for (rates, code) in [
        ("{currency: EUR}", "unknown-currency"),
        ("{as_of: 2999-01-01}", "future-rates"),
        ("{gpus: {A100: NaN USD}}", "bad-value"),
        ("{gpus: {A100: -1 USD}}", "bad-value"),
        ("{cpu: 99999999999999999999 USD}", "bad-value"),
        ("{off_peak: {factor: 0}}", "bad-value"),
        ("{off_peak: {holidays: [someday]}}", "bad-value"),
        ("{off_peak: {timezone: Europe/Berln}}", "unknown-zone"),
    ] {
        assert_eq!(codes(&format!("apiVersion: oppen/v1\nkind: Project\nname: p\nrates: {rates}\n")), [code], "{rates}");
    }
}

#[test]
fn a_gpu_without_a_price_is_refused_and_never_free() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("oppen.yaml"),
        "apiVersion: oppen/v1\nkind: Project\nname: p\npool: {quotas: {gpu: 8}}\nrates: {gpus: {A100: 2 USD}}\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("w.yaml"), job("    resources: {gpu: H900:1}\n    estimate: {time: 1h}\n")).unwrap();
    let out = oppen(folder.path(), &["plan", "w.yaml", "-o", "json"]);
    assert_eq!(out.status.code(), Some(3));
    let plan: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(plan["checks"][0]["message"].as_str().unwrap().contains("no price for the GPU type `H900`"), "{plan:#}");
    assert!(plan["runs"][0]["estimate"].is_null() && plan["runs"][0]["unpriced_reason"].is_string());
}

#[test]
fn spaces_that_cannot_be_searched_are_refused() {
    let sweep = |rest: &str| codes(&job(&format!("    sweep: {{method: random, trials: 3, {rest}}}\n")));
    let x = "parameters: {x: {min: 0.0, max: 1.0}, y: {values: [1, 2]}}";
    for (rest, code) in [
        (format!("{x}, constraints: ['params.x > 2']"), "empty-space"),
        (format!("{x}, constraints: ['params.z > 2']"), "unknown-name"),
        (format!("{x}, constraints: ['params.x + 1']"), "template"),
        (format!("{x}, points: [{{x: 3}}]"), "bad-point"),
        (format!("{x}, points: [{{xx: 0.5}}]"), "bad-point"),
        (format!("{x}, options: {{candidates: 3}}"), "bad-value"),
        ("parameters: {a: {values: [1, 1]}}".to_owned(), "bad-parameter"),
        ("parameters: {a: {values: [1, 2], when: 'params.b == 1'}, b: {values: [1], when: 'params.a == 1'}}".to_owned(), "circular-space"),
        ("parameters: {}".to_owned(), "empty-space"),
    ] {
        assert_eq!(sweep(&rest), [code], "{rest}");
    }
}

#[test]
fn forms_for_tools_carry_hostile_text_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("{HEAD}jobs:\n  \"a,b:c%\\n::warning::x|<i>@all\\e[0m\": {{run: [\"true\"]}}\n");
    std::fs::write(folder.path().join("w.yaml"), yaml).unwrap();
    let print = |form: &str| {
        let out = oppen(folder.path(), &["validate", "w.yaml", "-o", form]);
        assert_eq!(out.status.code(), Some(4));
        text(&out.stdout)
    };
    let github = print("github");
    assert!(github.starts_with("::error file=w.yaml,line=5,endLine=5,col=3,"), "{github}");
    assert!(github.lines().count() == 1 && github.contains("c%25\\n::warning::x"), "{github}");
    let junit = print("junit");
    assert!(junit.contains("tests=\"1\" failures=\"1\"") && junit.contains("x|&lt;i&gt;@all\\x1b[0m"), "{junit}");
    let sarif: Value = serde_json::from_str(&print("sarif")).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&sarif["version"], &result["ruleId"], &result["level"]), (&"2.1.0".into(), &"bad-name".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&"w.yaml".into(), &5.into()));
    let markdown = print("markdown");
    assert!(markdown.contains("x\\|<i>@all\\x1b[0m`") && markdown.lines().filter(|l| l.starts_with("| error")).count() == 1, "{markdown}");
    assert!(![github, junit, markdown].concat().contains('\x1b'));
    // Several at once, into files; a form that a command cannot print is wrong usage before anything else happens.
    let out = oppen(folder.path(), &["validate", "w.yaml", "-o", "sarif=a.sarif", "-o", "junit=b.xml", "-o", "json"]);
    assert!(out.status.code() == Some(4) && text(&out.stdout).starts_with('{'));
    assert!(folder.path().join("a.sarif").exists() && folder.path().join("b.xml").exists());
    let refused = oppen(folder.path(), &["status", "-o", "sarif"]);
    assert!(refused.status.code() == Some(64) && text(&refused.stderr).contains("it prints text, json"), "{}", text(&refused.stderr));
}
