//! The store: there, whole, of our version, writable, with room; and who looks after the runs.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::{Finding, Level, now};
use crate::base::Millis;
use crate::base::resources::{GIB, MIB};
use crate::base::text::escape;
use crate::store::{FILE, Store, StoreError};

/// Less room than this is worth a warning; less than that stops everything soon.
const LOW: u64 = GIB;
const OUT: u64 = 50 * MIB;
/// An engine answers requests several times a second; one that did not for this long hangs.
const UNANSWERED: Millis = Millis::from_secs(30);
/// A holder elsewhere shows that it lives more often than this.
const SILENT: Millis = Millis::from_secs(60);

fn broken(error: &StoreError) -> Vec<Finding> {
    vec![Finding::new(Level::Problem, error.to_string()).hint(error.hint())]
}

/// The database and its disk.
pub fn check(dir: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    let place = if dir.exists() { dir } else { dir.parent().unwrap_or(dir) };
    for path in [place.to_owned(), dir.join(FILE)] {
        if path.exists() && access(&path, Access::WRITE_OK).is_err() {
            let words = format!("{} cannot be written by this user", escape(&path.display().to_string()));
            found.push(Finding::new(Level::Problem, words).hint("make it yours (chown), or work in a copy of the project"));
        }
    }
    let left = statvfs(place).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize));
    match left {
        Some(left) if left < LOW => {
            let level = if left < OUT { Level::Problem } else { Level::Warning };
            let hint = format!(
                "free some room under {}: logs are in .oppen/attempts, outputs in .oppen/objects",
                escape(&place.display().to_string())
            );
            found.push(Finding::new(level, format!("only {} left on the disk", size(left))).hint(hint));
        }
        _ => {}
    }
    let room = left.map(|l| format!(", {} left on the disk", size(l))).unwrap_or_default();
    match Store::open_existing(dir) {
        Err(error) => found.extend(broken(&error)),
        Ok(None) => found.push(Finding::new(Level::Note, format!("nothing was applied here yet{room}"))),
        Ok(Some(store)) => match store.try_write() {
            Err(error) => found.extend(broken(&error)),
            Ok(format) => {
                let serial = store.serial().map(|s| format!(", {s} events")).unwrap_or_default();
                found.push(Finding::new(Level::Ok, format!("writable, format {format}{serial}{room}")));
            }
        },
    }
    found
}

/// `3.4 GiB`, `120 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes >= GIB {
        let tenths = u128::from(bytes) * 10 / u128::from(GIB);
        return format!("{}.{} GiB", tenths / 10, tenths % 10);
    }
    format!("{} MiB", bytes / MIB)
}

/// Who holds the lock, whether it answers, whether somebody is missing.
pub fn engine(dir: &Path) -> Vec<Finding> {
    let looked = Store::open_existing(dir).and_then(|store| store.as_ref().map(look).transpose());
    match looked {
        // What is wrong with the store is said by its own check.
        Err(_) => vec![Finding::new(Level::Warning, "not known: the store cannot be read")],
        Ok(None) => vec![Finding::new(Level::Ok, "none is needed")],
        Ok(Some(found)) => found,
    }
}

fn look(store: &Store) -> Result<Vec<Finding>, StoreError> {
    let (now, counts) = (now(), store.counts()?);
    let of = |words: &[&str]| words.iter().filter_map(|w| counts.get(*w)).sum::<u64>();
    let (waiting, live) = (of(&["pending"]), of(&["launching", "running", "stopping"]));
    let asked = store.oldest_request()?.map(|at| now.since(at)).filter(|age| *age > UNANSWERED);
    let mut found = Vec::new();
    match store.holder()? {
        Some((holder, _)) if holder.is_dead() => {
            let level = if waiting + live > 0 { Level::Warning } else { Level::Note };
            found.push(
                Finding::new(level, format!("the process that held the lock is gone: {}", escape(&holder.to_string())))
                    .hint("the next `oppen apply` or `oppen queue run` takes over at once"),
            );
        }
        Some((holder, renewed)) if now.since(renewed) > SILENT => {
            let words = format!("{} holds the lock and has given no sign of life for {}", escape(&holder.to_string()), now.since(renewed));
            found.push(Finding::new(Level::Warning, words).hint("see whether it is paused; `oppen lock break` takes the lock away"));
        }
        Some((holder, _)) => found.push(Finding::new(Level::Ok, format!("runs: {}", escape(&holder.to_string())))),
        None if waiting + live > 0 => {
            let words = format!("{waiting} runs wait and {live} are live, and no engine looks after them");
            found.push(Finding::new(Level::Warning, words).hint("start one: `oppen queue run`, or `oppen apply`"));
        }
        None => found.push(Finding::new(Level::Ok, "none runs, and nothing waits")),
    }
    if let Some(age) = asked {
        let words = format!("a request has been waiting for an answer for {age}");
        found.push(Finding::new(Level::Problem, words).hint("the engine hangs or is paused: see `oppen lock list`, and end it if it does"));
    }
    if let Some(pause) = store.paused()? {
        let words = format!("the queue is paused by {} since {}", escape(&pause.by), pause.since);
        found.push(Finding::new(Level::Note, words).hint("`oppen queue resume`"));
    }
    Ok(found)
}
