//! What runs would cost that are too many to be made.
//!
//! In: how many they are and what one of them asks for. Out: words at their problem. Must never make the runs.

use super::Rates;
use crate::base::{Diagnostics, Money};
use crate::expand::Refused;

/// Adds the price to each problem that refuses runs.
pub fn add(rates: &Rates, refused: &[Refused], diags: &mut Diagnostics) {
    for Refused { span, runs, job } in refused {
        let one = match job {
            None => Err("what they cost depends on their params".to_owned()),
            Some(job) => match job.estimate.time {
                None => Err("they have no price without an `estimate`".to_owned()),
                Some(time) => rates.cost_at_most(job, time).map_err(|why| format!("they have no price: {why}")),
            },
        };
        let words = match one.map(|one| times(one, *runs)) {
            Ok(Some(all)) => format!("; they would cost {all} at full price"),
            Ok(None) => format!("; they would cost more than {}", Money::MAX),
            Err(why) => format!("; {why}"),
        };
        diags.amend(*span, &words);
    }
}

/// None where the sum is more than money can say.
fn times(one: Money, runs: u64) -> Option<Money> {
    one.micros().checked_mul(i64::try_from(runs).ok()?).map(Money::from_micros)
}
