//! Folders as one canonical text, so that a folder has a digest.
//!
//! In: a folder below the root. Out: its manifest, sorted by name. Must never follow a link out of the root or around in a circle.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::STATE_FOLDER;
use crate::base::Digest;

/// Keeps a folder's digest apart from that of a file with the same bytes as its manifest.
const DOMAIN: &str = "oppen 2026 digest of a folder";
/// Deeper folders are refused: most likely links that lead around in a circle.
const MAX_DEPTH: usize = 64;

/// Something below a folder.
pub struct Entry {
    /// Relative to the folder.
    pub name: PathBuf,
    /// Its real place.
    pub source: PathBuf,
    /// None for a folder, else whether it may be executed.
    pub executable: Option<bool>,
}

/// What a manifest says about a name.
pub enum Kind {
    /// It is a folder.
    Folder,
    /// It is a file.
    File {
        /// Of its content.
        digest: Digest,
        /// May be executed.
        executable: bool,
    },
}

/// The error for a path that leads out.
pub fn outside(path: &str) -> io::Error {
    let shown = crate::base::text::escape(path);
    io::Error::new(io::ErrorKind::PermissionDenied, format!("`{shown}` leads out of the project's root or into Oppen's own state"))
}

/// Checks that a real place lies below the real root.
pub fn inside(root: &Path, found: &Path, path: &str) -> io::Result<()> {
    match found.strip_prefix(root) {
        Ok(rest) if rest.components().next() != Some(Component::Normal(OsStr::new(STATE_FOLDER))) => Ok(()),
        _ => Err(outside(path)),
    }
}

/// All entries below a folder, sorted by the bytes of their names; a folder comes before what is in it. Oppen's own state is left out.
pub fn walk(root: &Path, folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    descend(root, folder, Path::new(""), 0, &mut entries)?;
    entries.sort_by(|a, b| a.name.as_os_str().as_bytes().cmp(b.name.as_os_str().as_bytes()));
    Ok(entries)
}

fn descend(root: &Path, folder: &Path, name: &Path, depth: usize, entries: &mut Vec<Entry>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{}` is nested too deep, or leads around in a circle", name.display()),
        ));
    }
    for item in fs::read_dir(folder)? {
        let item = item?;
        let name = name.join(item.file_name());
        if folder == root && item.file_name() == STATE_FOLDER {
            continue;
        }
        let source = item.path().canonicalize()?;
        inside(root, &source, &name.to_string_lossy())?;
        let meta = fs::metadata(&source)?;
        if meta.is_dir() {
            entries.push(Entry { name: name.clone(), source: source.clone(), executable: None });
            descend(root, &source, &name, depth + 1, entries)?;
        } else if meta.is_file() {
            let executable = meta.permissions().mode() & 0o100 != 0;
            entries.push(Entry { name, source, executable: Some(executable) });
        } else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is neither a file nor a folder", name.display())));
        }
    }
    Ok(())
}

/// The manifest: for each entry `d` or `f` or `x`, the digest for files, a space, the name, a NUL.
pub fn manifest(entries: &[Entry], mut digest: impl FnMut(&Entry) -> io::Result<Digest>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for entry in entries {
        match entry.executable {
            None => out.push(b'd'),
            Some(executable) => {
                out.push(if executable { b'x' } else { b'f' });
                out.extend_from_slice(digest(entry)?.to_string().as_bytes());
            }
        }
        out.push(b' ');
        out.extend_from_slice(entry.name.as_os_str().as_bytes());
        out.push(0);
    }
    Ok(out)
}

/// The folder's digest.
pub fn digest(manifest: &[u8]) -> Digest {
    Digest(blake3::derive_key(DOMAIN, manifest))
}

/// Reads a manifest back; none when it is not one, or has a name that is not plainly below the folder.
pub fn parse(manifest: &[u8]) -> Option<Vec<(PathBuf, Kind)>> {
    let lines = manifest.strip_suffix(&[0]).map(|m| m.split(|b| *b == 0));
    lines.into_iter().flatten().map(parse_entry).collect()
}

fn parse_entry(line: &[u8]) -> Option<(PathBuf, Kind)> {
    let space = line.iter().position(|b| *b == b' ')?;
    let (head, name) = (line.get(..space)?, line.get(space + 1..)?);
    let name = PathBuf::from(OsString::from_vec(name.to_vec()));
    if name.as_os_str().is_empty() || !name.components().all(|c| matches!(c, Component::Normal(_))) {
        return None;
    }
    let (kind, hex) = head.split_first()?;
    match kind {
        b'd' => Some((name, Kind::Folder)),
        b'f' | b'x' => {
            let digest = Digest::from_hex(std::str::from_utf8(hex).ok()?)?;
            Some((name, Kind::File { digest, executable: *kind == b'x' }))
        }
        _ => None,
    }
}
