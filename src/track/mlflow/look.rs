//! A look at what runs on the server, for people: nothing is made there, nothing is kept here.

use serde_json::{Value, json};

use super::{Client, MlflowError, TAG_ATTEMPT, TAG_LINEAGE};

/// Runs of one look.
const MOST: usize = 200;
/// Metrics of one run.
const METRICS: usize = 8;

/// A run that has not ended there.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// Our attempt's name.
    pub attempt: String,
    /// Last value and step of its metrics; an unknown value (NaN, infinite) is none.
    pub metrics: Vec<(String, Option<f64>, Option<i64>)>,
}

impl Client {
    /// Runs of a state that have not ended there, newest first, at most 200. Where the experiment does not exist there are none.
    ///
    /// # Errors
    /// [`MlflowError`].
    pub fn running(&self, lineage: &str) -> Result<Vec<Seen>, MlflowError> {
        let name = self.settings().experiment.clone();
        let found = match self.get("experiments/get-by-name", &[("experiment_name", &name)]) {
            Err(MlflowError::Refused(404, _)) => return Ok(Vec::new()),
            found => found?,
        };
        let id = found.pointer("/experiment/experiment_id").and_then(Value::as_str).unwrap_or_default();
        let filter = format!("tags.\"{TAG_LINEAGE}\" = '{}' and attributes.status = 'RUNNING'", lineage.replace('\'', ""));
        let body = json!({"experiment_ids": [id], "filter": filter, "max_results": MOST, "order_by": ["attributes.start_time DESC"]});
        let page = self.post("runs/search", &body)?;
        Ok(page.get("runs").and_then(Value::as_array).into_iter().flatten().take(MOST).filter_map(seen).collect())
    }
}

fn seen(run: &Value) -> Option<Seen> {
    let list = |pointer: &str| run.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let tag = list("/data/tags").iter().find(|t| t.get("key").and_then(Value::as_str) == Some(TAG_ATTEMPT))?;
    let metric = |m: &Value| {
        let number = |key: &str| m.get(key).and_then(|v| v.as_f64().or_else(|| v.as_str()?.parse().ok()));
        let step = m.get("step").and_then(|v| v.as_i64().or_else(|| v.as_str()?.parse().ok()));
        Some((m.get("key")?.as_str()?.to_owned(), number("value").filter(|v| v.is_finite()), step))
    };
    Some(Seen {
        id: run.pointer("/info/run_id").and_then(Value::as_str)?.to_owned(),
        attempt: tag.get("value")?.as_str()?.to_owned(),
        metrics: list("/data/metrics").iter().filter_map(metric).take(METRICS).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_values_are_read_and_what_is_no_number_is_unknown() {
        let run = json!({"info": {"run_id": "r"}, "data": {"tags": [{"key": "other", "value": "x"}, {"key": TAG_ATTEMPT, "value": "a"}],
            "metrics": [{"key": "loss", "value": 0.5, "step": "3"}, {"key": "nan", "value": "NaN", "step": 4}, {"value": 1}]}});
        let read = seen(&run).unwrap();
        assert_eq!((read.id.as_str(), read.attempt.as_str()), ("r", "a"));
        assert_eq!(read.metrics, [("loss".to_owned(), Some(0.5), Some(3)), ("nan".to_owned(), None, Some(4))]);
        assert_eq!(seen(&json!({"info": {"run_id": "r"}, "data": {"tags": []}})), None);
    }
}
