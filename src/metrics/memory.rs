//! The memory of the process, and what is shed for it.
//!
//! Does not know: how it is measured.

use prometheus::{IntGaugeVec, Registry};

use crate::overload::Shedding;

use super::{gauge, set};

const BYTES: &str = "Memory of the process: what it has, and what it may take (limits.memory).";
const SHEDDING: &str = "Whether this is refused since memory is short.";

/// Memory and what is shed.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: IntGaugeVec,
    shedding: IntGaugeVec,
}

impl Memory {
    pub(super) fn new(to: &Registry) -> Memory {
        let memory = Memory {
            bytes: gauge(to, "tidegate_memory_bytes", &["kind"], BYTES),
            shedding: gauge(to, "tidegate_shedding", &["what"], SHEDDING),
        };
        memory.set(0, 0, Shedding::Nothing);
        memory
    }

    pub(super) fn set(&self, resident: u64, limit: u64, shed: Shedding) {
        for (kind, bytes) in [("resident", resident), ("limit", limit)] {
            set(&self.bytes, &[kind], usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        for (what, from) in [
            ("connections", Shedding::Connections),
            ("new_work", Shedding::NewWork),
            ("everything", Shedding::Everything),
        ] {
            set(&self.shedding, &[what], usize::from(shed >= from));
        }
    }
}
