//! What the ended processes of a keeper used.
//!
//! In: a process whose children have all been waited for. Out: their time on cores and the memory of the largest of them. Must never
//! count a process that still runs.

use std::mem::MaybeUninit;

use crate::base::Millis;
use crate::record::Usage;

/// Of all children of this process that were waited for, and of theirs. None when the system does not say.
pub fn of_children() -> Option<Usage> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills the buffer, which is one `rusage` large; zeroed it is a valid one in any case.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    let millis =
        |t: libc::timeval| u64::try_from(t.tv_sec).unwrap_or(0).saturating_mul(1000) + u64::try_from(t.tv_usec / 1000).unwrap_or(0);
    // Linux counts `ru_maxrss` in KiB: getrusage(2).
    let memory_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024);
    Some(Usage { cpu: Millis(millis(usage.ru_utime).saturating_add(millis(usage.ru_stime))), memory_bytes })
}
