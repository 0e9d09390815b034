//! A forest of regression trees over places from 0 to 1, and how much of its variance each axis explains.
//!
//! In: places, values. Out: predictions, and the functional ANOVA of each tree (Hutter, Hoos and Leyton-Brown, "An Efficient Approach
//! for Assessing Hyperparameter Importance", 2014): exact over the boxes of the leaves. Random forests: Breiman 2001. Must never depend on
//! anything but its arguments: the same data give the same forest.
//!
//! Words are split by the order of their means, which is best for squared error (Breiman et al. 1984, 4.2). A place that does not exist
//! lies on a stretch of its own below 0, as long as it is frequent.

use super::table::{count, index};

/// Trees.
pub const TREES: usize = 96;
/// Least trials in a leaf.
const LEAF: usize = 2;

/// An axis of the forest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dim {
    /// Words that it has; 0 for numbers.
    pub words: usize,
    /// Length of the stretch of those that lack it.
    pub absent: f64,
}

impl Dim {
    /// The length of the whole axis.
    fn length(self) -> f64 {
        1.0 + self.absent
    }
}

/// Where a leaf lies on one axis: intervals, which are many for words.
type Stretch = Vec<(f64, f64)>;

#[derive(Debug, Clone)]
struct Leaf {
    at: Vec<Stretch>,
    value: f64,
}

/// One tree: its leaves cover the space.
#[derive(Debug, Clone)]
struct Tree {
    leaves: Vec<Leaf>,
}

/// The forest.
#[derive(Debug, Clone)]
pub struct Forest {
    dims: Vec<Dim>,
    trees: Vec<Tree>,
    /// Share of the variance that is predicted for trials which a tree has not seen; below 0 the mean is a better guess.
    pub fit: f64,
}

/// Shares of one tree's variance.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Of each axis alone.
    pub alone: Vec<f64>,
    /// Of pairs beyond what each explains alone, in the order that was asked for.
    pub pairs: Vec<f64>,
}

/// Steele and Vigna's generator (`SplitMix64`, 2014).
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

/// A place of the axis, those without one in the middle of their stretch.
fn placed(at: f64, dim: Dim) -> f64 {
    if at.is_nan() { -dim.absent / 2.0 } else { at }
}

impl Forest {
    /// Grows a forest. `rows` are places by axis; not a number is absent.
    #[must_use]
    pub fn grow(dims: &[Dim], rows: &[Vec<f64>], values: &[f64]) -> Self {
        let rows: Vec<Vec<f64>> = rows.iter().map(|r| r.iter().zip(dims).map(|(a, d)| placed(*a, *d)).collect()).collect();
        let mut bits = Bits(0x6f70_7065_6e00_0001);
        let whole: Vec<Stretch> = dims.iter().map(|d| vec![(-d.absent, 1.0)]).collect();
        let (mut trees, mut unseen) = (Vec::with_capacity(TREES), vec![(0.0, 0_usize); rows.len()]);
        for _ in 0..TREES {
            let chosen: Vec<usize> = (0..rows.len()).map(|_| bits.below(rows.len())).collect();
            let mut grower = Grower { dims, rows: &rows, values, bits: &mut bits, leaves: Vec::new() };
            grower.split(chosen.clone(), whole.clone(), 0);
            let tree = Tree { leaves: grower.leaves };
            let mut seen = vec![false; rows.len()];
            chosen.iter().for_each(|i| seen.iter_mut().skip(*i).take(1).for_each(|s| *s = true));
            for ((row, seen), sum) in rows.iter().zip(&seen).zip(&mut unseen) {
                if !seen {
                    sum.0 += tree.predict(row);
                    sum.1 += 1;
                }
            }
            trees.push(tree);
        }
        Self { dims: dims.to_vec(), trees, fit: fit(values, &unseen) }
    }

    /// What is thought of a place.
    #[must_use]
    pub fn predict(&self, at: &[f64]) -> f64 {
        let at: Vec<f64> = at.iter().zip(&self.dims).map(|(a, d)| placed(*a, *d)).collect();
        self.trees.iter().map(|t| t.predict(&at)).sum::<f64>() / count(self.trees.len().max(1))
    }

    /// What is thought of a place on some axes, over all others.
    #[must_use]
    pub fn marginal(&self, fixed: &[(usize, f64)]) -> f64 {
        let of = |tree: &Tree| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for leaf in tree.leaves.iter().filter(|l| fixed.iter().all(|(d, at)| l.at.get(*d).is_some_and(|s| covers(s, *at)))) {
                let volume = self.volume(leaf, |d| !fixed.iter().any(|(f, _)| *f == d));
                sum += volume * leaf.value;
                weight += volume;
            }
            if weight > 0.0 { sum / weight } else { 0.0 }
        };
        self.trees.iter().map(of).sum::<f64>() / count(self.trees.len().max(1))
    }

    /// Shares of the variance by tree. Trees without any variance tell nothing and are left out.
    #[must_use]
    pub fn shares(&self, pairs: &[(usize, usize)]) -> Vec<Shares> {
        self.trees.iter().filter_map(|t| self.of_tree(t, pairs)).collect()
    }

    fn of_tree(&self, tree: &Tree, pairs: &[(usize, usize)]) -> Option<Shares> {
        let volumes: Vec<f64> = tree.leaves.iter().map(|l| self.volume(l, |_| true)).collect();
        let mean: f64 = tree.leaves.iter().zip(&volumes).map(|(l, v)| l.value * v).sum();
        let variance: f64 = tree.leaves.iter().zip(&volumes).map(|(l, v)| (l.value - mean).powi(2) * v).sum();
        if variance <= f64::EPSILON * mean.abs().max(1e-300) {
            return None;
        }
        let cuts: Vec<Vec<f64>> = (0..self.dims.len()).map(|d| cuts(tree, d)).collect();
        let curves: Vec<Vec<f64>> =
            (0..self.dims.len()).map(|d| self.curve(tree, d, cuts.get(d).map_or(&[], Vec::as_slice), mean)).collect();
        let widths = |d: usize| -> Vec<f64> {
            let length = self.dims.get(d).map_or(1.0, |d| d.length());
            cuts.get(d)
                .map_or(&[][..], Vec::as_slice)
                .windows(2)
                .map(|w| w.last().zip(w.first()).map_or(0.0, |(b, a)| (b - a) / length))
                .collect()
        };
        let alone = (0..self.dims.len())
            .map(|d| curves.get(d).into_iter().flatten().zip(widths(d)).map(|(a, w)| a * a * w).sum::<f64>() / variance)
            .collect();
        let pair = |(a, b): &(usize, usize)| {
            let (curve_a, curve_b) = (curves.get(*a)?, curves.get(*b)?);
            let plane = self.plane(tree, (*a, *b), (cuts.get(*a)?, cuts.get(*b)?), mean);
            let (wide_a, wide_b) = (widths(*a), widths(*b));
            let mut sum = 0.0;
            for ((row, ca), wa) in plane.iter().zip(curve_a).zip(&wide_a) {
                sum += row.iter().zip(curve_b).zip(&wide_b).map(|((v, cb), wb)| (v - ca - cb).powi(2) * wa * wb).sum::<f64>();
            }
            Some(sum / variance)
        };
        Some(Shares { alone, pairs: pairs.iter().map(|p| pair(p).unwrap_or(0.0)).collect() })
    }

    /// The share of the space that a leaf has on some of the axes.
    fn volume(&self, leaf: &Leaf, on: impl Fn(usize) -> bool) -> f64 {
        let all = leaf.at.iter().zip(&self.dims).enumerate().filter(|(d, _)| on(*d));
        all.map(|(_, (s, dim))| s.iter().map(|(a, b)| b - a).sum::<f64>() / dim.length()).product()
    }

    /// The mean on each interval of one axis over all others, less the mean of all.
    fn curve(&self, tree: &Tree, d: usize, cuts: &[f64], mean: f64) -> Vec<f64> {
        let mut out = vec![-mean; cuts.len().saturating_sub(1)];
        for leaf in &tree.leaves {
            let part = leaf.value * self.volume(leaf, |other| other != d);
            for (from, to) in leaf.at.get(d).into_iter().flatten() {
                let range = place(cuts, *from)..place(cuts, *to);
                out.get_mut(range).into_iter().flatten().for_each(|v| *v += part);
            }
        }
        out
    }

    fn plane(&self, tree: &Tree, (a, b): (usize, usize), (cuts_a, cuts_b): (&[f64], &[f64]), mean: f64) -> Vec<Vec<f64>> {
        let mut out = vec![vec![-mean; cuts_b.len().saturating_sub(1)]; cuts_a.len().saturating_sub(1)];
        for leaf in &tree.leaves {
            let part = leaf.value * self.volume(leaf, |other| other != a && other != b);
            for (from, to) in leaf.at.get(a).into_iter().flatten() {
                for row in out.get_mut(place(cuts_a, *from)..place(cuts_a, *to)).into_iter().flatten() {
                    for (from, to) in leaf.at.get(b).into_iter().flatten() {
                        row.get_mut(place(cuts_b, *from)..place(cuts_b, *to)).into_iter().flatten().for_each(|v| *v += part);
                    }
                }
            }
        }
        out
    }
}

fn fit(values: &[f64], unseen: &[(f64, usize)]) -> f64 {
    let mean = values.iter().sum::<f64>() / count(values.len().max(1));
    let known = || values.iter().zip(unseen).filter(|(_, (_, n))| *n > 0);
    let left: f64 = known().map(|(v, (sum, n))| (v - sum / count(*n)).powi(2)).sum();
    let all: f64 = known().map(|(v, _)| (v - mean).powi(2)).sum();
    if all > 0.0 { 1.0 - left / all } else { 0.0 }
}

/// All ends of leaves on an axis, ascending.
fn cuts(tree: &Tree, d: usize) -> Vec<f64> {
    let mut all: Vec<f64> = tree.leaves.iter().filter_map(|l| l.at.get(d)).flatten().flat_map(|(a, b)| [*a, *b]).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

fn place(cuts: &[f64], at: f64) -> usize {
    cuts.partition_point(|c| *c < at)
}

fn covers(stretch: &Stretch, at: f64) -> bool {
    stretch.iter().any(|(a, b)| (*a <= at && at < *b) || (at >= 1.0 && *b >= 1.0))
}

impl Tree {
    fn predict(&self, at: &[f64]) -> f64 {
        self.leaves.iter().find(|l| l.at.iter().zip(at).all(|(s, a)| covers(s, *a))).map_or(0.0, |l| l.value)
    }
}

struct Grower<'a> {
    dims: &'a [Dim],
    rows: &'a [Vec<f64>],
    values: &'a [f64],
    bits: &'a mut Bits,
    leaves: Vec<Leaf>,
}

/// What a split leaves on each side of one axis, and which trials go left.
struct Cut {
    dim: usize,
    left: Stretch,
    right: Stretch,
    gain: f64,
}

impl Grower<'_> {
    fn value(&self, i: usize) -> f64 {
        self.values.get(i).copied().unwrap_or(0.0)
    }

    fn at(&self, i: usize, d: usize) -> f64 {
        self.rows.get(i).and_then(|r| r.get(d)).copied().unwrap_or(0.0)
    }

    fn split(&mut self, chosen: Vec<usize>, at: Vec<Stretch>, depth: usize) {
        let mean = chosen.iter().map(|i| self.value(*i)).sum::<f64>() / count(chosen.len().max(1));
        let cut = if chosen.len() < 2 * LEAF || depth > 40 { None } else { self.best(&chosen, &at) };
        let Some(cut) = cut else {
            self.leaves.push(Leaf { at, value: mean });
            return;
        };
        let (left, right): (Vec<usize>, Vec<usize>) = chosen.into_iter().partition(|i| covers(&cut.left, self.at(*i, cut.dim)));
        let (mut at_left, mut at_right) = (at.clone(), at);
        at_left.iter_mut().skip(cut.dim).take(1).for_each(|s| s.clone_from(&cut.left));
        at_right.iter_mut().skip(cut.dim).take(1).for_each(|s| s.clone_from(&cut.right));
        self.split(left, at_left, depth + 1);
        self.split(right, at_right, depth + 1);
    }

    /// The best cut of those axes that are looked at: five of six, as in SMAC.
    fn best(&mut self, chosen: &[usize], at: &[Stretch]) -> Option<Cut> {
        let mut best: Option<Cut> = None;
        for d in 0..self.dims.len() {
            if self.dims.len() > 1 && self.bits.below(6) == 0 {
                continue;
            }
            let found = self.cut(chosen, d, at.get(d)?);
            if let Some(cut) = found.filter(|c| best.as_ref().is_none_or(|b| c.gain > b.gain)) {
                best = Some(cut);
            }
        }
        best.filter(|b| b.gain > 1e-12)
    }

    fn cut(&self, chosen: &[usize], d: usize, stretch: &Stretch) -> Option<Cut> {
        let dim = self.dims.get(d)?;
        if dim.words == 0 {
            let mut sorted: Vec<(f64, f64)> = chosen.iter().map(|i| (self.at(*i, d), self.value(*i))).collect();
            sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            let (gain, at) = scan(&sorted)?;
            let clip =
                |from: f64, to: f64| -> Stretch { stretch.iter().map(|(a, b)| (a.max(from), b.min(to))).filter(|(a, b)| b > a).collect() };
            return Some(Cut { dim: d, left: clip(f64::NEG_INFINITY, at), right: clip(at, f64::INFINITY), gain });
        }
        // Words by their means; those that nobody tried go with the right half.
        let part = |at: f64| if at < 0.0 { 0 } else { 1 + index(at, dim.words) };
        let mut sums = vec![(0.0, 0_usize); dim.words + 1];
        for i in chosen {
            sums.iter_mut().skip(part(self.at(*i, d))).take(1).for_each(|s| *s = (s.0 + self.value(*i), s.1 + 1));
        }
        let mean = |p: usize| sums.get(p).filter(|s| s.1 > 0).map_or(f64::INFINITY, |s| s.0 / count(s.1));
        let mut order: Vec<usize> = (0..=dim.words).collect();
        order.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)));
        let rank = |p: usize| count(order.iter().position(|o| *o == p).unwrap_or(0));
        let mut sorted: Vec<(f64, f64)> = chosen.iter().map(|i| (rank(part(self.at(*i, d))), self.value(*i))).collect();
        sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let (gain, at) = scan(&sorted)?;
        let bounds = |p: usize| if p == 0 { (-dim.absent, 0.0) } else { (count(p - 1) / count(dim.words), count(p) / count(dim.words)) };
        let side = |low: bool| -> Stretch {
            let parts = (0..=dim.words).filter(|p| (rank(*p) < at) == low).map(bounds);
            let inside = |(a, b): &(f64, f64)| b > a && stretch.iter().any(|(x, y)| *x <= *a + 1e-12 && *b <= *y + 1e-12);
            parts.filter(inside).collect()
        };
        Some(Cut { dim: d, left: side(true), right: side(false), gain })
    }
}

/// The cut of sorted places that takes away most of the squared error.
fn scan(sorted: &[(f64, f64)]) -> Option<(f64, f64)> {
    let (n, total) = (sorted.len(), sorted.iter().map(|(_, v)| v).sum::<f64>());
    let (mut sum, mut best) = (0.0, None);
    for (i, pair) in sorted.windows(2).enumerate() {
        let [(here, value), (next, _)] = pair else { continue };
        sum += value;
        let (left, right) = (i + 1, n - i - 1);
        if next <= here || left < LEAF || right < LEAF {
            continue;
        }
        let gain = sum * sum / count(left) + (total - sum).powi(2) / count(right) - total * total / count(n);
        if best.is_none_or(|(g, _)| gain > g) {
            best = Some((gain, f64::midpoint(*here, *next)));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: Dim = Dim { words: 0, absent: 0.0 };

    /// Halton's places in three axes.
    fn places(n: usize) -> Vec<Vec<f64>> {
        let radical = |mut i: usize, base: usize| {
            let (mut x, mut f) = (0.0, 1.0);
            while i > 0 {
                f /= count(base);
                x += f * count(i % base);
                i /= base;
            }
            x
        };
        (1..=n).map(|i| vec![radical(i, 2), radical(i, 3), radical(i, 5)]).collect()
    }

    fn means(forest: &Forest, pairs: &[(usize, usize)]) -> (Vec<f64>, Vec<f64>) {
        let all = forest.shares(pairs);
        let mean = |f: &dyn Fn(&Shares) -> f64| all.iter().map(f).sum::<f64>() / count(all.len());
        ((0..3).map(|d| mean(&|s| s.alone[d])).collect(), (0..pairs.len()).map(|p| mean(&|s| s.pairs[p])).collect())
    }

    #[test]
    fn shares_are_those_of_a_known_function() {
        // y = 2a + b: variances 4/12 and 1/12, so 80% and 20%, nothing together, nothing of c.
        let rows = places(400);
        let values: Vec<f64> = rows.iter().map(|r| 2.0 * r[0] + r[1]).collect();
        let forest = Forest::grow(&[NUMBER; 3], &rows, &values);
        let (alone, pairs) = means(&forest, &[(0, 1)]);
        assert!((alone[0] - 0.8).abs() < 0.04 && (alone[1] - 0.2).abs() < 0.04 && alone[2] < 0.01, "{alone:?}");
        assert!(pairs[0] < 0.03 && forest.fit > 0.95, "{pairs:?} {}", forest.fit);
        assert!((forest.marginal(&[(0, 0.9)]) - 2.3).abs() < 0.15 && (forest.predict(&[0.5, 0.5, 0.5]) - 1.5).abs() < 0.15);

        // (a - 1/2)(b - 1/2) is nothing but interaction.
        let values: Vec<f64> = rows.iter().map(|r| (r[0] - 0.5) * (r[1] - 0.5)).collect();
        let (alone, pairs) = means(&Forest::grow(&[NUMBER; 3], &rows, &values), &[(0, 1), (0, 2)]);
        assert!(alone.iter().all(|a| *a < 0.12) && pairs[0] > 0.6 && pairs[1] < 0.1, "{alone:?} {pairs:?}");
    }

    #[test]
    fn words_and_absent_places_are_axes_like_others() {
        // Four words, of which the second and the fourth are good; the second axis exists for half and then matters.
        let words = Dim { words: 4, absent: 0.0 };
        let half = Dim { words: 0, absent: 1.0 };
        let rows: Vec<Vec<f64>> =
            (0..200).map(|i| vec![(count(i % 4) + 0.5) / 4.0, if i % 8 < 4 { f64::NAN } else { count(i) / 200.0 }]).collect();
        let values: Vec<f64> = rows.iter().map(|r| if index(r[0], 4) % 2 == 1 { 0.0 } else { 1.0 }).collect();
        let shares = Forest::grow(&[words, half], &rows, &values).shares(&[]);
        let mean = |shares: &[Shares], d: usize| shares.iter().map(|s| s.alone[d]).sum::<f64>() / count(shares.len());
        assert!(mean(&shares, 0) > 0.9 && mean(&shares, 1) < 0.1, "{} {}", mean(&shares, 0), mean(&shares, 1));
        let values: Vec<f64> = rows.iter().map(|r| if r[1].is_nan() { 0.0 } else { 1.0 }).collect();
        let shares = Forest::grow(&[words, half], &rows, &values).shares(&[]);
        assert!(mean(&shares, 1) > 0.9 && mean(&shares, 0) < 0.1, "{} {}", mean(&shares, 0), mean(&shares, 1));
    }

    #[test]
    fn what_never_varies_explains_nothing() {
        let rows = places(20);
        assert!(Forest::grow(&[NUMBER; 3], &rows, &[1.0; 20]).shares(&[]).is_empty());
        assert!(Forest::grow(&[NUMBER; 3], &[], &[]).shares(&[]).is_empty());
    }
}
