//! Joins what belongs to one exchange and passed on several: the answer of an HTTP+SSE call, which
//! comes on the session's stream; that of a call whose stream was closed to be resumed; the time
//! that a server waited for its client; the end of a session that was known to live.
//!
//! A worker never looks at what another one saw. It hands over *crossings*, and the control plane
//! joins them once a second. All memory is bounded: what does not fit is counted at once, as not
//! classified. The key is the session and the id (MCP 2025-11-25, Streamable HTTP: the answer to a
//! request may come on a stream that was resumed). Does not know: workers, metrics.

mod traffic;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::answer::Content;
use crate::mcp::outcome::{Close, End, Heard, Verdict};
use crate::names::{Arm, PerArm};

use super::exchange::Exchange;
use super::live::LiveSessions;

pub use super::live::LEFT_AFTER;
use super::session::{CallKey, SessionKey};
use super::tally::Tally;

use traffic::{
    IDLE_MAX, PAIR_MAX, PER_SESSION_MAX, Traffic, Waiting, put, resumed_within, without,
};

/// Sessions with something to be joined.
const SESSIONS_MAX: usize = 10_000;
/// Calls that wait for their answers, in all sessions together: some 30 MiB.
const WAITING_MAX: usize = 100_000;
/// The same while there is little room for further sessions.
const IDLE_CROWDED_MAX: Duration = Duration::from_secs(60);

/// Sessions that wait for an answer on a stream.
pub type Awaiting = Arc<HashSet<SessionKey>>;

/// Something that another worker may hold the other half of.
#[derive(Debug)]
pub struct Crossing {
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// A session ended.
    Closed(SessionKey),
    /// A stream of a session was opened, by a client that comes for answers or just for news.
    StreamOpened(SessionKey, Brings),
    /// It ended.
    StreamEnded(SessionKey, Brings, StreamEnd),
    /// A call has been sent, and its answer will come on a stream of the session; by this time at
    /// the latest, if nobody opens one.
    Awaits(CallKey, Box<Exchange>, Option<Duration>),
    /// An answer came on a stream of the session.
    Answer(CallKey, Content),
    /// The server asked the client something on a stream of the session.
    Ask(CallKey),
    /// The client answered.
    Reply(CallKey),
    /// The client gave up a call.
    Cancel(CallKey),
    /// A call's stream ended without an answer, which is right if the client had given it up.
    Silent(CallKey, Box<Exchange>, End),
    /// An exchange has ended, in which the server had asked its client.
    Asked(Box<Exchange>, End, Vec<(CallKey, Instant)>),
    /// An exchange of a session has been answered well, and only its time is open: the server may
    /// have asked its client on another stream. TypeScript 2 asks on the stream for news.
    Answered(Box<Exchange>, Verdict),
    /// The server says that it does not know the session.
    Unknown(SessionKey, Box<Exchange>, End),
}

/// What a stream that is not the answer to a POST may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brings {
    /// What the server has to say by itself.
    News,
    /// Answers too: the only stream of an HTTP+SSE session, or one that was resumed.
    Answers,
}

/// How a stream ended on which answers were awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The server ended it; the client may resume it after this time.
    ByServer(Option<Duration>),
    /// It broke.
    Broken,
    /// The client went away.
    ByClient,
}

/// An exchange whose latency is known as soon as the client's replies are.
#[derive(Debug)]
struct Held {
    exchange: Box<Exchange>,
    end: End,
    asks: Vec<(CallKey, Instant)>,
    ended: Instant,
}

/// A call that ended in silence; whether its client wanted that is still to be heard.
#[derive(Debug)]
struct Silent {
    call: CallKey,
    exchange: Box<Exchange>,
    end: End,
    ended: Instant,
}

/// Joins the crossings of all workers.
#[derive(Debug, Default)]
pub struct Join {
    sessions: HashMap<SessionKey, Traffic>,
    /// Calls that waited when the last round began, and those that have come since.
    waiting: usize,
    held: Vec<Held>,
    silent: Vec<Silent>,
    live: LiveSessions,
}

impl Join {
    /// Takes the crossings out of the tallies, and counts what they settle.
    pub fn absorb<'a>(
        &mut self,
        now: Instant,
        tallies: impl IntoIterator<Item = &'a mut Tally>,
    ) -> Tally {
        let mut crossings = Vec::new();
        for tally in tallies {
            crossings.append(&mut tally.crossings);
            self.note_used(tally);
        }
        self.waiting = self.sessions.values().map(|it| it.waiting.len()).sum();
        // Halves of one pair may come from two workers, in any order.
        crossings.sort_by_key(|crossing| crossing.at);
        let mut settled = Tally::default();
        for Crossing { at, what } in crossings {
            self.take(at, what, &mut settled);
        }
        self.expire(now, &mut settled);
        // Their sessions were in use when they crossed, and may have ended since.
        settled.used.clear();
        settled
    }

    fn note_used(&mut self, tally: &mut Tally) {
        for (session, (arm, at)) in tally.used.drain() {
            self.live.used(session, arm, at);
        }
    }

    fn note_use(&mut self, exchange: &Exchange, at: Instant) {
        if let Some((session, arm)) = exchange.uses() {
            self.live.used(session, arm, at);
        }
    }

    /// Exchanges that are not counted yet.
    pub fn pending(&self) -> usize {
        self.held.len()
            + self.silent.len()
            + self.sessions.values().map(|it| it.waiting.len()).sum::<usize>()
    }

    /// Sessions that wait for an answer on a stream.
    pub fn awaiting(&self) -> Awaiting {
        let waits = self.sessions.iter().filter(|(_, it)| !it.waiting.is_empty());
        Arc::new(waits.map(|(session, _)| *session).collect())
    }

    /// Sessions in use on each arm.
    pub fn sessions(&self) -> PerArm<usize> {
        self.live.count()
    }

    /// Forgets the sessions of an arm whose servers have begun anew.
    pub fn forget(&mut self, arm: Arm) {
        self.live.forget(arm);
    }

    /// Sessions of an arm that were not idle for so long.
    pub fn busy(&self, arm: Arm, now: Instant, idle: Duration) -> usize {
        self.live.busy(arm, now, idle)
    }

    fn take(&mut self, at: Instant, what: What, settled: &mut Tally) {
        match what {
            What::Closed(session) => self.live.ended(session),
            What::StreamOpened(session, brings) => {
                self.live.stream(session, true, at);
                if brings == Brings::Answers
                    && let Some(traffic) = self.traffic(session, at)
                {
                    traffic.streams += 1;
                    traffic.opened = Some(at);
                    traffic.ended = None;
                }
            }
            What::StreamEnded(session, brings, how) => {
                self.live.stream(session, false, at);
                if brings == Brings::Answers {
                    self.stream_ended(session, how, at, settled);
                }
            }
            What::Awaits(call, exchange, resume) => {
                self.note_use(&exchange, at);
                self.awaits(call, exchange, resume, at, settled);
            }
            What::Answer(call, content) => self.answer(call, content, at, settled),
            What::Ask(CallKey { session, id }) => {
                if let Some(traffic) = self.traffic(session, at) {
                    traffic.ask(id, at);
                }
            }
            What::Reply(CallKey { session, id }) => {
                if let Some(traffic) = self.traffic(session, at) {
                    traffic.reply(id, at);
                }
            }
            What::Cancel(call) => self.cancel(call, at, settled),
            What::Silent(call, exchange, end) => {
                if self.silent.len() < SESSIONS_MAX {
                    self.silent.push(Silent { call, exchange, end, ended: at });
                } else {
                    exchange.settle(end, None, settled);
                }
            }
            What::Answered(exchange, verdict) => {
                self.note_use(&exchange, at);
                let traffic = exchange.session.and_then(|session| self.sessions.get(&session));
                let latency = traffic.map_or_else(
                    || at.saturating_duration_since(exchange.sent),
                    |traffic| traffic.latency(exchange.sent, at),
                );
                exchange.count(verdict, Some(latency), settled);
            }
            What::Asked(exchange, end, asks) => {
                self.note_use(&exchange, at);
                if self.held.len() < SESSIONS_MAX {
                    self.held.push(Held { exchange, end, asks, ended: at });
                } else {
                    exchange.settle(end, None, settled);
                }
            }
            What::Unknown(session, exchange, end) => {
                let known = self.live.is_sure(session, at);
                self.live.ended(session);
                exchange.knowing(known).settle(end, None, settled);
            }
        }
    }

    fn cancel(&mut self, call: CallKey, at: Instant, settled: &mut Tally) {
        let Some(traffic) = self.traffic(call.session, at) else { return };
        put(&mut traffic.cancelled, call.id, at, |cancelled| *cancelled);
        // A server need not answer any more.
        if let Some(Waiting { exchange, .. }) = traffic.waiting.remove(&call.id) {
            exchange.settle_elsewhere(Heard::NoResponse, Close::ClientLeft, None, settled);
        }
    }

    /// The traffic of a session; `None` when there is no room for another one.
    fn traffic(&mut self, session: SessionKey, at: Instant) -> Option<&mut Traffic> {
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&session) {
            return None;
        }
        let traffic = self.sessions.entry(session).or_default();
        traffic.last = Some(at);
        Some(traffic)
    }

    fn awaits(
        &mut self,
        call: CallKey,
        exchange: Box<Exchange>,
        resume: Option<Duration>,
        at: Instant,
        settled: &mut Tally,
    ) {
        let has_room = self.waiting < WAITING_MAX;
        let Some(traffic) = self.traffic(call.session, at) else {
            exchange.settle_elsewhere(Heard::NotRead, Close::Complete, None, settled);
            return;
        };
        if traffic.is_cancelled(call.id, &exchange) {
            exchange.settle_elsewhere(Heard::NoResponse, Close::ClientLeft, None, settled);
            return;
        }
        if let Some((content, at)) = traffic.early.remove(&call.id) {
            let latency = traffic.latency(exchange.sent, at);
            exchange.settle_elsewhere(answered(content), Close::Complete, Some(latency), settled);
            return;
        }
        if let Some((ended, close)) = traffic.ended
            && resume.is_none()
            && ended >= exchange.sent
        {
            exchange.settle_elsewhere(Heard::NoResponse, close, None, settled);
            return;
        }
        if traffic.waiting.len() >= PER_SESSION_MAX || !has_room {
            exchange.settle_elsewhere(Heard::NotRead, Close::Complete, None, settled);
            return;
        }
        let until = at + resume.map_or(PAIR_MAX, resumed_within);
        let waiting = Waiting { exchange, resumable: resume.is_some(), since: at, until };
        // The same id again, before the first one was answered: nobody can tell them apart.
        if let Some(before) = traffic.waiting.insert(call.id, waiting) {
            before.exchange.settle_elsewhere(Heard::NotRead, Close::Complete, None, settled);
        }
        self.waiting += 1;
    }

    fn answer(&mut self, call: CallKey, content: Content, at: Instant, settled: &mut Tally) {
        let Some(traffic) = self.traffic(call.session, at) else { return };
        if let Some(Waiting { exchange, .. }) = traffic.waiting.remove(&call.id) {
            let latency = traffic.latency(exchange.sent, at);
            exchange.settle_elsewhere(answered(content), Close::Complete, Some(latency), settled);
        } else {
            put(&mut traffic.early, call.id, (content, at), |(_, at)| *at);
        }
    }

    fn stream_ended(
        &mut self,
        session: SessionKey,
        how: StreamEnd,
        at: Instant,
        settled: &mut Tally,
    ) {
        let Some(traffic) = self.sessions.get_mut(&session) else { return };
        traffic.last = Some(at);
        traffic.streams = traffic.streams.saturating_sub(1);
        if traffic.streams > 0 {
            return;
        }
        let retry = if let StreamEnd::ByServer(retry) = how { retry } else { None };
        for waiting in traffic.waiting.values_mut() {
            waiting.until = at + resumed_within(retry.unwrap_or_default());
        }
        let close = match how {
            StreamEnd::ByServer(_) => Close::Complete,
            StreamEnd::Broken => Close::Broken,
            StreamEnd::ByClient => Close::ClientLeft,
        };
        traffic.ended = Some((at, close));
        for (_, lost) in traffic.waiting.extract_if(|_, waiting| !waiting.resumable) {
            lost.exchange.settle_elsewhere(Heard::NoResponse, close, None, settled);
        }
    }

    /// Settles what nobody waits for any longer.
    fn expire(&mut self, now: Instant, settled: &mut Tally) {
        for held in std::mem::take(&mut self.held) {
            let waits = now.saturating_duration_since(held.ended) < PAIR_MAX;
            let asked = !self.has_replies(&held.asks);
            if waits && asked {
                self.held.push(held);
                continue;
            }
            let latency = self.latency_of(&held);
            let end = match held.end {
                // The silence was the server's if its client had replied.
                End::Head { status, heard, close: Close::Stalled { .. } } => {
                    End::Head { status, heard, close: Close::Stalled { asked } }
                }
                end => end,
            };
            held.exchange.settle(end, Some(latency), settled);
        }
        for silent in std::mem::take(&mut self.silent) {
            let Silent { call, exchange, end, ended } = silent;
            if self
                .sessions
                .get(&call.session)
                .is_some_and(|it| it.is_cancelled(call.id, &exchange))
            {
                exchange.settle_elsewhere(Heard::NoResponse, Close::ClientLeft, None, settled);
            } else if now.saturating_duration_since(ended) < PAIR_MAX {
                self.silent.push(Silent { call, exchange, end, ended });
            } else {
                exchange.settle(end, None, settled);
            }
        }
        let is_crowded = self.sessions.len() > SESSIONS_MAX / 2;
        let idle_max = if is_crowded { IDLE_CROWDED_MAX } else { IDLE_MAX };
        self.sessions.retain(|_, traffic| {
            traffic.expire(now, settled);
            !traffic.is_over(now, idle_max)
        });
        self.live.expire(now);
    }

    fn has_replies(&self, asks: &[(CallKey, Instant)]) -> bool {
        asks.iter().all(|(call, asked)| self.replied(call, *asked).is_some())
    }

    /// When the client answered. A server may use an id again, so an earlier reply is not the one.
    fn replied(&self, call: &CallKey, asked: Instant) -> Option<Instant> {
        let replied = self.sessions.get(&call.session)?.replies.get(&call.id).copied();
        replied.filter(|replied| *replied >= asked)
    }

    /// The time of an exchange without that in which the server waited for its client. What was
    /// never replied to was outstanding until the end.
    fn latency_of(&self, held: &Held) -> Duration {
        let pauses = held
            .asks
            .iter()
            .map(|(call, asked)| (*asked, self.replied(call, *asked).unwrap_or(held.ended)))
            .collect();
        without(held.exchange.sent, held.ended, pauses)
    }
}

fn answered(content: Content) -> Heard {
    Heard::Response { content, ours: true }
}

#[cfg(test)]
mod tests;
