//! Scalars: what the text of a YAML scalar may mean, each type with its reader and its schema.

use std::sync::Arc;

use serde_json::{Value, json};

use super::lower::{Definitions, Lower, wrong};
use super::tree::{Kind, Node};
use crate::base::{Diagnostic, Diagnostics, Millis, Money, Span, resources};

/// A value, or a template that becomes one for each run.
#[derive(Debug, Clone, PartialEq)]
pub enum Templ<T> {
    /// Written out.
    Known(T, Span),
    /// Holds `{{ ... }}`.
    Template(Arc<str>, Span),
}

impl<T> Templ<T> {
    /// Where it is written.
    pub fn span(&self) -> Span {
        match self {
            Self::Known(_, span) | Self::Template(_, span) => *span,
        }
    }

    /// The value, where it is written out.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value, _) => Some(value),
            Self::Template(..) => None,
        }
    }
}

/// True when the text holds an expression.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// A type that a template can render to: it is read from the rendered text by the same rules as from YAML.
pub trait Scalar: Sized {
    /// What is expected, for messages: `a length of time such as 30m`.
    const EXPECTED: &'static str;
    /// Reads the text. `plain` is false for quoted text.
    ///
    /// # Errors
    /// A sentence, or nothing when [`Scalar::EXPECTED`] says it all.
    fn read(text: &str, plain: bool) -> Result<Self, Option<String>>;
    /// Its schema, without the template.
    fn scalar_schema() -> Value;
}

impl<T: Scalar> Lower for Templ<T> {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        if let Some(text) = node.text().filter(|t| is_template(t)) {
            return Some(Self::Template(Arc::clone(text), node.span));
        }
        read_scalar(node, diags).map(|value| Self::Known(value, node.span))
    }
    fn schema(definitions: &mut Definitions) -> Value {
        let _ = definitions;
        json!({"anyOf": [T::scalar_schema(), {"type": "string", "pattern": "\\{\\{"}]})
    }
}

/// A value that may not be a template, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Plain<T>(pub T, pub Span);

impl<T: Scalar> Lower for Plain<T> {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        if let Some(text) = node.text().filter(|t| is_template(t)) {
            let message = format!("a template cannot stand here: `{}`", crate::base::text::escape(text));
            diags.push(Diagnostic::error("template-here", node.span, message).hint("write the value out"));
            return None;
        }
        read_scalar(node, diags).map(|value| Self(value, node.span))
    }
    fn schema(definitions: &mut Definitions) -> Value {
        let _ = definitions;
        T::scalar_schema()
    }
}

fn read_scalar<T: Scalar>(node: &Node, diags: &mut Diagnostics) -> Option<T> {
    let Kind::Scalar { text, plain } = &node.kind else {
        diags.push(wrong(node, T::EXPECTED));
        return None;
    };
    if node.is_null() {
        diags.push(wrong(node, T::EXPECTED));
        return None;
    }
    match T::read(text, *plain) {
        Ok(value) => Some(value),
        Err(None) => {
            diags.push(wrong(node, T::EXPECTED));
            None
        }
        Err(Some(sentence)) => {
            diags.push(
                Diagnostic::error("bad-value", node.span, crate::base::text::escape(&sentence)).hint(format!("expected {}", T::EXPECTED)),
            );
            None
        }
    }
}

/// Any text; numbers and booleans are taken as they are written.
impl Scalar for Arc<str> {
    const EXPECTED: &'static str = "text";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        if text.contains('\0') {
            return Err(Some("text with a NUL character cannot be passed to a program".to_owned()));
        }
        Ok(text.into())
    }
    fn scalar_schema() -> Value {
        json!({"type": ["string", "number", "boolean"]})
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "`true` or `false`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(None),
        }
    }
    fn scalar_schema() -> Value {
        json!({"type": "boolean"})
    }
}

impl Scalar for u32 {
    const EXPECTED: &'static str = "a whole number from 0 up";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        let number = text.trim();
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(None);
        }
        number.parse().map_err(|_| Some(format!("`{number}` is too large")))
    }
    fn scalar_schema() -> Value {
        json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
    }
}

impl Scalar for f64 {
    const EXPECTED: &'static str = "a number";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        match number(text) {
            Some(Value::Number(n)) => n.as_f64().ok_or(None),
            _ => Err(None),
        }
    }
    fn scalar_schema() -> Value {
        json!({"type": "number"})
    }
}

impl Scalar for Millis {
    const EXPECTED: &'static str = "a length of time such as `90s`, `30m` or `1h30m`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        Millis::parse(text).map_err(Some)
    }
    fn scalar_schema() -> Value {
        json!({"type": ["string", "number"]})
    }
}

impl Scalar for Money {
    const EXPECTED: &'static str = "an amount of money such as `12.50 USD`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        Money::parse(text).map_err(|e| Some(e.to_string()))
    }
    fn scalar_schema() -> Value {
        json!({"type": ["string", "number"]})
    }
}

/// Thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu(pub u64);

impl Scalar for Cpu {
    const EXPECTED: &'static str = "a number of cores such as `2`, `0.5` or `500m`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        resources::parse_cpu(text).map(Self).map_err(Some)
    }
    fn scalar_schema() -> Value {
        json!({"type": ["string", "number"]})
    }
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub u64);

impl Scalar for Memory {
    const EXPECTED: &'static str = "an amount of memory such as `512Mi` or `16Gi`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        resources::parse_memory(text).map(Self).map_err(Some)
    }
    fn scalar_schema() -> Value {
        json!({"type": ["string", "integer"]})
    }
}

/// GPU-milliseconds, written as GPU-hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuHours(pub u64);

impl Scalar for GpuHours {
    const EXPECTED: &'static str = "a number of GPU-hours such as `100` or `2.5`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        resources::parse_gpu_hours(text).map(Self).ok_or(None)
    }
    fn scalar_schema() -> Value {
        json!({"type": "number", "exclusiveMinimum": 0})
    }
}

/// A multiplier in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ppm(pub u64);

impl Scalar for Ppm {
    const EXPECTED: &'static str = "a factor such as `0.5` or `1.5`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        match Money::parse(text).map(Money::micros) {
            Ok(micros) => u64::try_from(micros).ok().filter(|m| *m <= 1_000_000_000).map(Self).ok_or(None),
            Err(_) => Err(None),
        }
    }
    fn scalar_schema() -> Value {
        json!({"type": "number", "minimum": 0, "maximum": 1000})
    }
}

/// GPUs as people write them: `1`, `A100`, `A100:2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuAsk(pub crate::base::Gpu);

impl Scalar for GpuAsk {
    const EXPECTED: &'static str = "GPUs such as `1`, `A100` or `A100:2`";
    fn read(text: &str, _: bool) -> Result<Self, Option<String>> {
        let text = text.trim();
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return u32::read(text, true).map(|count| Self(crate::base::Gpu { count, kind: None }));
        }
        let (kind, count) = text.split_once(':').unwrap_or((text, "1"));
        let named =
            kind.starts_with(|c: char| c.is_ascii_alphabetic()) && kind.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let count = u32::read(count, true).map_err(|_| None)?;
        if !named || kind.len() > 63 {
            return Err(None);
        }
        Ok(Self(crate::base::Gpu { count, kind: Some(kind.to_owned()) }))
    }
    fn scalar_schema() -> Value {
        json!({"type": ["string", "integer"], "minimum": 0})
    }
}

/// A number as JSON holds it, by the YAML 1.2 core rules; leading zeros make text, NaN and infinities are no numbers.
#[must_use]
pub fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = digits.bytes().next()?;
    let padded = first == b'0' && digits.as_bytes().get(1).copied().is_some_and(|b| b.is_ascii_digit());
    if !(first.is_ascii_digit() || first == b'.') || padded || digits.bytes().any(|b| !(b.is_ascii_digit() || b"+-.eE".contains(&b))) {
        return None;
    }
    let bare = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = bare.parse::<i64>() {
        return Some(whole.into());
    }
    let float: f64 = bare.parse().ok()?;
    serde_json::Number::from_f64(float).map(Value::Number)
}

/// Any YAML value as a typed tree. Templates stay text.
impl Lower for Value {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        Some(match &node.kind {
            Kind::Scalar { .. } if node.is_null() => Value::Null,
            Kind::Scalar { text, plain: false } => Value::String(text.to_string()),
            Kind::Scalar { text, plain: true } => match (bool::read(text, true), number(text)) {
                (Ok(flag), _) => Value::Bool(flag),
                (_, Some(number)) => number,
                _ if matches!(text.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str(), ".inf" | ".nan" | "nan" | "inf") => {
                    diags.push(
                        Diagnostic::error("not-finite", node.span, format!("`{text}` is not a finite number"))
                            .hint("quote it if it is meant as text"),
                    );
                    return None;
                }
                _ => Value::String(text.to_string()),
            },
            Kind::List(nodes) => Value::Array(nodes.iter().filter_map(|n| Self::lower(n, diags)).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.iter().filter_map(|e| Self::lower(&e.value, diags).map(|v| (e.key.to_string(), v))).collect())
            }
        })
    }
    fn schema(_: &mut Definitions) -> Value {
        json!({})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_yaml_1_2_and_no_more() {
        for (text, value) in
            [("1", json!(1)), ("-3", json!(-3)), ("1e-5", json!(1e-5)), (".5", json!(0.5)), ("1.0", json!(1.0)), ("+7", json!(7))]
        {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in ["007", "0x10", "nan", ".inf", "1_000", "", "-", "1.2.3", "1e999", "e5"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn gpus_as_people_write_them() {
        let ask = |t| GpuAsk::read(t, true).map(|g| (g.0.count, g.0.kind));
        assert_eq!(ask("1"), Ok((1, None)));
        assert_eq!(ask("A100:2"), Ok((2, Some("A100".into()))));
        assert_eq!(ask("H100"), Ok((1, Some("H100".into()))));
        for text in ["-1", "A100:", "A100:x", ":2", "1.5", "a b:1"] {
            assert!(ask(text).is_err(), "{text}");
        }
    }
}
