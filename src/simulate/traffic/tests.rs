//! That the clients are those that were asked for.

use super::*;

const LOAD: Load = Load {
    per_minute: 600.0,
    error_rate: 0.02,
    calls_per_session: 20.0,
    gap: 30.0,
    clustered: false,
};

/// All calls of some hours, an hour in each tally.
fn hours(load: &Load, weight: u8, change: Change, hours: u64) -> Vec<Tally> {
    let mut traffic = Traffic::new(load, 7);
    // By then the sessions of before are gone.
    traffic.pass(Duration::from_secs(3600), weight, change);
    (0..hours)
        .map(|_| {
            let mut sum = Tally::default();
            for _ in 0..720 {
                let tally = traffic.pass(Duration::from_secs(5), weight, change);
                sum.seen.extend(tally.seen);
                sum.draws.merge(&tally.draws);
            }
            sum
        })
        .collect()
}

#[track_caller]
fn near(what: &str, told: f64, expected: f64, tolerance: f64) {
    assert!((told / expected - 1.0).abs() < tolerance, "{what}: {told}, not {expected}");
}

#[test]
fn as_much_comes_as_was_asked_for() {
    for (calls_per_session, gap, clustered) in
        [(20.0, 30.0, false), (20.0, 3.0, true), (1.0, 30.0, false), (100.0, 10.0, false)]
    {
        let load = Load { calls_per_session, gap, clustered, ..LOAD };
        // Four standard deviations of the calls of an hour.
        let rough = 6.0 / (36_000.0 / calls_per_session).sqrt();
        // It begins as it goes on.
        let first = Traffic::new(&load, 7).pass(Duration::from_secs(3600), 0, Change::NONE);
        near("calls", first.seen.len() as f64, 36_000.0, rough);
        let all = hours(&load, 25, Change::NONE, 4);
        let seen: Vec<_> = all.iter().flat_map(|tally| &tally.seen).collect();
        let calls = seen.len() as f64;
        near("calls", calls, 4.0 * 36_000.0, rough);
        let opened = seen.iter().filter(|it| it.opens).count() as f64;
        near("calls of a session", calls / opened, calls_per_session, rough);
        let failed = seen.iter().filter(|it| it.grade == Grade::Fault).count() as f64;
        near("errors", failed / calls, 0.02, if clustered { 0.4 } else { 0.1 });
        let own = seen.iter().filter(|it| it.arm == CANDIDATE).count() as f64;
        near("the candidate's share", own / calls, 0.25, rough);
        let drawn = all[0].draws;
        near("draws", drawn.secondary as f64, drawn.expected, 2.0 * rough);
    }
}

#[test]
fn errors_cluster_where_they_are_to() {
    let load = Load { error_rate: 0.021, clustered: true, ..LOAD };
    let mut traffic = Traffic::new(&load, 7);
    let sessions: Vec<f64> = (0..200_000).map(|_| traffic.fails()).collect();
    let bad = sessions.iter().filter(|share| **share > 0.5).count() as f64;
    // reliability.md C4: 3 % of the sessions fail 60 % of their calls, the others 0.3 %.
    near("bad sessions", bad / 200_000.0, 0.03, 0.05);
    near("the others' errors", sessions.iter().copied().fold(1.0, f64::min), 0.003, 1e-9);
    near("the mean", sessions.iter().sum::<f64>() / 200_000.0, 0.021, 0.05);
    for error_rate in [0.0, 0.59, 0.6, 0.61, 1.0] {
        let mut traffic = Traffic::new(&Load { error_rate, ..load }, 7);
        let mean = (0..20_000).map(|_| traffic.fails()).sum::<f64>() / 20_000.0;
        assert!((mean - error_rate).abs() < 0.01, "{error_rate}: {mean}");
    }
}

#[test]
fn a_change_is_the_candidates_alone() {
    let change = Change { failing: 0.5, slower: 4.0 };
    let all = hours(&LOAD, 50, change, 2);
    let of = |arm: Arm| -> Vec<&Seen> {
        all.iter().flat_map(|tally| &tally.seen).filter(|seen| seen.arm == arm).collect()
    };
    for (arm, fails, slower) in [(CANDIDATE.other(), 0.02, 1.0), (CANDIDATE, 0.51, 4.0)] {
        let seen = of(arm);
        let failed = seen.iter().filter(|it| it.grade == Grade::Fault).count() as f64;
        near("errors", failed / seen.len() as f64, fails, 0.06);
        let tool = |at: usize| {
            Tools::default()
                .with(&PerArm {
                    primary: Some(TOOLS.map(|(name, ..)| name.to_owned()).to_vec()),
                    secondary: None,
                })
                .label(TOOLS[at].0)
        };
        for (at, (name, share, median)) in TOOLS.into_iter().enumerate() {
            let calls: Vec<_> = seen.iter().filter(|it| it.tool == tool(at)).collect();
            near(name, calls.len() as f64 / seen.len() as f64, share * 0.95, 0.06);
            let logs: Vec<f64> =
                calls.iter().filter_map(|it| Some(it.waited?.as_secs_f64().ln())).collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            near(name, mean.exp(), median * slower, 0.08);
            let spread = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
            near("the spread", spread / logs.len() as f64, 1.0, 0.1);
        }
    }
}

#[test]
fn sessions_stay_where_they_are() {
    let mut traffic = Traffic::new(&LOAD, 7);
    let before: std::collections::HashSet<_> = traffic.live.iter().map(|it| it.unit).collect();
    // Their mean number: all but the first of 20 calls each are 30 s from the one before.
    near("sessions", before.len() as f64, 10.0 / 20.0 * 19.0 * 30.0, 0.2);
    let tally = traffic.pass(Duration::from_secs(60), 100, Change::NONE);
    assert!(tally.draws.all > 10 && tally.draws.secondary == tally.draws.all);
    for seen in &tally.seen {
        let was_there = before.contains(&seen.unit);
        assert_eq!(seen.arm, if was_there { CANDIDATE.other() } else { CANDIDATE });
        assert!(!seen.opens || !was_there);
    }
}
