//! Sequences that fill a space evenly: Sobol's with the direction numbers of Joe and Kuo (2008) and a nested uniform scrambling (Owen
//! 1995, by the hash of Burley 2020), Halton's with scrambled digits (Owen 2017).
//!
//! In: a space, a seed, an index. Out: that point of the sequence. Must never look at results.

use std::sync::Arc;

use super::{Sampler, Stuck, Suggestion, Trial};
use crate::expand::dimension::Bits;
use crate::expand::domain::Domain;
use crate::record::{Method, SearchSpec};

/// Degree, coefficients and first direction numbers of dimensions 2 to 40: the table `new-joe-kuo-6` (BSD licence).
const JOE_KUO: [(u32, u32, &[u32]); 39] = [
    (1, 0, &[1]),
    (2, 1, &[1, 3]),
    (3, 1, &[1, 3, 1]),
    (3, 2, &[1, 1, 1]),
    (4, 1, &[1, 1, 3, 3]),
    (4, 4, &[1, 3, 5, 13]),
    (5, 2, &[1, 1, 5, 5, 17]),
    (5, 4, &[1, 1, 5, 5, 5]),
    (5, 7, &[1, 1, 7, 11, 19]),
    (5, 11, &[1, 1, 5, 1, 1]),
    (5, 13, &[1, 1, 1, 3, 11]),
    (5, 14, &[1, 3, 5, 5, 31]),
    (6, 1, &[1, 3, 3, 9, 7, 49]),
    (6, 13, &[1, 1, 1, 15, 21, 21]),
    (6, 16, &[1, 3, 1, 13, 27, 49]),
    (6, 19, &[1, 1, 1, 15, 7, 5]),
    (6, 22, &[1, 3, 1, 15, 13, 25]),
    (6, 25, &[1, 1, 5, 5, 19, 61]),
    (7, 1, &[1, 3, 7, 11, 23, 15, 103]),
    (7, 4, &[1, 3, 7, 13, 13, 15, 69]),
    (7, 7, &[1, 1, 3, 13, 7, 35, 63]),
    (7, 8, &[1, 3, 5, 9, 1, 25, 53]),
    (7, 14, &[1, 3, 1, 13, 9, 35, 107]),
    (7, 19, &[1, 3, 1, 5, 27, 61, 31]),
    (7, 21, &[1, 1, 5, 11, 19, 41, 61]),
    (7, 28, &[1, 3, 5, 3, 3, 13, 69]),
    (7, 31, &[1, 1, 7, 13, 1, 19, 1]),
    (7, 32, &[1, 3, 7, 5, 13, 19, 59]),
    (7, 37, &[1, 1, 3, 9, 25, 29, 41]),
    (7, 41, &[1, 3, 5, 13, 23, 1, 55]),
    (7, 42, &[1, 3, 7, 3, 13, 59, 17]),
    (7, 50, &[1, 3, 1, 3, 5, 53, 69]),
    (7, 55, &[1, 1, 5, 5, 23, 33, 13]),
    (7, 56, &[1, 1, 7, 7, 1, 61, 123]),
    (7, 59, &[1, 1, 7, 9, 13, 61, 49]),
    (7, 62, &[1, 3, 3, 5, 3, 55, 33]),
    (8, 14, &[1, 3, 1, 15, 31, 13, 49, 245]),
    (8, 21, &[1, 3, 5, 15, 31, 59, 63, 97]),
    (8, 22, &[1, 3, 1, 11, 11, 11, 77, 249]),
];

/// The sampler.
pub struct Quasi {
    domain: Arc<Domain>,
    spec: SearchSpec,
    /// One generator a dimension.
    axes: Vec<Axis>,
}

enum Axis {
    /// Direction numbers and the seed of the scrambling.
    Sobol(Box<[u32; 32]>, u32),
    /// Base and a permutation of the digits at each place.
    Halton(u64, Vec<Vec<u64>>),
}

impl Quasi {
    /// A sampler for `sobol` or `halton`. Beyond 40 dimensions Halton's digits serve for the rest.
    pub fn new(spec: &SearchSpec, domain: Arc<Domain>) -> Self {
        let axes = domain
            .dims
            .iter()
            .enumerate()
            .map(|(d, dim)| {
                let mut bits = Bits::new(spec.seed, 0, &dim.name, 1);
                match (spec.method, directions(d)) {
                    (Method::Sobol, Some(v)) => Axis::Sobol(Box::new(v), (bits.word() >> 32) as u32),
                    _ => halton(prime(d), &mut bits),
                }
            })
            .collect();
        Self { domain, spec: spec.clone(), axes }
    }
}

impl Axis {
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn at(&self, index: u64) -> f64 {
        match self {
            Self::Sobol(v, seed) => {
                let x = v.iter().enumerate().filter(|(k, _)| index >> k & 1 == 1).fold(0, |x, (_, v)| x ^ v);
                f64::from(scramble(x, *seed)) / 4_294_967_296.0
            }
            Self::Halton(base, permutations) => {
                let (mut rest, mut scale, mut x) = (index, 1.0, 0.0);
                for permutation in permutations {
                    scale /= *base as f64;
                    let digit = usize::try_from(rest % base).ok().and_then(|d| permutation.get(d)).copied().unwrap_or(0);
                    x += digit as f64 * scale;
                    rest /= base;
                }
                x.min(1.0 - f64::EPSILON)
            }
        }
    }
}

/// Direction numbers of a dimension, as far as the table goes.
fn directions(d: usize) -> Option<[u32; 32]> {
    let mut v = [0_u32; 32];
    let Some(row) = d.checked_sub(1) else {
        v.iter_mut().enumerate().for_each(|(k, v)| *v = 1 << (31 - k));
        return Some(v);
    };
    let (degree, a, first) = JOE_KUO.get(row)?;
    let s = *degree as usize;
    for k in 0..32 {
        v[k] = match first.get(k) {
            Some(m) => m << (31 - k),
            None => (1..s).fold(v[k - s] ^ (v[k - s] >> s), |x, j| if a >> (s - 1 - j) & 1 == 1 { x ^ v[k - j] } else { x }),
        };
    }
    Some(v)
}

/// Owen's nested uniform scrambling by a hash of the higher bits (Laine and Karras 2011, constants of Burley 2020).
fn scramble(x: u32, seed: u32) -> u32 {
    let mut x = x.reverse_bits();
    x = x.wrapping_add(seed);
    for odd in [0x6c50_b47c_u32, 0xb82f_1e52, 0xc7af_e638, 0x8d22_f6e6] {
        x ^= x.wrapping_mul(odd);
    }
    x.reverse_bits()
}

fn halton(base: u64, bits: &mut Bits) -> Axis {
    // Enough digits for 2^32 points, and for the scrambling to fill 2^-32.
    let places = std::iter::successors(Some(1_u64), |n| Some(n * base)).take_while(|n| *n < 1 << 32).count();
    let permutations = (0..places)
        .map(|_| {
            let mut digits: Vec<u64> = (0..base).collect();
            for i in (1..digits.len()).rev() {
                let j = usize::try_from(bits.word() % (i as u64 + 1)).unwrap_or(0);
                digits.swap(i, j);
            }
            digits
        })
        .collect();
    Axis::Halton(base, permutations)
}

/// Prime number `d`, from 2.
fn prime(d: usize) -> u64 {
    (2..).filter(|n: &u64| (2..*n).take_while(|k| k * k <= *n).all(|k| !n.is_multiple_of(k))).nth(d).unwrap_or(2)
}

impl Sampler for Quasi {
    fn tell(&mut self, _: &Trial) {}

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        if let Some(point) = usize::try_from(index).ok().and_then(|i| self.spec.points.get(i)) {
            let params = self.domain.random(self.spec.seed, index, point)?;
            return Ok(Suggestion { params, why: "a point of the file, to be tried first".to_owned() });
        }
        let place = index - self.spec.points.len() as u64;
        // A point that is not allowed gives way to a random one, so that the others keep their places.
        let point = self.domain.point(|d| self.domain.dims[d].dist.at(self.axes[d].at(place)))?;
        if !self.domain.admits(&point)? {
            let params = self.domain.random(self.spec.seed, index, &crate::record::Params::new())?;
            return Ok(Suggestion { params, why: "random: this point of the sequence does not meet the constraints".to_owned() });
        }
        Ok(Suggestion { params: point, why: format!("point {place} of the {} sequence", self.spec.method.name()) })
    }

    fn describe(&self) -> String {
        format!("{} sequence, scrambled by seed {}", self.spec.method.name(), self.spec.seed)
    }
}
