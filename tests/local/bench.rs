//! Many attempts: nothing is lost, and nothing is left open.

use oppen::backend::Backend;
use oppen::base::{Address, AttemptId};
use oppen::engine::Observation;
use oppen::record::event::Cause;

use crate::place::{Place, Result, launch};

#[test]
fn many_attempts_all_end_well() -> Result {
    // More, to measure: `OPPEN_TEST_ATTEMPTS=3000 cargo test --release --test local many -- --nocapture`.
    let many = std::env::var("OPPEN_TEST_ATTEMPTS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let mut open = 0_usize;
    let mut done = 0;
    let mut next = 0;
    let begun = std::time::Instant::now();
    while done < many {
        while open < 3 && next < many {
            let mut job = launch("t", &["true"]);
            job.attempt = AttemptId { address: Address::new("w", &format!("t{next}"), None), generation: 1, number: 1 };
            running.backend.submit(job);
            (open, next) = (open + 1, next + 1);
        }
        match running.seen.recv_timeout(crate::place::PATIENCE)? {
            Observation::Ended { outcome, .. } => {
                assert_eq!(outcome.cause, Cause::Success, "{outcome:?}");
                (open, done) = (open - 1, done + 1);
            }
            Observation::Started { .. } => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    let supervisor = place.supervisor()?;
    eprintln!(
        "{many} attempts in {:?}; clock ticks: engine {:?}, supervisor and attempts {:?}",
        begun.elapsed(),
        ticks(std::process::id())?,
        ticks(supervisor)?
    );
    let files = std::fs::read_dir(format!("/proc/{supervisor}/fd"))?.count();
    assert!(files < 20, "the supervisor has {files} files open");
    Ok(())
}

/// User and system time of a process, and of its ended children, in clock ticks (proc(5)).
fn ticks(pid: u32) -> Result<Vec<u64>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(4).map(str::parse).collect::<std::result::Result<_, _>>()?)
}
