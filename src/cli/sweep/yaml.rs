//! Values as YAML that every reader takes alike: block mappings, texts always quoted, numbers that YAML 1.1 knows as numbers.
//!
//! In: a value. Out: lines of YAML. Must never print a character that acts on a terminal.

use std::fmt::Write as _;

use serde_json::Value;

/// Writes a mapping or a list, with a line's end.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0, false);
    out
}

/// Writes a document as people do: words without quotes where every reader takes them alike, long lists an item a line.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    written(&mut out, value, 0);
    out
}

fn written(out: &mut String, value: &Value, depth: usize) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        let _ = write!(out, "{}{}:", " ".repeat(depth), key(name));
        let line = loose(value);
        let room = 100_usize.saturating_sub(depth + name.len());
        match value {
            Value::Object(inner) if !inner.is_empty() && (line.len() > room || depth < 4 || inner.values().any(Value::is_object)) => {
                out.push('\n');
                written(out, value, depth + 2);
            }
            Value::Array(items) if line.len() > room && items.len() > 1 => {
                out.push('\n');
                items.iter().for_each(|item| {
                    let _ = writeln!(out, "{}- {}", " ".repeat(depth + 2), loose(item));
                });
            }
            _ => {
                let _ = writeln!(out, " {line}");
            }
        }
    }
}

/// In one line; plain words stand without quotes.
fn loose(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(loose).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let all: Vec<String> = members.iter().map(|(k, v)| format!("{}: {}", key(k), loose(v))).collect();
            format!("{{{}}}", all.join(", "))
        }
        other => flow(other),
    }
}

/// True for a word that no reader takes for anything but itself.
fn is_plain(text: &str) -> bool {
    let word = text.replace('/', "_");
    key(&word) == word && !text.ends_with('.')
}

/// `open`: the line has begun, behind a dash.
fn block(out: &mut String, value: &Value, depth: usize, open: bool) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (i, (name, value)) in members.iter().enumerate() {
                let blanks = if open && i == 0 { 0 } else { depth };
                let _ = write!(out, "{}{}:", " ".repeat(blanks), key(name));
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        block(out, value, depth + 2, false);
                    }
                    value => {
                        let _ = writeln!(out, " {}", flow(value));
                    }
                }
            }
        }
        Value::Array(items) if depth == 0 && !items.is_empty() => {
            for item in items {
                out.push_str("- ");
                block(out, item, 2, true);
            }
        }
        value => {
            let _ = writeln!(out, "{}{}", " ".repeat(if open { 0 } else { depth }), flow(value));
        }
    }
}

/// A name needs no quotes when no reader takes it for anything else.
fn key(name: &str) -> String {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let plain = first && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if plain && !words.contains(&name.to_ascii_lowercase().as_str()) { name.to_owned() } else { quoted(name) }
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Number(number) => decimal(&number.to_string()),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let all: Vec<String> = members.iter().map(|(k, v)| format!("{}: {}", key(k), flow(v))).collect();
            format!("{{{}}}", all.join(", "))
        }
        other => other.to_string(),
    }
}

/// `1e-5` is a text in YAML 1.1; `1.0e-5` is a number everywhere.
fn decimal(text: &str) -> String {
    let Some((digits, power)) = text.split_once('e') else { return text.to_owned() };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if power.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{point}e{sign}{power}")
}

/// In double quotes; what would act on a terminal stands as `\u....`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if crate::base::text::escape(c.encode_utf8(&mut [0; 4])).starts_with('\\') => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_reader_takes_it_alike() {
        let value = json!({"lr": 1e-12, "big": 1e300, "x": 0.25, "n": 3, "opt": {"name": "on", "b.c": [1, "é"], "e": {}}, "a b": null, "t": "\u{1b}[31m\u{202e}\"\\\n"});
        let text = "lr: 1.0e-12\nbig: 1.0e+300\nx: 0.25\n\"n\": 3\nopt:\n  name: \"on\"\n  b.c: [1, \"é\"]\n  e: {}\n\"a b\": null\nt: \"\\u001b[31m\\u202e\\\"\\\\\\n\"\n";
        assert_eq!(write(&value), text);
        assert_eq!(write(&json!([{"a": 1, "g": {"b": 2}, "c": 3}])), "- a: 1\n  g:\n    b: 2\n  c: 3\n");
        assert_eq!(write(&json!({})), "{}\n");
    }
}
