//! Prometheus' text format 0.0.4, as exporters write it.
//!
//! In: the text. Out: samples with their labels. Must never take NaN or infinity for a figure, and keep no more than a bounded number.

use std::collections::BTreeMap;

/// Most samples that are kept of one answer.
const MOST: usize = 100_000;
/// Longest line that is read, in bytes.
const LONGEST: usize = 16 << 10;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value; none is NaN or infinite.
    pub value: Option<f64>,
}

/// All samples of the metrics that are wanted. Lines that are none are passed over.
#[must_use]
pub fn samples(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Sample> {
    let lines = text.lines().filter(|l| l.len() <= LONGEST).map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.filter_map(|line| sample(line, &wanted)).take(MOST).collect()
}

fn sample(line: &str, wanted: &impl Fn(&str) -> bool) -> Option<Sample> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at_checked(end)?;
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(valid) || !wanted(name) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    let number = rest.split_whitespace().next()?;
    // Go writes `+Inf`; Rust reads it as well.
    let value = number.parse::<f64>().ok()?;
    Some(Sample { name: name.to_owned(), labels, value: Some(value).filter(|v| v.is_finite()) })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, after) = rest.split_once('=')?;
        let inside = after.trim_start().strip_prefix('"')?;
        let (value, after) = quoted(inside)?;
        labels.insert(key.trim().to_owned(), value);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// A value up to its closing quote, with `\\`, `\"` and `\n` read.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_with_labels_escapes_and_odd_values() {
        let text = "# HELP x y\n# TYPE x gauge\nx{a=\"1\", b=\"q\\\"\\\\\\n}\"} 2.5 1395066363000\nx 3\nx{a=\"2\"} NaN\nx{a=\"3\"} +Inf\n\
            y{} 1e3\nbroken{a=\"1\nno-name 1\nx{a=1} 2\nx{a=\"4\"}\n";
        let found = samples(text, |_| true);
        let seen: Vec<(&str, Option<f64>)> = found.iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(seen, [("x", Some(2.5)), ("x", Some(3.0)), ("x", None), ("x", None), ("y", Some(1000.0))]);
        assert_eq!(found[0].labels["b"], "q\"\\\n}");
        assert_eq!(samples(text, |n| n == "y").len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text in "(?s).{0,200}") {
            let _ = samples(&text, |_| true);
        }

        #[test]
        fn what_is_written_is_read(name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", key in "[a-z]{1,5}", label in ".{0,12}", value in -1e9..1e9_f64) {
            let escaped = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            prop_assume!(!label.contains(['\r', '\u{b}', '\u{c}', '\u{85}']));
            let found = samples(&format!("{name}{{{key}=\"{escaped}\"}} {value}\n"), |_| true);
            prop_assert_eq!(found, vec![Sample { name, labels: [(key, label)].into(), value: Some(value) }]);
        }
    }
}
