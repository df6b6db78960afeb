//! From single calls to what is told of them.

use proptest::prelude::*;

use super::*;
use crate::observe::seen::Unit;
use crate::observe::session::SessionKey;
use crate::route::tools::Tools;

const SETTINGS: Sequential = Sequential { alpha: 0.01, cap: 1 };

fn tool(number: u64) -> ToolLabel {
    let names = (0..10).map(|number| format!("tool{number}")).collect();
    let tools = Tools::default().with(&PerArm { primary: Some(names), secondary: None });
    tools.label(&format!("tool{number}"))
}

fn session(number: u64) -> Unit {
    Unit::Session(SessionKey::of(&number.to_le_bytes()))
}

fn call(unit: Unit, arm: Arm, grade: Grade) -> Seen {
    Seen {
        unit,
        opens: false,
        arm,
        method: Method::CALL,
        tool: tool(0),
        grade,
        denied: false,
        waited: None,
    }
}

fn alone(arm: Arm, grade: Grade) -> Seen {
    call(Unit::Alone, arm, grade)
}

fn timed(arm: Arm, millis: u64) -> Seen {
    Seen { waited: Some(Duration::from_millis(millis)), ..alone(arm, Grade::Good) }
}

fn evidence() -> Evidence {
    Evidence::new(SETTINGS, Arm::Secondary, 0.002, 6)
}

/// What is told after so many buckets of these calls.
fn after(buckets: u64, mut calls: impl FnMut(u64) -> Vec<Seen>) -> Told {
    let mut evidence = evidence();
    for bucket in 0..buckets {
        evidence.see(&calls(bucket));
        evidence.close_bucket();
    }
    evidence.told()
}

fn value(told: &Told, test: Test) -> f64 {
    told.tests.into_iter().find(|it| it.0 == test).unwrap().1
}

use Arm::{Primary as A, Secondary as B};

/// Good calls of both arms, and these.
fn with_good(more: &[Seen]) -> Vec<Seen> {
    let good = [A, B].into_iter().flat_map(|arm| [alone(arm, Grade::Good); 5]);
    good.chain(more.iter().copied()).collect()
}

#[test]
fn tests_have_the_words_of_labels_and_records() {
    assert_eq!(Test::ALL.map(Test::as_str), ["relative", "absolute", "latency"]);
}

#[test]
fn nothing_seen_is_nothing_told() {
    let told = after(100, |_| Vec::new());
    assert!(told.total < 1.0 && !told.hold && !told.revert && !told.common_cause);
    let unknown = (told.worst, told.performance, told.odds_ratio, told.fault_rate);
    assert_eq!(unknown, (None, None, None, None));
    assert_eq!((told.promotion.passes, told.promotion.more_calls), (false, Some(73)));
    // One arm alone has a rate, and no odds to compare.
    for (arm, has_rate) in [(A, false), (B, true)] {
        let told = after(1, |_| vec![alone(arm, Grade::Good); 5]);
        assert_eq!((told.odds_ratio, told.fault_rate.is_some()), (None, has_rate), "{arm}");
    }
}

#[test]
fn each_test_sees_what_it_is_for() {
    use Grade::{Fault, Good, Relative};
    // Calls beside the good ones; revert, hold, common cause.
    for (name, more, expected) in [
        ("good", vec![], (false, false, false)),
        ("errors of both", vec![alone(A, Relative), alone(B, Relative)], (false, false, false)),
        ("errors of the stable arm", vec![alone(A, Relative)], (false, false, false)),
        ("errors of the candidate", vec![alone(B, Relative)], (true, true, false)),
        ("faults of the candidate", vec![alone(B, Fault)], (true, true, false)),
        ("faults of both", vec![alone(A, Fault), alone(B, Fault)], (false, false, true)),
        ("faults of the stable arm", vec![alone(A, Fault)], (false, false, true)),
        ("refusals", vec![Seen { denied: true, ..alone(B, Good) }], (false, false, false)),
    ] {
        let told = after(60, |_| with_good(&more));
        assert_eq!((told.revert, told.hold, told.common_cause), expected, "{name}: {told:?}");
        assert_eq!(told.denied >= HOLD, name == "refusals", "{name}");
        let absolute = if told.common_cause { 0.0 } else { value(&told, Test::Absolute) };
        let mean = (value(&told, Test::Relative) + absolute) / 3.0;
        assert!((told.total / mean - 1.0).abs() < 1e-9, "{name}: {told:?}");
    }
}

#[test]
fn another_alpha_holds_at_once() {
    let mut evidence = Evidence::new(SETTINGS, B, 1e-9, 6);
    let reached = (0..300).any(|_| {
        evidence.see(&with_good(&[alone(B, Grade::Fault)]));
        evidence.close_bucket();
        evidence.told().total >= HOLD
    });
    assert!(reached && !evidence.told().revert);
    evidence.set_alpha(0.1);
    assert!(evidence.told().revert);
}

#[test]
fn slowness_holds_and_reverts_only_below_four_fifths() {
    // The candidate's time where the stable arm takes 100 to 104 ms; revert, hold.
    for (millis, expected) in [
        (100, (false, false)),
        // Beyond doubt, and of no weight.
        (108, (false, false)),
        (115, (false, true)),
        (123, (false, true)),
        (130, (true, true)),
    ] {
        let mut evidence = evidence();
        for bucket in 0..120 {
            let stable = (0..5).map(|at| timed(A, 100 + at));
            // It is as good as the stable arm until there are limits.
            let millis = if bucket < 12 { 100 } else { millis };
            evidence.see(&stable.chain((0..5).map(|at| timed(B, millis + at))).collect::<Vec<_>>());
            evidence.close_bucket();
            if bucket == 12 {
                evidence.next_step(B, 0.002, 6);
            }
        }
        let told = evidence.told();
        assert_eq!((told.revert, told.hold), expected, "{millis} ms: {told:?}");
        let counts = if millis > 113 { 1.0 } else { 0.0 };
        let latency = value(&told, Test::Latency) * counts;
        let mean = (value(&told, Test::Relative) + value(&told, Test::Absolute) + latency) / 3.0;
        assert!((told.total / mean - 1.0).abs() < 1e-9, "{millis} ms: {told:?}");
        let performance = told.performance.unwrap();
        assert!((performance - 102.0 / (millis + 2) as f64).abs() < 1e-3, "{performance}");
    }
}

#[test]
fn tools_are_compared_one_by_one() {
    // The candidate gets another mix of a fast and a slow tool, and is as fast at each.
    let slow = |arm| Seen { tool: tool(1), ..timed(arm, 1000) };
    let told = after(120, |_| {
        vec![timed(A, 10), timed(A, 10), timed(A, 10), slow(A), timed(B, 10), slow(B), slow(B)]
    });
    assert!((told.performance.unwrap() - 1.0).abs() < 1e-9);
    assert!(!told.hold);
}

#[test]
fn a_client_that_leaves_counts_only_as_slow() {
    let left =
        |millis| Seen { waited: Some(Duration::from_millis(millis)), ..alone(B, Grade::Left) };
    let of = |millis| after(60, |_| [vec![left(millis); 3], vec![timed(A, 100); 5]].concat());
    let (early, late) = (of(50), of(500));
    assert_eq!((early.calls.secondary, late.calls.secondary), (0, 0));
    assert_eq!(early.performance, None);
    assert!(value(&early, Test::Latency) < 1.0);
    // As long as a client was patient, it has seen no end.
    assert!(value(&late, Test::Latency) > HOLD && late.performance.unwrap() < 0.25);
}

#[test]
fn one_broken_tool_among_many_is_named() {
    let told = after(60, |bucket| {
        let mut calls = Vec::new();
        for number in 0..5 {
            let of = |arm, grade| Seen { tool: tool(number), ..alone(arm, grade) };
            calls.extend([of(A, Grade::Good); 20]);
            let fails = number == 3 && bucket % 3 == 0;
            calls.push(of(B, if fails { Grade::Fault } else { Grade::Good }));
        }
        calls
    });
    let (worst, value) = told.worst.unwrap();
    assert_eq!(worst, Stratum { method: Method::CALL, tool: tool(3) });
    assert!(told.revert && value > told.total);
    assert_eq!((told.calls.secondary, told.faults.secondary, told.errors.primary), (300, 20, 0));
    let (low, high) = told.fault_rate.unwrap();
    assert!(low < 20.0 / 300.0 && 20.0 / 300.0 < high);
    // 20.5 / 280.5 over 0.5 / 6000.5.
    assert!((told.odds_ratio.unwrap() - 877.08).abs() < 0.01, "{:?}", told.odds_ratio);
}

#[test]
fn what_the_other_arm_took_over_is_no_stratum() {
    // One of a hundred calls: a fault, and known without its tool.
    let covered = Seen { tool: ToolLabel::NONE, ..alone(B, Grade::Fault) };
    let told = after(60, |bucket| {
        let mut calls = vec![alone(B, Grade::Good); 20];
        calls.extend([alone(A, Grade::Good); 20]);
        calls.extend((bucket % 5 == 0).then_some(covered));
        calls
    });
    assert_eq!(told.faults.secondary, 12);
    assert!(value(&told, Test::Absolute) < 1.0, "{told:?}");
    assert_eq!(told.worst.unwrap().0.tool, tool(0));
}

#[test]
fn one_session_that_fails_all_the_time_is_one_error() {
    let opening = Seen { opens: true, ..call(session(1), B, Grade::Good) };
    let told = after(60, |bucket| {
        let mut calls = with_good(&[call(session(1), B, Grade::Fault); 10]);
        calls.extend((bucket == 0).then_some(opening));
        calls
    });
    assert_eq!((told.errors.secondary, told.faults.secondary), (1, 1));
    assert!(!told.hold && told.promotion.passes);
    // Its good calls of the same bucket prove nothing: it fails from the start.
    let told = after(1, |_| {
        let good = [call(session(1), B, Grade::Good); 100];
        [vec![opening, call(session(1), B, Grade::Fault)], good.to_vec()].concat()
    });
    assert!(told.promotion.e < 1.0, "{:?}", told.promotion);
}

#[test]
fn seventy_three_good_calls_promote() {
    for (calls, passes) in [(72, false), (73, true)] {
        let told = after(1, |_| vec![alone(B, Grade::Good); calls]);
        assert_eq!(told.promotion.passes, passes);
    }
    let told = after(1, |_| vec![alone(A, Grade::Good); 500]);
    assert_eq!(told.promotion.more_calls, Some(73), "the stable arm's calls prove nothing");
}

#[test]
fn a_step_begins_anew() {
    let mut evidence = evidence();
    let opening = Seen { opens: true, ..call(session(1), B, Grade::Good) };
    for bucket in 0..20 {
        let calls = [vec![opening; usize::from(bucket == 0)], with_good(&[alone(B, Grade::Fault)])];
        evidence.see(&calls.concat());
        evidence.see(&[timed(A, 100); 5]);
        evidence.close_bucket();
    }
    assert!(evidence.told().revert);
    // Half a bucket belongs to no step.
    evidence.see(&[alone(B, Grade::Fault); 50]);
    evidence.next_step(B, 0.002, 6);
    let told = evidence.told();
    assert_eq!(told, after(0, |_| Vec::new()));
    evidence.see(&[call(session(1), B, Grade::Fault), timed(A, 100), timed(B, 900)]);
    evidence.close_bucket();
    let told = evidence.told();
    assert_eq!((told.calls.secondary, told.faults.secondary), (1, 0), "of an old session");
    assert!(value(&told, Test::Latency) > 0.6, "how long the stable arm takes is still known");
    // The way back: what was known is of the arm that is the candidate now.
    evidence.next_step(A, 0.002, 6);
    evidence.see(&[timed(A, 900)]);
    evidence.close_bucket();
    assert!((value(&evidence.told(), Test::Latency) - 0.5).abs() < 1e-9);
}

#[test]
fn either_arm_can_be_the_candidate() {
    let swap = |told: &PerArm<u64>| PerArm { primary: told.secondary, secondary: told.primary };
    let mut there = evidence();
    let mut back = Evidence::new(SETTINGS, A, 0.002, 6);
    for _ in 0..30 {
        let calls = with_good(&[alone(B, Grade::Fault), timed(A, 5), timed(B, 10)]);
        there.see(&calls);
        back.see(&calls.iter().map(|it| Seen { arm: it.arm.other(), ..*it }).collect::<Vec<_>>());
        there.close_bucket();
        back.close_bucket();
    }
    let (there, mut back) = (there.told(), back.told());
    for counts in [&mut back.calls, &mut back.errors, &mut back.faults] {
        *counts = swap(counts);
    }
    assert_eq!(there, back);
}

fn any_call() -> impl Strategy<Value = Seen> {
    let unit = prop_oneof![
        4 => (0..6_u64).prop_map(session),
        2 => (0..4_u64).prop_map(Unit::Caller),
        1 => Just(Unit::Alone),
    ];
    let grade = prop_oneof![
        4 => Just(Grade::Good),
        1 => Just(Grade::Relative),
        1 => Just(Grade::Fault),
        1 => Just(Grade::Left),
    ];
    (unit, grade, any::<bool>(), 0..4_u64, 1..50_u64, prop::bool::weighted(0.1)).prop_map(
        |(unit, grade, is_candidate, number, millis, denied)| Seen {
            unit,
            opens: false,
            arm: if is_candidate { B } else { A },
            method: if number == 3 { Method::LISTEN } else { Method::CALL },
            tool: if number == 3 { ToolLabel::NONE } else { tool(number) },
            grade,
            denied,
            waited: matches!(grade, Grade::Good | Grade::Left)
                .then_some(Duration::from_millis(millis)),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_batches_does_not_matter(
        buckets in prop::collection::vec(prop::collection::vec(any_call(), 0..60), 1..8),
        opened in prop::collection::vec(any::<bool>(), 6),
        cut in 0..60_usize,
    ) {
        let openings = opened.iter().zip(0..).filter(|(opens, _)| **opens);
        let openings: Vec<_> = openings
            .map(|(_, number)| Seen { opens: true, ..call(session(number), A, Grade::Good) })
            .collect();
        // So many places that some strata find none, and so many samples that there are limits.
        let new = || {
            let mut evidence = Evidence::new(SETTINGS, B, 0.01, 2);
            for number in 0..3 {
                let slow = Seen { tool: tool(number), ..timed(A, 20) };
                evidence.see(&vec![slow; 60]);
            }
            evidence.close_bucket();
            evidence.next_step(B, 0.01, 2);
            evidence
        };
        let (mut one, mut other) = (new(), new());
        for (number, bucket) in buckets.iter().enumerate() {
            let openings = if number == 0 { &openings[..] } else { &[] };
            one.see(&[openings, bucket].concat());
            one.close_bucket();
            let (first, second) = bucket.split_at(cut.min(bucket.len()));
            other.see(&second.iter().chain(openings).rev().copied().collect::<Vec<_>>());
            other.see(&first.iter().rev().copied().collect::<Vec<_>>());
            other.close_bucket();
        }
        let (one, other) = (one.told(), other.told());
        // Sums of logarithms come in another order.
        let near = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => (one / other - 1.0).abs() < 1e-9,
            (one, other) => one == other,
        };
        prop_assert!(near(one.performance, other.performance));
        prop_assert_eq!(Told { performance: None, ..one }, Told { performance: None, ..other });
    }
}

#[test]
fn a_mix_of_tools_is_never_compared() {
    // Without labels nobody knows that one arm was asked for slower work.
    for (tool, compares) in [(tool(0), true), (ToolLabel::OTHER, false)] {
        let calls = [(A, 10), (B, 1000)].map(|(arm, millis)| Seen { tool, ..timed(arm, millis) });
        let told = after(60, |_| calls.repeat(5));
        assert_eq!((told.revert, told.performance.is_some()), (compares, compares));
        assert!(told.calls.secondary > 0);
    }
}
