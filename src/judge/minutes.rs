//! The last fifteen whole minutes, as the operator's rules on errors and time read them.
//!
//! Minutes tumble: each begins where the one before ended, so that "two minutes in a row" means
//! the same to a rule and to whoever checks it by hand. What was counted belongs to the minute in
//! which it was collected, up to a second later than it happened. Does not know: the rules.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::names::{Arm, Blame, Outcome, PerArm};
use crate::observe::latency::Moments;
use crate::observe::tally::Tally;

use super::Stratum;
use super::clusters::{Clusters, Spread};

const LENGTH: Duration = Duration::from_secs(60);
/// Whole minutes that are kept.
pub const KEPT: usize = 15;

/// What was counted in one minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Minute {
    /// Exchanges that say something about the arm: all but those that we refused, that met a
    /// closing connection, that nobody read, or whose client left.
    pub requests: PerArm<u64>,
    /// Those of them that were the arm's own fault, made good by the other arm or not.
    pub faults: PerArm<u64>,
    /// How long the good ones took.
    pub times: HashMap<Stratum, PerArm<Moments>>,
    /// How those lie, by who made the calls; empty while the minute runs.
    pub(super) spread: Spread,
}

impl Minute {
    fn add(&mut self, tally: &Tally) {
        for (labels, count) in &tally.exchanges {
            let Some(arm) = labels.arm.filter(|_| says_something(labels.outcome)) else { continue };
            *self.requests.get_mut(arm) += count.exchanges;
            if labels.blame == Blame::Arm {
                *self.faults.get_mut(arm) += count.exchanges;
            }
            if labels.outcome == Outcome::Ok && count.latency.count() > 0 {
                let stratum = Stratum { method: labels.method, tool: labels.tool };
                let times = self.times.entry(stratum).or_default();
                times.get_mut(arm).merge(&count.latency.moments());
            }
        }
        // The exchange itself counts for the arm that took it over.
        for arm in Arm::ALL {
            *self.requests.get_mut(arm) += tally.covered.get(arm);
            *self.faults.get_mut(arm) += tally.covered.get(arm);
        }
    }
}

fn says_something(outcome: Outcome) -> bool {
    use Outcome::{Cancelled, Race, Rejected, Unclassified};
    !matches!(outcome, Cancelled | Race | Rejected | Unclassified)
}

/// The last minutes: [`KEPT`] whole ones and the running one.
#[derive(Clone, Debug)]
pub struct Minutes {
    start: Instant,
    /// The number of the running minute; the first one is 0.
    running: u64,
    /// The minute that was running when `turn` was last asked.
    turned: u64,
    /// The first minute that may be judged.
    judged_from: u64,
    /// Oldest first; the last one is running.
    kept: VecDeque<Minute>,
    /// Of the running one.
    clusters: Clusters,
}

impl Minutes {
    /// The first minute begins now.
    pub fn new(now: Instant) -> Minutes {
        let kept = VecDeque::from([Minute::default()]);
        let clusters = Clusters::default();
        Minutes { start: now, running: 0, turned: 0, judged_from: 0, kept, clusters }
    }

    /// Adds what was counted up to now.
    pub fn add(&mut self, now: Instant, tally: &Tally) {
        self.advance(now);
        if let Some(running) = self.kept.back_mut() {
            running.add(tally);
        }
        self.clusters.add(&tally.seen);
    }

    /// Whether at least one minute was completed since the last time this was asked.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.advance(now);
        std::mem::replace(&mut self.turned, self.running) < self.running
    }

    /// Judges only minutes that begin from now on: the candidate's traffic begins, or everything
    /// is different after a revert.
    pub fn armed_at(&mut self, now: Instant) {
        let since_start = now.saturating_duration_since(self.start);
        let begun = since_start.as_nanos().div_ceil(LENGTH.as_nanos());
        self.judged_from = u64::try_from(begun).unwrap_or(u64::MAX);
    }

    /// A whole minute, 0 for the last one; `None` for what was before the start or is forgotten.
    pub fn whole(&self, back: usize) -> Option<&Minute> {
        self.kept.len().checked_sub(back.checked_add(2)?).and_then(|at| self.kept.get(at))
    }

    /// The last `count` whole minutes, oldest first, if all of them may be judged.
    pub fn judged(&self, count: usize) -> Option<Vec<&Minute>> {
        let may = self.running.saturating_sub(self.judged_from) >= count as u64;
        (0..count).rev().map(|back| self.whole(back).filter(|_| may)).collect()
    }

    /// How many of the whole minutes may be judged, at most [`KEPT`].
    pub fn judgeable(&self) -> usize {
        let whole = self.kept.len() - 1;
        whole.min(self.running.saturating_sub(self.judged_from) as usize)
    }

    fn advance(&mut self, now: Instant) {
        let since_start = now.saturating_duration_since(self.start);
        let number = since_start.as_secs() / LENGTH.as_secs();
        let begun = number.saturating_sub(self.running).min(KEPT as u64 + 1);
        self.running += number.saturating_sub(self.running);
        if let Some(over) = self.kept.back_mut().filter(|_| begun > 0) {
            over.spread = self.clusters.close(&over.times);
        }
        for _ in 0..begun {
            self.kept.push_back(Minute::default());
        }
        while self.kept.len() > KEPT + 1 {
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
