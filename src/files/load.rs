//! Finding and reading the project: its root, its documents, and what they use.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::tree::Tree;
use crate::base::{Diagnostic, Diagnostics, FileId, SourceMap, Span};
use crate::expand::{Library, paths};
use crate::spec::{Document, PolicyDoc, Project, RatesCard, Workflow, read};

/// The project file's name.
pub const PROJECT_FILE: &str = "oppen.yaml";
/// Rate cards beside the project file: one file, or a folder of them.
const RATES: [&str; 2] = ["rates.yaml", "rates"];
/// The folder of Oppen's own state, beside the project file.
pub const STATE_FOLDER: &str = ".oppen";
/// Deepest folder that is searched.
const MAX_DEPTH: usize = 16;

/// Everything that was read.
pub struct Loaded {
    /// The project's root: where `oppen.yaml` stands, else where the command was started.
    pub root: PathBuf,
    /// The texts.
    pub sources: SourceMap,
    /// The project document, if there is one.
    pub project: Option<Project>,
    /// Rate cards, in the order of reading.
    pub rates: Vec<RatesCard>,
    /// Documents of rules.
    pub policies: Vec<PolicyDoc>,
    /// Workflows to plan; true for those in files named by the caller.
    pub workflows: Vec<(Arc<Workflow>, bool)>,
    /// Workflows that others use.
    pub library: Library,
    /// True when the caller named no path: the whole project is meant.
    pub whole: bool,
    /// Every file and folder that was looked at, for watching.
    pub seen: Vec<PathBuf>,
}

/// The folder that holds `oppen.yaml`: `start` or the nearest one above it.
#[must_use]
pub fn find_root(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|folder| folder.join(PROJECT_FILE).is_file()).map(Path::to_owned)
}

/// The project's root for a command started in `here` (a real path) on these files.
#[must_use]
pub fn root_of(here: &Path, named: &[PathBuf]) -> PathBuf {
    // A file named by the caller belongs to the project that it lies in.
    let anchor = named.first().map(|p| here.join(p)).and_then(|p| p.canonicalize().ok());
    let start = anchor.as_deref().map_or(here, |p| if p.is_dir() { p } else { p.parent().unwrap_or(p) });
    find_root(start).or_else(|| find_root(here)).unwrap_or_else(|| if start.starts_with(here) { here.to_owned() } else { start.to_owned() })
}

/// Reads the project around `here` with the files that `named` lists; without any, `oppen.yaml` and `workflows/**/*.yaml`.
pub fn load(here: &Path, named: &[PathBuf], diags: &mut Diagnostics) -> Loaded {
    let here = here.canonicalize().unwrap_or_else(|_| here.to_owned());
    load_in(&Tree::Disk, &root_of(&here, named), &here, named, diags)
}

/// As [`load`], from a tree, for a root that is known.
pub fn load_in(tree: &Tree, root: &Path, here: &Path, named: &[PathBuf], diags: &mut Diagnostics) -> Loaded {
    let root = root.to_owned();
    let mut loader =
        Loader { tree, root: root.clone(), sources: SourceMap::default(), diags, seen: Vec::new(), read: FxHashSet::default() };
    let mut loaded = Loaded {
        root: root.clone(),
        sources: SourceMap::default(),
        project: None,
        rates: Vec::new(),
        policies: Vec::new(),
        workflows: Vec::new(),
        library: Library::default(),
        whole: named.is_empty(),
        seen: Vec::new(),
    };
    loader.seen.push(root.clone());
    if tree.exists(&root.join(PROJECT_FILE)) {
        let documents = loader.documents(&root.join(PROJECT_FILE), None);
        sort_in(documents, false, named.is_empty(), &mut loaded, loader.diags);
        loader.cards(&mut loaded);
    }
    // Rules hold whatever files are named.
    for (file, _) in loader.folder(&root.join("policies"), 0, true) {
        let documents = loader.documents(&file, None);
        sort_in(documents, false, false, &mut loaded, loader.diags);
    }
    let files = if named.is_empty() { loader.folder(&root.join("workflows"), 0, false) } else { loader.named(here, named) };
    for (file, explicit) in files {
        let documents = loader.documents(&file, None);
        sort_in(documents, explicit, true, &mut loaded, loader.diags);
    }
    loader.closure(&mut loaded);
    loaded.sources = loader.sources;
    loaded.seen = loader.seen;
    loaded
}

fn sort_in(documents: Vec<Document>, explicit: bool, workflows: bool, loaded: &mut Loaded, diags: &mut Diagnostics) {
    for document in documents {
        match document {
            Document::Project(project) => match &loaded.project {
                Some(first) => {
                    let d =
                        Diagnostic::error("second-project", project.span, "a project has one Project document").hint("remove one of them");
                    diags.push(d.related(first.span, "the first is here"));
                }
                None => loaded.project = Some(*project),
            },
            Document::Rates(card) => loaded.rates.push(*card),
            Document::Policy(policy) => loaded.policies.push(*policy),
            Document::Workflow(workflow) if workflows => loaded.workflows.push((Arc::new(*workflow), explicit)),
            Document::Workflow(_) => {}
        }
    }
}

struct Loader<'d> {
    tree: &'d Tree,
    root: PathBuf,
    sources: SourceMap,
    diags: &'d mut Diagnostics,
    seen: Vec<PathBuf>,
    /// Files that were read already, by real path.
    read: FxHashSet<PathBuf>,
}

impl Loader<'_> {
    /// Rate cards beside the project file. Files there that hold none are not ours.
    fn cards(&mut self, loaded: &mut Loaded) {
        let [file, folder] = RATES.map(|name| self.root.join(name));
        let mut files = if self.tree.is_file(&file) { vec![(file, false)] } else { Vec::new() };
        files.extend(self.folder(&folder, 0, true));
        for (file, _) in files {
            let documents = self.documents(&file, None);
            sort_in(documents, false, false, loaded, self.diags);
        }
    }

    fn shown(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        crate::base::text::escape(&relative.to_string_lossy()).into_owned()
    }

    /// Files that the caller named, folders searched.
    fn named(&mut self, here: &Path, named: &[PathBuf]) -> Vec<(PathBuf, bool)> {
        let mut files = Vec::new();
        for path in named {
            let full = here.join(path);
            let Ok(real) = self.tree.real(&full) else {
                let near = nearest_file(self.tree, &full);
                let message = format!("no such file or folder: `{}`", crate::base::text::escape(&path.to_string_lossy()));
                self.diags.push(Diagnostic::error("missing-file", None, message).maybe_hint(near.map(|n| format!("did you mean `{n}`?"))));
                continue;
            };
            if !real.starts_with(&self.root) {
                let message = format!(
                    "`{}` lies outside the project's root {}",
                    crate::base::text::escape(&path.to_string_lossy()),
                    self.root.display()
                );
                self.diags.push(
                    Diagnostic::error("outside-root", None, message).hint("start the command in the project that the file belongs to"),
                );
            } else if self.tree.is_dir(&real) {
                let found = self.folder(&real, 0, true);
                if found.is_empty() {
                    let message = format!("`{}` holds no workflow files", crate::base::text::escape(&path.to_string_lossy()));
                    self.diags
                        .push(Diagnostic::error("empty-folder", None, message).hint("name a `.yaml` file with `apiVersion: oppen/v1`"));
                }
                files.extend(found);
            } else {
                files.push((real, true));
            }
        }
        files
    }

    /// All `.yaml` files below a folder, sorted. In a folder that is not ours alone, files of other tools are passed over.
    fn folder(&mut self, folder: &Path, depth: usize, foreign: bool) -> Vec<(PathBuf, bool)> {
        let Some(paths) = self.tree.list(folder) else { return Vec::new() };
        self.seen.push(folder.to_owned());
        let mut files = Vec::new();
        for path in paths {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
            if name.starts_with('.') || name == PROJECT_FILE {
                continue;
            }
            if self.tree.is_dir(&path) && depth < MAX_DEPTH && !self.tree.is_link(&path) {
                files.extend(self.folder(&path, depth + 1, foreign));
            } else if yaml && self.tree.is_file(&path) && (!foreign || self.tree.mentions_oppen(&path)) {
                files.push((path, false));
            }
        }
        files
    }

    /// Reads a file's documents. `from` is the place that refers to it.
    fn documents(&mut self, path: &Path, from: Option<Span>) -> Vec<Document> {
        let shown = self.shown(path);
        let real = match self.tree.real(path) {
            Ok(real) if real.starts_with(&self.root) => real,
            Ok(_) => {
                self.diags.push(
                    Diagnostic::error("outside-root", from, format!("`{shown}` leads out of the project's root"))
                        .hint("files of a project lie below its root, links included"),
                );
                return Vec::new();
            }
            Err(_) => {
                let near = nearest_file(self.tree, path).map(|n| format!("did you mean `{n}`?"));
                self.diags.push(Diagnostic::error("missing-file", from, format!("no such file: `{shown}`")).maybe_hint(near));
                return Vec::new();
            }
        };
        if !self.read.insert(real.clone()) {
            return Vec::new();
        }
        self.seen.push(real.clone());
        match self.tree.text(&real) {
            Ok(text) => {
                let file = self.sources.add(&shown, &text);
                read(file, &self.sources, self.diags)
            }
            Err(words) => {
                self.diags.push(
                    Diagnostic::error("unreadable-file", from, format!("`{shown}` {words}"))
                        .hint("a workflow file is UTF-8 text of at most 4 MiB"),
                );
                Vec::new()
            }
        }
    }

    /// Reads everything that the workflows use, and what that uses.
    fn closure(&mut self, loaded: &mut Loaded) {
        let mut queue: Vec<Arc<Workflow>> = loaded.workflows.iter().map(|(w, _)| Arc::clone(w)).collect();
        let path_of = |sources: &SourceMap, file: FileId| sources.path(file).to_owned();
        for workflow in &queue {
            loaded.library.insert(path_of(&self.sources, workflow.span.file), Arc::clone(workflow));
        }
        while let Some(workflow) = queue.pop() {
            for (_, _, job) in workflow.jobs.0.iter() {
                let Some(uses) = &job.uses else { continue };
                // A path that leads out is told where jobs are put in.
                let Ok(path) = paths::used(self.sources.path(workflow.span.file), &uses.0) else { continue };
                if loaded.library.contains_key(&path) {
                    continue;
                }
                let full = self.root.join(&path);
                let known = self.tree.real(&full).is_ok_and(|real| self.read.contains(&real));
                let found = self.documents(&full, Some(uses.1)).into_iter().find_map(|d| match d {
                    Document::Workflow(w) => Some(Arc::new(*w)),
                    Document::Project(_) | Document::Rates(_) | Document::Policy(_) => None,
                });
                match found {
                    Some(found) => {
                        loaded.library.insert(path, Arc::clone(&found));
                        queue.push(found);
                    }
                    None if !known && self.tree.exists(&full) && !self.diags.has_errors() => {
                        self.diags.push(
                            Diagnostic::error("no-workflow", uses.1, format!("`{path}` holds no workflow"))
                                .hint("`uses` names a file with `kind: Workflow`"),
                        );
                    }
                    None => {}
                }
            }
        }
    }
}

/// The name in the same folder that is closest.
fn nearest_file(tree: &Tree, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let folder = path.parent()?;
    let names: Vec<String> =
        tree.list(folder)?.iter().filter_map(|p| p.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
    let near = crate::base::suggest::nearest(&name, names.iter().map(String::as_str))?;
    Some(if folder.components().any(|c| matches!(c, Component::RootDir)) {
        near.to_owned()
    } else {
        folder.join(near).to_string_lossy().into_owned()
    })
}
