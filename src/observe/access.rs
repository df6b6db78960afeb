//! The access log: one line for each exchange when it is counted, for those who switch it on.
//!
//! Names what was done and what came of it; never a token, a session id or an argument. A session
//! is a hash of its id, so that its lines can be found. Does not know: where lines go.

use std::time::Duration;

use crate::mcp::Era;
use crate::mcp::outcome::Verdict;
use crate::names::Arm;

use super::exchange::Exchange;

/// What a line says beyond what is counted. Texts of clients are fit to be shown.
#[derive(Debug)]
pub struct Line {
    /// The tool that the client named, if it called one.
    pub tool: Option<String>,
    /// The endpoint that answered.
    pub endpoint: Option<String>,
    /// From the request to its answer's head.
    pub first_byte: Option<Duration>,
    /// From the request's arrival to the end of its own answer.
    pub total: Duration,
    /// The trace that it belongs to.
    pub trace: Option<String>,
    /// The id of the HTTP request.
    pub request: Option<Box<str>>,
}

impl Line {
    /// Writes it. `answered` is the time to the JSON-RPC response.
    pub(super) fn write(&self, of: &Exchange, verdict: Verdict, answered: Option<Duration>) {
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        tracing::info!(
            target: "tidegate::access",
            method = of.facts.call.method.as_str(),
            tool = self.tool,
            arm = of.arm.map(Arm::as_str),
            endpoint = self.endpoint,
            era = match of.facts.call.era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            },
            session = of.session.map(|session| session.to_string()),
            status = of.status.map(|status| status.as_u16()),
            outcome = verdict.outcome.as_str(),
            blame = verdict.blame.as_str(),
            reason = verdict.reason,
            first_byte_ms = self.first_byte.map(millis),
            response_ms = answered.map(millis),
            total_ms = millis(self.total),
            bytes = of.bytes,
            trace_id = self.trace,
            request_id = self.request.as_deref(),
            "exchange"
        );
    }
}
