//! Serves the control plane's listeners: connections, limits, and who may ask.
//!
//! Does not know: the verbs.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::config::Secret;
use crate::plane::Plane;

use super::socket::AdminSocket;
use super::webhook::Token;
use super::{command, peer, scrape, webhook};

/// Connections at once on each of them; more wait.
const CONNECTIONS_MAX: usize = 16;
/// How long a whole connection may last: these are short conversations.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// From accept to a whole request head.
const HEADER_MAX: Duration = Duration::from_secs(5);
/// Pause after a failed accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves the admin socket for ever.
pub async fn admin(plane: Rc<Plane>, socket: AdminSocket) -> std::io::Result<()> {
    let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    serve("admin socket", accept, |stream| {
        let plane = Rc::clone(&plane);
        async move { admin_connection(&plane, stream).await }
    })
    .await
}

/// Serves the metrics listener for ever.
pub async fn metrics(plane: Rc<Plane>, listener: StdListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    serve("metrics listener", accept, |stream| {
        let plane = Rc::clone(&plane);
        async move { connection(stream, |request| scrape::answer(&plane, request)).await }
    })
    .await
}

/// Serves the receiver of notifications for ever.
pub async fn notifications(
    plane: Rc<Plane>,
    listener: StdListener,
    token: Secret,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let token = Rc::new(Token::new(&token));
    let accept = async || listener.accept().await.map(|(stream, _)| stream);
    serve("alerts listener", accept, |stream| {
        let (plane, token) = (Rc::clone(&plane), Rc::clone(&token));
        async move { connection(stream, |request| webhook::answer(&plane, &token, request)).await }
    })
    .await
}

/// Accepts for ever, a bounded number of connections at once.
async fn serve<S, F>(
    name: &str,
    accept: impl AsyncFn() -> std::io::Result<S>,
    conversation: impl Fn(S) -> F,
) -> std::io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match accept().await {
            Ok(stream) => {
                let conversation = conversation(stream);
                tokio::task::spawn_local(async move {
                    conversation.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!(%error, "{name}: cannot accept");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn admin_connection(plane: &Plane, stream: UnixStream) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let actor = peer::actor(&credentials);
    let allowed = peer::may(&credentials, &plane.table().config.admin);
    if !allowed {
        tracing::warn!(%actor, "admin socket: refused");
    }
    let actor = &actor;
    connection(stream, |request| async move {
        if allowed {
            command::answer(plane, actor, request).await
        } else {
            command::forbidden(actor)
        }
    })
    .await;
}

/// One connection, with an end.
async fn connection<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_MAX)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that breaks off or lingers is its own business.
    let _ = tokio::time::timeout(CONNECTION_MAX, serving).await;
}
