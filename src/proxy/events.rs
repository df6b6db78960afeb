//! An event stream on its way to the client: passed on at once, with a comment between two events
//! when it has been silent, and with the message URI of a 2024-11-05 session made ours.
//!
//! Only the first event of a legacy stream is ever held back, until it is whole; and once the router
//! ends, the stream may end before the server ends it, between two events. Does not know: what the
//! events say.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use url::Url;

use crate::mcp::sse::{Event, Kept, Kind, Reader};
use crate::observe::session::SessionKey;
use crate::observe::stream::SessionStream;
use crate::route::affinity::{tagged_uri, uri_tag};
use crate::route::{Endpoint, RoutingTable};
use crate::upstream::answer::AnswerFault;

use super::parting::{Last, Stay};

/// A comment, which every client skips.
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// Bytes held while waiting for the first event's end; a message URI has some 60.
const HELD_MAX: usize = 8 * 1024;

/// Makes a server's message URI ours.
#[derive(Debug)]
pub struct MessageUri {
    /// Keys of the tag.
    pub table: Arc<RoutingTable>,
    /// Where the session lives.
    pub endpoint: Arc<Endpoint>,
    /// Where the stream was asked for, as the server sees it.
    pub base: Url,
    /// Scheme and authority under which clients know us.
    pub origin: String,
    /// Is told of the session.
    pub stream: Option<Rc<SessionStream>>,
}

impl MessageUri {
    /// The event that takes the place of the server's first, if that one names a URI of its own.
    fn rewritten(&self, event: Event, data: &Kept) -> Option<String> {
        if event.kind != Kind::Endpoint || !event.has_data {
            return None;
        }
        let own = self.public(str::from_utf8(data.whole()?).ok()?.trim())?;
        if let Some(stream) = &self.stream
            && let Some((tag, _)) = own.parse().ok().as_ref().and_then(uri_tag)
        {
            stream.open_session(SessionKey::of(tag.as_bytes()));
        }
        Some(format!("event: endpoint\ndata: {own}\n\n"))
    }

    /// The client's form of a URI that the server gave; `None` when it leads to somebody else.
    fn public(&self, uri: &str) -> Option<String> {
        let resolved = self.base.join(uri).ok()?;
        let public = Url::parse(&self.origin).ok();
        let ours = resolved.origin() == self.base.origin()
            || public.is_some_and(|public| public.host() == resolved.host());
        if !ours {
            return None;
        }
        let path_and_query = &resolved[url::Position::BeforePath..url::Position::AfterQuery];
        let tagged = tagged_uri(&self.table, &self.endpoint, path_and_query);
        let absolute = Url::parse(uri).is_ok();
        Some(if absolute { format!("{}{tagged}", self.origin) } else { tagged })
    }
}

/// A body that may be an event stream.
#[derive(Debug)]
pub struct Events<B> {
    inner: B,
    /// `None`: not an event stream, passed on unseen.
    reader: Option<Reader>,
    keep_alive: Option<(Duration, Pin<Box<Sleep>>)>,
    first: Option<First>,
    /// Boxed, since most bodies have none.
    stay: Option<Box<Stay>>,
}

/// The first event of a legacy stream, until it is whole.
#[derive(Debug)]
struct First {
    uri: MessageUri,
    /// As the server wrote it.
    held: Vec<u8>,
    /// Its data.
    data: Kept,
}

impl<B> Events<B> {
    /// A body that is no event stream.
    pub fn not_a_stream(inner: B) -> Events<B> {
        Events { inner, reader: None, keep_alive: None, first: None, stay: None }
    }

    /// An event stream, kept alive by a comment after each silence of this length. With `uri`, its
    /// first event may name the message URI of a legacy session. `stay` tells when it is to end.
    pub fn stream(
        inner: B,
        keep_alive: Option<Duration>,
        uri: Option<MessageUri>,
        stay: Stay,
    ) -> Events<B> {
        let keep_alive = keep_alive.map(|after| (after, Box::pin(tokio::time::sleep(after))));
        let first = uri.map(|uri| First { uri, held: Vec::new(), data: Kept::new(HELD_MAX) });
        let (reader, stay) = (Some(Reader::default()), Some(Box::new(stay)));
        Events { inner, reader, keep_alive, first, stay }
    }

    /// Reads a piece and returns what goes out for it.
    fn pass(&mut self, data: Bytes) -> Bytes {
        let Some(reader) = self.reader.as_mut() else { return data };
        let Some(mut first) = self.first.take() else {
            let has_id = read_on(reader, &data);
            self.note_id(has_id);
            return data;
        };
        let (mut out, mut rest) = (Vec::new(), &data[..]);
        for line in data.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (_, event) = reader.next(line, &mut first.data);
            first.held.extend_from_slice(line);
            rest = &rest[line.len()..];
            if let Some(event) = event {
                let has_id = read_on(reader, rest) || event.has_id;
                match first.uri.rewritten(event, &first.data) {
                    Some(own) => out.extend_from_slice(own.as_bytes()),
                    None => out.extend_from_slice(&first.held),
                }
                out.extend_from_slice(rest);
                self.note_id(has_id);
                return out.into();
            }
            if (line.ends_with(b"\n") || line.ends_with(b"\r")) && reader.at_boundary() {
                // A comment is no event, so there is nothing to wait for.
                out.extend_from_slice(&first.held);
                first.held.clear();
            }
        }
        if first.held.len() < HELD_MAX {
            self.first = Some(first);
        } else {
            out.extend_from_slice(&first.held);
        }
        out.into()
    }

    /// What is still held when the stream ends in the middle of its first event.
    fn left_over(&mut self) -> Option<Bytes> {
        let held = self.first.take()?.held;
        (!held.is_empty()).then(|| held.into())
    }

    fn holds_nothing(&self) -> bool {
        self.first.as_ref().is_none_or(|first| first.held.is_empty())
    }

    fn note_id(&mut self, has_id: bool) {
        if let Some(stay) = self.stay.as_mut().filter(|_| has_id) {
            stay.is_resumable();
        }
    }

    fn is_between_events(&self) -> bool {
        self.holds_nothing() && self.reader.as_ref().is_some_and(Reader::at_boundary)
    }

    /// Whether it ends here, and how.
    fn last(&mut self) -> Option<Last> {
        let last = self.stay.as_mut()?.last()?;
        self.is_between_events().then_some(last)
    }

    fn poll_comment(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let fits = self.is_between_events();
        let Some((after, timer)) = &mut self.keep_alive else { return Poll::Pending };
        loop {
            ready!(timer.as_mut().poll(cx));
            timer.as_mut().reset(Instant::now() + *after);
            if fits {
                return Poll::Ready(COMMENT);
            }
        }
    }
}

/// Reads a piece; whether an event with an id ends in it.
fn read_on(reader: &mut Reader, mut data: &[u8]) -> bool {
    let mut has_id = false;
    while let (used, Some(event)) = reader.next(data, &mut ()) {
        data = &data[used..];
        has_id |= event.has_id;
    }
    has_id
}

impl<B: Body<Data = Bytes, Error = AnswerFault> + Unpin> Body for Events<B> {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        loop {
            match self.last() {
                Some(Last::End) => return Poll::Ready(None),
                Some(Last::Cut) => return Poll::Ready(Some(Err(AnswerFault::Stopping))),
                None => {}
            }
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers of an answer mean nothing in MCP and are dropped.
                    let Ok(data) = frame.into_data() else { continue };
                    if let Some((after, timer)) = &mut self.keep_alive {
                        timer.as_mut().reset(Instant::now() + *after);
                    }
                    let out = self.pass(data);
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(out))));
                    }
                }
                Poll::Ready(None) => {
                    return Poll::Ready(self.left_over().map(|out| Ok(Frame::data(out))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => {
                    if let Some(stay) = &mut self.stay
                        && stay.poll(cx).is_ready()
                        && self.last().is_some()
                    {
                        continue;
                    }
                    let comment = ready!(self.poll_comment(cx));
                    return Poll::Ready(Some(Ok(Frame::data(comment))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.holds_nothing() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A stream may grow by comments or by a tag.
        if self.reader.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}

#[cfg(test)]
mod tests;
