//! Diagnostics: problems as data. Collected by every room, rendered only by the views of `cli`.

use super::source::Span;

/// How bad it is. Errors stop a plan, warnings do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The files cannot be used.
    Error,
    /// Worth a look, nothing stops.
    Warning,
}

/// One problem: what is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable machine name, `kebab-case`, such as `unknown-key`.
    pub code: &'static str,
    /// One sentence without a full stop: what is wrong.
    pub message: String,
    /// The main place, if it is known.
    pub span: Option<Span>,
    /// Further places with a few words each (the other end of a conflict, edges of a cycle).
    pub related: Vec<(Span, String)>,
    /// What would be right, as an instruction.
    pub hint: Option<String>,
    /// Runs that were counted and refused before they were made; their price is added where prices are known. 0 elsewhere.
    pub runs: u64,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), span: span.into(), related: Vec::new(), hint: None, runs: 0 }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Says what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what would be right, when something is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Says how many runs are refused.
    #[must_use]
    pub fn runs(mut self, runs: u128) -> Self {
        self.runs = u64::try_from(runs).unwrap_or(u64::MAX);
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, span: Span, words: impl Into<String>) -> Self {
        self.related.push((span, words.into()));
        self
    }
}

/// The collector that rooms pass along. Order is the order of finding; views sort by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds one problem. The same problem at the same place is kept once.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.list.contains(&diagnostic) {
            self.list.push(diagnostic);
        }
    }

    /// Adds all problems of another collector.
    pub fn extend(&mut self, other: Diagnostics) {
        for diagnostic in other.list {
            self.push(diagnostic);
        }
    }

    /// Adds words to the problem that refuses runs at a place.
    pub fn amend(&mut self, span: Span, words: &str) {
        for diagnostic in self.list.iter_mut().filter(|d| d.runs > 0 && d.span == Some(span)) {
            diagnostic.message.push_str(words);
        }
    }

    /// True when at least one is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// True when nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All problems, in the order of finding.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }
}
