//! `oppen cost report`: where the money went.
//!
//! In: the ledger. Out: rows as text, CSV, JSON, Markdown, or a picture. Must never change anything.

use std::fmt::Write as _;
use std::path::Path;

use chrono::{NaiveDate, NaiveTime, TimeZone as _};
use chrono_tz::Tz;
use clap::Args;
use serde_json::{Value, json};

use crate::advise::chart::{self, Across, Chart, Mark, Unit};
use crate::advise::report::{Answer, By, Question, Row, Sums, Tally};
use crate::base::text::escape;
use crate::base::{Money, Timestamp, suggest};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, fit, pad, style};
use crate::cli::plan::now;
use crate::cli::session::Place;
use crate::store::Store;

/// `cost report`
#[derive(Debug, Args)]
pub struct Report {
    /// First day that counts, such as 2026-11-01 (default: the first entry's)
    #[arg(long, value_name = "DATE")]
    pub from: Option<NaiveDate>,
    /// Last day that counts (default: today)
    #[arg(long, value_name = "DATE")]
    pub to: Option<NaiveDate>,
    /// Rows: team, workflow, job, user, priority, gpu, day, month, quarter; may be given again (default: workflow)
    #[arg(long, value_name = "WHAT", value_parser = by)]
    pub by: Vec<By>,
    /// Whose days: an IANA name such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub timezone: Tz,
    /// Output: text, csv, json, markdown, svg, each with =FILE to write a file; may be given again
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = output::parse::<Shape>)]
    pub output: Vec<output::Target<Shape>>,
}

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A table of 80 columns.
    Text,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
    /// For pages.
    Markdown,
    /// A picture.
    Svg,
}

fn by(word: &str) -> Result<By, String> {
    By::parse(word).ok_or_else(|| suggest::hint(word, By::ALL.map(By::word)).unwrap_or_default())
}

impl output::Forms for Shape {
    const ALL: &'static [(&'static str, Self)] =
        &[("text", Self::Text), ("csv", Self::Csv), ("json", Self::Json), ("markdown", Self::Markdown), ("svg", Self::Svg)];
}

/// What the ledger says to a question.
pub fn answer(store: &Store, args: &Report) -> Result<Answer, Failure> {
    let midnight = |day: NaiveDate| {
        let local = args.timezone.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest();
        local.map_or(Timestamp(0), |t| Timestamp(t.timestamp_millis()))
    };
    let from = args.from.map_or(Timestamp(i64::MIN), midnight);
    let to = args.to.map_or(Timestamp(now().0.saturating_add(1)), |d| d.succ_opt().map_or(Timestamp(i64::MAX), midnight));
    if from >= to {
        return Err(Failure::new(Exit::Usage, "--from is not before --to").hint("give the earlier day first"));
    }
    let before = if args.from.is_some() { Timestamp(from.0.saturating_sub(to.since(from).0.try_into().unwrap_or(0))) } else { from };
    let again = store.generations()?.into_iter().collect();
    let rows = if args.by.is_empty() { vec![By::Workflow] } else { args.by.clone() };
    let reused = store.reused(from, to)?;
    let question = Question { from, to, before, by: rows, zone: args.timezone, generations: again, reused };
    let mut tally = Tally::new(question.clone());
    store.lines(&question, |line| tally.add(line))?;
    Ok(tally.answer())
}

/// `cost report`
pub fn run(here: &Path, args: &Report) -> Outcome {
    let store = Place::find(here, None)?.store()?;
    let by = if args.by.is_empty() { vec![By::Workflow] } else { args.by.clone() };
    let shown = Shown { answer: answer(&store, args)?, by, zone: args.timezone, trend: args.from.is_some() };
    output::write(&args.output, |shape| shown.render(shape))?;
    Ok(Exit::Done)
}

struct Shown {
    answer: Answer,
    by: Vec<By>,
    zone: Tz,
    trend: bool,
}

impl Shown {
    fn render(&self, shape: Shape) -> String {
        match shape {
            Shape::Text => self.text(),
            Shape::Csv => self.csv(),
            Shape::Json => self.json(),
            Shape::Markdown => self.markdown(),
            Shape::Svg => self.svg(),
        }
    }

    fn words(&self) -> String {
        self.by.iter().map(|b| b.word()).collect::<Vec<_>>().join(", ")
    }

    fn period(&self) -> String {
        let day = |t: Timestamp| t.utc().map_or_else(String::new, |t| t.with_timezone(&self.zone).format("%Y-%m-%d").to_string());
        self.answer.span.map_or("nothing was spent".to_owned(), |(a, b)| format!("{} to {} ({})", day(a), day(b), self.zone))
    }

    fn text(&self) -> String {
        let mut out = format!("{}\n", style::paint(style::BOLD, &format!("Cost by {}, {}", self.words(), self.period())));
        let _ = writeln!(
            out,
            "  {} {:>6} {:>8} {:>12} {:>11} {:>5} {:>6}",
            pad("", 24),
            "runs",
            "time",
            "spent",
            "a run",
            "waste",
            self.head()
        );
        for row in &self.answer.rows {
            let _ = writeln!(out, "{}", self.line(&escape(&row.key.join(" ")), &row.sums));
        }
        if self.answer.rows.len() != 1 {
            let _ = writeln!(out, "{}", self.line("all", &self.answer.total));
        }
        let t = &self.answer.total;
        let listed = |all: &[(&str, Money)]| {
            let some: Vec<String> = all.iter().filter(|(_, m)| *m > Money::ZERO).map(|(w, m)| format!("{w} {m}")).collect();
            if some.is_empty() { "nothing".to_owned() } else { some.join(", ") }
        };
        let _ = writeln!(out, "Waste: {}.", listed(&waste(t)));
        let _ = writeln!(out, "Saved: {}.", listed(&self.saved()));
        out
    }

    fn head(&self) -> &'static str {
        if self.trend { "change" } else { "" }
    }

    fn line(&self, name: &str, s: &Sums) -> String {
        let change = if self.trend { percent(s.spent - s.before, s.before, true) } else { String::new() };
        let share = percent(s.waste(), s.spent, false);
        let name = pad(&fit(name, 24), 24);
        let text = format!("  {name} {:>6} {:>8} {:>12} {:>11} {share:>5} {change:>6}", s.runs, s.time.to_string(), s.spent, s.each());
        text.trim_end().to_owned()
    }

    fn saved(&self) -> [(&'static str, Money); 4] {
        let a = &self.answer;
        [("reuse", a.reuse), ("off-peak", a.total.off_peak), ("spot", a.total.spot), ("early stopping (estimated)", a.early)]
    }

    fn csv(&self) -> String {
        let quoted = |t: &str| if t.contains([',', '"', '\n', '\r']) { format!("\"{}\"", t.replace('"', "\"\"")) } else { t.to_owned() };
        let heads: Vec<&str> = self.by.iter().map(|b| b.word()).collect();
        let mut out = format!(
            "{},runs,attempts,seconds,spent,before,failed,interrupted,cancelled,superseded,pruned,off_peak_saved,spot_saved\n",
            heads.join(",")
        );
        for Row { key, sums: s } in &self.answer.rows {
            let keys: Vec<String> = key.iter().map(|k| quoted(k)).collect();
            let money = [s.spent, s.before, s.failed, s.interrupted, s.cancelled, s.superseded, s.pruned, s.off_peak, s.spot];
            let money: Vec<String> = money.iter().map(|m| m.decimal()).collect();
            let _ = writeln!(out, "{},{},{},{},{}", keys.join(","), s.runs, s.attempts, s.time.as_secs_f64(), money.join(","));
        }
        out
    }

    fn json(&self) -> String {
        let sums = |s: &Sums| {
            json!({"runs": s.runs, "attempts": s.attempts, "seconds": s.time.as_secs_f64(), "spent": s.spent, "before": s.before, "a_run": s.each(),
                "waste": {"total": s.waste(), "failed": s.failed, "interrupted": s.interrupted, "cancelled": s.cancelled, "superseded": s.superseded},
                "pruned": s.pruned, "saved": {"off_peak": s.off_peak, "spot": s.spot}})
        };
        let row = |r: &Row| {
            let mut value = sums(&r.sums);
            value["key"] = self.by.iter().zip(&r.key).map(|(b, k)| (b.word().to_owned(), Value::from(k.as_str()))).collect();
            value
        };
        let rows: Vec<Value> = self.answer.rows.iter().map(row).collect();
        let span = self.answer.span.map(|(a, b)| [a.to_string(), b.to_string()]);
        output::json(
            &json!({"format_version": 1, "span": span, "timezone": self.zone.name(), "rows": rows, "total": sums(&self.answer.total),
            "saved": {"reuse": self.answer.reuse, "early_stopping": self.answer.early}}),
        )
    }

    fn markdown(&self) -> String {
        let cell = |t: &str| escape(t).replace('|', "\\|").replace('<', "&lt;");
        let mut out = format!("### Cost by {}\n\n{}\n\n", self.words(), self.period());
        let heads: Vec<&str> = self.by.iter().map(|b| b.word()).collect();
        let _ = writeln!(out, "| {} | runs | time | spent | a run | waste |", heads.join(" | "));
        let _ = writeln!(out, "|{}---:|---:|---:|---:|---:|", "---|".repeat(heads.len()));
        for Row { key, sums: s } in &self.answer.rows {
            let keys: Vec<String> = key.iter().map(|k| cell(k)).collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                keys.join(" | "),
                s.runs,
                s.time,
                s.spent,
                s.each(),
                percent(s.waste(), s.spent, false)
            );
        }
        out
    }

    fn svg(&self) -> String {
        let t = &self.answer.total;
        let title = format!("Cost by {}", self.words());
        let note = format!("{}, {} in all, {} of it wasted", self.period(), t.spent, percent(t.waste(), t.spent, false));
        let parts = ["used", "failed", "interrupted", "cancelled", "superseded"];
        let split = |s: &Sums| [s.spent - s.waste(), s.failed, s.interrupted, s.cancelled, s.superseded].map(place);
        if self.by.first().is_some_and(|b| b.is_time()) && self.by.len() == 1 {
            let words = self.answer.rows.iter().map(|r| r.key.join(" ")).collect();
            let bars = parts.iter().enumerate().map(|(i, name)| Mark::Bars {
                name: (*name).to_owned(),
                values: self.answer.rows.iter().map(|r| split(&r.sums).get(i).copied().unwrap_or_default()).collect(),
            });
            let marks = bars.filter(|m| matches!(m, Mark::Bars { values, .. } if values.iter().any(|v| *v > 0.0))).collect();
            return Chart { title, note, across: Across::Words(words), across_label: String::new(), up: Unit::Money, marks }.svg();
        }
        let rows: Vec<chart::Row> =
            self.answer.rows.iter().take(30).map(|r| chart::Row { name: r.key.join(" "), parts: split(&r.sums).to_vec() }).collect();
        chart::ranking(&title, &note, &parts, &rows, Unit::Money)
    }
}

/// Where money stands on a page.
#[expect(clippy::cast_precision_loss, reason = "a position on a page")]
fn place(money: Money) -> f64 {
    money.micros() as f64
}

fn waste(t: &Sums) -> [(&'static str, Money); 4] {
    [("failed", t.failed), ("interrupted", t.interrupted), ("cancelled", t.cancelled), ("made again", t.superseded)]
}

/// Whole percent; nothing where there is no whole.
fn percent(part: Money, whole: Money, signed: bool) -> String {
    if whole <= Money::ZERO {
        return "-".to_owned();
    }
    let value = i128::from(part.micros()) * 100 / i128::from(whole.micros());
    if signed { format!("{value:+}%") } else { format!("{value}%") }
}
