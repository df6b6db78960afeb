//! What must hold of all that threads of the router share (see `lib.rs`), in every order.

mod models {
    pub mod collect;
    pub mod crowd;
    pub mod endpoint;
    pub mod live;
    pub mod lookup;
    pub mod overload;
    pub mod room;
}

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Runs it in every order that has at most so many switches away from a thread that could go on.
fn in_every_order(switches: usize, what: impl Fn() + Send + Sync + 'static) {
    let mut all = loom::model::Builder::new();
    all.preemption_bound = Some(switches);
    all.check(what);
}

/// Waits until all have ended.
fn join<T, const N: usize>(threads: [loom::thread::JoinHandle<T>; N]) -> [T; N] {
    threads.map(|it| it.join().expect("a panic ends the model"))
}

/// Looks once whether it is done, and is not told when.
fn poll_once<T>(work: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
    work.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
