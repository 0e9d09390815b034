//! Paths in documents: relative to the project's root, and never outside it.

/// Checks a path of `inputs`, `outputs` or `workdir` and gives it in its plain form (`./a//b/` is `a/b`; `.` is `.`).
///
/// # Errors
/// A sentence saying why it is refused.
pub fn confined(path: &str) -> Result<String, String> {
    let shown = crate::base::text::escape(path);
    if path.is_empty() {
        return Err("an empty path".to_owned());
    }
    if path.starts_with('/') || path.starts_with('~') || path.contains("://") || path.to_ascii_lowercase().starts_with("file:") {
        return Err(format!("`{shown}` is not relative to the project's root"));
    }
    if path.contains('\\') || path.contains('%') || path.contains(|c: char| c.is_control()) {
        return Err(format!("`{shown}` has a character that paths may not have here (backslash, percent, control)"));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(format!("`{shown}` leads out of the project's root")),
            part => parts.push(part),
        }
    }
    if parts.first() == Some(&".oppen") {
        return Err(format!("`{shown}` lies in the folder of Oppen's own state"));
    }
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The path of a used workflow: relative to the folder of the file that uses it. May go up, but not out of the root.
///
/// # Errors
/// A sentence saying why it is refused.
pub fn used(from_file: &str, path: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from_file.split('/').collect();
    parts.pop();
    let shown = crate::base::text::escape(path);
    if path.starts_with('/') || path.contains("://") || path.contains('\\') || path.contains('%') || path.contains(|c: char| c.is_control())
    {
        return Err(format!("`{shown}` is not a path relative to this file"));
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!("`{shown}` leads out of the project's root"));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside() {
        assert_eq!(confined("./data//raw/"), Ok("data/raw".to_owned()));
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x", "%2e%2e/x", "file:///etc", "~/x", ".oppen/state.db", "a\nb"] {
            assert!(confined(path).is_err(), "{path}");
        }
        assert_eq!(used("workflows/a.yaml", "./b.yaml"), Ok("workflows/b.yaml".to_owned()));
        assert_eq!(used("workflows/a.yaml", "../x/b.yaml"), Ok("x/b.yaml".to_owned()));
        assert!(used("workflows/a.yaml", "../../b.yaml").is_err());
        assert!(used("a.yaml", "/b.yaml").is_err());
    }
}
