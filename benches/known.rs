//! Makes a state that knows many runs, for the benchmarks of looking: `known FOLDER ENDED OPEN`.
//!
//! In: how many runs are over, and how many wait. Out: `FOLDER/.oppen`, written by the shipped engine through the shipped store: every run was
//! planned, admitted, started, reported a metric and ended, on a backend that only says so. The ledger's chain and all projections are those
//! of as many real runs. FOLDER/oppen.yaml gives prices and budgets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oppen::base::{Address, Fingerprint, Millis, Timestamp};
use oppen::engine::{Command, Engine, Input, Observation, Order};
use oppen::price::Rates;
use oppen::queue::{Limits, Treasury};
use oppen::record::{Cause, JobSpec, MetricPoint, Outcome, Priority, RunSpec};
use oppen::store::Store;

/// Runs of one plan, and of one transaction.
const AT_ONCE: u32 = 2000;
/// How long each run takes.
const LENGTH: Millis = Millis::from_secs(60);

fn job(name: &str) -> Arc<JobSpec> {
    let mut job = JobSpec { job: name.into(), many: true, model: Some("known".into()), ..JobSpec::default() };
    job.priority = Priority { weight: 100, class: "normal".into() };
    (job.resources.cpu_millis, job.resources.memory_bytes) = (1000, 1 << 30);
    job.estimate.time = Some(LENGTH);
    job.estimate.epochs = Some(3);
    job.into()
}

fn spec(job: &Arc<JobSpec>, number: u32) -> Result<Arc<RunSpec>, String> {
    let address = Address::parse(&format!("{}[seed={number}]", job.job))?;
    let mut fingerprint = Fingerprint::default();
    for (at, byte) in fingerprint.0.iter_mut().zip(job.job.bytes().chain(number.to_be_bytes())) {
        *at = byte;
    }
    let params = vec![("seed".into(), number.into())];
    Ok(RunSpec { address, fingerprint, job: Arc::clone(job), params, ..RunSpec::default() }.into())
}

/// What a backend says of an attempt that runs to its end.
fn life(command: Command, start: Timestamp) -> Vec<Observation> {
    let Command::Submit(launch) = command else { return Vec::new() };
    let attempt = launch.attempt;
    let point = |epoch: u32| {
        let at = start.after(Millis(LENGTH.0 * u64::from(epoch) / 3));
        [("epoch", f64::from(epoch)), ("val_loss", 1.0 / f64::from(epoch + 1))].map(|(name, value)| MetricPoint {
            name: name.into(),
            value: Some(value),
            step: Some(i64::from(epoch)),
            at: Some(at),
        })
    };
    let end = start.after(LENGTH);
    vec![
        Observation::Started { attempt: attempt.clone(), at: start, place: "pid 1".to_owned() },
        Observation::Metrics { attempt: attempt.clone(), points: (1..=3).flat_map(point).collect() },
        Observation::Ended {
            attempt,
            started: Some(start),
            at: end,
            outcome: Outcome::new(Cause::Success, Some(0), ""),
            outputs: Vec::new(),
        },
    ]
}

fn fill(folder: &Path, ended: u32, open: u32) -> Result<(), Box<dyn std::error::Error>> {
    let mut store = Store::open(&folder.join(".oppen"))?;
    let lock = store.lock("bench", Duration::ZERO)?;
    // All of it lies in the past.
    let back = LENGTH.times(2 + u64::from(ended.div_ceil(AT_ONCE)) + u64::from(open.div_ceil(AT_ONCE)));
    let mut now = Timestamp(chrono::Utc::now().timestamp_millis().saturating_sub_unsigned(back.0));
    let limits = Limits { max_concurrent: AT_ONCE, ..Limits::default() };
    let treasury = Treasury::new(Rates::default(), &[], AT_ONCE, now);
    let mut engine = Engine::with_budgets(store.load()?, limits, treasury);
    for (name, count, over) in [("known/train", ended, true), ("known/wait", open, false)] {
        let job = job(name);
        let mut from = 0;
        if !over {
            engine.step(Input::Launching(false), now);
        }
        while from < count {
            let numbers = from..count.min(from + AT_ONCE);
            let orders = numbers.clone().map(|n| spec(&job, n).map(Order::Run)).collect::<Result<Vec<_>, String>>()?;
            let mut step = engine.step(Input::Apply { plan_id: format!("{name}{from}"), by: "bench".to_owned(), orders }, now);
            store.append(&lock, &step.events, engine.state(), &[], now)?;
            let mut events = Vec::new();
            for seen in std::mem::take(&mut step.commands).into_iter().flat_map(|c| life(c, now)) {
                let at = if matches!(seen, Observation::Ended { .. }) { now.after(LENGTH) } else { now };
                events.append(&mut engine.step(Input::Observed(seen), at).events);
            }
            now = now.after(LENGTH);
            store.append(&lock, &events, engine.state(), &[], now)?;
            from = numbers.end;
        }
    }
    store.unlock(&lock)?;
    println!("{ended} runs are over, {open} wait: {} events", store.serial()?);
    Ok(())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |at: usize| args.get(at).and_then(|a| a.parse().ok());
    let (Some(folder), Some(ended), Some(open)) = (args.first(), number(1), number(2)) else {
        // `cargo test --benches` runs this too: it has nothing to do then.
        eprintln!("known FOLDER ENDED OPEN");
        return;
    };
    if let Err(error) = fill(Path::new(folder), ended, open) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
