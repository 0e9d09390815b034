//! A search space, compiled: which parameters a point has, what follows from others, which points are allowed.
//!
//! In: a [`Space`]. Out: points that meet its conditions and constraints, one by one. Must never hold all of them.

use std::sync::Arc;

use super::dimension::{Bits, same};
use super::template::{Names, Scope, Template};
use crate::base::{Diagnostic, Diagnostics, FileId, SourceMap, Span, Value};
use crate::record::{Distribution, Params, Space};

/// Points that are looked at before a space counts as one that nothing satisfies.
pub const MAX_TRIES: u64 = 10_000;

/// A place that nobody sees.
const NOWHERE: Span = Span { file: FileId(u32::MAX), start: 0, end: 0 };

/// Why there is no further point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stuck {
    /// Every point has been tried.
    Exhausted,
    /// No point was found that meets the constraints.
    NoPoint {
        /// How many were looked at.
        tried: u64,
    },
    /// Too many combinations to be looked at one by one.
    TooMany {
        /// How many.
        count: u128,
    },
    /// An expression of the space cannot be evaluated.
    Broken(String),
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exhausted => f.write_str("every point of the space has been tried"),
            Self::NoPoint { tried } => write!(f, "none of {tried} points that were looked at meets the constraints"),
            Self::TooMany { count } => write!(f, "{count} combinations are too many to look at one by one, as the constraints need"),
            Self::Broken(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Stuck {}

/// One parameter, compiled.
#[derive(Debug, Clone)]
pub struct Dim {
    /// Unique in the space.
    pub name: Arc<str>,
    /// Its values.
    pub dist: Distribution,
    /// Conditions under which it exists.
    pub when: Vec<Condition>,
    tied: Option<Condition>,
}

/// An expression and the dimensions that it looks at.
#[derive(Debug, Clone)]
pub struct Condition {
    template: Template,
    /// Indices of dimensions.
    pub uses: Vec<usize>,
}

/// Where the parts of a space are written, for diagnostics.
#[derive(Debug, Default)]
pub struct Places {
    /// A place for each parameter.
    pub parameters: Vec<Span>,
    /// A place for each condition of each parameter.
    pub whens: Vec<Vec<Span>>,
    /// A place for each constraint.
    pub constraints: Vec<Span>,
}

/// A point under construction: the value of each dimension; null where it does not exist, as templates see it.
type Row = Vec<(Arc<str>, Value)>;

/// A compiled space.
#[derive(Debug, Clone)]
pub struct Domain {
    /// In the order of declaration.
    pub dims: Vec<Dim>,
    /// Each dimension after those that it depends on.
    pub order: Vec<usize>,
    /// What every point meets.
    pub constraints: Vec<Condition>,
    inputs: Value,
    empty: Row,
}

impl Domain {
    /// Compiles a space from the record, whose expressions have been checked.
    ///
    /// # Errors
    /// What is wrong with the first bad expression.
    pub fn compile(space: &Space) -> Result<Self, String> {
        let mut diags = Diagnostics::default();
        Self::check(space, &Places::default(), &SourceMap::default(), &mut diags)
            .ok_or_else(|| diags.as_slice().first().map_or_else(|| "a damaged space".to_owned(), |d| d.message.clone()))
    }

    /// Compiles a space; what is wrong goes to `diags` with its place.
    pub fn check(space: &Space, places: &Places, sources: &SourceMap, diags: &mut Diagnostics) -> Option<Self> {
        let inputs = if space.inputs.is_null() { serde_json::json!({}) } else { space.inputs.clone() };
        let keys = inputs.as_object().map(|m| m.keys().map(|k| Arc::from(k.as_str())).collect()).unwrap_or_default();
        let names = Names { inputs: keys, params: space.parameters.iter().map(|p| Arc::clone(&p.name)).collect(), needs: None };
        let compiler = Compiler { names: &names, sources };
        let mut dims = Vec::with_capacity(space.parameters.len());
        let mut sound = true;
        for (i, parameter) in space.parameters.iter().enumerate() {
            let at = places.parameters.get(i).copied().unwrap_or(NOWHERE);
            let spans = places.whens.get(i);
            let when: Vec<Option<Condition>> = parameter
                .when
                .iter()
                .enumerate()
                .map(|(k, text)| compiler.condition(text, spans.and_then(|s| s.get(k)).copied().unwrap_or(at), diags))
                .collect();
            let tied = match &parameter.dist {
                Distribution::Tied { value } => Some(compiler.condition(value, at, diags)),
                _ => None,
            };
            sound &= when.iter().all(Option::is_some) && tied.as_ref().is_none_or(Option::is_some);
            dims.push(Dim {
                name: Arc::clone(&parameter.name),
                dist: parameter.dist.clone(),
                when: when.into_iter().flatten().collect(),
                tied: tied.flatten(),
            });
        }
        let constraints: Vec<Option<Condition>> = space
            .constraints
            .iter()
            .enumerate()
            .map(|(i, text)| compiler.condition(text, places.constraints.get(i).copied().unwrap_or(NOWHERE), diags))
            .collect();
        let constraints = constraints.into_iter().collect::<Option<Vec<_>>>()?;
        let order = in_order(&dims, places, diags)?;
        let empty = names.params.iter().map(|n| (Arc::clone(n), Value::Null)).collect();
        sound.then_some(Self { dims, order, constraints, inputs, empty })
    }

    /// True when every parameter always exists and every point is allowed.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.constraints.is_empty() && self.dims.iter().all(|d| d.when.is_empty() && d.tied.is_none())
    }

    /// Makes a point: `choose` gives the value of each free dimension that exists, in the order of dependency.
    ///
    /// # Errors
    /// An expression that cannot be evaluated.
    pub fn point(&self, choose: impl FnMut(usize) -> Value) -> Result<Params, Stuck> {
        let (row, active) = self.row(&self.order, choose)?;
        Ok(row.into_iter().zip(active).filter(|(_, there)| *there).map(|(pair, _)| pair).collect())
    }

    /// Fills the named dimensions; the others stay null.
    pub(super) fn row(&self, dims: &[usize], mut choose: impl FnMut(usize) -> Value) -> Result<(Row, Vec<bool>), Stuck> {
        let mut row = self.empty.clone();
        let mut active = vec![false; row.len()];
        for &i in dims {
            let Some(dim) = self.dims.get(i) else { continue };
            let mut exists = true;
            for condition in &dim.when {
                exists = exists && self.holds(condition, &row)?;
            }
            if exists {
                let value = match &dim.tied {
                    Some(tied) => tied.template.value(self.scope(&row)).map_err(Stuck::Broken)?,
                    None => choose(i),
                };
                if let (Some(slot), Some(there)) = (row.get_mut(i), active.get_mut(i)) {
                    slot.1 = value;
                    *there = true;
                }
            }
        }
        Ok((row, active))
    }

    fn scope<'a>(&'a self, row: &'a Row) -> Scope<'a> {
        Scope { inputs: &self.inputs, params: row, needs: None }
    }

    pub(super) fn holds(&self, condition: &Condition, row: &Row) -> Result<bool, Stuck> {
        match condition.template.value(self.scope(row)) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(Stuck::Broken(format!(
                "`{}` gives `{}`, neither true nor false",
                condition.template.source.trim_start_matches("{{ ").trim_end_matches(" }}"),
                crate::base::text::escape(&other.to_string())
            ))),
            Err(words) => Err(Stuck::Broken(words)),
        }
    }

    /// True when a point meets all constraints.
    ///
    /// # Errors
    /// A constraint that cannot be evaluated.
    pub fn admits(&self, params: &Params) -> Result<bool, Stuck> {
        if self.constraints.is_empty() {
            return Ok(true);
        }
        let mut row = self.empty.clone();
        for (slot, dim) in row.iter_mut().zip(&self.dims) {
            if let Some((_, value)) = params.iter().find(|(n, _)| *n == dim.name) {
                slot.1 = value.clone();
            }
        }
        for constraint in &self.constraints {
            if !self.holds(constraint, &row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The random point of a trial: a function of space, seed and trial. `fixed` are values that are given.
    ///
    /// # Errors
    /// No point was found among [`MAX_TRIES`], or an expression cannot be evaluated.
    pub fn random(&self, seed: u64, trial: u64, fixed: &Params) -> Result<Params, Stuck> {
        self.search(|again| {
            let given = |i: usize| self.dims.get(i).and_then(|d| fixed.iter().find(|(n, _)| *n == d.name)).map(|(_, v)| v.clone());
            self.point(|i| given(i).unwrap_or_else(|| self.draw(i, seed, trial, again)))
        })
    }

    /// Draws one dimension.
    #[must_use]
    pub fn draw(&self, dim: usize, seed: u64, trial: u64, again: u64) -> Value {
        self.dims.get(dim).map_or(Value::Null, |d| d.dist.draw(&mut Bits::new(seed, trial, &d.name, again)))
    }

    /// The first of [`MAX_TRIES`] points that is allowed.
    ///
    /// # Errors
    /// None is, or an expression cannot be evaluated.
    pub fn search(&self, mut propose: impl FnMut(u64) -> Result<Params, Stuck>) -> Result<Params, Stuck> {
        for again in 0..MAX_TRIES {
            let point = propose(again)?;
            if self.admits(&point)? {
                return Ok(point);
            }
        }
        Err(Stuck::NoPoint { tried: MAX_TRIES })
    }

    /// What is wrong with a point that somebody wrote down; partial points are fine.
    #[must_use]
    pub fn objection(&self, point: &Params) -> Option<(String, Option<String>)> {
        for (name, value) in point {
            let Some(dim) = self.dims.iter().find(|d| d.name == *name) else {
                let hint = crate::base::suggest::hint(name, self.dims.iter().map(|d| &*d.name));
                return Some((format!("there is no parameter `{}`", crate::base::text::escape(name)), hint));
            };
            if !dim.dist.holds(value) {
                let words = format!("`{}` is not a value of `{}`", crate::base::text::escape(&value.to_string()), dim.name);
                return Some((words, Some("write a value inside the bounds, on the step, or from the list".to_owned())));
            }
        }
        let given = |name: &str| point.iter().find(|(n, _)| &**n == name).map(|(_, v)| v);
        let made = self.point(|i| {
            let dim = self.dims.get(i);
            dim.and_then(|d| given(&d.name)).cloned().unwrap_or_else(|| self.draw(i, 0, 0, 0))
        });
        let made = match made {
            Ok(made) => made,
            Err(stuck) => return Some((stuck.to_string(), None)),
        };
        if made.iter().any(|(n, _)| given(n).is_none() && !self.is_tied(n)) {
            return None; // What is left out is drawn, and may be drawn so that the rest is right.
        }
        if let Some((name, _)) = point.iter().find(|(n, v)| !made.iter().any(|(m, w)| m == n && same(v, w))) {
            let hint = "see its `when` and what it is tied to".to_owned();
            return Some((format!("`{name}` does not exist at this point, or has another value"), Some(hint)));
        }
        match self.admits(&made) {
            Ok(true) => None,
            Ok(false) => Some(("the point does not meet the constraints".to_owned(), None)),
            Err(stuck) => Some((stuck.to_string(), None)),
        }
    }

    fn is_tied(&self, name: &str) -> bool {
        self.dims.iter().any(|d| &*d.name == name && d.tied.is_some())
    }
}

impl Dim {
    /// True when its value follows from others.
    #[must_use]
    pub fn is_tied(&self) -> bool {
        self.tied.is_some()
    }

    /// Dimensions that must be known before this one.
    pub fn needs(&self) -> impl Iterator<Item = usize> + '_ {
        self.when.iter().chain(&self.tied).flat_map(|c| c.uses.iter().copied())
    }
}

/// True for dimensions that CMA-ES can move along: numbers and ordered values that always exist and vary.
#[must_use]
pub fn moves_along(domain: &Domain, d: usize) -> bool {
    domain.dims.get(d).is_some_and(|dim| {
        let unordered = matches!(dim.dist, Distribution::Values { ordered: false, .. });
        dim.when.is_empty() && !dim.is_tied() && !unordered && dim.dist.cardinality() != Some(1)
    })
}

struct Compiler<'a> {
    names: &'a Names,
    sources: &'a SourceMap,
}

impl Compiler<'_> {
    /// An expression, with or without braces.
    fn condition(&self, text: &Arc<str>, span: Span, diags: &mut Diagnostics) -> Option<Condition> {
        let whole: Arc<str> = if crate::spec::scalar::is_template(text) { Arc::clone(text) } else { format!("{{{{ {text} }}}}").into() };
        let template = Template::compile(&whole, span, self.names, self.sources, diags)?;
        let mut uses: Vec<usize> = Vec::new();
        for used in template.uses() {
            let all = &**used == "params";
            let name = used.strip_prefix("params.").unwrap_or_default();
            let hit = |p: &str| {
                p == name
                    || name.strip_prefix(p).is_some_and(|r| r.starts_with('.'))
                    || p.strip_prefix(name).is_some_and(|r| r.starts_with('.'))
            };
            uses.extend(self.names.params.iter().enumerate().filter(|(_, p)| all || (!name.is_empty() && hit(p))).map(|(i, _)| i));
        }
        uses.sort_unstable();
        uses.dedup();
        Some(Condition { template, uses })
    }
}

/// Dimensions in an order in which each comes after those that it needs; declaration decides between equals.
fn in_order(dims: &[Dim], places: &Places, diags: &mut Diagnostics) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = Vec::with_capacity(dims.len());
    let mut placed = vec![false; dims.len()];
    loop {
        let before = order.len();
        for (i, dim) in dims.iter().enumerate() {
            if !placed[i] && dim.needs().all(|n| placed.get(n).copied().unwrap_or(true)) {
                placed[i] = true;
                order.push(i);
            }
        }
        if order.len() == dims.len() {
            return Some(order);
        }
        if order.len() == before {
            let i = placed.iter().position(|p| !p)?;
            let at = places.whens.get(i).and_then(|w| w.first()).or_else(|| places.parameters.get(i)).copied();
            let message = format!("`{}` depends on itself through `when` or `value`", dims[i].name);
            diags.push(Diagnostic::error("circular-space", at, message).hint("let it depend only on parameters that do not depend on it"));
            return None;
        }
    }
}
