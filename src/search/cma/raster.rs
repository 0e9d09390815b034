//! Where the values of an axis of whole numbers or ordered values lie on the unit scale.
//!
//! In: an axis. Out: the stretch of the value at a place. Must never leave the range from 0 to 1.

/// The values of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raster {
    /// Any number.
    Continuous,
    /// Values of the same width.
    Even {
        /// The width.
        cell: f64,
    },
    /// Whole numbers on a logarithmic scale: `min`, `min + step`, ..., each from half a step below to half a step above.
    Logarithmic {
        /// The first.
        min: f64,
        /// The last.
        max: f64,
        /// Between two.
        step: f64,
    },
}

impl Raster {
    /// Of a width; 0 is continuous.
    pub fn even(cell: f64) -> Self {
        if cell > 0.0 { Self::Even { cell } } else { Self::Continuous }
    }

    /// Of whole numbers.
    #[expect(clippy::cast_precision_loss, reason = "bounds are compared on a scale")]
    pub fn logarithmic(min: i64, max: i64, step: i64) -> Self {
        let (min, step) = (min as f64, step.max(1) as f64);
        Self::Logarithmic { min, max: min + ((max as f64 - min) / step).floor() * step, step }
    }

    /// The stretch of the value at a place; the ends of the range are 0 and 1. None for a continuous axis and for one with one value.
    pub fn stretch(self, at: f64) -> Option<(f64, f64)> {
        match self {
            Self::Continuous => None,
            Self::Even { cell } => {
                let values = (1.0 / cell).round();
                let own = (at / cell).floor().clamp(0.0, values - 1.0);
                (values >= 2.0).then_some((own * cell, if own >= values - 1.0 { 1.0 } else { (own + 1.0) * cell }))
            }
            Self::Logarithmic { min, max, step } => {
                let half = step / 2.0;
                let (low, high) = ((min - half).max(0.5).ln(), (max + half).ln());
                let last = ((max - min) / step).round();
                let own = (((low + (high - low) * at).exp() - min) / step).round().clamp(0.0, last);
                let border = |k: f64| ((min + (k + 0.5) * step).ln() - low) / (high - low);
                let (from, to) = (if own == 0.0 { 0.0 } else { border(own - 1.0) }, if own == last { 1.0 } else { border(own) });
                (last >= 1.0).then_some((from, to))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Distribution;

    #[test]
    fn a_stretch_has_the_place_and_one_value() {
        let dist = Distribution::IntLogUniform { min: 8, max: 100, step: 4 };
        let raster = Raster::logarithmic(8, 100, 4);
        for i in 0..1000 {
            let at = f64::from(i) / 1000.0 + 0.0005;
            let (low, high) = raster.stretch(at).unwrap();
            assert!(low <= at && at <= high, "{at}: {low} to {high}");
            let inside = |share: f64| dist.at(low + (high - low) * share);
            assert_eq!(inside(0.001), inside(0.999));
            assert!(high == 1.0 || dist.at(high + 1e-6) != inside(0.5));
        }
        assert_eq!((raster.stretch(0.0).unwrap().0, raster.stretch(1.0).unwrap().1), (0.0, 1.0));
        assert_eq!(Raster::even(0.25).stretch(0.6), Some((0.5, 0.75)));
        assert_eq!([Raster::even(0.0), Raster::even(1.0), Raster::logarithmic(3, 3, 1)].map(|r| r.stretch(0.5)), [None; 3]);
    }
}
