//! The trials of a sweep as a table of numbers: each param from 0 to 1 on the scale that it is searched on.
//!
//! In: the state, a sweep, what is needed to judge it. Out: a [`Table`]. Must never invent a value: what a trial lacks is not a number.

use std::sync::Arc;

use super::{Ground, Trial};
use crate::base::{Millis, Money, Timestamp, Value};
use crate::record::{Distribution, MetricGoal, RunRecord, RunStatus, State};

/// Most words of one param; further ones share the last place.
pub const MAX_LEVELS: usize = 64;

/// All trials of a sweep with params.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// `workflow/job`.
    pub sweep: Arc<str>,
    /// By what they compare.
    pub metric: Option<MetricGoal>,
    /// The params.
    pub axes: Vec<Axis>,
    /// The trials, by number.
    pub rows: Vec<Row>,
}

/// One param.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Its name; members of groups are called `group.member`.
    pub name: Arc<str>,
    /// Its scale.
    pub kind: Kind,
}

/// A scale.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Numbers between two bounds, which differ.
    Numbers {
        /// By logarithm.
        log: bool,
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
    /// One place for each word.
    Words(Vec<String>),
}

/// One trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The trial with its figures.
    pub trial: Trial,
    /// Its place on each axis; not a number where it lacks the param.
    pub at: Vec<f64>,
    /// Values by step.
    pub curve: Vec<(i64, f64)>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

impl Row {
    /// True when its value is a result.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.trial.status == RunStatus::Succeeded && self.trial.value.is_some()
    }
}

impl Axis {
    /// The place of a value.
    #[must_use]
    pub fn place(&self, value: Option<&Value>) -> f64 {
        let Some(value) = value.filter(|v| !v.is_null()) else { return f64::NAN };
        match &self.kind {
            Kind::Numbers { log, low, high } => {
                let Some(number) = value.as_f64() else { return f64::NAN };
                let scaled = |v: f64| if *log { v.ln() } else { v };
                let (low, high) = (scaled(*low), scaled(*high));
                // Halves, so that bounds far apart do not pass all numbers.
                ((scaled(number) / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)).clamp(0.0, 1.0)
            }
            Kind::Words(words) => {
                let text = word(value);
                let at = words.iter().position(|w| *w == text).unwrap_or(words.len().saturating_sub(1));
                (count(at) + 0.5) / count(words.len().max(1))
            }
        }
    }

    /// A place in words.
    #[must_use]
    pub fn show(&self, at: f64) -> String {
        match &self.kind {
            Kind::Numbers { log: true, low, high } => {
                super::super::chart::Unit::Number.show((low.ln() + at * (high.ln() - low.ln())).exp())
            }
            Kind::Numbers { low, high, .. } => super::super::chart::Unit::Number.show(low + at * (high - low)),
            Kind::Words(words) => words.get(index(at, words.len())).cloned().unwrap_or_default(),
        }
    }
}

/// Which of `n` equal parts a place lies in.
#[must_use]
pub fn index(at: f64, n: usize) -> usize {
    (0..n).find(|i| at * count(n) < count(i + 1)).unwrap_or(n.saturating_sub(1))
}

/// A count as a float.
#[must_use]
pub fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// A value as people read it.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The trials of a sweep.
#[must_use]
pub fn table(state: &State, job: &Arc<str>, ground: Ground<'_>) -> Table {
    let groups = super::groups(state, std::slice::from_ref(job));
    let records: Vec<&RunRecord> = groups.into_values().flatten().filter(|r| !r.spec.params.is_empty()).collect();
    let mut names: Vec<Arc<str>> = Vec::new();
    for (name, _) in records.iter().flat_map(|r| &r.spec.params) {
        if !names.contains(name) {
            names.push(Arc::clone(name));
        }
    }
    let axes: Vec<Axis> = names.into_iter().map(|name| axis(name, &records)).collect();
    let row = |r: &&RunRecord| Row {
        trial: super::trial(r, ground),
        at: axes.iter().map(|a| a.place(r.spec.params.iter().find(|(n, _)| *n == a.name).map(|(_, v)| v))).collect(),
        curve: r.curve.points().to_vec(),
        ended: r.ended_at,
    };
    let rows = records.iter().map(row).collect();
    Table { sweep: Arc::clone(job), metric: records.first().and_then(|r| r.spec.job.metric.clone()), axes, rows }
}

/// The scale of a param: as declared where the record has it, else by its values.
fn axis(name: Arc<str>, records: &[&RunRecord]) -> Axis {
    let values: Vec<&Value> =
        records.iter().filter_map(|r| r.spec.params.iter().find(|(n, _)| *n == name).map(|(_, v)| v)).filter(|v| !v.is_null()).collect();
    let search = records.last().and_then(|r| r.spec.job.sweep.as_ref()?.search.as_ref());
    let declared = search.and_then(|s| s.space.parameters.iter().find(|p| p.name == name)).map(|p| &p.dist);
    let numbers: Vec<f64> = values.iter().filter_map(|v| v.as_f64()).filter(|v| v.is_finite()).collect();
    let kind = if numbers.len() == values.len() && !numbers.is_empty() {
        let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log = low > 0.0 && declared.map_or_else(|| geometric(&numbers, low, high), |d| is_log(d, &numbers, low, high));
        let high = if high > low { high } else { low + low.abs().max(1.0) };
        Kind::Numbers { log, low, high }
    } else {
        let mut words: Vec<String> = Vec::new();
        for value in values {
            let text = word(value);
            if words.len() < MAX_LEVELS && !words.contains(&text) {
                words.push(text);
            }
        }
        words.sort();
        Kind::Words(words)
    };
    Axis { name, kind }
}

fn is_log(dist: &Distribution, numbers: &[f64], low: f64, high: f64) -> bool {
    match dist {
        Distribution::LogUniform { .. } | Distribution::IntLogUniform { .. } | Distribution::LogNormal { .. } => true,
        Distribution::Values { .. } | Distribution::Tied { .. } => geometric(numbers, low, high),
        _ => false,
    }
}

/// True when the middle value lies nearer to the middle of the logarithms.
fn geometric(numbers: &[f64], low: f64, high: f64) -> bool {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(middle) = sorted.get(sorted.len() / 2).copied().filter(|_| low > 0.0 && high / low >= 8.0) else { return false };
    let share = |m: f64, a: f64, b: f64| ((m - a) / (b - a) - 0.5).abs();
    share(middle.ln(), low.ln(), high.ln()) < share(middle, low, high)
}

impl Table {
    /// Rows with a result, in the order in which they ended.
    #[must_use]
    pub fn results(&self) -> Vec<&Row> {
        let mut all: Vec<&Row> = self.rows.iter().filter(|r| r.counts()).collect();
        all.sort_by_key(|r| r.ended);
        all
    }

    /// True when more is better.
    #[must_use]
    pub fn maximizes(&self) -> bool {
        self.metric.as_ref().is_some_and(|m| m.goal == crate::record::Goal::Maximize)
    }

    /// Name of the metric.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.metric.as_ref().map_or("", |m| m.name.as_str())
    }

    /// 0 for the best of the results, 1 for the worst; results that are far worse than most count as the worst of the others.
    #[must_use]
    pub fn badness(&self) -> Vec<f64> {
        let sign = if self.maximizes() { -1.0 } else { 1.0 };
        let costs: Vec<f64> = self.rows.iter().map(|r| r.trial.value.map_or(f64::NAN, |v| v * sign)).collect();
        let counted: Vec<f64> = self.rows.iter().zip(&costs).filter(|(r, _)| r.counts()).map(|(_, c)| *c).collect();
        let (low, cut) = (counted.iter().copied().fold(f64::INFINITY, f64::min), ceiling(&counted));
        let span = if cut > low { cut - low } else { 1.0 };
        costs.into_iter().map(|c| if c.is_nan() { f64::NAN } else { ((c.min(cut) - low) / span).clamp(0.0, 1.0) }).collect()
    }

    /// What all trials cost and how long they ran, together.
    #[must_use]
    pub fn totals(&self) -> (Option<Money>, Millis) {
        let costs: Vec<Money> = self.rows.iter().filter_map(|r| r.trial.spent).collect();
        let time = self.rows.iter().filter_map(|r| r.trial.took).map(|m| m.0).fold(0, u64::saturating_add);
        ((!costs.is_empty()).then(|| costs.into_iter().sum()), Millis(time))
    }
}

/// Values (less is better) above it are as bad as it: the third quartile and three times the distance of the quartiles (Tukey's far
/// out). A few trainings that diverged would hide what the others tell.
#[must_use]
pub fn ceiling(costs: &[f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get(index(share, sorted.len())).copied().unwrap_or(0.0);
    let (first, third) = (at(0.25), at(0.75));
    let most = sorted.last().copied().unwrap_or(0.0);
    (third + 3.0 * (third - first)).min(most)
}
