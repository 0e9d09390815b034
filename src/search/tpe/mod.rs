//! The tree-structured Parzen estimator: Bergstra et al. 2011, with the multivariate kernels, magic clip and weights that Watanabe
//! (2023) found best; parameters of the same conditions by themselves (`group`, Falkner et al. 2018), each alone, or all together.
//!
//! In: trials as they are told. Out: the candidate that good trials explain best against the others. Must never cost more as the
//! history grows: at most 25 good trials and the [`MAX_REST`] latest others have a kernel.

mod mixture;

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHasher};

use self::mixture::Mixture;
use super::history::{Rank, log_cost};
use super::scale::{Scale, Units};
use super::{Sampler, Stuck, Suggestion, Trial, TrialState};
use crate::expand::dimension::Bits;
use crate::expand::domain::Domain;
use crate::record::{Params, SearchSpec};

/// Most good trials.
const MAX_GOOD: usize = 25;
/// Most other trials that have a kernel.
const MAX_REST: usize = 128;
/// Rounds of candidates before a point that has been tried is tried again, in a space that has an end.
const FRESH: u64 = 4;

struct Seen {
    units: Arc<Units>,
    rank: Option<Rank>,
    log_cost: Option<f64>,
}

/// The sampler.
pub struct Tpe {
    domain: Arc<Domain>,
    scale: Scale,
    spec: SearchSpec,
    /// Dimensions that are learned together.
    blocks: Vec<Vec<usize>>,
    /// True when every dimension always exists.
    whole: bool,
    /// True when every dimension has an end: then points that were tried are left out.
    finite: bool,
    seen: FxHashMap<u64, Seen>,
    /// How many trials stand at a place, where that matters.
    tried: FxHashMap<u64, u32>,
    /// Known trials, best first.
    ranked: Vec<Rank>,
    /// All trials that count, by index.
    indices: Vec<u64>,
    why: String,
}

/// What candidates of a block are weighed by.
struct Weigher {
    below: Mixture,
    above: Mixture,
    /// Share of the good trials, and the mean logarithm of costs, where those count.
    costs: Option<(f64, f64)>,
}

impl Weigher {
    /// How much a candidate promises: the logarithm of how much more likely it is among good trials; with costs, the logarithm of the
    /// improvement that this means (Bergstra et al. 2011, equation 6) for each dollar (Snoek et al. 2012).
    fn score(&self, units: &Units, logs: &mut Vec<f64>) -> f64 {
        let Some((share, mean)) = self.costs else {
            return self.below.log_density(units, logs) - self.above.log_density(units, logs);
        };
        let (below, one) = self.below.with_cost(units, logs, mean);
        let (above, two) = self.above.with_cost(units, logs, mean);
        let all = share * below.exp() + (1.0 - share) * above.exp();
        let cost = if all > 0.0 { (share * below.exp() * one + (1.0 - share) * above.exp() * two) / all } else { mean };
        -(share + (1.0 - share) * (above - below).exp()).ln() - cost
    }
}

/// The best candidate so far.
struct Best {
    params: Params,
    score: f64,
    fresh: bool,
}

impl Tpe {
    /// A sampler over a compiled space.
    pub fn new(spec: &SearchSpec, domain: Arc<Domain>, why: &str) -> Self {
        let scale = Scale::new(&domain);
        let blocks = blocks(spec, &domain);
        let whole = domain.dims.iter().all(|d| d.when.is_empty() && !d.is_tied());
        let finite = domain.dims.iter().all(|d| d.dist.cardinality().is_some());
        Self {
            domain,
            scale,
            blocks,
            whole,
            finite,
            spec: spec.clone(),
            seen: FxHashMap::default(),
            tried: FxHashMap::default(),
            ranked: Vec::new(),
            indices: Vec::new(),
            why: why.to_owned(),
        }
    }

    fn startup(&self) -> usize {
        usize::try_from(self.spec.options.startup.unwrap_or(10)).unwrap_or(usize::MAX)
    }

    fn forget(&mut self, index: u64) {
        let Some(old) = self.seen.remove(&index) else { return };
        if let Some(rank) = old.rank
            && let Ok(at) = self.ranked.binary_search_by(|r| r.cmp(&rank))
        {
            self.ranked.remove(at);
        }
        if let Ok(at) = self.indices.binary_search(&index) {
            self.indices.remove(at);
        }
        if self.finite
            && let Some(count) = self.tried.get_mut(&digest(&old.units))
        {
            *count = count.saturating_sub(1);
        }
    }

    fn is_fresh(&self, units: &Units) -> bool {
        !self.finite || self.tried.get(&digest(units)).is_none_or(|n| *n == 0)
    }

    /// Good trials and the latest of the others, each by index, so that the order of telling is forgotten.
    fn split(&self) -> (Vec<u64>, Vec<u64>) {
        let good = self.ranked.len().div_ceil(10).min(MAX_GOOD);
        let mut below: Vec<u64> = self.ranked.iter().take(good).map(|r| r.index).collect();
        below.sort_unstable();
        let mut above: Vec<u64> = self.indices.iter().rev().copied().filter(|i| below.binary_search(i).is_err()).take(MAX_REST).collect();
        above.reverse();
        (below, above)
    }

    fn mixture(&self, indices: &[u64], block: &[usize]) -> Mixture {
        let seen = indices.iter().filter_map(|i| self.seen.get(i));
        // A trial that has none of the block says nothing of it.
        let seen = seen.filter(|s| self.blocks.len() == 1 || block.iter().any(|d| s.units.get(*d).is_some_and(|u| u.is_finite())));
        let (units, costs) = seen.map(|s| (Arc::clone(&s.units), s.log_cost)).unzip();
        Mixture::new(units, costs, block, &self.scale, self.whole)
    }

    fn weighers(&self, good: &[u64], rest: &[u64]) -> Vec<Weigher> {
        let costs: Vec<f64> = if self.spec.options.per_dollar.unwrap_or(false) {
            good.iter().chain(rest).filter_map(|i| self.seen.get(i)?.log_cost).collect()
        } else {
            Vec::new()
        };
        let costs =
            (!costs.is_empty()).then(|| (share(good.len(), good.len() + rest.len()), costs.iter().sum::<f64>() * share(1, costs.len())));
        let weigher = |block: &Vec<usize>| Weigher { below: self.mixture(good, block), above: self.mixture(rest, block), costs };
        self.blocks.iter().map(weigher).collect()
    }

    fn candidates(&self) -> u32 {
        self.spec.options.candidates.unwrap_or(24)
    }

    /// The best of the candidates, all dimensions together; none when no candidate is allowed.
    fn together(&self, weigher: &Weigher, bits: &mut Bits) -> Result<Option<Best>, Stuck> {
        let (mut best, mut logs): (Option<Best>, _) = (None, Vec::new());
        let mut units: Units = vec![f64::NAN; self.scale.len()];
        let plain = self.domain.is_plain();
        for _ in 0..self.candidates() {
            let kernel = weigher.below.pick(bits.unit());
            units.fill(f64::NAN);
            let mut draw = |d: usize| {
                let unit = weigher.below.draw(kernel, d, &self.scale, bits);
                units.get_mut(d).into_iter().for_each(|slot| *slot = unit);
                unit
            };
            // Where all exists and is allowed, the values of a candidate are needed only when it is the best.
            let drawn = if plain {
                for &d in &self.domain.order {
                    draw(d);
                }
                None
            } else {
                Some(self.domain.point(|d| self.scale.value(d, draw(d)))?)
            };
            let (score, fresh) = (weigher.score(&units, &mut logs), self.is_fresh(&units));
            let better = best.as_ref().is_none_or(|b| (fresh, score) > (b.fresh, b.score));
            if !better {
                continue;
            }
            let params = match drawn {
                Some(params) => params,
                None => self.domain.point(|d| self.scale.value(d, units.get(d).copied().unwrap_or(f64::NAN)))?,
            };
            if plain || self.domain.admits(&params)? {
                best = Some(Best { params, score, fresh });
            }
        }
        Ok(best)
    }

    /// The best candidate of each block by itself.
    fn apart(&self, weighers: &[Weigher], bits: &mut Bits) -> Result<Option<Best>, Stuck> {
        let (mut total, mut logs) = (0.0, Vec::new());
        let mut units: Units = vec![f64::NAN; self.scale.len()];
        let mut chosen: Vec<Option<Units>> = vec![None; weighers.len()];
        let params = self.domain.point(|d| {
            let found = self.blocks.iter().position(|b| b.contains(&d));
            let Some((block, weigher, slot)) = found.and_then(|i| Some((self.blocks.get(i)?, weighers.get(i)?, chosen.get_mut(i)?))) else {
                return crate::base::Value::Null;
            };
            // Members of a block exist together, so the first that is asked for decides for all.
            let picked = slot.get_or_insert_with(|| {
                let (one, score) = self.of_block(block, weigher, &mut logs, bits);
                total += score;
                one
            });
            let unit = picked.get(d).copied().unwrap_or(f64::NAN);
            if let Some(slot) = units.get_mut(d) {
                *slot = unit;
            }
            self.scale.value(d, unit)
        })?;
        Ok(self.domain.admits(&params)?.then(|| Best { params, score: total, fresh: self.is_fresh(&units) }))
    }

    fn of_block(&self, block: &[usize], weigher: &Weigher, logs: &mut Vec<f64>, bits: &mut Bits) -> (Units, f64) {
        let mut best = (vec![f64::NAN; self.scale.len()], f64::NEG_INFINITY);
        for _ in 0..self.candidates() {
            let (mut units, kernel) = (vec![f64::NAN; self.scale.len()], weigher.below.pick(bits.unit()));
            for &d in block {
                if let Some(slot) = units.get_mut(d) {
                    *slot = weigher.below.draw(kernel, d, &self.scale, bits);
                }
            }
            let score = weigher.score(&units, logs);
            if score > best.1 {
                best = (units, score);
            }
        }
        best
    }
}

impl Sampler for Tpe {
    fn tell(&mut self, trial: &Trial) {
        self.forget(trial.index);
        // A trial that failed has no rank: like a running one it counts among the others, so that its place is avoided.
        let rank = match trial.state {
            TrialState::Lost => return,
            TrialState::Running if !self.spec.options.constant_liar.unwrap_or(true) => return,
            TrialState::Running | TrialState::Failed => None,
            _ => match Rank::of(trial, self.spec.goal) {
                None => return,
                rank => rank,
            },
        };
        let units = Arc::new(self.scale.place(&trial.params));
        if let Some(rank) = rank {
            let at = self.ranked.partition_point(|r| r.cmp(&rank).is_lt());
            self.ranked.insert(at, rank);
        }
        let at = self.indices.partition_point(|i| *i < trial.index);
        self.indices.insert(at, trial.index);
        if self.finite {
            *self.tried.entry(digest(&units)).or_default() += 1;
        }
        self.seen.insert(trial.index, Seen { units, rank, log_cost: log_cost(trial) });
    }

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        if let Some(point) = usize::try_from(index).ok().and_then(|i| self.spec.points.get(i)) {
            let params = self.domain.random(self.spec.seed, index, point)?;
            return Ok(Suggestion { params, why: "a point of the file, to be tried first".to_owned() });
        }
        if self.ranked.len() < self.startup().max(1) {
            let params = self.domain.random(self.spec.seed, index, &Params::new())?;
            let why = format!("random: {} of the {} results that it takes to learn", self.ranked.len(), self.startup().max(1));
            return Ok(Suggestion { params, why });
        }
        let (good, rest) = self.split();
        let weighers = self.weighers(&good, &rest);
        let mut stale = None;
        for again in 0..100 {
            let mut bits = Bits::new(self.spec.seed, index, "tpe", again);
            let found = match weighers.as_slice() {
                [one] => self.together(one, &mut bits)?,
                many => self.apart(many, &mut bits)?,
            };
            stale = found.filter(|f| f.fresh || stale.is_none()).or(stale);
            if let Some(found) = stale.take_if(|f| f.fresh || again >= FRESH) {
                let known = self.ranked.len();
                let why = if weighers.iter().any(|w| w.costs.is_some()) {
                    format!("like the best {} of {known} results, for what it is likely to cost", good.len())
                } else {
                    format!("like the best {} of {known} results, {:.3} times as likely among them", good.len(), found.score.exp())
                };
                return Ok(Suggestion { params: found.params, why });
            }
        }
        let params = self.domain.random(self.spec.seed, index, &Params::new())?;
        Ok(Suggestion { params, why: "random: no candidate meets the constraints".to_owned() })
    }

    fn describe(&self) -> String {
        self.why.clone()
    }
}

/// Dimensions that are learned together: all, those with the same conditions, or each by itself.
fn blocks(spec: &SearchSpec, domain: &Domain) -> Vec<Vec<usize>> {
    let all = 0..domain.dims.len();
    if !spec.options.multivariate.unwrap_or(true) {
        return all.map(|d| vec![d]).collect();
    }
    if !spec.options.group.unwrap_or(false) {
        return vec![all.collect()];
    }
    let when = |d: usize| spec.space.parameters.get(d).map(|p| &p.when);
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for d in all {
        match blocks.iter_mut().find(|b| b.first().is_some_and(|first| when(*first) == when(d))) {
            Some(block) => block.push(d),
            None => blocks.push(vec![d]),
        }
    }
    blocks
}

/// A digest of a place.
fn digest(units: &Units) -> u64 {
    use std::hash::Hasher;
    let mut hasher = FxHasher::default();
    units.iter().for_each(|u| hasher.write_u64(if u.is_nan() { u64::MAX } else { u.to_bits() }));
    hasher.finish()
}

#[expect(clippy::cast_precision_loss, reason = "counts of trials")]
fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}
