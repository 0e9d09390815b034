//! Lines of `/proc`: the machine's cores and memory, processes and who started whom.
//!
//! In: text as proc(5) has it. Out: ticks and bytes. Must never be led astray by a process' name, which may hold anything.

use std::collections::BTreeSet;

/// Time of all cores since the start of the machine, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cores {
    /// All of it.
    pub total: u64,
    /// Idle, or waiting for a disk.
    pub idle: u64,
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Who started it.
    pub parent: u32,
    /// Its group.
    pub group: u32,
    /// Time on cores, in ticks.
    pub ticks: u64,
    /// When it started, in ticks since the start of the machine.
    pub start: u64,
    /// Resident memory in pages.
    pub pages: u64,
}

/// First line of `/proc/stat`.
#[must_use]
pub fn cores(text: &str) -> Option<Cores> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let total = ticks.iter().take(8).fold(0_u64, |sum, t| sum.saturating_add(*t));
    let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or(0));
    Some(Cores { total, idle })
}

impl Cores {
    /// Percent of all cores in use between two looks.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share is shown with few digits")]
    pub fn percent_since(self, earlier: Self) -> Option<f64> {
        let total = self.total.checked_sub(earlier.total).filter(|t| *t > 0)?;
        let idle = self.idle.saturating_sub(earlier.idle).min(total);
        Some((total - idle) as f64 * 100.0 / total as f64)
    }
}

/// `MemTotal` and `MemAvailable` of `/proc/meminfo`, in bytes.
#[must_use]
pub fn memory(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let rest = text.lines().find_map(|l| l.strip_prefix(name))?.strip_prefix(':')?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    field("MemTotal").zip(field("MemAvailable")).filter(|(total, available)| available <= total)
}

/// `/proc/PID/stat`.
#[must_use]
pub fn process(text: &str) -> Option<Process> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split('(').next()?.trim().parse().ok()?;
    // The first field behind the name is the third of the line.
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    let small = |number: usize| field(number).and_then(|v| u32::try_from(v).ok());
    Some(Process {
        pid,
        parent: small(4)?,
        group: small(5)?,
        ticks: field(14)?.saturating_add(field(15)?),
        start: field(22)?,
        // Written as a signed number.
        pages: field(24).unwrap_or(0),
    })
}

/// The processes below one, itself left out, and those of their groups that lost their parent.
#[must_use]
pub fn below(all: &[Process], keeper: u32) -> Vec<Process> {
    let mut found: BTreeSet<u32> = [keeper].into();
    let mut groups: BTreeSet<u32> = BTreeSet::new();
    loop {
        let before = found.len();
        for p in all.iter().filter(|p| p.pid != keeper) {
            if found.contains(&p.parent) || groups.contains(&p.group) {
                found.insert(p.pid);
                // A group of its own is led by one of them.
                if found.contains(&p.group) && p.group != keeper {
                    groups.insert(p.group);
                }
            }
        }
        if found.len() == before {
            return all.iter().filter(|p| p.pid != keeper && found.contains(&p.pid)).copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_of_cores_and_memory() {
        let first = cores("cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 2\n").unwrap();
        let later = cores("cpu  150 0 75 850 75 0 0 0 9 0\n").unwrap();
        assert_eq!(first, Cores { total: 1000, idle: 850 });
        assert_eq!(later.percent_since(first), Some(50.0));
        assert_eq!(first.percent_since(later), None, "ticks that run backwards are no share");
        assert_eq!(memory("MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n"), Some((2 << 20, 1 << 20)));
        assert_eq!(memory("MemTotal: 2048 kB\n"), None);
    }

    #[test]
    fn a_name_does_not_shift_fields_and_lost_children_are_found() {
        let line = |pid: u32, parent: u32, group: u32| {
            format!("{pid} (a) b (c) S {parent} {group} 7 0 -1 4 5 6 7 8 30 12 0 0 20 0 1 0 4242 1000 25 18446744073709551615\n")
        };
        let one = process(&line(7, 1, 7)).unwrap();
        assert_eq!(one, Process { pid: 7, parent: 1, group: 7, ticks: 42, start: 4242, pages: 25 });
        let all: Vec<Process> = [(7, 1, 7), (8, 7, 8), (9, 8, 8), (10, 1, 8), (11, 1, 11), (12, 9, 12)]
            .iter()
            .filter_map(|(p, q, g)| process(&line(*p, *q, *g)))
            .collect();
        let pids: Vec<u32> = below(&all, 7).iter().map(|p| p.pid).collect();
        assert_eq!(pids, [8, 9, 10, 12]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,120}") {
            let _ = (cores(&text), memory(&text), process(&text), process(&format!("1 ({text}) S {text}")));
        }
    }
}
