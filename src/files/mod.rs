//! Files of the project: root, discovery, confinement to the root, digests, objects.
//!
//! In: paths. Out: documents, digests, outputs by content. Must never follow a path out of the project's root.

pub mod drift;
pub mod load;
pub mod objects;
pub mod tree;

use std::path::Path;

use rustc_hash::FxHashMap;

use crate::base::Digest;

pub use load::{Loaded, PROJECT_FILE, STATE_FOLDER, find_root, load, load_in, root_of};
pub use objects::Objects;
pub use tree::{Commit, MAX_FILE, Tree};

/// Reads digests of input files below a root, each path once.
pub struct Digests<'a> {
    root: &'a Path,
    known: FxHashMap<String, Option<(Digest, u64)>>,
}

impl<'a> Digests<'a> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(root: &'a Path) -> Self {
        Self { root, known: FxHashMap::default() }
    }

    /// The digest of a file or folder and its size in bytes; none when there is nothing.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub fn of(&mut self, path: &str) -> Result<Option<(Digest, u64)>, String> {
        if let Some(known) = self.known.get(path) {
            return Ok(*known);
        }
        let digest = match objects::digest_and_size(self.root, path) {
            Ok(digest) => Some(digest),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(format!("`{}`: {e}", crate::base::text::escape(path))),
        };
        self.known.insert(path.to_owned(), digest);
        Ok(digest)
    }
}
