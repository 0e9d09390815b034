//! A workflow being made from another tool's file.
//!
//! In: what a reader finds. Out: YAML with comments. Must never emit text that our templates would take for an expression.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::super::yaml;
use crate::base::text::escape;
use crate::base::{Diagnostics, SourceMap, Span};
use crate::spec::lower::Lower;
use crate::spec::tree::{Kind, Node};

/// Something that could not be carried over.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its line in the source.
    pub line: Option<u32>,
    /// What, and what to do about it.
    pub text: String,
}

/// Where lines come from.
#[derive(Clone, Copy)]
pub struct Lines<'a> {
    /// The source.
    pub sources: &'a SourceMap,
}

impl Lines<'_> {
    fn of(self, span: Span) -> u32 {
        self.sources.place(span).line
    }
}

/// The workflow so far.
#[derive(Debug, Default)]
pub struct Draft {
    /// What the file is: `a W&B sweep`.
    pub source: &'static str,
    /// Name of the workflow.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Keys of the job, without `run` and `sweep`.
    pub job: Map<String, Value>,
    /// The command's words, templates among them.
    pub run: Vec<String>,
    /// `method`, `metric`, `parameters` and the like.
    pub sweep: Map<String, Value>,
    /// What was lost.
    pub notes: Vec<Note>,
    /// The source's names of parameters and ours.
    pub names: Vec<(String, String)>,
}

impl Draft {
    /// Notes what could not be carried over.
    pub fn lost(&mut self, lines: Lines<'_>, at: Span, text: impl Into<String>) {
        self.notes.push(Note { line: Some(lines.of(at)), text: text.into() });
    }

    /// The same about the whole.
    pub fn say(&mut self, text: impl Into<String>) {
        self.notes.push(Note { line: None, text: text.into() });
    }

    /// Notes the keys of a mapping that nothing was made of.
    pub fn rest(&mut self, lines: Lines<'_>, node: Option<&Node>, what: &str, known: &[&str]) {
        for (key, value) in node.map(entries).unwrap_or_default() {
            if !known.contains(&key) && !value.is_null() {
                let shown = value.text().map(|t| format!(": {}", short(t))).unwrap_or_default();
                self.lost(lines, value.span, format!("`{what}{key}{shown}`"));
            }
        }
    }

    /// Our name for a parameter: one that an expression can hold, and that no other has.
    pub fn param(&mut self, name: &str) -> String {
        if let Some((_, ours)) = self.names.iter().find(|(n, _)| n == name) {
            return ours.clone();
        }
        let mut ours: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
        if !ours.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            ours.insert_str(0, "p_");
        }
        let folded = |n: &str| n.to_ascii_uppercase();
        while self.names.iter().any(|(_, n)| folded(n) == folded(&ours)) {
            ours.push('_');
        }
        self.names.push((name.to_owned(), ours.clone()));
        ours
    }

    /// Sets the metric and the goal.
    pub fn metric(&mut self, name: &str, maximize: bool) {
        let goal = if maximize { "maximize" } else { "minimize" };
        self.sweep.insert("metric".to_owned(), json!({"name": literal(name), "goal": goal}));
    }

    /// The workflow as YAML, with what was lost as comments.
    pub fn yaml(&self, file: &str) -> String {
        let mut out = String::new();
        let mut comment = |text: &str| {
            for line in crate::cli::output::wrap(&escape(text), 110) {
                let _ = writeln!(out, "# {line}");
            }
        };
        comment(&format!("Imported from {file}, {}.", self.source));
        if !self.notes.is_empty() {
            comment("");
            comment("Not carried over:");
            for note in &self.notes {
                let place = note.line.map(|l| format!("line {l}: ")).unwrap_or_default();
                comment(&format!("- {place}{}", note.text));
            }
        }
        let mut workflow = Map::new();
        workflow.insert("apiVersion".to_owned(), json!("oppen/v1"));
        workflow.insert("kind".to_owned(), json!("Workflow"));
        workflow.insert("name".to_owned(), json!(workflow_name(&self.name)));
        if let Some(words) = &self.description {
            workflow.insert("description".to_owned(), json!(words));
        }
        let mut job = Map::new();
        job.insert("run".to_owned(), json!(self.run));
        job.extend(self.job.clone());
        let order = ["method", "metric", "parameters", "points", "trials", "parallel", "max_failed", "max_time", "prune"];
        let sweep: Map<String, Value> = order.iter().filter_map(|k| Some(((*k).to_owned(), self.sweep.get(*k)?.clone()))).collect();
        job.insert("sweep".to_owned(), Value::Object(sweep));
        workflow.insert("jobs".to_owned(), json!({"train": job}));
        out + &yaml::document(&Value::Object(workflow))
    }
}

/// A name that a workflow may have.
fn workflow_name(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' }).take(60).collect();
    while out.contains("--") {
        out = out.replace("--", "-");
    }
    let out = out.trim_matches('-').to_owned();
    if out.is_empty() { "imported".to_owned() } else { out }
}

/// Text that no template is made of: what would begin one is written as an expression that gives it.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["{{", "{%", "{#"].iter().filter_map(|m| rest.find(m)).min() {
        let (before, from) = rest.split_at(at);
        let (mark, after) = from.split_at(2);
        let _ = write!(out, "{before}{{{{ '{mark}' }}}}");
        rest = after;
    }
    out + rest
}

/// The same inside lists and mappings.
pub fn literals(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(literal(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(literals).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, literals(v))).collect()),
        other => other,
    }
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { cut }
}

/// The entries of a mapping.
pub fn entries(node: &Node) -> Vec<(&str, &Node)> {
    match &node.kind {
        Kind::Map(all) => all.iter().map(|e| (&*e.key, &e.value)).collect(),
        _ => Vec::new(),
    }
}

/// The items of a list; a scalar is a list of one.
pub fn items(node: &Node) -> Vec<&Node> {
    match &node.kind {
        Kind::List(all) => all.iter().collect(),
        Kind::Scalar { .. } if !node.is_null() => vec![node],
        _ => Vec::new(),
    }
}

/// A value of a mapping, by a path with dots.
pub fn get<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('.').try_fold(node, |node, key| entries(node).into_iter().find(|(k, _)| *k == key).map(|(_, v)| v)).filter(|n| !n.is_null())
}

/// A scalar of a mapping.
pub fn text(node: &Node, path: &str) -> Option<String> {
    get(node, path).and_then(Node::text).map(ToString::to_string)
}

/// Any value, templates in its texts made harmless.
pub fn value(node: &Node) -> Value {
    literals(raw(node))
}

/// Any value as it is.
pub fn raw(node: &Node) -> Value {
    Value::lower(node, &mut Diagnostics::default()).unwrap_or(Value::Null)
}

/// A number, also in quotes (Katib writes all numbers so).
pub fn number(node: &Node) -> Option<Value> {
    crate::spec::scalar::number(node.text()?.trim())
}

/// A number of a mapping as a float.
pub fn float(node: &Node, path: &str) -> Option<f64> {
    get(node, path).and_then(number)?.as_f64()
}

/// A whole number of a mapping.
pub fn whole(node: &Node, path: &str) -> Option<u64> {
    let value = get(node, path).and_then(number)?;
    value.as_u64().or_else(|| value.as_f64().filter(|f| *f >= 0.0 && f.fract() == 0.0 && *f < 1e15).map(|f| f as u64))
}

/// 10^-3 is 0.001 and not 0.0010000000000000002.
pub fn tidy(value: f64) -> f64 {
    format!("{value:.12e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_made_fit() {
        let mut draft = Draft::default();
        let ours = ["lr", "optim.lr", "optim-lr", "1d", "LR"].map(|n| draft.param(n));
        assert_eq!(ours, ["lr", "optim_lr", "optim_lr_", "p_1d", "LR_"]);
        assert_eq!(draft.param("optim-lr"), "optim_lr_");
        assert_eq!(literal("a {{ x }} {% y %} {"), "a {{ '{{' }} x }} {{ '{%' }} y %} {");
        assert_eq!(workflow_name("My Sweep / №2"), "my-sweep-2");
        assert_eq!(workflow_name("--"), "imported");
    }
}
