//! Everything that we answer ourselves: one match from a refusal to status, JSON-RPC error and
//! label.
//!
//! Every error is `application/json`, a JSON-RPC error with the request's id where it is known,
//! and names its origin. Codes are -32600, -32700 and -32603: the rest belongs to the protocol or
//! to applications. Does not know: how the refusal came about.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method as HttpMethod, Response, StatusCode, Version};
use hyper::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::json;

use crate::config::{Config, ErrorStyle};
use crate::listen::law::Fault;
use crate::mcp::outcome::{Close, End, Heard};
use crate::mcp::{Kind, Method};
use crate::observe::tap::Tap;
use crate::route::affinity::NoSession;
use crate::upstream::answer::{AnswerBody, AnswerFault};
use crate::upstream::forward::ForwardError;
use crate::upstream::request_body::BodyFault;

use super::events::Events;
use super::inbound::Inbound;
use super::room::NoRoom;

/// JSON-RPC 2.0, section 5.1.
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const INTERNAL_ERROR: i32 = -32603;

/// The reason of a refusal for too much work.
const OVERLOADED: &str = "overloaded";

/// Seconds after which a client may ask again; a restart of a server rarely takes longer.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// Why a request is answered by us.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The bytes of its head can be read in more than one way.
    #[error(transparent)]
    Unlawful(Fault),
    /// It is not the request that its bytes announced.
    #[error("the request does not follow the one before it")]
    Unaccounted,
    /// CONNECT, TRACE, or what the MCP endpoint does not have.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// Too many header fields, or too large.
    #[error("the request's headers are larger than the limit")]
    HeadTooLarge,
    /// A header that must not be repeated.
    #[error("the header {0} must not be repeated")]
    Repeated(HeaderName),
    /// `Host` is missing, repeated, no host, or not the target's.
    #[error("the request needs exactly one Host header, and the same host in its target")]
    BadHost,
    /// A target that no server may be asked for.
    #[error("the request's target must be a path")]
    BadTarget,
    /// More bytes of it than the limit.
    #[error("the request's target is longer than the limit")]
    TargetTooLong,
    /// `Connection` names a header that is meant for the server.
    #[error("the header {0} must not be named in Connection")]
    BadConnection(HeaderName),
    /// A header that some servers take for another one.
    #[error("the name of the header {0} must not have an underscore")]
    BadName(HeaderName),
    /// Blanks around a value, which a server does not see.
    #[error("the value of the header {0} must not begin or end with a blank")]
    BadValue(HeaderName),
    /// `Expect` with anything but `100-continue`.
    #[error("the only expectation that can be met is 100-continue")]
    Expectation,
    /// It has come through us before.
    #[error(
        "this request has come through this router before: an endpoint of it leads back to itself"
    )]
    Loop,
    /// Somebody's page that may not call.
    #[error(
        "pages of this Origin may not call: add it to http.origins, or set public_origin if it is \
         the router's own"
    )]
    Origin,
    /// A GET, HEAD or DELETE with a body.
    #[error("a request with this method must not have a body")]
    UnexpectedBody,
    /// An HTTP/1.0 message without its length.
    #[error("the request needs a Content-Length")]
    LengthRequired,
    /// A message that is no JSON.
    #[error("the content type must be application/json")]
    NotJson,
    /// The protocol forbids it.
    #[error("initialize must not be part of a batch")]
    InitializeInBatch,
    /// The body came to nothing.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// A session id that leads nowhere.
    #[error(transparent)]
    NoSession(#[from] NoSession),
    /// There is too little memory left for new work.
    #[error("the router has too much to do")]
    Overloaded,
    /// The servers of its arm have as much to do as they may.
    #[error(transparent)]
    Busy(#[from] NoRoom),
    /// No server answered.
    #[error("{0}")]
    Forward(ForwardError),
    /// A server's session id that the protocol does not allow.
    #[error("the server sent an invalid session id")]
    BadSessionId,
}

impl From<ForwardError> for Refusal {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Body(fault) => Refusal::Body(fault),
            other => Refusal::Forward(other),
        }
    }
}

/// How a refusal is told.
struct Told {
    status: StatusCode,
    code: i32,
    reason: &'static str,
    end: End,
}

impl Refusal {
    /// The one place where a refusal becomes an answer.
    fn told(&self) -> Told {
        let (status, code, reason, end) = match self {
            Refusal::Forward(error) => unanswered(error),
            Refusal::BadSessionId => (502, INTERNAL_ERROR, "bad_answer", End::BadSessionId),
            Refusal::Body(BodyFault::Malformed) => {
                (400, PARSE_ERROR, "malformed_json", End::Rejected)
            }
            Refusal::Body(BodyFault::BrokenOff) => {
                (400, INVALID_REQUEST, "body_broken_off", End::ClientLeft)
            }
            Refusal::NoSession(NoSession::Nameless) => {
                (503, INTERNAL_ERROR, "server_unreachable", End::Unreachable)
            }
            Refusal::Overloaded => (503, INTERNAL_ERROR, OVERLOADED, End::Rejected),
            Refusal::Busy(_) => (503, INTERNAL_ERROR, OVERLOADED, End::NoRoom),
            refused => {
                let (status, reason) = refused.fault_of_the_client();
                (status, INVALID_REQUEST, reason, End::Rejected)
            }
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Told { status, code, reason, end }
    }

    /// Status and reason of what the client should not have sent.
    fn fault_of_the_client(&self) -> (u16, &'static str) {
        match self {
            Refusal::MethodNotAllowed => (405, "method_not_allowed"),
            Refusal::HeadTooLarge => (431, "headers_too_large"),
            Refusal::Repeated(_) => (400, "repeated_header"),
            Refusal::BadHost => (400, "bad_host"),
            Refusal::Unlawful(Fault::UnknownCoding) => (501, "unknown_coding"),
            Refusal::Unlawful(Fault::Target) | Refusal::BadTarget => (400, "bad_target"),
            Refusal::TargetTooLong => (414, "target_too_long"),
            Refusal::BadConnection(_) => (400, "bad_connection"),
            Refusal::BadName(_) => (400, "bad_header_name"),
            Refusal::BadValue(_) => (400, "bad_header_value"),
            Refusal::Expectation => (417, "expectation_failed"),
            Refusal::Loop => (508, "loop"),
            Refusal::Origin => (403, "origin_not_allowed"),
            Refusal::UnexpectedBody => (400, "unexpected_body"),
            Refusal::LengthRequired => (411, "length_required"),
            Refusal::NotJson => (415, "not_json"),
            Refusal::InitializeInBatch => (400, "initialize_in_batch"),
            Refusal::Body(BodyFault::TooLarge) => (413, "body_too_large"),
            Refusal::Body(BodyFault::Stalled) => (408, "body_stalled"),
            Refusal::NoSession(NoSession::Forged) => (404, "unknown_session"),
            Refusal::NoSession(NoSession::Gone) => (404, "session_gone"),
            Refusal::NoSession(NoSession::Ended) => (404, "session_ended"),
            Refusal::Unlawful(_)
            | Refusal::Unaccounted
            | Refusal::Body(_)
            | Refusal::Forward(_)
            | Refusal::NoSession(NoSession::Nameless)
            | Refusal::Overloaded
            | Refusal::Busy(_)
            | Refusal::BadSessionId => (400, "bad_framing"),
        }
    }

    /// Whether nothing more can be read from the connection that it came on: nobody knows where
    /// the next request begins.
    fn ends_connection(&self) -> bool {
        matches!(self, Refusal::Unlawful(_) | Refusal::Unaccounted | Refusal::LengthRequired)
    }

    /// What the client reads: no addresses, no system errors.
    fn public_text(&self) -> String {
        match self {
            Refusal::Forward(ForwardError::Unreachable(_)) => {
                "the MCP server cannot be reached at the moment".to_owned()
            }
            Refusal::Forward(ForwardError::Lost(_) | ForwardError::Raced(_)) => {
                "the MCP server closed the connection without an answer".to_owned()
            }
            Refusal::Forward(ForwardError::Garbage(_)) => {
                "the MCP server's answer cannot be read".to_owned()
            }
            Refusal::Forward(ForwardError::Timeout(_)) => {
                "the MCP server did not answer in time".to_owned()
            }
            other => other.to_string(),
        }
    }
}

/// How it is told that no server answered.
fn unanswered(error: &ForwardError) -> (u16, i32, &'static str, End) {
    let (status, reason, end) = match error {
        ForwardError::Unreachable(_) => (503, "server_unreachable", End::Unreachable),
        ForwardError::Lost(_) => (502, "server_closed_connection", End::Lost),
        ForwardError::Raced(_) => (502, "server_closed_connection", End::Raced),
        ForwardError::Timeout(_) => (504, "server_timeout", End::NoHeadInTime),
        ForwardError::Garbage(_) | ForwardError::Switched | ForwardError::Body(_) => {
            (502, "bad_answer", End::Garbage)
        }
    };
    (status, INTERNAL_ERROR, reason, end)
}

/// Answers a request that is not passed on, or whose server did not answer.
pub fn refuse(refusal: &Refusal, mut inbound: Inbound, config: &Config) -> Response<ReplyBody> {
    let told = refusal.told();
    let is_ours_to_soften = told.code == INTERNAL_ERROR && config.errors == ErrorStyle::JsonRpc;
    let gentle = if is_ours_to_soften { inbound.gentle_status() } else { None };
    let status = gentle.unwrap_or(told.status);
    inbound.report.make(told.end, Some(status));
    log(refusal, &told, &inbound);
    if status == StatusCode::ACCEPTED {
        return empty(status);
    }
    let body = error_body(&inbound, &told, &refusal.public_text());
    let mut response = Response::new(ReplyBody::Local(Some(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let is_tunnel = inbound.head.method == HttpMethod::CONNECT;
    if (refusal.ends_connection() || is_tunnel) && inbound.head.version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE, OPTIONS"));
    }
    response
}

fn log(refusal: &Refusal, told: &Told, inbound: &Inbound) {
    let (method, reason, trace_id) = (inbound.call.method, told.reason, inbound.trace_id());
    let request_id = inbound.request_id();
    // What comes in floods is for the metrics.
    if told.code == INTERNAL_ERROR && told.reason != OVERLOADED {
        tracing::warn!(
            %method, reason, error = %refusal, trace_id, request_id, "not answered by a server"
        );
    } else {
        tracing::debug!(%method, reason, error = %refusal, trace_id, request_id, "refused");
    }
}

/// The answer to a browser that asks before a page calls; its marks say the rest.
pub fn preflight() -> Response<ReplyBody> {
    empty(StatusCode::NO_CONTENT)
}

/// The end of a session that only we know of.
pub fn session_ended(inbound: &mut Inbound) -> Response<ReplyBody> {
    let end = End::Head { status: 200, heard: Heard::Nothing, close: Close::Complete };
    inbound.report.make(end, Some(StatusCode::OK));
    inbound.report.ended_session();
    empty(StatusCode::OK)
}

fn empty(status: StatusCode) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Local(None));
    *response.status_mut() = status;
    response
}

/// One JSON-RPC error, or for a batch one for each request in it.
fn error_body(inbound: &Inbound, told: &Told, message: &str) -> Bytes {
    let error = json!({
        "code": told.code,
        "message": message,
        "data": {
            "origin": "tidegate", "reason": told.reason, "request_id": inbound.request_id(),
        },
    });
    let one = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    let watch = inbound.watch.borrow();
    let ids = watch.reader().ids();
    let text = match ids {
        [] => one("null"),
        ids if inbound.call.kind == Kind::Post && inbound.call.method == Method::BATCH => {
            let errors: Vec<String> = ids.iter().map(|id| one(id.as_json())).collect();
            format!("[{}]", errors.join(","))
        }
        [id, ..] => one(id.as_json()),
    };
    Bytes::from(text)
}

/// The body of an answer: ours, or a server's on its way.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every body is a server's; a box would cost each of them"
)]
pub enum ReplyBody {
    /// Ours, in one piece.
    Local(Option<Bytes>),
    /// A server's.
    Passed(Events<Tap<AnswerBody>>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        match &mut *self {
            ReplyBody::Local(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            ReplyBody::Passed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Local(bytes) => bytes.is_none(),
            ReplyBody::Passed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Local(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ReplyBody::Passed(body) => body.size_hint(),
        }
    }
}
