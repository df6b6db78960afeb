//! What every guard says in which surroundings.

use std::time::Duration;

use super::fixture::{calls_of, tally, timed};
use super::*;
use crate::config::{self, Environment};
use crate::names::Outcome;
use crate::observe::seen::{Grade, Seen, Unit};
use crate::observe::session::SessionKey;

const SECOND: Duration = Duration::from_secs(1);

fn rules() -> Guards {
    config::load(None, None, &Environment::default()).unwrap().guards
}

fn around(weight: u8) -> Surroundings {
    Surroundings {
        candidate: Arm::Secondary,
        weight,
        rollout: Some("r1".to_owned()),
        alpha: 0.01,
        places: 5,
        probed: true,
        standing: PerArm { primary: Standing::Up, secondary: Standing::Up },
        critical: None,
    }
}

/// Calls of their own, so many of each arm, of which every `bad`th of the secondary is a fault.
fn calls(count: usize, bad: usize) -> Tally {
    let mut tally = Tally::default();
    for number in 0..2 * count {
        let arm = Arm::ALL[number % 2];
        let is_bad = arm == Arm::Secondary && bad > 0 && number % bad < 2;
        tally.see(Seen {
            unit: Unit::Alone,
            opens: false,
            arm,
            method: Method::CALL,
            tool: ToolLabel::OTHER,
            grade: if is_bad { Grade::Fault } else { Grade::Good },
            denied: is_bad,
            waited: None,
        });
    }
    tally
}

fn states(judgement: &Judgement) -> Vec<&'static str> {
    judgement.guards.iter().map(|opinion| opinion.state.as_str()).collect()
}

#[test]
fn a_candidate_without_weight_is_not_guarded_but_a_latch_holds() {
    let now = Instant::now();
    let mut judge = Judge::new(now, rules(), Arm::Secondary);
    let look = judge.look(now, &around(0));
    assert_eq!(states(&look), ["idle", "idle", "idle", "armed", "idle"]);
    assert_eq!(look.guards[0].why, "the secondary has no weight");
    let critical = Some("scanner: key leaked".to_owned());
    let look = judge.look(now, &Surroundings { critical, ..around(0) });
    assert_eq!(look.revert().unwrap().guard, Guard::SecurityAlert);
    let off = Guards {
        health_failures: false,
        error_rate: None,
        performance: None,
        security_alert: false,
        sequential: None,
    };
    judge.set_rules(off);
    for weight in [0, 50] {
        assert_eq!(states(&judge.look(now, &around(weight))), ["off"; 5]);
    }
}

#[test]
fn health_shuts_the_gate_unless_the_other_side_is_no_better() {
    use Standing::{Down, Unknown, Up};
    for (primary, secondary, probed, expected) in [
        (Up, Up, true, "armed"),
        (Up, Down, true, "fired"),
        (Unknown, Down, true, "cannot"),
        (Down, Down, true, "common_cause"),
        (Down, Up, true, "armed"),
        (Up, Unknown, true, "cannot"),
        (Unknown, Unknown, false, "cannot"),
        (Up, Down, false, "cannot"),
    ] {
        let now = Instant::now();
        let standing = PerArm { primary, secondary };
        let look = Judge::new(now, rules(), Arm::Secondary)
            .look(now, &Surroundings { probed, standing, ..around(10) });
        assert_eq!(look.guards[0].state.as_str(), expected, "{primary:?} {secondary:?}");
        assert_eq!(look.hold.is_some(), expected == "common_cause", "{:?}", look.hold);
    }
}

#[test]
fn evidence_holds_then_reverts_and_begins_anew_at_another_weight_or_in_another_rollout() {
    let start = Instant::now();
    let mut judge = Judge::new(start, rules(), Arm::Secondary);
    judge.look(start, &around(50));
    let mut held = false;
    let fired = (1..200).find(|second| {
        let now = start + SECOND * *second;
        judge.absorb(now, &[&calls(4, 8)]);
        let look = judge.look(now, &around(50));
        held |= look.hold.as_ref().is_some_and(|why| why.ends_with("(reverts at 100)"));
        let reverts = look.revert().map(|it| (it.guard, it.evidence["e"].as_f64()));
        assert!(reverts.is_none_or(|it| it == (Guard::Sequential, Some(look.told.total))));
        reverts.is_some()
    });
    let fired = fired.expect("a quarter of the calls fails");
    assert!(held && fired < 60, "{held} {fired}");
    // The arm that it would go back to is dead: that would help nobody.
    let standing = PerArm { primary: Standing::Down, secondary: Standing::Up };
    let now = start + SECOND * fired;
    let look = judge.look(now, &Surroundings { standing, ..around(50) });
    assert_eq!(look.guards[4].state, GuardState::CommonCause);
    assert!(look.guards[4].why.ends_with("; but no server of the primary works"));
    let next = Surroundings { rollout: Some("r2".to_owned()), ..around(50) };
    let look = judge.look(now, &next);
    assert!(look.revert().is_none() && look.hold.is_none() && look.told.calls.primary == 0);
    judge.absorb(now + SECOND, &[&calls(4, 8)]);
    assert!(judge.look(now + SECOND * 6, &next).told.calls.primary > 0);
    let look = judge.look(now + SECOND * 6, &around(20));
    assert!(look.revert().is_none() && look.hold.is_none() && look.told.calls.primary == 0);
}

#[test]
fn the_rule_by_the_minute_needs_whole_minutes_since_the_gate_was_opened() {
    let start = Instant::now();
    let mut judge = Judge::new(start, Guards { sequential: None, ..rules() }, Arm::Secondary);
    judge.look(start, &around(0));
    let mut fired = None;
    for second in 1..600 {
        let now = start + SECOND * second;
        let weight = if second < 90 { 0 } else { 10 };
        let of = |arm, outcome, count| tally(arm, calls_of("quick"), outcome, count);
        let good = Arm::ALL.map(|arm| of(arm, Outcome::Ok, 9));
        let bad = of(Arm::Secondary, Outcome::RpcError, 1);
        judge.absorb(now, &[&good[0], &good[1], &bad]);
        let look = judge.look(now, &around(weight));
        if look.revert().is_some() {
            fired = Some((second, look.revert().unwrap().guard));
            break;
        }
    }
    // Opened in the second minute, so the third and the fourth are the first two whole ones.
    assert_eq!(fired, Some((240, Guard::ErrorRate)));
}

#[test]
fn a_share_that_is_not_the_weight_stops_the_rollout() {
    let now = Instant::now();
    for (all, share, secondary, holds) in [
        (200, 0.25, 50, false),
        (200, 0.25, 70, false),
        (200, 0.25, 90, true),
        (200, 0.25, 15, true),
        // Five standard deviations may be.
        (400, 0.5, 250, false),
        (400, 0.5, 251, true),
        (99, 0.5, 99, false),
        (100, 0.5, 100, true),
    ] {
        let mut judge = Judge::new(now, rules(), Arm::Secondary);
        judge.look(now, &around(25));
        let mut tally = Tally::default();
        for number in 0..all {
            let arm = if number < secondary { Arm::Secondary } else { Arm::Primary };
            tally.draws.add(arm, share);
        }
        judge.absorb(now, &[&tally]);
        let hold = judge.look(now, &around(25)).hold;
        assert_eq!(hold.is_some(), holds, "{secondary}: {hold:?}");
    }
}

#[test]
fn a_bucket_lasts_five_seconds() {
    let start = Instant::now();
    let mut judge = Judge::new(start, rules(), Arm::Secondary);
    for weight in [50, 20] {
        let begin = start + SECOND * u32::from(100 - weight);
        assert!(judge.look(begin, &around(weight)).told.total < 1e-9, "none has begun");
        for second in 1..30 {
            judge.absorb(begin + SECOND * second, &[&calls(1, 0)]);
            let told = judge.look(begin + SECOND * second, &around(weight)).told;
            assert_eq!(told.calls.secondary, u64::from(second / 5 * 5), "{weight} %, {second} s");
        }
    }
}

#[test]
fn minutes_and_usual_times_last_as_long_as_what_they_are_of() {
    let start = Instant::now();
    let other = Surroundings { rollout: None, ..around(10) };
    let back = Surroundings { candidate: Arm::Primary, ..around(10) };
    // What comes next, whole minutes that may be judged then, whether the usual times stay.
    for (next, minutes, keeps) in [
        (around(10), 3, true),
        (around(20), 3, true),
        (around(0), 0, true),
        (other, 0, true),
        (back, 0, false),
    ] {
        let mut judge = Judge::new(start, rules(), Arm::Secondary);
        for minute in 0..=3 {
            let now = start + SECOND * 60 * minute;
            judge.absorb(now, &[&timed(Arm::Primary, calls_of("quick"), [1.0; 9])]);
            judge.look(now, &around(10));
        }
        judge.look(start + SECOND * 181, &next);
        let keeps_times = judge.baseline().get(calls_of("quick")).is_some();
        assert_eq!((judge.minutes.judgeable(), keeps_times), (minutes, keeps), "{next:?}");
    }
    let mut judge = Judge::new(start, rules(), Arm::Secondary);
    judge.look(start, &around(0));
    judge.look(start + SECOND * 181, &around(10));
    assert_eq!(judge.minutes.judgeable(), 0, "traffic begins");
}

#[test]
fn other_rules_keep_the_evidence_unless_it_is_counted_otherwise() {
    let start = Instant::now();
    let capped = |cap| Guards { sequential: Some(Sequential { alpha: 0.01, cap }), ..rules() };
    for (cap, kept) in [(1, 10), (2, 0)] {
        let mut judge = Judge::new(start, capped(1), Arm::Secondary);
        judge.look(start, &around(50));
        judge.absorb(start, &[&calls(10, 0)]);
        judge.look(start + SECOND * 5, &around(50));
        judge.set_rules(Guards { error_rate: None, ..capped(cap) });
        let look = judge.look(start + SECOND * 6, &around(50));
        assert_eq!((look.told.calls.secondary, states(&look)[1]), (kept, "off"), "{cap}");
    }
}

#[test]
fn what_is_usual() {
    let start = Instant::now();
    let mut judge = Judge::new(start, rules(), Arm::Secondary);
    assert_eq!(judge.usual(Arm::Secondary), None);
    let of = |arm, outcome, count| tally(arm, calls_of("quick"), outcome, count);
    for minute in 0..20 {
        // Only the last five minutes count, and the running one does not.
        let (own, faults) = if (14..19).contains(&minute) { (30, 2) } else { (1000, 50) };
        let all = [
            of(Arm::Secondary, Outcome::Ok, own),
            of(Arm::Primary, Outcome::Ok, 40 - faults.min(40)),
            of(Arm::Primary, Outcome::Timeout, faults),
        ];
        judge.absorb(start + SECOND * 60 * minute, &all.each_ref());
    }
    assert_eq!(judge.usual(Arm::Secondary), Some((30.0, 0.05)));
    assert_eq!(judge.usual(Arm::Primary), Some((40.0, 0.0)));
    let mut idle = Judge::new(start, rules(), Arm::Secondary);
    idle.absorb(start + SECOND * 60, &[]);
    idle.absorb(start + SECOND * 60, &[&Tally::default()]);
    assert_eq!(idle.usual(Arm::Secondary), Some((0.0, 0.0)));
}

#[test]
fn times_that_were_recorded_are_taken_where_none_are_known() {
    let mut judge = Judge::new(Instant::now(), rules(), Arm::Secondary);
    let times = |millis| {
        let mut times = Moments::default();
        times.add(Duration::from_millis(millis));
        times
    };
    for (tool, millis) in [("quick", 10), ("slow", 20), ("quick", 30)] {
        judge.recall(calls_of(tool), times(millis));
    }
    let known = |tool| judge.baseline().get(calls_of(tool)).copied();
    assert_eq!([known("quick"), known("slow")], [10, 20].map(|it| Some(times(it))));
}

#[test]
fn e_values_are_short() {
    for (e, text) in [(0.5, "0.50"), (12.345, "12.35"), (9999.0, "9999.00"), (1e4, "1.0e4")] {
        assert_eq!(short(e), text);
    }
}

#[test]
fn callers_that_only_the_candidate_refuses_are_an_alert() {
    let start = Instant::now();
    for (bad, denied) in [(0, false), (4, true)] {
        let mut judge = Judge::new(start, Guards { sequential: None, ..rules() }, Arm::Secondary);
        judge.look(start, &around(50));
        judge.absorb(start, &[&calls(40, bad)]);
        let look = judge.look(start + SECOND * 6, &around(50));
        assert_eq!(look.denied, denied);
        assert!(look.revert().is_none());
    }
}

#[test]
fn a_router_that_could_not_look_for_an_hour_goes_on() {
    let start = Instant::now();
    let mut judge = Judge::new(start, rules(), Arm::Secondary);
    judge.look(start, &around(50));
    let look = judge.look(start + SECOND * 3600, &around(50));
    assert!(look.revert().is_none());
    judge.absorb(start + SECOND * 3601, &[&calls(10, 0)]);
    assert_eq!(judge.look(start + SECOND * 3606, &around(50)).told.calls.secondary, 10);
}

#[test]
fn another_alpha_holds_from_the_next_bucket_on() {
    let start = Instant::now();
    let mut judge = Judge::new(start, rules(), Arm::Secondary);
    let mut second = 0;
    let mut look = |alpha: f64| {
        second += 1;
        let now = start + SECOND * second;
        judge.absorb(now, &[&calls(4, 8)]);
        judge.look(now, &Surroundings { alpha, ..around(50) })
    };
    assert!((0..300).any(|_| look(0.01).told.total >= 4.0));
    let strict = (0..6).map(|_| look(0.25)).find(|look| look.revert().is_some());
    let why = &strict.expect("4 is enough now").revert().unwrap().why.clone();
    assert!(why.contains("reverts at 4"), "{why}");
}

/// A good version among sessions that differ: some take four times as long as others whatever they
/// call, and by chance more of those are on the candidate.
#[test]
fn slow_sessions_are_not_a_slow_version() {
    let start = Instant::now();
    let stratum = calls_of("quick");
    for (same_session, fires) in [(true, false), (false, true)] {
        let mut judge = Judge::new(start, Guards { sequential: None, ..rules() }, Arm::Secondary);
        judge.look(start, &around(50));
        let mut tally = Tally::default();
        for number in 0..400_u64 {
            let arm = Arm::ALL[usize::from(number % 2 == 1)];
            let session = number / 40;
            // Three of ten sessions are slow on the one arm, six on the other.
            let is_slow = session < if arm == Arm::Primary { 3 } else { 6 };
            let waited = Duration::from_millis(if is_slow { 400 } else { 100 });
            let unit = if same_session { session * 2 + number % 2 } else { number };
            let call = Seen {
                unit: Unit::Session(SessionKey::of(&unit.to_be_bytes())),
                opens: false,
                arm,
                method: stratum.method,
                tool: stratum.tool,
                grade: Grade::Good,
                denied: false,
                waited: Some(waited),
            };
            tally.see(call);
            for (labels, count) in &timed(arm, stratum, [waited.as_secs_f64()]).exchanges {
                let own = tally.exchanges.entry(*labels).or_default();
                own.exchanges += 1;
                own.latency.merge(&count.latency);
            }
        }
        judge.absorb(start + SECOND, &[&tally]);
        let look = judge.look(start + SECOND * 60, &around(50));
        let why = &look.guards[2].why;
        assert_eq!(look.revert().is_some(), fires, "{same_session}: {why}");
    }
}
