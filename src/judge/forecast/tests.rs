//! Forecasts beside the tables that they come from.

use proptest::prelude::*;

use super::*;

const RULE: ErrorRate = ErrorRate { above: 0.05, minutes: 2, min_requests: 1 };

/// To the three digits of a table; what is 0 there is less than 1e-14.
#[track_caller]
fn same(found: f64, told: f64, what: &str) {
    let is_same = (found - told).abs() <= told * 0.0051 + 1e-14;
    assert!(is_same, "{what}: {found} where the table has {told}");
}

#[test]
fn the_table_of_false_alarms() {
    // Calls a minute, error rate; min_requests 1, 20, 50, 100; in 24 h. The table of
    // reliability.md C2, with more digits from a sum over all counts in 60 decimal places.
    let table = [
        (6.0, 0.01, [0.99, 1.18e-11, 0.0, 0.0]),
        (30.0, 0.005, [0.162, 0.116, 1.89e-9, 0.0]),
        (30.0, 0.01, [0.859, 0.80, 8.47e-8, 0.0]),
        (60.0, 0.01, [0.146, 0.146, 0.12, 0.0]),
        (60.0, 0.02, [0.998, 0.998, 0.994, 8.59e-13]),
        (150.0, 0.01, [5.06e-5; 4]),
        (150.0, 0.02, [0.173; 4]),
        (300.0, 0.02, [8.81e-4; 4]),
    ];
    for (per_minute, rate, told) in table {
        for (least, told) in [1, 20, 50, 100].into_iter().zip(told) {
            let rule = ErrorRate { min_requests: least, ..RULE };
            let found = false_alarm(per_minute, rate, &rule, DAY);
            same(found, told, &format!("{per_minute} a minute, {rate}, min_requests {least}"));
        }
    }
}

#[test]
fn minutes_in_a_row() {
    // Every minute has a call, and every call fails.
    let always = |minutes, span| false_alarm(1e4, 1.0, &ErrorRate { minutes, ..RULE }, span);
    same(always(1, 0), 0.0, "no time");
    same(always(1, 1), 1.0, "one minute");
    same(always(3, 2), 0.0, "two minutes of three");
    same(always(3, 3), 1.0, "three minutes");
    // Half of the minutes have a call: P(two in a row within four) is 1 - 8/16 by counting.
    let half = false_alarm(2_f64.ln(), 1.0, &RULE, 4);
    same(half, 0.5, "coins");
}

#[test]
fn what_is_said_of_errors() {
    let told = |per_minute, rate, min_requests| {
        error_rate(per_minute, rate, &ErrorRate { min_requests, ..RULE }).unwrap_or_default()
    };
    let table = [
        (
            30.0,
            0.01,
            1,
            "at 30 calls a minute and 1.0 % errors, this rule fires on a good version within 24 h \
             with a probability of 86 %; minutes = 4 would make that less than 1 %",
        ),
        (
            6.0,
            0.0,
            50,
            "at 6.0 calls a minute no minute has the 50 calls that min_requests asks for: the rule \
             cannot fire",
        ),
        (0.0, 0.01, 1, "at 0.0 calls a minute no minute has a call at all: the rule cannot fire"),
        (150.0, 0.01, 1, ""),
        (30.0, 0.0, 1, ""),
    ];
    for (per_minute, rate, least, sentence) in table {
        assert_eq!(told(per_minute, rate, least), sentence);
    }
    let seldom = told(40.0, 0.0, 50);
    assert!(seldom.contains("few minutes have the 50 calls"), "{seldom}");
    // One fault of twenty is not above 5 %, one of nineteen is.
    let calmer = told(20.0, 0.003, 1);
    assert!(calmer.ends_with("; min_requests = 20 would make that less than 1 %"), "{calmer}");
}

#[test]
fn what_is_said_of_time() {
    let told = |per_minute, noise_guard| {
        performance(per_minute, &Performance { below: 0.8, noise_guard }).unwrap_or_default()
    };
    assert_eq!(
        told(2.0, true),
        "the candidate gets 2.0 calls a minute, and 50 within 15 minutes are needed: the rule has \
         too little to go by"
    );
    assert_eq!(told(3.4, true), "");
    assert_eq!(told(50.0 / 15.0, true), "", "50 are enough");
    assert!(told(999.0, false).contains("without noise_guard"));
    assert_eq!(told(1000.0, false), "");
}

#[test]
fn probabilities_are_told_as_far_as_one_can_rely_on_them() {
    for (share, words) in [
        (0.0099, "less than 1 %"),
        (0.01, "1 %"),
        (0.5, "50 %"),
        (0.99, "99 %"),
        (0.9901, "more than 99 %"),
    ] {
        assert_eq!(chance(share), words);
    }
}

proptest! {
    #[test]
    fn probabilities_are_probabilities(
        per_minute in prop_oneof![0.0..1.0f64, 0.0..3000.0f64, Just(1e6), Just(-1.0), Just(f64::NAN)],
        rate in prop_oneof![0.0..1.0f64, Just(0.0), Just(1.0)],
        least in 0..2000u64,
        minutes in 1..=15usize,
        above in 1..=99u8,
    ) {
        let above = f64::from(above) / 100.0;
        let rule = ErrorRate { above, minutes, min_requests: least };
        let fires = false_alarm(per_minute, rate, &rule, 100);
        prop_assert!((-1e-9..=1.0 + 1e-9).contains(&fires), "{fires}");
        let worse = false_alarm(per_minute, 1.0, &rule, 100);
        prop_assert!(worse >= fires - 1e-9, "{worse} {fires}");
    }
}
