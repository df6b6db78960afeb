//! What is said about operating: what happens, drains, deploys, states, baselines, webhooks.
//!
//! Does not know: sockets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{Arm, PerArm, Split};
use crate::records::journal::Happening;

/// `GET /v1/events?after=NUMBER`: what has happened since, as far as it is kept (256 lines).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Events {
    /// The number of the last one.
    pub last: u64,
    /// The oldest first.
    pub events: Vec<Event>,
}

/// Something that has happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// As in the journal.
    #[serde(flatten)]
    pub happening: Happening,
    /// Who did it, for people.
    pub by: String,
}

/// `POST /v1/drain` and `POST /v1/drain/undo`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Which arm.
    pub arm: Arm,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Sessions that were idle for so long count as left, in milliseconds; left out: half an hour.
    #[serde(default)]
    pub idle_ms: Option<u64>,
}

/// `GET /v1/drain?idle_ms=NUMBER`, and the answer of both verbs: what the arms still have to do.
pub type Drains = PerArm<DrainStatus>;

/// What an arm still has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Somebody drains it.
    pub drained: bool,
    /// Its share of new work in percent.
    pub weight: u8,
    /// Sessions in use.
    pub sessions: usize,
    /// Sessions that nobody has used for long, and that count as left.
    pub sessions_idle: usize,
    /// Event streams open to clients.
    pub streams: usize,
    /// Exchanges in flight.
    pub in_flight: usize,
    /// When it last had something to do since the start of the router, as RFC 3339.
    pub last_activity: Option<String>,
    /// Whether its servers can be stopped.
    pub safe: bool,
    /// Why not, a sentence each.
    pub why: Vec<String>,
}

/// `POST /v1/state`: puts a state in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreState {
    /// As it was exported.
    pub state: Value,
    /// Also if the candidate gets more than it has now.
    #[serde(default)]
    pub allow_raise: bool,
}

/// What that has led to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateRestored {
    /// The weights before.
    pub before: Split,
    /// Now.
    pub after: Split,
    /// The stable arm now.
    pub stable: Arm,
    /// The arm that is drained now.
    pub drained: Option<Arm>,
    /// Number of the split that is now in force.
    pub revision: u64,
    /// A rollout that was running in it; it is not resumed.
    pub not_resumed: Option<String>,
}

/// `POST /v1/state/backups`: makes a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeBackup {
    /// What for.
    pub reason: String,
}

/// `POST /v1/upgrade`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The new program, as an absolute path; left out: the file that the router was started from.
    #[serde(default)]
    pub binary: Option<PathBuf>,
}

/// The answer: another process has taken over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upgraded {
    /// The process that takes in clients now.
    pub pid: u32,
    /// What it is.
    pub version: String,
    /// The process that finishes what it has.
    pub from_pid: u32,
    /// What that is.
    pub from_version: String,
    /// How long that may take, in milliseconds.
    pub drain_ms: u64,
}
