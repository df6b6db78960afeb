//! The socket of a client: how it is set up, and how it ends at once when it has to.
//!
//! Does not know: what goes over it.

use std::cell::Cell;
use std::io::{self, Read as _};
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

/// What others know of a client's socket, and want of it.
#[derive(Clone, Debug, Default)]
pub struct Handle(Rc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    reset: Cell<bool>,
    close_look: Cell<bool>,
    heard: Cell<bool>,
}

impl Handle {
    /// It is to end at once, without waiting for what the client has not taken.
    pub fn reset(&self) {
        self.0.reset.set(true);
    }

    /// From now on it asks the kernel itself whether something has come, since it may be closed for
    /// its silence: what the runtime says may be as old as its last look at all sockets.
    pub fn look_closely(&self) {
        self.0.close_look.set(true);
    }

    /// Whether anything has ever come.
    pub fn is_heard(&self) -> bool {
        self.0.heard.get()
    }
}

/// A client's socket.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    handle: Handle,
}

impl Client {
    /// Sets a socket up: small pieces go out at once, and a peer that is gone or takes nothing for
    /// longer than `write_idle` is found.
    pub fn new(stream: TcpStream, write_idle: Duration) -> Client {
        // A socket that cannot be set up is one that has just been closed.
        let _ = set_up(&stream, write_idle.max(UNREAD_MIN));
        Client { stream, handle: Handle::default() }
    }

    /// A hold on it, for others.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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
        if self.handle.0.reset.get() {
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
        let before = buffer.filled().len();
        let mut read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() && self.handle.0.close_look.get() {
            let come = (&*SockRef::from(&self.stream)).read(buffer.initialize_unfilled());
            if let Ok(come) = come {
                buffer.advance(come);
                read = Poll::Ready(Ok(()));
            }
        }
        if buffer.filled().len() > before {
            self.handle.0.heard.set(true);
        }
        read
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
