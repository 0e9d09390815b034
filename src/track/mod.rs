//! Metrics in: what runs print or write to `$OPPEN_METRICS`, and what they log to an MLflow server.
//!
//! In: raw bytes of a log or metrics file, in any pieces; answers of a server. Out: metric points. Must never trust either: memory
//! stays bounded, and nothing but names and numbers comes out.

mod line;
pub mod mlflow;
mod parser;
pub mod sight;

pub use parser::Parser;
