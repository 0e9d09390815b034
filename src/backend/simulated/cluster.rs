//! The cluster: what really runs. Requests arrive late or never; what it reports may be lost on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Mutation;
use super::rng::Rng;
use crate::base::{Address, AttemptId, Timestamp};
use crate::engine::{Launch, Observation};
use crate::record::{Cause, Outcome, RunSpec};

/// Where an object stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Made, not started.
    Waiting,
    /// An execution runs.
    Running,
    /// Over.
    Ended(Outcome),
}

/// One object.
#[derive(Debug, Clone)]
pub struct Object {
    pub attempt: AttemptId,
    pub phase: Phase,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// Executions that run: more than one is a broken promise.
    pub live: u32,
    /// What runs.
    pub spec: Arc<RunSpec>,
    timeout: Option<u64>,
    stopping: bool,
}

/// What happens by itself later on.
#[derive(Debug, Clone, PartialEq)]
pub enum Later {
    /// The object's execution starts.
    Start(AttemptId),
    /// It ends like this.
    End(AttemptId, Outcome),
}

/// All objects, by name (here: by attempt).
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    pub objects: BTreeMap<AttemptId, Object>,
    pub executions: u64,
    pub mutation: Option<Mutation>,
    /// Hard ends are kept within this many milliseconds; without it now and then one is not.
    pub keeps: Option<i64>,
}

/// What a request leads to: reports, and things that happen after some milliseconds.
pub type Effects = (Vec<Observation>, Vec<(i64, Later)>);

impl Cluster {
    /// True when an execution of this run is live.
    pub fn live_of(&self, address: &Address) -> Vec<AttemptId> {
        self.objects.values().filter(|o| o.live > 0 && o.attempt.address == *address).map(|o| o.attempt.clone()).collect()
    }

    /// Makes an object, or says that it is there.
    pub fn submit(&mut self, launch: &Launch, rng: &mut Rng) -> Effects {
        let attempt = launch.attempt.clone();
        if self.objects.contains_key(&attempt) {
            let later = match self.mutation {
                Some(Mutation::NoAdoption) => vec![(100, Later::Start(attempt.clone()))],
                _ => Vec::new(),
            };
            return (self.describe(&attempt), later);
        }
        let timeout = launch.timeout.map(|t| t.0);
        let (spec, phase) = (Arc::clone(&launch.spec), Phase::Waiting);
        let object = Object { attempt: attempt.clone(), phase, started: None, ended: None, live: 0, spec, timeout, stopping: false };
        self.objects.insert(attempt.clone(), object);
        let wait = rng.between(10, 8_000);
        (vec![Observation::Exists { attempt: attempt.clone() }], vec![(wait, Later::Start(attempt))])
    }

    /// What the API says about an attempt.
    pub fn describe(&self, attempt: &AttemptId) -> Vec<Observation> {
        let Some(object) = self.objects.get(attempt).filter(|_| self.mutation != Some(Mutation::StaleLookup)) else {
            return vec![Observation::Absent { attempt: attempt.clone() }];
        };
        let mut reports = vec![Observation::Exists { attempt: attempt.clone() }];
        reports.extend(object.started.map(|at| Observation::Started { attempt: attempt.clone(), at, place: "node".into() }));
        if let (Phase::Ended(outcome), Some(at)) = (&object.phase, object.ended) {
            reports.push(Observation::Ended {
                attempt: attempt.clone(),
                started: object.started,
                at,
                outcome: outcome.clone(),
                outputs: Vec::new(),
            });
        }
        reports
    }

    /// Ends an execution, within its grace.
    pub fn stop(&mut self, attempt: &AttemptId, grace: u64, rng: &mut Rng) -> Effects {
        let Some(object) = self.objects.get_mut(attempt) else {
            return (vec![Observation::Absent { attempt: attempt.clone() }], Vec::new());
        };
        if matches!(object.phase, Phase::Ended(_)) {
            return (self.describe(attempt), Vec::new());
        }
        object.stopping = true;
        let wait = rng.between(1, i64::try_from(grace).unwrap_or(0).max(1));
        (Vec::new(), vec![(wait, Later::End(attempt.clone(), Outcome::new(Cause::Cancelled, Some(143), "")))])
    }

    /// Somebody deletes the object: its execution ends, nothing of it is left.
    pub fn delete(&mut self, attempt: &AttemptId, now: Timestamp) -> Vec<Observation> {
        let Some(object) = self.objects.remove(attempt) else { return Vec::new() };
        match object.phase {
            Phase::Ended(_) | Phase::Waiting => Vec::new(),
            Phase::Running => {
                vec![Observation::Ended {
                    attempt: attempt.clone(),
                    started: object.started,
                    at: now,
                    outcome: Outcome::new(Cause::Interrupted, None, "deleted"),
                    outputs: Vec::new(),
                }]
            }
        }
    }

    /// Something that was to happen does.
    pub fn happen(&mut self, later: Later, now: Timestamp, rng: &mut Rng) -> Effects {
        match later {
            Later::Start(attempt) => self.begin(attempt, now, rng),
            Later::End(attempt, outcome) => {
                let Some(object) = self.objects.get_mut(&attempt).filter(|o| !matches!(o.phase, Phase::Ended(_))) else {
                    return Default::default();
                };
                object.phase = Phase::Ended(outcome.clone());
                object.ended = Some(now);
                object.live = 0;
                let started = object.started;
                (vec![Observation::Ended { attempt, started, at: now, outcome, outputs: Vec::new() }], Vec::new())
            }
        }
    }

    fn begin(&mut self, attempt: AttemptId, now: Timestamp, rng: &mut Rng) -> Effects {
        let again = self.mutation == Some(Mutation::NoAdoption);
        let Some(object) = self.objects.get_mut(&attempt).filter(|o| !o.stopping && (o.phase == Phase::Waiting || again)) else {
            return Default::default();
        };
        object.phase = Phase::Running;
        object.started = Some(now);
        object.live += 1;
        self.executions += 1;
        let mut later = Vec::new();
        let ends = |cause, code| Outcome::new(cause, code, "");
        let fate = match rng.below(100) {
            0..70 => Some(ends(Cause::Success, Some(0))),
            70..78 => Some(ends(Cause::Error, Some(1))),
            78..82 => Some(ends(Cause::OutOfMemory, Some(137))),
            82..92 => Some(ends(Cause::Interrupted, None)),
            // It hangs: only a timeout ends it. Where there is none it ends after an hour.
            _ => None,
        };
        if let Some(lag) = self.keeps {
            let hang = 3_600_000;
            let (wait, outcome) = fate.map_or((hang, ends(Cause::Success, Some(0))), |outcome| (rng.between(5, 60_000), outcome));
            let hard = object.timeout.map(|t| i64::try_from(t).unwrap_or(i64::MAX).saturating_add(rng.between(0, lag)));
            let hard = hard.filter(|h| *h < wait && self.mutation != Some(Mutation::DeadlineNotKept));
            later.push(hard.map_or((wait, Later::End(attempt.clone(), outcome)), |h| {
                (h, Later::End(attempt.clone(), ends(Cause::Timeout, Some(137))))
            }));
            return (vec![Observation::Started { attempt, at: now, place: "node".into() }], later);
        }
        match (fate, object.timeout) {
            (Some(outcome), _) => later.push((rng.between(5, 60_000), Later::End(attempt.clone(), outcome))),
            // Now and then the cluster does not keep the deadline: the engine has to.
            (None, Some(_)) if rng.percent(30) => {}
            (None, Some(timeout)) => {
                later.push((i64::try_from(timeout).unwrap_or(i64::MAX), Later::End(attempt.clone(), ends(Cause::Timeout, Some(137)))))
            }
            (None, None) => later.push((3_600_000, Later::End(attempt.clone(), ends(Cause::Success, Some(0))))),
        }
        (vec![Observation::Started { attempt, at: now, place: "node".into() }], later)
    }
}
