//! From planned to admitted: needs, skips, the pool, launches, timers.

use std::sync::Arc;

use super::index::Place;
use super::money::{self, limit, record_money};
use super::port::{Command, Launch};
use super::{Engine, RECHECK, SLACK, attempt_id};
use crate::base::{Address, AttemptId, Millis, Timestamp};
use crate::expand::late::{self, Results};
use crate::queue::Decision;
use crate::record::{AttemptPhase, Cause, Event, Reservation, RunRecord, RunStatus};

impl Results for Engine {
    fn runs(&self, job: &str) -> Vec<&RunRecord> {
        self.index.members(job).into_iter().filter_map(|id| self.record(id)).collect()
    }
}

impl Engine {
    /// Takes a run of the state into the indices.
    pub(super) fn track(&mut self, address: &Address) {
        let Some(record) = self.state.runs.get(address) else { return };
        let (job, needs, status, seq) = (Arc::clone(&record.spec.job.job), record.spec.job.needs.clone(), record.status, record.seq);
        let demand = Arc::new(self.gate.pool().limits().demand(&record.spec.job));
        let money = if status.is_live() { record_money(record) } else { None };
        let id = self.index.intern(address, &job, &demand, seq);
        let entry = self.index.job(&job);
        entry.members.insert(id);
        // The newest settings are those of runs that are open, or that failed: a plan updates these.
        if entry.sweep.is_none() || !status.is_terminal() || status == RunStatus::Failed {
            entry.know(&record.spec.job);
        }
        *entry.count(status) += 1;
        self.index.touched.push(Arc::clone(&job));
        if status.is_terminal() {
            return;
        }
        self.index.job(&job).expired = false;
        self.index.open += 1;
        if std::mem::take(&mut self.index.job(&job).released) {
            self.call_back(&job);
        }
        if status.is_live() {
            self.index.set_live(&job, true);
            self.gate.hold(&demand, money.as_ref().map(|(p, m)| (p, *m)));
            self.place(id, Place::Held);
            return;
        }
        self.place(id, Place::Blocked);
        self.wait_for(id, &needs);
        if needs.is_empty() {
            self.queue_up(id);
        }
    }

    /// Takes a run out of the indices, whatever it waits for.
    pub(super) fn untrack(&mut self, address: &Address) {
        let Some(record) = self.state.runs.get(address) else { return };
        let (status, needs) = (record.status, record.spec.job.needs.clone());
        let Some(id) = self.index.id(address) else { return };
        let Some((job, place, demand, seq)) = self.index.entry(id).map(|e| (Arc::clone(&e.job), e.place, Arc::clone(&e.demand), e.seq))
        else {
            return;
        };
        self.untell(&job);
        let entry = self.index.job(&job);
        if entry.members.remove(&id) {
            let count = entry.count(status);
            *count = count.saturating_sub(1);
        }
        match place {
            Place::Line => self.gate.withdraw(id, seq, &demand),
            Place::Held => self.gate.release(&demand),
            Place::Blocked | Place::Out => {}
        }
        self.index.open = self.index.open.saturating_sub(usize::from(!status.is_terminal()));
        if status.is_live() {
            self.index.set_live(&job, false);
        }
        for need in &needs {
            self.index.job(need).waiters.remove(&id);
        }
        self.index.set_timer(id, None);
        self.place(id, Place::Out);
        self.index.touched.push(job);
    }

    pub(super) fn place(&mut self, id: u32, place: Place) {
        if let Some(entry) = self.index.entry(id) {
            entry.place = place;
        }
    }

    /// Ends a run for good.
    pub(super) fn over(&mut self, address: &Address, event: Event, now: Timestamp) {
        let Some(id) = self.index.id(address) else { return };
        let Some(record) = self.state.runs.get(address).filter(|r| !r.status.is_terminal()) else { return };
        let (before, needs, next, withdrawn) = (record.status, record.spec.job.needs.clone(), record.next.clone(), record.withdrawn);
        let Some((job, place, demand, seq)) = self.index.entry(id).map(|e| (Arc::clone(&e.job), e.place, Arc::clone(&e.demand), e.seq))
        else {
            return;
        };
        match place {
            Place::Line => self.gate.withdraw(id, seq, &demand),
            Place::Held => self.gate.release(&demand),
            Place::Blocked | Place::Out => {}
        }
        if place == Place::Blocked {
            for need in &needs {
                self.index.job(need).waiters.remove(&id);
            }
        }
        self.place(id, Place::Out);
        self.index.set_timer(id, None);
        self.index.open = self.index.open.saturating_sub(1);
        if before.is_live() {
            self.index.set_live(&job, false);
        }
        self.emit(event, now);
        let after = self.state.runs.get(address).map_or(before, |r| r.status);
        let entry = self.index.job(&job);
        entry.open = entry.open.saturating_sub(1);
        *entry.count(after) += 1;
        self.index.touched.push(job);
        self.tell(address);
        if let Some(spec) = next {
            self.plan(&spec, now);
        } else if withdrawn {
            self.drop_run(address, now);
        }
    }

    /// Decides everything that changed counts of jobs decide: who becomes ready, who is skipped.
    pub(super) fn settle(&mut self, now: Timestamp) {
        while let Some(job) = self.index.touched.pop() {
            self.settle_sweep(&job, now);
            let waiting = self.index.jobs.get(&job).is_some_and(|j| !j.waiters.is_empty());
            if !waiting {
                continue;
            }
            if self.index.is_complete(&job) {
                self.meet(&job);
            } else if self.index.is_lost(&job) {
                for id in self.index.take_waiters(&job) {
                    let Some(address) = self.index.address(id).cloned() else { continue };
                    self.over(&address, Event::Skipped { address: address.clone(), because: Arc::clone(&job) }, now);
                }
            }
        }
    }

    /// A job is complete: who waited for it has one need less.
    pub(super) fn meet(&mut self, job: &Arc<str>) {
        let waiters = self.index.take_waiters(job);
        self.index.job(job).released |= !waiters.is_empty();
        for id in waiters {
            self.need_met(id);
        }
    }

    /// A job that was complete has a run again: who stands in the line and needs it waits for it once more.
    fn call_back(&mut self, job: &Arc<str>) {
        let in_line = self.index.in_line();
        for id in in_line {
            if !self.record(id).is_some_and(|r| r.spec.job.needs.contains(job)) {
                continue;
            }
            if let Some((seq, demand)) = self.index.entry(id).map(|e| (e.seq, Arc::clone(&e.demand))) {
                self.gate.withdraw(id, seq, &demand);
            }
            self.place(id, Place::Blocked);
            self.back_in_line(id);
        }
    }

    fn need_met(&mut self, id: u32) {
        let Some(entry) = self.index.entry(id).filter(|e| e.place == Place::Blocked) else { return };
        entry.blocked = entry.blocked.saturating_sub(1);
        if entry.blocked == 0 {
            self.queue_up(id);
        }
    }

    /// All needs are met: into the line, or until its time comes.
    fn queue_up(&mut self, id: u32) {
        match self.record(id).and_then(|r| r.not_before) {
            Some(time) => self.index.set_timer(id, Some(time)),
            None => self.back_in_line(id),
        }
    }

    /// Launches what the pool admits. One attempt a run, its intent first.
    pub(super) fn admit(&mut self, now: Timestamp) {
        if !self.launching || !self.reachable || self.state.paused.is_some() {
            return;
        }
        loop {
            let (state, index) = (&self.state, &self.index);
            let decisions = self.gate.admit(now, |id| index.ask(state, id));
            if decisions.is_empty() {
                if !self.spare_unpaid(now) {
                    return;
                }
                self.settle(now);
                continue;
            }
            for decision in decisions {
                match decision {
                    Decision::Launch(id, reservation) => self.launch(id, reservation, now),
                    Decision::Refuse(id, words) => self.refuse(id, words, now),
                }
            }
            self.settle(now);
        }
    }

    fn launch(&mut self, id: u32, reservation: Box<Reservation>, now: Timestamp) {
        self.place(id, Place::Held);
        let Some(address) = self.index.address(id).cloned() else { return };
        if let Err(words) = self.suggest(&address, now) {
            self.gate.treasury_mut().cancel(&reservation);
            return self.over(&address, Event::Unneeded { address: address.clone(), because: words.into() }, now);
        }
        let Some(record) = self.record(id) else { return };
        let number = record.attempts.last().map_or(1, |a| a.number.saturating_add(1));
        let attempt = attempt_id(record, number);
        match self.bound(record, attempt.clone(), limit(reservation.timeout, reservation.deadline)) {
            Ok(launch) => {
                let job = Arc::clone(&launch.spec.job.job);
                self.begin_sweep(&launch.spec.job, now);
                self.emit(Event::Admitted { attempt, reservation: Some(reservation) }, now);
                self.index.set_live(&job, true);
                self.command(Command::Submit(Box::new(launch)));
                self.rearm(&address, now);
            }
            Err(words) => {
                self.gate.treasury_mut().cancel(&reservation);
                self.over(&address, Event::Failed { address: address.clone(), cause: Cause::Error, detail: words }, now);
            }
        }
    }

    /// A launch with its late words filled in. The same attempt gives the same launch, also after a restart.
    pub(super) fn bound(&self, record: &RunRecord, attempt: AttemptId, timeout: Option<Millis>) -> Result<Launch, String> {
        let (argv, declared) = late::bind(&record.spec, self)?;
        let mut env = late::own_env(&record.spec, attempt.number);
        env.extend(declared);
        Ok(Launch { attempt, spec: Arc::clone(&record.spec), argv, env, timeout })
    }

    /// Sets the next time at which the run's live attempt is asked after.
    pub(super) fn rearm(&mut self, address: &Address, now: Timestamp) {
        if let Some(id) = self.index.id(address) {
            self.index.set_timer(id, Some(now.after(RECHECK)));
        }
    }

    /// After a start: asks after every attempt that may be live, and repeats what may not have been done.
    pub(super) fn resume(&mut self, now: Timestamp) {
        for attempt in self.live() {
            self.rearm(&attempt.address, now);
            self.command(Command::Lookup { attempt });
        }
        self.end_used_up(now);
    }

    /// Timers that are due.
    pub(super) fn fire(&mut self, now: Timestamp) {
        while let Some(id) = self.index.due(now) {
            let Some(record) = self.record(id) else { continue };
            let address = record.spec.address.clone();
            match record.live_attempt() {
                None if record.status == RunStatus::Pending => self.back_in_line(id),
                None => {}
                Some(live) => {
                    let (attempt, phase, grace) = (attempt_id(record, live.number), live.phase, record.spec.job.grace);
                    let limit = money::hard_end(record, live).map(|t| t.plus(grace).plus(SLACK));
                    let started = self.index.entry(id).and_then(|e| e.started);
                    let overdue = limit.zip(started).is_some_and(|(limit, start)| now.since(start) >= limit);
                    match phase {
                        AttemptPhase::Stopping => self.command(Command::Stop { attempt, grace }),
                        _ if overdue => {
                            let detail = String::new();
                            self.emit(Event::Stopping { attempt: attempt.clone(), cause: Cause::Timeout, detail }, now);
                            self.command(Command::Stop { attempt, grace });
                        }
                        _ => self.command(Command::Lookup { attempt }),
                    }
                    self.rearm(&address, now);
                }
            }
        }
    }

    /// Into the line, unless its sweep is paused, it waits at a rung or for a generation, or a need that was met has begun anew while the run
    /// waited for something else.
    pub(super) fn back_in_line(&mut self, id: u32) {
        let ready = self.index.entry(id).filter(|e| e.place == Place::Blocked && e.blocked == 0);
        let Some((job, seq, demand)) = ready.map(|e| (Arc::clone(&e.job), e.seq, Arc::clone(&e.demand))) else { return };
        let Some(record) = self.record(id) else { return };
        let unmet: Vec<Arc<str>> = record.spec.job.needs.iter().filter(|need| !self.index.is_complete(need)).cloned().collect();
        let rests = record.waits_at_rung() || self.generation_of(record).is_some();
        if !unmet.is_empty() {
            self.wait_for(id, &unmet);
        } else if self.paused(&job).is_none() && !rests {
            self.gate.enqueue(id, seq, &demand);
            self.place(id, Place::Line);
        }
    }

    /// The run waits until these are complete. All are counted when the step settles: some may be planned later in the same plan.
    fn wait_for(&mut self, id: u32, needs: &[Arc<str>]) {
        for need in needs {
            self.index.job(need).waiters.insert(id);
            self.index.touched.push(Arc::clone(need));
        }
        if let Some(entry) = self.index.entry(id) {
            entry.blocked = u32::try_from(needs.len()).unwrap_or(u32::MAX);
        }
    }
}
