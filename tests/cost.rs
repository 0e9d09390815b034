//! `oppen cost` and `oppen rates`, with the real binary, on the committed examples and on bad input.

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
