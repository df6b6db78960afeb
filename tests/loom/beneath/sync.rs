//! What threads share.
//!
//! `Arc` is the real one: its counts are the library's affair, and another could not be the type of
//! `self`. That it orders nothing for loom only lets more happen.

pub use loom::sync::{Mutex, MutexGuard};
pub use std::sync::{Arc, PoisonError};

pub mod atomic;
pub mod mpsc;
pub mod watch;

mod notify;
mod semaphore;

pub use notify::Notify;
pub use semaphore::{Semaphore, SemaphorePermit};
