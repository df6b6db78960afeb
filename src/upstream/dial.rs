//! The TCP connection to a server, whichever of its addresses answers first.
//!
//! After RFC 8305 (happy eyeballs): the families take turns, beginning with the one that the system
//! prefers; the next address is tried after a quarter of a second, or as soon as one has failed; the
//! first that connects wins, and the others are dropped. Does not know: TLS, HTTP, how long it may
//! take.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::route::Endpoint;

/// How long one address is tried alone: RFC 8305, section 5.
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// Silence after which the kernel asks whether the server is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// Between two such questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// Questions without an answer after which it is not.
const KEEPALIVE_MAX: u32 = 3;
/// How long the server's machine may leave unacknowledged what was sent.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Connects to an endpoint, for as long as the caller waits.
///
/// # Errors
/// When none of its addresses is to be reached, with the reason for each.
pub(super) async fn tcp(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let (host, port) = (endpoint.url.host(), endpoint.url.port());
    let addresses = endpoint.addresses().await.map_err(|why| {
        io::Error::new(io::ErrorKind::NotFound, format!("{host}: no address: {why}"))
    })?;
    let addresses = by_turns(&addresses).into_iter().map(|it| SocketAddr::new(it, port)).collect();
    let stream = first(addresses, TcpStream::connect).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_MAX);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(stream)
}

/// The same addresses, the two families taking turns.
fn by_turns(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let of = |family: bool| addresses.iter().filter(move |it| it.is_ipv6() == family);
    let (mut one, mut other) = (of(first.is_ipv6()), of(!first.is_ipv6()));
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(one.next());
        turns.extend(other.next());
    }
    turns
}

/// The first connection that is made.
async fn first<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let count = addresses.len();
    let mut waiting = addresses.into_iter();
    let mut trying: Vec<(SocketAddr, std::pin::Pin<Box<F>>)> = Vec::new();
    let mut failed = Vec::new();
    let mut pause = pin!(tokio::time::sleep(Duration::ZERO));
    let mut begin = true;
    std::future::poll_fn(|context| {
        loop {
            begin |= pause.as_mut().poll(context).is_ready();
            if std::mem::take(&mut begin)
                && let Some(address) = waiting.next()
            {
                trying.push((address, Box::pin(connect(address))));
                pause.as_mut().reset(Instant::now() + NEXT_AFTER);
            }
            let before = failed.len();
            let mut made = None;
            trying.retain_mut(|(address, attempt)| match attempt.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(Ok(stream)) => {
                    made.get_or_insert(stream);
                    false
                }
                Poll::Ready(Err(error)) => {
                    failed.push((*address, error));
                    false
                }
            });
            if let Some(made) = made {
                return Poll::Ready(Ok(made));
            }
            if failed.len() == count {
                return Poll::Ready(Err(all(std::mem::take(&mut failed))));
            }
            // Whoever fails gives way to the next at once.
            begin = failed.len() > before;
            if !begin {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Why no address is to be reached. Refused only if all have refused: then nobody listens there.
fn all(mut failed: Vec<(SocketAddr, io::Error)>) -> io::Error {
    if failed.len() == 1
        && let Some((_, only)) = failed.pop()
    {
        return only;
    }
    let kinds = || failed.iter().map(|(_, error)| error.kind());
    let kind = kinds().next().filter(|first| kinds().all(|it| it == *first));
    let told: Vec<_> = failed.iter().map(|(at, error)| format!("{at}: {error}")).collect();
    io::Error::new(kind.unwrap_or(io::ErrorKind::Other), told.join("; "))
}

#[cfg(test)]
mod tests;
