//! Sweeps on this machine, end to end: limits, pauses, search, pruning, kills.

#[path = "sweeps/answers.rs"]
mod answers;
#[path = "sweeps/bad.rs"]
mod bad;
#[path = "sweeps/checkpoint.rs"]
mod checkpoint;
#[path = "sweeps/import.rs"]
mod import;
#[path = "sweeps/insight.rs"]
mod insight;
#[path = "sweeps/limits.rs"]
mod limits;
#[path = "sweeps/population.rs"]
mod population;
#[path = "sweeps/project.rs"]
mod project;
#[path = "sweeps/pruning.rs"]
mod pruning;
