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

/// Columns that the renderer needs beside a line.
const GUTTER: usize = 14;

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

    /// Places that are named, not drawn: those of other files, and all of them where a line is cut.
    fn elsewhere(&self) -> impl Iterator<Item = &(Span, String)> {
        let file = self.diagnostic.span.map(|s| s.file).filter(|_| self.window().is_none());
        self.diagnostic.related.iter().filter(move |(s, _)| Some(s.file) != file)
    }

    /// Of a line wider than the terminal only the neighbourhood of the place is shown.
    fn window(&self) -> Option<(usize, usize)> {
        let main = self.diagnostic.span?;
        let text = self.sources.text(main.file);
        let room = output::width().saturating_sub(GUTTER);
        let spans = std::iter::once(main).chain(self.diagnostic.related.iter().map(|(s, _)| *s).filter(|s| s.file == main.file));
        let mut lines = spans.map(|s| lines_of(s.start as usize, s.end as usize, text));
        let too_wide = lines.any(|(from, to)| text.get(from..to).is_some_and(|t| t.lines().any(|l| columns(l) > room)));
        too_wide.then(|| {
            let at = (main.start as usize).min(text.len());
            let (from, to) = lines_of(at, at, text);
            let (before, after) = (text.get(from..at).unwrap_or_default(), text.get(at..to).unwrap_or_default());
            // A third of the room for what is before, unless what is after and the words below need less than the rest.
            let left = (room / 3).max(room.saturating_sub(columns(after).max(24)));
            let kept: usize = fitting(before.chars().rev(), left);
            let used = columns(text.get(at - kept..at).unwrap_or_default());
            (at - kept, at + fitting(after.chars(), room.saturating_sub(used)))
        })
    }

    /// The main place, as much of it as is shown.
    fn shown(&self, span: Span) -> SourceSpan {
        let end = self.window().map_or(span.end as usize, |(_, to)| to.min(span.end as usize));
        SourceSpan::from((span.start as usize, end.saturating_sub(span.start as usize).max(1)))
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
        let at = |s: Span| self.shown(s);
        let cut = self.window().is_some();
        let word = if cut { "here (line cut)" } else { "here" };
        let main = LabeledSpan::new_primary_with_span((cut || self.diagnostic.related.is_empty()).then(|| word.to_owned()), at(span));
        let related = self
            .diagnostic
            .related
            .iter()
            .filter(move |(s, _)| s.file == span.file && !cut)
            .map(move |(s, w)| LabeledSpan::new_with_span(Some(w.clone()), at(*s)));
        Some(Box::new(std::iter::once(main).chain(related)))
    }
}

impl SourceCode for Report<'_> {
    fn read_span<'a>(&'a self, span: &SourceSpan, before: usize, after: usize) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let Some(main) = self.diagnostic.span else { return Err(MietteError::OutOfBounds) };
        let text = self.sources.text(main.file);
        let (start, end) = (span.offset(), span.offset() + span.len());
        let (from, to) =
            if before + after == 0 { clip(start, end, text) } else { self.window().unwrap_or_else(|| lines_of(start, end, text)) };
        let contents = text.read_span(&SourceSpan::from((from, to - from)), 0, 0)?;
        let (data, line, column, count) = (contents.data(), contents.line(), contents.column(), contents.line_count());
        Ok(Box::new(MietteSpanContents::new_named(self.sources.path(main.file).to_owned(), data, *contents.span(), line, column, count)))
    }
}

fn clip(start: usize, end: usize, text: &str) -> (usize, usize) {
    let start = start.min(text.len());
    (start, end.clamp(start, text.len()))
}

/// The whole lines that a place touches.
fn lines_of(start: usize, end: usize, text: &str) -> (usize, usize) {
    let (start, end) = clip(start, end, text);
    let from = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let to = text.get(end..).and_then(|t| t.find('\n')).map_or(text.len(), |i| end + i);
    (from, to)
}

/// Columns that the renderer draws a character in: a tab is four.
fn column(c: char) -> usize {
    if c == '\t' { 4 } else { unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) }
}

fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// Bytes of the first characters that fit.
fn fitting(chars: impl Iterator<Item = char>, room: usize) -> usize {
    let mut used = 0;
    let fits = chars.take_while(|c| {
        used += column(*c);
        used <= room
    });
    fits.map(char::len_utf8).sum()
}
