//! `oppen budget status`: where each budget stands.
//!
//! In: the files' budgets, the ledger's sums, the state's reservations. Out: text or JSON. Must never change anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::advise::budget::{Standing, percent, standing};
use crate::advise::burn::{Burn, burn};
use crate::advise::chart::{Across, Chart, Mark, Unit};
use crate::base::text::escape;
use crate::base::{Money, Timestamp, suggest};
use crate::cli::args::{BackendKind, Output};
use crate::cli::cost::short;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, Form, fit, style, width};
use crate::cli::plan::now;
use crate::cli::session::{Place, Session};
use crate::expand::OnExceed;
use crate::queue::Treasury;
use crate::store::Store;

/// Cells of a bar.
const BAR: usize = 20;

/// `budget status`
#[derive(Debug, Args)]
pub struct Status {
    /// Draw the burn-down of the first budget that is spent from into an SVG file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Only the budgets of this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// `budget status`
pub fn run(here: &Path, args: &Status) -> Outcome {
    let place = Place::find(here, Some(BackendKind::Local))?;
    let store = Store::open_existing(&place.state_folder())?;
    // What files say now; where they hold errors, what the project says and what was applied last.
    let session = Session::read(here, &[], &[], Some(BackendKind::Local));
    let mut rules = if session.diags.has_errors() { Vec::new() } else { session.rules };
    let applied = match &store {
        Some(store) => place.rules(store)?,
        None => place.of_project(),
    };
    let new: Vec<_> = applied.into_iter().filter(|r| !rules.iter().any(|k| k.scope == r.scope && k.name == r.name)).collect();
    rules.extend(new);
    let (now, slots) = (now(), place.limits.max_concurrent);
    let treasury = match &store {
        Some(store) => {
            let mut treasury = store.treasury(&place.rates, &rules, &place.limits, now)?;
            crate::engine::reserved(&mut treasury, &store.load_open()?);
            treasury
        }
        None => Treasury::new(place.rates.clone(), &rules, slots, now),
    };
    let (mut all, mut burns) = (standing(treasury.accounts()), burns(store.as_ref(), &treasury, now)?);
    if let Some(name) = &args.name {
        let keep: Vec<bool> = all.iter().map(|b| *b.name == **name).collect();
        if !keep.contains(&true) {
            let hint = suggest::hint(name, all.iter().map(|b| &*b.name));
            return Err(Failure { exit: Exit::Usage, message: format!("there is no budget `{}`", escape(name)), hint });
        }
        let mut of = keep.iter();
        all.retain(|_| of.next() == Some(&true));
        let mut of = keep.iter();
        burns.retain(|_| of.next() == Some(&true));
    }
    if let Some(file) = &args.svg {
        let drawn = svg(&all, &burns, now).ok_or_else(|| Failure::new(Exit::Error, "nothing was spent yet: there is nothing to draw"))?;
        std::fs::write(here.join(file), drawn).map_err(|e| Failure::new(Exit::Error, format!("{}: {e}", file.display())))?;
    }
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(
            &json!({"format_version": 1, "time": now.to_string(), "budgets": all.iter().zip(&burns).map(|(b, burn)| value(b, burn)).collect::<Vec<_>>()}),
        ),
        _ => text(&all, &burns),
    })?;
    Ok(Exit::Done)
}

fn value(b: &Standing, burn: &Burn) -> serde_json::Value {
    let mut value = serde_json::to_value(b).unwrap_or_default();
    value["next"] = json!(b.next.map(|t| t.to_string()));
    value["burn"] = json!(burn);
    value["percent"] = json!(percent(b.spent_tenths));
    value
}

fn text(all: &[Standing], burns: &[Burn]) -> String {
    if all.is_empty() {
        return "No budgets. Write `budget: {limit: 50 USD}` into oppen.yaml or a workflow.\n".to_owned();
    }
    let mut out = String::new();
    for (b, burn) in all.iter().zip(burns) {
        let limit = format!("{} {}", word(b.on_exceed), b.limit);
        let name = fit(&escape(&b.name), width().saturating_sub(limit.len() + 2));
        let _ = writeln!(out, "{}  {limit}", style::paint(style::BOLD, &name));
        if b.scope.is_each_run() {
            continue;
        }
        let used = format!("{:>6}", percent(b.spent_tenths));
        let _ = writeln!(out, "  {} {used}  {} spent, {} reserved, {} left", bar(b), b.spent, b.reserved, b.left);
        if let Some(line) = burn_line(b, burn) {
            let _ = writeln!(out, "  {line}");
        }
        if let Some(next) = b.next {
            let _ = writeln!(out, "  begins anew {}", local(next, b.timezone));
        }
    }
    out
}

/// `2026-12-01 00:00 Europe/Berlin`.
fn local(at: Timestamp, zone: &str) -> String {
    let zone: chrono_tz::Tz = zone.parse().unwrap_or_default();
    at.utc().map_or_else(|| at.to_string(), |t| t.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string()) + " " + zone.name()
}

const fn word(on_exceed: OnExceed) -> &'static str {
    match on_exceed {
        OnExceed::Warn => "warns at",
        OnExceed::Hold => "holds at",
        OnExceed::Stop => "stops at",
        OnExceed::Cap => "ends its sweep at",
    }
}

/// Spent and reserved as parts of the limit.
fn bar(b: &Standing) -> String {
    let (spent, reserved, left) = output::bar(b.spent_tenths, b.reserved_tenths, BAR, output::unicode());
    let color = style::of_budget(b.spent >= b.limit, b.reached.is_some());
    format!("{}{reserved}{}", style::paint(color, &spent), style::paint(style::DIM, &left))
}

/// Days of a sparkline.
const SPARKS: usize = 20;

/// How fast each budget is used up, in the order of the accounts.
fn burns(store: Option<&Store>, treasury: &Treasury, now: Timestamp) -> Result<Vec<Burn>, Failure> {
    let spent = match (store, treasury.since()) {
        (Some(store), Some(since)) => store.spending(since)?,
        _ => Vec::new(),
    };
    let of = |a: &crate::queue::Account| {
        let mine = spent.iter().filter(|(_, p, _)| !a.rule.scope.is_each_run() && a.rule.scope.covers(p)).map(|(at, _, m)| (*at, *m));
        burn(&a.rule, a.start, a.next, a.left(), &mine.collect::<Vec<_>>(), now)
    };
    Ok(treasury.accounts().iter().map(of).collect())
}

/// `▁▂▅█ $4.00 a day; gone on 2026-11-26 at that pace`.
fn burn_line(b: &Standing, burn: &Burn) -> Option<String> {
    let most = burn.days.iter().map(|d| d.1).max().filter(|m| *m > Money::ZERO)?;
    let cells: Vec<char> = if output::unicode() { "▁▂▃▄▅▆▇█".chars().collect() } else { "01234567".chars().collect() };
    let cell = |m: Money| {
        let step = i128::from(m.max(Money::ZERO).micros()) * 7 / i128::from(most.micros());
        cells.get(usize::try_from(step).unwrap_or(0)).copied().unwrap_or(' ')
    };
    let skip = burn.days.len().saturating_sub(SPARKS);
    let sparks: String = burn.days.iter().skip(skip).map(|d| cell(d.1)).collect();
    let pace = match (burn.a_day, burn.exhausted) {
        (None, _) => "a day at least is needed for a pace".to_owned(),
        (Some(a_day), Some(at)) => {
            format!("{} a day; gone on {} at that pace", short(a_day), local(at, b.timezone).get(..10).unwrap_or_default())
        }
        (Some(a_day), None) if b.next.is_some() => format!("{} a day; lasts until it begins anew", short(a_day)),
        (Some(a_day), None) => format!("{} a day", short(a_day)),
    };
    Some(format!("{sparks}  {pace}"))
}

/// The burn-down of the first budget that is spent from: what is spent by day, the projection, the limit.
fn svg(all: &[Standing], burns: &[Burn], now: Timestamp) -> Option<String> {
    let (b, burn) = all.iter().zip(burns).find(|(b, burn)| !b.scope.is_each_run() && !burn.days.is_empty())?;
    let zone: chrono_tz::Tz = b.timezone.parse().unwrap_or_default();
    // Where money and time stand on a page.
    let up = |m: Money| m.micros() as f64;
    let across = |t: Timestamp| t.0 as f64;
    let midnight = |day: chrono::NaiveDate| {
        let local = day.and_hms_opt(0, 0, 0).and_then(|t| t.and_local_timezone(zone).earliest());
        local.map_or(now, |t| Timestamp(t.timestamp_millis()))
    };
    let shown: Money = burn.days.iter().map(|d| d.1).sum();
    let mut sum = b.spent - shown;
    let mut points = vec![(across(midnight(burn.days.first()?.0)), up(sum))];
    for (i, (_, amount)) in burn.days.iter().enumerate() {
        sum += *amount;
        let end = burn.days.get(i + 1).map_or(now, |next| midnight(next.0));
        points.push((across(end), up(sum)));
    }
    let mut marks = vec![
        Mark::Line { name: "spent".to_owned(), points, dashed: false, steps: false },
        Mark::Limit { name: format!("limit {}", b.limit), y: up(b.limit) },
    ];
    if let Some(at) = burn.exhausted {
        let points = vec![(across(now), up(b.spent)), (across(at), up(b.limit))];
        marks.push(Mark::Line { name: "at this pace".to_owned(), points, dashed: true, steps: false });
    }
    let gone = burn.exhausted.map(|at| format!(", gone on {} at this pace", local(at, b.timezone).get(..10).unwrap_or_default()));
    let note = format!("{} of {} spent{}", b.spent, b.limit, gone.unwrap_or_default());
    let title = format!("Budget of {}", b.name);
    Some(Chart { title, note, across: Across::Time(zone), across_label: String::new(), up: Unit::Money, marks }.svg())
}
