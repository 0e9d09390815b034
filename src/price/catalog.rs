//! Price catalogs of clouds in SkyPilot's CSV format, read into a rate card.
//!
//! In: the bytes of catalogs (columns `InstanceType, AcceleratorName, AcceleratorCount, vCPUs, MemoryGiB, GpuInfo, Price, SpotPrice, Region,
//! AvailabilityZone`, of which name, count and price must be there). Out: per GPU type and place the price of one GPU: that of the whole
//! instance divided by its GPUs, of the cheapest instance. Must never drop a row without a word, nor make a price of 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::base::Money;
use crate::base::money::div_half_even;
use crate::base::text::escape;

const NAME: &str = "AcceleratorName";
const COUNT: &str = "AcceleratorCount";
const PRICE: &str = "Price";

/// Which rows are wanted; empty is all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Regions.
    pub regions: Vec<String>,
    /// GPU types.
    pub gpus: Vec<String>,
}

/// A price of one GPU and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Quote {
    price: Money,
    instance: Arc<str>,
    count: Arc<str>,
}

/// The cheapest of one place.
#[derive(Debug, Clone, Default)]
struct Best {
    on_demand: Option<Quote>,
    spot: Option<Quote>,
}

/// The cheapest by zone; an empty name is none.
type Zones = BTreeMap<Arc<str>, Best>;

/// What was read so far.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// By GPU type, region and zone; an empty name is none.
    best: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Zones>>,
    /// Where each region was read first.
    origin: BTreeMap<Arc<str>, Arc<str>>,
    /// Files, in the order of reading.
    pub files: Vec<Arc<str>>,
    /// Rows that gave a price.
    pub taken: usize,
    /// Rows without an accelerator: there is no GPU to price.
    pub plain: usize,
    /// Rows that the filter left out.
    pub left_out: usize,
    /// Rows that could not be used, by file and reason: their lines.
    pub wrong: BTreeMap<(Arc<str>, String), Vec<u64>>,
    /// All GPU types and regions that were seen, wanted or not.
    pub seen: [BTreeSet<Arc<str>>; 2],
}

/// Positions of columns.
struct Columns {
    name: usize,
    count: usize,
    price: usize,
    others: [Option<usize>; 4],
}

impl Columns {
    fn find(header: &csv::StringRecord) -> Result<Self, String> {
        let at = |name: &str| header.iter().position(|h| h.trim() == name);
        let must = |name: &str| {
            let found: Vec<String> = header.iter().take(12).map(|h| escape(h.trim()).into_owned()).collect();
            at(name).ok_or_else(|| format!("has no column `{name}`; its columns are {}", found.join(", ")))
        };
        let others = ["InstanceType", "SpotPrice", "Region", "AvailabilityZone"].map(at);
        Ok(Self { name: must(NAME)?, count: must(COUNT)?, price: must(PRICE)?, others })
    }
}

impl Catalog {
    /// Reads one file.
    ///
    /// # Errors
    /// Why the file as a whole is no catalog. Rows that are wrong are noted and do not stop it.
    pub fn add(&mut self, file: &str, bytes: &[u8], filter: &Filter) -> Result<(), String> {
        let file: Arc<str> = file.into();
        self.files.push(Arc::clone(&file));
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let header = reader.headers().map_err(|e| format!("cannot be read: {e}"))?.clone();
        let columns = Columns::find(&header)?;
        let mut record = csv::ByteRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(e) => return Err(format!("cannot be read from line {line} on: {e}")),
            }
            let line = record.position().map_or(line, csv::Position::line);
            if let Err(reason) = self.row(&file, &header, &record, &columns, filter) {
                self.wrong.entry((Arc::clone(&file), reason)).or_default().push(line);
            }
        }
    }

    fn row(
        &mut self,
        file: &Arc<str>,
        header: &csv::StringRecord,
        row: &csv::ByteRecord,
        at: &Columns,
        filter: &Filter,
    ) -> Result<(), String> {
        if row.len() != header.len() {
            return Err(format!("has {} fields where the header has {}", row.len(), header.len()));
        }
        let cell = |i: usize| std::str::from_utf8(row.get(i).unwrap_or_default()).map(str::trim).map_err(|_| "is not UTF-8".to_owned());
        let other = |i: usize| at.others.get(i).copied().flatten().map_or(Ok(""), cell);
        let name = cell(at.name)?;
        if name.is_empty() {
            self.plain += 1;
            return Ok(());
        }
        if !is_askable(name) {
            return Err(format!("`{}` is no name that `resources.gpu` can ask for", escape(name)));
        }
        let (region, zone) = (place(other(2)?)?, place(other(3)?)?);
        for (seen, name) in self.seen.iter_mut().zip([name, region]) {
            if !name.is_empty() && !seen.contains(name) {
                seen.insert(name.into());
            }
        }
        let wanted = |list: &[String], name: &str| list.is_empty() || list.iter().any(|l| l == name);
        if !wanted(&filter.gpus, name) || !wanted(&filter.regions, region) {
            self.left_out += 1;
            return Ok(());
        }
        let count = cell(at.count)?;
        let of = |column: &str, text: &str| per_gpu(text, count).map_err(|why| format!("`{column}` {why}"));
        let (on_demand, spot) = (of(PRICE, cell(at.price)?)?, of("SpotPrice", other(1)?)?);
        if on_demand.is_none() && spot.is_none() {
            return Err("has no price".to_owned());
        }
        if let Some(first) = self.origin.get(region).filter(|first| *first != file && !region.is_empty()) {
            return Err(format!(
                "its region `{}` was read from {} already; give each cloud a card of its own",
                escape(region),
                escape(first)
            ));
        }
        self.origin.entry(region.into()).or_insert_with(|| Arc::clone(file));
        let by_region = self.best.entry(name.into()).or_default();
        let best = by_region.entry(region.into()).or_default().entry(zone.into()).or_default();
        let instance: Arc<str> = escape(other(0)?).as_ref().into();
        for (slot, price) in [(&mut best.on_demand, on_demand), (&mut best.spot, spot)] {
            let Some(price) = price else { continue };
            if slot.as_ref().is_none_or(|q| price < q.price) {
                *slot = Some(Quote { price, instance: Arc::clone(&instance), count: count.trim_end_matches(".0").into() });
            }
        }
        self.taken += 1;
        Ok(())
    }

    /// GPU types and regions that have a price.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.best.len(), self.origin.keys().filter(|r| !r.is_empty()).count())
    }

    /// The `gpus` of a card, as YAML.
    #[must_use]
    pub fn gpus(&self) -> String {
        let mut out = String::from("gpus:\n");
        for (kind, regions) in &self.best {
            let _ = writeln!(out, "  {kind}:\n    includes: [cpu, memory]");
            if let Some(zones) = regions.get("") {
                for (capacity, quote) in [("on-demand", most(zones, |b| b.on_demand.as_ref())), ("spot", most(zones, |b| b.spot.as_ref()))]
                {
                    let Some(q) = quote else { continue };
                    let _ = writeln!(out, "    {capacity}: {}   # {}", q.price.decimal(), words(q));
                }
            }
            if regions.keys().any(|r| !r.is_empty()) {
                out.push_str("    regions:\n");
            }
            for (region, zones) in regions.iter().filter(|(r, _)| !r.is_empty()) {
                write_region(&mut out, region, zones);
            }
        }
        out
    }
}

/// The dearest zone's: who names no zone may get any.
fn most(zones: &Zones, of: fn(&Best) -> Option<&Quote>) -> Option<&Quote> {
    zones.values().filter_map(of).max_by_key(|q| q.price)
}

fn write_region(out: &mut String, region: &str, zones: &Zones) {
    let (on_demand, spot) = (most(zones, |b| b.on_demand.as_ref()), most(zones, |b| b.spot.as_ref()));
    let prices = |on_demand: Option<&Quote>, spot: Option<&Quote>| {
        let all = [("on-demand", on_demand), ("spot", spot)];
        all.into_iter().filter_map(|(word, q)| q.map(|q| format!("{word}: {}", q.price.decimal()))).collect::<Vec<_>>().join(", ")
    };
    // Zones are written only where one of them says something else.
    let differs = |b: &Best| {
        let other = |own: &Option<Quote>, all: Option<&Quote>| own.as_ref().zip(all).is_some_and(|(own, all)| own.price != all.price);
        other(&b.on_demand, on_demand) || other(&b.spot, spot)
    };
    let own: Vec<String> = zones
        .iter()
        .filter(|(zone, best)| !zone.is_empty() && differs(best))
        .map(|(zone, best)| format!("{}: {{{}}}", word(zone), prices(best.on_demand.as_ref(), best.spot.as_ref())))
        .collect();
    let from = on_demand.or(spot).map(words).unwrap_or_default();
    if own.is_empty() {
        let _ = writeln!(out, "      {}: {{{}}}   # {from}", word(region), prices(on_demand, spot));
        return;
    }
    let _ = writeln!(out, "      {}:   # {from}; without a zone the dearest", word(region));
    for (capacity, quote) in [("on-demand", on_demand), ("spot", spot)] {
        let _ = quote.map(|q| writeln!(out, "        {capacity}: {}", q.price.decimal()));
    }
    let _ = writeln!(out, "        zones:");
    for zone in own {
        let _ = writeln!(out, "          {zone}");
    }
}

fn words(q: &Quote) -> String {
    let gpus = if &*q.count == "1" { "1 GPU".to_owned() } else { format!("{} GPUs", q.count) };
    if q.instance.is_empty() { gpus } else { format!("{}, {gpus}", q.instance) }
}

/// A name as a YAML word: quoted where a plain one could be taken for something else.
fn word(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&name.to_ascii_lowercase().as_str());
    if plain && !special { name.to_owned() } else { format!("{name:?}") }
}

/// A name that can be asked for as in `gpu: A100:2`.
fn is_askable(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn place(name: &str) -> Result<&str, String> {
    let fine = name.len() <= 63 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_. ".contains(c));
    if fine { Ok(name) } else { Err(format!("`{}` is no name of a region or zone", escape(name))) }
}

/// The price of the instance divided by its GPUs, half to even; none for an empty price.
fn per_gpu(price: &str, count: &str) -> Result<Option<Money>, String> {
    if price.is_empty() {
        return Ok(None);
    }
    let (price, price_scale) = decimal(price).ok_or_else(|| format!("is `{}`, no amount of dollars", escape(price)))?;
    let wrong_count = || format!("cannot be divided: `{COUNT}` is `{}`", escape(count));
    let (count, count_scale) = decimal(count).filter(|(n, _)| *n > 0).ok_or_else(wrong_count)?;
    let large = || "is more money than can be counted".to_owned();
    let scaled = |n: i128, places: u32| 10_i128.checked_pow(places).and_then(|p| n.checked_mul(p));
    let (top, bottom) = scaled(price, count_scale + 6).zip(scaled(count, price_scale)).ok_or_else(large)?;
    match div_half_even(top, bottom) {
        0 => Err("is 0: nothing is free".to_owned()),
        i64::MAX => Err(large()),
        micros => Ok(Some(Money::from_micros(micros))),
    }
}

/// Plain digits with at most one point, as mantissa and places behind the point. No sign, exponent or NaN.
fn decimal(text: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    // Catalogs carry what floats print: digits beyond the eighteenth are noise.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 15 {
        return None;
    }
    let places = u32::try_from(fraction.len()).ok()?;
    format!("{whole}{fraction}").parse().ok().map(|n: i128| (n, places))
}

/// Line numbers as ranges: `3, 9-12`.
#[must_use]
pub fn ranges(lines: &[u64]) -> String {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for line in lines {
        match all.last_mut().filter(|(_, to)| to.saturating_add(1) == *line) {
            Some((_, to)) => *to = *line,
            None => all.push((*line, *line)),
        }
    }
    all.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_of_an_instance_is_divided_exactly() {
        let price = |price, count| per_gpu(price, count).map(|m| m.map(Money::decimal));
        assert_eq!(price("21.957642", "8.0"), Ok(Some("2.744705".to_owned())), "half to even");
        assert_eq!(price("0.454", "0.166667"), Ok(Some("2.723995".to_owned())), "a sixth of a GPU");
        assert_eq!(price("3.2767300000000001", "1"), Ok(Some("3.27673".to_owned())));
        assert_eq!(price("", "8"), Ok(None));
        for (bad, count) in
            [("nan", "1"), ("-1", "1"), ("inf", "1"), ("1e3", "1"), ("1", "0"), ("1", ""), ("0.0", "1"), ("1", "NaN"), ("1.", "1")]
        {
            assert!(price(bad, count).is_err(), "{bad} {count}");
        }
        assert!(price("999999999999999", "0.000000000000000001").is_err());
    }

    #[test]
    fn lines_are_told_as_ranges() {
        assert_eq!(ranges(&[3, 9, 10, 11, 20]), "3, 9-11, 20");
    }
}
