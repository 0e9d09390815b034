//! MLflow over its REST API (2.0): runs are found by tag, their metrics read page by page, results written back.
//!
//! In: the project's `tracking.mlflow`, names of attempts. Out: points, and what could not be read, in words. Must never hold up
//! or fail a run because of the server, and never put a secret into an address, an error or the state.

mod client;
mod history;
mod look;
mod report;

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Diagnostic, Diagnostics, text::escape};
use crate::spec::types::{MlflowDecl, Word};

pub use client::{Client, MlflowError, Remote};
pub use history::Cursor;
pub use look::Seen;
pub use report::Report;

/// Tag that names the attempt: how runs are found.
pub const TAG_ATTEMPT: &str = "oppen.attempt";
/// Tag that names the state whose attempts a run belongs to.
pub const TAG_LINEAGE: &str = "oppen.lineage";

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Scheme, host, port and path, without a slash at the end.
    pub uri: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Environment variable with a bearer token.
    pub token: Option<String>,
    /// Environment variable with `user:password`.
    pub basic: Option<String>,
    /// Time between two looks.
    pub poll: Duration,
    /// Whether results are written.
    pub write: bool,
}

impl Settings {
    /// Of the project file.
    pub fn read(decl: &MlflowDecl, project: &str, diags: &mut Diagnostics) -> Option<Self> {
        let uri = decl.uri.0.0.trim_end_matches('/');
        let span = decl.uri.0.1;
        let host = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
        let Some(host) = host.filter(|h| !h.is_empty() && !h.contains(char::is_whitespace)) else {
            let message = format!("`{}` is not the address of an MLflow server", escape(uri));
            diags.push(Diagnostic::error("bad-value", span, message).hint("write `uri: http://host:5000` or `https://...`"));
            return None;
        };
        if host.split('/').next().is_some_and(|authority| authority.contains('@')) {
            let message = "a password does not belong into the address of the MLflow server";
            diags.push(
                Diagnostic::error("secret-in-file", span, message)
                    .hint("put `user:password` into an environment variable and name it: `basic: MLFLOW_LOGIN`"),
            );
            return None;
        }
        let word = |w: &Option<Word>| w.as_ref().map(|w| w.0.to_string());
        Some(Self {
            uri: uri.to_owned(),
            experiment: word(&decl.experiment).unwrap_or_else(|| project.to_owned()),
            token: word(&decl.token),
            basic: word(&decl.basic),
            poll: decl.poll.as_ref().map_or(Duration::from_secs(5), |p| p.0.to_std()).max(Duration::from_millis(100)),
            write: decl.write.as_ref().is_none_or(|w| w.0),
        })
    }

    /// Variables by which a run's own MLflow client finds the server and tags what it logs (`MLFLOW_RUN_CONTEXT` holds tags).
    #[must_use]
    pub fn env(&self, tags: &[(&str, &str)]) -> Vec<(String, Arc<str>)> {
        let tags: serde_json::Map<String, serde_json::Value> = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        vec![
            ("MLFLOW_TRACKING_URI".to_owned(), self.uri.as_str().into()),
            ("MLFLOW_EXPERIMENT_NAME".to_owned(), self.experiment.as_str().into()),
            ("MLFLOW_RUN_CONTEXT".to_owned(), serde_json::Value::Object(tags).to_string().into()),
        ]
    }
}
