//! What goes over the admin socket, shared by both ends.
//!
//! Does not know: sockets.

use serde::{Deserialize, Serialize};

use crate::config::Problems;
use crate::names::{Arm, PerArm, Split};

/// `GET /v1/status`: what is in force and what it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the router.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The configuration file, if any.
    pub config: Option<String>,
    /// The profile, if any.
    pub profile: Option<String>,
    /// Number of the routing table, which also grows with a reload.
    pub generation: u64,
    /// Number of the split; a change names the one that it replaces.
    pub revision: u64,
    /// The weights in force.
    pub split: Split,
    /// Who set them.
    pub split_set_by: String,
    /// When, as RFC 3339.
    pub split_set_at: String,
    /// The arm for what belongs to neither.
    pub stable: Arm,
    /// Where clients connect.
    pub listen: Vec<String>,
    /// Where Prometheus scrapes.
    pub metrics: Option<String>,
    /// The audit log.
    pub audit_log: String,
    /// How the last reload ended.
    pub last_reload: LastReload,
    /// The two versions.
    pub arms: PerArm<ArmStatus>,
}

/// How a reload ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastReload {
    /// When, as RFC 3339; the start counts as one.
    pub at: String,
    /// Whether it was accepted.
    pub accepted: bool,
    /// Why not.
    pub why: Option<String>,
}

/// One version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmStatus {
    /// Its share of new work in percent.
    pub weight: u8,
    /// Legacy sessions opened on it since the start.
    pub sessions_opened: u64,
    /// Event streams open to clients.
    pub streams_open: usize,
    /// Its addresses.
    pub endpoints: Vec<EndpointStatus>,
}

/// One address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Where it is.
    pub url: String,
    /// Exchanges in flight.
    pub in_flight: usize,
}

/// `PUT /v1/split`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSplit {
    /// Percent of new work for the primary.
    pub primary: u8,
    /// Percent of new work for the secondary.
    pub secondary: u8,
    /// The revision that the caller has seen.
    pub expected_revision: Option<u64>,
}

/// What a change of the split did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SplitChanged {
    /// Before.
    pub before: Split,
    /// Who had set it.
    pub before_set_by: String,
    /// When, as RFC 3339.
    pub before_set_at: String,
    /// Now.
    pub after: Split,
    /// Number of the split that is now in force.
    pub revision: u64,
}

/// `POST /v1/explain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// A session id as a client has it, or the message URI of a 2024-11-05 session.
    pub session: String,
}

/// Where a session lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explained {
    /// Whether requests of the session are routed.
    pub routed: bool,
    /// The arm, if the id is ours.
    pub arm: Option<Arm>,
    /// The endpoint, if it still exists.
    pub endpoint: Option<String>,
    /// Why, in a sentence.
    pub why: String,
}

/// `POST /v1/reload`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// The file that was read, if any.
    pub config: Option<String>,
    /// What the operator should know about the change.
    pub warning: Option<String>,
    /// The table that is now in force.
    pub generation: u64,
}

/// A refusal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// What to read.
    pub error: String,
    /// The problems of a configuration, each with its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Problems>,
}
