//! Causes that only a log tells: broken GPUs, and memory that ran out inside the program.
//!
//! In: the last bytes of a failed attempt's output. Out: a cause with the line that shows it. Must never be asked about a success.

use crate::base::text::escape;
use crate::record::event::Cause;

/// How much of a log's end is worth reading, in bytes.
pub const LOG_TAIL: u64 = 64 * 1024;

/// Words of the NVIDIA driver and of CUDA about hardware that cannot be trusted any more.
const BAD_GPU: [&str; 9] = [
    "uncorrectable ECC error",
    "CUDA_ERROR_ECC_UNCORRECTABLE",
    "uncorrectable NVLink error",
    "CUDA_ERROR_NVLINK_UNCORRECTABLE",
    "NVRM: Xid",
    "GPU has fallen off the bus",
    "GPU is lost",
    "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "CUDA-capable device(s) is/are busy or unavailable",
];

/// Words of frameworks about memory of the GPU or of the host.
const OUT_OF_MEMORY: [&str; 6] = [
    "CUDA out of memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "torch.OutOfMemoryError",
    "torch.cuda.OutOfMemoryError",
    "RESOURCE_EXHAUSTED: Out of memory",
    "Cannot allocate memory",
];

/// The cause that the log shows, with the line that shows it. A broken GPU counts before memory.
#[must_use]
pub fn from_log(tail: &[u8]) -> Option<(Cause, String)> {
    let text = String::from_utf8_lossy(tail);
    let find = |words: &[&str]| text.lines().find(|line| words.iter().any(|w| line.contains(w))).map(shown);
    let memory = || {
        find(&OUT_OF_MEMORY)
            .or_else(|| text.lines().find(|line| line.trim_end() == "MemoryError" || line.starts_with("MemoryError:")).map(shown))
    };
    find(&BAD_GPU).map(|line| (Cause::BadGpu, line)).or_else(|| memory().map(|line| (Cause::OutOfMemory, line)))
}

fn shown(line: &str) -> String {
    escape(line.trim()).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_hardware_from_memory_from_plain_errors() {
        let cause = |text: &str| from_log(text.as_bytes()).map(|(cause, _)| cause);
        assert_eq!(cause("x\nRuntimeError: CUDA error: uncorrectable ECC error encountered\n"), Some(Cause::BadGpu));
        assert_eq!(cause("[1.2] NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."), Some(Cause::BadGpu));
        assert_eq!(cause("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"), Some(Cause::OutOfMemory));
        assert_eq!(cause("Traceback\nMemoryError\n"), Some(Cause::OutOfMemory));
        assert_eq!(cause("ValueError: not a MemoryError"), None);
        assert_eq!(from_log(b"\xff\x1b[31mGPU is lost\x1b[0m"), Some((Cause::BadGpu, "\u{fffd}\\x1b[31mGPU is lost\\x1b[0m".to_owned())));
    }
}
