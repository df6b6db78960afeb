//! Comparisons of work that is made up.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn kind(tool: &str) -> Kind {
    let method = if tool.contains('/') { tool } else { "tools/call" };
    let tool = if tool.contains('/') { "" } else { tool };
    Kind { method: method.to_owned(), tool: tool.to_owned() }
}

/// Good calls of these milliseconds in turn, and so many that failed.
fn done(tool: &str, calls: u64, millis: &[f64], failed: u64) -> Measured {
    let mut figures = Figures::default();
    for call in 0..calls {
        let one = millis[call as usize % millis.len()];
        figures.latency.add(Duration::from_secs_f64(one / 1e3));
    }
    for (outcome, count) in [(Outcome::Ok, calls), (Outcome::ToolError, failed)] {
        if count > 0 {
            figures.outcomes.insert(outcome.as_str().to_owned(), count);
        }
    }
    Measured { kind: kind(tool), figures }
}

fn of(kinds: Vec<Measured>) -> Baseline {
    let name = "b".parse().unwrap();
    Baseline::new(name, "2026".to_owned(), Arm::Primary, None, 3600, kinds)
}

fn compared(before: Vec<Measured>, now: &[Measured]) -> Comparison {
    compare(&of(before), Arm::Secondary, now, 0.95)
}

#[test]
fn one_tool() {
    use Verdict::{Fail, Inconclusive, Pass};
    let steady: &[f64] = &[20.0, 21.0, 22.0];
    let wild: &[f64] = &[5.0, 20.0, 80.0, 320.0];
    let times = |by: f64, of: &[f64]| of.iter().map(|it| it * by).collect::<Vec<_>>();
    // Calls, how much slower, which times, errors of before and now: what is said of time and errors.
    for (calls, slower, of, failed, wanted) in [
        (100, 1.0, steady, [0, 0], (Pass, Pass)),
        (100, 1.04, steady, [0, 0], (Pass, Pass)),
        (100, 0.5, steady, [0, 0], (Pass, Pass)),
        (100, 1.1, steady, [0, 0], (Fail, Pass)),
        (100, 2.0, steady, [0, 0], (Fail, Pass)),
        (49, 2.0, steady, [0, 0], (Inconclusive, Inconclusive)),
        (49, 1.0, steady, [9, 9], (Inconclusive, Pass)),
        (100, 1.1, wild, [0, 0], (Inconclusive, Pass)),
        (100, 2.0, wild, [0, 0], (Fail, Pass)),
        (20_000, 1.1, wild, [0, 0], (Fail, Pass)),
        (100, 1.0, wild, [0, 0], (Pass, Pass)),
        (100, 1.0, steady, [0, 2], (Pass, Pass)),
        (100, 1.0, steady, [5, 5], (Pass, Pass)),
        (100, 1.0, steady, [0, 20], (Pass, Fail)),
        (100, 1.0, steady, [20, 0], (Pass, Pass)),
        (10_000, 1.0, steady, [100, 200], (Pass, Fail)),
    ] {
        let before = done("echo", calls, of, failed[0]);
        let now = done("echo", calls, &times(slower, of), failed[1]);
        let told = compared(vec![before], &[now]);
        let (row, all) = (&told.rows[0].compared, &told.all);
        let found = (row.performance.verdict, row.errors.verdict);
        assert_eq!(found, wanted, "{calls} calls, {slower} slower, {failed:?}: {row:?}");
        assert_eq!(row, all, "of one it is all");
        assert_eq!(row.verdict, both(found.0, found.1));
        let speed = row.speed.unwrap();
        assert!((speed.ratio * slower - 1.0).abs() < 0.01, "{speed:?}");
        assert!(speed.interval_95.0 <= speed.ratio && speed.ratio <= speed.interval_95.1);
    }
}

#[test]
fn another_mix_makes_nobody_slow() {
    let before = vec![done("quick", 900, &[10.0], 0), done("slow", 100, &[1000.0], 5)];
    let now = [done("quick", 100, &[10.0], 0), done("slow", 900, &[1000.0], 45)];
    let told = compared(before, &now);
    assert!((told.all.speed.unwrap().ratio - 1.0).abs() < 1e-9);
    assert_eq!(told.all.verdict, Verdict::Pass, "{:?}", told.all);
    assert_eq!(told.rows[0].kind.name(), "quick", "the most used comes first");
    assert_eq!(told.all.now.calls, 1045);
}

#[test]
fn what_one_side_has_not_is_shown_and_not_compared() {
    let both = done("echo", 100, &[20.0], 0);
    let told =
        compared(vec![both.clone(), done("gone", 40, &[1.0], 0)], std::slice::from_ref(&both));
    assert_eq!(told.rows.len(), 2);
    assert_eq!(told.rows[1].compared.verdict, Verdict::Inconclusive);
    assert_eq!(told.rows[1].compared.speed, None);
    assert_eq!(told.all.verdict, Verdict::Pass);
    let told =
        compared(vec![both.clone(), done("gone", 400, &[1.0], 0)], std::slice::from_ref(&both));
    assert!(told.all.performance.why.contains("only 100 of the baseline's 500"), "{:?}", told.all);
    assert_eq!(told.all.verdict, Verdict::Inconclusive);
    let told = compared(Vec::new(), &[both]);
    assert_eq!((told.rows.len(), told.all.verdict), (1, Verdict::Inconclusive));
    let told = compared(Vec::new(), &[]);
    assert_eq!((told.rows.len(), told.all.verdict), (0, Verdict::Inconclusive));
}

#[test]
fn what_says_nothing_is_left_out() {
    let mut now = done("echo", 100, &[20.0], 0);
    for outcome in [Outcome::Cancelled, Outcome::Rejected, Outcome::Skew, Outcome::Race] {
        now.figures.outcomes.insert(outcome.as_str().to_owned(), 50);
    }
    let notice = done("notifications/initialized", 100, &[1.0], 0);
    let mix = [done("_other", 100, &[20.0], 0), done("_other", 100, &[90.0], 30)];
    let before = vec![done("echo", 100, &[20.0], 0), notice.clone(), mix[0].clone()];
    let told = compared(before, &[now, notice, mix[1].clone()]);
    assert_eq!(told.rows.len(), 2);
    let named = |name: &str| &told.rows.iter().find(|it| it.kind.name() == name).unwrap().compared;
    assert_eq!((named("echo").now.calls, named("echo").now.errors), (100, 0));
    assert_eq!((named("_other").speed, named("_other").verdict), (None, Verdict::Fail));
}

proptest! {
    #[test]
    fn numbers_are_numbers(
        sides in prop::collection::vec((0..200_u64, 0.1..1e5_f64, 0..50_u64, 0..200_u64, 0.1..1e5_f64, 0..50_u64), 0..5)
    ) {
        let tool = |at: usize| format!("tool-{at}");
        let before = sides.iter().enumerate().map(|(at, it)| done(&tool(at), it.0, &[it.1], it.2));
        let now = sides.iter().enumerate().map(|(at, it)| done(&tool(at), it.3, &[it.4], it.5));
        let told = compared(before.collect(), &now.collect::<Vec<_>>());
        for one in told.rows.iter().map(|it| &it.compared).chain([&told.all]) {
            if let Some(Speed { ratio, interval_95: (low, high) }) = one.speed {
                prop_assert!(low <= ratio && ratio <= high && high.is_finite(), "{:?}", one);
            }
        }
        let text = serde_json::to_string(&told).unwrap();
        let back: Comparison = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.rows.len(), told.rows.len());
    }
}
