//! What is written to the server when an attempt has ended: params, tags, cost, and the way back.

use serde_json::{Value, json};

use super::{Client, MlflowError, TAG_ATTEMPT, TAG_LINEAGE};
use crate::base::Timestamp;
use crate::record::event::MetricPoint;

/// Entries of one batch that MLflow takes at the most.
const BATCH: usize = 100;
/// Points of one batch that MLflow takes at the most.
const POINTS: usize = 1000;
/// Longest value of a param or tag, in characters.
const LONGEST: usize = 500;

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its name on backends.
    pub attempt: String,
    /// The state's lineage.
    pub lineage: String,
    /// The run's address: the name shown.
    pub title: String,
    /// Params as text.
    pub params: Vec<(String, String)>,
    /// Further tags: outcome, cost, priority, the command that explains it.
    pub tags: Vec<(String, String)>,
    /// When it started and ended.
    pub ran: (Timestamp, Timestamp),
    /// `FINISHED`, `FAILED` or `KILLED`.
    pub status: &'static str,
    /// Points that it reported to Oppen; written where the run logged nothing to MLflow itself.
    pub points: Vec<MetricPoint>,
}

impl Client {
    /// Writes a report: to the run that the attempt logged itself, or to one that is made for it. Writing it again changes nothing.
    ///
    /// # Errors
    /// [`MlflowError`].
    pub fn write(&mut self, report: &Report) -> Result<(), MlflowError> {
        let found = self.find(TAG_ATTEMPT, &report.attempt, false)?;
        let (id, known, own, open) = match found.into_iter().next_back() {
            Some(run) => (run.id, run.params, run.latest.is_empty(), run.is_running),
            None => (self.create(report)?, Vec::new(), true, true),
        };
        let pair = |(k, v): &(String, String)| json!({"key": k, "value": short(v)});
        let params: Vec<Value> = report.params.iter().filter(|(k, _)| !known.contains(k)).map(pair).collect();
        let tags: Vec<Value> = report.tags.iter().map(pair).collect();
        for batch in params.chunks(BATCH) {
            self.post("runs/log-batch", &json!({"run_id": id, "params": batch}))?;
        }
        for batch in tags.chunks(BATCH) {
            self.post("runs/log-batch", &json!({"run_id": id, "tags": batch}))?;
        }
        if own {
            let points: Vec<Value> = report.points.iter().filter_map(|p| point(p, report.ran.1)).collect();
            for batch in points.chunks(POINTS) {
                self.post("runs/log-batch", &json!({"run_id": id, "metrics": batch}))?;
            }
        }
        if open {
            self.post("runs/update", &json!({"run_id": id, "status": report.status, "end_time": report.ran.1.0}))?;
        }
        Ok(())
    }

    fn create(&mut self, report: &Report) -> Result<String, MlflowError> {
        let experiment = self.experiment()?;
        let tags = json!([
            {"key": TAG_ATTEMPT, "value": report.attempt}, {"key": TAG_LINEAGE, "value": report.lineage},
            {"key": "mlflow.runName", "value": report.title},
        ]);
        let body = json!({"experiment_id": experiment, "start_time": report.ran.0.0, "run_name": report.title, "tags": tags});
        let made = self.post("runs/create", &body)?;
        let id = made.pointer("/run/info/run_id").and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| MlflowError::Strange("no run_id".to_owned()))
    }
}

fn point(point: &MetricPoint, end: Timestamp) -> Option<Value> {
    let value = point.value?;
    Some(json!({"key": &*point.name, "value": value, "step": point.step.unwrap_or(0), "timestamp": point.at.unwrap_or(end).0}))
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
