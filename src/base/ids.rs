//! Names of things: addresses of runs, attempts, content digests.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// `workflow/job` or `workflow/job[key]`: a run's stable name in plans, state and selectors.
/// A job of a used template is `workflow/outer.inner`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(Arc<str>);

impl Address {
    /// Joins the parts. `key` is what stands in brackets, if the job has several runs.
    #[must_use]
    pub fn new(workflow: &str, job: &str, key: Option<&str>) -> Self {
        Self(match key {
            Some(key) => format!("{workflow}/{job}[{key}]").into(),
            None => format!("{workflow}/{job}").into(),
        })
    }

    /// Takes an address as a person wrote it; only its shape is checked.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the shape.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (workflow, rest) =
            text.split_once('/').ok_or_else(|| format!("`{text}` is not an address: expected workflow/job or workflow/job[key]"))?;
        let job = rest.split('[').next().unwrap_or_default();
        let closed = rest.contains('[') == rest.ends_with(']');
        if workflow.is_empty() || job.is_empty() || !closed {
            return Err(format!("`{text}` is not an address: expected workflow/job or workflow/job[key]"));
        }
        Ok(Self(text.into()))
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The workflow's name.
    #[must_use]
    pub fn workflow(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// `workflow/job` without the key: what `needs` and groups of runs refer to.
    #[must_use]
    pub fn job(&self) -> &str {
        self.0.split('[').next().unwrap_or_default()
    }

    /// What stands in brackets.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.split_once('[').and_then(|(_, k)| k.strip_suffix(']'))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One submission of a run to a backend. `generation` counts how often the run was planned anew (an edit, a retry by
/// hand), `number` the tries inside a generation; both start at 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptId {
    /// The run.
    pub address: Address,
    /// Which planning of the run.
    pub generation: u32,
    /// Which try of that planning.
    pub number: u32,
}

impl AttemptId {
    /// The deterministic name under which a backend knows this attempt: at most 58 characters, a valid DNS label,
    /// unique by the hash of lineage and address. The same attempt always gets the same name.
    #[must_use]
    pub fn name(&self, lineage: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(lineage.as_bytes());
        hasher.update(&[0]);
        hasher.update(self.address.as_str().as_bytes());
        let hash = hasher.finalize().to_hex();
        let mut readable = String::new();
        for c in self.address.as_str().chars().flat_map(char::to_lowercase) {
            let c = if c.is_ascii_alphanumeric() { c } else { '-' };
            if !(c == '-' && (readable.is_empty() || readable.ends_with('-'))) {
                readable.push(c);
            }
        }
        readable.truncate(26);
        let readable = readable.trim_matches('-');
        let readable = if readable.starts_with(|c: char| c.is_ascii_alphabetic()) { readable.to_owned() } else { format!("r-{readable}") };
        format!("{}-{}-g{}-a{}", readable.trim_end_matches('-'), &hash[..12], self.generation, self.number)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (generation {}, attempt {})", self.address, self.generation, self.number)
    }
}

/// A BLAKE3 digest of content, shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub [u8; 32]);

/// BLAKE3 of what makes a run's result; equal fingerprints mean equal work.
pub type Fingerprint = Digest;

impl Digest {
    /// Digest of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first 12 hex digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// Reads 64 hex digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|h| Self(*h.as_bytes()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hex digits"))
    }
}
