//! The body of a client's request on its way to a server.
//!
//! The beginning can be read ahead (a bounded peek) without holding the rest back; every byte that
//! passes is counted, timed and shown to the envelope reader, so that the request's id is known
//! even where nobody waited for it. Does not know: what is done with the envelope.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::mcp::message::{Reader, Shape};
use crate::mcp::scan::Progress;

/// Bytes read ahead at most. A method stands in front of its parameters in what every SDK writes,
/// and nearly every whole message is smaller.
pub const PEEK_MAX: usize = 64 * 1024;

/// Pieces below this size are copied; for larger ones the copy would cost more than it saves.
const SMALL_PIECE: usize = 4096;

/// How long a client may be waited for before what it sends is held to a rate.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// How long a body that is not wanted any more is read on, so that the answer gets through to a
/// client that is still writing.
const DISCARD_MAX: Duration = Duration::from_secs(2);

/// Why a body came to nothing; always the client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// More bytes than the limit.
    #[error("the request body is larger than the limit")]
    TooLarge,
    /// Nothing came for too long, or too little of it.
    #[error("the request body stalled")]
    Stalled,
    /// The client went away in the middle of it.
    #[error("the request body broke off")]
    BrokenOff,
    /// Its chunks are none.
    #[error("the request body is not framed as HTTP says")]
    BadFraming,
    /// Not one JSON-RPC message.
    #[error("the request body is no JSON-RPC message")]
    Malformed,
}

/// What a client may send, and how slowly.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes at most.
    pub bytes: u64,
    /// Between two pieces.
    pub idle: Duration,
    /// Bytes a second at least, on average over the time in which the client is waited for, once
    /// that is more than 5 s; 0: any.
    pub min_rate: u64,
}

impl Bounds {
    /// How much longer a client may be waited for that has sent so much after being waited for
    /// so long.
    fn patience(&self, seen: u64, waited: Duration) -> Duration {
        if self.min_rate == 0 {
            return self.idle;
        }
        let paid = Duration::from_secs_f64(seen as f64 / self.min_rate as f64);
        self.idle.min(paid.max(RATE_GRACE).saturating_sub(waited))
    }
}

/// What is known of a body while it passes.
#[derive(Debug, Default)]
pub struct Watch {
    reader: Reader,
    seen: u64,
    fault: Option<BodyFault>,
    /// The body is to be one JSON-RPC message.
    message: bool,
    /// When the client was last heard.
    heard: Option<Instant>,
    /// The next piece is the client's to send.
    awaited: bool,
}

impl Watch {
    /// The envelope as far as it has come.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// When the client was last heard: now, while there is a piece that it has not sent yet.
    pub fn heard(&self) -> Option<Instant> {
        if self.awaited { Some(Instant::now()) } else { self.heard }
    }

    /// What went wrong, if anything did.
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault
    }

    fn pass(&mut self, data: &[u8], limit: u64) -> Result<(), BodyFault> {
        (self.heard, self.awaited) = (Some(Instant::now()), false);
        self.seen += data.len() as u64;
        if self.seen > limit {
            return self.fail(BodyFault::TooLarge);
        }
        if self.message {
            self.reader.feed(data);
            if self.reader.progress() == Progress::Invalid {
                return self.fail(BodyFault::Malformed);
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyFault> {
        if self.message && self.reader.finish() != Progress::Complete {
            return self.fail(BodyFault::Malformed);
        }
        Ok(())
    }

    fn fail<T>(&mut self, fault: BodyFault) -> Result<T, BodyFault> {
        self.fault = Some(fault);
        Err(fault)
    }
}

/// The body of one request.
#[derive(Debug)]
pub struct RequestBody {
    ahead: VecDeque<Bytes>,
    rest: Option<Incoming>,
    watch: Rc<RefCell<Watch>>,
    bounds: Bounds,
    /// Since when the client is waited for, and what tells when that is for too long.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// How long it was waited for before that.
    waited: Duration,
}

impl RequestBody {
    /// A body within these bounds. With `message` it is to be one JSON-RPC message, and is broken
    /// off where it turns out not to be.
    pub fn new(body: Incoming, message: bool, bounds: Bounds) -> RequestBody {
        let rest = (!body.is_end_stream()).then_some(body);
        let watch = Rc::new(RefCell::new(Watch { message, ..Watch::default() }));
        let waited = Duration::ZERO;
        RequestBody { ahead: VecDeque::new(), rest, watch, bounds, waiting: None, waited }
    }

    /// What is known of the body; stays readable after the body has been sent on.
    pub fn watch(&self) -> Rc<RefCell<Watch>> {
        Rc::clone(&self.watch)
    }

    /// Reads ahead until the body is over or [`PEEK_MAX`] bytes are there.
    pub async fn peek(&mut self) -> Result<Shape, BodyFault> {
        let mut read = 0;
        // Small pieces are put together, so that many of them take no more room than their bytes.
        let mut small = Vec::new();
        while self.rest.is_some() && read < PEEK_MAX {
            let Some(data) = std::future::poll_fn(|cx| self.poll_rest(cx)).await? else { break };
            read += data.len();
            let alone = self.rest.is_none() && small.is_empty();
            if data.len() < SMALL_PIECE && !alone {
                small.extend_from_slice(&data);
                continue;
            }
            if !small.is_empty() {
                self.ahead.push_back(std::mem::take(&mut small).into());
            }
            self.ahead.push_back(data);
        }
        if !small.is_empty() {
            self.ahead.push_back(small.into());
        }
        let mut watch = self.watch.borrow_mut();
        if self.rest.is_none() {
            watch.end()?;
        }
        Ok(watch.reader.shape())
    }

    /// The same body once more, if all of it has been read ahead.
    pub fn replay(&self) -> Option<RequestBody> {
        self.rest.is_none().then(|| RequestBody {
            ahead: self.ahead.clone(),
            rest: None,
            watch: Rc::clone(&self.watch),
            bounds: self.bounds,
            waiting: None,
            waited: self.waited,
        })
    }

    /// Reads and forgets what is left of a body that nobody took, so that the id in it is known to
    /// the answer.
    pub async fn read_on(&mut self) {
        let read_all = async {
            while let Ok(Some(_)) = std::future::poll_fn(|cx| self.poll_rest(cx)).await {}
        };
        if tokio::time::timeout(DISCARD_MAX, read_all).await.is_ok() && self.rest.is_none() {
            // A fault has been noted; the answer is another one already.
            let _ = self.watch.borrow_mut().end();
        }
    }

    /// The next piece that the client sends; `None` at the end.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        let Some(rest) = self.rest.as_mut() else { return Poll::Ready(Ok(None)) };
        loop {
            match Pin::new(&mut *rest).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some((since, _)) = self.waiting.take() {
                        self.waited += since.elapsed();
                    }
                    // Trailers are dropped: nothing in MCP uses them.
                    let Ok(data) = frame.into_data() else { continue };
                    self.watch.borrow_mut().pass(&data, self.bounds.bytes)?;
                    if rest.is_end_stream() {
                        self.rest = None;
                    }
                    return Poll::Ready(Ok(Some(data)));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(self.watch.borrow_mut().fail(fault(&error)));
                }
                Poll::Ready(None) => {
                    self.rest = None;
                    self.watch.borrow_mut().awaited = false;
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => {
                    let mut watch = self.watch.borrow_mut();
                    watch.awaited = true;
                    let (_, timer) = self.waiting.get_or_insert_with(|| {
                        let now = Instant::now();
                        let patience = self.bounds.patience(watch.seen, self.waited);
                        (now, Box::pin(tokio::time::sleep_until(now + patience)))
                    });
                    ready!(timer.as_mut().poll(cx));
                    return Poll::Ready(watch.fail(BodyFault::Stalled));
                }
            }
        }
    }
}

/// What an error of a body says of the client.
fn fault(error: &hyper::Error) -> BodyFault {
    let kind = error.source().and_then(|it| it.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => BodyFault::BadFraming,
        _ => BodyFault::BrokenOff,
    }
}

impl Drop for RequestBody {
    /// An early answer would be lost in the reset of a connection that nobody reads.
    fn drop(&mut self) {
        if let Some(mut rest) = self.rest.take() {
            tokio::task::spawn_local(async move {
                let read_all = async {
                    while let Some(Ok(_)) =
                        std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await
                    {
                    }
                };
                // Past the bound the connection is simply closed.
                let _ = tokio::time::timeout(DISCARD_MAX, read_all).await;
            });
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(data) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.rest.is_none() {
            return Poll::Ready(None);
        }
        match ready!(self.poll_rest(cx)) {
            Ok(Some(data)) => {
                // The last piece is held to what the whole body has to be.
                let ended = self.rest.is_none();
                if ended && let Err(fault) = self.watch.borrow_mut().end() {
                    return Poll::Ready(Some(Err(fault)));
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Ok(None) => Poll::Ready(self.watch.borrow_mut().end().err().map(Err)),
            Err(fault) => Poll::Ready(Some(Err(fault))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.ahead.iter().map(|data| data.len() as u64).sum();
        let mut hint = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let (lower, upper) = (hint.lower() + ahead, hint.upper().map(|upper| upper + ahead));
        hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_sent_much_may_pause_and_who_has_sent_little_may_not() {
        let seconds = Duration::from_secs;
        let bounds = |min_rate| Bounds { bytes: 1 << 20, idle: seconds(15), min_rate };
        for (min_rate, seen, waited, want) in [
            (500, 0, 0, 5),
            (500, 100, 4, 1),
            (500, 100, 5, 0),
            (500, 100, 6, 0),
            (500, 3000, 4, 2),
            (500, 5000, 9, 1),
            (500, 1_000_000, 9, 15),
            (0, 0, 1000, 15),
        ] {
            let patience = bounds(min_rate).patience(seen, seconds(waited));
            assert_eq!(patience, seconds(want), "{seen} in {waited} s at {min_rate}");
        }
    }
}
