//! GPUs: fewer of them, or of another type, where runs have shown how long it takes then.

use super::{Advice, Case, Change, Found, Kind, by_count};
use crate::base::Gpu;
use crate::price::learn;
use crate::record::Features;

/// Seconds on other GPUs over those on the ones asked for now, and how many runs show it.
fn factor(case: &Case<'_>, other: &Gpu) -> Option<(f64, usize, bool)> {
    let s = case.subject;
    let newest = case.whole().next()?;
    let features = |gpu: &Gpu| Features { gpu: gpu.kind.clone().filter(|_| gpu.count > 0), gpus: gpu.count, ..newest.features.clone() };
    let shown = case.whole().filter(|x| x.features.gpu == features(other).gpu && x.features.gpus == other.count).count();
    if shown < 2 {
        return None;
    }
    let now = learn::of_job(s.samples, &features(&s.job.resources.gpu), None)?;
    let then = learn::of_job(s.samples, &features(other), None)?;
    // Apart by more than both say that they may be off.
    let apart = then.low > now.high || now.low > then.high;
    Some((then.expected / now.expected, shown, apart))
}

fn name(gpu: &Gpu) -> String {
    gpu.kind.as_ref().map_or_else(|| gpu.count.to_string(), |k| if gpu.count == 1 { k.clone() } else { format!("{k}:{}", gpu.count) })
}

fn found(case: &Case<'_>, kind: Kind, gpu: Gpu) -> Option<Advice> {
    let (factor, shown, apart) = factor(case, &gpu)?;
    let change = Change { gpu: Some(gpu.clone()), ..Change::time(factor) };
    let saves = case.saves(&change)?;
    Some(Advice {
        kind,
        title: format!("run on {} instead of {}", name(&gpu), name(&case.subject.job.resources.gpu)),
        saves,
        computed: format!(
            "{} there took {factor:.2} times as long, other settings alike (regression over the job's history)",
            super::runs(shown)
        ),
        confidence: by_count(shown, 3, 8).min(if apart { super::Confidence::High } else { super::Confidence::Medium }),
        because: format!("measured on {}", super::runs(shown)),
        side_effects: vec![
            if factor > 1.0 { format!("runs take {factor:.2} times as long") } else { format!("runs take {:.2} of the time", factor) },
            "the GPU's memory may differ: it is not measured".to_owned(),
        ],
        settings: vec![case.setting(&["resources", "gpu"], name(&gpu))],
        at_most: false,
        change,
    })
}

pub fn count(case: &Case<'_>) -> Found {
    let gpu = &case.subject.job.resources.gpu;
    if gpu.count < 2 {
        return Found::Nothing;
    }
    let fewer = (1..gpu.count).filter_map(|count| found(case, Kind::Gpus, Gpu { count, kind: gpu.kind.clone() }));
    match fewer.max_by_key(|a| a.saves) {
        Some(advice) => Found::Do(Box::new(advice)),
        None if case.whole().any(|s| s.features.gpus < gpu.count) => Found::Nothing,
        None => Found::Missing(format!("two runs on fewer than {} GPUs: how much slower they are is not known", gpu.count)),
    }
}

pub fn kind(case: &Case<'_>) -> Found {
    let s = case.subject;
    let now = &s.job.resources.gpu;
    if now.count == 0 {
        return Found::Nothing;
    }
    let others =
        || s.rates.gpus.keys().filter(|k| now.kind.as_deref() != Some(k)).map(|k| Gpu { count: now.count, kind: Some(k.to_string()) });
    if let Some(advice) = others().filter_map(|gpu| found(case, Kind::GpuType, gpu)).max_by_key(|a| a.saves) {
        return Found::Do(Box::new(advice));
    }
    let price = |gpu: &Gpu| {
        let resources = crate::base::Resources { gpu: gpu.clone(), ..s.job.resources.clone() };
        s.rates.cost_at_most(&crate::record::JobSpec { resources, ..(**s.job).clone() }, crate::base::Millis::from_secs(3600)).ok()
    };
    let Some(dear) = price(now) else { return Found::Nothing };
    // The cheapest type that nobody tried: how much slower it may be.
    let unknown = others().filter(|gpu| factor(case, gpu).is_none()).filter_map(|gpu| price(&gpu).map(|p| (p, gpu)));
    match unknown.filter(|(p, _)| *p < dear && p.micros() > 0).min_by_key(|(p, _)| *p) {
        Some((p, gpu)) => Found::Missing(format!(
            "two runs on {}, the cheapest type: it is cheaper while it takes less than {:.1} times as long",
            name(&gpu),
            dear.micros() as f64 / p.micros() as f64
        )),
        None if s.rates.gpus.is_empty() => Found::Missing("prices by GPU type: these rates have one price for all".to_owned()),
        None => Found::Nothing,
    }
}
