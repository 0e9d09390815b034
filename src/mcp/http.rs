//! The same tools over streamable HTTP, behind a gate.
//!
//! In: requests. Out: what the protocol's service answers, or why a request is turned away. Every request, of any method, passes
//! the gate before anything of it is looked at: its Host must be ours, its Origin (which browsers send) loopback, its token right.
//! Must never let one client hold up another: bodies and headers have deadlines, answers wait for their own reader alone.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Desk;
use super::server::{Server, runtime};

/// Most bytes of a request's body.
const BODY: usize = 4 << 20;
/// How long headers, and then the body, may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections at a time; further ones are closed at once.
const CONNECTIONS: usize = 256;
/// The only path.
pub const PATH: &str = "/mcp";

/// Where to listen, and who may come in.
#[derive(Debug, Clone)]
pub struct Door {
    /// The address.
    pub listen: SocketAddr,
    /// What every request must bring.
    pub token: String,
    /// Names beside loopback under which requests may call us: that of a proxy in front.
    pub hosts: Vec<String>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Why a request does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Host,
    Origin,
    Token,
}

impl Away {
    fn answer(self) -> Answer {
        let (status, words) = match self {
            Self::Host => (StatusCode::FORBIDDEN, "this server is not called so: the Host header names another"),
            Self::Origin => (StatusCode::FORBIDDEN, "pages of other origins may not call this server"),
            Self::Token => (StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN"),
        };
        let mut answer = said(status, words);
        if self == Self::Token {
            answer.headers_mut().insert(WWW_AUTHENTICATE, hyper::header::HeaderValue::from_static("Bearer realm=\"oppen\""));
        }
        answer
    }
}

fn said(status: StatusCode, words: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(words.as_bytes())).boxed());
    *answer.status_mut() = status;
    answer
}

/// Looks at a request before anybody else does.
fn gate(door: &Door, uri: &Uri, headers: &HeaderMap) -> Result<(), Away> {
    let one = |name| {
        let mut all = headers.get_all(name).iter();
        // Twice the same header is a way to show two faces.
        all.next().filter(|_| all.next().is_none()).map(|v| v.to_str().unwrap_or("\u{0}"))
    };
    let host = one(&HOST).or_else(|| uri.authority().map(hyper::http::uri::Authority::as_str)).ok_or(Away::Host)?;
    if !is_ours(door, host) {
        return Err(Away::Host);
    }
    if headers.contains_key(&ORIGIN) {
        let origin = one(&ORIGIN).ok_or(Away::Origin)?;
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).ok_or(Away::Origin)?;
        if rest.contains('/') || !is_ours(door, rest) {
            return Err(Away::Origin);
        }
    }
    let given = one(&AUTHORIZATION).and_then(|v| v.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    if given.is_some_and(|(_, token)| same(token.trim(), &door.token)) { Ok(()) } else { Err(Away::Token) }
}

/// True for loopback and for the names that the door knows, with any port.
fn is_ours(door: &Door, authority: &str) -> bool {
    let Ok(authority) = authority.parse::<hyper::http::uri::Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || (ip == door.listen.ip() && !ip.is_unspecified()))
        || door.hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
}

/// Compares without telling by its time where they differ: digests are compared.
fn same(given: &str, token: &str) -> bool {
    blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes())
}

type Service = StreamableHttpService<Server, LocalSessionManager>;

async fn answer(door: Arc<Door>, service: Service, request: Request<Incoming>) -> Result<Answer, Infallible> {
    if let Err(away) = gate(&door, request.uri(), request.headers()) {
        return Ok(away.answer());
    }
    if request.uri().path() != PATH {
        return Ok(said(StatusCode::NOT_FOUND, "there is nothing here but /mcp"));
    }
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(PATIENCE, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(said(StatusCode::PAYLOAD_TOO_LARGE, "at most 4 MiB are read"));
        }
        Ok(Err(_)) => return Ok(said(StatusCode::BAD_REQUEST, "the body ended early")),
        Err(_) => return Ok(said(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    Ok(service.handle(Request::from_parts(parts, Full::new(body))).await)
}

/// Serves until `stop` returns; `ready` gets the address. Calls that have begun end first.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(desk: Arc<dyn Desk>, door: Door, ready: impl FnOnce(SocketAddr), stop: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let runtime = runtime()?;
    let (send, stopped) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("stop".into()).spawn(move || {
        stop();
        let _ = send.send(());
    })?;
    let end = runtime.block_on(async move {
        let listener = TcpListener::bind(door.listen).await?;
        ready(listener.local_addr()?);
        let server = Server::new(desk);
        let config = StreamableHttpServerConfig::default().disable_allowed_hosts().with_max_request_body_bytes(BODY);
        let service: Service = StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config);
        tokio::select! {
            end = accept(&listener, Arc::new(door), &service) => end,
            _ = stopped => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(15));
    end
}

async fn accept(listener: &TcpListener, door: Arc<Door>, service: &Service) -> std::io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of descriptors for a moment: those who are in go on.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (door, service) = (Arc::clone(&door), service.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let serve = hyper::service::service_fn(move |request| answer(Arc::clone(&door), service.clone(), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 << 10);
            let _ = http.serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(headers: &[(&str, &str)]) -> Result<(), Away> {
        let door = Door { listen: "127.0.0.1:7777".parse().unwrap(), token: "right".into(), hosts: vec!["gpu.example.com".into()] };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        gate(&door, &Uri::from_static("/mcp"), &map)
    }

    #[test]
    fn only_who_calls_us_by_name_from_here_with_the_token_comes_in() {
        let token = ("authorization", "Bearer right");
        for host in ["127.0.0.1:7777", "localhost", "[::1]:80", "127.0.0.9", "gpu.example.com", "GPU.example.com:443"] {
            assert_eq!(passes(&[("host", host), token]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "user@localhost", "0.0.0.0", "", "10.0.0.1"] {
            assert_eq!(passes(&[("host", host), token]), Err(Away::Host), "{host}");
        }
        assert_eq!(passes(&[token]), Err(Away::Host));
        assert_eq!(passes(&[("host", "localhost"), ("host", "localhost"), token]), Err(Away::Host));
        for origin in ["https://evil.example", "null", "file://", "http://localhost/x", "http://localhost.evil.example", "localhost"] {
            assert_eq!(passes(&[("host", "localhost"), ("origin", origin), token]), Err(Away::Origin), "{origin}");
        }
        assert_eq!(passes(&[("host", "localhost"), ("origin", "http://localhost:6274"), token]), Ok(()));
        for given in ["Bearer wrong", "Bearer ", "right", "Basic right", "Bearer right right", "Bearer RIGHT"] {
            assert_eq!(passes(&[("host", "localhost"), ("authorization", given)]), Err(Away::Token), "{given}");
        }
        assert_eq!(passes(&[("host", "localhost")]), Err(Away::Token));
        assert_eq!(passes(&[("host", "localhost"), token, token]), Err(Away::Token));
    }
}
