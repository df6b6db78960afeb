//! One prober: the handshakes with one endpoint, again and again.
//!
//! Dropping it is all that it takes to stop it. Does not know: other endpoints, who listens.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::route::Endpoint;

use super::handshake::{self, Memory, Probe};
use super::state::{Standing, State};
use super::subject::Subject;

/// How long a suspicion, or its repetition, waits for the next handshake at most.
const QUICK: Duration = Duration::from_secs(1);

/// How far an interval is stretched or shortened, so that many probers do not march in step.
const JITTER: f64 = 0.1;

/// What a prober tells after each handshake.
#[derive(Debug)]
pub struct Report {
    /// What was found.
    pub probe: Rc<Probe>,
    /// What it means.
    pub state: State,
    /// Whether the standing is another one now.
    pub changed: bool,
}

/// Makes handshakes until it is dropped, the first at once; from `state` on. Returns where the
/// configuration switches them off. Needs a `LocalSet`.
pub async fn run(subject: Subject, mut state: State, report: impl Fn(Report)) {
    let health = &subject.settings.health;
    let Some(interval) = health.interval else { return };
    let mut memory = Memory::default();
    loop {
        let probe = handshake::probe(&subject, &mut memory).await;
        let changed = state.record(probe.verdict.is_up(), health, Instant::now());
        report(Report { probe: Rc::new(probe), state, changed });
        rest(&subject.endpoint, &mut state, interval).await;
    }
}

/// Waits for the next handshake's time: sooner while real traffic meets faults, but never more
/// often than once in [`QUICK`] for that.
async fn rest(endpoint: &Endpoint, state: &mut State, interval: Duration) {
    let soonest = Instant::now() + interval.min(QUICK);
    if state.is_suspect() {
        return sleep_until(soonest).await;
    }
    let regular = sleep(interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * rand::random::<f64>()));
    if state.standing() == Standing::Down {
        return regular.await;
    }
    tokio::select! {
        () = regular => {}
        () = endpoint.suspected() => {
            state.suspect();
            sleep_until(soonest).await;
        }
    }
}
