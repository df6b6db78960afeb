//! Who is told of what, and when it is over.

use serde_json::{Value, json};

use super::fixture::{happening, rollout};
use super::*;

fn with(more: &Value) -> Value {
    let mut detail = rollout();
    for (key, value) in more.as_object().unwrap() {
        detail[key] = value.clone();
    }
    detail
}

#[test]
fn what_is_news() {
    let promoted = with(&json!({ "state": "promoted" }));
    let alert = |key: &str| json!({ key: [{ "id": 3, "severity": "high", "source": "trivy", "reason": "CVE" }] });
    for (event, detail, wanted) in [
        ("rollout-start", rollout(), "started info rollout r18 to the secondary has started"),
        ("step", rollout(), "step info rollout r18 to the secondary is at step 2"),
        ("promote", rollout(), "step info rollout r18 to the secondary is at step 2"),
        ("promote --full", rollout(), "step info rollout r18 to the secondary is at step 2"),
        ("hold", rollout(), "held warning rollout r18 to the secondary waits at step 2"),
        ("revert", rollout(), "reverted warning rollout r18 to the secondary was reverted"),
        (
            "revert",
            json!({ "to": "secondary" }),
            "reverted warning the split to the secondary was reverted",
        ),
        (
            "shut",
            json!({ "to": "primary" }),
            "reverted warning the primary, which had no weight, is shut",
        ),
        ("abort", rollout(), "aborted warning rollout r18 to the secondary was aborted"),
        ("undo", rollout(), "aborted warning rollout r18, which was complete, was taken back"),
        (
            "promoted",
            promoted.clone(),
            "completed info rollout r18 is complete: the secondary is the stable arm now",
        ),
        (
            "promote",
            promoted,
            "completed info rollout r18 is complete: the secondary is the stable arm now",
        ),
        (
            "start",
            json!({ "rollout": "r18", "state": "aborted" }),
            "aborted warning rollout r18 was aborted by the start of the router",
        ),
        (
            "common-cause",
            json!({ "guard": "error_rate" }),
            "alert critical guard error_rate finds the same fault on both arms: not reverted",
        ),
        (
            "drained",
            json!({ "arm": "secondary" }),
            "drained info the secondary is drained: its servers can be stopped",
        ),
        ("alert-raise", alert("raised"), "alert high a security alert was raised"),
        ("alert-clear", alert("cleared"), "alert info a security alert was cleared"),
        (
            "alert-raise",
            json!({ "refused": 1 }),
            "alert warning a security alert was not kept, since 32 are open: clear some",
        ),
    ] {
        let told = Message::of(&happening(event, detail));
        let said = told.map(|it| format!("{} {} {}", it.word(), it.severity, it.title));
        assert_eq!(said.as_deref(), Some(wanted), "{event}");
    }
}

#[test]
fn what_is_none() {
    let again = json!({ "again": [{ "id": 3 }] });
    for (event, detail) in [
        ("split", rollout()),
        ("go-on", rollout()),
        ("pause", rollout()),
        ("resume", rollout()),
        ("reload", rollout()),
        ("stop", json!({})),
        ("start", json!({ "rollout": "r18", "state": "paused" })),
        ("alert-raise", again.clone()),
        ("alert-notification", again),
        ("notify-failing", json!({ "webhook": "ops", "why": "x" })),
        ("notify-ok", json!({ "webhook": "ops" })),
        ("of a later version", json!(null)),
    ] {
        assert_eq!(Message::of(&happening(event, detail)), None, "{event}");
    }
}

#[test]
fn texts_of_others_are_one_line_and_bounded() {
    let why = format!("line\nline\u{1b}[31m{}", "x".repeat(5000));
    let told = Message::of(&happening("abort", with(&json!({ "why": why })))).unwrap();
    let why = told.why.unwrap();
    assert!(why.starts_with("line line\\u{1b}[31mxxx"), "{why}");
    assert!(why.chars().count() <= WHY_MAX + 1 && why.ends_with('…'));
    // Details that are not as they should be are no reason to be silent.
    let odd = json!({ "to": 3, "step": "x", "versions": [], "after": "all", "guard": "new" });
    let told = Message::of(&happening("revert", odd)).unwrap();
    assert_eq!((told.arm, told.weights, told.guard), (None, None, None));
}

#[test]
fn what_stands_is_over_at_the_next_change_of_course() {
    let mut standing = Standing::default();
    let mut after = |event: &str| -> Vec<String> {
        let told = standing.follow(&happening(event, rollout()));
        told.map(|it| format!("{}{}", it.word(), if it.is_over { " over" } else { "" })).collect()
    };
    assert_eq!(after("rollout-start"), ["started"]);
    assert_eq!(after("hold"), ["held"]);
    assert_eq!(after("alert-raise"), [""; 0], "no change of course");
    assert_eq!(after("go-on"), ["held over"]);
    assert_eq!(after("step"), ["step"]);
    assert_eq!(after("hold"), ["held"]);
    assert_eq!(after("revert"), ["held over", "reverted"]);
    assert_eq!(after("reload"), [""; 0]);
    assert_eq!(after("split"), ["reverted over"]);
    assert_eq!(after("split"), [""; 0]);
}
