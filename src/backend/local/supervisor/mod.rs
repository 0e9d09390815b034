//! The process that starts attempts and tells engines about them; one for a state folder, and it outlives the engine.
//!
//! In: requests on a Unix socket, and the ends of keepers. Out: reports to all connections. Must never have a second thread (it
//! forks), and never write what it was told about the environment.

mod connection;
mod crew;
mod registry;
mod settle;
mod slots;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::fork::SingleThreaded;
use super::procfs;
use super::protocol::{Report, Request};
use super::socket;
use connection::Connection;
use crew::About;
use registry::Registry;

/// How long it stays without anything to do.
const IDLE: Duration = Duration::from_secs(10);
/// How often attempts with an unknown keeper are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The listener's id; connections get the other odd numbers.
const LISTENER: u64 = 1;

/// Runs the supervisor of a state folder until it has nothing to do. Says `ready` on standard output once it listens. When there is
/// one already it returns at once.
///
/// # Errors
/// When the folder cannot be used.
pub fn supervise(state_dir: &Path) -> io::Result<()> {
    let state_dir = state_dir.canonicalize()?;
    let lock = File::options().create(true).append(true).open(state_dir.join("supervisor.lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(()),
        Err(fs::TryLockError::Error(e)) => return Err(e),
    }
    // The leader of a group cannot have a session of its own, and does not need one.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    let listener = socket::listen(&state_dir)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let registry = Registry::open(state_dir.clone(), procfs::boot_id()?, SingleThreaded::check()?, &epoll);
    writeln!(io::stdout(), "ready")?;
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    let mut server =
        Server { epoll, listener, registry, connections: HashMap::new(), next_id: LISTENER + 2, idle_since: Instant::now(), state_dir };
    server.serve()
}

struct Server {
    epoll: OwnedFd,
    listener: UnixListener,
    registry: Registry,
    connections: HashMap<u64, Connection>,
    next_id: u64,
    idle_since: Instant,
    state_dir: PathBuf,
}

impl Server {
    fn serve(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        loop {
            if self.registry.is_idle() && self.connections.is_empty() {
                if self.idle_since.elapsed() >= IDLE {
                    return socket::unlink(&self.state_dir);
                }
            } else {
                self.idle_since = Instant::now();
            }
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), self.patience().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            for event in &events {
                self.handle(event.data.u64(), event.flags);
            }
            if self.registry.must_look() {
                self.registry.look_again(&self.epoll);
            }
            self.send();
        }
    }

    fn patience(&self) -> Option<Timespec> {
        let wait = if self.registry.must_look() {
            LOOK
        } else if self.registry.is_idle() && self.connections.is_empty() {
            IDLE
        } else {
            return None;
        };
        Timespec::try_from(wait).ok()
    }

    fn handle(&mut self, id: u64, flags: epoll::EventFlags) {
        if id == LISTENER {
            self.accept();
            return;
        }
        match crew::about(id) {
            About::Process(id) => self.registry.gone(id, &self.epoll),
            About::Channel(id) => self.registry.heard(id, &self.epoll),
            About::Other => self.talk(id, flags),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let id = self.next_id;
            let welcomed = Connection::welcome(stream).and_then(|connection| {
                epoll::add(&self.epoll, connection.stream(), epoll::EventData::new_u64(id), epoll::EventFlags::IN)?;
                Ok(connection)
            });
            match welcomed {
                Ok(connection) => {
                    self.next_id = id.wrapping_add(2);
                    self.connections.insert(id, connection);
                }
                Err(error) => eprintln!("a connection was refused: {error}"),
            }
        }
    }

    fn talk(&mut self, id: u64, flags: epoll::EventFlags) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut requests = Vec::new();
        let open = flags.contains(epoll::EventFlags::OUT) || connection.receive(&mut requests);
        for request in requests {
            if !self.obey(id, request) {
                self.drop_connection(id);
                return;
            }
        }
        if !open {
            self.drop_connection(id);
        }
    }

    /// False when the other side does not keep to the protocol.
    fn obey(&mut self, id: u64, request: Request) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let hello = match (request, connection.hello()) {
            (Request::Hello(hello), _) => {
                self.registry.set_gpus(hello.gpus);
                let same = connection.greet(*hello);
                if let Some(hello) = connection.hello() {
                    self.registry.caller(&hello, true, &self.epoll);
                }
                return same;
            }
            (_, None) => return false,
            (request, Some(hello)) => (request, hello),
        };
        match hello {
            (Request::Submit(job), hello) if is_name(&job.name) => self.registry.submit(&hello, job, &self.epoll),
            (Request::Stop { name, grace }, _) if is_name(&name) => self.registry.stop(&name, grace, &self.epoll),
            (Request::Lookup { name }, _) if is_name(&name) => self.registry.lookup(&name, &self.epoll),
            (Request::Remove { name }, _) if is_name(&name) => self.registry.remove(&name),
            _ => return false,
        }
        true
    }

    fn drop_connection(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            let _ = epoll::delete(&self.epoll, connection.stream());
            if let Some(hello) = connection.hello() {
                self.registry.caller(&hello, false, &self.epoll);
            }
        }
    }

    fn send(&mut self) {
        let reports: Vec<Report> = std::mem::take(&mut self.registry.reports);
        let bytes = connection::lines(&reports);
        let mut lost = Vec::new();
        for (id, connection) in &mut self.connections {
            match connection.send(&bytes) {
                Ok(unsent) => {
                    let flags = if unsent { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
                    if connection.waits_to_send(unsent) {
                        let _ = epoll::modify(&self.epoll, connection.stream(), epoll::EventData::new_u64(*id), flags);
                    }
                }
                Err(_) => lost.push(*id),
            }
        }
        for id in lost {
            self.drop_connection(id);
        }
    }
}

/// Names become names of files, so they have nothing else in them than attempts' names have.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
