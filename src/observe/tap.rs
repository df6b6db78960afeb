//! Wraps an answer's body and reports once how the exchange ended: at its end, at an error, or
//! when the client drops it.
//!
//! Does not know: what is in the body.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

use crate::mcp::Method;
use crate::names::Arm;
use crate::upstream::answer::AnswerFault;

use super::tally::{Labels, Outcome, Tally};

/// The report of one exchange, made exactly once; dropped without a word, it says `cancelled`.
#[derive(Debug)]
pub struct Report {
    tally: Rc<RefCell<Tally>>,
    arm: Option<Arm>,
    method: Method,
    made: bool,
}

impl Report {
    /// A report that is still to be made.
    pub fn new(tally: &Rc<RefCell<Tally>>, method: Method) -> Report {
        Report { tally: Rc::clone(tally), arm: None, method, made: false }
    }

    /// The body has told the method.
    pub fn set_method(&mut self, method: Method) {
        self.method = method;
    }

    /// An endpoint of this arm has been asked.
    pub fn set_arm(&mut self, arm: Arm) {
        self.arm = Some(arm);
    }

    /// Makes the report; `status` is what the client got.
    pub fn make(&mut self, outcome: Outcome, status: Option<StatusCode>) {
        if std::mem::replace(&mut self.made, true) {
            return;
        }
        let (arm, method) = (self.arm, self.method);
        let status = status.map_or(0, |status| status.as_u16() / 100);
        self.tally.borrow_mut().exchange(Labels { arm, method, outcome, status });
    }

    /// Leaves the report to whoever sees the exchange to its end.
    #[must_use]
    pub fn hand_over(&mut self) -> Report {
        let made = std::mem::replace(&mut self.made, true);
        Report { tally: Rc::clone(&self.tally), arm: self.arm, method: self.method, made }
    }

    /// Not to be counted at all: a browser's preflight.
    pub fn waive(&mut self) {
        self.made = true;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.make(Outcome::Cancelled, None);
    }
}

/// A body that reports how it ended.
#[derive(Debug)]
pub struct Tap<B> {
    inner: B,
    report: Report,
    status: StatusCode,
    /// Streams without an answer of their own end when the client leaves.
    endless: bool,
    stream: Option<OpenStream>,
}

impl<B: Body<Data = Bytes, Error = AnswerFault> + Unpin> Tap<B> {
    /// Taps the body of an answer. `endless`: it has no end of its own, so the client's leaving
    /// is its end. `stream`: keeps it counted as an open stream.
    pub fn new(
        inner: B,
        report: Report,
        status: StatusCode,
        endless: bool,
        stream: Option<OpenStream>,
    ) -> Tap<B> {
        let mut tap = Tap { inner, report, status, endless, stream };
        tap.check_end();
        tap
    }

    fn check_end(&mut self) {
        if self.inner.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        self.report.make(Outcome::of(self.status), Some(self.status));
        self.stream = None;
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
            Poll::Ready(Some(Ok(_))) => self.check_end(),
            Poll::Ready(Some(Err(fault))) => {
                let outcome = match fault {
                    AnswerFault::Broken(_) => Outcome::Transport,
                    AnswerFault::Stalled => Outcome::Timeout,
                };
                tracing::debug!(%fault, "answer not completed");
                let status = self.status;
                self.report.make(outcome, Some(status));
                self.stream = None;
            }
            Poll::Ready(None) => self.end(),
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
        if self.endless {
            self.report.make(Outcome::of(self.status), Some(self.status));
        }
    }
}

/// Keeps a stream counted as open.
#[derive(Debug)]
pub struct OpenStream {
    tally: Rc<RefCell<Tally>>,
    arm: Arm,
}

impl OpenStream {
    /// Counts a stream from this arm until the guard is dropped.
    pub fn new(tally: &Rc<RefCell<Tally>>, arm: Arm) -> OpenStream {
        *tally.borrow_mut().now.streams.get_mut(arm) += 1;
        OpenStream { tally: Rc::clone(tally), arm }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        *self.tally.borrow_mut().now.streams.get_mut(self.arm) -= 1;
    }
}
