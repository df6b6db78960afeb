//! A connection to a server, with TLS or without.
//!
//! One type for both, so that nobody after the handshake has to know which it is. Errors that TLS
//! explains carry a [`Fault`]. Does not know: HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::client::Client;
use super::fault::Fault;

/// How an alert begins, in whatever version of TLS: all that a server says to plain HTTP.
const ALERT: [u8; 2] = [21, 3];

/// A connection to a server.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    /// `fresh`: nothing has come yet.
    Plain { stream: TcpStream, fresh: bool },
    /// Many times as big as the other.
    Secure(Box<Secure>),
}

#[derive(Debug)]
struct Secure {
    stream: TlsStream<TcpStream>,
    client: Arc<Client>,
    name: String,
}

impl Stream {
    /// A connection without TLS.
    pub fn plain(stream: TcpStream) -> Stream {
        Stream(Kind::Plain { stream, fresh: true })
    }

    /// One after its handshake with the server of this name.
    pub(super) fn secure(stream: TlsStream<TcpStream>, client: Arc<Client>, name: &str) -> Stream {
        Stream(Kind::Secure(Box::new(Secure { stream, client, name: name.to_owned() })))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain { stream, fresh } => {
                let before = buffer.filled().len();
                ready!(Pin::new(stream).poll_read(context, buffer))?;
                let read = &buffer.filled()[before..];
                if std::mem::take(fresh) && read.starts_with(&ALERT) {
                    return Poll::Ready(Err(Fault::speaks_tls().into()));
                }
                Poll::Ready(Ok(()))
            }
            Kind::Secure(it) => {
                let read = ready!(Pin::new(&mut it.stream).poll_read(context, buffer));
                // What breaks a connection without TLS breaks one with it: that stays as it is.
                Poll::Ready(read.map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidData => it.client.told(&error, &it.name).into(),
                    _ => error,
                }))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Kind::Plain { stream, .. } => Pin::new(stream).poll_write(context, bytes),
            Kind::Secure(it) => Pin::new(&mut it.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Kind::Plain { stream, .. } => Pin::new(stream).poll_write_vectored(context, slices),
            Kind::Secure(it) => Pin::new(&mut it.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Kind::Plain { stream, .. } => stream.is_write_vectored(),
            Kind::Secure(it) => it.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain { stream, .. } => Pin::new(stream).poll_flush(context),
            Kind::Secure(it) => Pin::new(&mut it.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain { stream, .. } => Pin::new(stream).poll_shutdown(context),
            Kind::Secure(it) => Pin::new(&mut it.stream).poll_shutdown(context),
        }
    }
}
