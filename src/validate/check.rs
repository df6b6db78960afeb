//! The checks that there are, and what one of them can end with.
//!
//! Does not know: how a check is made.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mcp::shown::shown;
use crate::names::Arm;

/// Characters of a detail that are kept.
const DETAIL_MAX: usize = 400;

/// One of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The configuration loads.
    Configuration,
    /// A TCP connection is to be had.
    Connectivity,
    /// Its certificate is good.
    Tls,
    /// It takes the token of `[health]`.
    Token,
    /// The whole of it, within `health.timeout`.
    Handshake,
    /// It can serve the clients of the stable arm.
    Versions,
    /// It lists `health.expected_tools`.
    Tools,
    /// It answers `health.calls` as expected.
    Calls,
    /// It answers within `validation.sla`.
    Sla,
    /// It holds a session for `validation.stability`.
    Stability,
    /// It refuses `validation.bad_arguments`.
    BadArguments,
    /// It refuses a tool that it does not have.
    UnknownTool,
    /// It refuses a wrong token.
    BadToken,
    /// It refuses whoever has none.
    NoToken,
    /// It refuses a session that is not there.
    DeadSession,
    /// It refuses a body that is no JSON, and goes on.
    Malformed,
    /// It refuses `validation.denied`.
    Permissions,
    /// The router writes its journal.
    RouterJournal,
    /// The router's metrics can be scraped.
    RouterMetrics,
    /// The router writes its log.
    RouterLog,
}

impl Kind {
    /// Those of one endpoint, in the order in which they are made.
    pub const OF_ENDPOINT: [Kind; 16] = [
        Kind::Connectivity,
        Kind::Tls,
        Kind::Token,
        Kind::Handshake,
        Kind::Versions,
        Kind::Tools,
        Kind::Calls,
        Kind::Sla,
        Kind::Stability,
        Kind::BadArguments,
        Kind::UnknownTool,
        Kind::BadToken,
        Kind::NoToken,
        Kind::DeadSession,
        Kind::Malformed,
        Kind::Permissions,
    ];

    /// The word for machines; it stays as it is.
    pub const fn id(self) -> &'static str {
        match self {
            Kind::Configuration => "configuration",
            Kind::Connectivity => "connectivity",
            Kind::Tls => "tls",
            Kind::Token => "token",
            Kind::Handshake => "handshake",
            Kind::Versions => "versions",
            Kind::Tools => "tools",
            Kind::Calls => "calls",
            Kind::Sla => "sla",
            Kind::Stability => "stability",
            Kind::BadArguments => "bad_arguments",
            Kind::UnknownTool => "unknown_tool",
            Kind::BadToken => "bad_token",
            Kind::NoToken => "no_token",
            Kind::DeadSession => "dead_session",
            Kind::Malformed => "malformed",
            Kind::Permissions => "permissions",
            Kind::RouterJournal => "router_journal",
            Kind::RouterMetrics => "router_metrics",
            Kind::RouterLog => "router_log",
        }
    }

    /// The words for people, 22 letters at most.
    pub const fn title(self) -> &'static str {
        match self {
            Kind::Configuration => "configuration",
            Kind::Connectivity => "connection",
            Kind::Tls => "TLS",
            Kind::Token => "token accepted",
            Kind::Handshake => "handshake",
            Kind::Versions => "versions compatible",
            Kind::Tools => "expected tools listed",
            Kind::Calls => "probe calls answered",
            Kind::Sla => "response times",
            Kind::Stability => "session held",
            Kind::BadArguments => "bad arguments refused",
            Kind::UnknownTool => "unknown tool refused",
            Kind::BadToken => "wrong token refused",
            Kind::NoToken => "no token refused",
            Kind::DeadSession => "dead session refused",
            Kind::Malformed => "malformed body refused",
            Kind::Permissions => "denied calls refused",
            Kind::RouterJournal => "router: journal",
            Kind::RouterMetrics => "router: metrics",
            Kind::RouterLog => "router: log",
        }
    }

    /// Whether it is left to the comprehensive form, which takes a minute and more.
    pub const fn takes_long(self) -> bool {
        matches!(
            self,
            Kind::Stability
                | Kind::BadArguments
                | Kind::UnknownTool
                | Kind::BadToken
                | Kind::NoToken
                | Kind::DeadSession
                | Kind::Malformed
                | Kind::Permissions
        )
    }
}

/// What a check ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Failed,
    /// There was nothing to check, or it made no sense after another failure.
    Skipped,
    /// It could not be told.
    Unknown,
}

impl Mark {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Failed => "FAILED",
            Mark::Skipped => "skipped",
            Mark::Unknown => "unknown",
        }
    }
}

/// A check that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// [`Kind::id`].
    pub id: String,
    /// [`Kind::title`].
    pub title: String,
    /// Of which arm; none: of the configuration or the router.
    pub arm: Option<Arm>,
    /// Its address.
    pub endpoint: Option<String>,
    /// How it ended.
    pub result: Mark,
    /// Milliseconds.
    pub took_ms: f64,
    /// Why, in a sentence of at most 400 characters, fit to be shown.
    pub detail: String,
}

impl Check {
    /// One that belongs to no arm.
    pub fn new(kind: Kind, took: Duration, outcome: Outcome) -> Check {
        let Outcome(result, detail) = outcome;
        Check {
            id: kind.id().to_owned(),
            title: kind.title().to_owned(),
            arm: None,
            endpoint: None,
            result,
            took_ms: took.as_micros() as f64 / 1000.0,
            detail: shown(&detail, DETAIL_MAX),
        }
    }
}

/// How a check ended and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome(pub Mark, pub String);

impl Outcome {
    /// As it should be.
    pub fn ok(detail: impl Into<String>) -> Outcome {
        Outcome(Mark::Ok, detail.into())
    }

    /// Not as it should be.
    pub fn failed(why: impl Into<String>) -> Outcome {
        Outcome(Mark::Failed, why.into())
    }

    /// Nothing was there to be checked.
    pub fn skipped(why: impl Into<String>) -> Outcome {
        Outcome(Mark::Skipped, why.into())
    }

    /// It could not be told.
    pub fn unknown(why: impl Into<String>) -> Outcome {
        Outcome(Mark::Unknown, why.into())
    }
}
