//! Cheap hours: the same runs, started when it is cheapest.

use super::change::cheapest;
use super::{Advice, Case, Change, Confidence, Found, Kind};

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    if s.rates.hours.windows.iter().all(|w| w.factor == s.rates.hours.dearest()) {
        return Found::Nothing;
    }
    let change = Change { off_peak: true, ..Change::default() };
    let Some(saves) = case.saves(&change) else { return Found::Nothing };
    let waits: Vec<_> = case.units.iter().map(|u| cheapest(s.rates, s.job, u.start, u.length).since(u.start)).collect();
    let longest = waits.iter().copied().max().unwrap_or_default();
    let dear = waits.iter().filter(|w| w.0 > 0).count();
    Found::Do(Box::new(Advice {
        kind: Kind::OffPeak,
        title: "start in cheap hours".to_owned(),
        saves,
        computed: format!(
            "{dear} of {} started when a later start was cheaper; each is priced at the cheapest start within four days",
            super::runs(case.units.len())
        ),
        confidence: if case.estimated { Confidence::Medium } else { Confidence::High },
        because: if case.estimated {
            "how long it takes is an estimate".to_owned()
        } else {
            "same length, same settings, the hours are those of the rates".to_owned()
        },
        side_effects: vec![format!("results come up to {longest} later; `start.by` keeps a deadline")],
        settings: vec![case.setting(&["start", "window"], "off-peak")],
        at_most: false,
        change,
    }))
}
