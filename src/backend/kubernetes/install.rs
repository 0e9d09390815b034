//! What a namespace needs: priority classes, quotas, limits, configuration, a service account with the least rights.
//!
//! In: the namespace. Out: objects, as YAML for git or applied by server-side apply. Must never touch what it does not list.

use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, Client, Discovery};
use serde_json::{Value, json};

use crate::backend::BackendError;
use crate::price::Rates;

/// Who applies, for server-side apply.
const MANAGER: &str = "oppen";

/// All objects, in the order in which they are to be made.
#[must_use]
pub fn objects(namespace: &str, rates: &Rates, max_concurrent: u32) -> Vec<Value> {
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels(Some(("pod-security.kubernetes.io/enforce", "restricted")))}}),
    ];
    let classes = [("urgent", 1000, "Goes first"), ("normal", 100, "The usual"), ("background", 10, "When nothing else wants to run")];
    all.extend(classes.map(|(name, value, description)| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": format!("oppen-{name}"), "labels": labels(None)},
            "value": value, "globalDefault": false, "description": description})
    }));
    all.extend(limits(namespace));
    all.extend(configuration(namespace, rates, max_concurrent));
    all.extend(rights(namespace));
    all
}

fn labels(more: Option<(&str, &str)>) -> Value {
    let mut labels = json!({"app.kubernetes.io/managed-by": "oppen"});
    if let (Some((key, value)), Some(map)) = (more, labels.as_object_mut()) {
        map.insert(key.to_owned(), value.into());
    }
    labels
}

fn meta(name: &str, namespace: &str) -> Value {
    json!({"name": name, "namespace": namespace, "labels": labels(None)})
}

fn limits(namespace: &str) -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta("oppen-general", namespace),
            "spec": {"hard": {"requests.nvidia.com/gpu": "2", "requests.cpu": "16", "limits.cpu": "16", "requests.memory": "32Gi", "limits.memory": "32Gi"}}}),
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta("oppen-background", namespace),
            "spec": {"hard": {"requests.nvidia.com/gpu": "1", "requests.memory": "4Gi", "limits.memory": "4Gi"},
                "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["oppen-background"]}]}}}),
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta("oppen-limits", namespace),
            "spec": {"limits": [
                {"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"}, "defaultRequest": {"cpu": "500m", "memory": "256Mi"}},
                {"type": "Pod", "max": {"memory": "16Gi"}}]}}),
    ]
}

fn configuration(namespace: &str, rates: &Rates, max_concurrent: u32) -> Vec<Value> {
    let ppm =
        |factor: u64| format!("{}.{:06}", factor / 1_000_000, factor % 1_000_000).trim_end_matches('0').trim_end_matches('.').to_owned();
    let policies = json!({
        "max_concurrent": max_concurrent.to_string(), "order": "priority, then first in first out",
        "priority.urgent": "1000", "priority.normal": "100", "priority.background": "10",
    });
    let mut model = json!({"currency": "USD", "windows.timezone": rates.hours.zone.name(), "source": &*rates.source});
    if let Some(map) = model.as_object_mut() {
        let money = [("gpu_per_hour", rates.gpu), ("cpu_per_core_hour", rates.cpu), ("memory_per_gib_hour", rates.memory)];
        let money = money.into_iter().chain([("disk_per_gib_hour", rates.disk)]);
        map.extend(money.filter_map(|(name, price)| price.map(|m| (name.to_owned(), json!(m.decimal())))));
        for (kind, offer) in &rates.gpus {
            let price = offer.price(crate::base::Capacity::OnDemand, &rates.site);
            map.extend(price.map(|m| (format!("gpu_per_hour.{kind}"), json!(m.decimal()))));
        }
        map.extend(rates.card.iter().map(|name| ("card".to_owned(), json!(&**name))));
        map.extend(rates.as_of.iter().map(|date| ("as_of".to_owned(), json!(date.to_string()))));
        map.extend(rates.hours.windows.iter().map(|w| (format!("window.{}.factor", w.name), json!(ppm(w.factor)))));
        let factors = [("spot.factor", rates.spot), ("reserved.factor", rates.reserved)];
        map.extend(factors.into_iter().filter_map(|(name, f)| f.map(|f| (name.to_owned(), json!(ppm(f))))));
        map.extend(rates.priority.iter().map(|(class, f)| (format!("priority.{class}.factor"), json!(ppm(*f)))));
    }
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("oppen-scheduling-policies", namespace), "data": policies}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("oppen-cost-model", namespace), "data": model}),
    ]
}

/// What `oppen apply` does in the namespace, and no more.
fn rights(namespace: &str) -> Vec<Value> {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("oppen", namespace), "automountServiceAccountToken": false}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta("oppen", namespace), "rules": [
            rule("batch", &["jobs"], &["get", "list", "watch", "create", "delete"]),
            rule("", &["pods"], &["get", "list", "watch"]),
            rule("", &["pods/log"], &["get"]),
        ]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta("oppen", namespace),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "oppen"},
            "subjects": [{"kind": "ServiceAccount", "name": "oppen", "namespace": namespace}]}),
    ]
}

/// The objects as YAML documents.
///
/// # Errors
/// When an object cannot be written, in words.
pub fn yaml(objects: &[Value]) -> Result<String, String> {
    objects
        .iter()
        .map(|o| serde_saphyr::to_string(o).map(|text| format!("---\n{}\n", text.trim_end())).map_err(|e| e.to_string()))
        .collect()
}

/// Applies the objects; what was done is told line by line.
///
/// # Errors
/// When the cluster refuses one; those before it are there.
pub fn apply(context: Option<&str>, objects: &[Value], mut say: impl FnMut(String)) -> Result<(), BackendError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| BackendError { message: e.to_string(), hint: None })?;
    runtime.block_on(async {
        let client = super::client(context).await?;
        let wrong = |what: &str, e: &dyn std::fmt::Display| {
            BackendError::new(
                format!("{what}: {e}"),
                "ask an administrator of the cluster, or print the objects with `oppen install -o yaml`",
            )
        };
        let discovery = Discovery::new(client.clone()).run().await.map_err(|e| wrong("the cluster does not tell what it knows", &e))?;
        for object in objects {
            let name = one(&client, &discovery, object).await.map_err(|e| wrong(&title(object), &e))?;
            say(format!("{name} applied"));
        }
        Ok(())
    })
}

fn title(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{}/{}", text("/kind").to_lowercase(), text("/metadata/name"))
}

async fn one(client: &Client, discovery: &Discovery, object: &Value) -> Result<String, String> {
    let typed: DynamicObject = serde_json::from_value(object.clone()).map_err(|e| e.to_string())?;
    let types = typed.types.clone().ok_or("no kind")?;
    let kind = GroupVersionKind::try_from(&types).map_err(|e| e.to_string())?;
    let (resource, _) = discovery.resolve_gvk(&kind).ok_or_else(|| format!("the cluster does not know {}", types.kind))?;
    let api: Api<DynamicObject> = match &typed.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = typed.metadata.name.clone().unwrap_or_default();
    api.patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(object)).await.map_err(|e| e.to_string())?;
    Ok(title(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objects_are_printed_as_yaml_that_reads_back() {
        let all = objects("team-a", &Rates::default(), 3);
        let kinds: Vec<&str> = all.iter().filter_map(|o| o["kind"].as_str()).collect();
        assert_eq!(
            kinds,
            [
                "Namespace",
                "PriorityClass",
                "PriorityClass",
                "PriorityClass",
                "ResourceQuota",
                "ResourceQuota",
                "LimitRange",
                "ConfigMap",
                "ConfigMap",
                "ServiceAccount",
                "Role",
                "RoleBinding"
            ]
        );
        let text = yaml(&all).unwrap();
        let first = text.split("---\n").nth(5).unwrap();
        let back: Value = serde_saphyr::from_str(first).unwrap();
        assert_eq!(back, all[4]);
    }
}
