//! Limits that a namespace sets: its quotas, and the most that one pod may have.
//!
//! In: the objects of the API. Out: quotas in our words. Must never change anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{Api, Client};

use super::{Settings, client};
use crate::backend::BackendError;
use crate::base::resources::{parse_cpu, parse_memory};
use crate::queue::Quotas;

/// What a namespace allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// All pods together.
    pub all: Quotas,
    /// Pods of a priority class together, by our class names.
    pub classes: BTreeMap<Arc<str>, Quotas>,
    /// One pod.
    pub pod: Quotas,
}

/// Asks the cluster.
///
/// # Errors
/// When it does not answer, or does not let us look.
pub fn read(settings: &Settings) -> Result<Allowed, BackendError> {
    let wrong = |e: &dyn std::fmt::Display| BackendError {
        message: format!("the limits of namespace {} cannot be read: {e}", settings.namespace),
        hint: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| wrong(&e))?;
    runtime.block_on(async {
        let client = client(settings.context.as_deref()).await?;
        exists(&client, &settings.namespace).await?;
        let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), &settings.namespace);
        let ranges: Api<LimitRange> = Api::namespaced(client, &settings.namespace);
        let quotas = quotas.list(&Default::default()).await.map_err(|e| wrong(&e))?;
        let ranges = ranges.list(&Default::default()).await.map_err(|e| wrong(&e))?;
        Ok(of(&quotas.items, &ranges.items))
    })
}

/// Refuses a namespace that is surely not there. Who may not look at namespaces finds out by what happens in it.
///
/// # Errors
/// When there is no such namespace.
pub async fn exists(client: &Client, name: &str) -> Result<(), BackendError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get_opt(name).await {
        Ok(None) => Err(BackendError::new(
            format!("the cluster has no namespace {name}"),
            "`oppen install` makes it, with what runs need in it; or name another one in oppen.yaml: `kubernetes: {namespace: NAME}`",
        )),
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

fn of(quotas: &[ResourceQuota], ranges: &[LimitRange]) -> Allowed {
    let mut allowed = Allowed::default();
    for spec in quotas.iter().filter_map(|q| q.spec.as_ref()) {
        let Some(hard) = spec.hard.as_ref().map(|h| amounts(h, true)) else { continue };
        let scoped = spec.scope_selector.as_ref().and_then(|s| s.match_expressions.as_ref());
        match scoped {
            None if spec.scopes.as_ref().is_none_or(Vec::is_empty) => allowed.all = tighter(&allowed.all, &hard),
            None => {}
            Some(expressions) => {
                let names = expressions
                    .iter()
                    .filter(|e| e.scope_name == "PriorityClass" && e.operator == "In")
                    .flat_map(|e| e.values.iter().flatten());
                for class in names.filter_map(|n| n.strip_prefix("oppen-")) {
                    let known = allowed.classes.entry(class.into()).or_default();
                    *known = tighter(known, &hard);
                }
            }
        }
    }
    for limit in ranges.iter().filter_map(|r| r.spec.as_ref()).flat_map(|s| &s.limits) {
        // A pod of ours has one container.
        if let Some(max) = limit.max.as_ref().filter(|_| limit.type_ == "Pod" || limit.type_ == "Container") {
            allowed.pod = tighter(&allowed.pod, &amounts(max, false));
        }
    }
    allowed
}

fn amounts(hard: &BTreeMap<String, Quantity>, prefixed: bool) -> Quotas {
    let least = |name: &str, read: fn(&str) -> Result<u64, String>| {
        let keys =
            if prefixed { vec![format!("requests.{name}"), format!("limits.{name}"), name.to_owned()] } else { vec![name.to_owned()] };
        keys.iter().filter_map(|k| hard.get(k)).filter_map(|q| read(&q.0).ok()).min()
    };
    let whole = |text: &str| text.parse().map_err(|_| String::new());
    Quotas {
        gpu: least("nvidia.com/gpu", whole).and_then(|n| u32::try_from(n).ok()),
        cpu_millis: least("cpu", parse_cpu),
        memory_bytes: least("memory", parse_memory),
    }
}

fn tighter(a: &Quotas, b: &Quotas) -> Quotas {
    fn least<T: Ord + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
        a.into_iter().chain(b).min()
    }
    Quotas { gpu: least(a.gpu, b.gpu), cpu_millis: least(a.cpu_millis, b.cpu_millis), memory_bytes: least(a.memory_bytes, b.memory_bytes) }
}

/// The pool's limits, no wider than the namespace's.
pub fn within(limits: &mut crate::queue::Limits, allowed: &Allowed) {
    limits.quotas = tighter(&limits.quotas, &allowed.all);
    for (class, quotas) in &allowed.classes {
        let known = limits.classes.entry(Arc::clone(class)).or_default();
        *known = tighter(known, quotas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::resources::GIB;
    use crate::price::Rates;

    #[test]
    fn what_install_makes_is_what_is_read() {
        let objects = super::super::install::objects("n", &Rates::default(), 3);
        let pick = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).cloned().collect::<Vec<_>>();
        let quotas: Vec<ResourceQuota> = pick("ResourceQuota").into_iter().map(|o| serde_json::from_value(o).unwrap()).collect();
        let ranges: Vec<LimitRange> = pick("LimitRange").into_iter().map(|o| serde_json::from_value(o).unwrap()).collect();
        let allowed = of(&quotas, &ranges);
        assert_eq!(allowed.all, Quotas { gpu: Some(2), cpu_millis: Some(16_000), memory_bytes: Some(32 * GIB) });
        assert_eq!(allowed.classes.get("background"), Some(&Quotas { gpu: Some(1), cpu_millis: None, memory_bytes: Some(4 * GIB) }));
        assert_eq!(allowed.pod.memory_bytes, Some(16 * GIB));
    }
}
