//! Documents to runs: inputs, templates, defaults, matrices, sweep points, fingerprints.
//!
//! In: typed documents and the digests of input files. Out: [`Desired`] runs and diagnostics. Must never read a file or
//! re-parse a rendered value.

pub mod desired;

pub use desired::{Desired, DesiredJob};
