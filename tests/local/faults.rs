//! Killed supervisors, keepers and engines, restarted machines, pids that now are somebody else's, a full disk.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use oppen::backend::Backend;
use oppen::base::{AttemptId, Millis};
use oppen::engine::Observation;
use oppen::record::event::Cause;
use rustix::process::Signal;
use serde_json::json;

use crate::place::{Place, Result, alive, assert_outcome, attempt, kill, launch, read_pid, script, wait_until};

/// Writes a line to `starts` at each start, so that a second start shows.
const COUNTED: &str = "echo start >> starts; while [ ! -e go ]; do sleep 0.02; done; exit 5";

fn starts(place: &Place) -> usize {
    std::fs::read_to_string(place.root().join("starts")).map_or(0, |t| t.lines().count())
}

#[test]
fn a_second_submission_adopts() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let job = script("once", COUNTED);
    for _ in 0..3 {
        running.backend.submit(job.clone());
        running.started(&attempt("once"))?;
    }
    wait_until(|| starts(&place) == 1)?;
    std::fs::write(place.root().join("go"), "")?;
    assert_outcome(&running.ended(&attempt("once"))?, Cause::Error, Some(5));
    running.backend.submit(job);
    assert_outcome(&running.ended(&attempt("once"))?, Cause::Error, Some(5));
    assert_eq!(starts(&place), 1);
    running.backend.remove(&attempt("once"))?;
    running.backend.lookup(&attempt("once"));
    running.wait(|o| matches!(o, Observation::Absent { .. }))?;
    Ok(())
}

#[test]
fn the_engine_may_go_and_another_finds_the_run_and_its_end() -> Result {
    let place = Place::new()?;
    let mut first = place.backend(&[])?;
    first.backend.submit(script("long", COUNTED));
    first.started(&attempt("long"))?;
    drop(first);
    let second = place.backend(&[attempt("long"), attempt("never")])?;
    let seen = second.wait(|o| matches!(o, Observation::Absent { attempt: a } if *a == attempt("never")))?;
    assert!(seen.iter().any(|o| matches!(o, Observation::Started { .. })), "{seen:?}");
    drop(second);
    std::fs::write(place.root().join("go"), "")?;
    wait_until(|| place.journal(&attempt("long")).contains("\"exit\""))?;
    let third = place.backend(&[attempt("long")])?;
    assert_outcome(&third.ended(&attempt("long"))?, Cause::Error, Some(5));
    assert_eq!(starts(&place), 1);
    Ok(())
}

#[test]
fn a_killed_supervisor_is_replaced_and_the_exit_status_found() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    running.backend.submit(script("run", COUNTED));
    running.started(&attempt("run"))?;
    wait_until(|| starts(&place) == 1)?;
    let old = place.supervisor()?;
    place.kill_supervisor()?;
    // The backend starts another one by itself and looks again.
    running.started(&attempt("run"))?;
    assert_ne!(place.supervisor()?, old);
    std::fs::write(place.root().join("go"), "")?;
    assert_outcome(&running.ended(&attempt("run"))?, Cause::Error, Some(5));
    assert_eq!(starts(&place), 1);
    Ok(())
}

#[test]
fn a_run_that_ends_while_everything_of_ours_is_dead_keeps_its_exit_status() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    running.backend.submit(script("alone", COUNTED));
    running.started(&attempt("alone"))?;
    wait_until(|| starts(&place) == 1)?;
    let keeper = place.keeper(&attempt("alone"))?;
    let supervisor = place.supervisor()?;
    // Kept from starting another one: the engine is gone first.
    drop(running);
    kill(supervisor, Signal::KILL)?;
    std::fs::write(place.root().join("go"), "")?;
    wait_until(|| !alive(keeper))?;
    let later = place.backend(&[attempt("alone")])?;
    assert_outcome(&later.ended(&attempt("alone"))?, Cause::Error, Some(5));
    assert_eq!(starts(&place), 1);
    Ok(())
}

#[test]
fn an_adopted_run_can_be_stopped_and_keeps_its_timeout() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let timed = crate::place::with("timed", &["/bin/sh", "-c", "sleep 600"], |job| job.timeout = Some(Millis(1500)));
    running.backend.submit(timed);
    running.backend.submit(script("stopped", "echo $$ > pid; exec sleep 600"));
    running.started(&attempt("stopped"))?;
    let pid = read_pid(&place.root().join("pid"))?;
    place.kill_supervisor()?;
    running.started(&attempt("stopped"))?;
    running.backend.stop(&attempt("stopped"), Millis(1000));
    assert_outcome(&running.ended(&attempt("stopped"))?, Cause::Cancelled, Some(143));
    assert!(!alive(pid));
    let timed = place.backend(&[attempt("timed")])?;
    assert_outcome(&timed.ended(&attempt("timed"))?, Cause::Timeout, Some(143));
    Ok(())
}

#[test]
fn a_killed_keeper_leaves_nothing_running_and_is_told() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    running.backend.submit(script("orphan", "echo $$ > pid; exec sleep 600"));
    running.started(&attempt("orphan"))?;
    let pid = read_pid(&place.root().join("pid"))?;
    kill(place.keeper(&attempt("orphan"))?, Signal::KILL)?;
    assert_outcome(&running.ended(&attempt("orphan"))?, Cause::Lost, None);
    assert!(!alive(pid));
    Ok(())
}

/// An attempt's journal as an earlier supervisor would have left it.
fn planted(place: &Place, attempt: &AttemptId, boot_id: &str, pid: u32, start_ticks: u64) -> Result {
    std::fs::create_dir_all(place.state().join("attempts"))?;
    let token = "0123456789abcdef0123456789abcdef";
    let intent = json!({ "attempt": attempt, "token": token, "boot_id": boot_id, "gpus": [] });
    let meta = json!({ "pid": pid, "start_ticks": start_ticks, "boot_id": boot_id, "token": token, "started": 1000, "deadline": null });
    let journal = format!("{}\n{}\n{{\"exit\":{{\"torn", json!({ "intent": intent }), json!({ "meta": meta }));
    std::fs::write(place.journal_path(attempt), journal)?;
    Ok(())
}

#[test]
fn after_a_restart_of_the_machine_it_was_interrupted() -> Result {
    let place = Place::new()?;
    let mut stranger = Command::new("sleep").arg("600").spawn()?;
    planted(&place, &attempt("old"), "another-boot", stranger.id(), 1)?;
    let running = place.backend(&[attempt("old")])?;
    let done = running.ended(&attempt("old"))?;
    assert_outcome(&done, Cause::Interrupted, None);
    assert_eq!(done.started, Some(1000));
    assert!(stranger.try_wait()?.is_none());
    stranger.kill()?;
    stranger.wait()?;
    Ok(())
}

#[test]
fn a_stranger_with_the_recorded_pid_is_never_signalled() -> Result {
    let place = Place::new()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let mut stranger = Command::new("sleep").arg("600").spawn()?;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stranger.id()))?;
    let ticks: u64 = stat.rsplit(')').next().and_then(|s| s.split_whitespace().nth(19)).ok_or("stat")?.parse()?;
    // Even with the right start time it is not ours: it holds no lock and has no token.
    for (job, start) in [("reused", 1), ("exact", ticks)] {
        planted(&place, &attempt(job), &boot, stranger.id(), start)?;
    }
    let mut running = place.backend(&[])?;
    running.backend.stop(&attempt("reused"), Millis(0));
    assert_outcome(&running.ended(&attempt("reused"))?, Cause::Cancelled, None);
    running.backend.lookup(&attempt("exact"));
    assert_outcome(&running.ended(&attempt("exact"))?, Cause::Lost, None);
    assert!(stranger.try_wait()?.is_none(), "the stranger lives");
    stranger.kill()?;
    stranger.wait()?;
    Ok(())
}

#[test]
fn an_intent_without_a_start_is_absent_and_can_be_submitted() -> Result {
    let place = Place::new()?;
    std::fs::create_dir_all(place.state().join("attempts"))?;
    std::fs::write(place.journal_path(&attempt("half")), "{\"intent\":{\"torn")?;
    let mut running = place.backend(&[attempt("half")])?;
    running.wait(|o| matches!(o, Observation::Absent { .. }))?;
    std::fs::write(place.journal_path(&attempt("half")), "")?;
    assert_outcome(&running.run(launch("half", &["true"]))?, Cause::Success, Some(0));
    Ok(())
}

#[test]
fn without_a_durable_intent_nothing_starts() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    // A file where the folder of journals would be: the disk does not take the intent, whoever runs this test.
    std::fs::remove_dir(place.state().join("attempts"))?;
    std::fs::write(place.state().join("attempts"), "")?;
    running.backend.submit(script("none", "touch started"));
    running.wait(|o| matches!(o, Observation::Refused { .. } | Observation::SubmitUnknown { .. }))?;
    assert!(!place.root().join("started").exists());
    Ok(())
}

#[test]
fn another_version_of_the_supervisor_is_refused_in_words() -> Result {
    let place = Place::new()?;
    std::fs::create_dir_all(place.state())?;
    let other = std::os::unix::net::UnixListener::bind(place.state().join("supervisor.sock"))?;
    let answer = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = other.accept()?;
        std::io::Write::write_all(&mut stream, b"{\"Welcome\":{\"protocol\":999,\"version\":\"9.9.9\",\"pid\":4242}}\n")
    });
    let error = place.backend(&[]).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("9.9.9") && error.contains("4242"), "{error}");
    answer.join().map_err(|_| "the other side failed")??;
    Ok(())
}

#[test]
fn many_engines_at_once_start_one_supervisor_in_a_long_path() -> Result {
    let mut place = Place::new()?;
    place.gpus = 1;
    let deep = place.root().join("d".repeat(120));
    std::fs::create_dir(&deep)?;
    let exe = env!("CARGO_BIN_EXE_oppen");
    let backends: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            let config = oppen::backend::local::LocalConfig {
                root: deep.clone(),
                state_dir: deep.join(".oppen"),
                lineage: crate::place::LINEAGE.to_owned(),
                exe: exe.into(),
                gpus: 0,
            };
            let mut backend = oppen::backend::local::LocalBackend::new(config);
            let (out, seen) = crossbeam_channel::unbounded();
            backend.start(&[], out).map(|()| crate::place::Running { backend, seen })
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|t| t.join()).collect()
    });
    for (index, running) in backends.into_iter().enumerate() {
        let mut running = running.map_err(|_| "a thread failed")??;
        assert_outcome(&running.run(launch(&format!("j{index}"), &["true"]))?, Cause::Success, Some(0));
    }
    assert_eq!(std::fs::metadata(deep.join(".oppen"))?.permissions().mode() & 0o077, 0);
    Ok(())
}

#[test]
fn what_waits_for_a_gpu_waits_on_when_the_supervisor_is_killed() -> Result {
    let mut place = Place::new()?;
    place.gpus = 1;
    let mut running = place.backend(&[])?;
    let one = |job: &str| crate::place::with(job, &["/bin/sh", "-c", COUNTED], |j| j.resources.gpu.count = 1);
    running.backend.submit(one("first"));
    running.backend.submit(one("second"));
    running.wait(|o| matches!(o, Observation::Noticed { .. }))?;
    wait_until(|| starts(&place) == 1)?;
    place.kill_supervisor()?;
    // The slot of the adopted run is still held.
    running.wait(|o| matches!(o, Observation::Noticed { attempt: a, .. } if *a == attempt("second")))?;
    assert_eq!(starts(&place), 1);
    std::fs::write(place.root().join("go"), "")?;
    assert_outcome(&running.ended(&attempt("second"))?, Cause::Error, Some(5));
    assert_eq!(starts(&place), 2);
    Ok(())
}

#[test]
fn a_keeper_keeps_one_attempt_after_another_unless_it_was_told_to_end() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let mut run = |job: &str, keep: &mut dyn FnMut(&mut dyn Backend, u32) -> Result| -> Result<(u32, Cause)> {
        let job = script(job, "while [ ! -e go ]; do sleep 0.02; done; echo done");
        running.backend.submit(job.clone());
        wait_until(|| place.journal(&job.attempt).contains("\"meta\""))?;
        let keeper = place.keeper(&job.attempt)?;
        keep(&mut running.backend, keeper)?;
        Ok((keeper, running.ended(&job.attempt)?.outcome.cause))
    };
    let go = place.root().join("go");
    let mut ends = |_: &mut dyn Backend, _: u32| -> Result { Ok(std::fs::write(&go, "")?) };
    let first = run("first", &mut ends)?;
    assert_eq!(first.1, Cause::Success);
    assert_eq!(run("second", &mut ends)?, first, "the same process keeps the next one");
    kill(first.0, Signal::KILL)?;
    wait_until(|| !alive(first.0))?;
    let third = run("third", &mut ends)?;
    assert_eq!(third.1, Cause::Success, "who was free and is killed loses nothing");
    assert_ne!(third.0, first.0);
    std::fs::remove_file(&go)?;
    let stopped = run("stopped", &mut |backend, _| {
        backend.stop(&attempt("stopped"), Millis(5000));
        Ok(())
    })?;
    assert_eq!(stopped, (third.0, Cause::Cancelled));
    let after = run("after", &mut ends)?;
    assert_ne!(after.0, stopped.0, "a late word to end must not reach another attempt");
    wait_until(|| !alive(stopped.0))?;
    drop(running);
    wait_until(|| !alive(after.0))
}
