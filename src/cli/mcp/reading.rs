//! What agents can read: workflow files, schemas, kept plans, runs.

use super::{Hands, look, plans, queue, resolve, stored};
use crate::base::Diagnostics;
use crate::cli::plan::now;
use crate::files::{self, STATE_FOLDER};
use crate::mcp::{Answer, Code, Item, Refusal, plain};
use crate::store::{Store, Wanted};

/// Entries of a page.
const PAGE: usize = 100;
/// Runs that are listed: the newest.
const RUNS: usize = 50;
/// Largest file that is given, in bytes.
const LARGEST: u64 = 4 << 20;

/// Everything that can be read, page by page.
pub fn items(hands: &Hands, cursor: Option<&str>) -> Answer<(Vec<Item>, Option<String>)> {
    let place = hands.place()?;
    let root = &place.loaded.root;
    let mut all: Vec<Item> = Vec::new();
    let mut add = |kind: &str, name: &str, description: &str, mime| {
        let uri = format!("oppen://{kind}/{}", encoded(name));
        all.push(Item { uri, name: plain(name, 200), description: description.to_owned(), mime });
    };
    let mut ignored = Diagnostics::default();
    let loaded = files::load(root, &[], &mut ignored);
    for id in loaded.sources.ids() {
        add("workflows", loaded.sources.path(id), "A file of the project", "application/yaml");
    }
    for (file, _) in crate::cli::schemas() {
        add("schemas", file.trim_end_matches(".json"), "A JSON schema of the language", "application/schema+json");
    }
    if let Ok(folder) = std::fs::read_dir(root.join(STATE_FOLDER).join(plans::PLANS)) {
        let names = folder.filter_map(Result::ok).filter_map(|e| e.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter_map(|n| n.strip_suffix(".json").map(str::to_owned)).collect();
        ids.sort();
        ids.iter().for_each(|id| add("plans", id, "A plan that was shown", "application/json"));
    }
    if let Some(store) = Store::open_existing(&place.state_folder()).map_err(stored)? {
        for (_, address) in store.newest(&Wanted::default(), RUNS).map_err(stored)? {
            add("runs", &address, "A run as it is recorded", "application/json");
        }
    }
    let from = queue::start(cursor)?;
    let next = from.saturating_add(PAGE);
    let more = (next < all.len()).then(|| next.to_string());
    Ok((all.into_iter().skip(from).take(PAGE).collect(), more))
}

/// Reads one, and tells its type.
pub fn read(hands: &Hands, uri: &str) -> Answer<(String, &'static str)> {
    let unknown = || {
        let words = format!("there is nothing to read at `{}`", plain(uri, 200));
        Refusal::new(
            Code::NotFound,
            words,
            "list the resources; addresses are oppen://workflows/PATH, schemas/NAME, plans/ID, runs/ADDRESS",
        )
    };
    let (kind, name) = uri.strip_prefix("oppen://").and_then(|r| r.split_once('/')).ok_or_else(unknown)?;
    let name = decoded(name).ok_or_else(unknown)?;
    let place = hands.place()?;
    let root = &place.loaded.root;
    match kind {
        "workflows" => {
            // Only what the project itself reads: other files are nobody's business here.
            let mut ignored = Diagnostics::default();
            let loaded = files::load(root, &[], &mut ignored);
            let known = loaded.sources.ids().any(|id| loaded.sources.path(id) == name);
            let path = root.join(&name);
            if !known || std::fs::metadata(&path).map_or(true, |m| m.len() > LARGEST) {
                return Err(unknown());
            }
            let text = std::fs::read_to_string(path).map_err(|_| unknown())?;
            Ok((text, "application/yaml"))
        }
        "schemas" => {
            let all = crate::cli::schemas();
            let found = all.into_iter().find(|(file, _)| file.trim_end_matches(".json") == name).ok_or_else(unknown)?;
            Ok((found.1, "application/schema+json"))
        }
        "plans" => Ok((plans::text_of(root, &name)?, "application/json")),
        "runs" => {
            let (_, run) = resolve::one(&place, &name)?;
            let view = look::view(&run, &place, None, now());
            Ok((serde_json::to_string_pretty(&view).unwrap_or_default(), "application/json"))
        }
        _ => Err(unknown()),
    }
}

/// Percent-encodes what an address may not hold (RFC 3986).
fn encoded(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(if b == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?
        } else {
            b
        });
    }
    String::from_utf8(out).ok()
}
