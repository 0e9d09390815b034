//! Comments of a pull request (GitHub) or merge request (GitLab), by their REST APIs.
//!
//! In: where, a token, bodies. Out: what was found, made, changed or removed. Must never show the token, send it over an open line to
//! another machine, follow a redirect with it, or wait for ever.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::base::text::escape;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer that is read, in bytes.
const LARGEST: u64 = 32 << 20;
/// Comments of a page, the most that both APIs give.
const PER_PAGE: usize = 100;
/// Pages that are looked through: 20,000 comments.
const PAGES: usize = 200;
/// Tries of one request that was refused for its rate or by an outage.
const TRIES: u32 = 5;
/// Longest time that all waits of one command take together.
const LONGEST: Duration = Duration::from_secs(120);

/// Whose API it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// GitHub, also Enterprise.
    Github,
    /// GitLab, also self-managed.
    Gitlab,
}

/// Where the comments are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose API.
    pub kind: Kind,
    /// `https://api.github.com`, `https://gitlab.com/api/v4`; without a `/` at its end.
    pub api: String,
    /// `owner/name`, or the number or path of a GitLab project.
    pub repo: String,
    /// Number of the pull or merge request.
    pub number: u64,
}

/// A comment that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// Its text.
    pub body: String,
}

/// Why a call did not do what it should.
#[derive(Debug)]
pub enum ForgeError {
    /// No answer, or none in time: nobody knows whether it was done.
    Unknown(String),
    /// The API said no.
    Refused(u16, String),
    /// The answer is not what such an API gives.
    Strange(String),
}

impl std::fmt::Display for ForgeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(words) => write!(f, "the API does not answer: {}", escape(words)),
            Self::Refused(status, words) => write!(f, "the API refuses with status {status}: {}", escape(words)),
            Self::Strange(words) => write!(f, "the API gives a strange answer: {}", escape(words)),
        }
    }
}

impl std::error::Error for ForgeError {}

/// A connection.
pub struct Forge {
    agent: Agent,
    place: Place,
    token: String,
    waited: Duration,
}

impl Forge {
    /// A connection; nothing is asked yet.
    ///
    /// # Errors
    /// An address that the token must not be sent to.
    pub fn new(place: Place, token: String) -> Result<Self, String> {
        let host = place.api.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
        match host {
            Some("127.0.0.1" | "localhost" | "[") => {}
            Some(host) => return Err(format!("http://{host} is no place to send a token to: it would be read on the way")),
            None if place.api.starts_with("https://") => {}
            None => return Err("the address of an API begins with https://".to_owned()),
        }
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
        Ok(Self { agent: Agent::new_with_config(config), place, token, waited: Duration::ZERO })
    }

    fn list_url(&self) -> String {
        let Place { api, repo, number, .. } = &self.place;
        match self.place.kind {
            Kind::Github => format!("{api}/repos/{repo}/issues/{number}/comments"),
            Kind::Gitlab => format!("{api}/projects/{}/merge_requests/{number}/notes", repo.replace('/', "%2F")),
        }
    }

    fn comment_url(&self, id: u64) -> String {
        match self.place.kind {
            Kind::Github => format!("{}/repos/{}/issues/comments/{id}", self.place.api, self.place.repo),
            Kind::Gitlab => format!("{}/{id}", self.list_url()),
        }
    }

    /// All comments that begin with a marker, oldest first, through all pages.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn find(&mut self, marker: &str) -> Result<Vec<Comment>, ForgeError> {
        let mut found = Vec::new();
        for page in 1..=PAGES {
            let order = if self.place.kind == Kind::Gitlab { "&sort=asc&order_by=created_at" } else { "" };
            let url = format!("{}?per_page={PER_PAGE}&page={page}{order}", self.list_url());
            let answer = self.ask("GET", &url, None)?;
            let Value::Array(all) = answer else { return Err(ForgeError::Strange("no list of comments".to_owned())) };
            let count = all.len();
            found.extend(all.iter().filter_map(|c| {
                let body = c.get("body")?.as_str()?;
                let mine = body.trim_start().starts_with(marker);
                mine.then(|| c.get("id")?.as_u64().map(|id| Comment { id, body: body.to_owned() }))?
            }));
            if count < PER_PAGE {
                break;
            }
        }
        Ok(found)
    }

    /// Makes a comment.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn create(&mut self, body: &str) -> Result<(), ForgeError> {
        let url = self.list_url();
        self.ask("POST", &url, Some(body)).map(|_| ())
    }

    /// Gives a comment another text.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn update(&mut self, id: u64, body: &str) -> Result<(), ForgeError> {
        let (method, url) = (if self.place.kind == Kind::Github { "PATCH" } else { "PUT" }, self.comment_url(id));
        self.ask(method, &url, Some(body)).map(|_| ())
    }

    /// Removes a comment. One that is gone already is removed.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn delete(&mut self, id: u64) -> Result<(), ForgeError> {
        let url = self.comment_url(id);
        match self.ask("DELETE", &url, None) {
            Ok(_) | Err(ForgeError::Refused(404, _)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One request, again where it was refused for a while. What is not known to be refused is asked again only where asking twice does
    /// the same as once.
    fn ask(&mut self, method: &str, url: &str, body: Option<&str>) -> Result<Value, ForgeError> {
        let mut tries = 1;
        loop {
            let (error, wait) = match self.once(method, url, body) {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let refused =
                matches!(error, ForgeError::Refused(429 | 503, _)) || (wait.is_some() && matches!(error, ForgeError::Refused(403, _)));
            let outage = matches!(error, ForgeError::Unknown(_) | ForgeError::Refused(500 | 502 | 504, _));
            let wait = wait.unwrap_or(Duration::from_secs(1 << (tries - 1).min(4)));
            let again = (refused || (outage && method != "POST")) && tries < TRIES && self.waited + wait <= LONGEST;
            if !again {
                return Err(error);
            }
            std::thread::sleep(wait);
            self.waited += wait;
            tries += 1;
        }
    }

    /// One try; beside the error, how long the API asks to wait.
    fn once(&self, method: &str, url: &str, body: Option<&str>) -> Result<Value, (ForgeError, Option<Duration>)> {
        let mut builder = ureq::http::Request::builder().method(method).uri(url).header("Accept", "application/json");
        builder = match self.place.kind {
            Kind::Github => builder.header("Authorization", format!("Bearer {}", self.token)).header("X-GitHub-Api-Version", "2022-11-28"),
            Kind::Gitlab => builder.header("PRIVATE-TOKEN", &self.token),
        };
        let strange = |words: String| (ForgeError::Strange(words), None);
        let sent = match body {
            Some(text) => {
                let request = builder.header("Content-Type", "application/json").body(json!({"body": text}).to_string());
                self.agent.run(request.map_err(|e| strange(e.to_string()))?)
            }
            None => self.agent.run(builder.body(()).map_err(|e| strange(e.to_string()))?),
        };
        let mut response = sent.map_err(|e| (ForgeError::Unknown(e.to_string()), None))?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let after = header("retry-after").and_then(|s| s.trim().parse::<u64>().ok()).map(Duration::from_secs);
        let text = response.body_mut().with_config().limit(LARGEST).lossy_utf8(true).read_to_string();
        if !status.is_success() {
            let said: Value = text.ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
            let words = said.get("message").or_else(|| said.get("error")).map(|m| m.as_str().map_or_else(|| m.to_string(), str::to_owned));
            let words: String = words.unwrap_or_else(|| "no reason given".to_owned()).chars().take(200).collect();
            return Err((ForgeError::Refused(status.as_u16(), words), after));
        }
        let text = text.map_err(|e| (ForgeError::Unknown(e.to_string()), None))?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|e| strange(format!("no JSON: {e}")))
    }
}
