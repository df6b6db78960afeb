//! A clock that a model turns.

use std::future::poll_fn;
use std::ops::Add;
use std::pin::pin;
use std::task::Poll;
pub use std::time::Duration;

use loom::sync::Mutex;

use crate::line::Line;

loom::lazy_static! {
    static ref CLOCK: Mutex<(Duration, Line)> = Mutex::default();
}

/// Turns it, for everybody.
pub fn advance(by: Duration) {
    let mut clock = CLOCK.lock().unwrap();
    clock.0 += by;
    clock.1.call_all();
}

/// See `tokio::time::Instant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        Instant(CLOCK.lock().unwrap().0)
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now().0 - self.0
    }

    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, more: Duration) -> Instant {
        Instant(self.0 + more)
    }
}

#[derive(Debug)]
pub struct Elapsed;

/// See `tokio::time::timeout_at`.
pub async fn timeout_at<F: Future>(until: Instant, work: F) -> Result<F::Output, Elapsed> {
    let (mut work, mut place) = (pin!(work), None);
    let answer = poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        let mut clock = CLOCK.lock().unwrap();
        if clock.0 >= until.0 {
            return Poll::Ready(Err(Elapsed));
        }
        if let Some(old) = place {
            clock.1.leave(old);
        }
        place = Some(clock.1.join(context.waker()));
        Poll::Pending
    })
    .await;
    if let Some(old) = place {
        CLOCK.lock().unwrap().1.leave(old);
    }
    answer
}
