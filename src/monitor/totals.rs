//! What follows from several sources together: totals of all machines, and whose the runs on the server are.

use super::reading::Quality;
use super::view::{Cluster, Gpu, Held, Node, Snapshot, Totals, Usage, Use};

/// Fills in what follows.
pub fn complete(shot: &mut Snapshot) {
    shot.totals = match (&shot.cluster.value, shot.backend.as_str()) {
        (Some(cluster), "kubernetes") => Some(of_cluster(cluster, shot.usage.value.as_ref(), shot.cluster_gpus.value.as_deref())),
        (None, "kubernetes") => None,
        _ => of_machine(shot),
    };
    if let (Some(tracked), Some(record)) = (&mut shot.tracking.value, &shot.record.value) {
        for run in tracked {
            if let Some(known) = record.running.iter().find(|r| r.name.as_deref() == Some(run.run.as_str())) {
                run.run.clone_from(&known.address);
            }
        }
    }
}

fn sum(all: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    all.collect::<Option<Vec<u64>>>().map(|all| all.into_iter().fold(0, u64::saturating_add))
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with few digits")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 * 100.0 / whole as f64).clamp(0.0, 100.0))
}

#[expect(clippy::cast_precision_loss, reason = "there are few GPUs")]
fn busy(gpus: Option<&[Gpu]>) -> Option<f64> {
    let known: Vec<f64> = gpus?.iter().filter_map(|g| g.percent).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

fn of_cluster(cluster: &Cluster, usage: Option<&Usage>, gpus: Option<&[Gpu]>) -> Totals {
    let nodes = &cluster.nodes;
    // A part of the nodes is no whole: one that was not measured makes the percent unknown.
    let used = |of: fn(&Use) -> Option<u64>| {
        let usage = usage?;
        sum(nodes.iter().filter(|n| n.ready).map(|n| usage.nodes.get(&n.name).and_then(of)))
    };
    let ready = |of: fn(&Node) -> Option<u64>| nodes.iter().filter(|n| n.ready).filter_map(of).fold(0, u64::saturating_add);
    let (cpu, memory) = (ready(|n| n.cpu_millis), ready(|n| n.memory_bytes));
    Totals {
        machines: nodes.len() as u64,
        ready: nodes.iter().filter(|n| n.ready && n.schedulable).count() as u64,
        cpu_millis: cpu,
        cpu_requested_millis: sum(nodes.iter().map(|n| n.cpu_requested_millis)),
        cpu_percent: used(|u| u.cpu_millis).and_then(|u| percent(u, cpu)),
        memory_bytes: memory,
        memory_requested_bytes: sum(nodes.iter().map(|n| n.memory_requested_bytes)),
        memory_percent: used(|u| u.memory_bytes).and_then(|u| percent(u, memory)),
        gpus: nodes.iter().map(|n| n.gpus).fold(0, u64::saturating_add),
        gpus_requested: sum(nodes.iter().map(|n| n.gpus_requested)),
        gpu_percent: busy(gpus),
    }
}

fn of_machine(shot: &Snapshot) -> Option<Totals> {
    let machine = shot.machine.value.as_ref()?;
    // Where nothing was applied, nothing is asked for.
    let held = shot.record.value.as_ref().map(|r| r.held).or((shot.record.quality == Quality::Absent).then(Held::default));
    Some(Totals {
        machines: 1,
        ready: 1,
        cpu_millis: machine.cores.saturating_mul(1000),
        cpu_requested_millis: held.map(|h| h.cpu_millis),
        cpu_percent: machine.cpu_percent,
        memory_bytes: machine.memory_total,
        memory_requested_bytes: held.map(|h| h.memory_bytes),
        memory_percent: percent(machine.memory_used, machine.memory_total),
        gpus: shot.gpus.value.as_ref().map_or(0, |g| g.len() as u64),
        gpus_requested: held.map(|h| h.gpus),
        gpu_percent: busy(shot.gpus.value.as_deref()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::reading::Reading;
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn what_was_not_measured_of_one_node_is_not_known_of_all() {
        let node = |name: &str, ready: bool| Node {
            name: name.to_owned(),
            ready,
            schedulable: true,
            cpu_millis: Some(4000),
            memory_bytes: Some(1000),
            cpu_requested_millis: Some(500),
            ..Node::default()
        };
        let cluster = Cluster { nodes: vec![node("a", true), node("b", true), node("dead", false)], ..Cluster::default() };
        let mut usage = Usage::default();
        usage.nodes.insert("a".to_owned(), Use { cpu_millis: Some(2000), memory_bytes: Some(500) });
        usage.nodes.insert("b".to_owned(), Use { cpu_millis: Some(2000), memory_bytes: None });
        let mut shot = Snapshot { backend: "kubernetes".to_owned(), ..Snapshot::default() };
        shot.cluster = Reading::fresh("x", Timestamp(0), cluster);
        shot.usage = Reading::fresh("x", Timestamp(0), usage);
        complete(&mut shot);
        let totals = shot.totals.unwrap();
        assert_eq!((totals.machines, totals.ready, totals.cpu_millis), (3, 2, 8000));
        assert_eq!((totals.cpu_percent, totals.memory_percent), (Some(50.0), None));
        assert_eq!((totals.cpu_requested_millis, totals.memory_requested_bytes), (Some(1500), None));
    }
}
