//! The page of `oppen dashboard`: one screen that a person can read at 80 columns.
//!
//! In: a snapshot, the report on health. Out: text. Foreign text is escaped, lines fit the width, nothing is said by color alone.

use std::fmt::Write as _;

use super::words::{self, centicores, cores, cost, dollars, gpu, machines, metrics, progress, simple_bar, size, until};
use crate::advise::budget::percent;
use crate::base::Timestamp;
use crate::base::text::escape;
use crate::cli::health::{mark, summary};
use crate::cli::output::{bar, fit, flow, listed, pad, style, unicode};
use crate::monitor::health::{Level, Report};
use crate::monitor::view::{Budget, Queue, Record, Run, Spend};
use crate::monitor::{Quality, Reading, Snapshot};

/// Rows of each part.
const RUNS: usize = 6;
const WAITING: usize = 4;
const FINDINGS: usize = 3;
const BUDGETS: usize = 4;
const GPUS: usize = 4;
const PODS: usize = 4;
/// Cells of a bar.
const BAR: usize = 12;
/// Columns of the names in front.
const NAME: usize = 9;

/// What the page is made of.
pub struct Page<'a> {
    /// What was seen.
    pub shot: &'a Snapshot,
    /// Whether all is well.
    pub health: &'a Report,
    /// Columns.
    pub width: usize,
}

/// All of it.
#[must_use]
pub fn page(page: &Page<'_>) -> String {
    let mut out = Out { text: String::new(), width: page.width };
    let shot = page.shot;
    let place = if shot.backend == "local" { "on this machine" } else { "on Kubernetes" };
    let name = if shot.project.is_empty() { "no project".into() } else { escape(&shot.project) };
    let when = shot.at.utc().map(|t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
    out.raw(&format!("{} {place}, {when}", style::paint(style::BOLD, &fit(&name, page.width.saturating_sub(45)))));
    health(&mut out, page.health);
    match &shot.record.value {
        None => out.part("runs", &why(&shot.record)),
        Some(record) => {
            stale(&mut out, &shot.record);
            running(&mut out, record, shot.at);
            waiting(&mut out, &record.queue, shot.at);
            ended(&mut out, record);
            budgets(&mut out, &record.budgets);
            spend(&mut out, &record.spend);
        }
    }
    places(&mut out, shot);
    if let Some(next) = &shot.advice.value {
        out.part("next", &style::paint(style::BOLD, &fit(&escape(&next.command), out.room())));
        let words = format!("{} saves {} of {}", escape(&next.because), dollars(next.saves), dollars(next.of));
        out.more(&style::paint(style::DIM, &fit(&words, out.room())));
    }
    out.text
}

struct Out {
    text: String,
    width: usize,
}

impl Out {
    fn room(&self) -> usize {
        self.width.saturating_sub(NAME + 1)
    }

    fn raw(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    /// A line with its name in front.
    fn part(&mut self, name: &str, line: &str) {
        self.raw(&format!("{} {line}", style::paint(style::BOLD, &pad(name, NAME))));
    }

    /// A line below one.
    fn more(&mut self, line: &str) {
        self.raw(&format!("{} {line}", " ".repeat(NAME)));
    }

    /// Text to the left, text to the right.
    fn both(&mut self, left: &str, right: &str) {
        let room = self.room().saturating_sub(right.chars().count() + 1);
        self.more(&format!("{} {right}", pad(&fit(left, room), room)));
    }
}

/// Why there is no value.
fn why<T>(reading: &Reading<T>) -> String {
    escape(reading.why.as_deref().unwrap_or("not known")).into_owned()
}

fn stale<T>(out: &mut Out, reading: &Reading<T>) {
    if reading.quality == Quality::Stale {
        let age = reading.age_ms.map(|a| a.to_string()).unwrap_or_default();
        let words = format!("{} is {age} old: {}", reading.source, why(reading));
        out.more(&style::paint(style::CHANGE, &fit(&words, out.room())));
    }
}

fn health(out: &mut Out, report: &Report) {
    out.part("health", &summary(report));
    let bad: Vec<_> = report.findings.iter().filter(|f| f.level >= Level::Warning).collect();
    for finding in bad.iter().take(FINDINGS) {
        let words = format!("{}: {}", finding.check, escape(&finding.message));
        out.more(&format!("{} {}", mark(finding.level), fit(&words, out.room().saturating_sub(11))));
    }
    if !bad.is_empty() {
        let more = bad.len().saturating_sub(FINDINGS);
        let more = if more > 0 { format!("and {more} more; ") } else { String::new() };
        out.more(&style::paint(style::DIM, &format!("{more}what to do: `oppen health`")));
    }
}

fn running(out: &mut Out, record: &Record, now: Timestamp) {
    let queue = &record.queue;
    let engine = match &record.holder {
        Some(_) => String::new(),
        None if queue.running + queue.waiting > 0 => ", no engine looks after them".to_owned(),
        None => String::new(),
    };
    out.part("running", &format!("{} of at most {}{engine}", queue.running, queue.slots));
    for run in record.running.iter().take(RUNS) {
        run_lines(out, run, now);
    }
    let more = queue.running.saturating_sub(RUNS as u64);
    if more > 0 {
        out.more(&style::paint(style::DIM, &format!("and {more} more: `oppen status state:running`")));
    }
}

fn run_lines(out: &mut Out, run: &Run, now: Timestamp) {
    let percent = run.percent(now);
    let eta = match (&run.eta, run.started) {
        (Some(eta), _) if eta.at > now => format!("ends {}", until(Some(eta.at), now)),
        (Some(eta), _) => format!("{} late", now.since(eta.at)),
        (None, Some(start)) => format!("for {}", now.since(start)),
        (None, None) => run.status.clone(),
    };
    let share = percent.map_or("   ?".to_owned(), |p| format!("{p:>3}%"));
    let right = format!("{} {share} {eta:>13} {:>18}", simple_bar(percent, BAR, unicode()), cost(run));
    out.both(&escape(&run.address), &right);
    let parts: Vec<String> = run.progress.iter().map(progress).chain(Some(metrics(&run.metrics, 3)).filter(|m| !m.is_empty())).collect();
    if !parts.is_empty() {
        out.more(&style::paint(style::DIM, &fit(&format!("  {}", parts.join(", ")), out.room())));
    }
}

fn waiting(out: &mut Out, queue: &Queue, now: Timestamp) {
    if queue.waiting == 0 {
        let free = queue
            .next_free
            .map(|t| format!("; one submitted now starts {}", if t <= now { "now".to_owned() } else { format!("in {}", t.since(now)) }));
        return out.part("waiting", &format!("nothing{}", free.unwrap_or_default()));
    }
    let unpriced = if queue.unpriced > 0 { format!(" and {} unpriced", queue.unpriced) } else { String::new() };
    let free = queue
        .next_free
        .map(|t| format!("; the next slot for more is free {}", if t <= now { "now".to_owned() } else { format!("in {}", t.since(now)) }));
    let line = format!("{} for {}{unpriced}{}", queue.waiting, dollars(queue.pending_cost), free.unwrap_or_default());
    out.part("waiting", &fit(&line, out.room()));
    if let Some(by) = &queue.paused_by {
        out.more(&style::paint(style::CHANGE, &fit(&format!("paused by {}: `oppen queue resume`", escape(by)), out.room())));
    }
    let mut last = "";
    for w in queue.first.iter().take(WAITING) {
        let cost = w.cost.map_or("unpriced".to_owned(), dollars);
        let right = format!("{:>10} {:>13} {cost:>18}", fit(&w.priority, 10), until(w.start, now));
        out.both(&format!("{}. {}", w.position, escape(&w.address)), &right);
        // Those behind wait for the same: said once.
        if w.why != last && !w.why.is_empty() {
            out.more(&style::paint(style::DIM, &fit(&format!("  {}", escape(&w.why)), out.room())));
        }
        last = &w.why;
    }
    let more = queue.waiting.saturating_sub(WAITING as u64);
    if more > 0 {
        out.more(&style::paint(style::DIM, &format!("and {more} more: `oppen queue`")));
    }
}

fn ended(out: &mut Out, record: &Record) {
    let words = ["succeeded", "failed", "cancelled", "skipped", "pruned", "unneeded"];
    let parts: Vec<String> = words.iter().filter_map(|w| record.counts.get(*w).map(|n| format!("{n} {w}"))).collect();
    if parts.is_empty() {
        return;
    }
    out.part("ended", &fit(&parts.join(", "), out.room()));
    if let Some(run) = record.ended.iter().find(|r| r.status == "failed") {
        let because = run.because.as_deref().map(|b| format!(": {}", escape(b))).unwrap_or_default();
        out.more(&fit(&format!("last failure {}{because}", escape(&run.address)), out.room()));
    }
}

fn budgets(out: &mut Out, all: &[Budget]) {
    // Those that matter first: what is nearly used up.
    let mut sorted: Vec<&Budget> = all.iter().collect();
    sorted.sort_by_key(|b| std::cmp::Reverse(b.spent_tenths.saturating_add(b.reserved_tenths)));
    let told = |b: &Budget| format!("{:>6}, {} reserved, {} left", percent(b.spent_tenths), dollars(b.reserved), dollars(b.left));
    let shown: Vec<(&Budget, String)> = sorted.into_iter().take(BUDGETS).map(|b| (b, told(b))).collect();
    // One column of bars: the longest words leave the room for names.
    let widest = shown.iter().map(|(_, words)| words.chars().count()).max().unwrap_or(0);
    let room = out.room().saturating_sub(BAR + 2 + widest);
    for (i, (b, words)) in shown.iter().enumerate() {
        let (full, half, none) = bar(b.spent_tenths, b.reserved_tenths, BAR, unicode());
        let color = style::of_budget(b.spent >= b.limit, b.reached.is_some());
        let bar = format!("{}{half}{}", style::paint(color, &full), style::paint(style::DIM, &none));
        let line = format!("{} {bar} {words}", pad(&fit(&escape(&b.name), room), room));
        if i == 0 { out.part("budgets", &line) } else { out.more(&line) }
    }
    if all.len() > BUDGETS {
        out.more(&style::paint(style::DIM, &format!("and {} more: `oppen budget status`", all.len() - BUDGETS)));
    }
}

fn spend(out: &mut Out, spend: &Spend) {
    let each = spend.per_attempt.map(|m| format!("{} an attempt", dollars(m)));
    let live = (spend.live.micros() > 0).then(|| format!("{} in what runs now", dollars(spend.live)));
    let week = format!("{} in 7 days", dollars(spend.week));
    let all = [Some(format!("{} today", dollars(spend.today))), Some(week), Some(format!("{} ever", dollars(spend.total))), each, live];
    let room = out.room();
    let text = flow(&listed(all.into_iter().flatten().collect(), ""), room);
    for (i, line) in text.lines().enumerate() {
        if i == 0 { out.part("spent", line) } else { out.more(line.trim_start()) }
    }
}

/// Who measures, how long ago, and the pods that use most.
fn pods(out: &mut Out, shot: &Snapshot) {
    let room = out.room();
    let color = if shot.usage.value.is_some() { style::DIM } else { style::CHANGE };
    out.more(&style::paint(color, &fit(&words::measured(shot), room)));
    let Some(usage) = &shot.usage.value else { return };
    stale(out, &shot.usage);
    let all = shot.cluster.value.iter().flat_map(|c| &c.pods);
    let mut all: Vec<_> = all.filter_map(|p| Some((p, usage.pods.get(&format!("{}/{}", p.namespace, p.name))?))).collect();
    all.sort_by_key(|(_, used)| std::cmp::Reverse((used.cpu_millis, used.memory_bytes)));
    let known = |n: Option<u64>, show: fn(u64) -> String| n.map_or("?".to_owned(), show);
    for (pod, used) in all.iter().take(PODS) {
        let (cpu, memory) = (known(used.cpu_millis, centicores), known(used.memory_bytes, size));
        let right = format!("{cpu:>6} of {:<5} cores  {memory:>9} of {:<9}", cores(pod.cpu_millis), size(pod.memory_bytes));
        out.both(&escape(pod.run.as_deref().unwrap_or(&pod.name)), right.trim_end());
    }
    if all.len() > PODS {
        out.more(&style::paint(style::DIM, &format!("and {} more pods: `oppen dashboard --live`, page 5", all.len() - PODS)));
    }
}

fn places(out: &mut Out, shot: &Snapshot) {
    let far = shot.backend != "local";
    let name = if far { "cluster" } else { "machine" };
    let room = out.room();
    match (&shot.totals, far) {
        (Some(totals), _) => {
            let mut pieces = machines(totals, true);
            if far {
                pieces.insert(0, format!("{} of {} nodes ready", totals.ready, totals.machines));
            }
            for (i, line) in flow(&listed(pieces, ""), room).lines().enumerate() {
                if i == 0 { out.part(name, line) } else { out.more(line.trim_start()) }
            }
        }
        (None, true) => out.part(name, &fit(&why(&shot.cluster), room)),
        (None, false) => out.part(name, &fit(&why(&shot.machine), room)),
    }
    let gpus = if far { &shot.cluster_gpus } else { &shot.gpus };
    for one in gpus.value.iter().flatten().take(GPUS) {
        out.more(&fit(&gpu(one), room));
    }
    if far {
        stale(out, &shot.cluster);
        pods(out, shot);
        let notes = shot.cluster.value.iter().flat_map(|c| &c.notes).chain(shot.usage.value.iter().flat_map(|u| &u.notes));
        for note in notes.take(2) {
            out.more(&style::paint(style::DIM, &fit(&escape(note), room)));
        }
    }
    if gpus.quality == Quality::Failed {
        out.more(&style::paint(style::CHANGE, &fit(&format!("GPUs are not seen: {}", why(gpus)), room)));
    }
    if shot.tracking.is_bad() {
        out.more(&style::paint(style::CHANGE, &fit(&format!("MLflow {}", why(&shot.tracking)), room)));
    }
}
