//! A server's answer becomes the client's: the session id gets its tag, the head its public form,
//! the body its tap.
//!
//! Does not know: why this endpoint was chosen.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, response};
use url::Url;

use crate::mcp::Kind;
use crate::mcp::header::SESSION_ID;
use crate::observe::tap::{OpenStream, Tap};
use crate::route::{Endpoint, RoutingTable};
use crate::upstream::answer::AnswerBody;
use crate::upstream::rewrite;

use super::Worker;
use super::events::{Events, MessageUri};
use super::inbound::Inbound;
use super::reply::{Refusal, ReplyBody};

/// Passes an answer on.
///
/// # Errors
/// When the server's session id cannot be carried in a tag.
pub fn answer(
    worker: &Worker,
    table: &Arc<RoutingTable>,
    inbound: &mut Inbound,
    endpoint: &Arc<Endpoint>,
    answer: Response<AnswerBody>,
) -> Result<Response<ReplyBody>, Refusal> {
    let config = &table.config;
    let (mut head, body) = answer.into_parts();
    inbound.report.set_arm(endpoint.arm);
    tag_session(table, inbound, endpoint, &mut head)?;
    if inbound.call.opens_session() && head.status.is_success() {
        *worker.tally.borrow_mut().sessions.get_mut(endpoint.arm) += 1;
    }
    let origin = config.public_origin.clone().or_else(|| inbound.client.origin());
    let origin = origin.unwrap_or_default();
    rewrite::response(&mut head, endpoint, &origin, inbound.head.uri.path(), config);
    let is_stream = is_event_stream(&head.headers);
    let body = if is_stream {
        let uri = message_uri(table, inbound, endpoint, origin);
        if uri.is_some() {
            // It may become longer by a tag.
            head.headers.remove(CONTENT_LENGTH);
        }
        // A length could not be kept to once a comment is put in.
        let keep_alive =
            config.timeouts.keep_alive.filter(|_| !head.headers.contains_key(CONTENT_LENGTH));
        Events::stream(body, keep_alive, uri)
    } else {
        Events::not_a_stream(body)
    };
    let open = is_stream.then(|| OpenStream::new(&worker.tally, endpoint.arm));
    let body = Tap::new(body, inbound.report.hand_over(), head.status, inbound.is_endless(), open);
    Ok(Response::from_parts(head, ReplyBody::Passed(body)))
}

/// Puts the tag on the server's session id, or gives a session to a server that has none.
fn tag_session(
    table: &RoutingTable,
    inbound: &Inbound,
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
) -> Option<MessageUri> {
    if inbound.in_session || !matches!(inbound.call.kind, Kind::LegacyStream | Kind::Stream) {
        return None;
    }
    let path = inbound.head.uri.path_and_query().map_or("/", |path| path.as_str());
    let base = Url::parse(&format!("http://{}{path}", endpoint.url.authority())).ok()?;
    Some(MessageUri { table: Arc::clone(table), endpoint: Arc::clone(endpoint), base, origin })
}

/// An event stream that can be read.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let is_stream = headers.get(CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().get(..17).is_some_and(|it| it.eq_ignore_ascii_case(b"text/event-stream"))
    });
    is_stream && !headers.contains_key(CONTENT_ENCODING)
}
