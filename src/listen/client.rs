//! The socket of a client: how it is set up, and how it ends at once when it has to.
//!
//! Does not know: what goes over it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Silence after which the kernel asks whether the client is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// How long sent bytes may stay unacknowledged or a full window closed at least before the kernel
/// ends the connection (`TCP_USER_TIMEOUT`).
const UNREAD_MIN: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes for a client before it sends them (`TCP_NOTSENT_LOWAT`): more would
/// wait there for a client that does not read, unseen by us. It asks for more at half of them.
const UNSENT_MAX: u32 = 16 * 1024;

/// Whether a socket is to end at once, without waiting for what the client has not taken.
#[derive(Clone, Debug, Default)]
pub struct Reset(Rc<Cell<bool>>);

impl Reset {
    /// It is.
    pub fn set(&self) {
        self.0.set(true);
    }
}

/// A client's socket.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    reset: Reset,
}

impl Client {
    /// Sets a socket up: small pieces go out at once, and a peer that is gone or takes nothing for
    /// longer than `write_idle` is found.
    pub fn new(stream: TcpStream, write_idle: Duration) -> Client {
        // A socket that cannot be set up is one that has just been closed.
        let _ = set_up(&stream, write_idle.max(UNREAD_MIN));
        Client { stream, reset: Reset::default() }
    }

    /// What makes it end at once.
    pub fn reset(&self) -> Reset {
        self.reset.clone()
    }
}

fn set_up(stream: &TcpStream, unread_max: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    socket.set_tcp_user_timeout(Some(unread_max))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)
}

impl Drop for Client {
    /// Otherwise the kernel would go on offering what is left, for as long again.
    fn drop(&mut self) {
        if self.reset.0.get() {
            // It is closed either way.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Client {
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
