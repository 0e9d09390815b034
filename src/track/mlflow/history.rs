//! A run's metrics, read once: a cursor remembers the last page of each metric, so that a look costs what is new.
//!
//! MLflow pages a metric's history in the order of timestamp, step and value. A point that is logged later with an earlier timestamp
//! than those of a page that was read whole is not seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Client, MlflowError, Remote};
use crate::base::Timestamp;
use crate::record::event::MetricPoint;

/// Points of one page.
const PAGE: usize = 1000;
/// Pages that one look at a run reads at the most, all metrics together; the rest follows with the next look.
const PAGES: usize = 200;
/// Metrics of one run that are read at the most.
const METRICS: usize = 200;

/// How far the metrics of an attempt were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Where people see it.
    #[serde(default)]
    pub link: String,
    runs: BTreeMap<String, BTreeMap<String, Position>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The last page.
    token: Option<String>,
    /// Points of it that were read.
    seen: usize,
    /// The latest point then.
    latest: String,
}

impl Client {
    /// What a run logged since the last look. A metric whose latest point is the same is not asked for, unless `all`.
    ///
    /// # Errors
    /// [`MlflowError`]; the cursor stands where the last whole page ended, and nothing is lost.
    pub fn news(&self, run: &Remote, cursor: &mut Cursor, all: bool) -> Result<Vec<MetricPoint>, MlflowError> {
        cursor.link = self.link(&run.id);
        let positions = cursor.runs.entry(run.id.clone()).or_default();
        let (mut news, mut pages) = (Vec::new(), PAGES);
        for (name, latest) in run.latest.iter().take(METRICS) {
            let position = positions.entry(name.clone()).or_default();
            if (all || position.latest != *latest) && self.read(&run.id, name, position, &mut pages, &mut news)? {
                position.latest.clone_from(latest);
            }
        }
        Ok(news)
    }

    /// True when that was the last page.
    fn read(
        &self,
        run: &str,
        name: &str,
        position: &mut Position,
        pages: &mut usize,
        news: &mut Vec<MetricPoint>,
    ) -> Result<bool, MlflowError> {
        let size = PAGE.to_string();
        while *pages > 0 {
            *pages -= 1;
            let mut query = vec![("run_id", run), ("metric_key", name), ("max_results", size.as_str())];
            query.extend(position.token.as_deref().map(|t| ("page_token", t)));
            let page = self.get("metrics/get-history", &query)?;
            let points = page.get("metrics").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let of_this = points.iter().filter(|p| p.get("key").and_then(Value::as_str) == Some(name));
            news.extend(of_this.skip(position.seen).take(PAGE).map(|p| point(name, p)));
            let next = page.get("next_page_token").and_then(Value::as_str).filter(|t| !t.is_empty());
            match next {
                Some(next) if position.token.as_deref() != Some(next) => {
                    position.token = Some(next.to_owned());
                    position.seen = 0;
                }
                _ => {
                    position.seen = position.seen.max(points.len());
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn point(name: &str, point: &Value) -> MetricPoint {
    MetricPoint {
        name: name.into(),
        step: whole(point.get("step")),
        value: point.get("value").and_then(Value::as_f64).filter(|v| v.is_finite()),
        at: whole(point.get("timestamp")).filter(|t| *t > 0).map(Timestamp),
    }
}

/// MLflow writes 64-bit numbers as numbers or as text.
fn whole(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// What tells one point from another.
pub(super) fn identity(point: &Value) -> String {
    let part = |key: &str| point.get(key).map(ToString::to_string).unwrap_or_default();
    format!("{} {} {}", part("timestamp"), part("step"), part("value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_values_and_numbers_as_text_are_read_as_what_they_are() {
        let read = |v: Value| point("loss", &json!({"key": "loss", "value": v, "step": "3", "timestamp": 1_700_000_000_000_i64}));
        assert_eq!(read(json!(0.5)).value, Some(0.5));
        assert_eq!(read(json!("NaN")).value, None);
        assert_eq!(read(json!("Infinity")).value, None);
        assert_eq!(read(json!(1)).step, Some(3));
        assert_eq!(read(json!(1)).at, Some(Timestamp(1_700_000_000_000)));
    }
}
