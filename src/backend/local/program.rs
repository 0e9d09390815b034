//! Finds a program as a shell would.
//!
//! In: the first word of a command, `PATH`, the folder it starts in. Out: a path with a slash. Must never run anything.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The program's place; else the exit status that a shell would give (127 not found, 126 not executable), and words.
///
/// # Errors
/// When there is none.
pub fn find(word: &str, path: Option<&OsStr>, at: &Path) -> Result<PathBuf, (i32, String)> {
    let shown = crate::base::text::escape(word);
    let not_executable = || (126, format!("`{shown}` may not be executed; `chmod +x` would allow it"));
    if word.contains('/') {
        let place = at.join(word);
        return match (place.is_file(), executable(&place)) {
            (true, true) => Ok(place),
            (true, false) => Err(not_executable()),
            (false, _) => Err((127, format!("there is no program `{shown}`"))),
        };
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut found = false;
    for place in std::env::split_paths(path).map(|dir| at.join(dir).join(word)).filter(|p| !word.is_empty() && p.is_file()) {
        if executable(&place) {
            return Ok(place);
        }
        found = true;
    }
    Err(if found { not_executable() } else { (127, format!("there is no program `{shown}` in PATH")) })
}

fn executable(place: &Path) -> bool {
    rustix::fs::access(place, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_as_a_shell_does() {
        let code = |word: &str, path: &str| find(word, Some(OsStr::new(path)), Path::new("/")).map_err(|(code, _)| code);
        assert_eq!(code("sh", "/nowhere:/bin"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(code("bin/sh", "/nowhere"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(code("sh", "/nowhere"), Err(127));
        assert_eq!(code("", "/bin"), Err(127));
        assert_eq!(code("/etc", "/bin"), Err(127));
        assert_eq!(code("/proc/version", "/bin"), Err(126));
    }
}
