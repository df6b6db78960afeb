//! A place for one `Arc`. Loads acquire what the store of their value released, which is less than
//! arc-swap promises; a load may see an old value as long as nothing orders it behind the new one.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use loom::sync::atomic::{AtomicUsize, Ordering};

/// See `arc_swap::ArcSwap`.
#[derive(Debug)]
pub struct ArcSwap<T> {
    now: AtomicUsize,
    /// All that were ever stored. A lock of the real kind, so that it orders nothing for loom.
    all: Mutex<Vec<Arc<T>>>,
}

/// See `arc_swap::Guard`.
pub struct Guard<T>(Arc<T>);

impl<T> Deref for Guard<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T> ArcSwap<T> {
    pub fn new(first: Arc<T>) -> ArcSwap<T> {
        ArcSwap { now: AtomicUsize::new(0), all: Mutex::new(vec![first]) }
    }

    pub fn from_pointee(first: T) -> ArcSwap<T> {
        ArcSwap::new(Arc::new(first))
    }

    pub fn load_full(&self) -> Arc<T> {
        let now = self.now.load(Ordering::Acquire);
        Arc::clone(&self.all.lock().unwrap()[now])
    }

    pub fn load(&self) -> Guard<T> {
        Guard(self.load_full())
    }

    pub fn store(&self, new: Arc<T>) {
        let next = {
            let mut all = self.all.lock().unwrap();
            all.push(new);
            all.len() - 1
        };
        self.now.swap(next, Ordering::AcqRel);
    }
}
