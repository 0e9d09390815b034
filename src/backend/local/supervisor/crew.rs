//! The supervisor's keepers: who is free for the next attempt, and who is about to leave.
//!
//! In: attempts to keep, keepers that are free again. Out: a keeper for each attempt. Must never give an attempt to a keeper that was
//! asked to end one, because that word may reach it late, nor to one that has another caller's environment.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};

use crate::backend::local::handover::{self, Order};
use crate::backend::local::protocol::Hello;

/// Ids of keepers' processes are 2 more than a multiple of 4, those of their channels are the next multiples of 4, and others are odd.
const FIRST_ID: u64 = 2;
/// As many may be free at the most; more leave.
const MAX_FREE: usize = 256;

/// What an id names.
pub enum About {
    /// The end of a keeper.
    Process(u64),
    /// A word from a keeper.
    Channel(u64),
    /// Nothing of ours.
    Other,
}

/// Tells what an id names; keepers go by the ids of their processes.
pub fn about(id: u64) -> About {
    match id % 4 {
        2 => About::Process(id),
        0 => About::Channel(id.wrapping_sub(2)),
        _ => About::Other,
    }
}

/// A keeper that is a child of this process.
pub struct Keeper {
    /// Names it in this supervisor.
    pub id: u64,
    /// Its process.
    pub pid: Pid,
    /// Its process, pinned.
    pub process: OwnedFd,
    channel: Option<UnixStream>,
    hello: Rc<Hello>,
    reused: bool,
}

/// All of them that have no attempt, and who may still ask for more.
#[derive(Default)]
pub struct Crew {
    free: Vec<Keeper>,
    leaving: HashMap<u64, Keeper>,
    callers: Vec<Rc<Hello>>,
    last_id: Option<u64>,
}

impl Crew {
    /// A number for a process that is watched.
    pub fn id(&mut self) -> u64 {
        let id = self.last_id.map_or(FIRST_ID, |id| id.wrapping_add(4));
        self.last_id = Some(id);
        id
    }

    /// Somebody may ask for attempts.
    pub fn welcome(&mut self, hello: Rc<Hello>) {
        self.callers.push(hello);
    }

    /// They will not any more: nobody waits for their attempts.
    pub fn goodbye(&mut self, hello: &Rc<Hello>, epoll: &OwnedFd) {
        self.callers.retain(|caller| !Rc::ptr_eq(caller, hello));
        while let Some(at) = self.free.iter().position(|keeper| Rc::ptr_eq(&keeper.hello, hello)) {
            let keeper = self.free.swap_remove(at);
            self.dismiss(keeper, epoll);
        }
    }

    /// A new keeper, watched. None when it cannot be watched: then it keeps its one attempt.
    pub fn hire(&mut self, pid: Pid, channel: UnixStream, hello: &Rc<Hello>, epoll: &OwnedFd) -> Option<Keeper> {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let id = self.id();
        epoll::add(epoll, &process, epoll::EventData::new_u64(id), epoll::EventFlags::IN).ok()?;
        let flags = epoll::EventFlags::IN;
        let heard = epoll::add(epoll, &channel, epoll::EventData::new_u64(id.wrapping_add(2)), flags).is_ok();
        Some(Keeper { id, pid, process, channel: heard.then_some(channel), hello: Rc::clone(hello), reused: false })
    }

    /// Gives the attempt to a free keeper; the journal comes back when there is none.
    pub fn hand_over(&mut self, hello: &Rc<Hello>, order: &Order, journal: File, epoll: &OwnedFd) -> Result<Keeper, File> {
        let Some(at) = self.free.iter().rposition(|keeper| Rc::ptr_eq(&keeper.hello, hello)) else { return Err(journal) };
        let keeper = Keeper { reused: true, ..self.free.swap_remove(at) };
        match keeper.channel.as_ref().map(|channel| handover::send(channel, order, &journal)) {
            Some(Ok(())) => Ok(keeper),
            _ => {
                self.dismiss(keeper, epoll);
                Err(journal)
            }
        }
    }

    /// Takes back a keeper whose attempt is over.
    pub fn take_back(&mut self, keeper: Keeper, stopped: bool, epoll: &OwnedFd) {
        let wanted = !stopped && self.free.len() < MAX_FREE && self.callers.iter().any(|caller| Rc::ptr_eq(caller, &keeper.hello));
        if wanted { self.free.push(keeper) } else { self.dismiss(keeper, epoll) }
    }

    /// It ends when its channel is closed; it is waited for when it has.
    fn dismiss(&mut self, mut keeper: Keeper, epoll: &OwnedFd) {
        if let Some(channel) = keeper.channel.take() {
            let _ = epoll::delete(epoll, channel);
        }
        self.leaving.insert(keeper.id, keeper);
    }

    /// A keeper without an attempt is gone.
    pub fn gone(&mut self, id: u64, epoll: &OwnedFd) {
        let free = self.free.iter().position(|keeper| keeper.id == id).map(|at| self.free.swap_remove(at));
        if let Some(keeper) = free.or_else(|| self.leaving.remove(&id)) {
            keeper.bury(epoll);
        }
    }
}

impl Keeper {
    /// Whether it says that its attempt is over.
    pub fn is_done(&self) -> bool {
        self.channel.as_ref().is_some_and(handover::is_done)
    }

    /// Whether it was made for the attempt that it has.
    pub fn is_new(&self) -> bool {
        !self.reused
    }

    /// Lets go of one that is gone.
    pub fn bury(self, epoll: &OwnedFd) {
        let _ = epoll::delete(epoll, &self.process);
        if let Some(channel) = &self.channel {
            let _ = epoll::delete(epoll, channel);
        }
        let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
    }
}
