//! Advice over jobs that are made up, with figures that can be checked by hand.

use super::*;
use crate::base::{Address, AttemptId, Capacity, Digest, Gpu, Resources, resources::GIB};
use crate::price::offer::Offer;
use crate::record::{Cause, Event, Features, Goal, MetricGoal, Outcome, Priority, RunSpec, State, SweepSpec, Usage};

/// A Tuesday at noon: dear hours.
const NOON: i64 = 1_795_521_600_000;

fn job() -> JobSpec {
    JobSpec {
        job: "w/train".into(),
        resources: Resources {
            gpu: Gpu { count: 1, kind: None },
            cpu_millis: 4000,
            memory_bytes: 8 * GIB,
            capacity: Capacity::OnDemand,
            ..Resources::default()
        },
        metric: Some(MetricGoal { name: "loss".to_owned(), goal: Goal::Minimize }),
        priority: Priority::default(),
        ..JobSpec::default()
    }
}

fn over(state: &mut State, job: &Arc<JobSpec>, n: usize, seconds: i64, loss: f64) {
    let address = Address::new("w", "train", Some(&format!("{n:02}")));
    let attempt = AttemptId { address: address.clone(), generation: 1, number: 1 };
    let at = |s: i64| Timestamp(NOON + 1000 * s);
    let spec = RunSpec { address: address.clone(), job: Arc::clone(job), ..RunSpec::default() };
    let point = MetricPoint { name: "loss".into(), step: Some(1), value: Some(loss), at: None };
    let events = [
        Event::Planned { spec: Arc::new(spec) },
        Event::Admitted { attempt: attempt.clone(), reservation: None },
        Event::Started { attempt: attempt.clone(), at: at(0), place: String::new() },
        Event::Metrics { attempt: attempt.clone(), points: vec![point] },
    ];
    events.iter().for_each(|e| state.apply(e, at(0)));
    let (outcome, started) = (Outcome::new(Cause::Success, Some(0), ""), Some(at(0)));
    state.apply(&Event::Ended { attempt, started, at: at(seconds), outcome, outputs: Vec::new(), bill: None }, at(seconds));
    state.apply(&Event::Succeeded { address }, at(seconds));
}

fn sample(seconds: u64, gpu: Option<&str>, usage: Option<Usage>, fingerprint: u8) -> Sample {
    Sample {
        at: Timestamp(NOON),
        address: "w/train".to_owned(),
        job: "w/train".into(),
        model: None,
        cause: Cause::Success,
        resumed: false,
        time: Millis::from_secs(seconds),
        cost: Money::from_micros(1000),
        features: Features { gpu: gpu.map(str::to_owned), gpus: 1, ..Features::default() },
        capacity: Capacity::OnDemand,
        declared: None,
        fingerprint: Digest([fingerprint; 32]),
        usage,
    }
}

struct Made {
    job: Arc<JobSpec>,
    state: State,
    samples: Vec<Sample>,
    curves: Vec<Vec<(i64, Option<f64>)>>,
    points: Vec<(Timestamp, MetricPoint)>,
    exposures: Vec<Exposure>,
    rates: Rates,
}

impl Made {
    fn new(job: JobSpec, losses: &[f64]) -> Self {
        let (job, mut state) = (Arc::new(job), State::default());
        losses.iter().enumerate().for_each(|(n, loss)| over(&mut state, &job, n, 3600, *loss));
        let curves = losses.iter().map(|_| Vec::new()).collect();
        Self { job, state, samples: Vec::new(), curves, points: Vec::new(), exposures: Vec::new(), rates: Rates::default() }
    }

    fn report(&self) -> Report {
        let runs: Vec<&RunRecord> = self.state.runs.values().collect();
        let subject = Subject {
            job: &self.job,
            runs: &runs,
            wanted: 1,
            samples: &self.samples,
            curves: &self.curves,
            points: &self.points,
            exposures: &self.exposures,
            rates: &self.rates,
            now: Timestamp(NOON),
        };
        of_job(&subject).unwrap()
    }
}

fn of(report: &Report, kind: Kind) -> Option<&Advice> {
    report.advice.iter().find(|a| a.kind == kind)
}

fn missing(report: &Report, kind: Kind) -> &str {
    report.missing.iter().find(|m| m.kind == kind).map_or("", |m| &m.what)
}

#[test]
fn savings_are_differences_of_prices_and_do_not_add_up() {
    let mut made = Made::new(job(), &[0.5]);
    let busy = Usage { cpu: Millis::from_secs(3600), memory_bytes: GIB };
    made.samples = vec![sample(3600, None, Some(busy), 1)];
    let found = made.report();
    // An hour at noon: 0.50 + 4 x 0.05 + 8 x 0.005.
    assert_eq!((found.base, found.runs, found.estimated), (Money::from_micros(740_000), 1, false));
    let saves = |kind| of(&found, kind).map(|a| (a.saves.micros(), a.confidence));
    assert_eq!(saves(Kind::OffPeak), Some((370_000, Confidence::High)));
    // 1 core and a quarter, in halves: 1.5 of 4 cores, so 2.5 x 0.05.
    assert_eq!(saves(Kind::Cpu), Some((125_000, Confidence::Low)));
    // 1Gi and a quarter of 8: 6.75 x 0.005.
    assert_eq!(saves(Kind::Memory), Some((33_750, Confidence::Low)));
    // 30% of the price, for as long as interruptions (one in 20 hours assumed) make it.
    let spot = of(&found, Kind::Spot).unwrap();
    assert!((512_000..518_000).contains(&spot.saves.micros()) && spot.confidence == Confidence::Low, "{spot:?}");
    // All at once: 0.581 an hour, half price, 30%, 2.5% longer; no more than there is.
    assert!((650_000..653_000).contains(&found.together.micros()), "{}", found.together);
    let sum: Money = found.advice.iter().map(|a| a.saves).sum();
    assert!(sum > found.base && found.together < found.base);
    assert_eq!(found.advice[0].kind, Kind::Spot, "the greatest first");
    assert!(missing(&found, Kind::GpuType).starts_with("prices by GPU type"));
    assert!(missing(&found, Kind::Efficiency).contains("gpu_util="));
    assert!(missing(&found, Kind::Zone).contains("one price for all zones"));
}

#[test]
fn a_gpu_type_counts_once_it_was_measured() {
    let mut made = Made::new(job(), &[0.5]);
    let job = Arc::make_mut(&mut made.job);
    job.resources.gpu.kind = Some("H100".to_owned());
    made.rates.gpus =
        [("H100".into(), Offer::flat(Money::from_micros(4_000_000))), ("T4".into(), Offer::flat(Money::from_micros(400_000)))].into();
    made.samples = (0..6).map(|_| sample(3600, Some("H100"), None, 1)).collect();
    let found = made.report();
    assert!(of(&found, Kind::GpuType).is_none());
    assert!(
        missing(&found, Kind::GpuType).contains("two runs on T4") && missing(&found, Kind::GpuType).contains("less than 6.6 times"),
        "{:?}",
        found.missing
    );
    made.samples.extend((0..6).map(|_| sample(7200, Some("T4"), None, 2)));
    let found = made.report();
    let advice = of(&found, Kind::GpuType).unwrap();
    // 4.24 for an hour against 2 x 0.64.
    assert!((2_850_000..3_050_000).contains(&advice.saves.micros()), "{advice:?}");
    assert_eq!(advice.settings[0].value, "T4");
    // Ten times as long is no bargain.
    made.samples.iter_mut().filter(|s| s.features.gpu.as_deref() == Some("T4")).for_each(|s| s.time = Millis::from_secs(36_000));
    assert!(of(&made.report(), Kind::GpuType).is_none());
}

#[test]
fn trials_and_curves_are_played_again() {
    let mut job = job();
    job.sweep = Some(Arc::new(SweepSpec::default()));
    let losses: Vec<f64> = (0..20).map(|i| if i == 3 { 0.1 } else { 0.5 + f64::from(i) / 100.0 }).collect();
    let mut made = Made::new(job, &losses);
    let found = made.report();
    let fewer = of(&found, Kind::Trials).unwrap();
    // The best was the fourth; five are kept, and fifteen hours of 0.74 saved.
    assert_eq!((fewer.saves, fewer.settings[0].value.as_str(), fewer.confidence), (Money::from_micros(15 * 740_000), "5", Confidence::Low));
    assert!(missing(&found, Kind::EarlyStopping).contains("values of loss by epoch"));
    made.curves = losses.iter().map(|end| (1..=9).map(|t| (t, Some(end + 1.0 / t as f64))).collect()).collect();
    let found = made.report();
    let asha = of(&found, Kind::EarlyStopping).unwrap();
    assert_eq!(asha.settings[0].value, "{method: asha, min: 1, eta: 3}");
    assert!(asha.because.contains("would have survived") && asha.saves > Money::from_micros(8_000_000), "{asha:?}");
    // Where nothing can be compared nothing is claimed.
    made.curves.iter_mut().flatten().for_each(|p| p.1 = Some(f64::NAN));
    assert!(of(&made.report(), Kind::EarlyStopping).is_none());
}

#[test]
fn a_run_alone_needs_no_epochs_that_bring_nothing() {
    let mut made = Made::new(job(), &[0.2]);
    made.curves = vec![(1..=20).map(|t| (t, Some(if t <= 6 { 1.0 / t as f64 } else { 0.2 }))).collect()];
    let found = made.report();
    let stop = of(&found, Kind::EarlyStopping).unwrap();
    assert_eq!(
        (stop.title.as_str(), stop.settings[0].path.join(".")),
        ("train for 10 instead of 20 epochs", "inputs.@epochs.default".to_owned())
    );
    assert_eq!(stop.saves, Money::from_micros(370_000));
}

#[test]
fn work_done_twice_and_idle_time_are_named_with_their_bounds() {
    let mut made = Made::new(job(), &[0.5]);
    made.samples = vec![sample(3600, None, None, 7), sample(3600, None, None, 7), sample(3600, None, None, 8)];
    let reported = |name: &str, v: f64| (Timestamp(NOON), MetricPoint { name: name.into(), step: None, value: Some(v), at: None });
    made.points = vec![reported("data_time", 0.3), reported("step_time", 0.4), reported("data_time", f64::NAN)];
    let found = made.report();
    assert_eq!(of(&found, Kind::Reuse).map(|a| a.saves), Some(Money::from_micros(1000)));
    let idle = of(&found, Kind::Efficiency).unwrap();
    assert_eq!((idle.saves, idle.at_most, idle.settings.len()), (Money::from_micros(555_000), true, 0));
    // What only the code can win is no part of what the files can.
    assert!(found.together < Money::from_micros(700_000));
    assert!(missing(&found, Kind::Cpu).contains("CPU time"));
}

#[test]
fn without_data_it_says_what_is_missing() {
    let (job, rates) = (Arc::new(job()), Rates::default());
    let (runs, samples, curves, points, exposures, now) = (&[][..], &[][..], &[][..], &[][..], &[][..], Timestamp(NOON));
    let subject = Subject { job: &job, runs, wanted: 1, samples, curves, points, exposures, rates: &rates, now };
    assert!(of_job(&subject).unwrap_err().contains("there is nothing to go by"));
}
