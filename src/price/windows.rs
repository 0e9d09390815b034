//! The windows of a rate card, read: what covers the week, what overlaps, what is left open.
//!
//! In: `windows` or `off_peak` as written. Out: [`Hours`], and every problem at its place. Must never price an hour that two windows
//! claim or that none does.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime, Timelike};
use chrono_tz::Tz;

use super::ONE;
use super::hours::{DAY, Hours, KINDS, MOST, Window};
use crate::base::{Diagnostic, Diagnostics, Span, suggest, text::escape};
use crate::spec::lower::Named;
use crate::spec::types::{OffPeakDecl, RatesDecl, WindowDecl, Word, Workflow};

/// Kinds of days by their word.
pub const DAYS: [&str; KINDS] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holidays"];
const HOLIDAYS: usize = 7;

/// The hours of a card; `base` are those that hold where it names none.
pub fn read(decl: &RatesDecl, base: Hours, diags: &mut Diagnostics) -> Hours {
    let mut hours = match (&decl.off_peak, decl.windows.0.first()) {
        (Some(off_peak), Some((_, span, _))) => {
            diags.push(
                Diagnostic::error("said-twice", *span, "cheap hours are given both as `windows` and as `off_peak`")
                    .related(off_peak.span, "the other is here")
                    .hint("keep one of them"),
            );
            base
        }
        (Some(off_peak), None) => of_off_peak(off_peak, diags),
        (None, Some(_)) => of_windows(&decl.windows, diags).unwrap_or(base),
        (None, None) => base,
    };
    let own = decl.off_peak.as_ref();
    if let Some(zone) = own.and_then(|o| o.timezone.as_ref()).or(decl.timezone.as_ref()) {
        hours.zone = crate::base::window::zone(&zone.0, zone.1, diags).unwrap_or(Tz::UTC);
    }
    hours.holidays = decl.holidays.iter().chain(own.into_iter().flat_map(|o| &o.holidays)).filter_map(|w| day(w, diags)).collect();
    hours.holidays.sort_unstable();
    hours.holidays.dedup();
    hours
}

fn of_off_peak(decl: &OffPeakDecl, diags: &mut Diagnostics) -> Hours {
    let factor = decl.factor.as_ref().map_or(ONE / 2, |f| f.0.0);
    not_free(factor, decl.factor.as_ref().map(|f| f.1), diags);
    let from = decl.from.as_ref().map_or(22 * 60, |w| minute(&w.0, w.1, diags).unwrap_or(0));
    let to = decl.to.as_ref().map_or(8 * 60, |w| minute(&w.0, w.1, diags).unwrap_or(0));
    Hours::off_peak(factor, from, to, decl.weekends.as_ref().is_none_or(|w| w.0))
}

fn not_free(factor: u64, span: Option<Span>, diags: &mut Diagnostics) {
    if factor == 0 {
        diags.push(Diagnostic::error("bad-value", span, "a factor of 0 makes runs free").hint("write a factor such as `0.5`"));
    }
}

/// Minutes of kinds of days, each with the window that has it.
type Cells = [Vec<Option<usize>>; KINDS];

fn of_windows(decls: &Named<WindowDecl>, diags: &mut Diagnostics) -> Option<Hours> {
    let mut cells: Cells = std::array::from_fn(|_| vec![None; DAY as usize]);
    let (mut windows, mut holidays_named, mut sound) = (Vec::new(), false, true);
    if let Some((_, span, _)) = decls.0.get(MOST) {
        diags
            .push(Diagnostic::error("too-many", *span, format!("a card has at most {MOST} windows")).hint("join those with equal factors"));
        return None;
    }
    for (index, (name, span, decl)) in decls.iter().enumerate() {
        let factor = &decl.factor.0;
        not_free(factor.0.0, Some(factor.1), diags);
        windows.push(Window { name: Arc::clone(name), factor: factor.0.0 });
        let (days, hours) = (days(&decl.days, &mut holidays_named, diags), hours(&decl.hours, diags));
        let Some((days, hours)) = days.zip(hours) else {
            sound = false;
            continue;
        };
        let mut told: Option<usize> = None;
        for (kind, from, to) in days.iter().flat_map(|kind| hours.iter().map(move |(from, to)| (*kind, *from, *to))) {
            for minute in from..to {
                let Some(cell) = cells.get_mut(kind).and_then(|d| d.get_mut(minute as usize)) else { continue };
                match cell.replace(index).filter(|other| *other != index) {
                    Some(other) if told != Some(other) => {
                        told = Some(other);
                        sound = false;
                        diags.push(overlap(decls, (name, *span), other, kind, minute));
                    }
                    _ => {}
                }
            }
        }
    }
    if !holidays_named {
        cells[HOLIDAYS] = cells[HOLIDAYS - 1].clone();
    }
    if !sound || gaps(decls, &cells, diags) {
        return None;
    }
    let of = |kind: usize, minute: u32| cells.get(kind).and_then(|d| d.get(minute as usize)).copied().flatten().unwrap_or(0);
    Some(Hours::new(windows, of, Vec::new(), Tz::UTC))
}

fn overlap(decls: &Named<WindowDecl>, (name, span): (&str, Span), other: usize, kind: usize, minute: u32) -> Diagnostic {
    let (other, at) = decls.0.get(other).map_or(("", span), |(n, s, _)| (n, *s));
    let when = format!("{} {}", DAYS.get(kind).copied().unwrap_or_default(), clock(minute));
    Diagnostic::error("overlapping-windows", span, format!("windows `{}` and `{}` both have {when}", escape(other), escape(name)))
        .related(at, "the other is here")
        .hint("give each hour of each day to one window: `days` and `hours` say which")
}

/// Tells what no window covers; true when there is something.
fn gaps(decls: &Named<WindowDecl>, cells: &Cells, diags: &mut Diagnostics) -> bool {
    let mut found: Vec<(usize, u32, u32)> = Vec::new();
    for (kind, day) in cells.iter().enumerate() {
        for (minute, _) in (0..DAY).zip(day).filter(|(_, cell)| cell.is_none()) {
            match found.last_mut().filter(|(k, _, to)| *k == kind && *to == minute) {
                Some((_, _, to)) => *to += 1,
                None => found.push((kind, minute, minute + 1)),
            }
        }
    }
    let (Some(&(kind, from, to)), Some((_, span, _))) = (found.first(), decls.0.first()) else { return false };
    let more = if found.len() > 1 { format!(" and {} more stretches", found.len() - 1) } else { String::new() };
    let words = format!("no window covers {} {}-{}{more}", DAYS.get(kind).copied().unwrap_or_default(), clock(from), clock(to));
    diags.push(
        Diagnostic::error("gap-in-windows", *span, words)
            .hint("windows cover the whole week together: add one for the rest, such as `peak: {factor: 1, ...}`"),
    );
    true
}

/// Tells which `start` names hours that the card does not have.
pub fn known<'w>(workflows: impl IntoIterator<Item = &'w Workflow>, hours: &Hours, diags: &mut Diagnostics) {
    for workflow in workflows {
        let starts = workflow.defaults.iter().map(|d| &d.start).chain(workflow.jobs.0.iter().map(|(_, _, job)| &job.start));
        for word in starts.flatten().filter_map(|s| s.window.as_ref()) {
            if &*word.0 == "any" || hours.set(&word.0).is_some() {
                continue;
            }
            let names: Vec<&str> = hours.windows.iter().map(|w| &*w.name).chain(hours.set("off-peak").map(|_| "off-peak")).collect();
            let hint = if hours.windows.len() < 2 {
                Some("its prices are the same at all times: give it `windows`, or leave `start` out".to_owned())
            } else {
                suggest::hint(&word.0, names)
            };
            let message = format!("the rate card has no hours `{}`", escape(&word.0));
            diags.push(Diagnostic::error("unknown-window", word.1, message).maybe_hint(hint));
        }
    }
}

/// `08:30`.
#[must_use]
pub fn clock(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn days(words: &[Word], holidays_named: &mut bool, diags: &mut Diagnostics) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for word in words {
        match (&*word.0, DAYS.iter().position(|d| *d == &*word.0)) {
            ("weekdays", _) => found.extend(0..5),
            ("weekends", _) => found.extend(5..7),
            (_, Some(kind)) => {
                *holidays_named |= kind == HOLIDAYS;
                found.push(kind);
            }
            (other, None) => {
                let hint = suggest::hint(other, DAYS.into_iter().chain(["weekdays", "weekends"]));
                diags.push(Diagnostic::error("bad-value", word.1, format!("`{}` is no day", escape(other))).maybe_hint(hint));
                return None;
            }
        }
    }
    Some(if words.is_empty() { (0..KINDS).collect() } else { found })
}

/// Stretches of minutes. One that ends before it begins is the two ends of the same day.
fn hours(words: &[Word], diags: &mut Diagnostics) -> Option<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    for word in words {
        let Some((from, to)) = word.0.split_once('-') else {
            let message = format!("`{}` are no hours", escape(&word.0));
            diags.push(Diagnostic::error("bad-value", word.1, message).hint("write `08:00-22:00`"));
            return None;
        };
        let from = minute(from.trim(), word.1, diags)?;
        let to = if to.trim() == "24:00" { DAY } else { minute(to.trim(), word.1, diags)? };
        if from == to {
            let message = format!("`{}` is no stretch of time", escape(&word.0));
            diags.push(Diagnostic::error("bad-value", word.1, message).hint("leave `hours` out for the whole day"));
            return None;
        }
        if from < to {
            found.push((from, to));
        } else {
            found.extend([(from, DAY), (0, to)]);
        }
    }
    Some(if words.is_empty() { vec![(0, DAY)] } else { found })
}

fn day(word: &Word, diags: &mut Diagnostics) -> Option<NaiveDate> {
    let found = NaiveDate::parse_from_str(&word.0, "%Y-%m-%d").ok();
    if found.is_none() {
        diags.push(Diagnostic::error("bad-value", word.1, format!("`{}` is not a date", escape(&word.0))).hint("write `2026-12-25`"));
    }
    found
}

fn minute(text: &str, span: Span, diags: &mut Diagnostics) -> Option<u32> {
    let found = NaiveTime::parse_from_str(text, "%H:%M").ok().map(|time| time.hour() * 60 + time.minute());
    if found.is_none() {
        let message = format!("`{}` is not a time of day", escape(text));
        diags.push(Diagnostic::error("bad-value", span, message).hint("write `22:00`, in quotes"));
    }
    found
}
