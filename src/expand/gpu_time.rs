//! Quotas of GPU-hours, as they are declared for the pool and for teams.
//!
//! In: declarations. Out: [`GpuTime`] in whole GPU-milliseconds. Must never count what was used.

use serde::{Deserialize, Serialize};

use super::budget;
use crate::base::{Diagnostic, Diagnostics, Period, Span, Window};
use crate::spec::types::{GpuHoursDecl, Project};

/// Most GPU time in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuTime {
    /// In GPU-milliseconds: two GPUs use two of them in a millisecond.
    pub limit: u64,
    /// When it begins anew.
    pub window: Window,
    /// Where it is written; not part of saved plans.
    #[serde(skip)]
    pub span: Option<Span>,
}

impl GpuTime {
    /// Reads one declaration; none where it is wrong.
    pub fn read(decl: &GpuHoursDecl, diags: &mut Diagnostics) -> Option<Self> {
        let window = budget::window(&decl.window, &decl.timezone, diags);
        let limit = &decl.limit.0;
        if limit.0.0 == 0 {
            diags.push(
                Diagnostic::error("bad-value", limit.1, "a quota of no GPU-hours lets no GPU run")
                    .hint("give the hours, such as `100`, or write `gpu: 0` for a team without GPUs"),
            );
            return None;
        }
        Some(Self { limit: limit.0.0, window: window?, span: Some(decl.span) })
    }

    /// ` a day`; nothing for a quota over all time.
    #[must_use]
    pub fn each(&self) -> String {
        if self.window.period == Period::Total { String::new() } else { format!(" a {}", self.window.period.word()) }
    }
}

/// Says what is wrong with the quotas of a project; the pool reads them again, without words.
pub fn check(project: &Project, diags: &mut Diagnostics) {
    let of_pool = project.pool.iter().filter_map(|p| p.gpu_hours.as_ref());
    let of_teams = project.teams.iter().filter_map(|(_, _, team)| team.gpu_hours.as_ref());
    for decl in of_pool.chain(of_teams) {
        let _ = GpuTime::read(decl, diags);
    }
}

/// Whose quota: `team vision`, `the pool`.
#[must_use]
pub fn whose(team: Option<&str>) -> String {
    team.map_or_else(|| "the pool".to_owned(), |team| format!("team {team}"))
}

/// GPU-milliseconds as hours, to the thousandth: `8`, `2.5`, `0.017`.
#[must_use]
pub fn hours(millis: u64) -> String {
    let thousandths = (u128::from(millis) + 1800) / 3600;
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
