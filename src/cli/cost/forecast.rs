//! `oppen cost forecast`: what runs will have cost when they are over, and when that is.
//!
//! In: addresses, the state, history, budgets; files for runs that were not applied yet. Out: text or JSON. Must never change anything.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::{odds, short, shorter};
use crate::advise::forecast::{Ask, Forecast, Forecaster, Together, World};
use crate::base::text::escape;
use crate::base::{Address, Money, Timestamp, suggest};
use crate::cli::args::{BackendKind, Output};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, Form, fit, pad, style, width, wrap};
use crate::cli::plan::now;
use crate::cli::progress::number;
use crate::cli::session::{Place, Session};
use crate::diff::History;
use crate::diff::select::matches_address;
use crate::monitor::outlook;
use crate::queue::{Board, Treasury, board};
use crate::record::{RunRecord, State};
use crate::store::Store;

/// Most rows of text; JSON has all.
const ROWS: usize = 200;
/// Most budgets of a run in text.
const BUDGETS: usize = 5;

/// `cost forecast`
#[derive(Debug, Args)]
pub struct ForecastArgs {
    /// Addresses (with * and ?)
    #[arg(value_name = "ADDR", required_unless_present = "all")]
    pub what: Vec<String>,
    /// Everything that is not over
    #[arg(long, conflicts_with = "what")]
    pub all: bool,
    /// Epochs (or steps) still to do, where you know better than the files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    pub remaining_epochs: Option<u64>,
    /// Shared arguments.
    #[command(flatten)]
    pub output: Output,
}

/// What forecasts are made from, read once.
pub struct Ground {
    /// The project.
    pub place: Place,
    /// The state's store; none where nothing was applied yet.
    pub store: Option<Store>,
    /// The state, with what was asked for folded in.
    pub state: State,
    /// Budgets.
    pub treasury: Treasury,
    /// When.
    pub now: Timestamp,
}

impl Ground {
    /// Reads the state around a folder.
    pub fn read(here: &Path) -> Result<Self, Failure> {
        let place = Place::find(here, None)?;
        let (store, now) = (Store::open_existing(&place.state_folder())?, now());
        let mut state = State::default();
        let treasury = match &store {
            Some(store) => {
                state = store.load()?;
                store.foresee(&mut state)?;
                let mut treasury = store.treasury(&place.rates, &place.rules(store)?, &place.limits, now)?;
                crate::engine::reserved(&mut treasury, &state);
                treasury
            }
            None => Treasury::unspent(place.rates.clone(), &place.of_project(), &place.limits, now),
        };
        Ok(Self { place, store, state, treasury, now })
    }

    /// The queue: when what waits is thought to start.
    pub fn board(&self) -> Board {
        board(&self.state, &self.place.limits, self.treasury.meters(), &self.place.rates, self.now)
    }

    /// Calls with what forecasts are made from.
    pub fn with<T>(&self, call: impl FnOnce(World<'_>) -> T) -> T {
        let past = self.store.as_ref().map(Store::past);
        let history = past.as_ref().map_or(&() as &dyn History, |p| p);
        call(World { state: &self.state, history, rates: &self.place.rates, treasury: &self.treasury, now: self.now })
    }

    /// Values of a run's metric by step, unknown ones included.
    pub fn curve(&self, record: &RunRecord) -> Result<Vec<(i64, Option<f64>)>, Failure> {
        Ok(self.store.as_ref().map(|store| outlook::curve(store, record)).transpose()?.unwrap_or_default())
    }
}

/// The runs that addresses choose, in the state; else as files want them. Everything open without any.
fn chosen(here: &Path, ground: &Ground, what: &[String]) -> Result<Vec<RunRecord>, Failure> {
    let state = &ground.state;
    if what.is_empty() {
        let mut open: Vec<RunRecord> = state.runs.values().filter(|r| !r.status.is_terminal()).cloned().collect();
        open.sort_by_key(|r| r.seq);
        return Ok(open);
    }
    let mut found: Vec<RunRecord> = Vec::new();
    let mut session: Option<Session> = None;
    for address in what {
        let before = found.len();
        let add = |found: &mut Vec<RunRecord>, run: &RunRecord| {
            if !found.iter().any(|f| f.spec.address == run.spec.address) {
                found.push(run.clone());
            }
        };
        let known = state.runs.values().filter(|r| matches_address(address, r.spec.address.as_str()));
        known.for_each(|r| add(&mut found, r));
        if found.len() > before {
            continue;
        }
        let session = session.get_or_insert_with(|| Session::read(here, &[], &[], Some(BackendKind::Local)));
        let user: Arc<str> = crate::store::me("cost", ground.now).who().into();
        for spec in session.desired.runs.iter().filter(|r| matches_address(address, r.address.as_str())) {
            add(&mut found, &RunRecord { by: Arc::clone(&user), ..RunRecord::new(Arc::clone(spec), 0, u64::MAX, ground.now) });
        }
        if found.len() == before {
            let names = state.runs.keys().map(Address::as_str).chain(session.desired.jobs.iter().map(|j| &*j.address));
            let hint = suggest::hint(address, names.collect::<Vec<_>>());
            return Err(Failure { exit: Exit::Usage, message: format!("no run `{}` in the state or the files", escape(address)), hint });
        }
    }
    Ok(found)
}

/// Forecasts and shows.
pub fn run(here: &Path, args: &ForecastArgs) -> Outcome {
    let ground = Ground::read(here)?;
    let runs = chosen(here, &ground, &args.what)?;
    if args.remaining_epochs.is_some() && runs.iter().all(|r| r.status.is_terminal()) && !runs.is_empty() {
        return Err(Failure::new(Exit::Usage, "what is over has no epochs left").hint("leave --remaining-epochs out"));
    }
    let board = ground.board();
    let forecasts = ground.with(|world| -> Result<Vec<Forecast>, Failure> {
        let mut forecaster = Forecaster::new(world);
        let one = |record: &RunRecord| {
            // Extrapolating needs the journal: for the few runs that are looked at one by one.
            let curve = if runs.len() <= BUDGETS { ground.curve(record)? } else { Vec::new() };
            let start = board.of(&record.spec.address).and_then(|w| w.start);
            let start = start.or_else(|| (record.generation == 0).then_some(ground.now));
            Ok(forecaster.run(record, &Ask { remaining: args.remaining_epochs, start, curve: &curve }))
        };
        runs.iter().map(one).collect()
    })?;
    let together = Together::of(&forecasts, &ground.treasury);
    output::write(&args.output.output, |form| match form {
        Form::Json => output::json(&json!({"format_version": 1, "time": ground.now.to_string(), "runs": forecasts, "together": together})),
        Form::Text => text(&forecasts, &together, ground.now),
    })?;
    Ok(Exit::Done)
}

fn text(all: &[Forecast], together: &Together, now: Timestamp) -> String {
    let mut out = String::new();
    match all {
        [] => return "Nothing runs or waits: there is nothing to forecast.\n".to_owned(),
        [one] => {
            block(&mut out, one, now);
            return out;
        }
        few if few.len() <= 3 => {
            for one in few {
                block(&mut out, one, now);
                out.push('\n');
            }
        }
        many => table(&mut out, many),
    }
    sum(&mut out, together, now);
    out
}

/// `12.3s`, `0.02s`, `2m05s`.
pub fn length(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{}s", number((seconds * 1000.0).round() / 1000.0))
    } else {
        crate::base::Millis((seconds * 1000.0) as u64).to_string()
    }
}

/// `14:32:06`, with the date when that is another day.
fn clock(at: Timestamp, now: Timestamp) -> String {
    let (Some(at_utc), Some(now)) = (at.utc(), now.utc()) else { return at.to_string() };
    let form = if at_utc.date_naive() == now.date_naive() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    at_utc.format(form).to_string()
}

fn block(out: &mut String, f: &Forecast, now: Timestamp) {
    let attempt = f.attempt.map(|n| format!(", attempt {n}")).unwrap_or_default();
    let name = fit(&escape(f.address.as_str()), width().saturating_sub(24));
    let _ = writeln!(out, "{}  {}{attempt}", style::paint(style::BOLD, &name), f.status.word());
    let mut line = |name: &str, words: String| {
        for (i, part) in wrap(&words, width().saturating_sub(13)).iter().enumerate() {
            let _ = writeln!(out, "  {:<10} {part}", if i == 0 { name } else { "" });
        }
    };
    if let Some(p) = &f.progress {
        let of = p.total.map(|t| format!(" of {t}")).unwrap_or_default();
        let each = p.seconds_each.map(|s| format!(", {} each", length(s))).unwrap_or_default();
        line("progress", format!("{}{of} {}{each}", p.done, p.unit));
    }
    if f.status.is_terminal() {
        line("cost", format!("{}, all of it", f.spent));
    } else if let Some(total) = &f.total {
        let interval = total.interval.map_or(" (no interval)".to_owned(), |(l, h)| format!(" (95%: {l} to {h})"));
        let worst = total.worst.map(|w| format!(", {w} at the worst")).unwrap_or_default();
        line("cost", format!("{} so far, {} in all{interval}{worst}", f.spent, total.expected));
    } else {
        line("cost", format!("{} so far, the whole is not known", f.spent));
    }
    if let Some(t) = &f.time {
        let interval = t.interval.map(|(l, h)| format!(" (95%: {l} to {h})")).unwrap_or_default();
        let so_far = if f.attempt.is_some() { format!("{} so far, ", t.so_far) } else { String::new() };
        line("time", format!("{so_far}{} left{interval}", t.left));
    }
    if let Some(finish) = f.finish {
        let interval = f.finish_interval.map(|(l, h)| format!(" (95%: {} to {})", clock(l, now), clock(h, now))).unwrap_or_default();
        line("finish", format!("{} UTC{interval}", clock(finish, now)));
    }
    line("rests on", escape(&f.basis).into_owned());
    if let Some(m) = &f.metric {
        let last = m.last.map_or("no finite value yet".to_owned(), |v| format!("{} now", number(v)));
        let end = match (m.expected, m.interval, &m.missing) {
            (Some(e), Some((l, h)), _) => format!(", {} at the end (95%: {} to {})", number(e), number(l), number(h)),
            (_, _, Some(missing)) => format!("; its end is not told: {missing}"),
            _ => String::new(),
        };
        let unknown = match m.unknown {
            0 => String::new(),
            1 => "; 1 value was no number and is not used".to_owned(),
            n => format!("; {n} values were no number and are not used"),
        };
        line("metric", format!("{} {last}{end}{unknown}", escape(&m.name)));
    }
    if let Some(p) = &f.pruning {
        let chance = p.chance.map_or(String::new(), |c| format!("{} that its sweep ends it early: ", odds(c)));
        line("pruning", format!("{chance}{} of {} trials that ran as long were", p.pruned, p.seen));
    }
    if let Some(chance) = f.timeout_chance.filter(|c| *c >= 0.001) {
        line("timeout", format!("{} that it is not done in time", odds(chance)));
    }
    for b in f.budgets.iter().take(BUDGETS) {
        let chance = b.chance.map_or("chance to pass it not known".to_owned(), |c| format!("{} to pass it", odds(c)));
        let turns = b.turns.map(|t| format!(" (of the window from {})", clock(t, now))).unwrap_or_default();
        line("budget", format!("{}: {chance}; {} of {} left for it{turns}", escape(&b.name), b.left.max(Money::ZERO), b.limit));
    }
}

fn table(out: &mut String, all: &[Forecast]) {
    let room = width().saturating_sub(54);
    let _ = writeln!(out, "{} {:>9} {:>9} {:>9} {:>13} {:>8}", pad("", room), "done", "so far", "in all", "95%", "left");
    for f in all.iter().take(ROWS) {
        let done = f.progress.as_ref().map_or(f.status.word().to_owned(), |p| match p.total {
            Some(total) => format!("{}/{total}", p.done),
            None => p.done.to_string(),
        });
        let (whole, interval) = match &f.total {
            Some(t) => (short(t.expected), t.interval.map_or("-".to_owned(), |(l, h)| format!("{}-{}", short(l), short(h)))),
            None => ("?".to_owned(), "-".to_owned()),
        };
        let left = f.time.as_ref().map_or(String::new(), |t| t.left.to_string());
        let name = pad(&fit(&escape(f.address.as_str()), room), room);
        let _ = writeln!(
            out,
            "{}",
            format!("{name} {:>9} {:>9} {whole:>9} {interval:>13} {left:>8}", fit(&done, 9), short(f.spent)).trim_end()
        );
    }
    if all.len() > ROWS {
        let _ = writeln!(out, "... and {} more; `-o json` has all.", all.len() - ROWS);
    }
}

fn sum(out: &mut String, t: &Together, now: Timestamp) {
    if t.open == 0 {
        let _ = writeln!(out, "All of them are over: {}.", t.spent);
        return;
    }
    let interval = t.total.interval.map(|(l, h)| format!(" (95%: {l} to {h})")).unwrap_or_default();
    let unknown = if t.unknown > 0 { format!(", and {} of which nothing is known", t.unknown) } else { String::new() };
    let worst = t.total.worst.map(|w| format!(", {w} at the worst")).unwrap_or_default();
    let finish = t.finish.map(|f| format!(" Done by {} UTC.", clock(f, now))).unwrap_or_default();
    let runs = if t.open == 1 { "1 open run".to_owned() } else { format!("{} open runs", t.open) };
    let words = format!("{runs}: {} so far, {} in all{interval}{worst}{unknown}.{finish}", t.spent, t.total.expected);
    for line in wrap(&words, width()) {
        let _ = writeln!(out, "{line}");
    }
    for b in t.budgets.iter().take(BUDGETS) {
        let chance = b.chance.map_or("chance to pass it not known".to_owned(), |c| format!("{} to pass it", odds(c)));
        let words = format!("Budget of {}: {chance}; {} of {} left.", escape(&b.name), b.left.max(Money::ZERO), b.limit);
        for line in wrap(&words, width()) {
            let _ = writeln!(out, "{line}");
        }
    }
}

/// A line for a run that goes on, in the room that a table of runs has: `6/10, 4m left, $0.012/$0.02`.
#[must_use]
pub fn compact(f: &Forecast) -> String {
    let done = f.progress.as_ref().map(|p| p.total.map_or(format!("{} {}", p.done, p.unit), |t| format!("{}/{t}", p.done)));
    let left = f.time.as_ref().map(|t| format!("{} left", t.left));
    let money = match &f.total {
        Some(total) => format!("{}/{}", shorter(f.spent), shorter(total.expected)),
        None => format!("{} so far", shorter(f.spent)),
    };
    [done, left, Some(money)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Forecasts of live runs, for `status`.
#[must_use]
pub fn of_live(world: World<'_>, runs: &[&RunRecord]) -> Vec<Forecast> {
    let mut forecaster = Forecaster::new(world);
    let live = runs.iter().filter(|r| r.live_attempt().is_some());
    live.map(|r| forecaster.run(r, &Ask::default())).collect()
}

/// A line for all live runs together; nothing where none of them tells.
#[must_use]
pub fn outlook(live: &[Forecast], now: Timestamp) -> String {
    let known: Vec<&Forecast> = live.iter().filter(|f| f.total.is_some()).collect();
    if known.is_empty() {
        return String::new();
    }
    let expected: Money = known.iter().filter_map(|f| f.total).map(|t| t.expected).sum();
    let spent: Money = known.iter().map(|f| f.spent).sum();
    let finish = known.iter().filter_map(|f| f.finish).max().map(|f| format!(", done by {} UTC", clock(f, now))).unwrap_or_default();
    format!("Running: {} so far, {} in all{finish}.\n", short(spent), short(expected))
}
