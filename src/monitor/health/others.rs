//! This machine, exporters and MLflow.

use super::super::view::Machine;
use super::super::{http, local};
use super::store::size;
use super::{Finding, Level, words};
use crate::track::mlflow::{Client, Settings};

/// Percent of memory that should stay available.
const MEMORY: u64 = 5;

/// Memory and GPUs.
pub fn machine(runs_here: bool, gpus: u32) -> Vec<Finding> {
    let mut found = Vec::new();
    let machine = match local::machine() {
        Ok(machine) => machine,
        Err(miss) => return vec![Finding::new(Level::Warning, words(miss))],
    };
    let left = machine.memory_total.saturating_sub(machine.memory_used);
    if left < machine.memory_total / 100 * MEMORY {
        let words = format!("only {} of {} of memory are available", size(left), size(machine.memory_total));
        found
            .push(Finding::new(Level::Warning, words).hint("runs may be ended by the kernel: run fewer at a time (`pool.max_concurrent`)"));
    }
    let driver = std::path::Path::new("/proc/driver/nvidia").exists();
    match local::nvidia_smi().map(|p| local::gpus(&p)) {
        Some(Ok((all, _))) => found.push(Finding::new(Level::Ok, format!("{} GPUs, {}", all.len(), here(&machine)))),
        Some(Err(miss)) if driver => {
            let hint = "try `nvidia-smi` yourself; after an update of the driver the machine must start anew";
            found.push(Finding::new(Level::Problem, format!("GPUs cannot be seen: {}", words(miss))).hint(hint));
        }
        _ if runs_here && gpus > 0 && !driver => {
            let words = format!("the pool counts {gpus} GPUs, and this machine shows none; {}", here(&machine));
            found.push(Finding::new(Level::Note, words));
        }
        _ => found.push(Finding::new(Level::Ok, here(&machine))),
    }
    found
}

fn here(machine: &Machine) -> String {
    let left = machine.memory_total.saturating_sub(machine.memory_used);
    format!("{} cores, {} of {} of memory available", machine.cores, size(left), size(machine.memory_total))
}

/// The exporter that the project names.
pub fn dcgm(url: &str) -> Vec<Finding> {
    match http::dcgm(url) {
        Ok((gpus, _)) => vec![Finding::new(Level::Ok, format!("{} GPUs", gpus.len()))],
        Err(miss) => {
            let hint = "see `monitor: {dcgm: ...}` in oppen.yaml, and ask it with curl";
            vec![Finding::new(Level::Warning, words(miss)).hint(hint)]
        }
    }
}

/// The server that tracks runs.
pub fn mlflow(settings: &Settings) -> Vec<Finding> {
    let client = Client::new(settings.clone(), |name| std::env::var(name).ok());
    match client.running("health") {
        Ok(_) => vec![Finding::new(Level::Ok, "answers")],
        Err(e) => {
            let hint = "see `tracking` in oppen.yaml and the server's log; runs go on without it, their metrics there are not seen";
            vec![Finding::new(Level::Problem, e.to_string()).hint(hint)]
        }
    }
}
