//! Search by adapting a normal distribution (CMA-ES): along numbers and ordered values that always exist. Choices and conditional
//! parameters are left to TPE.
//!
//! In: trials as they are told. Out: a draw from the distribution that they lead to. Generations are made of trials by index, so that
//! the distribution is a function of the trials told; must never depend on who was told first.

mod raster;
mod strategy;

use std::sync::Arc;

use self::raster::Raster;
use self::strategy::{Rates, Strategy};
use super::history::{History, Note, Rank};
use super::scale::Scale;
use super::tpe::Tpe;
use super::{ELSEWHERE, Sampler, Stuck, Suggestion, Trial};
use crate::expand::dimension::{Bits, normal_quantile};
use crate::expand::domain::{Domain, moves_along};
use crate::record::{Distribution, Options, Params, Restarts, SearchSpec};

/// Draws of a point until it lies inside the bounds and is allowed.
const MOST_DRAWS: u64 = 200;
/// The first deviation, as a share of the range.
const SIGMA: f64 = 1.0 / 6.0;
/// Generations that are kept, so that a trial that comes late changes only what follows from it.
const KEPT: usize = 64;

/// The sampler.
pub struct Cma {
    domain: Arc<Domain>,
    scale: Scale,
    spec: SearchSpec,
    /// Dimensions that the distribution has.
    dims: Vec<usize>,
    /// The others.
    rest: Option<Tpe>,
    history: History,
    /// Runs after each generation, with the last index that they rest on.
    runs: Vec<(u64, Run)>,
    /// Why this method was chosen, where it was not the file that did.
    why: String,
}

/// Where the search stands after some generations.
#[derive(Clone)]
struct Run {
    strategy: Strategy,
    generation: u32,
    restarts: u32,
    /// Trials of runs with a large population and with small ones, for BIPOP.
    large: bool,
    used: (u64, u64),
    /// Doublings of the population so far.
    doublings: u32,
}

impl Cma {
    /// A sampler over a compiled space.
    pub fn new(spec: &SearchSpec, domain: Arc<Domain>) -> Self {
        let scale = Scale::new(&domain);
        let dims: Vec<usize> = (0..domain.dims.len()).filter(|d| moves_along(&domain, *d)).collect();
        let left =
            (0..domain.dims.len()).any(|d| !dims.contains(&d) && !domain.dims[d].is_tied() && domain.dims[d].dist.cardinality() != Some(1));
        let plain = SearchSpec { options: Options { startup: None, ..spec.options.clone() }, points: Vec::new(), ..spec.clone() };
        let rest = left.then(|| Tpe::new(&plain, Arc::clone(&domain), "TPE"));
        Self { domain, scale, spec: spec.clone(), dims, rest, history: History::default(), runs: Vec::new(), why: String::new() }
    }

    /// With the reason why it was chosen.
    pub fn because(self, why: &str) -> Self {
        Self { why: format!(": {why}"), ..self }
    }

    /// 4 + 3 ln n points a generation, or as many as run at a time.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    fn population(&self) -> usize {
        let usual = 4 + (3.0 * (self.dims.len().max(1) as f64).ln()) as usize;
        let wanted = self.spec.options.population.map(|p| p as usize);
        wanted.unwrap_or_else(|| usual.max(self.spec.parallel.unwrap_or(1).min(64) as usize)).max(4)
    }

    fn startup(&self) -> usize {
        usize::try_from(self.spec.options.startup.unwrap_or(0)).unwrap_or(usize::MAX)
    }

    fn strategy(&self, population: usize, mean: Vec<f64>, sigma: f64) -> Strategy {
        let raster = |d: &usize| match self.domain.dims[*d].dist {
            Distribution::IntLogUniform { min, max, step } => Raster::logarithmic(min, max, step),
            _ => Raster::even(self.scale.cell(*d)),
        };
        Strategy::new(Rates::new(self.dims.len(), population), mean, sigma, self.dims.iter().map(raster).collect())
    }

    /// The first run: from the best trial of other sweeps or of the first draws, else from the middle.
    fn first(&self) -> Run {
        let startup = self.startup() as u64;
        let early = |r: &Rank| r.class == 0 && (r.index >= ELSEWHERE || r.index < startup);
        let best = self.history.known().filter(|(_, r)| early(r)).min_by(|a, b| a.1.cmp(&b.1));
        let mean = best.map_or_else(|| vec![0.5; self.dims.len()], |(note, _)| self.place(note));
        let strategy = self.strategy(self.population(), mean, SIGMA);
        Run { strategy, generation: 0, restarts: 0, large: true, used: (0, 0), doublings: 0 }
    }

    /// The run that all known trials lead to.
    fn run(&mut self) -> Run {
        let (mut after, mut run) = self.runs.last().map_or_else(|| (None, self.first()), |(index, run)| (Some(*index), run.clone()));
        loop {
            let from = after.map_or(self.startup() as u64, |a: u64| a + 1);
            let generation: Vec<(&Note, Rank)> =
                self.history.0.range(from..ELSEWHERE).filter_map(|(_, n)| Some((n, n.rank?))).take(run.strategy.rates.population).collect();
            if generation.len() < run.strategy.rates.population {
                return run;
            }
            let last = generation.last().map_or(from, |(_, r)| r.index);
            run = self.learn(run.clone(), generation);
            after = Some(last);
            self.runs.push((last, run.clone()));
            let extra = self.runs.len().saturating_sub(KEPT);
            self.runs.drain(..extra);
        }
    }

    fn learn(&self, mut run: Run, mut generation: Vec<(&Note, Rank)>) -> Run {
        let count = generation.len() as u64;
        generation.sort_by(|a, b| a.1.cmp(&b.1));
        let best = generation.first().map_or(f64::INFINITY, |(_, r)| if r.class < 2 { r.value } else { f64::INFINITY });
        if best.is_finite() {
            let points: Vec<Vec<f64>> = generation.iter().map(|(note, _)| self.place(note)).collect();
            run.strategy.update(&points, best);
        }
        run.generation += 1;
        let used = if run.large { &mut run.used.0 } else { &mut run.used.1 };
        *used += count;
        if run.strategy.is_over() { self.again(run) } else { run }
    }

    /// The next run, from another point.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "populations are bounded")]
    fn again(&self, mut run: Run) -> Run {
        run.restarts += 1;
        run.generation = 0;
        let mut bits = Bits::new(self.spec.seed, u64::from(run.restarts), "cma-es restart", 0);
        let mean: Vec<f64> = self.dims.iter().map(|_| bits.unit()).collect();
        let base = self.population();
        let kind = self.spec.options.restarts.unwrap_or(Restarts::Ipop);
        run.large = kind != Restarts::Bipop || run.used.0 <= run.used.1;
        if kind != Restarts::None && run.large {
            run.doublings = (run.doublings + 1).min(10);
        }
        let large = base << run.doublings;
        let (population, sigma) = if run.large {
            (large, SIGMA)
        } else {
            let share = 0.5 * large as f64 / base as f64;
            ((base as f64 * share.max(1.0).powf(bits.unit().powi(2))) as usize, SIGMA * 10_f64.powf(-2.0 * bits.unit()))
        };
        run.strategy = self.strategy(population.max(4), mean, sigma);
        run
    }

    /// What the distribution learns of a trial: where its values are, not the numbers that were rounded to them. Over the hundred trials of a
    /// sweep that finds better points (bbob-mixint, docs/search.md) than the numbers themselves, as Hamano et al. have it.
    fn place(&self, note: &Note) -> Vec<f64> {
        self.dims.iter().map(|d| middle(note.units[*d])).collect()
    }

    /// A draw of the distribution for a trial; inside the bounds if the try is not the last.
    fn draw(&self, strategy: &Strategy, index: u64, again: u64) -> Option<Vec<f64>> {
        let mut bits = Bits::new(self.spec.seed, index, "cma-es", again);
        let z: Vec<f64> = self.dims.iter().map(|_| normal_quantile(bits.unit())).collect();
        let mut x = strategy.at(&z);
        if x.iter().any(|x| !(0.0..=1.0).contains(x)) {
            if again + 10 < MOST_DRAWS {
                return None;
            }
            x.iter_mut().for_each(|x| *x = x.clamp(0.0, 1.0));
        }
        Some(x)
    }
}

impl Sampler for Cma {
    fn tell(&mut self, trial: &Trial) {
        let known = self.history.0.get(&trial.index).is_some_and(|n| n.rank.is_some());
        self.history.tell(trial, &self.scale, self.spec.goal);
        if let Some(rest) = &mut self.rest {
            rest.tell(trial);
        }
        if known || self.history.0.get(&trial.index).is_some_and(|n| n.rank.is_some()) {
            if trial.index >= ELSEWHERE || trial.index < self.startup() as u64 {
                self.runs.clear();
            }
            self.runs.retain(|(last, _)| *last < trial.index);
        }
    }

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        if let Some(point) = usize::try_from(index).ok().and_then(|i| self.spec.points.get(i)) {
            let params = self.domain.random(self.spec.seed, index, point)?;
            return Ok(Suggestion { params, why: "a point of the file, to be tried first".to_owned() });
        }
        if index < self.startup() as u64 {
            let params = self.domain.random(self.spec.seed, index, &Params::new())?;
            return Ok(Suggestion { params, why: format!("random: one of the first {}", self.startup()) });
        }
        let run = self.run();
        let others = self.rest.as_mut().map(|t| t.ask(index)).transpose()?.map(|s| s.params).unwrap_or_default();
        for again in 0..MOST_DRAWS {
            let Some(x) = self.draw(&run.strategy, index, again) else { continue };
            let params = self.domain.point(|d| match self.dims.iter().position(|k| *k == d) {
                Some(k) => self.scale.value(d, x[k]),
                None => {
                    let name = &self.domain.dims[d].name;
                    others
                        .iter()
                        .find(|(n, _)| n == name)
                        .map_or_else(|| self.domain.draw(d, self.spec.seed, index, again), |(_, v)| v.clone())
                }
            })?;
            if self.domain.admits(&params)? {
                let run_number = run.restarts + 1;
                let (generation, sigma) = (run.generation + 1, run.strategy.sigma);
                let why = format!("generation {generation} of run {run_number}, {} points, step {sigma:.3}", run.strategy.rates.population);
                return Ok(Suggestion { params, why });
            }
        }
        let params = self.domain.random(self.spec.seed, index, &Params::new())?;
        Ok(Suggestion { params, why: "random: no draw meets the constraints".to_owned() })
    }

    fn describe(&self) -> String {
        let names = |of: &dyn Fn(usize) -> bool| {
            let all: Vec<&str> = (0..self.domain.dims.len()).filter(|d| of(*d)).map(|d| &*self.domain.dims[d].name).collect();
            all.join(", ")
        };
        let own = format!("CMA-ES over {}, {} points a generation", names(&|d| self.dims.contains(&d)), self.population());
        match &self.rest {
            Some(_) => format!("{own}; TPE for {}", names(&|d| !self.dims.contains(&d) && !self.domain.dims[d].is_tied())),
            None => format!("{own}{}", self.why),
        }
    }
}

/// A coordinate, or the middle where there is none (the trial of a space that was another).
fn middle(unit: f64) -> f64 {
    if unit.is_nan() { 0.5 } else { unit }
}
