//! GPU slots of this machine.
//!
//! In: how many an attempt wants. Out: which ones. Must never give one slot to two attempts.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// Which slots are held.
#[derive(Debug, Default)]
pub struct Slots {
    total: u32,
    held: BTreeSet<u32>,
}

impl Slots {
    /// Sets how many there are; attempts that run keep theirs.
    pub fn set_total(&mut self, total: u32) {
        self.total = total;
    }

    /// How many there are.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Takes the lowest free ones, all or none.
    pub fn take(&mut self, wanted: u32) -> Option<Vec<u32>> {
        let free: Vec<u32> = (0..self.total).filter(|s| !self.held.contains(s)).take(usize::try_from(wanted).ok()?).collect();
        if u32::try_from(free.len()).ok()? < wanted {
            return None;
        }
        self.hold(&free);
        Some(free)
    }

    /// Notes what an adopted attempt holds.
    pub fn hold(&mut self, slots: &[u32]) {
        self.held.extend(slots);
    }

    /// Gives back.
    pub fn release(&mut self, slots: &[u32]) {
        self.held.retain(|s| !slots.contains(s));
    }
}

/// `CUDA_VISIBLE_DEVICES` for these slots. Where the caller itself sees only some devices, a slot is a place in the caller's list.
pub fn visible_devices(slots: &[u32], callers: Option<&OsStr>) -> OsString {
    let list: Vec<&str> =
        callers.and_then(OsStr::to_str).into_iter().flat_map(|t| t.split(',')).map(str::trim).filter(|t| !t.is_empty()).collect();
    let id = |slot: &u32| {
        let callers = usize::try_from(*slot).ok().and_then(|at| list.get(at));
        callers.map_or_else(|| slot.to_string(), |id| (*id).to_owned())
    };
    slots.iter().map(id).collect::<Vec<_>>().join(",").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_slot_is_given_twice() {
        let mut slots = Slots::default();
        slots.set_total(4);
        assert_eq!(slots.take(2), Some(vec![0, 1]));
        assert_eq!(slots.take(3), None);
        assert_eq!(slots.take(1), Some(vec![2]));
        slots.release(&[0]);
        slots.hold(&[3]);
        assert_eq!(slots.take(2), None);
        assert_eq!(slots.take(1), Some(vec![0]));
        assert_eq!(slots.take(0), Some(vec![]));
    }

    #[test]
    fn slots_are_places_in_the_callers_list() {
        assert_eq!(visible_devices(&[0, 2], None), "0,2");
        assert_eq!(visible_devices(&[], Some(OsStr::new("4,5"))), "");
        assert_eq!(visible_devices(&[1], Some(OsStr::new("4, 5"))), "5");
        assert_eq!(visible_devices(&[0], Some(OsStr::new(""))), "0");
    }
}
