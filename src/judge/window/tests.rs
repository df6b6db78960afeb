//! Windows over time that is made up.

use super::super::Stratum;
use super::super::fixture::{tally, timed};
use super::*;

const OTHERS: Stratum = Stratum { method: Method::CALL, tool: ToolLabel::OTHER };

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_minute_is_the_last_twelve_slots() {
    let start = Instant::now();
    let mut window = Window::new(start);
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        window.add(now, &tally(Arm::Primary, OTHERS, Outcome::Ok, 1));
        let of_minute = window.last(now, MINUTE).of(Arm::Primary, |_| true).exchanges();
        // The running slot is not over, so up to one slot of the minute is missing.
        assert!((second + 1).min(56) <= of_minute && of_minute <= 60, "{second}: {of_minute}");
    }
    let now = start + Duration::from_secs(600);
    assert!(window.last(now, MINUTE * 2).of(Arm::Primary, |_| true).exchanges() >= 110);
    assert_eq!(window.last(now + MINUTE * 3, MINUTE).cells.len(), 0);
}

#[test]
fn arms_and_outcomes_are_apart() {
    let start = Instant::now();
    let mut window = Window::new(start);
    window.add(start, &timed(Arm::Primary, OTHERS, [0.02; 98]));
    window.add(start, &tally(Arm::Primary, OTHERS, Outcome::RpcError, 2));
    window.add(start, &tally(Arm::Secondary, OTHERS, Outcome::Timeout, 3));
    let counts = window.last(start, MINUTE);
    let primary = counts.of(Arm::Primary, |_| true);
    assert_eq!((primary.exchanges(), primary.blame(Blame::Arm)), (100, 2));
    assert_eq!(primary.outcome(Outcome::RpcError), 2);
    let secondary = counts.of(Arm::Secondary, |work| work.tool == ToolLabel::OTHER);
    assert_eq!(secondary.outcome(Outcome::Timeout), 3);
    assert_eq!(counts.of(Arm::Secondary, |work| work.tool == ToolLabel::NONE), Cell::default());
    let median = primary.latency.quantile(0.5).unwrap().as_secs_f64();
    assert!((0.0195..0.0205).contains(&median), "{median}");
}

#[test]
fn the_past_is_forgotten_after_two_minutes() {
    let start = Instant::now();
    let mut window = Window::new(start);
    for slot in 0..100 {
        for _ in 0..2 {
            window.add(start + SLOT * slot, &tally(Arm::Primary, OTHERS, Outcome::Ok, 1));
        }
    }
    assert_eq!(window.slots.len(), SLOTS);
}

#[test]
fn an_hour_in_slots_of_five_minutes_and_one_arm_forgotten() {
    let start = Instant::now();
    let mut window = Window::of(start, MINUTE * 5, 12);
    for minute in 0..180 {
        let now = start + MINUTE * minute;
        window.add(now, &tally(Arm::Primary, OTHERS, Outcome::Ok, 1));
        window.add(now, &tally(Arm::Secondary, OTHERS, Outcome::Ok, 2));
    }
    let now = start + MINUTE * 179;
    let calls = |window: &Window, arm| window.last(now, MINUTE * 60).of(arm, |_| true).exchanges();
    assert_eq!((calls(&window, Arm::Primary), calls(&window, Arm::Secondary)), (60, 120));
    window.forget(Arm::Secondary);
    assert_eq!((calls(&window, Arm::Primary), calls(&window, Arm::Secondary)), (60, 0));
}

#[test]
fn attempts_and_sessions_add_up() {
    let start = Instant::now();
    let mut window = Window::new(start);
    let mut tally = Tally::default();
    tally.failed_attempt(Arm::Primary, "unreachable");
    tally.failed_attempt(Arm::Primary, "lost");
    tally.failed_attempt(Arm::Secondary, "lost");
    tally.sessions.secondary = 3;
    // Twice in one slot, and in two slots.
    for slot in [0, 0, 1] {
        window.add(start + SLOT * slot, &tally);
    }
    let counts = window.last(start + SLOT, MINUTE);
    assert_eq!(counts.failed_attempts, PerArm { primary: 6, secondary: 3 });
    assert_eq!(counts.sessions, PerArm { primary: 0, secondary: 9 });
}

#[test]
fn a_span_is_covered_as_far_as_there_was_time() {
    let start = Instant::now();
    let window = Window::new(start);
    for (passed, covered) in [(0, 0), (30, 30), (60, 60), (90, 60)] {
        let now = start + Duration::from_secs(passed);
        assert_eq!(window.covered(now, MINUTE), Duration::from_secs(covered));
    }
}
