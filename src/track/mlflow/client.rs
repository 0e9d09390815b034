//! The calls. Each has a deadline and a largest answer; redirects are not followed.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::Settings;
use crate::base::text::escape;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const LARGEST: u64 = 16 << 20;
/// Pages of runs that one search reads at the most.
const PAGES: usize = 100;

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MlflowError {
    /// No answer in time, or no connection.
    Unreachable(String),
    /// The server said no.
    Refused(u16, String),
    /// The answer is not what MLflow answers.
    Strange(String),
}

impl std::fmt::Display for MlflowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(words) => write!(f, "does not answer ({})", escape(words)),
            Self::Refused(status, words) => write!(f, "refuses with status {status} ({})", escape(words)),
            Self::Strange(words) => write!(f, "answers what MLflow would not ({})", escape(words)),
        }
    }
}

impl std::error::Error for MlflowError {}

/// A run on the server, as far as it is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    /// Its id.
    pub id: String,
    /// Our attempt's name, from its tag.
    pub attempt: String,
    /// Whether it has not ended there.
    pub is_running: bool,
    /// Names of its params.
    pub params: Vec<String>,
    /// Latest point of each metric: name and (timestamp, step, value) as the server writes them.
    pub latest: Vec<(String, String)>,
}

/// A connection to one server.
pub struct Client {
    agent: Agent,
    settings: Settings,
    login: Option<String>,
    experiment: Option<String>,
}

impl Client {
    /// A client; nothing is asked yet. `secret` looks up an environment variable.
    #[must_use]
    pub fn new(settings: Settings, secret: impl Fn(&str) -> Option<String>) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("oppen/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        let bearer = settings.token.as_deref().and_then(&secret).map(|t| format!("Bearer {}", t.trim()));
        let basic = settings.basic.as_deref().and_then(&secret).map(|t| format!("Basic {}", STANDARD.encode(t.trim())));
        Self { agent: Agent::new_with_config(config), settings, login: bearer.or(basic), experiment: None }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where people see a run.
    #[must_use]
    pub fn link(&self, run: &str) -> String {
        format!("{}/#/experiments/{}/runs/{run}", self.settings.uri, self.experiment.as_deref().unwrap_or("0"))
    }

    /// A GET with a query.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, MlflowError> {
        let mut request = self.agent.get(self.url(path));
        for (key, value) in query {
            request = request.query(*key, *value);
        }
        if let Some(login) = &self.login {
            request = request.header("Authorization", login);
        }
        answer(request.call())
    }

    /// A POST with a body.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, MlflowError> {
        let mut request = self.agent.post(self.url(path));
        if let Some(login) = &self.login {
            request = request.header("Authorization", login);
        }
        answer(request.send_json(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.settings.uri)
    }

    /// The experiment's id; it is made when it does not exist.
    ///
    /// # Errors
    /// [`MlflowError`].
    pub fn experiment(&mut self) -> Result<String, MlflowError> {
        if let Some(id) = &self.experiment {
            return Ok(id.clone());
        }
        let name = self.settings.experiment.clone();
        let found = match self.get("experiments/get-by-name", &[("experiment_name", &name)]) {
            Err(MlflowError::Refused(404, _)) => {
                let made = self.post("experiments/create", &json!({"name": name}));
                // Another engine may have made it in between.
                match made {
                    Err(MlflowError::Refused(400, _)) => self.get("experiments/get-by-name", &[("experiment_name", &name)])?,
                    made => made?,
                }
            }
            found => found?,
        };
        let id = found.get("experiment_id").or_else(|| found.pointer("/experiment/experiment_id")).and_then(Value::as_str);
        let id = id.ok_or_else(|| MlflowError::Strange("no experiment_id".to_owned()))?.to_owned();
        self.experiment = Some(id.clone());
        Ok(id)
    }

    /// Runs whose tag has a value, oldest first, page by page.
    ///
    /// # Errors
    /// [`MlflowError`].
    pub fn find(&mut self, tag: &str, value: &str, live: bool) -> Result<Vec<Remote>, MlflowError> {
        let experiment = self.experiment()?;
        let mut filter = format!("tags.\"{tag}\" = '{}'", value.replace('\'', ""));
        if live {
            filter.push_str(" and attributes.status = 'RUNNING'");
        }
        let (mut runs, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let mut body =
                json!({"experiment_ids": [experiment], "filter": filter, "max_results": 500, "order_by": ["attributes.start_time ASC"]});
            if let (Some(token), Some(body)) = (&token, body.as_object_mut()) {
                body.insert("page_token".to_owned(), token.as_str().into());
            }
            let page = self.post("runs/search", &body)?;
            runs.extend(page.get("runs").and_then(Value::as_array).into_iter().flatten().filter_map(remote));
            let next = page.get("next_page_token").and_then(Value::as_str).filter(|t| !t.is_empty());
            if next.is_none() || next == token.as_deref() {
                break;
            }
            token = next.map(str::to_owned);
        }
        // What the server adds beyond the question is not looked at, nor what it says twice.
        let mut seen = rustc_hash::FxHashSet::default();
        runs.retain(|r: &Remote| (tag != super::TAG_ATTEMPT || r.attempt == value) && seen.insert(r.id.clone()));
        Ok(runs)
    }
}

fn remote(run: &Value) -> Option<Remote> {
    let pairs = |pointer: &str| run.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let key = |v: &Value| v.get("key").and_then(Value::as_str).map(str::to_owned);
    let tags = pairs("/data/tags");
    let attempt = tags.iter().find(|t| key(t).as_deref() == Some(super::TAG_ATTEMPT))?.get("value")?.as_str()?.to_owned();
    let latest = |m: &Value| Some((key(m)?, super::history::identity(m)));
    Some(Remote {
        id: run.pointer("/info/run_id").and_then(Value::as_str)?.to_owned(),
        attempt,
        is_running: run.pointer("/info/status").and_then(Value::as_str) == Some("RUNNING"),
        params: pairs("/data/params").iter().filter_map(key).collect(),
        latest: pairs("/data/metrics").iter().filter_map(latest).collect(),
    })
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, MlflowError> {
    let mut response = response.map_err(|e| MlflowError::Unreachable(e.to_string()))?;
    let status = response.status();
    let text = response.body_mut().with_config().limit(LARGEST).lossy_utf8(true).read_to_string();
    if !status.is_success() {
        let body: Value = text.ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
        let words: String = body.get("message").and_then(Value::as_str).unwrap_or("no reason given").chars().take(200).collect();
        return Err(MlflowError::Refused(status.as_u16(), words));
    }
    let text = text.map_err(|e| MlflowError::Unreachable(e.to_string()))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| MlflowError::Strange(format!("no JSON: {e}")))?;
    if value.is_object() { Ok(value) } else { Err(MlflowError::Strange("no JSON object".to_owned())) }
}
