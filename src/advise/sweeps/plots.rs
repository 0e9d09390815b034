//! Pictures of a sweep: history, parallel coordinates, slices, contour, learning curves, importance, comparison.
//!
//! In: tables and answers. Out: SVG. Must never show a trial that was ended early as a result: it fades, and its line is dashed.

use super::compare::Comparison;
use super::importance::{Importance, model};
use super::table::{Axis, Kind, Row, Table, ceiling, count};
use crate::advise::chart::panel::{self, Curve, Thing};
use crate::advise::chart::{self, Across, Chart, Mark, Unit, ticks};
use crate::record::RunStatus;

/// Most trials in one picture; of more, the best and a spread of the others.
const MOST: usize = 1_500;
/// Cells of a contour, each way.
const CELLS: usize = 24;

/// Words along an axis.
fn axis(axis: &Axis, wanted: usize) -> panel::Axis {
    let at = |value: f64| axis.place(Some(&value.into()));
    let made = match &axis.kind {
        Kind::Words(words) => words.iter().enumerate().map(|(i, w)| ((count(i) + 0.5) / count(words.len()), w.clone())).collect(),
        Kind::Numbers { log: false, low, high } => ticks(*low, *high, wanted).into_iter().map(|v| (at(v), Unit::Number.show(v))).collect(),
        Kind::Numbers { log: true, low, high } => {
            let powers = |steps: &[f64]| -> Vec<f64> {
                let range = (-300..300).map(|p| 10_f64.powi(p)).flat_map(|p| steps.iter().map(move |s| p * s));
                range.filter(|v| *v >= low * 0.999 && *v <= high * 1.001).collect()
            };
            let all = [powers(&[1.0]), powers(&[1.0, 3.0]), powers(&[1.0, 2.0, 5.0])];
            let chosen = all.iter().find(|a| a.len() >= 3).or(all.last()).cloned().unwrap_or_default();
            let every = chosen.len().div_ceil(wanted + 2).max(1);
            chosen.into_iter().step_by(every).map(|v| (at(v), Unit::Number.show(v))).collect()
        }
    };
    panel::Axis { name: axis.name.to_string(), ticks: made }
}

/// The axis of a param. One that has whole numbers alone has no others at its ticks.
fn param(table: &Table, a: &Axis, wanted: usize) -> panel::Axis {
    let values = || table.rows.iter().filter_map(|r| r.trial.params.iter().find(|(n, _)| *n == a.name)).map(|(_, v)| v);
    let mut made = axis(a, wanted);
    if let Kind::Numbers { low, high, .. } = a.kind
        && values().all(|v| v.is_i64() || v.is_null())
    {
        made.ticks.retain(|(_, text)| !text.contains('.') || text.contains('e'));
        if made.ticks.len() < 2 {
            made.ticks = [low, high].into_iter().map(|v| (a.place(Some(&v.into())), Unit::Number.show(v))).collect();
        }
    }
    made
}

/// The metric as an axis: values far out on the bad side lie on its edge.
fn metric(table: &Table) -> Axis {
    let sign = if table.maximizes() { -1.0 } else { 1.0 };
    let costs: Vec<f64> = table.rows.iter().filter_map(|r| r.trial.value).map(|v| v * sign).collect();
    let (low, high) = chart::range(&[costs.iter().copied().fold(f64::INFINITY, f64::min), ceiling(&costs)]);
    let (low, high) = if sign > 0.0 { (low, high) } else { (-high, -low) };
    Axis { name: table.metric_name().into(), kind: Kind::Numbers { log: false, low, high } }
}

fn label(table: &Table, row: &Row) -> String {
    let params: Vec<String> = row.trial.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let value =
        row.trial.value.map_or_else(|| row.trial.status.word().to_owned(), |v| format!("{} {}", table.metric_name(), Unit::Number.show(v)));
    format!("{}: {value}, {}", row.trial.address, params.join(" "))
}

/// The rows that are drawn, with their badness.
fn drawn(table: &Table) -> Vec<(&Row, f64)> {
    let mut all: Vec<(&Row, f64)> = table.rows.iter().zip(table.badness()).filter(|(r, _)| r.trial.value.is_some()).collect();
    // What was ended early or failed is no result.
    all.iter_mut().filter(|(r, _)| !r.counts()).for_each(|(_, bad)| *bad = f64::NAN);
    if all.len() > MOST {
        all.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let (best, rest) = all.split_at(MOST / 3);
        let every = rest.len().div_ceil(MOST - best.len()).max(1);
        let rest: Vec<_> = rest.iter().step_by(every).copied().collect();
        return best.iter().copied().chain(rest).collect();
    }
    all
}

fn note(table: &Table) -> String {
    let results = table.rows.iter().filter(|r| r.counts()).count();
    let ended = table.rows.iter().filter(|r| r.trial.status == RunStatus::Pruned).count();
    let faded = if ended > 0 { format!("; {ended} ended early, in grey") } else { String::new() };
    format!("{results} results, the best in blue{faded}")
}

/// A line a trial through all params and the metric.
#[must_use]
pub fn parallel(table: &Table) -> String {
    let value = metric(table);
    let mut axes: Vec<panel::Axis> = table.axes.iter().map(|a| param(table, a, 6)).collect();
    axes.push(axis(&value, 6));
    let thing = |(row, bad): (&Row, f64)| Thing {
        at: row.at.iter().copied().chain([value.place(row.trial.value.map(Into::into).as_ref())]).collect(),
        bad,
        label: label(table, row),
    };
    let things: Vec<Thing> = drawn(table).into_iter().map(thing).collect();
    panel::parallel(&format!("Params of {}", table.sweep), &note(table), &axes, &things)
}

/// The metric against each param.
#[must_use]
pub fn slices(table: &Table) -> String {
    let value = metric(table);
    let rows = drawn(table);
    let one = |(d, a): (usize, &Axis)| {
        let thing = |(row, bad): &(&Row, f64)| Thing {
            at: vec![row.at.get(d).copied().unwrap_or(f64::NAN), value.place(row.trial.value.map(Into::into).as_ref())],
            bad: *bad,
            label: label(table, row),
        };
        (param(table, a, 4), rows.iter().map(thing).collect::<Vec<_>>())
    };
    let panels: Vec<(panel::Axis, Vec<Thing>)> = table.axes.iter().enumerate().map(one).collect();
    panel::slices(&format!("{} of {} by param", table.metric_name(), table.sweep), &note(table), &axis(&value, 5), &panels)
}

/// What a forest thinks over two params, in the mean over all others.
///
/// # Errors
/// Why that cannot be drawn, and what would help.
pub fn contour(table: &Table, pair: Option<(&str, &str)>) -> Result<String, (String, String)> {
    let known = || table.axes.iter().map(|a| &*a.name).collect::<Vec<_>>().join(", ");
    let model = model(table, false).ok_or_else(|| {
        let words = format!("{} has too few results for a contour (at least {} that differ)", table.sweep, super::importance::FEWEST);
        (words, "run more trials".to_owned())
    })?;
    let find = |name: &str| {
        let at = model.axes.iter().position(|a| table.axes.get(*a).is_some_and(|x| &*x.name == name));
        at.ok_or_else(|| {
            (format!("no param `{}` varies in {}", crate::base::text::escape(name), table.sweep), format!("name two of {}", known()))
        })
    };
    let (x, y) = match pair {
        Some((a, b)) => (find(a)?, find(b)?),
        None => {
            let order = super::importance::importance(table, false).map_err(|(w, h)| (w, h.to_owned()))?;
            let mut names = order.params.iter().filter_map(|s| s.params.first());
            match (names.next(), names.next()) {
                (Some(a), Some(b)) => (find(a)?, find(b)?),
                _ => {
                    return Err((format!("{} has one param that varies, and a contour needs two", table.sweep), "see `slices`".to_owned()));
                }
            }
        }
    };
    let of = |d: usize| model.axes.get(d).and_then(|a| table.axes.get(*a));
    let (Some(across), Some(up)) = (of(x), of(y)) else { return Err(("no such param".to_owned(), known())) };
    let steps = |a: &Axis| if let Kind::Words(words) = &a.kind { words.len() } else { CELLS };
    let (wide, tall) = (steps(across), steps(up));
    let at = |i: usize, n: usize| (count(i) + 0.5) / count(n);
    let values: Vec<Vec<f64>> =
        (0..tall).map(|j| (0..wide).map(|i| model.forest.marginal(&[(x, at(i, wide)), (y, at(j, tall))])).collect()).collect();
    let (low, high) = chart::range(&values.iter().flatten().copied().collect::<Vec<_>>());
    let (good, bad) = if table.maximizes() { (high, low) } else { (low, high) };
    let cells: Vec<Vec<f64>> = values.iter().map(|r| r.iter().map(|v| (v - good) / (bad - good)).collect()).collect();
    let place = |row: &Row, d: usize| model.axes.get(d).and_then(|a| row.at.get(*a)).copied().unwrap_or(f64::NAN);
    let things: Vec<Thing> = drawn(table)
        .into_iter()
        .filter(|(row, _)| row.counts())
        .map(|(row, bad)| Thing { at: vec![place(row, x), place(row, y)], bad, label: label(table, row) })
        .collect();
    let title = format!("{} over {} and {}", table.metric_name(), across.name, up.name);
    let fit = (model.forest.fit.max(0.0) * 100.0).round();
    let note = format!("a forest's mean over all other params, from {} results; it explains {fit}% of what it has not seen", things.len());
    let ends = (Unit::Number.show(good), Unit::Number.show(bad));
    Ok(panel::heat(&title, &note, (&param(table, across, 5), &param(table, up, 6)), &cells, &things, (&ends.0, &ends.1)))
}

/// The metric by step, a line a trial.
#[must_use]
pub fn curves(table: &Table) -> String {
    let sign = if table.maximizes() { -1.0 } else { 1.0 };
    let all: Vec<f64> = table.rows.iter().flat_map(|r| r.curve.iter().map(|(_, v)| v * sign)).filter(|v| v.is_finite()).collect();
    let (low, high) = chart::range(&[all.iter().copied().fold(f64::INFINITY, f64::min), ceiling(&all)]);
    let (low, high) = if sign > 0.0 { (low, high) } else { (-high, -low) };
    let up = Axis { name: table.metric_name().into(), kind: Kind::Numbers { log: false, low, high } };
    let steps: Vec<f64> = table.rows.iter().flat_map(|r| r.curve.iter().map(|(s, _)| step(*s))).collect();
    let (from, to) = chart::range(&steps);
    let across = Axis { name: "step".into(), kind: Kind::Numbers { log: false, low: from, high: to } };
    let badness = table.badness();
    let lines: Vec<Curve> = table
        .rows
        .iter()
        .zip(badness)
        .filter(|(r, _)| !r.curve.is_empty())
        .map(|(r, bad)| Curve {
            points: r
                .curve
                .iter()
                .map(|(s, v)| (across.place(Some(&step(*s).into())), up.place(Some(&(*v).into()))))
                .filter(|(_, y)| !y.is_nan())
                .collect(),
            bad: if r.counts() { bad } else { f64::NAN },
            ended: r.trial.status == RunStatus::Pruned,
            label: label(table, r),
        })
        .collect();
    let ended = lines.iter().filter(|l| l.ended).count();
    let words = if ended > 0 { format!(", {ended} of them ended early (dashed)") } else { String::new() };
    let shown = format!("{} trials{words}; the best in blue", lines.len());
    panel::curves(&format!("{} of {} by step", table.metric_name(), table.sweep), &shown, &axis(&across, 8), &axis(&up, 5), &lines)
}

#[expect(clippy::cast_precision_loss, reason = "a place on a page")]
fn step(step: i64) -> f64 {
    step as f64
}

/// The shares of params and pairs as bars.
#[must_use]
pub fn importance(answer: &Importance) -> String {
    let row = |s: &super::importance::Share| chart::Row {
        name: s.params.iter().map(|p| &**p).collect::<Vec<_>>().join(" with "),
        parts: vec![s.share * 100.0],
    };
    let rows: Vec<chart::Row> = answer.params.iter().chain(answer.pairs.iter().filter(|p| p.share >= 0.01)).map(row).collect();
    let note = format!("share of the variance of {}, from {} results", answer.metric, answer.results);
    chart::ranking(&format!("What matters in {}", answer.sweep), &note, &["share"], &rows, Unit::Percent)
}

/// The best value of both sides against cost, or against results where nothing has a price.
#[must_use]
pub fn comparison(answer: &Comparison) -> String {
    let ways = || [&answer.sides.0, &answer.sides.1].into_iter().flat_map(|s| &s.ways);
    let priced = ways().all(|w| !w.unpriced);
    let at =
        |s: &super::compare::Step| if priced { f64::from(i32::try_from(s.cost.micros()).unwrap_or(i32::MAX)) } else { count(s.results) };
    let line = |w: &super::compare::Way| Mark::Line {
        name: w.sweep.to_string(),
        points: w.steps.iter().map(|s| (at(s), s.best)).collect(),
        dashed: false,
        steps: true,
    };
    Chart {
        title: format!("Best {} so far", answer.metric),
        note: if priced { "against what the trials cost".to_owned() } else { "against results; not all trials have a price".to_owned() },
        across: Across::Values(if priced { Unit::Money } else { Unit::Number }),
        across_label: if priced { "cost of the trials that had ended".into() } else { "results".into() },
        up: Unit::Number,
        marks: ways().map(line).collect(),
    }
    .svg()
}
