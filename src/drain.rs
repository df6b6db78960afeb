//! Ending things in order: one trigger, many watchers, and a deadline.
//!
//! All times of an end are fixed when it begins, so that whoever is told once knows the rest. A
//! watcher that is dropped has finished its work; whoever triggered the end waits for the last one,
//! but not for ever. Does not know: what is being ended.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What is left after the time of an end is over: to write what has just ended, and to close.
pub const GRACE: Duration = Duration::from_secs(1);

/// An end, and its times.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// When it began.
    pub began: Instant,
    /// What has no end of its own ends by this time.
    pub endless: Instant,
    /// What is in flight has until then, and [`GRACE`].
    pub over: Instant,
    /// Somebody else goes on accepting on all of our sockets.
    pub shared: bool,
}

impl Ending {
    /// An end that begins now; what has no end of its own never gets more than the rest.
    pub fn now(endless: Duration, all: Duration, shared: bool) -> Ending {
        let began = Instant::now();
        Ending { began, endless: began + endless.min(all), over: began + all, shared }
    }
}

/// Ends what watches it.
#[derive(Debug)]
pub struct Trigger {
    ending: watch::Sender<Option<Ending>>,
    finished: mpsc::Receiver<()>,
}

/// Is told of the end, and holds it up until it is dropped.
#[derive(Clone, Debug)]
pub struct Watcher {
    ending: watch::Receiver<Option<Ending>>,
    _alive: mpsc::Sender<()>,
}

/// A trigger and its first watcher.
pub fn pair() -> (Trigger, Watcher) {
    let (ending, watching) = watch::channel(None);
    let (alive, finished) = mpsc::channel(1);
    (Trigger { ending, finished }, Watcher { ending: watching, _alive: alive })
}

impl Trigger {
    /// Tells every watcher and waits until the last is dropped; `false` when that took longer than
    /// it may.
    pub async fn end(mut self, ending: Ending) -> bool {
        self.ending.send_replace(Some(ending));
        tokio::time::timeout_at(ending.over + GRACE, self.finished.recv()).await.is_ok()
    }
}

impl Watcher {
    /// Returns when the end has begun.
    pub async fn ending(&mut self) -> Ending {
        let told = self.ending.wait_for(Option::is_some).await;
        // A trigger that is gone has nothing to wait for either.
        let at_once = || Ending::now(Duration::ZERO, Duration::ZERO, true);
        told.ok().and_then(|it| *it).unwrap_or_else(at_once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_trigger_waits_for_the_last_watcher() {
        let (trigger, mut first) = pair();
        let second = first.clone();
        tokio::spawn(async move {
            assert!(first.ending().await.shared);
            tokio::time::sleep(5 * S).await;
            drop(second);
        });
        assert!(trigger.end(Ending::now(S, 10 * S, true)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn but_not_for_ever() {
        let (trigger, _kept) = pair();
        let ending = Ending::now(60 * S, 10 * S, false);
        assert_eq!((ending.endless, ending.over), (ending.began + 10 * S, ending.began + 10 * S));
        assert!(!trigger.end(ending).await);
        assert_eq!(ending.began.elapsed(), 11 * S);
    }
}
