//! Oppen: Terraform for GPU training.
//!
//! The flow, which is also the layout:
//! `files -> spec -> expand -> graph -> price -> queue -> check -> diff = plan -> engine -> backend -> record`
//!
//! Rooms are declared in that order; each may use only rooms above it. The first block is pure: no files, clock, environment,
//! randomness, threads or async.

// ---- pure ----
pub mod base;
pub mod engine;
pub mod expand;
pub mod record;
// ---- input and output begin ----
pub mod backend;
