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

use http::{HeaderMap, HeaderName};
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::names::EndpointId;
use crate::route::Endpoint;
use crate::tls::client::Client;

use super::connect::{self, ConnectError, Opened};
use super::request_body::RequestBody;

/// What a server says of its connections.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
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
    /// What it took to reach the server: about a round trip.
    pub(super) reached_in: Duration,
    /// How it speaks TLS, if it does.
    tls: Option<Arc<Client>>,
    /// How long its server keeps it without a request, if it says so.
    pub(super) kept: Option<Duration>,
    task: AbortHandle,
}

impl Drop for Connection {
    /// Whoever drops a connection that is in use wants it closed at once: for a modern call that
    /// is the cancellation.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Idle {
    /// Whether its server most likely keeps it still, at this time.
    fn is_fresh(&self, pool_idle: Duration, now: Instant) -> bool {
        let limit = self.connection.kept.map_or(pool_idle, |kept| kept.min(pool_idle));
        now - self.since < limit && !self.connection.sender.is_closed()
    }
}

/// How long a connection may be used again by the head of an answer: what its server says in
/// `Keep-Alive: timeout=N` (RFC 2068, section 19.7.1.1), less a second for the way.
pub(super) fn kept(headers: &HeaderMap) -> Option<Duration> {
    let all = headers.get_all(KEEP_ALIVE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(',')).filter_map(|it| it.split_once('='));
    let (_, seconds) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    let seconds: u64 = seconds.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

impl Pool {
    /// An idle connection to the endpoint, or a new one.
    pub async fn connection(
        &self,
        endpoint: &Arc<Endpoint>,
        connect: Duration,
        pool_idle: Duration,
    ) -> Result<Connection, ConnectError> {
        while let Some(mut connection) = self.take(endpoint, pool_idle) {
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
        let opened = connect::open(endpoint, connect).await;
        self.count(|counts| match opened {
            Ok(_) => counts.opened += 1,
            Err(_) => counts.failed += 1,
        });
        let Opened { sender, connection, reached_in, tls } = opened?;
        let counted = Counted::new(&self.open);
        let task = tokio::task::spawn_local(async move {
            let _counted = counted;
            // What went wrong is told to the request that was on it.
            let _ = connection.await;
        });
        let (tls, task) = (tls.map(|(client, _)| client), task.abort_handle());
        Ok(Connection { sender, reused: false, reached_in, tls, kept: None, task })
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
            idle.retain(|it| it.is_fresh(pool_idle, now));
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

    fn take(&self, endpoint: &Endpoint, pool_idle: Duration) -> Option<Connection> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(&endpoint.id)?;
        let (now, tls) = (Instant::now(), endpoint.tls());
        while let Some(found) = idle.pop() {
            // One that was made under other certificates is not who we are now, or not whom we
            // trust now.
            let is_current = match (&found.connection.tls, &tls) {
                (Some(made), Some(now)) => Arc::ptr_eq(made, now),
                (made, now) => made.is_none() && now.is_none(),
            };
            if is_current && found.is_fresh(pool_idle, now) {
                return Some(found.connection);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_of_their_connections() {
        for (value, seconds) in [
            ("timeout=5", Some(4)),
            ("timeout=5, max=1000", Some(4)),
            ("max=100,Timeout = \"72\"", Some(71)),
            ("timeout=1", Some(0)),
            ("timeout=0", Some(0)),
            ("timeout=", None),
            ("timeout=-1", None),
            ("timeout", None),
            ("", None),
        ] {
            let headers = [(KEEP_ALIVE, value.parse().unwrap())].into_iter().collect();
            assert_eq!(kept(&headers), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(kept(&HeaderMap::new()), None);
    }
}
