//! Work that was done twice: runs of equal fingerprints.

use rustc_hash::FxHashMap;

use super::{Advice, Case, Change, Confidence, Found, Kind};
use crate::base::{Fingerprint, Money};
use crate::record::Sample;

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    let mut by: FxHashMap<Fingerprint, Vec<&Sample>> = FxHashMap::default();
    for sample in case.whole() {
        by.entry(sample.fingerprint).or_default().push(sample);
    }
    // Newest first: all but the oldest of each had its result to take over.
    let again: Vec<&Sample> = by.into_values().filter(|all| all.len() > 1).flat_map(|all| all.into_iter().rev().skip(1)).collect();
    let saves: Money = again.iter().map(|x| x.cost).sum();
    if saves <= Money::ZERO {
        return Found::Nothing;
    }
    let nothing_left = s.runs.iter().all(|r| r.outputs.is_empty() && r.metrics.is_empty());
    Found::Do(Box::new(Advice {
        kind: Kind::Reuse,
        title: if nothing_left {
            "declare `outputs`, so that results are taken over".to_owned()
        } else {
            "do not run finished work again".to_owned()
        },
        saves,
        computed: format!(
            "{} had the fingerprint of one that had succeeded before; this is what the ledger has for them",
            super::runs(again.len())
        ),
        confidence: Confidence::High,
        because: "equal fingerprints make equal results".to_owned(),
        side_effects: if nothing_left {
            vec!["`outputs` enter the fingerprint: each run is made once more".to_owned()]
        } else {
            vec!["they were asked for by hand (`retry`), or their outputs were gone".to_owned()]
        },
        settings: Vec::new(),
        at_most: false,
        change: Change::default(),
    }))
}
