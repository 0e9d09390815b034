//! Figures as people read them: shared by the page and the full screen.
//!
//! In: figures. Out: short texts, escaped. What is unknown is `?` or says why, never 0.

use crate::base::text::escape;
use crate::base::{Millis, Money, Timestamp};
use crate::cli::output::bar;
use crate::cli::progress::number;
use crate::monitor::Snapshot;
use crate::monitor::view::{Gpu, Metric, Progress, Run, Totals};

/// A bar of a percent.
#[must_use]
pub fn simple_bar(percent: Option<u64>, width: usize, unicode: bool) -> String {
    match percent {
        Some(percent) => {
            let (full, half, none) = bar(i64::try_from(percent).unwrap_or(0) * 10, 0, width, unicode);
            full + &half + &none
        }
        None => " ".repeat(width),
    }
}

/// `now`, `+4m12s`, `?`.
#[must_use]
pub fn until(at: Option<Timestamp>, now: Timestamp) -> String {
    match at {
        None => "?".to_owned(),
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => format!("+{}", at.since(now)),
    }
}

/// Dollars for people: cents from a dollar on, else two digits that count. Never rounded to nothing.
#[must_use]
pub fn dollars(money: Money) -> String {
    let micros = money.micros();
    let step = match micros.unsigned_abs() {
        0 => return "$0".to_owned(),
        n if n >= 1_000_000 => 10_000,
        n if n >= 10_000 => 1_000,
        n if n >= 1_000 => 100,
        _ => 1,
    };
    let rounded = (i128::from(micros) + if micros < 0 { -step / 2 } else { step / 2 }) / step * step;
    Money::from_micros(i64::try_from(rounded).unwrap_or(micros)).to_string()
}

/// `1/5 epochs`.
#[must_use]
pub fn progress(progress: &Progress) -> String {
    match progress.total {
        Some(total) => format!("{}/{total} {}", progress.done, progress.unit),
        None => format!("{} {}", progress.done, progress.unit),
    }
}

/// `val_loss 0.31, acc 0.9`.
#[must_use]
pub fn metrics(metrics: &[Metric], most: usize) -> String {
    let one = |m: &Metric| format!("{} {}", escape(&m.name), m.value.map_or("unknown".to_owned(), number));
    metrics.iter().take(most).map(one).collect::<Vec<_>>().join(", ")
}

/// `$0.0012 of $0.046`.
#[must_use]
pub fn cost(run: &Run) -> String {
    let so_far = run.cost.map_or("unpriced".to_owned(), dollars);
    match run.expected_cost {
        Some(all) => format!("{so_far} of {}", dollars(all)),
        None => so_far,
    }
}

/// `23.5 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0 => return "0".to_owned(),
        b if b >= 1 << 40 => (1_u64 << 40, "TiB"),
        b if b >= 1 << 30 => (1 << 30, "GiB"),
        b if b >= 1 << 20 => (1 << 20, "MiB"),
        _ => (1 << 10, "KiB"),
    };
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    if tenths >= 1000 { format!("{} {name}", tenths / 10) } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

/// Cores: `2`, `1.5`.
#[must_use]
pub fn cores(millis: u64) -> String {
    let tenths = millis / 100;
    if tenths.is_multiple_of(10) { (tenths / 10).to_string() } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

/// Cores that little uses: `0.05`.
#[must_use]
pub fn centicores(millis: u64) -> String {
    format!("{}.{:02}", millis / 1000, millis % 1000 / 10)
}

/// `37%`, `?`.
#[must_use]
pub fn share(percent: Option<f64>) -> String {
    percent.map_or("?".to_owned(), |p| format!("{p:.0}%"))
}

/// Who measures what is used and how long ago that was; else why nobody does.
#[must_use]
pub fn measured(shot: &Snapshot) -> String {
    let usage = &shot.usage;
    match &usage.value {
        Some(value) => {
            let age = value.measured.or(usage.at).map(|at| format!(", {} ago", Millis(shot.at.since(at).0 / 1000 * 1000)));
            format!("use measured by {}{}", escape(&usage.source), age.unwrap_or_default())
        }
        None => format!("use is not measured: {}", escape(usage.why.as_deref().unwrap_or("not known"))),
    }
}

/// About all machines together, in pieces; with what is asked for where there is room.
#[must_use]
pub fn machines(totals: &Totals, wide: bool) -> Vec<String> {
    let asked = |n: Option<u64>, show: fn(u64) -> String| match n {
        _ if !wide => String::new(),
        Some(n) => format!(", {} asked for", show(n)),
        None => ", what is asked for is not known".to_owned(),
    };
    let cpu = format!("CPU {} of {} cores", share(totals.cpu_percent), cores(totals.cpu_millis));
    let memory = format!("memory {} of {}", share(totals.memory_percent), size(totals.memory_bytes));
    let mut lines = vec![cpu + &asked(totals.cpu_requested_millis, cores), memory + &asked(totals.memory_requested_bytes, size)];
    if totals.gpus > 0 {
        let busy = totals.gpu_percent.map(|p| format!(", {p:.0}% at work")).unwrap_or_default();
        let free = totals.gpus_requested.map(|n| format!(", {} free", totals.gpus.saturating_sub(n))).unwrap_or_default();
        lines.push(format!("{} GPU{}{free}{busy}", totals.gpus, if totals.gpus == 1 { "" } else { "s" }));
    }
    lines
}

/// `GPU 0 H100 37%, 1.0 GiB of 79.6 GiB, 41 C, 118 W`.
#[must_use]
pub fn gpu(gpu: &Gpu) -> String {
    let memory = gpu.memory_used.zip(gpu.memory_total).map(|(used, all)| format!(", {} of {}", size(used), size(all)));
    let heat = gpu.celsius.map(|c| format!(", {c:.0} C"));
    let power = gpu.watts.map(|w| format!(", {w:.0} W"));
    let pod = gpu.pod.as_ref().map(|p| format!(", pod {}", escape(p)));
    let rest: String = [memory, heat, power, pod].into_iter().flatten().collect();
    format!("GPU {} {} {}{rest}", gpu.index, escape(&gpu.name), share(gpu.percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_sizes_are_short_and_never_nothing() {
        let shown = |m: i64| dollars(Money::from_micros(m));
        assert_eq!([0, 7, 1_234, 46_250, 12_345_678].map(shown), ["$0", "$0.000007", "$0.0012", "$0.046", "$12.35"]);
        assert_eq!([1 << 10, 1536 << 20, 200 << 30, 5 << 40].map(size), ["1.0 KiB", "1.5 GiB", "200 GiB", "5.0 TiB"]);
        assert_eq!([2000, 1500, 40].map(cores), ["2", "1.5", "0"]);
        let (full, half, none) = bar(500, 250, 8, true);
        assert_eq!((full.chars().count(), half.chars().count(), none.chars().count()), (4, 2, 2));
        let (full, half, none) = bar(i64::MAX, i64::MAX, 8, false);
        assert_eq!(full.chars().count() + half.chars().count() + none.chars().count(), 8);
    }
}
