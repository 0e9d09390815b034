//! Variations of a job: matrices and sweeps.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Text, Word};
use crate::base::{Diagnostic, Diagnostics, Millis, Money, Span};
use crate::spec::lower::{Definitions, Lower, Must, Named, entries, list, wrong};
use crate::spec::scalar::{Plain, Templ};
use crate::spec::tree::{Kind, Node};

/// A run for each combination of values, as in GitHub Actions.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Where it is written.
    pub span: Span,
    /// The axes, in the order of writing.
    pub axes: Vec<(Arc<str>, Span, MatrixAxis)>,
    /// Combinations to add, or values to add to combinations that match.
    pub include: Vec<Vec<(Arc<str>, Value)>>,
    /// Combinations to leave out.
    pub exclude: Vec<Vec<(Arc<str>, Value)>>,
}

/// The values of one axis.
#[derive(Debug, Clone, PartialEq)]
pub enum MatrixAxis {
    /// Written out.
    Values(Vec<Value>),
    /// From, to (excluded), step.
    Range(i64, i64, i64, Span),
    /// An expression that gives a list.
    Template(Arc<str>, Span),
}

type Combination = Vec<(Arc<str>, Value)>;

impl Lower for Matrix {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        let mut matrix = Self { span: node.span, axes: Vec::new(), include: Vec::new(), exclude: Vec::new() };
        for entry in entries(node, "a mapping from names to lists of values", diags)? {
            match entry.key.as_ref() {
                "include" => matrix.include = combinations(&entry.value, diags)?,
                "exclude" => matrix.exclude = combinations(&entry.value, diags)?,
                _ => matrix.axes.extend(axis(&entry.value, diags).map(|a| (Arc::clone(&entry.key), entry.key_span, a))),
            }
        }
        Some(matrix)
    }
    fn schema(_: &mut Definitions) -> Value {
        let combos = json!({"type": "array", "items": {"type": "object"}});
        let range = json!({"type": "object", "properties": {"range": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}}, "required": ["range"], "additionalProperties": false});
        json!({
            "type": "object",
            "properties": {"include": combos, "exclude": combos},
            "additionalProperties": {"anyOf": [{"type": "array", "minItems": 1}, range, {"type": "string", "pattern": "\\{\\{"}]},
        })
    }
}

fn combinations(node: &Node, diags: &mut Diagnostics) -> Option<Vec<Combination>> {
    let items: Vec<Named<Value>> = list(node, diags)?;
    Some(items.into_iter().map(|c| c.0.into_iter().map(|(k, _, v)| (k, v)).collect()).collect())
}

fn axis(node: &Node, diags: &mut Diagnostics) -> Option<MatrixAxis> {
    match &node.kind {
        Kind::List(items) if items.is_empty() => {
            diags.push(Diagnostic::error("empty-axis", node.span, "an axis without values gives no run").hint("give at least one value"));
            None
        }
        Kind::List(_) => list(node, diags).map(MatrixAxis::Values),
        Kind::Scalar { text, .. } if crate::spec::scalar::is_template(text) => Some(MatrixAxis::Template(Arc::clone(text), node.span)),
        Kind::Scalar { .. } => {
            diags.push(wrong(node, "a list of values or `{range: [from, to, step]}`"));
            None
        }
        Kind::Map(map) => {
            let bounds: Vec<Value> = match map.iter().find(|e| e.key.as_ref() == "range" && map.len() == 1) {
                Some(range) => list(&range.value, diags)?,
                None => Vec::new(),
            };
            let bounds: Vec<i64> = bounds.iter().filter_map(Value::as_i64).collect();
            match bounds[..] {
                [from, to] => Some(MatrixAxis::Range(from, to, 1, node.span)),
                [from, to, step] if step != 0 => Some(MatrixAxis::Range(from, to, step, node.span)),
                _ => {
                    diags.push(
                        wrong(node, "`{range: [from, to, step]}` of whole numbers")
                            .hint("`to` is excluded, `step` may be left out and may not be 0"),
                    );
                    None
                }
            }
        }
    }
}

document! {
    /// Trials over a space of parameters.
    "a sweep" pub struct Sweep {
        /// `auto`, `grid`, `random`, `sobol`, `halton`, `tpe`, `bohb`, `cma-es`, `gp` or `pbt`.
        "method" method: Must<Word>,
        /// The metric by which trials compare.
        "metric" metric: Option<MetricDecl>,
        /// The parameters, by name.
        "parameters" parameters: Must<Named<Parameter>>,
        /// Conditions over `params` that every trial must meet.
        "constraints" constraints: Vec<Word>,
        /// Points to try first, each a mapping from parameters to values. What a point leaves out is drawn.
        "points" points: Vec<WrittenPoint>,
        /// Other sweeps whose finished trials are known beforehand, as `workflow/job`; for methods that learn.
        "warm_start" warm_start: Vec<Word>,
        /// How many trials.
        "trials" trials: Option<Text>,
        /// Most trials at a time.
        "parallel" parallel: Option<Templ<u32>>,
        /// Seed of the method's randomness (default 0).
        "seed" seed: Option<Templ<u32>>,
        /// Settings of the method.
        "options" options: Option<MethodOptions>,
        /// Early end of bad trials.
        "prune" prune: Option<PruneDecl>,
        /// Most that all trials together may cost; trials that the money does not reach are not run, and that is no failure.
        "max_cost" max_cost: Option<Templ<Money>>,
        /// Longest time from the first start of a trial to the end of the last; what is left then is not run.
        "max_time" max_time: Option<Templ<Millis>>,
        /// Failed trials that the sweep can take; one more ends it. Without it every failed trial fails the job, and the others go on.
        "max_failed" max_failed: Option<Templ<u32>>,
    }
}

/// A point that somebody wrote down.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenPoint {
    /// Where it is written.
    pub span: Span,
    /// Parameters and values; members of groups stand in a mapping of the group.
    pub values: Vec<(Arc<str>, Span, Value)>,
}

impl Lower for WrittenPoint {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        entries(node, "a mapping from parameters to values", diags)?;
        Named::<Value>::lower(node, diags).map(|n| Self { span: node.span, values: n.0 })
    }
    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "object"})
    }
}

document! {
    /// A reported metric and which way is better.
    "a metric" pub struct MetricDecl {
        /// As the run reports it.
        "name" name: Must<Text>,
        /// `minimize` or `maximize`.
        "goal" goal: Must<Text>,
    }
}

document! {
    /// Settings of a method; what is left out has the method's default.
    "options" pub struct MethodOptions {
        /// Trials before the method begins to learn.
        "startup" startup: Option<Plain<u32>>,
        /// `tpe`: all parameters together, or each alone.
        "multivariate" multivariate: Option<Plain<bool>>,
        /// `tpe`: parameters that exist under the same conditions are learned together.
        "group" group: Option<Plain<bool>>,
        /// `tpe`: candidates that are weighed for each trial.
        "candidates" candidates: Option<Plain<u32>>,
        /// Running trials count as bad until they are known, so that parallel trials keep apart.
        "constant_liar" constant_liar: Option<Plain<bool>>,
        /// `tpe`, `gp`: look for improvement for each dollar.
        "per_dollar" per_dollar: Option<Plain<bool>>,
        /// `cma-es`, once a run has converged: `ipop` (default), `bipop` or `none`.
        "restarts" restarts: Option<Word>,
        /// `cma-es`: points of a generation. `pbt`: members of the population (8).
        "population" population: Option<Plain<u32>>,
    }
}

document! {
    /// Early end of bad trials.
    "prune" pub struct PruneDecl {
        /// `median`, `percentile`, `successive-halving`, `asha`, `hyperband`, `threshold`, `patience` or `convergence`.
        "method" method: Must<Word>,
        /// Steps before the first decision; the first rung of the halving methods (default 1).
        "min" min: Option<Templ<u32>>,
        /// Steps of a full trial.
        "max" max: Option<Templ<u32>>,
        /// Halving methods keep one of this many (default 3).
        "eta" eta: Option<Templ<u32>>,
        /// Halving methods: a trial waits at its rung, and goes on from its checkpoint once it belongs to the best (default false: it ends there).
        "promote" promote: Option<Plain<bool>>,
        /// Steps between two decisions (default 1).
        "every" every: Option<Templ<u32>>,
        /// `median`, `percentile`: finished trials before the first decision (default 5).
        "startup" startup: Option<Templ<u32>>,
        /// `percentile`: the best share, in percent, that goes on (default 25).
        "percentile" percentile: Option<Templ<f64>>,
        /// `threshold`: ends below it.
        "lower" lower: Option<Templ<f64>>,
        /// `threshold`: ends above it.
        "upper" upper: Option<Templ<f64>>,
        /// `patience`, `convergence`: reports without a change that counts (default 5).
        "patience" patience: Option<Templ<u32>>,
        /// `patience`, `convergence`: least change that counts (default 0 and 0.001 of the value).
        "tolerance" tolerance: Option<Templ<f64>>,
    }
}

document! {
    /// One parameter: `values`, a fixed `value`, a distribution with bounds, or a group of `parameters`. Bounds are values, never exponents.
    "a parameter" pub struct Parameter {
        /// The values to choose from.
        "values" values: Option<Value>,
        /// Weights of the values.
        "weights" weights: Option<Value>,
        /// True when neighbours in `values` are alike (small, medium, large).
        "ordered" ordered: Option<Plain<bool>>,
        /// One fixed value, or an expression over other `params` to which it is tied.
        "value" value: Option<Value>,
        /// `uniform`, `log_uniform`, `int_uniform`, `int_log_uniform`, `quantized_uniform`, `normal`, `log_normal`; without it, by the bounds.
        "distribution" distribution: Option<Word>,
        /// Lower bound.
        "min" min: Option<Value>,
        /// Upper bound, included.
        "max" max: Option<Value>,
        /// Step between values.
        "step" step: Option<Value>,
        /// Mean of a normal distribution (of the logarithm for `log_normal`).
        "mean" mean: Option<Value>,
        /// Standard deviation of a normal distribution (of the logarithm for `log_normal`).
        "std" std: Option<Value>,
        /// Condition over other `params` under which it exists.
        "when" when: Option<Word>,
        /// Members of a group: `params.GROUP.MEMBER`.
        "parameters" parameters: Named<Parameter>,
    }
}
