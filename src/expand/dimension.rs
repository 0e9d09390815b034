//! One dimension of a search space: read from its declaration, counted, enumerated and drawn from.
//!
//! In: a declaration with its templates filled in. Out: a [`Distribution`] whose bounds are sound, its values. Must never take an
//! exponent for a bound.

use std::sync::Arc;

use serde_json::Value;

use crate::base::suggest;
use crate::record::Distribution;

const DISTRIBUTIONS: [&str; 7] = ["uniform", "log_uniform", "int_uniform", "int_log_uniform", "quantized_uniform", "normal", "log_normal"];

/// A parameter as declared, templates filled in.
pub(super) struct Raw<'a> {
    pub distribution: Option<&'a str>,
    pub values: Option<Value>,
    pub weights: Option<Value>,
    pub ordered: bool,
    pub value: Option<Value>,
    pub min: Option<Value>,
    pub max: Option<Value>,
    pub step: Option<Value>,
    pub mean: Option<Value>,
    pub std: Option<Value>,
}

type Problem = (String, String);

fn problem(words: impl Into<String>, hint: impl Into<String>) -> Problem {
    (words.into(), hint.into())
}

impl Distribution {
    /// Checks a declaration.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(super) fn build(raw: Raw<'_>) -> Result<Self, Problem> {
        if let Some(value) = raw.value {
            return Ok(Self::Values { values: vec![value], weights: Vec::new(), ordered: false });
        }
        if let Some(values) = &raw.values {
            if raw.min.is_some() || raw.max.is_some() {
                return Err(problem("a parameter has either `values` or bounds, not both", "remove `values`, or `min` and `max`"));
            }
            return Self::choice(values, raw.weights.as_ref(), raw.ordered);
        }
        let whole = |v: &Option<Value>| v.as_ref().is_none_or(|v| v.as_i64().is_some());
        let by_bounds = match (whole(&raw.min) && whole(&raw.max) && whole(&raw.step), &raw.step) {
            (true, _) => "int_uniform",
            (false, Some(_)) => "quantized_uniform",
            (false, None) => "uniform",
        };
        let distribution = raw.distribution.unwrap_or(by_bounds);
        match distribution {
            "normal" | "log_normal" => Self::normal(&raw, distribution == "log_normal"),
            "int_uniform" | "int_log_uniform" => Self::int(&raw, distribution == "int_log_uniform"),
            "uniform" | "log_uniform" | "quantized_uniform" => Self::float(&raw, distribution),
            other => {
                let hint = suggest::hint(other, DISTRIBUTIONS).unwrap_or_default();
                Err(problem(format!("unknown distribution `{}`", crate::base::text::escape(other)), hint))
            }
        }
    }

    fn choice(values: &Value, weights: Option<&Value>, ordered: bool) -> Result<Self, Problem> {
        let list = values.as_array().filter(|l| !l.is_empty());
        let list = list.ok_or_else(|| problem("`values` must be a list with at least one value", "write `values: [a, b]`"))?;
        if let Some(twice) = twice(list) {
            let words = format!("the value `{}` stands twice in `values`", crate::base::text::escape(&twice));
            return Err(problem(words, "write it once, with `weights` if it shall be more likely"));
        }
        let Some(weights) = weights else { return Ok(Self::Values { values: list.clone(), weights: Vec::new(), ordered }) };
        let weights: Vec<f64> = weights.as_array().map(|w| w.iter().filter_map(Value::as_f64).collect()).unwrap_or_default();
        if weights.len() != list.len() || weights.iter().any(|w| !w.is_finite() || *w < 0.0) || weights.iter().sum::<f64>() <= 0.0 {
            return Err(problem(
                "`weights` must be as many numbers from 0 up as there are `values`, and not all 0",
                "write `weights: [3, 1]`",
            ));
        }
        Ok(Self::Values { values: list.clone(), weights, ordered })
    }

    fn float(raw: &Raw<'_>, distribution: &str) -> Result<Self, Problem> {
        let (min, max) = (bound(&raw.min, "min")?, bound(&raw.max, "max")?);
        let log = distribution == "log_uniform";
        ordered(min, max, log)?;
        let step = raw
            .step
            .as_ref()
            .map(|s| {
                s.as_f64()
                    .filter(|s| *s > 0.0 && s.is_finite())
                    .ok_or_else(|| problem("`step` must be a number above 0", "write `step: 0.1`"))
            })
            .transpose()?;
        if distribution == "quantized_uniform" && step.is_none() {
            return Err(problem("`quantized_uniform` needs `step`", "write `step: 0.1`"));
        }
        if log && step.is_some() {
            return Err(problem("`log_uniform` has no `step`", "remove `step`, or use `quantized_uniform`"));
        }
        Ok(match step {
            _ if log => Self::LogUniform { min, max },
            Some(step) => Self::QuantizedUniform { min, max, step },
            None => Self::Uniform { min, max },
        })
    }

    fn int(raw: &Raw<'_>, log: bool) -> Result<Self, Problem> {
        let int = |v: &Option<Value>, name: &str| {
            v.as_ref()
                .and_then(Value::as_i64)
                .ok_or_else(|| problem(format!("`{name}` must be a whole number"), format!("write `{name}: 1`, or use `uniform`")))
        };
        let (min, max) = (int(&raw.min, "min")?, int(&raw.max, "max")?);
        #[expect(clippy::cast_precision_loss, reason = "only compared")]
        ordered(min as f64, max as f64, log)?;
        let step = raw.step.as_ref().map_or(Ok(1), |s| {
            s.as_i64().filter(|s| *s > 0).ok_or_else(|| problem("`step` must be a whole number above 0", "write `step: 1`"))
        })?;
        Ok(if log { Self::IntLogUniform { min, max, step } } else { Self::IntUniform { min, max, step } })
    }

    fn normal(raw: &Raw<'_>, log: bool) -> Result<Self, Problem> {
        let (mean, std) = (bound(&raw.mean, "mean")?, bound(&raw.std, "std")?);
        if std <= 0.0 {
            return Err(problem("`std` must be above 0", "write `std: 1.0`"));
        }
        Ok(if log { Self::LogNormal { mean, std } } else { Self::Normal { mean, std } })
    }

    /// How many values there are; none when the range is continuous.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are positive and saturate")]
    pub fn cardinality(&self) -> Option<u128> {
        match self {
            Self::Values { values, .. } => Some(values.len() as u128),
            Self::IntUniform { min, max, step } | Self::IntLogUniform { min, max, step } => {
                Some(u128::try_from((i128::from(*max) - i128::from(*min)) / i128::from(*step)).unwrap_or(0) + 1)
            }
            Self::QuantizedUniform { min, max, step } => Some(((max - min) / step + 1e-9).floor() as u128 + 1),
            Self::Uniform { min, max } | Self::LogUniform { min, max } if min == max => Some(1),
            Self::Tied { .. } => Some(1),
            Self::Uniform { .. } | Self::LogUniform { .. } | Self::Normal { .. } | Self::LogNormal { .. } => None,
        }
    }

    /// Value number `i` of those that [`Distribution::cardinality`] counts.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 values")]
    pub fn nth(&self, i: u64) -> Value {
        match self {
            Self::Values { values, .. } => usize::try_from(i).ok().and_then(|i| values.get(i)).cloned().unwrap_or(Value::Null),
            Self::IntUniform { min, step, .. } | Self::IntLogUniform { min, step, .. } => {
                min.saturating_add(step.saturating_mul(i64::try_from(i).unwrap_or(i64::MAX))).into()
            }
            Self::QuantizedUniform { min, max, step } => clean(min + step * i as f64).min(*max).into(),
            Self::Uniform { min, .. } | Self::LogUniform { min, .. } => (*min).into(),
            Self::Normal { .. } | Self::LogNormal { .. } | Self::Tied { .. } => Value::Null,
        }
    }

    /// True when the parameter may have this value.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        let on_raster = |x: f64, min: f64, step: f64| (((x - min) / step).round() * step + min - x).abs() <= 1e-9 * step.max(x.abs());
        match (self, value.as_f64()) {
            (Self::Values { values, .. }, _) => values.iter().any(|v| same(v, value)),
            (Self::Tied { .. }, _) => true,
            (_, None) => false,
            (Self::Normal { .. }, Some(_)) => true,
            (Self::LogNormal { .. }, Some(x)) => x > 0.0,
            (Self::Uniform { min, max } | Self::LogUniform { min, max }, Some(x)) => *min <= x && x <= *max,
            (Self::QuantizedUniform { min, max, step }, Some(x)) => *min <= x && x <= *max && on_raster(x, *min, *step),
            (Self::IntUniform { min, max, step } | Self::IntLogUniform { min, max, step }, Some(_)) => {
                value.as_i64().is_some_and(|n| *min <= n && n <= *max && (i128::from(n) - i128::from(*min)) % i128::from(*step) == 0)
            }
        }
    }

    /// The value at a place of the unit interval: the distribution's quantile. Normal values by [`normal_quantile`].
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by the dimension's own bounds"
    )]
    pub fn at(&self, u: f64) -> Value {
        match self {
            Self::Values { values, weights, .. } => {
                let total: f64 = weights.iter().sum();
                let mut sum = 0.0;
                let weighted = weights.iter().position(|w| {
                    sum += w / total;
                    u < sum
                });
                // Rounding may leave the sum just below 1: the last value that has weight.
                let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or(values.len().saturating_sub(1));
                let even = ((u * values.len() as f64) as usize).min(values.len().saturating_sub(1));
                let i = if weights.is_empty() { even } else { weighted.unwrap_or(last) };
                values.get(i).cloned().unwrap_or(Value::Null)
            }
            Self::QuantizedUniform { .. } | Self::IntUniform { .. } => {
                let count = self.cardinality().unwrap_or(1);
                self.nth(((u * count as f64) as u64).min(u64::try_from(count - 1).unwrap_or(u64::MAX)))
            }
            Self::Uniform { min, max } => (min + (max - min) * u).clamp(*min, *max).into(),
            Self::LogUniform { min, max } => (min.ln() + (max.ln() - min.ln()) * u).exp().clamp(*min, *max).into(),
            Self::IntLogUniform { min, max, step } => {
                // Each whole number gets the stretch half a step to both sides, so that the ends are not drawn too rarely.
                let half = *step as f64 / 2.0;
                let (low, high) = ((*min as f64 - half).max(0.5).ln(), (*max as f64 + half).ln());
                let x = (low + (high - low) * u).exp();
                let n = ((x - *min as f64) / *step as f64).round() as i64;
                let last = (max - min) / step;
                min.saturating_add(n.clamp(0, last).saturating_mul(*step)).into()
            }
            Self::Normal { mean, std } => (mean + std * normal_quantile(u)).into(),
            Self::LogNormal { mean, std } => (mean + std * normal_quantile(u)).exp().into(),
            Self::Tied { .. } => Value::Null,
        }
    }

    /// Draws one value.
    pub fn draw(&self, bits: &mut Bits) -> Value {
        let u = bits.unit();
        match self {
            Self::Normal { mean, std } | Self::LogNormal { mean, std } => {
                let z = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * bits.unit()).cos();
                let x = mean + std * z;
                (if matches!(self, Self::LogNormal { .. }) { x.exp() } else { x }).into()
            }
            _ => self.at(u),
        }
    }
}

/// Equal values; `1` and `1.0` are the same number.
#[must_use]
pub fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

/// Quantile of the standard normal distribution: Acklam's rational approximation (2003), relative error below 1.2e-9.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -39.696_830_286_653_76,
        220.946_098_424_520_5,
        -275.928_510_446_968_7,
        138.357_751_867_269,
        -30.664_798_066_147_16,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] =
        [-54.476_098_798_224_06, 161.585_836_858_040_9, -155.698_979_859_886_6, 66.801_311_887_719_72, -13.280_681_552_885_72];
    const C: [f64; 6] = [
        -0.007_784_894_002_430_293,
        -0.322_396_458_041_136_5,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] = [0.007_784_695_709_041_462, 0.322_467_129_070_039_8, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let poly = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, k| sum * x + k);
    let p = p.clamp(1e-300, 1.0 - 1e-16);
    let tail = |q: f64| poly(&C, q) / (poly(&D, q) * q + 1.0);
    if p < 0.024_25 {
        tail((-2.0 * p.ln()).sqrt())
    } else if p > 1.0 - 0.024_25 {
        -tail((-2.0 * (1.0 - p).ln()).sqrt())
    } else {
        let (q, r) = (p - 0.5, (p - 0.5) * (p - 0.5));
        poly(&A, r) * q / (poly(&B, r) * r + 1.0)
    }
}

/// The first value that stands twice.
fn twice(list: &[Value]) -> Option<String> {
    let mut seen = rustc_hash::FxHashSet::default();
    list.iter().map(ToString::to_string).find(|v| !seen.insert(v.clone()))
}

/// Removes the dust of binary fractions: 0.30000000000000004 is 0.3.
fn clean(x: f64) -> f64 {
    format!("{x:.12e}").parse().unwrap_or(x)
}

fn bound(value: &Option<Value>, name: &str) -> Result<f64, Problem> {
    match value.as_ref().map(|v| (v, v.as_f64())) {
        Some((_, Some(x))) if x.is_finite() => Ok(x),
        Some((v, _)) => Err(problem(
            format!("`{name}` must be a finite number, not `{}`", crate::base::text::escape(&v.to_string())),
            format!("write `{name}: 0.1`"),
        )),
        None => Err(problem(format!("the parameter needs `{name}`"), "give `values`, `value`, or `min` and `max`".to_owned())),
    }
}

fn ordered(min: f64, max: f64, log: bool) -> Result<(), Problem> {
    if min > max {
        return Err(problem(format!("`min` ({min}) is above `max` ({max})"), "swap them"));
    }
    if log && min <= 0.0 {
        let hint = if max <= 0.0 {
            "bounds are values, never exponents: write `min: 1e-5` for ten to the minus five"
        } else {
            "a logarithmic range begins above 0"
        };
        return Err(problem(format!("`min` ({min}) of a logarithmic distribution must be above 0"), hint));
    }
    Ok(())
}

/// Random bits of one parameter of one trial. BLAKE3 in its extendable-output mode.
pub struct Bits {
    reader: blake3::OutputReader,
    /// A block of the output, of which so many bytes were taken.
    block: [u8; BLOCK],
    taken: usize,
}

/// Bytes that BLAKE3 gives at a time.
const BLOCK: usize = 64;

impl Bits {
    /// Bits that depend on seed, trial, name and try alone.
    #[must_use]
    pub fn new(seed: u64, trial: u64, name: &str, again: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"oppen/v1 random").update(&seed.to_le_bytes()).update(&trial.to_le_bytes()).update(name.as_bytes());
        if again > 0 {
            hasher.update(&[0]).update(&again.to_le_bytes());
        }
        Self { reader: hasher.finalize_xof(), block: [0; BLOCK], taken: BLOCK }
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        if self.taken >= BLOCK {
            self.reader.fill(&mut self.block);
            self.taken = 0;
        }
        let word = self.block.get(self.taken..).and_then(|rest| rest.first_chunk::<8>());
        self.taken += 8;
        word.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Uniform in [0, 1), 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One value that follows from others.
#[must_use]
pub fn tied(expression: &str) -> Distribution {
    Distribution::Tied { value: Arc::from(expression) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_follow_the_quantiles_and_stay_inside() {
        let spaces = [
            Distribution::Uniform { min: -1.0, max: 3.0 },
            Distribution::LogUniform { min: 1e-5, max: 1e-1 },
            Distribution::QuantizedUniform { min: 0.0, max: 1.0, step: 0.3 },
            Distribution::IntUniform { min: -3, max: 8, step: 2 },
            Distribution::IntLogUniform { min: 1, max: 1024, step: 1 },
            Distribution::IntLogUniform { min: 8, max: 13, step: 4 },
            Distribution::Values { values: vec![json!("a"), json!(1), json!(null)], weights: vec![0.0, 1.0, 3.0], ordered: false },
        ];
        for dist in &spaces {
            for i in 0..=1000 {
                let value = dist.at(f64::from(i) / 1000.0);
                assert!(dist.holds(&value), "{dist:?} {value}");
            }
        }
        assert_eq!(spaces[2].at(1.0), json!(0.9));
        assert_eq!(spaces[6].at(0.0), json!(1), "a value without weight is never drawn");
        assert_eq!(spaces[4].at(1.0), json!(1024));
        assert!((Distribution::Normal { mean: 1.0, std: 2.0 }.at(0.975).as_f64().unwrap() - 4.919_927_97).abs() < 1e-6);
        assert!(!spaces[3].holds(&json!(0)) && spaces[3].holds(&json!(-1)) && !spaces[3].holds(&json!(0.5)));
    }
}
