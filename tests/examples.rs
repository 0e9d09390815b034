//! Every file in examples/ and workflows/, with the real binary in a copy of its own: it is valid by the reader and by the
//! schema, it plans, it runs, and then there is nothing left to do.
//!
//! In: the committed files, found by walking the folders so that none is forgotten. Out: pass or fail. Must never write into
//! the checkout.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use oppen::base::{Diagnostics, SourceMap};
use oppen::spec::{lower::Lower, tree};
use tempfile::TempDir;

/// Files that cannot be planned alone because inputs must be given; examples use them, which runs them too.
const TEMPLATES: [&str; 8] = [
    "workflows/ablation.yaml",
    "workflows/asha.yaml",
    "workflows/capped.yaml",
    "workflows/confirm.yaml",
    "workflows/kfold.yaml",
    "workflows/lr-range.yaml",
    "workflows/seeds.yaml",
    "workflows/sweep.yaml",
];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All YAML files under a folder of the checkout, relative to it.
fn walk(folder: &str, found: &mut Vec<String>) {
    let entries = std::fs::read_dir(checkout().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    for entry in entries {
        let path = entry.expect("a folder entry").path();
        let local = path.strip_prefix(checkout()).expect("inside the checkout").to_str().expect("a plain name").to_owned();
        if path.is_dir() {
            walk(&local, found);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            found.push(local);
        }
    }
}

fn files() -> Vec<String> {
    let mut found = Vec::new();
    walk("examples", &mut found);
    walk("workflows", &mut found);
    found.sort();
    assert!(found.len() >= 18, "only {} files were found: {found:?}", found.len());
    found
}

fn runnable() -> Vec<String> {
    files().into_iter().filter(|f| !TEMPLATES.contains(&f.as_str())).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("a folder in the copy");
        for entry in std::fs::read_dir(from).expect("a folder to copy") {
            let entry = entry.expect("a folder entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).expect("a file to copy");
    }
}

/// A project of its own: the root file, the examples and the templates.
fn project() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for part in ["oppen.yaml", "examples", "workflows"] {
        copy(&checkout().join(part), &folder.path().join(part));
    }
    folder
}

fn oppen(project: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    command.args(args).current_dir(project).env("NO_COLOR", "1");
    command.output().unwrap_or_else(|e| panic!("oppen {args:?}: {e}"))
}

/// Runs and insists on an exit code; the output is in the message when it is another.
fn expect(project: &Path, args: &[&str], code: i32) -> String {
    let output = oppen(project, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "oppen {}\n--- stdout\n{out}\n--- stderr\n{err}", args.join(" "));
    out.into_owned()
}

/// Calls `check` for every item, two at a time, and fails with all failures together.
fn each(items: Vec<String>, check: impl Fn(&str) + Sync) {
    let (left, failed) = (Mutex::new(items), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let item = left.lock().expect("the items").pop();
                    let Some(item) = item else { break };
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&item)));
                    if outcome.is_err() {
                        failed.lock().expect("the failures").push(item);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("the failures");
    assert!(failed.is_empty(), "these failed, see above: {failed:?}");
}

#[test]
fn each_is_valid_by_the_reader_and_by_the_schema_that_it_names() {
    let project = project();
    for file in files().into_iter().chain(["oppen.yaml".to_owned()]) {
        expect(project.path(), &["validate", &file], 0);
        let text = std::fs::read_to_string(checkout().join(&file)).expect("a readable file");
        let named = text
            .lines()
            .next()
            .and_then(|l| l.strip_prefix("# yaml-language-server: $schema="))
            .unwrap_or_else(|| panic!("{file} names no schema"));
        let folder = checkout().join(&file).parent().map(Path::to_path_buf).unwrap_or_default();
        let schema = std::fs::read_to_string(folder.join(named)).unwrap_or_else(|e| panic!("{file} names {named}: {e}"));
        let schema = serde_json::from_str(&schema).expect("a schema in JSON");
        let validator = jsonschema::draft7::new(&schema).expect("a schema of draft-07");
        for document in documents(&file, &text) {
            let problems: Vec<String> = validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(problems.is_empty(), "{file} by {named}: {problems:#?}");
        }
    }
}

/// The documents of a file as an editor sees them: plain values.
fn documents(path: &str, text: &str) -> Vec<serde_json::Value> {
    let (mut sources, mut diags) = (SourceMap::default(), Diagnostics::default());
    let id = sources.add(path, text);
    let nodes = tree::parse(id, sources.text(id), &mut diags);
    let values: Vec<_> = nodes.iter().filter_map(|n| serde_json::Value::lower(n, &mut diags)).collect();
    assert!(!diags.has_errors() && !values.is_empty(), "{path}: {:?}", diags.as_slice());
    values
}

#[test]
fn each_plans_and_a_template_says_which_input_it_lacks() {
    let project = project();
    for file in runnable() {
        expect(project.path(), &["plan", &file, "--detailed-exitcode"], 2);
    }
    for template in TEMPLATES {
        let output = oppen(project.path(), &["plan", template]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("must be set"), "{said}");
    }
    let table = std::fs::read_to_string(checkout().join("workflows/README.md")).expect("the table of templates");
    let missing: Vec<_> = TEMPLATES.iter().filter(|t| !table.contains(&format!("| [{}](", t.trim_start_matches("workflows/")))).collect();
    assert!(missing.is_empty(), "not in workflows/README.md: {missing:?}");
    // All at once: no two of them collide.
    expect(project.path(), &["plan", "examples", "workflows", "--detailed-exitcode"], 2);
    // Nothing named: the project file and workflows/, templates left out.
    let plan = expect(project.path(), &["plan"], 0);
    assert!(plan.contains("baseline/"), "{plan}");
}

#[test]
fn each_runs_and_then_there_is_nothing_to_do() {
    // The digits have a test of their own.
    let files = runnable().into_iter().filter(|f| !f.starts_with("examples/digits")).collect();
    each(files, |file| {
        let project = project();
        expect(project.path(), &["apply", file, "--yes"], 0);
        expect(project.path(), &["plan", file, "--detailed-exitcode"], 0);
        if let Some(name) = file.strip_prefix("examples/templates/").and_then(|f| f.strip_suffix(".yaml")) {
            template_did_what_it_says(project.path(), name);
        }
    });
}

/// What each template left behind, against the runs that it was made from.
fn template_did_what_it_says(project: &Path, name: &str) {
    let left = |file: &str| std::fs::read_to_string(project.join("out/templates").join(name).join(file)).expect("what the template left");
    let out = expect(project, &["status", "-o", "json"], 0);
    let status: serde_json::Value = serde_json::from_str(&out).expect("a status in JSON");
    let runs: Vec<&serde_json::Value> = status["runs"].as_array().expect("runs").iter().collect();
    let of = |job: &str| runs.iter().filter(|r| r["address"].as_str().is_some_and(|a| a.contains(&format!(".{job}[")))).count();
    let with = |word: &str| runs.iter().filter(|r| r["status"] == word).count();
    let loss = |r: &&&serde_json::Value| r["metrics"]["val_loss"]["last"].as_f64().filter(|_| r["status"] == "succeeded");
    let best = runs.iter().filter_map(|r| loss(&r)).fold(f64::INFINITY, f64::min);
    let number = |text: &str, key: &str| -> f64 {
        let at = text.split(&format!("{key}=")).nth(1).unwrap_or_else(|| panic!("{name}: no {key} in {text}"));
        at.split_whitespace().next().and_then(|w| w.parse().ok()).expect("a number")
    };
    match name {
        "asha" => {
            assert!(with("pruned") >= 1 && of("train") == 8, "{runs:#?}");
            assert!(left("report.txt").starts_with(&format!("val_loss {best} with ")), "{best}: {}", left("report.txt"));
        }
        "capped" => {
            assert!(with("unneeded") >= 1 && of("train") == 100, "{} not needed", with("unneeded"));
            let spent: f64 = runs.iter().filter_map(|r| r["spent"].as_str()?.parse::<f64>().ok()).sum();
            assert!(spent > 0.0 && spent <= 0.0001 + 0.000_05, "the trials, and prepare and report: {spent}");
        }
        "confirm" => {
            let text = left("summary.txt");
            assert!(of("search") == 6 && of("confirm") == 3 && number(&text, "runs") == 3.0, "{text}");
            assert!((0.1..0.6).contains(&number(&text, "mean")), "{text}");
        }
        "lr-range" => {
            let text = left("report.txt");
            assert!((0.1..=10.0).contains(&number(&text, "best_lr")), "{text}");
            assert!(number(&text, "largest_lr") >= number(&text, "best_lr") && number(&text, "start_lr") > 0.0, "{text}");
        }
        "ablation" => {
            let text = left("report.txt");
            let change = |part: &str| {
                let line = text.lines().find(|l| l.starts_with(part)).unwrap_or_else(|| panic!("{text}"));
                line.split_whitespace().nth(2).and_then(|w| w.parse::<f64>().ok()).expect("a change")
            };
            assert!(change("momentum") < -0.01 && change("nothing") == 0.0 && change("decay").abs() < 0.01, "{text}");
        }
        "kfold" => {
            let text = left("summary.txt");
            assert!(of("train") == 3 && number(&text, "mean") > 0.85 && number(&text, "deviation") > 0.0, "{text}");
        }
        other => panic!("nothing is known of the template {other}"),
    }
}

#[test]
fn the_digits_are_learned_and_the_report_picks_the_best_trial() {
    let project = project();
    let path = project.path();
    expect(path, &["apply", "examples/digits", "--yes"], 0);
    let report = std::fs::read_to_string(path.join("out/digits/report.md")).expect("the report");
    // The results as the trainers wrote them, not as Oppen says.
    let mut results: Vec<(f64, f64)> = std::fs::read_dir(path.join("out/digits"))
        .expect("the outputs")
        .filter_map(|e| std::fs::read_to_string(e.expect("an entry").path().join("result.json")).ok())
        .map(|text| {
            let value: serde_json::Value = serde_json::from_str(&text).expect("a result in JSON");
            (value["val_loss"].as_f64().expect("a loss"), value["val_acc"].as_f64().expect("an accuracy"))
        })
        .collect();
    results.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(results.len(), 8, "{results:?}");
    let (loss, accuracy) = results[0];
    assert!(accuracy > 0.93, "{results:?}");
    assert!(report.contains(&format!("with val_loss {loss} and val_acc {accuracy}")), "{results:?}\n{report}");
    expect(path, &["plan", "examples/digits", "--detailed-exitcode"], 0);

    // One more trial keeps the eight; the report, which saw all of them, is made again.
    let plan = expect(path, &["plan", "examples/digits", "--set", "trials=9", "-o", "json"], 0);
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("a plan in JSON");
    let does = |run: &serde_json::Value| run["action"] != "keep" && run["action"] != "none" && run["action"] != "reuse";
    let runs = plan["runs"].as_array().expect("runs").iter().filter(|r| does(r)).map(|r| r["address"].to_string());
    assert_eq!(runs.collect::<Vec<_>>(), ["\"digits/train[8]\"", "\"digits/report\""]);
}

/// The awks that this machine has, `awk` among them for sure.
fn awks(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for words in ["awk", "mawk", "gawk", "busybox awk"] {
        let works =
            Command::new("sh").args(["-c", &format!("echo 1 | {words} '{{ exit $1 != 1 }}'")]).output().is_ok_and(|o| o.status.success());
        if !works {
            eprintln!("not on this machine: {words}");
            continue;
        }
        let path = folder.join(words.replace(' ', "-"));
        std::fs::write(&path, format!("#!/bin/sh\nexec {words} \"$@\"\n")).expect("a wrapper");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("a wrapper that can be run");
        found.push(path);
    }
    assert!(!found.is_empty(), "the examples need awk");
    found
}

#[test]
fn every_awk_trains_the_same_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut models = Vec::new();
    for awk in awks(folder.path()) {
        let place = awk.with_extension("out");
        let script = "set -e; sh examples/digits/prepare.sh examples/digits/data/digits.csv \"$1\"
                      sh examples/digits/train.sh --data \"$1\" --out \"$1\" --epochs 2";
        let output =
            Command::new("sh").args(["-c", script, "sh"]).arg(&place).env("AWK", &awk).current_dir(checkout()).output().expect("a shell");
        assert!(output.status.success(), "{}: {}", awk.display(), String::from_utf8_lossy(&output.stderr));
        let model = std::fs::read_to_string(place.join("model.txt")).expect("a model");
        assert_eq!(model.lines().map(|l| l.split(' ').count()).collect::<Vec<_>>(), [65; 10]);
        models.push((awk, model));
    }
    for (awk, model) in &models {
        assert!(*model == models[0].1, "{} and {} differ", awk.display(), models[0].0.display());
    }
}
