//! A wire between two programs that can be made worse while it is in use.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::sleep;

/// What a wire does to what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Good,
    /// Nobody listens, and every connection has ended.
    Down,
    /// Accepts, and then nothing passes.
    Silent,
    /// Each piece comes so much later.
    Late(Duration),
    /// So many bytes a second.
    Narrow(u32),
    /// Connections end after so many bytes of answers.
    Broken(usize, Break),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    Close,
    Reset,
    /// The asker is told that no more comes, and may go on asking.
    HalfClose,
}

/// Whatever passes at once.
const PIECE: usize = 16 * 1024;

/// A forwarder of connections; ended when it is dropped.
pub struct Link {
    /// Where to connect instead.
    pub address: SocketAddr,
    state: watch::Sender<(SocketAddr, Wire)>,
    task: JoinHandle<()>,
}

impl Link {
    pub async fn to(server: SocketAddr) -> Link {
        let (address, listener) = steady().await;
        let (state, told) = watch::channel((server, Wire::Good));
        Link { address, state, task: spawn_local(listen(address, listener, told)) }
    }

    /// What it does from now on.
    pub fn set(&self, wire: Wire) {
        self.state.send_modify(|state| state.1 = wire);
    }

    /// Where new connections go from now on.
    pub fn lead(&self, server: SocketAddr) {
        self.state.send_modify(|state| state.0 = server);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address to which one can come back: no connection that goes out is given its port meanwhile.
pub async fn steady() -> (SocketAddr, TcpListener) {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..30_000)));
        if let Ok(listener) = TcpListener::bind(address).await {
            return (address, listener);
        }
    }
}

type State = watch::Receiver<(SocketAddr, Wire)>;

async fn listen(address: SocketAddr, first: TcpListener, mut state: State) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let (server, wire) = *state.borrow_and_update();
        match &listener {
            Some(_) if wire == Wire::Down => {
                (listener, connections) = (None, JoinSet::new());
            }
            None if wire != Wire::Down => {
                listener = Some(TcpListener::bind(address).await.unwrap());
            }
            None => state.changed().await.unwrap(),
            Some(open) => tokio::select! {
                changed = state.changed() => changed.unwrap(),
                Ok((client, _)) = open.accept() => {
                    connections.spawn_local(connect(client, server, state.clone()));
                    while connections.try_join_next().is_some() {}
                }
            },
        }
    }
}

async fn connect(mut client: TcpStream, server: SocketAddr, state: State) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let broken = {
        let (up, down) = (server.split(), client.split());
        let asked = pass(down.0, up.1, state.clone(), false);
        let answered = pass(up.0, down.1, state, true);
        tokio::try_join!(asked, answered)
    };
    if broken == Err(Break::Reset) {
        client.set_zero_linger().unwrap();
    }
}

/// One direction; an error ends both.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: State,
    is_answer: bool,
) -> Result<(), Break> {
    let mut buffer = vec![0; PIECE];
    let mut since_broken = 0;
    while let Ok(mut read @ 1..) = from.read(&mut buffer).await {
        let wire = state.wait_for(|(_, wire)| *wire != Wire::Silent).await;
        let wire = wire.expect("a link outlives its connections").1;
        let mut ends = None;
        match wire {
            Wire::Late(by) => sleep(by).await,
            Wire::Narrow(rate) => sleep(Duration::from_secs(read as u64) / rate).await,
            Wire::Broken(after, how) if is_answer => {
                if since_broken + read >= after {
                    (read, ends) = (after - since_broken, Some(how));
                }
                since_broken += read;
            }
            _ => since_broken = 0,
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return Err(Break::Close);
        }
        match ends {
            None => {}
            Some(Break::HalfClose) => break,
            Some(how) => return Err(how),
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown().await;
    Ok(())
}
