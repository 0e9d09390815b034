//! Search by a Gaussian process: the point where improvement is expected most (Jones, Schonlau and Welch 1998; its logarithm, Ament
//! et al. 2023). Conditions and choices are part of the kernel.
//!
//! In: trials as they are told. Out: the best of many candidates, refined. Must never cost more than [`MOST`] trials do, and must
//! never learn hyperparameters from anything but the first trials, so that the same trials give the same point.

mod model;

use std::sync::Arc;

use self::model::{Axes, Guess, Hyper, Model};
use super::history::{History, Note, Rank, warp};
use super::linear::minimize;
use super::normal::{below, log_improvement};
use super::quasi::Quasi;
use super::scale::{Scale, Units};
use super::{Sampler, Stuck, Suggestion, Trial};
use crate::expand::dimension::Bits;
use crate::expand::domain::Domain;
use crate::record::{Method, Params, SearchSpec};

/// Most trials that the process sees: the best half of them and the latest others.
const MOST: usize = 200;
/// Candidates from all of the space.
const WIDE: usize = 400;
/// Best trials around which candidates are drawn, and how many around each.
const NEAR: (usize, usize) = (6, 40);
/// Candidates that are refined.
const REFINED: usize = 5;
/// A raster that is finer than this counts as continuous while a candidate is refined.
const FINE: f64 = 0.02;

/// The sampler.
pub struct Gp {
    domain: Arc<Domain>,
    scale: Scale,
    axes: Axes,
    spec: SearchSpec,
    first: Quasi,
    history: History,
    /// Hyperparameters and what they were learned from.
    fitted: Option<(Vec<(u64, u64)>, Hyper)>,
    why: String,
}

/// A candidate: its place and how good it looks.
struct Candidate {
    units: Units,
    score: f64,
}

/// What is asked of a place: how much improvement it promises.
struct Hope<'a> {
    model: &'a Model,
    best: f64,
    /// A process over the logarithms of costs, with their deviation; none where costs do not count.
    costs: Option<(Model, f64)>,
}

impl Hope<'_> {
    fn score(&self, x: &[f64]) -> f64 {
        let Guess { mean, variance } = self.model.at(x);
        let sigma = variance.sqrt();
        log_improvement((self.best - mean) / sigma).0 + sigma.ln() - self.cost(x)
    }

    /// The logarithm of what a trial here is likely to cost, but for a constant.
    fn cost(&self, x: &[f64]) -> f64 {
        self.costs.as_ref().map_or(0.0, |(model, deviation)| deviation * model.at(x).mean)
    }

    /// The negative score without costs, and its gradient along free dimensions.
    fn loss(&self, x: &[f64], free: &[usize], grad: &mut [f64]) -> f64 {
        let (Guess { mean, variance }, dm, dv) = self.model.slope(x, free);
        let sigma = variance.sqrt();
        let (log, p, d) = log_improvement((self.best - mean) / sigma);
        for (k, g) in grad.iter_mut().enumerate() {
            *g = (p * dm[k] - d * dv[k] / (2.0 * sigma)) / sigma;
        }
        -(log + sigma.ln())
    }
}

impl Gp {
    /// A sampler over a compiled space.
    pub fn new(spec: &SearchSpec, domain: Arc<Domain>, why: &str) -> Self {
        let scale = Scale::new(&domain);
        let varies = |d: usize| !domain.dims[d].is_tied() && domain.dims[d].dist.cardinality() != Some(1);
        let axes = Axes {
            choice: (0..scale.len()).map(|d| scale.choices(d) > 0).collect(),
            dims: (0..scale.len()).filter(|d| varies(*d) || !domain.dims[*d].when.is_empty()).collect(),
        };
        let first = Quasi::new(&SearchSpec { method: Method::Sobol, ..spec.clone() }, Arc::clone(&domain));
        Self { domain, scale, axes, spec: spec.clone(), first, history: History::default(), fitted: None, why: why.to_owned() }
    }

    fn startup(&self) -> usize {
        self.spec
            .options
            .startup
            .map_or_else(|| (self.axes.dims.len() + 2).clamp(4, 10), |s| usize::try_from(s).unwrap_or(usize::MAX))
            .max(2)
    }

    /// True once enough results are known for TPE, too, to learn from.
    pub fn is_learning(&self) -> bool {
        self.history.known().count() >= self.startup().max(10)
    }

    /// Hyperparameters from the first trials, as many as the last round number of them: they are learned anew only now and then.
    fn hyper(&mut self) -> Hyper {
        let known: Vec<(&Note, Rank)> = self.history.known().collect();
        let mut many = known.len().min(24);
        while many + (many / 8).max(1) <= known.len() {
            many += (many / 8).max(1);
        }
        let chosen = select(&known[..many]);
        let key: Vec<(u64, u64)> = chosen.iter().map(|(_, r)| (r.index, r.value.to_bits() ^ u64::from(r.class))).collect();
        if let Some((_, hyper)) = self.fitted.as_ref().filter(|(k, _)| *k == key) {
            return hyper.clone();
        }
        let (places, values) = seen(&chosen);
        let hyper = Hyper::fit(&self.axes, &places, &values);
        self.fitted = Some((key, hyper.clone()));
        hyper
    }

    /// The process over what is known, and over what runs as if it gave what is expected of it.
    fn model(&mut self) -> (Model, f64, usize) {
        let hyper = self.hyper();
        let known: Vec<(&Note, Rank)> = self.history.known().collect();
        let chosen = select(&known);
        let (mut places, mut values) = seen(&chosen);
        let running: Vec<Units> = if self.spec.options.constant_liar.unwrap_or(true) {
            self.history.0.values().filter(|n| n.rank.is_none()).map(|n| n.units.clone()).collect()
        } else {
            Vec::new()
        };
        let model = Model::new(self.axes.clone(), hyper.clone(), places.clone(), &values);
        let best = values.iter().copied().fold(f64::INFINITY, f64::min);
        let count = known.len();
        if running.is_empty() {
            return (model, best, count);
        }
        values.extend(running.iter().map(|x| model.at(x).mean));
        places.extend(running);
        (Model::new(self.axes.clone(), hyper, places, &values), best, count)
    }

    fn costs(&self) -> Option<(Model, f64)> {
        if !self.spec.options.per_dollar.unwrap_or(false) {
            return None;
        }
        let known: Vec<(&Note, Rank)> = self.history.known().filter(|(n, _)| n.log_cost.is_some()).collect();
        let (places, logs): (Vec<Units>, Vec<f64>) =
            select(&known).iter().map(|(n, _)| (n.units.clone(), n.log_cost.unwrap_or(0.0))).unzip();
        let mean = logs.iter().sum::<f64>() / count(logs.len().max(1));
        let deviation = (logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / count(logs.len().max(1))).sqrt();
        if logs.len() < 2 || deviation < 1e-9 {
            return None;
        }
        let values: Vec<f64> = logs.iter().map(|l| (l - mean) / deviation).collect();
        let hyper = Hyper::fit(&self.axes, &places, &values);
        Some((Model::new(self.axes.clone(), hyper, places, &values), deviation))
    }

    /// A place: what `choose` gives for each dimension that exists.
    fn place(&self, mut choose: impl FnMut(usize) -> f64) -> Result<(Units, Params), Stuck> {
        let mut units: Units = vec![f64::NAN; self.scale.len()];
        let params = self.domain.point(|d| {
            let unit = choose(d);
            if let Some(slot) = units.get_mut(d) {
                *slot = unit;
            }
            self.scale.value(d, unit)
        })?;
        Ok((units, params))
    }

    fn candidates(&self, bits: &mut Bits, hope: &Hope<'_>) -> Result<Vec<Candidate>, Stuck> {
        let mut all = Vec::with_capacity(WIDE + NEAR.0 * NEAR.1);
        let mut add = |(units, _): (Units, Params)| {
            let score = hope.score(&units);
            all.push(Candidate { units, score });
        };
        for _ in 0..WIDE {
            add(self.place(|d| self.scale.prior(d, bits.unit()))?);
        }
        let mut best: Vec<(&Note, Rank)> = self.history.known().collect();
        best.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        for (note, _) in best.into_iter().take(NEAR.0) {
            for round in 0..NEAR.1 {
                let width = [0.2, 0.05, 0.01, 0.002][round % 4];
                let share = if round % 2 == 0 { 1.0 } else { (2.0 / count(self.axes.dims.len().max(1))).max(0.2) };
                add(self.place(|d| self.beside(d, note.units[d], width, share, bits))?);
            }
        }
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(all)
    }

    /// A coordinate beside another.
    fn beside(&self, d: usize, from: f64, width: f64, share: f64, bits: &mut Bits) -> f64 {
        if from.is_nan() {
            return self.scale.prior(d, bits.unit());
        }
        if bits.unit() >= share {
            return from;
        }
        if self.scale.choices(d) > 0 {
            return if bits.unit() < 0.3 { self.scale.prior(d, bits.unit()) } else { from };
        }
        let step = width * crate::expand::dimension::normal_quantile(bits.unit());
        let step = if self.scale.cell(d) > 0.0 { step.signum() * step.abs().max(self.scale.cell(d)) } else { step };
        self.scale.snap(d, (from + step).clamp(0.0, 1.0))
    }

    /// Climbs from a candidate: along gradients where values lie close, else value by value.
    fn refine(&self, from: &Candidate, hope: &Hope<'_>) -> Candidate {
        let there = |d: &usize| !from.units[*d].is_nan();
        let (free, coarse): (Vec<usize>, Vec<usize>) =
            self.axes.dims.iter().copied().filter(there).partition(|d| self.scale.choices(*d) == 0 && self.scale.cell(*d) < FINE);
        let mut at = Candidate { units: from.units.clone(), score: from.score };
        for _ in 0..2 {
            if !free.is_empty() {
                let start: Vec<f64> = free.iter().map(|d| at.units[*d]).collect();
                let mut x = at.units.clone();
                let loss = |y: &[f64], grad: &mut [f64]| {
                    free.iter().zip(y).for_each(|(d, y)| x[*d] = *y);
                    hope.loss(&x, &free, grad)
                };
                let (y, _) = minimize(loss, &start, (0.0, 1.0), 20);
                let mut moved = at.units.clone();
                free.iter().zip(y).for_each(|(d, y)| moved[*d] = self.scale.snap(*d, y));
                self.keep_better(&mut at, moved, hope);
            }
            if coarse.is_empty() {
                break;
            }
            for &d in &coarse {
                for unit in self.others(d, at.units[d]) {
                    let mut moved = at.units.clone();
                    moved[d] = unit;
                    self.keep_better(&mut at, moved, hope);
                }
            }
        }
        at
    }

    fn keep_better(&self, at: &mut Candidate, units: Units, hope: &Hope<'_>) {
        let score = hope.score(&units);
        if score > at.score {
            *at = Candidate { units, score };
        }
    }

    /// Other values worth a look: all choices, or the neighbours on a raster.
    fn others(&self, d: usize, unit: f64) -> Vec<f64> {
        let (choices, cell) = (self.scale.choices(d), self.scale.cell(d));
        if choices > 0 {
            return (0..choices.min(32)).map(count).collect();
        }
        [-1.0, 1.0, -3.0, 3.0].iter().map(|k| unit + k * cell).filter(|u| (0.0..=1.0).contains(u)).map(|u| self.scale.snap(d, u)).collect()
    }

    /// The point of a candidate, if it is allowed and new.
    fn point(&self, candidate: &Candidate, bits: &mut Bits, known: &[&Units]) -> Result<Option<Params>, Stuck> {
        let (units, params) = self.place(|d| {
            let unit = candidate.units[d];
            if unit.is_nan() { self.scale.prior(d, bits.unit()) } else { unit }
        })?;
        let new = !known.iter().any(|k| k.iter().zip(&units).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
        Ok((new && self.domain.admits(&params)?).then_some(params))
    }
}

impl Sampler for Gp {
    fn tell(&mut self, trial: &Trial) {
        self.history.tell(trial, &self.scale, self.spec.goal);
    }

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        let (count, startup) = (self.history.known().count(), self.startup());
        if count < startup || index < self.spec.points.len() as u64 {
            let mut made = self.first.ask(index)?;
            if index >= self.spec.points.len() as u64 {
                made.why = format!("spread evenly: {count} of the {startup} results that it takes to learn");
            }
            return Ok(made);
        }
        let (model, best, count) = self.model();
        let hope = Hope { model: &model, best, costs: self.costs() };
        let mut bits = Bits::new(self.spec.seed, index, "gp", 0);
        let mut all = self.candidates(&mut bits, &hope)?;
        let known: Vec<&Units> = self.history.0.values().map(|n| &n.units).collect();
        let mut allowed = 0;
        let mut refined = Vec::new();
        for candidate in &all {
            if allowed == REFINED {
                break;
            }
            if self.point(candidate, &mut bits, &known)?.is_some() {
                allowed += 1;
                refined.push(self.refine(candidate, &hope));
            }
        }
        all.extend(refined);
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        for candidate in &all {
            if let Some(params) = self.point(candidate, &mut bits, &known)? {
                let guess = model.at(&candidate.units);
                let chance = below((best - guess.mean) / guess.variance.sqrt());
                let why = format!("better than the best of {count} results with a chance of {:.1}%", 100.0 * chance);
                return Ok(Suggestion { params, why });
            }
        }
        let params = self.domain.random(self.spec.seed, index, &Params::new())?;
        Ok(Suggestion { params, why: "random: no new candidate meets the constraints".to_owned() })
    }

    fn describe(&self) -> String {
        self.why.clone()
    }
}

/// The best half of [`MOST`] and the latest others, by index.
fn select<'a>(known: &[(&'a Note, Rank)]) -> Vec<(&'a Note, Rank)> {
    if known.len() <= MOST {
        return known.to_vec();
    }
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_unstable_by(|a, b| known[*a].1.cmp(&known[*b].1));
    let mut keep = vec![false; known.len()];
    order.iter().take(MOST / 2).for_each(|i| keep[*i] = true);
    let rest: Vec<usize> = (0..known.len()).rev().filter(|i| !keep[*i]).take(MOST - MOST / 2).collect();
    rest.into_iter().for_each(|i| keep[i] = true);
    known.iter().zip(keep).filter(|(_, keep)| *keep).map(|(k, _)| *k).collect()
}

fn seen(chosen: &[(&Note, Rank)]) -> (Vec<Units>, Vec<f64>) {
    let ranks: Vec<Rank> = chosen.iter().map(|(_, r)| *r).collect();
    (chosen.iter().map(|(n, _)| n.units.clone()).collect(), warp(&ranks))
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn count(n: usize) -> f64 {
    n as f64
}
