//! One new connection to a server.
//!
//! The one place where it is decided how a server is reached, for real traffic and for our own
//! requests alike. Does not know: what is sent, who keeps the connection.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use crate::descriptors::{self, Use};
use crate::route::Endpoint;
use crate::tls::client::{Client, Secured};
use crate::tls::fault::Fault;
use crate::tls::stream::Stream;

use super::dial;

/// Bytes of an answer's head; servers that we measured send less than 1 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why there is no connection: nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, not found.
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
    /// No answer in time.
    #[error("no connection within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// There is a connection, but no TLS on it.
    #[error("{0}")]
    Tls(#[from] Fault),
    /// The last file descriptors are needed elsewhere.
    #[error("hardly any file descriptors are left")]
    Descriptors,
    /// The connection failed while it was set up.
    #[error("cannot set up the connection: {0}")]
    Setup(#[from] hyper::Error),
}

/// A new connection.
pub struct Opened<B>
where
    B: Body + 'static,
{
    /// Where requests go in.
    pub sender: SendRequest<B>,
    /// What carries them, to be run by the caller.
    pub connection: http1::Connection<TokioIo<Stream>, B>,
    /// What it took to reach the server, without TLS: about a round trip.
    pub reached_in: Duration,
    /// How it speaks TLS and what the server has shown, if it does.
    pub tls: Option<(Arc<Client>, Secured)>,
}

/// Connects to an endpoint within this time, TLS included.
///
/// # Errors
/// When it is not to be reached.
pub async fn open<B>(endpoint: &Endpoint, limit: Duration) -> Result<Opened<B>, ConnectError>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let start = Instant::now();
    let until = start + limit;
    let dialled = timeout_at(until, dial::tcp(endpoint)).await;
    let stream = dialled.map_err(|_| ConnectError::Timeout(limit))??;
    if descriptors::is_one_too_many(&stream, Use::Server) {
        return Err(ConnectError::Descriptors);
    }
    let reached_in = start.elapsed();
    let (stream, tls) = match endpoint.tls() {
        None => (Stream::plain(stream), None),
        Some(client) => {
            let handshake = timeout_at(until, client.handshake(endpoint.url.host(), stream)).await;
            let (stream, secured) = handshake.map_err(|_| Fault::silent(limit))??;
            (stream, Some((client, secured)))
        }
    };
    let mut builder = http1::Builder::new();
    let opened = builder.max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened?;
    Ok(Opened { sender, connection, reached_in, tls })
}
