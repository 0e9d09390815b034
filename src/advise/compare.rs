//! Configurations and finished runs side by side: cost, time, metric, which of them nothing beats, and what the next bit of metric costs.
//!
//! In: candidates, measured or estimated. Out: [`Compared`]. Must never rank what has no metric against what has one, nor hold money as a float.
//!
//! On the front is what no other beats in cost, time and metric at once (Pareto, 1906). The marginal price is between neighbours of the front in
//! cost and metric alone: what one more unit of the metric costs on the way from one to the next.

use serde::Serialize;

use crate::base::{Millis, Money};
use crate::record::Goal;

/// One thing to compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// As it was named.
    pub name: String,
    /// Runs that it has.
    pub runs: usize,
    /// True when it ran, false when it is estimated.
    pub measured: bool,
    /// What it cost, or is expected to; none is unpriced.
    pub cost: Option<Money>,
    /// 95% interval, where it is estimated from history.
    pub interval: Option<(Money, Money)>,
    /// From its first start to its last end, in milliseconds.
    #[serde(rename = "time_ms")]
    pub time: Option<Millis>,
    /// Its best value of the metric; none where none was reported, or only values that are no number.
    pub metric: Option<f64>,
    /// Where the metric is from, or why there is none.
    pub source: String,
}

/// A candidate with its standing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The candidate.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Nothing beats it in all that is known of it.
    pub front: bool,
    /// What beats it, by name.
    pub beaten_by: Option<String>,
    /// Dollars for one more unit of the metric, from the cheaper neighbour on the front to this.
    pub marginal: Option<Money>,
}

/// The comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Name of the metric, where the candidates have one.
    pub metric: Option<String>,
    /// Which way is better.
    pub goal: Goal,
    /// In the order given.
    pub rows: Vec<Row>,
}

/// True when `a` is at least as good in everything and better in something. What is unknown of either is not compared, but what has a metric
/// is only beaten by what has one.
fn beats(a: &Candidate, b: &Candidate, goal: Goal) -> bool {
    let (Some(a_cost), Some(b_cost)) = (a.cost, b.cost) else { return false };
    if b.metric.is_some() && a.metric.is_none() || b.time.is_some() && a.time.is_none() {
        return false;
    }
    let mut better = a_cost < b_cost;
    let mut worse = a_cost > b_cost;
    if let (Some(x), Some(y)) = (a.time, b.time) {
        (better, worse) = (better || x < y, worse || x > y);
    }
    if let (Some(x), Some(y)) = (a.metric, b.metric) {
        let (x, y) = if goal == Goal::Minimize { (x, y) } else { (-x, -y) };
        (better, worse) = (better || x < y, worse || x > y);
    }
    better && !worse
}

/// Compares.
#[must_use]
pub fn compare(candidates: Vec<Candidate>, metric: Option<String>, goal: Goal) -> Compared {
    let any_metric = candidates.iter().any(|c| c.metric.is_some());
    let beaten: Vec<Option<String>> =
        candidates.iter().map(|b| candidates.iter().find(|a| beats(a, b, goal)).map(|a| a.name.clone())).collect();
    let marginal = marginal(&candidates, goal);
    let rows = candidates.into_iter().zip(beaten).zip(marginal).map(|((candidate, beaten_by), marginal)| {
        // Of what has no metric, where others have one, nobody knows.
        let known = candidate.cost.is_some() && (candidate.metric.is_some() || !any_metric);
        Row { front: known && beaten_by.is_none(), beaten_by, marginal, candidate }
    });
    Compared { metric, goal, rows: rows.collect() }
}

/// Dollars per unit of metric between neighbours, cheapest first, each better than all cheaper ones.
fn marginal(all: &[Candidate], goal: Goal) -> Vec<Option<Money>> {
    let mut known: Vec<(usize, Money, f64)> = all
        .iter()
        .enumerate()
        .filter_map(|(i, c)| Some((i, c.cost?, if goal == Goal::Minimize { c.metric? } else { -c.metric? })))
        .collect();
    known.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)));
    let mut found = vec![None; all.len()];
    let mut last: Option<(Money, f64)> = None;
    for (i, cost, value) in known {
        if let Some((before, best)) = last {
            if value >= best {
                continue;
            }
            // In millionths of the metric's unit, so that money stays whole.
            let gain = ((best - value) * 1e6).round();
            if gain >= 1.0
                && let Some(place) = found.get_mut(i)
            {
                *place = Some((cost - before).scale(1_000_000, gain as u64));
            }
        }
        last = Some((cost, value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, cost: Option<i64>, seconds: u64, metric: Option<f64>) -> Candidate {
        Candidate {
            name: name.to_owned(),
            runs: 1,
            measured: true,
            cost: cost.map(Money::from_micros),
            interval: None,
            time: Some(Millis::from_secs(seconds)),
            metric,
            source: String::new(),
        }
    }

    fn shown(found: &Compared) -> Vec<(&str, bool, Option<&str>, Option<i64>)> {
        found.rows.iter().map(|r| (r.candidate.name.as_str(), r.front, r.beaten_by.as_deref(), r.marginal.map(Money::micros))).collect()
    }

    #[test]
    fn what_nothing_beats_is_on_the_front_and_the_next_bit_has_a_price() {
        let all = vec![
            candidate("cheap", Some(1_000_000), 60, Some(0.90)),
            candidate("worse", Some(1_500_000), 60, Some(0.90)),
            candidate("good", Some(3_000_000), 90, Some(0.95)),
            candidate("fast", Some(4_000_000), 10, Some(0.90)),
            candidate("unknown", Some(500_000), 5, None),
            candidate("unpriced", None, 5, Some(0.99)),
        ];
        let found = compare(all, Some("accuracy".to_owned()), Goal::Maximize);
        assert_eq!(
            shown(&found),
            [
                ("cheap", true, None, None),
                ("worse", false, Some("cheap"), None),
                // Two dollars for five hundredths.
                ("good", true, None, Some(40_000_000)),
                ("fast", true, None, None),
                ("unknown", false, None, None),
                ("unpriced", false, None, None),
            ]
        );
    }

    #[test]
    fn without_a_metric_cost_and_time_decide() {
        let found = compare(
            vec![candidate("a", Some(1), 60, None), candidate("b", Some(2), 30, None), candidate("c", Some(3), 90, None)],
            None,
            Goal::Minimize,
        );
        assert_eq!(shown(&found), [("a", true, None, None), ("b", true, None, None), ("c", false, Some("a"), None)]);
    }

    #[test]
    fn equal_ones_beat_each_other_not() {
        let found = compare(vec![candidate("a", Some(1), 60, Some(0.5)), candidate("b", Some(1), 60, Some(0.5))], None, Goal::Minimize);
        assert!(found.rows.iter().all(|r| r.front && r.marginal.is_none()));
    }
}
