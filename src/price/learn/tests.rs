//! Histories that are made up the way real ones look, with a seed, and what the interval does on them.

use super::backtest::Table;
use super::*;
use crate::base::{Capacity, Digest, Money, Timestamp};
use crate::record::Cause;

/// xorshift64*, so that a seed is a history for ever.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

fn sample(seconds: f64, epochs: f64, gpu: Option<&str>) -> Sample {
    let values = [("epochs".into(), epochs)].into();
    Sample {
        at: Timestamp(0),
        address: "w/train".to_owned(),
        job: "w/train".into(),
        model: None,
        cause: Cause::Success,
        resumed: false,
        time: Seconds::millis(seconds),
        cost: Money::ZERO,
        features: Features { values, gpu: gpu.map(str::to_owned), gpus: u32::from(gpu.is_some()) },
        capacity: Capacity::OnDemand,
        declared: None,
        fingerprint: Digest::default(),
        usage: None,
    }
}

/// Name and maker of one sample: dice, number in the history.
type Kind = (&'static str, fn(&mut Dice, f64) -> Sample);

const KINDS: [Kind; 7] = [
    ("lognormal noise of 10%", |d, _| {
        let epochs = (1.0 + 20.0 * d.unit()).floor();
        sample(40.0 * epochs * (0.1 * d.normal()).exp(), epochs, None)
    }),
    ("noise of 2%, a start of 90s", |d, _| {
        let epochs = (1.0 + 10.0 * d.unit()).floor();
        sample((90.0 + 30.0 * epochs) * (0.02 * d.normal()).exp(), epochs, None)
    }),
    ("5% outliers, 2 to 6 times slower", |d, _| {
        let epochs = (1.0 + 20.0 * d.unit()).floor();
        let slow = if d.unit() < 0.05 { 2.0 + 4.0 * d.unit() } else { 1.0 };
        sample(40.0 * epochs * slow * (0.08 * d.normal()).exp(), epochs, None)
    }),
    ("noise grows with epochs", |d, _| {
        let epochs = (1.0 + 20.0 * d.unit()).floor();
        sample(40.0 * epochs * ((0.03 + 0.01 * epochs) * d.normal()).exp(), epochs, None)
    }),
    ("drift: 1% slower each run", |d, i| {
        let epochs = (1.0 + 20.0 * d.unit()).floor();
        sample(40.0 * epochs * (0.01 * i + 0.08 * d.normal()).exp(), epochs, None)
    }),
    ("two GPU types, 3 times apart", |d, _| {
        let epochs = (1.0 + 20.0 * d.unit()).floor();
        let (kind, pace) = if d.unit() < 0.5 { ("A100", 40.0) } else { ("T4", 120.0) };
        sample(pace * epochs * (0.1 * d.normal()).exp(), epochs, Some(kind))
    }),
    ("two speeds that nobody names", |d, _| {
        let epochs = (1.0 + 20.0 * d.unit()).floor();
        let pace = if d.unit() < 0.5 { 40.0 } else { 60.0 };
        sample(pace * epochs * (0.05 * d.normal()).exp(), epochs, None)
    }),
];

fn table(kind: &Kind, histories: u64, runs: u32) -> Table {
    let mut table = Table::default();
    for seed in 1..=histories {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let history: Vec<Sample> = (0..runs).map(|i| (kind.1)(&mut dice, f64::from(i))).collect();
        table.add(&history);
    }
    table
}

/// Seeded, so it gives the same on every machine. The long form prints the table of docs/money.md:
/// `cargo test --release --lib learn -- --ignored --nocapture`.
#[test]
fn the_interval_holds_what_it_says() {
    for kind in &KINDS {
        let bands = table(kind, 4, 60).bands();
        let (within, all): (usize, usize) = bands.iter().fold((0, 0), |a, b| (a.0 + b.within, a.1 + b.predicted));
        let coverage = within as f64 / all as f64;
        assert!(coverage > 0.93, "{}: {coverage:.3} {bands:#?}", kind.0);
    }
}

#[test]
#[ignore = "prints the table of docs/money.md"]
fn prints_the_table() {
    for kind in &KINDS {
        let table = table(kind, 200, 80);
        println!("{}", kind.0);
        for band in table.bands().iter().chain([&table.all()]) {
            let to = if band.known.1 == usize::MAX { "up".to_owned() } else { band.known.1.to_string() };
            println!(
                "  {:>2} to {to:>3}  {:>6} predicted  {:>5.1}% within  x{:.2} wide  {:>5.1}% off",
                band.known.0,
                band.predicted,
                100.0 * band.coverage(),
                band.width,
                100.0 * band.error
            );
        }
    }
}

fn wanted(epochs: f64) -> Features {
    Features { values: [("epochs".into(), epochs)].into(), ..Features::default() }
}

#[test]
fn little_data_gives_a_wide_interval_and_more_a_narrow_one() {
    let at = |n: u32| {
        let mut dice = Dice(7);
        let samples: Vec<Sample> = (0..n).map(|_| sample(100.0 * (0.05 * dice.normal()).exp(), 2.0, None)).collect();
        of_job(&samples, &wanted(2.0), None).map(|s| (s.high / s.low, s.basis))
    };
    let widths: Vec<f64> = [1, 2, 5, 15, 60].into_iter().filter_map(at).map(|(w, _)| w).collect();
    assert!(widths.windows(2).all(|w| w[1] < w[0]), "{widths:?}");
    assert!(widths[0] > 3.0 && widths[4] < 1.35, "{widths:?}");
    assert_eq!(at(1).map(|s| s.1), Some("history of 1 run".into()));
    assert_eq!(at(0), None);
}

#[test]
fn epochs_scale_and_a_start_stays() {
    let samples: Vec<Sample> = (1..=12).map(|i| sample(90.0 + 30.0 * f64::from(i % 6 + 1), f64::from(i % 6 + 1), None)).collect();
    let found = of_job(&samples, &wanted(20.0), None).unwrap();
    assert!((found.expected - 690.0).abs() < 60.0, "{found:?}");
    assert!(found.low < 690.0 && found.high > 690.0, "{found:?}");
    assert_eq!(&*found.basis, "history of 12 runs, reaching from 1 to 6 to 20 epochs");
}

#[test]
fn a_declared_time_counts_until_runs_say_otherwise() {
    let one = of_job(&[sample(100.0, 2.0, None)], &wanted(2.0), Some(Millis::from_secs(1000))).unwrap();
    assert!(one.expected > 100.0 && one.expected < 160.0, "{one:?}");
    let many: Vec<Sample> = (0..30).map(|_| sample(100.0, 2.0, None)).collect();
    let many = of_job(&many, &wanted(2.0), Some(Millis::from_secs(1000))).unwrap();
    assert!((many.expected - 100.0).abs() < 1.0, "{many:?}");
}

#[test]
fn a_gpu_type_that_nobody_ran_on_is_uncertain() {
    let samples: Vec<Sample> = (0..30).map(|_| sample(100.0, 2.0, Some("T4"))).collect();
    let asked = |kind: &str| Features { gpu: Some(kind.to_owned()), gpus: 1, ..wanted(2.0) };
    let known = of_job(&samples, &asked("T4"), None).unwrap();
    let new = of_job(&samples, &asked("H100"), None).unwrap();
    assert!(known.high / known.low < 1.2, "{known:?}");
    assert!(new.high / new.low > 5.0, "{new:?}");
    assert_eq!(&*new.basis, "history of 30 runs, none of them on H100");
}

#[test]
fn resumed_and_failed_attempts_tell_no_whole_time() {
    let mut resumed = sample(10.0, 2.0, None);
    resumed.resumed = true;
    let mut failed = sample(1.0, 2.0, None);
    failed.cause = Cause::Error;
    assert_eq!(of_job(&[resumed, failed], &wanted(2.0), None), None);
}
