//! `cost estimate`, `budget check`: what things would cost.

use super::project::*;

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
