//! File changes as wishes to plan anew.
//!
//! In: the files and folders that a plan rests on. Out: batches of changed paths, after a quiet time. Folders are watched, not
//! files: editors replace files. Must never read a document.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify::{EventKind, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

use crate::files::STATE_FOLDER;

/// What changes are about. Other files in the same folders (what runs leave behind) are passed over.
#[derive(Debug, Clone, Default)]
pub struct Interest {
    /// Folders that are searched for documents.
    pub searched: Vec<PathBuf>,
    /// Files and folders that runs read.
    pub read: Vec<PathBuf>,
}

impl Interest {
    fn concerns(&self, path: &Path) -> bool {
        if path.components().any(|c| c.as_os_str() == STATE_FOLDER) {
            return false;
        }
        let document = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let folder = path.is_dir() || path.extension().is_none();
        document
            || self.read.iter().any(|r| path.starts_with(r))
            || self.searched.iter().any(|s| path == s || (folder && path.parent() == Some(s)))
    }
}

/// Watches a changing set of folders.
pub struct Watcher {
    interest: Arc<Mutex<Interest>>,
    debouncer: Debouncer<notify::RecommendedWatcher, RecommendedCache>,
    folders: BTreeSet<PathBuf>,
}

impl Watcher {
    /// Calls `changed` with the paths of each batch, from a thread of its own. Files of Oppen's own state and things that were only
    /// looked at are left out; a lost event (an overflow) is an empty batch.
    ///
    /// # Errors
    /// When the system has no more watches, in words.
    pub fn start(quiet: Duration, changed: impl Fn(Vec<PathBuf>) + Send + 'static) -> Result<Self, String> {
        let interest: Arc<Mutex<Interest>> = Arc::default();
        let shared = Arc::clone(&interest);
        let handler = move |result: DebounceEventResult| match result {
            Ok(events) => {
                let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
                let interest = shared.lock().map(|i| i.clone()).unwrap_or_default();
                let mut lost = false;
                for event in events.iter().filter(|e| !matches!(e.kind, EventKind::Access(_))) {
                    lost |= event.need_rescan();
                    paths.extend(event.paths.iter().filter(|p| interest.concerns(p)).cloned());
                }
                if lost || !paths.is_empty() {
                    changed(paths.into_iter().collect());
                }
            }
            Err(_) => changed(Vec::new()),
        };
        let debouncer = new_debouncer(quiet, None, handler).map_err(|e| format!("files cannot be watched: {e}"))?;
        Ok(Self { interest, debouncer, folders: BTreeSet::new() })
    }

    /// Watches exactly what is of interest and `files`, by their folders. What is gone is left out until it comes back: its parent
    /// is watched too.
    ///
    /// # Errors
    /// When the system has no more watches, in words.
    pub fn follow(&mut self, interest: Interest, files: &[PathBuf]) -> Result<(), String> {
        let mut wanted = BTreeSet::new();
        for path in interest.searched.iter().chain(&interest.read).chain(files) {
            let parent = path.parent().map(Path::to_owned);
            wanted.extend(if path.is_dir() { Some(path.to_owned()) } else { parent.clone() });
            wanted.extend(parent.filter(|_| path.is_dir()));
        }
        wanted.retain(|p| p.is_dir());
        for gone in self.folders.difference(&wanted) {
            // A folder that was removed is no longer watched already.
            let _ = self.debouncer.unwatch(gone);
        }
        for new in wanted.difference(&self.folders) {
            self.debouncer.watch(new, RecursiveMode::NonRecursive).map_err(|e| format!("{} cannot be watched: {e}", new.display()))?;
        }
        self.folders = wanted;
        if let Ok(mut shared) = self.interest.lock() {
            *shared = interest;
        }
        Ok(())
    }
}
