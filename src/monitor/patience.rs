//! How long an answer is waited for.
//!
//! In: how long sources took before, kept in a small file beside the state. Out: a deadline each. A source that has always answered
//! within 30 ms need not be waited for a second before it is called dead; one that is far away gets its time. Without the file, or where
//! it cannot be written, everything works with the longest deadline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beyond what a source took before.
const MORE: Duration = Duration::from_millis(150);
/// Name of the file.
const FILE: &str = "answers.json";
/// Largest file that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// What is remembered.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    path: PathBuf,
    /// Milliseconds by source.
    took: BTreeMap<String, u64>,
}

impl Patience {
    /// What was remembered in a state folder.
    #[must_use]
    pub fn read(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let small = std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST);
        let took = small.then(|| std::fs::read(&path).ok()).flatten().and_then(|b| serde_json::from_slice(&b).ok());
        Self { path, took: took.unwrap_or_default() }
    }

    /// The deadline of a source: what it took before and a little more, at most `longest`.
    #[must_use]
    pub fn of(&self, source: &str, longest: Duration) -> Duration {
        self.took.get(source).map_or(longest, |ms| (Duration::from_millis(*ms) + MORE).min(longest))
    }

    /// Notes how long an answer took. Slow answers are forgotten slowly, so that one quick answer does not make it look dead.
    pub fn note(&mut self, source: &str, took: Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let known = self.took.get(source).copied().unwrap_or(0);
        let kept = known.saturating_sub(known.div_ceil(8)).max(took);
        self.took.insert(source.to_owned(), kept);
    }

    /// Keeps it, where the state folder is there and can be written.
    pub fn keep(&self) {
        if self.path.parent().is_some_and(Path::is_dir)
            && let Ok(bytes) = serde_json::to_vec(&self.took)
        {
            let fresh = self.path.with_extension(format!("json.{}", std::process::id()));
            let _ = std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, &self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_what_it_took_before_and_a_little_more() {
        let folder = tempfile::tempdir().unwrap();
        let ms = Duration::from_millis;
        let mut patience = Patience::read(folder.path());
        assert_eq!(patience.of("api", ms(1000)), ms(1000), "nothing is known yet");
        patience.note("api", ms(80));
        patience.note("api", ms(8));
        patience.keep();
        let again = Patience::read(folder.path());
        assert_eq!(again.of("api", ms(1000)), ms(220));
        assert_eq!(again.of("api", ms(100)), ms(100));
        std::fs::write(folder.path().join("answers.json"), "{broken").unwrap();
        assert_eq!(Patience::read(folder.path()).of("api", ms(1000)), ms(1000));
    }
}
