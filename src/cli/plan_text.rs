//! The plan for people: one line a job, reasons below it, then money, pool and verdicts, then one summary line.

use std::fmt::Write as _;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::output::style::{BAD, BOLD, CHANGE, DIM, GOOD, LIVE, paint};
use super::output::{fit, flow, hang, listed, pad, width};
use crate::base::resources::{GIB, show_cpu, show_memory};
use crate::base::text::escape;
use crate::base::{Millis, Money, Resources, SourceMap, Span, Timestamp};
use crate::check::Sum;
use crate::diff::{Action, Origin, Plan, Planned, Reason};

/// Runs of one job with one action and one set of changed keys.
pub struct Group<'p> {
    /// `workflow/job`.
    pub job: Arc<str>,
    /// What is done.
    pub action: Action,
    /// Its runs.
    pub runs: Vec<&'p Planned>,
    /// What `max_cost` leaves for all trials of the sweep that they are of, where that is less than these may cost.
    pub left: Option<Money>,
}

/// Everything about a plan, for a terminal.
#[must_use]
pub fn text(plan: &Plan, now: Timestamp, expand: bool, sources: &SourceMap) -> String {
    let mut out = String::new();
    for (origin, heading) in
        [(Origin::Edit, "Changes in the files"), (Origin::Drift, "Not as it should be"), (Origin::Downstream, "Downstream of changes")]
    {
        let mine: Vec<&Planned> = plan.runs.iter().filter(|r| r.origin == origin).collect();
        if !mine.is_empty() {
            let _ = writeln!(out, "{}", paint(BOLD, heading));
            for group in groups(plan, &mine, expand) {
                write_group(&mut out, &group, plan, now);
            }
            out.push('\n');
        }
    }
    write_sweeps(&mut out, plan);
    write_money(&mut out, plan);
    write_pool(&mut out, plan, now);
    write_checks(&mut out, plan, sources);
    if !plan.templates.is_empty() {
        let _ = writeln!(
            out,
            "{}",
            paint(DIM, &fit(&format!("Templates left out (their inputs are not set): {}", plan.templates.join(", ")), width()))
        );
    }
    let _ = writeln!(out, "{}", summary(plan));
    out
}

/// The actions, a group for each line that is shown.
#[must_use]
pub fn groups<'p>(plan: &Plan, runs: &[&'p Planned], expand: bool) -> Vec<Group<'p>> {
    let mut all: Vec<Group<'p>> = Vec::new();
    let keys = |p: &Planned| p.reasons.iter().map(|r| r.key.clone()).collect::<Vec<_>>();
    for run in runs {
        let last = all.last_mut().filter(|g| {
            !expand
                && *g.job == *run.address.job()
                && g.action == run.action
                && g.runs.first().is_some_and(|f| Arc::ptr_eq(&f.reasons, &run.reasons) || keys(f) == keys(run))
        });
        match last {
            Some(group) => group.runs.push(run),
            None => all.push(Group { job: run.address.job().into(), action: run.action, runs: vec![run], left: None }),
        }
    }
    for group in all.iter_mut().filter(|g| g.runs.len() > 1) {
        group.left = plan.sweeps.iter().find(|s| s.sweep == group.job).and_then(|s| s.left);
    }
    all
}

fn mark(action: Action) -> String {
    let (mark, style) = match action {
        Action::Create => ("+", GOOD),
        Action::Rerun => ("~", CHANGE),
        Action::Update => ("^", CHANGE),
        Action::Reuse => ("=", LIVE),
        Action::Cancel => ("x", BAD),
        Action::Forget => ("-", BAD),
    };
    paint(style, mark)
}

fn write_group(out: &mut String, group: &Group<'_>, plan: &Plan, now: Timestamp) {
    let Some(first) = group.runs.first() else { return };
    let many = group.runs.len() > 1;
    let mut name = if many || first.address.key().is_none() { group.job.to_string() } else { first.address.to_string() };
    if let Some((method, total)) = plan.groups.get(&group.job).filter(|_| many) {
        let _ = if group.runs.len() == *total {
            write!(name, " ({method}, {total} runs)")
        } else {
            write!(name, " ({method}, {} of {total} runs)", group.runs.len())
        };
    }
    let room = width().saturating_sub(40).max(24);
    let line = format!("  {} {} {}", mark(group.action), pad(&fit(&escape(&name), room), room), pad(group.action.word(), 7));
    let _ = writeln!(out, "{}", format!("{line}{}", figures(group, now)).trim_end());
    if let Some(line) = uncertain(group) {
        let _ = writeln!(out, "      {}", paint(DIM, &fit(&escape(&line), width().saturating_sub(6))));
    }
    for reason in first.reasons.iter().filter(|r| r.key != "new" && r.key != "gone").take(6) {
        let _ = writeln!(out, "      {}", fit(&reason_text(reason, many && !is_same(group, reason)), width().saturating_sub(6)));
    }
    if let Some(from) = first.result.as_ref().map(|r| &r.from).filter(|f| **f != first.address) {
        let _ = writeln!(out, "      {}", fit(&format!("result of {from}"), width().saturating_sub(6)));
    }
    for sentence in hold_text(&group.runs) {
        for line in super::output::wrap(&sentence, width().saturating_sub(6)) {
            let _ = writeln!(out, "      {line}");
        }
    }
}

/// What runs that wait for cheap hours do, win and risk. They have the same hold.
#[must_use]
pub fn hold_text(runs: &[&Planned]) -> Vec<String> {
    let Some(held) = runs.first().and_then(|r| r.hold.as_deref()) else { return Vec::new() };
    let zone: chrono_tz::Tz = held.zone.parse().unwrap_or_default();
    let at = |t: Timestamp| {
        t.utc().map_or_else(|| t.to_string(), |t| format!("{} {}", t.with_timezone(&zone).format("%Y-%m-%d %H:%M"), zone.name()))
    };
    let window = escape(&held.window);
    let saves: Option<Money> = runs.iter().map(|r| r.hold.as_ref().and_then(|h| h.saves)).sum::<Option<Money>>();
    let saves = match saves {
        None => String::new(),
        Some(m) if m > Money::ZERO => format!("; saves {m} against a start now"),
        Some(m) if m < Money::ZERO => format!("; costs {} more than a start now", Money::ZERO - m),
        Some(_) => "; saves nothing against a start now".to_owned(),
    };
    let by = held.by.map(at).unwrap_or_default();
    let mut words = vec![match (&*held.state, held.until) {
        ("waits", Some(until)) => format!("waits for {window}, from {}{saves}", at(until)),
        ("early", Some(until)) => format!("waits until {}: {window} opens too late for all of it{saves}", at(until)),
        ("open", _) => format!("{window} is open: starts at once"),
        ("due", _) => format!("does not wait for {window}: to be done by {by} it starts at once"),
        ("past", _) => format!("does not wait for {window}: {by} is past, it starts at once"),
        ("pointless", _) => format!("does not wait for {window}: it does not open before {by}"),
        _ => format!("does not wait for {window}: the rate card has no such hours"),
    }];
    if held.until.is_some() {
        words.push(match (held.latest, held.length) {
            (Some(latest), Some(length)) => {
                format!("to be done by {by} it starts by {} whatever it costs; if it takes longer than {length}, it is late", at(latest))
            }
            (Some(_), None) => format!("how long it takes is not known: it starts by {by} whatever it costs, and is done later"),
            (None, _) => "nothing says by when: what finds no place in these hours waits for the next".to_owned(),
        });
    }
    words
}

/// True when every run of the group has the same change.
#[must_use]
pub fn is_same(group: &Group<'_>, reason: &Reason) -> bool {
    group.runs.iter().all(|r| r.reasons.contains(reason))
}

/// `params.lr 0.1 -> 0.01`.
#[must_use]
pub fn reason_text(reason: &Reason, differs: bool) -> String {
    let value = |v: &str| if v.is_empty() { "''".to_owned() } else { escape(v).into_owned() };
    match (&reason.before, &reason.after) {
        _ if differs => format!("{} (differs from run to run)", escape(&reason.key)),
        (Some(before), Some(after)) => format!("{} {} -> {}", escape(&reason.key), value(before), value(after)),
        (None, Some(after)) => format!("{}: {}", escape(&reason.key), value(after)),
        (Some(before), None) if reason.key == "last" => format!("last time: {}", value(before)),
        (Some(before), None) => format!("{}: no longer {}", escape(&reason.key), value(before)),
        (None, None) => escape(&reason.key).into_owned(),
    }
}

/// When the first run of a group starts.
#[must_use]
pub fn start(group: &Group<'_>, now: Timestamp) -> String {
    match group.runs.iter().filter_map(|r| r.start).min() {
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => format!("+{}", at.since(now)),
        None => "later".to_owned(),
    }
}

/// Money of all runs of a group, as far as the limit of their sweep lets them spend it.
fn sum(group: &Group<'_>) -> Sum {
    let full = Sum::of(group.runs.iter().map(|r| r.cost()));
    group.left.map_or(full, |left| full.at_most(left))
}

/// Expected cost of a group; none without a price.
#[must_use]
pub fn price(group: &Group<'_>) -> Option<Money> {
    let sum = sum(group);
    (sum.unpriced == 0).then_some(sum.expected)
}

/// Start, length and price of a group.
fn figures(group: &Group<'_>, now: Timestamp) -> String {
    if !group.action.runs() {
        return String::new();
    }
    let start = start(group, now);
    let times: Vec<Millis> = group.runs.iter().filter_map(|r| r.estimate.as_ref().and_then(|e| e.time)).collect();
    let each = times.iter().max().map_or("?".to_owned(), ToString::to_string);
    let cost = price(group).map_or_else(|| "unpriced".to_owned(), |c| c.to_string());
    format!(" {start:>7} {each:>7} {cost:>11}")
}

/// What a group's runs cost together, with the interval that history gives, the worst case, and what the figures rest on.
#[must_use]
pub fn range(group: &Group<'_>) -> Option<Range> {
    let estimates = || group.runs.iter().filter_map(|r| r.estimate.as_deref());
    let basis = estimates().next().map(|e| Arc::clone(&e.basis)).filter(|_| group.action.runs())?;
    let costs: Option<Vec<_>> = group.runs.iter().map(|r| r.cost()).collect();
    let costs = costs?;
    // Runs of a job share what history is wrong about: they are all slow together.
    let learned = estimates().all(|e| e.interval.is_some());
    let most = |money: Money| group.left.map_or(money, |left| money.min(left));
    let interval = learned.then(|| (most(costs.iter().map(|c| c.low).sum()), most(costs.iter().map(|c| c.high).sum())));
    let sum = sum(group);
    Some(Range { expected: sum.expected, interval, worst: sum.worst, basis })
}

/// See [`range`].
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Range {
    /// Expected.
    pub expected: Money,
    /// 95%; none where nothing was measured.
    pub interval: Option<(Money, Money)>,
    /// All timeouts and retries used up; none without timeouts.
    pub worst: Option<Money>,
    /// `history of 14 runs`, `declared`, `default of MODEL`.
    pub basis: Arc<str>,
}

/// Where history tells an interval: `95%: $1.20 to $1.60, at worst $9.00 (history of 14 runs)`.
fn uncertain(group: &Group<'_>) -> Option<String> {
    let range = range(group)?;
    let (low, high) = range.interval?;
    let worst = range.worst.map(|w| format!(", at worst {w}")).unwrap_or_default();
    Some(format!("95%: {low} to {high}{worst} ({})", range.basis))
}

/// What pruning is expected to save stands apart from the price and is not taken off.
fn write_sweeps(out: &mut String, plan: &Plan) {
    for (s, left) in plan.sweeps.iter().filter_map(|s| Some((s, s.left.filter(|left| *left < s.cost)?))) {
        let pieces = [format!("Sweep {}: {} trials in full {},", escape(&s.sweep), s.trials, s.cost), format!("max_cost leaves {left}.")];
        let _ = writeln!(out, "{}", flow(&pieces, width()));
    }
    for (s, p) in plan.sweeps.iter().filter_map(|s| Some((s, s.pruning.as_ref().filter(|_| s.trials > 1)?))) {
        let percent = (f64::from(p.share) / 1e4).round();
        let pieces = [
            format!("Sweep {}: {} trials in full {},", escape(&s.sweep), s.trials, s.cost),
            format!("of which {} saves about {}", p.method, p.saving),
            format!("[{} to {}], {percent}% of the steps", p.interval.0, p.interval.1),
        ];
        let _ = writeln!(out, "{}", flow(&pieces, width()));
    }
}

fn write_money(out: &mut String, plan: &Plan) {
    for line in &plan.budgets {
        let sum = format!("{} spent + {} running + {} plan = {} / {}", line.spent, line.running, line.plan, line.total, line.limit);
        let text = format!("Budget of {}: {sum}", escape(&line.scope));
        let _ = writeln!(out, "{}", if line.exceeded { paint(BAD, &text) } else { text });
    }
    if let Some(most) = plan.overrun.filter(|m| *m > Money::ZERO) {
        let text = format!("At most {most} beyond hard budgets (grace + 30s of what runs at once).");
        let _ = writeln!(out, "{}", paint(DIM, &fit(&text, width())));
    }
    let unpriced: Vec<&Planned> =
        plan.runs.iter().filter(|r| r.action.runs() && r.estimate.as_ref().is_some_and(|e| e.cost.is_none())).collect();
    if let Some(first) = unpriced.first() {
        let why = first.estimate.as_ref().map(|e| e.basis.to_string()).unwrap_or_default();
        let runs = if unpriced.len() == 1 { "1 run".to_owned() } else { format!("{} runs", unpriced.len()) };
        let text = format!("Unpriced: {runs}, such as {}: {why}", first.address);
        let _ = writeln!(out, "{}", paint(CHANGE, &fit(&escape(&text), width())));
    }
}

/// The pool, and in which waves runs start.
fn write_pool(out: &mut String, plan: &Plan, now: Timestamp) {
    if !plan.runs.iter().any(|r| r.action.runs()) {
        return;
    }
    let mut waves: Vec<(Timestamp, usize)> = Vec::new();
    let mut starts: Vec<Timestamp> = plan.runs.iter().filter_map(|r| r.start).collect();
    starts.sort_unstable();
    for start in starts {
        match waves.last_mut().filter(|(at, _)| *at == start) {
            Some((_, n)) => *n += 1,
            None => waves.push((start, 1)),
        }
    }
    let wave = |(at, n): &(Timestamp, usize)| if *at <= now { format!("{n} now") } else { format!("{n} at +{}", at.since(now)) };
    let mut shown: Vec<String> = waves.iter().take(5).map(wave).collect();
    match shown.first_mut() {
        Some(first) => first.insert_str(0, "starts "),
        None => shown.push("starts are not known".to_owned()),
    }
    if waves.len() > 5 {
        shown.push(format!("{} more waves", waves.len() - 5));
    }
    let mut pieces = listed(pool(plan, waves.len() > 1), "):");
    let mut when: Vec<String> = plan.end.filter(|_| !shown.is_empty()).map(|e| format!("done at +{}", e.since(now))).into_iter().collect();
    when.extend(shown);
    pieces.extend(listed(when, ""));
    let _ = writeln!(out, "{}", flow(&pieces, width()));
}

/// The limits of the pool. Cores and memory of this machine, which nobody declared, are named where runs may wait for them.
fn pool(plan: &Plan, waits: bool) -> Vec<String> {
    let (limits, quotas) = (&plan.quotas, &plan.quotas.quotas);
    let mut pieces = vec![format!("Pool ({}", plan.backend), format!("{} at a time", limits.max_concurrent)];
    let s = |one: bool| if one { "" } else { "s" };
    pieces.extend(quotas.gpu.filter(|n| *n > 0).map(|n| format!("{n} GPU{}", s(n == 1))));
    let most = |of: fn(&Resources) -> u64| {
        let all = plan.runs.iter().filter(|r| waits && r.action.runs()).filter_map(|r| r.spec.as_ref());
        all.map(|spec| of(&spec.job.resources)).max().unwrap_or_default().saturating_mul(limits.max_concurrent.into())
    };
    let cores = quotas.cpu_millis.filter(|m| !limits.soft || most(|r| r.cpu_millis) > *m);
    pieces.extend(cores.map(|m| format!("{} core{}", show_cpu(m), s(m == 1000))));
    let memory = quotas.memory_bytes.filter(|m| !limits.soft || most(|r| r.memory_bytes) > *m);
    pieces.extend(memory.map(|m| show_memory(if limits.soft { m / GIB * GIB } else { m })));
    pieces.extend(limits.gpu_time.map(|q| format!("{} GPU-hours{}", crate::expand::gpu_time::hours(q.limit), q.each())));
    pieces
}

fn write_checks(out: &mut String, plan: &Plan, sources: &SourceMap) {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    for check in &plan.checks {
        let (word, style) = if check.blocks { ("blocked", BAD) } else { ("warning", CHANGE) };
        let place = |span: Option<Span>, words: &str| {
            span.map(|s| format!(" ({words}{}:{})", sources.path(s.file), sources.place(s).line)).unwrap_or_default()
        };
        let rule = place(check.source, if check.span.is_some() { "rule: " } else { "" });
        let place = format!("{}{rule}", place(check.span, ""));
        let words = format!("{}: {} {}{place} [{}]", paint(style, word), escape(&check.subject), check.message, check.rule);
        let _ = writeln!(out, "{}\n  {}", hang(&words, terminal), paint(DIM, &hang(&format!("help: {}", check.hint), terminal)));
    }
}

/// The last line.
#[must_use]
pub fn summary(plan: &Plan) -> String {
    let mut parts: Vec<String> =
        Action::ALL.into_iter().map(|a| (a, plan.count(a))).filter(|(_, n)| *n > 0).map(|(a, n)| format!("{n} to {}", a.word())).collect();
    if parts.is_empty() {
        let going = if plan.in_progress > 0 { format!(", {} of them in progress", plan.in_progress) } else { String::new() };
        let runs = if plan.unchanged == 1 { "1 run is".to_owned() } else { format!("{} runs are", plan.unchanged) };
        return format!("Nothing to change: {runs} as the files want{going}.");
    }
    if plan.unchanged > 0 {
        parts.push(format!("{} unchanged", plan.unchanged));
    }
    let mut pieces = vec![format!("Plan {}:", paint(BOLD, &plan.plan_id))];
    pieces.extend(listed(parts, "."));
    if plan.runs.iter().any(|r| r.action.runs()) {
        let mut money = vec![format!("Expected {}", plan.cost)];
        money.extend(plan.worst.map(|w| format!("at worst {w}")).or_else(|| no_worst(plan)));
        money.extend((plan.unpriced > 0).then(|| format!("{} unpriced", plan.unpriced)));
        pieces.extend(listed(money, "."));
    }
    if plan.saved > Money::ZERO {
        pieces.push(format!("Work worth {} is kept.", plan.saved));
    }
    flow(&pieces, width())
}

/// Why nobody knows what priced runs cost at the worst.
fn no_worst(plan: &Plan) -> Option<String> {
    let priced = |r: &&Planned| r.action.runs() && r.cost().is_some();
    // The limit of a sweep is the worst of its trials.
    let capped: FxHashSet<&str> = plan.sweeps.iter().filter(|s| s.worst.is_some()).map(|s| &*s.sweep).collect();
    let endless = |r: &&Planned| r.spec.as_ref().is_some_and(|s| s.job.timeout.is_none() && !capped.contains(&*s.job.job));
    let endless = plan.runs.iter().filter(priced).filter(endless).count();
    (endless > 0).then(|| format!("at worst unknown ({endless} run{} no timeout)", if endless == 1 { " has" } else { "s have" }))
}

/// Everything about one action.
#[must_use]
pub fn explain(plan: &Plan, address: &str, now: Timestamp) -> Option<String> {
    let mut out = String::new();
    for run in plan.runs.iter().filter(|r| crate::diff::select::matches_address(address, r.address.as_str())) {
        let _ = writeln!(out, "{} {}: {}", mark(run.action), paint(BOLD, &escape(run.address.as_str())), run.action.word());
        for reason in run.reasons.iter() {
            let _ = writeln!(out, "  because  {}", reason_text(reason, false));
        }
        if let Some(from) = run.result.as_ref().map(|r| &r.from) {
            let own = if *from == run.address { "its own, of an earlier apply".to_owned() } else { from.to_string() };
            let _ = writeln!(out, "  result   {own}");
        }
        if let Some(spec) = &run.spec {
            if !spec.job.needs.is_empty() {
                let _ = writeln!(out, "  needs    {}", spec.job.needs.join(", "));
            }
            let _ = writeln!(out, "  asks     {}, priority {}", spec.job.resources, spec.job.priority.class);
            let _ = writeln!(out, "  digest   {}", spec.fingerprint);
        }
        if let Some(estimate) = &run.estimate {
            let time = estimate.time.map_or("unknown time".to_owned(), |t| t.to_string());
            let cost = estimate.cost.map_or("unpriced".to_owned(), |c| c.expected.to_string());
            let worst = estimate.cost.and_then(|c| c.worst).map(|w| format!(", at worst {w}")).unwrap_or_default();
            let interval = estimate.interval.map(|(l, h)| format!(" [{l} to {h}]")).unwrap_or_default();
            let money = estimate.cost.filter(|c| c.low < c.high).map(|c| format!(" [{} to {}]", c.low, c.high)).unwrap_or_default();
            let _ = writeln!(out, "  estimate {time}{interval}, {cost}{money}{worst} ({})", escape(&estimate.basis));
        }
        for sentence in hold_text(&[run]) {
            for (i, line) in super::output::wrap(&sentence, width().saturating_sub(11)).iter().enumerate() {
                let _ = writeln!(out, "  {}{line}", pad(if i == 0 { "hold" } else { "" }, 9));
            }
        }
        if run.action.runs() {
            let _ = writeln!(
                out,
                "  start    {}",
                run.start.map_or("not known".to_owned(), |s| if s <= now { "now".to_owned() } else { format!("+{}", s.since(now)) })
            );
        }
    }
    (!out.is_empty()).then_some(out)
}
