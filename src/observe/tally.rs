//! What one worker counted since the last collection.
//!
//! Plain numbers in one thread: counting is an addition, and the control plane takes the whole
//! tally away once a second. Does not know: who collects it.

use std::collections::HashMap;

use http::StatusCode;

use crate::mcp::Method;
use crate::names::{Arm, PerArm};

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server answered with a success or a redirection.
    Ok,
    /// The server answered 4xx.
    ClientError,
    /// The server answered 5xx.
    HttpError,
    /// No connection, or it ended before the answer did.
    Transport,
    /// The server was silent for too long.
    Timeout,
    /// The client went away before the answer's end.
    Cancelled,
    /// We refused it.
    Rejected,
}

impl Outcome {
    /// The outcome that an HTTP status alone tells.
    pub fn of(status: StatusCode) -> Outcome {
        match status.as_u16() {
            500.. => Outcome::HttpError,
            400.. => Outcome::ClientError,
            _ => Outcome::Ok,
        }
    }

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientError => "client_error",
            Outcome::HttpError => "http_error",
            Outcome::Transport => "transport",
            Outcome::Timeout => "timeout",
            Outcome::Cancelled => "cancelled",
            Outcome::Rejected => "rejected",
        }
    }
}

/// What an exchange is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Labels {
    /// The arm that answered, if it came to that.
    pub arm: Option<Arm>,
    /// The JSON-RPC method, or the word for what has none.
    pub method: Method,
    /// How it ended.
    pub outcome: Outcome,
    /// The hundreds of the status that the client got; 0 when it got none.
    pub status: u16,
}

/// The counts of one worker.
#[derive(Debug, Default)]
pub struct Tally {
    /// Exchanges that ended.
    pub exchanges: HashMap<Labels, u64>,
    /// Attempts to get an answer that came to nothing, by arm and reason; some are made good by
    /// another endpoint, and then no exchange shows them.
    pub failed_attempts: HashMap<(Arm, &'static str), u64>,
    /// Sessions that began.
    pub sessions: PerArm<u64>,
    /// Client connections accepted.
    pub accepted: u64,
    /// Client connections closed at once, over the limit.
    pub shed: u64,
    /// What stays from one collection to the next.
    pub now: Gauges,
}

/// What is there at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Client connections.
    pub connections: usize,
    /// Event streams on the way to clients.
    pub streams: PerArmCount,
}

/// A count for each arm.
pub type PerArmCount = PerArm<usize>;

impl Copy for PerArmCount {}

impl Tally {
    /// Counts an exchange that has ended.
    pub fn exchange(&mut self, labels: Labels) {
        *self.exchanges.entry(labels).or_default() += 1;
    }

    /// Counts an attempt that came to nothing.
    pub fn failed_attempt(&mut self, arm: Arm, reason: &'static str) {
        *self.failed_attempts.entry((arm, reason)).or_default() += 1;
    }

    /// Hands over the counts and begins anew; what is there stays.
    #[must_use]
    pub fn take(&mut self) -> Tally {
        let now = self.now;
        std::mem::replace(self, Tally { now, ..Tally::default() })
    }
}
