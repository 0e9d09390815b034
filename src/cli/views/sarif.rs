//! SARIF 2.1.0 (OASIS, 2020): findings for code scanning.

use serde_json::{Value, json};

use super::{At, Finding, Found, Level};
use crate::base::Digest;
use crate::base::text::escape;

/// The log of one run.
#[must_use]
pub fn text(found: &Found) -> String {
    let mut rules: Vec<&str> = found.findings.iter().map(|f| f.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let results: Vec<Value> = found.findings.iter().map(|f| result(f, &rules)).collect();
    let described: Vec<Value> =
        rules.iter().map(|r| json!({"id": r, "name": name(r), "shortDescription": {"text": r.replace('-', " ")}})).collect();
    crate::cli::output::json(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "Oppen", "version": env!("CARGO_PKG_VERSION"), "informationUri": env!("CARGO_PKG_REPOSITORY"), "rules": described}},
            "automationDetails": {"id": format!("oppen/{}/", found.command)},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository"}}},
            "results": results,
        }],
    }))
}

/// `unknown-key` as `UnknownKey`.
fn name(rule: &str) -> String {
    let word = |w: &str| w.chars().take(1).flat_map(char::to_uppercase).chain(w.chars().skip(1)).collect::<String>();
    rule.split(|c: char| !c.is_ascii_alphanumeric()).map(word).collect()
}

fn result(finding: &Finding, rules: &[&str]) -> Value {
    let hint = if finding.hint.is_empty() { String::new() } else { format!(". Help: {}", finding.hint) };
    // The same finding keeps its identity when lines above it move.
    let identity = format!("{}\0{}\0{}", finding.rule, finding.sentence(), finding.at.as_ref().map_or("", |a| &a.file));
    let mut result = json!({
        "ruleId": finding.rule,
        "ruleIndex": rules.iter().position(|r| *r == finding.rule),
        "level": if finding.level == Level::Error { "error" } else { "warning" },
        "message": {"text": escape(&format!("{}{hint}", finding.sentence()))},
        "locations": finding.at.iter().map(|a| location(a, None)).collect::<Vec<_>>(),
        "partialFingerprints": {"oppen/v1": Digest::of(identity.as_bytes()).short()},
    });
    if !finding.related.is_empty() {
        result["relatedLocations"] = finding.related.iter().map(|(at, words)| location(at, Some(words))).collect();
    }
    result
}

fn location(at: &At, words: Option<&str>) -> Value {
    let mut location = json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&at.file), "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": at.line, "startColumn": at.column, "endLine": at.end_line, "endColumn": at.end_column},
    }});
    if let Some(words) = words {
        location["message"] = json!({"text": escape(words)});
    }
    location
}

/// A relative path as a URI reference (RFC 3986): all but unreserved characters and `/` in percent signs.
fn uri(path: &str) -> String {
    use std::fmt::Write as _;
    path.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}
