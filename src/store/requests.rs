//! What other processes ask the holder of the lock to do, while it runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::base::Address;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// End runs.
    Cancel {
        /// Which.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
    /// Start no further trial of sweeps.
    Pause {
        /// `workflow/job` of each.
        jobs: Vec<Arc<str>>,
        /// Who asks.
        by: String,
    },
    /// Let paused sweeps go on.
    Resume {
        /// `workflow/job` of each.
        jobs: Vec<Arc<str>>,
        /// Who asks.
        by: String,
    },
    /// Run again what is over without success.
    Retry {
        /// Which.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
}

impl Store {
    /// Leaves a request.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn request(&mut self, request: &Request) -> Result<(), StoreError> {
        let body = serde_json::to_string(request).map_err(|e| StoreError::Io(e.to_string()))?;
        let at = chrono::Utc::now().timestamp_millis();
        self.db.execute("INSERT INTO requests (at, body) VALUES (?1, ?2)", rusqlite::params![at, body]).map(|_| ()).map_err(|e| self.io(&e))
    }

    /// Requests that nobody has answered, oldest first. They are answered by an append.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn requests(&self) -> Result<Vec<(i64, Option<Request>)>, StoreError> {
        let io = |e: rusqlite::Error| self.io(&e);
        let mut query = self.db.prepare_cached("SELECT id, body FROM requests ORDER BY id").map_err(io)?;
        let rows = query.query_map([], |r| Ok((r.get(0)?, r.get::<_, String>(1)?))).map_err(io)?;
        rows.map(|row| row.map(|(id, body)| (id, serde_json::from_str(&body).ok())).map_err(io)).collect()
    }
}
