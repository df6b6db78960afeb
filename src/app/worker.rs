//! One worker: a thread with its own runtime, sockets, connections and counts.
//!
//! Does not know: the other workers, the control plane.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::drain::Watcher;
use crate::listen::accept::{Slot, accept};
use crate::listen::serve::{Bounds, serve};
use crate::observe::collect::Answering;
use crate::observe::tally::Tally;
use crate::proxy::{Worker, handle};
use crate::route::Live;
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
    /// Where its clients come in.
    pub sockets: Sockets,
    /// Where it hands over its counts.
    pub answering: Answering,
    /// Client connections of all workers.
    pub open: Arc<AtomicUsize>,
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
    let Task { live, sockets, answering, open, ending, mut stopped } = task;
    let worker = Worker {
        live,
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
        let (worker, open, watcher) = (worker.clone(), Arc::clone(&open), ending.clone());
        tokio::task::spawn_local(accept(listener, ending.clone(), move |stream, peer| {
            connect(&worker, &open, &watcher, stream, peer);
        }));
    }
    drop(ending);
    // A sender that is gone means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Serves a connection if there is a slot for it.
fn connect(
    worker: &Worker,
    open: &Arc<AtomicUsize>,
    ending: &Watcher,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let limits = &worker.live.load().config;
    let Some(slot) = Slot::take(open, limits.limits.connections) else {
        worker.tally.borrow_mut().shed += 1;
        return;
    };
    let bounds = Bounds {
        header: limits.timeouts.header,
        headers: limits.limits.headers,
        header_bytes: limits.limits.header_bytes,
    };
    let (worker, ending) = (worker.clone(), ending.clone());
    tokio::task::spawn_local(async move {
        let _counted = Counted::new(&worker.tally);
        let service = service_fn(|request| {
            let answered = handle(worker.clone(), peer, request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        serve(stream, service, bounds, ending).await;
        drop(slot);
    });
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
