//! A session held for a while: a sign of life again and again, and the stream that clients hold.
//!
//! Does not know: who looks, and what is too slow.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::caller::Events;
use super::handshake;
use super::handshake::session::Session;
use super::subject::Subject;
use super::verdict::{Fault, Verdict};

/// From one sign of life to the next at most.
const BEAT_MAX: Duration = Duration::from_secs(1);

/// What was seen while a session was held.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Signs of life asked for.
    pub beats: u64,
    /// Of those, how many did not come.
    pub failed: u64,
    /// How often a stream or a session that was open ended.
    pub drops: u64,
    /// Whether a stream is open beside the calls.
    pub stream: bool,
    /// What went wrong last.
    pub last_fault: Option<String>,
    times: Vec<Duration>,
}

impl Held {
    /// The time that this part of the answers, from 0 to 1, took at most.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        Some(times[(part * last as f64).round() as usize])
    }

    /// Whether nothing went wrong.
    pub fn is_stable(&self) -> bool {
        self.failed == 0 && self.drops == 0
    }

    fn fault(&mut self, why: String) {
        self.failed += 1;
        self.last_fault = Some(why);
    }
}

/// Holds a session for `period` and shows what was seen so far after every sign of life. The
/// session is ended also when this is dropped. Needs a `LocalSet`.
///
/// # Errors
/// When no session is to be had in the first place.
pub async fn hold(
    subject: &Subject,
    period: Duration,
    mut show: impl FnMut(&Held),
) -> Result<Held, Verdict> {
    let limit = subject.settings.health.timeout;
    let mut session = handshake::open(subject).await?;
    let mut held = Held::default();
    let mut stream = Stream::None;
    let end = Instant::now() + period;
    let mut every = interval(BEAT_MAX.min(period / 10).max(Duration::from_millis(1)));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if tokio::time::timeout_at(end, every.tick()).await.is_err() {
            return Ok(held);
        }
        stream = stream.keep(&session, limit, &mut held).await;
        held.beats += 1;
        let start = Instant::now();
        match timeout(limit, session.beat()).await {
            Ok(Ok(())) => held.times.push(start.elapsed()),
            Ok(Err(fault)) => {
                held.fault(fault.to_string());
                // On HTTP+SSE the session ends with its stream; elsewhere it has to last.
                if let (Session::Sse(_), Fault::Closed { .. }) = (&session, &fault) {
                    held.drops += 1;
                    if let Ok(again) = handshake::open(subject).await {
                        session = again;
                    }
                }
            }
            Err(_) => held.fault("no answer in time".to_owned()),
        }
        show(&held);
    }
}

/// The stream beside the calls.
enum Stream {
    /// Not asked for yet, or to be asked for again.
    None,
    /// The era or the server has none.
    NotOffered,
    /// Open, until it says that it has ended.
    Open(Reading),
}

struct Reading {
    ended: Rc<Cell<bool>>,
    task: AbortHandle,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream {
    /// Opens the stream if it is not open, and notes an end.
    async fn keep(self, session: &Session, limit: Duration, held: &mut Held) -> Stream {
        match (self, session) {
            (Stream::NotOffered, _) | (_, Session::Modern(_)) => Stream::NotOffered,
            (_, Session::Sse(_)) => {
                held.stream = true;
                Stream::NotOffered
            }
            (Stream::Open(reading), _) if !reading.ended.get() => Stream::Open(reading),
            (was, Session::Legacy(session)) => {
                held.drops += u64::from(matches!(was, Stream::Open(_)));
                held.stream = false;
                match timeout(limit, session.listen()).await {
                    Ok(Ok(Some(events))) => {
                        held.stream = true;
                        Stream::Open(read(events))
                    }
                    Ok(Ok(None)) => Stream::NotOffered,
                    Ok(Err(fault)) => {
                        held.fault(format!("event stream: {fault}"));
                        Stream::None
                    }
                    Err(_) => {
                        held.fault("event stream: no answer in time".to_owned());
                        Stream::None
                    }
                }
            }
        }
    }
}

/// Reads a stream to its end.
fn read(mut events: Events) -> Reading {
    let ended = Rc::new(Cell::new(false));
    let told = Rc::clone(&ended);
    let task = tokio::task::spawn_local(async move {
        while let Ok(Some(_)) = events.next().await {}
        told.set(true);
    });
    Reading { ended, task: task.abort_handle() }
}
