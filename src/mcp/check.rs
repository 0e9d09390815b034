//! Arguments held against the schema that was published for them: every problem at once, each with what would be right.
//!
//! In: the schema of a tool's input, an object. Out: sentences. Knows the flat part of JSON Schema that inputs use: types, ranges,
//! lengths, choices, lists of simple things.

use serde_json::{Map, Value};

use super::text::plain;
use crate::base::suggest;

/// All that is wrong with the arguments.
#[must_use]
pub fn problems(schema: &Map<String, Value>, args: &Map<String, Value>) -> Vec<String> {
    let empty = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut found = Vec::new();
    for (name, value) in args {
        match known.get(name) {
            Some(rule) => one(name, rule, value, &mut found),
            None => {
                let hint = suggest::hint(name, known.keys().map(String::as_str)).map(|h| format!("; {h}")).unwrap_or_default();
                found.push(format!("`{}` is no argument of this tool{hint}", plain(name, 80)));
            }
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|n| !args.contains_key(*n)) {
        let about = known.get(name).and_then(|r| r.get("description")).and_then(Value::as_str).unwrap_or_default();
        found.push(format!("`{name}` is missing: {about}"));
    }
    found
}

fn one(name: &str, rule: &Value, value: &Value, found: &mut Vec<String>) {
    let types: Vec<&str> = match rule.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    if !types.iter().any(|t| is(value, t)) {
        let wanted: Vec<&str> = types.iter().copied().filter(|t| *t != "null").map(article).collect();
        found.push(format!("`{name}` must be {}, not {}", wanted.join(" or "), shown(value)));
        return;
    }
    let limit = |key: &str| rule.get(key).and_then(Value::as_f64);
    if let Some(number) = value.as_f64() {
        if limit("minimum").is_some_and(|least| number < least) {
            found.push(format!("`{name}` must be at least {}, not {}", rule["minimum"], shown(value)));
        }
        if limit("maximum").is_some_and(|most| number > most) {
            found.push(format!("`{name}` may be at most {}, not {}", rule["maximum"], shown(value)));
        }
    }
    let length = |key: &str| rule.get(key).and_then(Value::as_u64);
    if let Some(text) = value.as_str() {
        let count = text.chars().count() as u64;
        if length("minLength").is_some_and(|least| count < least) {
            found.push(format!("`{name}` may not be empty"));
        }
        if length("maxLength").is_some_and(|most| count > most) {
            found.push(format!("`{name}` has {count} characters; at most {} are read", rule["maxLength"]));
        }
    }
    if let Some(choices) = rule.get("enum").and_then(Value::as_array).filter(|c| !c.contains(value)) {
        let words: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        found.push(format!("`{name}` must be one of {}, not {}", words.join(", "), shown(value)));
    }
    if let (Some(list), Some(rule)) = (value.as_array(), rule.get("items")) {
        for (i, item) in list.iter().enumerate().take(10) {
            one(&format!("{name}[{i}]"), rule, item, found);
        }
    }
    if let Some(list) = value.as_array().filter(|l| length("maxItems").is_some_and(|most| l.len() as u64 > most)) {
        found.push(format!("`{name}` has {} entries; at most {} are read", list.len(), rule["maxItems"]));
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn article(kind: &str) -> &str {
    match kind {
        "boolean" => "true or false",
        "string" => "a text",
        "number" => "a number",
        "integer" => "a whole number",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".to_owned(),
        other => format!("`{}`", plain(&other.to_string(), 60)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let schema = json!({"properties": {
            "model_type": {"type": "string", "minLength": 1, "maxLength": 8, "description": "What to train."},
            "epochs": {"type": ["integer", "null"], "minimum": 1, "maximum": 100},
            "state": {"type": "string", "enum": ["open", "over"]},
            "paths": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        }, "required": ["model_type"]});
        let told = |args: Value| problems(schema.as_object().unwrap(), args.as_object().unwrap());
        assert_eq!(told(json!({"model_type": "mnist", "epochs": 2, "paths": ["a"]})), Vec::<String>::new());
        assert_eq!(
            told(json!({"epochz": 1, "epochs": -1, "state": "gone", "paths": [1, "b", "c"]})),
            [
                "`epochz` is no argument of this tool; did you mean `epochs`?",
                "`epochs` must be at least 1, not `-1`",
                "`state` must be one of open, over, not `\"gone\"`",
                "`paths[0]` must be a text, not `1`",
                "`paths` has 3 entries; at most 2 are read",
                "`model_type` is missing: What to train.",
            ]
        );
        assert_eq!(told(json!({"model_type": "", "epochs": 2.5}))[1], "`epochs` must be a whole number, not `2.5`");
        assert_eq!(told(json!({"model_type": "\u{1b}[31m much too long"})), ["`model_type` has 19 characters; at most 8 are read"]);
    }
}
