//! One engine's connection.
//!
//! In: bytes. Out: whole requests, and reports in the order they came. Must never block the supervisor.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::backend::local::protocol::{Hello, MAX_MESSAGE, PROTOCOL, Report, Request};
use crate::backend::local::socket;

/// More unsent bytes than this end the connection: the other side does not read.
const MAX_UNSENT: usize = 64 << 20;

/// One connection.
pub struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    hello: Option<Rc<Hello>>,
    waits: bool,
}

impl Connection {
    /// Takes a connection of the same user.
    pub fn welcome(stream: UnixStream) -> io::Result<Self> {
        socket::check_peer(&stream)?;
        stream.set_nonblocking(true)?;
        let welcome = Report::Welcome { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id() };
        Ok(Self { stream, received: Vec::new(), unsent: lines(&[welcome]), hello: None, waits: false })
    }

    /// The socket.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Who asks; none before they said so.
    pub fn hello(&self) -> Option<Rc<Hello>> {
        self.hello.clone()
    }

    /// Notes who asks. False when they speak another protocol.
    pub fn greet(&mut self, hello: Hello) -> bool {
        let same = hello.protocol == PROTOCOL;
        self.hello = Some(Rc::new(hello));
        same
    }

    /// Reads what is there. False when the connection is over.
    pub fn receive(&mut self, requests: &mut Vec<Request>) -> bool {
        let mut buffer = [0; 64 * 1024];
        let open = match (&self.stream).read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.received.extend_from_slice(buffer.get(..n).unwrap_or_default());
                true
            }
            Err(e) => matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        let Some(end) = self.received.iter().rposition(|b| *b == b'\n') else { return open && self.received.len() <= MAX_MESSAGE };
        let rest = self.received.split_off(end + 1);
        let complete = std::mem::replace(&mut self.received, rest);
        for line in complete.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(request) => requests.push(request),
                Err(error) => {
                    // The message itself may hold secrets and is not shown.
                    eprintln!("a request cannot be read (column {})", error.column());
                    return false;
                }
            }
        }
        open
    }

    /// Sends, as far as the other side takes it now. True when some is left.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if self.hello.is_some() {
            self.unsent.extend_from_slice(bytes);
        }
        let mut sent = 0;
        while let Some(rest) = self.unsent.get(sent..).filter(|rest| !rest.is_empty()) {
            match (&self.stream).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.len() > MAX_UNSENT {
            return Err(io::Error::other("the other side does not read"));
        }
        Ok(!self.unsent.is_empty())
    }

    /// Notes whether bytes are left. True when that changed.
    pub fn waits_to_send(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits, waits) != waits
    }
}

/// Reports as they go over the wire.
pub fn lines(reports: &[Report]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for report in reports {
        // Plain data always becomes JSON; a report that did not would only be missing.
        if serde_json::to_writer(&mut bytes, report).is_ok() {
            bytes.push(b'\n');
        }
    }
    bytes
}
