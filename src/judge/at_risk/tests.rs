//! Who counts, and how often.

use super::*;
use crate::judge::bucket::{Count, Counts};
use crate::mcp::Method;
use crate::observe::session::SessionKey;
use crate::route::tools::ToolLabel;

/// A table, and the bucket that it fills, of three strata in their order.
struct Bench {
    table: AtRisk,
    bucket: Bucket,
}

impl Bench {
    fn new(cap: u32) -> Bench {
        let strata = ["initialize", "ping", "tools/list"]
            .map(|name| Stratum { method: Method::named(name.as_bytes()), tool: ToolLabel::NONE });
        let strata = strata.map(|stratum| (stratum, Counts::default())).to_vec();
        Bench { table: AtRisk::new(cap), bucket: Bucket { strata, ..Bucket::default() } }
    }

    /// A call of the candidate that is a fault, or none; whether its unit was at risk.
    fn call(&mut self, unit: Unit, stratum: usize, is_fault: bool) -> bool {
        let Some(standing) = self.table.stand(unit, true) else { return false };
        let place = (Kind::Fault, Side::Candidate, Some(stratum));
        if !self.table.is_at_risk(&standing, Kind::Fault) {
            return false;
        }
        self.bucket.call(place.0, place.1, place.2);
        if is_fault {
            self.table.event(&standing, place, &mut self.bucket);
        }
        true
    }

    /// Closes the bucket and returns (calls, events) of all, by stratum, and of the proof.
    fn close(&mut self) -> ((u64, u64), [u64; 3], (u64, u64)) {
        self.table.close(&mut self.bucket);
        let both = |count: Count| (count.calls, count.events);
        let all = both(self.bucket.pooled.of(Kind::Fault).candidate);
        let strata: Vec<_> = self.bucket.strata.iter().map(|(_, it)| it).collect();
        let events = |at: usize| strata[at].of(Kind::Fault).candidate.events;
        let told = (all, [events(0), events(1), events(2)], both(self.bucket.proof));
        self.bucket.clear();
        told
    }
}

fn session(number: u64) -> Unit {
    Unit::Session(SessionKey::of(&number.to_le_bytes()))
}

#[test]
fn a_session_of_before_the_step_is_left_out() {
    let mut bench = Bench::new(1);
    assert!(!bench.call(session(1), 0, true));
    bench.table.open(session(1));
    assert!(bench.call(session(1), 0, false));
    bench.close();
    bench.table.clear();
    assert!(!bench.call(session(1), 0, true));
    assert_eq!(bench.close(), ((0, 0), [0, 0, 0], (0, 0)));
}

#[test]
fn callers_count_from_their_first_call() {
    let mut bench = Bench::new(1);
    let caller = Unit::Caller(0.25_f64.to_bits());
    assert!(bench.call(caller, 0, true));
    bench.close();
    assert!(!bench.call(caller, 0, true));
    bench.table.clear();
    assert!(bench.call(caller, 0, true));
}

#[test]
fn a_unit_falls_silent_after_its_cap() {
    for cap in 1..=3 {
        let mut bench = Bench::new(cap);
        bench.table.open(session(1));
        for _ in 0..cap {
            assert!(bench.call(session(1), 0, true));
            assert_eq!(bench.close().0, (1, 1));
        }
        assert!(!bench.call(session(1), 0, true), "cap {cap}");
    }
}

#[test]
fn calls_of_one_bucket_count_whatever_their_order() {
    // Six calls, two of them faults in different strata: one counts with a cap of one, and six
    // calls were at risk; as proof, only what came before the fault would count, which is unknown.
    for first in 0..6 {
        let mut bench = Bench::new(1);
        bench.table.open(session(1));
        for at in 0..6 {
            let call = (at + first) % 6;
            assert!(bench.call(session(1), call / 2, call == 3 || call == 4));
        }
        assert_eq!(bench.close(), ((6, 1), [0, 1, 0], (1, 1)));
    }
    let mut bench = Bench::new(3);
    bench.table.open(session(1));
    for at in 0..6 {
        bench.call(session(1), at / 2, at >= 4);
    }
    assert_eq!(bench.close(), ((6, 2), [0, 0, 2], (6, 2)));
}

#[test]
fn what_a_unit_had_counts_towards_its_cap() {
    let mut bench = Bench::new(3);
    bench.table.open(session(1));
    for (faults, counted) in [(1, 1), (5, 2)] {
        assert!((0..faults).all(|_| bench.call(session(1), 0, true)));
        assert_eq!(bench.close().0, (faults, counted));
    }
    assert!(!bench.call(session(1), 0, true));
}

#[test]
fn kinds_have_caps_of_their_own() {
    let mut bench = Bench::new(1);
    bench.table.open(session(1));
    let standing = bench.table.stand(session(1), false).unwrap();
    for kind in [Kind::Fault, Kind::Median] {
        bench.table.event(&standing, (kind, Side::Stable, None), &mut bench.bucket);
    }
    bench.close();
    let standing = bench.table.stand(session(1), false).unwrap();
    let at_risk = |kind| bench.table.is_at_risk(&standing, kind);
    assert!(!at_risk(Kind::Fault));
    assert!(at_risk(Kind::Bad) && at_risk(Kind::Median) && at_risk(Kind::Tail));
}

#[test]
fn a_unit_of_one_call_is_always_at_risk() {
    let mut bench = Bench::new(1);
    for _ in 0..3 {
        assert!(bench.call(Unit::Alone, 0, true));
    }
    assert_eq!(bench.close(), ((3, 3), [3, 0, 0], (3, 3)));
}

#[test]
fn newcomers_are_left_out_when_it_is_full() {
    assert!(size_of::<(u64, Record)>() <= 24);
    let mut bench = Bench::new(1);
    for number in 0..=UNITS_MAX as u64 {
        bench.table.open(session(number));
    }
    assert!(bench.call(session(0), 0, false));
    assert!(!bench.call(session(UNITS_MAX as u64), 0, false));
    assert!(!bench.call(Unit::Caller(1), 0, false));
    assert!(bench.call(Unit::Alone, 0, false));
}
