//! What is known of every endpoint: one prober for each, and its latest results.
//!
//! Whoever owns the board brings it in line with each new routing table, waits for news, and takes
//! fitness from it as plain numbers. Does not know: how a table is published, metrics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::names::EndpointId;
use crate::route::RoutingTable;

use super::catalogue::Catalogue;
use super::handshake::{Eras, Probe, ServerInfo};
use super::probe::{self, Report};
use super::state::State;
use super::subject::Subject;

/// Every endpoint's health. Needs a `LocalSet`, on which the probers run.
#[derive(Debug, Default)]
pub struct Board {
    entries: RefCell<HashMap<EndpointId, Entry>>,
    counts: RefCell<HashMap<(EndpointId, &'static str), u64>>,
    /// Endpoints that were down before anybody here has asked them.
    presumed: RefCell<Vec<EndpointId>>,
    news: Notify,
    /// For whoever waits for a state that any of the news may bring.
    changed: Notify,
}

/// What is known of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What the results so far mean.
    pub state: State,
    /// When the standing began, or the first handshake ended.
    pub since: Option<SystemTime>,
    /// When the standing last changed, by a clock that nobody sets.
    pub turned: Option<Instant>,
    /// The latest result; none before the first.
    pub last: Option<Rc<Probe>>,
    /// When that was, by the same clock.
    pub told: Option<Instant>,
    /// What its server said it is, when it last said so.
    pub server: Option<ServerInfo>,
    /// The eras that it spoke then.
    pub eras: Eras,
    /// What it listed, each list when it was last read to its end; nothing before its tools were.
    pub catalogue: Option<Rc<Catalogue>>,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    view: View,
    _prober: Prober,
}

/// Stops a prober when it is dropped.
#[derive(Debug)]
struct Prober(AbortHandle);

impl Drop for Prober {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Board {
    /// A board without endpoints.
    pub fn new() -> Rc<Board> {
        Rc::default()
    }

    /// Takes these endpoints for down as soon as they are known.
    pub fn presume_down(&self, endpoints: Vec<EndpointId>) {
        self.presumed.replace(endpoints);
    }

    /// Starts and stops probers so that each endpoint of the table has one under its present
    /// settings. What is known of an endpoint that stays is kept.
    pub fn sync(self: &Rc<Self>, table: &RoutingTable) {
        let mut entries = self.entries.borrow_mut();
        let mut old = std::mem::take(&mut *entries);
        let presumed = self.presumed.take();
        if table.config.health.interval.is_some() {
            for endpoint in table.endpoints() {
                let subject = Subject::new(endpoint, &table.config);
                let entry = match old.remove(&endpoint.id) {
                    Some(entry) if entry.is_of(&subject) => entry,
                    Some(entry) => self.entry(subject, entry.view),
                    None => {
                        let is_down = presumed.contains(&endpoint.id);
                        let state = if is_down { State::down() } else { State::new(endpoint.came) };
                        // Whoever says that others work has to have seen it since.
                        let turned = is_down.then(Instant::now);
                        self.entry(subject, View { state, turned, ..View::default() })
                    }
                };
                entries.insert(endpoint.id, entry);
            }
        }
        drop(entries);
        self.changed.notify_waiters();
        if !old.is_empty() {
            self.news.notify_one();
        }
    }

    /// Stops every prober, whose sessions are ended as long as the `LocalSet` runs.
    pub fn stop(&self) {
        self.entries.borrow_mut().clear();
    }

    /// Returns when a handshake has ended or an endpoint has gone since the last time. For one
    /// that waits.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Returns when this holds, which is looked at whenever endpoints or handshakes have changed
    /// something.
    pub async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    /// The fitness of each endpoint that is probed, from 0 to 1.
    pub fn fitness(&self, now: Instant) -> HashMap<EndpointId, f64> {
        let fitness =
            |entry: &Entry| entry.view.state.fitness(entry.subject.settings.health.slow_start, now);
        self.entries.borrow().iter().map(|(id, entry)| (*id, fitness(entry))).collect()
    }

    /// What is known of an endpoint; `None` while it is not probed.
    pub fn view(&self, endpoint: EndpointId) -> Option<View> {
        self.entries.borrow().get(&endpoint).map(|entry| entry.view.clone())
    }

    /// How many handshakes ended with which verdict since the last time.
    pub fn take_counts(&self) -> HashMap<(EndpointId, &'static str), u64> {
        self.counts.take()
    }

    fn entry(self: &Rc<Self>, subject: Subject, view: View) -> Entry {
        let (id, board) = (subject.endpoint.id, Rc::downgrade(self));
        let report = move |report| {
            if let Some(board) = Weak::upgrade(&board) {
                board.take_in(id, report);
            }
        };
        let prober = tokio::task::spawn_local(probe::run(subject.clone(), view.state, report));
        Entry { subject, view, _prober: Prober(prober.abort_handle()) }
    }

    fn take_in(&self, endpoint: EndpointId, report: Report) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&endpoint) {
            let Report { probe, state, changed } = report;
            let label = probe.verdict.label();
            let same = entry.view.last.as_ref().is_some_and(|last| last.verdict.label() == label);
            if changed || !same {
                log(&entry.subject, &probe, &state);
            }
            *self.counts.borrow_mut().entry((endpoint, label)).or_default() += 1;
            entry.view.take_in(probe, state, changed);
        }
        self.news.notify_one();
        self.changed.notify_waiters();
    }
}

impl View {
    fn take_in(&mut self, probe: Rc<Probe>, state: State, changed: bool) {
        let now = Some(Instant::now());
        self.state = state;
        self.told = now;
        if changed {
            self.turned = now;
        }
        if changed || self.since.is_none() {
            self.since = Some(probe.at);
        }
        // One that does not answer now is still the server that it was.
        if probe.server.is_some() {
            self.server.clone_from(&probe.server);
        }
        if probe.verdict.label() == "healthy" {
            self.eras = probe.eras;
        }
        if let Some(listed) = &probe.catalogue {
            let mut listed = listed.clone();
            if let Some(older) = &self.catalogue {
                listed.keep(older);
            }
            if listed.knows_tools() && self.catalogue.as_deref() != Some(&listed) {
                self.catalogue = Some(Rc::new(listed));
            }
        }
        self.last = Some(probe);
    }
}

impl Entry {
    fn is_of(&self, subject: &Subject) -> bool {
        Arc::ptr_eq(&self.subject.endpoint, &subject.endpoint)
            && self.subject.settings == subject.settings
    }
}

/// One line for the first result of an endpoint, for each other verdict and each other standing.
fn log(subject: &Subject, probe: &Probe, state: &State) {
    let (arm, endpoint) = (subject.endpoint.arm, &subject.endpoint.url);
    let (verdict, standing) = (probe.verdict.label(), state.standing().as_str());
    let reason = &probe.verdict;
    if probe.verdict.label() == "healthy" {
        let version = probe.protocol_version.as_deref();
        tracing::info!(%arm, %endpoint, verdict, standing, version, "handshake: {reason}");
    } else {
        tracing::warn!(%arm, %endpoint, verdict, standing, "handshake: {reason}");
    }
}

#[cfg(test)]
mod tests;
