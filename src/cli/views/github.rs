//! Annotations of GitHub Actions: workflow commands, one a line.

use std::fmt::Write as _;

use super::{Found, Level};
use crate::base::text::escape;

/// `::error file=..,line=..,col=..::message` for each finding.
#[must_use]
pub fn text(found: &Found) -> String {
    let mut out = String::new();
    for finding in &found.findings {
        let word = if finding.level == Level::Error { "error" } else { "warning" };
        let place = finding.at.as_ref().map(|a| {
            // Columns count only inside one line.
            let columns = (a.line == a.end_line).then(|| format!(",col={},endColumn={}", a.column, a.end_column));
            format!("file={},line={},endLine={}{},", property(&a.file), a.line, a.end_line, columns.unwrap_or_default())
        });
        let mut message = escape(&finding.sentence()).into_owned();
        if !finding.hint.is_empty() {
            let _ = write!(message, "\nhelp: {}", escape(&finding.hint));
        }
        for (at, words) in &finding.related {
            let _ = write!(message, "\n{}: {}:{}", escape(words), escape(&at.file), at.line);
        }
        let title = property(&format!("oppen {}: {}", found.command, finding.rule));
        let _ = writeln!(out, "::{word} {}title={title}::{}", place.unwrap_or_default(), data(&message));
    }
    out
}

/// What stands behind `::`.
#[must_use]
pub fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value in front of it.
fn property(text: &str) -> String {
    data(&escape(text)).replace(':', "%3A").replace(',', "%2C")
}
