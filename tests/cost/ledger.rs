//! What was spent: thresholds, reports, budgets, verify.

use std::path::Path;

use super::project::*;

#[test]
fn thresholds_show_where_people_look_and_reports_and_budgets_agree() {
    let folder = applied();
    let at = folder.path();
    let log = out(at, &["apply", "--yes"], 8);
    assert!(log.contains(" ! budget of workflow w: 100% reached, $0.0"), "{log}");
    let history = out(at, &["history"], 0);
    assert!(history.lines().any(|l| l.contains(" threshold ") && l.contains(" 100% of workflow w, ")), "{history}");
    let status = out(at, &["status"], 0);
    assert!(status.contains("\nBudget of workflow w: ") && !status.contains("Budget of project"), "{status}");
    let json = |args: &[&str]| serde_json::from_str::<serde_json::Value>(&out(at, args, 0)).unwrap();
    let report = json(&["cost", "report", "--by", "job", "-o", "json"]);
    let budgets = json(&["budget", "status", "-o", "json"]);
    let of = |name: &str| budgets["budgets"].as_array().unwrap().iter().find(|b| b["name"] == name).unwrap().clone();
    assert_eq!((report["total"]["runs"].as_u64(), report["rows"][0]["key"]["job"].as_str()), (Some(2), Some("w/a")));
    assert_eq!(report["total"]["waste"]["total"], report["total"]["waste"]["failed"]);
    for name in ["workflow w", "project lab"] {
        assert_eq!(of(name)["spent"], report["total"]["spent"], "{name}");
    }
    assert_eq!((of("workflow w")["reached"].as_u64(), of("project lab")["reserved"].as_str()), (Some(100), Some("0.00")));
    for line in out(at, &["budget", "status"], 0).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// Opens a state as somebody who means to change it.
pub fn tamper(folder: &Path, sql: &str) {
    let db = rusqlite::Connection::open(folder.join(".oppen/state.db")).unwrap();
    db.execute_batch(&format!("DROP TRIGGER ledger_stays; DROP TRIGGER ledger_is_kept; {sql}")).unwrap();
}

/// Writes all links anew, so that the chain fits again.
fn rehash(folder: &Path) {
    let store = oppen::store::Store::open_existing(&folder.join(".oppen")).unwrap().unwrap();
    let (mut links, mut before) = (Vec::new(), oppen::base::Digest([0; 32]));
    store
        .entries(|seq, entry, _| {
            before = entry.link(&before);
            links.push((seq, before));
        })
        .unwrap();
    drop(store);
    let db = rusqlite::Connection::open(folder.join(".oppen/state.db")).unwrap();
    for (seq, link) in links {
        db.execute("UPDATE ledger SET hash = ?1 WHERE seq = ?2", rusqlite::params![&link.0[..], seq]).unwrap();
    }
}

#[test]
fn verify_finds_what_was_changed_lost_or_hashed_anew() {
    let whole = applied();
    out(whole.path(), &["apply", "--yes"], 8);
    assert!(out(whole.path(), &["verify"], 0).starts_with("The ledger is whole: 4 entries, "), "untouched");
    let after = |sql: &str, again: bool| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".oppen")).unwrap();
        for file in ["oppen.yaml", ".oppen/state.db"] {
            std::fs::copy(whole.path().join(file), folder.path().join(file)).unwrap();
        }
        tamper(folder.path(), sql);
        if again {
            rehash(folder.path());
        }
        out(folder.path(), &["verify"], 1)
    };
    let changed = "UPDATE ledger SET amount = amount + 1000000 WHERE seq = 2; UPDATE spend SET amount = amount + 1000000 WHERE job = 'w/a'";
    let text = after(changed, false);
    assert!(text.contains("fault entry 2: says $1.") && text.contains("entry 2: was changed"), "{text}");
    let text = after(changed, true);
    assert!(
        text.contains("fault entry 2: says $1.")
            && text.contains(", the journal $0.")
            && text.contains("is charged $1.")
            && text.contains("has 2 faults:"),
        "{text}"
    );
    let text = after("DELETE FROM ledger WHERE seq = 1", true);
    assert!(text.contains("fault entry 2: before it, the reserve of ") && text.contains(" is missing"), "{text}");
    let text = after("DELETE FROM ledger WHERE seq = 4; DELETE FROM spend WHERE job = 'w/b'", false);
    assert!(text.contains("fault entry 3: after it, the ") && text.contains(" is missing") && text.contains("has 1 fault:"), "{text}");
    let text = after(
        "DELETE FROM ledger WHERE seq = 4; INSERT INTO ledger SELECT 5, at, kind, address, generation, 7, amount, reserved, started, \
        ended, millis, cause, workflow, job, team, user, priority, gpu, gpus, capacity, gpu_cost, cpu_cost, off_peak_saved, spot_saved, \
        rates, labels, note, hash FROM ledger WHERE seq = 1",
        true,
    );
    assert!(text.contains("entry 5: no event of the journal makes this reserve of w/a"), "{text}");
}
