//! A request while it is on its way: head, body, client, call, and the report to be made.
//!
//! Does not know: arms.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Body as _;
use hyper::body::Incoming;

use crate::config::Config;
use crate::mcp::classify::Paths;
use crate::mcp::header::{self, SESSION_ID};
use crate::mcp::message::Shape;
use crate::mcp::scan::Progress;
use crate::mcp::trace::TraceId;
use crate::mcp::{Call, Era, Kind, Method};
use crate::observe::report::{Desk, Report};
use crate::observe::session::SessionKey;
use crate::observe::tally::Tally;
use crate::route::RoutingTable;
use crate::route::affinity::{self, NoSession, Place, UpstreamSession};
use crate::upstream::forwarded::{Client, Peer};
use crate::upstream::request_body::{Bounds, RequestBody, Watch};

use super::reply::Refusal;
use super::request_id;

/// One request of a client.
pub struct Inbound {
    /// The head as the client sent it.
    pub head: Parts,
    /// Who sent it.
    pub client: Client,
    /// What it is.
    pub call: Call,
    /// The report that is to be made of it.
    pub report: Report,
    /// What is known of the body.
    pub watch: Rc<RefCell<Watch>>,
    /// The name under which logs know it.
    pub request_id: HeaderValue,
    /// Bytes of its body, where the head tells them.
    pub length: Option<u64>,
    /// It belongs to a session that we know.
    pub in_session: bool,
    /// Its body has been read ahead.
    peeked: bool,
    body: Option<RequestBody>,
}

impl Inbound {
    /// Takes a request in.
    pub fn receive(
        request: Request<Incoming>,
        peer: Peer,
        table: &RoutingTable,
        tally: &Rc<RefCell<Tally>>,
    ) -> Inbound {
        let config = &table.config;
        let (head, body) = request.into_parts();
        let (request_id, length) = (request_id::of(&head.headers), body.size_hint().exact());
        let paths = Paths { mcp: &config.path, sse: &config.sse_path };
        let tagged = affinity::uri_tag(&head.uri).is_some();
        let call = Call::of(&head.method, head.uri.path(), &head.headers, paths, tagged);
        let client = Client::of(peer, &head.uri, &head.headers, &config.affinity.trusted_proxies);
        let message = call.kind == Kind::Post;
        let bounds = Bounds {
            bytes: config.limits.body,
            idle: config.timeouts.body_idle,
            min_rate: config.limits.min_rate,
        };
        let body = RequestBody::new(body, message, bounds);
        let watch = body.watch();
        let desk = Desk {
            tally: Rc::clone(tally),
            tools: Arc::clone(&table.tools),
            suspect_after: config.health.suspect_after,
            eject_after: config.health.eject_after,
            access_log: config.log.access,
        };
        let trace = header::traceparent(&head.headers);
        let mut report = Report::new(desk, call, Rc::clone(&watch), trace);
        report.named(request_id.to_str().unwrap_or_default());
        if call.kind == Kind::Preflight {
            report.waive();
        }
        Inbound {
            head,
            client,
            call,
            report,
            watch,
            request_id,
            length,
            in_session: false,
            peeked: false,
            body: Some(body),
        }
    }

    /// Whether its head shows that it belongs to a session.
    pub fn has_session(&self, table: &RoutingTable) -> bool {
        let Parts { headers, uri, .. } = &self.head;
        let place = affinity::place(table, &self.call, headers, uri, self.client.address);
        matches!(place, Ok(Place::Session(_)))
    }

    /// Reads as much of the body as the classification needs: nothing, where the head says it all.
    pub async fn classify(&mut self) -> Result<(), Refusal> {
        let Some(body) = self.body.as_mut() else { return Ok(()) };
        let needed = self.call.needs_body(&self.head.headers);
        // What may have to be sent twice is read ahead as well, and an empty body is never polled
        // by who sends it on.
        if needed || self.call.method.is_read_only() || body.is_end_stream() {
            let shape = body.peek().await?;
            self.peeked = true;
            if needed {
                self.call = self.call.with_body(shape);
                self.report.set_call(self.call);
            }
            if shape == (Shape::Batch { initialize: true }) {
                return Err(Refusal::InitializeInBatch);
            }
        }
        Ok(())
    }

    /// Reads the beginning of the body, where that has not been done.
    pub async fn read_ahead(&mut self) -> Result<(), Refusal> {
        if let Some(body) = self.body.as_mut().filter(|_| !self.peeked) {
            body.peek().await?;
            self.peeked = true;
        }
        Ok(())
    }

    /// Finds where it belongs.
    pub fn place(&mut self, table: &RoutingTable) -> Result<Place, NoSession> {
        let Parts { headers, uri, .. } = &self.head;
        let place = affinity::place(table, &self.call, headers, uri, self.client.address)?;
        self.in_session = matches!(place, Place::Session(_));
        if let Place::Caller(point) = place {
            self.report.of_caller(point);
        }
        if self.in_session {
            // As the client has it: the tag in the URI of a message, else the tagged id.
            let uri_tag = affinity::uri_tag(&self.head.uri).filter(|_| self.call.by_uri);
            let id = uri_tag.as_ref().map(|(tag, _)| tag.as_bytes());
            let id = id.or_else(|| self.head.headers.get(SESSION_ID).map(HeaderValue::as_bytes));
            self.report.in_session(SessionKey::of(id.unwrap_or_default()));
        }
        Ok(place)
    }

    /// Whether it ends a session that only we know of.
    pub fn ends_minted_session(&self, place: &Place) -> bool {
        self.call.kind == Kind::Delete
            && place.upstream_session() == Some(&UpstreamSession::Unknown)
    }

    /// The longest pause in its answer; streams without an answer of their own have none.
    pub fn stream_idle(&self, config: &Config) -> Option<Duration> {
        if self.is_endless() { None } else { config.timeouts.stream_idle }
    }

    /// Whether its answer has no end of its own.
    pub fn is_endless(&self) -> bool {
        matches!(self.call.kind, Kind::Stream | Kind::LegacyStream)
            || self.call.method == Method::named(b"subscriptions/listen")
    }

    /// The method that the body itself names, once all of it has been read.
    pub fn method_in_body(&self) -> Option<Method> {
        let watch = self.watch.borrow();
        match watch.reader().shape() {
            Shape::Request(method) if watch.reader().progress() == Progress::Complete => {
                Some(method)
            }
            _ => None,
        }
    }

    /// The status in which every released client survives that its server did not answer: for a
    /// legacy call inside a session 200 with a JSON-RPC error, for what wants no answer 202 (it is
    /// lost, and an error status would end Python 1.30's whole session). `None` where an HTTP
    /// status is as good as anything.
    pub fn gentle_status(&self) -> Option<StatusCode> {
        let answered_here = self.in_session
            && self.call.era == Era::Legacy
            && self.call.kind == Kind::Post
            && !self.call.by_uri;
        if !answered_here {
            return None;
        }
        let watch = self.watch.borrow();
        match watch.reader().shape() {
            Shape::Notification(_) | Shape::Reply => Some(StatusCode::ACCEPTED),
            _ if !watch.reader().ids().is_empty() => Some(StatusCode::OK),
            _ => None,
        }
    }

    /// The name under which logs know it, as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The trace that it belongs to, from its head or else from its body.
    pub fn trace_id(&self) -> Option<String> {
        let watch = self.watch.borrow();
        let traceparent = header::traceparent(&self.head.headers);
        let traceparent = traceparent.or_else(|| watch.reader().traceparent())?;
        TraceId::of(traceparent).map(|trace| trace.as_str().to_owned())
    }

    /// The body, to be sent on.
    pub fn take_body(&mut self) -> RequestBody {
        self.body.take().expect("a body is taken once, by the stage that sends it")
    }
}
