//! The API server, its clock, quotas of the namespace, where use is measured.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::cluster::{Link, answers, list};
use super::super::read::quantity::nanos;
use super::{Finding, Level, words};
use crate::base::Timestamp;
use crate::base::text::escape;

/// Clocks that are this far apart are worth a warning, and this far a problem, in milliseconds. The server's `Date` has whole seconds.
const APART: i64 = 5_000;
const FAR_APART: i64 = 60_000;
/// Percent of a quota from which on it is nearly used up.
const NEARLY: u128 = 90;

/// Whether it answers, in which version, by which clock.
pub fn api(link: &Link) -> Vec<Finding> {
    let answer = match link.ask(async |client| answers(&client).await) {
        Ok(answer) => answer,
        Err(e) => {
            let hint = "see `kubectl get --raw /version`, the network, and `kubernetes.context` in oppen.yaml; what runs there goes on";
            return vec![Finding::new(Level::Problem, e).hint(hint)];
        }
    };
    let mut found = vec![Finding::new(Level::Ok, format!("Kubernetes {} answers", escape(&answer.version)))];
    match answer.date {
        None => found.push(Finding::new(Level::Note, "it does not tell its time: clocks are not compared")),
        Some(date) => found.extend(skew(date, answer.between)),
    }
    found
}

/// Our clock against the server's, whose second may have begun up to 1 s before.
fn skew(date: Timestamp, between: (Timestamp, Timestamp)) -> Option<Finding> {
    let ahead = between.0.0 - (date.0 + 1000);
    let behind = date.0 - between.1.0;
    let apart = ahead.max(behind);
    let which = if ahead >= behind { "ahead of" } else { "behind" };
    let level = match apart {
        a if a >= FAR_APART => Level::Problem,
        a if a >= APART => Level::Warning,
        _ => return None,
    };
    let seconds = apart / 1000;
    let hint = "set both clocks by NTP: lengths and costs of runs are counted by the cluster's clock, start times by this one";
    Some(Finding::new(level, format!("this machine's clock is {seconds}s {which} the cluster's")).hint(hint))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Quota {
    metadata: Meta,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    hard: BTreeMap<String, String>,
    used: BTreeMap<String, String>,
}

/// What the namespace's quotas leave.
pub fn quota(link: &Link) -> Vec<Finding> {
    let path = format!("/api/v1/namespaces/{}/resourcequotas", link.settings().namespace);
    match link.ask(async |client| list::<Quota>(&client, &path, "").await) {
        Ok((quotas, _)) => headroom(&quotas),
        Err(e) => {
            let hint = "ask for the right to list resourcequotas; what they refuse is seen only when a pod is refused";
            vec![Finding::new(Level::Warning, format!("quotas are not seen: {e}")).hint(hint)]
        }
    }
}

fn headroom(quotas: &[Quota]) -> Vec<Finding> {
    let mut all: Vec<(u128, String)> = Vec::new();
    for quota in quotas {
        for (name, hard) in &quota.status.hard {
            let used = quota.status.used.get(name).map_or("0", String::as_str);
            let Some((limit, part)) = nanos(hard).zip(nanos(used)) else { continue };
            let percent = part.saturating_mul(100).checked_div(limit).unwrap_or(if part > 0 { 100 } else { 0 });
            let words = format!("{} {}: {} of {} used", escape(&quota.metadata.name), escape(name), escape(used), escape(hard));
            all.push((percent, words));
        }
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let hint = "runs beyond it wait: let some end, or have the quota raised";
    let tight: Vec<Finding> =
        all.iter().filter(|(p, _)| *p >= NEARLY).take(5).map(|(_, w)| Finding::new(Level::Warning, w.clone()).hint(hint)).collect();
    match all.first() {
        None => vec![Finding::new(Level::Ok, "the namespace has none")],
        Some((_, words)) if tight.is_empty() => vec![Finding::new(Level::Ok, format!("{} limits; the tightest is {words}", all.len()))],
        Some(_) => tight,
    }
}

/// Who measures.
pub fn metrics(link: &Link) -> Vec<Finding> {
    match link.usage() {
        Err(miss) => {
            let hint = "install metrics-server, or ask for the right to get nodes/proxy: what pods use is not seen without";
            vec![Finding::new(Level::Warning, format!("nobody measures what is used: {}", words(miss))).hint(hint)]
        }
        Ok((usage, source)) => {
            let mut found = vec![Finding::new(Level::Ok, format!("{source}: {} nodes measured", usage.nodes.len()))];
            found.extend(usage.notes.into_iter().map(|n| Finding::new(Level::Note, n)));
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_apart_only_when_no_moment_explains_it() {
        let level =
            |ours: (i64, i64), theirs: i64| skew(Timestamp(theirs), (Timestamp(ours.0), Timestamp(ours.1))).map(|f| (f.level, f.message));
        assert_eq!(level((10_000, 10_400), 10_000), None);
        assert_eq!(level((10_000, 19_000), 15_000), None, "a slow answer is no skew");
        assert_eq!(level((30_000, 30_100), 20_000), Some((Level::Warning, "this machine's clock is 9s ahead of the cluster's".to_owned())));
        assert_eq!(level((0, 100), 90_000), Some((Level::Problem, "this machine's clock is 89s behind the cluster's".to_owned())));
    }

    #[test]
    fn a_quota_that_is_nearly_used_up_is_named() {
        let quotas: Vec<Quota> = serde_json::from_str(
            r#"[{"metadata": {"name": "q"}, "status": {"hard": {"requests.cpu": "16", "requests.memory": "32Gi", "odd": "x"}, "used": {"requests.cpu": "15", "requests.memory": "1Gi"}}}]"#,
        )
        .unwrap();
        let found = headroom(&quotas);
        assert_eq!((found.len(), found[0].level, found[0].message.as_str()), (1, Level::Warning, "q requests.cpu: 15 of 16 used"));
        assert_eq!(headroom(&[])[0].message, "the namespace has none");
    }
}
