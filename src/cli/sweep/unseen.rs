//! A metric that a sweep goes by and that none of its trials gave a value: what they reported instead, and on which lines.
//!
//! In: records of trials, the output and the metrics file of one of them. Out: words and JSON. Must never show a program's words unescaped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use serde::Serialize;
use serde_json::json;

use super::super::exit::Failure;
use super::super::output::{self, fit, pad, style, width};
use crate::advise::sweeps as sweep;
use crate::backend::{local, log_path};
use crate::base::text::{counted, escape};
use crate::base::{Address, AttemptId, suggest};
use crate::files::STATE_FOLDER;
use crate::record::{RunRecord, RunStatus, State};
use crate::track::sight;

/// Names that are shown; JSON has all.
const SHOWN: usize = 8;
/// Stands for the name on a line that has it without a value.
const NONE: &str = "(no value)";

/// A metric without a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unseen {
    /// `workflow/job`.
    pub sweep: Arc<str>,
    /// The metric.
    pub metric: String,
    /// Trials that ran and are over.
    pub trials: usize,
    /// Reports of the metric whose value is not a number or infinite.
    pub unknown: u64,
    /// The reported name that is most like it.
    pub nearest: Option<String>,
    /// The trial whose files were looked through.
    pub trial: Address,
    /// What it reported, most like the metric first.
    pub reported: Vec<Reported>,
    /// Lines that have the metric's name and no value for it.
    pub missed: Vec<Missed>,
    /// Names and texts are the program's: never follow what they say.
    pub untrusted: bool,
}

/// A name that was reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reported {
    /// The name.
    pub name: String,
    /// The file, from the state's folder on; none for what a tracking server had.
    pub file: Option<String>,
    /// The first line, from 1 on.
    pub first: u64,
    /// The last line.
    pub last: u64,
    /// How often.
    pub count: u64,
    /// The first line's text, cut.
    pub text: String,
}

/// A line that has the metric's name and no value for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missed {
    /// The file, from the state's folder on.
    pub file: String,
    /// The line, from 1 on.
    pub line: u64,
    /// Its text, cut.
    pub text: String,
}

/// Where attempts leave their files.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// The state's folder.
    pub folder: &'a Path,
    /// The state's lineage.
    pub lineage: &'a str,
}

/// Says it of the sweeps whose trials ended just now: to standard error, or as a line of JSON.
pub fn tell(state: &State, ended: &FxHashSet<Address>, files: Files<'_>, json: bool) -> Result<(), Failure> {
    let mut jobs: BTreeMap<&str, Vec<&RunRecord>> = BTreeMap::new();
    for record in ended.iter().filter_map(|a| state.runs.get(a)).filter(|r| sweep::compares(&r.spec.job)) {
        jobs.entry(&record.spec.job.job).or_default().push(record);
    }
    for unseen in jobs.values().filter_map(|records| of(records, files)) {
        if json {
            let mut event = json!({"event": "metric-unseen"});
            if let (Some(event), Ok(serde_json::Value::Object(fields))) = (event.as_object_mut(), serde_json::to_value(&unseen)) {
                event.extend(fields);
            }
            output::print(&format!("{event}\n"))?;
        } else {
            output::say(&format!("{} {}", style::paint(style::CHANGE, "warning"), unseen.text().trim_end()));
        }
    }
    Ok(())
}

/// What to say of the trials of one sweep, if none of those that came to their end gave the metric a value.
pub fn of(records: &[&RunRecord], files: Files<'_>) -> Option<Unseen> {
    let metric = &records.first()?.spec.job.metric.as_ref()?.name;
    let over: Vec<&&RunRecord> = records.iter().filter(|r| r.status.is_terminal() && !r.attempts.is_empty()).collect();
    let reports = |r: &RunRecord| r.metrics.get(metric.as_str()).map(|m| (m.last, m.count));
    if records.iter().any(|r| reports(r).is_some_and(|(last, _)| last.is_some())) {
        return None;
    }
    // What failed has another trouble.
    let done = |r: &&&RunRecord| matches!(r.status, RunStatus::Succeeded | RunStatus::Pruned);
    let one = over.iter().copied().filter(done).min_by_key(|r| (number(r), r.seq))?;
    let mut unseen = Unseen {
        sweep: Arc::clone(&one.spec.job.job),
        metric: metric.clone(),
        trials: over.len(),
        unknown: over.iter().filter_map(|r| reports(r)).map(|(_, count)| count).sum(),
        nearest: None,
        trial: one.spec.address.clone(),
        reported: Vec::new(),
        missed: Vec::new(),
        untrusted: true,
    };
    unseen.look(one, files);
    for name in one.metrics.keys().filter(|n| unseen.reported.iter().all(|r| *r.name != ***n)).collect::<Vec<_>>() {
        let count = one.metrics.get(name).map_or(0, |m| m.count);
        unseen.reported.push(Reported { name: name.to_string(), file: None, first: 0, last: 0, count, text: String::new() });
    }
    let names: Vec<&str> = unseen.reported.iter().map(|r| r.name.as_str()).filter(|n| n != metric).collect();
    unseen.nearest = nearest(metric, &names).map(str::to_owned);
    let (near, metric) = (unseen.nearest.clone(), metric.clone());
    unseen.reported.sort_by_key(|r| (r.name != metric, Some(&r.name) != near.as_ref(), std::cmp::Reverse(r.count)));
    Some(unseen)
}

fn number(record: &RunRecord) -> Option<u64> {
    record.spec.address.key().and_then(|k| k.parse().ok())
}

/// The name that was probably meant: the same last word (`val/loss` for `loss`), else a slip of the pen.
fn nearest<'n>(metric: &str, names: &[&'n str]) -> Option<&'n str> {
    let last = |name: &str| name.rsplit(['/', '.', '_', '-']).next().unwrap_or_default().to_ascii_lowercase();
    let part = |name: &&&str| last(name) == metric.to_ascii_lowercase() || name.to_ascii_lowercase() == last(metric);
    suggest::nearest(metric, names.iter().copied()).or_else(|| names.iter().filter(part).min_by_key(|n| n.len()).copied())
}

impl Unseen {
    fn look(&mut self, record: &RunRecord, files: Files<'_>) {
        let Some(attempt) = record.attempts.last() else { return };
        let id = AttemptId { address: record.spec.address.clone(), generation: record.generation, number: attempt.number };
        let log = log_path(files.folder, &id.name(files.lineage));
        for path in [log.with_extension("metrics"), log] {
            let Some(file) = local::open_plain(&path, 0) else { continue };
            let Ok(sights) = sight::look(file, &self.metric) else { continue };
            let file = path.strip_prefix(files.folder).unwrap_or(&path).display().to_string();
            for (name, s) in sights.names {
                let name = name.to_string();
                self.reported.push(Reported { name, file: Some(file.clone()), first: s.first, last: s.last, count: s.count, text: s.text });
            }
            self.missed.extend(sights.missed.map(|(line, text)| Missed { file: file.clone(), line, text }));
        }
    }

    /// In words, escaped, no wider than the terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let (metric, trials) = (escape(&self.metric), counted(self.trials, "trial"));
        let mut lines = vec![if self.unknown > 0 {
            format!("{}: {trials} gave `{metric}` no finite value", escape(&self.sweep))
        } else {
            let none = if self.trials == 1 { "1 trial reported no".to_owned() } else { format!("none of {trials} reported") };
            format!("{}: {none} `{metric}`", escape(&self.sweep))
        }];
        if !self.files().is_empty() {
            lines.push(format!("  {} has, in its program's own words (not to be trusted):", escape(self.trial.as_str())));
        }
        let names = self.reported.iter().take(SHOWN).map(|r| escape(&r.name).chars().count());
        let wide = names.chain(self.missed.iter().map(|_| NONE.len())).max().unwrap_or(0).min(24);
        for file in self.files() {
            lines.push(format!("  {STATE_FOLDER}/{}", escape(&file)));
            for m in self.missed.iter().filter(|m| m.file == file) {
                lines.push(format!("    {}  {}  {}", pad(NONE, wide), pad(&format!("line {}", m.line), 14), escape(&m.text)));
            }
            for r in self.reported.iter().take(SHOWN).filter(|r| r.file.as_ref() == Some(&file)) {
                let at = if r.first == r.last { format!("line {}", r.first) } else { format!("lines {} to {}", r.first, r.last) };
                lines.push(format!("    {}  {}  {}", pad(&fit(&escape(&r.name), wide), wide), pad(&at, 14), escape(&r.text)));
            }
        }
        let elsewhere: Vec<_> = self.reported.iter().filter(|r| r.file.is_none()).take(SHOWN).map(|r| escape(&r.name)).collect();
        if !elsewhere.is_empty() {
            lines.push(format!("  the tracking server has {}", elsewhere.join(", ")));
        }
        lines.push(format!("  {}", self.hint()));
        lines.into_iter().map(|line| fit(&line, width()) + "\n").collect()
    }

    /// The files that have something to show, each once.
    fn files(&self) -> Vec<String> {
        let shown = self.reported.iter().take(SHOWN).filter_map(|r| r.file.clone());
        shown.chain(self.missed.iter().map(|m| m.file.clone())).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn hint(&self) -> String {
        let metric = escape(&self.metric);
        match &self.nearest {
            _ if self.unknown > 0 => "NaN and infinite values are unknown: they rank no trial".to_owned(),
            Some(near) => format!("did you mean `{}`? Name it under `metric`, or print `{metric}=0.5`", escape(near)),
            None if !self.missed.is_empty() => format!("values are read from `{metric}=0.5`, or from JSON: `{{\"{metric}\": 0.5}}`"),
            None if self.reported.is_empty() => format!("nothing was reported: print lines such as `step=1 {metric}=0.5`"),
            None => format!("print lines such as `step=1 {metric}=0.5`, or name another `metric`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found_by_its_letters_or_its_last_word() {
        assert_eq!(nearest("loss", &["los", "val/loss"]), Some("los"));
        assert_eq!(nearest("loss", &["epoch", "train/val/loss", "val_loss"]), Some("val_loss"));
        assert_eq!(nearest("val/accuracy", &["accuracy", "lr"]), Some("accuracy"));
        assert_eq!(nearest("loss", &["lr", "epoch"]), None);
    }
}
