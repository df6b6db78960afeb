//! Which HTTP is it? Told by the first bytes of a cleartext connection.
//!
//! HTTP/2 with prior knowledge begins with its preface (RFC 9113 section 3.4); no HTTP/1 request
//! does. Done here and not by hyper-util, whose detection has no time limit. Does not know: what
//! is served.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How an HTTP/2 connection begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// A connection whose first bytes have been read and are read once more.
#[derive(Debug)]
pub struct Rewound<T> {
    first: [u8; PREFACE.len()],
    /// The part of `first` that is still to be read.
    unread: std::ops::Range<usize>,
    inner: T,
}

impl<T> Rewound<T> {
    /// A connection whose first byte has been read.
    pub fn after(first: u8, inner: T) -> Rewound<T> {
        let mut all = [0; PREFACE.len()];
        all[0] = first;
        Rewound { first: all, unread: 0..1, inner }
    }
}

/// Reads until the protocol is clear.
///
/// # Errors
/// When the connection ends before that.
pub async fn detect<T: AsyncRead + Unpin>(mut inner: T) -> io::Result<(Protocol, Rewound<T>)> {
    let mut first = [0; PREFACE.len()];
    let mut read = 0;
    let protocol = loop {
        let more = inner.read(&mut first[read..]).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read += more;
        if first[..read] != PREFACE[..read] {
            break Protocol::Http1;
        }
        if read == PREFACE.len() {
            break Protocol::Http2;
        }
    };
    Ok((protocol, Rewound { first, unread: 0..read, inner }))
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let count = self.unread.len().min(buffer.remaining());
        let start = self.unread.start;
        buffer.put_slice(&self.first[start..start + count]);
        self.unread.start += count;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(pieces: &[&[u8]], want: Option<Protocol>) {
        let mut reader = tokio_test_pieces(pieces);
        match (detect(&mut reader).await, want) {
            (Ok((protocol, mut rewound)), Some(want)) => {
                assert_eq!(protocol, want);
                let mut all = Vec::new();
                rewound.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, pieces.concat());
            }
            (Err(_), None) => {}
            (other, want) => panic!("{other:?} instead of {want:?}"),
        }
    }

    /// A reader that gives one piece a read.
    fn tokio_test_pieces(pieces: &[&[u8]]) -> impl AsyncRead + Unpin + std::fmt::Debug {
        #[derive(Debug)]
        struct Pieces(std::collections::VecDeque<Vec<u8>>);
        impl AsyncRead for Pieces {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                if let Some(piece) = self.0.pop_front() {
                    let fits = piece.len().min(buffer.remaining());
                    buffer.put_slice(&piece[..fits]);
                    if fits < piece.len() {
                        self.0.push_front(piece[fits..].to_vec());
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
        Pieces(pieces.iter().map(|piece| piece.to_vec()).collect())
    }

    #[tokio::test]
    async fn protocols() {
        check(&[b"GET / HTTP/1.1\r\n\r\n"], Some(Protocol::Http1)).await;
        check(&[b"P", b"OST / HTTP/1.1\r\n\r\n"], Some(Protocol::Http1)).await;
        check(&[b"PRI * HTTP/1.1\r\n\r\n"], Some(Protocol::Http1)).await;
        check(&[PREFACE, b"frames"], Some(Protocol::Http2)).await;
        check(&[&PREFACE[..3], &PREFACE[3..10], &PREFACE[10..]], Some(Protocol::Http2)).await;
        check(&[&PREFACE[..10]], None).await;
        check(&[], None).await;
    }
}
