//! One exchange that is over: what is known of it, and how it is counted.
//!
//! Does not know: bodies, how the facts came about.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::mcp::outcome::{self, Close, End, Facts, Heard, Verdict, Wants};
use crate::mcp::{Kind, Method};
use crate::names::{Arm, Blame, EndpointId, Outcome};
use crate::route::tools::ToolLabel;

use super::access::Line;
use super::seen::{Grade, Seen, Unit};
use super::session::SessionKey;
use super::tally::{Labels, Tally};

/// What is known of an exchange when it is over.
#[derive(Debug)]
pub struct Exchange {
    /// What is known of the call.
    pub facts: Facts,
    /// Its session: the one that it belongs to, or the one that it opened.
    pub session: Option<SessionKey>,
    /// Its caller, by the bits of its point, where that is what keeps calls together.
    pub caller: Option<u64>,
    /// The arm that was asked, if it came to that.
    pub arm: Option<Arm>,
    /// Its endpoint.
    pub endpoint: Option<EndpointId>,
    /// The tool that it called.
    pub tool: ToolLabel,
    /// What the client got.
    pub status: Option<StatusCode>,
    /// When the server had the request.
    pub sent: Instant,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// What the access log says of it, if there is one.
    pub line: Option<Box<Line>>,
}

impl Exchange {
    /// The same, with the knowledge whether its session lived when the server said otherwise.
    #[must_use]
    pub fn knowing(self, is_live: bool) -> Exchange {
        Exchange { facts: Facts { session_is_live: is_live, ..self.facts }, ..self }
    }

    /// The session that it used, and where: the server has accepted it there. A stream says that
    /// when it is opened; its end is no use, and may come after that of its session.
    pub fn uses(&self) -> Option<(SessionKey, Arm)> {
        let is_stream = matches!(self.facts.call.kind, Kind::Stream | Kind::LegacyStream);
        let is_accepted = self.status.is_some_and(|status| status.is_success());
        self.session.zip(self.arm).filter(|_| is_accepted && !is_stream)
    }

    /// Counts it by how it ended. `answered` is the time to its JSON-RPC response.
    pub fn settle(&self, end: End, answered: Option<Duration>, tally: &mut Tally) {
        self.count(outcome::verdict(&self.facts, end), answered, tally);
    }

    /// Counts it, and logs it where that is wanted.
    pub fn count(&self, verdict: Verdict, answered: Option<Duration>, tally: &mut Tally) {
        let call = self.facts.call;
        let is_ok = verdict.outcome == Outcome::Ok;
        if let Some((session, arm)) = self.uses().filter(|_| is_ok || !call.opens_session()) {
            tally.use_session(session, arm, Instant::now());
        }
        if let Some(arm) = self.arm
            && is_ok
            && call.kind == Kind::Post
            && call.opens_session()
        {
            *tally.sessions.get_mut(arm) += 1;
        }
        let latency = answered.filter(|_| is_ok && self.has_latency());
        tally.exchange(self.labels(verdict), self.bytes, latency);
        if let Some(seen) = self.seen(verdict, latency, self.sent.elapsed()) {
            tally.see(seen);
        }
        if let Some(line) = &self.line {
            line.write(self, verdict, answered);
        }
    }

    /// Counts it by what came of it on another exchange.
    pub fn settle_elsewhere(
        &self,
        heard: Heard,
        close: Close,
        answered: Option<Duration>,
        tally: &mut Tally,
    ) {
        // Its own status said no more than that the call had been accepted.
        self.settle(End::Head { status: 200, heard, close }, answered, tally);
    }

    /// Whether the time to its answer says anything about the server: a wait for a task's result
    /// or for news does not, and a batch is answered when its last call is.
    fn has_latency(&self) -> bool {
        let call = self.facts.call;
        self.facts.wants == Wants::Answer
            && call.method != Method::LISTEN
            && call.method.as_str() != "tasks/result"
    }

    /// What it is as evidence; `None` where nobody can tell what the arm did.
    fn seen(&self, verdict: Verdict, latency: Option<Duration>, gone: Duration) -> Option<Seen> {
        let call = self.facts.call;
        let (grade, waited) = match (verdict.outcome, verdict.blame) {
            (Outcome::Rejected | Outcome::Race | Outcome::Unclassified, Blame::Nobody) => {
                return None;
            }
            // A stream ends when its client leaves; that is no impatience.
            (Outcome::Cancelled, _) if !self.has_latency() => return None,
            (Outcome::Cancelled, _) => (Grade::Left, Some(gone)),
            (_, Blame::Arm) => (Grade::Fault, None),
            (_, Blame::Relative | Blame::Skew) => (Grade::Relative, None),
            // That nothing went wrong where nothing was asked for proves nothing.
            (_, Blame::Nobody) if self.facts.wants == Wants::Nothing => return None,
            (_, Blame::Nobody) => (Grade::Good, latency),
        };
        Some(Seen {
            unit: match (self.session, self.caller) {
                (Some(session), _) => Unit::Session(session),
                (None, Some(point)) => Unit::Caller(point),
                (None, None) => Unit::Alone,
            },
            opens: call.method == Method::INITIALIZE,
            arm: self.arm?,
            method: call.method,
            tool: self.tool,
            grade,
            denied: matches!(self.status, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)),
            waited,
        })
    }

    fn labels(&self, verdict: Verdict) -> Labels {
        Labels {
            arm: self.arm,
            endpoint: self.endpoint,
            era: self.facts.call.era,
            method: self.facts.call.method,
            tool: self.tool,
            outcome: verdict.outcome,
            blame: verdict.blame,
            status: self.status.map_or(0, |status| (status.as_u16() / 100) as u8),
        }
    }
}
