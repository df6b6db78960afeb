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

/// Hands over every connection until the end begins.
pub async fn accept(
    listener: TcpListener,
    mut ending: Watcher,
    mut connection: impl FnMut(TcpStream, SocketAddr),
) {
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending.ending() => return,
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

/// The error of one connection that was gone before it was accepted.
fn is_the_connections(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
