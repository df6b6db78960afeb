//! What goes over the admin socket, shared by both ends.
//!
//! Does not know: sockets.

pub mod alerts;

pub mod baselines;

pub mod decide;

pub mod notices;

pub mod deploys;

pub mod operate;

pub mod stopping;

pub mod validations;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Problems;
use crate::health::diff::{Class, Diff};
use crate::names::{Arm, PerArm, Split};

pub use alerts::OpenAlert;
pub use decide::Decisions;
pub use stopping::Stopping;

/// `GET /v1/status`: what is in force and what it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the router.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// It stops, and this is left; nothing while it serves.
    #[serde(default)]
    pub stopping: Option<Stopping>,
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
    /// The memory of the process.
    #[serde(default)]
    pub memory: MemoryStatus,
    /// Where clients connect.
    pub listen: Vec<String>,
    /// Clients connect with TLS.
    pub tls: bool,
    /// Where Prometheus scrapes.
    pub metrics: Option<String>,
    /// It scrapes with TLS.
    pub metrics_tls: bool,
    /// Where Alertmanager sends its notifications.
    pub alerts_listen: Option<String>,
    /// The certificates in use.
    pub certificates: Vec<CertificateStatus>,
    /// Why certificates that have changed are not in use.
    pub certificate_fault: Option<String>,
    /// Security alerts that nobody has cleared, the oldest first.
    pub alerts: Vec<OpenAlert>,
    /// The audit log.
    pub audit_log: String,
    /// How the last reload ended.
    pub last_reload: LastReload,
    /// No endpoint is healthy, so new work goes to the stable arm anyway.
    pub nothing_healthy: bool,
    /// How what the secondary offers differs from what the primary offers; nothing while one of
    /// them is not known.
    pub catalogue: Option<CatalogueStatus>,
    /// The rollout, the guards and the evidence.
    pub decisions: Decisions,
    /// Exchanges whose answer comes on another one, and that are not counted yet.
    pub exchanges_pending: usize,
    /// The two versions.
    pub arms: PerArm<ArmStatus>,
}

/// `GET /v1/ready`: whether new clients are welcome.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// They are.
    pub ready: bool,
}

/// A certificate in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Who shows it: `listen`, `metrics`, `alerts` or an arm.
    pub used_by: String,
    /// Its names.
    pub names: Vec<String>,
    /// The file that it is in.
    pub file: String,
    /// The last moment at which it is valid, as RFC 3339.
    pub not_after: String,
    /// Whole days until then; below zero when it is over.
    pub days_left: i64,
    /// Somebody should have renewed it.
    pub overdue: bool,
}

/// How what the arms offer differs, in short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatalogueStatus {
    /// The gravest class of a difference; none when both offer the same.
    pub worst: Option<Class>,
    /// Differences by class.
    pub changes: BTreeMap<Class, usize>,
}

/// `GET /v1/diff`: how what the arms offer differs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// Why something is not known, a sentence each.
    pub missing: Vec<String>,
    /// The difference, if both are known.
    pub diff: Option<Diff>,
}

/// `GET /v1/metrics`: what Prometheus would get, whatever its listener asks to be shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// The text format, version 0.0.4.
    pub text: String,
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

/// The memory of the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// What it has, in bytes.
    pub resident: u64,
    /// What it may take, in bytes: `limits.memory`.
    pub limit: u64,
    /// New client connections are refused for it.
    pub sheds_connections: bool,
    /// Requests that belong to no session are refused for it.
    pub sheds_new_work: bool,
    /// All requests are refused for it.
    pub sheds_everything: bool,
}

/// One version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmStatus {
    /// Its share of new work in percent, as set.
    pub weight: u8,
    /// The share that it really gets, in percent: what unhealthy endpoints leave of it.
    pub effective_weight: f64,
    /// What its server calls itself, as the last handshake told.
    pub server: Option<ServerName>,
    /// Legacy sessions in use: neither ended nor idle for half an hour.
    pub sessions_active: usize,
    /// Legacy sessions opened on it since the start.
    pub sessions_opened: u64,
    /// Event streams open to clients.
    pub streams_open: usize,
    /// Its addresses.
    pub endpoints: Vec<EndpointStatus>,
    /// Those whose name has their address no more: they hold sessions and get no new work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<EndpointStatus>,
    /// What it did in the last minute.
    pub last_minute: Minute,
}

/// Name and version from `serverInfo`; the server's own words, cut and made printable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerName {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What an arm did in the last minute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Minute {
    /// How much of the minute the router has been there for.
    pub seconds: u64,
    /// Exchanges that ended.
    pub exchanges: u64,
    /// The same a second.
    pub per_second: f64,
    /// The same by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Of these, those that are the arm's fault whatever the other arm does.
    pub faults: u64,
    /// Attempts that came to nothing, whether or not another endpoint made them good.
    pub failed_attempts: u64,
    /// Legacy sessions opened.
    pub sessions_opened: u64,
    /// Of all tool calls with the outcome `ok`.
    pub tool_calls: Option<Latency>,
    /// By method and tool, the most used first.
    pub work: Vec<WorkStatus>,
}

/// One kind of work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkStatus {
    /// The JSON-RPC method.
    pub method: String,
    /// The tool, for `tools/call`.
    pub tool: Option<String>,
    /// Exchanges that ended.
    pub exchanges: u64,
    /// The same by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Of those with the outcome `ok`.
    pub latency: Option<Latency>,
}

/// Milliseconds to the JSON-RPC response, to two percent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50_ms: f64,
    /// 95 of 100 are faster.
    pub p95_ms: f64,
    /// 99 of 100 are faster.
    pub p99_ms: f64,
}

/// One address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Where it is.
    pub url: String,
    /// Exchanges in flight.
    pub in_flight: usize,
    /// How much of its room they take.
    #[serde(default)]
    pub room: RoomStatus,
    /// The share of its usual new work that it gets, 0 to 1.
    pub fitness: f64,
    /// Why it gets no new work, though its handshakes may succeed.
    #[serde(default)]
    pub ejected: Option<EjectedStatus>,
    /// What the handshakes say; nothing before the first one, or when they are switched off.
    pub health: Option<HealthStatus>,
}

/// Why and how long an endpoint gets no new work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EjectedStatus {
    /// Why.
    pub why: String,
    /// The how manieth time in a row it is.
    pub times: u32,
    /// Since when, as RFC 3339.
    pub since: String,
    /// Until when, as RFC 3339.
    pub until: String,
}

/// The room on an endpoint.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct RoomStatus {
    /// Exchanges that it is for: `limits.in_flight`.
    pub limit: usize,
    /// Exchanges that take it; streams without an end take none.
    pub taken: usize,
    /// Exchanges that wait for it.
    pub queued: usize,
}

/// What the handshakes with an endpoint say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthStatus {
    /// Whether it gets new work.
    pub up: bool,
    /// How it stands: `unknown` until handshakes have agreed, then `up` or `down`.
    pub standing: String,
    /// Since when, as RFC 3339.
    pub since: String,
    /// The last verdict, such as `healthy`, `unauthenticated`, `unreachable`.
    pub verdict: String,
    /// The same in a sentence.
    pub why: String,
    /// Real traffic has met faults in a row, and the next handshakes follow quickly.
    pub suspect: bool,
    /// When the last handshake ended, as RFC 3339.
    pub at: String,
    /// How long it took.
    pub took_ms: f64,
    /// The eras that the server speaks: `modern`, `legacy`, `sse`.
    pub eras: Vec<String>,
    /// The protocol version agreed on.
    pub protocol_version: Option<String>,
    /// What the server calls itself.
    pub server: Option<ServerName>,
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
    /// Abort the rollout that is running, which would move the weights again.
    #[serde(default)]
    pub abort: bool,
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

/// `POST /v1/reload`, with `?raise=no` refused if it would give the candidate more.
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
