//! Quotas of GPU-hours: runs that never fit, and runs that wait for the next window.
//!
//! In: what a plan would run, quotas with what was used of them. Out: verdicts with the places of job and quota.

use std::sync::Arc;

use super::{Verdict, of_each_job, push_once, waiting};
use crate::base::Span;
use crate::expand::Desired;
use crate::expand::gpu_time::{hours, whose};
use crate::queue::{Limits, Meters, WaitReason};
use crate::record::RunSpec;

/// Runs that no window of a quota can hold, and those for which too little is left of one that never begins anew.
#[must_use]
pub fn gpu_hours(desired: &Desired, runs: &[&RunSpec], limits: &Limits, meters: &Meters) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if meters.is_empty() {
        return verdicts;
    }
    for run in of_each_job(runs).filter(|r| r.job.resources.gpu.count > 0) {
        let demand = limits.demand(&run.job);
        for meter in meters.iter().filter(|m| m.covers(demand.team.as_deref())) {
            let quota = &meter.quota;
            let left = if meter.next.is_none() { quota.limit.saturating_sub(meter.used) } else { quota.limit };
            if demand.gpu_time <= left {
                continue;
            }
            let (asks, whose) = (hours(demand.gpu_time), whose(meter.team.as_deref()));
            let used = if left < quota.limit { format!(" ({} of them are left)", hours(left)) } else { String::new() };
            let one = if asks == "1" { "" } else { "s" };
            let message = format!("asks for {asks} GPU-hour{one}, {whose} has {}{}{used}", hours(quota.limit), quota.each());
            let hint = hint(meter.team.as_ref(), "ask for fewer GPUs or less time");
            if let Some(new) = push_once(&mut verdicts, desired, run, "quota", message, &hint) {
                new.source = quota.span;
            }
        }
    }
    verdicts
}

/// What is to be said of runs that wait for the next window of a quota, or for ever where it has none.
pub(super) fn waits(limits: &Limits, reason: &WaitReason, runs: usize) -> Option<Verdict> {
    let WaitReason::GpuHours { team, left, quota, until, .. } = reason else { return None };
    let many = waiting(runs);
    let until = until.map_or_else(|| "the quota is raised".to_owned(), |until| until.minute());
    Some(Verdict {
        rule: "quota".into(),
        blocks: false,
        subject: whose(team.as_deref()).into(),
        message: format!("has {} of {} GPU-hours{} left: {many} until {until}", hours(*left), hours(quota.limit), quota.each()),
        hint: hint(team.as_ref(), "they start in the next window; to start them sooner, ask for less"),
        span: None,
        source: place(limits, team.as_ref()),
    })
}

fn hint(team: Option<&Arc<str>>, first: &str) -> String {
    let key = team.map_or_else(|| "pool.gpu_hours".to_owned(), |team| format!("teams.{team}.gpu_hours"));
    format!("{first}, or raise `{key}` in oppen.yaml")
}

fn place(limits: &Limits, team: Option<&Arc<str>>) -> Option<Span> {
    let quota = team.map_or(limits.gpu_time, |team| limits.teams.get(team).and_then(|t| t.gpu_time));
    quota.and_then(|q| q.span)
}
