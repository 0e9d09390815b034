//! Diagnostics for people (with the line and a caret) and for programs.

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, Severity as Level, SourceCode, SourceSpan,
    SpanContents,
};
use serde_json::{Value, json};

use super::output;
use crate::base::text::escape_line;
use crate::base::{Diagnostic, Diagnostics, Severity, SourceMap, Span};

/// All problems, by place.
#[must_use]
pub fn sorted(diags: &Diagnostics) -> Vec<&Diagnostic> {
    let mut all: Vec<&Diagnostic> = diags.as_slice().iter().collect();
    all.sort_by_key(|d| d.span.map(|s| (s.file, s.start)));
    all
}

/// `2 errors, 1 warning`.
#[must_use]
pub fn count(diags: &Diagnostics) -> String {
    let of = |s: Severity| diags.as_slice().iter().filter(|d| d.severity == s).count();
    let words = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
    let parts: Vec<String> = [words(of(Severity::Error), "error"), words(of(Severity::Warning), "warning")].into_iter().flatten().collect();
    if parts.is_empty() { "no problems".to_owned() } else { parts.join(", ") }
}

/// For people.
#[must_use]
pub fn text(diags: &Diagnostics, sources: &SourceMap) -> String {
    let theme = if output::unicode() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme { characters: miette::ThemeCharacters::ascii(), ..GraphicalTheme::unicode() }
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(output::width()).with_links(false).with_context_lines(1);
    let mut out = String::new();
    for diagnostic in sorted(diags) {
        let report = Report { diagnostic, sources };
        if handler.render_report(&mut out, &report).is_err() {
            out.push_str(&diagnostic.message);
        }
        out.push('\n');
    }
    out
}

/// For programs: file, line and column of everything, counted from 1.
#[must_use]
pub fn values(diags: &Diagnostics, sources: &SourceMap) -> Vec<Value> {
    let place = |span: Span| {
        let (start, end) = (sources.place(span), sources.place(Span { start: span.end, ..span }));
        json!({"file": sources.path(span.file), "line": start.line, "column": start.column, "end_line": end.line, "end_column": end.column})
    };
    sorted(diags)
        .into_iter()
        .map(|d| {
            let mut value =
                json!({"severity": if d.severity == Severity::Error { "error" } else { "warning" }, "code": d.code, "message": d.message});
            if let (Some(span), Some(fields)) = (d.span, value.as_object_mut()) {
                fields.extend(place(span).as_object().cloned().unwrap_or_default());
            }
            if let Some(hint) = &d.hint {
                value["hint"] = json!(hint);
            }
            if !d.related.is_empty() {
                let related = d.related.iter().map(|(span, words)| {
                    let mut value = place(*span);
                    value["message"] = json!(words);
                    value
                });
                value["related"] = related.collect();
            }
            value
        })
        .collect()
}

/// A diagnostic as the renderer wants it.
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    sources: &'a SourceMap,
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.diagnostic.message, self.diagnostic.code)?;
        if let Some(span) = self.diagnostic.span.filter(|_| self.is_hostile()) {
            let place = self.sources.place(span);
            write!(f, " ({}:{}:{})", self.sources.path(span.file), place.line, place.column)?;
        }
        // Related places in other files cannot be drawn into this one.
        for (span, words) in self.elsewhere() {
            let place = self.sources.place(*span);
            write!(f, "\n  {words}: {}:{}:{}", self.sources.path(span.file), place.line, place.column)?;
        }
        Ok(())
    }
}

impl Report<'_> {
    /// A line with control characters is named, not shown: a file must not speak to the terminal.
    fn is_hostile(&self) -> bool {
        self.diagnostic.span.is_some_and(|span| {
            let text = self.sources.text(span.file);
            let start = (span.start as usize).min(text.len());
            let end = (span.end as usize).clamp(start, text.len());
            let from = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
            let to = text.get(end..).and_then(|t| t.find('\n')).map_or(text.len(), |i| end + i);
            text.get(from..to).is_none_or(|lines| lines.lines().any(|l| escape_line(l).len() != l.len()))
        })
    }

    fn elsewhere(&self) -> impl Iterator<Item = &(Span, String)> {
        let file = self.diagnostic.span.map(|s| s.file);
        self.diagnostic.related.iter().filter(move |(s, _)| Some(s.file) != file)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn severity(&self) -> Option<Level> {
        Some(if self.diagnostic.severity == Severity::Error { Level::Error } else { Level::Warning })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.hint.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.diagnostic.span.filter(|_| !self.is_hostile()).map(|_| self as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.diagnostic.span?;
        let at = |s: Span| SourceSpan::from((s.start as usize, (s.end.saturating_sub(s.start) as usize).max(1)));
        let main = LabeledSpan::new_primary_with_span(self.diagnostic.related.is_empty().then(|| "here".to_owned()), at(span));
        let related = self
            .diagnostic
            .related
            .iter()
            .filter(move |(s, _)| s.file == span.file)
            .map(move |(s, w)| LabeledSpan::new_with_span(Some(w.clone()), at(*s)));
        Some(Box::new(std::iter::once(main).chain(related)))
    }
}

impl SourceCode for Report<'_> {
    fn read_span<'a>(&'a self, span: &SourceSpan, before: usize, after: usize) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let Some(main) = self.diagnostic.span else { return Err(MietteError::OutOfBounds) };
        let text = self.sources.text(main.file);
        let contents = text.read_span(&if before + after > 0 { lines_of(span, text) } else { clip(span, text) }, 0, 0)?;
        let (data, line, column, count) = (contents.data(), contents.line(), contents.column(), contents.line_count());
        Ok(Box::new(MietteSpanContents::new_named(self.sources.path(main.file).to_owned(), data, *contents.span(), line, column, count)))
    }
}

fn clip(span: &SourceSpan, text: &str) -> SourceSpan {
    let start = span.offset().min(text.len());
    SourceSpan::from((start, span.len().min(text.len() - start)))
}

/// The whole lines that a span touches.
fn lines_of(span: &SourceSpan, text: &str) -> SourceSpan {
    let (start, end) = (span.offset().min(text.len()), (span.offset() + span.len()).min(text.len()));
    let from = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let to = text.get(end..).and_then(|t| t.find('\n')).map_or(text.len(), |i| end + i);
    // Of a line without end only the neighbourhood is shown.
    let near = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (from, to) = (from.max(near(start.saturating_sub(200))), to.min(near(text.len().min(end + 200))));
    SourceSpan::from((from, to - from))
}
