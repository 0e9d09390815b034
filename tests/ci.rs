//! `oppen ci`, policies and quotas, with the real binary and real git repositories.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn oppen(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").output().unwrap_or_else(|e| panic!("oppen {args:?}: {e}"))
}

/// Runs in a folder and insists on an exit code; standard output comes back.
fn out(folder: &Path, args: &[&str], code: i32) -> String {
    let output = oppen(folder, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "oppen {}\n--- stdout\n{out}\n--- stderr\n{err}", args.join(" "));
    out.into_owned()
}

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), files);
    folder
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
}

const LAB: &str = "apiVersion: oppen/v1\nkind: Project\nname: lab\npool: {max_concurrent: 8, quotas: {gpu: 8}}\n";

const TEAM: &str = "\
apiVersion: oppen/v1
kind: Workflow
name: a
team: vision
jobs:
  train:
    run: [echo, hi]
    matrix: {seed: [1, 2, 3]}
    resources: {gpu: 1, cpu: 1, memory: 1Gi}
    estimate: {time: 1h}
    timeout: 2h
";

#[test]
fn a_team_waits_for_its_own_quota_and_plan_says_where_that_is_written() {
    let project = format!("{LAB}teams:\n  vision: {{gpu: 2, max_run_cost: 1 USD}}\n");
    let lab = folder(&[("oppen.yaml", &project), ("workflows/a.yaml", TEAM)]);
    let plan = out(lab.path(), &["plan"], 0);
    assert!(plan.contains("starts 2 now, 1 at +1h"), "{plan}");
    let wait = "warning: team vision holds 2 of 2 GPUs at the start: 1 run waits for it (oppen.yaml:6) [quota]";
    assert!(plan.contains(wait), "{plan}");
    // What the team can never hold is refused, with both places.
    write(lab.path(), &[("workflows/a.yaml", &TEAM.replace("gpu: 1", "gpu: 4"))]);
    let plan = out(lab.path(), &["plan"], 3);
    assert!(
        plan.contains("blocked: a/train asks for 4 GPUs, team vision has 2 (workflows/a.yaml:6) (rule: oppen.yaml:6) [quota]"),
        "{plan}"
    );
    assert!(plan.contains("budget is $1.00 (workflows/a.yaml:6) (rule: oppen.yaml:6) [budget]"), "{plan}");
    // A slip in the team's name escapes no quota unseen.
    write(lab.path(), &[("workflows/a.yaml", &TEAM.replace("vision", "visoin"))]);
    let plan = out(lab.path(), &["plan"], 0);
    assert!(plan.contains("belongs to team visoin, which `teams` does not name"), "{plan}");
    assert!(plan.contains("help: did you mean `vision`?"), "{plan}");
}

#[test]
fn gpu_hours_are_counted_from_the_ledger_and_hold_by_window() {
    let quota = |hours: &str| format!("{LAB}teams:\n  vision: {{gpu_hours: {hours}}}\n");
    let lab = folder(&[("oppen.yaml", &quota("{limit: 2, window: quarter}")), ("workflows/a.yaml", TEAM)]);
    let plan = out(lab.path(), &["plan"], 0);
    assert!(plan.contains("warning: team vision has 0 of 2 GPU-hours a quarter left: 1 run waits until 20"), "{plan}");
    assert!(plan.contains("-01T00:00Z (oppen.yaml:6) [quota]"), "{plan}");
    write(lab.path(), &[("oppen.yaml", &quota("{limit: 0.5}"))]);
    let plan = out(lab.path(), &["plan"], 3);
    let refused = "blocked: a/train asks for 1 GPU-hour, team vision has 0.5 (workflows/a.yaml:6) (rule: oppen.yaml:6) [quota]";
    assert!(plan.contains(refused), "{plan}");
    assert!(plan.contains("help: ask for fewer GPUs or less time, or raise `teams.vision.gpu_hours` in oppen.yaml"), "{plan}");
    // Eight GPUs for a second and more are used: of fourteen GPU-seconds too little is left for as much again.
    let short = TEAM.replace("gpu: 1", "gpu: 8").replace("[1, 2, 3]", "[1]").replace("1h", "1s").replace("[echo, hi]", "[sleep, '1']");
    write(lab.path(), &[("oppen.yaml", &quota("{limit: 0.004}")), ("workflows/a.yaml", &short)]);
    assert!(out(lab.path(), &["queue"], 1).is_empty(), "no state yet");
    out(lab.path(), &["apply", "--yes"], 0);
    let queue: serde_json::Value = serde_json::from_str(&out(lab.path(), &["queue", "-o", "json"], 0)).expect("JSON");
    let meter = &queue["gpu_hours"][0];
    assert_eq!((&meter["team"], &meter["limit"], &meter["window"]), (&"vision".into(), &"0.004".into(), &"total".into()));
    assert!(meter["used"].as_str().is_some_and(|used| used >= "0.002"), "{meter}");
    write(lab.path(), &[("workflows/a.yaml", &short.replace("[1]", "[2]"))]);
    let plan = out(lab.path(), &["plan"], 3);
    assert!(plan.contains(" GPU-hours, team vision has 0.004 (0.00") && plan.contains("of them are left) (workflows/a.yaml:6)"), "{plan}");
    // What is no quota says so, all at once.
    write(lab.path(), &[("oppen.yaml", &quota("{limit: 0, window: dya, timezone: Mars}"))]);
    let output = oppen(lab.path(), &["plan"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{words}");
    for part in ["a quota of no GPU-hours", "`window` cannot be `dya`", "did you mean `day`?", "unknown time zone `Mars`"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

fn git(folder: &Path, args: &[&str]) {
    let who = ["-c", "user.email=ann@example.org", "-c", "user.name=Ann", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").args(who).args(args).current_dir(folder).output().expect("git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A repository whose `main` has these files in one commit, on a branch `edit`.
fn repository(files: &[(&str, &str)]) -> TempDir {
    let lab = folder(files);
    git(lab.path(), &["init", "-q"]);
    git(lab.path(), &["add", "-A"]);
    git(lab.path(), &["commit", "-qm", "base"]);
    git(lab.path(), &["checkout", "-qb", "edit"]);
    lab
}

const NOON: &str = "2026-11-24T12:00Z";

const VISION: &str = "\
apiVersion: oppen/v1
kind: Workflow
name: vision
jobs:
  prepare:
    run: [python, prepare.py]
    inputs: [data/raw.csv]
    outputs: [out/train.npz]
    resources: {gpu: 0, cpu: 1, memory: 1Gi}
    estimate: {time: 10m}
    timeout: 30m
  train:
    needs: [prepare]
    run: [python, train.py, --lr, '{{ params.lr }}']
    resources: {gpu: 1, cpu: 4, memory: 16Gi, capacity: on-demand}
    retry: {interruptions: 0, bad_gpu: 0}
    matrix: {lr: [0.1, 0.01]}
    estimate: {time: 2h}
    timeout: 4h
budget: {limit: 4 USD}
";

const NLP: &str = "\
apiVersion: oppen/v1
kind: Workflow
name: nlp
jobs:
  finetune:
    run: [python, tune.py]
    resources: {gpu: 2, cpu: 2, memory: 4Gi}
    estimate: {time: 1h}
    timeout: 2h
  old:
    run: [python, old.py]
    resources: {gpu: 0, cpu: 1, memory: 1Gi}
    estimate: {time: 1h}
    timeout: 2h
";

/// The repository of most tests, and the edit of its branch: a new trial, a longer estimate, spot, a job less.
fn edited() -> TempDir {
    let files = [("oppen.yaml", LAB), ("workflows/vision.yaml", VISION), ("workflows/nlp.yaml", NLP), ("data/raw.csv", "1\n")];
    let lab = repository(&files);
    let vision = VISION.replace("[0.1, 0.01]", "[0.1, 0.01, 0.001]").replace("time: 2h", "time: 3h");
    let nlp = NLP.split("  old:").next().unwrap_or_default().replace("memory: 4Gi", "memory: 4Gi, capacity: spot");
    write(lab.path(), &[("workflows/vision.yaml", &vision), ("workflows/nlp.yaml", &nlp)]);
    lab
}

/// Without the name of the commit, which is another each time.
fn stable(text: &str) -> String {
    let at = text.find("main (").map_or(0, |i| i + 6);
    let end = (at + 9).min(text.len());
    if at == 0 { text.to_owned() } else { format!("{}COMMIT{}", &text[..at], &text[end..]) }
}

#[test]
fn an_edit_is_shown_with_its_money_and_refused_for_what_it_breaks() {
    let lab = edited();
    let text = out(lab.path(), &["ci", "--base", "main", "--at", NOON], 3);
    let wanted = "\
Compared with main (COMMIT)

  + vision/train[lr=0.001]                 added    $2.34
  ^ nlp/finetune                           settings $1.12 -> $0.336
      resources.capacity on-demand -> spot
  ^ vision/train (2 runs)                  settings $3.12 -> $4.68
      estimate 2h -> 3h
  - nlp/old                                removed  $0.055

1 run would run, expected $2.34, at worst $3.12.
All files: $4.30 -> $7.37 (+$3.07, +71%), at worst $37.15 -> $18.45.
Budget of workflow vision: $3.13 -> $7.03 / $4.00
blocked: workflow vision would spend $7.029167, its limit is $4.00 (workflows/vision.yaml:20) [budget]
  help: plan fewer or cheaper runs, or raise the limit
Runs: 1 added, 3 with other settings, 1 removed, 1 unchanged.
  Blocked by 1 finding.
";
    assert_eq!(stable(&text), wanted);
    // Plan shows the same change below what it would do here. Whether the budget holds hangs on the hour: it may reach into cheap ones.
    let plan = oppen(lab.path(), &["plan", "--base", "main"]);
    assert!(matches!(plan.status.code(), Some(0 | 3)), "{plan:?}");
    let plan = String::from_utf8_lossy(&plan.stdout);
    assert!(plan.contains("\n\nCompared with main (") && plan.contains("  - nlp/old "), "{plan}");
}

#[test]
fn every_form_comes_at_once_and_means_the_same() {
    let lab = edited();
    let forms = ["json", "markdown=c.md", "sarif=c.sarif", "junit=c.xml", "github=c.txt"];
    let mut args = vec!["ci", "--base", "main", "--at", NOON];
    forms.iter().for_each(|f| args.extend(["-o", f]));
    let report: serde_json::Value = serde_json::from_str(&out(lab.path(), &args, 3)).expect("JSON");
    assert_eq!((report["format_version"].as_u64(), report["blocked"].as_bool()), (Some(1), Some(true)));
    assert_eq!((report["total"]["change"].as_str(), report["run"]["expected"].as_str()), (Some("3.061"), Some("2.34")));
    assert_eq!((report["checks"][0]["file"].as_str(), report["checks"][0]["line"].as_u64()), (Some("workflows/vision.yaml"), Some(20)));
    let read = |name: &str| std::fs::read_to_string(lab.path().join(name)).expect(name);
    insta::assert_snapshot!(stable(&read("c.md")), @r#"
<!-- oppen:ci:lab -->
<!-- oppen:delta 3.061 blocked -->
### :x: Oppen `lab`: \$4.30 → \$7.37 (+\$3.07, +71%), blocked by 1 finding

| | Before | After | Change |
|---|---:|---:|---:|
| Runs in the files | 5 | 5 |  |
| Expected cost of all | \$4.30 | \$7.37 | +\$3.07, +71% |
| At worst | \$37.15 | \$18.45 | -\$18.70 |

**1 run** would run: expected **\$2.34**, at worst \$3.12.

- **blocked** `workflow vision` would spend \$7.029167, its limit is \$4.00 (`workflows/vision.yaml:20`) *plan fewer or cheaper runs, or raise the limit*

| Budget | Before | After | Limit |
|---|---:|---:|---:|
| `workflow vision` | \$3.13 | **\$7.03** | \$4.00 |

<details><summary>1 run added</summary>

| | Job | Runs | Before | After | Why |
|---|---|---:|---:|---:|---|
| added | `vision/train[lr=0.001]` | 1 | – | \$2.34 |  |

</details>

<details><summary>3 runs with other settings, 1 run removed</summary>

| | Job | Runs | Before | After | Why |
|---|---|---:|---:|---:|---|
| settings | `nlp/finetune` | 1 | \$1.12 | \$0.336 | `resources.capacity on-demand -> spot` |
| settings | `vision/train` | 2 | \$3.12 | \$4.68 | `estimate 2h -> 3h` |
| removed | `nlp/old` | 1 | \$0.055 | – |  |

</details>

<sub>Compared with main (COMMIT); priced as if started 2026-11-24T12:00Z. Nothing was run.</sub>
"#);
    let sarif: serde_json::Value = serde_json::from_str(&read("c.sarif")).expect("SARIF");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((result["ruleId"].as_str(), result["level"].as_str()), (Some("budget"), Some("error")));
    let region = &result["locations"][0]["physicalLocation"];
    assert_eq!(
        (region["artifactLocation"]["uri"].as_str(), region["region"]["startLine"].as_u64()),
        (Some("workflows/vision.yaml"), Some(20))
    );
    assert!(read("c.xml").contains("<testsuite name=\"oppen ci\" tests=\"4\" failures=\"1\""), "{}", read("c.xml"));
    assert!(read("c.txt").starts_with("::error file=workflows/vision.yaml,line=20,"), "{}", read("c.txt"));
}

#[test]
fn what_the_base_has_as_well_refuses_nothing_unless_it_gets_worse() {
    let dear = VISION.replace("limit: 4 USD", "limit: 2 USD");
    let lab = repository(&[("oppen.yaml", LAB), ("workflows/vision.yaml", &dear), ("data/raw.csv", "1\n")]);
    let check = |text: &str, code| {
        write(lab.path(), &[("workflows/vision.yaml", text)]);
        out(lab.path(), &["ci", "--base", "main", "--at", NOON], code)
    };
    let same = check(&dear, 0);
    assert!(same.contains("as before: workflow vision would spend $3.129167, its limit is $2.00"), "{same}");
    assert!(same.ends_with("Runs: 3 unchanged. Nothing is against it.\n"), "{same}");
    // Cheaper, but still above: no reason to refuse the step.
    check(&dear.replace("time: 2h", "time: 100m"), 0);
    let worse = check(&dear.replace("time: 2h", "time: 121m"), 3);
    assert!(worse.contains("blocked (worse): workflow vision would spend"), "{worse}");
    let settled = check(&VISION.replace("limit: 4", "limit: 9"), 0);
    assert!(settled.contains("Settled: 1 finding of the base."), "{settled}");
}

#[test]
fn runs_without_a_price_are_not_free() {
    let lab = repository(&[("oppen.yaml", LAB), ("workflows/nlp.yaml", NLP)]);
    write(lab.path(), &[("workflows/nlp.yaml", &NLP.replacen("    estimate: {time: 1h}\n", "", 1))]);
    let text = out(lab.path(), &["ci", "--base", "main"], 3);
    assert!(text.contains("-> unpriced"), "{text}");
    assert!(text.contains("blocked: nlp/finetune has no price: no estimate; add `estimate: {time: 30m}`"), "{text}");
    assert!(out(lab.path(), &["ci", "--base", "main", "--unpriced", "warn"], 0).contains("warning: nlp/finetune has no price"));
    assert!(out(lab.path(), &["plan"], 0).contains("Unpriced: 1 run, such as nlp/finetune"));
    assert!(out(lab.path(), &["plan", "--unpriced", "fail"], 3).contains("blocked: nlp/finetune has no price"));
    out(lab.path(), &["apply", "--yes", "--unpriced", "fail"], 3);
    // The base had it as well: an edit elsewhere is not refused for it.
    git(lab.path(), &["commit", "-qam", "unpriced"]);
    out(lab.path(), &["ci", "--base", "HEAD"], 0);
}

#[test]
fn inputs_count_as_git_sees_them() {
    let files = [("oppen.yaml", LAB), ("workflows/vision.yaml", VISION), ("data/raw.csv", "1\n"), (".gitignore", "big/\n")];
    let lab = repository(&files);
    let ci = |code| out(lab.path(), &["ci", "--base", "main"], code);
    assert!(ci(0).contains("Runs: 3 unchanged."));
    write(lab.path(), &[("data/raw.csv", "2\n")]);
    let text = ci(0);
    assert!(
        text.contains("~ vision/prepare") && text.contains("inputs.data/raw.csv") && text.contains("needs.vision/prepare: changes"),
        "{text}"
    );
    // Data that git ignores need not be in the checkout; a file that is merely missing is an error.
    write(lab.path(), &[("data/raw.csv", "1\n"), ("workflows/vision.yaml", &VISION.replace("data/raw.csv", "big/raw.bin"))]);
    assert!(ci(0).contains("Not here, taken as unchanged: big/raw.bin"));
    write(lab.path(), &[("workflows/vision.yaml", &VISION.replace("data/raw.csv", "data/row.csv"))]);
    out(lab.path(), &["ci", "--base", "main"], 4);
}

mod ci {
    mod bad;
    mod comment;
    mod policy;
    mod ship;
}
