//! The sessions that are in use, as far as the traffic tells: opened here or served here, and
//! neither ended nor idle for long.
//!
//! Most clients never end a session, so this is an estimate from above for what is idle and exact
//! for what is busy. Bounded: beyond a hundred thousand (some 6 MiB) new ones are not followed.
//! Does not know: where a session lives.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::names::{Arm, PerArm};

use super::session::SessionKey;

/// Sessions that are followed.
const SESSIONS_MAX: usize = 100_000;
/// A session that has been idle for longer counts as left; Python's servers think so too.
pub const LEFT_AFTER: Duration = Duration::from_secs(30 * 60);
/// No server that we know ends a session sooner than that for being idle (rmcp: 300 s), so one that
/// was used since is known to be there.
const SURE_MAX: Duration = Duration::from_secs(4 * 60);
/// How often idle sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Live {
    arm: Arm,
    last: Instant,
    streams: u32,
}

/// The sessions in use.
#[derive(Debug, Default)]
pub(super) struct LiveSessions {
    sessions: HashMap<SessionKey, Live>,
    count: PerArm<usize>,
    swept: Option<Instant>,
}

impl LiveSessions {
    /// A session was opened, or a request in it answered.
    pub(super) fn used(&mut self, session: SessionKey, arm: Arm, at: Instant) {
        if let Some(live) = self.sessions.get_mut(&session) {
            live.last = live.last.max(at);
        } else if self.sessions.len() < SESSIONS_MAX {
            self.sessions.insert(session, Live { arm, last: at, streams: 0 });
            *self.count.get_mut(arm) += 1;
        }
    }

    /// A stream of the session was opened or has ended. Streams count as use.
    pub(super) fn stream(&mut self, session: SessionKey, opened: bool, at: Instant) {
        if let Some(live) = self.sessions.get_mut(&session) {
            live.last = live.last.max(at);
            live.streams = if opened { live.streams + 1 } else { live.streams.saturating_sub(1) };
        }
    }

    /// A session has ended.
    pub(super) fn ended(&mut self, session: SessionKey) {
        if let Some(live) = self.sessions.remove(&session) {
            *self.count.get_mut(live.arm) -= 1;
        }
    }

    /// Forgets the sessions of an arm.
    pub(super) fn forget(&mut self, arm: Arm) {
        self.sessions.retain(|_, live| live.arm != arm);
        *self.count.get_mut(arm) = 0;
    }

    /// Whether a session certainly lived at this time.
    pub(super) fn is_sure(&self, session: SessionKey, at: Instant) -> bool {
        self.sessions.get(&session).is_some_and(|live| {
            live.streams > 0 || at.saturating_duration_since(live.last) < SURE_MAX
        })
    }

    /// How many each arm has.
    pub(super) fn count(&self) -> PerArm<usize> {
        self.count
    }

    /// How many of an arm's are in use: with a stream, or not idle for so long. Looks at all of
    /// them.
    pub(super) fn busy(&self, arm: Arm, now: Instant, idle: Duration) -> usize {
        let is_busy = |live: &&Live| {
            live.arm == arm && (live.streams > 0 || now.saturating_duration_since(live.last) < idle)
        };
        self.sessions.values().filter(is_busy).count()
    }

    /// Forgets what has been idle for long.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.swept.is_some_and(|last| now.saturating_duration_since(last) < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        let count = &mut self.count;
        self.sessions.retain(|_, live| {
            let stays = live.streams > 0 || now.saturating_duration_since(live.last) < LEFT_AFTER;
            if !stays {
                *count.get_mut(live.arm) -= 1;
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn sessions_are_counted_until_they_end_or_idle() {
        let start = Instant::now();
        let (one, other) = (SessionKey::of(b"one"), SessionKey::of(b"other"));
        let mut live = LiveSessions::default();
        live.used(one, Arm::Primary, start);
        live.used(one, Arm::Primary, start + MINUTE);
        live.used(other, Arm::Secondary, start);
        assert_eq!(live.count(), PerArm { primary: 1, secondary: 1 });
        assert_eq!(live.busy(Arm::Primary, start + MINUTE * 2, MINUTE * 2), 1);
        assert_eq!(live.busy(Arm::Secondary, start + MINUTE * 2, MINUTE * 2), 0);
        assert!(live.is_sure(one, start + MINUTE * 4) && !live.is_sure(one, start + MINUTE * 6));
        live.expire(start + MINUTE * 30 + Duration::from_secs(30));
        assert_eq!(live.count(), PerArm { primary: 1, secondary: 0 });
        live.used(other, Arm::Secondary, start);
        live.forget(Arm::Secondary);
        assert_eq!(live.count(), PerArm { primary: 1, secondary: 0 });
        live.ended(other);
        live.ended(one);
        live.ended(one);
        assert_eq!(live.count(), PerArm { primary: 0, secondary: 0 });
    }

    #[test]
    fn an_open_stream_is_use() {
        let start = Instant::now();
        let session = SessionKey::of(b"one");
        let mut live = LiveSessions::default();
        live.used(session, Arm::Primary, start);
        live.stream(session, true, start);
        live.expire(start + MINUTE * 600);
        assert!(live.is_sure(session, start + MINUTE * 600));
        live.stream(session, false, start + MINUTE * 601);
        live.expire(start + MINUTE * 640);
        assert_eq!(live.count(), PerArm { primary: 0, secondary: 0 });
    }
}
