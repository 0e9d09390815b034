//! `get_training_dashboard`: the monitor's snapshot and the checks of `oppen health`, with what to do in words.

use std::time::Duration;

use super::jobs::percent;
use super::{Hands, refusal};
use crate::advise::budget::tenths;
use crate::cli::dashboard::seen as look;
use crate::mcp::{Answer, Budget, Check, Code, Dashboard, Finding, Live, Machines, Nothing, PodUse, Refusal, SourceView, Talk, plain};
use crate::monitor::health::{Level, Report};
use crate::monitor::view::{self, Record, Run};
use crate::monitor::{Quality, Reading, Snapshot};
use crate::record::RunStatus;

/// How long each source may take.
const DEADLINE: Duration = Duration::from_millis(800);
/// Rows of usage and of running runs.
const ROWS: usize = 100;

/// `get_training_dashboard`
pub fn dashboard(hands: &Hands, _: Nothing, _: &Talk<'_>) -> Answer<Dashboard> {
    let place = hands.place()?;
    let (shot, health) = look(&place, DEADLINE).map_err(refusal)?;
    let record = match (&shot.record.value, shot.record.quality) {
        (Some(record), _) => record.clone(),
        // Where nothing was applied, nothing is what there is.
        (None, Quality::Absent) => Record::default(),
        (None, _) => {
            let why = shot.record.why.as_deref().unwrap_or("the state does not answer");
            return Err(Refusal::new(Code::Failed, plain(why, 600), "a person can run `oppen health`, which says what to do"));
        }
    };
    let budgets: Vec<Budget> = record.budgets.iter().map(budget).collect();
    let sources = sources(&shot);
    let findings = findings(&health, &sources, &record, &budgets);
    let checks =
        health.findings.iter().map(|f| Check { check: f.check.clone(), level: f.level.word().to_owned(), message: plain(&f.message, 300) });
    Ok(Dashboard {
        healthy: health.healthy,
        next: next(&shot, &findings, &record),
        checks: checks.collect(),
        findings,
        cost_total_usd: record.spend.total.into(),
        cost_average_usd: record.spend.per_attempt.unwrap_or_default().into(),
        pending_cost_usd: record.queue.pending_cost.into(),
        running: record.running.iter().take(50).map(live).collect(),
        pending: usize::try_from(record.queue.waiting).unwrap_or(usize::MAX),
        next_free_slot: record.queue.next_free.map(|t| t.to_string()),
        runs: record.counts,
        budgets,
        cluster: machines(&shot),
        usage: usage(&shot),
        sources,
    })
}

fn budget(b: &view::Budget) -> Budget {
    let committed = b.spent + b.reserved;
    Budget {
        name: plain(&b.name, 200),
        spent_usd: b.spent.into(),
        committed_usd: committed.into(),
        limit_usd: b.limit.into(),
        used_percent: percent(tenths(committed, b.limit)),
    }
}

fn live(run: &Run) -> Live {
    Live {
        job_id: plain(&run.address, 512),
        priority: plain(&run.priority, 100),
        since: run.started.or(run.planned).unwrap_or_default().to_string(),
        ends_at: run.eta.as_ref().map(|e| e.at.to_string()),
        cost_usd: run.expected_cost.map(Into::into),
    }
}

/// What is wrong: what health found, sources that it does not look at, the queue, budgets.
fn findings(health: &Report, sources: &[SourceView], record: &Record, budgets: &[Budget]) -> Vec<Finding> {
    let bad = health.findings.iter().filter(|f| f.level >= Level::Warning);
    let mut all: Vec<Finding> = bad
        .map(|f| Finding {
            about: f.check.clone(),
            level: f.level.word().to_owned(),
            problem: plain(&f.message, 300),
            next: f.hint.as_deref().map_or_else(|| "a person should look at it".to_owned(), |h| plain(h, 300)),
        })
        .collect();
    let warning = |about: String, problem: String, next: &str| Finding { about, level: "warning".into(), problem, next: next.into() };
    if all.is_empty() {
        all.extend(sources.iter().filter(|s| matches!(s.quality.as_str(), "stale" | "failed")).map(|s| {
            let problem = s.why.clone().unwrap_or_else(|| "it does not answer".to_owned());
            warning(s.about.clone(), format!("{}: {problem}", s.source), "figures of it are missing or old meanwhile; call again")
        }));
    }
    if let Some(by) = &record.queue.paused_by {
        let problem = format!("nothing is launched: {} paused it", plain(by, 100));
        all.push(warning("queue".into(), problem, "a person can run `oppen queue resume`"));
    }
    all.extend(budgets.iter().filter(|b| b.used_percent >= 90.0).map(|b| {
        let problem = format!("{:.0}% of ${} is spent or reserved", b.used_percent, b.limit_usd.0.decimal());
        warning(format!("budget of {}", b.name), problem, "spend less, or ask a person to raise it")
    }));
    all
}

fn next(shot: &Snapshot, findings: &[Finding], record: &Record) -> String {
    let failed = record.counts.get(RunStatus::Failed.word()).copied().unwrap_or(0);
    if !findings.is_empty() {
        return "see `findings`: each says what to do".to_owned();
    }
    if failed > 0 {
        return "all is well; list_training_runs with status failed shows what failed, explain_run why".to_owned();
    }
    match &shot.advice.value {
        Some(a) => {
            let (job, title) = (plain(&a.job, 512), plain(&a.because, 200));
            format!(
                "all is well; recommend_cost_optimization of {job} shows how to save: {title} would have saved ${} of ${}",
                a.saves.decimal(),
                a.of.decimal()
            )
        }
        None => "all is well: check_training_budget prices what you want to train".to_owned(),
    }
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
    // What was read just now may have been measured a while ago.
    let measured = shot.usage.value.as_ref().and_then(|u| u.measured);
    let mut used = source("use of nodes and pods", &shot.usage);
    used.age_seconds = measured.map(|at| shot.at.since(at).as_secs_f64()).or(used.age_seconds);
    vec![
        source("runs, queue and money", &shot.record),
        source("this machine", &shot.machine),
        source("processes of runs", &shot.processes),
        source("GPUs of this machine", &shot.gpus),
        source("nodes and pods", &shot.cluster),
        used,
        source("GPUs of the cluster", &shot.cluster_gpus),
        source("tracked metrics", &shot.tracking),
        source("advice on cost", &shot.advice),
    ]
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
