//! Spot capacity: cheaper by the hour, longer by its interruptions.

use super::{Advice, Case, Change, Confidence, Found, Kind};
use crate::base::Capacity;
use crate::price::learn::interruptions::Rate;

/// Hours on spot from which on its interruptions are known.
const KNOWN: f64 = 20.0;

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    if s.job.resources.capacity != Capacity::OnDemand {
        return Found::Nothing;
    }
    let rate = Rate::of(s.exposures, Capacity::Spot);
    let tries = u64::from(s.job.retry.interruptions) + 1;
    let each = case.units.iter().map(|u| {
        let seconds = u.length.as_secs_f64().max(0.001);
        rate.until_done(seconds, tries) / seconds
    });
    let change = Change { capacity: Some(Capacity::Spot), each: each.collect(), ..Change::default() };
    let Some(saves) = case.saves(&change) else { return Found::Nothing };
    let longest = case.units.iter().map(|u| u.length.as_secs_f64()).fold(0.0, f64::max);
    let mut side_effects = vec![format!(
        "{} of the longest run's attempts are cut short and begin anew, or at its last checkpoint",
        super::percent(rate.chance_within(longest))
    )];
    if tries < 4 {
        side_effects.push(format!("only {} interruptions are allowed for: raise `retry.interruptions`", tries - 1));
    }
    Found::Do(Box::new(Advice {
        kind: Kind::Spot,
        title: "run on spot capacity".to_owned(),
        saves,
        computed: format!("priced at the spot rate, times longer by interruptions that begin anew ({})", rate.words()),
        confidence: if rate.hours >= KNOWN { Confidence::High } else { Confidence::Low },
        because: if rate.hours >= KNOWN {
            "interruptions are measured here".to_owned()
        } else {
            format!("{:.1}h were run on spot here: how often it is taken away is assumed until {KNOWN}h", rate.hours)
        },
        side_effects,
        settings: vec![case.setting(&["resources", "capacity"], "spot")],
        at_most: false,
        change,
    }))
}
