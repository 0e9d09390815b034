//! The unit scale on which methods compare points: each dimension from 0 to 1 by its own distribution, choices by number.
//!
//! In: params. Out: places, and back. Must never leave the bounds of a dimension.

use crate::base::Value;
use crate::expand::dimension::same;
use crate::expand::domain::Domain;
use crate::record::{Distribution, Params};

/// A coordinate for each dimension; not a number where the dimension does not exist.
pub type Units = Vec<f64>;

/// One axis.
#[derive(Debug, Clone)]
struct Axis {
    name: std::sync::Arc<str>,
    dist: Distribution,
    /// Values of an unordered choice; 0 for numbers and ordered values.
    choices: usize,
    /// Width of one value of a raster; 0 when continuous.
    cell: f64,
}

/// The axes of a space.
#[derive(Debug, Clone)]
pub struct Scale {
    axes: Vec<Axis>,
}

impl Scale {
    /// The scale of a space.
    pub fn new(domain: &Domain) -> Self {
        let axis = |d: &crate::expand::domain::Dim| {
            let choices = match &d.dist {
                Distribution::Values { values, ordered: false, .. } => values.len(),
                _ => 0,
            };
            let cell = if choices > 0 { 0.0 } else { d.dist.cardinality().map_or(0.0, |n| 1.0 / big(n)) };
            Axis { name: std::sync::Arc::clone(&d.name), dist: d.dist.clone(), choices, cell }
        };
        Self { axes: domain.dims.iter().map(axis).collect() }
    }

    /// How many axes there are.
    pub fn len(&self) -> usize {
        self.axes.len()
    }

    /// Values of an unordered choice, 0 for another axis.
    pub fn choices(&self, d: usize) -> usize {
        self.axes.get(d).map_or(0, |a| a.choices)
    }

    /// Width of one value of a raster, 0 for another axis.
    pub fn cell(&self, d: usize) -> f64 {
        self.axes.get(d).map_or(0.0, |a| a.cell)
    }

    /// The place of a point. Values that the space does not have (any more) are no number.
    pub fn place(&self, params: &Params) -> Units {
        self.axes
            .iter()
            .enumerate()
            .map(|(d, axis)| {
                let found = params.get(d).filter(|(n, _)| *n == axis.name).or_else(|| params.iter().find(|(n, _)| *n == axis.name));
                found.map_or(f64::NAN, |(_, v)| axis.unit(v))
            })
            .collect()
    }

    /// The value at a coordinate.
    pub fn value(&self, d: usize, unit: f64) -> Value {
        let Some(axis) = self.axes.get(d) else { return Value::Null };
        match &axis.dist {
            Distribution::Values { values, ordered: false, .. } => values.get(whole(unit)).cloned().unwrap_or(Value::Null),
            Distribution::Values { values, .. } => {
                values.get(whole(unit * count(values.len())).min(values.len() - 1)).cloned().unwrap_or(Value::Null)
            }
            dist => dist.at(unit),
        }
    }

    /// The coordinate at a quantile of the prior.
    pub fn prior(&self, d: usize, u: f64) -> f64 {
        let Some(axis) = self.axes.get(d) else { return u };
        if axis.choices > 0 || matches!(axis.dist, Distribution::Values { .. }) { axis.unit(&axis.dist.at(u)) } else { self.snap(d, u) }
    }

    /// Another choice than this one, all alike.
    pub fn prior_except(&self, d: usize, not: f64, u: f64) -> f64 {
        let n = self.choices(d);
        let other = whole(u * count(n.saturating_sub(1)));
        count(if other >= whole(not) { (other + 1).min(n.saturating_sub(1)) } else { other })
    }

    /// The coordinate of a value, if the axis has it; numbers need not lie on its raster.
    pub fn unit(&self, d: usize, value: &Value) -> Option<f64> {
        self.axes.get(d).map(|axis| axis.unit(value)).filter(|u| u.is_finite())
    }

    /// The coordinate of the value that stands at this coordinate: the middle of its cell.
    pub fn snap(&self, d: usize, unit: f64) -> f64 {
        match self.axes.get(d) {
            Some(axis) if axis.cell > 0.0 => axis.unit(&self.value(d, unit)),
            _ => unit,
        }
    }
}

impl Axis {
    /// The coordinate of a value; not a number when the axis does not have it.
    #[expect(clippy::cast_precision_loss, reason = "bounds are compared on a scale")]
    fn unit(&self, value: &Value) -> f64 {
        let number = value.as_f64().filter(|x| x.is_finite()).unwrap_or(f64::NAN);
        let unit = match &self.dist {
            Distribution::Values { values, ordered, .. } => match values.iter().position(|v| same(v, value)) {
                Some(i) if *ordered => (count(i) + 0.5) / count(values.len()),
                Some(i) => return count(i),
                None => f64::NAN,
            },
            Distribution::Uniform { min, max } | Distribution::LogUniform { min, max } if min == max => 0.5,
            Distribution::Uniform { min, max } => (number - min) / (max - min),
            Distribution::LogUniform { min, max } => (number.ln() - min.ln()) / (max.ln() - min.ln()),
            Distribution::QuantizedUniform { min, step, .. } => ((number - min) / step + 0.5) * self.cell,
            Distribution::IntUniform { min, step, .. } => ((number - *min as f64) / *step as f64 + 0.5) * self.cell,
            Distribution::IntLogUniform { min, max, step } => {
                let half = *step as f64 / 2.0;
                let (low, high) = ((*min as f64 - half).max(0.5).ln(), (*max as f64 + half).ln());
                (number.ln() - low) / (high - low)
            }
            Distribution::Normal { mean, std } => quantile_of((number - mean) / std),
            Distribution::LogNormal { mean, std } => quantile_of((number.ln() - mean) / std),
            Distribution::Tied { .. } => f64::NAN,
        };
        if (-1e-9..=1.0 + 1e-9).contains(&unit) { unit.clamp(0.0, 1.0) } else { f64::NAN }
    }
}

/// The standard normal distribution function, kept off the ends so that it can be turned back.
fn quantile_of(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = 0.398_942_280_401_432_7 * (-0.5 * z * z).exp() * poly;
    (if z >= 0.0 { 1.0 - tail } else { tail }).clamp(1e-9, 1.0 - 1e-9)
}

#[expect(clippy::cast_precision_loss, reason = "counts of values")]
fn count(n: usize) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "only a width")]
fn big(n: u128) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "coordinates are from 0 up and saturate")]
fn whole(x: f64) -> usize {
    x as usize
}
