//! Runs on the project's MLflow server.

use std::path::PathBuf;

use super::reading::{Found, Miss};
use super::view::{Metric, Tracked};
use crate::store::Store;
use crate::track::mlflow::{Client, Settings};

/// Asks the server.
pub struct Tracker {
    client: Client,
    state_dir: PathBuf,
    lineage: Option<String>,
}

impl Tracker {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(settings: Settings, state_dir: PathBuf) -> Self {
        Self { client: Client::new(settings, |name| std::env::var(name).ok()), state_dir, lineage: None }
    }

    /// Runs of this state that have not ended there; names are those of attempts.
    pub fn look(&mut self) -> Found<Vec<Tracked>> {
        let lineage = match &self.lineage {
            Some(lineage) => lineage.clone(),
            None => {
                let store = Store::open_existing(&self.state_dir).map_err(|e| Miss::Failed(e.to_string()))?;
                let Some(store) = store else { return Ok((Vec::new(), "MLflow".into())) };
                self.lineage.insert(store.lineage().to_owned()).clone()
            }
        };
        let runs = self.client.running(&lineage).map_err(|e| Miss::Failed(e.to_string()))?;
        let metric = |(name, value, step)| Metric { name, value, step };
        let tracked = runs.into_iter().map(|r| Tracked { run: r.attempt, id: r.id, metrics: r.metrics.into_iter().map(metric).collect() });
        Ok((tracked.collect(), "MLflow".into()))
    }
}
