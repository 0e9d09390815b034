//! One dimension of a search space: which values there are, and how one is drawn.

use serde_json::Value;

use crate::base::suggest;

const DISTRIBUTIONS: [&str; 7] = ["uniform", "log_uniform", "int_uniform", "int_log_uniform", "quantized_uniform", "normal", "log_normal"];

/// A parameter as declared, templates filled in.
pub struct Raw<'a> {
    pub distribution: Option<&'a str>,
    pub values: Option<Value>,
    pub weights: Option<Value>,
    pub value: Option<Value>,
    pub min: Option<Value>,
    pub max: Option<Value>,
    pub step: Option<Value>,
    pub mean: Option<Value>,
    pub std: Option<Value>,
}

/// A dimension that can be drawn from.
#[derive(Debug, Clone, PartialEq)]
pub enum Dimension {
    /// One of these, with cumulated weights.
    Choice(Vec<Value>, Vec<f64>),
    /// Between two bounds, both included; logarithmic or not; on a raster when there is a step.
    Float { min: f64, max: f64, log: bool, step: Option<f64> },
    /// Whole numbers between two bounds, both included.
    Int { min: i64, max: i64, log: bool, step: i64 },
    /// Normal, or log-normal.
    Normal { mean: f64, std: f64, log: bool },
}

type Problem = (String, String);

fn problem(words: impl Into<String>, hint: impl Into<String>) -> Problem {
    (words.into(), hint.into())
}

impl Dimension {
    /// Checks a declaration.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn build(raw: Raw<'_>) -> Result<Self, Problem> {
        if let Some(value) = raw.value {
            return Ok(Self::Choice(vec![value], vec![1.0]));
        }
        if let Some(values) = &raw.values {
            if raw.min.is_some() || raw.max.is_some() {
                return Err(problem("a parameter has either `values` or bounds, not both", "remove `values`, or `min` and `max`"));
            }
            return Self::choice(values, raw.weights.as_ref());
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

    fn choice(values: &Value, weights: Option<&Value>) -> Result<Self, Problem> {
        let list = values.as_array().filter(|l| !l.is_empty());
        let list = list.ok_or_else(|| problem("`values` must be a list with at least one value", "write `values: [a, b]`"))?;
        let weights: Vec<f64> = match weights {
            None => vec![1.0; list.len()],
            Some(w) => w.as_array().map(|w| w.iter().filter_map(Value::as_f64).collect()).unwrap_or_default(),
        };
        if weights.len() != list.len() || weights.iter().any(|w| !w.is_finite() || *w < 0.0) || weights.iter().sum::<f64>() <= 0.0 {
            return Err(problem(
                "`weights` must be as many numbers from 0 up as there are `values`, and not all 0",
                "write `weights: [3, 1]`",
            ));
        }
        let total: f64 = weights.iter().sum();
        let cumulated = weights
            .iter()
            .scan(0.0, |sum, w| {
                *sum += w / total;
                Some(*sum)
            })
            .collect();
        Ok(Self::Choice(list.clone(), cumulated))
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
        Ok(Self::Float { min, max, log, step })
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
        Ok(Self::Int { min, max, log, step })
    }

    fn normal(raw: &Raw<'_>, log: bool) -> Result<Self, Problem> {
        let (mean, std) = (bound(&raw.mean, "mean")?, bound(&raw.std, "std")?);
        if std <= 0.0 {
            return Err(problem("`std` must be above 0", "write `std: 1.0`"));
        }
        Ok(Self::Normal { mean, std, log })
    }

    /// How many values there are; none when the range is continuous.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are positive and saturate")]
    pub fn cardinality(&self) -> Option<u128> {
        match self {
            Self::Choice(values, _) => Some(values.len() as u128),
            Self::Int { min, max, step, .. } => {
                Some(u128::try_from((i128::from(*max) - i128::from(*min)) / i128::from(*step)).unwrap_or(0) + 1)
            }
            Self::Float { min, max, step: Some(step), .. } => Some(((max - min) / step + 1e-9).floor() as u128 + 1),
            Self::Float { min, max, .. } if min == max => Some(1),
            Self::Float { .. } | Self::Normal { .. } => None,
        }
    }

    /// All values, where there is an end to them.
    #[must_use]
    pub fn all(&self) -> Vec<Value> {
        let count = usize::try_from(self.cardinality().unwrap_or(0)).unwrap_or(0);
        (0..count).map(|i| self.nth(i)).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 values")]
    fn nth(&self, i: usize) -> Value {
        match self {
            Self::Choice(values, _) => values.get(i).cloned().unwrap_or(Value::Null),
            Self::Int { min, step, .. } => min.saturating_add(step.saturating_mul(i64::try_from(i).unwrap_or(i64::MAX))).into(),
            Self::Float { min, step, .. } => clean(min + step.unwrap_or(0.0) * i as f64).into(),
            Self::Normal { .. } => Value::Null,
        }
    }

    /// Draws one value.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by the dimension's own bounds"
    )]
    pub fn draw(&self, bits: &mut Bits) -> Value {
        let u = bits.unit();
        match self {
            Self::Choice(values, cumulated) => {
                let i = cumulated.iter().position(|c| u < *c).unwrap_or(values.len().saturating_sub(1));
                values.get(i).cloned().unwrap_or(Value::Null)
            }
            Self::Float { step: Some(_), .. } | Self::Int { log: false, .. } => {
                let count = self.cardinality().unwrap_or(1) as f64;
                self.nth((u * count) as usize)
            }
            Self::Float { min, max, log: false, .. } => (min + (max - min) * u).clamp(*min, *max).into(),
            Self::Float { min, max, .. } => (min.ln() + (max.ln() - min.ln()) * u).exp().clamp(*min, *max).into(),
            Self::Int { min, max, step, .. } => {
                // Each whole number gets the stretch half a step to both sides, so that the ends are not drawn too rarely.
                let half = *step as f64 / 2.0;
                let (low, high) = ((*min as f64 - half).max(0.5).ln(), (*max as f64 + half).ln());
                let x = (low + (high - low) * u).exp();
                let n = ((x - *min as f64) / *step as f64).round() as i64;
                min.saturating_add(n.saturating_mul(*step)).clamp(*min, *max).into()
            }
            Self::Normal { mean, std, log } => {
                let z = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * bits.unit()).cos();
                let x = mean + std * z;
                (if *log { x.exp() } else { x }).into()
            }
        }
    }
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

/// Random bits of one parameter of one trial.
pub struct Bits(blake3::OutputReader);

impl Bits {
    /// Bits that depend on seed, trial and name alone.
    pub fn new(seed: u64, trial: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"oppen/v1 random").update(&seed.to_le_bytes()).update(&trial.to_le_bytes()).update(name.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// Uniform in [0, 1), 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn unit(&mut self) -> f64 {
        let mut bytes = [0_u8; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
