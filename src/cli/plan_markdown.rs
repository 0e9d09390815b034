//! The plan as Markdown: a table of what would happen, budgets, checks.

use super::plan_text::{self, groups, is_same, reason_text};
use super::views::Found;
use super::views::markdown::{LIMIT, Page, code, item, money, prose};
use crate::base::{Money, Timestamp};
use crate::diff::{Plan, Planned};

/// Everything about a plan, for a comment.
#[must_use]
pub fn text(plan: &Plan, now: Timestamp, found: &Found) -> String {
    let mut page = Page::new(LIMIT);
    let mark = if plan.is_blocked() { ":x:" } else { ":white_check_mark:" };
    let runs: Vec<&Planned> = plan.runs.iter().collect();
    page.line(&format!("### {mark} Oppen plan {}\n", code(&plan.plan_id)));
    found.findings.iter().for_each(|f| page.may(&item(f)));
    if !found.findings.is_empty() {
        page.line("");
    }
    if !runs.is_empty() {
        page.line("| Action | Job | Runs | Start | Expected | Why |\n|---|---|---:|---|---:|---|");
    }
    for group in groups(plan, &runs, false) {
        let many = group.runs.len() > 1;
        let first = group.runs.first();
        let name = first.filter(|_| !many).map_or(group.job.to_string(), |r| r.address.to_string());
        let why = first.map(|r| {
            let told = r.reasons.iter().filter(|r| r.key != "new" && r.key != "gone").take(4);
            let mut all: Vec<String> = told.map(|reason| code(&reason_text(reason, many && !is_same(&group, reason)))).collect();
            all.extend(plan_text::hold_text(&group.runs).iter().map(|sentence| prose(sentence)));
            all.join("<br>")
        });
        let (start, cost) = if group.action.runs() {
            (plan_text::start(&group, now), plan_text::price(&group).map_or("**unpriced**".to_owned(), money))
        } else {
            Default::default()
        };
        page.may(&format!(
            "| {} | {} | {} | {start} | {cost} | {} |",
            group.action.word(),
            code(&name),
            group.runs.len(),
            why.unwrap_or_default()
        ));
    }
    let cut = page.uncut();
    if cut > 0 {
        page.line(&format!("\n{cut} more lines had no room here: see the JSON of the plan."));
    }
    if !plan.budgets.is_empty() {
        page.line("\n| Budget | Spent | Running | Plan | Total | Limit |\n|---|---:|---:|---:|---:|---:|");
        for b in &plan.budgets {
            let total = if b.exceeded { format!("**{}**", money(b.total)) } else { money(b.total) };
            let [spent, running, planned, limit] = [b.spent, b.running, b.plan, b.limit].map(money);
            page.may(&format!("| {} | {spent} | {running} | {planned} | {total} | {limit} |", code(&b.scope)));
        }
    }
    let summary = anstream::adapter::strip_str(&plan_text::summary(plan)).to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    page.line(&format!("\n{}", prose(&summary)));
    if plan.saved > Money::ZERO && plan.runs.is_empty() {
        page.line(&format!("Work worth {} is kept.", money(plan.saved)));
    }
    page.text()
}
