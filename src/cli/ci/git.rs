//! What git knows of the base: its commit, its files, and which of them the working tree has otherwise.
//!
//! In: a reference as a person wrote it. Out: entries and contents, by the `git` command. Must never write into the repository, ask
//! for a password, or take a reference for an option.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::suggest;
use crate::base::text::escape;
use crate::cli::exit::{Exit, Failure};

/// Most bytes of all files that are read from the base.
const MAX_TOTAL: u64 = 512 << 20;

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `100644`, `100755`, `120000` for a link, `160000` for a submodule.
    pub mode: String,
    /// Name of its content.
    pub oid: String,
}

impl Entry {
    /// True for a symbolic link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.mode == "120000"
    }
}

/// The commit that is compared against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Against {
    /// As it was asked for.
    pub name: String,
    /// Its full name.
    pub commit: String,
    /// True when it is where the branch left the reference, not the reference itself.
    pub merge_base: bool,
}

/// The repository around a project.
pub struct Git {
    root: PathBuf,
    /// The project's root inside the repository, with a `/` at its end.
    prefix: String,
}

impl Git {
    /// Finds the repository around a folder.
    pub fn around(root: &Path) -> Result<Self, Failure> {
        let mut git = Self { root: root.to_owned(), prefix: String::new() };
        match git.ask(&["rev-parse", "--show-prefix"]) {
            Ok(prefix) => git.prefix = text(&prefix).trim_end_matches('\n').to_owned(),
            Err(words) if words.contains("not a git repository") => {
                return Err(Failure::new(Exit::Error, format!("{} is in no git repository", root.display()))
                    .hint("`--base` compares with a commit: run it in a checkout, or use `oppen plan`"));
            }
            Err(words) => return Err(Failure::new(Exit::Error, words).hint("see `git status` in the project's folder")),
        }
        Ok(git)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.root).args(["-c", "core.quotePath=false"]).args(args);
        command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
        // A hook is told of the index of its own command; what counts here is the folder.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            command.env_remove(name);
        }
        command
    }

    /// Standard output, or what git said instead.
    fn ask(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let output = self.command(args).output().map_err(|e| format!("git cannot be run: {e}"))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = text(&output.stderr);
        let line = said
            .lines()
            .find(|l| l.starts_with("fatal:") || l.starts_with("error:"))
            .unwrap_or_else(|| said.lines().next().unwrap_or("no reason given"));
        Err(format!("git: {}", escape(line.trim_start_matches("fatal: "))))
    }

    /// The commit behind a reference: where this branch left it, if git can tell.
    pub fn resolve(&self, reference: &str) -> Result<Against, Failure> {
        let odd = reference.is_empty() || reference.starts_with('-') || reference.contains(|c: char| c.is_control());
        let found =
            if odd { Err(String::new()) } else { self.ask(&["rev-parse", "--verify", "--quiet", &format!("{reference}^{{commit}}")]) };
        let Ok(found) = found else { return Err(self.unknown(reference)) };
        let tip = text(&found).trim().to_owned();
        let left = self.ask(&["merge-base", &tip, "HEAD"]).ok().map(|c| text(&c).trim().to_owned()).filter(|c| !c.is_empty());
        let merge_base = left.as_ref().is_some_and(|c| *c != tip);
        Ok(Against { name: reference.to_owned(), commit: left.unwrap_or(tip), merge_base })
    }

    fn unknown(&self, reference: &str) -> Failure {
        let failure = Failure::new(Exit::Usage, format!("--base {}: this clone knows no such commit", escape(reference)));
        if self.ask(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|out| text(&out).trim() == "true") {
            return failure.hint(
                "the clone is shallow: fetch its history (`fetch-depth: 0` of actions/checkout, `GIT_DEPTH: 0` in GitLab, or `git fetch --unshallow`)",
            );
        }
        let refs = self.ask(&["for-each-ref", "--format=%(refname:short)", "--count=500", "refs/heads", "refs/remotes", "refs/tags"]);
        let refs = refs.map(|out| text(&out)).unwrap_or_default();
        let remote = format!("origin/{reference}");
        let hint = refs.lines().find(|r| *r == remote).map(|r| format!("did you mean `{r}`?"));
        failure
            .hint(hint.or_else(|| suggest::hint(reference, refs.lines())).unwrap_or_else(|| "name a branch, a tag or a commit".to_owned()))
    }

    /// Every file of a commit below the project's root, by its path from there.
    pub fn entries(&self, commit: &str) -> Result<BTreeMap<String, Entry>, Failure> {
        let mut args = vec!["ls-tree", "-r", "-z", "--full-tree", commit];
        if !self.prefix.is_empty() {
            args.extend(["--", self.prefix.as_str()]);
        }
        let out = self.ask(&args).map_err(|words| Failure::new(Exit::Error, words).hint("the commit's files must be in this clone"))?;
        let entry = |record: &[u8]| {
            let record = std::str::from_utf8(record).ok()?;
            let (head, path) = record.split_once('\t')?;
            let mut words = head.split(' ');
            let (mode, _, oid) = (words.next()?, words.next()?, words.next()?);
            Some((path.strip_prefix(&self.prefix)?.to_owned(), Entry { mode: mode.to_owned(), oid: oid.to_owned() }))
        };
        Ok(out.split(|b| *b == 0).filter_map(entry).collect())
    }

    /// Files that the working tree has otherwise than the commit, or lacks, or has alone (as far as git knows them).
    pub fn changed(&self, commit: &str) -> Result<BTreeSet<String>, Failure> {
        let args = ["diff", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv", commit, "--", "."];
        let out = self.ask(&args).map_err(|words| Failure::new(Exit::Error, words))?;
        let mut fields = out.split(|b| *b == 0).map(String::from_utf8_lossy);
        let mut found = BTreeSet::new();
        while let (Some(head), Some(path)) = (fields.next(), fields.next()) {
            let words: Vec<&str> = head.split(' ').collect();
            // Where only the mode differs the content is the same.
            let same = words.get(2) == words.get(3);
            if let Some(path) = path.strip_prefix(&self.prefix).filter(|_| !same) {
                found.insert(path.to_owned());
            }
        }
        Ok(found)
    }

    /// True when git is told to leave a path alone: data that is not in the repository.
    #[must_use]
    pub fn ignores(&self, path: &str) -> bool {
        self.ask(&["check-ignore", "-q", "--", path]).is_ok()
    }

    /// Hands the contents of files over, in order. Files of more than `most` bytes are left out.
    pub fn read<'e>(
        &self,
        wanted: &[(&'e str, &'e Entry)],
        most: u64,
        mut take: impl FnMut(&'e str, &'e Entry, Vec<u8>) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        let wrong = |words: String| Failure::new(Exit::Error, format!("git cat-file: {words}"));
        let mut child = self
            .command(&["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| wrong(e.to_string()))?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { return Err(wrong("no pipe".to_owned())) };
        let names: String = wanted.iter().map(|(_, e)| format!("{}\n", e.oid)).collect();
        // Written beside reading: a pipe holds less than a project has files.
        let writer = std::thread::spawn(move || input.write_all(names.as_bytes()));
        let (mut output, mut total) = (BufReader::new(output), 0_u64);
        let mut result = Ok(());
        for (path, entry) in wanted {
            result = one(&mut output, most, &mut total).and_then(|content| match content {
                Some(content) => take(path, entry, content).map_err(|e| e.to_string()),
                None => Ok(()),
            });
            if result.is_err() {
                let _ = child.kill();
                break;
            }
        }
        drop(output);
        let _ = writer.join();
        let _ = child.wait();
        result.map_err(wrong)
    }
}

/// One answer of `cat-file --batch`: `OID blob SIZE`, a line's end, the content, a line's end.
fn one(output: &mut impl std::io::BufRead, most: u64, total: &mut u64) -> Result<Option<Vec<u8>>, String> {
    let mut head = String::new();
    output.by_ref().take(256).read_line(&mut head).map_err(|e| e.to_string())?;
    let mut words = head.trim_end().rsplit(' ');
    let size =
        words.next().and_then(|s| s.parse::<u64>().ok()).ok_or_else(|| format!("`{}` is not in this clone", escape(head.trim_end())))?;
    *total = total.saturating_add(size);
    if *total > MAX_TOTAL {
        return Err(format!("the base has more than {MAX_TOTAL} bytes of YAML"));
    }
    let mut rest = output.by_ref().take(size + 1);
    if size > most {
        std::io::copy(&mut rest, &mut std::io::sink()).map_err(|e| e.to_string())?;
        return Ok(None);
    }
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    rest.read_to_end(&mut content).map_err(|e| e.to_string())?;
    content.pop();
    Ok(Some(content))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
