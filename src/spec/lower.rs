//! From the tree to types: every problem is noted, and reading goes on with what could be read. Nobody may use the result
//! as a plan while the diagnostics hold an error.
//!
//! [`Lower`] reads a value and describes it as JSON schema, so that the reader and `schemas/` cannot drift apart. The
//! `document!` macro writes both for a struct from its fields and doc comments.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::tree::{Entry, Kind, Node};
use crate::base::{Diagnostic, Diagnostics, Span, suggest};

/// Definitions of the schema being written, by type name.
pub type Definitions = Map<String, Value>;

/// A type that can be read from a node.
pub trait Lower: Sized {
    /// Reads the node; what is wrong goes to `diags`, and `None` comes back.
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self>;
    /// Its JSON schema (draft-07).
    fn schema(definitions: &mut Definitions) -> Value;
}

/// A field of a mapping: how it is read when it is there, and what holds when it is not.
pub trait Field: Sized {
    /// True when it must be there.
    const REQUIRED: bool;
    /// Reads the value, if there is one.
    fn read(node: Option<&Node>, diags: &mut Diagnostics) -> Option<Self>;
    /// Schema of the value.
    fn schema(definitions: &mut Definitions) -> Value;
}

/// A field that must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Must<T>(pub T);

impl<T: Lower> Field for Must<T> {
    const REQUIRED: bool = true;
    fn read(node: Option<&Node>, diags: &mut Diagnostics) -> Option<Self> {
        node.and_then(|n| T::lower(n, diags)).map(Must)
    }
    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

impl<T: Lower> Field for Option<T> {
    const REQUIRED: bool = false;
    fn read(node: Option<&Node>, diags: &mut Diagnostics) -> Option<Self> {
        Some(node.filter(|n| !n.is_null()).and_then(|n| T::lower(n, diags)))
    }
    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

impl<T: Lower> Field for Vec<T> {
    const REQUIRED: bool = false;
    fn read(node: Option<&Node>, diags: &mut Diagnostics) -> Option<Self> {
        Some(node.filter(|n| !n.is_null()).and_then(|n| list(n, diags)).unwrap_or_default())
    }
    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "array", "items": T::schema(definitions)})
    }
}

/// Reads a list; a single value stands for a list of one.
pub fn list<T: Lower>(node: &Node, diags: &mut Diagnostics) -> Option<Vec<T>> {
    match &node.kind {
        Kind::List(nodes) => Some(nodes.iter().filter_map(|n| T::lower(n, diags)).collect()),
        _ => {
            diags.push(wrong(node, "a list").hint(format!("write `[{}]`", node.text().map_or("...", |t| t.as_ref()))));
            None
        }
    }
}

/// A mapping from names to values, in the order of writing.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(pub Vec<(Arc<str>, Span, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// The value under a name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(n, _, _)| &**n == name).map(|(_, _, v)| v)
    }

    /// Names, places and values.
    pub fn iter(&self) -> impl Iterator<Item = &(Arc<str>, Span, T)> + Clone {
        self.0.iter()
    }

    /// The names alone.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(n, _, _)| n.as_ref())
    }
}

impl<T: Lower> Lower for Named<T> {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        let entries = entries(node, "a mapping of names", diags)?;
        Some(Named(entries.iter().filter_map(|e| T::lower(&e.value, diags).map(|v| (Arc::clone(&e.key), e.key_span, v))).collect()))
    }
    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "object", "additionalProperties": T::schema(definitions)})
    }
}

impl<T: Lower> Field for Named<T> {
    const REQUIRED: bool = false;
    fn read(node: Option<&Node>, diags: &mut Diagnostics) -> Option<Self> {
        Some(node.filter(|n| !n.is_null()).and_then(|n| Self::lower(n, diags)).unwrap_or_default())
    }
    fn schema(definitions: &mut Definitions) -> Value {
        <Self as Lower>::schema(definitions)
    }
}

/// "expected X, found Y".
#[must_use]
pub fn wrong(node: &Node, expected: &str) -> Diagnostic {
    Diagnostic::error("wrong-type", node.span, format!("expected {expected}, found {}", node.what()))
}

/// The entries of a mapping.
pub fn entries<'n>(node: &'n Node, expected: &str, diags: &mut Diagnostics) -> Option<&'n [Entry]> {
    match &node.kind {
        Kind::Map(entries) => Some(entries),
        _ => {
            diags.push(wrong(node, expected));
            None
        }
    }
}

/// Notes keys that have no meaning here.
pub fn refuse_unknown(entries: &[Entry], known: &[&str], what: &str, diags: &mut Diagnostics) {
    for entry in entries.iter().filter(|e| !known.contains(&e.key.as_ref()) && e.key.as_ref() != "<<") {
        let message = format!("unknown key `{}` in {what}", crate::base::text::escape(&entry.key));
        diags.push(Diagnostic::error("unknown-key", entry.key_span, message).maybe_hint(suggest::hint(&entry.key, known.iter().copied())));
    }
}

/// Notes keys that must be there and are not.
pub fn missing(node: &Node, key: &str, what: &str, diags: &mut Diagnostics) {
    let at = Span { end: node.span.start.saturating_add(1), ..node.span };
    diags.push(Diagnostic::error("missing-key", at, format!("{what} needs `{key}`")).hint(format!("add `{key}:`")));
}

/// Joins doc comment lines into a description.
#[must_use]
pub fn description(lines: &[&str]) -> String {
    lines.iter().map(|l| l.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Writes a struct with the place it was read from, its reader and its schema.
#[macro_export]
macro_rules! document {
    ($(#[doc = $doc:literal])* $what:literal pub struct $name:ident { $($(#[doc = $fdoc:literal])* $key:literal $field:ident : $ty:ty,)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            /// Where it is written.
            pub span: $crate::base::Span,
            $($(#[doc = $fdoc])* pub $field: $ty,)*
        }

        impl $crate::spec::lower::Lower for $name {
            fn lower(node: &$crate::spec::tree::Node, diags: &mut $crate::base::Diagnostics) -> Option<Self> {
                use $crate::spec::lower::Field;
                let entries = $crate::spec::lower::entries(node, $what, diags)?;
                $crate::spec::lower::refuse_unknown(entries, &[$($key),*], $what, diags);
                let mut complete = true;
                $(
                    let found = entries.iter().find(|e| e.key.as_ref() == $key).map(|e| &e.value);
                    if <$ty as Field>::REQUIRED && found.is_none() {
                        $crate::spec::lower::missing(node, $key, $what, diags);
                    }
                    let $field = <$ty as Field>::read(found, diags);
                    complete &= $field.is_some();
                )*
                if !complete {
                    return None;
                }
                Some(Self { span: node.span, $($field: $field?,)* })
            }

            fn schema(definitions: &mut $crate::spec::lower::Definitions) -> serde_json::Value {
                use $crate::spec::lower::Field;
                let name = stringify!($name);
                if !definitions.contains_key(name) {
                    definitions.insert(name.to_owned(), serde_json::Value::Null);
                    let mut properties = serde_json::Map::new();
                    let mut required: Vec<&str> = Vec::new();
                    $(
                        let schema = <$ty as Field>::schema(definitions);
                        properties.insert($key.to_owned(), $crate::spec::schema::described(schema, &[$($fdoc),*]));
                        if <$ty as Field>::REQUIRED { required.push($key); }
                    )*
                    let mut object = serde_json::json!({
                        "description": $crate::spec::lower::description(&[$($doc),*]),
                        "type": "object", "properties": properties, "additionalProperties": false,
                    });
                    if !required.is_empty() { object["required"] = required.into(); }
                    definitions.insert(name.to_owned(), object);
                }
                serde_json::json!({"$ref": format!("#/definitions/{name}")})
            }
        }
    };
}
