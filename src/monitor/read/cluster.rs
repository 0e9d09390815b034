//! Nodes and pods of the Kubernetes API, as far as they are looked at.
//!
//! In: JSON of `/api/v1/nodes` and `/api/v1/pods`. Out: what nodes have, what pods ask of them. Must never read a secret: environment,
//! commands and volumes of pods are passed over unseen.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::view::{Node, Pod};
use super::quantity::{cpu_millis, whole};

/// Annotation with a run's address, and label of its state.
const ADDRESS: &str = "oppen.dev/address";
const LINEAGE: &str = "oppen.dev/lineage";
/// Label with the GPU type, where the project names no other.
const PRODUCT: &str = "nvidia.com/gpu.product";

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// Where it goes on.
    #[serde(default)]
    pub metadata: ListMeta,
    /// What is on it.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// Of a page.
#[derive(Debug, Default, Deserialize)]
pub struct ListMeta {
    /// Token of the next page.
    #[serde(default, rename = "continue")]
    pub next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// A node as the API writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WireNode {
    metadata: Meta,
    spec: WireNodeSpec,
    status: WireNodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireNodeSpec {
    unschedulable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireNodeStatus {
    allocatable: BTreeMap<String, String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

/// A pod as the API writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WirePod {
    metadata: Meta,
    spec: WirePodSpec,
    status: WirePodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WirePodSpec {
    node_name: String,
    containers: Vec<WireContainer>,
    init_containers: Vec<WireContainer>,
    overhead: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WirePodStatus {
    phase: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireContainer {
    resources: WireResources,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireResources {
    requests: BTreeMap<String, String>,
}

/// Thousandths of cores, bytes, GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Amounts(u64, u64, u64);

impl Amounts {
    fn read(all: &BTreeMap<String, String>) -> Self {
        let of = |name: &str, read: fn(&str) -> Option<u64>| all.get(name).and_then(|t| read(t)).unwrap_or(0);
        Self(of("cpu", cpu_millis), of("memory", whole), gpus(all).unwrap_or(0))
    }

    fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0), self.1.saturating_add(other.1), self.2.saturating_add(other.2))
    }

    fn or(self, other: Self) -> Self {
        Self(self.0.max(other.0), self.1.max(other.1), self.2.max(other.2))
    }
}

/// GPUs of all vendors' device plugins (`nvidia.com/gpu`, `amd.com/gpu`, `gpu.intel.com/...`); slices of one are counted alike.
fn gpus(all: &BTreeMap<String, String>) -> Option<u64> {
    let is_gpu = |name: &str| name.ends_with("/gpu") || name.starts_with("nvidia.com/mig-") || name == "nvidia.com/gpu.shared";
    let counts: Vec<u64> = all.iter().filter(|(name, _)| is_gpu(name)).filter_map(|(_, n)| whole(n)).collect();
    (!counts.is_empty()).then(|| counts.iter().fold(0_u64, |sum, n| sum.saturating_add(*n)))
}

impl WireNode {
    /// In our words; nothing is asked of it yet.
    #[must_use]
    pub fn node(&self, gpu_label: Option<&str>) -> Node {
        let has = &self.status.allocatable;
        let ready = self.status.conditions.iter().find(|c| c.r#type == "Ready").is_some_and(|c| c.status == "True");
        Node {
            name: self.metadata.name.clone(),
            ready,
            schedulable: !self.spec.unschedulable,
            gpu_type: self.metadata.labels.get(gpu_label.unwrap_or(PRODUCT)).cloned(),
            cpu_millis: has.get("cpu").and_then(|t| cpu_millis(t)),
            memory_bytes: has.get("memory").and_then(|t| whole(t)),
            gpus: gpus(has).unwrap_or(0),
            ..Node::default()
        }
    }
}

impl WirePod {
    /// Whether it holds its part of a node.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// In our words. What it asks for: all its containers together, or what its start needs, whichever is more (KEP-753).
    #[must_use]
    pub fn pod(&self) -> Pod {
        let ask = |c: &WireContainer| Amounts::read(&c.resources.requests);
        let stays = |c: &&WireContainer| c.restart_policy.as_deref() == Some("Always");
        let first = &self.spec.init_containers;
        let running = self.spec.containers.iter().chain(first.iter().filter(stays)).map(ask).fold(Amounts::default(), Amounts::and);
        let starting = first.iter().filter(|c| !stays(c)).map(ask).fold(Amounts::default(), Amounts::or);
        let Amounts(cpu_millis, memory_bytes, gpus) = running.or(starting).and(Amounts::read(&self.spec.overhead));
        let meta = &self.metadata;
        Pod {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            node: Some(self.spec.node_name.clone()).filter(|n| !n.is_empty()),
            phase: self.status.phase.clone(),
            run: meta.annotations.get(ADDRESS).filter(|_| meta.labels.contains_key(LINEAGE)).cloned(),
            lineage: meta.labels.get(LINEAGE).cloned(),
            cpu_millis,
            memory_bytes,
            gpus,
        }
    }
}

/// Counts what the pods ask of each node.
pub fn ask(nodes: &mut [Node], pods: &[Pod]) {
    let mut sums: BTreeMap<&str, Amounts> = BTreeMap::new();
    for pod in pods {
        if let Some(node) = &pod.node {
            let sum = sums.entry(node).or_default();
            *sum = sum.and(Amounts(pod.cpu_millis, pod.memory_bytes, pod.gpus));
        }
    }
    for node in nodes {
        let Amounts(cpu, memory, gpus) = sums.get(node.name.as_str()).copied().unwrap_or_default();
        node.cpu_requested_millis = Some(cpu);
        node.memory_requested_bytes = Some(memory);
        node.gpus_requested = Some(gpus);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODES: &str = r#"{"kind": "NodeList", "metadata": {"continue": "abc"}, "items": [{"metadata": {"name": "n1", "labels": {"nvidia.com/gpu.product": "A100"}},
        "spec": {}, "status": {"allocatable": {"cpu": "3920m", "memory": "15Gi", "nvidia.com/gpu": "4", "pods": "110"},
        "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}},
        {"metadata": {"name": "n2"}, "spec": {"unschedulable": true}}]}"#;
    const PODS: &str = r#"{"items": [
        {"metadata": {"name": "a", "namespace": "ml", "labels": {"oppen.dev/lineage": "l"}, "annotations": {"oppen.dev/address": "w/train"}},
         "spec": {"nodeName": "n1", "containers": [{"resources": {"requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "1"}}}, {}],
          "initContainers": [{"resources": {"requests": {"cpu": "2"}}}, {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}]},
         "status": {"phase": "Running"}},
        {"metadata": {"name": "b", "annotations": {"oppen.dev/address": "claimed"}}, "spec": {"nodeName": "n1"}, "status": {"phase": "Succeeded"}}]}"#;

    #[test]
    fn nodes_have_and_pods_ask() {
        let list: List<WireNode> = serde_json::from_str(NODES).unwrap();
        assert_eq!(list.metadata.next.as_deref(), Some("abc"));
        let mut nodes: Vec<Node> = list.items.iter().map(|n| n.node(None)).collect();
        let pods: List<WirePod> = serde_json::from_str(PODS).unwrap();
        let live: Vec<Pod> = pods.items.iter().filter(|p| p.is_live()).map(WirePod::pod).collect();
        assert_eq!(live.len(), 1);
        assert_eq!((live[0].run.as_deref(), live[0].cpu_millis, live[0].gpus), (Some("w/train"), 2000, 1));
        assert_eq!(pods.items[1].pod().run, None, "whoever carries no label of a state is not of Oppen");
        ask(&mut nodes, &live);
        let n1 = &nodes[0];
        assert_eq!((n1.ready, n1.cpu_millis, n1.gpus, n1.gpus_requested), (true, Some(3920), 4, Some(1)));
        assert_eq!((n1.gpu_type.as_deref(), n1.memory_requested_bytes), (Some("A100"), Some(1 << 30)));
        let n2 = &nodes[1];
        assert_eq!((n2.ready, n2.schedulable, n2.cpu_millis, n2.cpu_requested_millis), (false, false, None, Some(0)));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(text in "(?s).{0,100}", cut in 0..600_usize) {
            let _ = serde_json::from_str::<List<WirePod>>(&text);
            let _ = serde_json::from_str::<List<WirePod>>(PODS.get(..cut.min(PODS.len())).unwrap_or(PODS));
            let _ = serde_json::from_str::<List<WireNode>>(&format!("{{\"items\": [{{\"metadata\": {{\"name\": {text:?}}}}}]}}"));
        }
    }
}
