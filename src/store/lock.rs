//! Who may write: one process at a time, with a lease and a fencing epoch.
//!
//! The epoch grows with every taking of the lock and is checked inside every append, so that a holder that was paused and
//! overtaken cannot write (fencing tokens, after Kleppmann 2016).

use std::fmt;
use std::time::Duration;

use rusqlite::{TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::base::Timestamp;

/// Time without a sign of life after which a holder on another machine is overtaken.
pub const LEASE_MS: u64 = 60_000;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Login name.
    pub user: String,
    /// Machine.
    pub host: String,
    /// Process.
    pub pid: u32,
    /// The machine's boot and the process' start, so that a reused pid is not mistaken for it.
    pub birth: String,
    /// What it does: `apply`, `watch`.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// Unique.
    pub token: String,
}

impl Holder {
    /// `user@host`: who pays for what it applies.
    #[must_use]
    pub fn who(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} (pid {}, `oppen {}`) since {}", self.user, self.host, self.pid, self.what, self.since)
    }
}

/// Describes this process.
#[must_use]
pub fn me(what: &str, now: Timestamp) -> Holder {
    let pid = std::process::id();
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| format!("uid{}", rustix::process::getuid().as_raw()));
    Holder {
        user,
        host: host(),
        pid,
        birth: birth(pid).unwrap_or_default(),
        what: what.to_owned(),
        since: now,
        token: uuid::Uuid::new_v4().simple().to_string(),
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Boot id and start time of a process; none when there is no such process.
fn birth(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows it is the state and numbers. Field 22 is the start time.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // A process that ended and that nobody has waited for yet holds nothing.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let start = fields.nth(18)?.to_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{}/{start}", boot.trim()))
}

impl Holder {
    /// True when it ran on this machine and surely does so no more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.host == host() && !self.birth.is_empty() && birth(self.pid).as_deref() != Some(self.birth.as_str())
    }
}

/// The lock, held.
#[derive(Debug, Clone)]
pub struct Lock {
    /// Fencing epoch.
    pub epoch: i64,
    /// Us.
    pub holder: Holder,
}

impl Store {
    /// Takes the lock, at once or within `patience`.
    ///
    /// # Errors
    /// [`StoreError::Held`] with the holder when it stays taken.
    pub fn lock(&mut self, what: &str, patience: Duration) -> Result<Lock, StoreError> {
        let until = std::time::Instant::now() + patience;
        loop {
            match self.try_lock(what) {
                Err(StoreError::Held(_)) if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
                result => return result,
            }
        }
    }

    fn try_lock(&mut self, what: &str) -> Result<Lock, StoreError> {
        let path = self.path.clone();
        let io = |e: rusqlite::Error| super::explain(&path, &e);
        let now = now();
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        let (epoch, holder, renewed): (i64, Option<String>, i64) = tx
            .query_row("SELECT epoch, holder, renewed FROM lock WHERE id = 1", [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .map_err(io)?;
        if let Some(other) = holder.and_then(|h| serde_json::from_str::<Holder>(&h).ok()) {
            // On this machine a process is asked, not its clock: a paused holder keeps the lock.
            let silent = other.host != host() && now.since(Timestamp(renewed)).0 > LEASE_MS;
            if !other.is_dead() && !silent {
                return Err(StoreError::Held(Box::new(other)));
            }
        }
        let lock = Lock { epoch: epoch.saturating_add(1), holder: me(what, now) };
        let text = serde_json::to_string(&lock.holder).map_err(|e| StoreError::Io(e.to_string()))?;
        tx.execute("UPDATE lock SET epoch = ?1, holder = ?2, renewed = ?3 WHERE id = 1", params![lock.epoch, text, now.0]).map_err(io)?;
        tx.commit().map_err(io)?;
        Ok(lock)
    }

    /// A sign of life.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when it was taken over.
    pub fn renew(&mut self, lock: &Lock) -> Result<(), StoreError> {
        let changed = self
            .db
            .execute("UPDATE lock SET renewed = ?1 WHERE id = 1 AND epoch = ?2", params![now().0, lock.epoch])
            .map_err(|e| self.io(&e))?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// Gives the lock back. One that was taken over stays with whoever has it.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn unlock(&mut self, lock: &Lock) -> Result<(), StoreError> {
        self.db.execute("UPDATE lock SET holder = NULL WHERE id = 1 AND epoch = ?1", [lock.epoch]).map(|_| ()).map_err(|e| self.io(&e))
    }

    /// Gives the lock back unless somebody asked for something in the meantime: whoever asks after that finds it free. False when
    /// there is more to do.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn unlock_if_quiet(&mut self, lock: &Lock) -> Result<bool, StoreError> {
        self.db
            .execute("UPDATE lock SET holder = NULL WHERE id = 1 AND epoch = ?1 AND NOT EXISTS (SELECT 1 FROM requests)", [lock.epoch])
            .map(|changed| changed == 1)
            .map_err(|e| self.io(&e))
    }

    /// True when a process that is surely or maybe alive holds the lock: it answers requests.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn is_held(&self) -> Result<bool, StoreError> {
        let holder = self.holder()?;
        Ok(holder.is_some_and(|(h, renewed)| !h.is_dead() && (h.host == host() || now().since(renewed).0 <= LEASE_MS)))
    }

    /// Who holds the lock, and whether that process is surely dead.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn holder(&self) -> Result<Option<(Holder, Timestamp)>, StoreError> {
        let row: (Option<String>, i64) = self
            .db
            .query_row("SELECT holder, renewed FROM lock WHERE id = 1", [], |r| Ok((r.get(0)?, r.get(1)?)))
            .map_err(|e| self.io(&e))?;
        Ok(row.0.and_then(|h| serde_json::from_str(&h).ok()).map(|h| (h, Timestamp(row.1))))
    }

    /// Takes the lock away from its holder: what it still writes is refused by its old epoch.
    ///
    /// # Errors
    /// Input and output errors.
    pub fn break_lock(&mut self) -> Result<(), StoreError> {
        self.db.execute("UPDATE lock SET epoch = epoch + 1, holder = NULL WHERE id = 1", []).map(|_| ()).map_err(|e| self.io(&e))
    }
}

fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}
