//! Forecasts of runs that are made up, with histories that are made up.

use super::*;
use crate::base::{AttemptId, Resources};
use crate::expand::budget::Rule;
use crate::expand::{OnExceed, Scope};
use crate::record::{
    Cause, Estimate, Event, Goal, Method, MetricPoint, Options, Outcome, PruneMethod, PruneSpec, Reservation, RunSpec, SearchSpec, Space,
    SweepSpec, Work,
};

const HOUR: i64 = 3_600_000;
/// A Tuesday at noon: dear hours.
const NOON: i64 = 1_795_521_600_000;

fn rates() -> Rates {
    let mut rates = Rates::bare();
    (rates.cpu, rates.memory) = (Some(Money::from_micros(3_600_000)), Some(Money::ZERO));
    rates.hours = Arc::new(crate::price::Hours::flat());
    rates
}

/// A job on one core: a tenth of a cent a second.
fn job(timeout: Option<u64>, time: Option<u64>, epochs: Option<f64>) -> JobSpec {
    let values = epochs.map(|e| ("epochs".into(), e)).into_iter().collect();
    JobSpec {
        job: "w/train".into(),
        resources: Resources { cpu_millis: 1000, ..Resources::default() },
        timeout: timeout.map(Millis::from_secs),
        estimate: Estimate { time: time.map(Millis::from_secs), ..Estimate::default() },
        work: Work { values, names: Vec::new() },
        ..JobSpec::default()
    }
}

fn spec(job: &JobSpec, key: &str) -> Arc<RunSpec> {
    Arc::new(RunSpec { address: Address::new("w", "train", Some(key)), job: Arc::new(job.clone()), ..RunSpec::default() })
}

fn id(key: &str) -> AttemptId {
    AttemptId { address: Address::new("w", "train", Some(key)), generation: 1, number: 1 }
}

/// A run that started at noon and has reported an epoch each `pace` seconds.
fn live(state: &mut State, job: &JobSpec, key: &str, epochs: i64, pace: i64) {
    let at = Timestamp(NOON);
    state.apply(&Event::Planned { spec: spec(job, key) }, at);
    let payer = Payer::of(job, &"ann".into());
    let reservation = Some(Box::new(Reservation { amount: Money::from_micros(9_000_000), deadline: None, timeout: job.timeout, payer }));
    state.apply(&Event::Admitted { attempt: id(key), reservation }, at);
    state.apply(&Event::Started { attempt: id(key), at, place: "here".to_owned() }, at);
    for epoch in 1..=epochs {
        let point = MetricPoint { name: "epoch".into(), step: Some(epoch), value: Some(1.0), at: None };
        state.apply(&Event::Metrics { attempt: id(key), points: vec![point] }, Timestamp(NOON + 1000 * epoch * pace));
    }
}

fn over(state: &mut State, job: &JobSpec, key: &str, seconds: i64, pruned: bool) {
    live(state, job, key, 0, 1);
    let cause = if pruned { Cause::Pruned } else { Cause::Success };
    let (started, at) = (Some(Timestamp(NOON)), Timestamp(NOON + 1000 * seconds));
    let outcome = Outcome::new(cause, Some(0), "");
    state.apply(&Event::Ended { attempt: id(key), started, at, outcome, outputs: Vec::new(), bill: None }, at);
    let address = id(key).address;
    state.apply(&if pruned { Event::Pruned { address, because: "it was worse".into() } } else { Event::Succeeded { address } }, at);
}

fn rule(limit: i64) -> Rule {
    Rule {
        name: "project lab".into(),
        scope: Scope::Project,
        limit: Money::from_micros(limit),
        window: crate::base::Window::default(),
        on_exceed: OnExceed::Stop,
        thresholds: Vec::new(),
        end_running: false,
        span: None,
    }
}

/// Asks of one run, `after` seconds after noon, with a budget of a dollar.
fn ask(state: &State, history: &dyn History, key: &str, after: i64, ask: &Ask<'_>) -> Forecast {
    let (rates, now) = (rates(), Timestamp(NOON + 1000 * after));
    let treasury = Treasury::new(rates.clone(), &[rule(1_000_000)], 1, now);
    let record = &state.runs[&id(key).address];
    Forecaster::new(World { state, history, rates: &rates, treasury: &treasury, now }).run(record, ask)
}

/// Ended runs of the job, all of this many seconds give or take a few.
struct Past(Vec<f64>);

impl History for Past {
    fn finished(&self, _: &crate::base::Fingerprint) -> Option<crate::record::Finished> {
        None
    }
    fn samples(&self, job: &str) -> Vec<crate::record::Sample> {
        let sample = |seconds: &f64| crate::record::Sample {
            at: Timestamp(NOON - HOUR),
            address: "w/train".to_owned(),
            job: job.into(),
            model: None,
            cause: Cause::Success,
            resumed: false,
            time: Seconds::millis(*seconds),
            cost: Money::ZERO,
            features: Features::default(),
            capacity: crate::base::Capacity::OnDemand,
            declared: None,
            fingerprint: crate::base::Digest::default(),
            usage: None,
        };
        self.0.iter().map(sample).collect()
    }
}

#[test]
fn under_way_nothing_is_known_of_what_comes() {
    let (mut state, job) = (State::default(), job(None, None, Some(10.0)));
    // Eleven runs of ten epochs at an even pace, and one whose second half takes four times as long.
    for i in 0..12 {
        let (key, start) = (format!("{i:02}"), NOON + i * HOUR);
        let mut at = start;
        state.apply(&Event::Planned { spec: spec(&job, &key) }, Timestamp(at));
        state.apply(&Event::Admitted { attempt: id(&key), reservation: None }, Timestamp(at));
        state.apply(&Event::Started { attempt: id(&key), at: Timestamp(at), place: "here".to_owned() }, Timestamp(at));
        for epoch in 1..=10 {
            at += if i == 11 && epoch > 5 { 40_000 } else { 10_000 };
            let point = MetricPoint { name: "epoch".into(), step: Some(epoch), value: Some(1.0), at: None };
            state.apply(&Event::Metrics { attempt: id(&key), points: vec![point] }, Timestamp(at));
        }
        let (started, at) = (Some(Timestamp(start)), Timestamp(at + 100));
        let outcome = Outcome::new(Cause::Success, Some(0), "");
        state.apply(&Event::Ended { attempt: id(&key), started, at, outcome, outputs: Vec::new(), bill: None }, at);
        state.apply(&Event::Succeeded { address: id(&key).address }, at);
    }
    let mut midway = midway::Midway::default();
    midway.add("w/train", &state, &[]);
    midway.add("w/other", &state, &[]);
    let rows = midway.rows();
    assert_eq!(rows.iter().map(|r| (r.at, r.predicted, r.by_reports)).collect::<Vec<_>>(), [(25, 12, 12), (50, 12, 12), (75, 12, 12)]);
    assert_eq!(rows[0].within, 11, "a slow half that is still to come surprises: {rows:?}");
    assert!(rows.iter().all(|r| r.within >= 11 && r.width > 1.0), "{rows:?}");
    assert!(rows[2].width < rows[0].width, "what is nearly over is known better: {rows:?}");
}

#[test]
fn progress_gives_cost_finish_and_the_chance_of_each_budget() {
    let mut state = State::default();
    live(&mut state, &job(Some(3600), None, Some(100.0)), "a", 20, 10);
    let found = ask(&state, &(), "a", 205, &Ask::default());
    // 100 epochs of 10 s at a tenth of a cent.
    let total = found.total.unwrap();
    assert_eq!((found.spent, total.expected), (Money::from_micros(205_000), Money::from_micros(1_000_000)));
    let (low, high) = total.interval.unwrap();
    assert!(low < total.expected && total.expected < high && high < Money::from_micros(1_200_000), "{low} {high}");
    assert_eq!(found.finish, Some(Timestamp(NOON + 1_000_000)));
    assert_eq!(&*found.basis, "its own progress: 20 of 100 epochs, 20 reports");
    // The budget is just what is expected: even odds, within what the interval is lopsided.
    let odds = &found.budgets[0];
    assert_eq!((odds.left, odds.spent), (Money::from_micros(1_000_000), Money::ZERO));
    assert!((0.4..0.6).contains(&odds.chance.unwrap()), "{odds:?}");
    assert!(found.timeout_chance.unwrap() < 0.01);
    // Whoever knows better is believed: 10 epochs more.
    let fewer = ask(&state, &(), "a", 205, &Ask { remaining: Some(10), ..Ask::default() });
    assert_eq!(fewer.total.unwrap().expected, Money::from_micros(300_000));
    assert!(fewer.budgets[0].chance.unwrap() < 1e-6);
}

#[test]
fn before_progress_history_tells_and_before_that_what_is_declared() {
    let mut state = State::default();
    live(&mut state, &job(None, Some(600), None), "a", 0, 1);
    let declared = ask(&state, &(), "a", 60, &Ask::default());
    let total = declared.total.unwrap();
    assert_eq!((total.expected, total.interval, total.worst), (Money::from_micros(600_000), None, None));
    assert_eq!((&*declared.basis, declared.budgets[0].chance), ("declared; no run has shown how far off that is", None));
    let past = Past((0..30).map(|i| 100.0 + f64::from(i % 5)).collect());
    let early = ask(&state, &past, "a", 60, &Ask::default()).total.unwrap();
    assert!((100_000..104_000).contains(&early.expected.micros()), "{early:?}");
    // It has outlived most of them: the rest of the distribution counts.
    let late = ask(&state, &past, "a", 104, &Ask::default()).total.unwrap();
    assert!(late.expected > Money::from_micros(104_000) && late.interval.unwrap().0 >= Money::from_micros(104_000), "{late:?}");
    let lost = ask(&state, &past, "a", 400, &Ask::default());
    assert_eq!((lost.total.unwrap().expected, lost.total.unwrap().interval), (Money::from_micros(400_000), None));
    assert!(lost.basis.ends_with("and it has run longer than that allows"), "{}", lost.basis);
}

#[test]
fn steps_are_not_taken_for_epochs() {
    let mut state = State::default();
    live(&mut state, &job(None, None, Some(10.0)), "a", 0, 1);
    let step = |n: i64| MetricPoint { name: "loss".into(), step: Some(n), value: Some(1.0), at: None };
    for n in 1..=4 {
        state.apply(&Event::Metrics { attempt: id("a"), points: vec![step(n)] }, Timestamp(NOON + 1000 * n));
    }
    let found = ask(&state, &(), "a", 5, &Ask::default());
    assert_eq!((found.total, found.progress.unwrap().total), (None, None));
    assert!(found.basis.contains("--remaining-epochs"), "{}", found.basis);
    // A finished run of ten epochs that ended at step 1000 says what a step is.
    over(&mut state, &job(None, None, Some(10.0)), "b", 1000, false);
    state.runs.get_mut(&id("b").address).unwrap().metrics =
        [("loss".into(), crate::record::MetricSummary { last: Some(1.0), min: None, max: None, step: Some(1000), count: 9 })].into();
    assert_eq!(ask(&state, &(), "a", 5, &Ask::default()).progress.unwrap().total, Some(1000));
}

#[test]
fn a_trial_may_be_ended_by_its_sweep() {
    let search = SearchSpec {
        space: Space::default(),
        method: Method::Random,
        options: Options::default(),
        seed: 0,
        goal: Goal::Minimize,
        trials: None,
        parallel: None,
        points: Vec::new(),
        prune: Some(PruneSpec::new(PruneMethod::Median)),
    };
    let mut job = job(None, None, Some(100.0));
    job.sweep = Some(Arc::new(SweepSpec { search: Some(Arc::new(search)), ..SweepSpec::default() }));
    let mut state = State::default();
    for i in 0..9 {
        over(&mut state, &job, &format!("p{i}"), 400, true);
    }
    over(&mut state, &job, "s", 1000, false);
    live(&mut state, &job, "a", 20, 10);
    let found = ask(&state, &(), "a", 200, &Ask::default());
    let pruning = found.pruning.unwrap();
    assert_eq!((pruning.seen, pruning.pruned, pruning.ends_at_s), (10, 9, Some(400.0)));
    // 9.5 of 11 end at 400 s, the others at 1000 s.
    assert!((found.total.unwrap().expected.micros() - 481_818).abs() < 2000, "{:?}", found.total);
}

#[test]
fn what_is_over_costs_what_it_cost_and_together_is_a_sum() {
    let mut state = State::default();
    over(&mut state, &job(None, None, None), "b", 100, false);
    let found = ask(&state, &(), "b", 200, &Ask::default());
    let known = Money::from_micros(100_000);
    assert_eq!(found.total, Some(Total { expected: known, interval: Some((known, known)), worst: Some(known) }));
    let job = job(None, None, Some(100.0));
    for key in ["x", "y"] {
        live(&mut state, &job, key, 20, 10);
    }
    let all: Vec<Forecast> = ["x", "y"].map(|key| ask(&state, &(), key, 200, &Ask::default())).into();
    let rates = rates();
    let together = Together::of(&all, &Treasury::new(rates, &[rule(1_000_000)], 1, Timestamp(NOON)));
    assert_eq!((together.open, together.total.expected), (2, Money::from_micros(2_000_000)));
    // Two runs of a job are slow together: their deviations add up.
    let (low, high) = (all[0].total.unwrap().interval.unwrap(), together.total.interval.unwrap());
    assert!(((high.0 - low.0 - low.0).micros()).abs() < 10 && ((high.1 - low.1 - low.1).micros()).abs() < 10, "{low:?} {high:?}");
    assert!(together.budgets[0].chance.unwrap() > 0.999, "{:?}", together.budgets);
}
