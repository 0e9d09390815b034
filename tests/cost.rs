//! `oppen cost`, `budget` and `verify`, with the real binary, on the committed examples, on a real apply, and on bad input.

use std::path::Path;
use std::process::{Command, Output};

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

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_reference_cases_hold_to_the_cent() {
    let at = |time: &str| out(checkout(), &["cost", "estimate", "examples/mnist.yaml", "--set", "gpus=1", "--at", time], 0);
    let peak = at("2026-11-24T12:00Z");
    assert_eq!(
        peak,
        "\
mnist/train
  time      2m (declared)
  GPU       1 x GPU at $0.50/h                              $0.016667
  CPU       2 at $0.10/h                                    $0.003333
  memory    3Gi at $0.015/h                                   $0.0005
  peak      2026-11-24 12:00 to 12:02 (2m) x 1                $0.0205
  factors   normal x 1, on-demand x 1
  total                                                       $0.0205
  budget    0.1% of $25.00 (project oppen-examples)
  budget    41% of $0.05 (workflow mnist)

mnist-seeds/train (50 runs)
  time      1m (declared)
  GPU       1 x GPU at $0.50/h                              $0.008333
  CPU       2 at $0.10/h                                    $0.001667
  memory    3Gi at $0.015/h                                  $0.00025
  peak      2026-11-24 12:00 to 12:01 (1m) x 1               $0.01025
  factors   normal x 1, on-demand x 1
  total                                                      $0.01025
  all       50 runs                                           $0.5125
  budget    0%, all 2% of $25.00 (project oppen-examples)
  budget    2%, all 102.5% of $0.50 (workflow mnist-seeds)

$0.533 for 51 runs, as if started 2026-11-24 12:00 UTC.
"
    );
    let night = at("2026-11-24T23:00Z");
    assert!(night.contains("20.5% of $0.05 (workflow mnist)") && night.contains("all 51.2% of $0.50"), "{night}");
    assert!(night.contains("$0.2665 for 51 runs"), "{night}");
    // Over the boundary of 22:00 it is priced by the pieces.
    let both = at("2026-11-24T21:59Z");
    assert!(both.contains("peak      2026-11-24 21:59 to 22:00 (1m) x 1               $0.01025"), "{both}");
    assert!(both.contains("off-peak  2026-11-24 22:00 to 22:01 (1m) x 0.5            $0.005125"), "{both}");
}

#[test]
fn addresses_choose_and_a_slip_is_told() {
    let args = ["cost", "estimate", "examples/mnist.yaml", "mnist-seeds/*", "--set", "gpus=1", "--at", "2026-11-24T12:00Z", "-o", "json"];
    let value: serde_json::Value = serde_json::from_str(&out(checkout(), &args, 0)).unwrap();
    assert_eq!((value["total"].as_str(), value["unpriced"].as_u64()), (Some("0.5125"), Some(0)));
    assert_eq!(value["blocks"][0]["addresses"].as_array().map(Vec::len), Some(50));
    let slip = oppen(checkout(), &["cost", "estimate", "examples/mnist.yaml", "mnist/trian"]);
    assert_eq!(slip.status.code(), Some(64));
    assert_eq!(String::from_utf8_lossy(&slip.stderr), "error: no run `mnist/trian` in these files\n  help: did you mean `mnist/train`?\n");
}

#[test]
fn a_budget_check_tells_what_fits() {
    let mnist = ["budget", "check", "examples/mnist.yaml", "--set", "gpus=1"];
    let check = |more: &[&str], code| out(checkout(), &[&mnist[..], more].concat(), code);
    assert_eq!(
        check(&["mnist/train", "--limit", "0.05 USD", "--at", "2026-11-24T12:00Z"], 0),
        "\
1 run: $0.0205 expected, not known at the worst (a run has no timeout).

                                    so far        this       limit    used
  limit given                        $0.00     $0.0205       $0.05     41% fits

  mnist/train: room for 4 epochs (2 planned) or 2 runs (1 planned)
Feasible.
"
    );
    let seeds = ["mnist-seeds/*", "--limit", "0.50 USD"];
    let peak = check(&[&seeds[..], &["--at", "2026-11-24T12:00Z"]].concat(), 3);
    assert!(peak.contains("102.5% over") && peak.contains("or 48 runs (50 planned)") && peak.ends_with("Not feasible.\n"), "{peak}");
    let night = check(&[&seeds[..], &["--at", "2026-11-24T23:00Z"]].concat(), 0);
    assert!(night.contains("51.2% fits") && night.contains("room for 1 epoch each (1 planned) or 97 runs"), "{night}");
    let json: serde_json::Value =
        serde_json::from_str(&check(&["mnist/train", "--limit", "0.02 USD", "--at", "2026-11-24T12:00Z", "-o", "json"], 3)).unwrap();
    assert_eq!(
        (json["feasible"].as_bool(), json["jobs"][0]["epochs_fit"].as_u64(), json["format_version"].as_u64()),
        (Some(false), Some(1), Some(1))
    );
    for bad in ["NaN", "-1", "0", "1 EUR", "1e999"] {
        check(&[&format!("--limit={bad}")], 64);
    }
    check(&["mnist/trian"], 64);
}

/// A project that was applied: `a` costs about four cents of the five that its workflow has; a cent passes in a quarter second.
fn applied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("workflows")).unwrap();
    let project = "apiVersion: oppen/v1\nkind: Project\nname: lab\nbudget: {limit: 25 USD}\n\
        rates: {cpu: 144 USD, memory: 0 USD, off_peak: {factor: 1}}\n";
    let workflow = "apiVersion: oppen/v1\nkind: Workflow\nname: w\nbudget: {limit: 0.02 USD, on_exceed: warn}\n\
        defaults: {resources: {cpu: 1, memory: 1Mi}, estimate: {time: 500ms}}\n\
        jobs:\n  a: {run: [sleep, \"0.6\"]}\n  b: {run: [\"false\"], needs: [a]}\n";
    std::fs::write(folder.path().join("oppen.yaml"), project).unwrap();
    std::fs::write(folder.path().join("workflows/w.yaml"), workflow).unwrap();
    folder
}

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
fn tamper(folder: &Path, sql: &str) {
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
    assert!(text.contains("fault entry 2: says $1.") && text.contains(", the journal $0.") && text.contains("has 1 fault:"), "{text}");
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
