//! `oppen rates show`: a rate card as people want to see it.
//!
//! In: the project's cards, now. Out: what each resource costs now, windows, factors, date and source; text, JSON, CSV. Must never show
//! a price that the card does not have.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::{age, days, factor, name};
use crate::base::text::escape;
use crate::base::{Capacity, Diagnostics, Money, Timestamp, suggest};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, fit, flow, listed, pad, style, width};
use crate::cli::plan::now;
use crate::price::hours::{DAY, KINDS};
use crate::price::offer::Prices;
use crate::price::windows::{DAYS, clock};
use crate::price::{Cards, Hours, ONE, Rates};

/// Rows of text; JSON and CSV have all.
const ROWS: usize = 100;
const CAPACITIES: [(&str, Capacity); 3] = [("on-demand", Capacity::OnDemand), ("spot", Capacity::Spot), ("reserved", Capacity::Reserved)];

/// `rates show`
#[derive(Debug, Args)]
pub struct Show {
    /// The card (default: the one that holds; `project` is what oppen.yaml says)
    pub name: Option<String>,
    /// Prices as of this time (RFC 3339; default: now)
    #[arg(long, value_name = "TIME", value_parser = output::time)]
    pub at: Option<Timestamp>,
    /// Output: text, json, csv, each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = output::parse::<Shape>)]
    pub output: Vec<output::Target<Shape>>,
}

/// A form of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A table of 80 columns.
    Text,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json), ("csv", Self::Csv)];
}

/// What one resource costs at one place.
struct Row<'a> {
    what: &'a str,
    region: Option<&'a str>,
    zone: Option<&'a str>,
    /// By [`CAPACITIES`], at factor 1 of window and priority.
    prices: [Option<Money>; 3],
    includes: Vec<&'static str>,
}

/// Shows.
pub fn run(here: &Path, args: &Show) -> Outcome {
    let mut diags = Diagnostics::default();
    let loaded = crate::files::load(here, &[], &mut diags);
    // Workflows may be wrong as they like: they are not asked.
    let mut diags = Diagnostics::default();
    let cards = Cards::read(loaded.project.as_ref(), &loaded.rates, now(), &mut diags);
    if diags.has_errors() {
        output::say(crate::cli::problems::text(&diags, &loaded.sources).trim_end());
        return Err(Failure::silent(Exit::Invalid));
    }
    let names = || cards.all.iter().map(|c| name(&c.rates));
    let index = match &args.name {
        None => cards.chosen,
        Some(wanted) => names().position(|n| n == wanted).ok_or_else(|| Failure {
            exit: Exit::Usage,
            message: format!("there is no rate card `{}`", escape(wanted)),
            hint: suggest::hint(wanted, names().collect::<Vec<_>>()),
        })?,
    };
    let Some(card) = cards.all.get(index) else { return Ok(Exit::Done) };
    let at = args.at.unwrap_or_else(now);
    let view = View { rates: &card.rates, holds: index == cards.chosen, at, others: names().filter(|n| *n != name(&card.rates)).collect() };
    output::write(&args.output, |shape| match shape {
        Shape::Text => view.text(),
        Shape::Json => output::json(&view.value()),
        Shape::Csv => view.csv(),
    })?;
    Ok(Exit::Done)
}

struct View<'a> {
    rates: &'a Rates,
    holds: bool,
    at: Timestamp,
    others: Vec<&'a str>,
}

impl<'a> View<'a> {
    /// GPUs by type and place, then the rest.
    fn rows(&self) -> Vec<Row<'a>> {
        let rates = self.rates;
        let of = |price: &dyn Fn(Capacity) -> Option<Money>| CAPACITIES.map(|(_, c)| price(c));
        let by_factor = |price: Option<Money>, c| price.zip(rates.capacity(c)).map(|(p, f)| p.scale(f, ONE));
        let of_gpu = |p: &Prices| of(&|c| p.of(c).or_else(|| by_factor(p.on_demand, c)));
        let mut rows = Vec::new();
        if let Some(price) = rates.gpu {
            let prices = of(&|c| by_factor(Some(price), c));
            rows.push(Row { what: "any GPU", region: None, zone: None, prices, includes: Vec::new() });
        }
        for (kind, offer) in &rates.gpus {
            let mut row = |region, zone, prices: &Prices| {
                if !prices.is_empty() {
                    rows.push(Row { what: kind, region, zone, prices: of_gpu(prices), includes: offer.includes.words() });
                }
            };
            row(None, None, &offer.prices);
            for (region, own) in &offer.regions {
                row(Some(&**region), None, &own.prices);
                own.zones.iter().for_each(|(zone, prices)| row(Some(&**region), Some(&**zone), prices));
            }
        }
        for (what, price) in [("core", rates.cpu), ("GiB of memory", rates.memory), ("GiB of disk", rates.disk)] {
            if let Some(price) = price {
                // Beside a GPU at a price of its own they keep their usual one.
                let prices = of(&|c| by_factor(Some(price), c).or(Some(price)));
                rows.push(Row { what, region: None, zone: None, prices, includes: Vec::new() });
            }
        }
        rows
    }

    /// The factor of the window that is open.
    fn now(&self) -> (&'a str, u64) {
        self.rates.hours.at(self.at).map_or(("always", ONE), |w| (&*w.name, w.factor))
    }

    fn local(&self, at: Timestamp) -> String {
        at.utc().map_or_else(|| at.to_string(), |t| t.with_timezone(&self.rates.hours.zone).format("%Y-%m-%d %H:%M").to_string())
    }

    fn text(&self) -> String {
        let (rates, mut out) = (self.rates, String::new());
        let _ = writeln!(out, "{}", style::paint(style::BOLD, &escape(name(rates))));
        let date = rates.as_of.map_or_else(|| "no date".to_owned(), |d| format!("as of {d}, {} old", days(age(d, self.at))));
        for line in output::wrap(&escape(&format!("{date}; {}", rates.source)), width().saturating_sub(2)) {
            let _ = writeln!(out, "  {line}");
        }
        let site = [&rates.site.region, &rates.site.zone].into_iter().flatten().map(|s| escape(s).into_owned()).collect::<Vec<_>>();
        let place = if site.is_empty() { String::new() } else { format!(", in {}", site.join(", ")) };
        let holds = if self.holds { format!("holds here{place}") } else { "does not hold here: `pool.rates` names another".to_owned() };
        let _ = writeln!(out, "  {holds}\n");
        self.write_prices(&mut out);
        self.write_hours(&mut out);
        let with = |(class, f): (&std::sync::Arc<str>, &u64)| format!("{} x {}", escape(class), factor(*f));
        let mut factors: Vec<String> = rates.priority.iter().map(with).collect();
        factors.extend(rates.spot.map(|f| format!("spot x {}", factor(f))));
        factors.extend(rates.reserved.map(|f| format!("reserved x {}", factor(f))));
        if !factors.is_empty() {
            let _ = writeln!(out, "\n  {}", flow(&listed(factors, ""), width().saturating_sub(2)));
        }
        if !self.others.is_empty() {
            let others: Vec<String> = self.others.iter().map(|o| escape(o).into_owned()).collect();
            let mut pieces = vec!["Other cards:".to_owned()];
            pieces.extend(listed(others, "."));
            let _ = writeln!(out, "\n{}", flow(&pieces, width()));
        }
        out
    }

    fn write_prices(&self, out: &mut String) {
        let (window, now) = self.now();
        let room = width().saturating_sub(2 + 3 * 13 + 14).clamp(20, 38);
        let title = if now == ONE { "an hour now".to_owned() } else { format!("an hour now ({} x {})", escape(window), factor(now)) };
        let head: String = CAPACITIES.iter().map(|(word, _)| format!("{word:>13}")).collect();
        let _ = writeln!(out, "  {}{}", pad(&fit(&title, room), room), style::paint(style::DIM, &head));
        let all = self.rows();
        let here = |row: &&Row<'_>| !self.holds || row.region.zip(self.rates.site.region.as_deref()).is_none_or(|(a, b)| a == b);
        let rows: Vec<&Row<'_>> = all.iter().filter(here).collect();
        let mut notes: Vec<&[&str]> = rows.iter().map(|r| &r.includes[..]).filter(|i| !i.is_empty()).collect();
        notes.sort_unstable();
        notes.dedup();
        for row in rows.iter().take(ROWS) {
            let words = [Some(row.what), row.region, row.zone].into_iter().flatten().map(escape).collect::<Vec<_>>().join(" ");
            let note = notes.iter().position(|n| *n == &row.includes[..]).map_or(0, |i| i + 1);
            let words = fit(&words, room.saturating_sub(note)) + &"*".repeat(note);
            let price = |p: &Option<Money>| p.map_or("-".to_owned(), |m| m.scale(now, ONE).to_string());
            let cells: String = row.prices.iter().map(|p| format!("{:>13}", price(p))).collect();
            let _ = writeln!(out, "  {}{cells}", pad(&words, room));
        }
        for (i, note) in notes.iter().enumerate() {
            let words = note.join(" and ");
            let _ = writeln!(out, "  {}", style::paint(style::DIM, &format!("{} {words} of the run included", "*".repeat(i + 1))));
        }
        let more = all.len() - rows.len().min(ROWS);
        if more > 0 {
            let _ = writeln!(out, "  ... and {more} more, of other places; `-o csv` has all");
        }
        if rows.is_empty() {
            let _ = writeln!(out, "  nothing has a price here");
        }
    }

    fn write_hours(&self, out: &mut String) {
        let hours = &self.rates.hours;
        if let [_] = hours.windows[..] {
            return;
        }
        let (open, _) = self.now();
        let _ = writeln!(out, "\n  windows by the clock of {}", hours.zone.name());
        for (i, window) in hours.windows.iter().enumerate() {
            let until = hours.until(self.at).filter(|_| *window.name == *open);
            let until = until.map(|t| format!("  now, until {}", self.local(t))).unwrap_or_default();
            let when = format!("{} x {:<5} {}", pad(&fit(&escape(&window.name), 12), 12), factor(window.factor), describe(hours, i));
            let _ = writeln!(out, "  {}{}", fit(&when, width().saturating_sub(2 + until.len())), style::paint(style::LIVE, &until));
        }
        if !hours.holidays.is_empty() {
            let next: Vec<String> = hours.holidays.iter().map(ToString::to_string).collect();
            let _ = writeln!(out, "  holidays: {}", fit(&next.join(", "), width().saturating_sub(12)));
        }
    }

    fn value(&self) -> Value {
        let (rates, (window, now)) = (self.rates, self.now());
        let price = |row: &Row<'_>| {
            let prices = CAPACITIES.iter().zip(&row.prices).filter_map(|((word, _), p)| p.map(|p| (word, p)));
            let one = |(word, p): (&&str, Money)| ((*word).to_owned(), json!({"hour": p, "hour_now": p.scale(now, ONE)}));
            json!({"resource": row.what, "region": row.region, "zone": row.zone, "includes": row.includes, "prices": prices.map(one).collect::<serde_json::Map<_, _>>()})
        };
        let hours = &rates.hours;
        let windows: Vec<Value> = (0..hours.windows.len())
            .zip(&hours.windows)
            .map(|(i, w)| json!({"name": w.name, "factor": factor(w.factor), "when": describe(hours, i)}))
            .collect();
        json!({
            "format_version": 1, "card": name(rates), "holds": self.holds, "currency": "USD", "as_of": rates.as_of.map(|d| d.to_string()),
            "age_days": rates.as_of.map(|d| age(d, self.at)), "source": rates.source, "region": rates.site.region, "zone": rates.site.zone,
            "time": self.at.to_string(), "window": window, "factor": factor(now), "until": hours.until(self.at).map(|t| t.to_string()),
            "prices": self.rows().iter().map(price).collect::<Vec<_>>(), "timezone": hours.zone.name(), "windows": windows,
            "holidays": hours.holidays.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "priority": rates.priority.iter().map(|(c, f)| (c.to_string(), json!(factor(*f)))).collect::<serde_json::Map<_, _>>(),
            "spot": rates.spot.map(factor), "reserved": rates.reserved.map(factor), "others": self.others,
        })
    }

    fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let (_, now) = self.now();
        let mut put = |record: &[&str]| drop(writer.write_record(record));
        put(&["resource", "region", "zone", "capacity", "usd_hour", "usd_hour_now", "includes"]);
        for row in self.rows() {
            for ((word, _), price) in CAPACITIES.iter().zip(row.prices) {
                let Some(price) = price else { continue };
                let (hour, hour_now, with) = (price.decimal(), price.scale(now, ONE).decimal(), row.includes.join(" "));
                put(&[row.what, row.region.unwrap_or_default(), row.zone.unwrap_or_default(), word, &hour, &hour_now, &with]);
            }
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}

/// When a window is open, in words: `mon-fri 22:00-08:00; sat-sun`.
fn describe(hours: &Hours, window: usize) -> String {
    let kinds = if hours.holidays.is_empty() { KINDS - 1 } else { KINDS };
    let mut groups: Vec<(usize, usize, String)> = Vec::new();
    for kind in 0..kinds {
        let Some(text) = ranges(hours.day(kind), window) else { continue };
        match groups.last_mut().filter(|(_, to, t)| *to + 1 == kind && *t == text && kind < KINDS - 1) {
            Some((_, to, _)) => *to = kind,
            None => groups.push((kind, kind, text)),
        }
    }
    let day = |kind: usize| DAYS.get(kind).copied().unwrap_or_default();
    let words: Vec<String> = groups
        .iter()
        .map(|(from, to, text)| {
            let days = if from == to { day(*from).to_owned() } else { format!("{}-{}", day(*from), day(*to)) };
            if text.is_empty() { days } else { format!("{days} {text}") }
        })
        .collect();
    words.join("; ")
}

/// The hours of a day at which a window is open; empty for the whole day, none for no time. Over midnight it is one stretch.
fn ranges(day: &[(u32, usize)], window: usize) -> Option<String> {
    let end = |i: usize| day.get(i + 1).map_or(DAY, |(m, _)| *m);
    let mut all: Vec<(u32, u32)> =
        day.iter().enumerate().filter(|(_, (_, w))| *w == window).map(|(i, (from, _))| (*from, end(i))).collect();
    match all[..] {
        [] => return None,
        [(0, DAY)] => return Some(String::new()),
        [(0, to), .., (from, DAY)] => {
            all.pop();
            all.remove(0);
            all.push((from, to));
        }
        _ => {}
    }
    Some(all.iter().map(|(from, to)| format!("{}-{}", clock(*from), clock(*to))).collect::<Vec<_>>().join(", "))
}
