//! A connection that is held to its pace: the stream, the service, the answers and the tasks of
//! HTTP/2 each tell what happens, and the guard is asked along with the connection.
//!
//! One timer a connection, set anew only when something is due earlier or when it has gone off.
//! Does not know: the rules.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::drain::Ending;

use super::frames::FRAME_MAX;
use super::pace::{Due, Pace};

/// A connection's pace, shared by all that belongs to it.
#[derive(Clone, Debug)]
pub struct Watched(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    pace: RefCell<Pace>,
    /// When the guard looks next of its own accord.
    armed: Cell<Option<Instant>>,
    guard: RefCell<Option<Waker>>,
    flooded: Cell<bool>,
}

impl Watched {
    /// A connection with this pace.
    pub fn new(pace: Pace) -> Watched {
        let (pace, guard) = (RefCell::new(pace), RefCell::default());
        Watched(Rc::new(Inner { pace, armed: Cell::default(), guard, flooded: Cell::default() }))
    }

    /// Whether it ended because more came than any client needs.
    pub fn is_flooded(&self) -> bool {
        self.0.flooded.get()
    }

    /// Everything is to end.
    pub fn begin_end(&self, ending: &Ending) {
        self.0.pace.borrow_mut().begin_end(ending.began, ending.over);
        self.recheck();
    }

    /// The stream, watched.
    pub fn stream<T>(&self, inner: T) -> Stream<T> {
        Stream { inner, watched: self.clone() }
    }

    /// What asks for the time.
    pub fn guard(&self) -> Guard {
        Guard { watched: self.clone(), timer: None }
    }

    /// The service, watched: each of its answers counts until its last byte.
    #[expect(clippy::type_complexity, reason = "a boxed future would cost each request")]
    pub fn service<S, B>(
        &self,
        service: S,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Answer<B>>,
        Error = S::Error,
        Future = impl Future<Output = Result<Response<Answer<B>>, S::Error>> + 'static,
    >
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Future: 'static,
        S::Error: Error + Send + Sync + 'static,
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Error + Send + Sync,
    {
        let watched = self.clone();
        service_fn(move |request| {
            let exchange = Exchange::begin(&watched);
            let answered = service.call(request);
            async move {
                let mut answered = answered.await?;
                if exchange.watched.0.pace.borrow().is_last() {
                    let headers = answered.headers_mut();
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                let answer = |inner| Answer { inner, rest: Bytes::new(), waiting: None, exchange };
                Ok(answered.map(answer))
            }
        })
    }

    /// Something may be due earlier than the guard looks.
    fn recheck(&self) {
        let due = self.0.pace.borrow().next();
        if due.is_some_and(|due| self.0.armed.get().is_none_or(|armed| due < armed)) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(guard) = self.0.guard.borrow().as_ref() {
            guard.wake_by_ref();
        }
    }
}

/// Runs what hyper splits off of HTTP/2, each stream a task on the worker's own thread.
impl<F: Future<Output = ()> + 'static> Executor<F> for Watched {
    fn execute(&self, future: F) {
        let task = tokio::task::spawn_local(future);
        self.0.pace.borrow_mut().ends_by(task.abort_handle());
    }
}

/// Counts as one exchange for as long as it lives.
#[derive(Debug)]
struct Exchange {
    watched: Watched,
    number: u64,
}

impl Exchange {
    fn begin(watched: &Watched) -> Exchange {
        let number = watched.0.pace.borrow_mut().begin();
        Exchange { watched: watched.clone(), number }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.watched.0.pace.borrow_mut().end(self.number, Instant::now());
        self.watched.recheck();
    }
}

/// The body of an answer, in pieces of one HTTP/2 frame at most: of a stream whose window is shut
/// no more than two of them are held.
#[derive(Debug)]
pub struct Answer<B> {
    inner: B,
    rest: Bytes,
    /// Bytes of the piece that was given last and may still wait.
    waiting: Option<usize>,
    exchange: Exchange,
}

impl<B: Body<Data = Bytes>> Answer<B> {
    fn give(&mut self) -> Frame<Bytes> {
        let length = self.rest.len().min(FRAME_MAX as usize);
        let piece = self.rest.split_to(length);
        let Exchange { watched, number } = &self.exchange;
        watched.0.pace.borrow_mut().piece_waits(*number, length, Instant::now());
        watched.recheck();
        self.waiting = Some(length);
        Frame::data(piece)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        // Whoever asks for the next piece has got rid of the last.
        if let Some(length) = this.waiting.take() {
            let Exchange { watched, number } = &this.exchange;
            watched.0.pace.borrow_mut().piece_taken(*number, length, Instant::now());
        }
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        Poll::Ready(Some(Ok(this.give())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// Tells when a connection is to end.
#[derive(Debug)]
pub struct Guard {
    watched: Watched,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Guard {
    /// What is due; to be asked after each turn of the connection.
    pub fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        let inner = &*self.watched.0;
        let mut waker = inner.guard.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        loop {
            let now = Instant::now();
            let next = match inner.pace.borrow_mut().due(now) {
                Due::Later(next) => next,
                due => return Poll::Ready(due),
            };
            // One that has gone off is of no more use.
            let armed = inner.armed.get().filter(|armed| *armed > now);
            inner.armed.set(armed);
            let Some(next) = next else { return Poll::Pending };
            if armed.is_none_or(|armed| next < armed) {
                match &mut self.timer {
                    Some(timer) => timer.as_mut().reset(next),
                    None => self.timer = Some(Box::pin(sleep_until(next))),
                }
                inner.armed.set(Some(next));
            }
            let Some(timer) = &mut self.timer else { return Poll::Pending };
            ready!(timer.as_mut().poll(cx));
            inner.armed.set(None);
        }
    }
}

/// The stream of a connection that is held to its pace.
#[derive(Debug)]
pub struct Stream<T> {
    inner: T,
    watched: Watched,
}

impl<T> Stream<T> {
    /// Notes what became of an attempt to write; `all`: there is nothing left to write then.
    fn wrote(&self, outcome: Poll<io::Result<usize>>, all: bool) -> Poll<io::Result<usize>> {
        let mut pace = self.watched.0.pace.borrow_mut();
        match &outcome {
            Poll::Pending => pace.waits(Instant::now()),
            Poll::Ready(Ok(bytes)) if pace.is_waited_for() => {
                pace.wrote(Instant::now(), *bytes, all);
            }
            Poll::Ready(_) => {}
        }
        outcome
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let new = &buffer.filled()[before..];
        if !new.is_empty()
            && let Err(excess) = self.watched.0.pace.borrow_mut().read(new, Instant::now())
        {
            self.watched.0.flooded.set(true);
            return Poll::Ready(Err(io::Error::other(excess)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(outcome, false)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.wrote(outcome, false)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(outcome.map_ok(|()| 0), true).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.wrote(outcome.map_ok(|()| 0), true).map_ok(|_| ())
    }
}
