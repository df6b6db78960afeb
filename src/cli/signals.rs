//! The signals by which somebody ends a command that takes long, so that it can end in order.
//!
//! A closed terminal ends it too, unless whoever started it has seen to that (`nohup`). Does not
//! know: what is to be done then, the router, which has signals of its own.

use std::cell::RefCell;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGHUP: all of them ask to leave.
pub(super) struct Signals(RefCell<Vec<Signal>>);

impl Signals {
    /// Listens from now on.
    pub(super) fn new() -> io::Result<Signals> {
        let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
        if !is_hangup_ignored() {
            kinds.push(SignalKind::hangup());
        }
        kinds
            .into_iter()
            .map(signal)
            .collect::<Result<_, _>>()
            .map(|all| Signals(RefCell::new(all)))
    }

    /// Returns at the next of them.
    pub(super) async fn next(&self) {
        std::future::poll_fn(|cx| {
            // All are asked, so that all wake us.
            let mut all = self.0.borrow_mut();
            let told = all.iter_mut().filter_map(|it| it.poll_recv(cx).is_ready().then_some(()));
            if told.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Whether this process was started to outlive its terminal; to listen would undo that.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    // The first bit is signal 1.
    ignored.is_some_and(|it| it & 1 == 1)
}
