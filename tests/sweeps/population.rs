//! Population-based training: members go on from each other's checkpoints.

use super::project::Project;

/// Descends w^2 by five steps a generation, from its parent's w. Which rate is good is for the population to find.
const JOBS: &str = "  train:
    run: |
      w=10
      if [ \"${OPPEN_RESUME:-}\" = 1 ]; then
        read -r w < \"$OPPEN_CHECKPOINT/w\"
      elif [ -n \"${OPPEN_PARENT_CHECKPOINT:-}\" ]; then
        read -r w < \"$OPPEN_PARENT_CHECKPOINT/w\"
      fi
      begin=$w
      for step in 1 2 3 4 5; do
        w=$(awk -v w=\"$w\" -v lr=\"$OPPEN_PARAM_LR\" 'BEGIN { printf \"%.17g\", w - lr * 2 * w }')
        echo \"step=$step loss=$(awk -v w=\"$w\" 'BEGIN { printf \"%.17g\", w * w }')\"
      done
      mkdir -p \"$OPPEN_CHECKPOINT\"
      echo \"$w\" > \"$OPPEN_CHECKPOINT/new\" && mv \"$OPPEN_CHECKPOINT/new\" \"$OPPEN_CHECKPOINT/w\"
      echo \"$OPPEN_TRIAL ${OPPEN_PARENT:-none} $begin $w\" >> lineage
      sleep 0.3
    resources: {cpu: 0.01, memory: 1Mi}
    sweep:
      method: pbt
      seed: 5
      trials: 32
      options: {population: 8}
      parameters: {lr: {distribution: log_uniform, min: 1e-4, max: 0.5}}
      metric: {name: loss, goal: minimize}
";

/// Parent, where it began and where it ended, by trial.
fn lineage(project: &Project) -> Vec<(String, String, String)> {
    let text = project.read("lineage");
    let mut lines: Vec<Vec<&str>> = text.lines().map(|l| l.split(' ').collect()).collect();
    lines.sort_by_key(|l| l[0].parse::<usize>().unwrap());
    assert!(lines.iter().enumerate().all(|(i, l)| l[0] == i.to_string()), "a trial twice or never: {text}");
    lines.iter().map(|l| (l[1].to_owned(), l[2].to_owned(), l[3].to_owned())).collect()
}

#[test]
fn members_go_on_from_the_checkpoints_of_the_best_also_after_a_kill() {
    let project = Project::new("pool: {max_concurrent: 8}\n", JOBS);
    let mut apply = project.start(&["apply", "--yes"]);
    project.until("eleven ends", || project.read("lineage").lines().count() >= 11);
    apply.kill().unwrap();
    apply.wait().unwrap();
    project.expect(&["apply", "--yes"], 0);
    assert_eq!(project.statuses("w/train"), ["succeeded"; 32]);

    let members = lineage(&project);
    assert_eq!(members.len(), 32);
    let mut exploited = 0;
    for (trial, (parent, begin, _)) in members.iter().enumerate() {
        let Ok(parent) = parent.parse::<usize>() else {
            assert!(trial < 8 && begin == "10", "only the first generation begins anew: trial {trial}");
            continue;
        };
        assert_eq!(parent / 8 + 1, trial / 8, "from the generation before");
        assert_eq!(*begin, members[parent].2, "trial {trial} begins where trial {parent} ended");
        exploited += usize::from(parent + 8 != trial);
    }
    // A quarter of each generation goes on from a better one, and the worst of the last is far better than the worst of the first.
    assert_eq!(exploited, 6);
    let loss = |i: usize| members[i].2.parse::<f64>().unwrap().powi(2);
    let worst = |generation: usize| (0..8).map(|m| loss(generation * 8 + m)).fold(0.0, f64::max);
    assert!(worst(3) < worst(0) / 2.0, "{} and {}", worst(0), worst(3));
    let exploits = (8..32).find(|i| members[*i].0 != (i - 8).to_string()).unwrap();
    let text = project.expect(&["history", &format!("w/train[{exploits}]")], 0);
    assert!(text.contains(&format!("exploits trial {}", members[exploits].0)), "{text}");

    // Nothing is left to do; more generations go on from the last.
    assert_eq!(project.plan(), [""; 0]);
    project.edit("trials: 32", "trials: 40");
    project.expect(&["apply", "--yes"], 0);
    assert_eq!((lineage(&project).len(), project.statuses("w/train")), (40, vec!["succeeded".to_owned(); 40]));
}

#[test]
fn what_makes_no_generations_is_said_at_its_place() {
    for (from, to, words) in [
        ("trials: 32", "trials: 8", "8 trials are one generation of 8, and `pbt` learns from the one before"),
        ("trials: 32", "trials: 30", "30 trials are no whole generations of 8"),
        ("seed: 5", "prune: {method: median}", "`pbt` replaces bad members itself, and `prune` would end them before"),
        ("population: 8", "startup: 8", "the method `pbt` has no option `startup`"),
    ] {
        let project = Project::new("", &JOBS.replace(from, to));
        let text = project.expect(&["plan"], 4);
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{text}");
    }
}
