//! Documents to runs: inputs, templates, defaults, matrices, sweep points, fingerprints.
//!
//! In: typed documents and the digests of input files. Out: [`Desired`] runs and diagnostics. Must never read a file or
//! re-parse a rendered value.

pub mod desired;
mod dimension;
pub mod inputs;
pub mod paths;
pub mod space;
pub mod shell;
pub mod template;

pub use desired::{Desired, DesiredJob};
