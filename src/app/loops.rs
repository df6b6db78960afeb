//! What the control plane does again and again, or whenever something tells it to.
//!
//! Does not know: how it begins and ends.

use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::plane::Plane;
use crate::records::journal::Actor;

/// How often the workers' counts are brought in and judged.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// How often the files of certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a look-up of a name may take before it counts as failed.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// How often the memory is looked at: clients can fill it at the speed of the network.
const WEIGH_EVERY: Duration = Duration::from_millis(100);

/// How often webhooks are told what has happened.
const TELL_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn collect(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(COLLECT_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = plane.uncounted() => {}
        }
        plane.collect().await;
        plane.decide();
    }
}

pub(super) async fn tell(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(TELL_EVERY);
    loop {
        every.tick().await;
        plane.tell();
    }
}

/// Takes over what changes on this machine: the configuration when it is told to, certificates and
/// memory by itself.
pub(super) fn follow_machine(plane: &Rc<Plane>) -> std::io::Result<()> {
    tokio::task::spawn_local(reload_on_hangup(Rc::clone(plane))?);
    tokio::task::spawn_local(follow_certificates(Rc::clone(plane)));
    tokio::task::spawn_local(follow_memory(Rc::clone(plane)));
    Ok(())
}

async fn follow_memory(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(WEIGH_EVERY);
    loop {
        every.tick().await;
        plane.watch_memory();
    }
}

async fn follow_certificates(plane: Rc<Plane>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        plane.follow_certificates().await;
    }
}

/// Follows the servers: where they are, and how they stand.
pub(super) async fn follow(plane: Rc<Plane>) {
    tokio::join!(follow_health(&plane), follow_names(&plane));
}

/// Takes over what handshakes find out, as soon as they do, and what time changes in it.
async fn follow_health(plane: &Plane) {
    plane.board().sync(&plane.table());
    loop {
        // An endpoint that comes back gets a little more each second.
        let _ = tokio::time::timeout(COLLECT_EVERY, plane.board().news()).await;
        plane.follow_health();
        plane.decide();
    }
}

/// Looks up names again and again.
async fn follow_names(plane: &Plane) {
    let mut last = Instant::now();
    loop {
        // A reload may have brought the next time forward.
        let next = last + plane.table().config.dns.interval;
        tokio::time::sleep_until(next.min(Instant::now() + COLLECT_EVERY)).await;
        if Instant::now() >= next {
            plane.look_up(LOOK_UP_MAX).await;
            last = Instant::now();
        }
    }
}

/// Reloads at every SIGHUP; the result is in the log and in `status`.
fn reload_on_hangup(plane: Rc<Plane>) -> std::io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            let actor = Actor::Signal { name: "SIGHUP".to_owned() };
            if plane.reload(&actor, true).await.is_ok() {
                tracing::info!(generation = plane.table().generation, "configuration reloaded");
            }
        }
    })
}
