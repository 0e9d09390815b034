//! The method that `auto` stands for.
//!
//! In: a search. Out: a sampler that says why it was chosen. Must never look at results: the choice is made once, from space, budget
//! and parallelism.

use std::sync::Arc;

use super::{Sampler, Stuck, Suggestion, Trial, cma, fixed, gp, tpe};
use crate::expand::domain::{Domain, moves_along};
use crate::expand::lattice::Lattice;
use crate::record::{Method, Options, Restarts, SearchSpec};

/// Most trials for which a model of all results is worth its time.
const GP_TRIALS: u64 = 300;
/// Most parameters that such a model can tell apart.
const GP_PARAMETERS: usize = 24;
/// Most trials at a time that it can keep apart.
const GP_PARALLEL: u32 = 32;
/// Trials for each parameter from which CMA-ES has the time to adapt.
const CMA_TRIALS: u64 = 60;

/// A grid when the budget covers all of it, a Gaussian process (with TPE in turn) for small budgets, CMA-ES for large ones along numbers, else TPE.
pub fn choose(spec: &SearchSpec, domain: Arc<Domain>) -> Result<Box<dyn Sampler>, String> {
    if let (Some(trials), Ok(Ok(lattice))) = (spec.trials, Lattice::new(&domain))
        && lattice.len() <= u128::from(trials)
    {
        return Ok(Box::new(fixed::Fixed::new(&SearchSpec { method: Method::Grid, ..spec.clone() }, domain)?));
    }
    let free = domain.dims.iter().filter(|d| !d.is_tied() && d.dist.cardinality() != Some(1)).count();
    let (trials, parallel) = (spec.trials.unwrap_or(u64::MAX), spec.parallel.unwrap_or(1));
    if trials <= GP_TRIALS && free <= GP_PARAMETERS && parallel <= GP_PARALLEL {
        let why = format!("Gaussian process and TPE in turn: {trials} trials over {free} parameters are few enough to model all results");
        let model = gp::Gp::new(spec, Arc::clone(&domain), &why);
        return Ok(Box::new(InTurn { model, density: tpe::Tpe::new(spec, domain, "TPE") }));
    }
    let numbers = (0..domain.dims.len()).all(|d| moves_along(&domain, d) || domain.dims[d].dist.cardinality() == Some(1));
    let costs = spec.options.per_dollar.unwrap_or(false);
    if numbers && !costs && domain.constraints.is_empty() && trials >= CMA_TRIALS.saturating_mul(free as u64) {
        let options = Options { restarts: Some(Restarts::Ipop), ..spec.options.clone() };
        let why = format!("{trials} trials over {free} numbers are enough to adapt");
        return Ok(Box::new(cma::Cma::new(&SearchSpec { options, ..spec.clone() }, domain).because(&why)));
    }
    let group = domain.dims.iter().any(|d| !d.when.is_empty());
    let options = Options { group: Some(group), ..spec.options.clone() };
    let why = format!("TPE: it takes any space and budget, here {free} parameters, {parallel} at a time");
    Ok(Box::new(tpe::Tpe::new(&SearchSpec { options, ..spec.clone() }, domain, &why)))
}

/// A model of all results, and the densities of good ones, each for every other trial: where values jump and no smooth model holds, TPE
/// goes on alone, and both learn from each other's trials.
struct InTurn {
    model: gp::Gp,
    density: tpe::Tpe,
}

impl Sampler for InTurn {
    fn tell(&mut self, trial: &Trial) {
        self.model.tell(trial);
        self.density.tell(trial);
    }

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        // The model's even spread is the better beginning for both.
        if self.model.is_learning() && index % 2 == 1 { self.density.ask(index) } else { self.model.ask(index) }
    }

    fn describe(&self) -> String {
        self.model.describe()
    }
}
