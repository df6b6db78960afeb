//! A server's answer while it streams: every piece passes at once.
//!
//! The body holds its connection. A body that ends gives the connection back; one that is dropped
//! closes it there and then, so that a client's hang-up reaches the server. Does not know: MCP.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::names::EndpointId;
use crate::route::endpoint::InFlight;

use super::pool::{Connection, Pool};

/// Why an answer broke off after its head.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// The connection ended, or what came was no HTTP.
    #[error("the answer broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("the answer stalled")]
    Stalled,
    /// The router stops, and the client is to see that this is not the end.
    #[error("the router stops")]
    Stopping,
}

/// The connection that an answer comes on.
pub struct Lease {
    /// The pool that it goes back to.
    pub pool: Rc<Pool>,
    /// Where it leads.
    pub endpoint: EndpointId,
    /// The connection.
    pub connection: Connection,
    /// Keeps the exchange counted.
    pub in_flight: Option<InFlight>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct AnswerBody {
    body: Incoming,
    lease: Option<Lease>,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl AnswerBody {
    /// A body that may pause for `idle`; without one it may be silent for ever.
    pub fn new(body: Incoming, lease: Lease, idle: Option<Duration>) -> AnswerBody {
        let idle = idle.map(|idle| (idle, Box::pin(tokio::time::sleep(idle))));
        let mut answer = AnswerBody { body, lease: Some(lease), idle };
        answer.rest();
        answer
    }

    /// Gives the connection back as soon as there is nothing left to read.
    fn rest(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.pool.give_back(lease.endpoint, lease.connection);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let this = &mut *self;
        loop {
            return match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some((idle, timer)) = &mut this.idle {
                        timer.as_mut().reset(Instant::now() + *idle);
                    }
                    // Trailers are dropped, as a request's are: nothing in MCP uses them.
                    let Ok(data) = frame.into_data() else { continue };
                    this.rest();
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Err(error))) => {
                    this.lease = None;
                    Poll::Ready(Some(Err(error.into())))
                }
                Poll::Ready(None) => {
                    if let Some(lease) = this.lease.take() {
                        lease.pool.give_back(lease.endpoint, lease.connection);
                    }
                    Poll::Ready(None)
                }
                Poll::Pending => {
                    let Some((_, timer)) = &mut this.idle else { return Poll::Pending };
                    ready!(timer.as_mut().poll(cx));
                    this.lease = None;
                    Poll::Ready(Some(Err(AnswerFault::Stalled)))
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
