//! `oppen rates check`: whether the prices can be trusted with a plan. For people and for CI.
//!
//! In: the project's cards and runs, now. Out: what is stale, undated or not priced, in every form of a check. Exit code 3 when the card
//! that holds is one of these. Must never pass what it could not look at.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{age, days, name};
use crate::base::text::escape;
use crate::base::{Resources, Timestamp};
use crate::check::{self, Verdict};
use crate::cli::args::{BackendKind, Files, Reports};
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::{self, Format, style};
use crate::cli::plan::now;
use crate::cli::session::Session;
use crate::cli::views::{self, Found, Places};
use crate::price::{Card, Rates};
use crate::record::RunSpec;

/// `rates check`
#[derive(Debug, Args)]
pub struct Check {
    /// Shared arguments.
    #[command(flatten)]
    pub files: Files<Reports>,
    /// Oldest prices that are still believed
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = output::duration)]
    pub max_age: Duration,
}

/// Checks.
pub fn run(here: &Path, args: &Check) -> Outcome {
    let files = Files { backend: args.files.backend.or(Some(BackendKind::Local)), ..args.files.clone() };
    let session = Session::to_validate(here, &files);
    session.sound(&files.output.output)?;
    let (now, cards) = (now(), &session.cards);
    let most = i64::try_from(args.max_age.as_secs() / 86_400).unwrap_or(i64::MAX);
    let mut verdicts: Vec<Verdict> =
        cards.all.iter().enumerate().filter_map(|(i, card)| fresh(card, i == cards.chosen, now, most)).collect();
    let specs: Vec<&RunSpec> = session.desired.runs.iter().map(AsRef::as_ref).collect();
    let mut missing = check::prices(&session.desired, &specs, &session.rates);
    for verdict in &mut missing {
        let asks = specs.iter().find(|s| *s.job.job == *verdict.subject).map(|s| &s.job.resources);
        if let Some(other) = asks.and_then(|r| elsewhere(&session, r)) {
            verdict.hint = format!("{}; the card `{}` has a price", verdict.hint, escape(other));
        }
    }
    verdicts.extend(missing);
    let prefix = views::prefix(&session.loaded.root);
    let findings = Places { sources: &session.loaded.sources, prefix: &prefix }.of_verdicts(&verdicts);
    let looked_at = cards.all.iter().map(|c| format!("rates {}", name(&c.rates))).collect();
    let found = Found { command: "rates check", looked_at, findings };
    let blocked = verdicts.iter().any(|v| v.blocks);
    output::write(&files.output.output, |form| match form {
        Format::Text => text(&session, &found, &verdicts, now),
        Format::Json => output::json(&json!({
            "format_version": 1, "fresh": !blocked, "card": name(&session.rates), "max_age_days": most,
            "as_of": session.rates.as_of.map(|d| d.to_string()), "age_days": session.rates.as_of.map(|d| age(d, now)),
            "runs": specs.len(), "gpus": kinds(&specs),
            "findings": found.findings.iter().map(|f| json!({"rule": f.rule, "blocks": f.level == views::Level::Error, "subject": f.subject,
                "message": f.message, "hint": f.hint, "file": f.at.as_ref().map(|a| &a.file), "line": f.at.as_ref().map(|a| a.line)}))
                .collect::<Vec<_>>(),
        })),
        other => views::text(other, &found).unwrap_or_default(),
    })?;
    Ok(if blocked { Exit::Blocked } else { Exit::Done })
}

/// What is wrong with a card's date. Cards that do not hold are warned of.
fn fresh(card: &Card, holds: bool, now: Timestamp, most: i64) -> Option<Verdict> {
    let rates = &card.rates;
    let subject: Arc<str> = format!("rate card {}", name(rates)).into();
    let verdict = |rule: &str, blocks, message: String, hint: &str| Verdict {
        rule: rule.into(),
        blocks,
        subject: Arc::clone(&subject),
        message,
        hint: hint.to_owned(),
        span: card.span,
        source: None,
    };
    match rates.as_of {
        None if card.span.is_none() && holds => {
            let hint = "write your prices into `rates` of oppen.yaml, or name a card with `pool.rates`";
            let verdict = verdict("built-in-rates", false, "are built in, they are no cloud's".to_owned(), hint);
            Some(Verdict { subject: "rates".into(), ..verdict })
        }
        None if card.span.is_none() => None,
        None => {
            Some(verdict("undated-rates", holds, "has no date".to_owned(), "add `as_of: 2026-11-01`, the date on which the prices held"))
        }
        Some(date) => {
            let old = age(date, now);
            let message = format!("is of {date}: {} old, at most {most} are believed", days(old));
            (old > most).then(|| verdict("stale-rates", holds, message, "look the prices up again and write the new date"))
        }
    }
}

/// Another card that prices it.
fn elsewhere<'s>(session: &'s Session, asks: &Resources) -> Option<&'s str> {
    let others = session.cards.all.iter().enumerate().filter(|(i, _)| *i != session.cards.chosen).map(|(_, c)| &c.rates);
    let anywhere = |r: &&Rates| r.parts(asks).is_ok() || asks.gpu.kind.as_deref().is_some_and(|k| r.gpus.contains_key(k));
    others.into_iter().find(anywhere).map(name)
}

/// GPU types that runs ask for.
fn kinds<'s>(specs: &[&'s RunSpec]) -> Vec<&'s str> {
    let mut all: Vec<&str> =
        specs.iter().filter(|s| s.job.resources.gpu.count > 0).filter_map(|s| s.job.resources.gpu.kind.as_deref()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn text(session: &Session, found: &Found, verdicts: &[Verdict], now: Timestamp) -> String {
    let mut out = String::new();
    for (finding, verdict) in found.findings.iter().zip(verdicts) {
        let (word, color) = if verdict.blocks { ("blocked", style::BAD) } else { ("warning", style::CHANGE) };
        let place = finding.at.as_ref().map(|a| format!(" ({}:{})", a.file, a.line)).unwrap_or_default();
        let sentence = format!("{}: {}{place} [{}]", word, escape(&finding.sentence()), finding.rule);
        for (i, line) in output::wrap(&sentence, output::width().saturating_sub(2)).iter().enumerate() {
            let line = if i == 0 { line.replacen(word, &style::paint(color, word), 1) } else { format!("  {line}") };
            out.push_str(&(line + "\n"));
        }
        for line in output::wrap(&format!("help: {}", finding.hint), output::width().saturating_sub(2)) {
            out.push_str(&format!("  {}\n", style::paint(style::DIM, &line)));
        }
    }
    let rates = &session.rates;
    let date = rates.as_of.map_or_else(|| "no date".to_owned(), |d| format!("as of {d}, {} old", days(age(d, now))));
    let missing = verdicts.iter().filter(|v| &*v.rule == "price").count();
    let jobs = session.desired.jobs.len();
    let priced = match (jobs, missing) {
        (0, _) => "no jobs to price".to_owned(),
        (_, 0) => format!("every job has a price ({jobs})"),
        _ => format!("{missing} of {jobs} jobs have no price"),
    };
    let line = format!("Rate card {}: {date}; {priced}.", escape(name(rates)));
    for line in output::wrap(&line, output::width()) {
        out.push_str(&(line + "\n"));
    }
    out
}
