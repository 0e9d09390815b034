//! Variations of a job: the params of its runs, from a matrix or a sweep, counted before they are made.
//!
//! Random trials are drawn by a counter: trial i is a function of space, seed and i alone, so that more trials keep the ones
//! that exist. Bits come from BLAKE3 in its extendable-output mode; normal values by the Box-Muller transform (1958).

use std::sync::Arc;

use serde_json::Value;

use super::domain::{Domain, Stuck};
use super::template::{Names, Scope, Template};
use crate::base::{Diagnostic, Diagnostics, SourceMap, Span};
use crate::record::{Method, Params, SearchSpec};
use crate::spec::types::{Matrix, MatrixAxis, Sweep};

/// Most runs that one project may have.
pub const MAX_RUNS: u128 = 1_000_000;

/// Params of one run: its key in the address and the values.
pub type Point = (Option<String>, Vec<(Arc<str>, Value)>);

/// The runs of a job, and how they search where that is decided while they run.
#[derive(Default)]
pub struct Trials {
    /// A key and params for each; no params where they are found later.
    pub points: Vec<Point>,
    /// Set where trials are found, or end early, while the sweep runs.
    pub search: Option<SearchSpec>,
    /// Some point of the space.
    pub sample: Params,
}

impl From<Vec<Point>> for Trials {
    fn from(points: Vec<Point>) -> Self {
        Self { points, ..Self::default() }
    }
}

/// What a space is made in.
pub struct Context<'a> {
    /// The workflow's inputs, for bounds that are templates.
    pub inputs: &'a Value,
    /// Names of the inputs.
    pub names: &'a Names,
    /// For places inside scalars.
    pub sources: &'a SourceMap,
}

/// All runs of a matrix, in the order of the axes.
pub fn matrix(matrix: &Matrix, cx: &Context<'_>, diags: &mut Diagnostics) -> Vec<Point> {
    let lengths = matrix.axes.iter().map(|(_, _, axis)| match axis {
        MatrixAxis::Range(from, to, step, _) => range_len(*from, *to, *step),
        MatrixAxis::Values(v) => v.len() as u128,
        MatrixAxis::Template(..) => 1,
    });
    if too_many(lengths.fold(1, u128::saturating_mul), matrix.span, diags) {
        return Vec::new();
    }
    let axes: Vec<(Arc<str>, Vec<Value>)> =
        matrix.axes.iter().map(|(name, span, axis)| (Arc::clone(name), axis_values(axis, *span, cx, diags))).collect();
    let mut rows = product(&axes);
    rows.retain(|row| !matrix.exclude.iter().any(|e| !e.is_empty() && e.iter().all(|(k, v)| row.iter().any(|(n, x)| n == k && x == v))));
    include(&mut rows, matrix, &axes);
    if rows.is_empty() {
        diags.push(
            Diagnostic::error("empty-matrix", matrix.span, "the matrix gives no run").hint("give an axis with values, and exclude less"),
        );
    }
    keyed(rows, matrix.span, diags)
}

fn range_len(from: i64, to: i64, step: i64) -> u128 {
    let distance = if step > 0 { i128::from(to) - i128::from(from) } else { i128::from(from) - i128::from(to) };
    u128::try_from(distance.max(0)).unwrap_or(0).div_ceil(u128::from(step.unsigned_abs()))
}

fn axis_values(axis: &MatrixAxis, span: Span, cx: &Context<'_>, diags: &mut Diagnostics) -> Vec<Value> {
    match axis {
        MatrixAxis::Values(values) => values.iter().filter_map(|v| render(v, span, cx, diags)).collect(),
        MatrixAxis::Range(from, to, step, _) => {
            let length = usize::try_from(range_len(*from, *to, *step)).unwrap_or(0);
            (0..length).map(|i| Value::from(from.wrapping_add(step.wrapping_mul(i64::try_from(i).unwrap_or(0))))).collect()
        }
        MatrixAxis::Template(text, span) => match render(&Value::String(text.to_string()), *span, cx, diags) {
            Some(Value::Array(values)) if !values.is_empty() => values,
            Some(other) => {
                diags.push(
                    Diagnostic::error("wrong-type", *span, format!("expected a list of values, the template gives `{other}`"))
                        .hint("use an input of type `list`"),
                );
                Vec::new()
            }
            None => Vec::new(),
        },
    }
}

/// The cartesian product; the first axis varies slowest.
fn product(axes: &[(Arc<str>, Vec<Value>)]) -> Vec<Vec<(Arc<str>, Value)>> {
    let mut rows = if axes.is_empty() { Vec::new() } else { vec![Vec::new()] };
    for (name, values) in axes {
        rows = rows
            .iter()
            .flat_map(|row: &Vec<(Arc<str>, Value)>| {
                values.iter().map(move |value| {
                    let mut longer = Vec::with_capacity(axes.len());
                    longer.extend_from_slice(row);
                    longer.push((Arc::clone(name), value.clone()));
                    longer
                })
            })
            .collect();
    }
    rows
}

/// GitHub's rule: an included combination is added to every original combination whose axis values it does not change; when
/// there is none, it becomes a combination of its own.
fn include(rows: &mut Vec<Vec<(Arc<str>, Value)>>, matrix: &Matrix, axes: &[(Arc<str>, Vec<Value>)]) {
    let originals = rows.len();
    for extra in &matrix.include {
        let mut matched = false;
        for row in rows.iter_mut().take(originals) {
            let clash = extra.iter().any(|(k, v)| axes.iter().any(|(a, _)| a == k) && !row.iter().any(|(n, x)| n == k && x == v));
            if !clash {
                matched = true;
                for (k, v) in extra {
                    match row.iter_mut().find(|(n, _)| n == k) {
                        Some(slot) => slot.1 = v.clone(),
                        None => row.push((Arc::clone(k), v.clone())),
                    }
                }
            }
        }
        if !matched {
            rows.push(extra.clone());
        }
    }
}

fn keyed(rows: Vec<Vec<(Arc<str>, Value)>>, span: Span, diags: &mut Diagnostics) -> Vec<Point> {
    let mut seen = rustc_hash::FxHashSet::default();
    rows.into_iter()
        .filter_map(|row| {
            let key = key(&row);
            if !seen.insert(key.to_lowercase()) {
                diags.push(
                    Diagnostic::error("same-key", span, format!("two combinations have the same address key `[{key}]`"))
                        .hint("make the values differ by more than case"),
                );
                return None;
            }
            Some((Some(key), row))
        })
        .collect()
}

/// `fold=0,seed=1`; values that are long or have odd characters are followed by a hash instead of being cut silently.
fn key(row: &[(Arc<str>, Value)]) -> String {
    let parts: Vec<String> = row
        .iter()
        .map(|(name, value)| {
            let mut text = String::new();
            super::template::push_word(&mut text, value);
            let safe: String =
                text.chars().map(|c| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' }).take(32).collect();
            if safe == text {
                format!("{name}={safe}")
            } else {
                format!("{name}={safe}~{}", &crate::base::Digest::of(text.as_bytes()).short()[..8])
            }
        })
        .collect();
    parts.join(",")
}

/// The trials of a sweep.
pub fn sweep(sweep: &Sweep, span: Span, cx: &Context<'_>, diags: &mut Diagnostics) -> Trials {
    let Some((spec, domain)) = super::search::read(sweep, span, cx, diags) else { return Trials::default() };
    judged(sweep, spec.method, diags);
    let rows = match spec.method {
        Method::Grid => grid(&spec, &domain, sweep, diags),
        method if !method.is_fixed() => open(&spec, sweep, diags),
        _ => random(&spec, &domain, sweep, diags),
    };
    let points = rows.into_iter().enumerate().map(|(i, row)| (Some(i.to_string()), row)).collect();
    let sample = domain.random(spec.seed, 0, &Params::new()).unwrap_or_default();
    let search = Some(spec).filter(|s| s.prune.is_some() || !s.method.is_fixed());
    Trials { points, search, sample }
}

/// Trials whose params are found while the sweep runs.
fn open(spec: &SearchSpec, sweep: &Sweep, diags: &mut Diagnostics) -> Vec<Params> {
    if sweep.metric.is_none() && spec.method.learns() {
        let message = format!("the method `{}` learns from a metric, and the sweep names none", spec.method.name());
        diags.push(Diagnostic::error("missing-key", sweep.method.0.1, message).hint("add `metric: {name: val_loss, goal: minimize}`"));
    }
    let count = spec.trials.unwrap_or_default();
    if too_many(u128::from(count), sweep.trials.as_ref().map_or(sweep.span, |t| t.span()), diags) {
        return Vec::new();
    }
    vec![Params::new(); usize::try_from(count).unwrap_or_default()]
}

/// What of a sweep makes no sense, beside its space and its method.
fn judged(sweep: &Sweep, method: Method, diags: &mut Diagnostics) {
    if let (Some(prune), None) = (&sweep.prune, &sweep.metric) {
        diags.push(
            Diagnostic::error("missing-key", prune.span, "`prune` judges trials by a metric, and the sweep names none")
                .hint("add `metric: {name: val_loss, goal: minimize}`"),
        );
    }
    if let Some(first) = sweep.warm_start.first().filter(|_| !method.learns()) {
        let message = format!("the method `{}` learns nothing from other sweeps", method.name());
        diags
            .push(Diagnostic::error("bad-value", first.1, message).hint("remove `warm_start`, or use a method that learns, such as `tpe`"));
    }
    for other in &sweep.warm_start {
        let whole = other.0.split_once('/').is_some_and(|(w, j)| !w.is_empty() && !j.is_empty() && !j.contains(['/', '[', '*']));
        if !whole {
            let message = format!("`{}` is not the name of a sweep", crate::base::text::escape(&other.0));
            diags.push(Diagnostic::error("bad-value", other.1, message).hint("write WORKFLOW/JOB, such as `search/train`"));
        }
    }
    if let Some(p) = sweep.max_cost.as_ref().filter(|p| p.known() == Some(&crate::base::Money::ZERO)) {
        diags.push(
            Diagnostic::error("bad-value", p.span(), "a sweep of no money runs no trial")
                .hint("leave `max_cost` out for no limit, or write `40 USD`"),
        );
    }
    if let Some(p) = sweep.parallel.as_ref().filter(|p| p.known() == Some(&0)) {
        diags.push(
            Diagnostic::error("bad-value", p.span(), "no trial at a time runs no trial")
                .hint("leave `parallel` out for no limit of its own"),
        );
    }
    if let Some(p) = sweep.max_time.as_ref().filter(|p| p.known() == Some(&crate::base::Millis(0))) {
        diags.push(
            Diagnostic::error("bad-value", p.span(), "a sweep of no time runs no trial")
                .hint("leave `max_time` out for no limit, or write `2h`"),
        );
    }
}

fn grid(spec: &SearchSpec, domain: &Domain, sweep: &Sweep, diags: &mut Diagnostics) -> Vec<Params> {
    let Some(lattice) = super::search::lattice(domain, sweep, diags) else { return Vec::new() };
    let count = lattice.len().saturating_add(spec.points.len() as u128).min(spec.trials.map_or(u128::MAX, u128::from));
    if too_many(count, sweep.parameters_span(), diags) {
        return Vec::new();
    }
    let first = spec.points.iter().zip(0..).map(|(point, i)| domain.random(spec.seed, i, point));
    let made: Result<Vec<Params>, Stuck> =
        first.chain((0..lattice.len()).map(|i| lattice.nth(domain, i))).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
    made.unwrap_or_else(|stuck| stuck_at(&stuck, domain, sweep, diags))
}

fn random(spec: &SearchSpec, domain: &Domain, sweep: &Sweep, diags: &mut Diagnostics) -> Vec<Params> {
    let Some(count) = spec.trials else { return Vec::new() };
    if too_many(u128::from(count), sweep.trials.as_ref().map_or(sweep.span, |t| t.span()), diags) {
        return Vec::new();
    }
    let nothing = Params::new();
    let given = |i: u64| usize::try_from(i).ok().and_then(|i| spec.points.get(i)).unwrap_or(&nothing);
    let made: Result<Vec<Params>, Stuck> = (0..count).map(|i| domain.random(spec.seed, i, given(i))).collect();
    made.unwrap_or_else(|stuck| stuck_at(&stuck, domain, sweep, diags))
}

fn stuck_at(stuck: &Stuck, domain: &Domain, sweep: &Sweep, diags: &mut Diagnostics) -> Vec<Params> {
    super::search::stuck(stuck, domain, sweep, diags);
    Vec::new()
}

fn too_many(count: u128, span: Span, diags: &mut Diagnostics) -> bool {
    if count > MAX_RUNS {
        let message = format!("{count} runs are more than the {MAX_RUNS} that one project may have");
        diags.push(
            Diagnostic::error("too-many-runs", span, message).hint("use fewer values, or `method: random` with `trials`").runs(count),
        );
    }
    count > MAX_RUNS
}

impl Sweep {
    pub(super) fn parameters_span(&self) -> Span {
        self.parameters.0.iter().next().map_or(self.span, |(_, span, _)| *span)
    }
}

/// Renders a value that may be a template over the inputs.
pub(super) fn render(value: &Value, span: Span, cx: &Context<'_>, diags: &mut Diagnostics) -> Option<Value> {
    let Some(text) = value.as_str().filter(|t| crate::spec::scalar::is_template(t)) else { return Some(value.clone()) };
    let names = Names { inputs: cx.names.inputs.clone(), params: Vec::new(), needs: None };
    let template = Template::compile(&text.into(), span, &names, cx.sources, diags)?;
    match template.value(Scope { inputs: cx.inputs, params: &[], needs: None }) {
        Ok(value) => Some(value),
        Err(words) => {
            diags.push(Diagnostic::error("template", span, words));
            None
        }
    }
}
