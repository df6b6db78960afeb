//! The rules at their exact boundaries, in minutes that are made up.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::fixture::{calls_of, method, tally, timed};
use super::*;
use crate::names::Outcome;
use crate::observe::tally::Tally;

use Arm::{Primary, Secondary};
use Finding::{Cannot, CommonCause, Fires, Quiet};

const MINUTE: Duration = Duration::from_secs(60);

/// Minutes with these tallies in them, all over.
fn minutes(each: impl IntoIterator<Item = Vec<Tally>>) -> Minutes {
    let start = Instant::now();
    let mut now = start;
    let mut minutes = Minutes::new(start);
    for tallies in each {
        for tally in &tallies {
            minutes.add(now, tally);
        }
        now += MINUTE;
    }
    minutes.turn(now);
    minutes
}

/// So many faults of so many requests.
fn errors(arm: Arm, (faults, requests): (u64, u64)) -> Vec<Tally> {
    let stratum = calls_of("quick");
    vec![
        tally(arm, stratum, Outcome::Timeout, faults),
        tally(arm, stratum, Outcome::Ok, requests - faults),
    ]
}

const RULE: ErrorRate = ErrorRate { above: 0.05, minutes: 2, min_requests: 1 };

/// A rule, (faults, requests) of each minute, what the rule says.
type Row<'a> = (ErrorRate, &'a [(u64, u64)], Finding);

#[test]
fn errors_at_the_boundary() {
    let one = ErrorRate { minutes: 1, ..RULE };
    let three = ErrorRate { minutes: 3, ..RULE };
    let fifty = ErrorRate { min_requests: 50, ..RULE };
    let (even, over) = ((50, 1000), (51, 1000));
    let table: &[Row<'_>] = &[
        (RULE, &[even, even], Quiet),
        (RULE, &[over, over], Fires),
        (RULE, &[over, even], Quiet),
        (RULE, &[even, over], Quiet),
        (RULE, &[over], Cannot),
        (RULE, &[], Cannot),
        (RULE, &[over, over, even], Quiet),
        (RULE, &[even, over, over], Fires),
        // One failed call is a minute above; that is what is written.
        (RULE, &[(1, 1), (1, 19)], Fires),
        (RULE, &[(1, 1), (1, 20)], Quiet),
        (RULE, &[over, (0, 0), over], Cannot),
        (RULE, &[over, (0, 0)], Cannot),
        (RULE, &[(0, 0), (0, 0)], Cannot),
        (RULE, &[(0, 0), (0, 9)], Quiet),
        (one, &[over], Fires),
        (one, &[even], Quiet),
        (one, &[over, (0, 0)], Cannot),
        (three, &[over, over], Cannot),
        (three, &[over, over, over], Fires),
        (three, &[over, even, over], Quiet),
        (three, &[over, (0, 0), over, over], Cannot),
        (fifty, &[(49, 49), (50, 50)], Cannot),
        (fifty, &[(50, 50), (49, 49)], Cannot),
        (fifty, &[(50, 50), (50, 50)], Fires),
        (fifty, &[(2, 50), (49, 49)], Quiet),
        (ErrorRate { min_requests: 0, ..RULE }, &[(0, 0), (0, 0)], Cannot),
    ];
    for (rule, each, finding) in table {
        for candidate in Arm::ALL {
            let minutes = minutes(each.iter().map(|counts| errors(candidate, *counts)));
            let found = error_rate(rule, &minutes, candidate);
            assert_eq!(found.finding, *finding, "{each:?}: {}", found.why);
        }
    }
}

#[test]
fn no_percentage_is_rounded() {
    for percent in 1..=99 {
        let above = f64::from(percent) / 100.0;
        let faults = u64::try_from(percent).unwrap();
        for times in [1, 7, 1000, 1_000_000_007] {
            assert!(!is_above(above, 100 * times, faults * times), "{percent} %");
            assert!(is_above(above, 100 * times, faults * times + 1), "{percent} %");
        }
    }
}

#[test]
fn what_both_arms_share_is_no_reason() {
    // The stable arm in each of two minutes in which the candidate is above.
    let table = [
        ([(51, 1000), (6, 100)], CommonCause),
        ([(1, 1), (1, 1)], CommonCause),
        ([(51, 1000), (5, 100)], Fires),
        ([(5, 100), (51, 1000)], Fires),
        ([(0, 0), (0, 0)], Fires),
        ([(0, 0), (9, 9)], Fires),
    ];
    for (stable, finding) in table {
        let minutes = minutes(stable.map(|counts| {
            errors(Primary, counts).into_iter().chain(errors(Secondary, (9, 100))).collect()
        }));
        let found = error_rate(&RULE, &minutes, Secondary);
        assert_eq!(found.finding, finding, "{stable:?}: {}", found.why);
    }
}

#[test]
fn a_minute_that_began_before_arming_does_not_count() {
    let start = Instant::now();
    let mut minutes = Minutes::new(start);
    let bad = errors(Secondary, (9, 10));
    let mut fired = None;
    for second in 0..300 {
        let now = start + Duration::from_secs(second);
        if second == 30 {
            minutes.armed_at(now);
        }
        for tally in &bad {
            minutes.add(now, tally);
        }
        if minutes.turn(now) && error_rate(&RULE, &minutes, Secondary).finding == Fires {
            fired.get_or_insert(second);
        }
    }
    assert_eq!(fired, Some(180));
}

#[test]
fn errors_are_told_with_their_numbers() {
    let minutes = minutes([(6, 100), (7, 98)].map(|counts| errors(Secondary, counts)));
    let found = error_rate(&RULE, &minutes, Secondary);
    assert_eq!(
        found.why,
        "in each of the last 2 minutes more than 5.0 % of the secondary's exchanges were its own \
         faults: 6 of 100, 7 of 98"
    );
    assert_eq!(found.evidence["minutes"][1]["faults"]["secondary"], 7);
    assert_eq!(found.evidence["candidate"], "secondary");
    let none = Minutes::new(Instant::now());
    assert_eq!(
        error_rate(&RULE, &none, Secondary).why,
        "0 whole minutes of 2 that the rule looks at are over"
    );
    let few = ErrorRate { min_requests: 100, ..RULE };
    assert_eq!(
        error_rate(&few, &minutes, Secondary).why,
        "not in each of the last 2 minutes had the secondary the 100 exchanges that min_requests \
         asks for; its own faults: 6 of 100, 7 of 98"
    );
}

const NOISE: Performance = Performance { below: 0.8, noise_guard: true };
const LITERAL: Performance = Performance { below: 0.8, noise_guard: false };

/// Calls of a tool that take about so long, with little noise.
fn about(arm: Arm, stratum: Stratum, count: usize, seconds: f64) -> Tally {
    let noise = [0.9, 1.0, 1.1];
    timed(arm, stratum, (0..count).map(|at| seconds * noise[at % noise.len()]))
}

fn of(rule: &Performance, minutes: &Minutes, baseline: &Baseline) -> Found {
    performance(rule, minutes, baseline, Secondary)
}

#[test]
fn a_mix_is_never_compared() {
    let (quick, slow) = (calls_of("quick"), calls_of("slow"));
    let minutes = minutes((0..15).map(|_| {
        vec![
            about(Primary, quick, 90, 0.01),
            about(Primary, slow, 9, 10.0),
            about(Secondary, quick, 9, 0.01),
            about(Secondary, slow, 90, 10.0),
        ]
    }));
    for rule in [NOISE, LITERAL] {
        let found = of(&rule, &minutes, &Baseline::default());
        assert_eq!(found.finding, Quiet, "{}", found.why);
    }
    // Nor what has no label, because it may be one.
    let unnamed = self::minutes((0..15).map(|_| {
        let others = calls_of("made up");
        vec![about(Primary, others, 99, 0.01), about(Secondary, others, 99, 10.0)]
    }));
    let found = of(&NOISE, &unnamed, &Baseline::default());
    assert_eq!(found.finding, Cannot, "{}", found.why);
}

#[test]
fn speed_at_the_boundary() {
    // How much slower; calls of the candidate in each of so many minutes; literally, with guard.
    let table = [
        (1.3, 60, 1, Fires, Fires),
        (1.2, 60, 1, Quiet, Quiet),
        (0.5, 60, 1, Quiet, Quiet),
        (1.3, 49, 1, Fires, Cannot),
        (1.3, 50, 1, Fires, Fires),
        // The longer spans find it where a minute has too little.
        (1.3, 10, 4, Fires, Cannot),
        (1.3, 10, 5, Fires, Fires),
        (1.3, 4, 14, Fires, Cannot),
        (1.3, 4, 15, Fires, Fires),
        (1.3, 3, 15, Fires, Cannot),
        (9.0, 0, 15, Cannot, Cannot),
    ];
    for (slower, calls, count, literally, with_guard) in table {
        let quick = calls_of("quick");
        let minutes =
            minutes((0..count).map(|_| {
                vec![about(Primary, quick, 60, 1.0), about(Secondary, quick, calls, slower)]
            }));
        for (rule, finding) in [(LITERAL, literally), (NOISE, with_guard)] {
            let found = of(&rule, &minutes, &Baseline::default());
            assert_eq!(found.finding, finding, "{slower}, {calls}: {}", found.why);
        }
    }
}

#[test]
fn noise_is_no_reason() {
    let quick = calls_of("quick");
    // Half of the calls take a hundred times as long as the other half, on both arms; the
    // candidate's are a third slower.
    let wild = |arm, seconds: f64| {
        timed(arm, quick, (0..60).map(|at| if at % 2 == 0 { seconds } else { seconds * 100.0 }))
    };
    let minutes = minutes([vec![wild(Primary, 0.1), wild(Secondary, 0.135)]]);
    assert_eq!(of(&LITERAL, &minutes, &Baseline::default()).finding, Fires);
    let found = of(&NOISE, &minutes, &Baseline::default());
    assert_eq!(found.finding, Quiet, "{}", found.why);
}

#[test]
fn an_idle_stable_arm_is_remembered() {
    let (quick, slow) = (calls_of("quick"), calls_of("slow"));
    let mut baseline = Baseline::default();
    let before = minutes([vec![about(Primary, quick, 100, 1.0), about(Primary, slow, 4, 1.0)]]);
    baseline.absorb(before.whole(0).unwrap(), Primary);
    // Calls of the stable arm now, of which tool; is what is remembered used, and the finding.
    let table = [
        (quick, 0, Fires, 1),
        (quick, 4, Fires, 1),
        (quick, 5, Fires, 0),
        (slow, 4, Cannot, 0),
        (slow, 5, Fires, 0),
        (calls_of("odd"), 0, Cannot, 0),
    ];
    for (tool, calls, finding, recorded) in table {
        let minutes =
            minutes([vec![about(Primary, tool, calls, 1.0), about(Secondary, tool, 60, 1.5)]]);
        let found = of(&NOISE, &minutes, &baseline);
        assert_eq!(found.finding, finding, "{tool:?}, {calls}: {}", found.why);
        assert_eq!(found.evidence["strata_recorded"], recorded, "{tool:?}, {calls}");
        assert_eq!(found.worst, (finding == Fires).then_some(tool));
    }
}

#[test]
fn speed_is_told_with_its_numbers() {
    let minutes = minutes([vec![
        timed(Primary, calls_of("quick"), [0.1; 60]),
        timed(Secondary, calls_of("quick"), [0.1; 60]),
        timed(Primary, calls_of("slow"), [1.0; 60]),
        timed(Secondary, calls_of("slow"), [4.0; 60]),
        timed(Primary, method("tools/list"), [1.0; 60]),
        timed(Secondary, method("tools/list"), [1.1; 60]),
    ]]);
    let found = of(&NOISE, &minutes, &Baseline::default());
    assert_eq!(found.worst, Some(calls_of("slow")));
    assert_eq!(
        found.why,
        "over 1 minute and 180 calls the secondary has 0.610 of the baseline's speed, more than 99 \
         standard errors; less than 0.8 is too slow"
    );
    assert_eq!(found.evidence["worst"]["method"], "tools/call");
    assert_eq!(found.evidence["strata"], 3);
    assert_eq!(found.evidence["calls"]["secondary"], 180);
    let nothing = of(&NOISE, &Minutes::new(Instant::now()), &Baseline::default());
    assert_eq!((nothing.finding, nothing.worst), (Cannot, None));
}

#[test]
fn a_tool_weighs_by_the_calls_of_both_arms() {
    // Of harmonic weight 15 and 10; the candidate has 1/1.2 and 1/4 of the speed there.
    let minutes = minutes([vec![
        timed(Primary, calls_of("quick"), [1.0; 60]),
        timed(Secondary, calls_of("quick"), [1.2; 20]),
        timed(Primary, calls_of("slow"), [1.0; 20]),
        timed(Secondary, calls_of("slow"), [4.0; 20]),
    ]]);
    let found = of(&LITERAL, &minutes, &Baseline::default());
    assert_eq!(found.worst, Some(calls_of("slow")), "14 against 3");
    assert_eq!(
        found.why,
        "over 1 minute and 40 calls the secondary has 0.515 of the baseline's speed; less than 0.8 \
         is too slow"
    );
    assert_eq!(found.evidence["calls"], json!({ "primary": 80, "secondary": 40 }));
}

#[test]
fn arms_that_are_alike_have_no_worst_tool() {
    let quick = calls_of("quick");
    let minutes = minutes([vec![about(Primary, quick, 60, 1.0), about(Secondary, quick, 60, 1.0)]]);
    let found = of(&NOISE, &minutes, &Baseline::default());
    assert_eq!(found.worst, None);
    assert!(found.why.contains("has 1.000 of the baseline's speed; less"), "{}", found.why);
}

#[test]
fn standard_errors_are_told() {
    let quick = calls_of("quick");
    let minutes = minutes([vec![about(Primary, quick, 60, 1.0), about(Secondary, quick, 60, 1.1)]]);
    let why = of(&NOISE, &minutes, &Baseline::default()).why;
    assert!(why.contains("speed, 6.3 standard errors, of which it takes 5; less"), "{why}");
}

#[test]
fn few_calls_are_as_noisy_as_the_other_arms_and_sessions_make_them_noisier() {
    let times = |seconds: &[f64]| {
        let mut times = Moments::default();
        for it in seconds {
            times.add(Duration::from_secs_f64(*it));
        }
        times
    };
    let wild = times(&[1.0, 4.0, 1.0, 4.0, 1.0, 4.0, 1.0, 4.0, 1.0, 4.0]);
    let noise = wild.variance();
    for (count, of_candidate) in [(4, noise / 4.0), (5, 0.0)] {
        for (candidate, stable) in [(1.0, 1.0), (2.0, 3.0)] {
            let pair = Pair {
                stratum: calls_of("quick"),
                candidate: times(&vec![1.0; count]),
                stable: wild,
                is_recorded: false,
                effect: Effect { candidate, stable },
            };
            let want = of_candidate * candidate + noise / 10.0 * stable;
            assert!((pair.variance() - want).abs() < 1e-12, "{count}: {}", pair.variance());
        }
    }
}

proptest! {
    #[test]
    fn speed_does_not_depend_on_the_unit(
        primary in prop::collection::vec(0.01..10.0f64, 0..80),
        secondary in prop::collection::vec(0.01..10.0f64, 0..80),
        slow in prop::collection::vec(0.01..10.0f64, 0..80),
        scale in 0.1..100.0f64,
        is_guarded: bool,
    ) {
        let of_unit = |scale: f64| {
            let scaled = |times: &[f64]| times.iter().map(|it| it * scale).collect::<Vec<_>>();
            let minutes = minutes([vec![
                timed(Primary, calls_of("quick"), scaled(&primary)),
                timed(Secondary, calls_of("quick"), scaled(&secondary)),
                timed(Primary, calls_of("slow"), scaled(&slow)),
                timed(Secondary, calls_of("slow"), scaled(&primary)),
            ]]);
            of(&Performance { below: 0.8, noise_guard: is_guarded }, &minutes, &Baseline::default())
        };
        let (one, other) = (of_unit(1.0), of_unit(scale));
        prop_assert!(!one.why.contains("NaN") && !one.why.contains("inf"), "{}", one.why);
        let performance = |found: &Found| found.evidence["performance"].as_f64();
        match (performance(&one), performance(&other)) {
            (Some(one), Some(other)) => prop_assert!((one / other - 1.0).abs() < 1e-6),
            (one, other) => prop_assert_eq!(one, other),
        }
    }
}
