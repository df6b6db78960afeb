//! The sessions and callers of the current step, and which of them can still speak.
//!
//! Calls of one client fail together, so a hundred errors of one are no more evidence than its
//! first. A unit is at risk for a test while it had fewer than `cap` events of that test's kind
//! before this bucket; what it adds beyond its cap is dropped. That it is decided at the beginning
//! of a bucket makes the calls at risk independent of what comes of them (a side that fails would
//! otherwise seem to have had fewer calls) and the result independent of the order of calls.
//!
//! A session counts only if its opening was seen in this step: those that began before went to
//! their arms by other weights, and on a bad arm only the lucky ones are left. Callers come back
//! from one step to the next and are drawn by the same hash, so they count from their first call
//! in this step.
//!
//! Slow events have a larger cap: half of all calls are slower than the median, so with a cap of
//! one a session would fall silent after two calls, on a good arm as on a bad one.
//!
//! Bounded: 200,000 units of 24 bytes (6.5 MB with the table's slack). When it is full, newcomers
//! are left out; who comes late does not depend on what becomes of his calls, so this costs
//! evidence and never truth. Does not know: what an event is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;

use crate::observe::seen::Unit;

use super::Stratum;
use super::bucket::{Bucket, Kind, Side};
use super::mix::Mixed;

/// Units that are kept.
const UNITS_MAX: usize = 200_000;
/// Slow events of one unit that count in a step. With one, half of all calls being slower than the
/// median, nearly every session would be silent after its second call; with ten, sessions that are
/// slow as a whole (their arguments, their client) reverted good versions.
pub(super) const SLOW_CAP: u8 = 2;

/// What a unit has done in this step.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// The bucket that `calls` are of.
    bucket: u32,
    /// Calls in that bucket that would prove the candidate good if none of them failed.
    calls: u32,
    /// Events before this bucket, by kind, up to the cap.
    had: [u8; Kind::COUNT],
}

/// How a unit stands at the beginning of this bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// `None` for a unit of one call.
    key: Option<u64>,
    had: [u8; Kind::COUNT],
}

/// An event of a unit in this bucket.
#[derive(Clone, Copy, Debug)]
struct Mark {
    key: u64,
    kind: Kind,
    side: Side,
    stratum: Option<u16>,
}

/// The table.
#[derive(Debug)]
pub(super) struct AtRisk {
    caps: [u8; Kind::COUNT],
    bucket: u32,
    units: HashMap<u64, Record, Mixed>,
    marks: Vec<Mark>,
}

impl AtRisk {
    /// An empty table; `cap`, 1 to 100, is that of errors and refusals.
    pub(super) fn new(cap: u32) -> AtRisk {
        let cap = u8::try_from(cap).unwrap_or(u8::MAX);
        let caps = [cap, cap, SLOW_CAP, SLOW_CAP, cap];
        AtRisk { caps, bucket: 1, units: HashMap::default(), marks: Vec::new() }
    }

    /// Forgets all units: a step begins.
    pub(super) fn clear(&mut self) {
        self.units.clear();
        self.marks.clear();
    }

    /// A call that opens a session was seen.
    pub(super) fn open(&mut self, unit: Unit) {
        if let (Unit::Session(_), Some(key)) = (unit, key(unit))
            && self.units.len() < UNITS_MAX
        {
            self.units.entry(key).or_default();
        }
    }

    /// How the maker of a call stands; `None` when it does not count in this step. The call of a
    /// `proving` one counts for the candidate's promotion.
    pub(super) fn stand(&mut self, unit: Unit, proving: bool) -> Option<Standing> {
        let Some(key) = key(unit) else {
            return Some(Standing { key: None, had: [0; Kind::COUNT] });
        };
        let has_room = self.units.len() < UNITS_MAX;
        let record = match (self.units.entry(key), unit) {
            (Entry::Occupied(record), _) => record.into_mut(),
            (Entry::Vacant(place), Unit::Caller(_)) if has_room => place.insert(Record::default()),
            (Entry::Vacant(_), _) => return None,
        };
        if proving {
            if record.bucket != self.bucket {
                (record.bucket, record.calls) = (self.bucket, 0);
            }
            record.calls += 1;
        }
        Some(Standing { key: Some(key), had: record.had })
    }

    /// Whether such a unit can have an event of this kind in this bucket.
    pub(super) fn is_at_risk(&self, standing: &Standing, kind: Kind) -> bool {
        standing.had[kind as usize] < self.caps[kind as usize]
    }

    /// Counts an event of a unit at risk: at once if nothing more can come of the unit, else when
    /// the bucket is closed.
    pub(super) fn event(
        &mut self,
        standing: &Standing,
        (kind, side, stratum): (Kind, Side, Option<usize>),
        bucket: &mut Bucket,
    ) {
        match standing.key {
            None => bucket.event(kind, side, stratum),
            Some(key) => {
                let stratum = stratum.map(|it| it as u16);
                self.marks.push(Mark { key, kind, side, stratum });
            }
        }
    }

    /// Counts the events of the bucket as far as caps allow, and what it proves of the candidate.
    ///
    /// A unit that reaches its cap of faults proves nothing by its good calls of the same bucket:
    /// nobody knows how many came before. Counting them would make a session that fails a hundred
    /// times in a row a good sign.
    pub(super) fn close(&mut self, bucket: &mut Bucket) {
        self.marks.sort_unstable_by_key(|mark| (mark.key, mark.kind));
        let mut proves_nothing = 0;
        for run in self.marks.chunk_by_mut(|one, next| (one.key, one.kind) == (next.key, next.kind))
        {
            let (key, kind) = (run[0].key, run[0].kind);
            let record = self.units.get_mut(&key).expect("whoever is marked is kept");
            let (had, cap) = (&mut record.had[kind as usize], self.caps[kind as usize]);
            let left = usize::from(cap - *had);
            if run.len() > left {
                // Any order will do that does not depend on who came first.
                let stratum = |mark: &Mark| -> Option<Stratum> {
                    mark.stratum.map(|it| bucket.strata[usize::from(it)].0)
                };
                run.sort_unstable_by_key(|mark| (stratum(mark), mark.side));
            }
            let counted = &run[..run.len().min(left)];
            for mark in counted {
                bucket.event(kind, mark.side, mark.stratum.map(usize::from));
            }
            *had += counted.len() as u8;
            if kind == Kind::Fault && *had == cap && record.bucket == self.bucket {
                let faults = counted.iter().filter(|it| it.side == Side::Candidate).count();
                proves_nothing += u64::from(record.calls).saturating_sub(faults as u64);
            }
        }
        let faults = bucket.pooled.of(Kind::Fault).candidate;
        bucket.proof = faults;
        bucket.proof.calls = faults.calls - proves_nothing;
        self.marks.clear();
        self.bucket = self.bucket.wrapping_add(1);
    }
}

/// What a unit is known by.
fn key(unit: Unit) -> Option<u64> {
    match unit {
        Unit::Alone => None,
        Unit::Session(_) | Unit::Caller(_) => Some(Mixed::default().hash_one(unit)),
    }
}

#[cfg(test)]
mod tests;
