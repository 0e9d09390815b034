//! `oppen cost estimate`: runs priced piece by piece.
//!
//! In: files and addresses, a start. Out: by resource, by window, by budget; the same as text and JSON. Must never show a price for
//! what has none.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use clap::Args;
use serde_json::{Value, json};

use crate::base::money::div_half_even;
use crate::base::text::escape;
use crate::base::{Capacity, Money, Timestamp, suggest};
use crate::cli::args::{BackendKind, Output};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, Form, fit, pad, style, width};
use crate::cli::plan::now;
use crate::cli::session::Session;
use crate::diff::select::matches_address;
use crate::expand::Rule;
use crate::price::{Breakdown, ONE, Rates};
use crate::record::{JobSpec, Payer, RunSpec};

/// Most blocks of text; JSON has all.
const BLOCKS: usize = 20;

/// `cost estimate`
#[derive(Debug, Args)]
pub struct Estimate {
    /// Addresses (with * and ?) and workflow files (.yaml); without any, everything in the project
    #[arg(value_name = "ADDR|FILE")]
    pub what: Vec<String>,
    /// Price as if started at this time (RFC 3339; default: now)
    #[arg(long, value_name = "TIME", value_parser = output::time)]
    pub at: Option<Timestamp>,
    /// Set an input: name=value, or workflow.name=value
    #[arg(long, value_name = "K=V", value_parser = output::setting)]
    pub set: Vec<(String, String)>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// Tells workflow files from addresses by their ending.
pub fn files_and_addresses(what: &[String]) -> (Vec<PathBuf>, Vec<&str>) {
    let (files, addresses): (Vec<&str>, Vec<&str>) =
        what.iter().map(String::as_str).partition(|w| w.ends_with(".yaml") || w.ends_with(".yml"));
    (files.into_iter().map(PathBuf::from).collect(), addresses)
}

/// Runs with equal settings.
struct Block<'a> {
    runs: Vec<&'a RunSpec>,
    job: &'a Arc<JobSpec>,
    priced: Result<Breakdown, String>,
    /// Budgets that count it, each with its part of the limit, of one run and of all, in tenths of a percent.
    budgets: Vec<(&'a Rule, i64, i64)>,
}

impl Block<'_> {
    fn total(&self) -> Option<Money> {
        let each = self.priced.as_ref().ok()?.total;
        Some(each.scale(self.runs.len() as u64, 1))
    }
}

/// Prices and shows.
pub fn run(here: &Path, args: &Estimate) -> Outcome {
    let (paths, addresses) = files_and_addresses(&args.what);
    let session = Session::read(here, &paths, &args.set, Some(BackendKind::Local));
    session.sound(&args.output.output)?;
    let start = args.at.unwrap_or_else(now);
    let wanted = wanted(&session, &addresses)?;
    let blocks = blocks(&session, wanted, start);
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&value(&blocks, start, &session.rates)),
        _ => text(&blocks, start, &session.rates),
    })?;
    Ok(Exit::Done)
}

/// The runs that addresses choose; all without any.
pub fn wanted<'s>(session: &'s Session, addresses: &[&str]) -> Result<Vec<&'s Arc<RunSpec>>, Failure> {
    let runs = &session.desired.runs;
    for address in addresses {
        if !runs.iter().any(|r| matches_address(address, r.address.as_str())) {
            let known = session.desired.jobs.iter().map(|j| &*j.address);
            let hint = suggest::hint(address, known);
            return Err(Failure { exit: Exit::Usage, message: format!("no run `{}` in these files", escape(address)), hint });
        }
    }
    let matches = |r: &&Arc<RunSpec>| addresses.is_empty() || addresses.iter().any(|a| matches_address(a, r.address.as_str()));
    Ok(runs.iter().filter(matches).collect())
}

fn blocks<'s>(session: &'s Session, runs: Vec<&'s Arc<RunSpec>>, start: Timestamp) -> Vec<Block<'s>> {
    let user: Arc<str> = crate::store::me("cost", start).who().into();
    let mut blocks: Vec<Block<'s>> = Vec::new();
    for run in runs {
        match blocks.last_mut().filter(|b| Arc::ptr_eq(b.job, &run.job)) {
            Some(block) => block.runs.push(run),
            None => {
                let priced = match run.job.estimate.time {
                    Some(length) => session.rates.breakdown(&run.job, start, length),
                    None => Err("no estimate; add `estimate: {time: 30m}`".to_owned()),
                };
                blocks.push(Block { runs: vec![run], job: &run.job, priced, budgets: Vec::new() });
            }
        }
    }
    for block in &mut blocks {
        let payer = Payer::of(block.job, &user);
        let (Ok(each), Some(all)) = (block.priced.as_ref().map(|b| b.total), block.total()) else { continue };
        let rules = session.rules.iter().filter(|r| r.scope.covers(&payer) && r.limit > Money::ZERO);
        block.budgets = rules.map(|r| (r, tenths(each, r.limit), tenths(all, r.limit))).collect();
    }
    blocks
}

/// Part of a limit in tenths of a percent.
fn tenths(part: Money, limit: Money) -> i64 {
    div_half_even(i128::from(part.micros()) * 1000, i128::from(limit.micros().max(1)))
}

fn percent(tenths: i64) -> String {
    if tenths % 10 == 0 { format!("{}%", tenths / 10) } else { format!("{}.{}%", tenths / 10, tenths % 10) }
}

/// A factor in parts per million as a decimal.
fn factor(ppm: u64) -> String {
    let text = format!("{}.{:06}", ppm / ONE, ppm % ONE);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn local(at: Timestamp, zone: Tz) -> String {
    at.utc().map_or_else(|| at.to_string(), |t| t.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string())
}

const fn word(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::OnDemand => "on-demand",
        Capacity::Spot => "spot",
        Capacity::Reserved => "reserved",
    }
}

/// The card and the place whose prices they are; none for the project's own rates, at no place.
fn origin(rates: &Rates) -> Option<String> {
    let mut parts: Vec<String> = rates.card.iter().map(ToString::to_string).collect();
    parts.extend(rates.as_of.filter(|_| rates.card.is_some()).map(|d| format!("as of {d}")));
    parts.extend([&rates.site.region, &rates.site.zone].into_iter().flatten().map(ToString::to_string));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn text(blocks: &[Block<'_>], start: Timestamp, rates: &Rates) -> String {
    let (mut out, zone, origin) = (String::new(), rates.hours.zone, origin(rates));
    for block in blocks.iter().take(BLOCKS) {
        write_block(&mut out, block, origin.as_deref(), zone);
        out.push('\n');
    }
    if let Some(more) = blocks.len().checked_sub(BLOCKS).filter(|n| *n > 0) {
        let _ = writeln!(out, "... and {more} more with other settings; `-o json` has all.\n");
    }
    let runs: usize = blocks.iter().map(|b| b.runs.len()).sum();
    let unpriced: usize = blocks.iter().filter(|b| b.priced.is_err()).map(|b| b.runs.len()).sum();
    let total: Money = blocks.iter().filter_map(Block::total).sum();
    let left = if unpriced > 0 { format!(", and {unpriced} without a price") } else { String::new() };
    let runs = if runs - unpriced == 1 { "1 run".to_owned() } else { format!("{} runs", runs - unpriced) };
    let _ =
        writeln!(out, "{} for {runs}{left}, as if started {} {zone}.", style::paint(style::BOLD, &total.to_string()), local(start, zone));
    out
}

fn write_block(out: &mut String, block: &Block<'_>, origin: Option<&str>, zone: Tz) {
    let job = block.job;
    let name = match &block.runs[..] {
        [one] => one.address.to_string(),
        many => format!("{} ({} runs)", job.job, many.len()),
    };
    let _ = writeln!(out, "{}", style::paint(style::BOLD, &fit(&escape(&name), width())));
    let (priced, length) = match (&block.priced, job.estimate.time) {
        (Ok(priced), Some(length)) => (priced, length),
        (Err(why), _) => {
            let _ = writeln!(out, "  {}: {}", style::paint(style::CHANGE, "unpriced"), fit(&escape(why), width().saturating_sub(12)));
            return;
        }
        _ => return,
    };
    let _ = writeln!(out, "  {:<9} {length} ({})", "time", escape(&job.estimate.basis));
    if let Some(from) = origin {
        let _ = writeln!(out, "  {:<9} {}", "rates", fit(&escape(from), width().saturating_sub(12)));
    }
    for line in &priced.lines {
        let of = match (line.included, line.own) {
            (true, _) => format!("{}, with the GPU", line.amount),
            (_, true) => format!("{} {} at {}/h", line.amount, word(job.resources.capacity), line.hourly),
            _ => format!("{} at {}/h", line.amount, line.hourly),
        };
        let _ = writeln!(out, "  {:<9} {} {:>12}", line.what, pad(&fit(&of, 44), 44), line.cost);
    }
    for s in &priced.stretches {
        let from = local(s.from, zone);
        let to = local(s.to, zone);
        let to = if from.get(..10) == to.get(..10) { to.get(11..).unwrap_or_default().to_owned() } else { to };
        let of = format!("{from} to {to} ({}) x {}", s.to.since(s.from), factor(s.factor));
        let _ = writeln!(out, "  {:<9} {} {:>12}", fit(&escape(&s.window), 9), pad(&fit(&of, 44), 44), s.cost);
    }
    let mut class = format!("{} x {}", escape(&job.priority.class), factor(priced.priority));
    if let Some(of_capacity) = priced.capacity {
        let _ = write!(class, ", {} x {}", word(job.resources.capacity), factor(of_capacity));
    }
    let _ = writeln!(out, "  {:<9} {}", "factors", fit(&class, width().saturating_sub(12)));
    let _ = writeln!(out, "  {:<9} {} {:>12}", "total", pad("", 44), style::paint(style::BOLD, &format!("{:>12}", priced.total)));
    if let (many @ 2.., Some(all)) = (block.runs.len(), block.total()) {
        let _ = writeln!(out, "  {:<9} {} {:>12}", "all", pad(&format!("{many} runs"), 44), all);
    }
    for (rule, each, all) in &block.budgets {
        let many = if block.runs.len() > 1 && !rule.scope.is_each_run() { format!(", all {}", percent(*all)) } else { String::new() };
        let words = format!("{}{many} of {} ({})", percent(*each), rule.limit, escape(&rule.name));
        let _ = writeln!(out, "  {:<9} {}", "budget", fit(&words, width().saturating_sub(12)));
    }
}

fn value(blocks: &[Block<'_>], start: Timestamp, rates: &Rates) -> Value {
    let one = |block: &Block<'_>| {
        let mut v = json!({
            "job": block.job.job, "addresses": block.runs.iter().map(|r| &r.address).collect::<Vec<_>>(),
            "seconds": block.job.estimate.time.map(|t| t.as_secs_f64()), "basis": block.job.estimate.basis,
        });
        match &block.priced {
            Err(why) => v["unpriced_reason"] = json!(why),
            Ok(p) => {
                v["total"] = json!(p.total);
                v["total_all"] = json!(block.total());
                v["resources"] =
                    p.lines.iter().map(|l| json!({"what": l.what, "amount": l.amount, "hourly": l.hourly, "own_price": l.own, "included": l.included, "cost": l.cost})).collect();
                v["windows"] = p
                    .stretches
                    .iter()
                    .map(|s| json!({"window": s.window, "from": s.from.to_string(), "to": s.to.to_string(), "seconds": s.to.since(s.from).as_secs_f64(), "factor": factor(s.factor), "cost": s.cost}))
                    .collect();
                v["priority"] = json!({"class": block.job.priority.class, "factor": factor(p.priority)});
                v["capacity"] = json!({"kind": word(block.job.resources.capacity), "factor": p.capacity.map(factor)});
                v["budgets"] = block
                    .budgets
                    .iter()
                    .map(
                        |(r, each, all)| json!({"name": r.name, "limit": r.limit, "percent": percent(*each), "percent_all": percent(*all)}),
                    )
                    .collect();
            }
        }
        v
    };
    let unpriced: usize = blocks.iter().filter(|b| b.priced.is_err()).map(|b| b.runs.len()).sum();
    json!({
        "format_version": 1, "start": start.to_string(),
        "rates": {"card": rates.card, "as_of": rates.as_of.map(|d| d.to_string()), "region": rates.site.region, "zone": rates.site.zone},
        "total": blocks.iter().filter_map(Block::total).sum::<Money>(), "unpriced": unpriced,
        "blocks": blocks.iter().map(one).collect::<Vec<_>>(),
    })
}
