//! The sections on what clients may send and take: `[http]`, `[limits]`, `[timeouts]`; and the
//! listener of `[metrics]`.
//!
//! Does not know: how any of it is held to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::check::{address, distinct, fresh, origin};
use super::file::{Field, Section};
use super::{Secret, secret, tls};
use crate::tls::server::Server;

/// More origins than this are a pattern that is missing.
const ORIGINS_MAX: usize = 256;
/// Bytes of a token that cannot be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// What is law for clients besides HTTP itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Whose pages may call from a browser: the values of `Origin`, besides `public_origin`.
    /// `None`: anybody's.
    pub origins: Option<Vec<String>>,
    /// Pages from this machine may, at any port. Default yes.
    pub loopback_origins: bool,
    /// Who answers browsers that ask before they call.
    pub cors: Cors,
    /// Header names with an underscore, which some servers take for a hyphen.
    pub underscores: Underscores,
    /// A body where none is meant.
    pub get_body: GetBody,
}

/// Who answers browsers that ask before they call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cors {
    /// The servers; nothing is added to their answers.
    #[default]
    Servers,
    /// The router, for the origins that may call.
    Router,
}

/// What becomes of a header whose name has an underscore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Underscores {
    /// The request is refused.
    #[default]
    Reject,
    /// The header is dropped.
    Drop,
    /// It is passed on.
    Pass,
}

/// What becomes of a GET, HEAD or DELETE that has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GetBody {
    /// It is refused.
    #[default]
    Reject,
    /// It is passed on.
    Pass,
}

/// Bounds on what a client may send, and on what all of them may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of all header fields together, names and values. Default 32 KiB.
    pub header_bytes: usize,
    /// Number of header fields. Default 100.
    pub headers: usize,
    /// Bytes of a request's target. Default 8 KiB.
    pub target: usize,
    /// Bytes of a request body. Default 4 MiB, as the SDKs'.
    pub body: u64,
    /// Bytes a second that a client sends or takes at least, as long as it is waited for. Default
    /// 500; 0: no such limit.
    pub min_rate: u64,
    /// Client connections at once over all workers. Default 10,000.
    pub connections: usize,
    /// Client connections at once from one address (IPv6: from one /64), trusted proxies excepted.
    /// Default 1,000.
    pub connections_per_address: usize,
    /// Exchanges at once with one endpoint, streams without an end not counted. Default 1,000.
    pub in_flight: usize,
    /// Exchanges that wait for an endpoint which has as many as it may. Default 1,000.
    pub queue: usize,
    /// Bytes of memory that the process may take; near it, new work is refused. Default 1 GiB.
    pub memory: u64,
}

/// Bounds on how long things may take. `None` means: no limit.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From accept to the first complete request head, TLS included; later, from the first byte of
    /// a head to its last. Default 10 s.
    pub header: Duration,
    /// How long a client connection without a request is kept. Default 60 s.
    pub idle: Duration,
    /// Between two pieces of a request body. Default 15 s.
    pub body_idle: Duration,
    /// For a client to take something of what waits for it. Default 30 s.
    pub write_idle: Duration,
    /// In the queue of an endpoint. Default 5 s.
    pub queue: Duration,
    /// To connect to an endpoint, TLS included. Default 3 s.
    pub connect: Duration,
    /// From the request sent to the response head. Default 5 min: servers that answer in JSON are
    /// silent for as long as their tool runs.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the answer to a POST; GET streams have no limit. Default 5 min.
    pub stream_idle: Option<Duration>,
    /// Silence on an event stream after which the client is sent a comment. Default 15 s.
    pub keep_alive: Option<Duration>,
    /// How long an idle connection to an endpoint is kept. Default 3 s, below the 5 s after which
    /// common servers close theirs.
    pub pool_idle: Duration,
    /// What in-flight exchanges get when the router stops. Default 30 s.
    pub drain: Duration,
    /// What streams get then that carry no call: up to this time, and to `drain`, they end one after
    /// the other. Default 5 s.
    pub drain_streams: Duration,
}

/// The listener for Prometheus.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The bearer token that it wants, if any.
    pub token: Option<Secret>,
    /// With TLS, or in cleartext.
    pub tls: Option<Arc<Server>>,
}

/// An admin socket where nothing can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOnly {
    /// Its path.
    pub socket: PathBuf,
    /// Its file mode.
    pub mode: u32,
    /// Users besides root and the router's own that may read, here and on the admin socket, as
    /// uids.
    pub users: Vec<u32>,
    /// Groups that may, as gids.
    pub groups: Vec<u32>,
}

impl ReadOnly {
    /// The file: what a restart alone changes.
    pub fn file(&self) -> (&Path, u32) {
        (&self.socket, self.mode)
    }
}

pub(super) fn http(mut section: Section<'_>) -> Http {
    let (origins, loopback_origins) = origins(section.take("origins"));
    let underscores =
        [("reject", Underscores::Reject), ("drop", Underscores::Drop), ("pass", Underscores::Pass)];
    Http {
        origins,
        loopback_origins,
        cors: section.choice("cors", &[("servers", Cors::Servers), ("router", Cors::Router)]),
        underscores: section.choice("underscores", &underscores),
        get_body: section
            .choice("get_body", &[("reject", GetBody::Reject), ("pass", GetBody::Pass)]),
    }
}

/// Origins, and the words `loopback` and `any`.
fn origins(field: Option<Field<'_>>) -> (Option<Vec<String>>, bool) {
    let Some(field) = field else { return (Some(Vec::new()), true) };
    if field.is_empty_list() {
        return (Some(Vec::new()), false);
    }
    let all = distinct(&field, ORIGINS_MAX, |field, taken: &[String]| {
        field.parse(|text| match text {
            "any" | "loopback" => fresh(text.to_owned(), text, taken),
            text => fresh(origin(text)?, text, taken),
        })
    });
    let has = |word: &str| all.iter().any(|it| it == word);
    let (any, loopback) = (has("any"), has("loopback"));
    let listed = all.into_iter().filter(|it| it != "loopback").collect();
    (if any { None } else { Some(listed) }, loopback || any)
}

pub(super) fn limits(mut section: Section<'_>) -> Limits {
    Limits {
        header_bytes: section.kibibytes("header_bytes", 1..=1024, 32) as usize,
        headers: section.number("headers", 10..=1000, 100),
        target: section.kibibytes("target", 1..=64, 8) as usize,
        body: section.kibibytes("body", 1..=1024 * 1024, 4096),
        min_rate: section.number("min_rate", 0..=1_000_000, 500) as u64,
        connections: section.number("connections", 1..=1_000_000, 10_000),
        connections_per_address: section.number("connections_per_address", 1..=1_000_000, 1000),
        in_flight: section.number("in_flight", 1..=1_000_000, 1000),
        queue: section.number("queue", 0..=1_000_000, 1000),
        memory: section.kibibytes("memory", 32 * 1024..=1024 * 1024 * 1024, 1024 * 1024),
    }
}

pub(super) fn timeouts(mut section: Section<'_>) -> Timeouts {
    let seconds = Duration::from_secs;
    Timeouts {
        header: section.duration("header", seconds(10)),
        idle: section.duration("idle", seconds(60)),
        body_idle: section.duration("body_idle", seconds(15)),
        write_idle: section.duration("write_idle", seconds(30)),
        queue: section.duration("queue", seconds(5)),
        connect: section.duration("connect", seconds(3)),
        first_byte: section.duration_or_off("first_byte", seconds(300)),
        stream_idle: section.duration_or_off("stream_idle", seconds(300)),
        keep_alive: section.duration_or_off("keep_alive", seconds(15)),
        pool_idle: section.duration("pool_idle", seconds(3)),
        drain: section.duration("drain", seconds(30)),
        drain_streams: section.duration("drain_streams", seconds(5)),
    }
}

pub(super) fn metrics(
    mut section: Section<'_>,
    listen: &[SocketAddr],
    listen_field: Option<&Field<'_>>,
) -> Option<Metrics> {
    let field = section.take("listen");
    let read = |text: &str| if text == "off" { Ok(None) } else { address(text).map(Some) };
    let default = Some(SocketAddr::from(([127, 0, 0, 1], 9464)));
    let metrics = field.as_ref().map_or(default, |field| field.parse(read).flatten());
    let same = metrics.is_some_and(|address| address.port() != 0 && listen.contains(&address));
    if let (true, Some(field)) = (same, field.as_ref().or(listen_field)) {
        field.problem("`listen` and `metrics.listen` are the same address");
    }
    let token = section.take("token").and_then(|field| secret::read_long(&field, TOKEN_BYTES_MIN));
    let tls = tls::server(section.section("tls"), tls::SCRAPERS);
    Some(Metrics { listen: metrics?, token, tls })
}
