//! A grid: its points counted and reached by number, without holding them.
//!
//! In: a compiled space whose dimensions have an end. Out: how many points it has, and any one of them. Dimensions that conditions or
//! constraints tie together are looked at combination by combination, once; all others cost nothing. Must never hold a point that
//! nobody asked for.

use super::domain::{Domain, Stuck};
use crate::base::Value;
use crate::record::Params;

/// Most combinations of dimensions that hang together.
pub const MAX_LOOKED_AT: u128 = 1 << 20;
/// Most combinations that are tried to find one in which a dimension exists.
const MAX_TRIED: u128 = 4096;

/// A grid over a space.
#[derive(Debug, Clone)]
pub struct Lattice {
    parts: Vec<Part>,
}

/// Dimensions that hang together; the first varies slowest.
#[derive(Debug, Clone)]
struct Part {
    dims: Vec<usize>,
    sizes: Vec<u64>,
    /// The combinations that are allowed; none when all are.
    allowed: Option<Vec<u32>>,
    len: u128,
}

/// A dimension whose range has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endless(pub usize);

impl Lattice {
    /// Counts and prepares a grid.
    ///
    /// # Errors
    /// [`Endless`] for a continuous range (outer); too many combinations to look at, or a broken expression (inner).
    pub fn new(domain: &Domain) -> Result<Result<Self, Stuck>, Endless> {
        let mut sizes = Vec::with_capacity(domain.dims.len());
        for (i, dim) in domain.dims.iter().enumerate() {
            sizes.push(u64::try_from(dim.dist.cardinality().ok_or(Endless(i))?).unwrap_or(u64::MAX));
        }
        Ok(Self::build(domain, &sizes))
    }

    fn build(domain: &Domain, sizes: &[u64]) -> Result<Self, Stuck> {
        let group = groups(domain);
        let mut parts: Vec<Part> = Vec::new();
        for root in 0..domain.dims.len() {
            let dims: Vec<usize> = (0..domain.dims.len()).filter(|d| group.get(*d) == Some(&root)).collect();
            if dims.is_empty() {
                continue;
            }
            let sizes: Vec<u64> = dims.iter().filter_map(|d| sizes.get(*d).copied()).collect();
            let count = sizes.iter().fold(1_u128, |n, s| n.saturating_mul(u128::from(*s)));
            let always = dims.iter().all(|d| domain.dims.get(*d).is_none_or(|d| d.when.is_empty()));
            let free = dims.len() == 1 && always && !domain.constraints.iter().any(|c| c.uses.iter().any(|u| dims.contains(u)));
            let mut part = Part { dims, sizes, allowed: None, len: count };
            if !free {
                part.look(domain)?;
            }
            parts.push(part);
        }
        for condition in domain.constraints.iter().filter(|c| c.uses.is_empty()) {
            if !domain.holds(condition, &Vec::new())? {
                parts.iter_mut().for_each(|p| p.len = 0);
            }
        }
        Ok(Self { parts })
    }

    /// How many points there are, exactly (up to 2^128).
    #[must_use]
    pub fn len(&self) -> u128 {
        if self.parts.is_empty() { 0 } else { self.parts.iter().fold(1, |n, p| p.len.saturating_mul(n)) }
    }

    /// True when no point is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Point number `i`; the first dimension varies slowest.
    ///
    /// # Errors
    /// [`Stuck::Exhausted`] from [`Lattice::len`] on.
    pub fn nth(&self, domain: &Domain, i: u128) -> Result<Params, Stuck> {
        if i >= self.len() {
            return Err(Stuck::Exhausted);
        }
        let mut digits = vec![0_u64; domain.dims.len()];
        let mut rest = i;
        for part in self.parts.iter().rev() {
            part.spread(rest % part.len, &mut digits);
            rest /= part.len;
        }
        domain.point(|d| value(domain, d, &digits))
    }
}

fn value(domain: &Domain, dim: usize, digits: &[u64]) -> Value {
    domain.dims.get(dim).zip(digits.get(dim)).map_or(Value::Null, |(d, i)| d.dist.nth(*i))
}

impl Part {
    /// Looks at every combination: a dimension that does not exist stands at its first value, so that nothing counts twice.
    fn look(&mut self, domain: &Domain) -> Result<(), Stuck> {
        if self.len > MAX_LOOKED_AT {
            return Err(Stuck::TooMany { count: self.len });
        }
        let order: Vec<usize> = domain.order.iter().copied().filter(|d| self.dims.contains(d)).collect();
        let concerned: Vec<_> = domain.constraints.iter().filter(|c| c.uses.iter().any(|u| self.dims.contains(u))).collect();
        let mut digits = vec![0_u64; domain.dims.len()];
        let mut allowed = Vec::new();
        for rank in 0..u32::try_from(self.len).unwrap_or(u32::MAX) {
            self.decode(u128::from(rank), &mut digits);
            let (row, active) = domain.row(&order, |d| value(domain, d, &digits))?;
            let once = self.dims.iter().all(|d| active.get(*d) == Some(&true) || digits.get(*d) == Some(&0));
            let mut fine = once;
            for constraint in &concerned {
                fine = fine && domain.holds(constraint, &row)?;
            }
            if fine {
                allowed.push(rank);
            }
        }
        self.len = allowed.len() as u128;
        self.allowed = Some(allowed);
        Ok(())
    }

    /// Digits of allowed combination `i`.
    fn spread(&self, i: u128, digits: &mut [u64]) {
        let rank = match &self.allowed {
            None => i,
            Some(allowed) => usize::try_from(i).ok().and_then(|i| allowed.get(i)).copied().map_or(0, u128::from),
        };
        self.decode(rank, digits);
    }

    fn decode(&self, rank: u128, digits: &mut [u64]) {
        let mut rest = rank;
        for (dim, size) in self.dims.iter().zip(&self.sizes).rev() {
            let size = u128::from((*size).max(1));
            if let Some(digit) = digits.get_mut(*dim) {
                *digit = u64::try_from(rest % size).unwrap_or(0);
            }
            rest /= size;
        }
    }
}

/// Dimensions whose conditions hold nowhere. Only those are told of which that is certain: where all that their conditions look at
/// are a few values.
#[must_use]
pub fn never(domain: &Domain) -> Vec<usize> {
    let dead = |dim: &usize| exists(domain, *dim) == Some(false);
    (0..domain.dims.len()).filter(|d| domain.dims.get(*d).is_some_and(|d| !d.when.is_empty())).filter(dead).collect()
}

/// True when some combination of what a dimension hangs on lets it exist.
fn exists(domain: &Domain, dim: usize) -> Option<bool> {
    let mut dims = vec![dim];
    let mut at = 0;
    while let Some(next) = dims.get(at).copied() {
        at += 1;
        for needed in domain.dims.get(next)?.needs() {
            if !dims.contains(&needed) {
                dims.push(needed);
            }
        }
    }
    dims.remove(0);
    let sizes = dims.iter().map(|d| u64::try_from(domain.dims.get(*d)?.dist.cardinality()?).ok()).collect::<Option<Vec<u64>>>()?;
    let len = sizes.iter().fold(1_u128, |n, s| n.saturating_mul(u128::from(*s)));
    let order: Vec<usize> = domain.order.iter().copied().filter(|d| *d == dim || dims.contains(d)).collect();
    let part = Part { dims, sizes, allowed: None, len };
    let mut digits = vec![0_u64; domain.dims.len()];
    for rank in (0..len).take_while(|_| len <= MAX_TRIED) {
        part.decode(rank, &mut digits);
        let (_, active) = domain.row(&order, |d| value(domain, d, &digits)).ok()?;
        if active.get(dim) == Some(&true) {
            return Some(true);
        }
    }
    (len <= MAX_TRIED).then_some(false)
}

/// For each dimension the first one that it hangs together with, by conditions, ties or constraints.
fn groups(domain: &Domain) -> Vec<usize> {
    let mut group: Vec<usize> = (0..domain.dims.len()).collect();
    let mut join = |members: Vec<usize>| {
        let roots: Vec<usize> = members.iter().filter_map(|m| group.get(*m).copied()).collect();
        if let Some(first) = roots.iter().min().copied() {
            group.iter_mut().filter(|g| roots.contains(g)).for_each(|g| *g = first);
        }
    };
    for (i, dim) in domain.dims.iter().enumerate() {
        join(dim.needs().chain([i]).collect());
    }
    for constraint in &domain.constraints {
        join(constraint.uses.clone());
    }
    group
}
