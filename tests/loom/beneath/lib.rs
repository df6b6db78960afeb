//! Stands for `std`, `tokio` and `arc_swap` in the files under test, with loom underneath.
//!
//! loom has atomics, locks and threads of its own, but neither tokio's primitives nor arc-swap.
//! Those are too large to be run in every order along with our code, and their authors see to them:
//! tokio runs its semaphore, `Notify` and channels under loom, and arc-swap argues every ordering in
//! its documentation (`arc_swap::docs::internal`). So they are here by what they promise, and no
//! more: what the models test is our use of them.

// A name is at the same place as in the original, whichever that is.
pub use ::std::{cell, collections, mem, rc};

pub mod line;
pub mod net;
pub mod sync;
pub mod task;
pub mod time;

mod arc_swap;

pub use arc_swap::{ArcSwap, Guard};
