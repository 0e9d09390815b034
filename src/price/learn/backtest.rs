//! Does the 95% interval hold 95%? Each run of a history is predicted from those before it alone (rolling origin).
//!
//! In: samples of one job, oldest first. Out: how many fell into their interval, and how wide it was, by how much was known. Must never
//! let a run see itself or what came after it.

use serde::Serialize;

use super::{Seconds, of_job};
use crate::record::Sample;

/// Samples that may be known; the rows of the table.
const STEPS: [(usize, usize); 6] = [(1, 2), (3, 5), (6, 10), (11, 18), (19, 40), (41, usize::MAX)];

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Band {
    /// Fewest and most samples that were known.
    pub known: (usize, usize),
    /// Predictions.
    pub predicted: usize,
    /// Of these, those whose time fell into the interval.
    pub within: usize,
    /// Mean of the upper end over the lower one, as a factor (geometric).
    pub width: f64,
    /// Mean of how far the expected time was off, as a share of the true one.
    pub error: f64,
}

impl Band {
    /// Share of times within their interval.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        if self.predicted == 0 { 0.0 } else { self.within as f64 / self.predicted as f64 }
    }
}

/// Sums of a band while it is filled.
#[derive(Debug, Clone, Default)]
pub struct Table {
    bands: [(usize, usize, f64, f64); STEPS.len()],
}

impl Table {
    /// Adds a history, oldest first.
    pub fn add(&mut self, history: &[Sample]) {
        let mut known: Vec<Sample> = Vec::new();
        for sample in history {
            if sample.is_whole() {
                let window = known.get(..known.len().min(160)).unwrap_or_default();
                if let Some(seconds) = of_job(window, &sample.features, sample.declared) {
                    self.note(&seconds, sample.time.as_secs_f64());
                }
            }
            known.insert(0, sample.clone());
        }
    }

    fn note(&mut self, seconds: &Seconds, took: f64) {
        let place = STEPS.iter().position(|(from, to)| (*from..=*to).contains(&seconds.samples));
        let Some(band) = place.and_then(|i| self.bands.get_mut(i)) else { return };
        band.0 += 1;
        band.1 += usize::from(seconds.low <= took && took <= seconds.high);
        band.2 += (seconds.high / seconds.low).ln();
        band.3 += (seconds.expected / took - 1.0).abs();
    }

    /// The rows that have predictions.
    #[must_use]
    pub fn bands(&self) -> Vec<Band> {
        STEPS
            .iter()
            .zip(&self.bands)
            .filter(|(_, band)| band.0 > 0)
            .map(|(known, band)| {
                let n = band.0 as f64;
                Band { known: *known, predicted: band.0, within: band.1, width: (band.2 / n).exp(), error: band.3 / n }
            })
            .collect()
    }

    /// All rows as one.
    #[must_use]
    pub fn all(&self) -> Band {
        let sum = self.bands.iter().fold((0, 0, 0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2, a.3 + b.3));
        let n = (sum.0.max(1)) as f64;
        Band { known: (1, usize::MAX), predicted: sum.0, within: sum.1, width: (sum.2 / n).exp(), error: sum.3 / n }
    }
}
