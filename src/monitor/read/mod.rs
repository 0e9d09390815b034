//! What others answer, read: pure, apart from all asking.
//!
//! In: text and JSON of `/proc`, `nvidia-smi`, the Kubernetes API, kubelets, metrics-server, exporters. Out: figures in our units.
//! Must never show 0 for what is missing, never panic, and keep what is no number out.

pub mod cluster;
pub mod gpu;
pub mod procfs;
pub mod prometheus;
pub mod quantity;
pub mod usage;
