//! What is shed while the process has nearly as much memory as it may take.
//!
//! The control plane looks and sets, whoever takes work in reads: one relaxed load, before anything
//! has been read or allocated. Does not know: how memory is measured, what work is.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long memory must not have grown before what is left of it counts as kept.
const CALM: Duration = Duration::from_secs(5);
/// The same where the work has not become less: long streams may last for days.
const LONG_CALM: Duration = Duration::from_secs(60);

/// What is shed at this moment; shared by all threads.
#[derive(Debug, Default)]
pub struct Overload(AtomicU8);

/// How much is shed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shedding {
    /// Nothing.
    #[default]
    Nothing,
    /// New client connections.
    Connections,
    /// Those, and requests that belong to no session.
    NewWork,
    /// Every request, since even those of sessions bring bytes: while there is too much memory and it
    /// grows.
    Everything,
}

impl Shedding {
    /// All of them, from the least on.
    pub const ALL: [Shedding; 4] =
        [Shedding::Nothing, Shedding::Connections, Shedding::NewWork, Shedding::Everything];
}

/// From looks at the process to what is shed: more as soon as it is needed, and all of it until there
/// is air again.
///
/// Air is when the process has less than 85 % of what it may take. It is also when half of the work is
/// done, or a minute is over, and the memory has stopped growing: allocators keep much of what was freed, give it back late
/// or never, and use it again first. Without this, one flood would shut the door for good. With it,
/// memory that was kept is not held against new work until it grows once more.
#[derive(Debug, Default)]
pub struct Pressure {
    shed: Shedding,
    /// The most work at once since anything is shed.
    work: usize,
    /// The most memory since then, and when it grew to that.
    grown: Option<(u64, Instant)>,
    /// What had been kept when the work was done.
    kept: u64,
}

impl Pressure {
    /// What to shed, at so many bytes of memory and so many connections and exchanges.
    pub fn look(&mut self, now: Instant, resident: u64, limit: u64, work: usize) -> Shedding {
        // In parts of a hundred, so that no number is too large.
        let part = (limit / 100).max(1);
        let share = resident / part;
        if share < 85 {
            *self = Pressure::default();
            return Shedding::Nothing;
        }
        if resident <= self.kept + part {
            return self.shed;
        }
        self.shed = self.shed.max(match share {
            95.. => Shedding::NewWork,
            90.. => Shedding::Connections,
            _ => Shedding::Nothing,
        });
        if self.shed == Shedding::Nothing {
            return Shedding::Nothing;
        }
        self.work = self.work.max(work);
        let (most, since) = self.grown.unwrap_or((resident, now));
        let (most, since) = if resident > most + part { (resident, now) } else { (most, since) };
        self.grown = Some((most, since));
        let calm = now.saturating_duration_since(since);
        let is_less = calm >= CALM && work <= self.work / 2;
        let is_steady = calm >= LONG_CALM && share < 100;
        if is_less || is_steady {
            *self = Pressure { kept: resident, ..Pressure::default() };
        }
        // Nobody is kept out for memory that is lost anyway.
        if share >= 100 && calm < CALM { Shedding::Everything } else { self.shed }
    }
}

impl Overload {
    /// What is shed.
    pub fn shed(&self) -> Shedding {
        Shedding::ALL[usize::from(self.0.load(Ordering::Relaxed)).min(3)]
    }

    /// Sheds this from now on.
    pub fn set(&self, shed: Shedding) {
        self.0.store(shed as u8, Ordering::Relaxed);
    }

    /// Whether a new client connection is to be closed at once.
    pub fn sheds_connections(&self) -> bool {
        self.shed() >= Shedding::Connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Shedding::{Connections, Everything, NewWork, Nothing};

    /// What is shed after each look: at this second, this share of the memory and so much work.
    fn looks(limit: u64, looks: &[(u64, u64, usize, Shedding)]) {
        let (mut pressure, overload, start) =
            (Pressure::default(), Overload::default(), Instant::now());
        for &(second, percent, work, expected) in looks {
            let now = start + Duration::from_secs(second);
            let shed = pressure.look(now, limit / 100 * percent, limit, work);
            overload.set(shed);
            assert_eq!((shed, overload.shed()), (expected, expected), "{second} s, {percent} %");
        }
    }

    #[test]
    fn more_at_once_and_less_only_when_there_is_air() {
        for limit in [1 << 25, 1 << 40] {
            let percents = [
                (10, Nothing),
                (89, Nothing),
                (90, Connections),
                (86, Connections),
                (96, NewWork),
                (91, NewWork),
                (86, NewWork),
                (84, Nothing),
                (200, Everything),
            ];
            let percents = percents.into_iter().enumerate();
            let all: Vec<_> =
                percents.map(|(at, (percent, shed))| (at as u64, percent, 100, shed)).collect();
            looks(limit, &all);
        }
    }

    #[test]
    fn what_the_allocator_keeps_is_not_held_against_new_work() {
        looks(
            1 << 30,
            &[
                (0, 97, 1000, NewWork),
                // It still grows; then it does not, but the work is still there.
                (4, 99, 1000, NewWork),
                (20, 99, 600, NewWork),
                (21, 98, 500, Nothing),
                // It is used again, up to where it was.
                (22, 98, 900, Nothing),
                (23, 99, 1000, Nothing),
                (24, 100, 1000, Everything),
                (28, 100, 1000, Everything),
                (29, 100, 1000, NewWork),
                (40, 100, 600, NewWork),
                (41, 100, 500, Nothing),
                (42, 80, 500, Nothing),
                (43, 97, 500, NewWork),
            ],
        );
    }

    #[test]
    fn long_streams_do_not_shut_the_door_for_good() {
        looks(
            1 << 30,
            &[
                (0, 93, 1000, Connections),
                (59, 93, 1000, Connections),
                (60, 93, 1000, Nothing),
                (61, 94, 1000, Nothing),
                (62, 96, 1000, NewWork),
                (200, 100, 1000, Everything),
                (300, 100, 1000, NewWork),
            ],
        );
    }

    #[test]
    fn half_of_the_work_done_is_no_air_while_memory_grows() {
        let shed = |at: u64| if at < 3 { NewWork } else { Everything };
        let all: Vec<_> =
            (0..20).map(|at| (at, 95 + 2 * at, 1000 >> at.min(9), shed(at))).collect();
        looks(1 << 30, &all);
    }
}
