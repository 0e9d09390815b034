//! Oppen: Terraform for GPU training.
//!
//! The flow, which is also the layout:
//! `files -> spec -> expand -> graph -> price -> queue -> check -> diff = plan -> engine -> backend -> record`
//!
//! Rooms are declared in that order; each may use only rooms above it. The first block is pure: no files, clock, environment,
//! randomness, threads or async.

// Nothing that is read may bring the process down.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented, clippy::dbg_macro)]
#![deny(clippy::disallowed_methods)]
#![warn(missing_docs)]

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
pub mod advise;
pub mod search;
pub mod engine;
// ---- input and output begin ----
#[expect(clippy::disallowed_methods, reason = "this room does input and output")]
pub mod files;
#[expect(clippy::disallowed_methods, reason = "this room does input and output")]
pub mod store;
pub mod track;
#[expect(clippy::disallowed_methods, reason = "this room does input and output")]
pub mod backend;
#[expect(clippy::disallowed_methods, reason = "this room does input and output")]
pub mod drive;
pub mod watch;
pub mod mcp;
#[expect(clippy::disallowed_methods, reason = "this room does input and output")]
pub mod monitor;
#[expect(clippy::disallowed_methods, reason = "this room does input and output")]
pub mod cli;
