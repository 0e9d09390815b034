//! The engine beside us: requests to it, its answers, and starting one when none runs.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::exit::{Exit, Failure};
use crate::files::STATE_FOLDER;
use crate::store::{Request, Store};

/// How long an answer is waited for: an engine looks a few times a second, one that must start first reads the state.
const PATIENCE: Duration = Duration::from_secs(10);

/// Leaves a request and sees to it that an engine runs; true when it was answered within a few seconds.
pub fn ask(root: &Path, store: &mut Store, request: &Request) -> Result<bool, Failure> {
    let id = store.atomically(|store| store.request(request))?;
    ensure(root, store)?;
    answered(store, id)
}

/// Waits for the answer to a request.
pub fn answered(store: &Store, id: i64) -> Result<bool, Failure> {
    let until = Instant::now() + PATIENCE;
    while store.is_asked(id)? {
        if Instant::now() >= until {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}

/// Starts an engine in the background unless somebody holds the lock: whoever holds it answers requests before giving it back.
pub fn ensure(root: &Path, store: &Store) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt as _;
    if store.is_held()? {
        return Ok(());
    }
    let log = std::fs::File::options().create(true).append(true).open(root.join(STATE_FOLDER).join("engine.log"))?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("-C").arg(root).args(["queue", "run"]).current_dir(root);
    command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut child = command.spawn().map_err(|e| {
        Failure::new(Exit::Error, format!("no engine could be started: {e}")).hint("start one with `oppen queue run`; nothing is lost")
    })?;
    // A process that lives long must not leave its children unwaited for.
    std::thread::Builder::new().name("engine".into()).spawn(move || {
        let _ = child.wait();
    })?;
    Ok(())
}
