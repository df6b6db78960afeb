//! The one place where the table in force is found.
//!
//! Requests load it without a lock; only the control plane publishes. Does not know: what is in
//! the table.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::table::RoutingTable;

/// The table in force.
#[derive(Debug)]
pub struct Live(ArcSwap<RoutingTable>);

impl Live {
    /// Starts with this table.
    pub fn new(table: RoutingTable) -> Live {
        table.take_effect();
        Live(ArcSwap::from_pointee(table))
    }

    /// The table as it is now; keep it for the whole request.
    pub fn load(&self) -> Arc<RoutingTable> {
        self.0.load_full()
    }

    /// Puts another table in force, for the very next request of every worker.
    pub fn publish(&self, table: RoutingTable) {
        table.take_effect();
        self.0.store(Arc::new(table));
    }
}
