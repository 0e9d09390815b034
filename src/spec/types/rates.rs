//! Rates: what resources cost by the hour, in the project file or as a document of their own.

use serde_json::{Value, json};

use super::Word;
use crate::base::{Diagnostics, Money};
use crate::spec::lower::{Definitions, Lower, Must, Named};
use crate::spec::scalar::{Plain, Ppm};
use crate::spec::tree::{Kind, Node};

/// `rates` of a project and a document of kind Rates hold the same, a document with its name before it.
macro_rules! both {
    ($($(#[doc = $doc:literal])* $key:literal $field:ident : $ty:ty,)*) => {
        document! {
            /// What resources cost by the hour.
            "rates" pub struct RatesDecl { $($(#[doc = $doc])* $key $field: $ty,)* }
        }
        document! {
            /// A rate card: what resources cost by the hour. What it does not name has no price.
            "a rate card" pub struct RatesCard {
                /// The version of the language: `oppen/v1`.
                "apiVersion" api_version: Option<Word>,
                /// `Rates`.
                "kind" kind: Option<Word>,
                /// Name of the card; `pool.rates` chooses it.
                "name" name: Must<Word>,
                /// What it is for, for people.
                "description" description: Option<Word>,
                $($(#[doc = $doc])* $key $field: $ty,)*
            }
        }
        impl RatesCard {
            /// The prices without the head.
            #[must_use]
            pub fn prices(&self) -> RatesDecl {
                RatesDecl { span: self.span, $($field: self.$field.clone(),)* }
            }
        }
    };
}

both! {
    /// `USD`, the only currency that is counted.
    "currency" currency: Option<Word>,
    /// Date of the prices.
    "as_of" as_of: Option<Word>,
    /// Where the prices are from.
    "source" source: Option<Word>,
    /// A GPU of any type not named below (built in: 0.50 USD).
    "gpu" gpu: Option<Plain<Money>>,
    /// GPUs by type: a price, or prices by capacity and region.
    "gpus" gpus: Named<Priced<GpuPrices>>,
    /// A core (built in: 0.05 USD).
    "cpu" cpu: Option<Plain<Money>>,
    /// A GiB of memory (built in: 0.005 USD).
    "memory" memory: Option<Plain<Money>>,
    /// A GiB of disk (nothing is built in: without it, runs that ask for `disk` have no price).
    "disk" disk: Option<Plain<Money>>,
    /// Cheap hours in a line. `windows` says more.
    "off_peak" off_peak: Option<OffPeakDecl>,
    /// Hours by name, each with its factor. Together they cover the week, and no two of them overlap.
    "windows" windows: Named<WindowDecl>,
    /// Time zone of the windows by its IANA name, such as `Europe/Berlin` (built in: UTC).
    "timezone" timezone: Option<Word>,
    /// Days that count as `holidays`, or as Sundays where no window names these: `[2026-12-25]`.
    "holidays" holidays: Vec<Word>,
    /// Factors by priority class (built in: urgent 1.5, background 0.8).
    "priority" priority: Named<Plain<Ppm>>,
    /// Factor of spot capacity, where no spot price is named (built in: 0.3).
    "spot" spot: Option<Plain<Ppm>>,
    /// Factor of reserved capacity, where no reserved price is named (built in: 1).
    "reserved" reserved: Option<Plain<Ppm>>,
}

document! {
    /// What a GPU of a type costs.
    "prices of a GPU" pub struct GpuPrices {
        /// Paid by the hour, until released.
        "on-demand" on_demand: Option<Plain<Money>>,
        /// May be taken away.
        "spot" spot: Option<Plain<Money>>,
        /// Paid ahead.
        "reserved" reserved: Option<Plain<Money>>,
        /// What comes with it and is not charged again: `cpu`, `memory`, `disk`.
        "includes" includes: Vec<Word>,
        /// By region; where a region says nothing, the prices above hold.
        "regions" regions: Named<Priced<RegionPrices>>,
    }
}

document! {
    /// What a GPU of a type costs in a region.
    "prices of a region" pub struct RegionPrices {
        /// Paid by the hour, until released.
        "on-demand" on_demand: Option<Plain<Money>>,
        /// May be taken away.
        "spot" spot: Option<Plain<Money>>,
        /// Paid ahead.
        "reserved" reserved: Option<Plain<Money>>,
        /// By zone; where a zone says nothing, the prices of the region hold.
        "zones" zones: Named<Priced<ZonePrices>>,
    }
}

document! {
    /// What a GPU of a type costs in a zone.
    "prices of a zone" pub struct ZonePrices {
        /// Paid by the hour, until released.
        "on-demand" on_demand: Option<Plain<Money>>,
        /// May be taken away.
        "spot" spot: Option<Plain<Money>>,
        /// Paid ahead.
        "reserved" reserved: Option<Plain<Money>>,
    }
}

/// A price alone is that of on-demand capacity; more is a mapping.
#[derive(Debug, Clone, PartialEq)]
pub enum Priced<T> {
    /// The on-demand price.
    Flat(Plain<Money>),
    /// Prices by capacity, and more.
    Full(T),
}

impl<T: Lower> Lower for Priced<T> {
    fn lower(node: &Node, diags: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => T::lower(node, diags).map(Self::Full),
            _ => Plain::<Money>::lower(node, diags).map(Self::Flat),
        }
    }
    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [Plain::<Money>::schema(definitions), T::schema(definitions)]})
    }
}

document! {
    /// Hours of the week at one factor.
    "a window" pub struct WindowDecl {
        /// Factor of the price.
        "factor" factor: Must<Plain<Ppm>>,
        /// Days by local date: `mon` to `sun`, `weekdays`, `weekends`, `holidays` (default: all).
        "days" days: Vec<Word>,
        /// Hours of each of these days, such as `[22:00-24:00, 00:00-08:00]` or, of the same day, `[22:00-08:00]` (default: all).
        "hours" hours: Vec<Word>,
    }
}

document! {
    /// Hours at a lower price.
    "off_peak" pub struct OffPeakDecl {
        /// Factor of the price (built in: 0.5).
        "factor" factor: Option<Plain<Ppm>>,
        /// Start of the cheap hours, `22:00`.
        "from" from: Option<Word>,
        /// End of the cheap hours, `08:00`.
        "to" to: Option<Word>,
        /// Whether Saturdays and Sundays are cheap all day.
        "weekends" weekends: Option<Plain<bool>>,
        /// Days that are cheap from midnight to midnight: `[2026-12-25]`.
        "holidays" holidays: Vec<Word>,
        /// Time zone by its IANA name, such as `Europe/Berlin` (built in: UTC).
        "timezone" timezone: Option<Word>,
    }
}
