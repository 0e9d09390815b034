//! What nodes and pods use: metrics-server's answers, else the kubelet's summary.
//!
//! In: JSON of `metrics.k8s.io/v1beta1` and of `/stats/summary`. Out: cores and bytes by name. What is not measured yet is missing, not 0.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::view::Use;
use super::quantity::{nanos, whole};
use crate::base::Timestamp;

/// Use by the name of a node, or by `namespace/pod`.
pub type ByName = BTreeMap<String, Use>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metrics {
    metadata: Meta,
    timestamp: String,
    usage: BTreeMap<String, String>,
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    usage: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    name: String,
    namespace: String,
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Metrics>,
}

fn used(usage: &BTreeMap<String, String>) -> Use {
    let millis = usage.get("cpu").and_then(|t| nanos(t)).and_then(|n| u64::try_from(n / 1_000_000).ok());
    Use { cpu_millis: millis, memory_bytes: usage.get("memory").and_then(|t| whole(t)) }
}

fn sum(a: Use, b: Use) -> Use {
    let both = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_add(b));
    Use { cpu_millis: both(a.cpu_millis, b.cpu_millis), memory_bytes: both(a.memory_bytes, b.memory_bytes) }
}

/// `NodeMetricsList` or `PodMetricsList`, and when the oldest of it was measured.
///
/// # Errors
/// When it is none, in words.
pub fn metrics(text: &str) -> Result<(ByName, Option<Timestamp>), String> {
    let list: List = serde_json::from_str(text).map_err(|e| format!("no list of metrics: {e}"))?;
    let oldest = list.items.iter().filter_map(|m| Timestamp::parse(&m.timestamp)).min();
    let one = |m: Metrics| {
        let name = if m.metadata.namespace.is_empty() { m.metadata.name } else { format!("{}/{}", m.metadata.namespace, m.metadata.name) };
        let whole = m.containers.iter().map(|c| used(&c.usage)).reduce(sum);
        (name, whole.unwrap_or_else(|| used(&m.usage)))
    };
    Ok((list.items.into_iter().map(one).collect(), oldest))
}

#[derive(Debug, Deserialize)]
struct Summary {
    node: SummaryNode,
    #[serde(default)]
    pods: Vec<SummaryPod>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SummaryNode {
    node_name: String,
    #[serde(default)]
    cpu: Cpu,
    #[serde(default)]
    memory: Memory,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SummaryPod {
    pod_ref: Meta,
    #[serde(default)]
    cpu: Cpu,
    #[serde(default)]
    memory: Memory,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    usage_nano_cores: Option<u64>,
    time: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

fn measured(cpu: &Cpu, memory: &Memory) -> Use {
    Use { cpu_millis: cpu.usage_nano_cores.map(|n| n / 1_000_000), memory_bytes: memory.working_set_bytes }
}

/// A kubelet's `/stats/summary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfNode {
    /// Its node.
    pub node: String,
    /// What the node uses.
    pub used: Use,
    /// What its pods use.
    pub pods: ByName,
    /// When the node was measured.
    pub measured: Option<Timestamp>,
}

/// A kubelet's `/stats/summary`: its node, and its pods.
///
/// # Errors
/// When it is none, in words.
pub fn summary(text: &str) -> Result<OfNode, String> {
    let summary: Summary = serde_json::from_str(text).map_err(|e| format!("no summary of a kubelet: {e}"))?;
    let pods = summary.pods.iter().map(|p| (format!("{}/{}", p.pod_ref.namespace, p.pod_ref.name), measured(&p.cpu, &p.memory)));
    let node = &summary.node;
    Ok(OfNode {
        used: measured(&node.cpu, &node.memory),
        pods: pods.collect(),
        measured: node.cpu.time.as_deref().and_then(Timestamp::parse),
        node: summary.node.node_name,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUMMARY: &str = r#"{"node": {"nodeName": "n1", "startTime": "2026-01-01T00:00:00Z", "cpu": {"time": "2026-01-01T00:00:00Z", "usageNanoCores": 251000000, "usageCoreNanoSeconds": 1},
        "memory": {"workingSetBytes": 1073741824, "rssBytes": 5}},
        "pods": [{"podRef": {"name": "a", "namespace": "ml", "uid": "x"}, "cpu": {"usageNanoCores": 999999}, "memory": {"workingSetBytes": 4096}},
                 {"podRef": {"name": "young", "namespace": "ml"}, "cpu": {}}]}"#;

    #[test]
    fn both_sources_say_the_same() {
        let OfNode { node, used, pods, measured } = summary(SUMMARY).unwrap();
        assert_eq!((node.as_str(), used), ("n1", Use { cpu_millis: Some(251), memory_bytes: Some(1 << 30) }));
        assert_eq!(measured, Timestamp::parse("2026-01-01T00:00:00Z"));
        assert_eq!(pods["ml/a"], Use { cpu_millis: Some(0), memory_bytes: Some(4096) });
        assert_eq!(pods["ml/young"], Use::default(), "what was not measured yet is unknown");
        let text = r#"{"items": [{"metadata": {"name": "n1"}, "timestamp": "2026-01-01T00:00:10Z", "usage": {"cpu": "251000000n", "memory": "1048576Ki"}},
            {"metadata": {"name": "a", "namespace": "ml"}, "containers": [{"usage": {"cpu": "100m", "memory": "1Ki"}}, {"usage": {"cpu": "1"}}]}]}"#;
        let (all, oldest) = metrics(text).unwrap();
        assert_eq!(oldest, Timestamp::parse("2026-01-01T00:00:10Z"));
        assert_eq!(all["n1"], used);
        assert_eq!(all["ml/a"], Use { cpu_millis: Some(1100), memory_bytes: None });
        assert!(metrics("{\"items\": 3}").is_err() && summary("{}").is_err() && metrics("<html>").is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(text in "(?s).{0,100}", cut in 0..600_usize) {
            let _ = (metrics(&text), summary(&text), summary(SUMMARY.get(..cut.min(SUMMARY.len())).unwrap_or(SUMMARY)));
            let _ = metrics(&format!("{{\"items\": [{{\"usage\": {{\"cpu\": {text:?}}}}}]}}"));
        }
    }
}
