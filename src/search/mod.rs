//! Search: a sweep's next trial from the trials so far, and which trials end early.
//!
//! In: a [`SearchSpec`] and trials as they are told. Out: points with the reason for each, and verdicts. Must never depend on the
//! order in which trials were told (samplers) or on anything but what was reported, in its order (pruners).

mod fixed;
pub mod prune;
mod quasi;
mod rules;
mod scale;
#[cfg(test)]
mod tests;
mod tpe;

use std::sync::Arc;

use crate::base::{Money, Value};
use crate::expand::domain::Domain;
use crate::expand::lattice::Lattice;
use crate::record::{Method, Params, SearchSpec};

pub use crate::expand::domain::Stuck;
pub use prune::{Promotion, Pruner, Verdict, pruner};

/// What a sampler is told of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Which one. Trials of other sweeps (a warm start) have indices beyond those that will be asked for.
    pub index: u64,
    /// Its point.
    pub params: Params,
    /// How far it is.
    pub state: TrialState,
    /// The metric: final, or last known for a pruned trial. Not finite or none is unknown.
    pub value: Option<f64>,
    /// What it has cost, where methods weigh it.
    pub cost: Option<Money>,
    /// Last step that it reported. A pruned trial counts less the earlier it ended.
    pub step: Option<u64>,
}

impl Trial {
    /// A trial that has just been suggested.
    #[must_use]
    pub fn running(index: u64, params: Params) -> Self {
        Self { index, params, state: TrialState::Running, value: None, cost: None, step: None }
    }

    /// A trial that is done, with its metric.
    #[must_use]
    pub fn complete(index: u64, params: Params, value: Option<f64>) -> Self {
        Self { state: TrialState::Complete, value, ..Self::running(index, params) }
    }
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrialState {
    /// Suggested, waiting or running.
    Running,
    /// Done.
    Complete,
    /// Ended early by a pruner.
    Pruned,
    /// Ended without a result, or with one that is no number.
    Failed,
}

/// A point to try, and why this one.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// Active parameters in the order of declaration.
    pub params: Params,
    /// One sentence for people, without a full stop.
    pub why: String,
}

/// A method of search: ask for the next trial, tell what became of it.
///
/// A suggestion is a function of the spec, the index and the set of trials told so far: a sampler that is built again from the
/// record and told the same trials in another order suggests the same.
pub trait Sampler {
    /// Notes a trial as it is now. The same index may be told again when more is known of it.
    fn tell(&mut self, trial: &Trial);

    /// The point of trial `index`. It is not noted: tell it as [`TrialState::Running`].
    ///
    /// # Errors
    /// Why there is no further point.
    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck>;

    /// Name of the method and why it was chosen, in one sentence.
    fn describe(&self) -> String;
}

/// The sampler of a search.
///
/// # Errors
/// What is wrong, in words: an expression of the space (`expand` has checked it, so only a damaged record gets here), or a method that
/// is not built yet.
pub fn sampler(spec: &SearchSpec) -> Result<Box<dyn Sampler>, String> {
    let domain = Arc::new(Domain::compile(&spec.space)?);
    match spec.method {
        Method::Grid | Method::Random => Ok(Box::new(fixed::Fixed::new(spec, domain)?)),
        Method::Sobol | Method::Halton => Ok(Box::new(quasi::Quasi::new(spec, domain))),
        Method::Tpe => Ok(Box::new(tpe::Tpe::new(spec, domain, "TPE"))),
        Method::Auto => auto(spec, domain),
        Method::CmaEs | Method::Gp => Err(format!("the method `{}` is not built yet", spec.method.name())),
    }
}

/// A grid when the budget covers all of it, else TPE: of the methods that are built it alone learns.
fn auto(spec: &SearchSpec, domain: Arc<Domain>) -> Result<Box<dyn Sampler>, String> {
    if let (Some(trials), Ok(Ok(lattice))) = (spec.trials, Lattice::new(&domain))
        && lattice.len() <= u128::from(trials)
    {
        return Ok(Box::new(fixed::Fixed::new(&SearchSpec { method: Method::Grid, ..spec.clone() }, domain)?));
    }
    Ok(Box::new(tpe::Tpe::new(spec, domain, "TPE: the space has more points than there are trials, and it learns from results")))
}

/// The value of a parameter, if the point has it.
#[must_use]
pub fn param<'p>(params: &'p Params, name: &str) -> Option<&'p Value> {
    params.iter().find(|(n, _)| &**n == name).map(|(_, v)| v)
}
