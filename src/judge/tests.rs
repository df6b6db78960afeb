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
    assert_eq!(states(&judge.look(now, &around(50))), ["off"; 5]);
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
        held |= look.hold.is_some();
        assert!(look.revert().is_none_or(|opinion| opinion.guard == Guard::Sequential));
        look.revert().is_some()
    });
    let fired = fired.expect("a quarter of the calls fails");
    assert!(held && fired < 60, "{held} {fired}");
    // The arm that it would go back to is dead: that would help nobody.
    let standing = PerArm { primary: Standing::Down, secondary: Standing::Up };
    let now = start + SECOND * fired;
    let look = judge.look(now, &Surroundings { standing, ..around(50) });
    assert_eq!(look.guards[4].state, GuardState::CommonCause);
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
    for (secondary, holds) in [(50, false), (70, false), (90, true), (15, true)] {
        let mut judge = Judge::new(now, rules(), Arm::Secondary);
        judge.look(now, &around(25));
        let mut tally = Tally::default();
        for number in 0..200 {
            let arm = if number < secondary { Arm::Secondary } else { Arm::Primary };
            tally.draws.add(arm, 0.25);
        }
        judge.absorb(now, &[&tally]);
        let hold = judge.look(now, &around(25)).hold;
        assert_eq!(hold.is_some(), holds, "{secondary}: {hold:?}");
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
    while look(0.01).told.total < 4.0 {}
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
