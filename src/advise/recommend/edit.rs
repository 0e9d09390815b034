//! One setting written into a workflow's text, everything else left as it is.
//!
//! In: YAML, a path, a value. Out: the new text and the lines that differ. Must never touch comments, order or layout, nor write where an
//! expression or an alias stands: then it says what to change by hand.

use serde::Serialize;

use super::Setting;
use crate::base::{Diagnostics, SourceMap, text::escape};
use crate::record::work::canonical;
use crate::spec::tree::{self, Entry, Kind, Node};

/// What would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// Line of the change, from 1 on, in the old text.
    pub line: u32,
    /// `jobs.train.resources.cpu`, as found.
    pub path: String,
    /// The lines before; empty where lines are added.
    pub before: String,
    /// The lines after.
    pub after: String,
    /// The whole new text.
    #[serde(skip)]
    pub text: String,
}

/// Writes one setting into the workflow of a name.
///
/// # Errors
/// Why it cannot be written, and what to do by hand.
pub fn set(text: &str, workflow: &str, setting: &Setting) -> Result<Edit, String> {
    let document = document(text, workflow)?;
    let mut path = setting.path.clone();
    for _ in 0..4 {
        let (node, depth) = walk(&document, &mut path)?;
        let rest = path.get(depth..).unwrap_or_default();
        if !rest.is_empty() && !node.is_null() {
            return insert(text, node, &path, depth, &setting.value);
        }
        if let Some(expression) = node.text().filter(|t| rest.is_empty() && t.contains("{{")) {
            let by_hand = || format!("{} is set by an expression: change it by hand to {}", path.join("."), setting.value);
            path = input_of(expression).ok_or_else(by_hand)?;
            continue;
        }
        return replace(text, node, &path, depth, &setting.value);
    }
    Err("the setting refers to another again and again: change it by hand".to_owned())
}

/// `inputs.trials.default` of `{{ inputs.trials }}`.
fn input_of(expression: &str) -> Option<Vec<String>> {
    let inner = expression.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("inputs.")?;
    let name = inner.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(inner)?;
    Some(["inputs", name, "default"].map(str::to_owned).into())
}

fn document(text: &str, workflow: &str) -> Result<Node, String> {
    let (mut sources, mut diags) = (SourceMap::default(), Diagnostics::default());
    let file = sources.add("file", text);
    let documents = tree::parse(file, text, &mut diags);
    if diags.has_errors() {
        return Err("the file is not valid YAML".to_owned());
    }
    let is = |node: &Node, key: &str, value: &str| {
        let Kind::Map(entries) = &node.kind else { return false };
        entries.iter().any(|e| &*e.key == key && e.value.text().is_some_and(|t| &**t == value))
    };
    let found = documents.into_iter().find(|d| is(d, "kind", "Workflow") && is(d, "name", workflow));
    found.ok_or_else(|| format!("the file has no workflow `{}`", escape(workflow)))
}

/// Follows the path as far as it is written: the last node, and how many parts of the path led there.
fn walk<'n>(document: &'n Node, path: &mut [String]) -> Result<(&'n Node, usize), String> {
    let mut node = document;
    for depth in 0..path.len() {
        let Kind::Map(entries) = &node.kind else { break };
        let wanted = path.get(depth).cloned().unwrap_or_default();
        let found: Option<&Entry> = match wanted.strip_prefix('@') {
            Some(feature) => entries.iter().find(|e| canonical(&e.key) == Some(feature)),
            None => entries.iter().find(|e| *e.key == *wanted),
        };
        let Some(entry) = found else {
            return match wanted.strip_prefix('@') {
                Some(feature) => Err(format!("no input is called `{feature}`: change it where the command has it")),
                None if depth < 2 => Err(format!(
                    "the workflow has no `{}`: it stands in a file that it uses",
                    path.get(..=depth).unwrap_or_default().join(".")
                )),
                None => Ok((node, depth)),
            };
        };
        if let Some(part) = path.get_mut(depth) {
            entry.key.as_ref().clone_into(part);
        }
        // What an alias brings stands elsewhere, and for others too.
        let inside = entry.value.span.start >= entry.key_span.start
            && (node.span.end == 0 || entry.value.span.start <= node.span.end.max(entry.key_span.end + 4096));
        if !inside || entry.key_span.start < node.span.start {
            return Err(format!("{} is an alias: change it by hand", path.get(..=depth).unwrap_or_default().join(".")));
        }
        node = &entry.value;
        if node.is_null() && depth + 1 < path.len() {
            return Ok((node, depth + 1));
        }
    }
    let depth = path.len();
    match &node.kind {
        Kind::Scalar { .. } => Ok((node, depth)),
        // A setting that is a mapping already is not overwritten blindly.
        _ => Err(format!("{} is set already: change it by hand", path.join("."))),
    }
}

/// A missing key with all below it, as one value: `{cpu: 2}`.
fn nested(path: &[String], value: &str) -> String {
    match path {
        [] => value.to_owned(),
        [key, rest @ ..] => format!("{{{key}: {}}}", nested(rest, value)),
    }
}

fn replace(text: &str, node: &Node, path: &[String], depth: usize, value: &str) -> Result<Edit, String> {
    let value = nested(path.get(depth..).unwrap_or_default(), value);
    let (mut start, mut end) = (node.span.start as usize, node.span.end as usize);
    let slice = text.get(start..end).ok_or("the place of the value is not known")?;
    end -= slice.len() - slice.trim_end().len();
    // Nothing stands where the key ends, before its colon.
    if start == end && text.as_bytes().get(start) == Some(&b':') {
        (start, end) = (start + 1, start + 1);
    }
    let gap = if start == end && !text.get(..start).unwrap_or_default().ends_with(' ') { " " } else { "" };
    finish(text, start, end, &format!("{gap}{value}"), path)
}

fn insert(text: &str, parent: &Node, path: &[String], depth: usize, value: &str) -> Result<Edit, String> {
    let Kind::Map(entries) = &parent.kind else { return Err(format!("{} is no mapping", path.get(..depth).unwrap_or_default().join("."))) };
    let key = path.get(depth).map_or("", String::as_str);
    let value = nested(path.get(depth + 1..).unwrap_or_default(), value);
    let (start, end) = (parent.span.start as usize, parent.span.end as usize);
    let bytes = text.as_bytes();
    if bytes.get(start) == Some(&b'{') {
        let close = text.get(start..end).and_then(|t| t.rfind('}')).map(|i| start + i).ok_or("the end of the mapping is not known")?;
        let last = text.get(..close).map_or(close, |t| t.trim_end().len());
        let comma = if entries.is_empty() { "" } else { ", " };
        return finish(text, last, last, &format!("{comma}{key}: {value}"), path);
    }
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Err("the mapping is empty".to_owned()) };
    let at = first.key_span.start as usize;
    let line = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let indent = text.get(line..at).map_or(0, |t| t.chars().count());
    // Behind the last line of the mapping, comments at its end included.
    let mut to = furthest(text, &last.value).max(last.key_span.end as usize);
    while to > 0 && bytes.get(to - 1).is_some_and(u8::is_ascii_whitespace) {
        to -= 1;
    }
    let to = text.get(to..).and_then(|t| t.find('\n')).map_or(text.len(), |i| to + i);
    finish(text, to, to, &format!("\n{}{key}: {value}", " ".repeat(indent)), path)
}

/// Last byte of a node and all below it. A mapping in lines has no end of its own: the parser gives that of what follows.
fn furthest(text: &str, node: &Node) -> usize {
    let below = match &node.kind {
        Kind::Scalar { .. } => return node.span.end as usize,
        Kind::List(list) => list.iter().map(|n| furthest(text, n)).max(),
        Kind::Map(entries) => entries.iter().map(|e| furthest(text, &e.value).max(e.key_span.end as usize)).max(),
    };
    let brackets = text.as_bytes().get(node.span.start as usize).is_some_and(|b| matches!(b, b'{' | b'['));
    if brackets { node.span.end as usize } else { below.unwrap_or(node.span.end as usize) }
}

fn finish(text: &str, start: usize, end: usize, new: &str, path: &[String]) -> Result<Edit, String> {
    let (head, tail) = text.get(..start).zip(text.get(end..)).ok_or("the place of the value is not known")?;
    let whole = format!("{head}{new}{tail}");
    let from = head.rfind('\n').map_or(0, |i| i + 1);
    let to = tail.find('\n').map_or(text.len(), |i| end + i);
    let line = u32::try_from(head.bytes().filter(|b| *b == b'\n').count() + 1).unwrap_or(u32::MAX);
    let old = text.get(from..to).unwrap_or_default();
    let now = whole.get(from..whole.len() - (text.len() - to)).unwrap_or_default();
    // Lines that are only added stand for themselves.
    let added = now.strip_prefix(old).and_then(|rest| rest.strip_prefix('\n'));
    let (line, before, after) = match added {
        Some(lines) => (line + 1, "", lines),
        None => (line, old, now),
    };
    Ok(Edit { line, path: path.join("."), before: before.to_owned(), after: after.to_owned(), text: whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A workflow.
apiVersion: oppen/v1
kind: Workflow
name: w
inputs:
  num_epochs: {type: integer, default: 20}   # passes
  trials: {type: integer, default: 8}
defaults: {resources: {cpu: 1, memory: 1Gi}}
jobs:
  train:
    run: |
      echo a   # not a comment
      echo b
    resources:
      cpu: 4          # all of them
      memory: \"8Gi\"
    sweep:
      trials: \"{{ inputs.trials }}\"
      parameters: {lr: {values: [1, 2]}}

  # The second one.
  eval: {run: [sh, b.sh], needs: [train]}   # last
  third:
    run: echo
    resources:
";

    fn after(path: &[&str], value: &str) -> Result<(u32, String, String, String), String> {
        let setting = Setting { path: path.iter().map(|p| (*p).to_owned()).collect(), value: value.to_owned() };
        let edit = set(TEXT, "w", &setting)?;
        // Everything but the lines that it names is as before.
        let old: Vec<&str> = TEXT.lines().collect();
        let new: Vec<&str> = edit.text.lines().collect();
        let added = edit.after.lines().count() - edit.before.lines().count();
        let at = edit.line as usize - 1;
        assert_eq!((&old[..at], &old[at + edit.before.lines().count()..]), (&new[..at], &new[at + edit.before.lines().count() + added..]));
        Ok((edit.line, edit.path, edit.before, edit.after))
    }

    fn ok(line: u32, path: &str, before: &str, after: &str) -> Result<(u32, String, String, String), String> {
        Ok((line, path.to_owned(), before.to_owned(), after.to_owned()))
    }

    #[test]
    fn values_are_replaced_where_they_stand() {
        let cpu = "      cpu: 4          # all of them";
        assert_eq!(
            after(&["jobs", "train", "resources", "cpu"], "2"),
            ok(15, "jobs.train.resources.cpu", cpu, "      cpu: 2          # all of them")
        );
        assert_eq!(
            after(&["jobs", "train", "resources", "memory"], "2Gi"),
            ok(16, "jobs.train.resources.memory", "      memory: \"8Gi\"", "      memory: 2Gi")
        );
        let epochs = "  num_epochs: {type: integer, default: 20}   # passes";
        assert_eq!(after(&["inputs", "@epochs", "default"], "12"), ok(6, "inputs.num_epochs.default", epochs, &epochs.replace("20", "12")));
        // An expression that is an input leads to the input.
        let trials = "  trials: {type: integer, default: 8}";
        assert_eq!(after(&["jobs", "train", "sweep", "trials"], "5"), ok(7, "inputs.trials.default", trials, &trials.replace('8', "5")));
    }

    #[test]
    fn what_is_missing_is_added_in_the_style_of_its_place() {
        assert_eq!(
            after(&["jobs", "train", "resources", "capacity"], "spot"),
            ok(17, "jobs.train.resources.capacity", "", "      capacity: spot")
        );
        let prune = after(&["jobs", "train", "sweep", "prune"], "{method: asha}");
        assert_eq!(prune, ok(20, "jobs.train.sweep.prune", "", "      prune: {method: asha}"));
        let eval = "  eval: {run: [sh, b.sh], needs: [train]}   # last";
        assert_eq!(
            after(&["jobs", "eval", "resources", "capacity"], "spot"),
            ok(22, "jobs.eval.resources.capacity", eval, "  eval: {run: [sh, b.sh], needs: [train], resources: {capacity: spot}}   # last")
        );
        let start = after(&["jobs", "train", "start", "window"], "off-peak");
        assert_eq!(start, ok(20, "jobs.train.start.window", "", "    start: {window: off-peak}"));
        assert_eq!(
            after(&["jobs", "third", "resources", "cpu"], "2"),
            ok(25, "jobs.third.resources.cpu", "    resources:", "    resources: {cpu: 2}")
        );
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        assert!(after(&["jobs", "other", "resources", "cpu"], "2").unwrap_err().contains("has no `jobs.other`"));
        assert!(after(&["inputs", "@batch_size", "default"], "2").unwrap_err().contains("no input is called `batch_size`"));
        assert!(set("a: [", "w", &Setting { path: vec![], value: String::new() }).unwrap_err().contains("not valid YAML"));
        assert!(
            set(TEXT, "v\u{1b}", &Setting { path: vec!["a".to_owned()], value: String::new() })
                .unwrap_err()
                .contains("no workflow `v\\x1b`")
        );
        let alias = "kind: Workflow\nname: w\nx: &r\n  cpu: 4\njobs:\n  a:\n    resources: *r\n";
        let setting = Setting { path: ["jobs", "a", "resources", "cpu"].map(str::to_owned).into(), value: "2".to_owned() };
        assert!(set(alias, "w", &setting).unwrap_err().contains("is an alias"));
    }
}
