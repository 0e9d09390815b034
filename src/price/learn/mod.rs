//! Estimates that learn: how long a run takes, from how long others took.
//!
//! In: samples of ended attempts, the features of a run, what its files declare. Out: seconds with a 95% interval and what they rest on.
//! Must never claim more than the samples show: few samples give a wide interval, none give no interval.
//!
//! The logarithm of the time is regressed on the logarithms of epochs, steps, batch size, data size and GPUs, with an effect for each
//! other GPU type. Slopes start from prior beliefs (time grows in proportion to epochs) and follow the data as it grows. Below
//! `CONFORMAL` samples the interval is Student's t with a prior on the noise; from there on it is the conformal one (Vovk, Gammerman
//! and Shafer, 2005; weighted as in Barber, Candes, Ramdas and Tibshirani, 2023): the 95% quantile of how far each sample lay from what
//! the others say of it. That needs no normal noise.

pub mod backtest;
pub mod fit;
pub mod interruptions;
pub mod progress;
pub mod student;

use std::sync::Arc;

use serde::Serialize;

use crate::base::Millis;
use crate::record::{Features, Sample};
use fit::{Fit, Prior, Row};

/// Samples from which on the interval is conformal: 19 of 20 lie within the largest of 19 residuals.
const CONFORMAL: f64 = 19.0;
/// What each older sample counts, of the one after it.
const FADING: f64 = 0.985;
/// Standard deviation that the logarithm of a time is thought to have, worth two samples.
const NOISE: f64 = 0.2;
const NOISE_WORTH: f64 = 2.0;
/// How far a declared time may be off: a factor of 3 either way is one standard deviation.
const DECLARED_SD: f64 = 1.1;
/// Between jobs of one model type times differ more than between runs of one job.
const MODEL_NOISE: f64 = 0.5;
/// A regressor that varies less than this (in logarithms) is no regressor.
const SPREAD: f64 = 0.05;

/// Seconds of one run, with 95% interval. Floats, as all statistics: money is made from them at the very end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seconds {
    /// Expected.
    pub expected: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Samples that it rests on.
    pub samples: usize,
    /// In words: `history of 14 runs`.
    pub basis: Arc<str>,
    /// Standard error of the logarithm, for combining.
    #[serde(skip)]
    pub sd: f64,
}

impl Seconds {
    /// Whole milliseconds of a number of seconds.
    #[must_use]
    pub fn millis(seconds: f64) -> Millis {
        // Saturating, and NaN is 0.
        Millis((seconds * 1000.0).round() as u64)
    }

    /// Probability that it takes longer than this many seconds.
    #[must_use]
    pub fn chance_beyond(&self, seconds: f64) -> f64 {
        if seconds <= 0.0 || self.low <= 0.0 {
            return 1.0;
        }
        let middle = (self.low.ln() + self.high.ln()) / 2.0;
        1.0 - student::below((seconds.ln() - middle) / self.sd.max(1e-9), 200.0)
    }
}

/// How a feature's logarithm moves the logarithm of the time, before anything was measured.
fn slope(name: &str) -> Prior {
    match name {
        "epochs" | "steps" | "data_size" => Prior { mean: 1.0, sd: 0.3 },
        "batch_size" => Prior { mean: -0.2, sd: 0.4 },
        "gpus" => Prior { mean: -0.7, sd: 0.4 },
        // A job may read little of its inputs; one that `scales_with` names grows with it somehow.
        "data_bytes" => Prior { mean: 0.5, sd: 0.5 },
        _ => Prior { mean: 1.0, sd: 0.5 },
    }
}

/// Names of features that differ among the samples or from the run asked for.
fn regressors(samples: &[&Sample], wanted: &Features) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = wanted.values.keys().cloned().collect();
    names.retain(|name| samples.iter().all(|s| s.features.get(name).is_some()));
    names.retain(|name| {
        let at = wanted.get(name).map_or(0.0, f64::ln);
        samples.iter().filter_map(|s| s.features.get(name)).any(|v| (v.ln() - at).abs() > SPREAD)
    });
    // What a job's data is named after says more than the bytes of all its files.
    if names.iter().any(|n| &**n == "data_size") {
        names.retain(|n| &**n != "data_bytes");
    }
    names
}

/// The design: every regressor relative to the run asked for, so that the first coefficient is the prediction.
struct Design {
    names: Vec<Arc<str>>,
    /// Units of the leading amount that the start of a run is worth.
    offset: f64,
    types: Vec<Option<String>>,
    many: bool,
}

impl Design {
    fn row(&self, sample: &Sample, wanted: &Features) -> Vec<f64> {
        let mut x = vec![1.0];
        for (i, name) in self.names.iter().enumerate() {
            let offset = if i == 0 { self.offset } else { 0.0 };
            let log = |f: &Features| f.get(name).map_or(0.0, |v| (v + offset).ln());
            x.push(log(&sample.features) - log(wanted));
        }
        x.extend(self.types.iter().map(|kind| f64::from(u8::from(sample.features.gpu == *kind))));
        if self.many {
            x.push(f64::from(sample.features.gpus.max(1)).ln() - f64::from(wanted.gpus.max(1)).ln());
        }
        x
    }

    fn priors(&self, first: Prior) -> Vec<Prior> {
        let mut priors = vec![first];
        priors.extend(self.names.iter().map(|n| slope(n)));
        priors.extend(self.types.iter().map(|_| Prior { mean: 0.0, sd: 0.7 }));
        if self.many {
            priors.push(slope("gpus"));
        }
        priors
    }
}

/// The time of a run of the job that the samples are of, newest first. None without samples that say how long a whole run takes.
#[must_use]
pub fn of_job(samples: &[Sample], wanted: &Features, declared: Option<Millis>) -> Option<Seconds> {
    let whole: Vec<&Sample> = samples.iter().filter(|s| s.is_whole()).collect();
    let rows = whole.iter().enumerate().map(|(i, _)| FADING.powi(i32::try_from(i).unwrap_or(i32::MAX))).collect();
    let runs = if whole.len() == 1 { "1 run".to_owned() } else { format!("{} runs", whole.len()) };
    predict(&whole, rows, wanted, declared, NOISE).map(|mut seconds| {
        seconds.basis = format!("history of {runs}{}", reach(&whole, wanted)).into();
        seconds
    })
}

/// The time of a run of a model type, from runs of other jobs of that type. Jobs count alike, however many runs each has.
#[must_use]
pub fn of_model(samples: &[Sample], model: &str, wanted: &Features, declared: Option<Millis>) -> Option<Seconds> {
    let whole: Vec<&Sample> = samples.iter().filter(|s| s.is_whole()).collect();
    let of = |job: &str| whole.iter().filter(|s| *s.job == *job).count().max(1) as f64;
    let weights = whole.iter().map(|s| 1.0 / of(&s.job)).collect();
    let (runs, mut jobs): (usize, Vec<&str>) = (whole.len(), whole.iter().map(|s| &*s.job).collect());
    jobs.sort_unstable();
    jobs.dedup();
    let noun = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    predict(&whole, weights, wanted, declared, MODEL_NOISE).map(|mut seconds| {
        seconds.basis = format!("history of {model}: {} of {}", noun(runs, "run"), noun(jobs.len(), "job")).into();
        seconds
    })
}

/// Says where the run asked for lies outside all that was measured.
fn reach(samples: &[&Sample], wanted: &Features) -> String {
    for (name, value) in &wanted.values {
        let known = samples.iter().filter_map(|s| s.features.get(name));
        let (low, high) = known.fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        if low.is_finite() && (*value > high * 1.5 || *value < low / 1.5) && &**name != "data_bytes" {
            let range = if low < high { format!("{low} to {high}") } else { low.to_string() };
            return format!(", reaching from {range} to {value} {name}");
        }
    }
    match &wanted.gpu {
        Some(kind) if samples.iter().all(|s| s.features.gpu.as_ref() != Some(kind)) => format!(", none of them on {kind}"),
        _ => String::new(),
    }
}

fn predict(samples: &[&Sample], weights: Vec<f64>, wanted: &Features, declared: Option<Millis>, noise: f64) -> Option<Seconds> {
    if samples.is_empty() {
        return None;
    }
    let mut types: Vec<Option<String>> = samples.iter().map(|s| s.features.gpu.clone()).filter(|k| *k != wanted.gpu).collect();
    types.sort_unstable();
    types.dedup();
    let many = samples.iter().any(|s| s.features.gpus.max(1) != wanted.gpus.max(1));
    let mut design = Design { names: regressors(samples, wanted), offset: 0.0, types, many };
    // The amount that varies most leads: the start of a run is measured in its units.
    design.names.sort_by_key(|n| !matches!(&**n, "epochs" | "steps" | "data_size"));
    let first = match declared.filter(|d| d.0 > 0) {
        Some(declared) => Prior { mean: declared.as_secs_f64().ln(), sd: DECLARED_SD },
        // Flat: anything from a hundredth of a second to a month.
        None => Prior { mean: 5.0, sd: 10.0 },
    };
    let fitted = |design: &Design| {
        let rows: Vec<Row> = samples
            .iter()
            .zip(&weights)
            .map(|(s, w)| Row { x: design.row(s, wanted), y: s.time.as_secs_f64().max(0.001).ln(), weight: *w })
            .collect();
        Fit::new(&rows, &design.priors(first), noise, NOISE_WORTH)
    };
    let mut best = fitted(&design);
    if offers_start(samples, &design) {
        for offset in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0] {
            let unit = design.names.first().map_or(1.0, |n| least(samples, n));
            let tried = Design { offset: offset * unit, names: design.names.clone(), types: design.types.clone(), many };
            let fit = fitted(&tried);
            // A start of its own must explain clearly more than none.
            if spread(&fit) < 0.97 * spread(&best) {
                (best, design) = (fit, tried);
            }
        }
    }
    Some(conclude(&best, samples.len(), noise))
}

/// True when the samples can tell a start that every run has from work that grows: three amounts, six runs.
fn offers_start(samples: &[&Sample], design: &Design) -> bool {
    let Some(name) = design.names.first().filter(|n| matches!(&***n, "epochs" | "steps" | "data_size")) else { return false };
    let mut amounts: Vec<u64> = samples.iter().filter_map(|s| s.features.get(name)).map(f64::to_bits).collect();
    amounts.sort_unstable();
    amounts.dedup();
    samples.len() >= 6 && amounts.len() >= 3
}

fn least(samples: &[&Sample], name: &str) -> f64 {
    samples.iter().filter_map(|s| s.features.get(name)).fold(f64::INFINITY, f64::min)
}

/// Robust spread of what is left unexplained.
fn spread(fit: &Fit) -> f64 {
    let mut sorted: Vec<(f64, f64)> = fit.scores.iter().map(|(r, _, w)| (r.abs(), *w)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = sorted.iter().map(|(_, w)| w).sum();
    fit::weighted(&sorted, 0.5 * all) + fit::weighted(&sorted, 0.8 * all)
}

/// Longest time that is ever expected of a run, in seconds: ten years.
const LONGEST: f64 = 10.0 * 365.0 * 86_400.0;

/// The interval: conformal where there are enough samples, Student's t before.
fn conclude(fit: &Fit, samples: usize, noise: f64) -> Seconds {
    let centre = fit.beta.first().copied().unwrap_or_default();
    let mut asked = vec![0.0; fit.beta.len()];
    if let Some(first) = asked.first_mut() {
        *first = 1.0;
    }
    let leverage = fit.leverage(&asked);
    let count: f64 = fit.scores.iter().map(|s| s.2).sum();
    // Not robust on purpose: what was measured may happen again.
    let squares: f64 = fit.scores.iter().map(|(r, h, w)| w * r * r / (1.0 + h)).sum();
    let variance = (NOISE_WORTH * noise * noise + squares) / (NOISE_WORTH + count);
    let student = student::t95(NOISE_WORTH + (count - fit.used).max(0.0)) * variance.sqrt() * (1.0 + leverage).sqrt();
    let half = match conformal(fit).filter(|_| count >= CONFORMAL * 0.8 && samples as f64 >= CONFORMAL) {
        // Where the run lies beyond what was measured, the line itself is uncertain, however well it fits the samples.
        Some(quantile) => (quantile.powi(2) * (1.0 + leverage.min(1.0)) + (student::t95(count)).powi(2) * leverage * fit.variance).sqrt(),
        None => student,
    };
    let mean = smear(fit, count);
    // What contradicts itself gives no bound: then anything up to ten years is possible, and nothing more is said.
    let (centre, half) = if centre.is_finite() && half.is_finite() { (centre, half) } else { (0.0, f64::MAX) };
    let seconds = |log: f64| log.exp().min(LONGEST);
    let (low, high) = (seconds(centre - half), seconds(centre + half));
    Seconds { expected: (centre.exp() * mean).max(low).min(high), low, high, samples, basis: "".into(), sd: half / 1.96 }
}

/// The weighted 95% quantile of standardised residuals; none when so few samples cannot tell it.
fn conformal(fit: &Fit) -> Option<f64> {
    let mut sorted: Vec<(f64, f64)> = fit.scores.iter().map(|(r, h, w)| (r.abs() / (1.0 + h).sqrt(), *w)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The run asked for counts as one more sample, as new as can be, beyond all others.
    let at = 0.95 * (sorted.iter().map(|(_, w)| w).sum::<f64>() + 1.0);
    let reached: f64 = sorted.iter().map(|(_, w)| w).sum();
    (reached >= at).then(|| fit::weighted(&sorted, at))
}

/// What the mean is of the middle: Duan's smearing estimate (1983), with outliers held back.
fn smear(fit: &Fit, count: f64) -> f64 {
    let total: f64 = fit.scores.iter().map(|(r, h, w)| w * (r / (1.0 + h)).clamp(-1.0, 1.0).exp()).sum();
    ((total + 2.0) / (count + 2.0)).clamp(1.0, 1.5)
}

#[cfg(test)]
mod tests;
