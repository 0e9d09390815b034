//! What a sweep searches and how: wire types (JSON in the store, in saved plans and in the journal); fields are only ever added.
//!
//! In: a sweep as `expand` reads it. Out: data from which `search` makes samplers and pruners. Must never hold a template that
//! still needs the workflow's documents: expressions stand beside the inputs that they use.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::run::Goal;
use crate::base::Value;

/// One search: the space, the method and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchSpec {
    /// Where the trials lie.
    pub space: Space,
    /// How the next trial is chosen.
    pub method: Method,
    /// Settings of the method; what is absent has the method's own default.
    #[serde(default, skip_serializing_if = "Options::is_default")]
    pub options: Options,
    /// Seed of the method's randomness.
    #[serde(default)]
    pub seed: u64,
    /// Which way is better. Without a metric nothing is learned, and it does not matter.
    #[serde(default)]
    pub goal: Goal,
    /// How many trials; none is as many as the money or the grid allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<u64>,
    /// Most trials at a time, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Points to try first, in this order. What a point leaves out is drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Params>,
    /// Early end of bad trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneSpec>,
}

impl SearchSpec {
    /// A search with all defaults.
    #[must_use]
    pub fn new(space: Space, method: Method) -> Self {
        let options = Options::default();
        Self { space, method, options, seed: 0, goal: Goal::default(), trials: None, parallel: None, points: Vec::new(), prune: None }
    }

    /// Members of a population (PBT).
    #[must_use]
    pub fn population(&self) -> u64 {
        u64::from(self.options.population.unwrap_or(POPULATION).max(1))
    }

    /// The trials that must be over before a trial can be asked for: the generation before it, where the method has generations.
    #[must_use]
    pub fn generation_before(&self, index: u64) -> Option<std::ops::Range<u64>> {
        let (members, method) = (self.population(), self.method);
        let first = index / members * members;
        (method.has_generations() && first > 0).then(|| first - members..first)
    }
}

/// Members of a population, where the file does not say it.
const POPULATION: u32 = 8;

/// Names and values, in the order of declaration. A member of a group is called `group.member`.
pub type Params = Vec<(Arc<str>, Value)>;

/// All points that there are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Space {
    /// In the order of declaration; groups are flat, members carry the group's condition.
    pub parameters: Vec<Parameter>,
    /// Expressions over `params` and `inputs` that every point meets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Arc<str>>,
    /// The workflow's inputs, kept only where an expression may use them.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub inputs: Value,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Unique in the space.
    pub name: Arc<str>,
    /// Its values.
    pub dist: Distribution,
    /// Expressions under which it exists, all of them; a point lacks it otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Arc<str>>,
}

/// Which values a parameter has and how likely they are beforehand. Bounds are values, never exponents, and included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "snake_case")]
pub enum Distribution {
    /// Any number between the bounds.
    Uniform {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// Any number between the bounds, uniform in its logarithm.
    LogUniform {
        /// Lower bound, above 0.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// `min`, `min + step`, ... up to `max`.
    QuantizedUniform {
        /// Lower bound.
        min: f64,
        /// Upper bound; the last value may lie below it.
        max: f64,
        /// Above 0.
        step: f64,
    },
    /// Whole numbers.
    IntUniform {
        /// Lower bound.
        min: i64,
        /// Upper bound; the last value may lie below it.
        max: i64,
        /// From 1 up.
        step: i64,
    },
    /// Whole numbers, uniform in the logarithm.
    IntLogUniform {
        /// Lower bound, above 0.
        min: i64,
        /// Upper bound; the last value may lie below it.
        max: i64,
        /// From 1 up.
        step: i64,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation, above 0.
        std: f64,
    },
    /// Its logarithm is normal.
    LogNormal {
        /// Mean of the logarithm.
        mean: f64,
        /// Standard deviation of the logarithm, above 0.
        std: f64,
    },
    /// One of a list.
    Values {
        /// At least one.
        values: Vec<Value>,
        /// As many as there are values, from 0 up; empty is all alike.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<f64>,
        /// True when neighbours in the list are alike (small, medium, large).
        #[serde(default)]
        ordered: bool,
    },
    /// Follows from other parameters: an expression.
    Tied {
        /// Over `params` and `inputs`.
        value: Arc<str>,
    },
}

/// How the next trial is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Chosen by space, budget and parallelism.
    Auto,
    /// Every combination, the first parameter slowest.
    Grid,
    /// Independent draws.
    Random,
    /// Sobol's sequence, scrambled.
    Sobol,
    /// Halton's sequence, scrambled.
    Halton,
    /// Tree-structured Parzen estimator.
    Tpe,
    /// Covariance matrix adaptation.
    CmaEs,
    /// Gaussian process.
    Gp,
    /// Population-based training: generations of trials that go on from each other's checkpoints.
    Pbt,
}

impl Method {
    /// True when trials come in generations, each of which begins with the checkpoints of the one before.
    #[must_use]
    pub fn has_generations(self) -> bool {
        self == Self::Pbt
    }

    /// All methods with their names.
    pub const ALL: [(&'static str, Self); 9] = [
        ("auto", Self::Auto),
        ("grid", Self::Grid),
        ("random", Self::Random),
        ("sobol", Self::Sobol),
        ("halton", Self::Halton),
        ("tpe", Self::Tpe),
        ("cma-es", Self::CmaEs),
        ("gp", Self::Gp),
        ("pbt", Self::Pbt),
    ];

    /// As it is written in a workflow.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, m)| *m == self).map_or("", |(n, _)| n)
    }

    /// True when it looks at results, and so needs a metric.
    #[must_use]
    pub fn learns(self) -> bool {
        !matches!(self, Self::Grid | Self::Random | Self::Sobol | Self::Halton)
    }

    /// True when all trials are written out at plan; the others get their params as they start.
    #[must_use]
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Grid | Self::Random)
    }
}

/// Settings of methods. What is absent has the default that the method's documentation names.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Options {
    /// Trials before the method begins to learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<u64>,
    /// TPE: all parameters together (true) or each alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multivariate: Option<bool>,
    /// TPE: parameters that exist under the same conditions are learned together, apart from the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<bool>,
    /// TPE: candidates that are weighed for each trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<u32>,
    /// Running trials count as bad ones until they are known, so that parallel trials keep apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant_liar: Option<bool>,
    /// Weigh improvement by what a trial costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_dollar: Option<bool>,
    /// CMA-ES: `none`, `ipop` or `bipop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// CMA-ES: points of a generation. PBT: members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<u32>,
}

impl Options {
    /// True when nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How CMA-ES begins again once it has converged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restarts {
    /// From another point, as before.
    None,
    /// With twice the population (Auger and Hansen 2005).
    Ipop,
    /// Large and small populations in turn (Hansen 2009).
    Bipop,
}

/// Early end of bad trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneSpec {
    /// By what rule.
    pub method: PruneMethod,
    /// Steps before the first decision; the first rung of halving methods.
    #[serde(default = "one")]
    pub min: u64,
    /// Steps of a full trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Halving methods keep one of this many, from 2 up.
    #[serde(default = "three")]
    pub eta: u64,
    /// Halving methods: trials wait at their rungs and go on when they belong to the best after all, instead of ending there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promote: bool,
    /// Steps between two decisions.
    #[serde(default = "one")]
    pub every: u64,
    /// Finished trials before the first decision of `median` and `percentile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<u64>,
    /// `percentile`: trials worse than this share of the others end, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// `threshold`: ends below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// `threshold`: ends above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// `patience` and `convergence`: decisions to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// `patience` and `convergence`: least change that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
}

impl PruneSpec {
    /// A rule with all defaults.
    #[must_use]
    pub fn new(method: PruneMethod) -> Self {
        Self {
            method,
            min: 1,
            max: None,
            eta: 3,
            promote: false,
            every: 1,
            startup: None,
            percentile: None,
            lower: None,
            upper: None,
            patience: None,
            tolerance: None,
        }
    }
}

fn one() -> u64 {
    1
}

fn three() -> u64 {
    3
}

/// By what rule a trial ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneMethod {
    /// Worse than the median of the others at the same step (Golovin et al. 2017).
    Median,
    /// Worse than a share of the others at the same step.
    Percentile,
    /// Successive halving (Jamieson and Talwalkar 2016), asynchronous as in Optuna: the same rule as `asha`.
    SuccessiveHalving,
    /// Asynchronous successive halving (Li et al. 2020).
    Asha,
    /// Several brackets of halving (Li et al. 2018).
    Hyperband,
    /// Beyond a fixed bound.
    Threshold,
    /// No better value for a while.
    Patience,
    /// The values no longer change: the trial is as good as complete.
    Convergence,
}

impl PruneMethod {
    /// All rules with their names.
    pub const ALL: [(&'static str, Self); 8] = [
        ("median", Self::Median),
        ("percentile", Self::Percentile),
        ("successive-halving", Self::SuccessiveHalving),
        ("asha", Self::Asha),
        ("hyperband", Self::Hyperband),
        ("threshold", Self::Threshold),
        ("patience", Self::Patience),
        ("convergence", Self::Convergence),
    ];

    /// True when trials are compared at rungs, of which the best go on.
    #[must_use]
    pub fn has_rungs(self) -> bool {
        matches!(self, Self::SuccessiveHalving | Self::Asha | Self::Hyperband)
    }

    /// As it is written in a workflow.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, m)| *m == self).map_or("", |(n, _)| n)
    }
}
