//! The JSON schema of `oppen plan -o json`.

use serde_json::{Value, json};

/// As committed in `schemas/plan.json`.
#[must_use]
pub fn text() -> String {
    super::output::json(&schema())
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

/// A sweep's price, and apart from it what pruning is expected to save.
fn sweep(money: &Value, maybe_money: &Value, count: &Value) -> Value {
    let pruning = json!({"description": "expected saving, not taken off the cost; null where the rule's is not known beforehand", "type": ["object", "null"], "properties": {"method": {"type": "string"}, "share": {"type": "number", "minimum": 0, "maximum": 1}, "saving": money, "interval": {"type": "array", "items": money, "minItems": 2, "maxItems": 2}}, "required": ["method", "share", "saving", "interval"]});
    object(
        &["sweep", "trials", "cost", "interval", "pruning"],
        json!({"sweep": {"type": "string"}, "trials": count, "cost": money, "left": maybe_money, "interval": {"type": "array", "items": money, "minItems": 2, "maxItems": 2}, "worst": maybe_money, "pruning": pruning}),
    )
}

/// One action of a plan.
fn run(money: &Value, maybe_money: &Value, maybe_text: &Value) -> Value {
    let interval = json!({"description": "95%: lower and upper end; null where nothing was measured yet", "type": ["object", "null"], "properties": {"seconds": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}, "cost": {"type": "array", "items": money, "minItems": 2, "maxItems": 2}}, "required": ["seconds", "cost"], "additionalProperties": false});
    let reason = object(&["key"], json!({"key": {"type": "string"}, "before": {"type": "string"}, "after": {"type": "string"}}));
    let estimate = object(
        &["seconds", "cost", "basis"],
        json!({"seconds": {"type": ["number", "null"], "minimum": 0}, "cost": money, "worst": maybe_money, "basis": {"type": "string"}, "interval": interval}),
    );
    let signed = json!({"type": ["string", "null"], "pattern": "^-?[0-9]+\\.[0-9]{2,6}$"});
    let hold = object(
        &["window", "state", "until", "by", "latest", "cost_now", "saves", "words"],
        json!({"window": {"type": "string"}, "state": {"enum": ["waits", "early", "open", "due", "past", "pointless", "unknown"]}, "until": maybe_text, "by": maybe_text,
            "latest": maybe_text, "cost_now": maybe_money, "saves": signed, "words": {"type": "array", "items": {"type": "string"}}}),
    );
    object(
        &["address", "action", "origin", "reasons"],
        json!({
            "address": {"type": "string"}, "action": {"enum": ["create", "rerun", "update", "reuse", "cancel", "forget"]},
            "origin": {"enum": ["edit", "drift", "downstream"]}, "reasons": {"type": "array", "items": reason, "minItems": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "params": {"type": "object"}, "priority": {"type": "string"},
            "from": {"type": "string"}, "estimate": estimate, "unpriced_reason": {"type": "string"}, "start": maybe_text, "hold": hold,
        }),
    )
}

fn schema() -> Value {
    let money = json!({"type": "string", "pattern": "^-?[0-9]+\\.[0-9]{2,6}$", "description": "US dollars"});
    let maybe_money = json!({"anyOf": [money, {"type": "null"}]});
    let maybe_text = json!({"type": ["string", "null"]});
    let count = json!({"type": "integer", "minimum": 0});
    let run = run(&money, &maybe_money, &maybe_text);
    let budget = object(
        &["scope", "spent", "running", "plan", "total", "limit", "unpriced", "on_exceed", "exceeded"],
        json!({"scope": {"type": "string"}, "spent": money, "running": money, "plan": money, "total": money, "limit": money, "unpriced": count, "on_exceed": {"enum": ["warn", "hold", "stop", "cap"]}, "exceeded": {"type": "boolean"}}),
    );
    let check = object(
        &["rule", "blocks", "subject", "message", "hint"],
        json!({"rule": {"type": "string"}, "blocks": {"type": "boolean"}, "subject": {"type": "string"}, "message": {"type": "string"}, "hint": {"type": "string"}, "file": maybe_text, "line": {"type": ["integer", "null"]}, "rule_file": maybe_text, "rule_line": {"type": ["integer", "null"]}}),
    );
    let ends = json!({"anyOf": [{"type": "array", "items": money, "minItems": 2, "maxItems": 2}, {"type": "null"}]});
    let range = object(
        &["expected", "interval", "worst", "basis"],
        json!({"expected": money, "interval": ends, "worst": maybe_money, "basis": {"type": "string"}}),
    );
    let job = object(
        &["job", "action", "runs", "cost"],
        json!({"job": {"type": "string"}, "action": {"enum": ["create", "rerun"]}, "runs": count, "cost": {"anyOf": [range, {"type": "null"}]}}),
    );
    let sweep = sweep(&money, &maybe_money, &count);
    let digest = json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
    let mut schema = object(
        &[
            "format_version",
            "plan_id",
            "lineage",
            "serial",
            "backend",
            "digests",
            "runs",
            "edges",
            "drift",
            "budgets",
            "quotas",
            "checks",
            "errored",
            "summary",
        ],
        json!({
            "format_version": {"const": 1}, "plan_id": {"type": "string", "pattern": "^[0-9a-f]{16}$"}, "lineage": {"type": "string"}, "serial": count,
            "backend": {"enum": ["local", "kubernetes"]}, "digests": object(&["base", "state", "rates"], json!({"base": digest, "state": digest, "rates": digest})),
            "runs": {"type": "array", "items": run}, "edges": {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}},
            "drift": {"type": "array", "items": object(&["address", "path", "what"], json!({"address": {"type": "string"}, "path": {"type": "string"}, "what": {"enum": ["missing", "changed"]}}))},
            "budgets": {"type": "array", "items": budget}, "jobs": {"type": "array", "items": job}, "quotas": {"type": "object"}, "checks": {"type": "array", "items": check},
            "templates": {"type": "array", "items": {"type": "string"}}, "sweeps": {"type": "array", "items": sweep}, "errored": {"type": "boolean"},
            "summary": object(&["actions", "unchanged", "cost", "unpriced", "blocked"], json!({"actions": {"type": "object", "additionalProperties": count}, "unchanged": count, "in_progress": count, "cost": money, "worst": maybe_money, "unpriced": count, "overrun": maybe_money, "saved": money, "end": maybe_text, "blocked": {"type": "boolean"}})),
        }),
    );
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("What `oppen plan -o json` prints");
    schema
}
