//! What the files want, all values filled in.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
    /// Its budget: the limit, what happens above it, and where that is written.
    pub budget: Option<(Money, OnExceed, Span)>,
}

/// What happens when a budget would be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExceed {
    /// Say so and go on.
    Warn,
    /// Queue until the limit or the window allows it.
    Hold,
    /// Refuse.
    Stop,
}
