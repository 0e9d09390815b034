//! How attempts end, and what they get.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oppen::backend::Backend;
use oppen::base::{Digest, Millis};
use oppen::engine::Observation;
use oppen::record::event::{Anomaly, Cause};

use crate::place::{Place, Result, alive, assert_outcome, attempt, launch, read_pid, script, wait_until, with};

#[test]
fn exit_statuses_are_told_as_they_are() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    assert_outcome(&running.run(launch("ok", &["true"]))?, Cause::Success, Some(0));
    assert_outcome(&running.run(script("seven", "exit 7"))?, Cause::Error, Some(7));
    let killed = running.run(script("killed", "kill -SEGV $$"))?;
    assert_outcome(&killed, Cause::Error, Some(139));
    assert!(killed.outcome.detail.contains("SIGSEGV"), "{:?}", killed.outcome);
    assert_outcome(&running.run(script("forced", "kill -9 $$"))?, Cause::Error, Some(137));
    let missing = running.run(launch("missing", &["no-such-program-here"]))?;
    assert_outcome(&missing, Cause::Error, Some(127));
    assert!(missing.outcome.detail.contains("no-such-program-here"), "{:?}", missing.outcome);
    assert_outcome(&running.run(launch("plain", &["/etc/hostname"]))?, Cause::Error, Some(126));
    let gpu = running.run(script("gpu", "echo 'CUDA error: uncorrectable ECC error encountered'; exit 1"))?;
    assert_outcome(&gpu, Cause::BadGpu, Some(1));
    for done in [&killed, &gpu] {
        assert!(done.started.is_some_and(|started| started <= done.at));
    }
    Ok(())
}

#[test]
fn words_and_variables_arrive_byte_for_byte() -> Result {
    let place = Place::new()?;
    std::fs::create_dir_all(place.root().join("sub dir"))?;
    let mut running = place.backend(&[])?;
    let odd = ["'; curl evil #", "\"}],\"args\":[", "a\nb\r\tc", "$(id)`id`$HOME", "", "größe \u{202e}", "-n", "\\x00"];
    let mut argv = vec!["/bin/sh", "-c", "printf '%s\\0' \"$@\" \"$ODD\"; pwd", "sh"];
    argv.extend(odd);
    let mut job = with("argv", &argv, |j| j.workdir = Some("sub dir".to_owned()));
    job.env = vec![("ODD".to_owned(), Arc::from("x='\"\n$(id)"))];
    assert_outcome(&running.run(job)?, Cause::Success, Some(0));
    let mut wanted: Vec<u8> = odd.iter().flat_map(|word| word.bytes().chain([0])).collect();
    wanted.extend(b"x='\"\n$(id)\0");
    wanted.extend(format!("{}\n", place.root().canonicalize()?.join("sub dir").display()).bytes());
    assert_eq!(String::from_utf8_lossy(&running.log(&attempt("argv"))?), String::from_utf8_lossy(&wanted));
    let outside = running.run(with("outside", &["true"], |j| j.workdir = Some("..".to_owned())))?;
    assert_outcome(&outside, Cause::Error, Some(126));
    Ok(())
}

#[test]
fn a_timeout_ends_it_first_politely_then_by_force() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let limit = |grace| move |j: &mut oppen::record::run::JobSpec| (j.timeout, j.grace) = (Some(Millis(300)), Millis(grace));
    let polite = with("polite", &["/bin/sh", "-c", "trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done"], limit(20_000));
    assert_outcome(&running.run(polite)?, Cause::Timeout, Some(3));
    // The shell may have words of its own about its ended child.
    assert!(running.log(&attempt("polite"))?.ends_with(b"bye\n"));
    let begun = Instant::now();
    let deaf = with("deaf", &["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], limit(300));
    let done = running.run(deaf)?;
    assert_outcome(&done, Cause::Timeout, Some(137));
    assert!(done.outcome.detail.contains("by force"), "{:?}", done.outcome);
    assert!(begun.elapsed() >= Duration::from_millis(600) && done.at - done.started.unwrap_or_default() >= 600);
    Ok(())
}

#[test]
fn cancel_ends_children_and_their_children() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    // One grandchild in the group, one that left it for a session of its own.
    let text = "sh -c 'echo $$ > a.pid; exec sleep 600' & setsid sh -c 'echo $$ > b.pid; trap \"\" TERM; sleep 600; :' & wait";
    running.backend.submit(script("tree", text));
    running.started(&attempt("tree"))?;
    let pids = [read_pid(&place.root().join("a.pid"))?, read_pid(&place.root().join("b.pid"))?];
    assert!(pids.iter().all(|pid| alive(*pid)));
    running.backend.stop(&attempt("tree"), Millis(5000));
    assert_outcome(&running.ended(&attempt("tree"))?, Cause::Cancelled, Some(143));
    assert!(!pids.iter().any(|pid| alive(*pid)), "nothing runs any more when the end is told");
    Ok(())
}

#[test]
fn what_a_finished_command_leaves_running_is_ended() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let done = running.run(script("daemon", "setsid sleep 600 & echo $! > d.pid"))?;
    assert_outcome(&done, Cause::Success, Some(0));
    assert!(!alive(read_pid(&place.root().join("d.pid"))?));
    Ok(())
}

#[test]
fn outputs_are_kept_by_content_and_missing_ones_fail() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let outputs = |list: &[&str]| list.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>();
    let done = running.run(with("make", &["/bin/sh", "-c", "echo hi > a; mkdir d; echo x > d/y"], |j| j.outputs = outputs(&["a", "d"])))?;
    assert_outcome(&done, Cause::Success, Some(0));
    assert_eq!(done.outputs.iter().map(|o| (o.path.as_str(), o.bytes)).collect::<Vec<_>>(), [("a", 3), ("d", 2)]);
    assert_eq!(done.outputs.first().and_then(|o| o.digest), Some(Digest::of(b"hi\n")));
    let store = oppen::files::objects::Objects::new(place.state().join("objects"));
    std::fs::remove_file(place.root().join("a"))?;
    for record in &done.outputs {
        store.restore(&place.root(), record)?;
    }
    assert_eq!(std::fs::read_to_string(place.root().join("a"))?, "hi\n");
    let missing = running.run(with("miss", &["true"], |j| j.outputs = outputs(&["a", "none.bin"])))?;
    assert_outcome(&missing, Cause::Error, Some(0));
    assert!(missing.outcome.detail.contains("none.bin"), "{:?}", missing.outcome);
    std::os::unix::fs::symlink("/etc/hostname", place.root().join("leak"))?;
    let leak = running.run(with("leak", &["true"], |j| j.outputs = outputs(&["leak"])))?;
    assert_outcome(&leak, Cause::Error, Some(0));
    Ok(())
}

#[test]
fn metrics_come_while_it_runs_and_before_its_end() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    let text = "echo step=1 loss=0.5; while [ ! -e go ]; do sleep 0.05; done; echo '{\"step\":2,\"acc\":NaN}' >> $OPPEN_METRICS; printf 'step=2 loss=0.25'";
    running.backend.submit(script("train", text));
    let is_metric = |o: &Observation| matches!(o, Observation::Metrics { .. });
    running.wait(is_metric)?;
    std::fs::write(place.root().join("go"), "")?;
    let done = running.ended(&attempt("train"))?;
    let mut points = Vec::new();
    for observation in done.before {
        if let Observation::Metrics { points: more, .. } = observation {
            points.extend(more.into_iter().map(|p| (p.name.to_string(), p.step, p.value)));
        }
    }
    points.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(points, [("acc".to_owned(), Some(2), None), ("loss".to_owned(), Some(2), Some(0.25))]);
    Ok(())
}

#[test]
fn gpu_slots_are_never_shared() -> Result {
    let mut place = Place::new()?;
    place.gpus = 2;
    let mut running = place.backend(&[])?;
    let gpus = |n| move |j: &mut oppen::record::run::JobSpec| j.resources.gpu.count = n;
    let show = ["/bin/sh", "-c", "echo \"[$CUDA_VISIBLE_DEVICES]\"; while [ ! -e go ]; do sleep 0.02; done"];
    for (job, n) in [("one", 1), ("two", 1), ("both", 2), ("none", 0)] {
        running.backend.submit(with(job, &show, gpus(n)));
    }
    let seen =
        running.wait(|o| matches!(o, Observation::Noticed { attempt: a, anomaly: Anomaly::Waiting { .. } } if *a == attempt("both")))?;
    assert!(!seen.iter().any(|o| matches!(o, Observation::Started { attempt: a, .. } if *a == attempt("both"))));
    running.started(&attempt("none"))?;
    std::fs::write(place.root().join("go"), "")?;
    running.ended(&attempt("both"))?;
    for (job, devices) in [("one", "[0]\n"), ("two", "[1]\n"), ("both", "[0,1]\n"), ("none", "[]\n")] {
        assert_eq!(String::from_utf8(running.log(&attempt(job))?)?, devices, "{job}");
    }
    running.backend.submit(with("three", &show, gpus(3)));
    let refused = running.wait(|o| matches!(o, Observation::Refused { .. }))?;
    assert!(format!("{refused:?}").contains("asks for 3 GPUs"), "{refused:?}");
    std::fs::remove_file(place.root().join("go"))?;
    running.backend.submit(with("hold", &show, gpus(2)));
    running.started(&attempt("hold"))?;
    running.backend.submit(with("queued", &show, gpus(1)));
    running.wait(|o| matches!(o, Observation::Noticed { .. }))?;
    running.backend.stop(&attempt("queued"), Millis(0));
    assert_outcome(&running.ended(&attempt("queued"))?, Cause::Cancelled, None);
    running.backend.stop(&attempt("hold"), Millis(0));
    running.ended(&attempt("hold"))?;
    Ok(())
}

#[test]
fn a_secret_arrives_and_is_nowhere_on_disk() -> Result {
    const VARIABLE: &str = "OPPEN_TEST_SECRET_SOURCE";
    let place = Place::new()?;
    // The child that has the variable is this test again.
    let Ok(secret) = std::env::var(VARIABLE) else {
        let secret = format!("sentinel-{}", uuid::Uuid::new_v4());
        let name = "outcomes::a_secret_arrives_and_is_nowhere_on_disk";
        let again = std::process::Command::new(std::env::current_exe()?).args(["--exact", name]).env(VARIABLE, &secret).status()?;
        assert!(again.success());
        return Ok(());
    };
    let mut running = place.backend(&[])?;
    let text = "test \"$TOKEN\" = \"$OPPEN_TEST_SECRET_SOURCE\" && echo ${#TOKEN} && cat /dev/null";
    let secret_env = |source: &str| [("TOKEN".to_owned(), source.to_owned())].into();
    let done = running.run(with("secret", &["/bin/sh", "-c", text], |j| j.secret_env = secret_env(VARIABLE)))?;
    assert_outcome(&done, Cause::Success, Some(0));
    assert_eq!(String::from_utf8(running.log(&attempt("secret"))?)?, format!("{}\n", secret.len()));
    running.backend.submit(with("unset", &["true"], |j| j.secret_env = secret_env("OPPEN_TEST_NOT_SET")));
    running.wait(|o| matches!(o, Observation::Refused { detail, .. } if detail.contains("OPPEN_TEST_NOT_SET")))?;
    let mut stack = vec![place.root()];
    let mut files = 0;
    while let Some(folder) = stack.pop() {
        for entry in std::fs::read_dir(folder)?.flatten() {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                stack.push(entry.path());
            } else if kind.is_file() {
                files += 1;
                let bytes = std::fs::read(entry.path())?;
                assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{:?}", entry.path());
            }
        }
    }
    assert!(files >= 4, "the attempt's files were looked at");
    assert_eq!(std::fs::metadata(place.state())?.permissions().mode() & 0o777, 0o700);
    Ok(())
}

#[test]
fn logs_are_followed_to_the_end() -> Result {
    let place = Place::new()?;
    let mut running = place.backend(&[])?;
    assert!(running.backend.logs(&attempt("talk"), true).is_err());
    running.backend.submit(script("talk", "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done; echo err >&2"));
    running.started(&attempt("talk"))?;
    wait_until(|| running.backend.logs(&attempt("talk"), false).is_ok())?;
    assert_eq!(running.log(&attempt("talk"))?, b"line 1\nline 2\nline 3\nline 4\nline 5\nerr\n");
    Ok(())
}
