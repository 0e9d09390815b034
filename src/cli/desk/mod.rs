//! What people and agents ask the queue for: submit, stop, cancel, prioritize, pause; and what they look at.
//!
//! In: typed questions. Out: typed answers, or a [`Failure`] with what to do next. `oppen submit`, `oppen queue` and the agent tools
//! call the same functions. Whatever changes something goes to the engine as a request; must never decide what the engine decides.

pub mod approval;
pub mod ask;
pub mod engine;
pub mod submit;
