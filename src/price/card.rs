//! Rate cards: read, checked, and one of them chosen by the pool.
//!
//! In: `rates` of the project, documents of kind Rates, `pool.rates`, `region` and `zone`, now. Out: [`Cards`]. Must never let a card, a
//! region or a zone that nobody knows pass for another one.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;

use super::{Offer, Rates, Site, windows};
use crate::base::{Diagnostic, Diagnostics, Millis, Span, Timestamp, suggest, text::escape};
use crate::spec::types::{PoolDecl, Project, RatesCard, RatesDecl, Word};

/// A rate card and where it is written.
#[derive(Debug, Clone)]
pub struct Card {
    /// The prices, at the pool's place.
    pub rates: Rates,
    /// The date of the prices in its file, else its begin; none for the built-in ones.
    pub span: Option<Span>,
}

/// All rate cards of a project.
#[derive(Debug, Clone)]
pub struct Cards {
    /// `rates` of the project over the built-in ones, then documents in the order of reading.
    pub all: Vec<Card>,
    /// Which of them holds.
    pub chosen: usize,
}

impl Cards {
    /// The card that holds.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.all.get(self.chosen).map(|c| c.rates.clone()).unwrap_or_default()
    }

    /// Reads all cards and takes the one that the pool names.
    pub fn read(project: Option<&Project>, cards: &[RatesCard], now: Timestamp, diags: &mut Diagnostics) -> Self {
        let decl = project.and_then(|p| p.rates.as_ref());
        let mut own = decl.map_or_else(Rates::default, |d| inline(d, diags));
        if let Some(decl) = decl {
            check(decl, now, diags);
        }
        let site = |decl: &PoolDecl| {
            let text = |w: &Option<Word>| w.as_ref().map(|w| Arc::clone(&w.0));
            Site { region: text(&decl.region), zone: text(&decl.zone) }
        };
        let pool = project.and_then(|p| p.pool.as_ref());
        own.site = pool.map(site).unwrap_or_default();
        let place = |decl: &RatesDecl| decl.as_of.as_ref().map_or(Span { end: decl.span.start.saturating_add(1), ..decl.span }, |w| w.1);
        let mut all = vec![Card { span: decl.map(place), rates: own }];
        let mut names: Vec<(&str, Span)> = Vec::new();
        for card in cards {
            let (name, span) = (&card.name.0.0, card.name.0.1);
            if let Some((_, first)) = names.iter().find(|(n, _)| **n == **name) {
                let message = format!("there are two rate cards `{}`", escape(name));
                diags.push(Diagnostic::error("second-card", span, message).related(*first, "the first is here").hint("rename one of them"));
            }
            names.push((name, span));
            let prices = card.prices();
            let mut rates = apply(&prices, Rates { card: Some(Arc::clone(name)), ..Rates::bare() }, diags);
            check(&prices, now, diags);
            rates.site = pool.map(site).unwrap_or_default();
            all.push(Card { rates, span: Some(place(&prices)) });
        }
        let chosen = match pool.and_then(|p| p.rates.as_ref()) {
            None => 0,
            Some(word) => names.iter().position(|(n, _)| **n == *word.0).map_or_else(
                || {
                    let hint = suggest::hint(&word.0, names.iter().map(|(n, _)| *n)).unwrap_or_else(|| {
                        "there is none: write one into rates.yaml or rates/, or import one with `oppen rates import`".to_owned()
                    });
                    diags.push(
                        Diagnostic::error("unknown-rates", word.1, format!("there is no rate card `{}`", escape(&word.0))).hint(hint),
                    );
                    0
                },
                |i| i + 1,
            ),
        };
        let cards = Self { all, chosen };
        if let (Some(pool), Some(card)) = (pool, cards.all.get(chosen)) {
            known_site(pool, &card.rates, diags);
        }
        cards
    }
}

/// `rates` of the project, over the built-in ones.
pub fn inline(decl: &RatesDecl, diags: &mut Diagnostics) -> Rates {
    let mut base = Rates { source: "oppen.yaml".into(), ..Rates::default() };
    // A project that lists its GPU types means those: another type has no price unless `gpu` says so.
    if !decl.gpus.0.is_empty() {
        base.gpu = None;
    }
    apply(decl, base, diags)
}

/// A card's prices over a base.
fn apply(decl: &RatesDecl, base: Rates, diags: &mut Diagnostics) -> Rates {
    let hours = windows::read(decl, (*base.hours).clone(), diags);
    let mut priority = base.priority.clone();
    priority.extend(decl.priority.iter().map(|(class, _, factor)| (Arc::clone(class), factor.0.0)));
    let as_of = decl.as_of.as_ref().and_then(|w| {
        let date = date(&w.0);
        if date.is_none() {
            let message = format!("`{}` is not a date", escape(&w.0));
            diags.push(Diagnostic::error("bad-value", w.1, message).hint("write `as_of: 2026-11-01`"));
        }
        date
    });
    Rates {
        gpu: decl.gpu.as_ref().map(|m| m.0).or(base.gpu),
        gpus: decl.gpus.iter().map(|(n, span, p)| (Arc::clone(n), Offer::read(n, *span, p, diags))).collect(),
        cpu: decl.cpu.as_ref().map(|m| m.0).or(base.cpu),
        memory: decl.memory.as_ref().map(|m| m.0).or(base.memory),
        disk: decl.disk.as_ref().map(|m| m.0).or(base.disk),
        hours: Arc::new(hours),
        priority,
        spot: decl.spot.as_ref().map(|p| p.0.0).or(base.spot),
        reserved: decl.reserved.as_ref().map(|p| p.0.0).or(base.reserved),
        as_of,
        source: decl.source.as_ref().map_or(base.source.clone(), |w| Arc::clone(&w.0)),
        ..base
    }
}

fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

/// Prices of another currency, and prices from the future. `now` decides; a day ahead is let pass, for time zones.
fn check(decl: &RatesDecl, now: Timestamp, diags: &mut Diagnostics) {
    if let Some(currency) = decl.currency.as_ref().filter(|w| !w.0.eq_ignore_ascii_case("usd")) {
        let message = format!("rates in `{}`: money is counted in USD alone", escape(&currency.0));
        diags.push(Diagnostic::error("unknown-currency", currency.1, message).hint("convert the prices and write `currency: USD`"));
    }
    let Some(as_of) = &decl.as_of else { return };
    let tomorrow = now.after(Millis::from_secs(86_400)).utc().map(|t| t.date_naive());
    if date(&as_of.0).zip(tomorrow).is_some_and(|(date, tomorrow)| date > tomorrow) {
        let message = format!("rates as of {} are from the future", as_of.0);
        diags.push(Diagnostic::error("future-rates", as_of.1, message).hint("write the date on which the prices held"));
    }
}

/// The pool's region and zone must be ones that the card knows, where it knows any.
fn known_site(pool: &PoolDecl, rates: &Rates, diags: &mut Diagnostics) {
    if let (Some(zone), None) = (&pool.zone, &pool.region) {
        diags.push(Diagnostic::error("missing-key", zone.1, "a zone belongs to a region").hint("add `region`"));
    }
    let Some(region) = &pool.region else { return };
    let regions: BTreeSet<&str> = rates.gpus.values().flat_map(|o| o.regions.keys()).map(AsRef::as_ref).collect();
    let card = rates.card.as_ref().map(|c| format!(" in the rate card `{}`", escape(c))).unwrap_or_default();
    if !regions.is_empty() && !regions.contains(&*region.0) {
        let message = format!("no GPU has a price for the region `{}`{card}", escape(&region.0));
        diags.push(Diagnostic::error("unknown-region", region.1, message).maybe_hint(suggest::hint(&region.0, regions)));
        return;
    }
    let Some(zone) = &pool.zone else { return };
    let here = rates.gpus.values().filter_map(|o| o.regions.get(&*region.0));
    let zones: BTreeSet<&str> = here.flat_map(|r| r.zones.keys()).map(AsRef::as_ref).collect();
    if !zones.is_empty() && !zones.contains(&*zone.0) {
        let message = format!("no GPU has a price for the zone `{}` of {}{card}", escape(&zone.0), escape(&region.0));
        diags.push(Diagnostic::error("unknown-zone", zone.1, message).maybe_hint(suggest::hint(&zone.0, zones)));
    }
}
