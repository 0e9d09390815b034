//! Markdown (GitHub's and GitLab's) for comments and summaries. Whatever comes from files stands in code spans or is escaped: it
//! cannot end a table, add HTML, call a person, or give a command.

use std::fmt::Write as _;

use super::{At, Finding, Found, Level};
use crate::base::Money;
use crate::base::text::{counted, escape};

/// GitHub refuses comments of more characters than this.
pub const LIMIT: usize = 65_536;
/// Room for what follows the cut.
const RESERVE: usize = 1_200;

/// A text that knows how long it may be.
pub struct Page {
    text: String,
    limit: usize,
    /// Lines that had no room.
    pub cut: usize,
}

impl Page {
    /// An empty page. Lengths are counted in bytes, of which there are never fewer than characters.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { text: String::new(), limit: limit.saturating_sub(RESERVE), cut: 0 }
    }

    /// A line that must stand; short ones only.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A line that may be cut.
    pub fn may(&mut self, line: &str) {
        if self.cut == 0 && self.text.len() + line.len() < self.limit {
            self.line(line);
        } else {
            self.cut += 1;
        }
    }

    /// Further parts that may be cut have room again, as far as it goes.
    pub fn uncut(&mut self) -> usize {
        std::mem::take(&mut self.cut)
    }

    /// The whole.
    #[must_use]
    pub fn text(self) -> String {
        self.text
    }
}

/// A code span inside a table or a line. Nothing in it has a meaning.
#[must_use]
pub fn code(text: &str) -> String {
    let shown = escape(text);
    let shown = shown.trim();
    if shown.is_empty() {
        return "(empty)".to_owned();
    }
    let mut longest = 0;
    let mut run = 0;
    for c in shown.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let (left, right) = (if shown.starts_with('`') { " " } else { "" }, if shown.ends_with('`') { " " } else { "" });
    // In a table a bar ends the cell even inside code, unless it is escaped; a backslash before it would undo that.
    let bars = shown.replace("\\|", "\\ |").replace('|', "\\|");
    format!("{fence}{left}{bars}{right}{fence}")
}

/// A sentence. What stands between backticks becomes a code span; Markdown's other signs are escaped; `@name`, `#1` and links of
/// bare addresses are taken apart by a character without width.
#[must_use]
pub fn prose(text: &str) -> String {
    let shown = escape(text);
    let pieces: Vec<&str> = shown.split('`').collect();
    let closed = pieces.len() % 2 == 1;
    let mut out = String::with_capacity(shown.len() + 16);
    for (i, piece) in pieces.iter().enumerate() {
        match (i % 2 == 1, closed || i + 1 < pieces.len()) {
            (true, true) if !piece.is_empty() => out.push_str(&code(piece)),
            (odd, _) => {
                out.push_str(if odd { "\\`" } else { "" });
                plain(&mut out, piece);
            }
        }
    }
    out
}

fn plain(out: &mut String, text: &str) {
    let mut rest = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' | '#' | '!' | '~' if next.is_alphanumeric() => {
                let _ = write!(out, "\\{c}\u{200b}");
            }
            ':' if next == '/' => out.push_str(":\u{200b}"),
            'w' | 'W' if before.eq_ignore_ascii_case(&'w') => {
                let _ = write!(out, "\u{200b}{c}");
            }
            '\\' | '*' | '_' | '[' | ']' | '|' | '$' | '@' | '#' | '!' | '~' | '{' | '}' => {
                let _ = write!(out, "\\{c}");
            }
            c => out.push(c),
        }
        before = c;
    }
}

/// An amount, whose sign must not begin a formula.
#[must_use]
pub fn money(amount: Money) -> String {
    amount.to_string().replace('$', "\\$")
}

fn place(at: &At) -> String {
    code(&format!("{}:{}", at.file, at.line))
}

/// One finding as an item of a list.
#[must_use]
pub fn item(finding: &Finding) -> String {
    let word = if finding.level == Level::Error { "**blocked**" } else { "warning" };
    let subject = if finding.subject.is_empty() { String::new() } else { format!(" {}", code(&finding.subject)) };
    let mut line = format!("- {word}{subject} {}", prose(&finding.message));
    if let Some(at) = &finding.at {
        let _ = write!(line, " ({})", place(at));
    }
    for (at, words) in &finding.related {
        let _ = write!(line, " ({}: {})", prose(words), place(at));
    }
    if !finding.hint.is_empty() {
        let _ = write!(line, " *{}*", prose(&finding.hint));
    }
    line
}

/// Problems of files.
#[must_use]
pub fn findings(found: &Found) -> String {
    let mut page = Page::new(LIMIT);
    let count = |level| found.findings.iter().filter(|f| f.level == level).count();
    let (errors, warnings) = (counted(count(Level::Error), "error"), counted(count(Level::Warning), "warning"));
    page.line(&format!("### Oppen {}: {errors}, {warnings}\n", found.command));
    if !found.findings.is_empty() {
        page.line("| | Where | What | Help |\n|---|---|---|---|");
    }
    for finding in &found.findings {
        let word = if finding.level == Level::Error { "error" } else { "warning" };
        let at = finding.at.as_ref().map(place).unwrap_or_default();
        page.may(&format!("| {word} | {at} | {} {} | {} |", prose(&finding.sentence()), code(&finding.rule), prose(&finding.hint)));
    }
    let cut = page.uncut();
    if cut > 0 {
        page.line(&format!("\n{cut} more problems had no room here: see the JSON of this command."));
    }
    page.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_cannot_be_left() {
        assert_eq!(code("a|b`c"), "``a\\|b`c``");
        assert_eq!(code("`x`"), "`` `x` ``");
        assert_eq!(code("a\n| b"), "`a\\n\\| b`");
        assert_eq!(code("\\|"), "`\\ \\|`");
        assert_eq!(code(""), "(empty)");
    }

    #[test]
    fn prose_calls_nobody() {
        assert_eq!(prose("hi @all <img src=x> #1"), "hi \\@\u{200b}all &lt;img src=x&gt; \\#\u{200b}1");
        assert_eq!(prose("[x](http://y) `z|` `q"), "\\[x\\](http:\u{200b}//y) `z\\|` \\`q");
        assert_eq!(prose("www.example"), "w\u{200b}w\u{200b}w.example");
    }

    #[test]
    fn a_full_page_counts_what_it_cuts() {
        let mut page = Page::new(RESERVE + 10);
        ["123", "456", "789", "0"].iter().for_each(|l| page.may(l));
        assert_eq!((page.uncut(), page.text()), (2, "123\n456\n".to_owned()));
    }
}
