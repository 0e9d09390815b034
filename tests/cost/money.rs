//! Corrections, reconciliation, burn-down, the refusal of a ledger that was changed, the back-test, intervals in the plan.

use std::path::Path;

use serde_json::Value;

use super::project::*;

fn json(at: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&out(at, args, 0)).unwrap()
}

fn told(at: &Path, args: &[&str], code: i32) -> String {
    let found = oppen(at, args);
    let err = String::from_utf8_lossy(&found.stderr).into_owned();
    assert_eq!(found.status.code(), Some(code), "{args:?}\n{}\n{err}", String::from_utf8_lossy(&found.stdout));
    err
}

#[test]
fn a_correction_is_a_new_entry_and_budgets_count_it() {
    let folder = applied();
    let at = folder.path();
    out(at, &["apply", "--yes"], 8);
    let spent = |args: &[&str], place: &[&str]| {
        let value = json(at, args);
        let money = place.iter().fold(&value, |v, key| &v[*key]);
        (money.as_str().unwrap_or_else(|| panic!("{value}")).parse::<f64>().unwrap() * 1e6).round() as i64
    };
    let report = || spent(&["cost", "report", "-o", "json"], &["total", "spent"]);
    let budget = || {
        let all = json(at, &["budget", "status", "-o", "json"]);
        let mine = all["budgets"].as_array().unwrap().iter().find(|b| b["name"] == "project lab").unwrap()["spent"].clone();
        (mine.as_str().unwrap().parse::<f64>().unwrap() * 1e6).round() as i64
    };
    let before = report();
    let text = out(at, &["cost", "correct", "w/a", "--amount", "-0.01 USD", "--reason", "the node was slow\u{1b}[31m"], 0);
    assert!(text.starts_with("w/a") && text.contains(" with the correction of entry 2."), "{text}");
    out(at, &["cost", "correct", "2", "--amount", "0.004", "--reason", "no, only half"], 0);
    assert_eq!((report(), budget()), (before - 6000, before - 6000));
    let whole = out(at, &["verify"], 0);
    assert!(whole.starts_with("The ledger is whole: 6 entries, "), "{whole}");
    assert!(whole.contains("2 charges checked for seconds, 2 for money"), "{whole}");
    // More than was charged cannot be taken back, and nothing is written for a slip.
    assert!(told(at, &["cost", "correct", "w/a", "--amount", "-1", "--reason", "x"], 64).contains("no more than that can be taken back"));
    assert!(told(at, &["cost", "correct", "w/aa", "--amount", "1", "--reason", "x"], 64).contains("did you mean `w/a`?"));
    assert!(told(at, &["cost", "correct", "99", "--amount", "1", "--reason", "x"], 64).contains("the ledger has no entry 99"));
    for wrong in ["NaN", "0", "1 EUR", "1e9", "--5"] {
        told(at, &["cost", "correct", "w/a", &format!("--amount={wrong}"), "--reason", "x"], 64);
    }
    told(at, &["cost", "correct", "w/a", "--amount", "1", "--reason", " "], 64);
    assert!(out(at, &["verify"], 0).contains(": 6 entries, "));
}

#[test]
fn verify_names_what_the_backends_timestamps_do_not_bear_out() {
    let folder = applied();
    let at = folder.path();
    out(at, &["apply", "--yes"], 8);
    let db = rusqlite::Connection::open(at.join(".oppen/state.db")).unwrap();
    // Somebody changes when the attempt ended, in the state that the reports are made from.
    let sql = "UPDATE runs SET body = json_set(body, '$.attempts[0].ended_at', json_extract(body, '$.attempts[0].ended_at') + 60000) WHERE address = 'w/a'";
    assert_eq!(db.execute(sql, []).unwrap(), 1);
    drop(db);
    let text = out(at, &["verify"], 1);
    assert!(text.contains("fault entry 2: w/a") && text.contains(", the backend saw it run for 1m"), "{text}");
    assert!(text.contains(" less than its 1m") && text.contains("by the rates ($2.4"), "{text}");
    // Other rates than those of then are not used to find fault.
    let project = std::fs::read_to_string(at.join("oppen.yaml")).unwrap();
    std::fs::write(at.join("oppen.yaml"), project.replace("144 USD", "145 USD")).unwrap();
    let other = out(at, &["verify"], 1);
    assert!(other.contains("2 charges at other rates or settings than now") && !other.contains("by the rates ("), "{other}");
}

#[test]
fn verify_asks_the_backend_again_and_names_the_correction() {
    let folder = applied();
    let at = folder.path();
    out(at, &["apply", "--yes"], 8);
    let verify = |args: &[&str], code: i32| out(at, &[&["verify"], args].concat(), code).replace('\n', " ");
    assert!(verify(&[], 0).contains("Asked again (the files of their keepers): 2 charges agree within 2s."));
    // The keeper's own record says that w/a ran for a minute longer than it was charged for.
    let journals = || std::fs::read_dir(at.join(".oppen/attempts")).unwrap().map(|e| e.unwrap().path());
    let journals = journals().filter(|p| p.extension().is_some_and(|e| e == "jsonl"));
    let journal = journals.into_iter().find(|p| std::fs::read_to_string(p).unwrap().contains("\"w/a\"")).unwrap();
    let later = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut value) if value["exit"]["at"].is_i64() => {
            value["exit"]["at"] = (value["exit"]["at"].as_i64().unwrap() + 60_000).into();
            value.to_string()
        }
        _ => line.to_owned(),
    };
    let text: Vec<String> = std::fs::read_to_string(&journal).unwrap().lines().map(later).collect();
    std::fs::write(&journal, text.join("\n") + "\n").unwrap();
    let text = verify(&[], 1);
    assert!(text.contains("fault entry 2: w/a") && text.contains(", the backend has 1m"), "{text}");
    assert!(text.contains("1 charge agrees within 2s; 1 differ."), "{text}");
    let amount = text.split("`oppen cost correct 2 --amount ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(amount.starts_with("2.4"), "a minute at four cents a second: {text}");
    out(at, &["cost", "correct", "2", "--amount", amount, "--reason", "times of the backend"], 0);
    assert!(verify(&[], 0).contains("1 charge agrees within 2s; 1 charge with other times that cost the same."));
    // What is no longer there is said as such, and is no fault.
    std::fs::remove_dir_all(at.join(".oppen/attempts")).unwrap();
    assert!(verify(&[], 0).contains("0 charges agree within 2s; 2 charges of attempts that the backend no longer has."));
    let value = json(at, &["verify", "-o", "json"]);
    assert_eq!((value["backend"]["gone"].as_u64(), value["backend"]["not_asked"].is_null()), (Some(2), true));
    // A cluster that cannot be asked is no fault of the ledger either.
    let project = std::fs::read_to_string(at.join("oppen.yaml")).unwrap();
    std::fs::write(at.join("oppen.yaml"), format!("{project}backend: kubernetes\n")).unwrap();
    assert!(verify(&["--offline"], 0).contains("the cluster was not asked: --offline."));
}

#[test]
fn nothing_is_written_upon_a_ledger_that_was_changed() {
    let folder = applied();
    let at = folder.path();
    out(at, &["apply", "--yes"], 8);
    out(at, &["budget", "status"], 0);
    super::ledger::tamper(
        at,
        "UPDATE ledger SET amount = amount + 1000000 WHERE seq = 2; UPDATE spend SET amount = amount + 1000000 WHERE job = 'w/a'",
    );
    let events = |at: &Path| {
        let db = rusqlite::Connection::open(at.join(".oppen/state.db")).unwrap();
        let count: i64 = db.query_row("SELECT count(*) FROM events", [], |r| r.get(0)).unwrap();
        count
    };
    let before = events(at);
    for args in [&["apply", "--yes"][..], &["cost", "correct", "w/a", "--amount", "1", "--reason", "x"], &["queue", "run"]] {
        let err = told(at, args, 1);
        assert!(err.contains(" is damaged: ledger entry 2: says $1."), "{args:?}: {err}");
        assert!(err.contains("restore the last backup: mv ") || err.contains("there is no backup"), "{args:?}: {err}");
    }
    assert_eq!(events(at), before);
    // The sums alone, and an entry that is gone.
    let again = applied();
    out(again.path(), &["apply", "--yes"], 8);
    super::ledger::tamper(again.path(), "UPDATE spend SET amount = amount - 5 WHERE job = 'w/a'");
    assert!(told(again.path(), &["apply", "--yes"], 1).contains("the ledger's sums: the sums of w/a say "));
    let gone = applied();
    out(gone.path(), &["apply", "--yes"], 8);
    super::ledger::tamper(gone.path(), "DELETE FROM ledger WHERE seq = 4; DELETE FROM spend WHERE job = 'w/b'");
    assert!(told(gone.path(), &["apply", "--yes"], 1).contains("is missing"));
}

#[test]
fn a_burn_down_is_told_and_drawn() {
    let folder = applied();
    let at = folder.path();
    assert!(told(at, &["budget", "status", "--svg", "x.svg"], 1).contains("nothing was spent yet"));
    out(at, &["apply", "--yes"], 8);
    let status = out(at, &["budget", "status"], 0);
    assert!(status.contains("  7  a day at least is needed for a pace\n") || status.contains("  █  a day at least"), "{status}");
    let all = json(at, &["budget", "status", "-o", "json"]);
    assert_eq!(all["budgets"][0]["burn"]["days"].as_array().map(Vec::len), Some(1));
    out(at, &["budget", "status", "--name", "project lab", "--svg", "burn.svg"], 0);
    let svg = std::fs::read_to_string(at.join("burn.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("Budget of project lab") && svg.contains("limit $25.00"), "{svg}");
    assert!(told(at, &["budget", "status", "--name", "project lub"], 64).contains("did you mean `project lab`?"));
}

#[test]
fn the_interval_is_tested_on_histories_and_shown_in_plans() {
    let folder = applied();
    let at = folder.path();
    let line =
        |i: u32| format!("{{\"job\": \"w/t\", \"seconds\": {}, \"values\": {{\"epochs\": {}}}}}\n", 10 * (i % 5 + 1) + i % 3, i % 5 + 1);
    std::fs::write(at.join("h.jsonl"), (0..60).map(line).collect::<String>()).unwrap();
    let found = json(at, &["cost", "backtest", "--history", "h.jsonl", "-o", "json"]);
    assert_eq!((found["runs"].as_u64(), found["all"]["predicted"].as_u64()), (Some(60), Some(59)));
    assert!(found["all"]["coverage"].as_f64().unwrap() > 0.9, "{found}");
    let text = out(at, &["cost", "backtest", "--history", "h.jsonl"], 0);
    assert!(text.starts_with("runs known   predicted   within   95% of that   width     off\n1 to 2 "), "{text}");
    assert!(out(at, &["cost", "backtest", "--history", "h.jsonl", "-o", "markdown"], 0).starts_with("| runs known | predicted |"));
    std::fs::write(at.join("bad.jsonl"), "{\"job\": \"a\", \"seconds\": -1}\n{\"job\": \"a\", \"seconds\": 1, \"x\": 2}\nhm\n").unwrap();
    let err = told(at, &["cost", "backtest", "--history", "bad.jsonl"], 4);
    assert!(
        err.contains("bad.jsonl:1: a time is no positive number")
            && err.contains("bad.jsonl:2: unknown field `x`")
            && err.contains("bad.jsonl:3: "),
        "{err}"
    );
    // Two runs, and the plan has an interval with its basis; they can be written out and read again.
    let workflow =
        "apiVersion: oppen/v1\nkind: Workflow\nname: w\njobs:\n  a: {run: [sleep, \"0.1\"], timeout: 10s, matrix: {n: [1, 2, 3]}}\n";
    std::fs::write(at.join("workflows/w.yaml"), workflow).unwrap();
    out(at, &["apply", "--yes"], 0);
    std::fs::write(at.join("workflows/w.yaml"), workflow.replace("0.1", "0.2")).unwrap();
    let plan = out(at, &["plan"], 0);
    assert!(plan.contains("      95%: $0.") && plan.contains(", at worst $") && plan.contains(" (history of 3 runs)\n"), "{plan}");
    let value = json(at, &["plan", "-o", "json"]);
    assert_eq!((value["jobs"][0]["runs"].as_u64(), value["jobs"][0]["cost"]["basis"].as_str()), (Some(3), Some("history of 3 runs")));
    assert!(value["jobs"][0]["cost"]["interval"].is_array() && value["jobs"][0]["cost"]["worst"].is_string(), "{value}");
    let written = out(at, &["cost", "backtest", "--export", "out.jsonl"], 0);
    assert!(written.starts_with("3 runs of 1 job in out.jsonl"), "{written}");
    out(at, &["cost", "backtest", "--history", "out.jsonl"], 0);
    // Runs of this project are forecast under way as well: those after the first know how long others took.
    out(at, &["apply", "--yes"], 0);
    let midway = &json(at, &["cost", "backtest", "-o", "json"])["midway"];
    assert!(midway[0]["at_percent"] == 25 && midway[0]["width"].as_f64().unwrap() >= 1.0, "{midway}");
    assert!(out(at, &["cost", "backtest"], 0).contains("\nof its time   forecast   within   95% of that   width     off\n25% "));
}
