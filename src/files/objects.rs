//! Files by content: what runs leave behind and what they read, under BLAKE3 digests.
//!
//! In: paths below the project's root. Out: digests, and copies that can be restored byte for byte. Must never read or write outside
//! the root (symlinks included), and never hand out an object whose content is not what its name says.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::Digest;
use crate::record::state::OutputRecord;

mod tree;

use tree::Kind;

/// Folder of Oppen's own state: never an input or an output.
const STATE_FOLDER: &str = ".oppen";
const CHUNK: usize = 256 * 1024;

/// The digest of a file's bytes, or of a folder: names, executable bits and contents of all below it. Symbolic links count as what
/// they lead to, inside the root only.
///
/// # Errors
/// When something is missing, unreadable, neither file nor folder, or outside the root.
pub fn digest_path(root: &Path, path: &str) -> io::Result<Digest> {
    digest_and_size(root, path).map(|(digest, _)| digest)
}

/// As [`digest_path`], with the bytes of all files.
///
/// # Errors
/// As [`digest_path`].
pub fn digest_and_size(root: &Path, path: &str) -> io::Result<(Digest, u64)> {
    let found = confine(root, path)?;
    if !found.is_dir() {
        return digest_file(&found);
    }
    let entries = tree::walk(&root.canonicalize()?, &found)?;
    let mut total = 0_u64;
    let manifest = tree::manifest(&entries, |entry| {
        let (digest, bytes) = digest_file(&entry.source)?;
        total = total.saturating_add(bytes);
        Ok(digest)
    })?;
    Ok((tree::digest(&manifest), total))
}

/// The real place of a path that must lie below the root and outside Oppen's own state, after all symbolic links.
///
/// # Errors
/// `NotFound` when there is nothing, `PermissionDenied` when it leads out of the root.
pub fn confine(root: &Path, path: &str) -> io::Result<PathBuf> {
    let root = root.canonicalize()?;
    let found = root.join(path).canonicalize()?;
    tree::inside(&root, &found, path)?;
    let kind = fs::metadata(&found)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(found);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is neither a file nor a folder", crate::base::text::escape(path))))
}

/// A store of objects in one folder (`.oppen/objects`).
#[derive(Debug, Clone)]
pub struct Objects {
    dir: PathBuf,
}

impl Objects {
    /// The store in `dir`, which is made when the first object comes.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Keeps the content of a file or folder below `root`. What is there already is not written again.
    ///
    /// # Errors
    /// As [`digest_path`], and when the store cannot be written; nothing half-written is ever visible.
    pub fn put(&self, root: &Path, path: &str) -> io::Result<OutputRecord> {
        let found = confine(root, path)?;
        let (digest, bytes) = if found.is_dir() {
            let entries = tree::walk(&root.canonicalize()?, &found)?;
            let mut total = 0_u64;
            let manifest = tree::manifest(&entries, |entry| {
                let (digest, bytes) = self.keep(&entry.source)?;
                total = total.saturating_add(bytes);
                Ok(digest)
            })?;
            let digest = tree::digest(&manifest);
            self.keep_manifest(&digest, &manifest)?;
            (digest, total)
        } else {
            self.keep(&found)?
        };
        Ok(OutputRecord { path: path.to_owned(), digest: Some(digest), bytes })
    }

    /// Whether the content of a record is here.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.place(digest).exists() || self.manifest_place(digest).exists()
    }

    /// Puts a record's content back to its path below `root`, unless it is there already. A file or folder in its place is replaced.
    ///
    /// # Errors
    /// When the object is missing or damaged, or the place cannot be written or leads out of the root; the old content stays then.
    pub fn restore(&self, root: &Path, record: &OutputRecord) -> io::Result<()> {
        let Some(digest) = &record.digest else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("`{}` has no stored content", record.path)));
        };
        if digest_path(root, &record.path).is_ok_and(|now| now == *digest) {
            return Ok(());
        }
        let target = prepare_target(root, &record.path)?;
        let fresh = sibling(&target);
        let made =
            if self.manifest_place(digest).exists() { self.restore_folder(digest, &fresh) } else { self.copy_out(digest, &fresh, false) };
        let placed = made.and_then(|()| replace(&fresh, &target));
        if placed.is_err() {
            let _ = remove_any(&fresh);
        }
        placed
    }

    fn restore_folder(&self, digest: &Digest, into: &Path) -> io::Result<()> {
        let manifest = fs::read(self.manifest_place(digest))?;
        if tree::digest(&manifest) != *digest {
            return Err(damaged(digest));
        }
        fs::create_dir(into)?;
        for (name, kind) in tree::parse(&manifest).ok_or_else(|| damaged(digest))? {
            let place = into.join(&name);
            match kind {
                Kind::Folder => fs::create_dir(&place)?,
                Kind::File { digest, executable } => self.copy_out(&digest, &place, executable)?,
            }
        }
        Ok(())
    }

    fn copy_out(&self, digest: &Digest, to: &Path, executable: bool) -> io::Result<()> {
        let mut from = File::open(self.place(digest))?;
        let mode = if executable { 0o777 } else { 0o666 };
        let mut file = fs::OpenOptions::new().write(true).read(true).create_new(true).mode(mode).open(to)?;
        let (found, _) = transfer(&mut from, &mut file)?;
        if found == *digest { Ok(()) } else { Err(damaged(digest)) }
    }

    fn keep(&self, source: &Path) -> io::Result<(Digest, u64)> {
        let mut from = File::open(source)?;
        let fresh = self.fresh()?;
        let kept = self.create(&fresh).and_then(|mut file| transfer(&mut from, &mut file)).and_then(|(digest, bytes)| {
            self.publish(&fresh, &self.place(&digest))?;
            Ok((digest, bytes))
        });
        if kept.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        kept
    }

    fn keep_manifest(&self, digest: &Digest, manifest: &[u8]) -> io::Result<()> {
        let fresh = self.fresh()?;
        let kept =
            self.create(&fresh).and_then(|mut f| f.write_all(manifest)).and_then(|()| self.publish(&fresh, &self.manifest_place(digest)));
        if kept.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        kept
    }

    fn publish(&self, fresh: &Path, place: &Path) -> io::Result<()> {
        if place.exists() {
            return fs::remove_file(fresh);
        }
        if let Some(folder) = place.parent() {
            private_dir(folder)?;
        }
        fs::set_permissions(fresh, fs::Permissions::from_mode(0o400))?;
        fs::rename(fresh, place)
    }

    fn create(&self, fresh: &Path) -> io::Result<File> {
        fs::OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(fresh)
    }

    fn fresh(&self) -> io::Result<PathBuf> {
        private_dir(&self.dir)?;
        Ok(sibling(&self.dir.join("object")))
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.dir.join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    fn manifest_place(&self, digest: &Digest) -> PathBuf {
        self.place(digest).with_extension("dir")
    }
}

/// A folder only for its owner, with all above it.
fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// An unused name beside a path, for a rename.
fn sibling(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

/// The place of an output that may not exist yet: its folders are made, and none of them leads out of the root.
fn prepare_target(root: &Path, path: &str) -> io::Result<PathBuf> {
    let root = root.canonicalize()?;
    let mut place = root.clone();
    let mut parts = Path::new(path).components().peekable();
    while let Some(part) = parts.next() {
        let std::path::Component::Normal(name) = part else { return Err(tree::outside(path)) };
        place.push(name);
        if parts.peek().is_some() {
            match fs::create_dir(&place) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            place = place.canonicalize()?;
        }
        tree::inside(&root, &place, path)?;
    }
    if place == root { Err(tree::outside(path)) } else { Ok(place) }
}

/// Renames `fresh` to `target`, a folder in its way included.
fn replace(fresh: &Path, target: &Path) -> io::Result<()> {
    let folder_involved = [fresh, target].iter().any(|p| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir()));
    if folder_involved && fs::symlink_metadata(target).is_ok() {
        let old = sibling(target);
        fs::rename(target, &old)?;
        if let Err(error) = fs::rename(fresh, target) {
            fs::rename(&old, target)?;
            return Err(error);
        }
        return remove_any(&old);
    }
    fs::rename(fresh, target)
}

fn remove_any(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn damaged(digest: &Digest) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the stored content {} is damaged", digest.short()))
}

fn digest_file(path: &Path) -> io::Result<(Digest, u64)> {
    hash(&mut File::open(path)?, |_| Ok(()))
}

/// Copies and digests the same bytes: as a clone where the file system can, which a later change of the source cannot reach.
fn transfer(from: &mut File, to: &mut File) -> io::Result<(Digest, u64)> {
    if rustix::fs::ioctl_ficlone(&*to, &*from).is_ok() {
        return hash(to, |_| Ok(()));
    }
    hash(from, |bytes| to.write_all(bytes))
}

fn hash(from: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        hasher.update(bytes);
        each(bytes)?;
    }
    Ok((Digest(*hasher.finalize().as_bytes()), hasher.count()))
}

#[cfg(test)]
mod tests;
