//! Windows over time that is made up.

use super::*;
use crate::mcp::Era;
use crate::observe::tally::{Count, Labels};

fn tally(arm: Arm, outcome: Outcome, exchanges: u64, millis: u64) -> Tally {
    let labels = Labels {
        arm: Some(arm),
        endpoint: None,
        era: Era::Legacy,
        method: Method::named(b"tools/call"),
        tool: ToolLabel::OTHER,
        outcome,
        blame: if outcome == Outcome::Ok { Blame::Nobody } else { Blame::Arm },
        status: 2,
    };
    let mut latency = Sketch::default();
    (0..exchanges).for_each(|_| latency.add(Duration::from_millis(millis)));
    let mut tally = Tally::default();
    tally.exchanges.insert(labels, Count { exchanges, bytes: 0, latency });
    tally
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_minute_is_the_last_twelve_slots() {
    let start = Instant::now();
    let mut window = Window::new(start);
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        window.add(now, &tally(Arm::Primary, Outcome::Ok, 1, 10));
        let of_minute = window.last(now, MINUTE).of(Arm::Primary, |_| true).exchanges();
        // The running slot is not over, so up to one slot of the minute is missing.
        assert!((second + 1).min(56) <= of_minute && of_minute <= 60, "{second}: {of_minute}");
    }
    let now = start + Duration::from_secs(600);
    assert!(window.last(now, MINUTE * 15).of(Arm::Primary, |_| true).exchanges() >= 500);
    assert_eq!(window.last(now + MINUTE * 3, MINUTE).cells.len(), 0);
}

#[test]
fn arms_and_outcomes_are_apart() {
    let start = Instant::now();
    let mut window = Window::new(start);
    window.add(start, &tally(Arm::Primary, Outcome::Ok, 98, 20));
    window.add(start, &tally(Arm::Primary, Outcome::RpcError, 2, 20));
    window.add(start, &tally(Arm::Secondary, Outcome::Timeout, 3, 500));
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
fn the_past_is_forgotten_after_fifteen_minutes() {
    let start = Instant::now();
    let mut window = Window::new(start);
    for minute in 0..100 {
        window.add(start + MINUTE * minute, &tally(Arm::Primary, Outcome::Ok, 1, 10));
    }
    assert!(window.fine.slots.len() <= FINE.1);
    assert_eq!(window.coarse.slots.len(), COARSE.1);
}
