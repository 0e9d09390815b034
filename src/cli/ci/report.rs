//! The report of `oppen ci`: the change with places and words, from which every view is made.
//!
//! In: [`Change`], both sessions. Out: [`Report`], which is also the JSON. Must never hold a float, nor a path of the machine that the
//! check ran on.

use serde::Serialize;

use super::sides::Sides;
use crate::base::{Money, Severity, Timestamp};
use crate::cli::views::{At, Finding, Found, Level, Places};
use crate::diff::change::{BudgetChange, Change, JobChange, News, Sum};

/// Version of the report's JSON.
pub const FORMAT_VERSION: u32 = 1;

/// Everything that the check says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Name of the project; empty without a project file.
    pub project: String,
    /// What it is compared with.
    pub base: Base,
    /// Prices are those of runs that start then.
    pub time: String,
    /// True when the edit brings something that a check refuses.
    pub blocked: bool,
    /// Money of all files, before and after.
    pub total: Total,
    /// What an apply would start, where everything of the base is done.
    pub run: Sum,
    /// Runs that stay as they are.
    pub unchanged: usize,
    /// Job by job.
    pub jobs: Vec<JobChange>,
    /// Budgets, as if all that they count ran once.
    pub budgets: Vec<BudgetChange>,
    /// What the checks say.
    pub checks: Vec<Check>,
    /// Verdicts of the base that are gone.
    pub resolved: usize,
    /// Inputs that git ignores and that are not here: taken as the same on both sides.
    pub absent_inputs: Vec<String>,
    /// Templates that were left out.
    pub templates: Vec<String>,
}

/// What is compared with.
#[derive(Debug, Clone, Serialize)]
pub struct Base {
    /// As asked for.
    #[serde(rename = "ref")]
    pub name: String,
    /// The commit.
    pub commit: String,
    /// True when the commit is where the branch left the reference.
    pub merge_base: bool,
    /// Errors of its files: it cannot be planned then, and everything counts as new.
    pub errors: usize,
    /// The first of them, with its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
}

/// Money of everything in the files.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Total {
    /// In the base; none where it cannot be planned.
    pub before: Option<Sum>,
    /// With the edit.
    pub after: Sum,
    /// Expected cost after less before; negative when it gets cheaper.
    pub change: Money,
}

/// A verdict with its places.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Name of the rule.
    pub rule: String,
    /// Whether it refuses the edit: what the base had as well refuses nothing.
    pub blocks: bool,
    /// How it stands to the base.
    pub news: News,
    /// What it is about.
    pub subject: String,
    /// One sentence.
    pub message: String,
    /// What would help.
    pub hint: String,
    /// File of the job or the limit, from the repository's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// File of the rule, if that is another place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_file: Option<String>,
    /// Its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_line: Option<u32>,
    /// The places whole, for views.
    #[serde(skip)]
    pub finding: Finding,
}

/// Puts the report together.
#[must_use]
pub fn report(sides: &Sides, change: Change, at: Timestamp, prefix: &str) -> Report {
    let places = Places { sources: &sides.head.loaded.sources, prefix };
    let errors: Vec<_> = sides.base.diags.as_slice().iter().filter(|d| d.severity == Severity::Error).collect();
    let base_places = Places { sources: &sides.base.loaded.sources, prefix };
    let first_error = errors.first().map(|d| match d.span.map(|s| base_places.at(s)) {
        Some(at) => format!("{} ({}:{})", d.message, at.file, at.line),
        None => d.message.clone(),
    });
    let blocked = change.is_blocked();
    let total = Total { before: change.before, after: change.after, change: change.delta() };
    let verdicts: Vec<_> = change.checks.iter().map(|c| c.verdict.clone()).collect();
    let checks = change.checks.iter().zip(places.of_verdicts(&verdicts)).map(|(judged, mut finding)| {
        if !judged.stops() {
            finding.level = Level::Warning;
        }
        let rule = finding.related.first().map(|(at, _)| at.clone());
        let file = |at: &Option<At>| at.as_ref().map(|a| a.file.clone());
        Check {
            rule: finding.rule.clone(),
            blocks: judged.stops(),
            news: judged.news,
            subject: finding.subject.clone(),
            message: finding.message.clone(),
            hint: finding.hint.clone(),
            file: file(&finding.at),
            line: finding.at.as_ref().map(|a| a.line),
            rule_file: file(&rule),
            rule_line: rule.as_ref().map(|a| a.line),
            finding,
        }
    });
    Report {
        format_version: FORMAT_VERSION,
        project: sides.head.loaded.project.as_ref().map(|p| p.name.0.0.to_string()).unwrap_or_default(),
        base: Base {
            name: sides.against.name.clone(),
            commit: sides.against.commit.clone(),
            merge_base: sides.against.merge_base,
            errors: errors.len(),
            first_error,
        },
        time: at.utc().map_or_else(|| at.to_string(), |t| t.format("%Y-%m-%dT%H:%MZ").to_string()),
        blocked,
        total,
        run: change.run,
        unchanged: change.unchanged,
        checks: checks.collect(),
        jobs: change.jobs,
        budgets: change.budgets,
        resolved: change.resolved,
        absent_inputs: sides.absent.clone(),
        templates: sides.head.templates.iter().map(ToString::to_string).collect(),
    }
}

impl Report {
    /// The findings, for SARIF, JUnit and annotations.
    #[must_use]
    pub fn found(&self, jobs: Vec<String>) -> Found {
        Found { command: "ci", looked_at: jobs, findings: self.checks.iter().map(|c| c.finding.clone()).collect() }
    }

    /// The first characters of the commit.
    #[must_use]
    pub fn short(&self) -> &str {
        self.base.commit.get(..9).unwrap_or(&self.base.commit)
    }

    /// What it is compared with, in words.
    #[must_use]
    pub fn against(&self) -> String {
        let name = crate::base::text::escape(&self.base.name);
        match self.base.merge_base {
            true => format!("{}, where this branch left {name}", self.short()),
            false => format!("{name} ({})", self.short()),
        }
    }
}

/// An amount for people: to the cent from a dollar on (half to even), exact below. JSON has every digit.
#[must_use]
pub fn shown(amount: Money) -> String {
    rounded(amount).to_string()
}

fn rounded(amount: Money) -> Money {
    const CENT: i64 = 10_000;
    if amount.micros().abs() < 100 * CENT {
        return amount;
    }
    let cents = crate::base::money::div_half_even(i128::from(amount.micros()), i128::from(CENT));
    Money::from_micros(cents.saturating_mul(CENT))
}

/// The difference of two amounts as they are shown, so that the reader's own sum is right.
#[must_use]
pub fn difference(before: Money, after: Money) -> String {
    let seen = rounded(after) - rounded(before);
    signed(if seen == Money::ZERO { after - before } else { seen })
}

/// `+$4.80`, `-$0.50`, `no change`.
#[must_use]
pub fn signed(change: Money) -> String {
    match change.micros() {
        0 => "no change".to_owned(),
        n if n > 0 => format!("+{}", shown(change)),
        n => format!("-{}", shown(Money::from_micros(n.saturating_neg()))),
    }
}

/// `+46%`; nothing where there was no money before. Whole numbers: rounded half to even.
#[must_use]
pub fn percent(before: Money, change: Money) -> Option<String> {
    if before <= Money::ZERO || change == Money::ZERO {
        return None;
    }
    let share = crate::base::money::div_half_even(i128::from(change.micros()) * 100, i128::from(before.micros()));
    Some(if share > 9_999 { "more than 100 times".to_owned() } else { format!("{share:+}%") })
}

/// The cost at the worst, or that nobody knows it.
#[must_use]
pub fn worst(sum: &Sum) -> String {
    sum.worst.map_or("unknown".to_owned(), shown)
}

/// `1 run`, `3 runs`.
#[must_use]
pub fn runs(n: usize) -> String {
    if n == 1 { "1 run".to_owned() } else { format!("{n} runs") }
}

/// The reasons of a group, each in words; at most four.
#[must_use]
pub fn why(job: &JobChange) -> Vec<String> {
    let all = job.reasons.iter().take(4);
    all.map(|r| crate::cli::plan_text::reason_text(r, job.varied.contains(&r.key))).collect()
}
