//! The house is kept: room order, sizes of files and functions, generated files current, no strange names.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The rooms, in the order of `lib.rs`.
fn rooms() -> Vec<String> {
    let lib = text(&root().join("src/lib.rs"));
    lib.lines().filter_map(|l| l.strip_prefix("pub mod ")).map(|l| l.trim_end_matches(';').to_owned()).collect()
}

#[test]
fn each_room_uses_only_rooms_above_it() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "lib.rs declares the rooms: {rooms:?}");
    let mut wrong = Vec::new();
    for (place, room) in rooms.iter().enumerate() {
        for file in sources(&root().join("src").join(room)) {
            for (number, line) in text(&file).lines().enumerate() {
                let used =
                    line.split("crate::").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next());
                for name in used {
                    if rooms.iter().position(|r| r == name).is_some_and(|other| other > place) {
                        wrong.push(format!("{}:{}: {room} uses {name}, which is below it", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_stay_short() {
    let mut wrong = Vec::new();
    let all = ["src", "tests", "benches"].map(|f| root().join(f)).into_iter().filter(|f| f.is_dir()).flat_map(|f| sources(&f));
    for file in all {
        let text = text(&file);
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > 500 {
            wrong.push(format!("{}: {} lines, at most 500", file.display(), lines.len()));
        }
        let mut start: Option<(usize, usize)> = None;
        for (number, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let body = line.trim_start();
            let begins =
                ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn ", "async fn ", "pub async fn "].iter().any(|p| body.starts_with(p));
            match start {
                None if begins && !body.ends_with(';') => start = Some((number, indent)),
                Some((from, at)) if indent == at && body.starts_with('}') => {
                    if number - from + 1 > 70 {
                        wrong.push(format!("{}:{}: a function of {} lines, at most 70", file.display(), from + 1, number - from + 1));
                    }
                    start = None;
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources(&root().join("src"))
        .into_iter()
        .filter(|f| f.file_name().is_none_or(|n| n != "tests.rs"))
        .filter(|f| !text(f).starts_with("//!"))
        .map(|f| f.display().to_string())
        .collect();
    assert!(silent.is_empty(), "without a head: {silent:?}");
}

#[test]
fn generated_schemas_are_current() {
    for (file, wanted) in oppen::cli::schemas() {
        let path = root().join("schemas").join(file);
        assert!(text(&path) == wanted, "{} is not current: run `cargo run -- schema --write schemas`", path.display());
    }
}

#[test]
fn pages_that_people_look_for_are_there() {
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"] {
        assert!(text(&root().join(page)).len() > 200, "{page} says nothing");
    }
}
