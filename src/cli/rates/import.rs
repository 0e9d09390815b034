//! `oppen rates import`: prices of clouds, from SkyPilot's catalogs, as a rate card.
//!
//! In: CSV files, filters, a name. Out: YAML, and on standard error what was taken, what was left out and why. Must never write a card
//! that Oppen itself would refuse, nor over a file that is none.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clap::Args;

use crate::base::text::escape;
use crate::base::{Diagnostics, Money, SourceMap, suggest};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{self, style};
use crate::cli::plan::now;
use crate::price::Cards;
use crate::price::catalog::{Catalog, Filter, ranges};
use crate::spec::{self, Document};

/// Largest catalog, in bytes.
const MAX_FILE: u64 = 512 << 20;

/// `rates import`
#[derive(Debug, Args)]
pub struct Import {
    /// Catalogs, one for each cloud
    #[arg(required = true, value_name = "FILE.csv")]
    pub files: Vec<PathBuf>,
    /// Name of the card
    #[arg(long)]
    pub name: String,
    /// Only these regions
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    pub regions: Vec<String>,
    /// Only these GPU types
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    pub gpus: Vec<String>,
    /// Date on which the prices held (default: the oldest file's)
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<NaiveDate>,
    /// Where the prices are from (default: the names of the files)
    #[arg(long)]
    pub source: Option<String>,
    /// Price of a core-hour, for runs without a GPU
    #[arg(long, value_name = "USD", value_parser = output::money)]
    pub cpu: Option<Money>,
    /// Price of a GiB-hour of memory, for runs without a GPU
    #[arg(long, value_name = "USD", value_parser = output::money)]
    pub memory: Option<Money>,
    /// Write the card here instead of printing it
    #[arg(short, long, value_name = "FILE.yaml")]
    pub output: Option<PathBuf>,
}

/// Imports.
pub fn run(here: &Path, args: &Import) -> Outcome {
    if args.name.trim().is_empty() || args.name.chars().any(char::is_control) {
        return Err(Failure::new(Exit::Usage, "--name: a card has a name").hint("write `--name clouds-2026-11`"));
    }
    let filter = Filter { regions: args.regions.clone(), gpus: args.gpus.clone() };
    let (mut catalog, mut oldest) = (Catalog::default(), None::<NaiveDate>);
    for path in &args.files {
        let shown = path.file_name().map_or_else(|| path.to_string_lossy(), |n| n.to_string_lossy()).into_owned();
        let (bytes, date) = bytes(&here.join(path), &shown)?;
        oldest = [oldest, date].into_iter().flatten().min();
        catalog.add(&shown, &bytes, &filter).map_err(|why| {
            Failure::new(Exit::Invalid, format!("{} {why}", escape(&shown))).hint("catalogs are CSV files with the columns of SkyPilot's")
        })?;
    }
    unknown(&catalog, args)?;
    let wrong = wrong(&catalog);
    if catalog.taken == 0 {
        output::say(wrong.trim_end());
        return Err(Failure::new(Exit::Invalid, "no row has a price of a GPU; nothing was written").hint("see the lines above"));
    }
    let Some(as_of) = args.as_of.or(oldest) else {
        return Err(Failure::new(Exit::Usage, "the date of the prices is not known").hint("give it with `--as-of 2026-11-01`"));
    };
    let card = card(&catalog, args, as_of);
    sound(&card)?;
    match &args.output {
        None => output::print(&card)?,
        Some(file) => write(&here.join(file), file, &card)?,
    }
    report(&catalog, args, as_of, &wrong);
    Ok(Exit::Done)
}

/// The file's bytes and the day on which it was written.
fn bytes(path: &Path, shown: &str) -> Result<(Vec<u8>, Option<NaiveDate>), Failure> {
    let wrong = |e: std::io::Error| Failure::new(Exit::Error, format!("{}: {e}", escape(shown)));
    let metadata = std::fs::metadata(path).map_err(wrong)?;
    if metadata.len() > MAX_FILE {
        let message = format!("{} has {} bytes, at most {MAX_FILE} are read", escape(shown), metadata.len());
        return Err(Failure::new(Exit::Invalid, message));
    }
    let date = metadata.modified().ok().map(|t| chrono::DateTime::<chrono::Utc>::from(t).date_naive());
    Ok((std::fs::read(path).map_err(wrong)?, date))
}

/// Regions and types that no catalog has.
fn unknown(catalog: &Catalog, args: &Import) -> Result<(), Failure> {
    let [gpus, regions] = &catalog.seen;
    for (flag, wanted, seen) in [("--gpus", &args.gpus, gpus), ("--regions", &args.regions, regions)] {
        if let Some(name) = wanted.iter().find(|w| !seen.contains(w.as_str())) {
            return Err(Failure {
                exit: Exit::Usage,
                message: format!("{flag}: no row has `{}`", escape(name)),
                hint: suggest::hint(name, seen.iter().map(AsRef::as_ref).collect::<Vec<&str>>()),
            });
        }
    }
    Ok(())
}

/// Every row that could not be used, by reason.
fn wrong(catalog: &Catalog) -> String {
    let mut out = String::new();
    for ((file, reason), lines) in &catalog.wrong {
        let (s, n) = if lines.len() == 1 { ("", String::new()) } else { ("s", format!(" ({} rows)", lines.len())) };
        let text = format!("{} line{s} {}{n}: {reason}", escape(file), ranges(lines));
        let _ = writeln!(out, "{}: {text}", style::paint(style::CHANGE, "warning"));
    }
    out
}

fn card(catalog: &Catalog, args: &Import, as_of: NaiveDate) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let files = catalog.files.iter().map(|f| escape(f)).collect::<Vec<_>>().join(", ");
    let source = args.source.clone().unwrap_or_else(|| format!("SkyPilot catalog {files}"));
    let mut out = format!(
        "# Made by `oppen rates import` from {files}.\n\
         # A GPU's price is that of the cheapest instance which has it in a region, divided by the GPUs of that instance. Cores and\n\
         # memory are in it (`includes`) and are not charged again. Clouds rent instances whole: a run that asks for fewer GPUs than\n\
         # its instance has pays more than its share unless others use the rest.\n\
         apiVersion: oppen/v1\nkind: Rates\nname: {}\ncurrency: USD\nas_of: {as_of}\nsource: {}\n",
        quoted(&args.name),
        quoted(&source)
    );
    for (key, price) in [("cpu", args.cpu), ("memory", args.memory)] {
        let _ = price.map(|p| writeln!(out, "{key}: {}", p.decimal()));
    }
    out + &catalog.gpus()
}

/// The card as Oppen reads it.
fn sound(card: &str) -> Result<(), Failure> {
    let (mut sources, mut diags) = (SourceMap::default(), Diagnostics::default());
    let file = sources.add("card", card);
    let cards: Vec<_> = spec::read(file, &sources, &mut diags)
        .into_iter()
        .filter_map(|d| match d {
            Document::Rates(card) => Some(*card),
            _ => None,
        })
        .collect();
    Cards::read(None, &cards, now(), &mut diags);
    if diags.has_errors() {
        output::say(crate::cli::problems::text(&diags, &sources).trim_end());
        return Err(Failure::new(Exit::Invalid, "these prices make no card; nothing was written"));
    }
    Ok(())
}

/// Writes anew or over an older card; anything else stays.
fn write(path: &Path, shown: &Path, card: &str) -> Result<(), Failure> {
    let wrong = |e: std::io::Error| Failure::new(Exit::Error, format!("{}: {e}", shown.display()));
    if path.exists() && !std::fs::read_to_string(path).map_err(wrong)?.lines().any(|l| l.trim_end() == "kind: Rates") {
        return Err(Failure::new(Exit::Error, format!("{} is there and is no rate card; it stays", shown.display())));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, card).map_err(wrong)?;
    std::fs::rename(&temporary, path).map_err(wrong)
}

fn report(catalog: &Catalog, args: &Import, as_of: NaiveDate, wrong: &str) {
    let n = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (gpus, regions) = catalog.counts();
    let mut pieces = vec![format!("Card {}:", escape(&args.name))];
    let mut facts = vec![format!("{} in {}", n(gpus, "GPU type"), n(regions, "region"))];
    facts.push(format!("as of {as_of}{}", if args.as_of.is_none() { " (the date of the file; --as-of gives another)" } else { "" }));
    facts.push(format!("{} taken", n(catalog.taken, "row")));
    facts.extend((catalog.plain > 0).then(|| format!("{} without an accelerator", catalog.plain)));
    facts.extend((catalog.left_out > 0).then(|| format!("{} left out by --gpus and --regions", catalog.left_out)));
    let bad: usize = catalog.wrong.values().map(Vec::len).sum();
    facts.extend((bad > 0).then(|| format!("{bad} that could not be used")));
    pieces.extend(output::listed(facts, "."));
    output::say(&(wrong.to_owned() + &output::flow(&pieces, output::width())));
    if args.cpu.is_none() || args.memory.is_none() {
        output::say("Cores and memory have no price of their own: runs without a GPU need --cpu and --memory.");
    }
}
