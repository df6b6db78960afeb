//! Threads for what blocks.

use loom::sync::atomic::{AtomicBool, Ordering};

loom::lazy_static! {
    static ref LOSES_ONE: AtomicBool = AtomicBool::new(false);
}

/// A runtime ends: the next piece of work that would run is dropped.
pub fn lose_one() {
    LOSES_ONE.swap(true, Ordering::SeqCst);
}

/// See `tokio::task::spawn_blocking`.
pub fn spawn_blocking(work: impl FnOnce() + 'static) {
    loom::thread::spawn(move || {
        if !LOSES_ONE.swap(false, Ordering::SeqCst) {
            work();
        }
    });
}
