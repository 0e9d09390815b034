//! Time in which what is paid for does nothing: a start before the first unit, a GPU that waits for data or idles.

use super::{Advice, Case, Change, Confidence, Found, Kind};
use crate::price::learn::progress::{Course, per_unit};
use crate::record::MetricPoint;

/// Names under which programs report the use of their GPUs, in percent or as a share.
const USE: [&str; 6] = ["gpu_util", "gpu_utilization", "gpu.util", "gpu_use", "system/gpu", "DCGM_FI_DEV_GPU_UTIL"];
/// Names of the time that a step waits for data, and of the whole step.
const WAIT: [&str; 4] = ["data_time", "data_wait", "loader_time", "dataloader_time"];
const STEP: [&str; 4] = ["step_time", "batch_time", "iter_time", "iteration_time"];
/// A GPU is well used from here on.
const GOOD: f64 = 0.85;

fn mean(points: &[(crate::base::Timestamp, MetricPoint)], names: &[&str]) -> Option<(f64, usize, String)> {
    let name = names.iter().find(|n| points.iter().any(|(_, p)| &*p.name == **n && p.value.is_some()))?;
    let values: Vec<f64> =
        points.iter().filter(|(_, p)| &*p.name == *name).filter_map(|(_, p)| p.value).filter(|v| v.is_finite()).collect();
    (!values.is_empty()).then(|| (values.iter().sum::<f64>() / values.len() as f64, values.len(), (*name).to_owned()))
}

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    let has_gpu = s.job.resources.gpu.count > 0;
    let wait = mean(s.points, &WAIT).zip(mean(s.points, &STEP)).filter(|(w, t)| w.0 >= 0.0 && t.0 > 0.0);
    if let Some((w, t)) = wait {
        let share = (w.0 / t.0).clamp(0.0, 0.95);
        let computed = format!(
            "{} of a step ({} over {}, means of {} reports) is waiting for data; priced without that",
            super::percent(share),
            w.2,
            t.2,
            w.1
        );
        return bound(case, "the input is what it waits for: load data with more workers, or nearer", share, computed);
    }
    if let Some((used, n, name)) = mean(s.points, &USE).filter(|_| has_gpu) {
        let used = if used > 1.0 { used / 100.0 } else { used };
        let share = (1.0 - used / GOOD).max(0.0);
        let computed =
            format!("{name} is {} on average of {n} reports; priced as if it were {}", super::percent(used), super::percent(GOOD));
        return bound(case, "the GPU is idle for much of the time: a larger batch, or two runs on it", share, computed);
    }
    match start(case) {
        Some((share, seconds)) if share > 0.1 => {
            let computed =
                format!("{} of the time ({seconds:.0}s) passed before the first unit began; priced without that", super::percent(share));
            bound(case, "prepare what the start does in a job without GPUs that this one `needs`", share, computed)
        }
        _ if has_gpu => {
            Found::Missing("the GPU's use: report `gpu_util=` (percent), or `data_time=` and `step_time=` (seconds)".to_owned())
        }
        _ => Found::Nothing,
    }
}

fn bound(case: &Case<'_>, title: &str, share: f64, computed: String) -> Found {
    let change = Change::time(1.0 - share);
    let Some(saves) = case.saves(&change) else { return Found::Nothing };
    Found::Do(Box::new(Advice {
        kind: Kind::Efficiency,
        title: title.to_owned(),
        saves,
        computed,
        confidence: Confidence::Low,
        because: "this is all that could be saved; how much of it the code can win is not known".to_owned(),
        side_effects: vec!["the code changes, so results are made anew".to_owned()],
        settings: Vec::new(),
        at_most: true,
        change,
    }))
}

/// Share and seconds of the newest run's time before its first unit began, beyond what that unit takes.
fn start(case: &Case<'_>) -> Option<(f64, f64)> {
    let runs = case.units.iter().rev().filter_map(|u| u.run.and_then(|i| case.subject.runs.get(i)));
    let (attempt, start, end) = runs.filter_map(|r| r.attempts.last()).find_map(|a| Some((a, a.started_at?, a.ended_at?)))?;
    let progress = attempt.progress.as_deref()?;
    let zero = progress.from_zero();
    let marks: Vec<(f64, f64)> = progress.marks.iter().map(|(u, at)| ((u + zero) as f64, at.since(start).as_secs_f64())).collect();
    let first = *marks.first()?;
    if marks.len() < 3 {
        return None;
    }
    let whole = end.since(start).as_secs_f64();
    let pace = per_unit(&Course { total: marks.last()?.0, elapsed: whole, marks })?;
    let seconds = first.1 - first.0 * pace;
    (seconds > 5.0 && whole > 0.0).then(|| (seconds / whole, seconds))
}
