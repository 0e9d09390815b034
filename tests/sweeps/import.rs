//! Other tools' searches become workflows that validate, and what is lost is named.

use super::project::Project;

const WANDB: &str = r#"program: train.py
name: My Sweep
project: digits
method: bayes
run_cap: 12
metric: {name: val/loss, goal: minimize, target: 0.1}
parameters:
  lr: {distribution: log_uniform, min: -9.21034037197618, max: -2.302585092994046}
  trainer.wd: {distribution: log_uniform_values, min: !!float 1e-5, max: 1e-2}
  batch: {distribution: q_log_uniform_values, min: 32, max: 256, q: 8}
  layers: {min: 1, max: 4}
  drop: {distribution: beta, a: 1, b: 2}
  flag: {values: [true, false]}
  opt: {values: [adam, "{{ sgd }}"], probabilities: [0.7, 0.3]}
early_terminate: {type: hyperband, max_iter: 27, s: 2, strict: true}
command: ["${env}", "${interpreter}", "${program}", --fast, "${args}"]
"#;

const KATIB: &str = r#"apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: mnist}
spec:
  objective: {type: maximize, goal: 0.99, objectiveMetricName: accuracy}
  algorithm: {algorithmName: tpe}
  parallelTrialCount: 2
  maxTrialCount: 6
  maxFailedTrialCount: 1
  earlyStopping:
    algorithmName: medianstop
    algorithmSettings: [{name: min_trials_required, value: "2"}]
  parameters:
    - {name: lr, parameterType: double, feasibleSpace: {min: "0.01", max: "0.05", distribution: logUniform}}
    - {name: n-layers, parameterType: int, feasibleSpace: {min: "1", max: "5", step: "2"}}
    - {name: opt, parameterType: categorical, feasibleSpace: {list: [sgd, adam]}}
  trialTemplate:
    primaryContainerName: main
    trialParameters: [{name: learningRate, reference: lr}, {name: layers, reference: n-layers}]
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec:
        template:
          spec:
            containers:
              - name: main
                image: mnist:1
                command: [python, train.py, "--lr=${trialParameters.learningRate}", "--layers=${trialParameters.layers}"]
                resources: {limits: {cpu: "2", memory: 1Gi, nvidia.com/gpu: 1}}
                env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: hub, key: token}}}]
                volumeMounts: [{name: data, mountPath: /data}]
"#;

const DETERMINED: &str = r"name: adaptive
hyperparameters:
  global_batch_size: 64
  lr: {type: log, minval: -5.0, maxval: -1.0, base: 10}
  optimizer:
    name: {type: categorical, vals: [adam, sgd]}
    momentum: {type: double, minval: 0.0, maxval: 0.9}
searcher: {name: adaptive_asha, metric: validation_loss, max_length: {epochs: 64}, max_trials: 8, mode: aggressive}
resources: {slots_per_trial: 0}
entrypoint: model_def:Trial
max_restarts: 1
";

const JOURNAL: &str = r#"{"op_code": 0, "worker_id": "w", "study_name": "digits", "directions": [2]}
{"op_code": 4, "worker_id": "w", "study_id": 0}
{"op_code": 5, "worker_id": "w", "trial_id": 0, "param_name": "lr", "param_value_internal": 0.02, "distribution": "{\"name\": \"FloatDistribution\", \"attributes\": {\"step\": null, \"low\": 0.0001, \"high\": 1.0, \"log\": true}}"}
{"op_code": 5, "worker_id": "w", "trial_id": 0, "param_name": "opt", "param_value_internal": 1.0, "distribution": "{\"name\": \"CategoricalDistribution\", \"attributes\": {\"choices\": [\"adam\", \"sgd\"]}}"}
{"op_code": 5, "worker_id": "w", "trial_id": 0, "param_name": "momentum", "param_value_internal": 0.5, "distribution": "{\"name\": \"FloatDistribution\", \"attributes\": {\"step\": 0.1, \"low\": 0.0, \"high\": 0.9, \"log\": false}}"}
{"op_code": 6, "worker_id": "w", "trial_id": 0, "state": 1, "values": [0.91]}
{"op_code": 4, "worker_id": "w", "study_id": 0}
{"op_code": 5, "worker_id": "w", "trial_id": 1, "param_name": "lr", "param_value_internal": 0.3, "distribution": "{\"name\": \"FloatDistribution\", \"attributes\": {\"step\": null, \"low\": 0.0001, \"high\": 1.0, \"log\": true}}"}
{"op_code": 5, "worker_id": "w", "trial_id": 1, "param_name": "opt", "param_value_internal": 0.0, "distribution": "{\"name\": \"CategoricalDistribution\", \"attributes\": {\"choices\": [\"adam\", \"sgd\"]}}"}
{"op_code": 6, "worker_id": "w", "trial_id": 1, "state": 1, "values": [0.95]}
"#;

/// Imports, and lets `validate` and `plan` look at the result.
fn imported(name: &str, text: &str) -> (String, String) {
    let project = Project::new("pool: {quotas: {gpu: 1}}\n", "  none: {run: 'true'}\n");
    std::fs::write(project.path().join(name), text).unwrap();
    let said = project.expect(&["sweep", "import", name, "-o", "yaml=workflows/made.yaml"], 0);
    let valid = project.expect(&["validate", "workflows/made.yaml"], 0);
    assert!(valid.contains("Valid: 1 workflow, 1 job"), "{valid}");
    project.expect(&["plan", "workflows/made.yaml"], 0);
    (project.read("workflows/made.yaml"), said)
}

#[test]
fn a_sweep_of_wandb_becomes_a_workflow() {
    let (made, said) = imported("sweep.yaml", WANDB);
    insta::assert_snapshot!(made);
    assert!(
        said.contains("  - line 3: `project: digits`\n") && said.contains("line 12: `parameters.drop`: the distribution `beta`"),
        "{said}"
    );
}

#[test]
fn an_experiment_of_katib_becomes_a_workflow() {
    let (made, _) = imported("katib.yaml", KATIB);
    insta::assert_snapshot!(made);
}

#[test]
fn an_experiment_of_determined_becomes_a_workflow() {
    let (made, _) = imported("const.yaml", DETERMINED);
    insta::assert_snapshot!(made);
}

#[test]
fn a_study_of_optuna_becomes_a_workflow_whatever_its_storage() {
    let (made, _) = imported("journal.log", JOURNAL);
    insta::assert_snapshot!(made);

    // The same in SQLite, as Optuna lays it out.
    let project = Project::new("", "  none: {run: 'true'}\n");
    let db = rusqlite::Connection::open(project.path().join("study.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name TEXT);
         CREATE TABLE study_directions (study_direction_id INTEGER PRIMARY KEY, direction TEXT, study_id INTEGER, objective INTEGER);
         CREATE TABLE trials (trial_id INTEGER PRIMARY KEY, number INTEGER, study_id INTEGER, state TEXT);
         CREATE TABLE trial_params (param_id INTEGER PRIMARY KEY, trial_id INTEGER, param_name TEXT, param_value FLOAT, distribution_json TEXT);
         CREATE TABLE trial_values (trial_value_id INTEGER PRIMARY KEY, trial_id INTEGER, objective INTEGER, value FLOAT, value_type TEXT);
         INSERT INTO studies VALUES (1, 'digits'), (2, 'other');
         INSERT INTO study_directions VALUES (1, 'MAXIMIZE', 1, 0), (2, 'MINIMIZE', 2, 0);",
    )
    .unwrap();
    let ops: Vec<serde_json::Value> = JOURNAL.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for trial in [0, 1] {
        db.execute("INSERT INTO trials VALUES (?1, ?1, 1, 'COMPLETE')", [trial]).unwrap();
        for op in ops.iter().filter(|o| o["trial_id"] == trial && o["op_code"] == 5) {
            let (name, value) = (op["param_name"].as_str().unwrap(), op["param_value_internal"].as_f64().unwrap());
            let row = rusqlite::params![trial, name, value, op["distribution"].as_str().unwrap()];
            db.execute("INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?1, ?2, ?3, ?4)", row)
                .unwrap();
        }
        let value = ops.iter().find(|o| o["trial_id"] == trial && o["op_code"] == 6).unwrap()["values"][0].as_f64().unwrap();
        db.execute("INSERT INTO trial_values (trial_id, objective, value) VALUES (?1, 0, ?2)", rusqlite::params![trial, value]).unwrap();
    }
    drop(db);
    let text = project.expect(&["sweep", "import", "study.db"], 64);
    assert!(text.contains("2 studies") && text.contains("--study: digits, other"), "{text}");
    project.expect(&["sweep", "import", "study.db", "--study", "digits", "-o", "yaml=made.yaml"], 0);
    let body = |text: &str| text.lines().filter(|l| !l.starts_with("# Imported")).collect::<Vec<_>>().join("\n");
    assert_eq!(body(&project.read("made.yaml")), body(&made));

    let distributions: serde_json::Map<_, _> = ops
        .iter()
        .filter(|o| o["op_code"] == 5)
        .map(|o| (o["param_name"].as_str().unwrap().to_owned(), o["distribution"].clone()))
        .collect();
    std::fs::write(project.path().join("d.json"), serde_json::to_string(&distributions).unwrap()).unwrap();
    let text = project.expect(&["sweep", "import", "d.json"], 0);
    assert!(text.contains("lr: {distribution: log_uniform, min: 0.0001, max: 1.0}") && text.contains("which way is better"), "{text}");
}

#[test]
fn what_is_no_search_is_refused_with_what_would_be_one() {
    let project = Project::new("", "  none: {run: 'true'}\n");
    let nas = "kind: Experiment\nspec: {parameters: [], nasConfig: {graphConfig: {}}}\n";
    for (text, words) in [
        ("a: 1\n", "this is no search of a tool that is known"),
        ("apiVersion: oppen/v1\nkind: Workflow\n", "it is a file of Oppen already"),
        ("method: grid\nparameters: {}\n", "`parameters` is empty"),
        ("method: grid\nparameters: {x: [1\n", "x.yaml"),
        (nas, "neural architecture search"),
        ("\u{1b}[31m: {\n", "x.yaml"),
    ] {
        std::fs::write(project.path().join("x.yaml"), text).unwrap();
        let said = project.expect(&["sweep", "import", "x.yaml"], 4);
        assert!(said.contains(words) && !said.contains('\u{1b}'), "{said}");
    }
    std::fs::write(project.path().join("b.bin"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(project.expect(&["sweep", "import", "b.bin"], 4).contains("is not text in UTF-8"));
    assert!(project.expect(&["sweep", "import", "gone.yaml"], 1).contains("gone.yaml"));

    // A grid over a range that has no end is not valid anywhere: the workflow is written, and the problem is said.
    std::fs::write(project.path().join("x.yaml"), "method: grid\nprogram: t.py\nparameters: {lr: {min: 0.1, max: 1.0}}\n").unwrap();
    let said = project.expect(&["sweep", "import", "x.yaml", "-o", "yaml=made.yaml"], 4);
    assert!(said.contains("has no end") && project.read("made.yaml").contains("method: grid"), "{said}");
}
