//! The report of one exchange, made exactly once: where it ends, or where it is dropped.
//!
//! Gathers what the stages learn on the way; what needs another worker's half is handed over as a
//! crossing, everything else is counted here and now. Does not know: bodies.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::mcp::message::{Reader, RequestId, Shape};
use crate::mcp::outcome::{self, Close, End, Facts, Heard, Verdict, Wants};
use crate::mcp::shown::plain;
use crate::mcp::trace::TraceId;
use crate::mcp::{Call, Era, Kind, Method};
use crate::names::{Arm, Blame, Outcome};
use crate::route::Endpoint;
use crate::route::tools::{ToolLabel, Tools};
use crate::upstream::request_body::Watch;

use super::access::Line;
use super::exchange::Exchange;
use super::join::{Crossing, What};
use super::seen::{Grade, Seen, Unit};
use super::session::{CallKey, SessionKey};
use super::stream::UnderWay;
use super::tally::Tally;

/// No client that is asked replies much sooner, so the time of a call that took less is its own.
const ASKED_MIN: Duration = Duration::from_millis(50);

/// What all reports of a worker share.
#[derive(Clone, Debug)]
pub struct Desk {
    /// This worker's counts.
    pub tally: Rc<RefCell<Tally>>,
    /// The labels of tools.
    pub tools: Arc<Tools>,
    /// Faults in a row after which an endpoint is suspect.
    pub suspect_after: u32,
    /// Failed calls in a row after which an endpoint is failing, if that matters.
    pub eject_after: Option<u32>,
    /// Whether each exchange is logged.
    pub access_log: bool,
}

/// The report of one exchange; dropped without a word, it says that the client has left.
#[derive(Debug)]
pub struct Report {
    desk: Desk,
    call: Call,
    watch: Rc<RefCell<Watch>>,
    trace: Option<Box<str>>,
    request: Option<Box<str>>,
    received: Instant,
    arm: Option<Arm>,
    endpoint: Option<Arc<Endpoint>>,
    session: Option<SessionKey>,
    in_session: bool,
    caller: Option<u64>,
    status: Option<StatusCode>,
    sent: Option<Instant>,
    first_byte: Option<Duration>,
    made: bool,
    under_way: Option<UnderWay>,
}

/// How an answer ended, as its body tells.
#[derive(Debug)]
pub struct Told {
    /// What was in its body.
    pub heard: Heard,
    /// How the body ended.
    pub close: Close,
    /// Its length in bytes.
    pub bytes: u64,
    /// When the JSON-RPC response was there.
    pub answered: Option<Instant>,
    /// What the server asked its client meanwhile, and when.
    pub asks: Vec<(CallKey, Instant)>,
    /// It ended without a response, but a client may come back for one after this time.
    pub resume_after: Option<Duration>,
}

/// Why an exchange cannot be counted here and now.
enum Crosses {
    /// Its answer comes on another exchange.
    Awaits(CallKey, Option<Duration>),
    /// It ended in silence, which the client may have asked for.
    Silent(CallKey),
    /// Its latency depends on the client's replies.
    Asked,
    /// The server does not know its session.
    Unknown(SessionKey),
}

impl Crosses {
    fn with(self, exchange: Exchange, end: End, asks: Vec<(CallKey, Instant)>) -> What {
        let exchange = Box::new(exchange);
        match self {
            Crosses::Awaits(call, resume) => What::Awaits(call, exchange, resume),
            Crosses::Silent(call) => What::Silent(call, exchange, end),
            Crosses::Asked => What::Asked(exchange, end, asks),
            Crosses::Unknown(session) => What::Unknown(session, exchange, end),
        }
    }
}

impl Told {
    /// Whether the answer ended as HTTP says it should, and without a response.
    fn is_silent(&self) -> bool {
        self.close == Close::Complete && matches!(self.heard, Heard::Nothing | Heard::NoResponse)
    }
}

impl Report {
    /// A report that is still to be made.
    pub fn new(desk: Desk, call: Call, watch: Rc<RefCell<Watch>>, trace: Option<&str>) -> Report {
        let trace = trace.filter(|_| desk.access_log).map(Into::into);
        let under_way = Some(UnderWay::new(&desk.tally));
        Report {
            desk,
            call,
            watch,
            trace,
            request: None,
            received: Instant::now(),
            arm: None,
            endpoint: None,
            session: None,
            in_session: false,
            caller: None,
            status: None,
            sent: None,
            first_byte: None,
            made: false,
            under_way,
        }
    }

    /// Its answer is a stream without an end of its own.
    pub fn is_endless(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.set_endless();
        }
    }

    /// The name under which logs know the HTTP request.
    pub fn named(&mut self, id: &str) {
        self.request = self.desk.access_log.then(|| id.into());
    }

    /// The body has told what it is.
    pub fn set_call(&mut self, call: Call) {
        self.call = call;
    }

    /// An endpoint of this arm is being asked.
    pub fn set_arm(&mut self, arm: Arm) {
        self.arm = Some(arm);
    }

    /// It belongs to this session.
    pub fn in_session(&mut self, session: SessionKey) {
        self.session = Some(session);
        self.in_session = true;
    }

    /// It belongs to the caller with this point.
    pub fn of_caller(&mut self, point: f64) {
        self.caller = Some(point.to_bits());
    }

    /// An arm was to answer it and could not; the other one has to.
    pub fn covered(&mut self, arm: Arm) {
        let mut tally = self.desk.tally.borrow_mut();
        *tally.covered.get_mut(arm) += 1;
        tally.see(Seen {
            unit: self.caller.map_or(Unit::Alone, Unit::Caller),
            opens: false,
            arm,
            method: self.call.method,
            tool: ToolLabel::NONE,
            grade: Grade::Fault,
            denied: false,
            waited: None,
        });
    }

    /// The session that it belongs to, or opens.
    pub fn session(&self) -> Option<SessionKey> {
        self.session
    }

    /// If all goes well, it opens this session.
    pub fn opens(&mut self, session: SessionKey) {
        self.session = Some(session);
    }

    /// This endpoint has answered what it was sent at this time.
    pub fn answered(&mut self, endpoint: &Arc<Endpoint>, status: StatusCode, sent: Instant) {
        let now = Instant::now();
        let heard = self.watch.borrow().heard();
        // A server cannot be faster than its client.
        let sent = heard.map_or(sent, |heard| heard.max(sent)).min(now);
        let first_byte = now - sent;
        self.arm = Some(endpoint.arm);
        self.endpoint = Some(Arc::clone(endpoint));
        self.status = Some(status);
        self.sent = Some(sent);
        self.first_byte = Some(first_byte);
        self.desk.tally.borrow_mut().first_byte.get_mut(endpoint.arm).add(first_byte);
    }

    /// Makes the report of what no server has answered; `status` is what the client got.
    pub fn make(&mut self, end: End, status: Option<StatusCode>) {
        if std::mem::replace(&mut self.made, true) {
            return;
        }
        self.status = status;
        self.exchange(0).settle(end, None, &mut self.desk.tally.borrow_mut());
    }

    /// Its session has ended, without a server's having been asked.
    pub fn ended_session(&mut self) {
        if let Some(session) = self.session {
            self.cross(What::Closed(session), None);
        }
    }

    /// Makes the report of an answer.
    pub fn tell(&mut self, told: Told) {
        if std::mem::replace(&mut self.made, true) {
            return;
        }
        // An answer that broke off because its request did is the client's doing.
        let gave_up = self.watch.borrow().fault().is_some();
        let close = match told.close {
            Close::Broken if gave_up => Close::ClientLeft,
            close => close,
        };
        let exchange = self.exchange(told.bytes);
        let answered = told.answered.map(|at| at.saturating_duration_since(exchange.sent));
        let status = self.status();
        let end = End::Head { status, heard: told.heard, close };
        self.note_session(&exchange);
        let (exchange, end) = match self.crossing(&told) {
            None => (exchange, end),
            Some(crosses) => {
                if let Some(endpoint) = &self.endpoint
                    && !matches!(crosses, Crosses::Silent(_))
                {
                    endpoint.note_success();
                }
                if let Crosses::Awaits(..) = crosses {
                    // Its clock is the session's now.
                    for (ask, at) in &told.asks {
                        self.cross(What::Ask(*ask), Some(*at));
                    }
                }
                let what = crosses.with(exchange, end, told.asks);
                // No room: better not classified than lost.
                let Some(exchange) = self.cross(what, told.answered) else { return };
                (exchange, End::Head { status, heard: Heard::NotRead, close: Close::Complete })
            }
        };
        let verdict = outcome::verdict(&exchange.facts, end);
        self.note_health(verdict);
        let time_is_open = verdict.outcome == Outcome::Ok
            && self.in_session
            && self.call.era == Era::Legacy
            && answered.is_some_and(|it| it >= ASKED_MIN);
        let exchange = if time_is_open {
            let what = What::Answered(Box::new(exchange), verdict);
            let Some(exchange) = self.cross(what, told.answered) else { return };
            exchange
        } else {
            exchange
        };
        exchange.count(verdict, answered, &mut self.desk.tally.borrow_mut());
    }

    /// Whether another worker may have the other half of it.
    fn crossing(&self, told: &Told) -> Option<Crosses> {
        let session = self.session.filter(|_| self.in_session)?;
        let call = self.request_id().map(|id| CallKey::of(session, &id));
        let is_success = self.status.is_some_and(|status| status.is_success());
        // Most say 202, some 200, and none has the answer in it.
        let accepted = is_success && !matches!(told.heard, Heard::Response { .. });
        match (call, told.resume_after) {
            (Some(call), _) if self.call.by_uri && accepted => Some(Crosses::Awaits(call, None)),
            (Some(call), Some(retry)) => Some(Crosses::Awaits(call, Some(retry))),
            (Some(call), None) if is_success && told.is_silent() => Some(Crosses::Silent(call)),
            _ if !told.asks.is_empty() => Some(Crosses::Asked),
            _ if self.status == Some(StatusCode::NOT_FOUND) && self.call.era == Era::Legacy => {
                Some(Crosses::Unknown(session))
            }
            _ => None,
        }
    }

    /// Hands a crossing over; the exchange comes back when there is no room for it.
    fn cross(&self, what: What, at: Option<Instant>) -> Option<Exchange> {
        let crossing = Crossing { at: at.unwrap_or_else(Instant::now), what };
        match self.desk.tally.borrow_mut().cross(crossing)?.what {
            What::Awaits(_, exchange, _)
            | What::Silent(_, exchange, _)
            | What::Asked(exchange, _, _)
            | What::Answered(exchange, _)
            | What::Unknown(_, exchange, _) => Some(*exchange),
            _ => None,
        }
    }

    /// A reply of the client or the end of its session, which others may be waiting for.
    fn note_session(&self, exchange: &Exchange) {
        let Some(session) = self.session.filter(|_| self.in_session) else { return };
        if let Some(id) = self.watch.borrow().reader().reply_id() {
            self.cross(What::Reply(CallKey::of(session, id)), Some(exchange.sent));
        }
        if let Some(id) = self.watch.borrow().reader().cancelled_id() {
            self.cross(What::Cancel(CallKey::of(session, id)), Some(exchange.sent));
        }
        let is_over = self.status.is_some_and(|status| status.is_success());
        if self.call.kind == Kind::Delete && is_over {
            self.cross(What::Closed(session), None);
        }
    }

    /// Several broken exchanges in a row make an endpoint suspect, several failed calls an outlier.
    fn note_health(&self, verdict: Verdict) {
        let Some(endpoint) = &self.endpoint else { return };
        let is_broken = matches!(verdict.outcome, Outcome::Transport | Outcome::Timeout)
            && verdict.blame == Blame::Arm;
        match verdict.outcome {
            Outcome::Cancelled => return,
            _ if is_broken => endpoint.note_fault(self.desk.suspect_after),
            _ => endpoint.note_success(),
        }
        match verdict.outcome {
            _ if !self.is_call() => {}
            Outcome::HttpError => endpoint.note_failed_call(self.desk.eject_after),
            _ if is_broken => endpoint.note_failed_call(self.desk.eject_after),
            _ => endpoint.note_call(),
        }
    }

    /// Whether it is work that only clients give: what handshakes ask for as well says no more than
    /// these.
    pub fn is_call(&self) -> bool {
        let method = self.call.method;
        self.call.kind == Kind::Post
            && !method.is_read_only()
            && method != Method::REPLY
            && !method.as_str().starts_with("notifications/")
    }

    /// The HTTP status of the answer; 0 before there is one.
    pub fn status(&self) -> u16 {
        self.status.map_or(0, |status| status.as_u16())
    }

    /// The id of the one request that this is.
    pub fn request_id(&self) -> Option<RequestId> {
        let watch = self.watch.borrow();
        match watch.reader().shape() {
            Shape::Request(_) => watch.reader().ids().first().cloned(),
            _ => None,
        }
    }

    /// The tool that it calls, as the client names it.
    fn tool<'a>(&self, posted: &'a Reader) -> Option<&'a str> {
        posted.name().filter(|_| self.call.method == Method::CALL)
    }

    /// What is known of it, whatever comes of it.
    pub fn facts(&self) -> Facts {
        let watch = self.watch.borrow();
        let posted = watch.reader();
        let is_other_arms =
            |name| self.arm.is_some_and(|arm| self.desk.tools.is_only_on_other(arm, name));
        Facts {
            call: self.call,
            wants: Wants::of(&self.call, posted),
            // Only the control plane can tell.
            session_is_live: false,
            asks_other_arm_tool: self.tool(posted).is_some_and(is_other_arms),
            has_cursor: posted.has_cursor(),
        }
    }

    fn exchange(&self, bytes: u64) -> Exchange {
        let watch = self.watch.borrow();
        Exchange {
            facts: self.facts(),
            session: self.session,
            caller: self.caller,
            arm: self.arm,
            endpoint: self.endpoint.as_ref().map(|it| it.id),
            tool: match self.tool(watch.reader()) {
                Some(name) => self.desk.tools.label(name),
                None if self.call.method == Method::CALL => ToolLabel::OTHER,
                None => ToolLabel::NONE,
            },
            status: self.status,
            sent: self.sent.unwrap_or(self.received),
            bytes,
            line: self.desk.access_log.then(|| Box::new(self.line(watch.reader()))),
        }
    }

    fn line(&self, posted: &Reader) -> Line {
        let trace = self.trace.as_deref().or_else(|| posted.traceparent());
        Line {
            tool: self.tool(posted).map(plain),
            endpoint: self.endpoint.as_ref().map(|it| it.url.to_string()),
            first_byte: self.first_byte,
            total: self.received.elapsed(),
            trace: trace.and_then(TraceId::of).map(|trace| trace.as_str().to_owned()),
            request: self.request.clone(),
        }
    }

    /// Leaves the report to whoever sees the exchange to its end.
    #[must_use]
    pub fn hand_over(&mut self) -> Report {
        let watch = Rc::clone(&self.watch);
        let mut spent = Report::new(self.desk.clone(), self.call, watch, None);
        (spent.made, spent.under_way) = (true, None);
        std::mem::replace(self, spent)
    }

    /// Not to be counted at all: a browser's preflight.
    pub fn waive(&mut self) {
        self.made = true;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.make(End::ClientLeft, None);
    }
}
