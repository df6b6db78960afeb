//! Whole rollouts, by what they have to come to.

use std::cell::Cell;

use super::*;
use crate::config::{ErrorRate, Gate, Performance, RolloutConfig, Sequential, Step};

fn setting(per_minute: f64) -> Setting {
    Setting {
        load: Load {
            per_minute,
            error_rate: 0.01,
            calls_per_session: 20.0,
            gap: 30.0,
            clustered: false,
        },
        guards: Guards {
            health_failures: true,
            error_rate: Some(ErrorRate { above: 0.05, minutes: 2, min_requests: 20 }),
            performance: Some(Performance { below: 0.8, noise_guard: true }),
            security_alert: true,
            sequential: Some(Sequential { alpha: 0.01, cap: 1 }),
        },
        plan: Plan::from_config(&RolloutConfig::default()),
    }
}

fn ends(setting: &Setting, change: Change, seed: u64) -> Course {
    rollout(setting, change, seed, || true).unwrap()
}

#[test]
fn a_good_version_is_promoted_when_the_time_of_the_plan_is_over() {
    let course = ends(&setting(600.0), Change::NONE, 1);
    assert_eq!((course.end, course.guard), (RolloutState::Promoted, None));
    assert_eq!(course.lasted, Duration::from_secs(40 * 60));
    // Steps of 10, 50 and 100 %, with sessions that stay for ten minutes.
    assert!((8_000..20_000).contains(&course.calls), "{}", course.calls);
    assert_eq!(ends(&setting(600.0), Change::NONE, 1), course, "the same seed, the same rollout");
}

#[test]
fn a_bad_one_is_reverted() {
    for (change, within, guards) in [
        (Change { failing: 1.0, ..Change::NONE }, 120, [Guard::Sequential, Guard::ErrorRate]),
        (Change { slower: 4.0, ..Change::NONE }, 600, [Guard::Sequential, Guard::Performance]),
    ] {
        let course = ends(&setting(600.0), change, 1);
        assert_eq!(course.end, RolloutState::Reverted, "{change:?}");
        assert!(course.lasted <= Duration::from_secs(within), "{course:?}");
        assert!(guards.contains(&course.guard.unwrap()), "{course:?}");
    }
}

#[test]
fn without_evidence_it_ends_when_the_plan_says() {
    let mut thin = setting(0.5);
    let minute = Duration::from_secs(60);
    thin.plan.steps = vec![Step { weight: 100, hold: 10 * minute }];
    thin.plan.max_hold = 30 * minute;
    let course = ends(&thin, Change::NONE, 1);
    assert_eq!(
        (course.end, course.lasted, course.guard),
        (RolloutState::Aborted, 40 * minute, None)
    );
    thin.plan.gate = Gate::Time;
    let course = ends(&thin, Change::NONE, 1);
    assert_eq!((course.end, course.lasted), (RolloutState::Promoted, 10 * minute));
}

#[test]
fn it_stops_when_told() {
    let left = Cell::new(100);
    let goes_on = || left.replace(left.get() - 1) > 0;
    assert_eq!(rollout(&setting(60.0), Change::NONE, 1, goes_on), None);
    let time = crowd::Time { to_begin: || false, to_go_on: || true };
    assert!(crowd::rollouts(&setting(60.0), Change::NONE, 1, 10, &time, || ()).is_empty());
}

#[test]
fn many_are_the_same_on_any_number_of_threads() {
    let setting = setting(60.0);
    let change = Change { failing: 1.0, ..Change::NONE };
    let time = crowd::Time { to_begin: || true, to_go_on: || true };
    let mut done = 0;
    let mut told = crowd::rollouts(&setting, change, 1, 8, &time, || done += 1);
    let mut again = crowd::rollouts(&setting, change, 1, 8, &time, || ());
    for courses in [&mut told, &mut again] {
        courses.sort_by_key(|course| (course.lasted, course.calls));
    }
    assert_eq!((done, &told), (8, &again));
    assert!(told.windows(2).any(|two| two[0] != two[1]), "each has a seed of its own");
}
