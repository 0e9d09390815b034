//! Right-sizing: cores and memory that no run has used.

use super::{Advice, Case, Change, Found, Kind, by_count};
use crate::base::resources::{MIB, show_memory};
use crate::record::Usage;

/// What is left above the most that was used.
const ROOM: f64 = 1.25;

/// Used cores (mean over a run) and memory of the runs that tell, the greatest first.
fn used(case: &Case<'_>, of: impl Fn(f64, Usage) -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = case.whole().filter_map(|s| s.usage.map(|u| of(s.time.as_secs_f64().max(0.001), u))).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all
}

/// As people write cores: `0.5`, `2`.
fn cores(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub fn cpu(case: &Case<'_>) -> Found {
    let asked = case.subject.job.resources.cpu_millis;
    let all = used(case, |seconds, u| u.cpu.as_secs_f64() / seconds);
    let Some(most) = all.first().copied() else {
        return Found::Missing("CPU time of an ended run: the backend has not told any (the local one does)".to_owned());
    };
    // Halves of a core.
    let wanted = (((most * ROOM * 2.0).ceil() / 2.0).max(0.5) * 1000.0) as u64;
    let change = Change { cpu_millis: Some(wanted), ..Change::default() };
    let Some(saves) = case.saves(&change).filter(|_| wanted < asked) else { return Found::Nothing };
    Found::Do(Box::new(Advice {
        kind: Kind::Cpu,
        title: format!("ask for {} instead of {} core{}", cores(wanted), cores(asked), if asked == 1000 { "" } else { "s" }),
        saves,
        computed: format!("the busiest of {} used {most:.2} cores on average; that and a quarter more, in halves", super::runs(all.len())),
        confidence: by_count(all.len(), 2, 5),
        because: "only the mean of a run is measured, not its peaks".to_owned(),
        side_effects: vec!["short peaks run slower (data loading, evaluation)".to_owned()],
        settings: vec![case.setting(&["resources", "cpu"], cores(wanted))],
        at_most: false,
        change,
    }))
}

pub fn memory(case: &Case<'_>) -> Found {
    let asked = case.subject.job.resources.memory_bytes;
    let all = used(case, |_, u| u.memory_bytes as f64);
    let Some(most) = all.first().copied().filter(|m| *m > 0.0) else {
        return Found::Missing("memory of an ended run: the backend has not told any (the local one does)".to_owned());
    };
    let wanted = ((most * ROOM / (128 * MIB) as f64).ceil() as u64).saturating_mul(128 * MIB);
    let change = Change { memory_bytes: Some(wanted), ..Change::default() };
    let Some(saves) = case.saves(&change).filter(|_| wanted < asked) else { return Found::Nothing };
    Found::Do(Box::new(Advice {
        kind: Kind::Memory,
        title: format!("ask for {} instead of {} of memory", show_memory(wanted), show_memory(asked)),
        saves,
        computed: format!(
            "the largest process of {} held {}; that and a quarter more, in steps of 128Mi",
            super::runs(all.len()),
            show_memory(most as u64 / MIB * MIB)
        ),
        confidence: by_count(all.len(), 5, usize::MAX),
        because: "what one process held is measured: several that run side by side need more together".to_owned(),
        side_effects: vec!["a run that needs more ends out of memory (`retry.out_of_memory`)".to_owned()],
        settings: vec![case.setting(&["resources", "memory"], show_memory(wanted))],
        at_most: false,
        change,
    }))
}
