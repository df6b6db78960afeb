//! Connections to the servers, kept by the worker that opened them.
//!
//! Most recently used first, so that a quiet pool shrinks; none older than servers commonly keep
//! theirs, so that few requests meet a connection that is being closed. No lock: a pool belongs to
//! one thread. Does not know: what is sent.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::names::EndpointId;
use crate::route::Endpoint;

use super::connect::{self, ConnectError};
use super::request_body::RequestBody;

/// Idle connections kept for one endpoint by one worker.
const IDLE_MAX: usize = 128;
/// How long a used connection may take to come to rest before it is given up.
const REST_MAX: Duration = Duration::from_secs(1);

/// What a pool has done since the last collection, and what it holds now.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolCounts {
    /// Connections opened.
    pub opened: u64,
    /// Attempts to open one that failed.
    pub failed: u64,
    /// Requests that found an open one.
    pub reused: u64,
    /// Requests that met a reused one in the moment when the server closed it.
    pub races: u64,
    /// Open now, in use or idle.
    pub open: usize,
    /// Idle now.
    pub idle: usize,
}

/// A connection that nobody uses.
struct Idle {
    connection: Connection,
    since: Instant,
}

/// The connections of one worker.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<EndpointId, Vec<Idle>>>,
    counts: Cell<PoolCounts>,
    open: Rc<Cell<usize>>,
}

/// One connection, ready for one request.
pub struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) reused: bool,
    /// What it took to open it: about a round trip.
    pub(super) opened_in: Duration,
    task: AbortHandle,
}

impl Drop for Connection {
    /// Whoever drops a connection that is in use wants it closed at once: for a modern call that
    /// is the cancellation.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pool {
    /// An idle connection to the endpoint, or a new one.
    pub async fn connection(
        &self,
        endpoint: &Arc<Endpoint>,
        connect: Duration,
        pool_idle: Duration,
    ) -> Result<Connection, ConnectError> {
        while let Some(mut connection) = self.take(endpoint.id, pool_idle) {
            if connection.sender.ready().await.is_ok() {
                connection.reused = true;
                self.count(|counts| counts.reused += 1);
                return Ok(connection);
            }
        }
        self.open(endpoint, connect).await
    }

    /// A new connection, whatever is idle.
    pub async fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        connect: Duration,
    ) -> Result<Connection, ConnectError> {
        let start = Instant::now();
        let opened = connect::open(endpoint, connect).await;
        let opened_in = start.elapsed();
        self.count(|counts| match opened {
            Ok(_) => counts.opened += 1,
            Err(_) => counts.failed += 1,
        });
        let (sender, connection) = opened?;
        let counted = Counted::new(&self.open);
        let task = tokio::task::spawn_local(async move {
            let _counted = counted;
            // What went wrong is told to the request that was on it.
            let _ = connection.await;
        });
        Ok(Connection { sender, reused: false, opened_in, task: task.abort_handle() })
    }

    /// Takes a connection back after an exchange that ended as it should.
    pub fn give_back(self: &Rc<Self>, endpoint: EndpointId, mut connection: Connection) {
        if connection.sender.is_ready() {
            return self.put(endpoint, connection);
        }
        // hyper needs a turn to see that the answer is over; a server that answered early may
        // never read the rest of the request, and then the connection is not worth keeping.
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Ok(Ok(())) = tokio::time::timeout(REST_MAX, connection.sender.ready()).await {
                pool.put(endpoint, connection);
            }
        });
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self, pool_idle: Duration) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|it| now - it.since < pool_idle && !it.connection.sender.is_closed());
            !idle.is_empty()
        });
    }

    /// A request met a connection that was being closed.
    pub fn count_race(&self) {
        self.count(|counts| counts.races += 1);
    }

    /// Hands over the counts and begins anew.
    pub fn take_counts(&self) -> PoolCounts {
        let idle = self.idle.borrow().values().map(Vec::len).sum();
        PoolCounts { open: self.open.get(), idle, ..self.counts.take() }
    }

    fn take(&self, endpoint: EndpointId, pool_idle: Duration) -> Option<Connection> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(&endpoint)?;
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() >= pool_idle {
                // Those below have been idle for longer.
                idle.clear();
                return None;
            }
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, endpoint: EndpointId, connection: Connection) {
        let mut all = self.idle.borrow_mut();
        let idle = all.entry(endpoint).or_default();
        if idle.len() < IDLE_MAX && !connection.sender.is_closed() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn count(&self, change: impl FnOnce(&mut PoolCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

/// Keeps a connection counted as open.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(open: &Rc<Cell<usize>>) -> Counted {
        open.set(open.get() + 1);
        Counted(Rc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
