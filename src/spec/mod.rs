//! YAML text to typed documents with places. Doc comments become schemas/*.json.
//!
//! In: texts. Out: typed documents and diagnostics. Must never read a file or evaluate an expression.
