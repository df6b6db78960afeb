//! That nothing grows by chance alone: every expectation by enumeration, every value beside that of
//! another implementation.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::*;
use crate::judge::Stratum;
use crate::judge::bucket::Count;
use crate::mcp::Method;
use crate::names::PerArm;
use crate::route::tools::Tools;

fn pair(stable: (u64, u64), candidate: (u64, u64)) -> Pair {
    let count = |(calls, events)| Count { calls, events };
    Pair { stable: count(stable), candidate: count(candidate) }
}

/// Strata in their order.
fn strata(count: usize) -> Vec<Stratum> {
    let names: Vec<_> = (0..count).map(|number| format!("tool{number:03}")).collect();
    let tools = Tools::default().with(&PerArm { primary: Some(names.clone()), secondary: None });
    let stratum = |name: &String| Stratum { method: Method::CALL, tool: tools.label(name) };
    names.iter().map(stratum).collect()
}

/// A bucket of some strata and nothing else.
fn bucket(strata: Vec<(Stratum, Counts)>) -> Bucket {
    let mut bucket = Bucket { strata, ..Bucket::default() };
    for (_, counts) in &bucket.strata {
        bucket.pooled.add(counts);
    }
    bucket.proof = bucket.pooled.of(Kind::Fault).candidate;
    bucket
}

fn chance(all: u64, chosen: u64) -> f64 {
    (0..chosen).map(|at| (all - at) as f64 / (at + 1) as f64).product()
}

#[test]
fn relative_is_a_supermartingale() {
    let sides = (0..=9_u64).flat_map(|stable| (0..=9_u64).map(move |own| (stable, own)));
    for (stable, candidate) in sides {
        for events in 0..=stable + candidate {
            let mut expected = [0.0; RATIOS.len()];
            for own in events.saturating_sub(stable)..=events.min(candidate) {
                // Hypergeometric: any of the calls might have been the events.
                let likely = chance(candidate, own) * chance(stable, events - own)
                    / chance(stable + candidate, events);
                let pair = pair((stable, events - own), (candidate, own));
                let logs = relative(&pair).unwrap_or_default();
                for (expected, log) in expected.iter_mut().zip(logs) {
                    *expected += likely * log.exp();
                }
            }
            for (ratio, expected) in RATIOS.iter().zip(expected) {
                assert!(
                    expected <= 1.0 + 1e-9,
                    "{stable} {candidate} {events} {ratio}: {expected}"
                );
            }
        }
    }
}

#[test]
fn absolute_is_a_supermartingale_at_the_allowed_rate_and_below() {
    for (rate, calls) in [0.05, 0.01].into_iter().flat_map(|rate| (1..40).map(move |it| (rate, it)))
    {
        let mut expected = [0.0; RATES.len()];
        for faults in 0..=calls {
            let likely = chance(calls, faults)
                * f64::powi(rate, faults as i32)
                * f64::powi(1.0 - rate, (calls - faults) as i32);
            for (expected, log) in expected.iter_mut().zip(absolute(RATES, calls, faults)) {
                *expected += likely * log.exp();
            }
        }
        for expected in expected {
            assert!(expected <= 1.0 + 1e-9, "{calls} at {rate}: {expected}");
        }
    }
}

#[test]
fn all_together_are_e_processes_while_strata_come_and_go() {
    // Each line a bucket: strata of one call of the stable arm and one of the candidate.
    let strata = strata(3);
    let script: [&[usize]; 5] = [&[0], &[0, 1], &[], &[2], &[1, 2]];
    for places in [1, 2, 7] {
        let calls: u32 = script.iter().map(|bucket| bucket.len() as u32 * 2).sum();
        let mut expected = vec![[0.0; 4]; script.len()];
        for outcome in 0..1_u32 << calls {
            let faults = outcome.count_ones().cast_signed();
            let likely = 0.05_f64.powi(faults) * 0.95_f64.powi(calls.cast_signed() - faults);
            let mut outcomes = (0..calls).map(|at| u64::from(outcome >> at & 1));
            let mut processes = Processes::new(places);
            for (present, expected) in script.iter().zip(&mut expected) {
                let counts = |index| {
                    if !present.contains(&index) {
                        return (strata[index], Counts::default());
                    }
                    let mut next = || outcomes.next().unwrap();
                    let pair = pair((1, next()), (1, next()));
                    (strata[index], Counts([pair; Kind::COUNT]))
                };
                processes.update(&bucket((0..3).map(counts).collect()));
                let [relative, absolute, latency] = processes.tests();
                let values = [relative, absolute, latency, processes.stable_fails()];
                for (expected, value) in expected.iter_mut().zip(values) {
                    *expected += likely * value;
                }
            }
        }
        for expected in expected.into_iter().flatten() {
            assert!((0.0..=1.0).contains(&expected), "{places} places: {expected}");
        }
    }
}

#[test]
fn a_process_without_data_is_worth_at_most_one() {
    let mut processes = Processes::new(3);
    for _ in 0..200_000 {
        processes.update(&Bucket::default());
    }
    assert!((0.9..1.0).contains(&processes.started), "{}", processes.started);
    assert!(processes.tests().iter().all(|it| (it - processes.started).abs() < 1e-9));
}

#[test]
fn numbers_stay_finite_for_days() {
    let one = strata(1)[0];
    let bad = bucket(vec![(one, Counts([pair((50_000, 0), (50_000, 50_000)); Kind::COUNT]))]);
    let good = bucket(vec![(one, Counts([pair((50_000, 50_000), (50_000, 0)); Kind::COUNT]))]);
    let mut processes = Processes::new(1);
    for day in 0..4 {
        for _ in 0..17_280 {
            processes.update(if day % 2 == 0 { &bad } else { &good });
        }
        let promotion = processes.proof().told();
        let values = processes.tests();
        for value in values.into_iter().chain([processes.denied(), promotion.e]) {
            assert!(value.is_finite() && value >= 0.0, "day {day}: {value}");
        }
        // A day of the opposite is forgotten within a bucket: a new process begins in each.
        assert_eq!(values[0] > 1e9, day % 2 == 0, "day {day}: {values:?}");
    }
}

#[test]
fn who_finds_no_place_is_in_the_pooled_ones() {
    let strata = strata(3);
    let failing = Counts([pair((10, 0), (10, 10)); Kind::COUNT]);
    let silent = Counts::default();
    let mut processes = Processes::new(2);
    processes.update(&bucket(vec![(strata[2], failing), (strata[1], silent), (strata[0], silent)]));
    // Two come at once and one can stay: the one that is first by its name.
    processes.update(&bucket(vec![
        (strata[2], silent),
        (strata[1], failing),
        (strata[0], failing),
    ]));
    let placed: Vec<_> = processes.strata().map(|(index, _)| index).collect();
    assert_eq!(placed, [0, 2]);
}

#[test]
fn agrees_with_another_implementation() {
    let mut rng = SmallRng::seed_from_u64(4);
    for (places, strata_count) in [(3, 2), (2, 3), (9, 4)] {
        let strata = strata(strata_count);
        let (mut ours, mut given) = (Vec::new(), Vec::new());
        let mut processes = Processes::new(places);
        for number in 0..40 {
            let mut count = |most: u64| {
                let calls = rng.random_range(0..=most);
                let events = (0..calls).filter(|_| rng.random_bool(0.15)).count() as u64;
                (calls, events)
            };
            let mut counts = |index: &usize| {
                let counts: [Pair; Kind::COUNT] = std::array::from_fn(|_| {
                    // A stratum appears after some buckets.
                    let most = if number > index * 7 { 12 } else { 0 };
                    pair(count(most), count(most / 2))
                });
                (strata[*index], Counts(counts))
            };
            let bucket = bucket((0..strata_count).map(|index| counts(&index)).collect());
            processes.update(&bucket);
            let [relative, absolute, latency] = processes.tests();
            let (denied, promotion) = (processes.denied(), processes.proof().told().e);
            let stable = processes.stable_fails();
            ours.push([relative, absolute, latency, stable, denied, promotion]);
            given.push(as_json(&bucket));
        }
        let theirs = golden(&json!({ "places": places, "buckets": given }));
        for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            for (our, their) in ours.iter().zip(theirs) {
                let near = (our / their - 1.0).abs() < 1e-9;
                assert!(near, "{places} places, bucket {number}: {ours:?}, {theirs:?}");
            }
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

fn as_json(bucket: &Bucket) -> Value {
    let counts = |counts: &Counts| -> Value {
        let pair = |pair: &Pair| {
            let Pair { stable, candidate } = pair;
            json!([stable.calls, stable.events, candidate.calls, candidate.events])
        };
        counts.0.iter().map(pair).collect()
    };
    let strata: Vec<_> = bucket.strata.iter().map(|(_, it)| counts(it)).collect();
    let proof = [bucket.proof.calls, bucket.proof.events];
    json!({ "pooled": counts(&bucket.pooled), "strata": strata, "proof": proof })
}

/// What the other implementation makes of it.
fn golden(given: &Value) -> Vec<Vec<f64>> {
    let mut python = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/evidence.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python 3 is needed for the golden values");
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
