//! Ending things in order: one trigger, many watchers, and a deadline.
//!
//! A watcher that is dropped has finished its work; whoever triggered the end waits for the last
//! one, but not for ever. Does not know: what is being ended.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Ends what watches it.
#[derive(Debug)]
pub struct Trigger {
    ending: watch::Sender<bool>,
    finished: mpsc::Receiver<()>,
}

/// Is told of the end, and holds it up until it is dropped.
#[derive(Clone, Debug)]
pub struct Watcher {
    ending: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

/// A trigger and its first watcher.
pub fn pair() -> (Trigger, Watcher) {
    let (ending, watching) = watch::channel(false);
    let (alive, finished) = mpsc::channel(1);
    (Trigger { ending, finished }, Watcher { ending: watching, _alive: alive })
}

impl Trigger {
    /// Tells every watcher and waits until the last is dropped; `false` when that took longer than
    /// `limit`.
    pub async fn end(mut self, limit: Duration) -> bool {
        self.ending.send_replace(true);
        tokio::time::timeout(limit, self.finished.recv()).await.is_ok()
    }
}

impl Watcher {
    /// Returns when the end has begun.
    pub async fn ending(&mut self) {
        // A trigger that is gone has nothing to wait for either.
        let _ = self.ending.wait_for(|ending| *ending).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_trigger_waits_for_the_last_watcher() {
        let (trigger, mut first) = pair();
        let second = first.clone();
        tokio::spawn(async move {
            first.ending().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(second);
        });
        assert!(trigger.end(Duration::from_secs(10)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn but_not_for_ever() {
        let (trigger, _kept) = pair();
        assert!(!trigger.end(Duration::from_secs(10)).await);
    }
}
