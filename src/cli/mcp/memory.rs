//! What a call needed goes back to the system when it is over: a server stays small, however much one answer took.
//!
//! The allocator keeps freed memory for later, in each thread's arena. Who serves for days and is asked about 100,000 waiting runs once would keep
//! hundreds of MiB for nothing.

/// Pages in use from which on it is worth the milliseconds: 32 MiB of 4 KiB each.
const WORTH: u64 = 32 << 8;

/// Gives back what is free, where there is much of it.
pub fn give_back() {
    if own_pages().is_some_and(|pages| pages > WORTH) {
        trim();
    }
}

/// Resident pages that are not of files: resident, less shared (proc(5)).
fn own_pages() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text.split(' ').skip(1).map(|f| f.trim().parse::<u64>().ok());
    Some(fields.next()??.saturating_sub(fields.next()??))
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: it takes no pointer; it locks each arena while it looks at it.
    let _ = unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn trim() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_goes_back() {
        // Small pieces, of which every hundredth stays: the allocator cannot give the rest back from the end.
        let pieces: Vec<Vec<u8>> = (0..400_000).map(|i| vec![1; 200 + i % 7]).collect();
        let full = own_pages().unwrap();
        let kept: Vec<Vec<u8>> = pieces.into_iter().step_by(100).collect();
        give_back();
        let after = own_pages().unwrap();
        assert!(kept.len() == 4000 && after + (40 << 8) < full, "{full} pages, then {after}");
    }
}
