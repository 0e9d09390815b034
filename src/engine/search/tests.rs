use super::*;
use crate::base::Millis;
use crate::engine::{Command, Input, Launch, Observation, Order, Step};
use crate::queue::Limits;
use crate::record::{
    Arg, Cause, CommandLine, Distribution, Goal, JobSpec, Method, MetricGoal, Outcome, Parameter, PruneMethod, PruneSpec, RunSpec, Space,
};

fn search(method: Method) -> SearchSpec {
    let x = Parameter { name: "x".into(), dist: Distribution::Uniform { min: -1.0, max: 1.0 }, when: Vec::new() };
    SearchSpec {
        space: Space { parameters: vec![x], ..Space::default() },
        method,
        options: Default::default(),
        seed: 7,
        goal: Goal::Minimize,
        trials: Some(3),
        parallel: None,
        points: Vec::new(),
        prune: None,
    }
}

fn trials(n: usize) -> Vec<Order> {
    let sweep = SweepSpec { search: Some(search(Method::Tpe).into()), ..SweepSpec::default() };
    let job = Arc::new(JobSpec {
        job: "w/t".into(),
        sweep: Some(sweep.into()),
        metric: Some(MetricGoal { name: "loss".into(), goal: Goal::Minimize }),
        grace: Millis::from_secs(1),
        late_inputs: Some(serde_json::json!({})),
        ..JobSpec::default()
    });
    let command = CommandLine { argv: vec!["train".into(), Arg::Late("x={{ params.x }}".into())], vars: Vec::new() };
    let one = |i: usize| RunSpec {
        address: Address::new("w", "t", Some(&i.to_string())),
        job: Arc::clone(&job),
        command: command.clone(),
        ..RunSpec::default()
    };
    (0..n).map(|i| Order::Run(one(i).into())).collect()
}

fn engine(n: usize) -> (Engine, Step) {
    let mut engine = Engine::new(Default::default(), Limits { max_concurrent: 1, ..Limits::default() });
    let step = engine.step(Input::Apply { plan_id: "p".into(), by: "me".into(), orders: trials(n) }, Timestamp(0));
    (engine, step)
}

fn launch(step: &Step) -> Launch {
    let found = step.commands.iter().find_map(|c| match c {
        Command::Submit(launch) => Some((**launch).clone()),
        _ => None,
    });
    found.expect("a launch")
}

fn end(engine: &mut Engine, launch: &Launch, cause: Cause, loss: f64, now: i64) -> Step {
    let attempt = launch.attempt.clone();
    let points = vec![MetricPoint { name: "loss".into(), step: None, value: Some(loss), at: None }];
    engine.step(Input::Observed(Observation::Metrics { attempt: attempt.clone(), points }), Timestamp(now));
    let outcome = Outcome::new(cause, None, "");
    engine.step(
        Input::Observed(Observation::Ended { attempt, started: Some(Timestamp(0)), at: Timestamp(now), outcome, outputs: Vec::new() }),
        Timestamp(now),
    )
}

#[test]
fn a_trial_is_given_its_params_before_it_is_admitted_and_keeps_them() {
    let (mut engine, step) = engine(3);
    let words: Vec<String> = step.events.iter().map(|e| format!("{e:?}").split([' ', '{']).next().unwrap_or_default().to_owned()).collect();
    assert_eq!(words, ["PlanApplied", "Planned", "Planned", "Planned", "Suggested", "SweepBegan", "Admitted"]);
    let first = launch(&step);
    let x = first.spec.params[0].1.to_string();
    assert_eq!(first.argv.last().map(|a| &**a), Some(&*format!("x={x}")));
    assert!(first.env.iter().any(|(n, v)| n == "OPPEN_PARAM_X" && **v == *x), "{:?}", first.env);
    // An interruption is tried again with the same params; nothing is asked for a second time.
    end(&mut engine, &first, Cause::Interrupted, 0.5, 1000);
    let later = Timestamp(3_600_000);
    let step = engine.step(Input::Cancel { addresses: vec![Address::new("w", "t", Some("1"))], by: "me".into() }, later);
    let second = step.commands.iter().any(|c| matches!(c, Command::Stop { .. }));
    assert!(second, "the second trial has the slot while the first waits");
    let other = launch_of(&engine, "1");
    let step = end(&mut engine, &other, Cause::Cancelled, 0.5, 3_600_000);
    let again = launch(&step);
    assert_eq!((again.attempt.number, again.spec.params[0].1.to_string()), (2, x));
    assert!(!step.events.iter().any(|e| matches!(e, Event::Suggested { .. })));
}

fn launch_of(engine: &Engine, key: &str) -> Launch {
    let record = &engine.state().runs[&Address::new("w", "t", Some(key))];
    let attempt = AttemptId { address: record.spec.address.clone(), generation: 1, number: 1 };
    Launch { attempt, spec: Arc::clone(&record.spec), argv: Vec::new(), env: Vec::new(), timeout: None }
}

#[test]
fn an_engine_made_again_from_the_state_suggests_the_same() {
    let (mut one, step) = engine(3);
    let first = launch(&step);
    let (mut at, mut live) = (1000, first);
    for _ in 0..2 {
        let mut two = Engine::new(one.state().clone(), Limits { max_concurrent: 1, ..Limits::default() });
        let a = end(&mut one, &live, Cause::Success, 0.5, at);
        let b = end(&mut two, &live, Cause::Success, 0.5, at);
        let suggested = |step: &Step| step.events.iter().find(|e| matches!(e, Event::Suggested { .. })).cloned();
        assert!(suggested(&a).is_some());
        assert_eq!(suggested(&a), suggested(&b));
        assert_eq!(one.state(), two.state());
        live = launch(&a);
        at += 1000;
    }
}

/// Trials of nine steps that pause at their rungs; one at a time.
fn halving(n: usize) -> (Engine, Step) {
    let prune = PruneSpec { max: Some(9), promote: true, ..PruneSpec::new(PruneMethod::Asha) };
    let sweep = SweepSpec { search: Some(SearchSpec { prune: Some(prune), ..search(Method::Tpe) }.into()), ..SweepSpec::default() };
    let orders = trials(n).into_iter().map(|order| match order {
        Order::Run(spec) => {
            let job = JobSpec { sweep: Some(sweep.clone().into()), ..(*spec.job).clone() };
            Order::Run(RunSpec { job: Arc::new(job), ..(*spec).clone() }.into())
        }
        other => other,
    });
    let mut engine = Engine::new(Default::default(), Limits { max_concurrent: 1, ..Limits::default() });
    let step = engine.step(Input::Apply { plan_id: "p".into(), by: "me".into(), orders: orders.collect() }, Timestamp(0));
    (engine, step)
}

/// Reports a step; where the engine asks it to end, it does. Gives what was written, in words.
fn train(engine: &mut Engine, live: &Launch, step: i64, loss: f64) -> (Vec<String>, Option<Launch>) {
    let attempt = live.attempt.clone();
    let points = vec![MetricPoint { name: "loss".into(), step: Some(step), value: Some(loss), at: None }];
    let mut done = engine.step(Input::Observed(Observation::Metrics { attempt: attempt.clone(), points }), Timestamp(1000));
    let stops = done.commands.iter().any(|c| matches!(c, Command::Stop { .. }));
    if stops || step == 9 {
        let outcome = Outcome::new(if stops { Cause::Cancelled } else { Cause::Success }, None, "");
        let (started, at, outputs) = (Some(Timestamp(0)), Timestamp(1000), Vec::new());
        let ended = engine.step(Input::Observed(Observation::Ended { attempt, started, at, outcome, outputs }), Timestamp(1000));
        done.events.extend(ended.events);
        done.commands.extend(ended.commands);
    }
    let key = |a: &Address| a.key().unwrap_or_default().to_owned();
    let words = done.events.iter().filter_map(|e| match e {
        Event::Paused { address, because } => Some(format!("{} paused, {because}", key(address))),
        Event::Promoted { address, because } => Some(format!("{} promoted, {because}", key(address))),
        Event::Pruned { address, because } => Some(format!("{} pruned, {because}", key(address))),
        Event::Admitted { attempt, .. } => Some(format!("{} tried, attempt {}", key(&attempt.address), attempt.number)),
        Event::Succeeded { address } => Some(format!("{} succeeded", key(address))),
        _ => None,
    });
    (words.collect(), done.commands.iter().any(|c| matches!(c, Command::Submit(_))).then(|| launch(&done)))
}

#[test]
fn a_trial_that_paused_at_a_rung_goes_on_when_it_is_among_the_best_and_the_same_after_a_restart() {
    let (mut one, step) = halving(4);
    let mut live = launch(&step);
    let mut told = Vec::new();
    // Trial 1 is the best of the first three, and trial 3 the worst of all.
    for (at, loss) in [(1, 0.5), (1, 0.4), (1, 0.6), (3, 0.3), (1, 0.9), (9, 0.2)] {
        let mut two = Engine::new(one.state().clone(), Limits { max_concurrent: 1, ..Limits::default() });
        let (words, next) = train(&mut one, &live, at, loss);
        assert_eq!(train(&mut two, &live, at, loss).0, words, "who takes over decides the same");
        assert_eq!(one.state(), two.state());
        told.extend(words);
        live = next.unwrap_or(live);
    }
    assert_eq!(
        told,
        [
            "0 paused, rung 1: 1 of 1, too few to compare",
            "1 tried, attempt 1",
            "1 paused, rung 1: 1 of 2, too few to compare",
            "2 tried, attempt 1",
            "1 promoted, rung 1: 1 of 3, and the best 1 go on",
            "2 paused, rung 1: 3 of 3, and the best 1 go on",
            "1 tried, attempt 2",
            "1 paused, rung 3: 1 of 1, too few to compare",
            "3 tried, attempt 1",
            "3 paused, rung 1: 4 of 4, and the best 1 go on",
            "1 promoted, rung 3: 1 of 1, and the best 1 go on",
            "1 tried, attempt 3",
            "1 succeeded",
            "0 pruned, rung 1: 2 of 4, and the best 1 go on",
            "2 pruned, rung 1: 3 of 4, and the best 1 go on",
            "3 pruned, rung 1: 4 of 4, and the best 1 go on",
        ]
    );
    assert!(one.is_idle());
    // Nobody learns from the last part how long a whole trial takes.
    let attempt = AttemptId { address: Address::new("w", "t", Some("1")), generation: 1, number: 3 };
    let outcome = Outcome::new(Cause::Success, None, "");
    let ended = Event::Ended { attempt, started: Some(Timestamp(0)), at: Timestamp(9), outcome, outputs: Vec::new(), bill: None };
    assert!(crate::record::Sample::of(&ended, one.state()).is_some_and(|s| s.resumed && !s.is_whole()));
}
