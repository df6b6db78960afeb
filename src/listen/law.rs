//! The law of HTTP/1 as far as only the bytes can tell: a reader that looks at them on their way to
//! the library, and a verdict on each request head.
//!
//! Heads at fault are handed on with their verdict, so that whoever answers can say why and end the
//! connection; a body at fault ends there and then, before the byte that breaks it. Both sides
//! count heads in the same order, so a head without a verdict is one that they read differently:
//! it is for refusal as well. Does not know: how a refusal is told.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::Request;
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub mod scan;

use scan::Scanner;

/// What makes a request one that two programs could read differently (RFC 9112).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Section 3: one space between method, target and version, and HTTP/1.0 or HTTP/1.1.
    #[error("the request line is not METHOD TARGET HTTP/1.1")]
    Line,
    /// Section 3.2: visible ASCII without a fragment. Some take a backslash for a slash.
    #[error("the request's target has characters that no target may have")]
    Target,
    /// Section 2.2: lines end in CRLF, and CR and LF stand nowhere else.
    #[error("the lines of a request must end in CR LF")]
    LineEnd,
    /// Section 5: a name, a colon right behind it, a value on the same line.
    #[error("a header line is not NAME: VALUE")]
    Field,
    /// Section 6.2: one length, of digits.
    #[error("Content-Length must be one number")]
    Length,
    /// Section 6.1: one coding, not in HTTP/1.0, and no length beside it.
    #[error("Transfer-Encoding must be one chunked, without a Content-Length")]
    Coding,
    /// A coding that is not understood here.
    #[error("the only transfer coding is chunked")]
    UnknownCoding,
}

/// How the end of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes; 0 where there is none.
    Length(u64),
    /// By its last chunk.
    Chunked,
}

/// The verdict on a request head; an extension of every HTTP/1 request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict(pub Result<Framing, Fault>);

/// Watches what is read from a connection, and lays the verdict on each request beside it.
pub fn watch<T, S>(stream: T, service: S) -> (Watched<T>, Judged<S>) {
    let scanner = Rc::new(RefCell::new(Scanner::default()));
    let watched = Watched { stream, scanner: Rc::clone(&scanner), is_broken: false };
    (watched, Judged { service, scanner })
}

/// A connection whose bytes are looked at when they are read.
#[derive(Debug)]
pub struct Watched<T> {
    stream: T,
    scanner: Rc<RefCell<Scanner>>,
    /// The next byte would break the framing of a body.
    is_broken: bool,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if !self.is_broken {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let read = self.scanner.borrow_mut().feed(&buffer.filled()[before..]);
            let Err(good) = read else { return Poll::Ready(Ok(())) };
            buffer.set_filled(before + good);
            self.is_broken = true;
            if good > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let kind = io::ErrorKind::InvalidData;
        Poll::Ready(Err(io::Error::new(kind, "the body's framing is broken")))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A service that finds the verdict on a request among its extensions.
#[derive(Debug)]
pub struct Judged<S> {
    service: S,
    scanner: Rc<RefCell<Scanner>>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Judged<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        if let Some(verdict) = self.scanner.borrow_mut().next_verdict() {
            request.extensions_mut().insert(verdict);
        }
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests;
