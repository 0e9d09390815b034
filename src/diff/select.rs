//! Selectors: `state:failed`, `state:changed.params`, `priority:urgent`, `team:nlp`, globs of addresses, `+` for descendants; and
//! targets, which bring what they need.

use rustc_hash::{FxHashMap, FxHashSet};

use super::plan::Planned;
use crate::expand::Desired;
use crate::record::{RunRecord, State};

/// One selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    what: What,
    descendants: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Status(String),
    Changed(Option<String>),
    Priority(String),
    Team(String),
    Label(String, String),
    Glob(String),
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// What is wrong, with what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (body, descendants) = text.strip_suffix('+').map_or((text, false), |b| (b, true));
        let what = match body.split_once(':') {
            Some(("state", "changed")) => What::Changed(None),
            Some(("state", word)) if word.starts_with("changed.") => What::Changed(word.strip_prefix("changed.").map(str::to_owned)),
            Some(("state", word)) => {
                let known = [
                    "pending",
                    "launching",
                    "running",
                    "stopping",
                    "succeeded",
                    "failed",
                    "cancelled",
                    "skipped",
                    "pruned",
                    "unneeded",
                    "new",
                    "changed",
                ];
                if !known.contains(&word) {
                    let hint = crate::base::suggest::hint(word, known).unwrap_or_default();
                    return Err(format!("unknown state `{}`; {hint}", crate::base::text::escape(word)));
                }
                What::Status(word.to_owned())
            }
            Some(("priority", class)) => What::Priority(class.to_owned()),
            Some(("team", team)) => What::Team(team.to_owned()),
            Some(("label", pair)) => {
                let (name, value) = pair.split_once('=').ok_or("write `label:NAME=VALUE`")?;
                What::Label(name.to_owned(), value.to_owned())
            }
            Some((other, _)) => {
                return Err(format!(
                    "unknown selector `{}:`; known are state:, priority:, team:, label: and addresses",
                    crate::base::text::escape(other)
                ));
            }
            None if body.is_empty() => return Err("an empty selector selects nothing".to_owned()),
            None => What::Glob(body.to_owned()),
        };
        Ok(Self { what, descendants })
    }

    /// True when the recorded run matches.
    #[must_use]
    pub fn matches_record(&self, record: &RunRecord) -> bool {
        match &self.what {
            What::Status(word) => record.status.word() == word,
            What::Changed(_) => false,
            What::Priority(class) => &*record.spec.job.priority.class == class,
            What::Team(team) => record.spec.job.team.as_ref() == Some(team),
            What::Label(name, value) => record.spec.job.labels.get(name) == Some(value),
            What::Glob(glob) => matches_address(glob, record.spec.address.as_str()),
        }
    }

    fn matches_action(&self, action: &Planned, state: &State) -> bool {
        let record = state.runs.get(&action.address);
        let spec = action.spec.as_deref().or(record.map(|r| &*r.spec));
        match &self.what {
            What::Status(word) if word == "new" => record.is_none(),
            What::Status(word) => record.is_some_and(|r| r.status.word() == word),
            What::Changed(None) => record.is_some() && action.spec.is_some(),
            What::Changed(Some(key)) => {
                action.reasons.iter().any(|r| r.key == *key || r.key.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('.')))
            }
            What::Priority(class) => spec.is_some_and(|s| &*s.job.priority.class == class),
            What::Team(team) => spec.is_some_and(|s| s.job.team.as_ref() == Some(team)),
            What::Label(name, value) => spec.is_some_and(|s| s.job.labels.get(name) == Some(value)),
            What::Glob(glob) => matches_address(glob, action.address.as_str()),
        }
    }
}

/// True when the glob (`*` any characters, `?` one) matches the whole address, its job, or its workflow.
#[must_use]
pub fn matches_address(glob: &str, address: &str) -> bool {
    let job = address.split('[').next().unwrap_or_default();
    let workflow = address.split('/').next().unwrap_or_default();
    wildcard(glob.as_bytes(), address.as_bytes())
        || wildcard(glob.as_bytes(), job.as_bytes())
        || wildcard(glob.as_bytes(), workflow.as_bytes())
}

/// Linear matching with one place to go back to.
fn wildcard(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                back = Some((g, t));
                g += 1;
            }
            Some(c) if *c == b'?' || text.get(t) == Some(c) => {
                g += 1;
                t += 1;
            }
            _ => match &mut back {
                Some((star, from)) => {
                    *from += 1;
                    (g, t) = (*star + 1, *from);
                }
                None => return false,
            },
        }
    }
    glob.get(g..).is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
}

/// Which actions of a plan are wanted. Nothing given means all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Any of these matches.
    pub selectors: Vec<Selector>,
    /// Globs of addresses, with everything that they need.
    pub targets: Vec<String>,
}

impl Selection {
    /// Drops the actions that are not wanted. What a kept action needs is kept too: a plan must be able to run.
    pub fn keep(&self, actions: &mut Vec<Planned>, desired: &Desired, state: &State) {
        if self.selectors.is_empty() && self.targets.is_empty() {
            return;
        }
        let mut jobs_up: FxHashSet<usize> = FxHashSet::default();
        let mut jobs_down: FxHashSet<usize> = FxHashSet::default();
        let by_address: FxHashMap<&str, usize> = desired.jobs.iter().enumerate().map(|(i, j)| (&*j.address, i)).collect();
        // What a target needs is wanted also where the target itself has nothing to do.
        for (i, job) in desired.jobs.iter().enumerate().filter(|_| !self.targets.is_empty()) {
            let mut runs = desired.runs.get(job.runs.clone()).unwrap_or_default().iter();
            if runs.any(|r| self.targets.iter().any(|t| matches_address(t, r.address.as_str()))) {
                jobs_up.insert(i);
            }
        }
        let mut direct = Vec::with_capacity(actions.len());
        for action in actions.iter() {
            let targeted = self.targets.iter().any(|t| matches_address(t, action.address.as_str()));
            let selected: Vec<&Selector> = self.selectors.iter().filter(|s| s.matches_action(action, state)).collect();
            let job = by_address.get(action.address.job()).copied();
            let wanted = targeted || !selected.is_empty();
            direct.push(wanted);
            if let Some(job) = job.filter(|_| wanted) {
                jobs_up.insert(job);
                if selected.iter().any(|s| s.descendants) {
                    jobs_down.insert(job);
                }
            }
        }
        for (i, job) in desired.jobs.iter().enumerate() {
            if job.needs.iter().any(|(n, _)| jobs_down.contains(n)) {
                jobs_down.insert(i);
                jobs_up.insert(i);
            }
        }
        let chosen = jobs_up.clone();
        for (i, job) in desired.jobs.iter().enumerate().rev() {
            if jobs_up.contains(&i) {
                jobs_up.extend(job.needs.iter().map(|(n, _)| *n));
            }
        }
        let below = |job: &str, set: &FxHashSet<usize>| by_address.get(job).is_some_and(|i| set.contains(i));
        let mut direct = direct.into_iter();
        actions.retain(|a| {
            let wanted = direct.next().unwrap_or(false);
            let job = a.address.job();
            let needed = below(job, &jobs_up) && !below(job, &chosen);
            wanted || needed || below(job, &jobs_down)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_of_addresses() {
        for (glob, address, expected) in [
            ("digits/train*", "digits/train[0]", true),
            ("digits/train", "digits/train[0]", true),
            ("digits", "digits/train[0]", true),
            ("digits/train[0]", "digits/train[0]", true),
            ("digits/train[?]", "digits/train[0]", true),
            ("*[1]", "digits/train[0]", false),
            ("digits/tr", "digits/train[0]", false),
        ] {
            assert_eq!(matches_address(glob, address), expected, "{glob} {address}");
        }
    }

    #[test]
    fn says_what_a_selector_may_be() {
        assert!(Selector::parse("state:failed+").is_ok_and(|s| s.descendants));
        assert!(Selector::parse("state:faild").is_err_and(|e| e.contains("did you mean `failed`")));
        assert!(Selector::parse("stat:failed").is_err());
    }
}
