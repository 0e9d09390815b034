//! Metrics in: what runs print or write to `$OPPEN_METRICS`.
//!
//! In: raw bytes of a log or metrics file, in any pieces. Out: metric points. Must never trust the bytes: memory stays bounded, and
//! nothing but names and numbers comes out.

mod line;
mod parser;

pub use parser::Parser;
