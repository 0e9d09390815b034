//! The plan's outlook: start times, prices, budgets, verdicts.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::plan::{Action, Basis, FORMAT_VERSION, Held, Plan, Planned, plan_id};
use super::{Request, base_digest, state_digest};
use crate::base::{Address, Millis, Money, Timestamp};
use crate::check::{self, Caps, Sum, Sums};
use crate::price::Rates;
use crate::queue::forecast::Item;
use crate::queue::{Demand, Hold, Limits, Opening, Start, WaitReason, forecast};
use crate::record::{Estimate, JobSpec, Payer, RunRecord, RunSpec};

/// What stays as it is.
pub struct Kept<'a> {
    /// Runs without an action.
    pub unchanged: usize,
    /// Of these, those not over yet.
    pub in_progress: usize,
    /// Finished runs that are kept.
    pub runs: Vec<&'a RunRecord>,
}

/// Fills in everything about time and money.
pub fn complete(request: &Request<'_>, mut actions: Vec<Planned>, kept: Kept<'_>) -> Plan {
    super::learned::apply(request, &mut actions);
    let (end, waits) = schedule(request, &mut actions);
    for action in actions.iter_mut().filter(|a| a.action.runs()) {
        let Some(spec) = &action.spec else { continue };
        let estimate = request.rates.estimate(&spec.job, action.start.unwrap_or(request.now));
        action.hold = held(request, &spec.job, estimate.cost.map(|c| c.expected)).map(Box::new);
        action.estimate = Some(Box::new(estimate));
    }
    let (sums, total, caps) = money(request, &actions);
    let lines = check::budget_lines(request.treasury.accounts(), &sums);
    let mut checks = request.verdicts.clone();
    checks.extend(verdicts(request, &actions, &total));
    checks.extend(check::waits(request.limits, &waits));
    checks.extend(check::budgets(request.treasury.accounts(), &lines));
    let starts = actions.iter().any(|a| a.action.runs());
    Plan {
        format_version: FORMAT_VERSION,
        plan_id: plan_id(&actions),
        lineage: request.lineage.to_owned(),
        serial: request.serial,
        backend: request.backend.to_owned(),
        digests: Basis { base: base_digest(request.desired), state: state_digest(request.state), rates: request.rates.digest() },
        edges: edges(request, &actions),
        groups: groups(request),
        sweeps: super::sweep_price::prices(&actions, &caps),
        runs: actions,
        drift: request.drift.to_vec(),
        budgets: lines,
        rules: request.treasury.accounts().iter().map(|a| a.rule.clone()).collect(),
        quotas: request.limits.clone(),
        checks,
        unchanged: kept.unchanged,
        in_progress: kept.in_progress,
        saved: kept.runs.iter().map(|r| spent(r, request.rates, request.now).0).sum(),
        cost: total.expected,
        worst: total.worst.filter(|_| starts),
        unpriced: total.unpriced,
        overrun: None,
        end,
        templates: request.templates.clone(),
        errored: false,
    }
}

/// What a hold for cheap hours does to a run that costs `cost` at its start.
fn held(request: &Request<'_>, job: &JobSpec, cost: Option<Money>) -> Option<Held> {
    let hold = Hold::of(job)?;
    let (hours, opening) = (&request.rates.hours, hold.at(&request.rates.hours, request.now));
    let state = match opening {
        Opening::Opens(_) => "waits",
        Opening::Early(_) => "early",
        Opening::Open => "open",
        Opening::Due if hold.by.is_some_and(|by| by <= request.now) => "past",
        Opening::Due => "due",
        Opening::Pointless => "pointless",
        Opening::Unknown => "unknown",
    };
    let now = job.estimate.time.and_then(|length| request.rates.cost(job, request.now, length).ok());
    Some(Held {
        state: state.into(),
        until: opening.until(),
        length: crate::queue::hold::length(job),
        now,
        saves: now.zip(cost).map(|(now, then)| now - then),
        zone: hours.zone.name().into(),
        window: hold.window,
        by: hold.by,
        latest: hold.latest,
    })
}

/// Plays the queue forward over what runs and what the plan starts. Returns the end of it all, and which teams wait for themselves.
fn schedule(request: &Request<'_>, actions: &mut [Planned]) -> (Option<Timestamp>, Vec<(WaitReason, usize)>) {
    let jobs: FxHashMap<&str, u32> =
        request.desired.jobs.iter().enumerate().map(|(i, j)| (&*j.address, u32::try_from(i).unwrap_or(u32::MAX))).collect();
    let mut needs: Vec<Vec<u32>> =
        request.desired.jobs.iter().map(|j| j.needs.iter().map(|(n, _)| u32::try_from(*n).unwrap_or(u32::MAX)).collect()).collect();
    // Runs that no file wants any more hold the pool until they end.
    let strangers = u32::try_from(needs.len()).unwrap_or(u32::MAX);
    needs.push(Vec::new());
    let mut demands = Demands { limits: request.limits, last: None };
    let planned: FxHashSet<&str> = actions.iter().filter(|a| a.action != Action::Update).map(|a| a.address.as_str()).collect();
    // What waits does so by its new settings.
    let updated: FxHashMap<&str, &Arc<RunSpec>> =
        actions.iter().filter(|a| a.action == Action::Update).filter_map(|a| Some((a.address.as_str(), a.spec.as_ref()?))).collect();
    let mut items = Vec::new();
    for record in request.state.runs.values().filter(|r| !r.status.is_terminal() && !planned.contains(r.spec.address.as_str())) {
        let started = record.live_attempt().map(|a| a.started_at.unwrap_or(a.admitted_at));
        let job = jobs.get(&*record.spec.job.job).copied().unwrap_or(strangers);
        let spec = updated.get(record.spec.address.as_str()).filter(|_| started.is_none()).map_or(&record.spec, |s| *s);
        items.push(Item { seq: record.seq, demand: demands.of(&spec.job), length: spec.job.estimate.time, job, running_since: started });
    }
    let first = items.len();
    let mut index = Vec::new();
    for (i, action) in actions.iter().enumerate().filter(|(_, a)| a.action.runs()) {
        let Some(spec) = &action.spec else { continue };
        let seq = request.state.next_seq.saturating_add(i as u64);
        let job = jobs.get(&*spec.job.job).copied().unwrap_or(strangers);
        items.push(Item { seq, demand: demands.of(&spec.job), length: spec.job.estimate.time, job, running_since: None });
        index.push(i);
    }
    let forecast = forecast(request.limits, &request.rates.hours, request.treasury.meters(), &items, &needs, request.now);
    for (start, i) in forecast.starts.iter().skip(first).zip(index) {
        if let (Start::At(time), Some(action)) = (start, actions.get_mut(i)) {
            action.start = Some(*time);
        }
    }
    (forecast.end.filter(|_| forecast.certain), forecast.teams)
}

/// One demand for all runs of a job with the same settings.
struct Demands<'a> {
    limits: &'a Limits,
    last: Option<(Arc<JobSpec>, Arc<Demand>)>,
}

impl Demands<'_> {
    fn of(&mut self, job: &Arc<JobSpec>) -> Arc<Demand> {
        match &self.last {
            Some((known, demand)) if Arc::ptr_eq(known, job) => Arc::clone(demand),
            _ => {
                let demand = Arc::new(self.limits.demand(job));
                self.last = Some((Arc::clone(job), Arc::clone(&demand)));
                demand
            }
        }
    }
}

fn verdicts(request: &Request<'_>, actions: &[Planned], total: &Sum) -> Vec<check::Verdict> {
    let starting: Vec<(&RunSpec, &Planned)> =
        actions.iter().filter(|a| a.action.runs()).filter_map(|a| a.spec.as_deref().map(|s| (s, a))).collect();
    let specs: Vec<&RunSpec> = starting.iter().map(|(s, _)| *s).collect();
    let priced: Vec<(&RunSpec, &Estimate)> = starting.iter().filter_map(|(s, a)| a.estimate.as_deref().map(|e| (*s, e))).collect();
    let limits = request.project.and_then(|p| p.limits.as_ref());
    let mut all = check::pool(request.desired, &specs, request.limits, request.pool_hint);
    all.extend(check::teams(request.desired, &specs, request.limits));
    all.extend(check::gpu_hours(request.desired, &specs, request.limits, request.treasury.meters()));
    all.extend(check::namespace(request.desired, &specs, request.ceiling));
    all.extend(check::run_limits(request.desired, &specs, limits));
    all.extend(check::warm_starts(request.desired, &specs, request.state));
    all.extend(check::prices(request.desired, &specs, request.rates));
    all.extend(check::run_cost(request.desired, &priced, limits));
    all.extend(check::policy::judge(request.policies, request.desired, &priced, total));
    all.extend(check::each_run(request.desired, &priced, request.treasury.accounts()));
    all
}

/// What runs and what the plan starts, towards each budget; what the plan starts together; what sweeps may still spend.
fn money(request: &Request<'_>, actions: &[Planned]) -> (Vec<Sums>, Sum, Caps) {
    let accounts = request.treasury.accounts();
    let mut sums = vec![Sums::default(); accounts.len()];
    // What waits already will be paid before what the plan adds.
    let planned: FxHashSet<&Address> = actions.iter().filter(|a| a.action != Action::Update).map(|a| &a.address).collect();
    for record in request.state.runs.values().filter(|r| !r.status.is_terminal()) {
        let running = match record.live_attempt() {
            Some(_) => spent(record, request.rates, request.now).1,
            None if planned.contains(&record.spec.address) => continue,
            None => request.rates.estimate(&record.spec.job, request.now).cost.map(|c| c.expected).unwrap_or_default(),
        };
        for index in request.treasury.of(&Payer::of(&record.spec.job, &record.by)) {
            sums.get_mut(index).into_iter().for_each(|sum| sum.running += running);
        }
    }
    let caps = Caps::new(accounts.iter().zip(&sums).map(|(a, s)| (&a.rule, a.spent + s.running)));
    let mut total = Sum::default();
    // Trials of a sweep may have settings of their own: its limit is over all of them.
    let mut capped: FxHashMap<&str, (&Arc<JobSpec>, Sum)> = FxHashMap::default();
    let starting = actions.iter().filter(|a| a.action.runs()).filter_map(|a| a.spec.as_ref().map(|spec| (spec, a))).collect::<Vec<_>>();
    for group in starting.chunk_by(|(a, _), (b, _)| Arc::ptr_eq(&a.job, &b.job)) {
        let Some((first, _)) = group.first() else { continue };
        let sum = Sum::of(group.iter().map(|(_, a)| a.cost()));
        if caps.left(&first.job.job).is_some() {
            capped.entry(&first.job.job).or_insert((&first.job, Sum::default())).1.join(&sum);
        } else {
            total.join(&sum);
            check::count(request.treasury, &Payer::of(&first.job, request.user), &sum, &sum, &mut sums);
        }
    }
    for (name, (job, full)) in capped {
        let part = caps.part(name, full);
        total.join(&part);
        check::count(request.treasury, &Payer::of(job, request.user), &full, &part, &mut sums);
    }
    (sums, total, caps)
}

/// Cost of a run's ended attempts, by the backend's clock, and the expected cost of its live one.
#[must_use]
pub fn spent(record: &RunRecord, rates: &Rates, now: Timestamp) -> (Money, Money) {
    let job = &record.spec.job;
    let cost = |start: Timestamp, length: Millis| rates.cost(job, start, length).unwrap_or_default();
    let ended = record.attempts.iter().filter(|a| a.ended_at.is_some());
    let ended =
        ended.filter_map(|a| a.cost.or_else(|| a.started_at.zip(a.ended_at).map(|(start, end)| cost(start, end.since(start))))).sum();
    let live = record.live_attempt().map(|a| {
        let start = a.started_at.unwrap_or(a.admitted_at);
        cost(start, job.estimate.time.unwrap_or_default().max(now.since(start)))
    });
    (ended, live.unwrap_or_default())
}

fn edges(request: &Request<'_>, actions: &[Planned]) -> Vec<(Arc<str>, Arc<str>)> {
    let acting: FxHashSet<&str> = actions.iter().filter_map(|a| a.spec.as_ref()).map(|s| &*s.job.job).collect();
    let jobs = &request.desired.jobs;
    let to = jobs.iter().filter(|j| acting.contains(&*j.address));
    to.flat_map(|j| j.needs.iter().filter_map(|(n, _)| jobs.get(*n)).map(move |n| (Arc::clone(&n.address), Arc::clone(&j.address))))
        .collect()
}

fn groups(request: &Request<'_>) -> BTreeMap<Arc<str>, (String, usize)> {
    let many = request.desired.jobs.iter().filter_map(|j| j.method.as_ref().map(|m| (j, m)));
    many.map(|(j, m)| (Arc::clone(&j.address), (m.to_string(), j.runs.len()))).collect()
}
