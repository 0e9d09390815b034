//! This machine: `/proc` and `nvidia-smi`.
//!
//! In: the state folder. Out: cores, memory, processes of runs, GPUs. Percents are over the time between two looks; before the second
//! look a moment is waited for.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::read::gpu;
use super::read::procfs::{self, Process};
use super::reading::{Found, Miss, length};
use super::view::{Gpu, Machine, Processes};
use crate::backend::local::{Kept, kept};

/// Time that percents of the first look are over.
const MOMENT: Duration = Duration::from_millis(250);
/// Longest that `nvidia-smi` may take; it is ended then.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest output of it that is read, in bytes.
const LARGEST: u64 = 1 << 20;

fn file(path: &str) -> Result<String, Miss> {
    std::fs::read_to_string(path).map_err(|e| Miss::Failed(format!("{path}: {e}")))
}

/// The machine's cores.
#[derive(Default)]
pub struct Cores {
    last: Option<(procfs::Cores, Instant)>,
}

impl Cores {
    /// Cores and memory.
    pub fn look(&mut self) -> Found<Machine> {
        let read =
            || file("/proc/stat").and_then(|t| procfs::cores(&t).ok_or_else(|| Miss::Failed("/proc/stat cannot be read".to_owned())));
        let last = match self.last {
            Some(last) => last,
            None => {
                let first = (read()?, Instant::now());
                std::thread::sleep(MOMENT);
                first
            }
        };
        let (cores, at) = (read()?, Instant::now());
        self.last = Some((cores, at));
        Ok((
            Machine { cpu_percent: cores.percent_since(last.0), window_ms: length(at.duration_since(last.1)), ..machine()? },
            "/proc".into(),
        ))
    }
}

/// What it has, and how much of its memory is used.
pub fn machine() -> Result<Machine, Miss> {
    let missing = || Miss::Failed("/proc/meminfo has no MemAvailable".to_owned());
    let (total, available) = procfs::memory(&file("/proc/meminfo")?).ok_or_else(missing)?;
    Ok(Machine {
        host: host(),
        cores: std::thread::available_parallelism().map_or(0, |n| n.get() as u64),
        memory_total: total,
        memory_used: total.saturating_sub(available),
        ..Machine::default()
    })
}

/// Name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Ticks by pid and start, so that a reused pid is not mistaken for the one before.
type Ticks = BTreeMap<(u32, u64), u64>;

/// The processes of runs.
pub struct Procs {
    state_dir: PathBuf,
    last: Option<(Ticks, Instant)>,
}

/// All processes of this machine.
fn processes() -> Vec<Process> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|e| e.file_name().to_str().filter(|n| n.bytes().all(|b| b.is_ascii_digit())).map(str::to_owned));
    // A name need not be UTF-8.
    let read = |pid: String| std::fs::read(format!("/proc/{pid}/stat")).ok();
    pids.filter_map(|pid| procfs::process(&String::from_utf8_lossy(&read(pid)?))).collect()
}

impl Procs {
    /// For the attempts of a state folder.
    #[must_use]
    pub const fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, last: None }
    }

    /// Each run's processes.
    pub fn look(&mut self) -> Found<Vec<Processes>> {
        let keepers = kept(&self.state_dir);
        if keepers.is_empty() {
            self.last = None;
            return Ok((Vec::new(), "/proc".into()));
        }
        let ticks = |all: &[Process]| all.iter().map(|p| ((p.pid, p.start), p.ticks)).collect::<Ticks>();
        let last = match self.last.take() {
            Some(last) => last,
            None => {
                let first = (ticks(&processes()), Instant::now());
                std::thread::sleep(MOMENT);
                first
            }
        };
        let (all, at) = (processes(), Instant::now());
        let apps = nvidia_smi().filter(|_| std::path::Path::new("/proc/driver/nvidia").exists()).and_then(|p| apps(&p));
        let runs = keepers.iter().map(|k| one(k, &all, (&last.0, at.duration_since(last.1)), apps.as_ref())).collect();
        self.last = Some((ticks(&all), at));
        Ok((runs, "/proc".into()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with few digits")]
fn one(kept: &Kept, all: &[Process], last: (&Ticks, Duration), apps: Option<&BTreeMap<u32, u64>>) -> Processes {
    let mine = procfs::below(all, kept.keeper);
    // What started since the last look has run since then only.
    let ran: u64 = mine.iter().map(|p| p.ticks.saturating_sub(last.0.get(&(p.pid, p.start)).copied().unwrap_or(0))).sum();
    let hertz = rustix::param::clock_ticks_per_second().max(1);
    let seconds = last.1.as_secs_f64();
    let gpu = apps.map(|apps| mine.iter().filter_map(|p| apps.get(&p.pid)).fold(0_u64, |sum, b| sum.saturating_add(*b)));
    Processes {
        address: kept.attempt.as_ref().map_or_else(|| kept.name.clone(), |a| a.address.as_str().to_owned()),
        count: mine.len() as u64,
        cpu_percent: (seconds > 0.0).then(|| ran as f64 * 100.0 / (hertz as f64 * seconds)),
        rss_bytes: mine.iter().map(|p| p.pages).sum::<u64>().saturating_mul(rustix::param::page_size() as u64),
        gpu_bytes: gpu,
    }
}

/// The program, where there is one.
#[must_use]
pub fn nvidia_smi() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).filter(|p| p.is_absolute()).map(|p| p.join("nvidia-smi")).find(|p| p.is_file())
}

/// Runs it; what takes too long is ended.
fn ask(program: &PathBuf, args: &[&str]) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    let out = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = out.map(|o| o.take(LARGEST).read_to_end(&mut bytes));
        bytes
    });
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                break Err(format!("it did not end within {}s", PATIENCE.as_secs()));
            }
            Err(e) => break Err(e.to_string()),
        }
    };
    let status = status?;
    let text = String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned();
    if status.success() {
        return Ok(text);
    }
    let words = crate::base::text::escape(text.lines().next().unwrap_or("no reason given")).chars().take(200).collect::<String>();
    Err(format!("it ended with {status}: {words}"))
}

fn apps(program: &PathBuf) -> Option<BTreeMap<u32, u64>> {
    let args = ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"];
    ask(program, &args).ok().map(|text| gpu::apps(&text))
}

/// GPUs of this machine.
pub fn gpus(program: &PathBuf) -> Found<Vec<Gpu>> {
    let query = format!("--query-gpu={}", gpu::QUERY);
    let text = ask(program, &[&query, "--format=csv,noheader,nounits"]).map_err(Miss::Failed)?;
    Ok((gpu::nvidia_smi(&text, &host()), "nvidia-smi".into()))
}
