//! The report as a comment of a pull or merge request: a hidden marker, a table of money, what the checks say, the rest folded.
//!
//! In: [`Report`]. Out: Markdown of GitHub and GitLab, below [`LIMIT`]. Must never let a name act: no mention, link, image, HTML or
//! cell border comes from a value.

use super::report::{Check, Report, difference, runs, shown, why, worst};
use super::text::change;
use crate::base::Money;
use crate::cli::views::markdown::{LIMIT, Page, code, item, prose};
use crate::diff::change::{JobChange, News, Sum, What};

/// The hidden first line by which a comment is found again. One for each project, since a repository may hold several.
#[must_use]
pub fn marker(project: &str) -> String {
    let name: String = project.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' }).take(64).collect();
    // Two hyphens in a row would end an HTML comment.
    let name = name.split('-').filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
    format!("<!-- oppen:ci:{} -->", if name.is_empty() { "project" } else { &name })
}

/// Begin of the second line: the change of the expected cost in USD, and whether it is refused.
const DELTA: &str = "<!-- oppen:delta ";

/// True when a comment says that the cost changes by less than this either way, and that nothing is against it.
#[must_use]
pub fn is_below(body: &str, least: Money) -> bool {
    let line = body.lines().nth(1).and_then(|l| l.trim().strip_prefix(DELTA)?.strip_suffix(" -->"));
    let change = line.and_then(|l| Money::parse(l.strip_prefix('-').unwrap_or(l)).ok());
    change.is_some_and(|c| c < least)
}

/// Everything.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut page = Page::new(LIMIT);
    page.line(&marker(&report.project));
    // For `ci comment --min-delta`.
    let blocked = if report.blocked { " blocked" } else { "" };
    page.line(&format!("{DELTA}{}{blocked} -->", report.total.change.decimal()));
    page.line(&headline(report));
    page.line("");
    if let Some(first) = &report.base.first_error {
        page.line("> [!WARNING]");
        page.line(&format!("> The base cannot be planned, so everything counts as new: {}\n", prose(&clip(first))));
    }
    totals(&mut page, report);
    let (new, known): (Vec<&Check>, Vec<&Check>) = report.checks.iter().partition(|c| c.news != News::Known);
    if !new.is_empty() {
        page.line("");
        new.iter().for_each(|check| page.may(&item(&check.finding)));
        let cut = page.uncut();
        if cut > 0 {
            page.line(&format!("\n{cut} more findings had no room here."));
        }
    }
    budgets(&mut page, report);
    jobs(&mut page, report, true);
    jobs(&mut page, report, false);
    if !known.is_empty() {
        fold(&mut page, &format!("{} that the base has as well", count(known.len(), "finding")), |page| {
            known.iter().for_each(|check| page.may(&item(&check.finding)));
        });
    }
    footer(&mut page, report);
    page.text()
}

/// An amount whose sign must not begin a formula.
fn money(amount: Money) -> String {
    shown(amount).replace('$', "\\$")
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Texts of unknown length are cut: a comment has room for a thousand jobs, not for one word of a megabyte.
fn clip(text: &str) -> String {
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push_str("..");
    }
    short
}

fn headline(report: &Report) -> String {
    let mark = if report.blocked { ":x:" } else { ":white_check_mark:" };
    let name = if report.project.is_empty() { String::new() } else { format!(" {}", code(&clip(&report.project))) };
    let after = money(report.total.after.expected);
    let cost = match &report.total.before {
        Some(_) if report.total.change == Money::ZERO => format!("{after}, no change"),
        Some(before) => format!("{} → {after} ({})", money(before.expected), change(report).replace('$', "\\$")),
        None => after,
    };
    let blocked = report.checks.iter().filter(|c| c.blocks).count();
    let words = if blocked > 0 { format!(", blocked by {}", count(blocked, "finding")) } else { String::new() };
    format!("### {mark} Oppen{name}: {cost}{words}")
}

fn totals(page: &mut Page, report: &Report) {
    let total = &report.total;
    let cell = |sum: Option<&Sum>, f: &dyn Fn(&Sum) -> String| sum.map(f).unwrap_or_else(|| "–".to_owned()).replace('$', "\\$");
    page.line("| | Before | After | Change |\n|---|---:|---:|---:|");
    let before = total.before.as_ref();
    let mut row = |name: &str, f: &dyn Fn(&Sum) -> String, change: String| {
        page.line(&format!("| {name} | {} | {} | {} |", cell(before, f), cell(Some(&total.after), f), change.replace('$', "\\$")));
    };
    let more = |n: i128| if n == 0 { String::new() } else { format!("{n:+}") };
    let runs_before = before.map_or(0, |b| b.runs as i128);
    row("Runs in the files", &|s| s.runs.to_string(), more(total.after.runs as i128 - runs_before));
    row("Expected cost of all", &|s| shown(s.expected), change(report));
    let worse = before.and_then(|b| b.worst).zip(total.after.worst).map(|(b, a)| difference(b, a)).unwrap_or_default();
    row("At worst", &worst, worse);
    if total.after.unpriced > 0 || before.is_some_and(|b| b.unpriced > 0) {
        let unpriced_before = before.map_or(0, |b| b.unpriced as i128);
        row("**Unpriced runs**", &|s| s.unpriced.to_string(), more(total.after.unpriced as i128 - unpriced_before));
    }
    let run = &report.run;
    let words = match run.runs {
        0 => "Nothing would run.".to_owned(),
        n => {
            let unpriced = if run.unpriced > 0 { format!(", {} unpriced", run.unpriced) } else { String::new() };
            format!("**{}** would run: expected **{}**, at worst {}{unpriced}.", runs(n), shown(run.expected), worst(run))
        }
    };
    page.line(&format!("\n{}", words.replace('$', "\\$")));
}

fn budgets(page: &mut Page, report: &Report) {
    let mut shown: Vec<_> = report.budgets.iter().filter(|b| b.exceeded || b.before != Some(b.after)).collect();
    shown.sort_by_key(|b| !b.exceeded);
    if shown.is_empty() {
        return;
    }
    page.line("\n| Budget | Before | After | Limit |\n|---|---:|---:|---:|");
    for b in shown {
        let before = b.before.map_or("–".to_owned(), money);
        let after = if b.exceeded { format!("**{}**", money(b.after)) } else { money(b.after) };
        page.may(&format!("| {} | {before} | {after} | {} |", code(&clip(&b.scope)), money(b.limit)));
    }
    let cut = page.uncut();
    if cut > 0 {
        page.line(&format!("\n{cut} more budgets had no room here."));
    }
}

/// Jobs that would run, or those that would not.
fn jobs(page: &mut Page, report: &Report, run: bool) {
    let mine: Vec<&JobChange> = report.jobs.iter().filter(|j| j.what.runs() == run).collect();
    if mine.is_empty() {
        return;
    }
    let of = |what: What| mine.iter().filter(|j| j.what == what).map(|j| j.runs).sum::<usize>();
    let parts = [What::Added, What::Changed, What::Settings, What::Removed].into_iter().map(|w| (w, of(w))).filter(|(_, n)| *n > 0);
    let words: Vec<String> =
        parts.map(|(w, n)| format!("{} {}", runs(n), if w == What::Settings { "with other settings" } else { w.word() })).collect();
    fold(page, &words.join(", "), |page| {
        page.line("| | Job | Runs | Before | After | Why |\n|---|---|---:|---:|---:|---|");
        for job in mine {
            let cell = |sum: &Option<Sum>| sum.as_ref().map_or("–".to_owned(), price);
            let reasons: Vec<String> = why(job).iter().map(|w| code(w)).collect();
            let name = code(&clip(&job.job));
            let (before, after) = (cell(&job.before), cell(&job.after));
            page.may(&format!("| {} | {name} | {} | {before} | {after} | {} |", job.what.word(), job.runs, reasons.join("<br>")));
        }
    });
}

fn price(sum: &Sum) -> String {
    match sum.unpriced {
        0 => money(sum.expected),
        n if n == sum.runs => "**unpriced**".to_owned(),
        n => format!("{}, **{n} unpriced**", money(sum.expected)),
    }
}

/// A folded part. What has no room in it is counted below it.
fn fold(page: &mut Page, title: &str, fill: impl FnOnce(&mut Page)) {
    page.line(&format!("\n<details><summary>{title}</summary>\n"));
    fill(page);
    let cut = page.uncut();
    if cut > 0 {
        page.line(&format!("\n{} had no room here: see the JSON of `oppen ci -o json`.", count(cut, "more line")));
    }
    page.line("\n</details>");
}

fn footer(page: &mut Page, report: &Report) {
    let mut notes = Vec::new();
    if report.resolved > 0 {
        notes.push(format!("Settled: {} of the base.", count(report.resolved, "finding")));
    }
    if !report.absent_inputs.is_empty() {
        let names: Vec<String> = report.absent_inputs.iter().take(5).map(|p| code(&clip(p))).collect();
        notes.push(format!("Not in the checkout, taken as unchanged: {}.", names.join(", ")));
    }
    notes.push(format!("Compared with {}; priced as if started {}.", prose(&clip(&report.against())), prose(&report.time)));
    notes.push("Nothing was run.".to_owned());
    page.line(&format!("\n<sub>{}</sub>", notes.join(" ")));
}
