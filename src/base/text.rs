//! Making foreign text safe to show: control characters, escape sequences and bidi overrides become visible.

use std::borrow::Cow;
use std::fmt::Write as _;

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{61c}')
}

/// Shows control characters as `\x1b`, `\n`, `\u{202e}`; everything else as it is.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_except(text, |_| false)
}

/// Like [`escape`], but tabs stay: for a line of a log.
#[must_use]
pub fn escape_line(text: &str) -> Cow<'_, str> {
    escape_except(text, |c| c == '\t')
}

fn escape_except(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hostile(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if keep(c) || !is_hostile(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
        }
    }
    Cow::Owned(out)
}

/// A number and its noun: `1 run`, `2 runs`.
#[must_use]
pub fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_would_act() {
        assert_eq!(escape("a\x1b[31mb\u{202e}c\n"), "a\\x1b[31mb\\u{202e}c\\n");
        assert_eq!(escape("größe µs"), "größe µs");
        assert_eq!(escape_line("a\tb\0"), "a\tb\\x00");
    }
}
