//! Names of workflows, jobs and params: what they may look like, and that no two of them collide in a cluster.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::base::{Diagnostic, Diagnostics, Span, text};

/// Longest name, in characters: that of a Kubernetes label.
pub const MAX_NAME: usize = 63;

/// Checks the shape of a name.
pub fn check(what: &str, name: &str, span: Span, diags: &mut Diagnostics) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let shape = first && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !shape {
        let message = format!("`{}` is not a name for {what}", text::escape(name));
        diags.push(Diagnostic::error("bad-name", span, message).hint("use letters, digits, `-` and `_`, and begin with a letter or digit"));
    } else if name.len() > MAX_NAME {
        let message = format!("the name of {what} has {} characters, at most {MAX_NAME} are possible", name.len());
        diags.push(Diagnostic::error("bad-name", span, message).hint("shorten it"));
    }
    shape && name.len() <= MAX_NAME
}

/// Refuses names that are equal after case folding, as labels and file systems may fold them.
#[derive(Default)]
pub struct Distinct {
    seen: FxHashMap<String, (Arc<str>, Span)>,
}

impl Distinct {
    /// Notes a name; false when it collides with an earlier one.
    pub fn add(&mut self, what: &str, name: &Arc<str>, span: Span, diags: &mut Diagnostics) -> bool {
        let folded = name.to_lowercase();
        if let Some((other, at)) = self.seen.get(&folded) {
            let why = if other == name { "is declared twice" } else { "differs from another only by case" };
            let message = format!("{what} `{}` {why}", text::escape(name));
            diags.push(
                Diagnostic::error("name-collision", span, message)
                    .hint("give it another name")
                    .related(*at, format!("`{}` is declared here", text::escape(other))),
            );
            return false;
        }
        self.seen.insert(folded, (Arc::clone(name), span));
        true
    }
}

/// Checks a name of an environment variable.
pub fn check_variable(name: &str, span: Span, diags: &mut Diagnostics) {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        let message = format!("`{}` is not a name for an environment variable", text::escape(name));
        diags.push(Diagnostic::error("bad-name", span, message).hint("use letters, digits and `_`, and begin with a letter"));
    } else if name.starts_with("OPPEN_") {
        diags.push(
            Diagnostic::error("reserved-name", span, format!("`{name}` belongs to Oppen"))
                .hint("variables that begin with `OPPEN_` are set by Oppen itself"),
        );
    }
}
