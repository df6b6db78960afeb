//! What is left while the router stops.
//!
//! Does not know: how it stops.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::observe::join::Awaiting;

use super::Plane;

/// What is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Client connections.
    pub connections: usize,
    /// Calls in flight.
    pub calls: usize,
    /// Streams that carry no call.
    pub streams: usize,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Left { connections, calls, streams } = self;
        write!(f, "calls in flight {calls}, streams {streams}, connections {connections}")
    }
}

impl Plane {
    /// The end has begun, and is over at this time.
    pub fn stops(&self, over: Instant) {
        self.ends.set(Some(over));
    }

    /// How long the end may still take, once it has begun.
    pub fn stopping(&self) -> Option<Duration> {
        self.ends.get().map(|over| over.saturating_duration_since(Instant::now()))
    }

    /// What is left, as the workers said last.
    pub fn left(&self) -> Left {
        let now = self.measures.borrow().metrics.now();
        Left { connections: now.connections, calls: now.calls, streams: now.endless }
    }

    /// Sessions that wait for an answer on a stream, as the workers said last.
    pub fn awaiting(&self) -> Awaiting {
        self.measures.borrow().join.awaiting()
    }
}
