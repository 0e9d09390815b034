//! What `/proc` tells about this machine and its processes.
//!
//! In: pids. Out: facts that hold for one process only, never for the next one with the same pid. Must never signal anybody.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};

use rustix::process::Pid;

/// Changes with every start of the machine.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started, in clock ticks since the machine did; none when there is no such process. With the pid and the boot id
/// this names one process for ever.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat_field(&fs::read(format!("/proc/{pid}/stat")).ok()?, 22)
}

/// A field of a `stat` line, counted from 1 as in proc(5). The second field, the name, may hold anything, brackets included.
fn stat_field(stat: &[u8], number: usize) -> Option<u64> {
    let after_name = stat.get(stat.iter().rposition(|b| *b == b')')? + 1..)?;
    let text = std::str::from_utf8(after_name).ok()?;
    text.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Processes the kernel has ended for want of memory since the start of the machine.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Children of this (single-threaded) process.
#[must_use]
pub fn own_children() -> Vec<Pid> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok().and_then(Pid::from_raw)).collect()
}

/// Processes that have this variable in the environment they were started with, as far as they may be looked at.
#[must_use]
pub fn with_variable(name: &str, value: &str) -> Vec<Pid> {
    let wanted = format!("{name}={value}");
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| has(*pid, wanted.as_bytes())).filter_map(Pid::from_raw).collect()
}

/// Whether the process was started with `NAME=value`.
#[must_use]
pub fn has_variable(pid: Pid, name: &str, value: &str) -> bool {
    has(pid.as_raw_nonzero().get(), format!("{name}={value}").as_bytes())
}

fn has(pid: i32, wanted: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|b| *b == 0).any(|pair| pair == wanted))
}

/// Where this process's command line stands in its memory: what `ps` shows. The same after a fork.
#[derive(Debug, Clone, Copy, Default)]
pub struct Title {
    start: u64,
    room: usize,
}

impl Title {
    /// Finds it; without it nothing will be shown.
    #[must_use]
    pub fn find() -> Self {
        let found = fs::read("/proc/self/stat").ok().and_then(|stat| {
            let (start, end) = (stat_field(&stat, 48)?, stat_field(&stat, 49)?);
            Some(Self { start, room: usize::try_from(end.checked_sub(start)?).ok()? })
        });
        found.unwrap_or_default()
    }

    /// Shows `text` for this process, as far as the old command line leaves room. What cannot be shown is no error.
    pub fn show(self, text: &str) {
        let Some(letters) = self.room.checked_sub(1) else { return };
        let mut bytes: Vec<u8> = text.bytes().take(letters).collect();
        bytes.resize(self.room, 0);
        if let Ok(mut memory) = fs::OpenOptions::new().write(true).open("/proc/self/mem") {
            let _ = memory.seek(SeekFrom::Start(self.start)).and_then(|_| memory.write_all(&bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_fields() {
        let stat = b"7 (a) b (c) S 1 7 7 0 -1 4 5 6 7 8 9 10 11 12 13 14 15 16 4242 18";
        assert_eq!(stat_field(stat, 22), Some(4242));
        assert_eq!(stat_field(b"7 (a", 22), None);
        assert_eq!(stat_field(b"7 (a) S", 22), None);
        assert!(start_ticks(std::process::id()).is_some());
        assert_eq!(start_ticks(u32::MAX), None);
    }
}
