//! Methods whose trials are known beforehand: grid and random.
//!
//! In: a space, a seed and an index. Out: the point of that index. Must never look at results.

use super::{Sampler, Stuck, Suggestion, Trial};
use crate::expand::domain::Domain;
use crate::expand::lattice::Lattice;
use crate::record::{Method, Params, SearchSpec};

/// The written points, then a grid or random draws.
pub struct Fixed {
    domain: std::sync::Arc<Domain>,
    lattice: Option<Lattice>,
    points: Vec<Params>,
    seed: u64,
}

impl Fixed {
    /// A sampler for `grid` or `random`.
    pub fn new(spec: &SearchSpec, domain: std::sync::Arc<Domain>) -> Result<Self, String> {
        let lattice = match spec.method {
            Method::Grid => match Lattice::new(&domain) {
                Ok(made) => Some(made.map_err(|stuck| stuck.to_string())?),
                Err(endless) => {
                    let name = domain.dims.get(endless.0).map_or("", |d| &*d.name);
                    return Err(format!("a grid over the continuous range of `{name}` has no end"));
                }
            },
            _ => None,
        };
        Ok(Self { domain, lattice, points: spec.points.clone(), seed: spec.seed })
    }
}

impl Sampler for Fixed {
    fn tell(&mut self, _: &Trial) {}

    fn ask(&mut self, index: u64) -> Result<Suggestion, Stuck> {
        let given = usize::try_from(index).ok().and_then(|i| self.points.get(i));
        if let Some(point) = given {
            let params = self.domain.random(self.seed, index, point)?;
            return Ok(Suggestion { params, why: "a point of the file, to be tried first".to_owned() });
        }
        let Some(lattice) = &self.lattice else {
            let params = self.domain.random(self.seed, index, &Params::new())?;
            return Ok(Suggestion { params, why: format!("random draw {index} of seed {}", self.seed) });
        };
        let place = u128::from(index) - self.points.len() as u128;
        let params = lattice.nth(&self.domain, place)?;
        Ok(Suggestion { params, why: format!("point {} of {} of the grid", place + 1, lattice.len()) })
    }

    fn describe(&self) -> String {
        match &self.lattice {
            Some(lattice) => format!("grid of {} points", lattice.len()),
            None => "independent random draws".to_owned(),
        }
    }
}
