//! Both sides of an edit: the working tree, and the base.
//!
//! In: a reference, paths, values. Out: two sessions made from files alone. Must never touch a state, a lock, a cluster or the
//! working tree, nor write through a link. The base is held in memory; only where its documents are links it is laid out in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use super::git::{Against, Entry, Git};
use crate::base::Digest;
use crate::cli::args::BackendKind;
use crate::cli::exit::{Exit, Failure};
use crate::cli::session::{Look, Session};
use crate::files::{self, Commit, Digests, MAX_FILE, Tree};

/// More YAML files than these are not a project's.
const MAX_FILES: usize = 100_000;

/// What both sides are asked.
pub struct Asked<'a> {
    /// Files and folders; without any the whole project.
    pub paths: &'a [PathBuf],
    /// Inputs.
    pub set: &'a [(String, String)],
    /// Where runs run.
    pub backend: Option<BackendKind>,
}

/// Both sides.
pub struct Sides {
    /// The commit of the base.
    pub against: Against,
    /// The base; its diagnostics may hold errors.
    pub base: Session,
    /// The working tree.
    pub head: Session,
    /// Inputs that git ignores and that are not here: taken as the same on both sides.
    pub absent: Vec<String>,
    _gone: Option<Leaving>,
}

/// Reads both sides, side by side: the working tree is read while git is asked for the base.
pub fn read(here: &Path, asked: &Asked<'_>, reference: &str) -> Result<Sides, Failure> {
    let here = here.canonicalize()?;
    let root = files::root_of(&here, asked.paths);
    let git = Git::around(&root)?;
    let shared = Shared { git: &git, digests: Mutex::new(Digests::new(&root)), absent: Mutex::default() };
    let (found, head) = std::thread::scope(|scope| {
        let head = scope.spawn(|| {
            let look = Look {
                tree: &Tree::Disk,
                root: &root,
                here: &here,
                paths: asked.paths,
                set: asked.set,
                backend: asked.backend,
                must: true,
            };
            Session::offline(&look, &mut |path| shared.digest(path))
        });
        let found = git.resolve(reference).and_then(|against| Ok((base(&shared, &root, &here, asked, &against.commit)?, against)));
        let head = head.join().map_err(|_| Failure::new(Exit::Error, "reading the files did not end well"));
        (found, head)
    });
    let absent = shared.absent.into_inner().unwrap_or_default();
    let ((base, gone), against) = found?;
    Ok(Sides { against, base, head: head?, absent: absent.into_iter().collect(), _gone: gone })
}

fn base(shared: &Shared<'_>, root: &Path, here: &Path, asked: &Asked<'_>, commit: &str) -> Result<(Session, Option<Leaving>), Failure> {
    let (entries, changed) = std::thread::scope(|scope| {
        let changed = scope.spawn(|| shared.git.changed(commit));
        let entries = shared.git.entries(commit);
        (entries, changed.join().map_err(|_| Failure::new(Exit::Error, "asking git did not end well")))
    });
    let (entries, changed) = (&entries?, &changed??);
    let wanted = wanted(entries)?;
    // Where files are links they are laid out on the disk; else nothing is written.
    let folder = if wanted.iter().any(|(_, e)| e.is_link()) { Some(Folder::new()?) } else { None };
    let tree = match &folder {
        Some(folder) => fill(shared.git, &folder.0, &wanted).map(|()| Tree::Disk)?,
        None => Tree::Commit(held(shared.git, root, &wanted, changed)?),
    };
    let at = folder.as_ref().map_or(root, |f| f.0.as_path());
    let place = |path: &Path| path.strip_prefix(root).map(|inside| at.join(inside)).unwrap_or_else(|_| at.to_owned());
    let paths: Vec<PathBuf> = asked.paths.iter().map(|p| place(&here.join(p).canonicalize().unwrap_or_else(|_| here.join(p)))).collect();
    let known: Vec<PathBuf> = paths.iter().filter(|p| tree.exists(p)).cloned().collect();
    let here = place(here);
    let look = Look { tree: &tree, root: at, here: &here, paths: &known, set: asked.set, backend: asked.backend, must: false };
    let mut digester = |path: &str| shared.digest_in_base(path, entries, changed);
    let session = if !paths.is_empty() && known.is_empty() {
        Session::offline_without_workflows(&look, &mut digester)
    } else {
        Session::offline(&look, &mut digester)
    };
    Ok((session, folder.map(Folder::leave)))
}

/// The YAML files of the base.
fn wanted(entries: &BTreeMap<String, Entry>) -> Result<Vec<(&str, &Entry)>, Failure> {
    let yaml = |path: &str| path.ends_with(".yaml") || path.ends_with(".yml");
    let wanted: Vec<(&str, &Entry)> =
        entries.iter().filter(|(path, e)| yaml(path) && e.mode != "160000" && is_plain(path)).map(|(p, e)| (p.as_str(), e)).collect();
    if wanted.len() > MAX_FILES {
        return Err(Failure::new(Exit::Error, format!("the base has {} YAML files, at most {MAX_FILES} are read", wanted.len()))
            .hint("start the command in the folder of the project"));
    }
    Ok(wanted)
}

/// The files of the base in memory. Where git sees no difference they are those of the working tree, as their digests are: only what
/// changed, or is not checked out, is asked of git.
fn held(git: &Git, root: &Path, wanted: &[(&str, &Entry)], changed: &BTreeSet<String>) -> Result<Commit, Failure> {
    let here = |path: &str| root.join(path).symlink_metadata().is_ok_and(|m| m.is_file());
    let (same, other): (Vec<(&str, &Entry)>, Vec<_>) = wanted.iter().copied().partition(|(path, _)| !changed.contains(*path) && here(path));
    let mut commit = Commit::default();
    same.iter().for_each(|(path, _)| commit.add(root.join(path), None));
    if !other.is_empty() {
        git.read(&other, MAX_FILE, |path, _, content| {
            commit.add(root.join(path), Some(content));
            Ok(())
        })?;
    }
    Ok(commit)
}

/// Writes every YAML file of the base. Links come last, so that nothing is written through one.
fn fill(git: &Git, folder: &Path, wanted: &[(&str, &Entry)]) -> Result<(), Failure> {
    let mut links: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut made: BTreeSet<PathBuf> = BTreeSet::new();
    git.read(wanted, MAX_FILE, |path, entry, content| {
        if entry.is_link() {
            links.push((path, content));
            return Ok(());
        }
        let file = folder.join(path);
        if let Some(parent) = file.parent().filter(|p| !made.contains(*p)) {
            std::fs::create_dir_all(parent)?;
            made.insert(parent.to_owned());
        }
        std::fs::write(file, content)
    })?;
    for (path, target) in links {
        let target = String::from_utf8_lossy(&target).into_owned();
        let file = folder.join(path);
        // A link that leads out is not made: it reads as a file that is not there.
        if let (true, Some(parent)) = (stays_inside(path, &target), file.parent()) {
            std::fs::create_dir_all(parent)?;
            std::os::unix::fs::symlink(target, &file)?;
        }
    }
    Ok(())
}

/// A path that names something below the folder that it is put into.
fn is_plain(path: &str) -> bool {
    Path::new(path).components().all(|c| matches!(c, Component::Normal(name) if name != ".git"))
}

/// Whether the target of a link at a path stays below the root, by its words alone.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut depth = Path::new(path).components().count().saturating_sub(1);
    Path::new(target).components().all(|c| match c {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::ParentDir if depth > 0 => {
            depth -= 1;
            true
        }
        Component::CurDir => true,
        _ => false,
    })
}

/// What both sides read of input files.
struct Shared<'a> {
    git: &'a Git,
    digests: Mutex<Digests<'a>>,
    absent: Mutex<BTreeSet<String>>,
}

type Found = Result<Option<(Digest, u64)>, String>;

impl Shared<'_> {
    /// The digest of an input of the working tree. Data that git ignores may be missing where only the repository is checked out.
    fn digest(&self, path: &str) -> Found {
        let found = self.digests.lock().map_err(|_| "reading inputs did not end well".to_owned())?.of(path)?;
        if found.is_some() || !self.git.ignores(path) {
            return Ok(found);
        }
        if let Ok(mut absent) = self.absent.lock() {
            absent.insert(path.to_owned());
        }
        Ok(Some((Digest::of(b"data that git ignores"), 0)))
    }

    /// The digest of an input as the base has it: that of the working tree where git sees no difference, so that large files, filters
    /// and data outside of git count as what they are; else one of the base's own contents by their names.
    fn digest_in_base(&self, path: &str, entries: &BTreeMap<String, Entry>, changed: &BTreeSet<String>) -> Found {
        let path = path.trim_end_matches('/');
        let inside = format!("{path}/");
        let below = |p: &str| p == path || p.starts_with(&inside) || path == ".";
        if !changed.iter().any(|p| below(p)) {
            return self.digest(path);
        }
        let mut hasher = String::from("oppen ci base\n");
        let mut any = false;
        let first = if path == "." { "" } else { path };
        for (name, entry) in entries.range(first.to_owned()..).take_while(|(p, _)| p.starts_with(first)).filter(|(p, _)| below(p)) {
            any = true;
            hasher.push_str(&format!("{name}\0{}\n", entry.oid));
        }
        Ok(any.then(|| (Digest::of(hasher.as_bytes()), 0)))
    }
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("oppen-base-{}", uuid::Uuid::new_v4().simple()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path.canonicalize()?))
    }

    /// Removes it while the sides are compared.
    fn leave(self) -> Leaving {
        Leaving(Some(std::thread::spawn(move || drop(self))))
    }
}

/// A folder that is being removed; gone when this is dropped.
struct Leaving(Option<std::thread::JoinHandle<()>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(removal) = self.0.take() {
            let _ = removal.join();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        for (path, target, fine) in [
            ("a.yaml", "b.yaml", true),
            ("w/a.yaml", "../b.yaml", true),
            ("a.yaml", "../b.yaml", false),
            ("w/a.yaml", "x/../../../etc/passwd", false),
            ("a.yaml", "/etc/passwd", false),
        ] {
            assert_eq!(stays_inside(path, target), fine, "{path} -> {target}");
        }
        assert!(!is_plain("../a.yaml") && !is_plain("/a.yaml") && !is_plain("x/.git/a.yaml") && is_plain("w/a.yaml"));
    }
}
