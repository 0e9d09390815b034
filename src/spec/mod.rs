//! YAML text to typed documents with places. Doc comments become `schemas/*.json`.
//!
//! In: the texts of files. Out: [`Document`]s and diagnostics, all of them in one pass. Must never read a file or evaluate an
//! expression.

pub mod tree;
#[macro_use]
pub mod lower;
pub mod scalar;
pub mod types;
pub mod schema;

use crate::base::{Diagnostic, Diagnostics, FileId, SourceMap, suggest};
use lower::Lower;
use tree::{Kind, Node};
pub use types::{PolicyDoc, Project, RatesCard, Workflow};

/// The one version of the language.
pub const API_VERSION: &str = "oppen/v1";

/// One document of a file.
#[derive(Debug, Clone)]
pub enum Document {
    /// `kind: Project`.
    Project(Box<Project>),
    /// `kind: Rates`.
    Rates(Box<RatesCard>),
    /// `kind: Policy`.
    Policy(Box<PolicyDoc>),
    /// `kind: Workflow`.
    Workflow(Box<Workflow>),
}

/// Reads all documents of a file.
pub fn read(file: FileId, sources: &SourceMap, diags: &mut Diagnostics) -> Vec<Document> {
    let nodes = tree::parse(file, sources.text(file), diags);
    if nodes.iter().all(Node::is_null) {
        if !diags.has_errors() {
            let at = crate::base::Span { file, start: 0, end: 0 };
            diags.push(
                Diagnostic::error("empty-file", at, "the file holds no document")
                    .hint("start with `apiVersion: oppen/v1` and `kind: Workflow`"),
            );
        }
        return Vec::new();
    }
    nodes.iter().filter(|n| !n.is_null()).filter_map(|n| document(n, diags)).collect()
}

fn document(node: &Node, diags: &mut Diagnostics) -> Option<Document> {
    let Kind::Map(entries) = &node.kind else {
        diags.push(lower::wrong(node, "a document with `apiVersion`, `kind` and `name`"));
        return None;
    };
    let value = |key: &str| entries.iter().find(|e| e.key.as_ref() == key).map(|e| &e.value);
    match value("apiVersion") {
        None => lower::missing(node, "apiVersion", "a document", diags),
        Some(v) if v.text().map(AsRef::as_ref) != Some(API_VERSION) => {
            diags.push(
                Diagnostic::error("api-version", v.span, format!("{} is not a version of the language that this Oppen reads", v.what()))
                    .hint("write `apiVersion: oppen/v1`"),
            );
        }
        Some(_) => {}
    }
    match value("kind").and_then(|v| v.text().map(|t| (v, t.as_ref()))) {
        Some((_, "Workflow")) => Workflow::lower(node, diags).map(|w| Document::Workflow(Box::new(w))),
        Some((_, "Rates")) => RatesCard::lower(node, diags).map(|r| Document::Rates(Box::new(r))),
        Some((_, "Policy")) => PolicyDoc::lower(node, diags).map(|p| Document::Policy(Box::new(p))),
        Some((_, "Project")) => Project::lower(node, diags).map(|p| Document::Project(Box::new(p))),
        Some((at, other)) => {
            let hint = suggest::hint(other, ["Workflow", "Project", "Rates", "Policy"]);
            diags.push(
                Diagnostic::error("unknown-kind", at.span, format!("unknown kind `{}`", crate::base::text::escape(other))).maybe_hint(hint),
            );
            None
        }
        None => {
            lower::missing(node, "kind", "a document", diags);
            None
        }
    }
}
