//! Serves one connection, HTTP/1.1 or HTTP/2, until it ends or is to end.
//!
//! Does not know: what answers the requests.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::drain::Watcher;
use crate::names::Cut;

use super::client::Handle;
use super::detect::{Protocol, detect};
use super::frames::FRAME_MAX;
use super::law;
use super::pace::{Due, HEAD_AT_END, Limits, Pace, SILENCE};
use super::watched::{Guard, Watched};

/// Streams that one HTTP/2 connection may have open.
const H2_STREAMS: u32 = 100;
/// How often a silent HTTP/2 peer is asked whether it is there, and how long it may take.
const H2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// What an HTTP/2 client may send without a window being opened: on a stream, on all.
const H2_WINDOWS: (u32, u32) = (64 * 1024, 1024 * 1024);
/// What is kept of an answer for a stream whose window is shut.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client has taken back before they were looked at, and streams that were reset for
/// what it did wrong on them (rapid reset, CVE-2023-44487; `MadeYouReset`, CVE-2025-8671): more end
/// the connection. The library's defaults, in force whatever those become.
const H2_RESETS: (usize, usize) = (20, 1024);

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time.
    pub limits: Limits,
    /// Header fields that our own check lets through; hyper's bounds lie above it, so that a
    /// client just over the limit gets an answer in JSON and one far over it gets a bare 431.
    pub headers: usize,
    /// Bytes of them.
    pub header_bytes: usize,
    /// The version of HTTP, where TLS has settled it.
    pub agreed: Option<Protocol>,
}

/// What was cut because of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The whole connection, which ends with it.
    Connection,
    /// One stream of several.
    Stream,
}

/// Serves a connection; `cut` is told of all that is ended because of the client, before it is.
/// What else goes wrong is the client's as well, and only worth a debug line.
pub async fn serve<T, S, B>(
    stream: T,
    service: S,
    bounds: Bounds,
    client: &Handle,
    mut ending: Watcher,
    cut: impl Fn(Cut, Extent),
) where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: std::error::Error + Send + Sync + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let Limits { accepted, header, .. } = bounds.limits;
    let detected = tokio::time::timeout_at(accepted + header, detect(stream));
    let (protocol, stream) = match before_the_end(detected, accepted, client, &mut ending).await {
        Some(Ok(Ok(detected))) => detected,
        Some(Ok(Err(_))) | None => return,
        Some(Err(_)) => return cut(Cut::Header, Extent::Connection),
    };
    if bounds.agreed.is_some_and(|agreed| agreed != protocol) {
        tracing::debug!(?protocol, "client speaks another HTTP than it agreed on");
        return;
    }
    let is_http2 = protocol == Protocol::Http2;
    let watched = Watched::new(Pace::new(bounds.limits, is_http2, Instant::now()));
    let (stream, service) = (watched.stream(stream), watched.service(service));
    let ending = begin_end(&mut ending, client, &watched, is_http2);
    let guard = watched.guard();
    let buffer = bounds.header_bytes.saturating_mul(2).max(64 * 1024);
    let ended = match protocol {
        Protocol::Http1 => {
            // Closest to hyper, so that it sees what hyper sees.
            let (stream, service) = law::watch(stream, service);
            // Without a time limit of hyper's own, which would end idle connections as well.
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .max_headers(bounds.headers.saturating_mul(2))
                .max_buf_size(buffer)
                .serve_connection(TokioIo::new(stream), service);
            until_the_end(connection, guard, ending, &cut).await
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(watched.clone())
                .timer(TokioTimer::new())
                .max_concurrent_streams(H2_STREAMS)
                .max_frame_size(FRAME_MAX)
                .max_header_list_size(u32::try_from(buffer).unwrap_or(u32::MAX))
                .initial_stream_window_size(H2_WINDOWS.0)
                .initial_connection_window_size(H2_WINDOWS.1)
                .max_send_buf_size(H2_SEND_BUFFER)
                .max_pending_accept_reset_streams(H2_RESETS.0)
                .max_local_error_reset_streams(H2_RESETS.1)
                .keep_alive_interval(H2_PING.0)
                .keep_alive_timeout(H2_PING.1)
                .serve_connection(TokioIo::new(stream), service);
            until_the_end(connection, guard, ending, &cut).await
        }
    };
    if watched.is_flooded() {
        cut(Cut::Flood, Extent::Connection);
    }
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended early");
    }
}

/// Does what comes before the first request. Once the end has begun, whoever is silent has
/// [`SILENCE`] from accept to say something, and whoever has begun [`HEAD_AT_END`] to go on.
pub async fn before_the_end<F: Future>(
    work: F,
    accepted: Instant,
    client: &Handle,
    ending: &mut Watcher,
) -> Option<F::Output> {
    let too_late = async {
        let began = ending.ending().await.began;
        client.look_closely();
        // So that the work has that look.
        tokio::task::yield_now().await;
        sleep_until(accepted + SILENCE).await;
        if client.is_heard() {
            sleep_until(began.max(accepted) + HEAD_AT_END).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = too_late => None,
    }
}

/// Takes note of the end when it begins; whether the protocol has words for it.
async fn begin_end(
    ending: &mut Watcher,
    client: &Handle,
    watched: &Watched,
    is_http2: bool,
) -> bool {
    let ending = ending.ending().await;
    client.look_closely();
    watched.begin_end(&ending);
    is_http2
}

/// Drives a connection for as long as it keeps to its pace. `ending` returns when the end has begun,
/// and whether the protocol has words for that: then they are said at once.
async fn until_the_end<C: GracefulConnection>(
    connection: C,
    mut guard: Guard,
    ending: impl Future<Output = bool>,
    cut: &impl Fn(Cut, Extent),
) -> Result<(), C::Error> {
    let (mut connection, mut ending) = (pin!(connection), pin!(ending));
    let mut is_ending = false;
    loop {
        let due = tokio::select! {
            // What the connection does in its turn decides what is due.
            biased;
            ended = connection.as_mut() => return ended,
            due = poll_fn(|cx| guard.poll_due(cx)) => due,
            says_so = &mut ending, if !is_ending => {
                is_ending = true;
                if says_so { Due::Idle } else { Due::Later(None) }
            }
        };
        match due {
            Due::Idle => connection.as_mut().graceful_shutdown(),
            Due::Stream(task) => {
                cut(Cut::Write, Extent::Stream);
                task.abort();
            }
            Due::Cut(reason) => {
                cut(reason, Extent::Connection);
                return Ok(());
            }
            Due::Over => return Ok(()),
            Due::Later(_) => {}
        }
    }
}
