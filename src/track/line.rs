//! One line to points: `name=value` words, or one JSON object.
//!
//! In: the bytes of a line without its end. Out: points. Must never fail; what is not a metric is passed over.

use std::sync::Arc;

use crate::base::Value;
use crate::record::event::MetricPoint;

/// Words that say which step a line is about, the first that is there counts. Of them only the epoch is a metric too: it tells
/// how far the run is.
const STEP_NAMES: [&str; 3] = ["step", "epoch", "global_step"];

/// Adds what the line reports.
pub fn read(line: &[u8], points: &mut Vec<MetricPoint>) {
    let plain = without_colours(line);
    let line = plain.trim_ascii();
    let found = if line.starts_with(b"{") {
        object(line)
    } else if line.contains(&b'=') {
        words(line)
    } else {
        return;
    };
    let step = STEP_NAMES.iter().find_map(|name| found.iter().find(|(n, _)| n == name).and_then(|(_, v)| whole(*v)));
    if let Some(epoch) = found.iter().find(|(n, _)| n == "epoch").and_then(|(_, v)| whole(*v)) {
        points.push(MetricPoint { name: "epoch".into(), step: Some(epoch), value: Some(epoch as f64), at: None });
    }
    for (name, value) in found {
        if !STEP_NAMES.contains(&name.as_str()) {
            points.push(MetricPoint { name: Arc::from(name), step, value: value.filter(|v| v.is_finite()), at: None });
        }
    }
}

type Pairs = Vec<(String, Option<f64>)>;

fn words(line: &[u8]) -> Pairs {
    let separate = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b';');
    line.split(separate).filter_map(pair).collect()
}

fn pair(word: &[u8]) -> Option<(String, Option<f64>)> {
    let (name, value) = std::str::from_utf8(word).ok()?.split_once('=')?;
    let value = value.trim_end_matches(':');
    MetricPoint::is_name(name).then(|| value.parse::<f64>().ok().map(|v| (name.to_owned(), Some(v))))?
}

fn object(line: &[u8]) -> Pairs {
    let parsed = serde_json::from_slice(line).or_else(|_| serde_json::from_slice(&with_quoted_unknowns(line)));
    let Ok(Value::Object(fields)) = parsed else { return Vec::new() };
    let number = |value: &Value| match value {
        Value::Number(n) => Some(n.as_f64()),
        Value::String(s) if matches!(s.as_str(), "NaN" | "Infinity" | "-Infinity") => Some(None),
        _ => None,
    };
    fields.iter().filter(|(name, _)| MetricPoint::is_name(name)).filter_map(|(name, v)| number(v).map(|n| (name.clone(), n))).collect()
}

/// JSON knows no `NaN`, yet programs write it; as a string it can be read.
fn with_quoted_unknowns(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + 16);
    let (mut rest, mut in_string) = (line, false);
    while let Some((&byte, tail)) = rest.split_first() {
        let unknown = [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = unknown {
            out.push(b'"');
            out.extend_from_slice(word);
            out.push(b'"');
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        out.push(byte);
        rest = tail;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                if let Some((&escaped, tail)) = rest.split_first() {
                    out.push(escaped);
                    rest = tail;
                }
            }
            _ => {}
        }
    }
    out
}

/// A step is a whole number that a float holds exactly.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn whole(value: Option<f64>) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.filter(|v| v.fract() == 0.0 && v.abs() <= EXACT).map(|v| v as i64)
}

/// The line without `ESC [ ... letter` sequences.
pub(super) fn without_colours(line: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if !line.contains(&0x1b) {
        return line.into();
    }
    let mut out = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == 0x1b && bytes.peek() == Some(&b'[') {
            bytes.next();
            while bytes.peek().is_some_and(|b| matches!(b, 0x20..=0x3f)) {
                bytes.next();
            }
            if bytes.peek().is_some_and(|b| matches!(b, 0x40..=0x7e)) {
                bytes.next();
            }
        } else {
            out.push(byte);
        }
    }
    out.into()
}
