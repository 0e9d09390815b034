//! The supervisor's socket in the state folder.
//!
//! In: the folder. Out: a listener or a connection of the same user. Must never depend on how long the folder's path is: a socket's
//! address has room for 108 bytes, so the folder is named through `/proc/self/fd`.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const NAME: &str = "supervisor.sock";

/// Listens. Only the holder of the supervisor's lock may, so a socket that is there already is a dead one's.
///
/// # Errors
/// When the folder cannot be used.
pub fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    unlink(state_dir)?;
    let (_held, path) = short(state_dir)?;
    UnixListener::bind(path)
}

/// Connects to the supervisor, if one listens.
///
/// # Errors
/// When none does, or it is another user's.
pub fn connect(state_dir: &Path) -> io::Result<UnixStream> {
    let (_held, path) = short(state_dir)?;
    let stream = UnixStream::connect(path)?;
    check_peer(&stream)?;
    Ok(stream)
}

/// Removes the socket; to have none is no error.
///
/// # Errors
/// When it is left.
pub fn unlink(state_dir: &Path) -> io::Result<()> {
    match fs::remove_file(state_dir.join(NAME)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Refuses anybody but the same user.
///
/// # Errors
/// When it is somebody else.
pub fn check_peer(stream: &UnixStream) -> io::Result<()> {
    if rustix::net::sockopt::socket_peercred(stream)?.uid == rustix::process::geteuid() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the other side of the supervisor's socket is another user"))
}

fn short(state_dir: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(state_dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
    Ok((folder, path))
}
