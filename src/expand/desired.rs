//! What the files want, all values filled in.

use std::ops::Range;
use std::sync::Arc;

use crate::base::{Money, Span};
use crate::record::RunSpec;

/// All runs of all workflows, jobs in topological order, runs of a job side by side in the order of their keys.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// Every run, sealed: fingerprints include those of everything upstream.
    pub runs: Vec<Arc<RunSpec>>,
    /// The jobs that the runs belong to. Needs point backwards only.
    pub jobs: Vec<DesiredJob>,
    /// The workflows, in the order of files.
    pub workflows: Vec<DesiredWorkflow>,
}

/// One job after templates were put in: a contiguous range of [`Desired::runs`].
#[derive(Debug, Clone)]
pub struct DesiredJob {
    /// `workflow/job`.
    pub address: Arc<str>,
    /// Where it is written.
    pub span: Span,
    /// Indices into [`Desired::jobs`] of its needs, each with the place where the edge was written.
    pub needs: Vec<(usize, Span)>,
    /// Its runs.
    pub runs: Range<usize>,
    /// `matrix`, `grid`, `random`, ... or none for a single run.
    pub method: Option<Arc<str>>,
    /// Most that the sweep may cost.
    pub max_cost: Option<(Money, Span)>,
    /// Most runs of this job at a time (`sweep.parallel`).
    pub parallel: Option<u32>,
}

/// One workflow document.
#[derive(Debug, Clone)]
pub struct DesiredWorkflow {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is written.
    pub span: Span,
    /// Team that pays.
    pub team: Option<Arc<str>>,
    /// Its budget.
    pub budget: Option<super::Rule>,
}
