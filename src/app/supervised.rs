//! When the router is ready, how it stands in one line for people, how its end goes: for its
//! service manager, for load balancers, for the log.
//!
//! Ready is an advice to those who look before they send; clients are served from the beginning.
//! Does not know: how a manager is told.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::health::board::View;
use crate::health::state::Standing;
use crate::names::Arm;
use crate::plane::Plane;
use crate::supervisor::Message;

use super::watchdog;

/// How long the first handshakes are waited for.
const READY_MAX: Duration = Duration::from_secs(10);

/// The least time between two lines for people.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// How often a manager hears that the end goes on, and how long it is to wait for the next time.
const EXTEND: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// What the end takes after the last client has gone: records and messages to others.
const LEFTOVERS: Duration = Duration::from_secs(5);

/// What is told while the router lives; nothing more once it is dropped.
pub(super) struct Supervised {
    plane: Rc<Plane>,
    tasks: JoinSet<()>,
}

impl Supervised {
    /// From now on, until [`Supervised::stop`]. One that `is_proven` has made its handshakes before it
    /// took over.
    pub(super) fn start(plane: &Rc<Plane>, is_proven: bool) -> Supervised {
        let mut tasks = JoinSet::new();
        // With nothing to wait for there is no moment without readiness.
        let told = (is_proven || plane.unheard().is_empty()).then(|| ready(plane));
        if told.is_none() {
            let status = "starting: serves clients, and waits for the first handshakes";
            plane.supervisor().tell(&[Message::Status(status.to_owned())]);
        }
        tasks.spawn_local(follow(Rc::clone(plane), told));
        if let Some(limit) = plane.supervisor().watchdog() {
            tasks.spawn_local(watchdog::run(Rc::clone(plane), limit));
        }
        Supervised { plane: Rc::clone(plane), tasks }
    }

    /// The end has begun. Managers watch nobody who stops, and the doors are shut, so the watchdog
    /// ends here.
    pub(super) fn stop(self) -> Supervised {
        // Whoever is not ready yet does not become so.
        drop(self.tasks);
        self.plane.set_ready(false);
        self.plane.supervisor().tell(&[Message::Stopping]);
        let mut tasks = JoinSet::new();
        if self.plane.supervisor().is_there() {
            tasks.spawn_local(stopping(Rc::clone(&self.plane)));
        }
        Supervised { plane: self.plane, tasks }
    }
}

/// It is ready; returns how things stand.
fn ready(plane: &Plane) -> String {
    plane.set_ready(true);
    super::announce(plane);
    let status = status(plane);
    plane.supervisor().tell(&[Message::Ready, Message::Status(status.clone())]);
    status
}

/// Becomes ready if it is not, and tells from then on how things stand, whenever that is something
/// else than was told last.
async fn follow(plane: Rc<Plane>, told: Option<String>) {
    let mut told = match told {
        Some(told) => told,
        None => first_round(&plane).await,
    };
    while plane.supervisor().is_there() {
        tokio::time::sleep(STATUS_EVERY).await;
        plane.supervisor().catch_up();
        let now = status(&plane);
        if told != now {
            plane.supervisor().tell(&[Message::Status(now.clone())]);
            told = now;
        }
    }
}

/// Waits until every endpoint has been asked once, however it answered, or until it has been long
/// enough: a server that hangs does not keep the others from their work.
async fn first_round(plane: &Plane) -> String {
    let all = plane.board().until(|| plane.unheard().is_empty());
    if tokio::time::timeout(READY_MAX, all).await.is_err() {
        tracing::warn!(
            endpoints = %plane.unheard().join(", "),
            "no handshake has ended within {}: ready without",
            humantime::format_duration(READY_MAX)
        );
    }
    ready(plane)
}

/// Asks for as much time as the end may take, and for no more.
async fn stopping(plane: Rc<Plane>) {
    let until = Instant::now() + plane.table().config.timeouts.drain + LEFTOVERS;
    let (every, wait) = EXTEND;
    let mut every = tokio::time::interval(every);
    loop {
        every.tick().await;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let work: usize = plane.table().endpoints().map(|it| it.in_flight()).sum();
        let status = format!("stopping, {work} in flight");
        plane.supervisor().tell(&[Message::ExtendTimeout(left.min(wait)), Message::Status(status)]);
    }
}

/// How things stand.
fn status(plane: &Plane) -> String {
    let (table, control) = (plane.table(), plane.control());
    let state = control.state();
    let [primary, secondary] = Arm::ALL.map(|arm| state.split.weight(arm));
    let mut all = vec![format!("{primary}:{secondary}")];
    if let Some(rollout) = &state.rollout {
        all.push(format!("rollout {} {}", rollout.id, rollout.state));
    }
    all.extend(state.drained.map(|arm| format!("{arm} drained")));
    all.push(health(plane));
    if table.effective.nothing_healthy {
        all.push("NOTHING IS HEALTHY".to_owned());
    }
    if control.latch().is_some() {
        all.push("CRITICAL ALERT".to_owned());
    }
    if plane.overload().sheds_connections() {
        all.push("SHORT OF MEMORY".to_owned());
    }
    if control.last_reload().refused.is_some() {
        all.push("LAST RELOAD REFUSED (see the log)".to_owned());
    }
    all.join(", ")
}

/// How many endpoints work.
fn health(plane: &Plane) -> String {
    let table = plane.table();
    let count = |arm| table.arms.get(arm).endpoints.len();
    let all: usize = Arm::ALL.into_iter().map(count).sum();
    if table.config.health.interval.is_none() {
        return format!("{all} endpoints");
    }
    let is_up = |view: &View| view.state.standing() == Standing::Up;
    let endpoints = Arm::ALL.into_iter().flat_map(|arm| &table.arms.get(arm).endpoints);
    let up = endpoints.filter(|it| plane.board().view(it.id).as_ref().is_some_and(is_up)).count();
    format!("{up} of {all} endpoints up")
}
