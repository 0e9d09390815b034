//! Jobs to a sealed graph: order, cycles, fingerprints with everything upstream. petgraph lives only here.
//!
//! In: expanded jobs. Out: [`Desired`], or the shortest loop as a diagnostic. Edges are between jobs: ten thousand trials with
//! one need are one edge.

pub mod draw;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;

use crate::base::{Diagnostic, Diagnostics, Digest, Span};
use crate::expand::{Desired, DesiredJob, Expanded, Spread, fingerprint};

type Jobs = DiGraph<usize, Span>;

/// Orders the jobs so that needs come first, and folds what is upstream into each fingerprint.
pub fn seal(expanded: Expanded, diags: &mut Diagnostics) -> Desired {
    let graph = build(&expanded.jobs);
    let Some(order) = order(&graph) else {
        report_loops(&graph, &expanded.jobs, diags);
        return Desired { workflows: expanded.workflows, ..Desired::default() };
    };
    let mut desired = Desired { workflows: expanded.workflows, ..Desired::default() };
    let mut place = vec![0; expanded.jobs.len()];
    for (position, old) in order.iter().enumerate() {
        if let Some(slot) = place.get_mut(*old) {
            *slot = position;
        }
    }
    let mut jobs: Vec<Option<Spread>> = expanded.jobs.into_iter().map(Some).collect();
    let mut digests: Vec<Digest> = Vec::with_capacity(jobs.len());
    for old in order {
        let Some(spread) = jobs.get_mut(old).and_then(Option::take) else { continue };
        let mut needs: Vec<(usize, Span)> = graph
            .edges_directed(NodeIndex::new(old), Direction::Incoming)
            .map(|e| (place.get(petgraph::visit::EdgeRef::source(&e).index()).copied().unwrap_or_default(), *e.weight()))
            .collect();
        needs.sort_unstable_by_key(|(n, _)| *n);
        digests.push(append(&mut desired, spread, needs, &digests));
    }
    desired
}

fn append(desired: &mut Desired, spread: Spread, needs: Vec<(usize, Span)>, digests: &[Digest]) -> Digest {
    let first = desired.runs.len();
    let mut upstream: Vec<(&str, Digest)> =
        needs.iter().filter_map(|(n, _)| Some((&*desired.jobs.get(*n)?.address, *digests.get(*n)?))).collect();
    upstream.sort_unstable();
    let sealed: Vec<_> = spread
        .runs
        .into_iter()
        .map(|mut run| {
            run.fingerprint = fingerprint::seal(run.fingerprint, &upstream);
            Arc::new(run)
        })
        .collect();
    let digest = fingerprint::of_job(sealed.iter().map(|r| r.fingerprint));
    // What is downstream of a search depends on where it searches.
    let space = sealed.first().filter(|r| r.is_open()).and_then(|r| r.job.sweep.as_ref()?.search.as_ref().map(|s| &s.space));
    let digest = space.map_or(digest, |space| fingerprint::of_search(&digest, space));
    desired.runs.extend(sealed);
    desired.jobs.push(DesiredJob { needs, runs: first..desired.runs.len(), ..spread.job });
    digest
}

fn build(jobs: &[Spread]) -> Jobs {
    let mut graph = Jobs::with_capacity(jobs.len(), jobs.len());
    let nodes: FxHashMap<&str, NodeIndex> = jobs.iter().enumerate().map(|(i, j)| (&*j.job.address, graph.add_node(i))).collect();
    for (i, job) in jobs.iter().enumerate() {
        for (need, span) in &job.needs {
            if let Some(from) = nodes.get(&**need) {
                graph.add_edge(*from, NodeIndex::new(i), *span);
            }
        }
    }
    graph
}

/// Topological order that keeps the order of writing where it can (Kahn 1962, with a heap).
fn order(graph: &Jobs) -> Option<Vec<usize>> {
    let mut open: Vec<usize> = graph.node_indices().map(|n| graph.neighbors_directed(n, Direction::Incoming).count()).collect();
    let mut ready: BinaryHeap<Reverse<usize>> = open.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| Reverse(i)).collect();
    let mut out = Vec::with_capacity(open.len());
    while let Some(Reverse(next)) = ready.pop() {
        out.push(next);
        for after in graph.neighbors_directed(NodeIndex::new(next), Direction::Outgoing) {
            if let Some(n) = open.get_mut(after.index()) {
                *n -= 1;
                if *n == 0 {
                    ready.push(Reverse(after.index()));
                }
            }
        }
    }
    (out.len() == open.len()).then_some(out)
}

fn report_loops(graph: &Jobs, jobs: &[Spread], diags: &mut Diagnostics) {
    for component in tarjan_scc(graph) {
        let shortest = component.iter().filter_map(|n| shortest_loop(graph, *n)).min_by_key(|l| (l.len(), l.iter().copied().min()));
        let Some(mut path) = shortest else { continue };
        // The loop is told from the job that was written first.
        let first = path.iter().enumerate().min_by_key(|(_, n)| **n).map_or(0, |(i, _)| i);
        path.rotate_left(first);
        let name = |n: &NodeIndex| jobs.get(n.index()).map_or("?", |j| &*j.job.address);
        let mut words: Vec<&str> = path.iter().map(name).collect();
        words.extend(path.first().map(name));
        let edges: Vec<(Span, String)> = (0..path.len())
            .filter_map(|i| {
                let (from, to) = (path.get(i)?, path.get((i + 1) % path.len())?);
                let edge = graph.find_edge(*to, *from)?;
                Some((*graph.edge_weight(edge)?, format!("`{}` needs `{}`", name(from), name(to))))
            })
            .collect();
        let mut edges = edges.into_iter();
        let mut d = Diagnostic::error("cycle", edges.next().map(|(s, _)| s), format!("jobs need each other: {}", words.join(" -> ")));
        for (span, text) in edges {
            d = d.related(span, text);
        }
        diags.push(d.hint("remove one of these needs"));
    }
}

/// The shortest way from a node along its needs back to itself, by breadth-first search.
fn shortest_loop(graph: &Jobs, start: NodeIndex) -> Option<Vec<NodeIndex>> {
    let mut from: FxHashMap<NodeIndex, NodeIndex> = FxHashMap::default();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for need in graph.neighbors_directed(node, Direction::Incoming) {
            if need == start {
                let mut path = vec![node];
                while let Some(before) = path.last().and_then(|n| from.get(n)) {
                    path.push(*before);
                }
                path.reverse();
                return Some(path);
            }
            if let std::collections::hash_map::Entry::Vacant(e) = from.entry(need) {
                e.insert(node);
                queue.push_back(need);
            }
        }
    }
    None
}
