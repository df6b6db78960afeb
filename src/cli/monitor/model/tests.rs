//! What is judged and what is not, and when it ends.

use serde_json::{Value, json};

use super::super::fixture::{changed, event, events, status};
use super::*;

fn model(first: Status) -> Model {
    let now = Instant::now();
    Model::new(None, Some(Duration::from_secs(600)), now, (first, events(&[])))
}

fn rollout(state: &str, why: &str) -> Status {
    changed(|status| {
        status["decisions"]["rollout"]["state"] = state.into();
        status["decisions"]["rollout"]["why"] = why.into();
    })
}

fn fires(at: usize) -> Status {
    changed(|status| status["decisions"]["guards"][at]["state"] = "fired".into())
}

fn shut() -> Status {
    changed(|status| status["decisions"]["closed"] = "secondary".into())
}

#[test]
fn what_happens_while_one_watches_is_judged() {
    let none = || changed(|status| status["decisions"]["rollout"] = Value::Null);
    let other = || changed(|status| status["decisions"]["rollout"]["id"] = "r9".into());
    let drained = changed(|status| {
        status["decisions"]["closed"] = "secondary".into();
        status["decisions"]["drained"] = "secondary".into();
    });
    for (before, after, wanted) in vec![
        (status(), status(), None),
        (status(), rollout("reverted", "too bad"), Some("rollout r3 is reverted: too bad")),
        (rollout("progressing", ""), rollout("aborted", "me"), Some("rollout r3 is aborted: me")),
        (rollout("promoted", ""), rollout("undone", "no"), Some("rollout r3 is undone: no")),
        (rollout("reverted", "x"), rollout("reverted", "x"), None),
        (rollout("reverted", "x"), other(), None),
        (none(), rollout("promoted", ""), None),
        (status(), rollout("holding", "waits"), None),
        (status(), fires(2), Some("guard performance fires: 20 calls of the secondary, and 50")),
        (fires(2), fires(2), None),
        (fires(2), fires(3), Some("guard security_alert fires: no critical")),
        (status(), shut(), Some("the secondary is shut out")),
        (shut(), shut(), None),
        (status(), drained, None),
        (shut(), status(), None),
    ] {
        let mut model = model(before);
        model.take(Instant::now(), after, &events(&[]));
        let found = model.verdict.as_ref().map(|verdict| verdict.why.as_str());
        let same = match (found, wanted) {
            (Some(found), Some(wanted)) => found.starts_with(wanted),
            (found, wanted) => found == wanted,
        };
        assert!(same, "{found:?}, not {wanted:?}");
        assert_eq!(model.exit(), if wanted.is_some() { Exit::No } else { Exit::Yes });
    }
}

#[test]
fn a_guard_that_fires_again_is_new() {
    let mut model = model(fires(3));
    assert!(model.before()[0].starts_with("guard security_alert had fired before: not judged"));
    model.take(Instant::now(), fires(3), &events(&[]));
    // A router that has just been started has not looked yet.
    model.take(Instant::now(), changed(|it| it["decisions"]["guards"] = json!([])), &events(&[]));
    model.take(Instant::now(), fires(3), &events(&[]));
    model.take(Instant::now(), status(), &events(&[]));
    assert_eq!(model.verdict, None);
    model.take(Instant::now(), fires(3), &events(&[]));
    assert!(model.verdict.is_some());
}

#[test]
fn events_tell_it_in_better_words() {
    let detail =
        json!({ "rollout": "r3", "to": "secondary", "why": "9 of 100", "guard": "error_rate" });
    for (name, wanted) in [
        ("revert", Some("rollout r3 to the secondary was reverted by guard error_rate: 9 of 100")),
        ("shut", Some("rollout r3 to the secondary was shut out by guard error_rate: 9 of 100")),
        ("step", None),
        ("common-cause", None),
    ] {
        let mut model = model(status());
        let new = model.take(Instant::now(), status(), &events(&[event(7, name, &detail)]));
        assert_eq!(new[0], format!("12:00:05  {name:<14}  guard error_rate  9 of 100"));
        assert_eq!(model.verdict.as_ref().map(|it| it.why.as_str()), wanted);
    }
    // What has happened before is told and not judged.
    let old = events(&[event(7, "revert", &detail), event(8, "clock", &json!({}))]);
    let model = Model::new(None, None, Instant::now(), (status(), old));
    assert_eq!((model.lines.len(), model.verdict), (1, None));
}

#[test]
fn an_abort_by_the_one_who_watches_is_known() {
    for (pid, ours) in [(std::process::id(), true), (std::process::id() + 1, false)] {
        let mut abort = event(1, "abort", &json!({ "rollout": "r3", "to": "secondary" }));
        abort["actor"] = json!({ "kind": "peer", "uid": 0, "gid": 0, "pid": pid });
        let mut model = model(status());
        model.take(Instant::now(), rollout("aborted", "a person's word"), &events(&[abort]));
        assert_eq!(model.verdict.as_ref().map(|verdict| verdict.ours), Some(ours));
    }
}

#[test]
fn it_is_over_at_its_end_unless_the_router_is_silent() {
    let began = Instant::now();
    let at = |seconds| began + Duration::from_secs(seconds);
    let mut model = Model::new(None, Some(Duration::from_secs(60)), began, (status(), events(&[])));
    assert_eq!(model.left(at(15)), Some(Duration::from_secs(45)));
    assert_eq!(model.progress(at(15)), Some(0.25));
    // What comes just before the end is seen by a look after it.
    assert!(!model.is_over(at(59)) && !model.is_over(at(60)));
    assert!(!model.needs_last_look(at(59)) && model.needs_last_look(at(60)));
    model.take(at(60), status(), &events(&[]));
    assert!(model.is_over(at(60)) && !model.needs_last_look(at(60)));
    model.take(at(54), status(), &events(&[]));
    assert!(model.silent(at(55), "12:00:55", "gone".into()));
    assert!(!model.silent(at(56), "12:00:56", "gone".into()));
    assert_eq!(model.silence.as_ref().map(|it| it.at.as_str()), Some("12:00:55"));
    assert!(!model.is_over(at(64)) && model.is_over(at(65)));
    assert_eq!(model.exit(), Exit::Unknown);
    model.take(at(64), status(), &events(&[]));
    assert!(model.is_over(at(64)));
    assert_eq!(model.exit(), Exit::Yes);
}

#[test]
fn no_more_is_kept_than_is_shown() {
    let mut model = model(status());
    for number in 1..500 {
        model.take(Instant::now(), status(), &events(&[event(number, "split", &json!({}))]));
    }
    assert_eq!((model.rates(Arm::Primary).len(), model.lines.len()), (SAMPLES, LINES));
    let search = model.rows()[0].kind.clone();
    assert_eq!(model.ratios(&search), vec![Some(1.5); SAMPLES]);
}
