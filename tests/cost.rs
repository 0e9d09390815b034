//! `oppen cost`, `budget` and `verify`, with the real binary, on the committed examples, on a real apply, and on bad input.

#[path = "cost/advice.rs"]
mod advice;
#[path = "cost/estimate.rs"]
mod estimate;
#[path = "cost/forecast.rs"]
mod forecast;
#[path = "cost/ledger.rs"]
mod ledger;
#[path = "cost/money.rs"]
mod money;
#[path = "cost/race.rs"]
mod race;
#[path = "cost/project.rs"]
mod project;
