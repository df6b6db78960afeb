//! The counts of some time past, in slots: of the last two minutes, in slots of five seconds, as
//! `status` shows them, unless somebody asks for longer ones.
//!
//! Each slot has a cell for each kind of work that was done in it. Kinds come from closed sets (2
//! arms; 36 methods, one of which has at most 102 tool labels), so a slot has at most 276 cells of
//! at most 2.1 KiB and 24 slots together take at most 14 MiB, whatever clients send; a server
//! with ten tools that is used steadily takes less than 1 MiB. Does not know: what is good or bad.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::Method;
use crate::names::{Arm, Blame, Outcome, PerArm};
use crate::observe::latency::Sketch;
use crate::observe::tally::Tally;
use crate::route::tools::ToolLabel;

/// Length of a slot.
const SLOT: Duration = Duration::from_secs(5);
/// How many are kept.
const SLOTS: usize = 24;

/// A kind of work: what may be compared between the arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Work {
    /// The arm that did it.
    pub arm: Arm,
    /// The JSON-RPC method.
    pub method: Method,
    /// The tool, for `tools/call`.
    pub tool: ToolLabel,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    outcomes: [u32; Outcome::ALL.len()],
    blames: [u32; Blame::ALL.len()],
    /// Latencies of the exchanges whose outcome was `ok`.
    pub latency: Sketch,
}

impl Cell {
    /// How many exchanges had this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        u64::from(self.outcomes[outcome as usize])
    }

    /// How many exchanges were somebody's fault in this way.
    pub fn blame(&self, blame: Blame) -> u64 {
        u64::from(self.blames[blame as usize])
    }

    /// All exchanges.
    pub fn exchanges(&self) -> u64 {
        self.outcomes.iter().map(|count| u64::from(*count)).sum()
    }

    /// Adds what became of other work.
    pub fn merge(&mut self, other: &Cell) {
        for (own, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *own = own.saturating_add(count);
        }
        for (own, count) in self.blames.iter_mut().zip(other.blames) {
            *own = own.saturating_add(count);
        }
        self.latency.merge(&other.latency);
    }
}

/// What was counted in some span of time.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By kind of work.
    pub cells: HashMap<Work, Cell>,
    /// Attempts that came to nothing, whether or not another endpoint made them good.
    pub failed_attempts: PerArm<u64>,
    /// Legacy sessions opened.
    pub sessions: PerArm<u64>,
}

impl Counts {
    /// Adds what a worker has counted.
    pub fn add(&mut self, tally: &Tally) {
        for (labels, count) in &tally.exchanges {
            let Some(arm) = labels.arm else { continue };
            let work = Work { arm, method: labels.method, tool: labels.tool };
            let cell = self.cells.entry(work).or_default();
            let exchanges = u32::try_from(count.exchanges).unwrap_or(u32::MAX);
            let outcome = &mut cell.outcomes[labels.outcome as usize];
            *outcome = outcome.saturating_add(exchanges);
            let blame = &mut cell.blames[labels.blame as usize];
            *blame = blame.saturating_add(exchanges);
            cell.latency.merge(&count.latency);
        }
        for ((arm, _), count) in &tally.failed_attempts {
            *self.failed_attempts.get_mut(*arm) += count;
        }
        for arm in Arm::ALL {
            *self.sessions.get_mut(arm) += tally.sessions.get(arm);
        }
    }

    /// Adds what was counted in another span.
    pub fn merge(&mut self, other: &Counts) {
        for (work, cell) in &other.cells {
            self.cells.entry(*work).or_default().merge(cell);
        }
        for arm in Arm::ALL {
            *self.failed_attempts.get_mut(arm) += other.failed_attempts.get(arm);
            *self.sessions.get_mut(arm) += other.sessions.get(arm);
        }
    }

    /// The work of one arm put together, as far as it is of this kind.
    pub fn of(&self, arm: Arm, is_meant: impl Fn(&Work) -> bool) -> Cell {
        let mut sum = Cell::default();
        let own = self.cells.iter().filter(|(work, _)| work.arm == arm && is_meant(work));
        own.for_each(|(_, cell)| sum.merge(cell));
        sum
    }
}

/// The counts of some time past.
#[derive(Debug)]
pub struct Window {
    start: Instant,
    /// Length of a slot, in whole seconds.
    slot: Duration,
    /// How many are kept.
    kept: usize,
    /// Oldest first, each with its number since the start.
    slots: VecDeque<(u64, Counts)>,
}

impl Window {
    /// An empty window of two minutes that begins now.
    pub fn new(now: Instant) -> Window {
        Window::of(now, SLOT, SLOTS)
    }

    /// The same with so many slots of this length, a second or more.
    pub fn of(now: Instant, slot: Duration, kept: usize) -> Window {
        Window { start: now, slot, kept, slots: VecDeque::new() }
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / self.slot.as_secs()
    }

    /// Adds what was counted up to now.
    pub fn add(&mut self, now: Instant, tally: &Tally) {
        let number = self.number(now);
        if self.slots.back().is_none_or(|(last, _)| *last < number) {
            self.slots.push_back((number, Counts::default()));
        }
        while self.slots.front().is_some_and(|(first, _)| first + self.kept as u64 <= number) {
            self.slots.pop_front();
        }
        if let Some((_, counts)) = self.slots.back_mut() {
            counts.add(tally);
        }
    }

    /// What was counted in the last `span`, as far as it is kept: whole slots, the running one
    /// included.
    pub fn last(&self, now: Instant, span: Duration) -> Counts {
        let slots = span.as_secs().div_ceil(self.slot.as_secs()).max(1);
        let first = (self.number(now) + 1).saturating_sub(slots);
        let mut sum = Counts::default();
        self.slots
            .iter()
            .filter(|(number, _)| *number >= first)
            .for_each(|(_, counts)| sum.merge(counts));
        sum
    }

    /// Forgets what an arm did, as when another version has its place.
    pub fn forget(&mut self, arm: Arm) {
        for (_, counts) in &mut self.slots {
            counts.cells.retain(|work, _| work.arm != arm);
            *counts.failed_attempts.get_mut(arm) = 0;
            *counts.sessions.get_mut(arm) = 0;
        }
    }

    /// How much of a span there has been at all.
    pub fn covered(&self, now: Instant, span: Duration) -> Duration {
        span.min(now.saturating_duration_since(self.start))
    }
}

#[cfg(test)]
mod tests;
