//! What this user may do in the cluster: each verb that the backend and the monitor use.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::super::cluster::{Link, TOGETHER, review};
use super::{Finding, Level};

/// Without these nothing runs there: group, resource, subresource, verbs (`oppen install` grants them).
const NEEDED: [(&str, &str, &str, &[&str]); 3] = [
    ("batch", "jobs", "", &["get", "list", "watch", "create", "delete"]),
    ("", "pods", "", &["get", "list", "watch"]),
    ("", "pods", "log", &["get"]),
];
/// What each of these would let us see.
const USEFUL: [(&str, &str, &str, &str, bool, &str); 6] = [
    ("", "nodes", "", "list", true, "what nodes have"),
    ("", "pods", "", "list", true, "what nodes have free"),
    ("", "resourcequotas", "", "list", false, "quotas, before they refuse"),
    ("", "limitranges", "", "list", false, "the most that a pod may have, at plan"),
    ("scheduling.k8s.io", "priorityclasses", "", "list", true, "priority classes for pods"),
    ("metrics.k8s.io", "pods", "", "list", false, "what pods use"),
];

fn attributes(group: &str, resource: &str, sub: &str, verb: &str, namespace: Option<&str>) -> Value {
    json!({"group": group, "resource": resource, "subresource": sub, "verb": verb, "namespace": namespace.unwrap_or_default()})
}

/// Asks for each.
pub fn check(link: &Link) -> Vec<Finding> {
    let namespace = link.settings().namespace.as_str();
    let own = Some(namespace);
    let needed: Vec<(String, Value)> = NEEDED
        .iter()
        .flat_map(|(group, resource, sub, verbs)| {
            verbs.iter().map(move |verb| {
                let slash = if sub.is_empty() { "" } else { "/" };
                (format!("{verb} {resource}{slash}{sub}"), attributes(group, resource, sub, verb, own))
            })
        })
        .collect();
    let useful = USEFUL.map(|(group, resource, sub, verb, all, _)| attributes(group, resource, sub, verb, own.filter(|_| !all)));
    let asked = needed.iter().map(|(_, a)| a.clone()).chain(useful).collect::<Vec<_>>();
    // A few at a time: each question beside another one needs a connection of its own.
    let answers = link.ask(async |client| {
        let all = asked.iter().map(|a| review(&client, a));
        futures::stream::iter(all).buffered(TOGETHER / 2).try_collect::<Vec<bool>>().await
    });
    match answers {
        Err(e) => {
            let hint = "when the API server answers again, this is looked at again";
            vec![Finding::new(Level::Problem, format!("rights are not known: {e}")).hint(hint)]
        }
        Ok(answers) => judge(&needed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), &answers, namespace),
    }
}

fn judge(needed: &[&str], answers: &[bool], namespace: &str) -> Vec<Finding> {
    let (first, rest) = answers.split_at(needed.len().min(answers.len()));
    let missing: Vec<&str> = needed.iter().zip(first).filter(|(_, allowed)| !**allowed).map(|(name, _)| *name).collect();
    let mut found = Vec::new();
    if missing.is_empty() {
        found.push(Finding::new(Level::Ok, format!("all {} verbs that runs need, in namespace {namespace}", needed.len())));
    } else {
        let words = format!("not allowed in namespace {namespace}: {}", missing.join(", "));
        found.push(
            Finding::new(Level::Problem, words).hint("have `oppen install --yes` run by an administrator; it makes a role with just these"),
        );
    }
    let unseen: Vec<&str> = USEFUL.iter().zip(rest).filter(|(_, allowed)| !**allowed).map(|((.., what), _)| *what).collect();
    if !unseen.is_empty() {
        found.push(Finding::new(Level::Note, format!("not seen without further rights: {}", unseen.join("; "))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_verb_is_named() {
        let found = judge(&["get jobs", "create jobs"], &[true, false, true, false, true, true, true, true], "ml");
        assert_eq!(found[0].message, "not allowed in namespace ml: create jobs");
        assert_eq!((found[0].level, found[1].message.as_str()), (Level::Problem, "not seen without further rights: what nodes have free"));
        assert_eq!(judge(&["get jobs"], &[true; 7], "ml").len(), 1);
    }
}
