//! Minutes of time that is made up.

use super::super::clusters::design_effect;
use super::super::fixture::{calls_of, tally, timed};
use super::*;
use crate::mcp::Method;
use crate::observe::seen::{Grade, Seen, Unit};
use crate::observe::session::SessionKey;
use crate::observe::tally::Labels;
use crate::route::tools::ToolLabel;

const SECOND: Duration = Duration::from_secs(1);

fn ok(exchanges: u64) -> Tally {
    tally(Arm::Primary, calls_of("quick"), Outcome::Ok, exchanges)
}

fn requests(minutes: &Minutes, back: usize) -> Option<u64> {
    minutes.whole(back).map(|minute| minute.requests.primary)
}

#[test]
fn a_minute_is_whole_when_the_next_one_has_begun() {
    let start = Instant::now();
    let mut minutes = Minutes::new(start);
    assert_eq!((minutes.turn(start), minutes.whole(0)), (false, None));
    minutes.add(start + SECOND * 59, &ok(3));
    assert!(!minutes.turn(start + SECOND * 59));
    // Whoever adds first does not hide the turn.
    minutes.add(start + SECOND * 60, &ok(5));
    assert!(minutes.turn(start + SECOND * 60));
    assert!(!minutes.turn(start + SECOND * 60));
    assert_eq!((requests(&minutes, 0), requests(&minutes, 1)), (Some(3), None));
    // An empty minute in between is one.
    assert!(minutes.turn(start + SECOND * 185));
    let all = [0, 1, 2, 3, usize::MAX].map(|back| requests(&minutes, back));
    assert_eq!(all, [Some(0), Some(5), Some(3), None, None]);
}

#[test]
fn fifteen_are_kept() {
    let start = Instant::now();
    let mut minutes = Minutes::new(start);
    (0..100).for_each(|at| minutes.add(start + LENGTH * at, &ok(u64::from(at))));
    assert_eq!((requests(&minutes, 0), requests(&minutes, 14)), (Some(98), Some(84)));
    assert_eq!((requests(&minutes, 15), minutes.judgeable()), (None, 15));
    minutes.add(start + LENGTH * 10_000, &ok(1));
    assert!((0..15).all(|back| requests(&minutes, back) == Some(0)));
    assert_eq!(minutes.kept.len(), KEPT + 1);
}

#[test]
fn only_minutes_that_began_after_arming_are_judged() {
    let start = Instant::now();
    // Armed at this second, at that minute's end so many are judged.
    let table = [
        (0, 1, 1),
        (1, 1, 0),
        (1, 2, 1),
        (59, 2, 1),
        (60, 1, 0),
        (60, 2, 1),
        (61, 2, 0),
        (61, 3, 1),
        (61, 30, 15),
        (600, 3, 0),
    ];
    for (armed, over, judged) in table {
        let mut minutes = Minutes::new(start);
        minutes.armed_at(start + SECOND * armed);
        assert!(minutes.turn(start + LENGTH * over));
        assert_eq!(minutes.judgeable(), judged, "armed at {armed}, after {over}");
        assert!(minutes.judged(judged).is_some() && minutes.judged(judged + 1).is_none());
    }
    let mut minutes = Minutes::new(start);
    minutes.armed_at(start + Duration::from_nanos(1));
    minutes.turn(start + LENGTH);
    assert_eq!(minutes.judgeable(), 0);
}

#[test]
fn what_counts() {
    use Outcome::{
        Cancelled, ClientError, HttpError, Ok, Race, Rejected, RpcError, Skew, Timeout, ToolError,
        Transport, Unclassified,
    };
    let table = [
        (Ok, 1, 0),
        (ToolError, 1, 0),
        (ClientError, 1, 0),
        (Skew, 1, 0),
        (RpcError, 1, 1),
        (HttpError, 1, 1),
        (Transport, 1, 1),
        (Timeout, 1, 1),
        (Cancelled, 0, 0),
        (Rejected, 0, 0),
        (Race, 0, 0),
        (Unclassified, 0, 0),
    ];
    assert_eq!(table.len(), Outcome::ALL.len());
    for (outcome, requests, faults) in table {
        let mut minute = Minute::default();
        minute.add(&tally(Arm::Secondary, calls_of("quick"), outcome, 1));
        assert_eq!(minute.requests, PerArm { primary: 0, secondary: requests }, "{outcome:?}");
        assert_eq!(minute.faults, PerArm { primary: 0, secondary: faults }, "{outcome:?}");
    }
}

#[test]
fn what_the_other_arm_took_over_is_a_fault_of_the_first() {
    let mut tally = ok(1);
    tally.covered.secondary = 2;
    let mut minute = Minute::default();
    minute.add(&tally);
    assert_eq!(minute.requests, PerArm { primary: 1, secondary: 2 });
    assert_eq!(minute.faults, PerArm { primary: 0, secondary: 2 });
}

#[test]
fn what_no_arm_was_asked_for_counts_for_none() {
    let mut tally = ok(1);
    tally.exchanges =
        tally.exchanges.into_iter().map(|(it, n)| (Labels { arm: None, ..it }, n)).collect();
    let mut minute = Minute::default();
    minute.add(&tally);
    assert_eq!(minute, Minute::default());
}

#[test]
fn times_are_kept_by_stratum_and_arm() {
    let mut minute = Minute::default();
    minute.add(&timed(Arm::Primary, calls_of("quick"), [0.5, 2.0]));
    minute.add(&timed(Arm::Primary, calls_of("quick"), [1.0]));
    minute.add(&timed(Arm::Secondary, calls_of("slow"), [1.0; 4]));
    let quick = &minute.times[&calls_of("quick")];
    assert!((quick.primary.count - 3.0).abs() < 1e-9 && quick.primary.logs.abs() < 1e-9);
    assert_eq!(quick.secondary, Moments::default());
    assert!((minute.times[&calls_of("slow")].secondary.count - 4.0).abs() < 1e-9);
    let other = Stratum { method: Method::CALL, tool: ToolLabel::OTHER };
    assert_eq!((minute.times.len(), minute.times.get(&other)), (2, None));
}

#[test]
fn only_good_calls_that_have_a_time_are_timed() {
    let mut minute = Minute::default();
    minute.add(&ok(3));
    let mut failed = timed(Arm::Primary, calls_of("quick"), [1.0]);
    failed.exchanges = failed
        .exchanges
        .into_iter()
        .map(|(it, n)| (Labels { outcome: Outcome::Timeout, ..it }, n))
        .collect();
    minute.add(&failed);
    assert_eq!((minute.requests.primary, minute.times.len()), (4, 0));
}

#[test]
fn how_times_lie_does_not_depend_on_how_often_they_are_collected() {
    let start = Instant::now();
    let times = [0.1, 0.2, 0.4, 0.7];
    let seen = |times: &[f64]| {
        let stratum = calls_of("quick");
        let mut tally = timed(Arm::Primary, stratum, times.iter().copied());
        for seconds in times {
            tally.see(Seen {
                unit: Unit::Session(SessionKey::of(&[u8::from(*seconds > 0.3)])),
                opens: false,
                arm: Arm::Primary,
                method: stratum.method,
                tool: stratum.tool,
                grade: Grade::Good,
                denied: false,
                waited: Some(Duration::from_secs_f64(*seconds)),
            });
        }
        tally
    };
    let (mut often, mut once) = (Minutes::new(start), Minutes::new(start));
    for time in &times {
        often.add(start + SECOND, &seen(std::slice::from_ref(time)));
    }
    once.add(start + SECOND, &seen(&times));
    for minutes in [&mut often, &mut once] {
        assert!(minutes.turn(start + LENGTH));
    }
    let effect = |minutes: &Minutes| design_effect(&minutes.judged(1).unwrap(), Arm::Primary);
    assert!(effect(&once) > 1.5 && (effect(&often) - effect(&once)).abs() < 1e-9);
}
