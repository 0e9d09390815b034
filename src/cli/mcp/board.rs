//! `get_training_dashboard`: the monitor's snapshot, with what is wrong in words.

use std::time::Duration;

use super::money::budgets;
use super::queue::{live, seen};
use super::{Hands, refusal};
use crate::base::Money;
use crate::cli::cost::report;
use crate::cli::dashboard::scene;
use crate::mcp::{Answer, Dashboard, Finding, Machines, Nothing, PodUse, SourceView, Talk, plain};
use crate::monitor::{Monitor, Quality, Reading, Snapshot};
use crate::record::RunStatus;

/// How long each source may take.
const DEADLINE: Duration = Duration::from_millis(800);
/// Rows of usage and of running runs.
const ROWS: usize = 100;

/// `get_training_dashboard`
pub fn dashboard(hands: &Hands, _: Nothing, _: &Talk<'_>) -> Answer<Dashboard> {
    let place = hands.place()?;
    let shot = Monitor::new(scene(&place), DEADLINE).look();
    let (board, _, store) = seen(&place)?;
    let (mut total, mut average, mut budgets_now) = (Money::ZERO, Money::ZERO, Vec::new());
    if let Some(store) = &store {
        let asked = report::Report { from: None, to: None, by: Vec::new(), timezone: chrono_tz::UTC, output: Vec::new() };
        let sums = report::answer(store, &asked).map_err(refusal)?.total;
        (total, average) = (sums.spent, sums.each());
        budgets_now = budgets(&place, store)?;
    }
    let sources = sources(&shot);
    let mut findings: Vec<Finding> = sources.iter().filter(|s| matches!(s.quality.as_str(), "stale" | "failed")).map(unwell).collect();
    if let Some(pause) = &board.paused {
        let problem = format!("nothing is launched since {} paused it at {}", plain(&pause.by, 100), pause.since);
        findings.push(Finding { about: "queue".into(), problem, next: "a person can run `oppen queue resume`".into() });
    }
    for b in budgets_now.iter().filter(|b| b.used_percent >= 90.0) {
        let problem = format!("{:.0}% of ${} is spent or reserved", b.used_percent, b.limit_usd.0.decimal());
        findings.push(Finding { about: format!("budget of {}", b.name), problem, next: "spend less, or ask a person to raise it".into() });
    }
    let counts = shot.record.value.as_ref().map(|r| r.counts.clone()).unwrap_or_default();
    let failed = counts.get(RunStatus::Failed.word()).copied().unwrap_or(0);
    let next = match (findings.is_empty(), failed) {
        (false, _) => "see `findings`: each says what to do",
        (true, 0) => "all is well: check_training_budget prices what you want to train",
        (true, _) => "all is well; list_training_runs with status failed shows what failed, explain_run why",
    };
    Ok(Dashboard {
        healthy: findings.is_empty(),
        findings,
        cost_total_usd: total.into(),
        cost_average_usd: average.into(),
        pending_cost_usd: board.pending_cost.into(),
        runs: counts,
        running: board.running.iter().take(50).map(live).collect(),
        pending: board.waiting.len(),
        next_free_slot: board.next_free.map(|t| t.to_string()),
        budgets: budgets_now,
        cluster: machines(&shot),
        usage: usage(&shot),
        sources,
        next: next.to_owned(),
    })
}

fn source<T>(about: &str, reading: &Reading<T>) -> SourceView {
    let quality = match reading.quality {
        Quality::Fresh => "fresh",
        Quality::Stale => "stale",
        Quality::Failed => "failed",
        Quality::Absent => "absent",
    };
    SourceView {
        about: about.to_owned(),
        source: plain(&reading.source, 100),
        quality: quality.to_owned(),
        age_seconds: reading.age_ms.map(|a| a.as_secs_f64()),
        why: reading.why.as_deref().map(|w| plain(w, 300)),
    }
}

fn sources(shot: &Snapshot) -> Vec<SourceView> {
    vec![
        source("runs, queue and money", &shot.record),
        source("this machine", &shot.machine),
        source("processes of runs", &shot.processes),
        source("GPUs of this machine", &shot.gpus),
        source("nodes and pods", &shot.cluster),
        source("use of nodes and pods", &shot.usage),
        source("GPUs of the cluster", &shot.cluster_gpus),
        source("tracked metrics", &shot.tracking),
    ]
}

fn unwell(source: &SourceView) -> Finding {
    let problem = source.why.clone().unwrap_or_else(|| "it does not answer".to_owned());
    let next = format!("see whether {} can be reached from here; figures of it are missing or old meanwhile", source.source);
    Finding { about: source.about.clone(), problem, next }
}

fn machines(shot: &Snapshot) -> Machines {
    let round = |p: Option<f64>| p.map(|p| (p * 10.0).round() / 10.0);
    shot.totals.map_or_else(Machines::default, |t| Machines {
        machines: Some(t.machines),
        ready: Some(t.ready),
        cpu_percent: round(t.cpu_percent),
        memory_percent: round(t.memory_percent),
        gpus: Some(t.gpus),
        gpus_held: t.gpus_requested,
        gpu_percent: round(t.gpu_percent),
    })
}

#[expect(clippy::cast_precision_loss, reason = "for showing")]
fn usage(shot: &Snapshot) -> Vec<PodUse> {
    let gib = |bytes: u64| bytes as f64 / f64::from(1_u32 << 30);
    if let Some(cluster) = &shot.cluster.value {
        let of = |p: &crate::monitor::view::Pod| {
            let used = shot.usage.value.as_ref().and_then(|u| u.pods.get(&format!("{}/{}", p.namespace, p.name)));
            PodUse {
                name: plain(&p.name, 253),
                job_id: p.run.as_deref().map(|r| plain(r, 512)),
                node: p.node.as_deref().map(|n| plain(n, 253)),
                cores: used.and_then(|u| u.cpu_millis).map(|m| m as f64 / 1000.0),
                memory_gib: used.and_then(|u| u.memory_bytes).map(gib),
                gpus: Some(p.gpus),
            }
        };
        return cluster.pods.iter().take(ROWS).map(of).collect();
    }
    let host = shot.machine.value.as_ref().map(|m| plain(&m.host, 253));
    let of = |p: &crate::monitor::view::Processes| PodUse {
        name: plain(&p.address, 512),
        job_id: Some(plain(&p.address, 512)),
        node: host.clone(),
        cores: p.cpu_percent.map(|c| c / 100.0),
        memory_gib: Some(gib(p.rss_bytes)),
        gpus: None,
    };
    shot.processes.value.iter().flatten().take(ROWS).map(of).collect()
}
