//! Nearest known name, for "did you mean".

/// The known name closest to `name`, when close enough to be a likely slip of the pen.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&wanted, &k.to_lowercase()), k))
        .filter(|(distance, k)| *distance <= 1 + k.len().max(wanted.len()) / 4)
        .min_by_key(|(distance, k)| (*distance, k.len()))
        .map(|(_, k)| k)
}

/// ``did you mean `x`?`` or the list of what is known.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(name, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut all: Vec<&str> = known.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    let more = all.len().saturating_sub(12);
    all.truncate(12);
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("known here: {}", all.join(", "))),
        (false, more) => Some(format!("known here: {} and {more} more", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip_and_not_the_stranger() {
        assert_eq!(nearest("memroy", ["memory", "cpu"]), Some("memory"));
        assert_eq!(nearest("gpus", ["memory", "gpu"]), Some("gpu"));
        assert_eq!(nearest("zebra", ["memory", "cpu"]), None);
        assert_eq!(hint("zebra", ["memory", "cpu", "memory"]).as_deref(), Some("known here: cpu, memory"));
    }
}
