//! Typed inputs of a workflow: declared, given, checked.

use std::sync::Arc;

use serde_json::Value;

use crate::base::{Diagnostic, Diagnostics, Span, suggest};
use crate::spec::Workflow;
use crate::spec::scalar::number;
use crate::spec::types::InputDecl;

const TYPES: [&str; 6] = ["string", "integer", "number", "boolean", "list", "object"];

/// A value given from outside: by `with`, where it is written, or by `--set`.
#[derive(Debug, Clone)]
pub struct Given {
    /// Name of the input.
    pub name: Arc<str>,
    /// The value.
    pub value: Value,
    /// Where it is written; none for `--set`.
    pub span: Option<Span>,
}

/// Values of all inputs of a workflow. `missing` names inputs that must be set and are not.
pub struct Bound {
    /// An object from names to values.
    pub values: Value,
    /// Inputs without a value, with their places.
    pub missing: Vec<(Arc<str>, Span)>,
}

/// Checks what was given against what is declared.
pub fn bind(workflow: &Workflow, given: &[Given], diags: &mut Diagnostics) -> Bound {
    for g in given.iter().filter(|g| workflow.inputs.get(&g.name).is_none()) {
        let message = format!("workflow `{}` has no input `{}`", workflow.name.0.0, crate::base::text::escape(&g.name));
        let mut d = Diagnostic::error("unknown-input", g.span, message).maybe_hint(suggest::hint(&g.name, workflow.inputs.names()));
        if workflow.inputs.0.is_empty() {
            d = d.hint("it declares no `inputs`");
        }
        diags.push(d);
    }
    let (mut values, mut missing) = (serde_json::Map::new(), Vec::new());
    for (name, span, decl) in workflow.inputs.iter() {
        let kind = kind_of(decl, diags);
        let found = given.iter().rev().find(|g| g.name == *name);
        let (value, at) = match (found, &decl.default) {
            (Some(g), _) => (if g.span.is_none() { from_text(&g.value, kind) } else { g.value.clone() }, g.span),
            (None, Some(default)) => (default.clone(), Some(*span)),
            (None, None) => {
                missing.push((Arc::clone(name), *span));
                continue;
            }
        };
        if let Err(words) = check(decl, kind, &value) {
            let mut d = Diagnostic::error("bad-input", at.or(Some(*span)), format!("input `{name}`: {words}"));
            if at.is_some_and(|a| a != *span) {
                d = d.related(*span, "declared here");
            }
            diags.push(d.hint(expected(decl, kind)));
        }
        values.insert(name.to_string(), value);
    }
    Bound { values: Value::Object(values), missing }
}

fn kind_of(decl: &InputDecl, diags: &mut Diagnostics) -> &'static str {
    let Some(word) = &decl.kind else {
        return match &decl.default {
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Number(n)) if n.is_i64() => "integer",
            Some(Value::Number(_)) => "number",
            Some(Value::Array(_)) => "list",
            Some(Value::Object(_)) => "object",
            _ => "string",
        };
    };
    let known = TYPES.into_iter().find(|t| *t == &*word.0);
    known.unwrap_or_else(|| {
        let hint = suggest::hint(&word.0, TYPES);
        diags.push(
            Diagnostic::error("unknown-type", word.1, format!("unknown input type `{}`", crate::base::text::escape(&word.0)))
                .maybe_hint(hint),
        );
        "string"
    })
}

/// `--set` gives text; it is read as the declared type wants it, never as YAML.
fn from_text(value: &Value, kind: &str) -> Value {
    let Value::String(text) = value else { return value.clone() };
    match kind {
        "integer" | "number" => number(text).unwrap_or_else(|| value.clone()),
        "boolean" => match text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            _ => value.clone(),
        },
        "list" | "object" => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        _ => value.clone(),
    }
}

fn check(decl: &InputDecl, kind: &str, value: &Value) -> Result<(), String> {
    let fits = match kind {
        "integer" => value.as_i64().is_some(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_string(),
    };
    let templated = value.as_str().is_some_and(crate::spec::scalar::is_template);
    if !fits && !(kind == "string" && (value.is_number() || value.is_boolean())) {
        return Err(format!("{} is not {}", if templated { "a template".to_owned() } else { format!("`{value}`") }, article(kind)));
    }
    if let Some(x) = value.as_f64()
        && (decl.minimum.as_ref().is_some_and(|m| x < m.0) || decl.maximum.as_ref().is_some_and(|m| x > m.0))
    {
        return Err(format!("{value} is out of range"));
    }
    match &decl.values {
        Some(Value::Array(allowed)) if !allowed.contains(value) => Err(format!("{value} is not one of the allowed values")),
        _ => Ok(()),
    }
}

fn article(kind: &str) -> String {
    format!("{} {kind}", if matches!(kind, "integer" | "object") { "an" } else { "a" })
}

fn expected(decl: &InputDecl, kind: &str) -> String {
    let mut text = format!("expected {}", article(kind));
    match (&decl.minimum, &decl.maximum) {
        (Some(a), Some(b)) => text.push_str(&format!(" from {} to {}", a.0, b.0)),
        (Some(a), None) => text.push_str(&format!(" of at least {}", a.0)),
        (None, Some(b)) => text.push_str(&format!(" of at most {}", b.0)),
        (None, None) => {}
    }
    if let Some(Value::Array(allowed)) = &decl.values {
        let list: Vec<String> = allowed.iter().map(Value::to_string).collect();
        text.push_str(&format!(": {}", list.join(", ")));
    }
    text
}
