//! What other processes ask the holder of the lock to do, while it runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::base::{Address, Timestamp};
use crate::engine::{Agency, Input, Order, Submission};
use crate::expand::Rule;
use crate::record::{Event, Priority, RunSpec, RunStatus, State};

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// End runs that have not started.
    CancelWaiting {
        /// Which.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
    /// Give waiting runs another priority.
    Prioritize {
        /// Which.
        addresses: Vec<Address>,
        /// The new class.
        priority: Priority,
        /// Who asks.
        by: String,
    },
    /// Launch nothing, or go on.
    PauseQueue {
        /// Whether to pause.
        paused: bool,
        /// Who asks.
        by: String,
    },
    /// Run what somebody submitted.
    Submit {
        /// All of it.
        submission: Box<Submission>,
    },
    /// Obey a plan.
    Apply {
        /// The plan.
        plan_id: String,
        /// Who applies it.
        by: String,
        /// What to do.
        orders: Vec<Order>,
        /// Its budgets.
        rules: Vec<Rule>,
    },
    /// What an agent brings; who answers holds it against the project's rule.
    OfAgent {
        /// Which agent, who agreed, and the cost.
        agency: Agency,
        /// What it wants.
        wants: Box<Request>,
    },
    /// Run again what is over without success.
    Retry {
        /// Which.
        addresses: Vec<Address>,
        /// Who asks.
        by: String,
    },
}

impl Request {
    /// What the engine is told, in this order.
    #[must_use]
    pub fn inputs(self) -> Vec<Input> {
        if let Self::OfAgent { agency, wants } = self {
            return vec![Input::OfAgent { agency, inputs: wants.inputs() }];
        }
        let budgets = match &self {
            Self::Submit { submission } => submission.rules.clone(),
            Self::Apply { rules, .. } => rules.clone(),
            _ => Vec::new(),
        };
        let input = match self {
            Self::Cancel { addresses, by } => Input::Cancel { addresses, by },
            Self::CancelWaiting { addresses, by } => Input::CancelWaiting { addresses, by },
            Self::Prioritize { addresses, priority, by } => Input::Prioritize { addresses, priority, by },
            Self::Pause { jobs, by } => Input::Pause { jobs, by },
            Self::Resume { jobs, by } => Input::Resume { jobs, by },
            Self::PauseQueue { paused, by } => Input::PauseQueue { paused, by },
            Self::Submit { submission } => Input::Submit(submission),
            Self::Apply { plan_id, by, orders, .. } => Input::Apply { plan_id, by, orders },
            Self::Retry { addresses, by } => Input::Retry { addresses, by },
            Self::OfAgent { .. } => Input::Tick,
        };
        let budgets = (!budgets.is_empty()).then_some(Input::Budgets(budgets));
        budgets.into_iter().chain([input]).collect()
    }

    /// What a state will be once it is answered, as far as nobody has to decide anything for that.
    fn foresee(&self, state: &mut State, at: Timestamp) {
        match self {
            Self::Submit { submission } => {
                state.apply(&Event::Submitted { id: submission.id.clone(), by: submission.by.clone(), jobs: submission.jobs.clone() }, at);
                foresee_new(state, submission.runs.iter(), at);
            }
            Self::Apply { orders, .. } => {
                let runs = orders.iter().filter_map(|order| if let Order::Run(spec) = order { Some(spec) } else { None });
                foresee_new(state, runs, at);
            }
            Self::Prioritize { addresses, priority, by } => {
                let waits = |a: &&Address| state.runs.get(*a).is_some_and(|r| r.status == RunStatus::Pending);
                for address in addresses.iter().filter(waits).cloned().collect::<Vec<_>>() {
                    state.apply(&Event::Prioritized { address, priority: priority.clone(), by: by.clone() }, at);
                }
            }
            Self::PauseQueue { paused: true, by } => state.apply(&Event::QueuePaused { by: by.clone() }, at),
            Self::PauseQueue { paused: false, by } => state.apply(&Event::QueueResumed { by: by.clone() }, at),
            Self::CancelWaiting { addresses, .. } => {
                let waits = |a: &&Address| state.runs.get(*a).is_some_and(|r| r.status == RunStatus::Pending);
                for address in addresses.iter().filter(waits).cloned().collect::<Vec<_>>() {
                    state.apply(&Event::Cancelled { address }, at);
                }
            }
            Self::OfAgent { wants, .. } => wants.foresee(state, at),
            Self::Cancel { .. } | Self::Retry { .. } | Self::Pause { .. } | Self::Resume { .. } => {}
        }
    }
}

/// Runs that the state does not have yet.
fn foresee_new<'a>(state: &mut State, specs: impl Iterator<Item = &'a Arc<RunSpec>>, at: Timestamp) {
    for spec in specs {
        if !state.runs.contains_key(&spec.address) {
            state.apply(&Event::Planned { spec: Arc::clone(spec) }, at);
        }
    }
}

impl Store {
    /// Leaves a request; the answer is its number.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn request(&mut self, request: &Request) -> Result<i64, StoreError> {
        let body = serde_json::to_string(request).map_err(|e| StoreError::Io(e.to_string()))?;
        let at = chrono::Utc::now().timestamp_millis();
        self.db.execute("INSERT INTO requests (at, body) VALUES (?1, ?2)", rusqlite::params![at, body]).map_err(|e| self.io(&e))?;
        Ok(self.db.last_insert_rowid())
    }

    /// True while nobody has answered a request.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn is_asked(&self, id: i64) -> Result<bool, StoreError> {
        let found = self.db.prepare_cached("SELECT 1 FROM requests WHERE id = ?1").and_then(|mut q| q.exists([id]));
        found.map_err(|e| self.io(&e))
    }

    /// Folds what was asked for and not answered yet into a state, for whoever only looks.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn foresee(&self, state: &mut State) -> Result<(), StoreError> {
        let now = Timestamp(chrono::Utc::now().timestamp_millis());
        self.requests()?.iter().filter_map(|(_, r)| r.as_ref()).for_each(|r| r.foresee(state, now));
        Ok(())
    }

    /// Does all of `work` as one transaction, with nobody writing in between. What it refuses leaves nothing behind.
    ///
    /// # Errors
    /// Those of `work`; input and output errors.
    pub fn atomically<T, E: From<StoreError>>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(|e| self.io(&e))?;
        let result = work(self);
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.db.execute_batch(end).map_err(|e| self.io(&e))?;
        result
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
