//! What notifications do to the list, and those that are none.

use serde_json::{Value, json};

use super::*;

fn alert(status: &str, fingerprint: &str, labels: &Value, annotations: &Value) -> Value {
    json!({
        "status": status, "labels": labels, "annotations": annotations,
        "startsAt": "2026-02-06T13:08:45.828Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up", "fingerprint": fingerprint,
    })
}

fn take(alerts: &mut Alerts, told: &[Value]) -> Taken {
    let body = json!({ "version": "4", "receiver": "tidegate", "alerts": told }).to_string();
    Notification::read(body.as_bytes()).unwrap().apply(alerts, SystemTime::UNIX_EPOCH)
}

#[test]
fn labels_and_annotations_become_severity_source_and_reason() {
    for (labels, annotations, severity, source, reason) in [
        (
            json!({"alertname": "Leak", "severity": "page", "team": "x"}),
            json!({"summary": "a token\nleaks", "description": "long"}),
            Severity::Critical,
            "alertmanager:Leak",
            "a token leaks",
        ),
        (
            json!({"alertname": "Leak", "severity": "sev-9"}),
            json!({"description": "long"}),
            Severity::Warning,
            "alertmanager:Leak",
            "(severity sev-9) long",
        ),
        (
            json!({"alertname": "Leak"}),
            json!({"summary": " "}),
            Severity::Warning,
            "alertmanager:Leak",
            "Leak",
        ),
        (Value::Null, Value::Null, Severity::Warning, "alertmanager:unnamed", "unnamed"),
    ] {
        let mut alerts = Alerts::default();
        assert_eq!(take(&mut alerts, &[alert("firing", "f", &labels, &annotations)]).raised, [1]);
        let it = &alerts.all()[0];
        let found = (it.severity, it.source.as_str(), it.reason.as_str());
        assert_eq!(found, (severity, source, reason));
        assert_eq!((it.raised_by.as_str(), it.fingerprint.as_deref()), ("alertmanager", Some("f")));
    }
}

#[test]
fn what_is_resolved_is_cleared_unless_it_is_critical() {
    let named = |status, fingerprint, severity| {
        let labels = json!({"alertname": "A", "severity": severity});
        alert(status, fingerprint, &labels, &json!({}))
    };
    let mut alerts = Alerts::default();
    let (mild, grave) = (named("firing", "1", "high"), named("firing", "2", "critical"));
    assert_eq!(take(&mut alerts, &[mild, grave.clone()]).raised, [1, 2]);
    let over = [named("resolved", "1", "high"), named("resolved", "2", "critical")];
    let taken = take(&mut alerts, &over);
    assert_eq!((&taken.cleared[..], &taken.latched[..]), (&[1][..], &[2][..]));
    assert_eq!(alerts.get(1).unwrap().cleared.as_ref().unwrap().by, "alertmanager");
    assert!(alerts.critical().unwrap().resolved_at.is_some());
    // Firing again takes the end back.
    assert_eq!(take(&mut alerts, &[grave]).again, [2]);
    assert_eq!(alerts.critical().unwrap().resolved_at, None);
    alerts.clear(SystemTime::UNIX_EPOCH, 2, "me", "looked at").unwrap();
    assert!(take(&mut alerts, &over).is_nothing());
}

#[test]
fn without_a_fingerprint_source_and_reason_tell() {
    let mut old = alert("firing", "", &json!({"alertname": "A"}), &json!({"summary": "x"}));
    let mut alerts = Alerts::default();
    take(&mut alerts, std::slice::from_ref(&old));
    assert_eq!(take(&mut alerts, std::slice::from_ref(&old)).again, [1]);
    old["status"] = json!("resolved");
    assert_eq!(take(&mut alerts, &[old]).cleared, [1]);
}

#[test]
fn what_is_said_of_the_router_itself_is_left_out() {
    let alert = |name: &str| json!({ "status": "firing", "labels": { "alertname": name, "severity": "critical" } });
    let mut alerts = Alerts::default();
    let taken = take(&mut alerts, &[alert("TidegateSecurityAlertCritical"), alert("KeyLeaked")]);
    assert_eq!(taken.raised.len(), 1);
    assert_eq!(alerts.critical().unwrap().source, "alertmanager:KeyLeaked");
}

#[test]
fn bad_notifications_say_why() {
    let many = json!({ "alerts": vec![json!({"status": "firing"}); ALERTS_MAX + 1] }).to_string();
    for (body, why) in [
        ("", "EOF while parsing"),
        ("\"x\"", "expected struct Payload"),
        ("{}", "missing field `alerts`"),
        (r#"{"alerts": [{"labels": {}}]}"#, "missing field `status`"),
        (r#"{"alerts": [{"status": "odd"}]}"#, "expected `firing` or `resolved`"),
        (r#"{"alerts": [{"status": "firing", "labels": {"a": 1}}]}"#, "expected a string"),
        (&many, "1001 alerts in one notification are more than 1000: set max_alerts"),
    ] {
        let error = Notification::read(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{body:.40}: {error}");
    }
    assert_eq!(
        Notification::read(br#"{"alerts": [], "truncatedAlerts": 3}"#).unwrap().truncated,
        3
    );
    let long = format!(r#"{{"alerts": [{{"status": "\u001b[2J{}"}}]}}"#, "x".repeat(10_000));
    let error = Notification::read(long.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 1000 && error.contains("\\u{1b}"), "{error}");
}
