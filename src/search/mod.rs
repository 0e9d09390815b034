//! Search: a sweep's next trial from the trials so far, and which trials end early.
//!
//! In: a [`SearchSpec`] and trials as they are told. Out: points with the reason for each, and verdicts. Must never depend on the
//! order in which trials were told (samplers) or on anything but what was reported, in its order (pruners).

mod auto;
mod cma;
mod fixed;
mod gp;
mod history;
mod linear;
mod normal;
mod pbt;
mod promote;
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
use crate::record::{Method, Params, SearchSpec};

pub use crate::expand::domain::Stuck;
pub use prune::{Promotion, Pruner, Verdict, pruner};

/// Indices from here on are of trials of other sweeps (a warm start), far beyond those that are asked for.
pub const ELSEWHERE: u64 = 1 << 40;

/// What a sampler is told of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Which one. Trials of other sweeps have indices from [`ELSEWHERE`] on.
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
    /// Ended without a result, or with one that is no number: its place is avoided.
    Failed,
    /// Ended by somebody or by something else: nothing is known of its place.
    Lost,
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

    /// The trial whose checkpoint trial `index` begins with, where the method hands one over.
    fn parent(&self, _index: u64) -> Option<u64> {
        None
    }

    /// Name of the method and why it was chosen, in one sentence.
    fn describe(&self) -> String;
}

/// The sampler of a search.
///
/// # Errors
/// What is wrong, in words: an expression of the space. `expand` has checked it, so only a damaged record gets here.
pub fn sampler(spec: &SearchSpec) -> Result<Box<dyn Sampler>, String> {
    let domain = Arc::new(Domain::compile(&spec.space)?);
    match spec.method {
        Method::Grid | Method::Random => Ok(Box::new(fixed::Fixed::new(spec, domain)?)),
        Method::Sobol | Method::Halton => Ok(Box::new(quasi::Quasi::new(spec, domain))),
        Method::Tpe => Ok(Box::new(tpe::Tpe::new(spec, domain, &tpe_words(spec)))),
        Method::Gp => Ok(Box::new(gp::Gp::new(spec, domain, "Gaussian process: the point where improvement is expected most"))),
        Method::CmaEs => Ok(Box::new(cma::Cma::new(spec, domain))),
        Method::Pbt => Ok(Box::new(pbt::Pbt::new(spec, domain))),
        Method::Auto => auto::choose(spec, domain),
    }
}

fn tpe_words(spec: &SearchSpec) -> String {
    let o = &spec.options;
    let how = match (o.multivariate.unwrap_or(true), o.group.unwrap_or(false)) {
        (false, _) => "each parameter by itself",
        (true, true) => "parameters of the same conditions together",
        (true, false) => "all parameters together",
    };
    format!("TPE: {how}{}", if o.per_dollar.unwrap_or(false) { ", improvement for each dollar" } else { "" })
}

/// The value of a parameter, if the point has it.
#[must_use]
pub fn param<'p>(params: &'p Params, name: &str) -> Option<&'p Value> {
    params.iter().find(|(n, _)| &**n == name).map(|(_, v)| v)
}
