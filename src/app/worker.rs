//! One worker: a thread with its own runtime, sockets, connections and counts.
//!
//! Does not know: the other workers, the control plane.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::config::Config;
use crate::drain::{Ending, Watcher};
use crate::listen::accept::{Listening, accept};
use crate::listen::client::Client;
use crate::listen::crowd::{Crowd, Slot, shed};
use crate::listen::pace::Limits;
use crate::listen::secure::handshake;
use crate::listen::serve::{Bounds, Extent, before_the_end, serve};
use crate::names::Shed;
use crate::observe::collect::Answering;
use crate::observe::join::Awaiting;
use crate::observe::tally::Tally;
use crate::overload::Overload;
use crate::proxy::parting::{Parting, Times};
use crate::proxy::{Worker, handle};
use crate::route::Live;
use crate::upstream::forwarded::Peer;
use crate::upstream::pool::Pool;

/// How often connections that were idle for too long are closed.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Threads of a worker that look up names of endpoints.
const RESOLVERS: usize = 4;

/// What a worker is given.
pub struct Task {
    /// The table in force.
    pub live: Arc<Live>,
    /// What is shed.
    pub overload: Arc<Overload>,
    /// Where its clients come in.
    pub sockets: Vec<Listening>,
    /// Where it hands over its counts.
    pub answering: Answering,
    /// Who is let in, over all workers.
    pub crowd: Arc<Crowd>,
    /// Tells of the end, and holds it up while connections last.
    pub ending: Watcher,
    /// During the end, tells which sessions wait for an answer on a stream.
    pub awaiting: watch::Receiver<Option<Awaiting>>,
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
    let Task { live, overload, sockets, answering, crowd, ending, awaiting, mut stopped } = task;
    let parting = Rc::new(Parting::default());
    let worker = Worker {
        live,
        overload,
        pool: Rc::new(Pool::default()),
        tally: Rc::new(RefCell::new(Tally::default())),
        parting: Rc::clone(&parting),
    };
    tokio::task::spawn_local(answering.run(Rc::clone(&worker.tally), Rc::clone(&worker.pool)));
    tokio::task::spawn_local(sweep(worker.clone()));
    for socket in sockets {
        let (worker, crowd, watcher) = (worker.clone(), Arc::clone(&crowd), ending.clone());
        let accepting = accept(socket, ending.clone(), move |stream, peer| {
            connect(&worker, &crowd, &watcher, stream, peer);
        });
        tokio::task::spawn_local(async move {
            if let Err(error) = accepting.await {
                tracing::error!(%error, "a listener cannot be used");
            }
        });
    }
    tokio::task::spawn_local(part(parting, ending, awaiting));
    // A sender that is gone means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Tells the event streams when the end begins, and then which sessions still wait.
async fn part(
    parting: Rc<Parting>,
    mut ending: Watcher,
    mut awaiting: watch::Receiver<Option<Awaiting>>,
) {
    let Ending { began, endless, over, .. } = ending.ending().await;
    drop(ending);
    // Not all in the same moment: they come back.
    parting.begin(Times { from: endless - (endless - began) / 5, by: endless, over });
    loop {
        if let Some(sessions) = &*awaiting.borrow_and_update() {
            parting.hear(Arc::clone(sessions));
        }
        if awaiting.changed().await.is_err() {
            return;
        }
    }
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
    let client = stream.handle();
    let (worker, mut ending) = (worker.clone(), ending.clone());
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
                client.reset();
            }
        };
        match tls {
            None => serve(stream, service, bounds, &client, ending, cut).await,
            Some(tls) => {
                let deadline = bounds.limits.accepted + bounds.limits.header;
                let count = |result| worker.tally.borrow_mut().handshake(result);
                let secured = handshake(stream, peer, &tls, deadline, count);
                let accepted = bounds.limits.accepted;
                let secured = before_the_end(secured, accepted, &client, &mut ending).await;
                if let Some((stream, agreed)) = secured.flatten() {
                    let bounds = Bounds { agreed, ..bounds };
                    serve(stream, service, bounds, &client, ending, cut).await;
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
    let is_exempt = config.affinity.trusted_proxies.iter().any(|net| net.contains(address));
    let per_address = (!is_exempt).then_some(limits.connections_per_address);
    crowd.enter(stream, address, limits.connections, per_address)
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
