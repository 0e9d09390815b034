//! Reaching the supervisor: connects to the one that is there, or starts one.
//!
//! In: the state folder and the program. Out: a connection that has been welcomed. Must never start a second supervisor, nor talk to
//! one of another protocol.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::protocol::{PROTOCOL, Report};
use super::{LocalConfig, files, socket};
use crate::backend::BackendError;

/// How long a supervisor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for a supervisor that another process is starting.
const PAUSE: Duration = Duration::from_millis(20);
/// A longer log of the supervisor starts anew.
const MAX_LOG: u64 = 1 << 20;

/// A welcomed connection.
pub fn reach(config: &LocalConfig) -> Result<BufReader<UnixStream>, BackendError> {
    prepare(config).map_err(|e| {
        BackendError::new(
            format!("the state folder {} cannot be used: {e}", config.state_dir.display()),
            "check that it is yours and that the disk has room",
        )
    })?;
    if let Ok(stream) = socket::connect(&config.state_dir) {
        // One that is just going away accepts nobody: then a new one is started.
        match welcomed(stream) {
            Err(Unwelcome::Gone(_)) => {}
            Err(Unwelcome::Other(error)) => return Err(error),
            Ok(reader) => return Ok(reader),
        }
    }
    let failed = |detail: &dyn std::fmt::Display| {
        let log = config.state_dir.join("supervisor.log");
        BackendError::new(format!("the supervisor of local runs cannot be started: {detail}"), format!("see {}", log.display()))
    };
    start(config).map_err(|e| failed(&e))?;
    let until = Instant::now() + PATIENCE;
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    while Instant::now() < until {
        match socket::connect(&config.state_dir) {
            Ok(stream) => match welcomed(stream) {
                Ok(reader) => return Ok(reader),
                Err(Unwelcome::Other(error)) => return Err(error),
                Err(Unwelcome::Gone(error)) => last = error,
            },
            Err(error) => last = error,
        }
        std::thread::sleep(PAUSE);
    }
    Err(failed(&last))
}

/// The state folder and what is in it are for their owner only.
fn prepare(config: &LocalConfig) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(files::dir(&config.state_dir))?;
    fs::set_permissions(&config.state_dir, fs::Permissions::from_mode(0o700))
}

/// Starts a supervisor and waits until it listens, or has seen that there is one.
fn start(config: &LocalConfig) -> io::Result<()> {
    let log_path = config.state_dir.join("supervisor.log");
    let fresh = fs::metadata(&log_path).is_ok_and(|m| m.len() > MAX_LOG);
    let mut options = fs::OpenOptions::new();
    if fresh {
        options.write(true).truncate(true)
    } else {
        options.append(true)
    };
    let log = options.create(true).mode(0o600).open(&log_path)?;
    // It gets the environment of each caller over the socket, and has none itself.
    let mut command = Command::new(&config.exe);
    command.arg("supervise").arg(&config.state_dir).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn()?;
    let mut said = Vec::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).take(64).read_until(b'\n', &mut said)?;
    }
    if said.is_empty() {
        let status = child.wait()?;
        return if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) };
    }
    // Takes note of its end, so that no zombie stays while this process lives.
    std::thread::spawn(move || child.wait());
    Ok(())
}

enum Unwelcome {
    Gone(io::Error),
    Other(BackendError),
}

fn welcomed(stream: UnixStream) -> Result<BufReader<UnixStream>, Unwelcome> {
    stream.set_read_timeout(Some(PATIENCE)).map_err(Unwelcome::Gone)?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let read = reader.by_ref().take(4096).read_until(b'\n', &mut line).map_err(Unwelcome::Gone)?;
    if read == 0 {
        return Err(Unwelcome::Gone(io::ErrorKind::UnexpectedEof.into()));
    }
    let other = |message: String| {
        let hint = "let its runs end (it leaves 10 seconds later), or use the version that started it";
        Unwelcome::Other(BackendError::new(message, hint))
    };
    match serde_json::from_slice(&line) {
        Ok(Report::Welcome { protocol: PROTOCOL, .. }) => Ok(reader),
        Ok(Report::Welcome { protocol, version, pid }) => Err(other(format!(
            "the supervisor of local runs (pid {pid}) is of oppen {version} and speaks protocol {protocol}, not {PROTOCOL}"
        ))),
        _ => Err(other("what answers at the supervisor's socket is no supervisor that this version knows".to_owned())),
    }
}
