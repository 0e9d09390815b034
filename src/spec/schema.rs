//! The JSON schemas (draft-07, what editors understand) of the documents, from the same types that read them.

use serde_json::{Map, Value, json};

use super::lower::{Lower, description};
use super::types::{PolicyDoc, Project, RatesCard, Workflow};

/// File name and text of every schema of the language, as committed under `schemas/`.
#[must_use]
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        ("project.json", text::<Project>("An Oppen project")),
        ("rates.json", text::<RatesCard>("An Oppen rate card")),
        ("policy.json", text::<PolicyDoc>("Policies of Oppen")),
        ("workflow.json", text::<Workflow>("An Oppen workflow")),
    ]
}

fn text<T: Lower>(title: &str) -> String {
    let mut definitions = Map::new();
    let root = T::schema(&mut definitions);
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "allOf": [root],
        "definitions": definitions,
    });
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// The schema with a description beside it. Draft-07 ignores what stands beside `$ref`, so that is wrapped.
#[must_use]
pub fn described(schema: Value, lines: &[&str]) -> Value {
    let text = description(lines);
    match schema {
        Value::Object(mut map) if !map.contains_key("$ref") => {
            map.insert("description".to_owned(), text.into());
            Value::Object(map)
        }
        other => json!({"description": text, "allOf": [other]}),
    }
}
