//! What is said about the end of the router, while it lasts.
//!
//! Does not know: sockets.

use serde::{Deserialize, Serialize};

/// What is left of the work of a router that stops, as of the last quarter of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// Seconds until the rest is cut, rounded up.
    pub seconds_left: u64,
    /// Client connections.
    pub connections: usize,
    /// Calls in flight.
    pub calls: usize,
    /// Streams that carry no call.
    pub streams: usize,
}
