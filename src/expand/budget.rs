//! Budgets as rules: a scope, a limit, a window, and what happens above it.
//!
//! In: the declarations of project, workflows and sweeps. Out: [`Rule`]s, in the order of writing. Must never count money.

use std::sync::Arc;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Desired;
use crate::base::{Diagnostic, Diagnostics, Money, Period, Span, Window, suggest, text::escape};
use crate::record::Payer;
use crate::spec::types::{BudgetDecl, Project, Word};

/// What happens when a budget would be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExceed {
    /// Say so and go on.
    Warn,
    /// Queue until the limit or the window allows it.
    Hold,
    /// Refuse.
    Stop,
    /// A sweep's own limit: trials that it does not reach are not needed.
    Cap,
}

/// Whose money a budget counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything.
    Project,
    /// A team.
    Team(Arc<str>),
    /// A workflow.
    Workflow(Arc<str>),
    /// A job with all its runs: a sweep.
    Job(Arc<str>),
    /// A label with its value.
    Label(Arc<str>, Arc<str>),
    /// Who applied.
    User(Arc<str>),
    /// Each run for itself.
    Run,
    /// Each run of a team for itself (`teams.NAME.max_run_cost`).
    RunOf(Arc<str>),
}

impl Scope {
    /// Whether a payer counts. Each run counts for itself.
    #[must_use]
    pub fn covers(&self, payer: &Payer) -> bool {
        match self {
            Self::Project | Self::Run => true,
            Self::Team(team) | Self::RunOf(team) => payer.team.as_deref() == Some(&**team),
            Self::Workflow(workflow) => payer.workflow() == &**workflow,
            Self::Job(job) => *job == payer.job,
            Self::Label(key, value) => payer.labels.get(&**key).is_some_and(|v| **v == **value),
            Self::User(user) => payer.user == *user || person(&payer.user) == &**user,
        }
    }

    /// True when every run counts for itself.
    #[must_use]
    pub const fn is_each_run(&self) -> bool {
        matches!(self, Self::Run | Self::RunOf(_))
    }

    /// Whether runs of a job count, whoever applies.
    #[must_use]
    pub fn may_cover(&self, job: &crate::record::JobSpec) -> bool {
        matches!(self, Self::User(_)) || self.covers(&Payer::of(job, &"".into()))
    }
}

/// `ann` of `ann@host`: a person works on many machines.
#[must_use]
pub fn person(user: &str) -> &str {
    user.split('@').next().unwrap_or(user)
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// As shown: `workflow mnist`, `team vision a month`.
    pub name: Arc<str>,
    /// Who counts.
    pub scope: Scope,
    /// The limit.
    pub limit: Money,
    /// When it begins anew.
    pub window: Window,
    /// What happens above it.
    pub on_exceed: OnExceed,
    /// Percentages that are announced.
    pub thresholds: Vec<u32>,
    /// Runs that are live when it is used up are ended, instead of finishing.
    pub end_running: bool,
    /// Where it is written; not part of saved plans.
    #[serde(skip)]
    pub span: Option<Span>,
}

/// All budgets of a project.
#[must_use]
pub fn rules(project: Option<&Project>, desired: &Desired, diags: &mut Diagnostics) -> Vec<Rule> {
    let mut all: Vec<Rule> = project.map(|p| of_project(p, diags)).unwrap_or_default();
    all.extend(desired.workflows.iter().filter_map(|w| w.budget.clone()));
    for job in &desired.jobs {
        if let Some((limit, span)) = job.max_cost {
            let mut rule = plain(format!("sweep {}", job.address), Scope::Job(Arc::clone(&job.address)), limit);
            (rule.on_exceed, rule.span) = (OnExceed::Cap, Some(span));
            all.push(rule);
        }
    }
    all
}

/// The budgets of the project file.
pub fn of_project(project: &Project, diags: &mut Diagnostics) -> Vec<Rule> {
    let default = |d: &BudgetDecl, diags: &mut Diagnostics| read(d, &format!("project {}", project.name.0.0), Scope::Project, diags);
    let mut all: Vec<Rule> = project.budget.iter().filter_map(|d| default(d, diags)).collect();
    for decl in &project.budgets {
        let scope = match &decl.scope {
            Some(word) => scope(word, diags),
            None => Some(Scope::Project),
        };
        all.extend(scope.and_then(|s| read(decl, &shown(&s, &project.name.0.0), s, diags)));
    }
    super::gpu_time::check(project, diags);
    for (team, _, decl) in project.teams.iter() {
        let Some(cost) = &decl.max_run_cost else { continue };
        let scope = Scope::RunOf(Arc::clone(team));
        all.push(Rule { span: Some(cost.1), ..plain(shown(&scope, ""), scope, cost.0) });
    }
    all
}

fn plain(name: String, scope: Scope, limit: Money) -> Rule {
    Rule {
        name: name.into(),
        scope,
        limit,
        window: Window::default(),
        on_exceed: OnExceed::Stop,
        thresholds: vec![50, 80, 100],
        end_running: false,
        span: None,
    }
}

fn shown(scope: &Scope, project: &str) -> String {
    match scope {
        Scope::Project => format!("project {project}"),
        Scope::Team(name) => format!("team {name}"),
        Scope::Workflow(name) => format!("workflow {name}"),
        Scope::Job(name) => format!("job {name}"),
        Scope::Label(key, value) => format!("label {key}={value}"),
        Scope::User(name) => format!("user {name}"),
        Scope::Run => "each run".to_owned(),
        Scope::RunOf(team) => format!("each run of team {team}"),
    }
}

fn scope(word: &Word, diags: &mut Diagnostics) -> Option<Scope> {
    let found = match word.0.split_once('/') {
        None if &*word.0 == "project" => Some(Scope::Project),
        None if &*word.0 == "run" => Some(Scope::Run),
        Some(("team", name)) if !name.is_empty() => Some(Scope::Team(name.into())),
        Some(("workflow", name)) if !name.is_empty() => Some(Scope::Workflow(name.into())),
        Some(("job" | "sweep", name)) if name.contains('/') => Some(Scope::Job(name.into())),
        Some(("user", name)) if !name.is_empty() => Some(Scope::User(name.into())),
        Some(("label", pair)) => pair.split_once('=').map(|(k, v)| Scope::Label(k.into(), v.into())),
        _ => None,
    };
    if found.is_none() {
        diags.push(
            Diagnostic::error("unknown-scope", word.1, format!("`{}` is not whose money a budget can count", escape(&word.0)))
                .hint("write `project`, `run`, `team/NAME`, `workflow/NAME`, `job/WORKFLOW/JOB`, `user/NAME` or `label/KEY=VALUE`"),
        );
    }
    found
}

/// Reads one declaration.
pub fn read(decl: &BudgetDecl, name: &str, scope: Scope, diags: &mut Diagnostics) -> Option<Rule> {
    let window = window(&decl.window, &decl.timezone, diags);
    let on_exceed =
        choice(&decl.on_exceed, "on_exceed", &[("stop", OnExceed::Stop), ("warn", OnExceed::Warn), ("hold", OnExceed::Hold)], diags);
    let end_running = choice(&decl.running, "running", &[("finish", false), ("end", true)], diags);
    for percent in decl.thresholds.iter().filter(|t| t.0 == 0 || t.0 > 1000) {
        diags.push(
            Diagnostic::error("bad-value", percent.1, format!("{}% is no threshold", percent.0))
                .hint("give percentages such as [50, 80, 100]"),
        );
    }
    if decl.limit.0.0 == Money::ZERO {
        diags.push(
            Diagnostic::error("bad-value", decl.limit.0.1, "a budget of nothing lets nothing run")
                .hint("give the limit in dollars, or leave the budget out"),
        );
    }
    let (window, on_exceed) = (window?, on_exceed?);
    if on_exceed == OnExceed::Hold && window.period == Period::Total {
        let at = decl.on_exceed.as_ref().map_or(decl.span, |w| w.1);
        diags.push(
            Diagnostic::warning(
                "window-never-turns",
                at,
                "a budget over all time never begins anew: what it holds waits until its limit is raised",
            )
            .hint("add `window: day`, `week`, `month` or `quarter`, or write `on_exceed: stop`"),
        );
    }
    let mut name = decl.name.as_ref().map_or_else(|| name.to_owned(), |w| w.0.to_string());
    if window.period != Period::Total {
        name = format!("{name} a {}", window.period.word());
    }
    let thresholds = if decl.thresholds.is_empty() { vec![50, 80, 100] } else { decl.thresholds.iter().map(|t| t.0).collect() };
    let (limit, span) = (decl.limit.0.0, Some(decl.span));
    Some(Rule { name: name.into(), scope, limit, window, on_exceed, thresholds, end_running: end_running?, span })
}

/// Reads a window and its time zone.
pub(super) fn window(word: &Option<Word>, timezone: &Option<Word>, diags: &mut Diagnostics) -> Option<Window> {
    let words: Vec<(&str, Period)> = Period::ALL.into_iter().map(|p| (p.word(), p)).collect();
    let period = choice(word, "window", &words, diags);
    let zone = match timezone {
        None => Some(Tz::UTC),
        Some(word) => crate::base::window::zone(&word.0, word.1, diags),
    };
    Some(Window { period: period?, zone: zone? })
}

/// The first choice is the default.
fn choice<T: Copy>(word: &Option<Word>, key: &str, choices: &[(&str, T)], diags: &mut Diagnostics) -> Option<T> {
    let Some(word) = word else { return choices.first().map(|(_, v)| *v) };
    let found = choices.iter().find(|(w, _)| **w == *word.0).map(|(_, v)| *v);
    if found.is_none() {
        let hint = suggest::hint(&word.0, choices.iter().map(|(w, _)| *w));
        let code = if key == "window" { "unknown-window" } else { "unknown-word" };
        diags.push(Diagnostic::error(code, word.1, format!("`{key}` cannot be `{}`", escape(&word.0))).maybe_hint(hint));
    }
    found
}
