//! `oppen cost correct`: a new entry of the ledger that adds to, or takes from, what an attempt cost.
//!
//! In: an entry or a run, an amount, a reason. Out: an event and its entry, in one transaction, under the lock. Must never change an entry, nor
//! make an attempt cost less than nothing.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::base::text::escape;
use crate::base::{Address, AttemptId, Money, suggest};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output;
use crate::cli::plan::now;
use crate::cli::session::Place;
use crate::record::{Entry, EntryKind, Event, Payer};
use crate::store::Store;

/// Longest reason, in characters.
const REASON: usize = 500;

/// `cost correct`
#[derive(Debug, Args)]
pub struct Correct {
    /// Number of an entry (as `verify` names it), or the address of a run: its last attempt that was charged
    #[arg(value_name = "ENTRY|ADDR")]
    pub what: String,
    /// What is added: `0.5 USD`; `-0.5 USD` takes back what was charged too much
    #[arg(long, value_name = "USD", value_parser = signed, allow_hyphen_values = true)]
    pub amount: Money,
    /// Why; it stays in the ledger
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,
}

fn signed(text: &str) -> Result<Money, String> {
    let (negative, rest) = text.trim().strip_prefix('-').map_or((false, text.trim()), |r| (true, r.trim()));
    let amount = output::money(rest)?;
    match amount {
        Money::ZERO => Err("a correction of nothing corrects nothing".to_owned()),
        amount if negative => Ok(Money::ZERO - amount),
        amount => Ok(amount),
    }
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("say why: it stays in the ledger".to_owned()),
        n if n > REASON => Err(format!("{n} characters, at most {REASON}")),
        _ => Ok(text.to_owned()),
    }
}

/// What was charged for one attempt, corrections included.
struct Charged {
    attempt: AttemptId,
    payer: Payer,
    sum: Money,
    seq: i64,
}

/// Finds the attempt and what it cost so far.
fn charged(store: &Store, what: &str) -> Result<Charged, Failure> {
    let number: Option<i64> = what.parse().ok();
    let (mut all, mut wanted): (Vec<Charged>, Option<AttemptId>) = (Vec::new(), None);
    let mut names: Vec<String> = Vec::new();
    store.entries(|seq, entry: Entry, _| {
        if number == Some(seq) {
            wanted = Some(entry.attempt.clone());
        }
        match entry.kind {
            EntryKind::Post => {
                names.push(entry.attempt.address.to_string());
                if number.is_none() && entry.attempt.address.as_str() == what {
                    wanted = Some(entry.attempt.clone());
                }
                all.push(Charged { sum: entry.amount, payer: entry.bill.payer, attempt: entry.attempt, seq });
            }
            EntryKind::Correct => {
                if let Some(known) = all.iter_mut().rev().find(|c| c.attempt == entry.attempt) {
                    known.sum += entry.amount;
                }
            }
            EntryKind::Reserve | EntryKind::Void => {}
        }
    })?;
    let found = wanted.as_ref().and_then(|w| all.into_iter().rev().find(|c| c.attempt == *w));
    found.ok_or_else(|| {
        let message = match (&wanted, number) {
            (Some(attempt), _) => format!("{attempt} was charged nothing yet"),
            (None, Some(n)) => format!("the ledger has no entry {n}"),
            (None, None) => format!("nothing was charged for a run `{}`", escape(what)),
        };
        names.dedup();
        let hint = if number.is_some() {
            Some("see `oppen verify` and `oppen history`".to_owned())
        } else {
            suggest::hint(what, names.iter().map(String::as_str).collect::<Vec<_>>())
        };
        Failure { exit: Exit::Usage, message, hint }
    })
}

/// Corrects.
pub fn run(here: &Path, args: &Correct) -> Outcome {
    if args.what.parse::<i64>().is_err() {
        Address::parse(&args.what).map_err(|e| Failure::new(Exit::Usage, e))?;
    }
    let place = Place::find(here, None)?;
    let mut store = place.store()?;
    store.check()?;
    let lock = store.lock("cost correct", Duration::from_secs(5))?;
    let done = (|| {
        let found = charged(&store, &args.what)?;
        let after = found.sum + args.amount;
        if after < Money::ZERO {
            return Err(Failure::new(Exit::Usage, format!("{} cost {}: no more than that can be taken back", found.attempt, found.sum)));
        }
        let (note, now) = (format!("{} ({})", args.reason, crate::store::me("cost", now()).who()), now());
        let event = Event::Corrected { attempt: found.attempt.clone(), amount: args.amount, note, payer: found.payer };
        let mut state = store.load()?;
        state.apply(&event, now);
        store.append(&lock, &[event], &state, &[], now)?;
        output::print(&format!("{} cost {}, and {after} with the correction of entry {}.\n", found.attempt, found.sum, found.seq))?;
        Ok(Exit::Done)
    })();
    store.unlock(&lock)?;
    done
}
