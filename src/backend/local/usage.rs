//! What ended processes used.
//!
//! In: a child of this process. Out: its exit status, its time on cores and the memory of the largest process under it. Must never
//! count a process that still runs.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Pid;

use crate::base::Millis;
use crate::record::Usage;

/// What became of the children that were waited for.
pub enum Reaped {
    /// One is over: how it ended, and what it and its own children used.
    One(ExitStatus, Usage),
    /// None is over now.
    NoneYet,
    /// There is no child.
    NoChild,
}

/// Waits for one child, or for any when none is named; for its end only if `hang`.
///
/// # Errors
/// None but those of the system that are no answer.
pub fn reap(child: Option<Pid>, hang: bool) -> io::Result<Reaped> {
    let pid = child.map_or(-1, |pid| pid.as_raw_nonzero().get());
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: the call fills the two buffers, which are as large as it says; zeroed they are valid in any case.
        let waited = unsafe { libc::wait4(pid, &raw mut status, if hang { 0 } else { libc::WNOHANG }, usage.as_mut_ptr()) };
        match waited {
            0 => return Ok(Reaped::NoneYet),
            // SAFETY: see above.
            1.. => return Ok(Reaped::One(ExitStatus::from_raw(status), of(&unsafe { usage.assume_init() }))),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e if e.raw_os_error() == Some(libc::ECHILD) => return Ok(Reaped::NoChild),
                e => return Err(e),
            },
        }
    }
}

fn of(usage: &libc::rusage) -> Usage {
    let millis =
        |t: libc::timeval| u64::try_from(t.tv_sec).unwrap_or(0).saturating_mul(1000) + u64::try_from(t.tv_usec / 1000).unwrap_or(0);
    // Linux counts `ru_maxrss` in KiB: getrusage(2).
    let memory_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024);
    Usage { cpu: Millis(millis(usage.ru_utime).saturating_add(millis(usage.ru_stime))), memory_bytes }
}

/// Both together: the times add up, of memory the larger one counts.
#[must_use]
pub fn together(a: &Usage, b: &Usage) -> Usage {
    Usage { cpu: Millis(a.cpu.0.saturating_add(b.cpu.0)), memory_bytes: a.memory_bytes.max(b.memory_bytes) }
}
