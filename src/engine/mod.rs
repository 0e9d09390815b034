//! The engine: all of execution's decisions, as a pure function of state, input and time.
//!
//! In: an [`Input`] and `now`. Out: [`Step`]: events to make durable, then commands to perform. Must never touch a clock, a
//! file, a thread or a backend: `drive` does that, and the simulator does it with faults.

pub mod port;

pub use port::{Command, Input, Launch, Observation, Order, Step};
