//! What checks found, for the tools that read it: SARIF, JUnit, GitHub annotations, Markdown.
//!
//! In: diagnostics and verdicts as [`Finding`]s. Out: text. Must never pass on a character that the reader takes for a command.

pub mod github;
pub mod junit;
pub mod markdown;
pub mod sarif;

use std::path::Path;

use super::output::Format;
use crate::base::{Diagnostics, Severity, SourceMap, Span};
use crate::check::Verdict;

/// Where something is written, from the repository's root; lines and columns count from 1, the end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Path with `/`.
    pub file: String,
    /// First line.
    pub line: u32,
    /// First column, in characters.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// One past the last column.
    pub end_column: u32,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// It stops the command.
    Error,
    /// It does not.
    Warning,
}

/// One thing that a check has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the rule.
    pub rule: String,
    /// How bad.
    pub level: Level,
    /// What it is about; empty when the place says it.
    pub subject: String,
    /// One sentence.
    pub message: String,
    /// What would help; may be empty.
    pub hint: String,
    /// The main place.
    pub at: Option<At>,
    /// Further places, with words.
    pub related: Vec<(At, String)>,
}

impl Finding {
    /// Subject and message as one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        if self.subject.is_empty() { self.message.clone() } else { format!("{} {}", self.subject, self.message) }
    }
}

/// Everything that one command found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The command.
    pub command: &'static str,
    /// What was looked at and is in order unless a finding says otherwise: files or jobs.
    pub looked_at: Vec<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Texts and how paths of theirs are told to the outside.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// The texts.
    pub sources: &'a SourceMap,
    /// The project's root inside its repository, with a `/` at its end; empty where they are the same.
    pub prefix: &'a str,
}

impl Places<'_> {
    /// The place of a span.
    #[must_use]
    pub fn at(&self, span: Span) -> At {
        let (start, end) = (self.sources.place(span), self.sources.place(Span { start: span.end.max(span.start), ..span }));
        let file = format!("{}{}", self.prefix, self.sources.path(span.file));
        At { file, line: start.line, column: start.column, end_line: end.line, end_column: end.column }
    }

    /// Problems of files, by place.
    #[must_use]
    pub fn of_diagnostics(&self, diags: &Diagnostics) -> Vec<Finding> {
        super::problems::sorted(diags)
            .into_iter()
            .map(|d| Finding {
                rule: d.code.to_owned(),
                level: if d.severity == Severity::Error { Level::Error } else { Level::Warning },
                subject: String::new(),
                message: d.message.clone(),
                hint: d.hint.clone().unwrap_or_default(),
                at: d.span.map(|s| self.at(s)),
                related: d.related.iter().map(|(s, words)| (self.at(*s), words.clone())).collect(),
            })
            .collect()
    }

    /// What the checks of a plan say.
    #[must_use]
    pub fn of_verdicts(&self, verdicts: &[Verdict]) -> Vec<Finding> {
        verdicts
            .iter()
            .map(|v| Finding {
                rule: v.rule.to_string(),
                level: if v.blocks { Level::Error } else { Level::Warning },
                subject: v.subject.to_string(),
                message: v.message.clone(),
                hint: v.hint.clone(),
                at: v.span.or(v.source).map(|s| self.at(s)),
                related: v.source.filter(|_| v.span.is_some()).map(|s| (self.at(s), "the rule is here".to_owned())).into_iter().collect(),
            })
            .collect()
    }
}

/// Findings in one of the forms for tools; none for text and JSON, which commands write themselves.
#[must_use]
pub fn text(format: Format, found: &Found) -> Option<String> {
    match format {
        Format::Text | Format::Json => None,
        Format::Sarif => Some(sarif::text(found)),
        Format::Junit => Some(junit::text(found)),
        Format::Github => Some(github::text(found)),
        Format::Markdown => Some(markdown::findings(found)),
    }
}

/// The project's root inside the git repository around it, with a `/` at its end.
#[must_use]
pub fn prefix(root: &Path) -> String {
    let top = root.ancestors().find(|folder| folder.join(".git").exists());
    let inside = top.and_then(|top| root.strip_prefix(top).ok()).map(|p| p.to_string_lossy().into_owned());
    inside.filter(|p| !p.is_empty()).map(|p| p + "/").unwrap_or_default()
}
