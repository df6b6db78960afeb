//! The end in order: what is in flight is finished, within bounds, and told in the log.
//!
//! Does not know: why it ends.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval};

use crate::drain::{Ending, Trigger};
use crate::observe::join::Awaiting;
use crate::plane::Plane;

/// How often the workers are told which sessions still wait: also the least time for which none of a
/// session's calls may be seen to wait before its stream ends.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the last turn of a worker may take.
const JOIN_MAX: Duration = Duration::from_secs(5);

/// How often the log says what is left.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// Lets what is in flight finish, within `timeouts.drain` or until `hurry`. `shared`: others go on
/// accepting on all of our sockets.
pub(super) async fn finish(
    plane: &Plane,
    trigger: Trigger,
    shared: bool,
    awaiting: &watch::Sender<Option<Awaiting>>,
    hurry: impl Future<Output = ()>,
) {
    plane.collect().await;
    let timeouts = plane.table().config.timeouts.clone();
    let ending = Ending::now(timeouts.drain_streams, timeouts.drain, shared);
    plane.stops(ending.over);
    let limit = humantime::format_duration(timeouts.drain);
    tracing::info!(left = %plane.left(), %limit, "stopping: no new connections, finishing what is in flight");
    let finished = tokio::select! {
        finished = trigger.end(ending) => Some(finished),
        () = hurry => None,
        () = follow(plane, awaiting) => None,
    };
    let took = format!("{:.1}s", ending.began.elapsed().as_secs_f64());
    if finished == Some(true) {
        return tracing::info!(took, "stopping: everything has finished");
    }
    plane.collect().await;
    let left = plane.left();
    if finished.is_none() {
        tracing::warn!(%left, took, "stopping at once: cut what was still open");
    } else {
        tracing::warn!(%left, took, "stopping: cut what was still open at the end of timeouts.drain");
    }
}

/// Tells the workers who still waits, and the log what is left; never ends by itself.
async fn follow(plane: &Plane, awaiting: &watch::Sender<Option<Awaiting>>) {
    let (mut every, mut told) = (interval(LOOK_EVERY), Instant::now());
    let mut before = plane.awaiting();
    loop {
        every.tick().await;
        plane.collect().await;
        // A call may have been on its way between two workers the last time.
        let now = plane.awaiting();
        awaiting.send_replace(Some(Arc::new(before.union(&now).copied().collect())));
        before = now;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::info!(left = %plane.left(), "stopping");
        }
    }
}

/// Waits for the workers, which have been told that it is over.
pub(super) async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        threads.into_iter().filter_map(|thread| thread.join().err()).count()
    });
    match tokio::time::timeout(JOIN_MAX, joined).await {
        Ok(Ok(panicked @ 1..)) => tracing::error!(panicked, "workers ended by a panic"),
        Ok(_) => {}
        Err(_) => tracing::error!("a worker hangs, and is left behind"),
    }
}
