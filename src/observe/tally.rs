//! What one worker counted since the last collection.
//!
//! Plain numbers in one thread: counting is an addition, and the control plane takes the whole
//! tally away once a second. Does not know: who collects it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::{Era, Method};
use crate::names::{Arm, Blame, Cut, EndpointId, Outcome, PerArm, Shed};
use crate::route::tools::ToolLabel;

use super::join::Crossing;
use super::latency::Sketch;
use super::seen::Seen;
use super::session::SessionKey;

/// Crossings that a worker keeps until the next collection.
const CROSSINGS_MAX: usize = 65_536;
/// Calls that a worker keeps one by one until the next collection: 3 MiB.
const SEEN_MAX: usize = 65_536;
/// Sessions whose use a worker notes until the next collection.
const USED_MAX: usize = 65_536;

/// What an exchange is counted under. Every part comes from a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Labels {
    /// The arm that was asked, if it came to that.
    pub arm: Option<Arm>,
    /// Its endpoint.
    pub endpoint: Option<EndpointId>,
    /// How the client speaks.
    pub era: Era,
    /// The JSON-RPC method, or the word for what has none.
    pub method: Method,
    /// The tool, for `tools/call`.
    pub tool: ToolLabel,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose fault that is.
    pub blame: Blame,
    /// The hundreds of the status that the client got; 0 when it got none.
    pub status: u8,
}

/// The exchanges with the same labels.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// How many.
    pub exchanges: u64,
    /// Bytes of their answers' bodies, as the servers sent them.
    pub bytes: u64,
    /// From the request's arrival to the JSON-RPC response, of those with the outcome `ok` that
    /// have such a time.
    pub latency: Sketch,
}

/// The counts of one worker.
#[derive(Debug, Default)]
pub struct Tally {
    /// Exchanges that ended.
    pub exchanges: HashMap<Labels, Count>,
    /// From the request's arrival to the answer's head.
    pub first_byte: PerArm<Sketch>,
    /// What is to be joined with what another worker saw.
    pub crossings: Vec<Crossing>,
    /// Sessions that were used, and when last.
    pub used: HashMap<SessionKey, (Arm, Instant)>,
    /// Attempts to get an answer that came to nothing, by arm and reason; some are made good by
    /// another endpoint, and then no exchange shows them.
    pub failed_attempts: HashMap<(Arm, &'static str), u64>,
    /// Exchanges that found every endpoint of their arm busy, by arm and how they fared.
    pub without_room: HashMap<(Arm, &'static str), u64>,
    /// Calls one by one, for whoever compares the arms.
    pub seen: Vec<Seen>,
    /// Calls that there was no room for in `seen`.
    pub unseen: u64,
    /// Exchanges of an arm that the other arm had to take over.
    pub covered: PerArm<u64>,
    /// New sessions, as the weights sent them.
    pub draws: Draws,
    /// Sessions that began.
    pub sessions: PerArm<u64>,
    /// Client connections accepted.
    pub accepted: u64,
    /// Client connections closed as soon as they were accepted, by reason.
    pub shed: HashMap<Shed, u64>,
    /// Connections, requests and answers cut because of the client, by reason.
    pub cuts: HashMap<Cut, u64>,
    /// Handshakes of TLS, by how they went.
    pub handshakes: HashMap<&'static str, u64>,
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
    /// Exchanges whose answer has an end, from the request's head to the answer's end.
    pub calls: usize,
    /// Streams without an end of their own.
    pub endless: usize,
}

/// New sessions, as the weights sent them, beside what the weights asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Draws {
    /// How many.
    pub all: u64,
    /// How many of them went to the secondary.
    pub secondary: u64,
    /// How many were to be expected there: the sum of its share at each draw.
    pub expected: f64,
    /// The variance of that number.
    pub variance: f64,
}

impl Draws {
    /// Counts a draw, at this share of the secondary.
    pub fn add(&mut self, arm: Arm, share: f64) {
        self.all += 1;
        self.secondary += u64::from(arm == Arm::Secondary);
        self.expected += share;
        self.variance += share * (1.0 - share);
    }

    /// Adds other draws.
    pub fn merge(&mut self, other: &Draws) {
        self.all += other.all;
        self.secondary += other.secondary;
        self.expected += other.expected;
        self.variance += other.variance;
    }
}

/// A count for each arm.
pub type PerArmCount = PerArm<usize>;

impl Copy for PerArmCount {}

impl Tally {
    /// Counts an exchange that has ended.
    pub fn exchange(&mut self, labels: Labels, bytes: u64, latency: Option<Duration>) {
        let count = self.exchanges.entry(labels).or_default();
        count.exchanges += 1;
        count.bytes += bytes;
        if let Some(latency) = latency {
            count.latency.add(latency);
        }
    }

    /// Counts a handshake of TLS.
    pub fn handshake(&mut self, result: &'static str) {
        *self.handshakes.entry(result).or_default() += 1;
    }

    /// Keeps a call as evidence, if there is room.
    pub fn see(&mut self, seen: Seen) {
        if self.seen.len() < SEEN_MAX {
            self.seen.push(seen);
        } else {
            self.unseen += 1;
        }
    }

    /// Counts an attempt that came to nothing.
    pub fn failed_attempt(&mut self, arm: Arm, reason: &'static str) {
        *self.failed_attempts.entry((arm, reason)).or_default() += 1;
    }

    /// Counts a connection that was not let in.
    pub fn shed(&mut self, reason: Shed) {
        *self.shed.entry(reason).or_default() += 1;
    }

    /// Counts what was cut because of the client.
    pub fn cut(&mut self, reason: Cut) {
        *self.cuts.entry(reason).or_default() += 1;
    }

    /// Notes that a session is in use.
    pub fn use_session(&mut self, session: SessionKey, arm: Arm, now: Instant) {
        if self.used.len() < USED_MAX || self.used.contains_key(&session) {
            self.used.insert(session, (arm, now));
        }
    }

    /// Keeps a crossing for the control plane; gives it back when there is no room. What begins or
    /// ends is always kept: there is no more of it than of streams and sessions.
    pub fn cross(&mut self, crossing: Crossing) -> Option<Crossing> {
        use super::join::What::{Closed, StreamEnded, StreamOpened};
        let is_bounded = matches!(crossing.what, Closed(_) | StreamOpened(..) | StreamEnded(..));
        if self.crossings.len() >= CROSSINGS_MAX && !is_bounded {
            return Some(crossing);
        }
        self.crossings.push(crossing);
        None
    }

    /// Hands over the counts and begins anew; what is there stays.
    #[must_use]
    pub fn take(&mut self) -> Tally {
        let now = self.now;
        std::mem::replace(self, Tally { now, ..Tally::default() })
    }
}
