//! The sweep of the simulated world: its space, its rule of pruning, its prices, and what a training reports.

use std::sync::Arc;

use super::{SWEEP, TRIALS};
use crate::base::{Address, Digest, Millis, Money, Resources, Timestamp, Window};
use crate::engine::{Launch, Order};
use crate::expand::{OnExceed, Rule, Scope};
use crate::price::Rates;
use crate::queue::{Limits, Treasury};
use crate::record::{
    Arg, CommandLine, Distribution, Goal, JobSpec, Method, MetricGoal, Options, Parameter, PruneMethod, PruneSpec, Retry, RunSpec,
    SearchSpec, Space, SweepSpec,
};

/// Members of a population.
pub const MEMBERS: u64 = 4;

/// A pool of four places.
pub fn limits() -> Limits {
    Limits { max_concurrent: 4, ..Limits::default() }
}

/// A core costs 40 dollars an hour, so that a full trial costs about three.
pub fn rates() -> Rates {
    let mut rates = Rates::default();
    (rates.cpu, rates.memory) = (Some(Money::from_micros(40_000_000)), Some(Money::ZERO));
    rates
}

/// The account of the sweep.
pub fn treasury(cap: Option<Money>, now: i64) -> Treasury {
    let rule = |limit: Money| Rule {
        name: "max_cost".into(),
        scope: Scope::Job(SWEEP.into()),
        limit,
        window: Window::default(),
        on_exceed: OnExceed::Cap,
        thresholds: Vec::new(),
        end_running: true,
        span: None,
    };
    Treasury::new(rates(), &cap.map(rule).into_iter().collect::<Vec<_>>(), 4, Timestamp(now))
}

/// How the sweep searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TPE with halving that stops.
    Stop,
    /// TPE with halving that promotes.
    Promote,
    /// Population-based training: four members, a third of a full trial each generation.
    Population,
}

/// The trials: two numbers and a choice, one number for half of the choices.
pub fn trials(count: u64, kind: Kind) -> Vec<Order> {
    let parameter =
        |name: &str, dist, when: &[&str]| Parameter { name: name.into(), dist, when: when.iter().map(|w| (*w).into()).collect() };
    let kinds = Distribution::Values { values: vec!["a".into(), "b".into()], weights: Vec::new(), ordered: false };
    let space = Space {
        parameters: vec![
            parameter("x", Distribution::Uniform { min: -1.0, max: 1.0 }, &[]),
            parameter("kind", kinds, &[]),
            parameter("y", Distribution::LogUniform { min: 0.01, max: 1.0 }, &["params.kind == 'a'"]),
        ],
        ..Space::default()
    };
    let search = SearchSpec {
        space,
        method: if kind == Kind::Population { Method::Pbt } else { Method::Tpe },
        options: Options { startup: Some(4), population: Some(4), ..Options::default() },
        seed: 7,
        goal: Goal::Minimize,
        trials: Some(TRIALS[0]),
        parallel: Some(3),
        points: Vec::new(),
        prune: (kind != Kind::Population).then_some(PruneSpec {
            max: Some(27),
            promote: kind == Kind::Promote,
            ..PruneSpec::new(PruneMethod::Asha)
        }),
    };
    let job = Arc::new(JobSpec {
        job: SWEEP.into(),
        many: true,
        sweep: Some(Arc::new(SweepSpec { search: Some(search.into()), ..SweepSpec::default() })),
        metric: Some(MetricGoal { name: "loss".into(), goal: Goal::Minimize }),
        resources: Resources { cpu_millis: 1000, ..Resources::default() },
        grace: Millis::from_secs(5),
        parallel: Some(3),
        estimate: crate::record::Estimate { time: Some(Millis::from_secs(270)), ..Default::default() },
        retry: Retry { errors: 1, interruptions: 20, backoff: Millis::from_secs(1), ..Retry::default() },
        ..JobSpec::default()
    });
    let command = CommandLine { argv: vec![Arg::Text("train".into())], vars: Vec::new() };
    let one = |i: u64| RunSpec {
        address: Address::new("w", "t", Some(&i.to_string())),
        fingerprint: Digest::of(b"trial"),
        job: Arc::clone(&job),
        command: command.clone(),
        ..RunSpec::default()
    };
    (0..count).map(|i| Order::Run(one(i).into())).collect()
}

/// What a training reports at a step.
pub fn loss(launch: &Launch, step: i64) -> f64 {
    let number = |name: &str| launch.spec.params.iter().find(|(n, _)| &**n == name).and_then(|(_, v)| v.as_f64());
    let x = number("x").unwrap_or(9.0) - 0.3;
    let step = f64::from(i32::try_from(step).unwrap_or(1));
    x * x + number("y").map_or(0.5, |y| (y - 0.1).abs()) + 1.0 / step
}
