//! Importance, comparison, pictures, the page and exports, over sweeps that really ran.

use std::process::{Command, Stdio};

use super::project::Project;

/// The value is that of `x`, and a little of `kind`; `same` explains nothing. One word would be markup.
const JOBS: &str = "  a:
    run: 'echo \"step=1 loss=9\"; echo \"step=2 loss=$((OPPEN_PARAM_X * OPPEN_PARAM_X)).$OPPEN_PARAM_SAME\"'
    resources: {cpu: 0.01, memory: 1Mi}
    estimate: {time: 1s}
    sweep:
      method: grid
      parameters: {x: {values: [0, 1, 2, 3, 4, 5]}, same: {values: [1, 2]}, kind: {values: ['<b>', '{{ 1 + 1 }}']}}
      metric: {name: loss, goal: minimize}
  b:
    run: 'echo \"loss=$OPPEN_PARAM_X.5\"'
    resources: {cpu: 0.01, memory: 1Mi}
    sweep: {method: grid, parameters: {x: {values: [4, 3, 2, 1]}}, metric: {name: loss, goal: minimize}}
  few:
    run: 'echo acc=1'
    resources: {cpu: 0.01, memory: 1Mi}
    sweep: {method: grid, parameters: {x: {values: [1, 2]}}, metric: {name: acc, goal: maximize}}
";

#[test]
fn what_matters_is_told_with_what_it_rests_on() {
    let project = Project::new("rates: {cpu: 3600 USD, memory: 0 USD, off_peak: {factor: 1.0}}\npool: {max_concurrent: 4}\n", JOBS);
    project.expect(&["apply", "--yes"], 0);
    let answer = project.json(&["sweep", "importance", "w/a", "-o", "json"]);
    let share = |i: usize| (answer["params"][i]["params"][0].as_str().unwrap().to_owned(), answer["params"][i]["share"].as_f64().unwrap());
    assert!(share(0).0 == "x" && share(0).1 > 0.8, "{answer:#}");
    assert!(share(1).1 < 0.1 && share(2).1 < 0.1 && answer["fit"].as_f64().unwrap() > 0.5, "{answer:#}");
    assert_eq!((answer["results"].as_u64(), answer["params"][0]["best"].as_str()), (Some(24), Some("0")));
    let text = project.expect(&["sweep", "importance", "w/a"], 0);
    assert!(text.starts_with("w/a: what explains loss, from 24 results (fit ") && text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert!(text.contains("warning: 24 results for 3 params are few"), "{text}");
    let text = project.expect(&["sweep", "importance", "w/few"], 1);
    assert!(text.contains("w/few has 2 results with `acc`, and importance needs at least 8"), "{text}");
    compared(&project);
    drawn(&project);
}

fn compared(project: &Project) {
    let text = project.expect(&["sweep", "compare", "w/a", "w/b"], 0);
    let words =
        |start: &str| text.lines().find(|l| l.trim_start().starts_with(start)).map(|l| l.split_whitespace().skip(1).collect::<Vec<_>>());
    assert_eq!((words("best"), words("results")), (Some(vec!["0.1", "1.5"]), Some(vec!["24", "4"])), "{text}");
    assert!(text.contains("after 4 results") && text.contains("one sweep tells little"), "{text}");
    let answer = project.json(&["sweep", "compare", "w/a", "w/b", "-o", "json"]);
    assert!(answer["chance"].is_null() && answer["sides"][1]["ways"][0]["steps"].as_array().unwrap().len() == 4, "{answer:#}");
    for (args, code, words) in [
        (["w/a", "w/few"], 1, "w/a goes by `loss`, w/few by acc (maximize)"),
        (["w/a", "w/a"], 64, "w/a is on both sides"),
        (["w/a", "w/x"], 1, "no sweep `w/x` in the state"),
    ] {
        let text = project.expect(&["sweep", "compare", args[0], args[1]], code);
        assert!(text.contains(words), "{text}");
    }
}

fn drawn(project: &Project) {
    for what in ["history", "parallel", "slices", "contour", "curves"] {
        let svg = project.expect(&["sweep", "plot", "w/a", what], 0);
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>") && svg.contains("<title>"), "{what}: {svg}");
        assert!(!svg.contains("<b>") && !svg.contains("NaN") && !svg.contains("inf"), "{what}: {svg}");
    }
    assert!(project.expect(&["sweep", "plot", "w/a", "parallel"], 0).contains("&lt;b&gt;"));
    for (args, code, words) in [
        (vec!["w/a", "contour", "--params", "x,y"], 1, "no param `y` varies in w/a"),
        (vec!["w/a", "slices", "--params", "x,kind"], 64, "`--params` is for `contour`"),
        (vec!["w/a", "contour", "--params", "x"], 64, "write two different params"),
        (vec!["w/b", "contour"], 1, "too few results"),
    ] {
        let text = project.expect(&[&["sweep", "plot"], &args[..]].concat(), code);
        assert!(text.contains(words), "{text}");
    }
    let html = project.expect(&["sweep", "report", "w/a"], 0);
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">") && html.contains("&lt;b&gt;") && !html.contains("<b>"), "{html}");
    // Nothing is loaded and nothing runs.
    let links: Vec<&str> =
        html.split("http").skip(1).filter(|l| !l.starts_with("://www.w3.org/2000/svg") && !l.starts_with("-equiv")).collect();
    assert!(links.is_empty() && !html.contains("<script") && !html.contains("src=") && !html.contains("url("), "{links:?}");
    assert_eq!(html.matches("<svg ").count(), html.matches("role=\"img\" aria-label=").count());
    assert!(
        project.expect(&["sweep", "report", "w/few", "-o", "html=few.html"], 0).is_empty()
            && project.read("few.html").contains("needs at least 8")
    );

    let csv = project.expect(&["sweep", "export", "w/a"], 0);
    assert!(csv.lines().count() == 25 && csv.starts_with("address,status,value,step,"), "{csv}");
    tables(project);
    let steps = project.expect(&["sweep", "export", "w/b", "-o", "steps"], 0);
    assert_eq!(steps, "address,step,value\nw/b[0],1,4.5\nw/b[1],1,3.5\nw/b[2],1,2.5\nw/b[3],1,1.5\n");
}

/// What other programs read of the export: types, nulls, values as they are.
const READ: &str = r#"
import io, sys
import pyarrow.parquet as pq
trials, steps = pq.read_table("t.parquet"), pq.read_table(io.BytesIO(sys.stdin.buffer.read()))
for field in trials.schema:
    print(field.name, field.type)
for name in ["address", "value", "step", "params.x", "params.kind"]:
    print(name, trials.column(name).to_pylist()[:2])
rows = trials.to_pylist()
assert all(r["started"] <= r["ended"] and r["ended"].tzinfo is not None for r in rows)
assert sum(r["spent"] for r in rows) > 0
print(trials.num_rows, steps.num_rows)
for field in steps.schema:
    print(field.name, field.type)
first = {k: v for k, v in steps.to_pylist()[1].items() if k != "at"}
print(first)
note = {k.decode(): v.decode() for k, v in trials.schema.metadata.items() if k.startswith(b"oppen.")}
print(sorted(note.items()))
"#;

fn tables(project: &Project) {
    let two = project.expect(&["sweep", "export", "w/a", "-o", "parquet", "-o", "csv"], 64);
    assert!(two.contains("standard output holds one Parquet file and nothing else") && two.contains("-o parquet=FILE"), "{two}");
    assert!(project.expect(&["sweep", "export", "w/a", "-o", "parquet=t.parquet", "-o", "csv=t.csv"], 0).is_empty());
    let file = std::fs::read(project.path().join("t.parquet")).unwrap();
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1") && project.read("t.csv").lines().count() == 25);
    let Ok(python) = std::env::var("OPPEN_TEST_MLFLOW") else {
        eprintln!("skipped: reading Parquet with pyarrow; OPPEN_TEST_MLFLOW names no Python that has it");
        return;
    };
    let mut export = project.command(&["sweep", "export", "w/a", "-o", "parquet-steps"]).stdout(Stdio::piped()).spawn().unwrap();
    let pipe = export.stdout.take().unwrap();
    let read = Command::new(python).args(["-c", READ]).current_dir(project.path()).stdin(pipe).output().unwrap();
    assert!(export.wait().unwrap().success());
    let said = String::from_utf8_lossy(&read.stdout).into_owned() + &String::from_utf8_lossy(&read.stderr);
    insta::assert_snapshot!(said, @r#"
    address string
    status string
    value double
    step int64
    seconds double
    spent decimal128(18, 6)
    params.x int64
    params.same int64
    params.kind string
    why string
    because string
    started timestamp[us, tz=UTC]
    ended timestamp[us, tz=UTC]
    address ['w/a[0]', 'w/a[1]']
    value [0.1, 0.1]
    step [2, 2]
    params.x [0, 0]
    params.kind ['"<b>"', '2']
    24 48
    address string
    metric string
    step int64
    value double
    at timestamp[us, tz=UTC]
    {'address': 'w/a[0]', 'metric': 'loss', 'step': 2, 'value': 0.1}
    [('oppen.format_version', '1'), ('oppen.goal', 'minimize'), ('oppen.method', 'sweep'), ('oppen.metric', 'loss'), ('oppen.sweep', 'w/a')]
    "#);
}
