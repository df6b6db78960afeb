//! Serves one connection, HTTP/1.1 or HTTP/2, until it ends or is to end.
//!
//! Does not know: what answers the requests.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::drain::Watcher;

use super::detect::{Protocol, detect};

/// Streams that one HTTP/2 connection may have open.
const H2_STREAMS: u32 = 100;
/// How often a silent HTTP/2 peer is asked whether it is there, and how long it may take.
const H2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From accept, or from the answer before, to a whole request head.
    pub header: Duration,
    /// Header fields that our own check lets through; hyper's bounds lie above it, so that a
    /// client just over the limit gets an answer in JSON and one far over it gets a bare 431.
    pub headers: usize,
    /// Bytes of them.
    pub header_bytes: usize,
}

/// Serves a connection. What goes wrong on it is the client's, and only worth a debug line.
pub async fn serve<T, S, B>(stream: T, service: S, bounds: Bounds, mut ending: Watcher)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: std::error::Error + Send + Sync + 'static,
    B: Body + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let detected = tokio::select! {
        detected = tokio::time::timeout(bounds.header, detect(stream)) => detected,
        // Whoever has said nothing yet has nothing in flight.
        () = ending.ending() => return,
    };
    let Ok(Ok((protocol, stream))) = detected else { return };
    let stream = TokioIo::new(stream);
    let buffer = bounds.header_bytes.saturating_mul(2).max(64 * 1024);
    let ended = match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(bounds.header)
                .max_headers(bounds.headers.saturating_mul(2))
                .max_buf_size(buffer)
                .serve_connection(stream, service);
            until_the_end(connection, ending).await
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(Local)
                .timer(TokioTimer::new())
                .max_concurrent_streams(H2_STREAMS)
                .max_header_list_size(u32::try_from(buffer).unwrap_or(u32::MAX))
                .keep_alive_interval(H2_PING.0)
                .keep_alive_timeout(H2_PING.1)
                .serve_connection(stream, service);
            until_the_end(connection, ending).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended early");
    }
}

/// Drives a connection; once the end has begun, no further than what is in flight on it.
async fn until_the_end<C: GracefulConnection>(
    connection: C,
    mut ending: Watcher,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.ending() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Runs what hyper splits off on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
