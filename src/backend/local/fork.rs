//! The one place with unsafe code: a fork without exec, so that starting a keeper costs no start of a program.
//!
//! In: a single-threaded process. Out: a child that owns only the files it was given. Must never run beside another thread.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use rustix::process::Pid;

/// Proof that this process had one thread when it was made; the supervisor makes none later.
#[derive(Debug)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Looks whether this process has one thread.
    ///
    /// # Errors
    /// When it has more, or that cannot be told.
    pub fn check() -> io::Result<Self> {
        match fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            n => Err(io::Error::other(format!("the supervisor must have one thread and has {n}"))),
        }
    }

    /// Runs `body` in a child process, which has of all open files only the standard ones and `keep`. The child ends with `body`.
    ///
    /// # Errors
    /// When the system gives no process.
    pub fn fork(&self, keep: &[RawFd], body: impl FnOnce()) -> io::Result<Pid> {
        // SAFETY: there is no other thread (see `check`), so no lock is held by one that the child lacks.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if let Some(child) = Pid::from_raw(pid) {
            return Ok(child);
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            close_others(keep);
            body();
        }));
        // SAFETY: ends the child at once, without the parent's exit handlers.
        unsafe { libc::_exit(i32::from(done.is_err())) }
    }
}

/// Closes every file from 3 on that is not to be kept. Owners of closed files are never dropped: the child ends with `_exit`.
fn close_others(keep: &[RawFd]) {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    kept.sort_unstable();
    let mut from: u32 = 3;
    for fd in kept.into_iter().map(Some).chain([None]) {
        let to = fd.map_or(u32::MAX, |fd| fd.saturating_sub(1));
        if from <= to {
            // SAFETY: these files belong to copies of the parent's owners, which the child never uses.
            unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
        }
        from = from.max(fd.unwrap_or_default().saturating_add(1));
    }
}
