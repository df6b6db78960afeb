//! How long a client may take: for a head, for nothing at all, and for taking its answers.
//!
//! hyper bounds none of it (measured): not the time until it knows the protocol, not silent HTTP/2
//! connections, not answers that nobody reads. The rules are pure, with `now` as an argument; who
//! holds connections to them is `watched`. Does not know: sockets, bytes, hyper.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::names::Cut;

use super::frames::{Excess, Frames};

/// How long the body of a request that was answered early may still come in, before what comes is
/// taken for the next head.
const EARLY_ANSWER: Duration = Duration::from_secs(3);
/// How long an idle HTTP/2 connection gets to say its farewell.
const FAREWELL: Duration = Duration::from_secs(5);

/// Once the end has begun, how long an HTTP/1 connection is kept on which nothing is asked: whoever
/// sends one request after the other gets to hear that this was the last.
pub const SILENCE: Duration = Duration::from_secs(1);
/// Once the end has begun, how long a handshake or a head may still take.
pub const HEAD_AT_END: Duration = Duration::from_secs(3);

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When the connection was accepted.
    pub accepted: Instant,
    /// From accept to the first whole head, and from the first byte of each later one to its last.
    pub header: Duration,
    /// Without a request.
    pub idle: Duration,
    /// For taking something of what waits.
    pub write_idle: Duration,
    /// Bytes a second that are taken at least while something waits; 0: any.
    pub min_rate: u64,
}

/// What a connection has come to.
#[derive(Debug)]
pub enum Due {
    /// Nothing before this time, if ever.
    Later(Option<Instant>),
    /// It is idle and is to be closed in good order.
    Idle,
    /// One stream is to be ended, and is counted.
    Stream(AbortHandle),
    /// It is to be ended, and is counted.
    Cut(Cut),
    /// Its time is over.
    Over,
}

/// Whether what waits is taken fast enough: in any `write_idle` of waiting, at least what `min_rate`
/// makes of that time, and something in any case. Time in which nothing waits does not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taking {
    /// Since when something waits.
    since: Option<Instant>,
    /// How long it has waited since enough was taken, up to `since`.
    waited: Duration,
    /// Bytes taken in that time.
    taken: u64,
}

impl Taking {
    /// Something waits.
    pub fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// So many bytes were taken; with `rests`, nothing waits any more.
    pub fn takes(&mut self, now: Instant, bytes: usize, rests: bool, limits: &Limits) {
        let Some(since) = self.since else { return };
        self.waited += now.saturating_duration_since(since);
        self.since = (!rests).then_some(now);
        self.taken += bytes as u64;
        let enough = limits.write_idle.as_secs_f64() * limits.min_rate as f64;
        if self.taken as f64 >= enough.max(1.0) {
            (self.waited, self.taken) = (Duration::ZERO, 0);
        }
    }

    /// When it is too slow, if nothing more is taken until then.
    pub fn due(&self, limits: &Limits) -> Option<Instant> {
        Some(self.since? + limits.write_idle.saturating_sub(self.waited))
    }
}

/// One request and its answer on the way.
#[derive(Debug, Default)]
struct Exchange {
    /// On HTTP/2, whether the client takes the answer.
    taking: Taking,
    /// Ends its stream.
    abort: Option<AbortHandle>,
}

/// One connection's time.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    /// Exchanges under way, by number.
    exchanges: HashMap<u64, Exchange>,
    /// How many there have been.
    begun: u64,
    /// When the last one ended.
    rested: Instant,
    /// On HTTP/1, when the head began that is not complete yet.
    head: Option<Instant>,
    /// The frames of HTTP/2.
    frames: Option<Frames>,
    /// Whether the client takes what is written.
    taking: Taking,
    /// No stream is too slow before this time.
    streams_due: Option<Instant>,
    /// When its farewell is over, once it is being closed in good order.
    leaving: Option<Instant>,
    /// The end, once it has begun: then, and when it is over.
    end: Option<(Instant, Instant)>,
}

impl Pace {
    /// A connection on which nothing has been asked yet.
    pub fn new(limits: Limits, is_http2: bool, now: Instant) -> Pace {
        Pace {
            limits,
            exchanges: HashMap::new(),
            begun: 0,
            rested: now,
            head: None,
            frames: is_http2.then(|| Frames::new(now)),
            taking: Taking::default(),
            streams_due: None,
            leaving: None,
            end: None,
        }
    }

    /// Everything is to end: in what time is left until `over`.
    pub fn begin_end(&mut self, began: Instant, over: Instant) {
        self.end = Some((began, over));
        if self.frames.is_some() {
            self.leaving.get_or_insert(began + FAREWELL);
        }
    }

    /// Whether the next answer is to be the last one on its connection.
    pub fn is_last(&self) -> bool {
        self.end.is_some() && self.frames.is_none()
    }

    /// Bytes came in.
    ///
    /// # Errors
    /// When no client needs so many frames.
    pub fn read(&mut self, bytes: &[u8], now: Instant) -> Result<(), Excess> {
        if let Some(frames) = &mut self.frames {
            return frames.read(bytes, now);
        }
        if self.exchanges.is_empty() {
            self.head.get_or_insert(now);
        }
        Ok(())
    }

    /// What was to be written has to wait.
    pub fn waits(&mut self, now: Instant) {
        self.taking.waits(now);
    }

    /// So many bytes were written; with `all`, nothing is left to write.
    pub fn wrote(&mut self, now: Instant, bytes: usize, all: bool) {
        self.taking.takes(now, bytes, all, &self.limits);
        if all && self.exchanges.is_empty() {
            // What was left of the last answer.
            self.rested = now;
        }
    }

    /// A whole head is there; returns the exchange's number.
    pub fn begin(&mut self) -> u64 {
        self.head = None;
        self.begun += 1;
        self.exchanges.insert(self.begun, Exchange::default());
        self.begun
    }

    /// How to end the stream of the exchange that has just begun.
    pub fn ends_by(&mut self, abort: AbortHandle) {
        if let Some(exchange) = self.exchanges.get_mut(&self.begun) {
            exchange.abort = Some(abort);
        }
    }

    /// On HTTP/2, a piece of an answer waits for its turn.
    pub fn piece_waits(&mut self, number: u64, bytes: usize, now: Instant) {
        let Some(frames) = &mut self.frames else { return };
        frames.earn(bytes);
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.taking.waits(now);
        let due = exchange.taking.due(&self.limits);
        self.streams_due = self.streams_due.into_iter().chain(due).min();
    }

    /// That piece was taken.
    pub fn piece_taken(&mut self, number: u64, bytes: usize, now: Instant) {
        if let Some(exchange) = self.exchanges.get_mut(&number) {
            exchange.taking.takes(now, bytes, true, &self.limits);
        }
    }

    /// An exchange is over.
    pub fn end(&mut self, number: u64, now: Instant) {
        self.exchanges.remove(&number);
        self.rested = now;
    }

    /// Whether something waits for the client to take it.
    pub fn is_waited_for(&self) -> bool {
        self.taking.since.is_some()
    }

    /// When it is to be asked next.
    pub fn next(&self) -> Option<Instant> {
        let write = self.taking.due(&self.limits);
        [write, self.head_due(), self.streams_due, self.idle_due()].into_iter().flatten().min()
    }

    /// What it has come to by now.
    pub fn due(&mut self, now: Instant) -> Due {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.taking.due(&self.limits)) {
            return Due::Cut(Cut::Write);
        }
        if is_due(self.head_due()) {
            return Due::Cut(Cut::Header);
        }
        if let Some(abort) = self.slow_stream(now) {
            return Due::Stream(abort);
        }
        match (is_due(self.idle_due()), self.leaving) {
            (false, _) => Due::Later(self.next()),
            (true, Some(_)) => Due::Over,
            (true, None) => {
                self.leaving = Some(now + FAREWELL);
                Due::Idle
            }
        }
    }

    fn head_due(&self) -> Option<Instant> {
        let Limits { accepted, header, .. } = self.limits;
        let from = |start: Instant| match self.end {
            Some((began, _)) => (start + header).min(began.max(start) + HEAD_AT_END),
            None => start + header,
        };
        if self.begun == 0 {
            return Some(from(accepted));
        }
        match &self.frames {
            Some(frames) => Some(from(frames.head()?)),
            None => Some(from(self.head?).max(self.rested + EARLY_ANSWER)),
        }
    }

    fn idle_due(&self) -> Option<Instant> {
        if !self.exchanges.is_empty() || self.begun == 0 || self.is_waited_for() {
            return None;
        }
        match self.leaving {
            // An answer that was under way then gets as long to arrive.
            Some(until) => Some(until.max(self.rested + FAREWELL)),
            None if self.head.is_some() => None,
            None => {
                let silence =
                    self.end.map(|(_, over)| (self.rested + SILENCE).min(over.max(self.rested)));
                Some(silence.into_iter().fold(self.rested + self.limits.idle, Instant::min))
            }
        }
    }

    /// A stream whose answer is not taken; looks at them only when one may be due.
    fn slow_stream(&mut self, now: Instant) -> Option<AbortHandle> {
        if self.streams_due.is_none_or(|due| due > now) {
            return None;
        }
        let limits = self.limits;
        let due = |exchange: &Exchange| exchange.taking.due(&limits);
        let slow = self.exchanges.values_mut().find(|it| due(it).is_some_and(|due| due <= now));
        if let Some(exchange) = slow {
            exchange.taking = Taking::default();
            return exchange.abort.take();
        }
        self.streams_due = self.exchanges.values().filter_map(due).min();
        None
    }
}

#[cfg(test)]
mod tests;
