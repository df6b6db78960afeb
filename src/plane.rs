//! The control plane: what the admin socket and the metrics listener see of the router.
//!
//! One thread, so a `RefCell` is all the locking there is, and none is held over an await. Does
//! not know: HTTP.

use std::cell::{Cell, Ref, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::control::{ChangeError, Control};
use crate::metrics::Metrics;
use crate::names::Split;
use crate::observe::collect::Collector;
use crate::records::journal::Actor;
use crate::records::state::State;
use crate::route::RoutingTable;

/// Everything that is not on the way of a request.
#[derive(Debug)]
pub struct Plane {
    control: RefCell<Control>,
    collector: tokio::sync::Mutex<Collector>,
    metrics: RefCell<Metrics>,
    started: Instant,
    ready: Cell<bool>,
    /// Where clients connect, as the sockets say.
    pub listen: Vec<SocketAddr>,
    /// Where Prometheus scrapes.
    pub metrics_listen: Option<SocketAddr>,
}

impl Plane {
    /// Puts the control plane together.
    pub fn new(
        control: Control,
        collector: Collector,
        listen: Vec<SocketAddr>,
        metrics_listen: Option<SocketAddr>,
    ) -> Plane {
        let plane = Plane {
            control: RefCell::new(control),
            collector: tokio::sync::Mutex::new(collector),
            metrics: RefCell::new(Metrics::new()),
            started: Instant::now(),
            ready: Cell::new(false),
            listen,
            metrics_listen,
        };
        plane.show_table();
        plane.metrics.borrow().set_reload(true, seconds(SystemTime::now()));
        plane
    }

    /// Brings in what the workers have counted.
    pub async fn collect(&self) {
        let samples = self.collector.lock().await.collect().await;
        self.metrics.borrow_mut().absorb(samples);
    }

    /// Whether new clients are welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// Opens or closes the door for load balancers in front of us.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(ready);
    }

    /// The table in force.
    pub fn table(&self) -> Arc<RoutingTable> {
        self.control.borrow().table()
    }

    /// Sets the split; returns what was in force before, and what is now.
    pub fn set_split(
        &self,
        actor: &Actor,
        split: Split,
        expected_revision: Option<u64>,
    ) -> Result<(State, State), ChangeError> {
        let before = self.control.borrow_mut().set_split(actor, split, expected_revision)?;
        self.show_table();
        Ok((before, self.control.borrow().state().clone()))
    }

    /// Reads the configuration again; returns what the operator should know about the change.
    pub fn reload(&self, actor: &Actor) -> Result<Option<String>, ChangeError> {
        let result = self.control.borrow_mut().reload(actor);
        self.metrics.borrow().set_reload(result.is_ok(), seconds(SystemTime::now()));
        self.show_table();
        result
    }

    /// Changes and their history, to look at.
    pub fn control(&self) -> Ref<'_, Control> {
        self.control.borrow()
    }

    /// The figures, to look at.
    pub fn metrics(&self) -> Ref<'_, Metrics> {
        self.metrics.borrow()
    }

    /// How long the router has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn show_table(&self) {
        let table = self.table();
        self.metrics.borrow().set_split(table.split, table.generation);
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
