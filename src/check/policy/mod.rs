//! Policies: small expressions over the runs of a plan, or over the plan as a whole.
//!
//! In: declared rules; runs with their estimates. Out: verdicts with the place of the rule and of the job. Must never pass what it
//! cannot judge: an expression that fails denies where the rule denies. Money is compared as whole micro-dollars.

pub mod view;

use std::sync::{Arc, LazyLock};

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;

use super::{Sum, Verdict};
use crate::base::text::escape;
use crate::base::{Diagnostic, Diagnostics, Millis, Money, SourceMap, Span, suggest};
use crate::expand::Desired;
use crate::record::{Estimate, JobSpec, RunSpec};
use crate::spec::types::{PolicyDoc, Project, RuleDecl, Word};

/// Steps that a rule may take for one run.
const FUEL: u64 = 100_000;
/// Steps that a rule may take over all runs of a plan.
const WIDE_FUEL: u64 = 50_000_000;

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| engine(FUEL));
static WIDE: LazyLock<Environment<'static>> = LazyLock::new(|| engine(WIDE_FUEL));

/// What a rule can name below `run` and `plan`; a `*` stands for names that files choose.
const NAMES: [&str; 30] = [
    "run.address",
    "run.job",
    "run.workflow",
    "run.team",
    "run.labels",
    "run.labels.*",
    "run.priority",
    "run.gpu",
    "run.gpu.type",
    "run.gpu.count",
    "run.resources",
    "run.resources.gpu",
    "run.resources.cpu",
    "run.resources.memory",
    "run.capacity",
    "run.params",
    "run.params.*",
    "run.image",
    "run.model",
    "run.timeout",
    "run.time",
    "run.cost",
    "run.cost.expected",
    "run.cost.low",
    "run.cost.high",
    "run.cost.worst",
    "plan.cost",
    "plan.cost.expected",
    "plan.cost.worst",
    "plan.runs",
];
const MORE_NAMES: [&str; 4] = ["plan.count", "plan.unpriced", "run", "plan"];
/// Functions of rules.
const FUNCTIONS: [&str; 5] = ["usd", "memory", "seconds", "range", "dict"];

/// What a rule does where its expression is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// It refuses the plan.
    Deny,
    /// It says so.
    Warn,
}

/// A rule, compiled.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Unique in the project.
    pub name: Arc<str>,
    /// What it does.
    pub level: Level,
    /// The expression as written.
    pub source: Arc<str>,
    /// Where the rule is written.
    pub span: Span,
    message: Arc<str>,
    hint: Option<Arc<str>>,
    expression: Arc<minijinja::Expression<'static, 'static>>,
    uses: Vec<String>,
}

/// What came of a rule for one run, or for the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has nothing to say.
    Silent,
    /// Its expression is true.
    Hit,
    /// It cannot be judged, in words.
    Broken(String),
}

fn engine(fuel: u64) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(fuel));
    env.set_recursion_limit(64);
    let wrong = |words: String| Error::new(ErrorKind::InvalidOperation, words);
    // A number goes through its shortest decimal form: no float ever becomes money.
    env.add_function("usd", move |amount: minijinja::Value| {
        Money::parse(&amount.to_string()).map(Money::micros).map_err(|e| wrong(format!("usd({amount}): {e}")))
    });
    env.add_function("memory", move |amount: String| {
        crate::base::resources::parse_memory(&amount).map_err(|e| wrong(format!("memory('{amount}'): {e}")))
    });
    env.add_function("seconds", move |length: String| {
        Millis::parse(&length).map(|t| t.0 / 1000).map_err(|e| wrong(format!("seconds('{length}'): {e}")))
    });
    env
}

/// All rules of a project, those of its file first.
pub fn compile(project: Option<&Project>, docs: &[PolicyDoc], sources: &SourceMap, diags: &mut Diagnostics) -> Vec<Policy> {
    let mut all: Vec<Policy> = Vec::new();
    let declared = project.into_iter().flat_map(|p| &p.policies).chain(docs.iter().flat_map(|d| &d.rules));
    for decl in declared {
        let Some(policy) = rule(decl, sources, diags) else { continue };
        match all.iter().find(|known| known.name == policy.name) {
            Some(known) => diags.push(
                Diagnostic::error("same-name", decl.name.0.1, format!("two policies are called `{}`", escape(&policy.name)))
                    .hint("give each rule a name of its own")
                    .related(known.span, "the first is here"),
            ),
            None => all.push(policy),
        }
    }
    all
}

fn rule(decl: &RuleDecl, sources: &SourceMap, diags: &mut Diagnostics) -> Option<Policy> {
    let (level, word) = match (&decl.deny, &decl.warn) {
        (Some(word), None) => (Level::Deny, word),
        (None, Some(word)) => (Level::Warn, word),
        (one, _) => {
            let words = if one.is_some() { "says both `deny` and `warn`" } else { "needs `deny` or `warn`" };
            let message = format!("policy `{}` {words}", escape(&decl.name.0.0));
            diags.push(
                Diagnostic::error("bad-policy", decl.name.0.1, message).hint("write one of them, with an expression over `run` or `plan`"),
            );
            return None;
        }
    };
    let (expression, uses) = expression(word, sources, diags)?;
    Some(Policy {
        name: Arc::clone(&decl.name.0.0),
        level,
        source: Arc::clone(&word.0),
        span: decl.name.0.1,
        message: Arc::clone(&decl.message.0.0),
        hint: decl.hint.as_ref().map(|w| Arc::clone(&w.0)),
        expression: Arc::new(expression),
        uses,
    })
}

type Compiled = (minijinja::Expression<'static, 'static>, Vec<String>);

fn expression(word: &Word, sources: &SourceMap, diags: &mut Diagnostics) -> Option<Compiled> {
    let wide = word.0.contains("plan");
    let engine = if wide { &WIDE } else { &ENGINE };
    let compiled = match engine.compile_expression_owned(word.0.to_string()) {
        Ok(compiled) => compiled,
        Err(error) => {
            let words = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            diags.push(
                Diagnostic::error("bad-policy", word.1, format!("not a valid expression: {}", escape(&words)))
                    .hint("write a condition such as `run.cost.expected > usd(40)`"),
            );
            return None;
        }
    };
    let mut uses: Vec<String> = compiled.undeclared_variables(true).into_iter().filter(|n| !FUNCTIONS.contains(&n.as_str())).collect();
    uses.sort_unstable();
    let mut sound = true;
    for name in uses.iter().filter(|n| !is_known(n)) {
        let known = NAMES.into_iter().chain(MORE_NAMES).filter(|n| !n.ends_with('*'));
        let near = suggest::nearest(name, known).map(|n| format!("did you mean `{n}`?"));
        let hint = near.unwrap_or_else(|| "see the names of rules in docs/policies.md".to_owned());
        let at = crate::expand::template::narrow(
            word.1,
            &word.0,
            word.0.find(name.as_str()).unwrap_or(0),
            word.0.find(name.as_str()).map_or(word.0.len(), |i| i + name.len()),
            sources,
        );
        diags.push(Diagnostic::error("unknown-name", at, format!("rules know no `{}`", escape(name))).hint(hint));
        sound = false;
    }
    sound.then_some((compiled, uses))
}

fn is_known(name: &str) -> bool {
    let free = ["run.labels.", "run.params."].iter().any(|p| name.starts_with(p));
    free || NAMES.contains(&name) || MORE_NAMES.contains(&name)
}

impl Policy {
    /// True when it is asked for each run.
    #[must_use]
    pub fn is_per_run(&self) -> bool {
        self.uses("run")
    }

    fn uses(&self, root: &str) -> bool {
        self.uses.iter().any(|u| u == root || u.strip_prefix(root).is_some_and(|rest| rest.starts_with('.')))
    }

    /// True when runs of one job with one price can get different answers.
    fn differs(&self) -> bool {
        self.uses.iter().any(|u| u == "run") || ["run.params", "run.address"].iter().any(|root| self.uses(root))
    }

    /// Judges a mapping with `run` or `plan` in it.
    #[must_use]
    pub fn outcome(&self, context: &Value) -> Outcome {
        match self.expression.eval(minijinja::value::Serde(context)) {
            Ok(value) if value.kind() == ValueKind::Bool => {
                if value.is_true() {
                    Outcome::Hit
                } else {
                    Outcome::Silent
                }
            }
            Ok(value) => {
                Outcome::Broken(format!("`{}` gives `{}`, neither true nor false", escape(&self.source), escape(&value.to_string())))
            }
            Err(error) => {
                let detail = error.detail().map_or_else(|| error.kind().to_string(), |d| format!("{}: {d}", error.kind()));
                Outcome::Broken(format!("`{}` cannot be evaluated: {}", escape(&self.source), escape(&detail)))
            }
        }
    }

    fn verdict(&self, subject: Arc<str>, words: String, broken: bool, span: Option<Span>) -> Verdict {
        let unknown = "what is not known (a price, a timeout, a label) is undefined: ask first, such as `run.timeout is undefined or ...`";
        Verdict {
            rule: format!("policy/{}", self.name).into(),
            blocks: self.level == Level::Deny,
            subject,
            message: words,
            hint: match (&self.hint, broken) {
                (_, true) => unknown.to_owned(),
                (Some(hint), _) => hint.to_string(),
                (None, _) => format!("the rule is `{}`", self.source),
            },
            span,
            source: Some(self.span),
        }
    }
}

/// What a job of a plan did to a rule.
#[derive(Default)]
struct Tally<'a> {
    runs: usize,
    hits: usize,
    first: Option<&'a RunSpec>,
    broken: Option<String>,
}

/// Holds runs, and the plan that they make, to all rules.
#[must_use]
pub fn judge(policies: &[Policy], desired: &Desired, priced: &[(&RunSpec, &Estimate)], total: &Sum) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if policies.is_empty() || priced.is_empty() {
        return verdicts;
    }
    let whole = policies.iter().any(|p| p.uses("plan")).then(|| {
        let runs = policies.iter().any(|p| p.uses("plan.runs") || p.uses.iter().any(|u| u == "plan"));
        view::plan(priced, total, runs)
    });
    for policy in policies {
        if policy.is_per_run() {
            per_run(policy, desired, priced, whole.as_ref(), &mut verdicts);
            continue;
        }
        let context = serde_json::json!({"plan": whole});
        let (words, broken) = match policy.outcome(&context) {
            Outcome::Silent => continue,
            Outcome::Hit => (policy.message.to_string(), false),
            Outcome::Broken(words) => (unjudged(policy, &words), true),
        };
        verdicts.push(policy.verdict("plan:".into(), words, broken, None));
    }
    verdicts
}

fn unjudged(policy: &Policy, words: &str) -> String {
    let so = if policy.level == Level::Deny { "cannot be judged, so it is refused" } else { "cannot be judged" };
    format!("{so}: {words}")
}

fn per_run(policy: &Policy, desired: &Desired, priced: &[(&RunSpec, &Estimate)], whole: Option<&Value>, verdicts: &mut Vec<Verdict>) {
    let mut rest = priced;
    while let Some((first, _)) = rest.first() {
        let end = rest.iter().position(|(r, _)| r.job.job != first.job.job).unwrap_or(rest.len());
        let (mine, others) = rest.split_at(end);
        rest = others;
        let tally = tally(policy, mine, whole);
        let Some(example) = tally.first else { continue };
        let span = desired.jobs.iter().find(|j| j.address == first.job.job).map(|j| j.span);
        let which = match (tally.runs, tally.hits) {
            (1, _) => String::new(),
            (all, hits) if all == hits => format!(" (all {all} runs)"),
            (all, hits) => format!(" ({hits} of {all} runs, such as {})", escape(example.address.as_str())),
        };
        let words = match &tally.broken {
            Some(words) => unjudged(policy, words),
            None => policy.message.to_string(),
        };
        let subject = format!("{}:", first.job.job).into();
        verdicts.push(policy.verdict(subject, words + &which, tally.broken.is_some(), span));
    }
}

fn tally<'a>(policy: &Policy, runs: &[(&'a RunSpec, &'a Estimate)], whole: Option<&Value>) -> Tally<'a> {
    let mut tally = Tally { runs: runs.len(), ..Tally::default() };
    let mut last: Option<(*const JobSpec, &Estimate, Outcome)> = None;
    for (run, estimate) in runs {
        let same = |(job, known, _): &&(*const JobSpec, &Estimate, Outcome)| *job == Arc::as_ptr(&run.job) && known.cost == estimate.cost;
        let outcome = match last.as_ref().filter(same).filter(|_| !policy.differs()) {
            Some((_, _, outcome)) => outcome.clone(),
            None => {
                let mut context = serde_json::json!({"run": view::run(run, estimate)});
                if let Some(whole) = whole.filter(|_| policy.uses("plan")) {
                    context["plan"] = whole.clone();
                }
                policy.outcome(&context)
            }
        };
        if outcome != Outcome::Silent {
            tally.hits += 1;
            tally.first.get_or_insert(run);
        }
        if let Outcome::Broken(words) = &outcome {
            tally.broken.get_or_insert_with(|| words.clone());
        }
        last = Some((Arc::as_ptr(&run.job), estimate, outcome));
    }
    tally
}

#[cfg(test)]
mod tests;
