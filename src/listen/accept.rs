//! Binds sockets and accepts connections, for as long as the process may.
//!
//! Each worker has a socket of its own on the same address (`SO_REUSEPORT`), so the kernel spreads
//! connections and no lock is shared. Does not know: HTTP.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::drain::Watcher;

/// Connections that the kernel holds while a worker is busy.
const BACKLOG: i32 = 1024;
/// Connections that are taken from the queue at the end: what it can hold, and those that come while
/// it is emptied.
const QUEUE_MAX: i32 = 4 * BACKLOG;
/// Pause after a failed accept: out of descriptors does not get better by asking again at once.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Pause between two complaints about failed accepts.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.source))]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is taken by another program: end that, or listen on another".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: see `ip address`".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Sockets on one address, one for each worker. Port 0 takes a free port, the same for all.
///
/// # Errors
/// When the address is taken, also by another program that shares its port.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<StdListener>, BindError> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(workers);
    let fail = |address, source| BindError { address, source };
    if address.port() != 0 {
        // Otherwise a second router would quietly take half of the connections of the first.
        drop(socket(address, false).map_err(|error| fail(address, error))?);
    }
    for _ in 0..workers {
        let socket = socket(address, true).map_err(|error| fail(address, error))?;
        let bound = socket.local_addr().map_err(|error| fail(address, error))?;
        address = bound.as_socket().unwrap_or(address);
        socket.listen(BACKLOG).map_err(|error| fail(address, error))?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections that an earlier run left in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        // So that `0.0.0.0` and `[::]` can stand side by side on one port.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket that is listened on.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub socket: StdListener,
    /// Others have it too and go on when we stop: the service manager, or a successor.
    pub shared: bool,
}

/// Hands over every connection until the end begins; then, if nobody else would, those that the
/// kernel has already accepted for us: their clients are connected, and may have sent a request.
///
/// # Errors
/// When the socket cannot be used.
pub async fn accept(
    listening: Listening,
    mut ending: Watcher,
    mut connection: impl FnMut(TcpStream, SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::from_std(listening.socket)?;
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            ending = ending.ending() => {
                if !listening.shared && !ending.shared {
                    take_queue(&listener.into_std()?, connection);
                }
                return Ok(());
            }
        };
        match accepted {
            Ok((stream, peer)) => connection(stream, peer),
            Err(error) if is_the_connections(&error) => {}
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::error!(%error, "cannot accept connections; trying again");
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Takes what is in the queue of a socket on which nobody will ask again.
fn take_queue(listener: &StdListener, mut connection: impl FnMut(TcpStream, SocketAddr)) {
    for _ in 0..QUEUE_MAX {
        match listener.accept() {
            Ok((stream, peer)) => {
                let ready = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = ready {
                    connection(stream, peer);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error)
                if is_the_connections(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept what was still in the queue");
                return;
            }
        }
    }
}

/// The error of one connection that was gone before it was accepted.
fn is_the_connections(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::drain::{Ending, pair};

    /// How many connections are handed over that were in the queue when the end began.
    async fn taken(own: bool, handed_over: bool) -> usize {
        let mut socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let socket = socket.remove(0);
        let address = socket.local_addr().unwrap();
        let queue: Vec<_> =
            (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let (trigger, watcher) = pair();
        let ending = Ending::now(Duration::ZERO, Duration::ZERO, handed_over);
        let told = tokio::spawn(trigger.end(ending));
        tokio::task::yield_now().await;
        let mut taken = 0;
        let listening = Listening { socket, shared: !own };
        // The end is noticed before the runtime has looked at the socket.
        accept(listening, watcher, |_, _| taken += 1).await.unwrap();
        told.await.unwrap();
        drop(queue);
        taken
    }

    #[tokio::test]
    async fn the_queue_is_taken_over_unless_somebody_else_does() {
        assert_eq!(taken(true, false).await, 3);
        assert_eq!(taken(false, false).await, 0);
        assert_eq!(taken(true, true).await, 0);
    }
}
