//! What a run asks for: GPUs, cores, memory.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a GPU is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// Paid by the hour, stays until released.
    #[default]
    OnDemand,
    /// Cheap, may be taken away.
    Spot,
    /// Paid ahead.
    Reserved,
}

impl Capacity {
    /// The word in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::Reserved => "reserved",
        }
    }
}

/// GPUs of one type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Gpu {
    /// How many; 0 is none.
    pub count: u32,
    /// `A100`; none means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// What one run holds while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Resources {
    /// GPUs.
    #[serde(default)]
    pub gpu: Gpu,
    /// Thousandths of a core.
    #[serde(default)]
    pub cpu_millis: u64,
    /// Bytes of memory.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Bytes of disk that are the run's own; 0 is what there happens to be.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk_bytes: u64,
    /// How the machine is bought. Not part of the fingerprint.
    #[serde(default)]
    pub capacity: Capacity,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One mebibyte in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte in bytes.
pub const GIB: u64 = 1 << 30;

/// Reads a Kubernetes quantity of memory: `512Mi`, `3Gi`, `1.5Gi`, `16G`, `1073741824`.
///
/// # Errors
/// A sentence saying what is wrong.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not an amount of memory; write `512Mi` or `16Gi`");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => MIB,
        "Gi" => GIB,
        "Ti" => 1 << 40,
        _ => return Err(wrong()),
    };
    fixed_point(number, factor).ok_or_else(wrong)
}

/// Reads cores: `2`, `0.5`, `500m`; the answer is in thousandths.
///
/// # Errors
/// A sentence saying what is wrong.
pub fn parse_cpu(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a number of cores; write `2`, `0.5` or `500m`");
    let trimmed = text.trim();
    match trimmed.strip_suffix('m') {
        Some(millis) => fixed_point(millis, 1),
        None => fixed_point(trimmed, 1000),
    }
    .ok_or_else(wrong)
}

/// Reads GPU-hours: `100`, `2.5`; the answer is in GPU-milliseconds.
#[must_use]
pub fn parse_gpu_hours(text: &str) -> Option<u64> {
    fixed_point(text.trim(), 3_600_000)
}

/// `number * factor`, rounded up to a whole unit; none for anything but plain decimals in range.
fn fixed_point(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) || fraction.len() > 12 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    u64::try_from(digits.checked_mul(u128::from(factor))?.div_ceil(scale)).ok()
}

/// `16Gi`, `256Mi`, or bytes.
#[must_use]
pub fn show_memory(bytes: u64) -> String {
    for (unit, name) in [(GIB, "Gi"), (MIB, "Mi"), (1 << 10, "Ki")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// `2` or `500m`.
#[must_use]
pub fn show_cpu(millis: u64) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.gpu.count > 0 {
            write!(f, "{} x {}, ", self.gpu.count, self.gpu.kind.as_deref().unwrap_or("GPU"))?;
        }
        write!(f, "{} CPU, {}", show_cpu(self.cpu_millis), show_memory(self.memory_bytes))?;
        if self.disk_bytes > 0 { write!(f, ", {} disk", show_memory(self.disk_bytes)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quantities() {
        assert_eq!(parse_memory("3Gi"), Ok(3 * GIB));
        assert_eq!(parse_memory("1.5Gi"), Ok(3 * GIB / 2));
        assert_eq!(parse_memory("16G"), Ok(16_000_000_000));
        assert_eq!(parse_cpu("500m"), Ok(500));
        assert_eq!(parse_cpu("0.5"), Ok(500));
        assert_eq!(parse_cpu("2"), Ok(2000));
        for text in ["", "-1", "NaN", "inf", "1e3", "1 Gi", "Gi", "1.2.3", "999999999999Ti"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
        assert_eq!(show_memory(3 * GIB / 2), "1536Mi");
    }
}
