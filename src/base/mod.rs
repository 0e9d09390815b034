//! The vocabulary every room shares: ids, money, time, resources, source places, diagnostics.
//!
//! In: nothing. Out: small value types. Must never read a file, a clock, the environment or randomness.

pub mod diag;
pub mod ids;
pub mod money;
pub mod resources;
pub mod source;
pub mod suggest;
pub mod text;
pub mod time;
pub mod window;

pub use diag::{Diagnostic, Diagnostics, Severity};
pub use ids::{Address, AttemptId, Digest, Fingerprint};
pub use money::Money;
pub use resources::{Capacity, Gpu, Resources};
pub use source::{FileId, SourceMap, Span};
pub use time::{Millis, Timestamp};
pub use window::{Period, Window};

/// A value of the typed tree: what inputs, params and metrics hold. Integers stay integers.
pub type Value = serde_json::Value;
