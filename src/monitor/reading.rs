//! Readings: a value with its source and age, or why there is none; and the threads that ask for them.
//!
//! In: a look each, on a thread of its own. Out: [`Reading`]s. A slow or dead source must never hold up another: each has a deadline,
//! and what was known before is kept and marked.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::view::time_opt;
use crate::base::{Millis, Timestamp};

/// How good a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Of the last look.
    Fresh,
    /// Of an earlier look; `why` says what went wrong since.
    Stale,
    /// There is no value; `why` says what went wrong.
    Failed,
    /// There is no such source here; `why` says so.
    #[default]
    Absent,
}

/// A value with its source and age.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading<T> {
    /// Who says it: `/proc`, `metrics-server`, `the state`.
    pub source: Arc<str>,
    /// How good it is.
    pub quality: Quality,
    /// When it was read.
    #[serde(default, with = "time_opt", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How old it was when the snapshot was taken, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<Millis>,
    /// What went wrong, or why there is no such source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The value.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub value: Option<T>,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self::absent("", "not asked")
    }
}

impl<T> Reading<T> {
    /// No such source here.
    #[must_use]
    pub fn absent(source: impl Into<Arc<str>>, why: impl Into<String>) -> Self {
        Self { source: source.into(), quality: Quality::Absent, at: None, age_ms: None, why: Some(why.into()), value: None }
    }

    /// Just read.
    #[must_use]
    pub fn fresh(source: impl Into<Arc<str>>, at: Timestamp, value: T) -> Self {
        Self { source: source.into(), quality: Quality::Fresh, at: Some(at), age_ms: Some(Millis(0)), why: None, value: Some(value) }
    }

    /// True when something should be there and is not, or is old.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        matches!(self.quality, Quality::Stale | Quality::Failed)
    }
}

/// Why a look found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// There is no such source here.
    Absent(String),
    /// It should have answered.
    Failed(String),
}

impl From<String> for Miss {
    fn from(words: String) -> Self {
        Self::Failed(words)
    }
}

/// What a look found, and who said it.
pub type Found<T> = Result<(T, Arc<str>), Miss>;

/// Rings when any source has answered.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<u64>,
    wait: Condvar,
}

impl Bell {
    /// How often it rang.
    #[must_use]
    pub fn rung(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.wait.notify_all();
    }
}

struct Slot<T> {
    value: Option<T>,
    source: Arc<str>,
    at: Option<(Timestamp, Instant)>,
    error: Option<Miss>,
    /// Since when a look is under way.
    asked: Option<Instant>,
    took: Option<Duration>,
}

/// One source: its last value, and the thread that asks for the next.
pub struct Source<T> {
    deadline: Duration,
    slot: Arc<Mutex<Slot<T>>>,
    ask: Option<Sender<()>>,
}

/// What is waited for.
pub trait Asked {
    /// Begins a look, unless one is under way.
    fn ask(&self);
    /// How much longer an answer is waited for; none when there is nothing to wait for.
    fn patience(&self) -> Option<Duration>;
    /// How long the last answer took.
    fn took(&self) -> Option<Duration>;
}

fn open<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone + Send + 'static> Source<T> {
    /// A source that is not there.
    #[must_use]
    pub fn absent(name: &str, why: &str) -> Self {
        let slot = Slot { value: None, source: name.into(), at: None, error: Some(Miss::Absent(why.to_owned())), asked: None, took: None };
        Self { deadline: Duration::ZERO, slot: Arc::new(Mutex::new(slot)), ask: None }
    }

    /// A source with a thread of its own. The thread ends when the source is dropped and its look is over.
    pub fn spawn(name: &str, deadline: Duration, bell: &Arc<Bell>, mut look: impl FnMut() -> Found<T> + Send + 'static) -> Self {
        let slot = Slot { value: None, source: name.into(), at: None, error: None, asked: None, took: None };
        let slot = Arc::new(Mutex::new(slot));
        let (ask, asked) = channel::<()>();
        let (mine, bell) = (Arc::clone(&slot), Arc::clone(bell));
        let started = std::thread::Builder::new().name(format!("look {name}")).spawn(move || {
            while asked.recv().is_ok() {
                let found = look();
                let mut slot = open(&mine);
                slot.took = slot.asked.take().map(|a| a.elapsed());
                match found {
                    Ok((value, source)) => {
                        slot.at = Some((now(), Instant::now()));
                        (slot.value, slot.source, slot.error) = (Some(value), source, None);
                    }
                    Err(error) => slot.error = Some(error),
                }
                drop(slot);
                bell.ring();
            }
        });
        let ask = match started {
            Ok(_) => Some(ask),
            Err(e) => {
                open(&slot).error = Some(Miss::Failed(format!("the system gives no thread: {e}")));
                None
            }
        };
        Self { deadline, slot, ask }
    }

    /// What is known now.
    #[must_use]
    pub fn reading(&self) -> Reading<T> {
        let slot = open(&self.slot);
        let late = slot.asked.filter(|a| a.elapsed() >= self.deadline).map(|a| format!("no answer within {}", length(a.elapsed())));
        let (absent, error) = match &slot.error {
            Some(Miss::Absent(why)) => (true, Some(why.clone())),
            Some(Miss::Failed(why)) => (false, Some(why.clone())),
            None => (false, None),
        };
        let why = late.or(error);
        let quality = match (&why, &slot.value) {
            (_, None) if absent => Quality::Absent,
            (None, Some(_)) => Quality::Fresh,
            (Some(_), Some(_)) => Quality::Stale,
            (_, None) => Quality::Failed,
        };
        let why = why.or_else(|| (quality == Quality::Failed).then(|| "not answered yet".to_owned()));
        Reading {
            source: Arc::clone(&slot.source),
            quality,
            at: slot.at.map(|(at, _)| at),
            age_ms: slot.at.map(|(_, at)| length(at.elapsed())),
            why,
            value: slot.value.clone(),
        }
    }
}

impl<T> Asked for Source<T> {
    fn ask(&self) {
        let mut slot = open(&self.slot);
        if let (None, Some(ask)) = (slot.asked, &self.ask)
            && ask.send(()).is_ok()
        {
            slot.asked = Some(Instant::now());
        }
    }

    fn patience(&self) -> Option<Duration> {
        let asked = open(&self.slot).asked?;
        self.deadline.checked_sub(asked.elapsed()).filter(|left| !left.is_zero())
    }

    fn took(&self) -> Option<Duration> {
        open(&self.slot).took
    }
}

/// Waits until each has answered or is past its deadline.
pub fn wait(all: &[&dyn Asked], bell: &Bell) {
    let mut rung = bell.rung.lock().unwrap_or_else(PoisonError::into_inner);
    // The slots are locked for a moment only, and never while the bell is.
    while let Some(longest) = all.iter().filter_map(|s| s.patience()).max() {
        rung = bell.wait.wait_timeout(rung, longest).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// A length of time in whole milliseconds.
#[must_use]
pub fn length(time: Duration) -> Millis {
    Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The clock on the wall.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_source_holds_up_nobody_and_its_last_value_is_kept() {
        let bell = Arc::new(Bell::default());
        let (stop, hang) = channel::<()>();
        let mut looks = 0;
        let dying = Source::spawn("dying", Duration::from_millis(40), &bell, move || {
            looks += 1;
            if looks > 1 {
                let _ = hang.recv();
            }
            Ok((looks, "dying".into()))
        });
        let failing: Source<u32> = Source::spawn("failing", Duration::from_secs(60), &bell, || Err("refused".to_owned().into()));
        let well = Source::spawn("well", Duration::from_secs(60), &bell, || Ok((7, "well".into())));
        let all: [&dyn Asked; 3] = [&dying, &failing, &well];
        all.iter().for_each(|s| s.ask());
        wait(&all, &bell);
        assert_eq!((dying.reading().quality, dying.reading().value), (Quality::Fresh, Some(1)));
        all.iter().for_each(|s| s.ask());
        wait(&all, &bell);
        let kept = dying.reading();
        assert_eq!((kept.quality, kept.value), (Quality::Stale, Some(1)));
        assert!(kept.why.as_deref().is_some_and(|w| w.starts_with("no answer within ")), "{kept:?}");
        assert_eq!((failing.reading().quality, failing.reading().why.as_deref()), (Quality::Failed, Some("refused")));
        assert_eq!((well.reading().quality, well.reading().value), (Quality::Fresh, Some(7)));
        drop(stop);
        let absent: Source<u32> = Source::absent("cluster", "runs are local");
        absent.ask();
        assert_eq!((absent.reading().quality, absent.patience()), (Quality::Absent, None));
    }
}
