//! The engine's clock: the wall clock at the start, and from there on only what really passed.

use std::time::Instant;

use crate::base::{Millis, Timestamp};

/// Never jumps: a wall clock that is set while an engine runs gives no early timeout and no negative time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Timestamp,
    start: Instant,
}

impl Clock {
    /// Starts at the wall clock.
    #[must_use]
    pub fn start() -> Self {
        Self { wall: Timestamp(chrono::Utc::now().timestamp_millis()), start: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.wall.after(Millis(passed))
    }
}
