//! A project in a temporary folder with a local backend, and waiting for what it observes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use oppen::backend::Backend;
use oppen::backend::local::{LocalBackend, LocalConfig};
use oppen::base::{Address, AttemptId, Digest, Gpu, Millis, Resources};
use oppen::engine::{Launch, Observation};
use oppen::record::event::{Cause, Outcome};
use oppen::record::run::{CommandLine, JobSpec, RunSpec};
use oppen::record::state::OutputRecord;

pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const LINEAGE: &str = "test-lineage";

pub struct Place {
    dir: tempfile::TempDir,
    pub gpus: u32,
}

impl Place {
    pub fn new() -> Result<Self> {
        let place = Self { dir: tempfile::tempdir()?, gpus: 0 };
        std::fs::create_dir(place.root())?;
        Ok(place)
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub fn state(&self) -> PathBuf {
        self.root().join(".oppen")
    }

    pub fn journal_path(&self, attempt: &AttemptId) -> PathBuf {
        self.state().join("attempts").join(attempt.name(LINEAGE)).with_extension("jsonl")
    }

    pub fn backend(&self, live: &[AttemptId]) -> Result<Running> {
        let config = LocalConfig {
            root: self.root(),
            state_dir: self.state(),
            lineage: LINEAGE.to_owned(),
            exe: env!("CARGO_BIN_EXE_oppen").into(),
            gpus: self.gpus,
        };
        let mut backend = LocalBackend::new(config);
        let (out, seen) = unbounded();
        backend.start(live, out)?;
        Ok(Running { backend, seen })
    }

    /// The pid of the supervisor: it holds the lock, so it is the one process that has the lock file open.
    pub fn supervisor(&self) -> Result<u32> {
        let lock = self.state().join("supervisor.lock").canonicalize()?;
        for process in std::fs::read_dir("/proc")?.flatten() {
            let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            if open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|target| target == lock) {
                return Ok(process.file_name().to_string_lossy().parse()?);
            }
        }
        Err("no supervisor".into())
    }

    pub fn kill_supervisor(&self) -> Result {
        let pid = self.supervisor()?;
        kill(pid, rustix::process::Signal::KILL)?;
        wait_until(|| !alive(pid))
    }

    pub fn keeper(&self, attempt: &AttemptId) -> Result<u32> {
        wait_until(|| self.journal(attempt).contains("\"meta\""))?;
        let text = self.journal(attempt);
        let line = text.lines().find(|line| line.starts_with("{\"meta\"")).ok_or("no keeper")?;
        let line: serde_json::Value = serde_json::from_str(line)?;
        Ok(u32::try_from(line["meta"]["pid"].as_u64().ok_or("no pid")?)?)
    }

    pub fn journal(&self, attempt: &AttemptId) -> String {
        std::fs::read_to_string(self.journal_path(attempt)).unwrap_or_default()
    }
}

pub struct Running {
    pub backend: LocalBackend,
    pub seen: Receiver<Observation>,
}

pub struct Done {
    pub outcome: Outcome,
    pub outputs: Vec<OutputRecord>,
    pub started: Option<i64>,
    pub at: i64,
    /// All that came before, in order.
    pub before: Vec<Observation>,
}

impl Running {
    /// Waits for the first observation that fits.
    pub fn wait(&self, fits: impl Fn(&Observation) -> bool) -> Result<Vec<Observation>> {
        let until = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let observation = self.seen.recv_deadline(until).map_err(|_| format!("not seen; before: {before:?}"))?;
            let found = fits(&observation);
            before.push(observation);
            if found {
                return Ok(before);
            }
        }
    }

    pub fn started(&self, attempt: &AttemptId) -> Result {
        self.wait(|o| matches!(o, Observation::Started { attempt: a, .. } if a == attempt)).map(|_| ())
    }

    pub fn ended(&self, attempt: &AttemptId) -> Result<Done> {
        let mut before =
            self.wait(|o| o.attempt() == Some(attempt) && matches!(o, Observation::Ended { .. } | Observation::Refused { .. }))?;
        match before.pop() {
            Some(Observation::Ended { outcome, outputs, started, at, .. }) => {
                Ok(Done { outcome, outputs, started: started.map(|t| t.0), at: at.0, before })
            }
            other => Err(format!("not ended: {other:?}").into()),
        }
    }

    pub fn run(&mut self, launch: Launch) -> Result<Done> {
        let attempt = launch.attempt.clone();
        self.backend.submit(launch);
        self.ended(&attempt)
    }

    pub fn log(&self, attempt: &AttemptId) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut self.backend.logs(attempt, true)?, &mut text)?;
        Ok(text)
    }
}

pub fn attempt(job: &str) -> AttemptId {
    AttemptId { address: Address::new("w", job, None), generation: 1, number: 1 }
}

pub fn launch(job: &str, argv: &[&str]) -> Launch {
    with(job, argv, |_| {})
}

pub fn script(job: &str, text: &str) -> Launch {
    launch(job, &["/bin/sh", "-c", text])
}

pub fn with(job: &str, argv: &[&str], change: impl FnOnce(&mut JobSpec)) -> Launch {
    let mut settings =
        JobSpec { grace: Millis(5000), resources: Resources { gpu: Gpu::default(), ..Resources::default() }, ..JobSpec::default() };
    change(&mut settings);
    let attempt = attempt(job);
    let spec = RunSpec {
        address: attempt.address.clone(),
        fingerprint: Digest::of(job.as_bytes()),
        job: Arc::new(settings),
        params: Vec::new(),
        command: CommandLine::default(),
        parent: None,
    };
    let timeout = spec.job.timeout;
    Launch { attempt, spec: Arc::new(spec), argv: argv.iter().map(|a| Arc::from(*a)).collect(), env: Vec::new(), timeout }
}

pub fn assert_outcome(done: &Done, cause: Cause, code: Option<i32>) {
    assert_eq!((done.outcome.cause, done.outcome.exit_code), (cause, code), "{:?}", done.outcome);
}

pub fn wait_until(mut done: impl FnMut() -> bool) -> Result {
    let until = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > until {
            return Err("waited in vain".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Alive and no zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

pub fn kill(pid: u32, signal: rustix::process::Signal) -> Result {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).ok_or("no pid")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

pub fn read_pid(path: &std::path::Path) -> Result<u32> {
    wait_until(|| std::fs::read_to_string(path).is_ok_and(|t| t.ends_with('\n')))?;
    Ok(std::fs::read_to_string(path)?.trim().parse()?)
}
