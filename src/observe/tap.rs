//! Looks at an answer's body while it passes: every piece goes on untouched and at once, and the
//! exchange is reported once, at the body's end, at an error, or when the client drops it.
//!
//! Constant memory, whatever the body's size. Does not know: what is counted how.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::mcp::answer::{self, Message, Response};
use crate::mcp::message::RequestId;
use crate::mcp::outcome::{Close, Facts, Heard};
use crate::upstream::answer::AnswerFault;

use super::join::StreamEnd;
use super::report::{Report, Told};
use super::session::CallKey;
use super::stream::{OpenStream, SessionStream};

/// Requests of the server in one answer that the clock is stopped for.
const ASKS_MAX: usize = 64;

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One JSON document.
    Json,
    /// An event stream.
    Stream,
    /// Compressed, which nobody asked for.
    Encoded,
    /// Of another type than MCP has.
    Other,
    /// Not MCP.
    Nothing,
}

/// A body that is looked at.
#[derive(Debug)]
pub struct Tap<B> {
    inner: B,
    reader: Option<answer::Body>,
    seen: Seen,
    /// Keeps it counted as an open stream.
    open: Option<OpenStream>,
}

/// What has been seen of a body.
#[derive(Debug)]
struct Seen {
    report: Report,
    reading: Reading,
    bytes: u64,
    /// A stream of a session that answers no request of its own.
    stream: Option<Rc<SessionStream>>,
    heard: Heard,
    /// When the response was there.
    answered: Option<Instant>,
    /// What is known of the request, once an answer needs it.
    request: Option<(Facts, Option<RequestId>)>,
    asks: Vec<(CallKey, Instant)>,
}

impl<B: Body<Data = Bytes, Error = AnswerFault> + Unpin> Tap<B> {
    /// Taps the body of an answer. `stream`: it is a session's stream. `open`: keeps it counted.
    pub fn new(
        inner: B,
        report: Report,
        reading: Reading,
        stream: Option<Rc<SessionStream>>,
        open: Option<OpenStream>,
    ) -> Tap<B> {
        let reader = match reading {
            Reading::Json => Some(answer::Body::json()),
            Reading::Stream => Some(answer::Body::stream()),
            Reading::Encoded | Reading::Other | Reading::Nothing => None,
        };
        let seen = Seen {
            report,
            reading,
            bytes: 0,
            stream,
            heard: match reading {
                Reading::Encoded => Heard::Encoded,
                Reading::Nothing => Heard::NotRead,
                Reading::Json | Reading::Stream | Reading::Other => Heard::Nothing,
            },
            answered: None,
            request: None,
            asks: Vec::new(),
        };
        let mut tap = Tap { inner, reader, seen, open };
        tap.check_end();
        tap
    }

    fn see(&mut self, data: &[u8]) {
        let Tap { reader, seen, .. } = self;
        seen.bytes += data.len() as u64;
        if let Some(reader) = reader {
            reader.feed(data, &mut |message| seen.message(&message));
        } else if seen.reading == Reading::Other && !data.is_empty() {
            seen.heard = Heard::WrongType;
        }
        self.check_end();
    }

    /// Whoever reads us may not ask again after the last piece.
    fn check_end(&mut self) {
        if self.inner.is_end_stream() {
            self.end(Close::Complete);
        }
    }
}

impl<B> Tap<B> {
    fn end(&mut self, close: Close) {
        let Tap { reader, seen, open, .. } = self;
        if let (Some(reader), Close::Complete) = (reader.as_mut(), close) {
            reader.finish(&mut |message| seen.message(&message));
        }
        seen.tell(close, reader.as_ref());
        *open = None;
    }
}

impl Seen {
    fn message(&mut self, message: &Message) {
        if let Some(stream) = &self.stream {
            // Somebody else's answer, by its id.
            return match message {
                Message::Response(Response { id: Some(id), content }) => {
                    stream.answer(id, *content);
                }
                Message::Request(Some(id)) => stream.ask(id),
                _ => {}
            };
        }
        let report = &self.report;
        let (facts, id) = self.request.get_or_insert_with(|| (report.facts(), report.request_id()));
        self.heard.hear(message, facts, report.status(), id.as_ref());
        match message {
            Message::Request(Some(id)) => self.ask(id),
            Message::Response(_) if self.is_answered() => {
                self.answered.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
    }

    fn is_answered(&self) -> bool {
        matches!(self.heard, Heard::Batch(_) | Heard::Response { ours: true, .. })
    }

    fn ask(&mut self, id: &RequestId) {
        if let Some(session) = self.report.session()
            && self.answered.is_none()
            && self.asks.len() < ASKS_MAX
        {
            self.asks.push((CallKey::of(session, id), Instant::now()));
        }
    }

    fn tell(&mut self, close: Close, reader: Option<&answer::Body>) {
        let retry = || reader.and_then(answer::Body::retry);
        if let Some(stream) = self.stream.take() {
            match close {
                Close::Complete => stream.end(StreamEnd::ByServer(retry())),
                Close::Broken | Close::Stalled { .. } => stream.end(StreamEnd::Broken),
                Close::ClientLeft | Close::NotResumed => {}
            }
        }
        let is_silent = matches!(self.heard, Heard::Nothing | Heard::NoResponse);
        let may_resume =
            close == Close::Complete && is_silent && reader.is_some_and(answer::Body::saw_event_id);
        self.report.tell(Told {
            heard: self.heard,
            close,
            bytes: self.bytes,
            answered: self.answered,
            asks: std::mem::take(&mut self.asks),
            resume_after: may_resume.then(|| retry().unwrap_or_default()),
        });
    }
}

impl<B: Body<Data = Bytes, Error = AnswerFault> + Unpin> Body for Tap<B> {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => self.see(data),
                None => self.check_end(),
            },
            Poll::Ready(Some(Err(fault))) => {
                tracing::debug!(%fault, "answer not completed");
                let asked = !self.seen.asks.is_empty();
                self.end(match fault {
                    AnswerFault::Broken(_) => Close::Broken,
                    AnswerFault::Stalled => Close::Stalled { asked },
                    AnswerFault::Stopping => Close::ClientLeft,
                });
            }
            Poll::Ready(None) => self.end(Close::Complete),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Tap<B> {
    fn drop(&mut self) {
        self.end(Close::ClientLeft);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::task::Waker;

    use http::{HeaderMap, Method as HttpMethod};
    use proptest::collection::vec;
    use proptest::prelude::{Just, any, prop_oneof, proptest};

    use super::super::report::Desk;
    use super::super::tally::Tally;
    use super::*;
    use crate::mcp::Call;
    use crate::mcp::classify::Paths;

    /// A body in pieces, which ends well or not.
    struct Pieces {
        left: VecDeque<Vec<u8>>,
        stalls: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = AnswerFault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
            Poll::Ready(match self.left.pop_front() {
                Some(piece) => Some(Ok(Frame::data(piece.into()))),
                None if self.stalls => Some(Err(AnswerFault::Stalled)),
                None => None,
            })
        }

        fn is_end_stream(&self) -> bool {
            self.left.is_empty() && !self.stalls
        }
    }

    fn report(tally: &Rc<RefCell<Tally>>) -> Report {
        let paths = Paths { mcp: "/mcp", sse: "/sse" };
        let call = Call::of(&HttpMethod::POST, "/mcp", &HeaderMap::new(), paths, false);
        let desk = Desk {
            tally: Rc::clone(tally),
            tools: Arc::default(),
            suspect_after: 3,
            eject_after: None,
            access_log: false,
        };
        Report::new(desk, call, Rc::default(), None)
    }

    proptest! {
        #[test]
        fn every_piece_passes_and_the_end_is_told_once(
            pieces in vec(prop_oneof![
                vec(any::<u8>(), 0..40),
                Just(b"data: {\"id\":1,\"result\":{}}\n\n".to_vec()),
                Just(b"{\"id\":1,\"error\":{\"code\":-32603}}".to_vec()),
            ], 0..12),
            stalls: bool,
            // Asked again after the end, or dropped before it.
            polls in 0..16_usize,
            reading in prop_oneof![
                Just(Reading::Json), Just(Reading::Stream), Just(Reading::Encoded),
                Just(Reading::Other), Just(Reading::Nothing),
            ],
        ) {
            let tally = Rc::new(RefCell::new(Tally::default()));
            let body = Pieces { left: pieces.clone().into(), stalls };
            let mut tap = Tap::new(body, report(&tally), reading, None, None);
            let mut passed = Vec::new();
            for _ in 0..polls {
                let polled =
                    Pin::new(&mut tap).poll_frame(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(Some(Ok(frame))) = polled {
                    passed.push(frame.into_data().unwrap().to_vec());
                }
            }
            drop(tap);
            assert_eq!(passed, pieces[..polls.min(pieces.len())]);
            let tally = tally.borrow();
            let told: Vec<_> = tally.exchanges.values().map(|it| (it.exchanges, it.bytes)).collect();
            assert_eq!(told, [(1, passed.concat().len() as u64)]);
        }
    }
}
