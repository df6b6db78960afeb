//! The access log: one line for each exchange, for those who switch it on.
//!
//! Names what was done and what came of it; never a token, a session id or an argument. A session
//! is a hash of its id, so that its lines can be found. Does not know: where lines go.

use std::time::Duration;

use crate::mcp::Era;
use crate::mcp::shown::plain;
use crate::names::Arm;

/// What a line says.
pub(super) struct Line<'a> {
    /// The exchange.
    pub exchange: &'a super::exchange::Exchange,
    /// How it ended; `None`: its answer comes on another exchange.
    pub verdict: Option<crate::mcp::outcome::Verdict>,
    /// The tool that the client named, if it called one.
    pub tool: Option<&'a str>,
    /// The endpoint that answered.
    pub endpoint: Option<String>,
    /// From the request to its answer's head.
    pub first_byte: Option<Duration>,
    /// From the request to the JSON-RPC response.
    pub answered: Option<Duration>,
    /// All of it.
    pub total: Duration,
    /// The trace that it belongs to.
    pub trace: Option<&'a str>,
}

impl Line<'_> {
    /// Writes it.
    pub(super) fn write(&self) {
        let exchange = self.exchange;
        let (outcome, blame, reason) = self.verdict.map_or(("pending", "nobody", ""), |verdict| {
            (verdict.outcome.as_str(), verdict.blame.as_str(), verdict.reason)
        });
        let session = exchange.session.map(|session| session.to_string());
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        tracing::info!(
            target: "tidegate::access",
            method = exchange.facts.call.method.as_str(),
            tool = self.tool.map(plain),
            arm = exchange.arm.map(Arm::as_str),
            endpoint = self.endpoint,
            era = match exchange.facts.call.era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            },
            session,
            status = exchange.status.map(|status| status.as_u16()),
            outcome,
            blame,
            reason = Some(reason).filter(|reason| !reason.is_empty()),
            first_byte_ms = self.first_byte.map(millis),
            response_ms = self.answered.map(millis),
            total_ms = millis(self.total),
            bytes = exchange.bytes,
            trace_id = self.trace,
            "exchange"
        );
    }
}
