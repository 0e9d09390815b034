//! Another batch size, where runs had several.

use super::{Advice, Case, Change, Confidence, Found, Kind, Setting, by_count};
use crate::price::learn;
use crate::record::work::canonical;

const NAME: &str = "batch_size";

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    let sizes = || case.whole().filter_map(|x| x.features.get(NAME));
    let Some(newest) = case.whole().find(|x| x.features.get(NAME).is_some()) else {
        return match s.job.work.values.get(NAME) {
            Some(_) => Found::Missing("an ended run: then its batch size has a time".to_owned()),
            None => Found::Missing("a batch size: no input or param is called `batch_size` or `batch`".to_owned()),
        };
    };
    let Some(now) = newest.features.get(NAME) else { return Found::Nothing };
    let count = |b: f64| sizes().filter(|v| *v == b).count();
    let mut tried: Vec<f64> = sizes().filter(|b| *b != now && count(*b) >= 2).collect();
    tried.sort_by(f64::total_cmp);
    tried.dedup();
    if tried.is_empty() || count(now) < 2 {
        return Found::Missing(format!("two runs with another batch size than {now} (one epoch is enough: `--set epochs=1`)"));
    }
    let time = |b: f64| {
        let mut features = newest.features.clone();
        features.values.insert(NAME.into(), b);
        learn::of_job(s.samples, &features, None).map(|t| t.expected)
    };
    let Some(base) = time(now) else { return Found::Nothing };
    let best = tried.iter().filter_map(|b| time(*b).map(|t| (*b, t / base))).min_by(|a, b| a.1.total_cmp(&b.1));
    let Some((size, factor)) = best.filter(|(_, f)| *f < 1.0) else { return Found::Nothing };
    let change = Change::time(factor);
    let Some(saves) = case.saves(&change) else { return Found::Nothing };
    let searched = s.runs.iter().any(|r| r.spec.params.iter().any(|(n, _)| canonical(n) == Some(NAME)));
    // Which of the names the input has is known to the files alone: the edit looks for it.
    let path = ["inputs", "@batch_size", "default"].map(str::to_owned).to_vec();
    let settings = if searched { Vec::new() } else { vec![Setting { path, value: size.to_string() }] };
    Found::Do(Box::new(Advice {
        kind: Kind::BatchSize,
        title: format!("use a batch size of {size} instead of {now}"),
        saves,
        computed: format!(
            "{} with {size} took {} of the time of {} with {now} (regression over the job's history)",
            super::runs(count(size)),
            super::percent(factor),
            super::runs(count(now))
        ),
        confidence: by_count(count(size).min(count(now)), 3, 8).min(Confidence::Medium),
        because: "time is measured; whether the result is as good is not part of it".to_owned(),
        side_effects: vec![
            "the learning rate may have to change with it, and the result may differ".to_owned(),
            "it needs more memory of the GPU, which is not measured".to_owned(),
        ],
        settings,
        at_most: false,
        change,
    }))
}
