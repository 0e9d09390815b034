//! What follows the end of an attempt.

use crate::base::Millis;
use crate::record::{Cause, RunRecord};

/// What the engine does after an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The run has succeeded.
    Done,
    /// The run was cancelled.
    Cancelled,
    /// The trial was ended early, and counts as done.
    Prune,
    /// The trial waits at its rung.
    Pause,
    /// Try again after this long.
    Retry(Millis),
    /// The run has failed.
    Fail(Cause),
}

/// Decides by the causes of all attempts of this generation: each cause has tries of its own.
#[must_use]
pub fn after(record: &RunRecord) -> Next {
    let causes = || record.attempts.iter().filter_map(|a| a.outcome.as_ref()).map(|o| o.cause);
    let Some(last) = causes().next_back() else { return Next::Fail(Cause::Lost) };
    let retry = &record.spec.job.retry;
    let allowed = match last {
        // Who asked to end a run does not get a result, even if it was quicker.
        _ if record.cancel_requested => return Next::Cancelled,
        Cause::Success => return Next::Done,
        Cause::Cancelled => return Next::Cancelled,
        Cause::Pruned => return Next::Prune,
        Cause::Paused => return Next::Pause,
        // The sweep's money is used up: that is no failure of the trial.
        Cause::Budget if record.spec.job.sweep.as_ref().is_some_and(|s| s.max_cost.is_some()) => return Next::Prune,
        Cause::Error => retry.errors,
        Cause::OutOfMemory => retry.out_of_memory,
        Cause::BadGpu => retry.bad_gpu,
        Cause::Timeout => retry.timeouts,
        Cause::Interrupted | Cause::Lost => retry.interruptions,
        Cause::Unschedulable | Cause::Refused | Cause::Budget => 0,
    };
    let same = |cause: Cause| match (cause, last) {
        (Cause::Interrupted | Cause::Lost, Cause::Interrupted | Cause::Lost) => true,
        (a, b) => a == b,
    };
    let count = u32::try_from(causes().filter(|c| same(*c)).count()).unwrap_or(u32::MAX);
    if count > allowed {
        return Next::Fail(last);
    }
    let factor = 1_u64.checked_shl(count.saturating_sub(1)).unwrap_or(u64::MAX);
    Next::Retry(retry.backoff.times(factor).min(retry.backoff_max))
}
