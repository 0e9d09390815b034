//! Where the money went: the ledger's lines summed by what people ask for.
//!
//! In: lines of the ledger, one pass. Out: rows with totals, waste and savings. Must never hold a float or the lines themselves:
//! memory is that of the rows.

use chrono::Datelike as _;
use chrono_tz::Tz;
use rustc_hash::FxHashMap;

use crate::base::{Millis, Money, Timestamp};

/// One line of the ledger, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When it was noted, in milliseconds.
    pub at: i64,
    /// `reserve`, `post`, `void`, `correct`.
    pub kind: &'a str,
    /// The run.
    pub address: &'a str,
    /// Which planning of it.
    pub generation: u32,
    /// Which try.
    pub attempt: u32,
    /// Micro-dollars.
    pub amount: i64,
    /// How long it ran.
    pub millis: i64,
    /// How it ended.
    pub cause: Option<&'a str>,
    /// `workflow/job`.
    pub job: &'a str,
    /// Team.
    pub team: Option<&'a str>,
    /// Who applied.
    pub user: &'a str,
    /// Priority class.
    pub priority: &'a str,
    /// GPU type.
    pub gpu: Option<&'a str>,
    /// GPUs.
    pub gpus: u32,
    /// What cheap hours saved.
    pub off_peak: i64,
    /// What spot capacity saved.
    pub spot: i64,
}

/// What rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Teams.
    Team,
    /// Workflows.
    Workflow,
    /// Jobs.
    Job,
    /// People.
    User,
    /// Priority classes.
    Priority,
    /// GPU types.
    Gpu,
    /// Days.
    Day,
    /// Months.
    Month,
    /// Quarters.
    Quarter,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::Team, Self::Workflow, Self::Job, Self::User, Self::Priority, Self::Gpu, Self::Day, Self::Month, Self::Quarter];

    /// The word in arguments and headings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Workflow => "workflow",
            Self::Job => "job",
            Self::User => "user",
            Self::Priority => "priority",
            Self::Gpu => "gpu",
            Self::Day => "day",
            Self::Month => "month",
            Self::Quarter => "quarter",
        }
    }

    /// By its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.word() == word)
    }

    /// True for stretches of time.
    #[must_use]
    pub const fn is_time(self) -> bool {
        matches!(self, Self::Day | Self::Month | Self::Quarter)
    }
}

/// Sums of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Posted and corrected.
    pub spent: Money,
    /// The same in the period before.
    pub before: Money,
    /// Runs begun.
    pub runs: u64,
    /// Attempts that ran.
    pub attempts: u64,
    /// How long they ran.
    pub time: Millis,
    /// Spent on what failed.
    pub failed: Money,
    /// Spent on what was interrupted or lost.
    pub interrupted: Money,
    /// Spent on what was cancelled.
    pub cancelled: Money,
    /// Spent on trials that were stopped early.
    pub pruned: Money,
    /// Spent on results that were made again since.
    pub superseded: Money,
    /// What cheap hours saved.
    pub off_peak: Money,
    /// What spot capacity saved.
    pub spot: Money,
}

impl Sums {
    /// Everything that led to no result that is used. Stopping early is no waste.
    #[must_use]
    pub fn waste(&self) -> Money {
        self.failed + self.interrupted + self.cancelled + self.superseded
    }

    /// Spent for each run; nothing without runs.
    #[must_use]
    pub fn each(&self) -> Money {
        if self.runs == 0 { Money::ZERO } else { self.spent.scale(1, self.runs) }
    }

    fn add(&mut self, o: &Self) {
        self.spent += o.spent;
        self.before += o.before;
        self.runs += o.runs;
        self.attempts += o.attempts;
        self.time = self.time.plus(o.time);
        self.failed += o.failed;
        self.interrupted += o.interrupted;
        self.cancelled += o.cancelled;
        self.pruned += o.pruned;
        self.superseded += o.superseded;
        self.off_peak += o.off_peak;
        self.spot += o.spot;
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// From here.
    pub from: Timestamp,
    /// Up to here, not included.
    pub to: Timestamp,
    /// Where the period before begins; the same as `from` when there is none.
    pub before: Timestamp,
    /// What rows are for.
    pub by: Vec<By>,
    /// Whose days.
    pub zone: Tz,
    /// Newest generation of runs that were planned more than once.
    pub generations: FxHashMap<String, u32>,
    /// How often the result of a run was taken over instead of made.
    pub reused: FxHashMap<String, u64>,
}

impl Question {
    /// True when it matters which run a line is of.
    #[must_use]
    pub fn knows_runs(&self) -> bool {
        !self.generations.is_empty() || !self.reused.is_empty()
    }
}

/// One row: its key, one word for each dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The words.
    pub key: Vec<String>,
    /// The sums.
    pub sums: Sums,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Rows: in the order of time, else the dearest first.
    pub rows: Vec<Row>,
    /// All rows together.
    pub total: Sums,
    /// What taking over results saved.
    pub reuse: Money,
    /// What stopping trials early saved, against what the finished trials of the same job cost on average.
    pub early: Money,
    /// The first line that counts, and the last.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// Trials of one job: finished and stopped early.
#[derive(Debug, Clone, Copy, Default)]
struct Trials {
    good: u64,
    good_cost: Money,
    pruned: u64,
    pruned_cost: Money,
}

/// Sums lines as they come.
pub struct Tally {
    question: Question,
    words: Vec<FxHashMap<String, u32>>,
    slots: FxHashMap<i64, Vec<u32>>,
    rows: FxHashMap<Vec<u32>, Sums>,
    key: Vec<u32>,
    made: FxHashMap<String, Money>,
    trials: FxHashMap<String, Trials>,
    pruned: bool,
    span: Option<(i64, i64)>,
}

/// Length of a slot: time zones have no finer step.
const SLOT: i64 = 900_000;

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(question: Question) -> Self {
        let words = question.by.iter().map(|_| FxHashMap::default()).collect();
        Self {
            question,
            words,
            slots: FxHashMap::default(),
            rows: FxHashMap::default(),
            key: Vec::new(),
            made: FxHashMap::default(),
            trials: FxHashMap::default(),
            pruned: false,
            span: None,
        }
    }

    /// Counts a line.
    pub fn add(&mut self, line: &Line<'_>) {
        if line.kind == "reserve" || line.at < self.question.before.0 || line.at >= self.question.to.0 {
            return;
        }
        self.find(line);
        let sums = match self.rows.get_mut(&self.key) {
            Some(sums) => sums,
            None => self.rows.entry(self.key.clone()).or_default(),
        };
        let amount = Money::from_micros(line.amount);
        if line.at < self.question.from.0 {
            sums.before += if line.kind == "void" { Money::ZERO } else { amount };
            return;
        }
        self.span = Some(self.span.map_or((line.at, line.at), |(a, b)| (a.min(line.at), b.max(line.at))));
        sums.runs += u64::from(line.attempt == 1 && line.kind != "correct");
        if line.kind == "void" {
            return;
        }
        sums.spent += amount;
        if line.kind == "correct" {
            return;
        }
        sums.attempts += 1;
        sums.time = sums.time.plus(Millis(u64::try_from(line.millis).unwrap_or(0)));
        sums.off_peak += Money::from_micros(line.off_peak);
        sums.spot += Money::from_micros(line.spot);
        match line.cause {
            Some("success") => {
                if self.question.generations.get(line.address).is_some_and(|g| *g > line.generation) {
                    sums.superseded += amount;
                }
            }
            Some("interrupted" | "lost") => sums.interrupted += amount,
            Some("cancelled") => sums.cancelled += amount,
            // A part of a trial that went on, or was pruned in the end: nothing of it was waste when it stopped.
            Some("paused") => {}
            Some("pruned") => {
                sums.pruned += amount;
                self.pruned = true;
            }
            _ => sums.failed += amount,
        }
        self.results(line, amount);
    }

    /// What results cost: for what was saved by not making them again, and by stopping early.
    fn results(&mut self, line: &Line<'_>, amount: Money) {
        if line.cause == Some("success") && self.question.reused.contains_key(line.address) {
            self.made.insert(line.address.to_owned(), amount);
        }
        let (good, pruned) = (line.cause == Some("success"), line.cause == Some("pruned"));
        if !good && !pruned {
            return;
        }
        let trials = match self.trials.get_mut(line.job) {
            Some(trials) => trials,
            None => self.trials.entry(line.job.to_owned()).or_default(),
        };
        trials.good += u64::from(good);
        trials.pruned += u64::from(pruned);
        *(if good { &mut trials.good_cost } else { &mut trials.pruned_cost }) += amount;
    }

    /// The row of a line, as numbers of words.
    fn find(&mut self, line: &Line<'_>) {
        self.key.clear();
        for (place, by) in self.question.by.iter().enumerate() {
            let Some(words) = self.words.get_mut(place) else { continue };
            if by.is_time() {
                let slot = line.at.div_euclid(SLOT);
                let known = self.slots.entry(slot).or_default();
                if known.len() <= place {
                    known.resize(place + 1, u32::MAX);
                }
                let Some(id) = known.get_mut(place) else { continue };
                if *id == u32::MAX {
                    *id = number(words, &stretch(*by, slot * SLOT, self.question.zone));
                }
                self.key.push(*id);
                continue;
            }
            let word = match by {
                By::Team => line.team.unwrap_or("(no team)"),
                By::Workflow => line.job.split('/').next().unwrap_or_default(),
                By::Job => line.job,
                By::User => line.user,
                By::Priority => line.priority,
                _ if line.gpus == 0 => "(no GPU)",
                _ => line.gpu.unwrap_or("(any GPU)"),
            };
            self.key.push(number(words, word));
        }
    }

    /// The rows.
    #[must_use]
    pub fn answer(self) -> Answer {
        let names: Vec<FxHashMap<u32, String>> = self.words.iter().map(|w| w.iter().map(|(k, v)| (*v, k.clone())).collect()).collect();
        let word = |place: usize, id: &u32| names.get(place).and_then(|n| n.get(id)).cloned().unwrap_or_default();
        let mut rows: Vec<Row> = self
            .rows
            .iter()
            .map(|(key, sums)| Row { key: key.iter().enumerate().map(|(place, id)| word(place, id)).collect(), sums: *sums })
            .collect();
        let time = self.question.by.iter().position(|b| b.is_time());
        rows.sort_by(|a, b| {
            let when = |r: &Row| time.and_then(|t| r.key.get(t).cloned()).unwrap_or_default();
            when(a).cmp(&when(b)).then_with(|| b.sums.spent.cmp(&a.sums.spent)).then_with(|| a.key.cmp(&b.key))
        });
        let mut total = Sums::default();
        rows.iter().for_each(|r| total.add(&r.sums));
        let reuse = self.question.reused.iter().filter_map(|(from, times)| self.made.get(from).map(|m| m.scale(*times, 1))).sum();
        let early = self.trials.values().filter(|t| t.good > 0 && t.pruned > 0);
        let early = early.map(|t| (t.good_cost.scale(t.pruned, t.good) - t.pruned_cost).max(Money::ZERO)).sum();
        let span = self.span.map(|(a, b)| (Timestamp(a), Timestamp(b)));
        Answer { rows, total, reuse, early, span }
    }
}

fn number(words: &mut FxHashMap<String, u32>, word: &str) -> u32 {
    if let Some(id) = words.get(word) {
        return *id;
    }
    let id = u32::try_from(words.len()).unwrap_or(u32::MAX - 1);
    words.insert(word.to_owned(), id);
    id
}

/// The name of the day, month or quarter around a moment: names sort as time does.
fn stretch(by: By, at: i64, zone: Tz) -> String {
    let Some(local) = Timestamp(at).utc().map(|t| t.with_timezone(&zone)) else { return "?".to_owned() };
    match by {
        By::Day => local.format("%Y-%m-%d").to_string(),
        By::Month => local.format("%Y-%m").to_string(),
        _ => format!("{}-Q{}", local.year(), local.month0() / 3 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: &str, job: &'static str, amount: i64, cause: &'static str) -> Line<'static> {
        Line {
            at: Timestamp::parse(at).unwrap_or_default().0,
            kind: "post",
            address: job,
            generation: 1,
            attempt: 1,
            amount,
            millis: 3_600_000,
            cause: Some(cause),
            job,
            team: Some("vision"),
            user: "ann@host",
            priority: "normal",
            gpu: None,
            gpus: 1,
            off_peak: 5,
            spot: 0,
        }
    }

    fn ask(by: &[By], lines: &[Line<'_>]) -> Answer {
        let at = |t: &str| Timestamp::parse(t).unwrap_or_default();
        let mut tally = Tally::new(Question {
            from: at("2026-11-01T00:00Z"),
            to: at("2026-12-01T00:00Z"),
            before: at("2026-10-02T00:00Z"),
            by: by.to_vec(),
            zone: Tz::Europe__Berlin,
            generations: [("w/b".to_owned(), 2)].into_iter().collect(),
            reused: [("w/a".to_owned(), 3)].into_iter().collect(),
        });
        lines.iter().for_each(|l| tally.add(l));
        tally.answer()
    }

    #[test]
    fn waste_savings_and_the_period_before_are_told_apart() {
        let lines = [
            line("2026-10-20T12:00Z", "w/a", 50, "success"),
            line("2026-11-03T22:30Z", "w/a", 100, "success"),
            line("2026-11-03T23:30Z", "w/b", 40, "success"),
            line("2026-11-05T12:00Z", "w/a", 30, "error"),
            line("2026-11-05T12:00Z", "w/a", 20, "pruned"),
            line("2026-12-05T12:00Z", "w/a", 999, "error"),
        ];
        let answer = ask(&[By::Job], &lines);
        let money = Money::from_micros;
        assert_eq!((answer.total.spent, answer.total.before), (money(190), money(50)));
        assert_eq!((answer.total.failed, answer.total.superseded, answer.total.waste()), (money(30), money(40), money(70)));
        assert_eq!((answer.reuse, answer.early), (money(300), money(80)), "three results of $100, and one trial stopped at $20 of $100");
        assert_eq!(
            answer.rows.iter().map(|r| (r.key.join(" "), r.sums.spent)).collect::<Vec<_>>(),
            [("w/a".to_owned(), money(150)), ("w/b".to_owned(), money(40))]
        );
        let days = ask(&[By::Day], &lines);
        let names: Vec<String> = days.rows.iter().filter(|r| r.sums.spent > Money::ZERO).map(|r| r.key.join(" ")).collect();
        assert_eq!(names, ["2026-11-03", "2026-11-04", "2026-11-05"], "days are those of Berlin");
    }
}
