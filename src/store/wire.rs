//! The stored forms of events and runs: settings that runs share are stored once and referred to.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{Address, Fingerprint};
use crate::record::{CommandLine, Event, Finished, JobSpec, Parent, RunSpec};

/// A spec without the settings that it shares.
#[derive(Serialize, Deserialize)]
pub struct StoredSpec<'a> {
    #[serde(rename = "p", default, skip_serializing_if = "is_empty")]
    params: Cow<'a, [(Arc<str>, Value)]>,
    #[serde(rename = "c")]
    command: Cow<'a, CommandLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Arc<Parent>>,
}

fn is_empty(list: &[(Arc<str>, Value)]) -> bool {
    list.is_empty()
}

impl<'a> StoredSpec<'a> {
    /// The stored form.
    pub fn of(spec: &'a RunSpec) -> Self {
        Self { params: Cow::Borrowed(&spec.params), command: Cow::Borrowed(&spec.command), parent: spec.parent.clone() }
    }

    /// The spec again.
    pub fn full(self, address: Address, fingerprint: Fingerprint, job: Arc<JobSpec>) -> RunSpec {
        let (params, command) = (self.params.into_owned(), self.command.into_owned());
        RunSpec { address, fingerprint, job, params, command, parent: self.parent }
    }
}

/// An event as the journal holds it. Those with a spec name its settings by number.
#[derive(Serialize)]
struct WithSpec<'a> {
    event: &'static str,
    fingerprint: &'a Fingerprint,
    job: i64,
    spec: StoredSpec<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Finished>,
}

/// The journal's text of an event; `job` is the number of its settings.
pub fn event_text(event: &Event, job: Option<i64>) -> serde_json::Result<String> {
    let (word, result) = match event {
        Event::Planned { .. } => ("planned", None),
        Event::Updated { .. } => ("updated", None),
        Event::Superseded { .. } => ("superseded", None),
        Event::Reused { result, .. } => ("reused", Some(result)),
        other => return serde_json::to_string(other),
    };
    match (event.spec(), job) {
        (Some(spec), Some(job)) => {
            serde_json::to_string(&WithSpec { event: word, fingerprint: &spec.fingerprint, job, spec: StoredSpec::of(spec), result })
        }
        _ => serde_json::to_string(event),
    }
}
