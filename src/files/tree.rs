//! Where documents are read from: the disk, or a commit whose files are held in memory.
//!
//! In: paths. Out: what is there. Must never write, nor follow a link in a commit: trees with links are laid out on the disk instead.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

/// Largest document file, in bytes.
pub const MAX_FILE: u64 = 4 << 20;
/// How much of a file says whose it is.
const HEAD: usize = 64 << 10;

/// A tree of files.
pub enum Tree {
    /// As it is.
    Disk,
    /// A commit.
    Commit(Commit),
}

/// The documents of a commit, at the paths where they would stand in the working tree.
#[derive(Debug, Default)]
pub struct Commit {
    /// By full path; none is as it is on the disk.
    files: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl Commit {
    /// Adds a file; without content it is as it is on the disk.
    pub fn add(&mut self, path: PathBuf, content: Option<Vec<u8>>) {
        self.files.insert(path, content);
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.below(path).next().is_some()
    }

    fn below<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        let range = self.files.range::<Path, _>((Bound::Excluded(folder), Bound::Unbounded));
        range.map(|(path, _)| path).take_while(move |path| path.starts_with(folder))
    }

    fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let child = |path: &PathBuf| Some(folder.join(path.strip_prefix(folder).ok()?.components().next()?));
        let mut found: Vec<PathBuf> = self.below(folder).filter_map(child).collect();
        found.dedup();
        found
    }
}

/// `a/./b/../c` as `a/c`: what a path names where there are no links.
fn plain(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                found.pop();
            }
            other => found.push(other),
        }
    }
    found
}

impl Tree {
    /// Whether a file or folder is there.
    #[must_use]
    pub fn exists(&self, path: &Path) -> bool {
        match self {
            Self::Disk => path.exists(),
            Self::Commit(commit) => {
                let path = plain(path);
                commit.files.contains_key(&path) || commit.is_dir(&path)
            }
        }
    }

    /// Whether it is a file.
    #[must_use]
    pub fn is_file(&self, path: &Path) -> bool {
        match self {
            Self::Disk => path.is_file(),
            Self::Commit(commit) => commit.files.contains_key(&plain(path)),
        }
    }

    /// Whether it is a folder, and whether the way there is a link.
    #[must_use]
    pub fn is_dir(&self, path: &Path) -> bool {
        match self {
            Self::Disk => path.is_dir(),
            Self::Commit(commit) => commit.is_dir(&plain(path)),
        }
    }

    /// Whether it is a link.
    #[must_use]
    pub fn is_link(&self, path: &Path) -> bool {
        matches!(self, Self::Disk) && path.is_symlink()
    }

    /// What stands in a folder, sorted; none where it cannot be read.
    #[must_use]
    pub fn list(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        match self {
            Self::Disk => {
                let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.filter_map(|e| e.ok().map(|e| e.path())).collect();
                paths.sort();
                Some(paths)
            }
            Self::Commit(commit) => commit.is_dir(folder).then(|| commit.list(folder)),
        }
    }

    /// The path without links, `.` and `..`.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn real(&self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Self::Disk => path.canonicalize(),
            Self::Commit(_) if self.exists(path) => Ok(plain(path)),
            Self::Commit(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// True when a file says that it is for Oppen.
    #[must_use]
    pub fn mentions_oppen(&self, path: &Path) -> bool {
        let says = |head: &[u8]| head.windows(6).any(|w| w == b"oppen/");
        if let Some(content) = self.held(path) {
            return says(content.get(..HEAD).unwrap_or(content));
        }
        let mut head = Vec::new();
        let read = std::fs::File::open(path).and_then(|f| f.take(HEAD as u64).read_to_end(&mut head));
        read.is_ok() && says(&head)
    }

    fn held(&self, path: &Path) -> Option<&[u8]> {
        match self {
            Self::Disk => None,
            Self::Commit(commit) => commit.files.get(path)?.as_deref(),
        }
    }

    /// The text of a file.
    ///
    /// # Errors
    /// In words that follow its name.
    pub fn text(&self, path: &Path) -> Result<String, String> {
        let too_large = |bytes: u64| format!("has {bytes} bytes, at most {MAX_FILE} are read");
        let bytes = match self.held(path) {
            Some(content) if content.len() as u64 > MAX_FILE => return Err(too_large(content.len() as u64)),
            Some(content) => content.to_vec(),
            None => {
                let metadata = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
                if !metadata.is_file() {
                    return Err("is no file".to_owned());
                }
                if metadata.len() > MAX_FILE {
                    return Err(too_large(metadata.len()));
                }
                std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?
            }
        };
        String::from_utf8(bytes).map_err(|e| {
            let line = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default().iter().filter(|b| **b == b'\n').count() + 1;
            format!("is not UTF-8 (line {line})")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_walked_like_a_disk() {
        let mut commit = Commit::default();
        for path in ["/p/oppen.yaml", "/p/w/a.yaml", "/p/w/sub/b.yaml", "/p/w/sub/c.yaml", "/p/wx/d.yaml"] {
            commit.add(path.into(), Some(b"apiVersion: oppen/v1".to_vec()));
        }
        commit.add("/p/bad.yaml".into(), Some(vec![b'\n', 0xff]));
        let tree = Tree::Commit(commit);
        let list = |p: &str| tree.list(Path::new(p)).map(|all| all.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" "));
        assert_eq!(list("/p/w").as_deref(), Some("/p/w/a.yaml /p/w/sub"));
        assert_eq!(list("/p").as_deref(), Some("/p/bad.yaml /p/oppen.yaml /p/w /p/wx"));
        assert_eq!((list("/p/none"), list("/p/w/a.yaml")), (None, None));
        let path = Path::new("/p/w/./sub/../a.yaml");
        assert!(tree.exists(path) && tree.is_file(path) && tree.is_dir(Path::new("/p/w/sub")) && !tree.is_file(Path::new("/p/w")));
        assert_eq!(tree.real(path).ok(), Some("/p/w/a.yaml".into()));
        assert!(tree.real(Path::new("/p/w/b.yaml")).is_err() && tree.mentions_oppen(Path::new("/p/w/a.yaml")));
        assert_eq!(tree.text(Path::new("/p/bad.yaml")), Err("is not UTF-8 (line 2)".to_owned()));
    }
}
