//! Prices of GPUs by capacity, region and zone.
//!
//! In: what a card says. Out: the price of a type at a place. Must never answer with the price of another place, type or capacity, unless
//! the card says that it holds there too.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Capacity, Diagnostic, Diagnostics, Money, Span, suggest, text::escape};
use crate::spec::scalar::Plain;
use crate::spec::types::{GpuPrices, Priced, RegionPrices, Word, ZonePrices};

/// Prices by the way of buying.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices {
    /// Paid by the hour.
    pub on_demand: Option<Money>,
    /// May be taken away.
    pub spot: Option<Money>,
    /// Paid ahead.
    pub reserved: Option<Money>,
}

/// What comes with a GPU and is not charged again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Includes {
    /// Cores.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
    /// Disk.
    pub disk: bool,
}

/// A region's prices, and those of its zones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Region {
    /// Where a zone says nothing.
    pub prices: Prices,
    /// By zone.
    pub zones: BTreeMap<Arc<str>, Prices>,
}

/// What a GPU of one type costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Where a region says nothing.
    pub prices: Prices,
    /// What comes with it.
    pub includes: Includes,
    /// By region.
    pub regions: BTreeMap<Arc<str>, Region>,
}

/// Where runs run, as far as prices know places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Region.
    pub region: Option<Arc<str>>,
    /// Zone of that region.
    pub zone: Option<Arc<str>>,
}

impl Prices {
    /// By the way of buying.
    #[must_use]
    pub const fn of(&self, capacity: Capacity) -> Option<Money> {
        match capacity {
            Capacity::OnDemand => self.on_demand,
            Capacity::Spot => self.spot,
            Capacity::Reserved => self.reserved,
        }
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.on_demand.is_none() && self.spot.is_none() && self.reserved.is_none()
    }

    fn read(parts: [&Option<Plain<Money>>; 3]) -> Self {
        let [on_demand, spot, reserved] = parts.map(|p| p.as_ref().map(|m| m.0));
        Self { on_demand, spot, reserved }
    }
}

/// True when something in there is known to be wrong: a price that could not be read is not one that is missing.
fn told(span: Span, diags: &Diagnostics) -> bool {
    let inside = |s: Span| s.file == span.file && span.start <= s.start && s.end <= span.end;
    diags.as_slice().iter().any(|d| d.span.is_some_and(inside))
}

impl Offer {
    /// One price, everywhere.
    #[must_use]
    pub fn flat(price: Money) -> Self {
        Self { prices: Prices { on_demand: Some(price), ..Prices::default() }, ..Self::default() }
    }

    /// The price that the card names for a capacity at a place: the zone's, else the region's, else the type's.
    #[must_use]
    pub fn price(&self, capacity: Capacity, site: &Site) -> Option<Money> {
        let region = site.region.as_ref().and_then(|r| self.regions.get(r));
        let zone = region.zip(site.zone.as_ref()).and_then(|(r, z)| r.zones.get(z));
        zone.and_then(|p| p.of(capacity)).or_else(|| region.and_then(|r| r.prices.of(capacity))).or_else(|| self.prices.of(capacity))
    }

    /// Reads a GPU's prices.
    pub fn read(name: &str, span: Span, decl: &Priced<GpuPrices>, diags: &mut Diagnostics) -> Self {
        let decl = match decl {
            Priced::Flat(price) => return Self::flat(price.0),
            Priced::Full(decl) => decl,
        };
        let prices = Prices::read([&decl.on_demand, &decl.spot, &decl.reserved]);
        if prices.is_empty() && decl.regions.0.is_empty() && !told(decl.span, diags) {
            let message = format!("the GPU type `{}` has no price", escape(name));
            diags.push(Diagnostic::error("no-price", span, message).hint("write `on-demand: 2 USD`, or prices by region"));
        }
        let regions = decl.regions.iter().map(|(name, span, r)| (Arc::clone(name), Region::read(name, *span, r, diags))).collect();
        Self { prices, includes: Includes::read(&decl.includes, diags), regions }
    }
}

impl Region {
    fn read(name: &str, span: Span, decl: &Priced<RegionPrices>, diags: &mut Diagnostics) -> Self {
        let decl = match decl {
            Priced::Flat(price) => return Self { prices: Offer::flat(price.0).prices, ..Self::default() },
            Priced::Full(decl) => decl,
        };
        let prices = Prices::read([&decl.on_demand, &decl.spot, &decl.reserved]);
        if prices.is_empty() && decl.zones.0.is_empty() && !told(decl.span, diags) {
            let message = format!("the region `{}` has no price", escape(name));
            diags.push(Diagnostic::error("no-price", span, message).hint("write `on-demand: 2 USD`, or leave the region out"));
        }
        let zone = |decl: &Priced<ZonePrices>| match decl {
            Priced::Flat(price) => Offer::flat(price.0).prices,
            Priced::Full(d) => Prices::read([&d.on_demand, &d.spot, &d.reserved]),
        };
        Self { prices, zones: decl.zones.iter().map(|(name, _, z)| (Arc::clone(name), zone(z))).collect() }
    }
}

impl Includes {
    fn read(words: &[Word], diags: &mut Diagnostics) -> Self {
        let mut all = Self::default();
        for word in words {
            match &*word.0 {
                "cpu" => all.cpu = true,
                "memory" => all.memory = true,
                "disk" => all.disk = true,
                other => {
                    let message = format!("a GPU's price cannot include `{}`", escape(other));
                    let hint = suggest::hint(other, ["cpu", "memory", "disk"]);
                    diags.push(Diagnostic::error("bad-value", word.1, message).maybe_hint(hint));
                }
            }
        }
        all
    }

    /// The words of what is included.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        [("cpu", self.cpu), ("memory", self.memory), ("disk", self.disk)]
            .into_iter()
            .filter(|(_, yes)| *yes)
            .map(|(word, _)| word)
            .collect()
    }
}
