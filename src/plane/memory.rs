//! How much memory the process has, and what is shed when that is nearly all it may take.
//!
//! Limits in number bound what each client can take; this is for the sum. Measured on x86-64, each of
//! ten thousand costs at most (`tests/it/overload/many.rs`):
//!
//! - an idle HTTP/1.1 connection that has been used 36 KiB: hyper's buffers and its task;
//! - a client that sends its request byte by byte 35 KiB, as long as it has sent little; at most its
//!   head (`limits.header_bytes`, twice) and the 64 KiB of a body that are read ahead;
//! - an idle event stream 26 KiB, on an HTTP/2 connection of a hundred, with its own connection to
//!   the server; an event of which only a part has come is kept up to 8 KiB, of the first one alone.
//!
//! An exchange in flight holds its piece of a body on each side, and what was read ahead until it is
//! sent; those that wait in a queue hold what was read ahead. Does not know: who sheds.

use std::sync::Arc;

use tokio::time::Instant;

use crate::overload::{Overload, Shedding};

use super::Plane;

/// The memory of the process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What it has, as the kernel counts it (`VmRSS`).
    pub resident: u64,
    /// What it may take: `limits.memory`.
    pub limit: u64,
    /// What is shed.
    pub shed: Shedding,
}

impl Plane {
    /// What takes work in reads here whether it may.
    pub fn overload(&self) -> Arc<Overload> {
        Arc::clone(&self.overload)
    }

    /// Looks how much memory there is, and sheds more or less; to be called each second.
    pub fn watch_memory(&self) {
        let Some(resident) = resident() else { return };
        let (before, table) = (self.overload.shed(), self.table());
        let limit = table.config.limits.memory;
        let exchanges = table.fitness().map(|(it, _)| it.in_flight() + it.room().waiting());
        let work = self.measures.borrow().metrics.clients() + exchanges.sum::<usize>();
        let now = Instant::now();
        let shed = self.pressure.borrow_mut().look(now, resident, limit, work);
        self.overload.set(shed);
        self.memory.set(Memory { resident, limit, shed });
        self.measures.borrow().metrics.set_memory(resident, limit, shed);
        let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
        let (resident, limit) = (mebibytes(resident), mebibytes(limit));
        match shed {
            _ if shed == before => {}
            Shedding::Nothing => {
                tracing::info!(resident, limit, "memory: clients are welcome again");
            }
            Shedding::Connections => {
                tracing::warn!(resident, limit, "memory: no new client connections");
            }
            Shedding::NewWork => tracing::error!(
                resident,
                limit,
                "memory: no new client connections, and only the requests of open sessions"
            ),
            Shedding::Everything => {
                tracing::error!(resident, limit, "memory: every request is refused");
            }
        }
    }

    /// What the last look found.
    pub fn memory(&self) -> Memory {
        self.memory.get()
    }
}

/// Bytes of memory that the process has; `None` where the kernel does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_there_is() {
        assert!((1 << 20..1 << 40).contains(&resident().unwrap()));
    }
}
