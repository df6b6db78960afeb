//! A server's answer becomes the client's: the session id gets its tag, the head its public form,
//! the body its tap.
//!
//! Does not know: why this endpoint was chosen.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, response};
use url::Url;

use crate::mcp::Kind;
use crate::mcp::header::{LAST_EVENT_ID, SESSION_ID};
use crate::observe::join::Brings;
use crate::observe::session::SessionKey;
use crate::observe::stream::{OpenStream, SessionStream};
use crate::observe::tap::{Reading, Tap};
use crate::route::{Endpoint, RoutingTable};
use crate::upstream::forward::Answered;
use crate::upstream::rewrite;

use super::Worker;
use super::events::{Events, MessageUri};
use super::inbound::Inbound;
use super::parting::{Carries, Stay};
use super::reply::{Refusal, ReplyBody};

/// Passes an answer on.
///
/// # Errors
/// When the server's session id cannot be carried in a tag.
pub fn answer(
    worker: &Worker,
    table: &Arc<RoutingTable>,
    inbound: &mut Inbound,
    answered: Answered,
) -> Result<Response<ReplyBody>, Refusal> {
    let config = &table.config;
    let Answered { endpoint, answer, sent } = answered;
    let (mut head, body) = answer.into_parts();
    inbound.report.answered(&endpoint, head.status, sent);
    tag_session(table, inbound, &endpoint, &mut head)?;
    let reading = reading(inbound, &head.headers);
    let session_stream = session_stream(worker, inbound, &endpoint, &head);
    if reading == Reading::Stream && inbound.is_endless() {
        inbound.report.is_endless();
    }
    let open = (reading == Reading::Stream).then(|| OpenStream::new(&worker.tally, endpoint.arm));
    let body = Tap::new(body, inbound.report.hand_over(), reading, session_stream.clone(), open);
    let origin = config.public_origin.clone().or_else(|| inbound.client.origin());
    let origin = origin.unwrap_or_default();
    rewrite::response(&mut head, &endpoint, &origin, inbound.head.uri.path(), config);
    let body = if reading == Reading::Stream {
        let stay = Stay::new(&worker.parting, carries(inbound, session_stream.clone()));
        let uri = message_uri(table, inbound, &endpoint, origin, session_stream);
        if uri.is_some() {
            // It may become longer by a tag.
            head.headers.remove(CONTENT_LENGTH);
        }
        // A length could not be kept to once a comment is put in.
        let keep_alive =
            config.timeouts.keep_alive.filter(|_| !head.headers.contains_key(CONTENT_LENGTH));
        Events::stream(body, keep_alive, uri, stay)
    } else {
        Events::not_a_stream(body)
    };
    Ok(Response::from_parts(head, ReplyBody::Passed(body)))
}

/// How an answer's body is to be read.
fn reading(inbound: &Inbound, headers: &HeaderMap) -> Reading {
    let is_plain = headers
        .get(CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let media_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let media_type = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii();
    let is_mcp = !matches!(inbound.call.kind, Kind::Other | Kind::Preflight | Kind::Unsupported);
    if !is_plain {
        Reading::Encoded
    } else if media_type.eq_ignore_ascii_case(b"text/event-stream") {
        Reading::Stream
    } else if !is_mcp {
        Reading::Nothing
    } else if media_type.eq_ignore_ascii_case(b"application/json") {
        Reading::Json
    } else {
        Reading::Other
    }
}

/// The stream of a session that is not the answer to a POST, if this is one.
fn session_stream(
    worker: &Worker,
    inbound: &Inbound,
    endpoint: &Endpoint,
    head: &response::Parts,
) -> Option<Rc<SessionStream>> {
    if !head.status.is_success() {
        return None;
    }
    let brings = if resumes(inbound) { Brings::Answers } else { Brings::News };
    match (inbound.call.kind, inbound.report.session()) {
        (Kind::Stream, Some(session)) if inbound.in_session => {
            Some(SessionStream::of(&worker.tally, endpoint.arm, session, brings))
        }
        (Kind::Stream | Kind::LegacyStream, None) => {
            Some(SessionStream::of_legacy(&worker.tally, endpoint.arm))
        }
        _ => None,
    }
}

/// Whether a client goes on with a stream, maybe that of a call whose answer is still to come.
fn resumes(inbound: &Inbound) -> bool {
    inbound.head.headers.contains_key(LAST_EVENT_ID)
}

/// What a stream is for, as far as its end depends on that.
fn carries(inbound: &Inbound, stream: Option<Rc<SessionStream>>) -> Carries {
    match inbound.call.kind {
        Kind::Stream if inbound.in_session && !resumes(inbound) => Carries::News,
        Kind::Stream | Kind::LegacyStream => Carries::Session(stream),
        _ if inbound.is_endless() => Carries::Subscription,
        _ => Carries::Answer,
    }
}

/// Puts the tag on the server's session id, or gives a session to a server that has none.
fn tag_session(
    table: &RoutingTable,
    inbound: &mut Inbound,
    endpoint: &Endpoint,
    head: &mut response::Parts,
) -> Result<(), Refusal> {
    let session = match head.headers.get(SESSION_ID) {
        Some(id) => {
            let id = id.to_str().map_err(|_| Refusal::BadSessionId)?;
            table.keys.attach(endpoint.id, id).map_err(|_| Refusal::BadSessionId)?
        }
        None if inbound.call.kind == Kind::Post
            && inbound.call.opens_session()
            && head.status.is_success() =>
        {
            table.keys.mint(endpoint.id, rand::random())
        }
        None => return Ok(()),
    };
    if inbound.call.opens_session() {
        inbound.report.opens(SessionKey::of(session.as_bytes()));
    }
    let mut value =
        HeaderValue::try_from(session).expect("a tag and a checked id are visible ASCII");
    value.set_sensitive(true);
    head.headers.insert(SESSION_ID, value);
    Ok(())
}

/// A stream that may open a 2024-11-05 session: one that no session of the later kind asked for.
fn message_uri(
    table: &Arc<RoutingTable>,
    inbound: &Inbound,
    endpoint: &Arc<Endpoint>,
    origin: String,
    stream: Option<Rc<SessionStream>>,
) -> Option<MessageUri> {
    if inbound.in_session || !matches!(inbound.call.kind, Kind::LegacyStream | Kind::Stream) {
        return None;
    }
    let path = inbound.head.uri.path_and_query().map_or("/", |path| path.as_str());
    let (scheme, authority) = (endpoint.url.scheme(), endpoint.url.authority());
    let base = Url::parse(&format!("{scheme}://{authority}{path}")).ok()?;
    let (table, endpoint) = (Arc::clone(table), Arc::clone(endpoint));
    Some(MessageUri { table, endpoint, base, origin, stream })
}
