//! Which params matter: functional ANOVA of a forest over the results, with what the forest's trees disagree about.
//!
//! In: a [`Table`]. Out: shares of the variance with 95% intervals over bootstrapped trees, how well the forest predicts trials that its
//! trees did not see, and warnings where the history is too small to say. Must never rank noise without saying so.

use std::sync::Arc;

use serde::Serialize;

use super::forest::{Dim, Forest, Shares};
use super::table::{Axis, Kind, Row, Table, ceiling, count, index};
use crate::record::RunStatus;

/// Fewest results that a forest is grown on.
pub const FEWEST: usize = 8;
/// Axes whose pairs are looked at.
const PAIRED: usize = 4;

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Importance {
    /// `workflow/job`.
    pub sweep: Arc<str>,
    /// The metric that is explained.
    pub metric: String,
    /// Results that it rests on.
    pub results: usize,
    /// Pruned trials that are not among them.
    pub pruned_left_out: usize,
    /// Share of the variance that the forest predicts for trials which its trees did not see.
    pub fit: f64,
    /// The params, those that matter most first.
    pub params: Vec<Share>,
    /// Pairs that matter beyond what each does alone.
    pub pairs: Vec<Share>,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
}

/// One share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// A param, or two.
    pub params: Vec<Arc<str>>,
    /// Share of the variance, 0 to 1: mean over trees.
    pub share: f64,
    /// Between which 95% of the trees lie.
    pub interval: (f64, f64),
    /// For one param: the best of its values in the mean over all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<String>,
}

/// A forest over a table, and the axes that vary.
#[derive(Debug, Clone)]
pub struct Model {
    /// The forest; its values are those of the metric, clipped where they are far out on the bad side.
    pub forest: Forest,
    /// Which axes of the table it has, in its order.
    pub axes: Vec<usize>,
}

/// The forest of a table's results; none where there are too few, or nothing varies.
#[must_use]
pub fn model(table: &Table, with_pruned: bool) -> Option<Model> {
    let rows = used(table, with_pruned);
    if rows.len() < FEWEST {
        return None;
    }
    let axes: Vec<usize> = (0..table.axes.len()).filter(|d| varies(&rows, *d)).collect();
    let dims: Vec<Dim> = axes.iter().filter_map(|d| Some(dim(table.axes.get(*d)?, &rows, *d))).collect();
    let places: Vec<Vec<f64>> = rows.iter().map(|r| axes.iter().filter_map(|d| r.at.get(*d).copied()).collect()).collect();
    let sign = if table.maximizes() { -1.0 } else { 1.0 };
    let costs: Vec<f64> = rows.iter().filter_map(|r| r.trial.value).map(|v| v * sign).collect();
    let cut = ceiling(&costs);
    let values: Vec<f64> = costs.into_iter().map(|c| c.min(cut) * sign).collect();
    (!axes.is_empty()).then(|| Model { forest: Forest::grow(&dims, &places, &values), axes })
}

fn used(table: &Table, with_pruned: bool) -> Vec<&Row> {
    table.rows.iter().filter(|r| r.counts() || (with_pruned && r.trial.status == RunStatus::Pruned && r.trial.value.is_some())).collect()
}

fn varies(rows: &[&Row], d: usize) -> bool {
    let at = |r: &&Row| r.at.get(d).copied().unwrap_or(f64::NAN);
    let first = rows.first().map(at).unwrap_or(f64::NAN);
    rows.iter().any(|r| at(r).to_bits() != first.to_bits() && !(at(r).is_nan() && first.is_nan()))
}

fn dim(axis: &Axis, rows: &[&Row], d: usize) -> Dim {
    let lacking = rows.iter().filter(|r| r.at.get(d).is_none_or(|a| a.is_nan())).count();
    let absent = count(lacking) / count((rows.len() - lacking).max(1));
    Dim { words: if let Kind::Words(words) = &axis.kind { words.len() } else { 0 }, absent }
}

/// Which params matter.
///
/// # Errors
/// Why that cannot be said, for people, and what would help.
pub fn importance(table: &Table, with_pruned: bool) -> Result<Importance, (String, &'static str)> {
    if table.metric.is_none() {
        return Err((
            format!("{} names no metric, so that nothing explains it", table.sweep),
            "add `metric: {name: val_loss, goal: minimize}` to the sweep",
        ));
    }
    let (rows, pruned) = (used(table, with_pruned), table.rows.iter().filter(|r| r.trial.status == RunStatus::Pruned).count());
    if rows.len() < FEWEST {
        let words =
            format!("{} has {} results with `{}`, and importance needs at least {FEWEST}", table.sweep, rows.len(), table.metric_name());
        let hint =
            if pruned > 0 && !with_pruned { "run more trials, or let pruned ones count with --with-pruned" } else { "run more trials" };
        return Err((words, hint));
    }
    let Some(model) = model(table, with_pruned) else {
        return Err((format!("no param of {} varies over its results", table.sweep), "there is nothing to compare"));
    };
    let shares = model.forest.shares(&[]);
    if shares.is_empty() {
        return Err((format!("`{}` is the same in all results of {}", table.metric_name(), table.sweep), "there is nothing to explain"));
    }
    let name = |d: usize| model.axes.get(d).and_then(|a| table.axes.get(*a)).map_or_else(|| "".into(), |a| Arc::clone(&a.name));
    let mut params: Vec<(usize, Share)> = (0..model.axes.len())
        .map(|d| {
            let (share, interval) = spread(&shares, |s| s.alone.get(d).copied().unwrap_or(0.0));
            (d, Share { params: vec![name(d)], share, interval, best: best(&model, table, d) })
        })
        .collect();
    params.sort_by(|(_, a), (_, b)| b.share.total_cmp(&a.share));
    let first: Vec<usize> = params.iter().take(PAIRED).map(|(d, _)| *d).collect();
    let wanted: Vec<(usize, usize)> = first.iter().enumerate().flat_map(|(i, a)| first.iter().skip(i + 1).map(|b| (*a, *b))).collect();
    let shares = model.forest.shares(&wanted);
    let mut pairs: Vec<Share> = wanted
        .iter()
        .enumerate()
        .map(|(p, (a, b))| {
            let (share, interval) = spread(&shares, |s| s.pairs.get(p).copied().unwrap_or(0.0));
            Share { params: vec![name(*a), name(*b)], share, interval, best: None }
        })
        .collect();
    pairs.sort_by(|a, b| b.share.total_cmp(&a.share));
    Ok(Importance {
        sweep: Arc::clone(&table.sweep),
        metric: table.metric_name().to_owned(),
        results: rows.len(),
        pruned_left_out: if with_pruned { 0 } else { pruned },
        fit: model.forest.fit,
        warnings: warnings(table, rows.len(), model.forest.fit, pruned, with_pruned),
        params: params.into_iter().map(|(_, s)| s).collect(),
        pairs,
    })
}

fn spread(shares: &[Shares], of: impl Fn(&Shares) -> f64) -> (f64, (f64, f64)) {
    let mut all: Vec<f64> = shares.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all.get(index(share, all.len())).copied().unwrap_or(0.0);
    (all.iter().sum::<f64>() / count(all.len().max(1)), (at(0.025), at(0.975)))
}

/// The best of the values that were tried (of 33 places where there were more) in the mean over all others.
fn best(model: &Model, table: &Table, d: usize) -> Option<String> {
    let axis = table.axes.get(*model.axes.get(d)?)?;
    let sign = if table.maximizes() { -1.0 } else { 1.0 };
    let at = table.rows.iter().filter_map(|r| r.at.get(*model.axes.get(d)?).copied()).filter(|a| !a.is_nan());
    let mut places: Vec<f64> = at.collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    if places.len() > 33 {
        places = (0..33_usize).map(|i| (count(i) + 0.5) / 33.0).collect();
    }
    let found = places.into_iter().map(|at| (model.forest.marginal(&[(d, at)]) * sign, at)).min_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(axis.show(found.1))
}

fn warnings(table: &Table, results: usize, fit: f64, pruned: usize, with_pruned: bool) -> Vec<String> {
    let mut all = Vec::new();
    let wanted = 10 * table.axes.len().max(3);
    if results < wanted {
        all.push(format!(
            "{results} results for {} params are few: below about {wanted} the order may change with the next trials",
            table.axes.len()
        ));
    }
    if fit < 0.3 {
        let percent = (fit * 100.0).max(0.0);
        all.push(format!("the forest predicts {percent:.0}% of the variance of trials that it has not seen: the metric is mostly noise to it, and so are these figures"));
    }
    if pruned > 0 && !with_pruned {
        all.push(format!("{pruned} pruned trials are left out: what was bad early is rare here, and matters less than it did; --with-pruned counts their last values"));
    }
    all
}
