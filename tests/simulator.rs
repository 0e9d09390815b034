//! A thousand seeds over the shipped engine, and the proof that the simulator sees mistakes.

use oppen::backend::simulated::sweeps::{SweepMutation, simulate_sweep};
use oppen::backend::simulated::{Mutation, Report, simulate};

#[test]
fn a_thousand_seeds_hold_every_promise() {
    let first = std::env::var("OPPEN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let mut total = Report::default();
    for seed in first..first + 1000 {
        match simulate(seed, None, |_| {}) {
            Ok(report) => total.add(&report),
            Err(v) => panic!(
                "seed {seed}, step {}: {}\n{}\n`oppen sim --seed {seed} --seeds 1 --trace` shows it",
                v.step,
                v.what,
                v.trace.join("\n")
            ),
        }
    }
    // A simulator that does nothing holds every promise: faults of every kind were met, and work was done.
    assert!(total.executions > 5_000 && total.events > 50_000, "{total:?}");
    for kind in [
        "API away",
        "budget nearly used up",
        "clock jumped",
        "crash after the write",
        "crash before the write",
        "crash between commands",
        "deleted by hand",
        "doubled report",
        "doubled request",
        "late report",
        "lost answer",
        "lost report",
        "lost request",
        "overtaken driver",
    ] {
        assert!(total.faults.get(kind).is_some_and(|n| *n > 80), "{kind} was hardly met: {:?}", total.faults);
    }
}

#[test]
fn mistakes_with_money_break_the_promise_about_money() {
    for mutation in [Mutation::ReservationDropped, Mutation::VoidBeforeEnd, Mutation::WindowBegunTwice, Mutation::DeadlineNotKept] {
        let found = (0..300).filter_map(|seed| simulate(seed, Some(mutation), |_| {}).err()).find(|v| v.what.starts_with("budget"));
        assert!(found.is_some(), "{mutation:?} passes no budget and frees no money within 300 seeds");
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = || simulate(7, None, |_| {});
    assert_eq!(run(), run());
}

#[test]
fn every_mistake_put_in_on_purpose_is_found() {
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        let found = (0..300).find_map(|seed| simulate(seed, Some(mutation), |_| {}).err());
        match found {
            Some(v) => println!("{mutation:?}: seed {}, step {}: {}", v.seed, v.step, v.what),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found within 300 seeds: {missed:?}");
}

#[test]
fn sweeps_that_search_hold_their_promises_over_a_hundred_seeds() {
    let (mut restarts, mut compared, mut promoted, mut exploited, mut ends) = (0, 0, 0, 0, std::collections::BTreeMap::<&str, u64>::new());
    for seed in 0..100 {
        let report = simulate_sweep(seed, None).unwrap_or_else(|words| panic!("{words}"));
        restarts += report.restarts;
        compared += report.compared;
        promoted += report.promoted;
        exploited += report.exploited;
        report.ends.iter().for_each(|(word, n)| *ends.entry(word).or_default() += n);
        assert!(seed >= 10 || Ok(report) == simulate_sweep(seed, None), "seed {seed} gives another world");
    }
    // Drivers died, successors were held against them, and trials ended in every way.
    assert!(restarts > 300 && compared > 100, "{restarts} restarts, {compared} compared");
    assert!(promoted > 100 && exploited > 20, "{promoted} promoted, {exploited} exploited");
    assert!(["succeeded", "pruned", "unneeded"].iter().all(|w| ends.get(w).is_some_and(|n| *n > 30)), "{ends:?}");
}

#[test]
fn every_mistake_with_sweeps_put_in_on_purpose_is_found() {
    let mut missed = Vec::new();
    for mutation in SweepMutation::ALL {
        match (0..300).find_map(|seed| simulate_sweep(seed, Some(mutation)).err()) {
            Some(words) => println!("{mutation:?}: {words}"),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found within 300 seeds: {missed:?}");
}
