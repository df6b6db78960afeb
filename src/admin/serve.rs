//! Serves the control plane's listeners: connections, limits, and who may ask.
//!
//! A connection is one request and its answer, so that none is worth keeping: each listener has a
//! few places, and who is slow loses its own to whoever comes. Does not know: the verbs.

mod entrance;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixListener as StdUnix;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::Instant;

use crate::config::Config;
use crate::listen::secure::handshake;
use crate::plane::Plane;
use crate::tls::server::Server;

use super::answers::{Answer, Answers};
use super::body;
use super::places::{Place, Places};
use super::scrape::Figures;
use super::verbs::Level;
use super::webhook::Receiver;
use entrance::Entrance;

/// Connections at once on each listener.
const CONNECTIONS_MAX: usize = 16;
/// How long a whole connection may last, for those who do not read their answer.
pub const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// From accept to a whole request head.
const HEADER_MAX: Duration = Duration::from_secs(5);
/// Bytes of a head's fields that are answered; far more are cut off.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// What a head may take at all, and what waits to be sent.
const BUFFER_MAX: usize = 64 * 1024;
/// Pause after a failed accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves an admin socket for ever; nobody may do more on it than `most`.
pub async fn admin(plane: Rc<Plane>, listener: StdUnix, most: Level) -> std::io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let entrance = Rc::new(Entrance::new(plane, most));
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    loop {
        let stream = next("admin", &accept).await;
        if let Ok(peer) = stream.peer_cred() {
            entrance.receive(stream, peer).await;
        }
    }
}

/// Serves the metrics listener for ever.
pub async fn metrics(plane: Rc<Plane>, listener: StdListener) -> std::io::Result<()> {
    let tls = |config: &Config| config.metrics.as_ref()?.tls.clone();
    serve(Open { name: "metrics", tls, plane: Rc::clone(&plane) }, listener, Figures::new(plane))
        .await
}

/// Serves the receiver of notifications for ever.
pub async fn notifications(plane: Rc<Plane>, listener: StdListener) -> std::io::Result<()> {
    let tls = |config: &Config| config.alerts.as_ref()?.tls.clone();
    serve(Open { name: "alerts", tls, plane: Rc::clone(&plane) }, listener, Receiver::new(plane))
        .await
}

/// A listener that the network reaches.
struct Open {
    name: &'static str,
    /// How it speaks TLS now, if it does.
    tls: fn(&Config) -> Option<Arc<Server>>,
    plane: Rc<Plane>,
}

/// Accepts for ever, a bounded number of connections at once.
async fn serve(
    open: Open,
    listener: StdListener,
    answers: impl Answers + 'static,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let accept = async || listener.accept().await;
    let (places, both) = (Places::new(CONNECTIONS_MAX), Rc::new((open, answers)));
    loop {
        let (stream, peer) = next(both.0.name, &accept).await;
        let place = places.take().await;
        let both = Rc::clone(&both);
        tokio::task::spawn_local(async move {
            let (open, answers) = &*both;
            bounded(&place, open.connection(stream, peer, &place, answers)).await;
        });
    }
}

impl Open {
    /// One connection, with TLS if there is a certificate now.
    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: &Place,
        answers: &impl Answers,
    ) {
        let Some(tls) = (self.tls)(&self.plane.table().config) else {
            return connection(stream, place, answers).await;
        };
        let deadline = Instant::now() + HEADER_MAX;
        let count = |result| self.plane.measures().metrics.count_handshake(self.name, result);
        if let Some((stream, _)) = handshake(stream, peer, &tls, deadline, count).await {
            connection(stream, place, answers).await;
        }
    }
}

/// The next connection.
async fn next<S>(name: &str, accept: impl AsyncFn() -> std::io::Result<S>) -> S {
    // Those that are there get their turn before they are taken for idle.
    tokio::task::yield_now().await;
    loop {
        match accept().await {
            Ok(stream) => return stream,
            Err(error) => {
                tracing::error!(%error, "{name} listener: cannot accept");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// An end for what happens at a place.
async fn bounded(place: &Place, conversation: impl Future<Output = ()>) {
    tokio::select! {
        () = conversation => {}
        () = place.lost() => {}
        () = tokio::time::sleep(CONNECTION_MAX) => {}
    }
}

/// One request and its answer.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    place: &Place,
    answers: &impl Answers,
) {
    let service = service_fn(|request| async move {
        Ok::<_, Infallible>(exchange(request, place, answers).await)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_MAX)
        .keep_alive(false)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that breaks off is its own business.
    let _ = serving.await;
}

async fn exchange(request: Request<Incoming>, place: &Place, answers: &impl Answers) -> Answer {
    let (head, coming) = request.into_parts();
    let admitted = if length(&head.headers) > HEADER_BYTES_MAX {
        let why = format!("a head of more than {} KiB", HEADER_BYTES_MAX / 1024);
        Err(answers.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why).into())
    } else {
        answers.admit(&head)
    };
    let answer = match admitted {
        Ok(max) => match body::read(coming, max).await {
            Ok(whole) => {
                place.works();
                answers.answer(Request::from_parts(head, whole)).await
            }
            Err((status, why)) => answers.refuse(status, why),
        },
        Err(refusal) => {
            // A sender that is cut off while it writes does not see the answer.
            let _ = body::read(coming, BUFFER_MAX).await;
            *refusal
        }
    };
    place.answers();
    answer
}

/// Bytes of all fields.
fn length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests;
