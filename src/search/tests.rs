use std::sync::Arc;

use serde_json::{Value, json};

use super::{ELSEWHERE, Sampler, Stuck, Trial, TrialState, sampler};
use crate::base::Money;
use crate::record::{Distribution, Goal, Method, Options, Parameter, Params, Restarts, SearchSpec, Space};

fn parameter(name: &str, dist: Distribution, when: &[&str]) -> Parameter {
    Parameter { name: name.into(), dist, when: when.iter().map(|w| Arc::from(*w)).collect() }
}

fn values(list: Value, ordered: bool) -> Distribution {
    Distribution::Values { values: list.as_array().cloned().unwrap(), weights: Vec::new(), ordered }
}

fn spec(method: Method, parameters: Vec<Parameter>, constraints: &[&str]) -> SearchSpec {
    SearchSpec {
        space: Space { parameters, constraints: constraints.iter().map(|c| Arc::from(*c)).collect(), inputs: Value::Null },
        method,
        options: Options::default(),
        seed: 7,
        goal: Goal::Minimize,
        trials: Some(100),
        parallel: None,
        points: Vec::new(),
        prune: None,
    }
}

fn mixed(method: Method) -> SearchSpec {
    let parameters = vec![
        parameter("lr", Distribution::LogUniform { min: 1e-5, max: 1.0 }, &[]),
        parameter("opt", values(json!(["adam", "sgd"]), false), &[]),
        parameter("momentum", Distribution::Uniform { min: 0.0, max: 0.99 }, &["params.opt == 'sgd'"]),
        parameter("width", Distribution::IntLogUniform { min: 8, max: 512, step: 1 }, &[]),
        parameter("half", Distribution::Tied { value: "params.width // 2".into() }, &[]),
    ];
    spec(method, parameters, &["params.width < 400 or params.opt == 'adam'"])
}

fn number(params: &Params, name: &str) -> f64 {
    super::param(params, name).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Lowest at a learning rate of 0.01 and a width of 64, with adam.
fn height(params: &Params) -> f64 {
    let sgd = if super::param(params, "opt") == Some(&json!("sgd")) { 1.0 + number(params, "momentum") } else { 0.0 };
    (number(params, "lr").log10() + 2.0).powi(2) + (number(params, "width").log2() - 6.0).powi(2) + sgd
}

fn run(sampler: &mut dyn Sampler, trials: u64) -> Vec<Trial> {
    (0..trials)
        .map(|i| {
            let params = sampler.ask(i).unwrap().params;
            let value = height(&params);
            let trial = Trial::complete(i, params, Some(value));
            sampler.tell(&trial);
            trial
        })
        .collect()
}

fn best(trials: &[Trial]) -> f64 {
    trials.iter().filter_map(|t| t.value).fold(f64::INFINITY, f64::min)
}

#[test]
fn every_method_keeps_to_the_space_and_written_points_come_first() {
    for method in [Method::Random, Method::Sobol, Method::Halton, Method::Tpe, Method::CmaEs, Method::Gp, Method::Auto] {
        let mut spec = mixed(method);
        spec.points = vec![vec![("lr".into(), json!(0.5)), ("opt".into(), json!("sgd"))]];
        let trials = run(&mut *sampler(&spec).unwrap(), 30);
        assert_eq!((number(&trials[0].params, "lr"), super::param(&trials[0].params, "opt")), (0.5, Some(&json!("sgd"))), "{method:?}");
        for trial in &trials {
            let sgd = super::param(&trial.params, "opt") == Some(&json!("sgd"));
            assert_eq!(super::param(&trial.params, "momentum").is_some(), sgd, "{method:?} {:?}", trial.params);
            assert!(!sgd || number(&trial.params, "width") < 400.0, "{method:?} {:?}", trial.params);
            assert_eq!(number(&trial.params, "half"), (number(&trial.params, "width") / 2.0).floor());
        }
    }
}

/// Methods that learn, with every setting that changes how.
fn learners() -> Vec<(Method, Options)> {
    let plain = Options::default();
    vec![
        (Method::Tpe, plain.clone()),
        (Method::Tpe, Options { multivariate: Some(false), ..plain.clone() }),
        (Method::Tpe, Options { group: Some(true), per_dollar: Some(true), ..plain.clone() }),
        (Method::CmaEs, Options { restarts: Some(Restarts::Bipop), population: Some(5), startup: Some(3), ..plain.clone() }),
        (Method::Gp, Options { per_dollar: Some(true), ..plain.clone() }),
        (Method::Auto, plain),
    ]
}

#[test]
fn what_is_suggested_does_not_depend_on_the_order_of_telling() {
    for (method, options) in learners() {
        let spec = SearchSpec { options, ..mixed(method) };
        let mut told = sampler(&spec).unwrap();
        let mut trials = run(&mut *told, 40);
        trials[7].state = TrialState::Pruned;
        trials[7].step = Some(3);
        trials[8].value = Some(f64::NAN);
        trials[9] = Trial::running(9, trials[9].params.clone());
        trials[10].state = TrialState::Failed;
        trials[11].state = TrialState::Lost;
        trials[12].cost = Some(Money::from_micros(2_000_000));
        trials.push(Trial { index: ELSEWHERE + 3, ..trials[20].clone() });
        trials[7..].iter().for_each(|t| told.tell(t));
        let mut again = sampler(&spec).unwrap();
        trials.iter().rev().for_each(|t| again.tell(t));
        assert_eq!(told.ask(40), again.ask(40), "{method:?}");
        assert_ne!(told.ask(40).unwrap().params, told.ask(41).unwrap().params, "{method:?}");
    }
}

#[test]
fn unknown_results_from_the_first_trial_on_are_lived_with() {
    for (method, options) in learners() {
        let mut sampler = sampler(&SearchSpec { options, ..mixed(method) }).unwrap();
        for i in 0..30 {
            let params = sampler.ask(i).unwrap().params;
            let value = [f64::NAN, f64::INFINITY, 1e308, -1e308, 1.0][(i % 5) as usize];
            let state = if i < 15 { TrialState::Failed } else { TrialState::Complete };
            sampler.tell(&Trial { state, ..Trial::complete(i, params, Some(value)) });
        }
        assert!(sampler.ask(30).is_ok(), "{method:?}");
    }
}

#[test]
fn models_go_further_than_random_draws_on_a_slope() {
    let axes: Vec<Parameter> = (0..4).map(|i| parameter(&format!("p{i}"), Distribution::Uniform { min: 0.0, max: 1.0 }, &[])).collect();
    let bowl = |p: &Params| (0..4).map(|i| (number(p, &format!("p{i}")) - 0.2 - 0.15 * f64::from(i)).powi(2)).sum::<f64>();
    let mean = |method: Method| {
        let searched = |seed| {
            let mut sampler = sampler(&SearchSpec { seed, ..spec(method, axes.clone(), &[]) }).unwrap();
            (0..40).fold(f64::INFINITY, |best, i| {
                let params = sampler.ask(i).unwrap().params;
                let value = bowl(&params);
                sampler.tell(&Trial::complete(i, params, Some(value)));
                best.min(value)
            })
        };
        (0..2).map(searched).sum::<f64>() / 2.0
    };
    let random = mean(Method::Random);
    let (tpe, cma, gp) = (mean(Method::Tpe), mean(Method::CmaEs), mean(Method::Gp));
    assert!(tpe < 0.8 * random && cma < 0.8 * random && gp < 0.1 * random, "random {random}, tpe {tpe}, cma-es {cma}, gp {gp}");
}

#[test]
fn parallel_trials_keep_apart() {
    for method in [Method::Tpe, Method::Gp] {
        let mut sampler = sampler(&mixed(method)).unwrap();
        run(&mut *sampler, 30);
        let asked: Vec<Params> = (30..38)
            .map(|i| {
                let params = sampler.ask(i).unwrap().params;
                sampler.tell(&Trial::running(i, params.clone()));
                params
            })
            .collect();
        let distinct: std::collections::BTreeSet<String> = asked.iter().map(|p| format!("{p:?}")).collect();
        assert_eq!(distinct.len(), 8, "{method:?} {asked:?}");
    }
}

#[test]
fn with_per_dollar_the_same_value_is_looked_for_where_it_is_cheap() {
    // Every width is as good as any other; what a trial costs grows with it.
    let parameters = || {
        vec![
            parameter("x", Distribution::Uniform { min: 0.0, max: 1.0 }, &[]),
            parameter("width", Distribution::Uniform { min: 1.0, max: 100.0 }, &[]),
        ]
    };
    for method in [Method::Tpe, Method::Gp] {
        let spent = |per_dollar: bool| {
            let mut spec = spec(method, parameters(), &[]);
            spec.options.per_dollar = Some(per_dollar);
            let mut sampler = sampler(&spec).unwrap();
            (0..40)
                .map(|i| {
                    let params = sampler.ask(i).unwrap().params;
                    let cost = number(&params, "width");
                    let value = (number(&params, "x") - 0.3).powi(2);
                    let money = Money::from_micros((cost * 1e6) as i64);
                    sampler.tell(&Trial { cost: Some(money), ..Trial::complete(i, params, Some(value)) });
                    cost
                })
                .sum::<f64>()
        };
        let (with, without) = (spent(true), spent(false));
        assert!(with < 0.75 * without, "{method:?}: {with} of {without}");
    }
}

#[test]
fn whole_numbers_do_not_get_stuck_and_restarts_begin_elsewhere() {
    let axes: Vec<Parameter> =
        (0..3).map(|i| parameter(&format!("p{i}"), Distribution::IntUniform { min: 0, max: 19, step: 1 }, &[])).collect();
    let far = |p: &Params| (0..3).map(|i| (number(p, &format!("p{i}")) - 17.0).powi(2)).sum::<f64>();
    let mut sampler = sampler(&spec(Method::CmaEs, axes, &[])).unwrap();
    let (mut best, mut whys) = (f64::INFINITY, Vec::new());
    for i in 0..400 {
        let made = sampler.ask(i).unwrap();
        let value = far(&made.params);
        best = best.min(value);
        whys.push(made.why);
        sampler.tell(&Trial::complete(i, made.params, Some(value)));
    }
    assert_eq!(best, 0.0);
    assert_eq!(whys[0], "generation 1 of run 1, 7 points, step 0.167");
    assert!(whys.iter().any(|w| w.contains("of run 2, 14 points")), "{:?}", whys.last());
}

#[test]
fn auto_says_what_it_chose_and_why() {
    let axes =
        |n: usize| (0..n).map(|i| parameter(&format!("p{i}"), Distribution::Uniform { min: 0.0, max: 1.0 }, &[])).collect::<Vec<_>>();
    let chosen = |mut spec: SearchSpec, trials: u64, parallel: u32| {
        (spec.trials, spec.parallel) = (Some(trials), Some(parallel));
        sampler(&spec).unwrap().describe()
    };
    let plain = |n: usize| spec(Method::Auto, axes(n), &[]);
    assert_eq!(
        chosen(plain(3), 100, 4),
        "Gaussian process and TPE in turn: 100 trials over 3 parameters are few enough to model all results"
    );
    assert_eq!(chosen(plain(3), 1000, 4), "CMA-ES over p0, p1, p2, 7 points a generation: 1000 trials over 3 numbers are enough to adapt");
    assert_eq!(chosen(plain(30), 100, 4), "TPE: it takes any space and budget, here 30 parameters, 4 at a time");
    assert_eq!(chosen(mixed(Method::Auto), 1000, 1), "TPE: it takes any space and budget, here 4 parameters, 1 at a time");
    let few = vec![parameter("a", values(json!([1, 2, 3]), false), &[])];
    assert_eq!(chosen(spec(Method::Auto, few, &[]), 3, 1), "grid of 3 points");
    assert_eq!(sampler(&mixed(Method::CmaEs)).unwrap().describe(), "CMA-ES over lr, width, 6 points a generation; TPE for opt, momentum");
}

#[test]
fn tpe_learns_and_the_direction_matters() {
    let mean = |method: Method| -> f64 {
        (0..10).map(|seed| best(&run(&mut *sampler(&SearchSpec { seed, ..mixed(method) }).unwrap(), 60))).sum::<f64>() / 10.0
    };
    let (tpe, random) = (mean(Method::Tpe), mean(Method::Random));
    assert!(tpe < 0.5 * random, "tpe {tpe}, random {random}");
    let mut wrong = SearchSpec { goal: Goal::Maximize, ..mixed(Method::Tpe) };
    wrong.seed = 3;
    let late: Vec<Trial> = run(&mut *sampler(&wrong).unwrap(), 60).split_off(30);
    assert!(late.iter().filter(|t| t.value > Some(3.0)).count() > 20, "maximize looks for high values");
}

#[test]
fn a_grid_is_counted_exactly_and_reached_by_number() {
    let axes = |n: usize| (0..n).map(|i| parameter(&format!("p{i}"), Distribution::IntUniform { min: 0, max: 9, step: 1 }, &[])).collect();
    let mut huge = sampler(&spec(Method::Grid, axes(18), &[])).unwrap();
    assert_eq!(huge.describe(), "grid of 1000000000000000000 points");
    assert_eq!(number(&huge.ask(999_999_999_999_999_999).unwrap().params, "p17"), 9.0);
    assert_eq!(huge.ask(1_000_000_000_000_000_000), Err(Stuck::Exhausted));
    // 10 * 9 / 2 pairs in order, times 10 for a parameter that has nothing to do with them.
    let mut some = sampler(&spec(Method::Grid, axes(3), &["params.p0 < params.p2"])).unwrap();
    assert_eq!(some.describe(), "grid of 450 points");
    let all: Vec<Params> = (0..450).map(|i| some.ask(i).unwrap().params).collect();
    assert!(all.iter().all(|p| number(p, "p0") < number(p, "p2")));
    assert_eq!(all.iter().map(|p| format!("{p:?}")).collect::<std::collections::BTreeSet<_>>().len(), 450);
    let when = vec![
        parameter("opt", values(json!(["adam", "sgd"]), false), &[]),
        parameter("momentum", values(json!([0.5, 0.9]), true), &["params.opt == 'sgd'"]),
    ];
    assert_eq!(sampler(&spec(Method::Grid, when, &[])).unwrap().describe(), "grid of 3 points");
    let mut none = sampler(&spec(Method::Grid, axes(2), &["params.p0 > 9"])).unwrap();
    assert_eq!(none.ask(0), Err(Stuck::Exhausted));
    let mut never = sampler(&spec(Method::Tpe, vec![parameter("x", Distribution::Uniform { min: 0.0, max: 1.0 }, &[])], &["params.x > 2"]));
    assert_eq!(never.as_mut().unwrap().ask(0), Err(Stuck::NoPoint { tried: 10_000 }));
}

#[test]
fn sequences_fill_every_stretch_once() {
    let axes: Vec<Parameter> = (0..6).map(|i| parameter(&format!("p{i}"), Distribution::Uniform { min: 0.0, max: 1.0 }, &[])).collect();
    for (method, points, bases) in [(Method::Sobol, 256_u64, [256_u32; 6]), (Method::Halton, 900, [4, 9, 25, 1, 1, 1])] {
        let mut sampler = sampler(&spec(method, axes.clone(), &[])).unwrap();
        let all: Vec<Params> = (0..points).map(|i| sampler.ask(i).unwrap().params).collect();
        for (d, strata) in bases.into_iter().enumerate() {
            let mut hits = vec![0_u64; strata as usize];
            all.iter().for_each(|p| hits[(number(p, &format!("p{d}")) * f64::from(strata)) as usize] += 1);
            assert!(hits.iter().all(|h| *h == points / u64::from(strata)), "{method:?} {d} {hits:?}");
        }
    }
}
