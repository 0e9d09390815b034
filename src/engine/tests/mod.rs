//! What the forecast says is when the engine starts runs, holds for cheap hours and quotas of GPU-hours among them.

mod renewed;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Command, Engine, Input, Observation, Order};
use crate::base::{Address, AttemptId, Millis, Period, Timestamp, Window};
use crate::expand::gpu_time::GpuTime;
use crate::price::{Hours, Rates};
use crate::queue::{Limits, Meters, TeamLimits, Treasury, board};
use crate::record::{Cause, JobSpec, Outcome, Priority, RunSpec, StartSpec, State};

const MINUTE: i64 = 60_000;
const WEIGHTS: [(&str, i32); 3] = [("background", 10), ("normal", 100), ("urgent", 1000)];

/// One job of one run: minutes that it takes, cores, GPUs, class, need, hold with its deadline in minutes from the start.
#[derive(Debug, Clone)]
struct Job {
    minutes: u64,
    cores: u64,
    gpus: u32,
    class: usize,
    need: Option<usize>,
    hold: Option<Option<i64>>,
}

fn job() -> impl Strategy<Value = Job> {
    (
        1..600_u64,
        0..4_u64,
        0..3_u32,
        0..3_usize,
        prop::option::weighted(0.3, 0..8_usize),
        prop::option::weighted(0.6, prop::option::of(-100..4000_i64)),
    )
        .prop_map(|(minutes, cores, gpus, class, need, hold)| Job { minutes, cores, gpus, class, need, hold })
}

fn orders(jobs: &[Job], start: Timestamp) -> Vec<Order> {
    let order = |(i, job): (usize, &Job)| {
        let (class, weight) = WEIGHTS[job.class];
        let address = Address::parse(&format!("w/j{i}")).unwrap();
        let mut spec = JobSpec { job: address.job().into(), priority: Priority { class: class.into(), weight }, ..JobSpec::default() };
        spec.needs = job.need.filter(|n| *n < i).map(|n| format!("w/j{n}").into()).into_iter().collect();
        spec.resources.cpu_millis = job.cores * 1000;
        spec.resources.gpu.count = job.gpus;
        spec.team = Some(["a", "b"][i % 2].to_owned());
        spec.estimate.time = Some(Millis(job.minutes * 60_000));
        spec.start = job.hold.map(|by| StartSpec { window: "off-peak".into(), by: by.map(|m| Timestamp(start.0 + m * MINUTE)) });
        Order::Run(Arc::new(RunSpec { address, job: Arc::new(spec), ..RunSpec::default() }))
    };
    jobs.iter().enumerate().map(order).collect()
}

/// Runs the engine against a world in which every run takes exactly what it is thought to take. When each of them was admitted.
fn play(engine: &mut Engine, jobs: &[Job], start: Timestamp) -> BTreeMap<String, Timestamp> {
    let (mut admitted, mut now) = (BTreeMap::new(), start);
    let mut ends: BinaryHeap<Reverse<(Timestamp, u32)>> = BinaryHeap::new();
    let mut attempts: Vec<(AttemptId, Timestamp)> = Vec::new();
    let mut inputs = vec![Input::Launching(true)];
    for _ in 0..200_000 {
        let mut wake: Option<Timestamp> = None;
        while let Some(input) = inputs.pop() {
            wake = None;
            for command in engine.step(input, now).commands {
                match command {
                    Command::Submit(launch) => {
                        let address = launch.attempt.address.as_str().to_owned();
                        let minutes = jobs[address.trim_start_matches("w/j").parse::<usize>().unwrap()].minutes;
                        admitted.insert(address, now);
                        ends.push(Reverse((now.after(Millis(minutes * 60_000)), u32::try_from(attempts.len()).unwrap())));
                        attempts.push((launch.attempt.clone(), now));
                        inputs.push(Input::Observed(Observation::Started { attempt: launch.attempt, at: now, place: String::new() }));
                    }
                    Command::WakeAt(at) => wake = Some(at),
                    _ => {}
                }
            }
        }
        if engine.is_idle() {
            return admitted;
        }
        let end = ends.peek().map(|Reverse((time, _))| *time);
        // Looks at what runs come every half minute and decide nothing: while something runs they may be passed over, openings may not.
        let opening = engine.gate.pool().next_opening(now);
        let next = if end.is_some() { [end, opening].into_iter().flatten().min() } else { wake };
        now = now.max(next.unwrap_or_else(|| panic!("nothing will ever happen: {:?}", engine.line())));
        inputs.push(Input::Tick);
        while ends.peek().is_some_and(|Reverse((time, _))| *time <= now) {
            let Some(Reverse((at, i))) = ends.pop() else { break };
            let (attempt, started) = attempts[i as usize].clone();
            let outcome = Outcome { cause: Cause::Success, exit_code: Some(0), detail: String::new(), usage: None };
            inputs.push(Input::Observed(Observation::Ended { attempt, started: Some(started), at, outcome, outputs: Vec::new() }));
        }
    }
    panic!("it never ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn the_forecast_says_when_the_engine_starts_held_runs(
        jobs in prop::collection::vec(job(), 1..9), slots in 1..4_u32, from in 0..1440_u32, to in 0..1440_u32, weekends: bool, shift in 0..10_080_i64,
        quota in prop::option::of((20..60_u64, 0..20_u64, prop::sample::select(vec![Period::Day, Period::Week]))), of_team: bool,
    ) {
        let start = Timestamp(Timestamp::parse("2026-10-23T00:00Z").unwrap().0 + shift * MINUTE);
        let hours = Hours { zone: chrono_tz::Tz::Europe__Berlin, ..Hours::off_peak(500_000, from, to, weekends) };
        let rates = Rates { hours: Arc::new(hours), ..Rates::default() };
        let mut limits = Limits { max_concurrent: slots, ..Limits::default() };
        limits.quotas.cpu_millis = Some(4000);
        // Twenty hours are the longest that two GPUs need: everything fits into a window at last.
        let mut used = 0;
        if let Some((hours, before, period)) = quota {
            let window = Window { period, zone: chrono_tz::Tz::Europe__Berlin };
            let gpu_time = Some(GpuTime { limit: hours * 3_600_000, window, span: None });
            used = before * 3_600_000;
            match of_team {
                true => drop(limits.teams.insert("a".into(), TeamLimits { gpu_time, ..TeamLimits::default() })),
                false => limits.gpu_time = gpu_time,
            }
        }
        let mut meters = Meters::new(&limits, start);
        meters.iter_mut().for_each(|m| m.used = used);
        let treasury = Treasury::new(rates.clone(), &[], slots, start).metered(meters.clone());
        let mut engine = Engine::with_budgets(State::default(), limits.clone(), treasury);
        engine.step(Input::Launching(false), start);
        engine.step(Input::Apply { plan_id: "p".into(), by: "me".into(), orders: orders(&jobs, start) }, start);
        let board = board(engine.state(), &limits, &meters, &rates, start);
        let said: BTreeMap<String, Option<Timestamp>> = board.waiting.iter().map(|w| (w.address.to_string(), w.start)).collect();
        prop_assert!(said.values().all(Option::is_some), "{:?}", said);
        let done = play(&mut engine, &jobs, start);
        let done: BTreeMap<String, Option<Timestamp>> = done.into_iter().map(|(a, t)| (a, Some(t))).collect();
        prop_assert_eq!(said, done);
    }
}
