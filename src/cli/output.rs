//! Output forms, value parsers of arguments, terminal facts.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use crate::base::{Millis, Money};

use super::exit::{Exit, Failure};

/// Forms that a command can print. The first is the default, and is for people.
pub trait Forms: Copy + PartialEq + Send + Sync + 'static {
    /// Every form by its word.
    const ALL: &'static [(&'static str, Self)];

    /// The form that a word names.
    fn called(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, form)| *form)
    }
}

/// The forms of every command that prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The forms of commands that check files: `validate`, `plan`, `ci`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// A comment of a pull or merge request.
    Markdown,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, for test reports.
    Junit,
    /// Annotations of GitHub Actions.
    Github,
}

impl Forms for Form {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Forms for Format {
    const ALL: &'static [(&'static str, Self)] = &[
        ("text", Self::Text),
        ("json", Self::Json),
        ("markdown", Self::Markdown),
        ("sarif", Self::Sarif),
        ("junit", Self::Junit),
        ("github", Self::Github),
    ];
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::Text => Self::Text,
            Form::Json => Self::Json,
        }
    }
}

/// A form and the file it goes to; standard output without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<F = Form> {
    /// The form.
    pub form: F,
    /// The file.
    pub file: Option<PathBuf>,
}

/// Reads `FORM[=FILE]`.
pub fn parse<F: Forms>(text: &str) -> Result<Target<F>, String> {
    let (form, file) = text.split_once('=').map_or((text, None), |(f, p)| (f, Some(PathBuf::from(p))));
    if file.as_ref().is_some_and(|f| f.as_os_str().is_empty()) {
        return Err(format!("no file is named; write `{}=FILE`", crate::base::text::escape(form)));
    }
    let words = || F::ALL.iter().map(|(word, _)| *word);
    match F::called(form) {
        Some(form) => Ok(Target { form, file }),
        None if Format::ALL.iter().any(|(word, _)| *word == form) => {
            let can = words().collect::<Vec<_>>().join(", ");
            Err(format!("this command has no form `{form}`; it prints {can}"))
        }
        None => {
            let hint = crate::base::suggest::hint(form, words().collect::<Vec<_>>()).unwrap_or_default();
            Err(format!("unknown form `{}`; {hint}", crate::base::text::escape(form)))
        }
    }
}

/// Reads `name=value`.
pub fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Reads an amount of money.
pub fn money(text: &str) -> Result<Money, String> {
    Money::parse(text).map_err(|e| e.to_string())
}

/// Reads a length of time.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    Millis::parse(text).map(Millis::to_std)
}

/// Reads a point in time.
pub fn time(text: &str) -> Result<crate::base::Timestamp, String> {
    crate::base::Timestamp::parse(text).ok_or_else(|| "write a time with its zone, such as 2026-12-01T08:00Z".to_owned())
}

/// Writes every wanted form; text to standard output when none is named.
pub fn write<F: Forms>(targets: &[Target<F>], render: impl Fn(F) -> String) -> Result<(), Failure> {
    if let (true, Some((_, first))) = (targets.is_empty(), F::ALL.first()) {
        return print(&render(*first));
    }
    for target in targets {
        let text = render(target.form);
        match &target.file {
            None => print(&text)?,
            Some(file) => {
                // Styles are for terminals.
                let plain = if F::called("text") == Some(target.form) { anstream::adapter::strip_str(&text).to_string() } else { text };
                std::fs::write(file, &plain).map_err(|e| Failure::new(Exit::Error, format!("{}: {e}", file.display())))?;
            }
        }
    }
    Ok(())
}

/// Bytes that are no text, to a file or to standard output as they are.
pub fn write_bytes(file: Option<&std::path::Path>, bytes: &[u8]) -> Result<(), Failure> {
    match file {
        Some(file) => std::fs::write(file, bytes).map_err(|e| Failure::new(Exit::Error, format!("{}: {e}", file.display()))),
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            Ok(out.flush()?)
        }
    }
}

/// To standard output; styles are taken out where it is no terminal.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// To standard error.
pub fn say(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// True when some JSON goes to standard output.
#[must_use]
pub fn is_json<F: Forms>(targets: &[Target<F>]) -> bool {
    targets.iter().any(|t| F::called("json") == Some(t.form) && t.file.is_none())
}

/// Columns of the terminal; 80 in a pipe.
#[must_use]
pub fn width() -> usize {
    if !std::io::stdout().is_terminal() {
        return 80;
    }
    let declared = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|w| usize::from(w.ws_col)).filter(|w| *w > 0);
    declared.or_else(asked).unwrap_or(80).clamp(40, 200)
}

/// True when lines and boxes may be drawn with Unicode.
#[must_use]
pub fn unicode() -> bool {
    let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|v| std::env::var(v).ok()).find(|v| !v.is_empty());
    utf8.is_some_and(|v| v.to_lowercase().contains("utf"))
}

/// JSON of an answer that stands for itself: the version of its form first, then its fields.
#[must_use]
pub fn versioned(answer: &impl serde::Serialize) -> String {
    let mut value = serde_json::to_value(answer).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.shift_insert(0, "format_version".to_owned(), 1.into());
    }
    json(&value)
}

/// JSON with a line's end.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Colors of the views.
pub mod style {
    use anstyle::{AnsiColor, Style};

    /// New.
    pub const GOOD: Style = AnsiColor::Green.on_default();
    /// Changed, waiting.
    pub const CHANGE: Style = AnsiColor::Yellow.on_default();
    /// Ended, refused.
    pub const BAD: Style = AnsiColor::Red.on_default();
    /// Running.
    pub const LIVE: Style = AnsiColor::Cyan.on_default();
    /// Less important.
    pub const DIM: Style = Style::new().dimmed();
    /// Headings.
    pub const BOLD: Style = Style::new().bold();

    /// A budget: used up, warned about, fine.
    #[must_use]
    pub const fn of_budget(used_up: bool, warned: bool) -> Style {
        match (used_up, warned) {
            (true, _) => BAD,
            (false, true) => CHANGE,
            (false, false) => GOOD,
        }
    }

    /// Paints a text.
    #[must_use]
    pub fn paint(style: Style, text: &str) -> String {
        format!("{style}{text}{style:#}")
    }
}

/// A bar of two parts and the rest, as wide as `width` cells; the parts in tenths of a percent of it.
#[must_use]
pub fn bar(first: i64, second: i64, width: usize, unicode: bool) -> (String, String, String) {
    let wide = i64::try_from(width).unwrap_or(10);
    let cells = |tenths: i64| (tenths.clamp(0, 1000) * wide + 500) / 1000;
    let one = cells(first).clamp(0, wide);
    let both = cells(first.saturating_add(second)).clamp(one, wide);
    let [full, half, none] = if unicode { ["█", "▒", "░"] } else { ["#", "=", "."] };
    let times = |cell: &str, n: i64| cell.repeat(usize::try_from(n).unwrap_or(0));
    (times(full, one), times(half, both - one), times(none, wide - both))
}

/// Cuts to a width, counting what is seen.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthChar as _;
    if unicode_width::UnicodeWidthStr::width(text) <= width {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 2 > width {
            break;
        }
        out.push(c);
    }
    out + ".."
}

/// Joins pieces with blanks, and breaks between them where a line would be wider than the terminal; further lines are indented.
#[must_use]
pub fn flow(pieces: &[String], width: usize) -> String {
    let seen = |text: &str| unicode_width::UnicodeWidthStr::width(anstream::adapter::strip_str(text).to_string().as_str());
    let (mut out, mut used) = (String::new(), 0);
    for piece in pieces {
        let wide = seen(piece);
        if used > 0 && used + 1 + wide > width {
            out.push_str("\n  ");
            used = 2;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(piece);
        used += wide;
    }
    out
}

/// Puts a comma behind all but the last, and `end` behind that.
#[must_use]
pub fn listed(mut pieces: Vec<String>, end: &str) -> Vec<String> {
    let last = pieces.len().saturating_sub(1);
    pieces.iter_mut().enumerate().for_each(|(i, p)| p.push_str(if i == last { end } else { "," }));
    pieces
}

/// Breaks a text into lines, between words where it can.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let seen = |line: &String| line.width();
        if lines.last().is_some_and(|l| !l.is_empty() && seen(l) + word.trim_end().width() > width) {
            lines.push(String::new());
        }
        for c in word.chars() {
            if c != ' ' && lines.last().is_some_and(|l| !l.is_empty() && seen(l) + c.width().unwrap_or(0) > width) {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
        }
    }
    lines.iter().map(|l| l.trim_end().to_owned()).filter(|l| !l.is_empty()).collect()
}

/// A message with a hanging indent of two, as wide as the terminal; one line where there is none, for whoever searches in it.
#[must_use]
pub fn hang(text: &str, terminal: bool) -> String {
    if terminal { wrap(text, width().saturating_sub(2)).join("\n  ") } else { text.to_owned() }
}

/// Fills up with blanks to a width.
#[must_use]
pub fn pad(text: &str, width: usize) -> String {
    let seen = unicode_width::UnicodeWidthStr::width(text);
    format!("{text}{}", " ".repeat(width.saturating_sub(seen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_flow_by_what_is_seen_of_them() {
        let pieces = listed(vec![style::paint(style::BOLD, "four"), "five5".to_owned(), "six".to_owned()], ".");
        let plain = |width| anstream::adapter::strip_str(&flow(&pieces, width)).to_string();
        assert_eq!(plain(17), "four, five5, six.");
        assert_eq!(plain(16), "four, five5,\n  six.");
        assert_eq!(plain(3), "four,\n  five5,\n  six.");
    }

    #[test]
    fn lines_break_between_words_and_nothing_is_lost() {
        assert_eq!(wrap("rung 3: 0.5 is not among them", 12), ["rung 3: 0.5", "is not among", "them"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 3), [""; 0]);
    }
}
