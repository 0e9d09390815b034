//! One thing to submit, as a person or an agent says it; and batches of them as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::text::escape;
use crate::cli::exit::{Exit, Failure};

/// Most things that one batch may hold.
pub const MOST: usize = 1000;
/// Most problems of a batch that are told.
const TOLD: usize = 10;

/// A model type, a template file or the name of a workflow, with values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// A model type of the project, a workflow file, or the name of a workflow of the project.
    #[serde(alias = "template", alias = "what")]
    pub model_type: String,
    /// Value of the input `epochs`.
    #[serde(default)]
    pub epochs: Option<u32>,
    /// Value of the input `batch_size`.
    #[serde(default)]
    pub batch_size: Option<u32>,
    /// Priority class; without it what the template says.
    #[serde(default)]
    pub priority: Option<String>,
    /// Values of further inputs.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// How often.
    #[serde(default)]
    pub count: Option<u32>,
}

impl Ask {
    /// All given values of inputs.
    #[must_use]
    pub fn values(&self) -> Map<String, Value> {
        let mut all = self.with.clone();
        all.extend(self.epochs.map(|n| ("epochs".to_owned(), n.into())));
        all.extend(self.batch_size.map(|n| ("batch_size".to_owned(), n.into())));
        all
    }

    fn check(&self) -> Result<(), String> {
        if self.model_type.is_empty() || self.model_type.len() > 256 {
            return Err("`model_type` must name a model type or a template".to_owned());
        }
        for (name, value) in [("epochs", self.epochs), ("batch_size", self.batch_size), ("count", self.count)] {
            if value == Some(0) {
                return Err(format!("`{name}` must be at least 1"));
            }
        }
        if self.count.is_some_and(|n| n as usize > MOST) {
            return Err(format!("`count` may be at most {MOST}"));
        }
        Ok(())
    }
}

/// Checks all, and repeats those with a count.
pub fn spread(asks: Vec<Ask>) -> Result<Vec<Ask>, Failure> {
    let mut problems: Vec<String> = Vec::new();
    let total: usize = asks.iter().map(|a| a.count.unwrap_or(1) as usize).sum();
    if asks.is_empty() {
        problems.push("there is nothing in it".to_owned());
    }
    if total > MOST {
        problems.push(format!("{total} are more than the {MOST} that one batch may hold"));
    }
    problems.extend(asks.iter().enumerate().filter_map(|(i, a)| a.check().err().map(|e| format!("number {}: {e}", i + 1))));
    if let Some(failure) = refused(&problems) {
        return Err(failure);
    }
    Ok(asks
        .into_iter()
        .flat_map(|a| {
            let count = a.count.unwrap_or(1) as usize;
            std::iter::repeat_n(Ask { count: None, ..a }, count)
        })
        .collect())
}

/// Reads a batch: a JSON array of objects. All problems are told at once.
pub fn batch(text: &str) -> Result<Vec<Ask>, Failure> {
    let shape = "give a JSON array such as [{\"model_type\": \"mnist\", \"epochs\": 2, \"batch_size\": 64, \"priority\": \"normal\"}]";
    let wrong = |words: String| Failure::new(Exit::Usage, format!("the batch cannot be read: {words}")).hint(shape);
    if text.len() > 4 << 20 {
        return Err(wrong(format!("it has {} bytes, at most 4 MiB are read", text.len())));
    }
    let list: Vec<Value> = serde_json::from_str(text).map_err(|e| wrong(escape(&e.to_string()).into_owned()))?;
    let (mut asks, mut problems) = (Vec::new(), Vec::new());
    for (i, value) in list.into_iter().enumerate() {
        match Ask::deserialize(value) {
            Ok(ask) => asks.push(ask),
            Err(e) => problems.push(format!("number {}: {}", i + 1, escape(&e.to_string()))),
        }
    }
    match refused(&problems) {
        Some(failure) => Err(failure.hint(shape)),
        None => spread(asks),
    }
}

fn refused(problems: &[String]) -> Option<Failure> {
    if problems.is_empty() {
        return None;
    }
    let more = problems.len().saturating_sub(TOLD);
    let list = problems.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(Failure::new(Exit::Usage, format!("nothing was submitted: {list}{more}")).hint("mend these and submit the whole batch again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        batch(text).map_or_else(|f| f.message, |asks| format!("{} asks", asks.len()))
    }

    #[test]
    fn a_batch_tells_all_its_problems_at_once() {
        assert_eq!(told(r#"[{"model_type": "mnist", "count": 3}, {"template": "a.yaml", "epochs": 2}]"#), "4 asks");
        let text = told(r#"[{"model_type": "m", "epochs": -1}, {"epochs": 1}, {"model_type": "m", "epochz": 1}]"#);
        for part in ["number 1: invalid value: integer `-1`", "number 2: missing field `model_type`", "number 3: unknown field `epochz`"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(told("[]"), "nothing was submitted: there is nothing in it");
        assert!(told(r#"[{"model_type": "m", "count": 1001}]"#).contains("at most 1000"));
        assert!(told(r#"[{"model_type": "m", "epochs": NaN}]"#).contains("cannot be read"));
    }
}
