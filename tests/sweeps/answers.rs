//! What `sweep list`, `status` and `best` say of a real run.

use super::project::Project;

/// Five trials one after the other: the third fails, the last waits for a file. One text would turn the terminal red.
const JOBS: &str = "  train:
    run: |
      echo \"step=1 loss=9\"
      echo \"step=2 loss=$OPPEN_PARAM_OPT_X\"
      test \"$OPPEN_PARAM_OPT_X\" != 4
      while [ \"$OPPEN_PARAM_OPT_X\" = 2 ] && [ ! -e go ]; do sleep 0.02; done
    resources: {cpu: 0.01, memory: 1Mi}
    estimate: {time: 1s}
    sweep:
      method: grid
      parameters:
        opt: {parameters: {x: {values: [5, 3, 4, 1, 2]}, lr: {values: [1.0e-5]}}}
        tag: {values: [\"a\\e[31mb\"]}
      metric: {name: loss, goal: minimize}
      parallel: 1
      max_failed: 1
      max_cost: 4 USD
  sizes:
    needs: [train]
    run: 'echo acc={{ params.n }}'
    resources: {cpu: 0.01, memory: 1Mi}
    matrix: {n: [1, 2]}
    metric: {name: acc, goal: maximize}
";

/// Lengths of time, which differ from run to run, as a `T` in their last column.
fn still(text: &str) -> String {
    let time = |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with('s') && !word.contains('=');
    let lines = text.lines().map(|line| {
        line.split(' ').map(|w| if time(w) { format!("{}T", " ".repeat(w.len() - 1)) } else { w.to_owned() }).collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_sweep_tells_how_it_stands_and_what_was_best() {
    let project = Project::new("rates: {cpu: 0 USD, memory: 0 USD}\npool: {max_concurrent: 4}\n", JOBS);
    let mut apply = project.start(&["apply"]);
    let waits = || {
        let text = project.oppen(&["sweep", "status", "w/train", "-o", "json"]).1;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value["sweeps"][0]["live"][0]["value"] == 2.0
    };
    project.until("the last trial", waits);
    let text = project.expect(&["sweep", "status", "w/train"], 0);
    insta::assert_snapshot!(still(&text), @r#"
    w/train (sweep, minimize loss)
      trials  5: 3 succeeded, 1 running, 1 failed
      cost    $0.00 of max_cost $4.00 (0%), $1.00 set aside for what runs
      best    1 in w/train[3]
              opt.x=1 opt.lr=0.00001 tag="a\u001b[31mb"
      curve   █▅▁  5 to 1, 3 results

    Running
      trial       value   step    time       cost  params
      4               2      2       T      $0.00  opt.x=2 opt.lr=0.00001 tag="a\u..

    Best
      trial       value   step    time       cost  params
      3               1      2       T      $0.00  opt.x=1 opt.lr=0.00001 tag="a\u..
      1               3      2       T      $0.00  opt.x=3 opt.lr=0.00001 tag="a\u..
      0               5      2       T      $0.00  opt.x=5 opt.lr=0.00001 tag="a\u..
    "#);
    std::fs::write(project.path().join("go"), "").unwrap();
    let text = project.expect(&["sweep", "status", "w/train", "--watch"], 0);
    assert!(text.contains("trials  5: 4 succeeded, 1 failed\n"), "{text}");
    assert_eq!(apply.wait().unwrap().code(), Some(0));

    insta::assert_snapshot!(project.expect(&["sweep", "list"], 0), @r#"
    w/sizes                        2 trials: 2 succeeded
      best acc 2 in [n=2] with n=2
      cost $0.00
    w/train                        5 trials: 4 succeeded, 1 failed
      best loss 1 in [3] with opt.x=1 opt.lr=0.00001 tag="a\u001b[31mb"
      cost $0.00 of max_cost $4.00 (0%)
    "#);
    insta::assert_snapshot!(project.expect(&["sweep", "best", "w/train"], 0), @r#"
    # w/train[3]: loss 1
    opt:
      x: 1
      lr: 0.00001
    tag: "a\u001b[31mb"
    "#);
    insta::assert_snapshot!(project.expect(&["sweep", "best", "w/sizes", "-n", "5"], 0), @r#"
    # w/sizes[n=2]: acc 2
    - "n": 2
    # w/sizes[n=1]: acc 1
    - "n": 1
    "#);
    let best = project.json(&["sweep", "best", "w/train", "-n", "2", "-o", "json"]);
    assert_eq!(best["trials"][1]["params"], serde_json::json!({"opt": {"x": 2, "lr": 1e-5}, "tag": "a\u{1b}[31mb"}));
    let csv = project.expect(&["sweep", "status", "w/train", "-o", "csv", "-o", "svg=best.svg"], 0);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        (lines.len(), lines[0]),
        (6, "address,status,value,step,seconds,spent,params.opt.x,params.opt.lr,params.tag,why,because,started,ended")
    );
    assert!(lines[3].starts_with("w/train[2],failed,4,2,") && lines[3].contains(",0.00,4,0.00001,a\\x1b[31mb,,"), "{csv}");
    let svg = project.read("best.svg");
    assert!(svg.contains("loss 1 in w/train[3], of 5 trials") && svg.contains("w/train[0]: 5"), "{svg}");
    wrong_words(&project);
}

fn wrong_words(project: &Project) {
    for (args, code, words) in [
        (vec!["sweep", "status", "w/trian"], 1, "did you mean `w/train`?"),
        (vec!["sweep", "best", "w/*"], 64, "`w/*` is 2 sweeps, and this is about one"),
        (vec!["sweep", "status", "w/train", "-o", "cvs"], 64, "did you mean `csv`?"),
        (vec!["sweep", "best", "w/train", "-n", "0"], 64, "invalid value '0'"),
        (vec!["sweep", "pause", "w/sizes"], 1, "`w/sizes` is no sweep"),
    ] {
        let text = project.expect(&args, code);
        assert!(text.contains(words), "{text}");
    }
}
