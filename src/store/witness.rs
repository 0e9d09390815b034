//! The ledger against what the backend itself still knows of its attempts: asked anew, not what the journal noted of it.
//!
//! In: start and end of attempts as the backend has them now, the ledger, rates. Out: [`Confronted`]: each difference that is worth more than
//! [`WITHIN`], with the command that puts it right. Must never take what the backend no longer has for a fault.

use std::collections::BTreeMap;

use crate::base::{AttemptId, Millis, Money, Timestamp};
use crate::price::Rates;
use crate::record::{Entry, EntryKind, JobSpec, State};

use super::ledger::Fault;
use super::{Store, StoreError};

/// Times that differ by no more than this agree: Kubernetes tells whole seconds.
pub const WITHIN: Millis = Millis(2000);
/// A reservation whose attempt is over for no longer than this is one that an engine is about to close.
const CLOSING: Millis = Millis(60_000);

/// When an attempt ran, as the backend has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// Its start; none where it never ran.
    pub started: Option<Timestamp>,
    /// Its end; none while it runs.
    pub ended: Option<Timestamp>,
    /// The times are those of a Job whose pod is gone: what ran lies between them.
    pub around: bool,
}

/// What asking the backend has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confronted {
    /// Charges whose times agree.
    pub agree: u64,
    /// Charges with other times that cost the same, or that were corrected since.
    pub settled: u64,
    /// Charges of attempts that the backend no longer has.
    pub gone: u64,
    /// Attempts that are not over.
    pub live: u64,
    /// Differences.
    pub differences: Vec<Fault>,
}

/// What the ledger says of one attempt.
#[derive(Default)]
struct Charged {
    last: Option<(i64, Entry)>,
    corrected: Money,
}

impl Store {
    /// Holds the ledger against the backend's own times.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn confront(&self, seen: &BTreeMap<AttemptId, Witness>, rates: &Rates, now: Timestamp) -> Result<Confronted, StoreError> {
        let (mut found, mut known) = (Confronted::default(), BTreeMap::<AttemptId, Charged>::new());
        self.entries(|seq, entry, _| {
            if !seen.contains_key(&entry.attempt) {
                found.gone += u64::from(entry.kind == EntryKind::Post);
                return;
            }
            let charged = known.entry(entry.attempt.clone()).or_default();
            match entry.kind {
                EntryKind::Correct => charged.corrected += entry.amount,
                EntryKind::Reserve | EntryKind::Post | EntryKind::Void => charged.last = Some((seq, entry)),
            }
        })?;
        let state = self.load()?;
        for (attempt, witness) in seen {
            let charged = known.get(attempt);
            let last = charged.and_then(|c| c.last.as_ref().map(|(seq, entry)| (*seq, entry, c.corrected)));
            judge(&mut found, (attempt, witness), last, &state, rates, now);
        }
        Ok(found)
    }
}

fn judge(
    found: &mut Confronted,
    (attempt, witness): (&AttemptId, &Witness),
    charged: Option<(i64, &Entry, Money)>,
    state: &State,
    rates: &Rates,
    now: Timestamp,
) {
    let ran = witness.started.zip(witness.ended);
    let Some((seq, entry, corrected)) = charged else {
        if let Some((start, end)) = ran {
            let words = format!(
                "{attempt} ran from {start} to {end} by the backend, and the ledger knows nothing of it: the state may be an older copy \
                 (`oppen history` shows its last events)"
            );
            found.differences.push(Fault { seq: 0, words });
        }
        return;
    };
    match entry.kind {
        EntryKind::Reserve => match witness.ended.filter(|end| now.since(*end) > CLOSING) {
            Some(end) => {
                let words = format!("{attempt} is over since {end} by the backend, its reservation is open: `oppen apply` charges it");
                found.differences.push(Fault { seq, words });
            }
            None => found.live += 1,
        },
        _ => charge(found, seq, entry, (witness, ran), corrected, (state, rates)),
    }
}

/// A post, or a reservation that was freed since nothing ran.
fn charge(
    found: &mut Confronted,
    seq: i64,
    entry: &Entry,
    (witness, ran): (&Witness, Option<(Timestamp, Timestamp)>),
    corrected: Money,
    (state, rates): (&State, &Rates),
) {
    let (near, Some((start, end))) = (|a: Timestamp, b: Timestamp| a.since(b).max(b.since(a)) <= WITHIN, ran) else {
        // It never ran, or goes on although it was charged.
        if entry.kind == EntryKind::Void || witness.started.is_none() {
            found.agree += 1;
        } else {
            let words = format!("{} was charged, and by the backend it still runs: end it, or wait and verify again", entry.attempt);
            found.differences.push(Fault { seq, words });
        }
        return;
    };
    let agrees = entry.ran.is_some_and(|(s, e)| {
        let around = witness.around && s.after(WITHIN) >= start && e <= end.after(WITHIN);
        around || (near(s, start) && near(e, end))
    });
    if agrees {
        found.agree += 1;
        return;
    }
    let length = end.since(start);
    let doubled = entry.ran.is_some_and(|(s, e)| entry.bill.time > e.since(s));
    let time = length.times(if doubled { 2 } else { 1 });
    let paid = if entry.kind == EntryKind::Post { entry.amount } else { Money::ZERO };
    let due = match as_paid(state, entry, rates) {
        Some(job) => Some(rates.bill(&job, start, time).amount),
        // The rates of then are not known any more: the same price a second.
        None if entry.bill.time > Millis(0) => Some(paid.scale(time.0, entry.bill.time.0)),
        None => None,
    };
    let said = entry.ran.map_or_else(|| "as never run".to_owned(), |(s, e)| format!("for {} ({s} to {e})", entry.bill.time));
    let differs = format!("{} is charged {said}, the backend has {length} ({start} to {end})", entry.attempt);
    let Some(due) = due else {
        let words = format!("{differs}: add its cost with `oppen cost correct {seq} --amount USD --reason TEXT`");
        found.differences.push(Fault { seq, words });
        return;
    };
    let more = due - paid - corrected;
    let worth = due.max(paid).scale(2 * WITHIN.0, time.0.max(1)) + Money::from_micros(1);
    if more.max(Money::ZERO - more) <= worth {
        found.settled += 1;
        return;
    }
    let words =
        format!("{differs}: `oppen cost correct {seq} --amount {} --reason \"times of the backend\"` puts it right", more.decimal());
    found.differences.push(Fault { seq, words });
}

/// The settings by which an attempt was paid, where they and the rates are still those of then.
fn as_paid(state: &State, entry: &Entry, rates: &Rates) -> Option<JobSpec> {
    let payer = &entry.bill.payer;
    let record = state.runs.get(&entry.attempt.address).filter(|r| r.generation == entry.attempt.generation)?;
    if entry.bill.rates.is_some_and(|digest| digest != rates.digest()) || record.spec.job.resources.gpu.count != payer.gpus {
        return None;
    }
    Some(super::reconcile::as_paid(record, payer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Address;
    use crate::record::{Bill, Cause};

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn post(start: i64, end: i64) -> Entry {
        let bill = Bill { amount: Money::from_micros(1000 * (end - start)), time: at(end).since(at(start)), ..Bill::default() };
        Entry {
            at: at(end),
            kind: EntryKind::Post,
            attempt: AttemptId { address: Address::parse("w/a").unwrap(), generation: 1, number: 1 },
            amount: bill.amount,
            reserved: Money::ZERO,
            ran: Some((at(start), at(end))),
            cause: Some(Cause::Success),
            bill,
            note: String::new(),
        }
    }

    fn look(entry: Option<&Entry>, corrected: i64, start: i64, end: Option<i64>, around: bool) -> Confronted {
        let witness = Witness { started: Some(at(start)), ended: end.map(at), around };
        let (mut found, attempt) = (Confronted::default(), post(0, 1).attempt);
        let charged = entry.map(|e| (7, e, Money::from_micros(corrected)));
        judge(&mut found, (&attempt, &witness), charged, &State::default(), &Rates::default(), at(10_000));
        found
    }

    #[test]
    fn only_what_is_worth_more_than_two_seconds_is_a_difference() {
        let hour = post(0, 3600);
        assert_eq!(look(Some(&hour), 0, 1, Some(3602), false).agree, 1);
        let found = look(Some(&hour), 0, 0, Some(1800), false);
        assert_eq!(
            found.differences[0].words,
            "w/a (generation 1, attempt 1) is charged for 1h (1970-01-01T00:00:00.000Z to 1970-01-01T01:00:00.000Z), the backend \
             has 30m (1970-01-01T00:00:00.000Z to 1970-01-01T00:30:00.000Z): `oppen cost correct 7 --amount -1.80 --reason \"times of the backend\"` puts \
             it right"
        );
        // A clock that was set moves both ends; what was corrected stays corrected.
        assert_eq!(look(Some(&hour), 0, 100, Some(3700), false).settled, 1);
        assert_eq!(look(Some(&hour), -1_800_000, 0, Some(1800), false).settled, 1);
        // A Job without its pod began before its container did, and ended after it.
        assert_eq!(look(Some(&hour), 0, -40, Some(3605), true).agree, 1);
        assert_eq!(look(Some(&hour), 0, 40, Some(3605), true).differences.len(), 1);
    }

    #[test]
    fn what_runs_or_is_unknown_is_told() {
        let mut open = post(0, 60);
        open.kind = EntryKind::Reserve;
        assert_eq!(look(Some(&open), 0, 0, None, false).live, 1);
        assert!(
            look(Some(&open), 0, 0, Some(100), false).differences[0].words.contains("its reservation is open: `oppen apply` charges it")
        );
        assert_eq!(look(Some(&open), 0, 0, Some(9_990), false).live, 1, "an engine is about to close it");
        assert!(look(None, 0, 0, Some(60), false).differences[0].words.contains("the ledger knows nothing of it"));
        assert!(look(Some(&post(0, 60)), 0, 0, None, false).differences[0].words.contains("it still runs"));
        let mut void = post(0, 60);
        (void.kind, void.ran, void.bill.time) = (EntryKind::Void, None, Millis(0));
        let words = &look(Some(&void), 0, 0, Some(60), false).differences[0].words;
        assert!(words.contains("is charged as never run, the backend has 1m") && words.contains("--amount USD"), "{words}");
    }
}
