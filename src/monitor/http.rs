//! One bounded GET, for exporters that answer in text.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::read::gpu;
use super::reading::{Found, Miss};
use super::view::Gpu;
use crate::base::text::escape;

/// Longest wait for an answer; the source's own deadline is shorter.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const LARGEST: u64 = 8 << 20;

/// Whether this is an address that may be asked: http or https, without a login in it.
#[must_use]
pub fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|r| r.split(['/', '?']).next());
    host.is_some_and(|h| !h.is_empty() && !h.contains('@')) && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn get(url: &str) -> Result<String, String> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let agent = Agent::new_with_config(
        Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(0).http_status_as_error(false).tls_config(tls).build(),
    );
    let mut response = agent.get(url).call().map_err(|e| e.to_string())?;
    if !response.status().is_success() {
        return Err(format!("answers with status {}", response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    response.body_mut().as_reader().take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("answers more than {} MiB: not read", LARGEST >> 20));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// GPUs of the exporter that the project names.
pub fn dcgm(url: &str) -> Found<Vec<Gpu>> {
    if !is_address(url) {
        return Err(Miss::Failed(format!("`{}` is no address; write `monitor: {{dcgm: http://HOST:9400/metrics}}`", escape(url))));
    }
    let host = url.split('/').nth(2).unwrap_or(url);
    let text = get(url).map_err(|e| Miss::Failed(format!("{}: {}", escape(host), escape(&e))))?;
    let gpus = gpu::dcgm(&text, host);
    if gpus.is_empty() {
        return Err(Miss::Failed(format!("{} answers without a metric DCGM_FI_DEV_*", escape(host))));
    }
    Ok((gpus, "DCGM exporter".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_asked() {
        for url in ["http://dcgm:9400/metrics", "https://h/x?y"] {
            assert!(is_address(url), "{url}");
        }
        for url in ["", "file:///etc/passwd", "http://", "http://u:p@h/", "http://h /", "ftp://h", "http://h/\n"] {
            assert!(!is_address(url), "{url}");
        }
    }
}
