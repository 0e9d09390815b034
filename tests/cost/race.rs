//! The last dollar: real processes at once on one state, and money for one of them.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::project::*;

const PROJECT: &str = "apiVersion: oppen/v1\nkind: Project\nname: lab\nbudget: {limit: 1 USD}\n\
    rates: {cpu: 360 USD, memory: 0 USD, off_peak: {factor: 1}}\n\
    models: {m: {template: t.yaml, estimate: {time: 9s}}}\n";

/// A run of ten cents a second that is thought to take nine, and takes two.
fn workflow(name: &str) -> String {
    format!(
        "apiVersion: oppen/v1\nkind: Workflow\nname: {name}\njobs:\n  a: {{run: [sleep, \"2\"], \
         resources: {{cpu: 1, memory: 1Mi}}, estimate: {{time: 9s}}}}\n"
    )
}

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("oppen.yaml"), PROJECT).unwrap();
    std::fs::write(folder.path().join("t.yaml"), workflow("t")).unwrap();
    for i in 0..4 {
        std::fs::write(folder.path().join(format!("w{i}.yaml")), workflow(&format!("w{i}"))).unwrap();
    }
    folder
}

fn start(at: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    command
        .args(args)
        .current_dir(at)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn spent(at: &Path) -> f64 {
    let report: Value = serde_json::from_str(&out(at, &["cost", "report", "-o", "json"], 0)).unwrap();
    report["total"]["spent"].as_str().unwrap().parse().unwrap()
}

#[test]
fn of_many_submissions_the_last_dollar_goes_to_one() {
    let folder = project();
    let at = folder.path();
    out(at, &["queue", "pause"], 0);
    let all: Vec<Child> = (0..6).map(|_| start(at, &["submit", "m"])).collect();
    let mut codes: Vec<Option<i32>> = all.into_iter().map(|mut c| c.wait().unwrap().code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 3, 3, 3, 3, 3].map(Some));
    let queue: Value = serde_json::from_str(&out(at, &["queue", "-o", "json"], 0)).unwrap();
    assert_eq!((queue["waiting"].as_array().map(Vec::len), queue["pending_cost"].as_str()), (Some(1), Some("0.90")));
}

#[test]
fn of_many_applies_no_two_set_the_same_dollar_aside() {
    let folder = project();
    let at = folder.path();
    let all: Vec<Child> = (0..4).map(|i| start(at, &["apply", &format!("w{i}.yaml"), "--yes", "--lock-timeout", "120s"])).collect();
    let codes: Vec<Option<i32>> = all.into_iter().map(|mut c| c.wait().unwrap().code()).collect();
    // Each waits for the one before, and sees what that has spent: more than the tenth that is left beside nine seconds.
    let won = codes.iter().filter(|c| **c == Some(0)).count();
    assert!(won == 1 && codes.iter().all(|c| matches!(c, Some(0 | 3))), "{codes:?}");
    assert!(spent(at) <= 1.0, "{}", spent(at));
    // Never more than the limit was set aside at a time.
    let db = rusqlite::Connection::open(at.join(".oppen/state.db")).unwrap();
    let mut rows = db.prepare("SELECT kind, amount, reserved FROM ledger ORDER BY seq").unwrap();
    let entries = rows.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?))).unwrap();
    let (mut spent, mut reserved) = (0, 0);
    for (kind, amount, freed) in entries.map(Result::unwrap) {
        match kind.as_str() {
            "reserve" => reserved += amount,
            "post" => (spent, reserved) = (spent + amount, reserved - freed),
            _ => reserved -= freed,
        }
        assert!(spent + reserved <= 1_000_000, "{kind}: {spent} spent, {reserved} reserved");
    }
    assert!(out(at, &["verify"], 0).starts_with("The ledger is whole"));
}
