//! Reports of records and histories that are made up.

use std::time::Duration;

use serde_json::{Value, json};

use super::case::Now;
use super::period::Days;
use super::search::Search;
use super::*;
use crate::observe::latency::Sketch;
use crate::records::figures::Kind;
use crate::records::history::{ArmMinute, DAY, Line, Minute, Row, Tools};
use crate::records::journal::Record;

/// 2026-02-06 12:00:00 UTC.
const NOON: u64 = 1_770_379_200_000;
const MINUTE: u64 = 60_000;
const EVIL: &str = "<script>alert('1')</script> | **x**\n# [y](http://z) & \"q\" \u{202e}`";

/// A record so many minutes after noon.
#[allow(clippy::needless_pass_by_value, reason = "the callers make them for this")]
fn record(minute: i64, event: &str, actor: Value, detail: Value, revision: u64) -> Record {
    let at = words::stamp(NOON.saturating_add_signed(minute * 60_000));
    let state = json!({ "revision": revision });
    serde_json::from_value(json!({
        "version": 2, "seq": 1, "at": at, "event": event, "actor": actor, "detail": detail,
        "state": state, "prev": "",
    }))
    .unwrap()
}

fn peer() -> Value {
    json!({ "kind": "peer", "uid": 1000, "gid": 1000, "pid": 7 })
}

fn split(secondary: u64) -> Value {
    json!({ "primary": 100 - secondary, "secondary": secondary })
}

/// A decision of the rollout `r5`.
fn decision(minute: i64, event: &str, from: u64, to: u64, state: &str, why: &str) -> Record {
    let fired = if event == "revert" { "fired" } else { "armed" };
    let detail = json!({
        "rollout": "r5", "to": "secondary", "step": 1, "state": state, "why": why,
        "before": split(from), "after": split(to), "guard": (event == "revert").then_some("sequential"),
        "versions": { "primary": "tides 2.0.0", "secondary": "tides 2.1.0" },
        "catalogues": { "primary": "aa", "secondary": if minute > 10 { "cc" } else { "bb" } },
        "config": "c0ffee",
        "catalogue_changes": { "worst": "breaking", "left_out": 3,
            "changes": [{ "class": "breaking", "mark": "removed", "list": "tools", "name": "get", "path": "", "text": "it is gone" }] },
        "allow_breaking": true,
        "verdicts": [{ "guard": "sequential", "state": fired, "why": "e-value 900", "evidence": { "e": 900.5, "calls": { "primary": 40, "secondary": 12 } } }],
    });
    record(minute, event, json!({ "kind": "rollout" }), detail, 5)
}

/// A rollout with what happens around one; `end` follows after a quarter of an hour.
fn journal(end: &[Record]) -> Vec<Record> {
    let mut all = vec![
        record(-3000, "validation", peer(), json!({ "arm": "secondary", "passed": 1 }), 4),
        record(-60, "validation", peer(), json!({ "arm": "secondary", "passed": 17 }), 4),
        record(-60, "validation", peer(), json!({ "arm": "primary", "passed": 2 }), 4),
        record(-30, "deploy", peer(), json!({ "arm": "secondary", "version": "2.1.0" }), 4),
        record(-20, "reload", peer(), json!({ "accepted": true, "generation": 8 }), 4),
        decision(0, "rollout-start", 0, 10, "progressing", "try 2.1"),
        record(3, "reload", peer(), json!({ "accepted": false, "why": "port is no number" }), 5),
        decision(5, "step", 10, 50, "progressing", "try 2.1"),
        record(
            7,
            "alert-raise",
            peer(),
            json!({ "raised": [{ "severity": "warning", "reason": EVIL }] }),
            5,
        ),
        record(9, "clock", json!({ "kind": "rollout" }), json!({ "rollout": "r5" }), 5),
    ];
    all.extend_from_slice(end);
    all
}

fn reverted() -> Vec<Record> {
    let after = record(20, "reload", peer(), json!({ "accepted": true, "generation": 9 }), 6);
    journal(&[decision(15, "revert", 50, 0, "reverted", "e-value 900"), after])
}

/// A minute that ends so many minutes after noon: the secondary fails each fifth exchange.
fn minute(number: u64) -> Line {
    let arm = |errors: u64, p50: f64| ArmMinute {
        weight: 50,
        effective: 50.0,
        exchanges: 60,
        errors,
        faults: errors,
        calls: 50,
        p50: Some(p50),
        p95: Some(p50 * 3.0),
        sessions: 4,
        streams: 1,
        endpoints: 2,
        up: Some(2 - u32::from(number == 8)),
        version: Some("from the history".to_owned()),
    };
    let arms = PerArm { primary: arm(0, 20.0), secondary: arm(12, 30.0) };
    let at = NOON + number * MINUTE;
    Line::Minute(Minute { at, span: MINUTE, arms, connections: 80, connections_max: 100 })
}

fn tools(number: u64, rollout: Option<&str>, revision: u64, tool: &str, calls: u64) -> Line {
    let mut latency = Sketch::default();
    (0..calls).for_each(|_| latency.add(Duration::from_millis(20)));
    let outcomes = [("ok".to_owned(), calls), ("http_error".to_owned(), 2)].into();
    let figures = Figures { outcomes, faults: 2, latency };
    let kind = Kind { method: "tools/call".to_owned(), tool: tool.to_owned() };
    let row = Row { kind, figures };
    Line::Tools(Tools {
        at: NOON + number * MINUTE,
        span: MINUTE,
        rollout: rollout.map(str::to_owned),
        step: None,
        revision,
        arms: PerArm::from_fn(|_| vec![row.clone()]),
    })
}

fn history() -> Vec<Line> {
    let mut lines: Vec<_> = (1..=15).map(minute).collect();
    lines.extend([
        tools(0, None, 4, "before", 9),
        tools(5, Some("r5"), 5, EVIL, 10),
        tools(15, Some("r5"), 5, EVIL, 20),
        tools(15, Some("r5"), 5, "quiet", 1),
        tools(30, None, 6, "after", 9),
    ]);
    lines
}

/// The report of a rollout, from records in the order in which they were written.
fn case(id: &str, records: &[Record], running: Option<&str>, lines: Vec<Line>) -> Option<Case> {
    let mut search = Search::new(id);
    for record in records.iter().rev() {
        if !search.add(record.clone()) {
            break;
        }
    }
    let now = Now { at: NOON + 60 * MINUTE, running: running.map(str::to_owned) };
    let mut filling = search.found()?.fill(now);
    let (from, to) = filling.span();
    lines.into_iter().filter(|it| it.at() > from && it.from() <= to).for_each(|it| filling.add(it));
    Some(filling.finish(0))
}

#[test]
fn a_clock_that_is_set_back_ends_nothing_early() {
    let end = decision(-30, "revert", 50, 0, "reverted", "e-value 900");
    let told = case("r5", &journal(&[end]), None, history()).unwrap();
    assert_eq!((told.ending, told.began, told.ended), (Ending::Over, NOON, NOON));
    texts(&Report::Rollout(Box::new(told)));
    let mut days = period(30);
    for record in [reverted(), vec![record(-29_000_000, "start", peer(), json!({}), 1)], reverted()]
        .concat()
        .iter()
        .rev()
    {
        assert!(days.record(record));
    }
    assert_eq!(days.finish(0).incidents.len(), 2);
}

/// All three formats, which say the same after a way over the wire.
fn texts(report: &Report) -> (String, String) {
    let wire = serde_json::to_string(report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&wire).unwrap(), *report);
    (report.markdown(), report.html())
}

#[test]
fn a_reverted_rollout_has_it_all() {
    let case = case("r5", &reverted(), None, history()).unwrap();
    assert_eq!((case.state.as_str(), case.ending), ("reverted", Ending::Over));
    assert_eq!((case.began, case.ended), (NOON, NOON + 15 * MINUTE));
    assert_eq!(
        (case.reason.as_deref(), case.why.as_deref()),
        (Some("try 2.1"), Some("e-value 900"))
    );
    assert_eq!(
        (case.guard.as_deref(), case.config.as_deref()),
        (Some("sequential"), Some("c0ffee"))
    );
    assert_eq!(case.versions.secondary.as_deref(), Some("tides 2.1.0"));
    let weights: Vec<_> = case
        .weights
        .iter()
        .map(|it| ((it.at - NOON) / MINUTE, it.split.weight(Arm::Secondary)))
        .collect();
    assert_eq!(weights, [(0, 0), (0, 10), (5, 50), (15, 0)]);
    assert_eq!((case.points.len(), case.covered), (15, 1.0));
    let point = case.points[3].arms.secondary;
    assert_eq!((point.errors, point.p50, point.rate), (Some(0.2), Some(30.0), 1.0));
    let told: Vec<_> = case.tools.iter().map(|it| it.arms.secondary.calls).collect();
    assert_eq!(told, [34, 3], "only what was counted in it");
    assert_eq!(case.tools[0].arms.primary.errors, 4);
    let events: Vec<_> = case.decisions.iter().map(|it| it.event.as_str()).collect();
    assert_eq!(events, ["rollout-start", "step", "revert"]);
    assert_eq!((case.decisions[1].why.as_ref(), case.decisions[1].step), (None, Some(2)));
    assert_eq!(case.decisions[2].verdicts[0].state, "fired");
    assert_eq!((case.validations.len(), case.deploys.len()), (1, 1), "of this arm, of a day");
    assert_eq!((case.reloads.len(), case.alerts.len()), (1, 1), "in its time");
    assert_eq!((&case.catalogue.changed, case.catalogue.allowed), (&vec![Arm::Secondary], true));
    let (markdown, html) = texts(&Report::Rollout(Box::new(case)));
    for words in [
        "Rollout r5",
        "reverted",
        "tides 2.1.0",
        "c0ffee",
        "e-value 900",
        "it is gone",
        "17",
        "2.1.0",
        "port is no number",
        "900.5",
    ] {
        assert!(
            markdown.contains(words) || markdown.contains(&words.replace('_', "\\_")),
            "{words}: {markdown}"
        );
        assert!(html.contains(words), "{words}");
    }
    assert_eq!(html.matches("<svg").count(), 4, "weights, rate, errors, times");
    assert!(html.contains("data-plot=\"weights\"") && html.contains("data-values=\"15\""));
}

#[test]
fn a_rollout_may_be_promoted_running_lost_or_unknown() {
    let promoted = journal(&[decision(15, "promoted", 50, 100, "promoted", "try 2.1")]);
    let told = case("last", &promoted, None, history()).unwrap();
    assert_eq!((told.id.as_str(), told.state.as_str(), told.why), ("r5", "promoted", None));
    let undone = [promoted.clone(), vec![decision(50, "undo", 100, 0, "undone", "slow")]].concat();
    let told = case("r5", &undone, None, history()).unwrap();
    assert_eq!((told.state.as_str(), told.ended), ("undone", NOON + 15 * MINUTE));
    assert_eq!(told.decisions.len(), 4);
    let told = case("r5", &journal(&[]), Some("r5"), history()).unwrap();
    assert_eq!((told.ending, told.ended), (Ending::Running, NOON + 60 * MINUTE));
    assert!(told.covered < 0.3, "{}", told.covered);
    let (markdown, html) = texts(&Report::Rollout(Box::new(told)));
    assert!(markdown.contains("still running") && html.contains("still running"));
    // The hold clock was the last that was heard of it.
    let told = case("r5", &journal(&[]), None, Vec::new()).unwrap();
    assert_eq!((told.ending, told.ended), (Ending::Lost, NOON + 9 * MINUTE));
    let (markdown, html) = texts(&Report::Rollout(Box::new(told)));
    assert!(markdown.contains("no end of this rollout") && html.contains("has no minute of it"));
    // Its beginning may be lost as well.
    let told = case("r5", &promoted[7..], None, history()).unwrap();
    assert_eq!((told.state.as_str(), told.began), ("promoted", NOON + 5 * MINUTE));
    texts(&Report::Rollout(Box::new(told)));
    assert!(case("r6", &promoted, None, history()).is_none());
    assert!(case("last", &[], None, history()).is_none());
}

#[test]
fn a_split_that_was_set_by_hand_and_reverted() {
    let records = [
        record(-90, "start", json!({ "kind": "start" }), json!({ "split": split(0) }), 1),
        record(
            0,
            "split",
            peer(),
            json!({ "revision": 2, "before": split(0), "after": split(30) }),
            2,
        ),
        record(4, "reload", peer(), json!({ "accepted": true }), 2),
        record(
            6,
            "revert",
            json!({ "kind": "guard", "guard": "error_rate" }),
            json!({ "before": split(30), "after": split(0), "guard": "error_rate", "why": "too many", "to": "secondary" }),
            3,
        ),
        record(
            9,
            "split",
            peer(),
            json!({ "revision": 4, "before": split(0), "after": split(5) }),
            4,
        ),
    ];
    let lines = vec![minute(3), tools(6, None, 2, "get", 8), tools(6, None, 3, "later", 8)];
    for id in ["s3", "last"] {
        let told = case(id, &records, None, lines.clone()).unwrap();
        assert_eq!((told.id.as_str(), told.state.as_str()), ("s3", "reverted"));
        assert_eq!((told.began, told.ended), (NOON, NOON + 6 * MINUTE));
        assert_eq!(
            (told.guard.as_deref(), told.why.as_deref()),
            (Some("error_rate"), Some("too many"))
        );
        assert_eq!(told.tools.len(), 1);
        assert_eq!((told.weights.len(), told.reloads.len()), (3, 1));
        assert!(told.by.starts_with("uid 1000"), "{}", told.by);
        assert_eq!(told.versions.primary.as_deref(), Some("from the history"));
        texts(&Report::Rollout(Box::new(told)));
    }
}

#[test]
fn names_of_servers_and_people_are_only_text() {
    let mut records = reverted();
    for record in &mut records {
        record.event = record.event.replace("validation", "validation ");
        if record.detail["why"].is_string() {
            record.detail["why"] = json!(EVIL);
        }
        record.detail["versions"] = json!({ "primary": EVIL, "secondary": EVIL });
        record.detail["catalogue_changes"] =
            json!({ "worst": EVIL, "changes": [{ "class": EVIL, "name": EVIL, "text": EVIL }] });
        record.detail[EVIL] = json!([EVIL, { EVIL: EVIL }]);
    }
    let told = case("r5", &records, None, history()).unwrap();
    let mut days = period(30);
    for record in records.iter().rev() {
        days.record(record);
    }
    for line in history() {
        days.add(&line);
    }
    for report in [Report::Rollout(Box::new(told)), Report::Period(Box::new(days.finish(1)))] {
        let (markdown, html) = texts(&report);
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains("'1'") && !html.contains("\"q\""));
        assert!(!markdown.contains("<script") && markdown.contains("&lt;script&gt;"), "{markdown}");
        assert!(
            !markdown.contains(") & ") && !markdown.contains("[y]") && !markdown.contains("http:")
        );
        assert!(!markdown.contains('\u{202e}') && !html.contains('\u{202e}'));
        assert!(!markdown.contains("\n# ["));
        // Each row of a table has as many cells as its head.
        for table in markdown.split("\n\n").filter(|it| it.starts_with('|')) {
            let cells = |row: &str| row.replace("\\|", "").matches('|').count();
            let head = cells(table.lines().next().unwrap());
            assert!(table.lines().all(|row| cells(row) == head), "{table}");
        }
    }
}

fn period(days: u64) -> Days {
    Days::new(Now { at: NOON + 60 * MINUTE, running: None }, days)
}

#[test]
fn a_month_has_its_health_trends_incidents_and_peaks() {
    let mut days = period(30);
    for record in reverted().iter().rev() {
        assert!(days.record(record));
    }
    // What a router without the time has written is no end; what is older is not told.
    let old = record(-60_000, "revert", peer(), json!({}), 1);
    assert!((1..1000).all(|_| days.record(&old)) && !days.record(&old), "that was before");
    for line in history() {
        days.add(&line);
    }
    let told = days.finish(2);
    assert_eq!((told.incidents.len(), told.reloads.len()), (1, 3));
    let past = &told.rollouts[0];
    assert_eq!((past.id.as_str(), past.state.as_str(), told.rollouts.len()), ("r5", "reverted", 1));
    assert_eq!((past.began, past.ended), (Some(NOON), Some(NOON + 15 * MINUTE)));
    let health = &told.health.primary;
    assert_eq!((health.known, health.up), (15 * MINUTE, 14 * MINUTE));
    let outage = Outage { began: NOON + 7 * MINUTE, ended: NOON + 8 * MINUTE, up: 1, endpoints: 2 };
    assert_eq!(health.outages, [outage]);
    let names: Vec<_> = told.trends.iter().map(|it| it.calls).collect();
    assert_eq!(names, [68, 22, 22, 6]);
    assert_eq!(told.trends[0].days[0].1.primary.calls, 34);
    let day = &told.days[0];
    assert_eq!((day.day.as_str(), day.exchanges, day.a_minute), ("2026-02-06", 1800, 120));
    assert_eq!((day.sessions, day.streams, day.connections), (8, 2, 80));
    let (markdown, html) = texts(&Report::Period(Box::new(told)));
    assert!(markdown.contains("# The last 30 days: 1 incident"), "{markdown}");
    assert!(markdown.contains("80.0 %") && markdown.contains("2 lines of the history are damaged"));
    assert_eq!(html.matches("<svg").count(), 3 + 4);
    let nothing = texts(&Report::Period(Box::new(period(1).finish(0))));
    assert!(nothing.0.contains("The last 1 day: 0 incidents") && nothing.1.contains("no minute"));
}

#[test]
fn the_longest_report_is_bounded() {
    let mut days = Days::new(Now { at: NOON + 35 * DAY, running: None }, 99);
    for number in 0..35 * 1440_u64 {
        days.add(&minute(number + 1));
        let label = number / 15 % 100;
        if number % 15 == 0 {
            days.add(&tools(number, None, 1, &format!("a_tool_with_a_name_{label}"), 3));
        }
        // Each minute something happens.
        let event = ["revert", "abort", "reload", "shut"][(number % 4) as usize];
        let detail = json!({ "why": "w".repeat(9_000), "rollout": format!("r{number}"), "state": "aborted" });
        days.record(&record(35 * 1440 - number.cast_signed(), event, peer(), detail, 1));
    }
    let report = Report::Period(Box::new(days.finish(0)));
    let length = serde_json::to_vec(&report).unwrap().len();
    assert!(length < 3_000_000, "{length}");
    let Report::Period(told) = &report else { unreachable!() };
    assert!((1400..=1500).contains(&told.points.len()), "{}", told.points.len());
    assert_eq!((told.trends.len(), told.days.len()), (10, 36));
    assert!(told.left_out > 30_000);
    let (markdown, html) = texts(&report);
    assert!(
        markdown.len() < 3_000_000 && html.len() < 3_000_000,
        "{} {}",
        markdown.len(),
        html.len()
    );

    let many = (0..20_000).map(|_| decision(2, "hold", 10, 10, "holding", &"w".repeat(900)));
    let records: Vec<_> = reverted()[..6]
        .iter()
        .cloned()
        .chain(many)
        .chain(reverted()[10..].iter().cloned())
        .collect();
    let told = case("r5", &records, None, (1..=15).map(minute).collect()).unwrap();
    assert_eq!((told.decisions.len(), told.state.as_str()), (300, "reverted"));
    assert!(told.decisions_left_out > 9_000 && told.deeds_left_out > 9_000);
    let length = serde_json::to_vec(&told).unwrap().len();
    assert!(length < 3_000_000, "{length}");
}
