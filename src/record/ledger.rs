//! The ledger's words: what is reserved when an attempt is admitted, and what is posted when it has ended.
//!
//! In: nothing. Out: [`Reservation`] and [`Bill`], which events carry, so that money is noted in the same transaction as what it
//! was spent on. Must never hold a float.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Cause, Event};
use super::run::JobSpec;
use crate::base::{AttemptId, Capacity, Digest, Millis, Money, Timestamp};

/// Who pays for an attempt, and what it holds: the columns that reports group by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Payer {
    /// `workflow/job`.
    pub job: Arc<str>,
    /// Team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Who applied the plan (`user@host`).
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub user: Arc<str>,
    /// Priority class.
    pub priority: Arc<str>,
    /// GPU type, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// GPUs.
    #[serde(default)]
    pub gpus: u32,
    /// How the machine is bought.
    #[serde(default)]
    pub capacity: Capacity,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Payer {
    /// Of a run.
    #[must_use]
    pub fn of(job: &JobSpec, user: &Arc<str>) -> Self {
        Self {
            job: Arc::clone(&job.job),
            team: job.team.clone(),
            user: Arc::clone(user),
            priority: Arc::clone(&job.priority.class),
            gpu: job.resources.gpu.kind.clone().filter(|_| job.resources.gpu.count > 0),
            gpus: job.resources.gpu.count,
            capacity: job.resources.capacity,
            labels: job.labels.clone(),
        }
    }

    /// `workflow` of `workflow/job`.
    #[must_use]
    pub fn workflow(&self) -> &str {
        workflow(&self.job)
    }
}

/// `workflow` of `workflow/job`.
#[must_use]
pub fn workflow(job: &str) -> &str {
    job.split('/').next().unwrap_or(job)
}

/// Money set aside for an attempt before it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reservation {
    /// Most that it may cost.
    pub amount: Money,
    /// When that money is used up, counted from the admission: the hard end of the attempt. None where no budget holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Millis>,
    /// The job's timeout when it was admitted: an edit changes only later attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Who pays.
    pub payer: Payer,
}

/// What an attempt cost, by the backend's timestamps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bill {
    /// The whole. Nothing when it never ran: its reservation is void.
    pub amount: Money,
    /// What was set aside; the rest of it is free again.
    pub reserved: Money,
    /// How long it ran.
    pub time: Millis,
    /// The share of the GPUs; cores and memory have the rest.
    #[serde(default)]
    pub gpu: Money,
    /// The share of the cores.
    #[serde(default)]
    pub cpu: Money,
    /// What cheap hours saved.
    #[serde(default)]
    pub off_peak_saved: Money,
    /// What spot capacity saved.
    #[serde(default)]
    pub spot_saved: Money,
    /// Digest of the rates that it was priced with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Digest>,
    /// Who pays.
    pub payer: Payer,
}

/// What a ledger entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// Sets money aside.
    Reserve,
    /// Counts what was spent and frees the rest.
    Post,
    /// Frees all of it: the attempt never ran.
    Void,
    /// Corrects an earlier entry; nothing is ever changed in place.
    Correct,
}

impl EntryKind {
    /// The word shown and stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Post => "post",
            Self::Void => "void",
            Self::Correct => "correct",
        }
    }
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When it was noted.
    pub at: Timestamp,
    /// What it does.
    pub kind: EntryKind,
    /// The attempt that it is for.
    pub attempt: AttemptId,
    /// The money; only corrections may be negative.
    pub amount: Money,
    /// What had been reserved.
    pub reserved: Money,
    /// Start and end by the backend's clock.
    pub ran: Option<(Timestamp, Timestamp)>,
    /// How the attempt ended.
    pub cause: Option<Cause>,
    /// Shares and savings; the payer.
    pub bill: Bill,
    /// Why, for corrections.
    pub note: String,
}

impl Entry {
    /// The entry that an event makes, if it makes one.
    #[must_use]
    pub fn of(event: &Event, at: Timestamp) -> Option<Self> {
        let empty = |kind, attempt: &AttemptId, amount, bill| Self {
            at,
            kind,
            attempt: attempt.clone(),
            amount,
            reserved: Money::ZERO,
            ran: None,
            cause: None,
            bill,
            note: String::new(),
        };
        match event {
            Event::Admitted { attempt, reservation: Some(r) } => {
                Some(empty(EntryKind::Reserve, attempt, r.amount, Bill { payer: r.payer.clone(), ..Bill::default() }))
            }
            Event::Ended { attempt, started, at: end, outcome, bill: Some(bill), .. } => {
                let kind = if bill.time == Millis(0) { EntryKind::Void } else { EntryKind::Post };
                let amount = if kind == EntryKind::Void { bill.reserved } else { bill.amount };
                let entry = empty(kind, attempt, amount, (**bill).clone());
                let ran = started.map(|s| (s, *end)).or_else(|| Some((Timestamp(end.0.checked_sub_unsigned(bill.time.0)?), *end)));
                Some(Self { reserved: bill.reserved, ran: ran.filter(|_| kind == EntryKind::Post), cause: Some(outcome.cause), ..entry })
            }
            Event::Corrected { attempt, amount, note, payer } => {
                let entry = empty(EntryKind::Correct, attempt, *amount, Bill { payer: payer.clone(), ..Bill::default() });
                Some(Self { note: note.clone(), ..entry })
            }
            _ => None,
        }
    }

    /// Money that was really spent.
    #[must_use]
    pub fn spent(&self) -> Money {
        if matches!(self.kind, EntryKind::Post | EntryKind::Correct) { self.amount } else { Money::ZERO }
    }

    /// The entry's link of the chain: BLAKE3 of the link before it and of all that it says.
    #[must_use]
    pub fn link(&self, before: &Digest) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"oppen/v1 ledger").update(&before.0);
        hasher.update(serde_json::to_string(self).unwrap_or_default().as_bytes());
        Digest(*hasher.finalize().as_bytes())
    }
}
