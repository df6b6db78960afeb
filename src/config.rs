//! The checked configuration: plain values that are already true.
//!
//! [`load()`] reads the file (or none), lays the profile over it, resolves secrets and collects
//! *every* problem with its line and key path. What comes out needs no further checking.
//! In flow order: `tree` (TOML with places), `profile` (overlays), `file` (typed getters),
//! `check` (keys, defaults, ranges). Does not know: any other module but `names` and `tls`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::names::{EndpointUrl, Network, PerArm, Split};
use crate::tls::client::Client;
use crate::tls::server::Server;

mod load;

mod tree;

mod profile;

mod file;

mod unknown;

mod check;

mod affinity;

mod dns;

mod door;

mod tls;

mod health;

mod secret;

mod decide;

mod operate;

pub(crate) mod millis;

pub mod units;

mod environment;

mod problem;

mod reload;

pub use dns::Dns;
pub use door::{Cors, GetBody, Http, Limits, Metrics, ReadOnly, Timeouts, Underscores};
pub use environment::{Environment, default_socket};
pub use load::{admin_sockets, check_all, load, plan, profile_and_arm, state_dir};
pub use operate::{Lifecycle, Notice, RefusedCall, Validation, Webhook, WebhookFormat};
pub use problem::{Problem, Problems};

/// Everything that the router needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, if any; reload reads it again.
    pub file: Option<PathBuf>,
    /// The profile that was laid over it, if any.
    pub profile: Option<String>,
    /// Where clients connect: one listener a worker on each of these addresses.
    pub listen: Vec<SocketAddr>,
    /// Data-plane threads; default: one a core.
    pub workers: usize,
    /// Path of the MCP endpoint that clients see, such as `/mcp`.
    pub path: String,
    /// Path of the stream of the 2024-11-05 HTTP+SSE transport, such as `/sse`.
    pub sse_path: String,
    /// Scheme and authority under which clients know the router, such as
    /// `https://mcp.example.com`; without it, taken from each request.
    pub public_origin: Option<String>,
    /// Which `Host` the servers see.
    pub host: HostPolicy,
    /// How our own errors reach a legacy client inside a session.
    pub errors: ErrorStyle,
    /// The two versions.
    pub arms: PerArm<ArmConfig>,
    /// The split that the file asks for.
    pub split: Split,
    /// What keeps work together.
    pub affinity: Affinity,
    /// What is law for clients besides HTTP itself.
    pub http: Http,
    /// How clients connect: with TLS, or in cleartext.
    pub tls: Option<Arc<Server>>,
    /// Bounds on what a client may send, and on what all of them may take.
    pub limits: Limits,
    /// Bounds on how long things may take.
    pub timeouts: Timeouts,
    /// How names that stand for several endpoints are followed.
    pub dns: Dns,
    /// How the router finds out whether an endpoint works.
    pub health: Health,
    /// What shuts the gate.
    pub guards: Guards,
    /// How a rollout goes.
    pub rollout: RolloutConfig,
    /// Where Alertmanager sends its alerts; `None`: nowhere.
    pub alerts: Option<AlertsConfig>,
    /// What a version has to be fit for.
    pub validation: Validation,
    /// Who is told what happens.
    pub notify: Vec<Webhook>,
    /// The admin socket.
    pub admin: Admin,
    /// Where Prometheus scrapes; `None` switches the listener off.
    pub metrics: Option<Metrics>,
    /// Log output.
    pub log: Log,
    /// Where keys, the split in force and the audit log are kept.
    pub state_dir: PathBuf,
}

/// Who makes the candidate the stable arm at the end of the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// The rollout itself, if no criterion of the checklist fails.
    #[default]
    Auto,
    /// A person.
    Manual,
}

/// One version of the MCP server.
#[derive(Clone, Debug)]
pub struct ArmConfig {
    /// Its addresses; at least one, no two alike.
    pub endpoints: Vec<EndpointUrl>,
    /// Headers set on every request to it, replacing the client's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How new sessions are spread over its endpoints.
    pub balance: Balance,
    /// What starts and stops its servers.
    pub lifecycle: Lifecycle,
    /// How its `https` endpoints are spoken to.
    pub tls: Arc<Client>,
}

/// How new sessions are spread over the endpoints of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Balance {
    /// The endpoint with the fewest exchanges in flight.
    #[default]
    LeastRequests,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
}

/// Which `Host` the servers see.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum HostPolicy {
    /// The client's own: keeps the servers' defence against DNS rebinding working.
    #[default]
    Preserve,
    /// The endpoint's address.
    Upstream,
    /// Always this one.
    Fixed(HeaderValue),
}

/// How our own errors reach a legacy client inside a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ErrorStyle {
    /// A JSON-RPC error in HTTP 200, which every released client survives.
    #[default]
    JsonRpc,
    /// An HTTP status with the same JSON-RPC error as its body.
    Http,
}

/// What keeps work together.
#[derive(Clone, Debug)]
pub struct Affinity {
    /// Who calls, in order of preference; the first that a request has is its principal.
    pub principal: Vec<PrincipalSource>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed and extended.
    pub trusted_proxies: Vec<Network>,
    /// Signs new tags. `None`: generated once into the state directory.
    pub key: Option<Secret>,
    /// Still accepted after a rotation.
    pub previous_key: Option<Secret>,
    /// Keys the principal hash. `None`: generated once into the state directory.
    pub salt: Option<Secret>,
}

/// Where a principal is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalSource {
    /// The `Authorization` header.
    Authorization,
    /// A header of the operator's choice, written `header:NAME`.
    Header(HeaderName),
    /// The client's address, written `client-address`.
    ClientAddress,
}

/// How the router finds out whether an endpoint works.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// From the end of one handshake to the next one. Default 5 s; `None`: none is made.
    pub interval: Option<Duration>,
    /// For a whole handshake. Default 5 s.
    pub timeout: Duration,
    /// Failures in a row after which an endpoint is down, 1 to 100. Default 3.
    pub unhealthy_after: u32,
    /// Successes in a row after which it is up again, 1 to 100. Default 2.
    pub healthy_after: u32,
    /// How long an endpoint that is up again gets less than its share. Default 30 s.
    pub slow_start: Option<Duration>,
    /// Transport faults in a row on real traffic that call for a handshake at once, 1 to 1000.
    /// Default 3.
    pub suspect_after: u32,
    /// Calls in a row that fail by the server's fault, after which an endpoint gets no new work for a
    /// while, 1 to 1000. Default 10; `None`: it goes on getting it.
    pub eject_after: Option<u32>,
    /// Which handshake is made.
    pub protocol: Protocol,
    /// The `Host` of a handshake where servers see the client's own.
    pub host: Option<HeaderValue>,
    /// The `Authorization` of a handshake: `Bearer` and the token; marked as sensitive.
    pub token: Option<HeaderValue>,
    /// Tools that a healthy server lists.
    pub expected_tools: Vec<String>,
    /// Calls that a healthy server answers.
    pub calls: Vec<ProbeCall>,
}

/// Which handshake shows that a server works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// The newest that the server speaks.
    #[default]
    Auto,
    /// `server/discover`, from 2026-07-28 on.
    Modern,
    /// `initialize` over Streamable HTTP.
    Legacy,
    /// `initialize` over the HTTP+SSE of 2024-11-05.
    Sse,
}

/// A call that the operator declares harmless; no other tool is ever called.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeCall {
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// What has to come.
    pub expect: Expect,
}

/// The shape of the answer to a [`ProbeCall`]; all of it has to fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Whether the result says `isError`.
    pub is_error: bool,
    /// A text content holds this.
    pub text_contains: Option<String>,
    /// `structuredContent` holds at least this: objects may have more keys, all else is equal.
    pub structured: Option<serde_json::Value>,
}

/// The rules that shut the gate; `None` or `false` switches one off.
#[derive(Clone, Debug, PartialEq)]
pub struct Guards {
    /// Its servers fail `health.unhealthy_after` handshakes in a row. Default on.
    pub health_failures: bool,
    /// Errors in consecutive minutes.
    pub error_rate: Option<ErrorRate>,
    /// Time for the same work.
    pub performance: Option<Performance>,
    /// A critical alert. Default on.
    pub security_alert: bool,
    /// Evidence that grows call by call.
    pub sequential: Option<Sequential>,
}

/// The rule on errors: reliability.md C2, G1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRate {
    /// More than this share of a minute's exchanges, 0 to 1. Default 0.05.
    pub above: f64,
    /// In so many consecutive minutes, 1 to 15. Default 2.
    pub minutes: usize,
    /// A minute with fewer exchanges says nothing. Default 1: the rule as it is written.
    pub min_requests: u64,
}

/// The rule on time: reliability.md C2, G2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Performance {
    /// Slower than this share of the baseline's speed, 0 to 1. Default 0.8.
    pub below: f64,
    /// Only what stands out from the noise counts: fifty calls and five standard errors, with calls
    /// of one session taken for as much as they say. Default on; off, one call of a minute is enough.
    pub noise_guard: bool,
}

/// Sequential evidence: reliability.md C3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sequential {
    /// The chance that a rollout of a version that is no worse is reverted for its evidence, 0 to
    /// 1. Default 0.01.
    pub alpha: f64,
    /// Errors of one session or caller that count in a step. Default 1.
    pub cap: u32,
}

/// How a rollout goes unless its plan says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutConfig {
    /// The steps; weights rise and end with 100, whose hold is the bake.
    pub steps: Vec<Step>,
    /// What a step needs to be over, besides its time.
    pub gate: Gate,
    /// How long a step waits for its evidence beyond its time. Default 4 h.
    pub max_hold: Duration,
    /// What happens then.
    pub on_inconclusive: OnInconclusive,
    /// What becomes of the sessions on an arm that is reverted.
    pub on_revert: OnRevert,
    /// Who makes the candidate the stable arm at the end.
    pub confirm: Confirmation,
}

/// One step of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Step {
    /// The candidate's share of new work in percent, 1 to 100.
    pub weight: u8,
    /// How long it is kept at least.
    #[serde(with = "millis")]
    pub hold: Duration,
}

/// What a step needs to be over, besides its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Evidence that less than the allowed share of calls fails.
    #[default]
    Evidence,
    /// Nothing else.
    Time,
}

/// What happens to a step without evidence at the end of its `max_hold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInconclusive {
    /// Back to the stable arm.
    #[default]
    Abort,
    /// On to the next step.
    Proceed,
}

/// What becomes of the sessions on an arm that is reverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRevert {
    /// They stay there until they end.
    #[default]
    Keep,
    /// They are told that they have ended (404), so that their clients begin anew.
    End,
}

/// The receiver of Alertmanager's webhooks.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The bearer token that it wants.
    pub token: Secret,
    /// With TLS, or in cleartext.
    pub tls: Option<Arc<Server>>,
}

/// The admin socket.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its path.
    pub socket: PathBuf,
    /// Its file mode, such as `0o600`.
    pub mode: u32,
    /// Users besides root and the router's own that may use it, as uids.
    pub users: Vec<u32>,
    /// Groups that may use it, as gids.
    pub groups: Vec<u32>,
    /// A second socket, where nothing can be changed.
    pub read_only: Option<ReadOnly>,
}

/// Log output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line, or text.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,tidegate::proxy=debug`.
    pub level: String,
    /// Whether each exchange is logged, at level `info`.
    pub access: bool,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps a value that is not to be shown.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// The value, for the one place that uses it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
