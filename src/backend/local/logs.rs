//! An attempt's output, as it grows.
//!
//! In: its files. Out: bytes from the start. Must never wait for an attempt that is over.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use super::files::Files;

const PAUSE: Duration = Duration::from_millis(100);

/// Reads a log; when following, to the attempt's end.
pub struct Logs {
    files: Files,
    file: Option<File>,
    follow: bool,
}

impl Logs {
    /// Opens the log.
    ///
    /// # Errors
    /// When there is none. A follower waits for it while the attempt is about to start.
    pub fn open(files: Files, follow: bool) -> io::Result<Self> {
        let file = match File::open(files.log()) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound && follow && files.is_kept() => None,
            Err(e) => return Err(e),
        };
        Ok(Self { files, file, follow })
    }
}

impl Read for Logs {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Looked at before reading: what was written before the end is then read still.
            let more = self.follow && self.files.is_kept();
            if self.file.is_none() {
                self.file = File::open(self.files.log()).ok();
            }
            let n = self.file.as_mut().map_or(Ok(0), |file| file.read(buffer))?;
            if n > 0 || !more || buffer.is_empty() {
                return Ok(n);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
