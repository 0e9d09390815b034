//! The local backend with real processes, real supervisors and real kills.

#[path = "local/bench.rs"]
mod bench;
#[path = "local/faults.rs"]
mod faults;
#[path = "local/outcomes.rs"]
mod outcomes;
#[path = "local/place.rs"]
mod place;
