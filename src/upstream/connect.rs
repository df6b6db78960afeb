//! One new connection to a server.
//!
//! The one place where it is decided how a server is reached, for real traffic and for our own
//! requests alike. Does not know: what is sent, who keeps the connection.

use std::time::Duration;

use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::route::Endpoint;

/// Bytes of an answer's head; servers that we measured send less than 1 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Silence after which the kernel asks whether the server is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Why there is no connection: nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, not found.
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
    /// No answer in time.
    #[error("no connection within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// The connection failed while it was set up.
    #[error("cannot set up the connection: {0}")]
    Setup(#[from] hyper::Error),
}

/// A connection: where requests go in, and the task that carries them, to be run by the caller.
pub type Opened<B> = (SendRequest<B>, http1::Connection<TokioIo<TcpStream>, B>);

/// Connects to an endpoint within this time.
///
/// # Errors
/// When it is not to be reached.
pub async fn open<B>(endpoint: &Endpoint, limit: Duration) -> Result<Opened<B>, ConnectError>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(limit, dial(endpoint)).await {
        Ok(opened) => opened,
        Err(_) => Err(ConnectError::Timeout(limit)),
    }
}

async fn dial<B>(endpoint: &Endpoint) -> Result<Opened<B>, ConnectError>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let port = endpoint.url.port();
    let stream = match endpoint.address {
        Some(address) => TcpStream::connect((address, port)).await?,
        None => TcpStream::connect((endpoint.url.host(), port)).await?,
    };
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    let io = TokioIo::new(stream);
    Ok(http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(io).await?)
}
