//! GPUs: the CSV of `nvidia-smi`, and the metrics of the DCGM exporter.
//!
//! In: text. Out: [`Gpu`]s. Must never show a figure that the driver does not give (`[N/A]`).

use std::collections::BTreeMap;

use super::super::view::Gpu;
use super::prometheus::{Sample, samples};

/// What `nvidia-smi --query-gpu=` is asked for, in this order.
pub const QUERY: &str = "index,uuid,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw";
/// Bytes in the MiB that both speak of.
const MIB: f64 = 1_048_576.0;
/// Most GPUs that are listed.
const MOST: usize = 4096;

/// `--format=csv,noheader,nounits`: a line a GPU.
#[must_use]
pub fn nvidia_smi(text: &str, host: &str) -> Vec<Gpu> {
    let gpu = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [index, uuid, name, used, memory, total, heat, power] = fields.get(..)? else { return None };
        Some(Gpu {
            host: host.to_owned(),
            index: index.parse().ok()?,
            uuid: (*uuid).to_owned(),
            name: (*name).to_owned(),
            percent: number(used).filter(|p| *p <= 100.0),
            memory_used: number(memory).and_then(bytes),
            memory_total: number(total).and_then(bytes),
            celsius: number(heat),
            watts: number(power),
            pod: None,
        })
    };
    text.lines().filter_map(gpu).take(MOST).collect()
}

/// `--query-compute-apps=pid,used_memory`: bytes of GPU memory by process.
#[must_use]
pub fn apps(text: &str) -> BTreeMap<u32, u64> {
    let app = |line: &str| {
        let (pid, used) = line.split_once(',')?;
        Some((pid.trim().parse().ok()?, bytes(number(used.trim())?)?))
    };
    text.lines().filter_map(app).fold(BTreeMap::new(), |mut all, (pid, used)| {
        let sum = all.entry(pid).or_insert(0_u64);
        *sum = sum.saturating_add(used);
        all
    })
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
fn bytes(mib: f64) -> Option<u64> {
    (mib * MIB).is_finite().then_some(mib * MIB).filter(|b| (0.0..1e18).contains(b)).map(|b| b as u64)
}

/// The exporter's text: one GPU for each UUID.
#[must_use]
pub fn dcgm(text: &str, host: &str) -> Vec<Gpu> {
    let mut all: BTreeMap<(String, String), Gpu> = BTreeMap::new();
    let mut free: BTreeMap<(String, String), f64> = BTreeMap::new();
    for sample in samples(text, |name| name.starts_with("DCGM_FI_DEV_")) {
        let label = |names: &[&str]| names.iter().find_map(|n| sample.labels.get(*n)).cloned().unwrap_or_default();
        let at = label(&["Hostname", "hostname"]);
        let key = (if at.is_empty() { host.to_owned() } else { at }, label(&["UUID", "uuid", "gpu"]));
        if all.len() >= MOST && !all.contains_key(&key) {
            continue;
        }
        let gpu = all.entry(key.clone()).or_insert_with(|| Gpu {
            host: key.0.clone(),
            index: label(&["gpu"]).parse().unwrap_or(0),
            uuid: key.1.clone(),
            name: label(&["modelName"]),
            ..Gpu::default()
        });
        let pod = label(&["exported_pod", "pod"]);
        gpu.pod = gpu.pod.take().or(Some(pod).filter(|p| !p.is_empty()));
        note(gpu, &sample, free.entry(key).or_default());
    }
    all.into_iter()
        .map(|(key, mut gpu)| {
            let free = free.get(&key).copied().filter(|f| *f > 0.0).and_then(bytes);
            gpu.memory_total = free.zip(gpu.memory_used).map(|(free, used)| free.saturating_add(used));
            gpu
        })
        .collect()
}

fn note(gpu: &mut Gpu, sample: &Sample, free: &mut f64) {
    let Some(value) = sample.value.filter(|v| *v >= 0.0) else { return };
    match sample.name.as_str() {
        "DCGM_FI_DEV_GPU_UTIL" => gpu.percent = Some(value).filter(|p| *p <= 100.0),
        "DCGM_FI_DEV_FB_USED" => gpu.memory_used = bytes(value),
        "DCGM_FI_DEV_FB_FREE" => *free = value,
        "DCGM_FI_DEV_GPU_TEMP" => gpu.celsius = Some(value),
        "DCGM_FI_DEV_POWER_USAGE" => gpu.watts = Some(value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_a_gpu_and_what_the_driver_does_not_give_is_none() {
        let text = "0, GPU-5f3, NVIDIA H100 80GB HBM3, 37, 1024, 81559, 41, 118.53\n1, GPU-77a, NVIDIA T4, [N/A], [Not Supported], 15360, 30, [N/A]\nNo devices\n";
        let gpus = nvidia_smi(text, "here");
        assert_eq!(gpus.len(), 2);
        assert_eq!((gpus[0].percent, gpus[0].memory_used, gpus[0].memory_total), (Some(37.0), Some(1 << 30), Some(81_559 << 20)));
        assert_eq!((gpus[1].percent, gpus[1].memory_used, gpus[1].watts, gpus[1].celsius), (None, None, None, Some(30.0)));
        assert_eq!(apps("4242, 512\n4242, 512\n7, [N/A]\n"), [(4242, 1 << 30)].into());
    }

    /// The format of NVIDIA's documentation of dcgm-exporter.
    #[test]
    fn the_exporters_text_gives_gpus_with_their_pods() {
        let text = r#"# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-604ac76c",device="nvidia0",modelName="NVIDIA T4",Hostname="node-1",container="run",namespace="ml",pod="train-x"} 139
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-604ac76c",device="nvidia0",modelName="NVIDIA T4",Hostname="node-1",container="run",namespace="ml",pod="train-x"} 91
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-604ac76c",device="nvidia0",modelName="NVIDIA T4",Hostname="node-1"} 14336
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-604ac76c",device="nvidia0",modelName="NVIDIA T4",Hostname="node-1"} 1024
DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-700",device="nvidia1",modelName="NVIDIA T4",Hostname="node-1"} NaN
"#;
        let gpus = dcgm(text, "n");
        assert_eq!(gpus.len(), 2);
        let first = &gpus[0];
        assert_eq!((first.host.as_str(), first.name.as_str(), first.pod.as_deref()), ("node-1", "NVIDIA T4", Some("train-x")));
        assert_eq!((first.percent, first.memory_used, first.memory_total), (Some(91.0), Some(1 << 30), Some(15 << 30)));
        assert_eq!((gpus[1].percent, gpus[1].celsius, gpus[1].index), (None, None, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,200}") {
            let _ = (nvidia_smi(&text, "h"), apps(&text), dcgm(&text, "h"));
            let _ = dcgm(&format!("DCGM_FI_DEV_FB_USED{{gpu=\"{text}\"}} {text}"), "h");
        }
    }
}
