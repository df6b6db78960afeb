//! What is to be joined in one session: calls that wait, answers that came early, and the talk
//! between the server and its client that is nobody's working time.
//!
//! Bounded in every direction; what is the longest ago makes room. Does not know: other sessions.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::answer::Content;
use crate::mcp::outcome::{Close, Heard};

use super::super::exchange::Exchange;
use super::super::tally::Tally;

/// Things of one kind that are kept for one session.
pub(super) const PER_SESSION_MAX: usize = 256;
/// What a client gets beyond the server's own `retry` to resume a stream; SDKs give up after two
/// attempts with up to 30 s between them.
const RESUME_GRACE: Duration = Duration::from_secs(60);
/// How long one half of a pair waits for the other, when both have happened: workers are asked
/// once a second, and a busy one may miss a round.
pub(super) const PAIR_MAX: Duration = Duration::from_secs(3);
/// How long a session's asks and replies are kept when nothing happens in it; also the longest
/// `retry` of a server that is waited for.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(3600);

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) exchange: Box<Exchange>,
    /// It waits for a stream to be resumed, and not for its session's only stream.
    pub(super) resumable: bool,
    pub(super) since: Instant,
    /// Without a stream on which its answer may come, it waits until then.
    pub(super) until: Instant,
}

/// What is to be joined in one session.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Streams open now, on which answers may come.
    pub(super) streams: usize,
    /// When the last of them was opened.
    pub(super) opened: Option<Instant>,
    /// How and when the last of them ended: calls of before may be told later.
    pub(super) ended: Option<(Instant, Close)>,
    pub(super) waiting: HashMap<u64, Waiting>,
    /// Answers that nobody waits for yet.
    pub(super) early: HashMap<u64, (Content, Instant)>,
    /// What the server asked and the client has not answered.
    pub(super) asks: HashMap<u64, Instant>,
    /// What the client answered.
    pub(super) replies: HashMap<u64, Instant>,
    /// What the client gave up.
    pub(super) cancelled: HashMap<u64, Instant>,
    /// When the server was waiting for its client, on the session's stream.
    pub(super) pauses: VecDeque<(Instant, Instant)>,
    pub(super) last: Option<Instant>,
}

impl Traffic {
    /// Whether the client gave a call up. It may use an id again, so an earlier word is not the one.
    pub(super) fn is_cancelled(&self, id: u64, exchange: &Exchange) -> bool {
        self.cancelled.get(&id).is_some_and(|cancelled| *cancelled >= exchange.sent)
    }

    pub(super) fn ask(&mut self, id: u64, at: Instant) {
        match self.replies.get(&id) {
            // A stream that is resumed tells only at its end what was asked on it.
            Some(replied) if *replied >= at => self.pause(at, *replied),
            _ => put(&mut self.asks, id, at, |asked| *asked),
        }
    }

    pub(super) fn reply(&mut self, id: u64, at: Instant) {
        put(&mut self.replies, id, at, |replied| *replied);
        if let Some(asked) = self.asks.remove(&id) {
            self.pause(asked, at);
        }
    }

    fn pause(&mut self, from: Instant, to: Instant) {
        if self.pauses.len() == PER_SESSION_MAX {
            self.pauses.pop_front();
        }
        self.pauses.push_back((from, to));
    }

    /// The time from one moment to another, without that in which the server waited for its
    /// client. What was asked before was not asked for the call that began then.
    pub(super) fn latency(&self, from: Instant, to: Instant) -> Duration {
        let open = self.asks.values().map(|asked| (*asked, to));
        let all = self.pauses.iter().copied().chain(open);
        without(from, to, all.filter(|(asked, _)| *asked >= from).collect())
    }

    pub(super) fn expire(&mut self, now: Instant, settled: &mut Tally) {
        self.early.retain(|_, (_, at)| now.saturating_duration_since(*at) < PAIR_MAX);
        let (streams, opened) = (self.streams, self.opened);
        let is_late = |waiting: &Waiting| {
            // A stream that was open before is not the one that was resumed.
            let may_come = !waiting.resumable || opened.is_some_and(|at| at >= waiting.since);
            now >= waiting.until && !(streams > 0 && may_come)
        };
        for (_, late) in self.waiting.extract_if(|_, waiting| is_late(waiting)) {
            // A call of an HTTP+SSE session whose stream is gone: so is its client.
            let close = if late.resumable { Close::NotResumed } else { Close::ClientLeft };
            late.exchange.settle_elsewhere(Heard::NoResponse, close, None, settled);
        }
    }

    pub(super) fn is_over(&self, now: Instant, idle_max: Duration) -> bool {
        let idle = self.last.is_none_or(|last| now.saturating_duration_since(last) > idle_max);
        let ended = self.ended.is_some_and(|(at, _)| now.saturating_duration_since(at) < PAIR_MAX);
        let nothing = self.waiting.is_empty() && self.early.is_empty() && !ended;
        let no_talk = self.asks.is_empty() && self.replies.is_empty() && self.cancelled.is_empty();
        nothing && self.streams == 0 && (idle || no_talk)
    }
}

/// How long a client may take to resume a stream.
pub(super) fn resumed_within(retry: Duration) -> Duration {
    retry.min(IDLE_MAX) + RESUME_GRACE
}

/// Keeps something; the oldest makes room for it.
pub(super) fn put<T>(map: &mut HashMap<u64, T>, id: u64, value: T, at: impl Fn(&T) -> Instant) {
    if map.len() >= PER_SESSION_MAX && !map.contains_key(&id) {
        let oldest = map.iter().min_by_key(|(_, it)| at(it)).map(|(id, _)| *id);
        oldest.and_then(|oldest| map.remove(&oldest));
    }
    map.insert(id, value);
}

/// The length of a span without the pauses in it, which may overlap.
pub(super) fn without(from: Instant, to: Instant, mut pauses: Vec<(Instant, Instant)>) -> Duration {
    pauses.sort();
    let (mut counted, mut paused) = (from, Duration::ZERO);
    for (start, end) in pauses {
        let (start, end) = (start.max(counted), end.min(to));
        if end > start {
            paused += end - start;
            counted = end;
        }
    }
    to.saturating_duration_since(from).saturating_sub(paused)
}
