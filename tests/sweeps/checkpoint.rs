//! Checkpoints: what is tried again goes on where it was; what is ended early has time to save.

use super::project::Project;

/// Counts epochs over attempts; each trial fails once after its third.
const JOBS: &str = "  train:
    run: |
      epoch=0
      mkdir -p \"$OPPEN_CHECKPOINT\"
      if [ \"${OPPEN_RESUME:-}\" = 1 ]; then read -r epoch < \"$OPPEN_CHECKPOINT/epoch\"; fi
      echo \"$OPPEN_TRIAL from $epoch\" >> starts
      while [ \"$epoch\" -lt 6 ]; do
        epoch=$((epoch + 1))
        echo \"$epoch\" > \"$OPPEN_CHECKPOINT/new\" && mv \"$OPPEN_CHECKPOINT/new\" \"$OPPEN_CHECKPOINT/epoch\"
        echo \"step=$epoch loss=$((10 - epoch))\"
        if [ \"$epoch\" = 3 ] && [ ! -e \"failed-$OPPEN_TRIAL\" ]; then touch \"failed-$OPPEN_TRIAL\"; exit 1; fi
      done
    resources: {cpu: 0.01, memory: 1Mi}
    retry: {errors: 1, backoff: 1s}
    sweep: {method: grid, parameters: {x: {values: [1, 2]}}, metric: {name: loss, goal: minimize}}
";

fn checkpoints(project: &Project) -> Vec<std::path::PathBuf> {
    let list = |path: &std::path::Path| std::fs::read_dir(path).into_iter().flatten().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    list(&project.path().join(".oppen/checkpoints")).iter().flat_map(|run| list(run)).collect()
}

#[test]
fn what_is_tried_again_goes_on_from_its_checkpoint_and_what_succeeded_leaves_none() {
    let project = Project::new("", JOBS);
    project.expect(&["apply", "--yes"], 0);
    let mut starts: Vec<String> = project.read("starts").lines().map(str::to_owned).collect();
    starts.sort();
    assert_eq!(starts, ["0 from 0", "0 from 3", "1 from 0", "1 from 3"]);
    assert_eq!(checkpoints(&project), [""; 0].map(std::path::PathBuf::from));

    // An edit makes another training of it, which never goes on from the old one's checkpoint.
    std::fs::remove_file(project.path().join("failed-0")).unwrap();
    project.edit("retry: {errors: 1, backoff: 1s}", "retry: {errors: 0}");
    project.edit("$((10 - epoch))", "$((11 - epoch))");
    project.expect(&["apply", "--yes"], 8);
    assert_eq!(checkpoints(&project).len(), 1, "what failed keeps its checkpoint");
    project.edit("$((11 - epoch))", "$((12 - epoch))");
    project.expect(&["apply", "--yes"], 0);
    let starts = project.read("starts");
    assert_eq!(starts.lines().filter(|l| *l == "0 from 0").count(), 3, "{starts}");
    assert_eq!(checkpoints(&project).len(), 0);
}

#[test]
fn a_trial_that_is_ended_early_has_its_grace_to_save() {
    let project = Project::new(
        "",
        "  train:
    run: |
      mkdir -p \"$OPPEN_CHECKPOINT\"
      trap 'echo saved > \"$OPPEN_CHECKPOINT/state\"; exit 0' TERM
      echo step=1 loss=$OPPEN_PARAM_X
      while [ \"$OPPEN_PARAM_X\" = 9 ]; do sleep 0.05; done
    grace: 20s
    sweep: {method: grid, parameters: {x: {values: [1, 9]}}, metric: {name: loss, goal: minimize}, prune: {method: threshold, upper: 5.0}}
",
    );
    project.expect(&["apply", "--yes"], 0);
    assert_eq!(project.statuses("w/train"), ["succeeded", "pruned"]);
    let left = checkpoints(&project);
    assert!(left.len() == 1 && std::fs::read_to_string(left[0].join("state")).unwrap() == "saved\n", "{left:?}");
    project.expect(&["destroy", "--yes"], 0);
    assert_eq!(checkpoints(&project).len(), 0, "what is destroyed leaves nothing");
}
