//! What is to come: when a run is thought to end by its own progress, and the cheapest next action.
//!
//! In: records, the board, prices. Out: an [`Eta`], a [`Next`]. Must never expect an end in the past, nor claim a saving that is not a
//! difference of two prices. Pure.

use crate::base::{Millis, Money, Timestamp};
use crate::price::Rates;
use crate::price::learn::progress::{Course, whole};
use crate::queue::Board;
use crate::record::{Priority, RunRecord, State};

use super::view::{Eta, Next, Progress};

/// The class to which waiting runs can be put back: the lowest that is built in.
const LOWEST: &str = "background";
const WEIGHT: i32 = 10;
/// Waiting runs that are priced again.
const PRICED: usize = 10_000;

/// The end of a live attempt by what it has done so far; none before its first unit, or where nobody says how many there are.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a run, checked to be in range"
)]
pub fn end(record: &RunRecord, progress: &Progress, now: Timestamp) -> Option<(Eta, Millis)> {
    let attempt = record.live_attempt()?;
    // One mark alone tells when the program began to speak, not how fast it is.
    let (start, marks) = (attempt.started_at?, attempt.progress.as_ref().filter(|p| p.marks.len() > 1)?);
    let total = progress.total?;
    let seconds = |at: Timestamp| at.since(start).as_secs_f64();
    let zero = marks.from_zero();
    let mark = |(units, at): &(i64, Timestamp)| ((units + zero) as f64, seconds(*at));
    let course = Course { marks: marks.marks.iter().map(mark).collect(), total: total as f64, elapsed: seconds(now) };
    let found = whole(&course)?;
    let millis = |s: f64| (s.is_finite() && (0.0..1e10).contains(&s)).then_some(Millis((s * 1000.0) as u64));
    let length = millis(found.expected)?;
    let at = |s: f64| millis(s).map(|m| start.after(m));
    Some((Eta { at: start.after(length), low: at(found.low), high: at(found.high), basis: found.basis.to_string() }, length))
}

/// What would make the waiting runs cheapest, of what can be done to them now: their priority is part of their price.
#[must_use]
pub fn next(state: &State, board: &Board, rates: &Rates, now: Timestamp) -> Option<Next> {
    let lowest = Priority { weight: WEIGHT, class: LOWEST.into() };
    let mut best: Vec<(&str, Money, u64)> = Vec::new();
    for waiting in board.waiting.iter().take(PRICED) {
        let Some((run, cost)) = state.runs.get(&waiting.address).zip(waiting.cost) else { continue };
        if &*waiting.class == LOWEST {
            continue;
        }
        let job = &run.spec.with_priority(&lowest).job;
        let Some(then) = rates.estimate(job, waiting.start.unwrap_or(now)).cost.map(|c| c.expected) else { continue };
        let saved = (cost - then).max(Money::ZERO);
        match best.iter_mut().find(|(class, ..)| *class == &*waiting.class) {
            Some((_, sum, runs)) => (*sum, *runs) = (*sum + saved, *runs + 1),
            None => best.push((&waiting.class, saved, 1)),
        }
    }
    let (class, saves, runs) = best.into_iter().max_by_key(|(_, saved, _)| *saved).filter(|(_, saved, _)| *saved > Money::ZERO)?;
    Some(Next {
        command: format!("oppen queue priority {LOWEST} priority:{class}"),
        saves,
        because: format!(
            "{runs} waiting run{} of priority {class}: as {LOWEST} they go last and cost less",
            if runs == 1 { "" } else { "s" }
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::Address;
    use crate::queue::{Limits, board};
    use crate::record::{Event, JobSpec, RunSpec};

    #[test]
    fn the_saving_is_the_difference_of_two_prices() {
        let mut state = State::default();
        for (address, class, weight) in [("w/a", "normal", 100), ("w/b", "urgent", 1000), ("w/c", "background", 10)] {
            let address = Address::parse(address).unwrap();
            let mut job = JobSpec { job: address.job().into(), priority: Priority { weight, class: class.into() }, ..JobSpec::default() };
            job.resources.cpu_millis = 1000;
            job.estimate.time = Some(Millis::from_secs(36_000));
            let spec = RunSpec { address, job: Arc::new(job), ..RunSpec::default() };
            state.apply(&Event::Planned { spec: spec.into() }, Timestamp(0));
        }
        // Ten hours of a core from 10:00 on a Thursday on, at 0.05: urgent 0.75, as background 0.40.
        let (rates, now) = (Rates::default(), Timestamp(10 * 3_600_000));
        let board = board(&state, &Limits::default(), &crate::queue::Meters::default(), &rates, now);
        let next = next(&state, &board, &rates, now).unwrap();
        assert_eq!((next.command.as_str(), next.saves.decimal().as_str()), ("oppen queue priority background priority:urgent", "0.35"));
        assert!(super::next(&State::default(), &Board::default(), &rates, now).is_none());
    }
}
