use std::sync::Arc;

use serde_json::{Value, json};

use super::{Sampler, Stuck, Trial, TrialState, sampler};
use crate::record::{Distribution, Goal, Method, Options, Parameter, Params, SearchSpec, Space};

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
    for method in [Method::Random, Method::Sobol, Method::Halton, Method::Tpe, Method::Auto] {
        let mut spec = mixed(method);
        spec.points = vec![vec![("lr".into(), json!(0.5)), ("opt".into(), json!("sgd"))]];
        let trials = run(&mut *sampler(&spec).unwrap(), 60);
        assert_eq!((number(&trials[0].params, "lr"), super::param(&trials[0].params, "opt")), (0.5, Some(&json!("sgd"))), "{method:?}");
        for trial in &trials {
            let sgd = super::param(&trial.params, "opt") == Some(&json!("sgd"));
            assert_eq!(super::param(&trial.params, "momentum").is_some(), sgd, "{method:?} {:?}", trial.params);
            assert!(!sgd || number(&trial.params, "width") < 400.0, "{method:?} {:?}", trial.params);
            assert_eq!(number(&trial.params, "half"), (number(&trial.params, "width") / 2.0).floor());
        }
    }
}

#[test]
fn what_is_suggested_does_not_depend_on_the_order_of_telling() {
    for multivariate in [true, false] {
        let mut spec = mixed(Method::Tpe);
        spec.options.multivariate = Some(multivariate);
        let mut told = sampler(&spec).unwrap();
        let mut trials = run(&mut *told, 40);
        trials[7].state = TrialState::Pruned;
        trials[7].step = Some(3);
        trials[8].value = Some(f64::NAN);
        trials[9] = Trial::running(9, trials[9].params.clone());
        trials[7..10].iter().for_each(|t| told.tell(t));
        let mut again = sampler(&spec).unwrap();
        trials.iter().rev().for_each(|t| again.tell(t));
        assert_eq!(told.ask(40), again.ask(40));
        assert_ne!(told.ask(40).unwrap().params, told.ask(41).unwrap().params);
    }
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
