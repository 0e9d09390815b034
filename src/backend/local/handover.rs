//! How the supervisor hands an attempt to a keeper that has ended its last one.
//!
//! In: an order and the attempt's locked journal. Out: both, in another process; the journal's lock goes with its file. Must never
//! hand over a part.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::files::Intent;
use super::protocol::Job;
use crate::base::Timestamp;

/// A longer order is given to a new keeper, which finds it in its memory: this one always fits into an empty socket's buffer.
const MAX_ORDER: usize = 64 << 10;

/// One attempt to keep.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The command.
    pub job: Job,
    /// What was claimed in its journal.
    pub intent: Intent,
    /// By the supervisor's clock.
    pub started: Timestamp,
}

/// Sends, without ever waiting.
///
/// # Errors
/// When the order is too long or the keeper does not take all of it at once; it is not to be used any more then.
pub fn send(channel: &UnixStream, order: &Order, journal: &File) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, order)?;
    let length = frame.len().saturating_sub(4);
    if length > MAX_ORDER {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let length = u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes();
    if let Some(head) = frame.get_mut(..4) {
        head.copy_from_slice(&length);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [journal.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(channel, &[IoSlice::new(&frame)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// Waits for an order. None when the supervisor wants nothing more.
///
/// # Errors
/// When what comes is no order.
pub fn receive(mut channel: &UnixStream) -> io::Result<Option<(Order, File)>> {
    let mut head = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let Some(rest) = head.get_mut(received..).filter(|_| received > 0) else { return Ok(None) };
    channel.read_exact(rest)?;
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    let journal: OwnedFd = rights.ok_or(io::ErrorKind::InvalidData)?;
    let length = usize::try_from(u32::from_le_bytes(head)).ok().filter(|n| *n <= MAX_ORDER).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = vec![0; length];
    channel.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, File::from(journal))))
}

/// Says that the attempt is over and recorded.
///
/// # Errors
/// When the supervisor is gone.
pub fn done(mut channel: &UnixStream) -> io::Result<()> {
    channel.write_all(&[1])
}

/// Whether a keeper said so.
#[must_use]
pub fn is_done(mut channel: &UnixStream) -> bool {
    channel.read(&mut [0]).is_ok_and(|n| n == 1)
}
