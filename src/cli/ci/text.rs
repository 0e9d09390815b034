//! The report for a terminal: one line a job, then money, budgets and verdicts, then one summary line.

use std::fmt::Write as _;

use super::report::{Check, Report, difference, percent, runs, shown, why, worst};
use crate::base::text::escape;
use crate::cli::output::style::{BAD, BOLD, CHANGE, DIM, GOOD, paint};
use crate::cli::output::{fit, flow, hang, listed, pad, width};
use crate::diff::change::{JobChange, News, What};

/// Most jobs of text; JSON has all.
const JOBS: usize = 60;

/// Everything, as `oppen ci` prints it.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = format!("{}\n", folded(&format!("Compared with {}", report.against())));
    if let Some(first) = &report.base.first_error {
        let more = if report.base.errors > 1 { format!(" and {} more", report.base.errors - 1) } else { String::new() };
        let words = format!("The base cannot be planned, so everything counts as new: {}{more}", escape(first));
        let _ = writeln!(out, "{}", paint(CHANGE, &folded(&words)));
    }
    out.push('\n');
    out + &body(report)
}

/// The change alone, as `oppen plan --base` prints it below its plan.
#[must_use]
pub fn body(report: &Report) -> String {
    let mut out = String::new();
    for job in report.jobs.iter().take(JOBS) {
        write_job(&mut out, job);
    }
    if report.jobs.len() > JOBS {
        let _ = writeln!(out, "  {} more jobs change: see `-o json`", report.jobs.len() - JOBS);
    }
    if !report.jobs.is_empty() {
        out.push('\n');
    }
    write_money(&mut out, report);
    for budget in report.budgets.iter().filter(|b| b.exceeded || b.before != Some(b.after)) {
        let before = budget.before.map(|b| format!("{} -> ", shown(b))).unwrap_or_default();
        let line = format!("Budget of {}: {before}{} / {}", escape(&budget.scope), shown(budget.after), shown(budget.limit));
        let line = folded(&line);
        let _ = writeln!(out, "{}", if budget.exceeded { paint(BAD, &line) } else { line });
    }
    for path in &report.absent_inputs {
        let _ = writeln!(out, "{}", paint(DIM, &fit(&format!("Not here, taken as unchanged: {}", escape(path)), width())));
    }
    report.checks.iter().for_each(|check| write_check(&mut out, check));
    if report.resolved > 0 {
        let _ = writeln!(out, "{}", paint(GOOD, &format!("Settled: {} of the base.", findings(report.resolved))));
    }
    let _ = writeln!(out, "{}", summary(report));
    out
}

/// On a terminal, words that are wider than it go on below, two columns in.
fn folded(words: &str) -> String {
    hang(words, std::io::IsTerminal::is_terminal(&std::io::stdout()))
}

fn findings(n: usize) -> String {
    if n == 1 { "1 finding".to_owned() } else { format!("{n} findings") }
}

fn write_job(out: &mut String, job: &JobChange) {
    let (mark, style) = match job.what {
        What::Added => ("+", GOOD),
        What::Changed => ("~", CHANGE),
        What::Settings => ("^", CHANGE),
        What::Removed => ("-", BAD),
    };
    let mut name = job.job.to_string();
    if job.runs > 1 {
        let _ = write!(name, " ({})", runs(job.runs));
    }
    let room = width().saturating_sub(42).max(24);
    let (head, money) =
        (format!("  {} {} {}", paint(style, mark), pad(&fit(&escape(&name), room), room), pad(job.what.word(), 8)), money(job));
    let below = std::io::IsTerminal::is_terminal(&std::io::stdout()) && room + 14 + money.chars().count() > width();
    let _ = writeln!(out, "{}", format!("{head}{}{money}", if below { "\n      " } else { " " }).trim_end());
    for reason in why(job) {
        let _ = writeln!(out, "      {}", fit(&reason, width().saturating_sub(6)));
    }
}

/// `$1.10 -> $2.20`, with what has no price.
fn money(job: &JobChange) -> String {
    let cell = |sum: &crate::diff::change::Sum| match sum.unpriced {
        0 => shown(sum.expected),
        n if n == sum.runs => "unpriced".to_owned(),
        n => format!("{} and {n} unpriced", shown(sum.expected)),
    };
    match (&job.before, &job.after) {
        (Some(before), Some(after)) if cell(before) != cell(after) => format!("{} -> {}", cell(before), cell(after)),
        (_, Some(sum)) | (Some(sum), None) => cell(sum),
        (None, None) => String::new(),
    }
}

fn write_money(out: &mut String, report: &Report) {
    let (total, run) = (&report.total, &report.run);
    if run.runs > 0 {
        let mut pieces =
            vec![format!("{} would run, expected {}", runs(run.runs), shown(run.expected)), format!("at worst {}", worst(run))];
        pieces.extend((run.unpriced > 0).then(|| format!("{} unpriced", run.unpriced)));
        let _ = writeln!(out, "{}", flow(&listed(pieces, "."), width()));
    }
    let mut pieces = vec![match &total.before {
        Some(before) => format!("All files: {} -> {} ({})", shown(before.expected), shown(total.after.expected), change(report)),
        None => format!("All files: {}", shown(total.after.expected)),
    }];
    pieces.push(match &total.before {
        Some(before) if worst(before) != worst(&total.after) => format!("at worst {} -> {}", worst(before), worst(&total.after)),
        _ => format!("at worst {}", worst(&total.after)),
    });
    pieces.extend((total.after.unpriced > 0).then(|| format!("{} unpriced", total.after.unpriced)));
    let _ = writeln!(out, "{}", flow(&listed(pieces, "."), width()));
}

/// `+$4.80, +46%`.
#[must_use]
pub fn change(report: &Report) -> String {
    let before = report.total.before.map(|b| b.expected).unwrap_or_default();
    let share = report.total.before.and_then(|b| percent(b.expected, report.total.change));
    [Some(difference(before, report.total.after.expected)), share].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn write_check(out: &mut String, check: &Check) {
    let (word, style) = match (check.blocks, check.news) {
        (true, News::Worse) => ("blocked (worse)", BAD),
        (true, _) => ("blocked", BAD),
        (false, News::Known) => ("as before", DIM),
        (false, _) => ("warning", CHANGE),
    };
    let place = |file: &Option<String>, line: Option<u32>, words: &str| {
        file.as_ref().map(|f| format!(" ({words}{}:{})", escape(f), line.unwrap_or(1))).unwrap_or_default()
    };
    let places = format!("{}{}", place(&check.file, check.line, ""), place(&check.rule_file, check.rule_line, "rule: "));
    let words = format!("{word}: {} {}{places} [{}]", escape(&check.subject), escape(&check.message), check.rule);
    let _ = writeln!(out, "{}", folded(&words).replacen(word, &paint(style, word), 1));
    if check.news != News::Known && !check.hint.is_empty() {
        let _ = writeln!(out, "  {}", paint(DIM, &folded(&format!("help: {}", escape(&check.hint)))));
    }
}

/// The last line.
fn summary(report: &Report) -> String {
    let count = |what: What| report.jobs.iter().filter(|j| j.what == what).map(|j| j.runs).sum::<usize>();
    let mut parts: Vec<String> = [What::Added, What::Changed, What::Settings, What::Removed]
        .into_iter()
        .map(|w| (w, count(w)))
        .filter(|(_, n)| *n > 0)
        .map(|(w, n)| format!("{n} {}", if w == What::Settings { "with other settings" } else { w.word() }))
        .collect();
    if report.unchanged > 0 || parts.is_empty() {
        parts.push(format!("{} unchanged", report.unchanged));
    }
    let verdict = match report.checks.iter().filter(|c| c.blocks).count() {
        0 => paint(GOOD, "Nothing is against it."),
        n => paint(BAD, &format!("Blocked by {}.", findings(n))),
    };
    let mut pieces = vec![paint(BOLD, "Runs:")];
    pieces.extend(listed(parts, "."));
    pieces.push(verdict);
    flow(&pieces, width())
}
