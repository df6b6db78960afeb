//! One worker: a thread with its own runtime, sockets, connections and counts.
//!
//! Does not know: the other workers, the control plane.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::config::Config;
use crate::drain::Watcher;
use crate::listen::accept::accept;
use crate::listen::client::Client;
use crate::listen::crowd::{Crowd, Slot, shed};
use crate::listen::detect::Protocol;
use crate::listen::pace::Limits;
use crate::listen::secure::{Secured, handshake};
use crate::listen::serve::{Bounds, Extent, serve};
use crate::names::Shed;
use crate::observe::collect::Answering;
use crate::observe::tally::Tally;
use crate::overload::Overload;
use crate::proxy::{Worker, handle};
use crate::route::Live;
use crate::tls::server::Server;
use crate::upstream::forwarded::Peer;
use crate::upstream::pool::Pool;

/// How often connections that were idle for too long are closed.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Threads of a worker that look up names of endpoints.
const RESOLVERS: usize = 4;

/// A worker's sockets, one for each address.
pub type Sockets = Vec<StdListener>;

/// What a worker is given.
pub struct Task {
    /// The table in force.
    pub live: Arc<Live>,
    /// What is shed.
    pub overload: Arc<Overload>,
    /// Where its clients come in.
    pub sockets: Sockets,
    /// Where it hands over its counts.
    pub answering: Answering,
    /// Who is let in, over all workers.
    pub crowd: Arc<Crowd>,
    /// Tells of the end, and holds it up while connections last.
    pub ending: Watcher,
    /// Tells that the end is over.
    pub stopped: watch::Receiver<bool>,
}

/// Starts a worker.
///
/// # Errors
/// When the operating system gives no thread or no runtime.
pub fn start(number: usize, task: Task) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(RESOLVERS)
        .build()?;
    std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, run(task));
        drop(local);
        // A name that is still being looked up is waited for by nobody.
        runtime.shutdown_background();
    })
}

async fn run(task: Task) {
    let Task { live, overload, sockets, answering, crowd, ending, mut stopped } = task;
    let worker = Worker {
        live,
        overload,
        pool: Rc::new(Pool::default()),
        tally: Rc::new(RefCell::new(Tally::default())),
    };
    tokio::task::spawn_local(answering.run(Rc::clone(&worker.tally), Rc::clone(&worker.pool)));
    tokio::task::spawn_local(sweep(worker.clone()));
    for socket in sockets {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a listener cannot be used");
                continue;
            }
        };
        let (worker, crowd, watcher) = (worker.clone(), Arc::clone(&crowd), ending.clone());
        tokio::task::spawn_local(accept(listener, ending.clone(), move |stream, peer| {
            connect(&worker, &crowd, &watcher, stream, peer);
        }));
    }
    drop(ending);
    // A sender that is gone means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Serves a connection if it is let in.
fn connect(
    worker: &Worker,
    crowd: &Arc<Crowd>,
    ending: &Watcher,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let config = &worker.live.load().config;
    let slot = match enter(worker, crowd, &stream, peer, config) {
        Ok(slot) => slot,
        Err(reason) => {
            worker.tally.borrow_mut().shed(reason);
            return shed(&stream, config.tls.is_none());
        }
    };
    let (bounds, tls) = (bounds(config), config.tls.clone());
    let stream = Client::new(stream, config.timeouts.write_idle);
    let reset = stream.reset();
    let (worker, ending) = (worker.clone(), ending.clone());
    tokio::task::spawn_local(async move {
        let _counted = Counted::new(&worker.tally);
        let from = Peer { address: peer, secure: tls.is_some() };
        let service = service_fn(|request| {
            let answered = handle(worker.clone(), from, request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let cut = |reason, extent| {
            worker.tally.borrow_mut().cut(reason);
            if extent == Extent::Connection {
                reset.set();
            }
        };
        match tls {
            None => serve(stream, service, bounds, ending, cut).await,
            Some(tls) => {
                let deadline = bounds.limits.accepted + bounds.limits.header;
                let secured = secure(&worker.tally, stream, peer, &tls, deadline, ending.clone());
                if let Some((stream, agreed)) = secured.await {
                    serve(stream, service, Bounds { agreed, ..bounds }, ending, cut).await;
                }
            }
        }
        drop(slot);
    });
}

/// Takes a place for a connection, or says why there is none.
fn enter(
    worker: &Worker,
    crowd: &Arc<Crowd>,
    stream: &TcpStream,
    peer: SocketAddr,
    config: &Config,
) -> Result<Slot, Shed> {
    if worker.overload.sheds_connections() {
        return Err(Shed::Memory);
    }
    let (limits, address) = (&config.limits, peer.ip().to_canonical());
    let is_exempt = config.affinity.trusted_proxies.iter().any(|net| net.contains(&address));
    let per_address = (!is_exempt).then_some(limits.connections_per_address);
    crowd.enter(stream, address, limits.connections, per_address)
}

/// Makes the handshake of TLS, unless the end comes first.
async fn secure(
    tally: &RefCell<Tally>,
    stream: Client,
    peer: SocketAddr,
    tls: &Server,
    deadline: Instant,
    mut ending: Watcher,
) -> Option<(Secured<Client>, Option<Protocol>)> {
    let count = |result| tally.borrow_mut().handshake(result);
    tokio::select! {
        secured = handshake(stream, peer, tls, deadline, count) => secured,
        () = ending.ending() => None,
    }
}

/// What a connection may take that is accepted now.
fn bounds(config: &Config) -> Bounds {
    let limits = Limits {
        accepted: Instant::now(),
        header: config.timeouts.header,
        idle: config.timeouts.idle,
        write_idle: config.timeouts.write_idle,
        min_rate: config.limits.min_rate,
    };
    Bounds {
        limits,
        headers: config.limits.headers,
        header_bytes: config.limits.header_bytes,
        agreed: None,
    }
}

async fn sweep(worker: Worker) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        every.tick().await;
        worker.pool.sweep(worker.live.load().config.timeouts.pool_idle);
    }
}

/// Keeps a client connection counted.
struct Counted(Rc<RefCell<Tally>>);

impl Counted {
    fn new(tally: &Rc<RefCell<Tally>>) -> Counted {
        let mut now = tally.borrow_mut();
        now.accepted += 1;
        now.now.connections += 1;
        drop(now);
        Counted(Rc::clone(tally))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.borrow_mut().now.connections -= 1;
    }
}
