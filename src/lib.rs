//! Oppen: Terraform for GPU training.
//!
//! The flow, which is also the layout:
//! `files -> spec -> expand -> graph -> price -> queue -> check -> diff = plan -> engine -> backend -> record`
//!
//! Rooms are declared in that order; each may use only rooms above it. The first block is pure: no files, clock, environment,
//! randomness, threads or async.

// ---- pure ----
pub mod base;
pub mod record;
pub mod spec;
pub mod expand;
pub mod graph;
pub mod price;
pub mod queue;
pub mod check;
pub mod diff;
pub mod engine;
// ---- input and output begin ----
pub mod files;
pub mod store;
pub mod track;
pub mod backend;
pub mod drive;
pub mod watch;
pub mod cli;
