//! Who runs next: limits, the ready set, admission, and the forecast that plays it forward.
//!
//! In: demands of ready runs and the pool's limits. Out: the order of admission, start times, and the reason each run waits.
//! The engine, the plan and the forecast admit through [`Pool`] alone, so that what was shown is what happens.

pub mod board;
pub mod forecast;
pub mod gate;
pub mod hold;
pub mod limits;
pub mod meter;
pub mod pool;
pub mod treasury;
mod usage;
pub mod wait;

pub use board::{Board, board};
pub use forecast::{Forecast, Start, forecast};
pub use gate::{Ask, Decision, Gate};
pub use hold::{Hold, Opening};
pub use limits::{Demand, Limits, Quotas, TeamLimits};
pub use meter::Meters;
pub use pool::Pool;
pub use treasury::{Account, Refusal, Treasury};
pub use wait::WaitReason;
