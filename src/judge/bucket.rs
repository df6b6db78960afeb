//! What one bucket of time held: calls at risk and events, by test, side and stratum.
//!
//! Plain numbers, so that anybody can fill them. Does not know: who made the calls, what the
//! numbers say.

use super::Stratum;

/// The stable arm, or the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Stable,
    Candidate,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An error, whoever's fault.
    Bad,
    /// The arm's own fault.
    Fault,
    /// Slower than the stable arm's median.
    Median,
    /// Slower than nine tenths of the stable arm's calls.
    Tail,
    /// Refused for who asked.
    Denied,
}

impl Kind {
    pub(super) const COUNT: usize = 5;
}

/// The calls of one side that could have been events, and those that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) calls: u64,
    pub(super) events: u64,
}

impl Count {
    pub(super) fn add(&mut self, other: Count) {
        self.calls += other.calls;
        self.events += other.events;
    }
}

/// Both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) stable: Count,
    pub(super) candidate: Count,
}

impl Pair {
    pub(super) fn side(&self, side: Side) -> Count {
        match side {
            Side::Stable => self.stable,
            Side::Candidate => self.candidate,
        }
    }

    pub(super) fn side_mut(&mut self, side: Side) -> &mut Count {
        match side {
            Side::Stable => &mut self.stable,
            Side::Candidate => &mut self.candidate,
        }
    }

    /// The calls of both sides.
    pub(super) fn calls(&self) -> u64 {
        self.stable.calls + self.candidate.calls
    }

    /// The events of both sides.
    pub(super) fn events(&self) -> u64 {
        self.stable.events + self.candidate.events
    }
}

/// The counts of every kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(pub(super) [Pair; Kind::COUNT]);

impl Counts {
    pub(super) fn of(&self, kind: Kind) -> &Pair {
        &self.0[kind as usize]
    }

    pub(super) fn at(&mut self, kind: Kind, side: Side) -> &mut Count {
        self.0[kind as usize].side_mut(side)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|pair| pair.calls() == 0)
    }

    pub(super) fn add(&mut self, other: &Counts) {
        for (own, pair) in self.0.iter_mut().zip(&other.0) {
            for side in [Side::Stable, Side::Candidate] {
                own.side_mut(side).add(pair.side(side));
            }
        }
    }
}

/// One bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// All calls, also those of no stratum.
    pub(super) pooled: Counts,
    /// By stratum; a stratum keeps its index as long as the step lasts.
    pub(super) strata: Vec<(Stratum, Counts)>,
    /// The candidate's calls and faults as they count for its promotion.
    pub(super) proof: Count,
}

impl Bucket {
    /// Counts a call, of this stratum if any.
    pub(super) fn call(&mut self, kind: Kind, side: Side, stratum: Option<usize>) {
        self.pooled.at(kind, side).calls += 1;
        if let Some(stratum) = stratum {
            self.strata[stratum].1.at(kind, side).calls += 1;
        }
    }

    /// Counts that a call was an event.
    pub(super) fn event(&mut self, kind: Kind, side: Side, stratum: Option<usize>) {
        self.pooled.at(kind, side).events += 1;
        if let Some(stratum) = stratum {
            self.strata[stratum].1.at(kind, side).events += 1;
        }
    }

    /// Forgets the counts and keeps the strata.
    pub(super) fn clear(&mut self) {
        self.pooled = Counts::default();
        self.proof = Count::default();
        for (_, counts) in &mut self.strata {
            *counts = Counts::default();
        }
    }
}
