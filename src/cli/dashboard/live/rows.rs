//! The rows of each page, sorted, filtered and searched.
//!
//! In: the model. Out: rows of cells, safe to show. Pure.

use std::cmp::Ordering;

use super::super::words;
use super::model::{FILTERS, Model, Tab};
use crate::advise::budget::percent;
use crate::base::text::escape;
use crate::base::{Money, Timestamp};
use crate::cli::progress::number;
use crate::monitor::view::{Record, Run, Use};

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// What it is about; empty where it is about nothing in particular.
    pub id: String,
    /// Whether that is a run.
    pub is_run: bool,
    /// Where it stands, in a word: decides sign and color.
    pub state: String,
    /// What is shown, one a column.
    pub cells: Vec<String>,
    /// What it is sorted by: cost, end.
    cost: Option<Money>,
    end: Option<Timestamp>,
    rank: usize,
}

/// Titles of the columns with their widths; 0 takes what is left.
#[must_use]
pub const fn columns(tab: Tab, wide: bool) -> &'static [(&'static str, u16)] {
    match (tab, wide) {
        (Tab::Runs, false) => &[("RUN", 0), ("STATE", 11), ("PROGRESS", 14), ("END", 9), ("COST", 10)],
        (Tab::Runs, true) => &[
            ("RUN", 0),
            ("STATE", 11),
            ("PROGRESS", 22),
            ("END", 9),
            ("COST", 22),
            ("CPU", 6),
            ("MEMORY", 9),
            ("PRIORITY", 11),
            ("METRICS", 44),
        ],
        (Tab::Queue, false) => &[("#", 4), ("RUN", 24), ("PRIORITY", 11), ("START", 9), ("COST", 10), ("WHY", 0)],
        (Tab::Queue, true) => &[("#", 5), ("RUN", 48), ("PRIORITY", 14), ("START", 10), ("COST", 12), ("WHY", 0)],
        (Tab::Sweeps, false) => &[("SWEEP", 0), ("TRIALS", 7), ("DONE", 6), ("LIVE", 5), ("BEST", 20), ("COST", 10)],
        (Tab::Sweeps, true) => {
            &[("SWEEP", 0), ("METHOD", 12), ("TRIALS", 8), ("DONE", 8), ("LIVE", 6), ("FAILED", 7), ("BEST", 60), ("COST", 12)]
        }
        (Tab::Costs, true) => &[("BUDGET", 60), ("USED", 18), ("SPENT", 12), ("RESERVED", 12), ("LEFT", 12), ("LIMIT", 0)],
        (Tab::Costs, false) => &[("BUDGET", 0), ("USED", 14), ("SPENT", 10), ("RESERVED", 10), ("LEFT", 10), ("LIMIT", 10)],
        (Tab::Cluster, false) => &[("NAME", 0), ("STATE", 12), ("CPU", 12), ("MEMORY", 20), ("GPU", 12)],
        (Tab::Cluster, true) => &[("NAME", 0), ("STATE", 14), ("CPU", 28), ("MEMORY", 40), ("GPU", 26), ("RUN", 40)],
        (Tab::Logs, _) => &[],
    }
}

/// The rows of the page.
#[must_use]
pub fn rows(model: &Model) -> Vec<Row> {
    let Some(record) = &model.shot.record.value else {
        return if model.tab == Tab::Cluster { cluster(model) } else { Vec::new() };
    };
    let mut rows = match model.tab {
        Tab::Runs => runs(model, record),
        Tab::Queue => queue(record, model.now()),
        Tab::Sweeps => sweeps(record),
        Tab::Costs => costs(model, record),
        Tab::Cluster => cluster(model),
        Tab::Logs => Vec::new(),
    };
    let wanted = model.search.to_lowercase();
    rows.retain(|r| wanted.is_empty() || r.cells.iter().any(|c| c.to_lowercase().contains(&wanted)));
    let (sort, reversed) = model.sort.get(model.at()).copied().unwrap_or_default();
    let word = model.tab.sorts().get(sort).copied().unwrap_or("order");
    rows.sort_by(|a, b| by(word, a, b));
    if reversed {
        rows.reverse();
    }
    rows
}

fn by(word: &str, a: &Row, b: &Row) -> Ordering {
    // What is not known comes last.
    fn known<T: Ord>(a: Option<T>, b: Option<T>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => a.cmp(&b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
    match word {
        "name" => a.id.cmp(&b.id),
        "cost" => known(b.cost, a.cost).then_with(|| a.rank.cmp(&b.rank)),
        "end" => known(a.end, b.end).then_with(|| a.rank.cmp(&b.rank)),
        _ => a.rank.cmp(&b.rank),
    }
}

fn text(text: &str) -> String {
    escape(text).into_owned()
}

fn runs(model: &Model, record: &Record) -> Vec<Row> {
    let now = model.now();
    let filter = FILTERS.get(model.filter).copied().unwrap_or("all");
    let mut rows: Vec<Row> = record.running.iter().map(|r| run(model, r, now)).collect();
    rows.extend(record.queue.first.iter().map(|w| Row {
        id: w.address.clone(),
        is_run: true,
        state: "pending".to_owned(),
        cells: vec![
            text(&w.address),
            "pending".to_owned(),
            format!("place {}", w.position),
            words::until(w.start, now),
            w.cost.map_or("unpriced".to_owned(), words::dollars),
            String::new(),
            String::new(),
            text(&w.priority),
            text(&w.why),
            format!("place {}", w.position),
            w.cost.map_or("unpriced".to_owned(), words::dollars),
        ],
        cost: w.cost,
        end: w.start,
        rank: 0,
    }));
    rows.extend(record.ended.iter().map(|r| run(model, r, now)));
    rows.retain(|r| match filter {
        "running" => matches!(r.state.as_str(), "running" | "launching" | "stopping"),
        "waiting" => r.state == "pending",
        "failed" => r.state == "failed",
        "ended" => !matches!(r.state.as_str(), "running" | "launching" | "stopping" | "pending"),
        _ => true,
    });
    rows.iter_mut().enumerate().for_each(|(i, r)| r.rank = i);
    rows
}

fn run(model: &Model, run: &Run, now: Timestamp) -> Row {
    let uses = model.shot.processes.value.iter().flatten().find(|p| p.address == run.address);
    let pod = run.name.as_ref().and_then(|name| pod_use(model, name));
    let cpu = uses.and_then(|u| u.cpu_percent).map(|p| format!("{p:.0}%"));
    let cpu = cpu.or_else(|| pod.and_then(|u| u.cpu_millis).map(words::cores)).unwrap_or_default();
    let memory = uses.map(|u| u.rss_bytes).or_else(|| pod.and_then(|u| u.memory_bytes)).map(words::size).unwrap_or_default();
    let live = run.ended.is_none();
    let percent = run.percent(now).filter(|_| live);
    let bar = percent.map(|p| format!("{} {p}%", words::simple_bar(Some(p), 5, model.theme.unicode)));
    let units = run.progress.as_ref().filter(|_| live).map(words::progress);
    let both = [bar.clone(), units.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let end = match (run.ended, &run.eta) {
        (Some(at), _) => format!("-{}", now.since(at)),
        (None, Some(eta)) => words::until(Some(eta.at), now),
        (None, None) => "?".to_owned(),
    };
    let said = if live { None } else { run.because.as_deref().map(text) };
    Row {
        id: run.address.clone(),
        is_run: true,
        state: run.status.clone(),
        cells: vec![
            text(&run.address),
            run.status.clone(),
            bar.or(units).unwrap_or_default(),
            end,
            run.cost.map_or("unpriced".to_owned(), words::dollars),
            cpu,
            memory,
            text(&run.priority),
            said.unwrap_or_else(|| words::metrics(&run.metrics, 3)),
            both,
            words::cost(run),
        ],
        cost: run.cost,
        end: run.ended.or(run.eta.as_ref().map(|e| e.at)),
        rank: 0,
    }
}

/// What the pod of a Job uses.
fn pod_use(model: &Model, job: &str) -> Option<Use> {
    let namespace = &model.shot.cluster.value.as_ref()?.namespace;
    let prefix = format!("{namespace}/{job}-");
    model.shot.usage.value.as_ref()?.pods.iter().find(|(name, _)| name.starts_with(&prefix)).map(|(_, u)| *u)
}

fn queue(record: &Record, now: Timestamp) -> Vec<Row> {
    let row = |(rank, w): (usize, &crate::monitor::view::Waiting)| Row {
        id: w.address.clone(),
        is_run: true,
        state: "pending".to_owned(),
        cells: vec![
            w.position.to_string(),
            text(&w.address),
            text(&w.priority),
            words::until(w.start, now),
            w.cost.map_or("unpriced".to_owned(), words::dollars),
            text(&w.why),
        ],
        cost: w.cost,
        end: w.start,
        rank,
    };
    record.queue.first.iter().enumerate().map(row).collect()
}

fn sweeps(record: &Record) -> Vec<Row> {
    let row = |(rank, s): (usize, &crate::monitor::view::Sweep)| {
        let of = |all: &[&str]| all.iter().filter_map(|w| s.counts.get(*w)).sum::<u64>();
        let done = of(&["succeeded", "pruned", "unneeded"]);
        let best = s.best.as_ref().map(|(value, at)| format!("{} in {}", number(*value), text(at))).unwrap_or_default();
        let (live, failed) = (of(&["running", "launching", "stopping"]), of(&["failed", "cancelled", "skipped"]));
        let cost = s.spent.map_or("unpriced".to_owned(), words::dollars);
        Row {
            id: s.name.clone(),
            is_run: false,
            state: s.paused_by.as_ref().map_or("running", |_| "paused").to_owned(),
            cells: vec![
                text(&s.name),
                text(&s.method),
                s.trials.to_string(),
                done.to_string(),
                live.to_string(),
                failed.to_string(),
                best,
                cost,
            ],
            cost: s.spent,
            end: None,
            rank,
        }
    };
    record.sweeps.iter().enumerate().map(row).collect()
}

fn costs(model: &Model, record: &Record) -> Vec<Row> {
    let row = |(rank, b): (usize, &crate::monitor::view::Budget)| {
        let (full, half, none) = crate::cli::output::bar(b.spent_tenths, b.reserved_tenths, 6, model.theme.unicode);
        Row {
            id: b.name.clone(),
            is_run: false,
            state: if b.spent >= b.limit {
                "failed"
            } else if b.reached.is_some() {
                "pending"
            } else {
                "succeeded"
            }
            .to_owned(),
            cells: vec![
                text(&b.name),
                format!("{full}{half}{none} {}", percent(b.spent_tenths)),
                words::dollars(b.spent),
                words::dollars(b.reserved),
                words::dollars(b.left),
                words::dollars(b.limit),
            ],
            cost: Some(b.spent),
            end: None,
            rank,
        }
    };
    let spend = &record.spend;
    let note = |(name, amount): (&str, Option<Money>)| Row {
        state: "note".to_owned(),
        cells: vec![name.to_owned(), String::new(), amount.map_or("?".to_owned(), words::dollars)],
        cost: amount,
        rank: usize::MAX,
        ..Row::default()
    };
    let sums = [
        ("all, today", Some(spend.today)),
        ("all, in 7 days", Some(spend.week)),
        ("all, ever", Some(spend.total)),
        ("an attempt", spend.per_attempt),
        ("what runs now", Some(spend.live)),
    ];
    let sums = sums.into_iter().filter(|(_, amount)| amount.is_some()).map(note);
    record.budgets.iter().enumerate().map(row).chain(sums).collect()
}

/// A line below the rows of a page: what would cost less, who measures.
#[must_use]
pub fn note(model: &Model) -> Option<String> {
    let (shot, dollars) = (&model.shot, words::dollars);
    match model.tab {
        Tab::Costs => {
            let next = shot.advice.value.as_ref()?;
            Some(format!("{}: {} saves {} of {}", text(&next.command), text(&next.because), dollars(next.saves), dollars(next.of)))
        }
        Tab::Cluster if shot.backend != "local" => Some(words::measured(shot)),
        _ => None,
    }
}

fn cluster(model: &Model) -> Vec<Row> {
    let shot = &model.shot;
    let mut rows = Vec::new();
    let blank = |id: &str, state: &str, cells: Vec<String>| Row { id: id.to_owned(), state: state.to_owned(), cells, ..Row::default() };
    // What is used of what there is, and, where there is room, what is asked for.
    let brief = |used: Option<String>, all: Option<String>| {
        format!("{} of {}", used.unwrap_or_else(|| "?".to_owned()), all.unwrap_or_else(|| "?".to_owned()))
    };
    let full = |brief: String, asked: Option<String>| asked.map_or(brief.clone(), |a| format!("{brief}, {a} asked"));
    if let Some(machine) = shot.machine.value.as_ref().filter(|_| shot.backend == "local") {
        let memory = brief(Some(words::size(machine.memory_used)), Some(words::size(machine.memory_total)));
        let cpu = format!("{} of {}", words::share(machine.cpu_percent), machine.cores);
        let none = String::new;
        let cells = vec![text(&machine.host), "ready".to_owned(), cpu.clone(), memory.clone(), none(), none(), cpu, memory];
        rows.push(blank(&machine.host, "running", cells));
    }
    for node in shot.cluster.value.iter().flat_map(|c| &c.nodes) {
        let used = shot.usage.value.as_ref().and_then(|u| u.nodes.get(&node.name)).copied().unwrap_or_default();
        let (state, word) = match (node.ready, node.schedulable) {
            (true, true) => ("running", "ready"),
            (true, false) => ("pending", "cordoned"),
            (false, _) => ("failed", "not ready"),
        };
        let gpu = if node.gpus > 0 {
            format!("{} of {}", node.gpus_requested.map_or("?".to_owned(), |n| n.to_string()), node.gpus)
        } else {
            String::new()
        };
        let cpu = brief(used.cpu_millis.map(words::cores), node.cpu_millis.map(words::cores));
        let memory = brief(used.memory_bytes.map(words::size), node.memory_bytes.map(words::size));
        let cells = vec![
            text(&node.name),
            word.to_owned(),
            cpu.clone(),
            memory.clone(),
            gpu + &node.gpu_type.as_ref().map(|t| format!(" {}", text(t))).unwrap_or_default(),
            String::new(),
            full(cpu, node.cpu_requested_millis.map(words::cores)),
            full(memory, node.memory_requested_bytes.map(words::size)),
        ];
        rows.push(blank(&node.name, state, cells));
    }
    let gpus = if shot.backend == "local" { &shot.gpus } else { &shot.cluster_gpus };
    for gpu in gpus.value.iter().flatten() {
        let memory = brief(gpu.memory_used.map(words::size), gpu.memory_total.map(words::size));
        let (name, pod) = (format!("{} GPU {}", text(&gpu.host), gpu.index), gpu.pod.as_deref().map(text).unwrap_or_default());
        let cells = vec![name, text(&gpu.name), String::new(), memory.clone(), words::share(gpu.percent), pod, String::new(), memory];
        rows.push(blank(&gpu.uuid, "running", cells));
    }
    for pod in shot.cluster.value.iter().flat_map(|c| &c.pods) {
        let used =
            shot.usage.value.as_ref().and_then(|u| u.pods.get(&format!("{}/{}", pod.namespace, pod.name))).copied().unwrap_or_default();
        let state = if pod.phase == "Running" { "running" } else { "pending" };
        let gpu = if pod.gpus > 0 { pod.gpus.to_string() } else { String::new() };
        let cpu = brief(used.cpu_millis.map(words::cores), Some(words::cores(pod.cpu_millis)));
        let memory = brief(used.memory_bytes.map(words::size), Some(words::size(pod.memory_bytes)));
        let run = pod.run.as_deref().map(text).unwrap_or_default();
        let cells = vec![format!("  {}", text(&pod.name)), text(&pod.phase), cpu.clone(), memory.clone(), gpu, run, cpu, memory];
        rows.push(Row { is_run: pod.run.is_some(), ..blank(pod.run.as_ref().unwrap_or(&pod.name), state, cells) });
    }
    rows.iter_mut().enumerate().for_each(|(i, r)| r.rank = i);
    rows
}
