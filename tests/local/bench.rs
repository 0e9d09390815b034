//! Many attempts: nothing is lost, and nothing is left open.

use oppen::backend::Backend;
use oppen::base::{Address, AttemptId};
use oppen::engine::Observation;
use oppen::record::event::Cause;

use crate::place::{Place, Result, launch};

#[test]
fn hundreds_of_attempts_all_end_well() -> Result {
    const MANY: usize = 300;
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let mut open = 0_usize;
    let mut done = 0;
    let mut next = 0;
    let begun = std::time::Instant::now();
    while done < MANY {
        while open < 3 && next < MANY {
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
    eprintln!("{MANY} attempts in {:?}", begun.elapsed());
    let files = std::fs::read_dir(format!("/proc/{}/fd", place.supervisor()?))?.count();
    assert!(files < 20, "the supervisor has {files} files open");
    Ok(())
}
