//! One call as evidence: who made it, on which arm, and what became of it.
//!
//! Counts cannot say whether a hundred errors came from a hundred clients or from one; whoever
//! compares the arms has to know. Does not know: what is made of it.

use std::time::Duration;

use crate::mcp::Method;
use crate::names::Arm;
use crate::route::tools::ToolLabel;

use super::session::SessionKey;

/// Who made a call, as far as the router keeps track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A session.
    Session(SessionKey),
    /// A caller without one, by the bits of its point.
    Caller(u64),
    /// Nobody that is seen again: what opens no session, or has no caller.
    Alone,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Nothing that speaks against the arm.
    Good,
    /// An error that counts only if the other arm has fewer of its kind.
    Relative,
    /// The arm's own fault.
    Fault,
    /// Its client gave it up.
    Left,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Who made it.
    pub unit: Unit,
    /// It is the first of its session.
    pub opens: bool,
    /// The arm that was asked.
    pub arm: Arm,
    /// The JSON-RPC method.
    pub method: Method,
    /// The tool, for `tools/call`.
    pub tool: ToolLabel,
    /// What became of it.
    pub grade: Grade,
    /// The server refused who asked: HTTP 401 or 403.
    pub denied: bool,
    /// How long its client waited: for the answer of a `Good` one that has a time, or until it left.
    pub waited: Option<Duration>,
}
